//! The micro-kernels modulo 2³², with `vpmulld`, the product of 32-bit words modulo 2³² in one instruction: AVX-512 and AVX2.
//!
//! Floor: a multiplication and an addition for each vector of products. AMD's cores since Zen 4 have one 512-bit `vpmulld` a
//! cycle, with the addition on other ports: sixteen products a cycle, twice those modulo 2⁶⁴. With AVX2, Zen 3 and later multiply on
//! two ports: sixteen products a cycle too. By counting, Intel's cores split `vpmulld` into two operations on the two ports
//! that 512-bit vectors have, and the addition is a third: 10.7 products a cycle; those with VNNI have `halves` instead. AMX has
//! no kernel in this ring yet, since no machine that was there to run it had tiles.
//! Latency is 10 cycles on Intel's, and sums do not wait for it: only additions follow one another.

use super::block::Kernel;
use super::pack::{Concat, Lanes, Operand};
use std::arch::x86_64::*;
use std::ops::Range;

/// Defines a micro-kernel of rows of two vectors.
macro_rules! kernel {
    (
        $name:ident, $needs:literal, $features:literal, $mr:literal by $nr:literal, $module:ident,
        [$zero:ident, $load:ident, $set:ident, $add:ident, $multiply:ident, $store:ident]
    ) => {
        #[doc = concat!("A witness that the machine has ", $needs, ".")]
        pub(super) struct $name(());

        impl $name {
            /// # Safety
            #[doc = concat!("The machine must have ", $needs, ".")]
            pub unsafe fn new() -> Self {
                $name(())
            }
        }

        impl Kernel<$mr, $nr> for $name {
            type Word = u32;

            const DEPTH_UNIT: usize = 1;
            const DEPTH_BLOCK: usize = 256;
            const ROW_BLOCK: usize = 384;
            const COLUMN_BLOCK: usize = 1024;

            fn pack_a(
                &mut self,
                a: &Concat<'_, Lanes<'_, u32>>,
                depth: Range<usize>,
                rows: Range<usize>,
                dst: &mut [u32],
            ) {
                // SAFETY: `self` witnesses the instruction set.
                unsafe { $module::copy::<_, $mr>(a, depth, rows, dst) };
            }

            fn pack_b<B: Operand<Word = u32>>(
                &mut self,
                b: &Concat<'_, B>,
                depth: Range<usize>,
                columns: Range<usize>,
                dst: &mut [u32],
            ) {
                // SAFETY: `self` witnesses the instruction set.
                unsafe { $module::copy::<_, $nr>(b, depth, columns, dst) };
            }

            fn tile(&mut self, a: &[u32], b: &[u32], out: &mut [u32]) {
                // SAFETY: `self` witnesses the instruction set.
                unsafe { $module::tile(a.as_chunks().0, b.as_chunks().0, out.as_chunks_mut().0) };
            }
        }

        mod $module {
            use super::*;

            /// [`Concat::pack`], compiled for this instruction set.
            #[target_feature(enable = $features)]
            pub fn copy<O: Operand<Word = u32>, const W: usize>(
                from: &Concat<'_, O>,
                depth: Range<usize>,
                lanes: Range<usize>,
                dst: &mut [u32],
            ) {
                from.pack::<W>(depth, lanes, dst);
            }

            #[target_feature(enable = $features)]
            pub fn tile(a: &[[u32; $mr]], b: &[[u32; $nr]], out: &mut [[u32; $nr]]) {
                let mut sums = [[$zero(); 2]; $mr];
                for (a, b) in a.iter().zip(b) {
                    let mut vectors = [$zero(); 2];
                    for (vector, words) in vectors.iter_mut().zip(b.as_chunks::<{ $nr / 2 }>().0) {
                        // SAFETY: a chunk is a vector; the load needs no alignment.
                        *vector = unsafe { $load(words.as_ptr().cast()) };
                    }
                    for (sums, &a) in sums.iter_mut().zip(a) {
                        let a = $set(a.cast_signed());
                        for (sum, b) in sums.iter_mut().zip(vectors) {
                            *sum = $add(*sum, $multiply(a, b));
                        }
                    }
                }
                for (sums, out) in sums.into_iter().zip(out) {
                    for (sum, out) in sums.into_iter().zip(out.as_chunks_mut::<{ $nr / 2 }>().0) {
                        // SAFETY: a chunk is a vector; the store needs no alignment.
                        unsafe { $store(out.as_mut_ptr().cast(), sum) };
                    }
                }
            }
        }
    };
}

kernel!(
    Avx512, "AVX-512 F, DQ and VL", "avx512f,avx512dq,avx512vl", 4 by 32, avx512,
    [_mm512_setzero_si512, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_add_epi32, _mm512_mullo_epi32, _mm512_storeu_si512]
);
kernel!(
    Avx2, "AVX2", "avx2", 4 by 16, avx2,
    [_mm256_setzero_si256, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_add_epi32, _mm256_mullo_epi32, _mm256_storeu_si256]
);
