//! The data sets that have a name, from the folders that `scripts/fetch-datasets` fills or that their user has: MNIST and
//! those in its format, CIFAR-10 and CIFAR-100. Each is one line of a table; files are found under every name that they
//! come with.

use std::fmt;
use std::path::{Path, PathBuf};

use ndarray::{Array4, Axis, concatenate};
use serde::{Deserialize, Serialize};

use crate::cifar_binary::{self, Records};
use crate::{DatasetError, LabelledImages, Normalisation, Result, Split, downloads_dir, idx, png_rows};

/// A data set of labelled images, with a part to train with and one to test on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Collection {
    /// Handwritten digits, 28×28, grey (Y. LeCun, C. Cortes, C. J. C. Burges).
    Mnist,
    /// Clothes in MNIST's format (H. Xiao, K. Rasul, R. Vollgraf, 2017).
    FashionMnist,
    /// EMNIST (G. Cohen and others, 2017): digits and letters, 47 classes of one size.
    EmnistBalanced,
    /// EMNIST: digits and letters, capital and small ones apart.
    EmnistByClass,
    /// EMNIST: digits and letters, where capital and small ones that look alike are one class.
    EmnistByMerge,
    /// EMNIST: letters, whose labels are 1 to 26 as in its files.
    EmnistLetters,
    /// EMNIST: more digits.
    EmnistDigits,
    /// EMNIST: MNIST made anew as the others are.
    EmnistMnist,
    /// Colour images of ten kinds of things, 32×32 (A. Krizhevsky, 2009).
    Cifar10,
    /// The same of a hundred kinds.
    Cifar100,
}

/// How a collection is called and kept.
struct Facts {
    name: &'static str,
    folder: &'static str,
    classes: u8,
    /// Images of the training and of the test part.
    sizes: [usize; 2],
}

