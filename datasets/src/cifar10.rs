//! CIFAR-10: 50,000 training and 10,000 test colour images of ten kinds of things, 32×32
//! (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009).

use std::path::{Path, PathBuf};

use ndarray::{Array4, Axis, concatenate};

use crate::{DatasetError, LabelledImages, Normalisation, Result, Split, cifar_binary, downloads_dir, png_rows};

pub use crate::cifar_binary::CLASSES;
/// The classes, by label.
pub const CLASS_NAMES: [&str; 10] =
    ["aeroplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "lorry"];

/// Loads a part of CIFAR-10 from the folder `cifar10` of [`downloads_dir`].
///
/// # Errors
/// As [`load_from`]; when the files are not there, how to get them.
pub fn load(split: Split) -> Result<LabelledImages> {
    load_from(&downloads_dir().join("cifar10"), split)
}

/// Loads a part of CIFAR-10 from a folder that has either the binary version (`data_batch_1.bin` to
/// `data_batch_5.bin`, `test_batch.bin`) or PNG rows with JSON labels (`data_batch_1.png` …,
/// `train_lables.json`, as that package spells them). The binary version is taken if both are there.
///
/// # Errors
/// A [`DatasetError`] that names the file that is missing, damaged or does not belong.
pub fn load_from(dir: &Path, split: Split) -> Result<LabelledImages> {
    let stems: &[&str] = match split {
        Split::Train => &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        Split::Test => &["test_batch"],
    };
    let files = |extension: &str| -> Vec<PathBuf> {
        stems.iter().map(|stem| dir.join(format!("{stem}.{extension}"))).collect()
    };
    let name = format!("cifar10-{split}");
    let (binary, png) = (files("bin"), files("png"));
    if binary.iter().any(|path| path.exists()) {
        let mut labels = Vec::new();
        let batches = binary.iter().map(|path| {
            let (pixels, batch_labels) = cifar_binary::read(path)?;
            labels.extend(batch_labels);
            Ok(pixels)
        });
        let pixels = join(dir, batches.collect::<Result<_>>()?)?;
        return LabelledImages::new(name, pixels, labels, CLASSES, Normalisation::cifar10(), dir);
    }
    let pixels = join(dir, png.iter().map(|path| png_rows::read_images(path)).collect::<Result<_>>()?)?;
    let labels_path = dir.join(format!("{split}_lables.json"));
    let labels = png_rows::read_labels(&labels_path, CLASSES)?;
    LabelledImages::new(name, pixels, labels, CLASSES, Normalisation::cifar10(), &labels_path)
}

/// Batches one after another; every reader gives images of one shape, so they fit.
fn join(dir: &Path, batches: Vec<Array4<u8>>) -> Result<Array4<u8>> {
    let views: Vec<_> = batches.iter().map(|batch| batch.view()).collect();
    concatenate(Axis(0), &views).map_err(|error| DatasetError::Png {
        path: dir.to_path_buf(),
        reason: format!("batches of different shapes: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_version_is_read_with_every_batch_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        for batch in 1..=5u8 {
            let record = [&[batch][..], &[batch * 10; 3072]].concat();
            std::fs::write(dir.path().join(format!("data_batch_{batch}.bin")), record).unwrap();
        }
        let train = load_from(dir.path(), Split::Train).unwrap();
        assert_eq!((train.pixels.dim(), &train.labels[..]), ((5, 3, 32, 32), &[1, 2, 3, 4, 5][..]));
        assert_eq!(train.pixels[[4, 2, 31, 31]], 50);
        std::fs::remove_file(dir.path().join("data_batch_3.bin")).unwrap();
        let error = load_from(dir.path(), Split::Train).unwrap_err();
        assert!(matches!(&error, DatasetError::Missing { path } if path.ends_with("data_batch_3.bin")), "{error}");
    }

    #[test]
    fn a_label_that_is_no_class_names_the_image() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("test_batch.bin"), [&[10][..], &[0; 3072]].concat()).unwrap();
        let error = load_from(dir.path(), Split::Test).unwrap_err();
        assert!(matches!(error, DatasetError::LabelOutOfRange { index: 0, label: 10, .. }), "{error}");
    }
}
