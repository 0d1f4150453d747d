//! Convolution as a product of matrices: weights (rows: output channels, depth: input channel,
//! kernel row, kernel column) times the columns of im2col (output pixels of all images), which exist
//! only as the panels being multiplied.

use super::ConvTerm;
use crate::device::cpu::gemm::{Concat, GemmError, Isa, Kernels, Lanes, Operand, Output, product};
use crate::device::{ConvGeometry, PoolGeometry};
use crate::ring::Word;
use std::ops::Range;

/// Sum of convolutions, group by group. The caller has checked shapes and instruction set.
pub(super) fn convolve<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[ConvTerm<'_, T>],
    y: &mut [T],
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
pub(super) struct Shape {
    /// Input channels of a group.
    channels: usize,
    /// Words of an image, all groups.
    pub image: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub window: PoolGeometry,
}

impl Shape {
    /// A 1 × 1 convolution without stride or padding sees its pixels as one long row.
    pub fn new(geometry: &ConvGeometry) -> Result<Self, GemmError> {
        let (mut input, mut output) = (geometry.input, geometry.output()?);
        let window = geometry.window;
        let image = geometry.in_channels * input[0] * input[1];
        if window.kernel == [1, 1] && window.stride == [1, 1] && window.padding == [0; 4] {
            (input, output) = ([1, input[0] * input[1]], [1, output[0] * output[1]]);
        }
        Ok(Shape { channels: geometry.in_channels / geometry.groups, image, input, output, window })
    }

    /// Words of the kernel of one output channel.
    pub fn depth(&self) -> usize {
        self.channels * self.window.kernel[0] * self.window.kernel[1]
    }
}

/// The im2col matrix of a batch of images, never made.
pub(super) struct Images<'a, T> {
    pub shape: &'a Shape,
    /// The images from the first channel of the group on.
    pub data: &'a [T],
}

/// Output pixels of one row of one image, next to each other.
#[derive(Clone, Copy, Default)]
struct Segment {
    /// First lane of the panel.
    lane: usize,
    len: usize,
    /// Offset of the image.
    image: usize,
    row: usize,
    column: usize,
}

/// Output pixels whose inputs under one tap lie inside the image, `stride` apart in memory.
#[derive(Clone, Copy, Default)]
struct Run {
    /// First lane of the panel.
    lane: usize,
    len: usize,
    /// Offset of the first input in channel 0.
    source: usize,
}

impl<'a, T: Word> Images<'a, T> {
    pub fn new(shape: &'a Shape, input: &'a [T], group: usize) -> Self {
        Images { shape, data: &input[group * shape.channels * shape.input[0] * shape.input[1]..] }
    }

    /// The segments that make up `lanes`.
    fn segments<const W: usize>(&self, lanes: Range<usize>) -> ([Segment; W], usize) {
        let Shape { image, output, .. } = *self.shape;
        let (mut segments, mut count, mut lane) = ([Segment::default(); W], 0, 0);
        let (row, mut column) = (lanes.start / output[1], lanes.start % output[1]);
        let (mut batch, mut row) = (row / output[0], row % output[0]);
        while lane < lanes.len() {
            let len = (output[1] - column).min(lanes.len() - lane);
            segments[count] = Segment { lane, len, image: batch * image, row, column };
            (lane, count, column, row) = (lane + len, count + 1, 0, row + 1);
            if row == output[0] {
                (batch, row) = (batch + 1, 0);
            }
        }
        (segments, count)
    }

    /// The part of a segment that has inputs under tap (row, column) of the kernel.
    #[inline(always)]
    fn run(&self, tap: [usize; 2], segment: &Segment) -> Option<Run> {
        let Shape { input, window, .. } = self.shape;
        let (left, stride) = (window.padding[2], window.stride[1]);
        let [down, across] = [tap[0] * window.dilation[0], tap[1] * window.dilation[1]];
        let y = (segment.row * window.stride[0] + down).wrapping_sub(window.padding[0]);
        // left padding ≤ column·stride + across < input + left padding
        let divide = |x: usize| if stride == 1 { x } else { x.div_ceil(stride) };
        let from = divide(left.saturating_sub(across)).max(segment.column);
        let to = divide((input[1] + left).saturating_sub(across)).min(segment.column + segment.len);
        (y < input[0] && from < to).then(|| Run {
            lane: segment.lane + from - segment.column,
            len: to - from,
            source: segment.image + y * input[1] + from * stride + across - left,
        })
    }
}

impl<T: Word> Operand for Images<'_, T> {
    type Word = T;

    fn depth(&self) -> usize {
        self.shape.depth()
    }

    /// Tap by tap, so that the runs of pixels are found once for all channels.
    #[inline(always)]
    fn pack<const W: usize>(&self, depth: Range<usize>, lanes: Range<usize>, dst: &mut [T]) {
        let (plane, stride) = (self.shape.input[0] * self.shape.input[1], self.shape.window.stride[1]);
        let [height, width] = self.shape.window.kernel;
        let (taps, rows) = (height * width, dst.as_chunks_mut::<W>().0);
        let (segments, count) = self.segments::<W>(lanes);
        let segments = &segments[..count];
        let (mut channel, mut tap) = (depth.start / taps, depth.start % taps);
        // The first row of each tap in this range; its other channels follow `taps` rows apart.
        for first in 0..taps.min(depth.len()) {
            let (mut runs, mut count, mut filled) = ([Run::default(); W], 0, 0);
            for run in segments.iter().filter_map(|segment| self.run([tap / width, tap % width], segment)) {
                runs[count] = run;
                (count, filled) = (count + 1, filled + run.len);
            }
            let rows = rows[first..depth.len()].iter_mut().step_by(taps);
            for (offset, row) in rows.enumerate() {
                if filled < W {
                    *row = [T::zero(); W];
                }
                for run in &runs[..count] {
                    copy(row, run, &self.data[(channel + offset) * plane + run.source..], stride);
                }
            }
            tap += 1;
            if tap == taps {
                (channel, tap) = (channel + 1, 0);
            }
        }
    }
}

/// Copies one run into its lanes.
#[inline(always)]
fn copy<T: Word, const W: usize>(row: &mut [T; W], run: &Run, source: &[T], stride: usize) {
    let target = &mut row[run.lane..][..run.len];
    if stride == 1 {
        // A memcpy of so few words is dearer in its call than in its work.
        let (target, source) = copy_blocks::<T, 16>(target, &source[..run.len]);
        let (target, source) = copy_blocks::<T, 4>(target, source);
        copy_blocks::<T, 1>(target, source);
    } else {
        target.iter_mut().zip(source.iter().step_by(stride)).for_each(|(d, s)| *d = *s);
    }
}

/// Copies whole blocks; returns what is left.
#[inline(always)]
fn copy_blocks<'a, 'b, T: Word, const N: usize>(target: &'a mut [T], source: &'b [T]) -> (&'a mut [T], &'b [T]) {
    let ((targets, target), (sources, source)) = (target.as_chunks_mut::<N>(), source.as_chunks::<N>());
    for (target, source) in targets.iter_mut().zip(sources) {
        *target = *source;
    }
    (target, source)
}