/// CIFAR-10's classes, by label.
pub const CIFAR10_CLASSES: [&str; 10] =
    ["aeroplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "lorry"];

impl Collection {
    /// All of them.
    pub const ALL: [Collection; 10] = [
        Collection::Mnist,
        Collection::FashionMnist,
        Collection::EmnistBalanced,
        Collection::EmnistByClass,
        Collection::EmnistByMerge,
        Collection::EmnistLetters,
        Collection::EmnistDigits,
        Collection::EmnistMnist,
        Collection::Cifar10,
        Collection::Cifar100,
    ];

    /// The one with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Collection::ALL.into_iter().find(|collection| collection.name() == name)
    }

    #[rustfmt::skip]
    fn facts(self) -> Facts {
        let (name, folder, classes, sizes) = match self {
            Collection::Mnist => ("mnist", "mnist", 10, [60_000, 10_000]),
            Collection::FashionMnist => ("fashion-mnist", "fashion-mnist", 10, [60_000, 10_000]),
            Collection::EmnistBalanced => ("emnist-balanced", "emnist", 47, [112_800, 18_800]),
            Collection::EmnistByClass => ("emnist-byclass", "emnist", 62, [697_932, 116_323]),
            Collection::EmnistByMerge => ("emnist-bymerge", "emnist", 47, [697_932, 116_323]),
            Collection::EmnistLetters => ("emnist-letters", "emnist", 27, [124_800, 20_800]),
            Collection::EmnistDigits => ("emnist-digits", "emnist", 10, [240_000, 40_000]),
            Collection::EmnistMnist => ("emnist-mnist", "emnist", 10, [60_000, 10_000]),
            Collection::Cifar10 => ("cifar10", "cifar10", 10, [50_000, 10_000]),
            Collection::Cifar100 => ("cifar100", "cifar100", 100, [50_000, 10_000]),
        };
        Facts { name, folder, classes, sizes }
    }

    /// What it is called: `mnist`, `emnist-balanced`, `cifar100`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The folder under [`downloads_dir`] that has its files.
    pub fn folder(self) -> &'static str {
        self.facts().folder
    }

    /// Number of classes.
    pub fn classes(self) -> u8 {
        self.facts().classes
    }

    /// Number of images of a part.
    pub fn count(self, split: Split) -> usize {
        let [train, test] = self.facts().sizes;
        if split == Split::Train { train } else { test }
    }

    /// Channels, height and width of an image.
    pub fn shape(self) -> [usize; 3] {
        if self.is_cifar() { cifar_binary::SHAPE } else { [1, 28, 28] }
    }

    /// How a network wants the pixels scaled: by mean and deviation over its training images, and EMNIST as MNIST.
    pub fn normalisation(self) -> Normalisation {
        match self {
            Collection::Cifar10 => Normalisation::cifar10(),
            Collection::Cifar100 => Normalisation::cifar100(),
            Collection::FashionMnist => Normalisation::fashion_mnist(),
            _ => Normalisation::mnist(),
        }
    }

    fn is_cifar(self) -> bool {
        matches!(self, Collection::Cifar10 | Collection::Cifar100)
    }

    /// Loads a part from its folder in [`downloads_dir`].
    ///
    /// # Errors
    /// As [`load_from`](Self::load_from); when the files are not there, how to get them.
    pub fn load(self, split: Split) -> Result<LabelledImages> {
        self.load_from(&downloads_dir().join(self.folder()), split)
    }

    /// Loads a part from a folder.
    ///
    /// Of MNIST and those in its format: `train-images-idx3-ubyte` and the like, of EMNIST `emnist-balanced-train-images-idx3-ubyte`; also
    /// with a dot before `idx3`, with `.gz`, in a folder `raw` or `gzip`. EMNIST's images are transposed there, and stay so, as in
    /// torchvision. Of CIFAR-10: the binary version (`data_batch_1.bin` …, also in `cifar-10-batches-bin`), or PNG rows with
    /// JSON labels (`data_batch_1.png` …, `train_lables.json`, as that package spells them). Of CIFAR-100: `train.bin`, `test.bin`
    /// (also in `cifar-100-binary`), of which the fine labels are taken.
    ///
    /// # Errors
    /// A [`DatasetError`] that names the file that is missing, damaged or does not belong.
    pub fn load_from(self, dir: &Path, split: Split) -> Result<LabelledImages> {
        let (pixels, labels, at) = match self {
            Collection::Cifar10 => cifar10(dir, split)?,
            Collection::Cifar100 => {
                let path = first_there(dir, &["", "cifar-100-binary"], &[format!("{split}.bin")]);
                let (pixels, labels) = cifar_binary::read(&path, Records::Cifar100)?;
                (pixels, labels, path)
            }
            _ => {
                let labels = self.idx_file(dir, split, "labels", 1);
                (idx::read_images(&self.idx_file(dir, split, "images", 3))?, idx::read_labels(&labels)?, labels)
            }
        };
        let name = format!("{}-{split}", self.name());
        LabelledImages::new(name, pixels, labels, self.classes(), self.normalisation(), &at)
    }

    /// Loads the labels of a part without its images, where they are in a file of their own, from its folder in
    /// [`downloads_dir`].
    ///
    /// # Errors
    /// As [`load_from`](Self::load_from).
    pub fn load_labels(self, split: Split) -> Result<Vec<u8>> {
        if self.is_cifar() {
            return Ok(self.load(split)?.labels);
        }
        idx::read_labels(&self.idx_file(&downloads_dir().join(self.folder()), split, "labels", 1))
    }

    /// Whether the files of a part are in its folder in [`downloads_dir`].
    pub fn is_there(self, split: Split) -> bool {
        let dir = downloads_dir().join(self.folder());
        match self {
            Collection::Cifar10 => cifar10_files(&dir, split).0.iter().all(|path| path.is_file()),
            Collection::Cifar100 => first_there(&dir, &["", "cifar-100-binary"], &[format!("{split}.bin")]).is_file(),
            _ => [("images", 3), ("labels", 1)]
                .into_iter()
                .all(|(what, dimensions)| self.idx_file(&dir, split, what, dimensions).is_file()),
        }
    }

    /// The file of images or labels under the name that it has there.
    fn idx_file(self, dir: &Path, split: Split, what: &str, dimensions: u8) -> PathBuf {
        let stem = match (self.folder(), split) {
            ("emnist", split) => format!("{}-{split}", self.name()),
            (_, Split::Train) => "train".to_owned(),
            (_, Split::Test) => "t10k".to_owned(),
        };
        let plain = ["-", "."].map(|separator| format!("{stem}-{what}{separator}idx{dimensions}-ubyte"));
        let names: Vec<String> = plain.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]).collect();
        first_there(dir, &["", "raw", "gzip"], &names)
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The first of these files that is there, or the first of all: the one that an error names.
fn first_there(dir: &Path, folders: &[&str], names: &[String]) -> PathBuf {
    let all = || folders.iter().flat_map(|folder| names.iter().map(move |name| dir.join(folder).join(name)));
    all().find(|path| path.exists()).or_else(|| all().next()).unwrap_or_else(|| dir.to_path_buf())
}

