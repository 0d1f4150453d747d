//! Convolution as a product of matrices: weights (rows: output channels, depth: input channel,
//! kernel row, kernel column) times the columns of im2col (output pixels of all images), which exist
//! only as the panels being multiplied.

use super::ConvTerm;
use crate::device::cpu::gemm::{Concat, GemmError, Isa, Lanes, Operand, Output, product};
use crate::device::{ConvGeometry, PoolGeometry};
use std::ops::Range;

/// Sum of convolutions, group by group. The caller has checked shapes and instruction set.
pub(super) fn convolve(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[ConvTerm<'_>],
    y: &mut [u64],
) -> Result<(), GemmError> {
    let shape = Shape::new(geometry)?;
    let pixels = shape.output[0] * shape.output[1];
    let channels = geometry.out_channels / geometry.groups;
    for group in 0..geometry.groups {
        let images: Vec<_> = terms.iter().map(|term| Images::new(&shape, term.input, group)).collect();
        let weights: Vec<_> = terms
            .iter()
            .map(|term| Lanes {
                data: &term.weight[group * channels * shape.depth()..],
                depth: shape.depth(),
                depth_stride: 1,
                lane_stride: shape.depth(),
            })
            .collect();
        let out =
            Output::images(&mut y[group * channels * pixels..], pixels, pixels, geometry.out_channels * pixels, false);
        product(isa, [channels, geometry.batch * pixels], &Concat(&weights), &Concat(&images), out);
    }
    Ok(())
}

/// What a gather must know of a convolution.
struct Shape {
    /// Input channels of a group.
    channels: usize,
    /// Words of an image, all groups.
    image: usize,
    input: [usize; 2],
    output: [usize; 2],
    window: PoolGeometry,
}

impl Shape {
    /// A 1 × 1 convolution without stride or padding sees its pixels as one long row.
    fn new(geometry: &ConvGeometry) -> Result<Self, GemmError> {
        let (mut input, mut output) = (geometry.input, geometry.output()?);
        let window = geometry.window;
        let image = geometry.in_channels * input[0] * input[1];
        if window.kernel == [1, 1] && window.stride == [1, 1] && window.padding == [0; 4] {
            (input, output) = ([1, input[0] * input[1]], [1, output[0] * output[1]]);
        }
        Ok(Shape { channels: geometry.in_channels / geometry.groups, image, input, output, window })
    }

    /// Words of the kernel of one output channel.
    fn depth(&self) -> usize {
        self.channels * self.window.kernel[0] * self.window.kernel[1]
    }
}

/// The im2col matrix of a batch of images, never made.
struct Images<'a> {
    shape: &'a Shape,
    /// From the first channel of the group on.
    data: &'a [u64],
}

/// Output pixels whose inputs lie `stride` apart in memory.
#[derive(Clone, Copy, Default)]
struct Run {
    /// First lane of the panel.
    lane: usize,
    len: usize,
    /// Offset of the first input in channel 0.
    source: usize,
}

impl<'a> Images<'a> {
    fn new(shape: &'a Shape, input: &'a [u64], group: usize) -> Self {
        Images { shape, data: &input[group * shape.channels * shape.input[0] * shape.input[1]..] }
    }

    /// The inputs of lanes `lanes` under tap (row, column) of the kernel: at most one run per lane.
    fn runs<const W: usize>(&self, tap: [usize; 2], lanes: Range<usize>) -> ([Run; W], usize) {
        let Shape { image, input, output, window, .. } = *self.shape;
        let (mut runs, mut count) = ([Run::default(); W], 0);
        let shift = |axis: usize| tap[axis] * window.dilation[axis];
        let mut pixel = lanes.start;
        while pixel < lanes.end {
            let (row, column) = (pixel / output[1], pixel % output[1]);
            let (batch, row) = (row / output[0], row % output[0]);
            let len = (output[1] - column).min(lanes.end - pixel);
            let y = (row * window.stride[0] + shift(0)).wrapping_sub(window.padding[0]);
            // Columns whose input lies inside: left padding ≤ column·stride + shift < input + left padding.
            let (left, stride) = (window.padding[2], window.stride[1]);
            let from = left.saturating_sub(shift(1)).div_ceil(stride).max(column);
            let to = (input[1] + left).saturating_sub(shift(1)).div_ceil(stride).min(column + len);
            if y < input[0] && from < to {
                let source = batch * image + y * input[1] + from * stride + shift(1) - left;
                runs[count] = Run { lane: pixel - lanes.start + from - column, len: to - from, source };
                count += 1;
            }
            pixel += len;
        }
        (runs, count)
    }
}

impl Operand for Images<'_> {
    fn depth(&self) -> usize {
        self.shape.depth()
    }

    /// Tap by tap, so that the runs of pixels are found once for all channels.
    fn pack<const W: usize>(&self, depth: Range<usize>, lanes: Range<usize>, dst: &mut [u64]) {
        let (plane, stride) = (self.shape.input[0] * self.shape.input[1], self.shape.window.stride[1]);
        let [height, width] = self.shape.window.kernel;
        let taps = height * width;
        let rows = dst.as_chunks_mut::<W>().0;
        for tap in 0..taps {
            let channels = depth.start.saturating_sub(tap).div_ceil(taps)..depth.end.saturating_sub(tap).div_ceil(taps);
            if channels.is_empty() {
                continue;
            }
            let (runs, count) = self.runs::<W>([tap / width, tap % width], lanes.clone());
            let runs = &runs[..count];
            let full = runs.iter().map(|run| run.len).sum::<usize>() == W;
            for channel in channels {
                let row = &mut rows[channel * taps + tap - depth.start];
                if !full {
                    row.fill(0);
                }
                for run in runs {
                    copy(row, run, &self.data[channel * plane + run.source..], stride);
                }
            }
        }
    }
}

/// Copies one run into its lanes.
#[inline(always)]
fn copy<const W: usize>(row: &mut [u64; W], run: &Run, source: &[u64], stride: usize) {
    if stride == 1 {
        if run.len == W
            && let Some(source) = source.first_chunk::<W>()
        {
            *row = *source;
            return;
        }
        row[run.lane..run.lane + run.len].iter_mut().zip(source).for_each(|(d, s)| *d = *s);
    } else {
        let target = &mut row[run.lane..run.lane + run.len];
        target.iter_mut().zip(source.iter().step_by(stride)).for_each(|(d, s)| *d = *s);
    }
}
