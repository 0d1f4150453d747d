//! The gradient of a convolution's weights as a product of matrices: gradients of the outputs (rows: output channels,
//! depth: output pixels) times the transposed im2col (columns: input channel, kernel row, kernel column), which exists
//! only as the panels being multiplied. Images with many output pixels are multiplied one by one onto the sum, shared
//! out to threads; of small ones the outputs' gradients are copied once, so that a channel's pixels of all images lie
//! in a row.
//!
//! With one input channel a group there is too little work a word for that: a direct loop.
//!
//! Floor: the products of the convolution itself, and a word packed for each of them divided by the output channels of
//! a group. Packing copies runs of a kernel's row in blocks of up to twelve words, and what they see at an edge of an
//! image with its padding first. Measured on one core of an AMD EPYC (Zen 4, AVX-512) before edges were copied so,
//! packing and all: 0.95 to 1.1 times as long as the convolution from 144 columns and 32 rows on; 1.16 times for LeNet's
//! first layer (25 columns, 20 rows), 1.5 times for VGG's (27 columns, 64 rows).

use super::WeightGradientTerm;
use super::implicit::{Images, Shape};
use super::tap::Tap;
use crate::device::cpu::elementwise::reorder;
use crate::device::cpu::gemm::{
    Concat, GemmError, Isa, Kernels, Lanes, Operand, Output, PARALLEL_PRODUCTS, product, vectorised,
};
use crate::device::spare::Elements;
use crate::device::{BlockOrder, ConvGeometry, PoolGeometry};
use crate::ring::Word;
use rayon::prelude::*;
use std::ops::Range;

/// Output pixels of an image from which a product of its own, onto the sum, is as fast as one of all images.
const MANY_PIXELS: usize = 192;
/// Largest sum that each thread has its own of, in words.
const MOST_PARTIAL: usize = 1 << 20;

/// Sum of gradients, group by group. The caller has checked shapes and instruction set.
pub(super) fn by_products<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[WeightGradientTerm<'_, T>],
    dw: &mut [T],
) -> Result<(), GemmError> {
    let shape = Shape::new(geometry)?;
    let (pixels, batch) = (shape.output[0] * shape.output[1], geometry.batch);
    let (channels, columns) = (geometry.out_channels / geometry.groups, shape.depth());
    if pixels < MANY_PIXELS && batch > 1 {
        let order = BlockOrder::swapped(1, [batch, geometry.out_channels], pixels);
        let gradients: Vec<_> = terms
            .iter()
            .map(|term| {
                let mut words = Elements::scratch(term.gradient.len());
                reorder(&order, term.gradient, &mut words);
                words
            })
            .collect();
        for (group, dw) in dw.chunks_exact_mut(channels * columns).enumerate() {
            let rows: Vec<_> = gradients.iter().map(|words| lanes(words, group * channels, batch * pixels)).collect();
            let taps: Vec<_> = terms.iter().map(|term| Taps::new(&shape, term.input, group, batch * pixels)).collect();
            product(isa, [channels, columns], &Concat(&rows), &Concat(&taps), Output::matrix(dw, columns, false));
        }
        return Ok(());
    }
    for (group, dw) in dw.chunks_exact_mut(channels * columns).enumerate() {
        dw.fill(T::zero());
        shared_out(batch, pixels * terms.len(), dw, |image, sum| {
            let first = image * geometry.out_channels + group * channels;
            let rows: Vec<_> = terms.iter().map(|term| lanes(term.gradient, first, pixels)).collect();
            let taps: Vec<_> =
                terms.iter().map(|term| Taps::new(&shape, &term.input[image * shape.image..], group, pixels)).collect();
            product(isa, [channels, columns], &Concat(&rows), &Concat(&taps), Output::matrix(sum, columns, true));
        });
    }
    Ok(())
}

