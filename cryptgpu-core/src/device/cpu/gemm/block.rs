//! The loops around a micro-kernel. The output is cut into blocks, one task each; a task walks the
//! depth in blocks that fit the second-level cache, packs its rows of A once per depth block, and
//! packs the columns of B panel by panel, multiplying each while it is in cache. Addition
//! modulo 2⁶⁴ is associative, so neither the cut nor the number of threads changes a result.

use super::pack::{Concat, Lanes, Operand, Scratch};
use rayon::prelude::*;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;

/// A micro-kernel: panels in its own format and the product of two of them. A value of it
/// witnesses that the machine can run it, and holds what a thread must set up.
pub(super) trait Kernel {
    /// Rows of a tile.
    const MR: usize;
    /// Columns of a tile.
    const NR: usize;
    /// Depths are padded with zeros to a multiple of this.
    const DEPTH_UNIT: usize;
    /// Largest depth of a panel, a multiple of `DEPTH_UNIT`.
    const DEPTH_BLOCK: usize;
    /// Most rows of A that a task packs at once, a multiple of `MR`.
    const ROW_BLOCK: usize;

    /// Words of a panel of A of this (padded) depth.
    fn a_words(depth: usize) -> usize;
    /// Words of a panel of B of this (padded) depth.
    fn b_words(depth: usize) -> usize;
    /// Packs a panel of at most `MR` rows.
    fn pack_a(&mut self, a: &Concat<'_, Lanes<'_>>, depth: Range<usize>, rows: Range<usize>, dst: &mut [u64]);
    /// Packs a panel of at most `NR` columns.
    fn pack_b<B: Operand>(&mut self, b: &Concat<'_, B>, depth: Range<usize>, columns: Range<usize>, dst: &mut [u64]);
    /// The product of two panels of the same depth, `MR` × `NR` row-major.
    fn tile(&mut self, a: &[u64], b: &[u64], out: &mut [u64]);
}

/// Where a product goes: element (row, column) at
/// `row·row_stride + (column / image)·image_stride + column mod image`; a matrix is one image, and
/// the output of a convolution in NCHW has an image per batch element.
pub(crate) struct Output<'a> {
    data: *mut u64,
    len: usize,
    row_stride: usize,
    image: usize,
    image_stride: usize,
    accumulate: bool,
    lifetime: PhantomData<&'a mut [u64]>,
}

// SAFETY: the pointer stands for an exclusive borrow of words, and `add` is unsafe: its callers
// promise that no two threads write one element.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    /// A row-major matrix with `columns` columns.
    pub fn matrix(data: &'a mut [u64], columns: usize, accumulate: bool) -> Self {
        Output::images(data, columns, columns, columns, accumulate)
    }

    /// Images of `image` columns, `image_stride` apart, with rows `row_stride` apart.
    pub fn images(data: &'a mut [u64], row_stride: usize, image: usize, image_stride: usize, accumulate: bool) -> Self {
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
            unsafe { std::slice::from_raw_parts_mut(self.data, self.len) }.fill(0);
        }
    }

    /// Stores a tile of rows of `stride` words, or adds it to what is there.
    ///
    /// # Safety
    /// No other thread accesses these elements meanwhile.
    pub unsafe fn store(&self, tile: &[u64], stride: usize, rows: Range<usize>, columns: Range<usize>, add: bool) {
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
                    target.iter_mut().zip(source).for_each(|(t, s)| *t = t.wrapping_add(*s));
                } else {
                    target.copy_from_slice(source);
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
const TASKS_PER_THREAD: usize = 3;

/// Sizes of the blocks of an output of `m` × `n` that make the tasks: (rows, columns).
fn cut<K: Kernel>(m: usize, n: usize, depth: usize) -> (usize, usize) {
    let even = |size: usize, parts: usize, unit: usize| size.div_ceil(parts).next_multiple_of(unit);
    let (mut row_parts, mut column_parts) = (m.div_ceil(K::ROW_BLOCK), 1);
    let threads = rayon::current_num_threads();
    let work = m.saturating_mul(n).saturating_mul(depth);
    if threads == 1 || work < PARALLEL_PRODUCTS {
        return (even(m, row_parts, K::MR), n);
    }
    let most = (work / TASK_PRODUCTS).min(threads * TASKS_PER_THREAD);
    while row_parts * column_parts < most {
        let (rows, columns) = (m.div_ceil(row_parts), n.div_ceil(column_parts));
        match (rows > K::MR, columns > K::NR) {
            (true, true) if rows > columns => row_parts += 1,
            (_, true) => column_parts += 1,
            (true, false) => row_parts += 1,
            (false, false) => break,
        }
    }
    (even(m, row_parts, K::MR), even(n, column_parts, K::NR))
}

/// C = A·B, or C += A·B, for the concatenations A (`m` rows) and B (`n` columns); `new` makes the
/// kernel on each thread. The callers have checked that the operands hold what they claim.
pub(super) fn multiply<K: Kernel, B: Operand>(
    new: impl Fn() -> K + Sync,
    [m, n]: [usize; 2],
    a: &Concat<'_, Lanes<'_>>,
    b: &Concat<'_, B>,
    out: &Output<'_>,
) {
    let (row_step, column_step) = cut::<K>(m, n, a.depth());
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
unsafe fn block<K: Kernel, B: Operand>(
    kernel: &mut K,
    rows: Range<usize>,
    columns: Range<usize>,
    a: &Concat<'_, Lanes<'_>>,
    b: &Concat<'_, B>,
    out: &Output<'_>,
    buffers: &mut Buffers,
) {
    let depth = a.depth();
    let depth_step = depth.div_ceil(depth.div_ceil(K::DEPTH_BLOCK)).next_multiple_of(K::DEPTH_UNIT);
    for first in (0..depth).step_by(depth_step) {
        let range = first..(first + depth_step).min(depth);
        let padded = range.len().next_multiple_of(K::DEPTH_UNIT);
        let panel = K::a_words(padded);
        let packed_a = buffers.a.words(panel * rows.len().div_ceil(K::MR));
        let packed_b = buffers.b.words(K::b_words(padded));
        let tile = buffers.tile.words(K::MR * K::NR);
        let add = out.accumulate || first > 0;
        for (row, panel) in rows.clone().step_by(K::MR).zip(packed_a.chunks_exact_mut(panel)) {
            kernel.pack_a(a, range.clone(), row..(row + K::MR).min(rows.end), panel);
        }
        for column in columns.clone().step_by(K::NR) {
            let lanes = column..(column + K::NR).min(columns.end);
            kernel.pack_b(b, range.clone(), lanes.clone(), packed_b);
            for (row, panel) in rows.clone().step_by(K::MR).zip(packed_a.chunks_exact(panel)) {
                kernel.tile(panel, packed_b, tile);
                // SAFETY: the caller's promise: the block is ours.
                unsafe { out.store(tile, K::NR, row..(row + K::MR).min(rows.end), lanes.clone(), add) };
            }
        }
    }
}
