//! Products with few rows on the left or few columns on the right: a fully connected layer at a
//! small batch, a convolution with a handful of output pixels. Each word of the other side, the
//! weights, takes part in a few multiplications only, so the product is limited by reading them:
//! nothing is packed, and they are read once, in the order of memory.

use super::block::{Output, PARALLEL_PRODUCTS};
use super::pack::{Concat, Lanes, Operand};
use super::vector::vectorised;
use super::{Isa, Kernels};
use crate::ring::Word;
use rayon::prelude::*;

/// Most lanes of the side with few for which reading the other one without packing is faster.
const FEW: usize = 8;
/// Lanes of the other side in a task.
pub(super) const MANY: usize = 128;
/// Depths for which the few lanes stay in the first-level cache.
const DEPTH: usize = 512;

/// Results of a task.
pub(super) type Tile<T> = [[T; MANY]; FEW];

/// C = A·B, or C += A·B, when one side has few lanes and the other can be read as it lies; false
/// (and nothing done) otherwise. The caller has checked operands and instruction set.
pub(super) fn multiply<T: Kernels, B: Operand<Word = T>>(
    isa: Isa,
    [m, n]: [usize; 2],
    a: &Concat<'_, Lanes<'_, T>>,
    b: &Concat<'_, B>,
    out: &Output<'_, T>,
) -> bool {
    let streams = |lanes: &Lanes<'_, T>| lanes.depth_stride == 1 || lanes.lane_stride == 1;
    let in_memory = || b.0.iter().map(|b| b.in_memory().filter(streams)).collect::<Option<Vec<_>>>();
    if m <= FEW
        && let Some(many) = in_memory()
    {
        let few: Vec<_> = a.0.iter().map(|a| gather(a, m)).collect();
        let store = |tile: &Tile<T>, columns| {
            // SAFETY: the columns of different tasks do not overlap.
            unsafe { out.store(tile.as_flattened(), MANY, 0..m, columns, out.accumulates()) };
        };
        stream(isa, [m, n], &few, &many, store);
        return true;
    }
    if n <= FEW && a.0.iter().all(streams) {
        let few: Vec<_> = b.0.iter().map(|b| gather(b, n)).collect();
        let store = |tile: &Tile<T>, rows| {
            let transposed: [[T; FEW]; MANY] = std::array::from_fn(|row| tile.map(|lane| lane[row]));
            // SAFETY: the rows of different tasks do not overlap.
            unsafe { out.store(transposed.as_flattened(), FEW, rows, 0..n, out.accumulates()) };
        };
        stream(isa, [n, m], &few, a.0, store);
        return true;
    }
    false
}

/// The lanes of an operand one after the other.
fn gather<T: Word>(operand: &impl Operand<Word = T>, lanes: usize) -> Vec<T> {
    let depth = operand.depth();
    let mut words = vec![T::zero(); lanes * depth];
    for (lane, words) in words.chunks_exact_mut(depth.max(1)).enumerate() {
        operand.pack::<1>(0..depth, lane..lane + 1, words);
    }
    words
}

/// Products of a few gathered lanes with `count` others, stored tile by tile.
fn stream<T: Kernels>(
    isa: Isa,
    [few_count, count]: [usize; 2],
    few: &[Vec<T>],
    many: &[Lanes<'_, T>],
    store: impl Fn(&Tile<T>, std::ops::Range<usize>) + Sync,
) {
    let task = |first: usize| {
        let range = first..(first + MANY).min(count);
        let mut tile = [[T::zero(); MANY]; FEW];
        for (&many, few) in many.iter().zip(few) {
            match many.depth_stride {
                1 => T::dot_lanes(isa, few, many, first, range.len(), &mut tile),
                _ => add_lanes(isa, few, many, first, range.len(), &mut tile),
            }
        }
        store(&tile, range);
    };
    let depth: usize = many.iter().map(|many| many.depth).sum();
    if depth.saturating_mul(few_count * count) < PARALLEL_PRODUCTS {
        (0..count).step_by(MANY).for_each(task);
    } else {
        (0..count).into_par_iter().step_by(MANY).for_each(task);
    }
}

/// tile[i][j] += Σₖ few[i][k]·many[k][first + j] for lanes contiguous along the depth, on any machine.
pub(super) fn dot_lanes<T: Word>(few: &[T], many: Lanes<'_, T>, first: usize, count: usize, tile: &mut Tile<T>) {
    for start in (0..many.depth).step_by(DEPTH) {
        let len = DEPTH.min(many.depth - start);
        for j in 0..count {
            let lane = &many.data[(first + j) * many.lane_stride + start..][..len];
            for (a, tile) in few.chunks_exact(many.depth).zip(tile.iter_mut()) {
                let products = a[start..start + len].iter().zip(lane).map(|(a, b)| a.wrapping_mul(b));
                tile[j] = products.fold(tile[j], |sum, product| sum.wrapping_add(&product));
            }
        }
    }
}

vectorised! {
    /// tile[i][j] += Σₖ few[i][k]·many[k][first + j] for lanes next to each other.
    fn add_lanes<T: Word>(few: &[T], many: Lanes<'_, T>, first: usize, count: usize, tile: &mut Tile<T>) {
        for k in 0..many.depth {
            let row = &many.data[k * many.depth_stride + first..][..count];
            for (a, tile) in few.chunks_exact(many.depth).zip(tile.iter_mut()) {
                tile.iter_mut().zip(row).for_each(|(t, b)| *t = t.wrapping_add(&a[k].wrapping_mul(b)));
            }
        }
    }
}
