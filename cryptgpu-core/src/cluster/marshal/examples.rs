//! Examples at their owner, between the job that reads them and those that take minibatches of them. Pixels stay bytes
//! until a minibatch is encoded. Nothing is shared here, and no error shows an image or a label.

use super::dataset::{DataSource, Found, RandomExamples, Reading, Wanted};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::job_error::JobError;
use crate::prg::{Aes128Ctr, Key};
use cryptgpu_datasets::{DatasetError, ImageReader, ImageSet};
use ndarray::Array4;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// What a party owns of a data set. `Debug` shows the name only.
pub(in crate::cluster) struct OwnExamples {
    name: String,
    /// First row, and the images from there on.
    images: Vec<(usize, OwnImages)>,
    /// First row, and the labels from there on.
    labels: Vec<(usize, Vec<u16>)>,
}

enum OwnImages {
    Read(ImageReader),
    Random(RandomExamples),
}

impl std::fmt::Debug for OwnExamples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OwnExamples({})", self.name)
    }
}

impl OwnExamples {
    /// Reads what is wanted of a data set, and says what it has found: public.
    pub(in crate::cluster) fn read(name: String, wanted: Wanted) -> Result<(Self, Found), JobError> {
        let mut own = OwnExamples { name, images: vec![], labels: vec![] };
        let found = own.add(wanted).map_err(|error| JobError::Input(error.to_string()))?;
        Ok((own, found))
    }

    fn add(&mut self, wanted: Wanted) -> Result<Found, DatasetError> {
        let Wanted { images, labels, source } = wanted;
        let mut found = Found::default();
        match source {
            Some(Reading::Set(set)) => {
                if !images.is_empty() {
                    let all = set.open()?;
                    found.images = Some((all.len(), all.shape()));
                    if matches!(images.as_slice(), [Range { start: 0, end: usize::MAX }]) {
                        // Not copied: they may be most of what a party holds.
                        self.images.push((0, OwnImages::Read(all.without_labels())));
                        return self.add_labels(&set, labels, found);
                    }
                    for rows in images {
                        let rows = rows.start..if rows.end == usize::MAX { all.len() } else { rows.end };
                        self.images.push((rows.start, OwnImages::Read(all.images_only(rows)?)));
                    }
                }
                return self.add_labels(&set, labels, found);
            }
            Some(Reading::Random(random)) => {
                let count = random.count;
                found.images = (!images.is_empty()).then_some((count, random.shape));
                found.labels = (!labels.is_empty()).then_some(count);
                let drawn = labels.into_iter().map(|rows| (rows.start, random.labels(rows.start..rows.end.min(count))));
                self.labels.extend(drawn);
                self.images.extend(images.into_iter().map(|rows| (rows.start, OwnImages::Random(random.clone()))));
            }
            None => {}
        }
        Ok(found)
    }

    fn add_labels(
        &mut self,
        set: &ImageSet,
        labels: Vec<Range<usize>>,
        mut found: Found,
    ) -> Result<Found, DatasetError> {
        if labels.is_empty() {
            return Ok(found);
        }
        let (all, dataset) = (set.open_labels()?, set.to_string());
        found.labels = Some(all.len());
        for rows in labels {
            let (start, end) = (rows.start, if rows.end == usize::MAX { all.len() } else { rows.end });
            let beyond = || DatasetError::OutOfBounds { dataset: dataset.clone(), start, end, count: all.len() };
            let own = all.get(start..end).ok_or_else(beyond)?;
            self.labels.push((start, own.iter().map(|&label| label.into()).collect()));
        }
        Ok(found)
    }

    pub(in crate::cluster) fn name(&self) -> &str {
        &self.name
    }

    /// The memory that they take.
    pub(in crate::cluster) fn bytes(&self) -> u64 {
        let images = self.images.iter().map(|(_, images)| match images {
            OwnImages::Read(reader) => (reader.len() * reader.shape().iter().product::<usize>()) as u64,
            OwnImages::Random(_) => 0,
        });
        images.sum::<u64>() + self.labels.iter().map(|(_, labels)| 2 * labels.len() as u64).sum::<u64>()
    }

    /// Everything that is owned, on its way into a digest.
    pub(in crate::cluster) fn digest(&self) -> Result<Sha256, JobError> {
        let mut digest = Sha256::new();
        for (start, images) in &self.images {
            digest.update(start.to_le_bytes());
            match images {
                OwnImages::Read(reader) => {
                    let pixels =
                        reader.pixels(0..reader.len()).map(|pixels| pixels.to_owned().into_raw_vec_and_offset().0);
                    digest.update(pixels.map_err(|error| JobError::Input(error.to_string()))?);
                }
                OwnImages::Random(random) => digest.update(format!("{random:?}")),
            }
        }
        for (start, labels) in &self.labels {
            digest.update(start.to_le_bytes());
            labels.iter().for_each(|label| digest.update(label.to_le_bytes()));
        }
        Ok(digest)
    }

