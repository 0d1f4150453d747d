//! The loops around a micro-kernel. The output is cut into blocks, one task each; a task walks the
//! depth in blocks, packs rows of A (they stay in the second-level cache) and columns of B panel by
//! panel, multiplying each while it is in cache; what is packed serves the whole block. Addition
//! in the ring is associative, so neither the cut nor the number of threads changes a result.

use super::pack::{Concat, Lanes, Operand, Scratch, prefetch};
use crate::device::cpu::copy::copy_few;
use crate::ring::Word;
use rayon::prelude::*;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

/// A micro-kernel: the product of two panels, a tile of `MR` rows and `NR` columns. A value of it witnesses that the
/// machine can run it, and holds what a thread must set up. Panels are words by depth, as [`Concat::pack`] makes them;
/// a kernel that reads another format packs its own.
pub(super) trait Kernel<const MR: usize, const NR: usize> {
    /// The word of the ring that it multiplies in.
    type Word: Word;
    /// Depths are padded with zeros to a multiple of this.
    const DEPTH_UNIT: usize;
    /// Largest depth of a panel, a multiple of `DEPTH_UNIT`.
    const DEPTH_BLOCK: usize;
    /// Most rows of A packed at once, a multiple of `MR`: with depth, half of the second-level cache.
    const ROW_BLOCK: usize;
    /// Most columns of B packed at once, a multiple of `NR`, where there are several row blocks.
    const COLUMN_BLOCK: usize;
    /// With at most so many columns, rows of A whose depths lie next to each other are read where they lie, and not packed.
    const IN_PLACE_COLUMNS: usize = 0;

    /// Words of a panel of A of this (padded) depth.
    fn a_words(depth: usize) -> usize {
        depth * MR
    }

    /// Words of a panel of B of this (padded) depth.
    fn b_words(depth: usize) -> usize {
        depth * NR
    }

    /// Packs a panel of at most `MR` rows.
    fn pack_a(
        &mut self,
        a: &Concat<'_, Lanes<'_, Self::Word>>,
        depth: Range<usize>,
        rows: Range<usize>,
        dst: &mut [Self::Word],
    ) {
        a.pack::<MR>(depth, rows, dst);
    }

    /// Packs a panel of at most `NR` columns.
    fn pack_b<B: Operand<Word = Self::Word>>(
        &mut self,
        b: &Concat<'_, B>,
        depth: Range<usize>,
        columns: Range<usize>,
        dst: &mut [Self::Word],
    ) {
        b.pack::<NR>(depth, columns, dst);
    }

    /// The product of two panels of the same depth, `MR` × `NR` row-major.
    fn tile(&mut self, a: Left<'_, Self::Word>, b: &[Self::Word], out: &mut [Self::Word]);
}

/// The left side of a tile.
pub(super) struct Left<'a, T> {
    /// What [`Kernel::pack_a`] has made of it; empty where rows are read where they lie.
    pub panel: &'a [T],
    /// Where it lies.
    pub from: &'a Concat<'a, Lanes<'a, T>>,
    pub depth: Range<usize>,
    /// At most `MR`, at least one.
    pub rows: Range<usize>,
}

/// Where a product goes: element (row, column) at
/// `row·row_stride + (column / image)·image_stride + column mod image`; a matrix is one image, and
/// the output of a convolution in NCHW has an image per batch element.
pub(crate) struct Output<'a, T = u64> {
    data: *mut T,
    len: usize,
    row_stride: usize,
    image: usize,
    image_stride: usize,
    accumulate: bool,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer stands for an exclusive borrow of words, and `add` is unsafe: its callers
// promise that no two threads write one element.
unsafe impl<T: Word> Sync for Output<'_, T> {}

impl<'a, T: Word> Output<'a, T> {
    /// A row-major matrix with `columns` columns.
    pub fn matrix(data: &'a mut [T], columns: usize, accumulate: bool) -> Self {
        Output::images(data, columns, columns, columns, accumulate)
    }