/// Adds the products of all images to `sum`, with a sum of its own for each thread where that pays.
fn shared_out<T: Word>(batch: usize, depth: usize, sum: &mut [T], add: impl Fn(usize, &mut [T]) + Sync) {
    let parts = rayon::current_num_threads().min(batch);
    let work = batch.saturating_mul(depth).saturating_mul(sum.len());
    if parts <= 1 || work < PARALLEL_PRODUCTS || sum.len() > MOST_PARTIAL {
        return (0..batch).for_each(|image| add(image, sum));
    }
    let partial = |part: usize| {
        let mut words = Elements::scratch(sum.len());
        words.fill(T::zero());
        (part * batch / parts..(part + 1) * batch / parts).for_each(|image| add(image, &mut words));
        words
    };
    let partials: Vec<_> = (0..parts).into_par_iter().map(partial).collect();
    for words in partials {
        sum.iter_mut().zip(&*words).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
    }
}

/// Rows of `depth` words each, one after the other, from row `first` on.
fn lanes<T: Word>(words: &[T], first: usize, depth: usize) -> Lanes<'_, T> {
    Lanes { data: &words[first * depth..], depth, depth_stride: 1, lane_stride: depth }
}

/// The transposed im2col matrix of one image or more, never made: a lane for each input channel and tap.
struct Taps<'a, T> {
    images: Images<'a, T>,
    /// Output pixels of all images.
    depth: usize,
}

/// Neighbouring lanes of a panel that are taps of one kernel row and channel.
#[derive(Clone, Copy, Default)]
struct Run {
    /// First lane of the panel, and how many.
    lane: usize,
    len: usize,
    /// Offset of the channel.
    channel: usize,
    /// How far the taps lie below and to the right of the window's corner.
    down: usize,
    across: usize,
    /// Output columns for which all these taps see an input.
    inside: [usize; 2],
}

/// Words of a piece of a row at an edge, with its padding, which is copied for each run that sees it: at most.
const LINE: usize = 512;

/// Words of a run that are copied at a time, at most.
const MOST_COPIED: usize = 12;

/// Output pixels packed at a time, so that their rows of a panel stay in the first-level cache.
const PIXELS: usize = 64;

impl<'a, T: Word> Taps<'a, T> {
    fn new(shape: &'a Shape, input: &'a [T], group: usize, depth: usize) -> Self {
        Taps { images: Images::new(shape, input, group), depth }
    }

    /// Finds the runs that make up `lanes`; how many.
    #[inline(always)]
    fn runs<const W: usize>(&self, lanes: Range<usize>, runs: &mut [Run; W]) -> usize {
        let Shape { input, window, .. } = *self.images.shape;
        let ([height, width], left, stride) = (window.kernel, window.padding[2], window.stride[1]);
        let (mut count, mut lane) = (0, lanes.start);
        while lane < lanes.end {
            let (channel, ky, kx) = (lane / (height * width), lane / width % height, lane % width);
            let len = (width - kx).min(lanes.end - lane);
            let (across, last) = (kx * window.dilation[1], (kx + len - 1) * window.dilation[1]);
            let first_inside = left.saturating_sub(across).div_ceil(stride);
            runs[count] = Run {
                lane: lane - lanes.start,
                len,
                channel: channel * input[0] * input[1],
                down: ky * window.dilation[0],
                across,
                inside: [first_inside, (input[1] + left).saturating_sub(last).div_ceil(stride).max(first_inside)],
            };
            (lane, count) = (lane + len, count + 1);
        }
        count
    }

