//! The gradient of a convolution's weights as a product of matrices: gradients of the outputs (rows: output channels,
//! depth: output pixels of all images) times the transposed im2col (columns: input channel, kernel row, kernel
//! column), which exists only as the panels being multiplied. The outputs' gradients are copied once, so that a
//! channel's pixels of all images lie in a row.
//!
//! With one input channel a group there is too little work a word for that: a direct loop.

use super::GradientTerm;
use super::implicit::{Images, Segment, Shape};
use crate::device::cpu::elementwise::reorder;
use crate::device::cpu::gemm::{
    Concat, GemmError, Isa, Lanes, Operand, Output, PARALLEL_PRODUCTS, product, vectorised,
};
use crate::device::{BlockOrder, ConvGeometry, PoolGeometry};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// Sum of gradients, group by group. The caller has checked shapes and instruction set.
pub(super) fn by_products(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[GradientTerm<'_>],
    dw: &mut [u64],
) -> Result<(), GemmError> {
    let shape = Shape::new(geometry)?;
    let pixels = shape.output[0] * shape.output[1];
    let depth = geometry.batch * pixels;
    let (channels, columns) = (geometry.out_channels / geometry.groups, shape.depth());
    let order = BlockOrder::swapped(1, [geometry.batch, geometry.out_channels], pixels);
    let gradients: Vec<Cow<'_, [u64]>> = terms
        .iter()
        .map(|term| match geometry.batch {
            1 => Cow::Borrowed(term.gradient),
            _ => {
                let mut words = vec![0; term.gradient.len()];
                reorder(&order, term.gradient, &mut words);
                Cow::Owned(words)
            }
        })
        .collect();
    for (group, dw) in dw.chunks_exact_mut(channels * columns).enumerate() {
        let rows: Vec<_> = gradients
            .iter()
            .map(|words| Lanes { data: &words[group * channels * depth..], depth, depth_stride: 1, lane_stride: depth })
            .collect();
        let taps: Vec<_> =
            terms.iter().map(|term| Taps { images: Images::new(&shape, term.input, group), depth }).collect();
        product(isa, [channels, columns], &Concat(&rows), &Concat(&taps), Output::matrix(dw, columns, false));
    }
    Ok(())
}

/// The transposed im2col matrix of a batch of images, never made: a lane for each input channel and tap.
struct Taps<'a> {
    images: Images<'a>,
    /// Output pixels of all images.
    depth: usize,
}

impl Operand for Taps<'_> {
    fn depth(&self) -> usize {
        self.depth
    }

    /// Output row by output row, then lane by lane: what a tap sees of a row lies `stride` apart in memory.
    #[inline(always)]
    fn pack<const W: usize>(&self, depth: Range<usize>, lanes: Range<usize>, dst: &mut [u64]) {
        let Shape { image, input, output, window, .. } = *self.images.shape;
        let (plane, stride, width) = (input[0] * input[1], window.stride[1], window.kernel[1]);
        let (taps, rows) = (window.kernel[0] * width, &mut dst.as_chunks_mut::<W>().0[..depth.len()]);
        rows.as_flattened_mut().fill(0);
        let mut at = 0;
        while at < rows.len() {
            let pixel = depth.start + at;
            let (line, column) = (pixel / output[1], pixel % output[1]);
            let len = (output[1] - column).min(rows.len() - at);
            let segment = Segment { lane: at, len, image: line / output[0] * image, row: line % output[0], column };
            for (x, lane) in lanes.clone().enumerate() {
                let (channel, tap) = (lane / taps, lane % taps);
                if let Some(run) = self.images.run([tap / width, tap % width], &segment) {
                    let source = self.images.data[channel * plane + run.source..].iter().step_by(stride);
                    rows[run.lane..][..run.len].iter_mut().zip(source).for_each(|(row, word)| row[x] = *word);
                }
            }
            at += len;
        }
    }
}

/// Sum of gradients with one input channel a group, output channel by output channel. The caller has checked shapes
/// and instruction set.
pub(super) fn depthwise(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[GradientTerm<'_>],
    dw: &mut [u64],
) -> Result<(), GemmError> {
    let output = geometry.output()?;
    let multiplier = geometry.out_channels / geometry.groups;
    let (pixels, plane) = (output[0] * output[1], geometry.input[0] * geometry.input[1]);
    let taps = geometry.window.kernel[0] * geometry.window.kernel[1];
    let one = |(channel, dw): (usize, &mut [u64])| {
        dw.fill(0);
        for (image, term) in (0..geometry.batch).flat_map(|image| terms.iter().map(move |term| (image, term))) {
            let gradient = &term.gradient[(image * geometry.out_channels + channel) * pixels..][..pixels];
            let source = &term.input[(image * geometry.in_channels + channel / multiplier) * plane..][..plane];
            correlate(isa, &geometry.window, gradient, output, source, geometry.input, dw);
        }
    };
    if geometry.batch * geometry.out_channels * pixels * taps * terms.len() < PARALLEL_PRODUCTS {
        dw.chunks_exact_mut(taps).enumerate().for_each(one);
    } else {
        dw.par_chunks_exact_mut(taps).enumerate().for_each(one);
    }
    Ok(())
}

vectorised! {
    /// Adds to each tap's word the sum of the `gradient` times what the tap sees of `source`.
    fn correlate(
        window: &PoolGeometry,
        gradient: &[u64],
        output: [usize; 2],
        source: &[u64],
        input: [usize; 2],
        dw: &mut [u64],
    ) {
        let [stride_y, stride_x] = window.stride;
        let (top, left) = (window.padding[0], window.padding[2]);
        for (tap, sum) in dw.iter_mut().enumerate() {
            let shift_y = tap / window.kernel[1] * window.dilation[0];
            let shift_x = tap % window.kernel[1] * window.dilation[1];
            // Output columns whose input lies inside the image.
            let from = left.saturating_sub(shift_x).div_ceil(stride_x);
            let to = (input[1] + left).saturating_sub(shift_x).div_ceil(stride_x).min(output[1]);
            if from >= to {
                continue;
            }
            for (row, gradient) in gradient.chunks_exact(output[1]).enumerate() {
                let y = (row * stride_y + shift_y).wrapping_sub(top);
                if y >= input[0] {
                    continue;
                }
                let (gradient, source) =
                    (&gradient[from..to], &source[y * input[1] + from * stride_x + shift_x - left..]);
                let add = |sum: u64, (g, x): (&u64, &u64)| sum.wrapping_add(g.wrapping_mul(*x));
                *sum = match stride_x {
                    1 => gradient.iter().zip(source).fold(*sum, add),
                    _ => gradient.iter().zip(source.iter().step_by(stride_x)).fold(*sum, add),
                };
            }
        }
    }
}
