//! The one reader of images: which images are wanted ([`ImageSet`]: a bundled or downloaded set, or a file of one's
//! own), and what was read ([`ImageReader`]: pixels, shape, labels where there are labels). Nothing here decodes a
//! format; each format has a module of its own.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndarray::{Array4, ArrayView4, s};
use serde::{Deserialize, Serialize};

use crate::images::{Normalisation, check_range, scaled};
use crate::{DatasetError, LabelledImages, Result, Split, bundled, cifar_binary, cifar10, idx, mnist, png_rows};

/// Which images are wanted: the name of a set, or files of one's own. Nothing is read before [`open`](Self::open).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageSet {
    /// The first 1,000 MNIST test images, which are part of the program.
    MnistBundled,
    /// The 10,000 MNIST test images, downloaded.
    MnistTest,
    /// The 10,000 CIFAR-10 test images, downloaded.
    Cifar10Test,
    /// A file: CIFAR-10's binary version if its name ends with `.bin`, PNG rows if it ends with `.png`, and else the
    /// IDX format of MNIST, plain or gzipped.
    File {
        /// The images.
        images: PathBuf,
        /// The labels, where they are in a file of their own: JSON if its name ends with `.json`, else IDX.
        labels: Option<PathBuf>,
    },
}

impl ImageSet {
    /// The images of one file, without labels unless the file itself has them.
    pub fn file(images: impl Into<PathBuf>) -> Self {
        ImageSet::File { images: images.into(), labels: None }
    }

    /// Reads the images.
    ///
    /// ```
    /// use cryptgpu_datasets::ImageSet;
    ///
    /// let digits = ImageSet::MnistBundled.open()?;
    /// assert_eq!((digits.len(), digits.shape()), (1000, [1, 28, 28]));
    /// assert_eq!(digits.batch(3..5)?.dim(), (2, 1, 28, 28)); // normalised, as LeNet was trained
    /// assert_eq!(digits.labels(3..5)?, Some(&[0, 4][..]));
    /// # Ok::<(), cryptgpu_datasets::DatasetError>(())
    /// ```
    ///
    /// # Errors
    /// A [`DatasetError`] that names the file that is missing, damaged or of another format.
    pub fn open(&self) -> Result<ImageReader> {
        let (images, labels) = match self {
            ImageSet::MnistBundled => return Ok(bundled::mnist_test_1000()?.into()),
            ImageSet::MnistTest => return Ok(mnist::load(Split::Test)?.into()),
            ImageSet::Cifar10Test => return Ok(cifar10::load(Split::Test)?.into()),
            ImageSet::File { images, labels } => (images, labels.as_deref()),
        };
        let ending = |path: &Path, ending: &str| path.extension().is_some_and(|found| found == ending);
        let (pixels, own) = if ending(images, "bin") {
            cifar_binary::read(images).map(|(pixels, labels)| (pixels, Some(labels)))?
        } else if ending(images, "png") {
            (png_rows::read_images(images)?, None)
        } else {
            (idx::read_images(images)?, None)
        };
        let beside = match labels {
            Some(path) if ending(path, "json") => Some(png_rows::read_labels(path, u8::MAX)?),
            Some(path) => Some(idx::read_labels(path)?),
            None => None,
        };
        let labels = match (beside, labels) {
            (Some(beside), Some(path)) if beside.len() != pixels.dim().0 => {
                let (images, labels) = (pixels.dim().0, beside.len());
                return Err(DatasetError::CountMismatch { path: path.to_path_buf(), images, labels });
            }
            (beside, _) => beside.or(own),
        };
        let normalisation = match pixels.dim().1 {
            1 => Normalisation::mnist(),
            _ => Normalisation::cifar10(),
        };
        Ok(ImageReader { name: images.display().to_string(), pixels, labels, normalisation })
    }

    /// Whether the files of a downloaded set are all there; a file of one's own is there if its images are.
    pub fn is_there(&self) -> bool {
        let downloaded = |dataset: &str, part: &str| {
            let dir = crate::downloads_dir();
            crate::manifest::entries().is_ok_and(|entries| {
                let mut part = entries.iter().filter(|entry| entry.dataset == dataset && entry.member.contains(part));
                part.all(|entry| entry.is_present(&dir))
            })
        };
        match self {
            ImageSet::MnistBundled => true,
            ImageSet::MnistTest => downloaded("mnist", "t10k-"),
            ImageSet::Cifar10Test => downloaded("cifar10", "test_"),
            ImageSet::File { images, .. } => images.is_file(),
        }
    }
}

/// The name of a set as tables show it; of a file, the file's name without its folder.
impl fmt::Display for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageSet::MnistBundled => f.write_str("mnist-test-1000"),
            ImageSet::MnistTest => f.write_str("mnist-test"),
            ImageSet::Cifar10Test => f.write_str("cifar10-test"),
            ImageSet::File { images, .. } => {
                f.write_str(&images.file_name().unwrap_or(images.as_os_str()).to_string_lossy())
            }
        }
    }
}