    /// Images of `image` columns, `image_stride` apart, with rows `row_stride` apart.
    pub fn images(data: &'a mut [T], row_stride: usize, image: usize, image_stride: usize, accumulate: bool) -> Self {
        let (len, data) = (data.len(), data.as_mut_ptr());
        Output { data, len, row_stride, image, image_stride, accumulate, lifetime: PhantomData }
    }

    /// Is the product added to what the output holds?
    pub fn accumulates(&self) -> bool {
        self.accumulate
    }

    /// The output of an empty sum: zeros, or what is there.
    pub fn clear(self) {
        if !self.accumulate {
            // SAFETY: the pointer and length of the slice that this value borrows exclusively.
            unsafe { std::slice::from_raw_parts_mut(self.data, self.len) }.fill(T::zero());
        }
    }

    /// Asks for the rows of a tile, so that they are in cache when it has been computed. (Where a
    /// tile spans two images, only for the first.)
    fn prefetch(&self, rows: Range<usize>, column: usize) {
        let base = column / self.image * self.image_stride + column % self.image;
        for row in rows {
            prefetch(self.data.wrapping_add(base + row * self.row_stride));
        }
    }

    /// Stores a tile of rows of `stride` words, or adds it to what is there.
    ///
    /// # Safety
    /// No other thread accesses these elements meanwhile.
    pub unsafe fn store(&self, tile: &[T], stride: usize, rows: Range<usize>, columns: Range<usize>, add: bool) {
        let mut column = columns.start;
        while column < columns.end {
            let within = column % self.image;
            let run = (self.image - within).min(columns.end - column);
            let base = column / self.image * self.image_stride + within;
            for (row, tile) in rows.clone().zip(tile.chunks(stride)) {
                let source = &tile[column - columns.start..][..run];
                let start = base + row * self.row_stride;
                assert!(start + run <= self.len, "a tile lies outside its output");
                // SAFETY: within the borrow (checked above), and ours alone (the caller's promise).
                let target = unsafe { std::slice::from_raw_parts_mut(self.data.add(start), run) };
                if add {
                    target.iter_mut().zip(source).for_each(|(t, s)| *t = t.wrapping_add(s));
                } else {
                    copy_few(target, source);
                }
            }
            column += run;
        }
    }
}

/// Products from which threads pay: below, a hand-over costs more than it saves.
pub(crate) const PARALLEL_PRODUCTS: usize = 1 << 19;
/// Least products of a task.
const TASK_PRODUCTS: usize = 1 << 18;
/// Tasks per thread, so that a late thread does not hold up the others.
const TASKS_PER_THREAD: usize = 2;

/// Sizes of the blocks of an output of `m` × `n` that make the tasks: (rows, columns).
fn cut<const MR: usize, const NR: usize>(m: usize, n: usize, depth: usize) -> (usize, usize) {
    let even = |size: usize, parts: usize, unit: usize| size.div_ceil(parts).next_multiple_of(unit);
    let work = m.saturating_mul(n).saturating_mul(depth);
    let threads = rayon::current_num_threads();
    if threads == 1 || work < PARALLEL_PRODUCTS {
        return (m, n);
    }
    let most = (work / TASK_PRODUCTS).min(threads * TASKS_PER_THREAD);
    let (mut row_parts, mut column_parts) = (1, 1);
    while row_parts * column_parts < most {
        let (rows, columns) = (m.div_ceil(row_parts), n.div_ceil(column_parts));
        match (rows > MR, columns > NR) {
            (true, true) if rows > columns => row_parts += 1,
            (_, true) => column_parts += 1,
            (true, false) => row_parts += 1,
            (false, false) => break,
        }
    }
    (even(m, row_parts, MR), even(n, column_parts, NR))
}