    /// Refuses labels that are no output of a network with so many.
    pub(in crate::cluster) fn check_labels(&self, classes: usize) -> Result<(), JobError> {
        let fits = |labels: &[u16]| labels.iter().all(|&label| usize::from(label) < classes);
        if self.labels.iter().all(|(_, labels)| fits(labels)) {
            return Ok(());
        }
        let name = &self.name;
        Err(JobError::Input(format!(
            "some labels of {name} are not below {classes}, the number of the network's outputs: take a network with as many \
             outputs as {name} has classes"
        )))
    }

    /// The images of rows that this party owns, all within one of its ranges.
    pub(in crate::cluster) fn images(&self, rows: &[usize]) -> Result<Array4<f32>, JobError> {
        let (start, images) = find(&self.images, rows)?;
        match images {
            OwnImages::Read(reader) => {
                let rows: Vec<usize> = rows.iter().map(|row| row - start).collect();
                reader.select(&rows).map_err(|error| JobError::Input(error.to_string()))
            }
            OwnImages::Random(random) => random.images(rows),
        }
    }

    /// One-hot rows of labels that this party owns, all within one of its ranges: words with `one` at the label.
    pub(in crate::cluster) fn targets(&self, rows: &[usize], classes: usize, one: u64) -> Result<Vec<u64>, JobError> {
        let (start, labels) = find(&self.labels, rows)?;
        let mut words = vec![0; rows.len() * classes];
        for (row, words) in rows.iter().zip(words.chunks_exact_mut(classes.max(1))) {
            let label = labels.get(row - start).copied().map(usize::from);
            *label.and_then(|label| words.get_mut(label)).ok_or_else(|| absent(&self.name))? = one;
        }
        Ok(words)
    }
}

/// The range that holds these rows.
fn find<'a, T>(ranges: &'a [(usize, T)], rows: &[usize]) -> Result<(usize, &'a T), JobError> {
    let first = rows.first().copied().unwrap_or(0);
    let found = ranges.iter().rev().find(|(start, _)| *start <= first);
    found.map(|(start, own)| (*start, own)).ok_or_else(|| absent("this party"))
}

fn absent(name: &str) -> JobError {
    JobError::Other(format!("{name} does not have the rows that are asked for: open the data set again"))
}

impl RandomExamples {
    fn stream(&self, purpose: u8) -> Aes128Ctr {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8] = purpose;
        Aes128Ctr::new(&Key::from_bytes(key))
    }

    fn labels(&self, rows: Range<usize>) -> Vec<u16> {
        let (stream, classes) = (self.stream(1), self.classes.clamp(1, 1 << 16) as u64);
        let mut word = [0];
        let label = |row: usize| {
            stream.fill(row as u64, 0, &mut word);
            (word[0] % classes) as u16
        };
        rows.map(label).collect()
    }

    fn images(&self, rows: &[usize]) -> Result<Array4<f32>, JobError> {
        let ([c, h, w], stream) = (self.shape, self.stream(0));
        let mut values = Vec::with_capacity(rows.len() * c * h * w);
        let mut words = vec![0; c * h * w];
        for &row in rows {
            stream.fill(row as u64, 0, &mut words);
            // The upper 53 bits as a fraction in [0, 1), then to variance 1.
            let uniform = |&word: &u64| (((word >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) * 3f64.sqrt()) as f32;
            values.extend(words.iter().map(uniform));
        }
        Array4::from_shape_vec((rows.len(), c, h, w), values).map_err(|error| JobError::Other(error.to_string()))
    }
}

/// All examples of a source, for whoever may have them: training in the clear, beside a private run on the same.
#[derive(Debug)]
pub(crate) struct InTheClear {
    own: OwnExamples,
    count: usize,
}

impl DataSource {
    /// Reads all of it.
    pub(crate) fn in_the_clear(&self) -> Result<InTheClear, ClusterError> {
        let all: Vec<Range<usize>> = std::iter::once(0..usize::MAX).collect();
        let wanted = Wanted { images: all.clone(), labels: all, source: Some(self.reading()?) };
        let (own, found) = OwnExamples::read(self.to_string(), wanted).map_err(|error| unread(&error))?;
        match (found.images, found.labels) {
            (Some((images, _)), Some(labels)) if images == labels => Ok(InTheClear { own, count: images }),
            _ => Err(unread(&format!("{self} does not have a label for each image"))),
        }
    }
}

impl InTheClear {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Images, as networks take them, and labels of these rows.
    pub(crate) fn batch(&self, rows: &[usize]) -> Result<(Array4<f32>, Vec<usize>), ClusterError> {
        let images = self.own.images(rows).map_err(|error| unread(&error))?;
        let (start, labels) = find(&self.own.labels, rows).map_err(|error| unread(&error))?;
        let label = |row: &usize| labels.get(row.checked_sub(start)?).copied().map(usize::from);
        let labels: Option<Vec<usize>> = rows.iter().map(label).collect();
        Ok((images, labels.ok_or_else(|| unread(&absent(&self.own.name)))?))
    }
}

fn unread(error: &impl std::fmt::Display) -> ClusterError {
    ClusterError::argument("read examples", error)
}
