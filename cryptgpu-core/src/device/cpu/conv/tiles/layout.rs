//! The orders of words in which tiles compute, and back: images pixel by pixel with channels next to each other, weights
//! tap by tap with a row for each input channel.

use super::Tiling;
use crate::device::cpu::parallel::Out;
use crate::device::spare::Elements;
use crate::ring::Word;
use rayon::prelude::*;

/// Channels that are moved together.
const BLOCK: usize = 8;

/// Images `[batch, channels, height, width]` as `[batch, height, width, channels]`.
pub(super) fn pixels<T: Word>(images: &[T], channels: usize, size: [usize; 2]) -> Elements<T> {
    let [height, width] = size;
    let mut out = Elements::scratch(images.len());
    let row = |(index, out): (usize, &mut [T])| {
        let (image, y) = (index / height, index % height);
        let rows = &images[image * channels * height * width + y * width..];
        let plane = |channel: usize| &rows[channel * height * width..][..width];
        for first in (0..channels).step_by(BLOCK) {
            let some = BLOCK.min(channels - first);
            let mut planes = [&[][..]; BLOCK];
            planes[..some].iter_mut().enumerate().for_each(|(k, words)| *words = plane(first + k));
            transpose(&planes[..some], &mut out[first..], channels);
        }
    };
    out.par_chunks_exact_mut(width * channels).with_min_len(4).enumerate().for_each(row);
    out
}

/// Word x of row k goes to `out[x · stride + k]`, of at most [`BLOCK`] rows.
fn transpose<T: Word>(rows: &[&[T]], out: &mut [T], stride: usize) {
    let width = rows.first().map_or(0, |row| row.len());
    let whole: Option<[&[T]; BLOCK]> = rows.try_into().ok();
    let Some(blocks_of) = whole.map(|rows| rows.map(|row| row.as_chunks::<BLOCK>().0)) else {
        for (k, row) in rows.iter().enumerate() {
            out[k..].iter_mut().step_by(stride).zip(*row).for_each(|(to, from)| *to = *from);
        }
        return;
    };
    let blocks = width / BLOCK;
    for at in 0..blocks {
        let words = blocks_of.map(|row| row[at]);
        for x in 0..BLOCK {
            let column: [T; BLOCK] = std::array::from_fn(|k| words[k][x]);
            out[(at * BLOCK + x) * stride..][..BLOCK].copy_from_slice(&column);
        }
    }
    if let Some(rows) = whole {
        for x in blocks * BLOCK..width {
            let column: [T; BLOCK] = std::array::from_fn(|k| rows[k][x]);
            out[x * stride..][..BLOCK].copy_from_slice(&column);
        }
    }
}

/// Outputs of whole tiles, pixel by pixel, as `[batch, channels, height, width]`.
pub(super) fn planes<T: Word>(tiling: &Tiling, sums: &[T], out: &mut [T]) {
    let ([height, width], channels) = (tiling.output, tiling.channels[1]);
    let rows = tiling.tiles[0] * tiling.axes[0].outputs;
    let some = if channels.is_multiple_of(BLOCK) { BLOCK } else { 1 };
    let block = |(index, out): (usize, &mut [T])| {
        let (image, first) = (index * some / channels, index * some % channels);
        for y in 0..height {
            let row = &sums[(image * rows + y) * width * channels..][..width * channels];
            for (at, x) in (0..width).step_by(BLOCK).enumerate() {
                let mut pixels = [&[][..]; BLOCK];
                let count = BLOCK.min(width - x);
                let pixel = |k: usize| &row[(x + k) * channels + first..][..some];
                pixels[..count].iter_mut().enumerate().for_each(|(k, words)| *words = pixel(k));
                transpose(&pixels[..count], &mut out[y * width + at * BLOCK..], height * width);
            }
        }
    };
    out.par_chunks_exact_mut(some * height * width).with_min_len(4).enumerate().for_each(block);
}

/// Weights `[out, in, taps]` as `[taps, in, out]`.
pub(super) fn taps<T: Word>(tiling: &Tiling, weights: &[T]) -> Elements<T> {
    let ([input, output], area) = (tiling.channels, tiling.kernel().iter().product::<usize>());
    let mut out = Elements::scratch(weights.len());
    let view = Out::new(&mut out);
    // Eight kernels side by side, sixteen channels of each: reads and writes stay in a few lines.
    let block = |block: usize| {
        let channels = block * 16..input.min(block * 16 + 16);
        for first in (0..output).step_by(BLOCK) {
            let count = BLOCK.min(output - first);
            for (channel, tap) in channels.clone().flat_map(|channel| (0..area).map(move |tap| (channel, tap))) {
                let at = (tap * input + channel) * output + first;
                // SAFETY: each block takes the words of its own channels, once.
                let out = unsafe { view.range(at..at + count) };
                let source = weights[(first * input + channel) * area + tap..].iter().step_by(input * area);
                out.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
            }
        }
    };
    (0..input.div_ceil(16)).into_par_iter().for_each(block);
    out
}

/// Weights `[in, out, taps]` of the convolution whose images' gradient is asked for, as `[taps, in, out]` from the last tap
/// to the first.
pub(super) fn flipped_taps<T: Word>(tiling: &Tiling, weights: &[T]) -> Elements<T> {
    let ([input, output], area) = (tiling.channels, tiling.kernel().iter().product::<usize>());
    let mut out = Elements::scratch(weights.len());
    let view = Out::new(&mut out);
    let row = |channel: usize| {
        let kernels = &weights[channel * output * area..][..output * area];
        for tap in 0..area {
            let at = ((area - 1 - tap) * input + channel) * output;
            // SAFETY: each channel takes its own words, once.
            let out = unsafe { view.range(at..at + output) };
            out.iter_mut().zip(kernels[tap..].iter().step_by(area)).for_each(|(to, from)| *to = *from);
        }
    };
    (0..input).into_par_iter().with_min_len(8).for_each(row);
    out
}

/// Weights `[taps, out, in]` as `[out, in, taps]`.
pub(super) fn kernels_of<T: Word>(tiling: &Tiling, weights: &[T], out: &mut [T]) {
    let area = tiling.kernel().iter().product::<usize>();
    let each = weights.len() / area;
    let kernels = |(first, out): (usize, &mut [T])| {
        for (index, kernel) in out.chunks_exact_mut(area).enumerate() {
            let source = weights[first * 64 + index..].iter().step_by(each);
            kernel.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        }
    };
    out.par_chunks_mut(64 * area).with_min_len(8).enumerate().for_each(kernels);
}