/// C = A·B, or C += A·B, for the concatenations A (`m` rows) and B (`n` columns); `new` makes the
/// kernel on each thread. The callers have checked that the operands hold what they claim.
pub(super) fn multiply<K: Kernel<MR, NR>, B: Operand<Word = K::Word>, const MR: usize, const NR: usize>(
    new: impl Fn() -> K + Sync,
    [m, n]: [usize; 2],
    a: &Concat<'_, Lanes<'_, K::Word>>,
    b: &Concat<'_, B>,
    out: &Output<'_, K::Word>,
) {
    let (row_step, column_step) = cut::<MR, NR>(m, n, a.depth());
    let (down, across) = (m.div_ceil(row_step), n.div_ceil(column_step));
    let task = |index: usize| {
        let (row, column) = (index / across * row_step, index % across * column_step);
        let (rows, columns) = (row..(row + row_step).min(m), column..(column + column_step).min(n));
        let mut buffers = BUFFERS.take();
        // SAFETY: the blocks of different tasks do not overlap.
        unsafe { block(&mut new(), rows, columns, a, b, out, &mut buffers) };
        BUFFERS.set(buffers);
    };
    match down * across {
        1 => task(0),
        tasks => (0..tasks).into_par_iter().with_max_len(1).for_each(task),
    }
}

thread_local! {
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// A thread's packed rows of A, panel of B and tile.
#[derive(Default)]
struct Buffers {
    a: Scratch,
    b: Scratch,
    tile: Scratch,
}

/// One block of the output.
///
/// # Safety
/// No other thread accesses this block of the output meanwhile.
unsafe fn block<K: Kernel<MR, NR>, B: Operand<Word = K::Word>, const MR: usize, const NR: usize>(
    kernel: &mut K,
    rows: Range<usize>,
    columns: Range<usize>,
    a: &Concat<'_, Lanes<'_, K::Word>>,
    b: &Concat<'_, B>,
    out: &Output<'_, K::Word>,
    buffers: &mut Buffers,
) {
    let (depth, first_row, first_column) = (a.depth(), rows.start, columns.start);
    let depth_step = depth.div_ceil(depth.div_ceil(K::DEPTH_BLOCK)).next_multiple_of(K::DEPTH_UNIT);
    let one_row_block = rows.len() <= K::ROW_BLOCK;
    let in_place = columns.len() <= K::IN_PLACE_COLUMNS && a.by_rows();
    // A panel of B that no second row block needs is overwritten by the next one, in cache.
    let column_step = if one_row_block { NR } else { K::COLUMN_BLOCK };
    for range in steps(0..depth, depth_step) {
        let padded = range.len().next_multiple_of(K::DEPTH_UNIT);
        let (a_panel, b_panel) = (K::a_words(padded), K::b_words(padded));
        let add = out.accumulate || range.start > 0;
        for columns in steps(columns.clone(), column_step) {
            let packed_b = buffers.b.words(b_panel * columns.len().div_ceil(NR));
            for rows in steps(rows.clone(), K::ROW_BLOCK) {
                let packed_a = buffers.a.words(a_panel * rows.len().div_ceil(MR));
                if !in_place && (!one_row_block || columns.start == first_column) {
                    for (rows, panel) in steps(rows.clone(), MR).zip(packed_a.chunks_exact_mut(a_panel)) {
                        kernel.pack_a(a, range.clone(), rows, panel);
                    }
                }
                for (columns, b_panel) in steps(columns.clone(), NR).zip(packed_b.chunks_exact_mut(b_panel)) {
                    if rows.start == first_row {
                        kernel.pack_b(b, range.clone(), columns.clone(), b_panel);
                    }
                    for (rows, a_panel) in steps(rows.clone(), MR).zip(packed_a.chunks_exact(a_panel)) {
                        let tile = buffers.tile.words(MR * NR);
                        out.prefetch(rows.clone(), columns.start);
                        let panel = if in_place { &[] } else { a_panel };
                        let left = Left { panel, from: a, depth: range.clone(), rows: rows.clone() };
                        kernel.tile(left, b_panel, tile);
                        // SAFETY: the caller's promise: the block is ours.
                        unsafe { out.store(tile, NR, rows, columns.clone(), add) };
                    }
                }
            }
        }
    }
}

/// A range in steps.
fn steps(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(step).map(move |first| first..(first + step).min(end))
}
