//! The one reader of images: which images are wanted ([`ImageSet`]: a bundled or downloaded set, or a file of one's
//! own), and what was read ([`ImageReader`]: pixels, shape, labels where there are labels). Nothing here decodes a
//! format; each format has a module of its own.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndarray::{Array4, ArrayView4, Axis, s};
use serde::{Deserialize, Serialize};

use crate::folder::ClassFolder;
use crate::images::{Normalisation, check_range, scaled};
use crate::pictures::{Channels, Preprocessing};
use crate::{Collection, DatasetError, LabelledImages, Result, Split, bundled, cifar_binary, idx, png_rows};

/// Which images are wanted: the name of a set, or files of one's own. Nothing is read before [`open`](Self::open).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageSet {
    /// The first 1,000 MNIST test images, which are part of the program.
    MnistBundled,
    /// The first 800 of those, to try training with where nothing was downloaded.
    DigitsTrain,
    /// The last 200 of those, to measure the accuracy of such a try on.
    DigitsTest,
    /// A part of a data set that was downloaded.
    Downloaded(Collection, Split),
    /// A file: CIFAR's binary version if its name ends with `.bin`, PNG rows if it ends with `.png`, and else the
    /// IDX format of MNIST, plain or gzipped.
    File {
        /// The images.
        images: PathBuf,
        /// The labels, where they are in a file of their own: JSON if its name ends with `.json`, else IDX.
        labels: Option<PathBuf>,
        /// What a network takes for the levels of 0 to 255, as [`Preprocessing`] is written; sizes stay. Without it grey images
        /// are scaled as MNIST's and others as CIFAR-10's.
        preprocessing: Option<String>,
    },
    /// A folder with a folder of pictures for each class ([`ClassFolder`]).
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Channels, height and width that pictures are brought to: the network's.
        shape: [usize; 3],
        /// How, as [`Preprocessing`] is written.
        preprocessing: String,
    },
}

impl ImageSet {
    /// The images of one file, without labels unless the file itself has them.
    pub fn file(images: impl Into<PathBuf>) -> Self {
        ImageSet::File { images: images.into(), labels: None, preprocessing: None }
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
        match self {
            ImageSet::MnistBundled => Ok(bundled::mnist_test_1000()?.into()),
            ImageSet::DigitsTrain => Ok(bundled::digits(Split::Train)?.into()),
            ImageSet::DigitsTest => Ok(bundled::digits(Split::Test)?.into()),
            ImageSet::Downloaded(collection, split) => Ok(collection.load(*split)?.into()),
            ImageSet::File { images, labels, preprocessing } => {
                open_file(images, labels.as_deref(), preprocessing.as_deref())
            }
            ImageSet::Folder { folder, shape, preprocessing } => {
                let preprocessing: Preprocessing = preprocessing.parse()?;
                let listed = ClassFolder::list(folder)?;
                let pixels = listed.levels(folder, &preprocessing, *shape)?;
                let (name, normalisation) = (self.to_string(), preprocessing.normalisation());
                Ok(ImageReader { name, pixels, labels: Some(listed.labels), normalisation })
            }
        }
    }

    /// Reads the labels alone: a party that owns them need not have the images, where they are in a file of their own.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Unlabelled`](DatasetError::Unlabelled) for files without labels.
    pub fn open_labels(&self) -> Result<Vec<u8>> {
        match self {
            ImageSet::Downloaded(collection, split) => collection.load_labels(*split),
            ImageSet::File { labels: Some(labels), .. } => read_labels(labels),
            ImageSet::Folder { folder, .. } => Ok(ClassFolder::list(folder)?.labels),
            _ => self.open()?.labels.ok_or_else(|| DatasetError::Unlabelled { dataset: self.to_string() }),
        }
    }

    /// The part of the same data set to measure accuracy on, of one to train with: of a folder called `train` the folder beside
    /// it that is called `test` or `val`, if it is there.
    pub fn test_part(&self) -> Option<ImageSet> {
        match self {
            ImageSet::DigitsTrain => Some(ImageSet::DigitsTest),
            ImageSet::Downloaded(collection, Split::Train) => Some(ImageSet::Downloaded(*collection, Split::Test)),
            ImageSet::Folder { folder, shape, preprocessing } if folder.ends_with("train") => {
                let beside = ["test", "val"].map(|name| folder.with_file_name(name));
                let (shape, preprocessing) = (*shape, preprocessing.clone());
                let found = beside.into_iter().find(|folder| folder.is_dir());
                found.map(|folder| ImageSet::Folder { folder, shape, preprocessing })
            }
            _ => None,
        }
    }

