//! Philox4x64-10 with AVX-512 IFMA: two vectors of eight blocks, and a scalar block a round.

use super::{Block, MULTIPLIERS_64, ROUNDS, Run, first_product};
use std::arch::x86_64::*;

/// Vectors at a time: two hide the latency of the multiplications.
const VECTORS: usize = 2;
/// Blocks in a vector.
const LANES: usize = 8;
/// Rounds after the first two, which are special.
const FULL_ROUNDS: usize = ROUNDS - 2;
/// Blocks at a time: those of the vectors, and one scalar block a full round.
const BATCH: usize = VECTORS * LANES + FULL_ROUNDS;

/// Fills with the blocks of `run` from the lowest counter word `low` on.
#[target_feature(enable = "avx512f,avx512ifma,bmi2")]
pub(super) fn fill(run: &Run, mut low: u64, blocks: &mut [Block]) {
    let keys: [_; FULL_ROUNDS] = std::array::from_fn(|i| run.keys[i + 2].map(|key| splat(key)));
    let lanes = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    let mut firsts: [_; VECTORS] = std::array::from_fn(|v| {
        let counters = _mm512_add_epi64(splat(low.wrapping_add((v * LANES) as u64)), lanes);
        product(counters, MULTIPLIERS_64[0])
    });
    let (batches, rest) = blocks.as_chunks_mut::<BATCH>();
    for batch in batches {
        let mut vectors = firsts.map(|first| second_round(run, first));
        firsts = firsts.map(|first| advance(first));
        let mut first = first_product(low.wrapping_add((VECTORS * LANES) as u64));
        for (round, key) in keys.iter().enumerate() {
            for x in &mut vectors {
                *x = full_round(*x, key);
            }
            batch[VECTORS * LANES + round] = run.block(first);
            first = first.wrapping_add(MULTIPLIERS_64[0].into());
        }
        for (x, out) in vectors.into_iter().zip(batch.as_chunks_mut().0) {
            store(x, out);
        }
        low = low.wrapping_add(BATCH as u64);
    }
    run.fill_inline(low, rest);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u64) -> __m512i {
    _mm512_set1_epi64(word as i64)
}

/// First products, high and low halves, a batch further on.
#[inline]
#[target_feature(enable = "avx512f")]
fn advance((high, low): (__m512i, __m512i)) -> (__m512i, __m512i) {
    let step = first_product(BATCH as u64);
    let step_low = splat(step as u64);
    let low = _mm512_add_epi64(low, step_low);
    let high = _mm512_add_epi64(high, splat((step >> 64) as u64));
    let carried = _mm512_cmplt_epu64_mask(low, step_low);
    (_mm512_mask_add_epi64(high, carried, high, splat(1)), low)
}

/// Eight blocks after the second round, a vector for each word, from their first products.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn second_round(run: &Run, (high, x3): (__m512i, __m512i)) -> [__m512i; 4] {
    let (high, x1) = product(_mm512_xor_si512(high, splat(run.first[2])), MULTIPLIERS_64[1]);
    let (x0, x2) = (_mm512_xor_si512(high, splat(run.second[0])), _mm512_xor_si512(x3, splat(run.second[1])));
    [x0, x1, x2, splat(run.second[2])]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn full_round([x0, x1, x2, x3]: [__m512i; 4], key: &[__m512i; 2]) -> [__m512i; 4] {
    let ((h0, l0), (h1, l1)) = (product(x0, MULTIPLIERS_64[0]), product(x2, MULTIPLIERS_64[1]));
    // 0x96 is the exclusive or of three.
    [_mm512_ternarylogic_epi64::<0x96>(h1, x1, key[0]), l1, _mm512_ternarylogic_epi64::<0x96>(h0, x3, key[1]), l0]
}

/// The high and low halves of eight products. With a = a₁·2⁵² + a₀ and so for m, IFMA gives the
/// halves of each product of parts about bit 52, and adds.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn product(a: __m512i, multiplier: u64) -> (__m512i, __m512i) {
    let zero = _mm512_setzero_si512();
    // Of each factor IFMA reads the low 52 bits, so a₀ is a itself.
    let (m0, m1) = (splat(multiplier & ((1 << 52) - 1)), splat(multiplier >> 52));
    let a1 = _mm512_srli_epi64::<52>(a);
    // Weight 2⁵²: less than 2⁵⁴.
    let middle = _mm512_madd52hi_epu64(zero, a, m0);
    let middle = _mm512_madd52lo_epu64(middle, a, m1);
    let middle = _mm512_madd52lo_epu64(middle, a1, m0);
    // Weight 2¹⁰⁴.
    let top = _mm512_madd52hi_epu64(zero, a, m1);
    let top = _mm512_madd52hi_epu64(top, a1, m0);
    let top = _mm512_madd52lo_epu64(top, a1, m1);
    let low = _mm512_madd52lo_epu64(_mm512_slli_epi64::<52>(middle), a, m0);
    (_mm512_add_epi64(_mm512_srli_epi64::<12>(middle), _mm512_slli_epi64::<40>(top)), low)
}

/// Writes eight blocks, word i of block j being lane j of vector i.
#[inline]
#[target_feature(enable = "avx512f")]
fn store([a, b, c, d]: [__m512i; 4], out: &mut [Block; LANES]) {
    // Lanes 2j and 2j + 1 of each: first halves of blocks 2j (even) or 2j + 1 (odd), and last halves.
    let (even_first, odd_first) = (_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    let (even_last, odd_last) = (_mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d));
    let near = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    let far = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    let blocks_02 = _mm512_permutex2var_epi64(even_first, near, even_last);
    let blocks_13 = _mm512_permutex2var_epi64(odd_first, near, odd_last);
    let blocks_46 = _mm512_permutex2var_epi64(even_first, far, even_last);
    let blocks_57 = _mm512_permutex2var_epi64(odd_first, far, odd_last);
    let pairs = [
        _mm512_shuffle_i64x2::<0x44>(blocks_02, blocks_13),
        _mm512_shuffle_i64x2::<0xee>(blocks_02, blocks_13),
        _mm512_shuffle_i64x2::<0x44>(blocks_46, blocks_57),
        _mm512_shuffle_i64x2::<0xee>(blocks_46, blocks_57),
    ];
    for (pair, out) in pairs.into_iter().zip(out.as_chunks_mut::<2>().0) {
        // SAFETY: two blocks are 64 bytes, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), pair) };
    }
}
