//! Folders of photographs, one for each class, as torchvision's `ImageFolder` has them: `photos/cat/1.jpg`, `photos/dog/7.png`.
//! The classes are numbered by the order of their folders' names.

use std::path::{Path, PathBuf};

use ndarray::Array4;

use crate::images::checked_pixel_bytes;
use crate::pictures::{self, Preprocessing};
use crate::{DatasetError, Result};

/// Pictures of a folder by class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassFolder {
    /// The classes' names, by label.
    pub classes: Vec<String>,
    /// The pictures, those of the first class first.
    pub pictures: Vec<PathBuf>,
    /// The class of each picture.
    pub labels: Vec<u8>,
}

/// Whether there are folders in `path`, which may be classes.
pub fn has_classes(path: &Path) -> bool {
    folders(path).is_ok_and(|folders| !folders.is_empty())
}

/// The folders in `path`, by name, without hidden ones.
fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => DatasetError::Missing { path: path.into() },
        _ => DatasetError::Io { path: path.into(), action: "read", source },
    };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().is_dir() {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}

impl ClassFolder {
    /// Lists the pictures of `path`. Nothing is decoded.
    ///
    /// # Errors
    /// [`DatasetError::Missing`], [`DatasetError::Io`]; [`DatasetError::Picture`] where there is no class, a class without a
    /// picture, or more than 256 classes.
    pub fn list(path: &Path) -> Result<Self> {
        let folders = folders(path)?;
        let wrong = |what: String| DatasetError::Picture { path: path.into(), what };
        if folders.is_empty() {
            return Err(wrong("the folder has no folder for each class in it".into()));
        }
        let mut all = ClassFolder { classes: Vec::new(), pictures: Vec::new(), labels: Vec::new() };
        for (class, folder) in folders.iter().enumerate() {
            let label =
                u8::try_from(class).map_err(|_| wrong(format!("{} classes, and 256 are the most", folders.len())))?;
            let pictures = pictures::list(folder)?;
            all.classes.push(folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned());
            all.labels.extend(pictures.iter().map(|_| label));
            all.pictures.extend(pictures);
        }
        Ok(all)
    }

    /// The pictures' levels in the size `shape` [c, h, w], before they are normalised.
    ///
    /// # Errors
    /// As [`pictures::read`]; [`DatasetError::TooLarge`] for more than the loaders take memory for.
    pub(crate) fn levels(&self, path: &Path, preprocessing: &Preprocessing, shape: [usize; 3]) -> Result<Array4<u8>> {
        let [channels, height, width] = shape.map(|size| size as u64);
        checked_pixel_bytes(path, self.pictures.len() as u64, channels, height, width)?;
        pictures::levels(&self.pictures, preprocessing, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageSet;

    fn picture(path: &Path, level: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(5, 3, image::Rgb([level, 2 * level, 0])).save(path).unwrap();
    }

    #[test]
    fn classes_are_numbered_by_name_and_pictures_scaled_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        for (name, level) in [("dog/a.png", 10), ("cat/b.png", 20), ("cat/a.png", 30), (".git/c.png", 40)] {
            picture(&dir.path().join(name), level);
        }
        let listed = ClassFolder::list(dir.path()).unwrap();
        assert_eq!((listed.classes.clone(), listed.labels.clone()), (vec!["cat".into(), "dog".into()], vec![0, 0, 1]));
        let set = ImageSet::Folder {
            folder: dir.path().into(),
            shape: [3, 2, 2],
            preprocessing: "unit,mean=0:0:0.5,std=0.5".into(),
        };
        let read = set.open().unwrap();
        assert_eq!((read.shape(), read.labels(0..3).unwrap()), ([3, 2, 2], Some(&[0, 0, 1][..])));
        let batch = read.batch(0..3).unwrap();
        let near =
            |at: [usize; 4], expected: f32| assert!((batch[at] - expected).abs() < 1e-6, "{at:?}: {}", batch[at]);
        near([0, 0, 1, 1], 30.0 / 255.0 / 0.5);
        near([1, 1, 0, 0], 40.0 / 255.0 / 0.5);
        near([2, 2, 0, 1], -1.0);
        assert_eq!(set.open_labels().unwrap(), [0, 0, 1]);
        let exact = pictures::read(&listed.pictures, &"unit,mean=0:0:0.5,std=0.5".parse().unwrap(), [3, 2, 2]).unwrap();
        assert!(exact.iter().zip(&batch).all(|(a, &b)| (a - f64::from(b)).abs() < 1e-6));
        // Blue first; and one channel.
        let blue =
            ImageSet::Folder { folder: dir.path().into(), shape: [3, 2, 2], preprocessing: "unit,channels=bgr".into() };
        assert_eq!(blue.open().unwrap().pixels(0..1).unwrap()[[0, 2, 0, 0]], 30);
        let grey = ImageSet::Folder { folder: dir.path().into(), shape: [1, 2, 2], preprocessing: "mnist".into() };
        assert_eq!(grey.open().unwrap().shape(), [1, 2, 2]);
        let train = |name: &str| {
            let (folder, preprocessing) = (dir.path().join(name), "unit".to_owned());
            ImageSet::Folder { folder, shape: [3, 2, 2], preprocessing }
        };
        assert_eq!(train("train").test_part(), None);
        std::fs::create_dir(dir.path().join("val")).unwrap();
        assert_eq!((train("train").test_part(), train("all").test_part()), (Some(train("val")), None));
    }

    #[test]
    fn what_is_no_folder_of_classes_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &Path| ClassFolder::list(path).unwrap_err().to_string();
        assert!(error(dir.path()).contains("no folder for each class"));
        std::fs::create_dir(dir.path().join("empty")).unwrap();
        assert!(error(dir.path()).contains("empty is no picture that can be used: the folder has no .png"));
        assert!(error(&dir.path().join("no")).contains("is not there"));
        let set =
            ImageSet::Folder { folder: dir.path().into(), shape: [3, 2, 2], preprocessing: "unit,mean=1:2".into() };
        picture(&dir.path().join("empty/a.png"), 1);
        assert!(set.open().unwrap_err().to_string().contains("2 numbers for 3 channels"));
    }
}
