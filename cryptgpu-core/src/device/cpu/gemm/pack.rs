//! Packing: operands as the micro-kernels read them. An [`Operand`] is a matrix seen as lanes (its
//! rows if it stands on the left, its columns if on the right) along a depth, the dimension that a
//! product sums over. A panel is a few lanes over a range of the depth, contiguous in memory.

use super::MatRef;
use crate::ring::Word;
use num_traits::Zero;
use std::ops::Range;

/// One side of a product: lanes along a depth.
pub(crate) trait Operand: Sync {
    /// The word of its ring.
    type Word: Word;

    /// Length of the dimension summed over.
    fn depth(&self) -> usize;

    /// The lanes as they lie in memory, where they do.
    fn in_memory(&self) -> Option<Lanes<'_, Self::Word>> {
        None
    }

    /// Copies a panel, inlined into code for the kernel's instruction set:
    /// `dst[(k − depth.start)·W + (x − lanes.start)]` for each k and lane, zeros for the lanes beyond
    /// `lanes` (of which there are at most `W`).
    fn pack<const W: usize>(&self, depth: Range<usize>, lanes: Range<usize>, dst: &mut [Self::Word]);
}

/// A matrix as lanes: element (k, x) is `data[k·depth_stride + x·lane_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<'a, T = u64> {
    pub data: &'a [T],
    pub depth: usize,
    pub depth_stride: usize,
    pub lane_stride: usize,
}

impl<'a, T: Word> Lanes<'a, T> {
    /// The rows of a left-hand matrix with `depth` columns.
    pub fn rows(a: MatRef<'a, T>, depth: usize) -> Self {
        Lanes { data: a.data, depth, depth_stride: a.col_stride, lane_stride: a.row_stride }
    }

    /// The columns of a right-hand matrix with `depth` rows.
    pub fn columns(b: MatRef<'a, T>, depth: usize) -> Self {
        Lanes { data: b.data, depth, depth_stride: b.row_stride, lane_stride: b.col_stride }
    }

    /// Copies a whole panel of lanes whose depths lie next to each other, from word `start` of the first lane on: eight
    /// depths of all lanes at a time, which compile to moves within vectors.
    #[inline(always)]
    fn pack_rows<const W: usize>(&self, start: usize, rows: &mut [[T; W]]) {
        let sources: [&[T]; W] =
            std::array::from_fn(|lane| &self.data[start + lane * self.lane_stride..][..rows.len()]);
        let (blocks, rest) = rows.as_chunks_mut::<8>();
        for (at, block) in blocks.iter_mut().enumerate() {
            let words: [[T; 8]; W] =
                std::array::from_fn(|lane| *sources[lane][8 * at..].first_chunk().unwrap_or(&[T::zero(); 8]));
            *block = std::array::from_fn(|k| std::array::from_fn(|lane| words[lane][k]));
        }
        let done = 8 * blocks.len();
        for (k, row) in rest.iter_mut().enumerate() {
            *row = std::array::from_fn(|lane| sources[lane][done + k]);
        }
    }

    /// Copies a panel lane by lane: `dst[(x − lanes.start)·stride + (k − depth.start)]`.
    #[inline(always)]
    fn pack_by_lane(&self, depth: Range<usize>, lanes: Range<usize>, dst: &mut [T], stride: usize) {
        let len = depth.len();
        for (x, row) in lanes.zip(dst.chunks_mut(stride)) {
            let start = depth.start * self.depth_stride + x * self.lane_stride;
            let row = &mut row[..len];
            if self.depth_stride == 1 {
                row.copy_from_slice(&self.data[start..start + len]);
            } else {
                let source = self.data[start..].iter().step_by(self.depth_stride);
                row.iter_mut().zip(source).for_each(|(d, s)| *d = *s);
            }
        }
    }
}

