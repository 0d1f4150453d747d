//! The AVX-512 micro-kernels with `vpmullq` and `vpmulld`, the products of words modulo 2⁶⁴ and 2³² in one instruction.
//!
//! Floor: for each vector of products a multiplication and an addition. AMD's cores since Zen 4 have multipliers for both: one
//! 512-bit vector a cycle, with the addition on other ports, so eight products of 64 bits and sixteen of 32. Intel's make three
//! operations of `vpmullq` and two of `vpmulld`, on the two ports that 512-bit vectors have: four products a cycle, fewer than with IFMA
//! (`avx512`), which Skylake and Cascade Lake lack, and 10.7 of 32 bits, where those with VNNI have `halves` instead.
//!
//! A tile is eight rows of sixteen columns. Modulo 2³² a row is one vector, and each broadcast is part of the instruction that
//! multiplies with it: a tenth faster than rows of two, with half of the padding where columns are few.

use super::block::{Kernel, Left};
use super::broadcast::broadcast_kernel;
use super::pack::{Concat, Lanes, Operand};
use std::arch::x86_64::*;
use std::ops::Range;

broadcast_kernel! {
    Wide, wide, "avx512f,avx512dq,avx512vl", u64, 8 rows of 2 of 8,
    blocks: [256, 192, 512], in_place: usize::MAX,
    vector: [__m512i, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_storeu_si512],
    products: [_mm512_set1_epi64, _mm512_mullo_epi64, _mm512_add_epi64],
}

broadcast_kernel! {
    Narrow, narrow, "avx512f,avx512dq,avx512vl", u32, 8 rows of 1 of 16,
    blocks: [256, 384, 1024], in_place: usize::MAX,
    vector: [__m512i, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_storeu_si512],
    products: [_mm512_set1_epi32, _mm512_mullo_epi32, _mm512_add_epi32],
}
