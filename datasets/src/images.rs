//! What every loader returns: images as bytes, their labels, and how a network wants them scaled.
//!
//! Pixels stay bytes until a batch is asked for, so that 50,000 CIFAR-10 images take 154 MB and not 614.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use ndarray::{Array4, ArrayView3, ArrayView4, Axis, s};
use serde::{Deserialize, Serialize};

use crate::{DatasetError, Result};

/// Most images that a file may declare.
pub const MAX_IMAGES: u64 = 1 << 20;
/// Largest height or width of an image, in pixels.
pub const MAX_SIDE: u64 = 1 << 12;
/// Most bytes of pixels that a file may declare (1 GiB).
pub const MAX_PIXEL_BYTES: u64 = 1 << 30;

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Split {
    /// The images to train with.
    Train,
    /// The images to measure accuracy on.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Test => "test",
        })
    }
}

/// The affine map from a pixel byte to a network's input, one mean and deviation per channel:
/// `input = (byte / 255 − mean[c]) / std[c]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalisation {
    /// Mean of each channel, in units of the full range (byte / 255).
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, in the same units.
    pub std: Vec<f32>,
}

impl Normalisation {
    /// Mean and deviation over MNIST's 60,000 training images, rounded to four places. The bundled
    /// LeNet was trained with it; black becomes −0.4242 and white 2.8215.
    pub fn mnist() -> Self {
        Self { mean: vec![0.1307], std: vec![0.3081] }
    }

    /// Mean and deviation of red, green and blue over CIFAR-10's 50,000 training images, rounded to
    /// four places.
    pub fn cifar10() -> Self {
        Self { mean: vec![0.4914, 0.4822, 0.4465], std: vec![0.2470, 0.2435, 0.2616] }
    }

    /// Mean and deviation of red, green and blue over CIFAR-100's 50,000 training images, rounded to four places.
    pub fn cifar100() -> Self {
        Self { mean: vec![0.5071, 0.4865, 0.4409], std: vec![0.2673, 0.2564, 0.2762] }
    }

    /// Mean and deviation over Fashion-MNIST's 60,000 training images, rounded to four places.
    pub fn fashion_mnist() -> Self {
        Self { mean: vec![0.2860], std: vec![0.3530] }
    }

    /// The network input for a byte of channel `c`; a channel without its own figures takes the last
    /// one's.
    fn apply(&self, c: usize, byte: u8) -> f32 {
        let figure = |of: &[f32], default| of.get(c).or(of.last()).copied().unwrap_or(default);
        (f32::from(byte) / 255.0 - figure(&self.mean, 0.0)) / figure(&self.std, 1.0)
    }
}

/// Images with their labels. [`check`](Self::check) holds for everything that a loader returns.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledImages {
    /// Name of the data set and part, as tables show it: `mnist-test`.
    pub name: String,
    /// Pixels, one byte each, in the order image, channel, row, column (NCHW).
    pub pixels: Array4<u8>,
    /// The class of each image, below [`classes`](Self::classes).
    pub labels: Vec<u8>,
    /// Number of classes.
    pub classes: u8,
    /// How a network wants the pixels scaled.
    pub normalisation: Normalisation,
}

impl LabelledImages {
    /// Puts images and labels together.
    ///
    /// # Errors
    /// [`CountMismatch`](DatasetError::CountMismatch) or [`LabelOutOfRange`](DatasetError::LabelOutOfRange),
    /// both naming `labels_path`.
    pub fn new(
        name: impl Into<String>,
        pixels: Array4<u8>,
        labels: Vec<u8>,
        classes: u8,
        normalisation: Normalisation,
        labels_path: &Path,
    ) -> Result<Self> {
        let images = Self { name: name.into(), pixels, labels, classes, normalisation };
        images.check(labels_path)?;
        Ok(images)
    }

    /// Tests that there are as many labels as images and that each is a class.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn check(&self, labels_path: &Path) -> Result<()> {
        let path = || labels_path.to_path_buf();
        if self.labels.len() != self.pixels.dim().0 {
            let (images, labels) = (self.pixels.dim().0, self.labels.len());
            return Err(DatasetError::CountMismatch { path: path(), images, labels });
        }
        match self.labels.iter().position(|&label| label >= self.classes) {
            None => Ok(()),
            Some(index) => Err(DatasetError::LabelOutOfRange {
                path: path(),
                index,
                label: self.labels.get(index).copied().map_or(-1, i64::from),
                classes: self.classes,
            }),
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width of one image.
    pub fn shape(&self) -> [usize; 3] {
        let (_, c, h, w) = self.pixels.dim();
        [c, h, w]
    }

    /// The bytes of image `index`, channel by channel.
    ///
    /// # Errors
    /// [`OutOfBounds`](DatasetError::OutOfBounds) if there is no such image.
    pub fn image(&self, index: usize) -> Result<ArrayView3<'_, u8>> {
        self.bounds(&(index..index.saturating_add(1)))?;
        Ok(self.pixels.index_axis(Axis(0), index))
    }

    /// Images `range`, scaled for a network by [`normalisation`](Self::normalisation): an array of
    /// (count, channels, height, width).
    ///
    /// # Errors
    /// [`OutOfBounds`](DatasetError::OutOfBounds) if the range goes beyond the set.
    pub fn batch(&self, range: Range<usize>) -> Result<Array4<f32>> {
        self.bounds(&range)?;
        Ok(scaled(self.pixels.slice(s![range, .., .., ..]), &self.normalisation))
    }