impl<T: Word> Operand for Lanes<'_, T> {
    type Word = T;

    fn depth(&self) -> usize {
        self.depth
    }

    fn in_memory(&self) -> Option<Lanes<'_, T>> {
        Some(*self)
    }

    #[inline(always)]
    fn pack<const W: usize>(&self, depth: Range<usize>, lanes: Range<usize>, dst: &mut [T]) {
        let rows = dst.as_chunks_mut::<W>().0;
        let (count, start) = (lanes.len(), lanes.start * self.lane_stride);
        if self.lane_stride == 1 {
            for (k, row) in depth.zip(rows) {
                let from = start + k * self.depth_stride;
                let source = &self.data[from..from + count];
                match source.first_chunk::<W>() {
                    Some(full) => *row = *full,
                    None => {
                        row.fill(T::zero());
                        row[..count].copy_from_slice(source);
                    }
                }
            }
            return;
        }
        let rows = &mut rows[..depth.len()];
        if self.depth_stride == 1 && count == W {
            return self.pack_rows::<W>(start + depth.start, rows);
        }
        if count < W {
            rows.as_flattened_mut().fill(T::zero());
        }
        // Eight steps of the depth at a time: reads stay in one cache line per lane, writes in few.
        for (block, rows) in rows.chunks_mut(8).enumerate() {
            for lane in 0..count {
                let from = start + lane * self.lane_stride + (depth.start + 8 * block) * self.depth_stride;
                let source = self.data[from..].iter().step_by(self.depth_stride.max(1));
                rows.iter_mut().zip(source).for_each(|(row, s)| row[lane] = *s);
            }
        }
    }
}

/// Several operands of the same lanes laid end to end along the depth: the sum of the products of
/// two lists of matrices is one product of their concatenations.
pub(crate) struct Concat<'a, O>(pub &'a [O]);

impl<O: Operand> Concat<'_, O> {
    /// Sum of the depths.
    pub fn depth(&self) -> usize {
        self.0.iter().map(Operand::depth).sum()
    }

    /// The parts of the operands that a range of the whole depth covers, with their offset in it.
    pub fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (&O, Range<usize>, usize)> {
        let mut before = 0;
        self.0.iter().filter_map(move |operand| {
            let depth = operand.depth();
            let from = range.start.max(before);
            let part = from.saturating_sub(before)..range.end.saturating_sub(before).min(depth);
            before += depth;
            (part.start < part.end).then_some((operand, part, from - range.start))
        })
    }

    /// A panel by depth, as [`Operand::pack`]; depths of `dst` beyond `depth` become zeros.
    #[inline(always)]
    pub fn pack<const W: usize>(&self, depth: Range<usize>, lanes: Range<usize>, dst: &mut [O::Word]) {
        let filled = depth.len() * W;
        for (operand, part, offset) in self.parts(depth) {
            let end = (offset + part.len()) * W;
            operand.pack::<W>(part, lanes.clone(), &mut dst[offset * W..end]);
        }
        dst[filled..].fill(O::Word::zero());
    }
}

impl<T: Word> Concat<'_, Lanes<'_, T>> {
    /// Do the depths of each lane lie next to each other?
    pub fn by_rows(&self) -> bool {
        self.0.iter().all(|lanes| lanes.depth_stride == 1)
    }

    /// Part `depth` of a single lane, where it lies contiguous in one operand.
    #[inline(always)]
    pub fn contiguous(&self, depth: Range<usize>, lanes: Range<usize>) -> Option<&[T]> {
        let (operand, part, _) = self.parts(depth.clone()).next()?;
        let start = part.start + lanes.start * operand.lane_stride;
        (lanes.len() == 1 && operand.depth_stride == 1 && part.len() == depth.len())
            .then(|| &operand.data[start..][..part.len()])
    }

    /// A panel by lane: `dst[(x − lanes.start)·stride + (k − depth.start)]`, zeros elsewhere.
    #[inline(always)]
    pub fn pack_by_lane(&self, depth: Range<usize>, lanes: Range<usize>, dst: &mut [T], stride: usize) {
        if depth.len() < stride || lanes.len() * stride < dst.len() {
            dst.fill(T::zero());
        }
        for (operand, part, offset) in self.parts(depth) {
            operand.pack_by_lane(part, lanes.clone(), &mut dst[offset..], stride);
        }
    }
}

/// Asks for the 256 bytes from here on to be brought into the second-level cache; any address will do.
#[inline(always)]
pub(crate) fn prefetch<T>(words: *const T) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..4 {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch touches no memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(words.cast::<i8>().wrapping_add(64 * line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = words;
}

/// One cache line; buffers of lines are aligned for every vector and tile load.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// A growing buffer of words aligned to 64 bytes, kept by each thread between products so that
/// its pages are touched once.
#[derive(Default)]
pub(crate) struct Scratch(Vec<Line>);

impl Scratch {
    /// `words` words with unspecified contents.
    pub fn words<T: Word>(&mut self, words: usize) -> &mut [T] {
        let lines = words.div_ceil(64 / size_of::<T>());
        if self.0.len() < lines {
            self.0 = vec![Line([0; 8]); lines];
        }
        // SAFETY: a Line is 64 bytes without padding, any bytes are a word, and at least `words` words are initialised.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast::<T>(), words) }
    }
}
