//! The micro-kernel modulo 2³² with VNNI, on halves of words. Split a = aₗ + 2¹⁶·aₕ with both halves signed; then
//! a·b = aₗbₗ + 2¹⁶·(aₗbₕ + aₕbₗ) mod 2³². `vpdpwssd` adds two products of 16-bit numbers to a 32-bit lane: the lower halves of two
//! depths at once, and both cross terms of one depth. So two depths take three of them, and nothing else. Both accumulators may
//! wrap: the result is exact modulo 2³² for any depth.
//!
//! Floor: three operations for 32 products. Intel's cores have two a cycle: 21.3 products, twice those with `vpmulld` (see
//! `narrow`), by counting; bytes, ten limb products with `vpdpbusd`, would be 12.8. AMD's cores of Zen 4 have one a cycle: 10.7, less
//! than with `vpmulld`, so it is for Intel's processors. A tile is 4 × 32: 16 accumulators of 32 registers.

use super::block::{Kernel, Left};
use super::pack::{Concat, Lanes, Operand};
use std::arch::x86_64::*;
use std::ops::Range;

const MR: usize = 4;
const NR: usize = 32;
/// Vectors in a row of a tile.
const VR: usize = NR / 16;

/// A witness that the machine has AVX-512 F, DQ, VL and VNNI.
pub(super) struct Halves(());

impl Halves {
    /// # Safety
    /// The machine must have AVX-512 F, DQ, VL and VNNI.
    pub unsafe fn new() -> Self {
        Halves(())
    }
}

impl Kernel<MR, NR> for Halves {
    type Word = u32;

    const DEPTH_UNIT: usize = 2;
    const DEPTH_BLOCK: usize = 192;
    const ROW_BLOCK: usize = 320;
    const COLUMN_BLOCK: usize = 1024;

    /// Both halves of every word, then the lower halves of every pair of depths.
    fn a_words(depth: usize) -> usize {
        depth * MR + depth / 2 * MR
    }

    fn b_words(depth: usize) -> usize {
        depth * NR + depth / 2 * NR
    }

    fn pack_a(&mut self, a: &Concat<'_, Lanes<'_, u32>>, depth: Range<usize>, rows: Range<usize>, dst: &mut [u32]) {
        let (both, lower) = dst.split_at_mut(dst.len() / 3 * 2);
        // SAFETY: `self` witnesses AVX-512.
        unsafe { copy::<_, MR>(a, depth, rows, both) };
        // SAFETY: as above.
        unsafe { split::<MR>(both.as_chunks_mut().0, lower.as_chunks_mut().0, 0) };
    }

    fn pack_b<B: Operand<Word = u32>>(
        &mut self,
        b: &Concat<'_, B>,
        depth: Range<usize>,
        columns: Range<usize>,
        dst: &mut [u32],
    ) {
        let (both, lower) = dst.split_at_mut(dst.len() / 3 * 2);
        // SAFETY: `self` witnesses AVX-512.
        unsafe { copy::<_, NR>(b, depth, columns, both) };
        // SAFETY: as above.
        unsafe { split::<NR>(both.as_chunks_mut().0, lower.as_chunks_mut().0, 16) };
    }

    fn tile(&mut self, a: Left<'_, u32>, b: &[u32], out: &mut [u32]) {
        let (a_both, a_lower) = a.panel.split_at(a.panel.len() / 3 * 2);
        let (b_both, b_lower) = b.split_at(b.len() / 3 * 2);
        let pairs = a_lower.as_chunks::<MR>().0.iter().zip(b_lower.as_chunks::<NR>().0);
        let steps = a_both.as_chunks::<{ 2 * MR }>().0.iter().zip(b_both.as_chunks::<{ 2 * NR }>().0);
        // SAFETY: `self` witnesses AVX-512 and VNNI.
        unsafe { tile(steps.zip(pairs), out.as_chunks_mut().0) };
    }
}

/// [`Concat::pack`], compiled for this instruction set.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn copy<O: Operand<Word = u32>, const W: usize>(
    from: &Concat<'_, O>,
    depth: Range<usize>,
    lanes: Range<usize>,
    dst: &mut [u32],
) {
    from.pack::<W>(depth, lanes, dst);
}

/// Words as their signed halves, the lower one in the lower field, rotated by `rotation` bits; and the lower halves of two depths
/// in a word. What the lower half is less than its bits say, the upper one is more.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn split<const W: usize>(words: &mut [[u32; W]], lower: &mut [[u32; W]], rotation: u32) {
    let both = |word: u32| word & 0xffff | word.wrapping_add(0x8000) & 0xffff_0000;
    for (two, lower) in words.as_chunks_mut::<2>().0.iter_mut().zip(lower) {
        *lower = std::array::from_fn(|x| two[0][x] & 0xffff | two[1][x] << 16);
        two.as_flattened_mut().iter_mut().for_each(|word| *word = both(*word).rotate_left(rotation));
    }
}

/// Two depths: both halves of each, and the lower halves, for A and B.
type Step<'a> = ((&'a [u32; 2 * MR], &'a [u32; 2 * NR]), (&'a [u32; MR], &'a [u32; NR]));

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vnni")]
fn tile<'a>(steps: impl Iterator<Item = Step<'a>>, out: &mut [[u32; NR]]) {
    let zero = [[_mm512_setzero_si512(); VR]; MR];
    let (mut low, mut cross) = (zero, zero);
    for ((a, b), (a_lower, b_lower)) in steps {
        add(&mut low, a_lower, b_lower);
        for (a, b) in a.as_chunks::<MR>().0.iter().zip(b.as_chunks::<NR>().0) {
            add(&mut cross, a, b);
        }
    }
    for ((low, cross), out) in low.iter().zip(cross).zip(out) {
        for ((low, cross), out) in low.iter().zip(cross).zip(out.as_chunks_mut::<16>().0) {
            let sum = _mm512_add_epi32(*low, _mm512_slli_epi32::<16>(cross));
            // SAFETY: `out` is sixteen words; the store needs no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
        }
    }
}

/// Adds the products of the 16-bit fields of every word of A and every word of B.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add(sums: &mut [[__m512i; VR]; MR], a: &[u32; MR], b: &[u32; NR]) {
    let chunks = b.as_chunks::<16>().0;
    // SAFETY: each chunk is sixteen words; the load needs no alignment.
    let b: [__m512i; VR] = std::array::from_fn(|v| unsafe { _mm512_loadu_si512(chunks[v].as_ptr().cast()) });
    for (sums, a) in sums.iter_mut().zip(a) {
        let a = _mm512_set1_epi32(a.cast_signed());
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = _mm512_dpwssd_epi32(*sum, a, b);
        }
    }
}
