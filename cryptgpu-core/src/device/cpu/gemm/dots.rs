//! Scalar products of a few lanes with many, depths next to each other in both, by AVX-512 and by AVX2: what `thin` reads of a fully
//! connected layer's or a small image's weights.
//!
//! Floor: each word of the many lanes is read from memory once. Sums stay in registers: by AVX-512 four lanes with four at a time, or one or
//! two with eight, so that as many streams are read as a core's prefetchers follow, and a loaded vector takes part in several
//! products. On one core of an EPYC (Zen 4), of 32-bit words from main memory: 13.5 GB/s with four lanes and 20 with one, where sums of
//! one lane with one at a time came to 5.6 and 9; adding up the same words is 22. AVX2 has half of the registers, and two sums for each product
//! of 64 bits: fewer lanes at a time, too few streams, so it asks for the lanes that come next as it goes.

use super::avx2::{Pair, add_pairs, multiply_halves, pair, swapped, words};
use super::pack::Lanes;
use super::thin::MANY;
use std::arch::x86_64::*;
use std::ops::Range;

/// Bytes of a lane that are multiplied at once: four lanes stay in the first-level cache.
const BYTES: usize = 4 << 10;

/// Defines the sums of a word by an instruction set: so many of the many lanes at a time with one, two and four of the few. The first words of a
/// vector are loaded by a mask: `mask` makes one, and `all` is that of a whole vector. `ahead`: whether the lanes that come next are prefetched.
macro_rules! dots {
    (
        $name:ident, $features:literal, $word:ident, at_once: [$with_1:literal, $with_2:literal, $with_4:literal], ahead: $ahead:literal,
        vector: [$vector:ty, $zero:ident, $load:ident, $mask:ident, $all:expr],
        sums: [$sum:ty, $none:ident, $add:ident, $multiply:ident, $reduce:ident],
    ) => {
        /// `tile[i][j]` += Σₖ `few[i][k]` · `many[k][first + j]` for the lanes in `few`, one after the other, and `count` others.
        #[target_feature(enable = $features)]
        pub(super) fn $name(
            few: &[$word],
            many: Lanes<'_, $word>,
            first: usize,
            count: usize,
            tile: &mut [[$word; MANY]],
        ) {
            const STEP: usize = BYTES / size_of::<$word>();
            const VECTOR: usize = size_of::<$vector>() / size_of::<$word>();

            /// `F` lanes with `M` others at a time.
            #[target_feature(enable = $features)]
            fn block<const F: usize, const M: usize>(
                few: &[$word],
                many: Lanes<'_, $word>,
                depth: Range<usize>,
                [first, count]: [usize; 2],
                tile: &mut [[$word; MANY]],
            ) {
                let (rows, len, lane_stride) = (few.len() / many.depth, depth.len(), many.lane_stride);
                // Lanes beyond the last are the last.
                let few = |row: usize| few[row.min(rows - 1) * many.depth + depth.start..][..len].as_ptr();
                let few: [*const $word; F] = std::array::from_fn(few);
                for at in (0..count).step_by(M) {
                    let lane = |x: usize| (first + (at + x).min(count - 1)) * many.lane_stride + depth.start;
                    let many: [*const $word; M] = std::array::from_fn(|x| many.data[lane(x)..][..len].as_ptr());
                    // SAFETY: `len` words lie from each pointer on, as the slices say.
                    let sums = unsafe { dot(few, many, M * lane_stride, len) };
                    for (sums, row) in sums.into_iter().zip(&mut tile[..rows]) {
                        for (sum, to) in sums.into_iter().zip(&mut row[at..count]) {
                            *to = to.wrapping_add($reduce(sum).cast_unsigned());
                        }
                    }
                }
            }

            /// For each of the lanes with each of the others, sums of products at the same place of a vector. The others that come
            /// next lie `next` words on.
            ///
            /// # Safety
            /// `len` words lie from each pointer on.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn dot<const F: usize, const M: usize>(
                few: [*const $word; F],
                many: [*const $word; M],
                next: usize,
                len: usize,
            ) -> [[$sum; M]; F] {
                let mut sums = [[$none(); M]; F];
                for k in (0..len).step_by(VECTOR) {
                    let mask = if len - k < VECTOR { $mask(len - k) } else { $all };
                    let mut vectors = [$zero(); F];
                    for (vector, few) in vectors.iter_mut().zip(few) {
                        // SAFETY: within the words by the mask, and the caller's promise.
                        *vector = unsafe { $load(mask, few.add(k).cast()) };
                    }
                    for (x, many) in many.into_iter().enumerate() {
                        // SAFETY: likewise.
                        let other = unsafe { $load(mask, many.add(k).cast()) };
                        if $ahead {
                            _mm_prefetch::<_MM_HINT_T0>(many.wrapping_add(next + k).cast());
                        }
                        for (sums, vector) in sums.iter_mut().zip(vectors) {
                            sums[x] = $add(sums[x], $multiply(vector, other));
                        }
                    }
                }
                sums
            }

            for start in (0..many.depth).step_by(STEP) {
                let depth = start..many.depth.min(start + STEP);
                for (few, tile) in few.chunks(4 * many.depth).zip(tile.chunks_mut(4)) {
                    match few.len() / many.depth {
                        1 => block::<1, $with_1>(few, many, depth.clone(), [first, count], tile),
                        2 => block::<2, $with_2>(few, many, depth.clone(), [first, count], tile),
                        _ => block::<4, $with_4>(few, many, depth.clone(), [first, count], tile),
                    }
                }
            }
        }
    };
}

