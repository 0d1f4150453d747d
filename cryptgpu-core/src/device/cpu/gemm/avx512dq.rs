//! The AVX-512 micro-kernels with `vpmullq` and `vpmulld`, the products of words modulo 2⁶⁴ and 2³² in one instruction.
//!
//! Floor: for each vector of products a multiplication and an addition. AMD's cores since Zen 4 have multipliers for both: one
//! 512-bit vector a cycle, with the addition on other ports, so eight products of 64 bits and sixteen of 32. Intel's make three
//! operations of `vpmullq` and two of `vpmulld`, on the two ports that 512-bit vectors have: four products a cycle, fewer than with IFMA
//! (`avx512`), which Skylake and Cascade Lake lack, and 10.7 of 32 bits, where those with VNNI have `halves` instead.
//!
//! A tile is eight rows of sixteen columns, whose words of A are broadcast from memory. So A need not be packed: rows whose depths lie
//! next to each other, as those of weights and of images pixel by pixel do, are read where they lie. Where lanes lie next to
//! each other, they are packed. Modulo 2³² a row is one vector, and each broadcast is part of the instruction that multiplies with it: a
//! tenth faster than rows of two, with half of the padding where columns are few.

use super::block::{Kernel, Left};
use super::pack::{Concat, Lanes, Operand};
use std::arch::x86_64::*;
use std::ops::Range;

const MR: usize = 8;

/// Defines the micro-kernel of a word.
macro_rules! kernel {
    ($name:ident, $word:ident, $vectors:literal of $lanes:literal, $module:ident, $blocks:tt, [$set:ident, $add:ident, $multiply:ident]) => {
        /// A witness that the machine has AVX-512 F, DQ and VL.
        pub(super) struct $name(());

        impl $name {
            /// # Safety
            /// The machine must have AVX-512 F, DQ and VL.
            pub unsafe fn new() -> Self {
                $name(())
            }
        }

        impl Kernel<MR, { $vectors * $lanes }> for $name {
            type Word = $word;

            const DEPTH_UNIT: usize = 1;
            const DEPTH_BLOCK: usize = 256;
            const ROW_BLOCK: usize = $blocks[0];
            const COLUMN_BLOCK: usize = $blocks[1];

            fn pack_a(
                &mut self,
                a: &Concat<'_, Lanes<'_, $word>>,
                depth: Range<usize>,
                rows: Range<usize>,
                dst: &mut [$word],
            ) {
                if !a.by_rows() {
                    // SAFETY: `self` witnesses AVX-512.
                    unsafe { $module::copy::<_, MR>(a, depth, rows, dst) };
                }
            }

            fn pack_b<B: Operand<Word = $word>>(
                &mut self,
                b: &Concat<'_, B>,
                depth: Range<usize>,
                columns: Range<usize>,
                dst: &mut [$word],
            ) {
                // SAFETY: `self` witnesses AVX-512.
                unsafe { $module::copy::<_, { $vectors * $lanes }>(b, depth, columns, dst) };
            }

            fn tile(&mut self, a: Left<'_, $word>, b: &[$word], out: &mut [$word]) {
                let (b, out) = (b.as_chunks().0, out.as_chunks_mut().0);
                match a.rows.len() {
                    // SAFETY: `self` witnesses AVX-512.
                    0..=4 => unsafe { $module::tile::<4>(a, b, out) },
                    // SAFETY: as above.
                    _ => unsafe { $module::tile::<MR>(a, b, out) },
                }
            }
        }

        mod $module {
            use super::*;

            /// A row of a tile, and a depth of a panel of B.
            type Row = [$word; $vectors * $lanes];

            /// [`Concat::pack`], compiled for this instruction set.
            #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
            pub fn copy<O: Operand<Word = $word>, const W: usize>(
                from: &Concat<'_, O>,
                depth: Range<usize>,
                lanes: Range<usize>,
                dst: &mut [$word],
            ) {
                from.pack::<W>(depth, lanes, dst);
            }

            /// The first `R` rows of a tile; those beyond A's are of no meaning.
            #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
            pub fn tile<const R: usize>(a: Left<'_, $word>, b: &[Row], out: &mut [Row]) {
                let mut sums = [[_mm512_setzero_si512(); $vectors]; R];
                if a.from.by_rows() {
                    for (lanes, part, offset) in a.from.parts(a.depth.clone()) {
                        let row = |row: usize| {
                            let row = (a.rows.start + row).min(a.rows.end - 1);
                            lanes.data[part.start + row * lanes.lane_stride..][..part.len()].as_ptr()
                        };
                        let rows: [*const $word; R] = std::array::from_fn(row);
                        // SAFETY: a word for each depth of `b` lies from each pointer on, as the slices above say.
                        unsafe { add::<R, 1>(&mut sums, rows, &b[offset..][..part.len()]) };
                    }
                } else {
                    let panel = a.panel[..b.len() * MR].as_ptr();
                    let rows: [*const $word; R] = std::array::from_fn(|row| panel.wrapping_add(row));
                    // SAFETY: the panel has MR words, at least R, for each depth of `b`.
                    unsafe { add::<R, MR>(&mut sums, rows, b) };
                }
                for (sums, out) in sums.into_iter().zip(out) {
                    for (sum, out) in sums.into_iter().zip(out.as_chunks_mut::<$lanes>().0) {
                        // SAFETY: `out` is a vector; the store needs no alignment.
                        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
                    }
                }
            }

            /// Adds the products of each row's words, `STEP` apart, with the vectors of `b`, two depths at a time.
            ///
            /// # Safety
            /// As many words as vectors lie from each pointer on.
            #[inline]
            #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
            unsafe fn add<const R: usize, const STEP: usize>(
                sums: &mut [[__m512i; $vectors]; R],
                rows: [*const $word; R],
                b: &[Row],
            ) {
                let at = |depth: usize| rows.map(|row| row.wrapping_add(depth * STEP));
                let (pairs, last) = b.as_chunks::<2>();
                for (pair, [first, second]) in pairs.iter().enumerate() {
                    // SAFETY: the caller's promise: these are depths of `b`.
                    unsafe {
                        step::<R>(sums, at(2 * pair), first);
                        step::<R>(sums, at(2 * pair + 1), second);
                    }
                }
                for b in last {
                    // SAFETY: likewise.
                    unsafe { step::<R>(sums, at(2 * pairs.len()), b) };
                }
            }

            /// One depth.
            ///
            /// # Safety
            /// The pointers are to words.
            #[inline]
            #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
            unsafe fn step<const R: usize>(sums: &mut [[__m512i; $vectors]; R], words: [*const $word; R], b: &Row) {
                let mut vectors = [_mm512_setzero_si512(); $vectors];
                for (vector, words) in vectors.iter_mut().zip(b.as_chunks::<$lanes>().0) {
                    // SAFETY: a chunk is a vector; the load needs no alignment.
                    *vector = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
                }
                for (sums, word) in sums.iter_mut().zip(words) {
                    // SAFETY: the caller's promise.
                    let a = $set(unsafe { *word }.cast_signed());
                    for (sum, b) in sums.iter_mut().zip(vectors) {
                        *sum = $add(*sum, $multiply(a, b));
                    }
                }
            }
        }
    };
}

kernel!(Wide, u64, 2 of 8, wide, [192, 512], [_mm512_set1_epi64, _mm512_add_epi64, _mm512_mullo_epi64]);
kernel!(Narrow, u32, 1 of 16, narrow, [384, 1024], [_mm512_set1_epi32, _mm512_add_epi32, _mm512_mullo_epi32]);
