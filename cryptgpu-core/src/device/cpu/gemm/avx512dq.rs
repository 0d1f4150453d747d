//! The AVX-512 micro-kernel with `vpmullq`, the product of 64-bit words modulo 2⁶⁴ in one instruction.
//!
//! Floor: per eight products a multiplication and an addition. AMD's cores since Zen 4 have multipliers of 64 bits: one 512-bit
//! `vpmullq` a cycle, and the addition on other ports, so eight products a cycle. Intel's make three multiplications of
//! it on the two 512-bit ports: four products a cycle, fewer than with IFMA (`avx512`), which Skylake and Cascade Lake lack. A tile
//! is 4 × 16: eight accumulators, so that a chain of additions is shorter than the loads of a step, and few rows are padding.
//! A panel of B of 256 depths is a first-level cache of Zen 4.

use super::block::Kernel;
use super::pack::{Concat, Lanes, Operand};
use std::arch::x86_64::*;
use std::ops::Range;

const MR: usize = 4;
const NR: usize = 16;
/// Vectors in a row of a tile.
const VR: usize = NR / 8;

/// A witness that the machine has AVX-512 F, DQ and VL.
pub(super) struct Avx512Dq(());

impl Avx512Dq {
    /// # Safety
    /// The machine must have AVX-512 F, DQ and VL.
    pub unsafe fn new() -> Self {
        Avx512Dq(())
    }
}

impl Kernel<MR, NR> for Avx512Dq {
    type Word = u64;

    const DEPTH_UNIT: usize = 1;
    const DEPTH_BLOCK: usize = 256;
    const ROW_BLOCK: usize = 192;
    const COLUMN_BLOCK: usize = 512;

    fn pack_a(&mut self, a: &Concat<'_, Lanes<'_>>, depth: Range<usize>, rows: Range<usize>, dst: &mut [u64]) {
        // SAFETY: `self` witnesses AVX-512.
        unsafe { copy::<_, MR>(a, depth, rows, dst) };
    }

    fn pack_b<B: Operand<Word = u64>>(
        &mut self,
        b: &Concat<'_, B>,
        depth: Range<usize>,
        columns: Range<usize>,
        dst: &mut [u64],
    ) {
        // SAFETY: `self` witnesses AVX-512.
        unsafe { copy::<_, NR>(b, depth, columns, dst) };
    }

    fn tile(&mut self, a: &[u64], b: &[u64], out: &mut [u64]) {
        // SAFETY: `self` witnesses AVX-512.
        unsafe { tile(a.as_chunks().0, b.as_chunks().0, out.as_chunks_mut().0) };
    }
}

/// [`Concat::pack`], compiled for this instruction set.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn copy<O: Operand<Word = u64>, const W: usize>(
    from: &Concat<'_, O>,
    depth: Range<usize>,
    lanes: Range<usize>,
    dst: &mut [u64],
) {
    from.pack::<W>(depth, lanes, dst);
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn tile(a: &[[u64; MR]], b: &[[u64; NR]], out: &mut [[u64; NR]]) {
    let mut sums = [[_mm512_setzero_si512(); VR]; MR];
    for (a, b) in a.iter().zip(b) {
        let b = b.as_chunks::<8>().0;
        let mut vectors = [_mm512_setzero_si512(); VR];
        for (vector, words) in vectors.iter_mut().zip(b) {
            // SAFETY: a chunk is eight words; the load needs no alignment.
            *vector = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
        }
        for (sums, &a) in sums.iter_mut().zip(a) {
            let a = _mm512_set1_epi64(a.cast_signed());
            for (sum, b) in sums.iter_mut().zip(vectors) {
                *sum = _mm512_add_epi64(*sum, _mm512_mullo_epi64(a, b));
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out) {
        for (sum, out) in sums.into_iter().zip(out.as_chunks_mut::<8>().0) {
            // SAFETY: `out` is eight words; the store needs no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
        }
    }
}