/// Reads the name of a set; files are not named so.
impl FromStr for ImageSet {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        [ImageSet::MnistBundled, ImageSet::MnistTest, ImageSet::Cifar10Test]
            .into_iter()
            .find(|set| set.to_string() == text)
            .ok_or_else(|| {
                format!("`{text}` is not a data set: use mnist-test-1000 (bundled), mnist-test or cifar10-test")
            })
    }
}

/// Images that were read: any range of them as bytes or as a network takes them, with labels where there are labels.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageReader {
    name: String,
    pixels: Array4<u8>,
    labels: Option<Vec<u8>>,
    normalisation: Normalisation,
}

impl From<LabelledImages> for ImageReader {
    fn from(images: LabelledImages) -> Self {
        let LabelledImages { name, pixels, labels, normalisation, .. } = images;
        ImageReader { name, pixels, labels: Some(labels), normalisation }
    }
}

impl ImageReader {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.pixels.dim().0
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels, height and width of one image.
    pub fn shape(&self) -> [usize; 3] {
        let (_, c, h, w) = self.pixels.dim();
        [c, h, w]
    }

    /// The bytes of images `range`: (count, channels, height, width).
    ///
    /// # Errors
    /// [`OutOfBounds`](DatasetError::OutOfBounds) if the range goes beyond the set.
    pub fn pixels(&self, range: Range<usize>) -> Result<ArrayView4<'_, u8>> {
        check_range(&self.name, &range, self.len())?;
        Ok(self.pixels.slice(s![range, .., .., ..]))
    }

    /// Images `range` as a network takes them, (count, channels, height, width): scaled as LeNet's training data if
    /// they are grey, and as CIFAR-10's if they have three channels.
    ///
    /// # Errors
    /// As [`pixels`](Self::pixels).
    pub fn batch(&self, range: Range<usize>) -> Result<Array4<f32>> {
        Ok(scaled(self.pixels(range)?, &self.normalisation))
    }

    /// The labels of images `range`; none where the set has no labels.
    ///
    /// # Errors
    /// As [`pixels`](Self::pixels).
    pub fn labels(&self, range: Range<usize>) -> Result<Option<&[u8]>> {
        check_range(&self.name, &range, self.len())?;
        Ok(self.labels.as_ref().and_then(|labels| labels.get(range)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bundle");

    #[test]
    fn a_file_of_digits_reads_as_the_bundled_set_does() {
        let folder = Path::new(BUNDLE);
        let images = folder.join("mnist-test-1000-images-idx3-ubyte.gz");
        let labels = Some(folder.join("mnist-test-1000-labels-idx1-ubyte.gz"));
        let bundled = ImageSet::MnistBundled.open().unwrap();
        let unlabelled = ImageSet::file(&images).open().unwrap();
        let file = ImageSet::File { images, labels }.open().unwrap();
        assert_eq!((file.len(), file.shape()), (1000, [1, 28, 28]));
        assert_eq!(file.batch(5..9).unwrap(), bundled.batch(5..9).unwrap());
        assert_eq!(file.labels(5..9).unwrap(), Some(&[1, 4, 9, 5][..]));
        assert_eq!((unlabelled.labels(5..9).unwrap(), unlabelled.pixels(7..9).unwrap().dim().0), (None, 2));
    }

    #[test]
    fn ranges_beyond_the_set_are_refused_with_its_size() {
        let digits = ImageSet::MnistBundled.open().unwrap();
        for range in [998..1003, 1000..1001, usize::MAX - 1..usize::MAX] {
            let error = digits.batch(range.clone()).unwrap_err();
            assert!(error.to_string().contains("1000 images"), "{error}");
            assert!(matches!(digits.labels(range), Err(DatasetError::OutOfBounds { count: 1000, .. })));
        }
    }

    #[test]
    fn colour_files_are_told_by_their_names_and_bring_their_labels() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.bin");
        std::fs::write(&path, [[3; 3073], [9; 3073]].concat()).unwrap();
        let set = ImageSet::file(&path);
        let file = set.open().unwrap();
        assert_eq!((file.shape(), file.labels(0..2).unwrap()), ([3, 32, 32], Some(&[3, 9][..])));
        assert_eq!((set.to_string().as_str(), set.is_there()), ("mine.bin", true));
        let labels = dir.path().join("labels.json");
        std::fs::write(&labels, "[1]").unwrap();
        let error = ImageSet::File { images: path, labels: Some(labels) }.open().unwrap_err();
        assert!(matches!(error, DatasetError::CountMismatch { images: 2, labels: 1, .. }), "{error}");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for set in [ImageSet::MnistBundled, ImageSet::MnistTest, ImageSet::Cifar10Test] {
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        assert!("imagenet".parse::<ImageSet>().unwrap_err().contains("mnist-test-1000"));
    }
}
