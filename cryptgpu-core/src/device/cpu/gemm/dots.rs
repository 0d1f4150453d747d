//! Scalar products of a few lanes with many, depths next to each other in both, by AVX-512: what `thin` reads of a fully connected
//! layer's or a small image's weights.
//!
//! Floor: each word of the many lanes is read from memory once. Sums stay in registers: four lanes with four at a time, or one or
//! two with eight, so that as many streams are read as a core's prefetchers follow, and a loaded vector takes part in several
//! products. On one core of an EPYC (Zen 4), of 32-bit words from main memory: 13.5 GB/s with four lanes and 20 with one, where sums of
//! one lane with one at a time came to 5.6 and 9; adding up the same words is 22.

use super::pack::Lanes;
use super::thin::MANY;
use std::arch::x86_64::*;
use std::ops::Range;

/// Bytes of a lane that are multiplied at once: four lanes stay in the first-level cache.
const BYTES: usize = 4 << 10;

/// Defines the sums of a word.
macro_rules! dots {
    ($name:ident, $word:ident, $full:expr, [$load:ident, $add:ident, $multiply:ident, $reduce:ident]) => {
        /// `tile[i][j]` += Σₖ `few[i][k]` · `many[k][first + j]` for the lanes in `few`, one after the other, and `count` others.
        #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
        pub(super) fn $name(
            few: &[$word],
            many: Lanes<'_, $word>,
            first: usize,
            count: usize,
            tile: &mut [[$word; MANY]],
        ) {
            const STEP: usize = BYTES / size_of::<$word>();
            const VECTOR: usize = 64 / size_of::<$word>();

            /// `F` lanes with `M` others at a time.
            #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
            fn block<const F: usize, const M: usize>(
                few: &[$word],
                many: Lanes<'_, $word>,
                depth: Range<usize>,
                [first, count]: [usize; 2],
                tile: &mut [[$word; MANY]],
            ) {
                let (rows, len) = (few.len() / many.depth, depth.len());
                // Lanes beyond the last are the last.
                let few = |row: usize| few[row.min(rows - 1) * many.depth + depth.start..][..len].as_ptr();
                let few: [*const $word; F] = std::array::from_fn(few);
                for at in (0..count).step_by(M) {
                    let lane = |x: usize| (first + (at + x).min(count - 1)) * many.lane_stride + depth.start;
                    let many: [*const $word; M] = std::array::from_fn(|x| many.data[lane(x)..][..len].as_ptr());
                    // SAFETY: `len` words lie from each pointer on, as the slices say.
                    let sums = unsafe { dot(few, many, len) };
                    for (sums, row) in sums.into_iter().zip(&mut tile[..rows]) {
                        for (sum, to) in sums.into_iter().zip(&mut row[at..count]) {
                            *to = to.wrapping_add($reduce(sum).cast_unsigned());
                        }
                    }
                }
            }

            /// For each of the lanes with each of the others, sums of products at the same place of a vector.
            ///
            /// # Safety
            /// `len` words lie from each pointer on.
            #[inline]
            #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
            unsafe fn dot<const F: usize, const M: usize>(
                few: [*const $word; F],
                many: [*const $word; M],
                len: usize,
            ) -> [[__m512i; M]; F] {
                let mut sums = [[_mm512_setzero_si512(); M]; F];
                for k in (0..len).step_by(VECTOR) {
                    let mask = if len - k < VECTOR { !($full << (len - k)) } else { !0 };
                    let mut vectors = [_mm512_setzero_si512(); F];
                    for (vector, few) in vectors.iter_mut().zip(few) {
                        // SAFETY: within the words by the mask, and the caller's promise.
                        *vector = unsafe { $load(mask, few.add(k).cast()) };
                    }
                    for (x, many) in many.into_iter().enumerate() {
                        // SAFETY: likewise.
                        let other = unsafe { $load(mask, many.add(k).cast()) };
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
                        1 => block::<1, 8>(few, many, depth.clone(), [first, count], tile),
                        2 => block::<2, 8>(few, many, depth.clone(), [first, count], tile),
                        _ => block::<4, 4>(few, many, depth.clone(), [first, count], tile),
                    }
                }
            }
        }
    };
}

dots!(wide, u64, 0xff_u8, [_mm512_maskz_loadu_epi64, _mm512_add_epi64, _mm512_mullo_epi64, _mm512_reduce_add_epi64]);
dots!(
    narrow,
    u32,
    0xffff_u16,
    [_mm512_maskz_loadu_epi32, _mm512_add_epi32, _mm512_mullo_epi32, _mm512_reduce_add_epi32]
);
