//! The gradient of a convolution's images as a product of matrices, weights (rows: input channel, kernel row, kernel
//! column; depth: output channel) times the outputs' gradient (columns: output pixels), whose words are added to the
//! inputs that their taps see. With one input channel a group there is a direct loop. With AMX, whose products take less time than
//! the additions, it is the convolution of the gradient with the flipped kernel where that has about as many products.
//!
//! Floor: the products of the convolution itself, whatever stride and padding, and an addition in cache for each word
//! of an im2col matrix. Without AMX the convolution with the flipped kernel was nowhere faster by more than the noise of a busy machine: it
//! has products for all inputs where there are fewer outputs, and packs an im2col matrix.

use super::implicit::{self, Images, Shape};
use super::tap::Tap;
use super::{ConvTerm, InputGradientTerm};
use crate::device::cpu::elementwise::reorder;
use crate::device::cpu::gemm::{
    Concat, GemmError, Isa, Kernels, Lanes, Output, PARALLEL_PRODUCTS, product, vectorised,
};
use crate::device::cpu::pool::add_taps;
use crate::device::spare::Elements;
use crate::device::{BlockOrder, ConvGeometry, GeometryError, PlaneWindows, PoolGeometry};
use crate::ring::Word;
use rayon::prelude::*;

/// Output pixels that make the columns of one product, at least: then weights are packed for many columns.
const COLUMNS: usize = 256;
/// Words of a product before they are added to inputs, at most (but for one channel): they stay in cache.
const WORDS: usize = 1 << 17;

/// Sum of gradients. The caller has checked shapes and instruction set.
pub(super) fn gradient<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[InputGradientTerm<'_, T>],
    dx: &mut [T],
) -> Result<(), GemmError> {
    let windows = geometry.windows()?;
    if geometry.groups > 1 && geometry.in_channels == geometry.groups {
        depthwise(isa, geometry, &windows, terms, dx);
        return Ok(());
    }
    match adjoint(geometry)? {
        Some(adjoint) if isa == Isa::Amx && geometry.groups == 1 && geometry.window.kernel != [1; 2] => {
            by_flipped_kernels(isa, &adjoint, terms, dx)
        }
        _ => by_additions(isa, geometry, &windows, terms, dx),
    }
}

/// The convolution with the flipped kernel, where there is one and it has not many more products.
pub(super) fn adjoint(geometry: &ConvGeometry) -> Result<Option<ConvGeometry>, GeometryError> {
    let PlaneWindows { window, output, input } = geometry.windows()?;
    if window.stride != [1; 2] || window.dilation != [1; 2] || 4 * input[0] * input[1] > 5 * output[0] * output[1] {
        return Ok(None);
    }
    let padding = [0, 1, 2, 3].map(|side| (window.kernel[side / 2] - 1).checked_sub(window.padding[side]));
    let [Some(top), Some(bottom), Some(left), Some(right)] = padding else { return Ok(None) };
    let window = PoolGeometry { padding: [top, bottom, left, right], ..window };
    let (in_channels, out_channels) = (geometry.out_channels, geometry.in_channels);
    let adjoint = ConvGeometry { in_channels, out_channels, input: output, window, ..*geometry };
    Ok((adjoint.output()? == input).then_some(adjoint))
}