    /// What the taps of `run` see of output pixels (`row`, `columns`) of the image at `image`, into its lanes; words
    /// of later lanes may be overwritten.
    #[inline(always)]
    fn pack_run<const W: usize>(
        &self,
        run: &Run,
        image: usize,
        row: usize,
        columns: Range<usize>,
        rows: &mut [[T; W]],
        padded: &mut [T; LINE],
    ) {
        let Shape { input, window, .. } = *self.images.shape;
        let y = (row * window.stride[0] + run.down).wrapping_sub(window.padding[0]);
        if y >= input[0] {
            return rows.iter_mut().for_each(|row| row[run.lane..][..run.len].fill(T::zero()));
        }
        let (left, stride, dilation) = (window.padding[2], window.stride[1], window.dilation[1]);
        let line = &self.images.data[image + run.channel + y * input[1]..];
        let [from, to] = run.inside.map(|column| column.clamp(columns.start, columns.end));
        let copied = match dilation {
            1 if (from, to) == (columns.start, columns.end) => {
                let source = &line[from * stride + run.across - left..];
                copy_run(rows, run.lane..run.lane + run.len, source, stride)
            }
            1 if (columns.len() - 1) * stride + MOST_COPIED <= LINE => {
                let seen = &mut padded[..(columns.len() - 1) * stride + MOST_COPIED];
                let first = columns.start * stride + run.across;
                let start = first.saturating_sub(left).min(input[1]);
                let (before, behind) = seen.split_at_mut(left.saturating_sub(first).min(seen.len()));
                let (inside, behind) = behind.split_at_mut(behind.len().min(input[1] - start));
                before.fill(T::zero());
                inside.copy_from_slice(&line[start..start + inside.len()]);
                behind.fill(T::zero());
                copy_run(rows, run.lane..run.lane + run.len, seen, stride)
            }
            _ => false,
        };
        if !copied {
            for (column, row) in columns.zip(rows) {
                for (tap, word) in row[run.lane..][..run.len].iter_mut().enumerate() {
                    let x = (column * stride + run.across + tap * dilation).wrapping_sub(left);
                    *word = if x < input[1] { line[x] } else { T::zero() };
                }
            }
        }
    }
}

/// Copies words into lanes of each row, `stride` further in the source from row to row, in as few blocks as there is
/// room for; false where the source ends before. Words of later lanes may be overwritten.
#[inline(always)]
fn copy_run<T: Word, const W: usize>(rows: &mut [[T; W]], lanes: Range<usize>, source: &[T], stride: usize) -> bool {
    let mut lane = lanes.start;
    while lane < lanes.end {
        let source = &source[(lane - lanes.start).min(source.len())..];
        let (words, copied) = match (lanes.end - lane, W - lane) {
            (9.., MOST_COPIED..) => (MOST_COPIED, copy_block::<T, W, MOST_COPIED>(rows, lane, source, stride)),
            (5.., 8..) => (8, copy_block::<T, W, 8>(rows, lane, source, stride)),
            (2.., 4..) => (4, copy_block::<T, W, 4>(rows, lane, source, stride)),
            _ => (1, copy_block::<T, W, 1>(rows, lane, source, stride)),
        };
        if !copied {
            return false;
        }
        lane += words;
    }
    true
}

/// Copies `N` words into lanes `lane` and on of each row, `stride` further in the source from row to row; false, and
/// nothing done, where the source ends before.
#[inline(always)]
fn copy_block<T: Word, const W: usize, const N: usize>(
    rows: &mut [[T; W]],
    lane: usize,
    source: &[T],
    stride: usize,
) -> bool {
    if lane + N > W || (rows.len() - 1) * stride + N > source.len() {
        return false;
    }
    for (pixel, row) in rows.iter_mut().enumerate() {
        if let (Some(to), Some(from)) =
            (row[lane..].first_chunk_mut::<N>(), source[pixel * stride..].first_chunk::<N>())
        {
            *to = *from;
        }
    }
    true
}

impl<T: Word> Operand for Taps<'_, T> {
    type Word = T;

    fn depth(&self) -> usize {
        self.depth
    }

    /// A piece of an output row at a time; of it run by run, in the order of the lanes.
    #[inline(always)]
    fn pack<const W: usize>(&self, depth: Range<usize>, lanes: Range<usize>, dst: &mut [T]) {
        let Shape { image, output, .. } = *self.images.shape;
        let rows = &mut dst.as_chunks_mut::<W>().0[..depth.len()];
        let (mut runs, mut padded) = ([Run::default(); W], [T::zero(); LINE]);
        let count = self.runs(lanes.clone(), &mut runs);
        let (line, mut column) = (depth.start / output[1], depth.start % output[1]);
        let (mut start, mut line, mut at) = (line / output[0] * image, line % output[0], 0);
        while at < rows.len() {
            let len = (output[1] - column).min(rows.len() - at).min(PIXELS);
            let rows = &mut rows[at..at + len];
            for run in &runs[..count] {
                self.pack_run(run, start, line, column..column + len, rows, &mut padded);
            }
            if lanes.len() < W {
                rows.iter_mut().for_each(|row| row[lanes.len()..].fill(T::zero()));
            }
            (at, column) = (at + len, column + len);
            if column == output[1] {
                (column, line) = (0, line + 1);
            }
            if line == output[0] {
                (line, start) = (0, start + image);
            }
        }
    }
}