/// CIFAR-10's batches, and the file with their labels where it is another. The binary version if any of it is there.
fn cifar10_files(dir: &Path, split: Split) -> (Vec<PathBuf>, Option<PathBuf>) {
    let stems: &[&str] = match split {
        Split::Train => &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        Split::Test => &["test_batch"],
    };
    let files =
        |dir: &Path, ending: &str| stems.iter().map(|stem| dir.join(format!("{stem}.{ending}"))).collect::<Vec<_>>();
    for dir in [dir.to_path_buf(), dir.join("cifar-10-batches-bin")] {
        let binary = files(&dir, "bin");
        if binary.iter().any(|path| path.exists()) {
            return (binary, None);
        }
    }
    (files(dir, "png"), Some(dir.join(format!("{split}_lables.json"))))
}

/// Pixels, labels, and the file or folder with the labels.
fn cifar10(dir: &Path, split: Split) -> Result<(Array4<u8>, Vec<u8>, PathBuf)> {
    let (files, labels) = cifar10_files(dir, split);
    let (mut all, mut own) = (Vec::new(), Vec::new());
    for path in &files {
        if labels.is_some() {
            all.push(png_rows::read_images(path)?);
        } else {
            let (pixels, labels) = cifar_binary::read(path, Records::Cifar10)?;
            all.push(pixels);
            own.extend(labels);
        }
    }
    let pixels = join(dir, &all)?;
    match labels {
        Some(path) => Ok((pixels, png_rows::read_labels(&path, Collection::Cifar10.classes())?, path)),
        None => Ok((pixels, own, dir.to_path_buf())),
    }
}

