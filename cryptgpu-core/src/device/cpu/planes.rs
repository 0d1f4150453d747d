//! Rows of words to planes of bits and back, whole vectors at a time.

use super::rows::Row;

/// 64 rows: row t, lane l is element t·LANES + l of a unit. They are of 4 KiB, so functions work on them where they stand.
pub(crate) type Rows<R> = [R; 64];

/// Rows that are kept in registers together while they are transposed.
const TOGETHER: usize = 8;

/// Transposes the 64×64 bits of every lane: bit i of row t moves to bit t of row i. Its own
/// inverse. Six steps of masked swaps between whole rows, three at a time on eight rows that stay in registers: 2.25 vector
/// operations an element at eight lanes in 512-bit registers, and each row is loaded and stored twice.
#[inline(always)]
pub(crate) fn transpose<R: Row>(rows: &mut Rows<R>) {
    far_steps(rows);
    near_steps(rows, 64);
}

/// The steps between rows that are 32, 16 and 8 apart.
#[inline(always)]
fn far_steps<R: Row>(rows: &mut Rows<R>) {
    for first in 0..TOGETHER {
        let mut some = [rows[first]; TOGETHER];
        for at in 0..TOGETHER {
            some[at] = rows[first + TOGETHER * at];
        }
        swap::<R, 4, 32>(&mut some, 0x0000_0000_FFFF_FFFF);
        swap::<R, 2, 16>(&mut some, 0x0000_FFFF_0000_FFFF);
        swap::<R, 1, 8>(&mut some, 0x00FF_00FF_00FF_00FF);
        for at in 0..TOGETHER {
            rows[first + TOGETHER * at] = some[at];
        }
    }
}

/// The steps between rows that are 4, 2 and 1 apart, of the first `count` rows at least.
#[inline(always)]
fn near_steps<R: Row>(rows: &mut Rows<R>, count: usize) {
    for some in rows.as_chunks_mut::<TOGETHER>().0.iter_mut().take(count.div_ceil(TOGETHER)) {
        let mut now = *some;
        swap::<R, 4, 4>(&mut now, 0x0F0F_0F0F_0F0F_0F0F);
        swap::<R, 2, 2>(&mut now, 0x3333_3333_3333_3333);
        swap::<R, 1, 1>(&mut now, 0x5555_5555_5555_5555);
        *some = now;
    }
}

/// Swaps blocks of bits between rows that stand `APART` apart here and `BITS` apart among all.
#[inline(always)]
fn swap<R: Row, const APART: usize, const BITS: u32>(rows: &mut [R; TOGETHER], mask: u64) {
    let mask = R::splat(mask);
    for low in 0..TOGETHER {
        if low & APART == 0 {
            let (a, b) = (rows[low], rows[low + APART]);
            let swap = (a.shr(BITS) ^ b) & mask;
            rows[low] = a ^ swap.shl(BITS);
            rows[low + APART] = b ^ swap;
        }
    }
}

/// Fills rows that are zero with those of up to 64·LANES elements, each as `f` says by its number.
#[inline(always)]
pub(crate) fn load<R: Row>(rows: &mut Rows<R>, elements: usize, f: impl Fn(usize) -> R) {
    for (t, row) in rows.iter_mut().take(elements / R::LANES).enumerate() {
        *row = f(t);
    }
}

/// The low bits of rows, which are of no meaning then, as planes: as many as `planes` has room for.
#[inline(always)]
pub(crate) fn store_planes<R: Row>(rows: &mut Rows<R>, planes: &mut [u64]) {
    let count = planes.len() / R::LANES;
    far_steps(rows);
    near_steps(rows, count);
    for (at, row) in rows.iter().take(count).enumerate() {
        row.store(planes, at);
    }
}