/// Sum of gradients with one input channel a group, output channel by output channel. The caller has checked shapes
/// and instruction set.
pub(super) fn depthwise<T: Word>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[WeightGradientTerm<'_, T>],
    dw: &mut [T],
) -> Result<(), GemmError> {
    // A 1 × 1 convolution without stride or padding sees its pixels as one long row.
    let Shape { input, output, .. } = Shape::new(geometry)?;
    let multiplier = geometry.out_channels / geometry.groups;
    let (pixels, plane) = (output[0] * output[1], input[0] * input[1]);
    let taps = geometry.window.kernel[0] * geometry.window.kernel[1];
    let one = |(channel, dw): (usize, &mut [T])| {
        dw.fill(T::zero());
        for (image, term) in (0..geometry.batch).flat_map(|image| terms.iter().map(move |term| (image, term))) {
            let gradient = &term.gradient[(image * geometry.out_channels + channel) * pixels..][..pixels];
            let source = &term.input[(image * geometry.in_channels + channel / multiplier) * plane..][..plane];
            correlate(isa, &geometry.window, gradient, output, source, input, dw);
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
    fn correlate<T: Word>(
        window: &PoolGeometry,
        gradient: &[T],
        output: [usize; 2],
        source: &[T],
        input: [usize; 2],
        dw: &mut [T],
    ) {
        for (tap, sum) in dw.iter_mut().enumerate() {
            let Some(tap) = Tap::new(window, tap, input, output[1]) else { continue };
            for (row, gradient) in gradient.chunks_exact(output[1]).enumerate() {
                let Some(start) = tap.start(row) else { continue };
                let (gradient, source) = (&gradient[tap.columns.clone()], &source[start..]);
                let add = |sum: T, (g, x): (&T, &T)| sum.wrapping_add(&g.wrapping_mul(x));
                *sum = match window.stride[1] {
                    1 => gradient.iter().zip(source).fold(*sum, add),
                    stride => gradient.iter().zip(source.iter().step_by(stride)).fold(*sum, add),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn panel<const W: usize>(taps: &Taps<'_, u64>, depth: Range<usize>, lanes: Range<usize>) -> Vec<u64> {
        let mut words = vec![u64::MAX; depth.len() * W];
        taps.pack::<W>(depth, lanes, &mut words);
        words
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Panels of every width are made of the same lanes, also of widths that this machine's kernels do not have.
        #[test]
        fn wide_panels_hold_what_single_lanes_do(
            channels in 1usize..9, input in [1usize..9, 1usize..80], kernel in [1usize..4, 1usize..14],
            stride in [1usize..3, 1usize..3], padding in prop::array::uniform4(0usize..7), dilation in [1usize..3, 1usize..3],
            ends in prop::array::uniform4(0usize..1000),
        ) {
            let window = PoolGeometry { kernel, stride, padding, dilation };
            let geometry = ConvGeometry { batch: 2, in_channels: channels, input, out_channels: 1, window, groups: 1 };
            prop_assume!(geometry.output().is_ok());
            let shape = Shape::new(&geometry).unwrap();
            let depth = 2 * shape.output[0] * shape.output[1];
            let x: Vec<u64> = (1..=geometry.input_shape().iter().product::<usize>() as u64).collect();
            let taps = Taps::new(&shape, &x, 0, depth);
            let range = |from: usize, to: usize, most: usize, end: usize| {
                let from = from % end;
                from..(from + 1 + to % most).min(end)
            };
            let (depths, lanes) = (range(ends[0], ends[1], depth, depth), range(ends[2], ends[3], 32, shape.depth()));
            let wide = panel::<32>(&taps, depths.clone(), lanes.clone());
            for lane in 0..32 {
                let expected = match lanes.clone().nth(lane) {
                    Some(lane) => panel::<1>(&taps, depths.clone(), lane..lane + 1),
                    None => vec![0; depths.len()],
                };
                let found: Vec<u64> = wide.iter().skip(lane).step_by(32).copied().collect();
                prop_assert_eq!(found, expected, "lane {} of {:?}", lane, &lanes);
            }
        }
    }
}