/// By the convolution `adjoint` of the outputs' gradient with the flipped kernel.
fn by_flipped_kernels<T: Kernels>(
    isa: Isa,
    adjoint: &ConvGeometry,
    terms: &[InputGradientTerm<'_, T>],
    dx: &mut [T],
) -> Result<(), GemmError> {
    let [inputs, outputs, height, width] = adjoint.weight_shape();
    let order = BlockOrder { reversed: true, ..BlockOrder::swapped(1, [outputs, inputs], height * width) };
    let flipped = terms.iter().map(|term| {
        let mut weight = Elements::scratch(term.weight.len());
        reorder(&order, term.weight, &mut weight);
        weight
    });
    let flipped: Vec<_> = flipped.collect();
    let terms: Vec<_> =
        terms.iter().zip(&flipped).map(|(term, weight)| ConvTerm { input: term.gradient, weight }).collect();
    implicit::convolve(isa, adjoint, &terms, dx)
}

/// By products whose words are added to inputs, a few images and channels at a time.
fn by_additions<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    windows: &PlaneWindows,
    terms: &[InputGradientTerm<'_, T>],
    dx: &mut [T],
) -> Result<(), GemmError> {
    let ConvGeometry { batch, in_channels, out_channels, groups, .. } = *geometry;
    let [channels, outputs] = [in_channels / groups, out_channels / groups];
    let PlaneWindows { window, input, output } = *windows;
    let (plane, pixels, taps) = (input[0] * input[1], output[0] * output[1], window.kernel[0] * window.kernel[1]);
    // The outputs' gradient as the columns of a 1 × 1 convolution.
    let columns = Shape::new(&ConvGeometry {
        in_channels: out_channels,
        input: output,
        window: PoolGeometry::square(1, 1, 0),
        ..*geometry
    })?;
    let images = COLUMNS.div_ceil(pixels.max(1)).min(batch);
    let some = (WORDS / (taps * images * pixels).max(1)).clamp(1, channels.max(1));
    let task = |words: &mut Vec<T>, (chunk, dx): (usize, &mut [T])| {
        dx.fill(T::zero());
        let (count, first) = (dx.len() / (in_channels * plane), chunk * images);
        for (group, channel) in (0..groups).flat_map(|g| (0..channels).step_by(some).map(move |c| (g, c))) {
            let rows = some.min(channels - channel) * taps;
            let weights: Vec<_> = terms
                .iter()
                .map(|term| Lanes {
                    data: &term.weight[(group * outputs * channels + channel) * taps..],
                    depth: outputs,
                    depth_stride: channels * taps,
                    lane_stride: 1,
                })
                .collect();
            let gradients: Vec<_> = terms
                .iter()
                .map(|term| Images::new(&columns, &term.gradient[first * out_channels * pixels..], group))
                .collect();
            words.resize(rows * count * pixels, T::zero());
            let out = Output::matrix(words, count * pixels, false);
            product(isa, [rows, count * pixels], &Concat(&weights), &Concat(&gradients), out);
            for (image, c) in (0..count).flat_map(|image| (0..rows / taps).map(move |c| (image, c))) {
                let dx = &mut dx[(image * in_channels + group * channels + channel + c) * plane..][..plane];
                add(isa, windows, count * pixels, &words[c * taps * count * pixels + image * pixels..], dx);
            }
        }
    };
    dx.par_chunks_mut(images * in_channels * plane).enumerate().for_each_init(Vec::new, task);
    Ok(())
}

vectorised! {
    /// Adds to each input of a plane the words of the taps that see it.
    fn add<T: Word>(windows: &PlaneWindows, tap_words: usize, words: &[T], plane: &mut [T]) {
        add_taps(windows, tap_words, words, plane);
    }
}

/// With one input channel a group, plane by plane.
fn depthwise<T: Word>(
    isa: Isa,
    geometry: &ConvGeometry,
    windows: &PlaneWindows,
    terms: &[InputGradientTerm<'_, T>],
    dx: &mut [T],
) {
    let multiplier = geometry.out_channels / geometry.groups;
    let (plane, pixels) = (geometry.input[0] * geometry.input[1], windows.output[0] * windows.output[1]);
    let taps = windows.window.kernel[0] * windows.window.kernel[1];
    let one = |(index, dx): (usize, &mut [T])| {
        let (image, channel) = (index / geometry.in_channels, index % geometry.in_channels);
        dx.fill(T::zero());
        for (term, m) in terms.iter().flat_map(|term| (0..multiplier).map(move |m| (term, m))) {
            let out = channel * multiplier + m;
            let gradient = &term.gradient[(image * geometry.out_channels + out) * pixels..][..pixels];
            scatter(isa, windows, gradient, &term.weight[out * taps..][..taps], dx);
        }
    };
    if geometry.batch * geometry.out_channels * pixels * taps * terms.len() < PARALLEL_PRODUCTS {
        dx.chunks_exact_mut(plane).enumerate().for_each(one);
    } else {
        dx.par_chunks_exact_mut(plane).enumerate().for_each(one);
    }
}

vectorised! {
    /// Adds each word of `gradient` times each weight to the input that its tap sees.
    fn scatter<T: Word>(windows: &PlaneWindows, gradient: &[T], weights: &[T], plane: &mut [T]) {
        let PlaneWindows { window, input, output } = *windows;
        for (tap, &weight) in weights.iter().enumerate() {
            let Some(tap) = Tap::new(&window, tap, input, output[1]) else { continue };
            for (row, gradient) in gradient.chunks_exact(output[1]).enumerate() {
                let Some(start) = tap.start(row) else { continue };
                let (plane, gradient) = (&mut plane[start..], &gradient[tap.columns.clone()]);
                let add = |(to, g): (&mut T, &T)| *to = to.wrapping_add(&g.wrapping_mul(&weight));
                match window.stride[1] {
                    1 => plane.iter_mut().zip(gradient).for_each(add),
                    stride => plane.iter_mut().step_by(stride).zip(gradient).for_each(add),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<T: Word>(geometry: [usize; 4], step: u64) -> Vec<T> {
        (1..=geometry.iter().product::<usize>() as u64)
            .map(|i| T::of_u64(i.wrapping_mul(step).rotate_left(23)))
            .collect()
    }

    /// Only processors with AMX take this way, but it is right on all.
    fn flipped_kernels_give_the_same_words<T: Kernels>(kernel: [usize; 2], padding: [usize; 4]) {
        let window = PoolGeometry { kernel, stride: [1; 2], padding, dilation: [1; 2] };
        let geometry = ConvGeometry { batch: 2, in_channels: 3, input: [7, 9], out_channels: 5, window, groups: 1 };
        let windows = geometry.windows().unwrap();
        let adjoint = adjoint(&geometry).unwrap().expect("about as many outputs as inputs");
        let [weight, output] = [geometry.weight_shape(), geometry.output_shape().unwrap()];
        let [gradients, weights] =
            [output, weight].map(|shape| [words::<T>(shape, 0x9e37_79b9_7f4a_7c15), words(shape, 77)]);
        let terms = [0, 1].map(|term| InputGradientTerm { gradient: &gradients[term], weight: &weights[term] });
        let mut found = words::<T>(geometry.input_shape(), 3);
        let mut expected = found.clone();
        let isa = Isa::detect();
        by_flipped_kernels(isa, &adjoint, &terms, &mut found).unwrap();
        by_additions(isa, &geometry, &windows, &terms, &mut expected).unwrap();
        assert_eq!(found, expected, "{kernel:?}, {padding:?}");
    }

    #[test]
    fn flipped_kernels_and_additions_agree() {
        for (kernel, padding) in [([3, 3], [1; 4]), ([1, 3], [0, 0, 1, 1]), ([2, 3], [1, 0, 0, 2]), ([5, 5], [2; 4])] {
            flipped_kernels_give_the_same_words::<u64>(kernel, padding);
            flipped_kernels_give_the_same_words::<u32>(kernel, padding);
        }
    }
}