    /// How many images a named set has, and the shape of one; none for files, which have to be read to know.
    ///
    /// ```
    /// use cryptgpu_datasets::ImageSet;
    ///
    /// assert_eq!(ImageSet::DigitsTest.size(), Some((200, [1, 28, 28])));
    /// ```
    pub fn size(&self) -> Option<(usize, [usize; 3])> {
        let digits = [1, 28, 28];
        Some(match self {
            ImageSet::MnistBundled => (1000, digits),
            ImageSet::DigitsTrain => (800, digits),
            ImageSet::DigitsTest => (200, digits),
            ImageSet::Downloaded(collection, split) => (collection.count(*split), collection.shape()),
            ImageSet::File { .. } | ImageSet::Folder { .. } => return None,
        })
    }

    /// The sets that have a name.
    pub fn named() -> Vec<ImageSet> {
        let bundled = [ImageSet::MnistBundled, ImageSet::DigitsTrain, ImageSet::DigitsTest];
        let parts = |collection| [Split::Train, Split::Test].map(|split| ImageSet::Downloaded(collection, split));
        bundled.into_iter().chain(Collection::ALL.into_iter().flat_map(parts)).collect()
    }

    /// Whether the files of a downloaded set are all there; a file of one's own is there if its images are.
    pub fn is_there(&self) -> bool {
        match self {
            ImageSet::MnistBundled | ImageSet::DigitsTrain | ImageSet::DigitsTest => true,
            ImageSet::Downloaded(collection, split) => collection.is_there(*split),
            ImageSet::File { images, .. } => images.is_file(),
            ImageSet::Folder { folder, .. } => folder.is_dir(),
        }
    }
}

/// The name of a set as tables show it; of a file or folder, its name without the folder that it is in.
impl fmt::Display for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageSet::MnistBundled => f.write_str("mnist-test-1000"),
            ImageSet::DigitsTrain => f.write_str("digits-train"),
            ImageSet::DigitsTest => f.write_str("digits-test"),
            ImageSet::Downloaded(collection, split) => write!(f, "{collection}-{split}"),
            ImageSet::File { images: path, .. } | ImageSet::Folder { folder: path, .. } => {
                f.write_str(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
            }
        }
    }
}

/// Reads the name of a set; files are not named so.
impl FromStr for ImageSet {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let named = ImageSet::named();
        named.iter().find(|set| set.to_string() == text).cloned().ok_or_else(|| {
            let names: Vec<String> = named.iter().map(ImageSet::to_string).collect();
            let names = names.join(", ");
            format!("`{text}` is not a data set: use one of {names}; mnist-test-1000 and the digits are bundled")
        })
    }
}

/// Reads a file of one's own, and its labels where there are any.
fn open_file(images: &Path, labels: Option<&Path>, preprocessing: Option<&str>) -> Result<ImageReader> {
    let (mut pixels, own) = if ending(images, "bin") {
        cifar_binary::read_either(images).map(|(pixels, labels)| (pixels, Some(labels)))?
    } else if ending(images, "png") {
        (png_rows::read_images(images)?, None)
    } else {
        (idx::read_images(images)?, None)
    };
    let beside = labels.map(read_labels).transpose()?;
    let labels = match (beside, labels) {
        (Some(beside), Some(path)) if beside.len() != pixels.dim().0 => {
            let (images, labels) = (pixels.dim().0, beside.len());
            return Err(DatasetError::CountMismatch { path: path.to_path_buf(), images, labels });
        }
        (beside, _) => beside.or(own),
    };
    let channels = pixels.dim().1;
    let normalisation = match preprocessing.map(str::parse::<Preprocessing>).transpose()? {
        Some(preprocessing) => {
            preprocessing.check(channels)?;
            if preprocessing.channels == Channels::Bgr {
                pixels.invert_axis(Axis(1));
                pixels = pixels.as_standard_layout().into_owned();
            }
            preprocessing.normalisation()
        }
        None if channels == 1 => Normalisation::mnist(),
        None => Normalisation::cifar10(),
    };
    Ok(ImageReader { name: images.display().to_string(), pixels, labels, normalisation })
}

fn ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