/// Batches one after another; every reader gives images of one shape, so they fit.
fn join(dir: &Path, batches: &[Array4<u8>]) -> Result<Array4<u8>> {
    let views: Vec<_> = batches.iter().map(|batch| batch.view()).collect();
    concatenate(Axis(0), &views).map_err(|error| DatasetError::Png {
        path: dir.to_path_buf(),
        reason: format!("batches of different shapes: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn digits(dir: &Path, prefix: &str, separator: &str, ending: &str, labels: &[u8]) {
        let images = Array4::from_shape_fn((3, 1, 28, 28), |(n, _, h, w)| (n + h + w) as u8);
        std::fs::create_dir_all(dir).unwrap();
        let write = |what: &str, bytes: Vec<u8>| {
            let path = dir.join(format!("{prefix}-{what}-ubyte{ending}").replace("-idx", &format!("{separator}idx")));
            let mut file = std::fs::File::create(path).unwrap();
            if ending.is_empty() {
                return file.write_all(&bytes).unwrap();
            }
            let mut packed = GzEncoder::new(file, Compression::fast());
            packed.write_all(&bytes).unwrap();
            packed.finish().unwrap();
        };
        write("images-idx3", idx::write_images(&images));
        write("labels-idx1", idx::write_labels(labels));
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let load = |labels: &[u8], split| {
            let dir = tempfile::tempdir().unwrap();
            digits(dir.path(), "t10k", "-", "", labels);
            Collection::Mnist.load_from(dir.path(), split)
        };
        assert_eq!(load(&[1, 2, 9], Split::Test).unwrap().labels, [1, 2, 9]);
        let error = load(&[1, 2], Split::Test).unwrap_err();
        assert!(matches!(error, DatasetError::CountMismatch { images: 3, labels: 2, .. }), "{error}");
        let error = load(&[1, 10, 2], Split::Test).unwrap_err();
        assert!(matches!(error, DatasetError::LabelOutOfRange { index: 1, label: 10, .. }), "{error}");
        let error = load(&[1, 2, 3], Split::Train).unwrap_err();
        assert!(
            matches!(&error, DatasetError::Missing { path } if path.ends_with("train-images-idx3-ubyte")),
            "{error}"
        );
    }

    #[test]
    fn files_are_found_under_the_names_that_they_come_with() {
        for (collection, prefix, separator, ending, folder) in [
            (Collection::Mnist, "t10k", ".", "", ""),
            (Collection::Mnist, "t10k", "-", ".gz", "raw"),
            (Collection::FashionMnist, "t10k", "-", ".gz", ""),
            (Collection::EmnistLetters, "emnist-letters-test", "-", ".gz", "gzip"),
            (Collection::EmnistBalanced, "emnist-balanced-test", ".", ".gz", ""),
        ] {
            let dir = tempfile::tempdir().unwrap();
            digits(&dir.path().join(folder), prefix, separator, ending, &[3, 0, 9]);
            let set = collection.load_from(dir.path(), Split::Test).unwrap();
            assert_eq!((set.labels.as_slice(), set.classes), (&[3, 0, 9][..], collection.classes()));
            assert_eq!((set.name, set.normalisation), (format!("{collection}-test"), collection.normalisation()));
        }
    }

    #[test]
    fn the_binary_version_is_read_with_every_batch_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        for batch in 1..=5u8 {
            let record = [&[batch][..], &[batch * 10; 3072]].concat();
            std::fs::write(dir.path().join(format!("data_batch_{batch}.bin")), record).unwrap();
        }
        let train = Collection::Cifar10.load_from(dir.path(), Split::Train).unwrap();
        assert_eq!((train.pixels.dim(), &train.labels[..]), ((5, 3, 32, 32), &[1, 2, 3, 4, 5][..]));
        assert_eq!(train.pixels[[4, 2, 31, 31]], 50);
        std::fs::remove_file(dir.path().join("data_batch_3.bin")).unwrap();
        let error = Collection::Cifar10.load_from(dir.path(), Split::Train).unwrap_err();
        assert!(matches!(&error, DatasetError::Missing { path } if path.ends_with("data_batch_3.bin")), "{error}");
    }

    #[test]
    fn of_cifar_100_the_fine_labels_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cifar-100-binary");
        std::fs::create_dir(&folder).unwrap();
        let records =
            [(4u8, 99u8, 7u8), (1, 0, 8)].map(|(coarse, fine, level)| [&[coarse, fine][..], &[level; 3072]].concat());
        std::fs::write(folder.join("test.bin"), records.concat()).unwrap();
        let set = Collection::Cifar100.load_from(dir.path(), Split::Test).unwrap();
        assert_eq!((set.labels.as_slice(), set.classes, set.pixels[[1, 2, 31, 31]]), (&[99, 0][..], 100, 8));
        let error = Collection::Cifar100.load_from(dir.path(), Split::Train).unwrap_err();
        assert!(
            matches!(&error, DatasetError::Missing { path } if path.ends_with("cifar100/train.bin") || path.ends_with("train.bin")),
            "{error}"
        );
    }

    #[test]
    fn a_label_that_is_no_class_names_the_image() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("test_batch.bin"), [&[10][..], &[0; 3072]].concat()).unwrap();
        let error = Collection::Cifar10.load_from(dir.path(), Split::Test).unwrap_err();
        assert!(matches!(error, DatasetError::LabelOutOfRange { index: 0, label: 10, .. }), "{error}");
    }
}
