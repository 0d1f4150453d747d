//! Philox4x64-10 with AVX2: two vectors of four blocks, and two scalar blocks a round.

use super::{Block, MULTIPLIERS_64, ROUNDS, Run, first_product};
use std::arch::x86_64::*;

/// Vectors at a time.
const VECTORS: usize = 2;
/// Blocks in a vector.
const LANES: usize = 4;
/// Rounds after the first two, which are special.
const FULL_ROUNDS: usize = ROUNDS - 2;
/// Scalar blocks in each of these rounds.
const SCALARS: usize = 2;
/// Blocks at a time.
const BATCH: usize = VECTORS * LANES + SCALARS * FULL_ROUNDS;

/// Fills with the blocks of `run` from the lowest counter word `low` on.
#[target_feature(enable = "avx2,bmi2")]
pub(super) fn fill(run: &Run, mut low: u64, blocks: &mut [Block]) {
    let keys: [_; FULL_ROUNDS] = std::array::from_fn(|i| run.keys[i + 2].map(|key| splat(key)));
    let lanes = _mm256_set_epi64x(3, 2, 1, 0);
    let mut firsts: [_; VECTORS] = std::array::from_fn(|v| {
        let counters = _mm256_add_epi64(splat(low.wrapping_add((v * LANES) as u64)), lanes);
        product(counters, MULTIPLIERS_64[0])
    });
    let (batches, rest) = blocks.as_chunks_mut::<BATCH>();
    for batch in batches {
        let mut vectors = firsts.map(|first| second_round(run, first));
        firsts = firsts.map(|first| advance(first));
        for (round, key) in keys.iter().enumerate() {
            for x in &mut vectors {
                *x = full_round(*x, key);
            }
            let scalar = VECTORS * LANES + SCALARS * round;
            run.fill_inline(low.wrapping_add(scalar as u64), &mut batch[scalar..scalar + SCALARS]);
        }
        for (x, out) in vectors.into_iter().zip(batch.as_chunks_mut().0) {
            store(x, out);
        }
        low = low.wrapping_add(BATCH as u64);
    }
    run.fill_inline(low, rest);
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u64) -> __m256i {
    _mm256_set1_epi64x(word as i64)
}

/// First products, high and low halves, a batch further on.
#[inline]
#[target_feature(enable = "avx2")]
fn advance((high, low): (__m256i, __m256i)) -> (__m256i, __m256i) {
    let step = first_product(BATCH as u64);
    let low = _mm256_add_epi64(low, splat(step as u64));
    let high = _mm256_add_epi64(high, splat((step >> 64) as u64));
    // The comparison is one of signed integers: flipping the sign bits makes it one of words.
    let flip = splat(1 << 63);
    let carried = _mm256_cmpgt_epi64(splat(step as u64 ^ (1 << 63)), _mm256_xor_si256(low, flip));
    (_mm256_sub_epi64(high, carried), low)
}

/// Four blocks after the second round, a vector for each word, from their first products.
#[inline]
#[target_feature(enable = "avx2")]
fn second_round(run: &Run, (high, x3): (__m256i, __m256i)) -> [__m256i; 4] {
    let (high, x1) = product(_mm256_xor_si256(high, splat(run.first[2])), MULTIPLIERS_64[1]);
    let (x0, x2) = (_mm256_xor_si256(high, splat(run.second[0])), _mm256_xor_si256(x3, splat(run.second[1])));
    [x0, x1, x2, splat(run.second[2])]
}

#[inline]
#[target_feature(enable = "avx2")]
fn full_round([x0, x1, x2, x3]: [__m256i; 4], key: &[__m256i; 2]) -> [__m256i; 4] {
    let ((h0, l0), (h1, l1)) = (product(x0, MULTIPLIERS_64[0]), product(x2, MULTIPLIERS_64[1]));
    let x0 = _mm256_xor_si256(h1, _mm256_xor_si256(x1, key[0]));
    let x2 = _mm256_xor_si256(h0, _mm256_xor_si256(x3, key[1]));
    [x0, l1, x2, l0]
}

/// The high and low halves of four products, from those of 32-bit halves.
#[inline]
#[target_feature(enable = "avx2")]
fn product(a: __m256i, multiplier: u64) -> (__m256i, __m256i) {
    let low_half = splat(0xffff_ffff);
    // Of each factor the instruction reads the low half.
    let (m_low, m_high) = (splat(multiplier & 0xffff_ffff), splat(multiplier >> 32));
    let a_high = _mm256_srli_epi64::<32>(a);
    let low = _mm256_mul_epu32(a, m_low);
    // Neither sum overflows: (2³² − 1)² + 2·(2³² − 1) is 2⁶⁴ − 1.
    let cross = _mm256_add_epi64(_mm256_mul_epu32(a_high, m_low), _mm256_srli_epi64::<32>(low));
    let other = _mm256_add_epi64(_mm256_mul_epu32(a, m_high), _mm256_and_si256(cross, low_half));
    let high = _mm256_add_epi64(_mm256_mul_epu32(a_high, m_high), _mm256_srli_epi64::<32>(cross));
    let high = _mm256_add_epi64(high, _mm256_srli_epi64::<32>(other));
    (high, _mm256_blend_epi32::<0xaa>(low, _mm256_slli_epi64::<32>(other)))
}

/// Writes four blocks, word i of block j being lane j of vector i.
#[inline]
#[target_feature(enable = "avx2")]
fn store([a, b, c, d]: [__m256i; 4], out: &mut [Block; LANES]) {
    let (even_first, odd_first) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (even_last, odd_last) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
    let blocks = [
        _mm256_permute2x128_si256::<0x20>(even_first, even_last),
        _mm256_permute2x128_si256::<0x20>(odd_first, odd_last),
        _mm256_permute2x128_si256::<0x31>(even_first, even_last),
        _mm256_permute2x128_si256::<0x31>(odd_first, odd_last),
    ];
    for (block, out) in blocks.into_iter().zip(out) {
        // SAFETY: a block is 32 bytes, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), block) };
    }
}
