//! MNIST: 60,000 training and 10,000 test images of handwritten digits, 28×28, grey
//! (Y. LeCun, C. Cortes, C. J. C. Burges).

use std::path::{Path, PathBuf};

use crate::{LabelledImages, Normalisation, Result, Split, downloads_dir, idx};

/// Number of classes: the digits.
pub const CLASSES: u8 = 10;

/// Loads a part of MNIST from the folder `mnist` of [`downloads_dir`].
///
/// # Errors
/// As [`load_from`]; when the files are not there, how to get them.
pub fn load(split: Split) -> Result<LabelledImages> {
    load_from(&downloads_dir().join("mnist"), split)
}

/// Loads a part of MNIST from a folder with the four IDX files under their original names, each
/// plain or, with `.gz` added to its name, gzipped.
///
/// # Errors
/// A [`DatasetError`](crate::DatasetError) that names the file that is missing, damaged or does not
/// belong.
pub fn load_from(dir: &Path, split: Split) -> Result<LabelledImages> {
    let images = plain_or_gz(dir, &format!("{}-images-idx3-ubyte", stem(split)));
    load_files(&format!("mnist-{split}"), &images, &labels_path(dir, split))
}

/// Loads the labels of a part of MNIST, without its images, from the folder `mnist` of [`downloads_dir`].
///
/// # Errors
/// As [`load_from`].
pub fn load_labels(split: Split) -> Result<Vec<u8>> {
    idx::read_labels(&labels_path(&downloads_dir().join("mnist"), split))
}

fn labels_path(dir: &Path, split: Split) -> PathBuf {
    plain_or_gz(dir, &format!("{}-labels-idx1-ubyte", stem(split)))
}

fn stem(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Test => "t10k",
    }
}

/// Loads MNIST-like digits from two IDX files.
///
/// # Errors
/// As [`load_from`].
pub fn load_files(name: &str, images: &Path, labels: &Path) -> Result<LabelledImages> {
    let pixels = idx::read_images(images)?;
    LabelledImages::new(name, pixels, idx::read_labels(labels)?, CLASSES, Normalisation::mnist(), labels)
}

/// The plain name unless only the gzipped file is there.
fn plain_or_gz(dir: &Path, name: &str) -> PathBuf {
    let (plain, gz) = (dir.join(name), dir.join(format!("{name}.gz")));
    if !plain.exists() && gz.exists() { gz } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DatasetError;
    use ndarray::Array4;

    fn folder(labels: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let images = Array4::from_shape_fn((3, 1, 28, 28), |(n, _, h, w)| (n + h + w) as u8);
        std::fs::write(dir.path().join("t10k-images-idx3-ubyte"), idx::write_images(&images)).unwrap();
        std::fs::write(dir.path().join("t10k-labels-idx1-ubyte"), idx::write_labels(labels)).unwrap();
        dir
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        assert_eq!(load_from(folder(&[1, 2, 9]).path(), Split::Test).unwrap().labels, [1, 2, 9]);
        let error = load_from(folder(&[1, 2]).path(), Split::Test).unwrap_err();
        assert!(matches!(error, DatasetError::CountMismatch { images: 3, labels: 2, .. }), "{error}");
        let error = load_from(folder(&[1, 10, 2]).path(), Split::Test).unwrap_err();
        assert!(matches!(error, DatasetError::LabelOutOfRange { index: 1, label: 10, .. }), "{error}");
        let error = load_from(folder(&[1, 2, 3]).path(), Split::Train).unwrap_err();
        assert!(matches!(error, DatasetError::Missing { .. }), "{error}");
    }
}
