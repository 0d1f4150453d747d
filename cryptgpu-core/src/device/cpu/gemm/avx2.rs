//! The AVX2 micro-kernels, modulo 2⁶⁴ and modulo 2³².
//!
//! **Modulo 2³²** `vpmulld` is the product. Floor: a multiplication and an addition for each vector of products. Zen 3 and later
//! multiply on two ports: sixteen products a cycle. By counting, Intel's cores split `vpmulld` into two operations: eight.
//! Latency is 10 cycles on Intel's, and sums do not wait for it: only additions follow one another.
//!
//! **Modulo 2⁶⁴** AVX2 has no multiplication; with 32-bit halves
//! a·b = a₀b₀ + 2³²·(a₀b₁ + a₁b₀) mod 2⁶⁴. `vpmuludq` gives a₀b₀ as a 64-bit word; `vpmulld` of
//! [a₀, a₁] with the swapped [b₁, b₀] gives both cross terms modulo 2³² in the two halves
//! of one word, and they are added to one another only at the end. B is swapped once per step of
//! the depth, so neither operand needs a second panel.
//! Floor: per four products two multiplications and two additions. Zen 3 multiplies on two of its
//! four vector ports: four products per cycle. Intel: five
//! operations on the ports 0, 1, 5, of which three (multiplications) on 0 and 1 only: 2.4.
//! A tile is 6 × 4: twelve accumulators, two forms of B, one broadcast: fifteen of sixteen registers.
//!
//! Reached for 1024³ on a Zen 3: 30 G/s modulo 2³² and 8.3 modulo 2⁶⁴, 0.57 and 0.65 of the floors at the clock of scalar code.
//! Rows of A are read in place with few columns only: with many, panels were faster (`docs/adr/0067-what-avx512-had-for-avx2.md`).

use super::block::{Kernel, Left};
use super::broadcast::broadcast_kernel;
use super::pack::{Concat, Lanes, Operand};
use std::arch::x86_64::*;
use std::ops::Range;

broadcast_kernel! {
    Wide, wide, "avx2", u64, 6 rows of 1 of 4,
    blocks: [384, 96, 384], in_place: 64,
    vector: [Pair, pair, swap_beside, store_words],
    products: [_mm256_set1_epi64x, multiply_halves, add_pairs],
}

broadcast_kernel! {
    Narrow, narrow, "avx2", u32, 4 rows of 2 of 8,
    blocks: [256, 384, 1024], in_place: 256,
    vector: [__m256i, _mm256_setzero_si256, _mm256_loadu_si256, _mm256_storeu_si256],
    products: [_mm256_set1_epi32, _mm256_mullo_epi32, _mm256_add_epi32],
}

/// Four words of 64 bits: as they are and with their halves swapped, or products of lower halves and both cross products.
pub(super) type Pair = [__m256i; 2];

/// Zeros.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn pair() -> Pair {
    [_mm256_setzero_si256(); 2]
}

/// Words, and the same with their halves swapped.
///
/// # Safety
/// Four words lie there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn swap_beside(words: *const __m256i) -> Pair {
    // SAFETY: the caller's promise; the load needs no alignment.
    let words = unsafe { _mm256_loadu_si256(words) };
    [words, swapped(words)]
}

/// Each word's halves swapped.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn swapped(words: __m256i) -> __m256i {
    _mm256_shuffle_epi32::<0b10_11_00_01>(words)
}

/// Products of lower halves, and both cross products modulo 2³².
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn multiply_halves(a: __m256i, [b, swapped]: Pair) -> Pair {
    [_mm256_mul_epu32(a, b), _mm256_mullo_epi32(a, swapped)]
}

/// The sums of each.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add_pairs([low, cross]: Pair, [more_low, more_cross]: Pair) -> Pair {
    [_mm256_add_epi64(low, more_low), _mm256_add_epi32(cross, more_cross)]
}

/// The words that sums of products stand for. The two halves of a cross word are added in the upper half: (c << 32) + (c with its lower half
/// cleared).
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn words([low, cross]: Pair) -> __m256i {
    let cleared = _mm256_blend_epi32::<0b1010_1010>(_mm256_setzero_si256(), cross);
    _mm256_add_epi64(low, _mm256_add_epi64(_mm256_slli_epi64::<32>(cross), cleared))
}

/// Stores the words that sums of products stand for.
///
/// # Safety
/// There is room for four words.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store_words(to: *mut __m256i, sums: Pair) {
    // SAFETY: the caller's promise; the store needs no alignment.
    unsafe { _mm256_storeu_si256(to, words(sums)) };
}
