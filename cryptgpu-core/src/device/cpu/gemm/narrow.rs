//! The AVX2 micro-kernel modulo 2³², with `vpmulld`, the product of 32-bit words modulo 2³² in one instruction. With AVX-512 it
//! is in `avx512dq`.
//!
//! Floor: a multiplication and an addition for each vector of products. Zen 3 and later multiply on two ports: sixteen
//! products a cycle. By counting, Intel's cores split `vpmulld` into two operations: eight.
//! Latency is 10 cycles on Intel's, and sums do not wait for it: only additions follow one another.

use super::block::{Kernel, Left};
use super::pack::{Concat, Lanes, Operand};
use std::arch::x86_64::*;
use std::ops::Range;

const MR: usize = 4;
const NR: usize = 16;
/// Vectors in a row of a tile.
const VR: usize = NR / 8;

/// A witness that the machine has AVX2.
pub(super) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The machine must have AVX2.
    pub unsafe fn new() -> Self {
        Avx2(())
    }
}

impl Kernel<MR, NR> for Avx2 {
    type Word = u32;

    const DEPTH_UNIT: usize = 1;
    const DEPTH_BLOCK: usize = 256;
    const ROW_BLOCK: usize = 384;
    const COLUMN_BLOCK: usize = 1024;

    fn pack_a(&mut self, a: &Concat<'_, Lanes<'_, u32>>, depth: Range<usize>, rows: Range<usize>, dst: &mut [u32]) {
        // SAFETY: `self` witnesses AVX2.
        unsafe { copy::<_, MR>(a, depth, rows, dst) };
    }

    fn pack_b<B: Operand<Word = u32>>(
        &mut self,
        b: &Concat<'_, B>,
        depth: Range<usize>,
        columns: Range<usize>,
        dst: &mut [u32],
    ) {
        // SAFETY: `self` witnesses AVX2.
        unsafe { copy::<_, NR>(b, depth, columns, dst) };
    }

    fn tile(&mut self, a: Left<'_, u32>, b: &[u32], out: &mut [u32]) {
        // SAFETY: `self` witnesses AVX2.
        unsafe { tile(a.panel.as_chunks().0, b.as_chunks().0, out.as_chunks_mut().0) };
    }
}

/// [`Concat::pack`], compiled for this instruction set.
#[target_feature(enable = "avx2")]
fn copy<O: Operand<Word = u32>, const W: usize>(
    from: &Concat<'_, O>,
    depth: Range<usize>,
    lanes: Range<usize>,
    dst: &mut [u32],
) {
    from.pack::<W>(depth, lanes, dst);
}

#[target_feature(enable = "avx2")]
fn tile(a: &[[u32; MR]], b: &[[u32; NR]], out: &mut [[u32; NR]]) {
    let mut sums = [[_mm256_setzero_si256(); VR]; MR];
    for (a, b) in a.iter().zip(b) {
        let mut vectors = [_mm256_setzero_si256(); VR];
        for (vector, words) in vectors.iter_mut().zip(b.as_chunks::<8>().0) {
            // SAFETY: a chunk is eight words; the load needs no alignment.
            *vector = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
        }
        for (sums, &a) in sums.iter_mut().zip(a) {
            let a = _mm256_set1_epi32(a.cast_signed());
            for (sum, b) in sums.iter_mut().zip(vectors) {
                *sum = _mm256_add_epi32(*sum, _mm256_mullo_epi32(a, b));
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out) {
        for (sum, out) in sums.into_iter().zip(out.as_chunks_mut::<8>().0) {
            // SAFETY: a chunk is eight words; the store needs no alignment.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sum) };
        }
    }
}