dots! {
    wide, "avx512f,avx512dq,avx512vl", u64, at_once: [8, 8, 4], ahead: false,
    vector: [__m512i, _mm512_setzero_si512, _mm512_maskz_loadu_epi64, first_of_8, !0],
    sums: [__m512i, _mm512_setzero_si512, _mm512_add_epi64, _mm512_mullo_epi64, _mm512_reduce_add_epi64],
}

dots! {
    narrow, "avx512f,avx512dq,avx512vl", u32, at_once: [8, 8, 4], ahead: false,
    vector: [__m512i, _mm512_setzero_si512, _mm512_maskz_loadu_epi32, first_of_16, !0],
    sums: [__m512i, _mm512_setzero_si512, _mm512_add_epi32, _mm512_mullo_epi32, _mm512_reduce_add_epi32],
}

dots! {
    wide_avx2, "avx2", u64, at_once: [4, 2, 1], ahead: true,
    vector: [__m256i, _mm256_setzero_si256, load_words, first_words, _mm256_set1_epi32(-1)],
    sums: [Pair, pair, add_pairs, multiply_words, reduce_words],
}

dots! {
    narrow_avx2, "avx2", u32, at_once: [8, 4, 2], ahead: true,
    vector: [__m256i, _mm256_setzero_si256, load_halves, first_halves, _mm256_set1_epi32(-1)],
    sums: [__m256i, _mm256_setzero_si256, _mm256_add_epi32, _mm256_mullo_epi32, reduce_halves],
}

/// The mask of the first `count` of eight words, fewer than all.
#[inline(always)]
fn first_of_8(count: usize) -> u8 {
    !(!0 << count)
}

/// The mask of the first `count` of sixteen words, fewer than all.
#[inline(always)]
fn first_of_16(count: usize) -> u16 {
    !(!0 << count)
}

/// The mask of the first `count` of four words.
#[inline]
#[target_feature(enable = "avx2")]
fn first_words(count: usize) -> __m256i {
    _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3))
}

/// The mask of the first `count` of eight words of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn first_halves(count: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// The words that a mask names, and zeros.
///
/// # Safety
/// These words lie there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_words(mask: __m256i, from: *const i64) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_maskload_epi64(from, mask) }
}

/// The words of 32 bits that a mask names, and zeros.
///
/// # Safety
/// These words lie there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_halves(mask: __m256i, from: *const i32) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_maskload_epi32(from, mask) }
}

/// Products of words of 64 bits, by halves.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_words(a: __m256i, b: __m256i) -> Pair {
    multiply_halves(a, [b, swapped(b)])
}

/// The sum of four words' products.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce_words(sums: Pair) -> i64 {
    let words = words(sums);
    let two = _mm_add_epi64(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
    _mm_cvtsi128_si64(two).wrapping_add(_mm_extract_epi64::<1>(two))
}

/// The sum of eight words of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce_halves(words: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    _mm_cvtsi128_si32(two).wrapping_add(_mm_extract_epi32::<1>(two))
}
