//! Products with few rows on the left: a fully connected layer at a small batch. Each word of B
//! takes part in `m` multiplications only, so the product is limited by reading B: nothing is
//! packed, and B is read once, in the order of memory.

use super::block::{Output, PARALLEL_PRODUCTS};
use super::pack::Lanes;
use super::vector::vectorised;
use super::{Isa, Term};
use rayon::prelude::*;

/// Most rows of A for which reading B without packing is faster.
const MOST_ROWS: usize = 6;
/// Columns of a task.
const COLUMNS: usize = 128;
/// Depths for which the rows of A stay in the first-level cache.
const DEPTH: usize = 512;

/// C = Σₜ Aₜ·Bₜ, or C += …, when A has few rows and each B is contiguous in one direction; false
/// (and nothing done) otherwise. The caller has checked operands and instruction set.
pub(super) fn multiply(isa: Isa, [m, n]: [usize; 2], terms: &[Term<'_>], out: &Output<'_>) -> bool {
    let contiguous = |term: &Term<'_>| term.b.row_stride == 1 || term.b.col_stride == 1;
    if m > MOST_ROWS || !terms.iter().all(contiguous) {
        return false;
    }
    let rows: Vec<Vec<u64>> = terms.iter().map(|term| contiguous_rows(m, term)).collect();
    let task = |first: usize| {
        let columns = first..(first + COLUMNS).min(n);
        let mut tile = [[0; COLUMNS]; MOST_ROWS];
        for (term, a) in terms.iter().zip(&rows) {
            let b = Lanes::columns(term.b, term.depth);
            match term.b.row_stride {
                1 => dot_columns(isa, a, b, columns.start, columns.len(), &mut tile),
                _ => add_rows(isa, a, b, columns.start, columns.len(), &mut tile),
            }
        }
        // SAFETY: the columns of different tasks do not overlap.
        unsafe { out.store(tile.as_flattened(), COLUMNS, 0..m, columns, out.accumulates()) };
    };
    let work: usize = terms.iter().map(|term| term.depth).sum::<usize>().saturating_mul(m * n);
    let starts = (0..n).into_par_iter().step_by(COLUMNS);
    if work < PARALLEL_PRODUCTS || n <= COLUMNS {
        (0..n).step_by(COLUMNS).for_each(task);
    } else {
        starts.for_each(task);
    }
    true
}

/// The rows of A one after the other.
fn contiguous_rows(m: usize, term: &Term<'_>) -> Vec<u64> {
    let element = |index: usize| {
        let (row, k) = (index / term.depth, index % term.depth);
        term.a.data[row * term.a.row_stride + k * term.a.col_stride]
    };
    (0..m * term.depth).map(element).collect()
}

vectorised! {
    /// tile[i][j] += Σₖ a[i][k]·b[k][first + j] for columns of B contiguous along the depth.
    fn dot_columns(a: &[u64], b: Lanes<'_>, first: usize, columns: usize, tile: &mut [[u64; COLUMNS]; MOST_ROWS]) {
        for start in (0..b.depth).step_by(DEPTH) {
            let len = DEPTH.min(b.depth - start);
            for j in 0..columns {
                let column = &b.data[(first + j) * b.lane_stride + start..][..len];
                for (a, tile) in a.chunks_exact(b.depth).zip(tile.iter_mut()) {
                    let products = a[start..start + len].iter().zip(column).map(|(a, b)| a.wrapping_mul(*b));
                    tile[j] = products.fold(tile[j], u64::wrapping_add);
                }
            }
        }
    }
}

vectorised! {
    /// tile[i][j] += Σₖ a[i][k]·b[k][first + j] for rows of B contiguous along the columns.
    fn add_rows(a: &[u64], b: Lanes<'_>, first: usize, columns: usize, tile: &mut [[u64; COLUMNS]; MOST_ROWS]) {
        for k in 0..b.depth {
            let row = &b.data[k * b.depth_stride + first..][..columns];
            for (a, tile) in a.chunks_exact(b.depth).zip(tile.iter_mut()) {
                tile.iter_mut().zip(row).for_each(|(t, b)| *t = t.wrapping_add(a[k].wrapping_mul(*b)));
            }
        }
    }
}
