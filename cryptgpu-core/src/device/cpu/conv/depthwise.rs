//! Convolution with one input channel per group: each output plane is its input plane filtered by
//! one kernel, too little work per word for a product of matrices. Tap by tap, a row of the output
//! gets a multiple of a row of the input.

use super::ConvTerm;
use super::tap::Tap;
use crate::device::cpu::gemm::{GemmError, Isa, PARALLEL_PRODUCTS, vectorised};
use crate::device::{ConvGeometry, PoolGeometry};
use crate::ring::Word;
use rayon::prelude::*;

/// Sum of convolutions, plane by plane. The caller has checked shapes and instruction set.
pub(super) fn convolve<T: Word>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[ConvTerm<'_, T>],
    y: &mut [T],
) -> Result<(), GemmError> {
    let output = geometry.output()?;
    let multiplier = geometry.out_channels / geometry.groups;
    let plane = geometry.input[0] * geometry.input[1];
    let taps = geometry.window.kernel[0] * geometry.window.kernel[1];
    let one = |(index, out): (usize, &mut [T])| {
        let (batch, channel) = (index / geometry.out_channels, index % geometry.out_channels);
        let source = (batch * geometry.in_channels + channel / multiplier) * plane;
        out.fill(T::zero());
        for term in terms {
            let kernel = &term.weight[channel * taps..][..taps];
            let image = &term.input[source..][..plane];
            filter(isa, &geometry.window, kernel, image, geometry.input, out, output);
        }
    };
    let pixels = output[0] * output[1];
    if y.len() * taps * terms.len() < PARALLEL_PRODUCTS {
        y.chunks_exact_mut(pixels).enumerate().for_each(one);
    } else {
        y.par_chunks_exact_mut(pixels).enumerate().for_each(one);
    }
    Ok(())
}

vectorised! {
    /// Adds the filtered `image` to `out`.
    fn filter<T: Word>(
        window: &PoolGeometry,
        kernel: &[T],
        image: &[T],
        input: [usize; 2],
        out: &mut [T],
        output: [usize; 2],
    ) {
        for (tap, &weight) in kernel.iter().enumerate() {
            let Some(tap) = Tap::new(window, tap, input, output[1]) else { continue };
            for (row, out) in out.chunks_exact_mut(output[1]).enumerate() {
                let Some(start) = tap.start(row) else { continue };
                let (source, out) = (&image[start..], &mut out[tap.columns.clone()]);
                if window.stride[1] == 1 {
                    out.iter_mut().zip(source).for_each(|(o, x)| *o = o.wrapping_add(&x.wrapping_mul(&weight)));
                } else {
                    let source = source.iter().step_by(window.stride[1]);
                    out.iter_mut().zip(source).for_each(|(o, x)| *o = o.wrapping_add(&x.wrapping_mul(&weight)));
                }
            }
        }
    }
}