/// A file of labels: JSON if its name ends with `.json`, else IDX.
fn read_labels(path: &Path) -> Result<Vec<u8>> {
    if ending(path, "json") { png_rows::read_labels(path, u8::MAX) } else { idx::read_labels(path) }
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

    /// Images `range` as a network takes them, (count, channels, height, width): scaled as the set's preprocessing says.
    ///
    /// # Errors
    /// As [`pixels`](Self::pixels).
    pub fn batch(&self, range: Range<usize>) -> Result<Array4<f32>> {
        Ok(scaled(self.pixels(range)?, &self.normalisation))
    }

    /// The images of these rows as a network takes them, in the order given: as [`batch`](Self::batch).
    ///
    /// # Errors
    /// [`OutOfBounds`](DatasetError::OutOfBounds) if the set has no such row.
    pub fn select(&self, rows: &[usize]) -> Result<Array4<f32>> {
        for &row in rows {
            check_range(&self.name, &(row..row.saturating_add(1)), self.len())?;
        }
        Ok(scaled(self.pixels.select(Axis(0), rows).view(), &self.normalisation))
    }

    /// The images of `range` alone, without labels and without the other images, for an owner of those.
    ///
    /// # Errors
    /// As [`pixels`](Self::pixels).
    pub fn images_only(&self, range: Range<usize>) -> Result<Self> {
        let pixels = self.pixels(range)?.to_owned();
        Ok(ImageReader { name: self.name.clone(), pixels, labels: None, normalisation: self.normalisation.clone() })
    }

    /// All images without labels, for an owner of those alone.
    #[must_use]
    pub fn without_labels(self) -> Self {
        ImageReader { labels: None, ..self }
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
        let unscaled = ImageSet::file(&images);
        let unlabelled = unscaled.open().unwrap();
        let file = ImageSet::File { images, labels, preprocessing: None }.open().unwrap();
        assert_eq!((file.len(), file.shape()), (1000, [1, 28, 28]));
        assert_eq!(file.batch(5..9).unwrap(), bundled.batch(5..9).unwrap());
        assert_eq!(file.labels(5..9).unwrap(), Some(&[1, 4, 9, 5][..]));
        let ImageSet::File { images, .. } = &unscaled else { panic!() };
        let unit = ImageSet::File { images: images.clone(), labels: None, preprocessing: Some("unit".into()) };
        let (unit, levels) = (unit.open().unwrap().batch(0..2).unwrap(), bundled.pixels(0..2).unwrap());
        assert!(unit.iter().zip(levels).all(|(&input, &level)| input == f32::from(level) / 255.0));
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
        let error = ImageSet::File { images: path, labels: Some(labels), preprocessing: None }.open().unwrap_err();
        assert!(matches!(error, DatasetError::CountMismatch { images: 2, labels: 1, .. }), "{error}");
    }

    #[test]
    fn an_owner_keeps_its_rows_and_labels_are_read_without_images() {
        let (train, test) = (ImageSet::DigitsTrain.open().unwrap(), ImageSet::DigitsTest.open().unwrap());
        let all = ImageSet::MnistBundled.open().unwrap();
        assert_eq!((train.len(), test.len()), (800, 200));
        for set in ImageSet::named().into_iter().filter(ImageSet::is_there) {
            let read = set.open().unwrap();
            assert_eq!(set.size(), Some((read.len(), read.shape())), "{set}");
        }
        assert_eq!(train.batch(0..2).unwrap(), all.batch(0..2).unwrap());
        assert_eq!(test.batch(0..2).unwrap(), all.batch(800..802).unwrap());
        assert_eq!(ImageSet::DigitsTest.open_labels().unwrap(), all.labels(800..1000).unwrap().unwrap());
        let own = train.images_only(10..20).unwrap();
        assert_eq!((own.len(), own.labels(0..10).unwrap()), (10, None));
        let rows = own.select(&[9, 0, 9]).unwrap();
        assert_eq!(rows.index_axis(Axis(0), 2), train.batch(19..20).unwrap().index_axis(Axis(0), 0));
        assert_eq!(rows.index_axis(Axis(0), 1), train.batch(10..11).unwrap().index_axis(Axis(0), 0));
        assert!(matches!(own.select(&[10]), Err(DatasetError::OutOfBounds { count: 10, .. })));
        let folder = Path::new(BUNDLE);
        let labels = Some(folder.join("mnist-test-1000-labels-idx1-ubyte.gz"));
        let no_images = ImageSet::File { images: "no/such".into(), labels, preprocessing: None };
        assert_eq!(no_images.open_labels().unwrap()[..3], [7, 2, 1]);
        let unlabelled = ImageSet::file(folder.join("mnist-test-1000-images-idx3-ubyte.gz")).open_labels();
        assert!(matches!(unlabelled, Err(DatasetError::Unlabelled { .. })));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for set in ImageSet::named() {
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        assert!("imagenet".parse::<ImageSet>().unwrap_err().contains("mnist-test-1000"));
    }
}