    /// The labels of images `range`.
    ///
    /// # Errors
    /// [`OutOfBounds`](DatasetError::OutOfBounds) if the range goes beyond the set.
    pub fn labels_of(&self, range: Range<usize>) -> Result<&[u8]> {
        self.bounds(&range)?;
        Ok(&self.labels[range])
    }

    /// The first `count` images as a set of their own.
    ///
    /// # Errors
    /// [`OutOfBounds`](DatasetError::OutOfBounds) if there are not so many.
    pub fn first(&self, count: usize) -> Result<Self> {
        self.slice(0..count)
    }

    /// Images `range` as a set of their own.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        self.bounds(&range)?;
        Ok(Self {
            name: self.name.clone(),
            pixels: self.pixels.slice(s![range.clone(), .., .., ..]).to_owned(),
            labels: self.labels[range].to_vec(),
            classes: self.classes,
            normalisation: self.normalisation.clone(),
        })
    }

    fn bounds(&self, range: &Range<usize>) -> Result<()> {
        check_range(&self.name, range, self.len())
    }
}

/// Pixel bytes as a network takes them, channel by channel.
pub(crate) fn scaled(bytes: ArrayView4<'_, u8>, normalisation: &Normalisation) -> Array4<f32> {
    let mut inputs = Array4::zeros(bytes.raw_dim());
    for c in 0..bytes.dim().1 {
        let table: [f32; 256] = std::array::from_fn(|byte| normalisation.apply(c, byte as u8));
        let (mut to, from) = (inputs.index_axis_mut(Axis(1), c), bytes.index_axis(Axis(1), c));
        to.zip_mut_with(&from, |to, &from| *to = table[usize::from(from)]);
    }
    inputs
}

/// Tests that the set called `dataset`, of `count` images, has those of `range`.
pub(crate) fn check_range(dataset: &str, range: &Range<usize>, count: usize) -> Result<()> {
    let &Range { start, end } = range;
    if start <= end && end <= count {
        return Ok(());
    }
    Err(DatasetError::OutOfBounds { dataset: dataset.to_owned(), start, end, count })
}

/// Tests the sizes that a file declares, before memory is taken for them, and gives the bytes of
/// pixels.
pub(crate) fn checked_pixel_bytes(path: &Path, images: u64, channels: u64, height: u64, width: u64) -> Result<u64> {
    let limits = [
        ("the number of images", images, MAX_IMAGES),
        ("the height of an image", height, MAX_SIDE),
        ("the width of an image", width, MAX_SIDE),
        // Cannot overflow: the three tests above come first.
        (
            "the size of all pixels in bytes",
            images.min(MAX_IMAGES) * channels * height.min(MAX_SIDE) * width.min(MAX_SIDE),
            MAX_PIXEL_BYTES,
        ),
    ];
    for (what, declared, limit) in limits {
        if declared > limit {
            return Err(DatasetError::TooLarge { path: path.to_path_buf(), what, declared, limit });
        }
    }
    Ok(images * channels * height * width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(labels: Vec<u8>) -> Result<LabelledImages> {
        let pixels = Array4::from_shape_fn((3, 2, 1, 2), |(n, c, _, w)| (n * 4 + c * 2 + w) as u8);
        let normalisation = Normalisation { mean: vec![0.0, 0.5], std: vec![1.0, 0.25] };
        LabelledImages::new("toy", pixels, labels, 4, normalisation, Path::new("labels"))
    }

    #[test]
    fn a_batch_is_the_formula_applied_to_each_channel() {
        let batch = set(vec![0, 1, 3]).unwrap().batch(1..3).unwrap();
        assert_eq!(batch.dim(), (2, 2, 1, 2));
        assert_eq!(batch[[0, 0, 0, 1]], 5.0 / 255.0);
        assert_eq!(batch[[1, 1, 0, 0]], (10.0 / 255.0 - 0.5) / 0.25);
    }

    #[test]
    fn counts_labels_and_ranges_are_checked() {
        let error = set(vec![0, 1]).unwrap_err();
        assert!(matches!(error, DatasetError::CountMismatch { images: 3, labels: 2, .. }), "{error}");
        let error = set(vec![0, 4, 9]).unwrap_err();
        assert!(matches!(error, DatasetError::LabelOutOfRange { index: 1, label: 4, classes: 4, .. }), "{error}");
        let good = set(vec![0, 1, 3]).unwrap();
        let backwards = Range { start: 2, end: 1 };
        assert!(matches!(good.batch(backwards), Err(DatasetError::OutOfBounds { .. })));
        assert!(matches!(good.batch(2..4), Err(DatasetError::OutOfBounds { end: 4, count: 3, .. })));
        assert!(matches!(good.image(usize::MAX), Err(DatasetError::OutOfBounds { .. })));
        assert!(matches!(good.first(4), Err(DatasetError::OutOfBounds { .. })));
        assert_eq!(good.first(2).unwrap().labels, [0, 1]);
        assert_eq!(good.labels_of(1..3).unwrap(), [1, 3]);
    }

    proptest! {
        #[test]
        fn declared_sizes_never_overflow_and_never_exceed_the_limit(n: u64, c in 1u64..=4, h: u64, w: u64) {
            if let Ok(bytes) = checked_pixel_bytes(Path::new("x"), n, c, h, w) {
                prop_assert_eq!(u128::from(bytes), u128::from(n) * u128::from(c) * u128::from(h) * u128::from(w));
                prop_assert!(bytes <= MAX_PIXEL_BYTES);
            }
        }
    }
}
