//! Shuffled, augmented batches: each image is moved by up to two pixels in each direction, afresh in
//! every epoch.

use candle_core::{Device, Result, Tensor};
use cryptgpu_datasets::LabelledImages;
use ndarray::{Array4, s};
use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Furthest that an image is moved, in pixels.
pub const SHIFT: i32 = 2;

/// The order of an epoch: all images, shuffled.
pub fn order(count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(random);
    order
}

/// Normalised images `indices` moved at random, and their labels one-hot.
pub fn augmented(
    normalised: &Array4<f32>,
    images: &LabelledImages,
    indices: &[usize],
    random: &mut ChaCha8Rng,
) -> Result<(Tensor, Tensor)> {
    let [channels, height, width] = images.shape();
    // What lies outside an image is background, as the normalisation maps black.
    let background =
        images.normalisation.mean.first().zip(images.normalisation.std.first()).map_or(0.0, |(m, s)| -m / s);
    let mut batch = Array4::from_elem((indices.len(), channels, height, width), background);
    let mut one_hot = vec![0f32; indices.len() * usize::from(images.classes)];
    for (slot, &index) in indices.iter().enumerate() {
        let [down, right] = [0, 0].map(|_: usize| random.random_range(-SHIFT..=SHIFT));
        let (to_rows, from_rows) = spans(down, height);
        let (to_columns, from_columns) = spans(right, width);
        batch.slice_mut(s![slot, .., to_rows, to_columns]).assign(&normalised.slice(s![
            index,
            ..,
            from_rows,
            from_columns
        ]));
        one_hot[slot * usize::from(images.classes) + usize::from(images.labels[index])] = 1.0;
    }
    let shape = batch.dim();
    let batch = Tensor::from_vec(batch.into_raw_vec_and_offset().0, shape, &Device::Cpu)?;
    Ok((batch, Tensor::from_vec(one_hot, (indices.len(), usize::from(images.classes)), &Device::Cpu)?))
}

/// Where a line of `length` pixels lands and where it comes from when it is moved by `by`.
fn spans(by: i32, length: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let kept = length.saturating_sub(by.unsigned_abs() as usize);
    let (to, from) = (by.max(0) as usize, (-by).max(0) as usize);
    (to..to + kept, from..from + kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_moves_within_its_bounds() {
        assert_eq!(spans(0, 28), (0..28, 0..28));
        assert_eq!(spans(2, 28), (2..28, 0..26));
        assert_eq!(spans(-2, 28), (0..26, 2..28));
    }
}