/// Fills rows that are zero with those whose low bits are `planes`.
#[inline(always)]
pub(crate) fn load_planes<R: Row>(rows: &mut Rows<R>, planes: &[u64]) {
    let count = planes.len() / R::LANES;
    for (at, row) in rows.iter_mut().take(count).enumerate() {
        *row = R::load(planes, at);
    }
    // The steps may come in any order: others than these rows are zero yet.
    near_steps(rows, count);
    far_steps(rows);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::rows::{Plain, row_kernel};
    use crate::ring::Layout;
    use proptest::prelude::*;

    row_kernel! {
        fn transpose_unit<R>(words: &mut [u64]) {
            let mut rows = [R::zero(); 64];
            load(&mut rows, 64 * R::LANES, |t| R::load(words, t));
            transpose(&mut rows);
            rows.into_iter().enumerate().for_each(|(t, row)| row.store(words, t));
        }
    }

    row_kernel! {
        fn planes_unit<R>(words: &[u64], planes: &mut [u64], back: &mut [u64]) {
            let mut rows = [R::zero(); 64];
            load(&mut rows, words.len(), |t| R::load(words, t));
            store_planes(&mut rows, planes);
            let mut rows = [R::zero(); 64];
            load_planes(&mut rows, planes);
            rows.into_iter().enumerate().for_each(|(t, row)| row.store(back, t));
        }
    }

    row_kernel! {
        fn bits_unit<R>(packed: &[u64], seen: &mut [u64]) {
            let packed = R::load(packed, 0);
            for t in 0..seen.len() / R::LANES {
                packed.mask(t as u32).store(seen, t);
            }
        }
    }

    /// Words without structure.
    fn words(seed: u64, count: usize) -> Vec<u64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state ^ state >> 29
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        #[test]
        fn transposing_swaps_rows_and_bits(seed: u64) {
            for lanes in [1, 8] {
                let before = words(seed, 64 * lanes);
                let mut rows = before.clone();
                transpose_unit(lanes, &mut rows);
                for (t, i, l) in (0..64 * 64 * lanes).map(|at| (at / lanes / 64, at / lanes % 64, at % lanes)) {
                    prop_assert_eq!(rows[t * lanes + l] >> i & 1, before[i * lanes + l] >> t & 1);
                }
                transpose_unit(lanes, &mut rows);
                prop_assert_eq!(rows, before);
            }
        }

        #[test]
        fn some_planes_are_those_of_all(seed: u64, width in 1usize..=64) {
            for lanes in [1, 8] {
                let before = words(seed, 64 * lanes);
                let (mut all, mut planes) = (before.clone(), vec![0; width * lanes]);
                transpose_unit(lanes, &mut all);
                let mut back = vec![0; 64 * lanes];
                planes_unit(lanes, &before, &mut planes, &mut back);
                prop_assert_eq!(&planes, &all[..width * lanes]);
                let low = u64::MAX >> (64 - width);
                prop_assert_eq!(back, before.iter().map(|word| word & low).collect::<Vec<_>>());
            }
        }

        #[test]
        fn masks_follow_the_layout(bits in proptest::collection::vec(any::<bool>(), 1..=64), block: bool) {
            let bits: Vec<bool> = if block { bits.iter().copied().cycle().take(512).collect() } else { bits };
            let mut seen = vec![1; bits.len()];
            bits_unit(if block { 8 } else { 1 }, &Layout::pack(&bits), &mut seen);
            prop_assert_eq!(seen, bits.iter().map(|&bit| u64::from(bit).wrapping_neg()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn rows_of_any_processor_transpose_alike() {
        let before = words(1, 512);
        let mut rows = [Plain::zero(); 64];
        load(&mut rows, 512, |t| Plain::load(&before, t));
        transpose(&mut rows);
        let (mut plain, mut widest) = (before.clone(), before);
        rows.into_iter().enumerate().for_each(|(t, row)| row.store(&mut plain, t));
        transpose_unit(8, &mut widest);
        assert_eq!(plain, widest);
    }
}
