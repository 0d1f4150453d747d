//! Image data sets and the paper's tables, as data.
//!
//! Loaders turn files into plain `ndarray` arrays with their labels; nothing here knows of
//! shares, parties or devices.
//!
//! | module | what lives there |
//! |---|---|
//! | [`reader`] | [`ImageSet`] and [`ImageReader`], the one reader of images: a set or a file, any range of it |
//! | [`images`] | [`LabelledImages`], what every loader of a labelled set returns, and its normalisation |
//! | [`collection`] | [`Collection`]: MNIST and those in its format, CIFAR-10 and CIFAR-100, from the folder that `scripts/fetch-datasets` fills |
//! | [`bundled`] | 1,000 test images and trained LeNet weights that are part of the program |
//! | [`idx`], [`cifar_binary`], [`png_rows`], [`npy`] | one file format each, read with bounds on memory |
//! | [`pictures`] | photographs in PNG and JPEG files, made into what a network takes |
//! | [`folder`] | folders of photographs, one for each class |
//! | [`manifest`] | what the downloaded files must be, byte for byte |
//! | [`paper`] | the figures that the tables compare with, each with its source |
//!
//! ```
//! use cryptgpu_datasets::bundled;
//!
//! let images = bundled::mnist_test_1000()?;
//! assert_eq!(images.pixels.dim(), (1000, 1, 28, 28)); // count, channels, height, width
//! assert_eq!(images.labels[0], 7);
//! let batch = images.batch(0..8)?; // normalised, as LeNet was trained
//! assert_eq!(batch.dim(), (8, 1, 28, 28));
//! # Ok::<(), cryptgpu_datasets::DatasetError>(())
//! ```

pub mod bundled;
pub mod cifar_binary;
pub mod collection;
mod error;
pub mod folder;
mod format;
#[doc(hidden)]
pub mod fuzz;
pub mod idx;
pub mod images;
pub mod manifest;
pub mod npy;
pub mod paper;
pub mod pictures;
pub mod png_rows;
mod read;
pub mod reader;

pub use collection::Collection;
pub use error::{DatasetError, Result};
pub use images::{LabelledImages, Normalisation, Split};
pub use reader::{ImageReader, ImageSet};

use std::path::PathBuf;

/// The folder of the downloaded data sets: `$CRYPTGPU_DATASETS` if it is set, otherwise
/// `datasets/downloads` of the checkout that this program was built from.
///
/// The folder need not exist; `scripts/fetch-datasets` fills the same one.
pub fn downloads_dir() -> PathBuf {
    match std::env::var_os("CRYPTGPU_DATASETS") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/downloads")),
    }
}
