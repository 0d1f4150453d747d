//! Rows of a unit: as many elements as it has lanes, which are computed on together, in 64 bits each. Elements of 32 bits are
//! widened where they are loaded and cut where they are stored; [`Row::reduced`] is for what reads bits above them. Kernels on units are written once, for any
//! [`Row`], and compiled for the vectors that there are: 512 bits, two of 256, plain words, and a single word for the groups at
//! the end. (Left to itself, the compiler makes vectors across rows of loops over lanes: with gathers and scatters.)

use crate::ring::Word;
use std::ops::{BitAnd, BitOr, BitXor, Not};

/// A row of words. Additions are modulo 2⁶⁴.
pub(crate) trait Row:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
    /// Words in it.
    const LANES: usize;

    /// The same word in all lanes.
    fn splat(word: u64) -> Self;

    /// Row `at` of elements.
    fn load<W: Word>(elements: &[W], at: usize) -> Self;

    /// Overwrites row `at` of elements.
    fn store<W: Word>(self, elements: &mut [W], at: usize);

    /// x + y.
    fn plus(self, other: Self) -> Self;

    /// x − y.
    fn minus(self, other: Self) -> Self;

    /// x · 2^count, of count < 64.
    fn shl(self, count: u32) -> Self;

    /// ⌊x / 2^count⌋, of count < 64.
    fn shr(self, count: u32) -> Self;

    /// −1, all ones, in the lanes in which that bit is 1, and 0 in the others.
    fn mask(self, bit: u32) -> Self;

    /// The residues of the ring: before what is right of a bit of them is read, by [`Row::shr`] or as a plane. Sums and
    /// what is stored need it not.
    #[inline(always)]
    fn reduced<W: Word>(self) -> Self {
        if W::BITS == 64 { self } else { self & Self::splat(u64::MAX >> (64 - W::BITS)) }
    }

    /// No bits.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0)
    }

    /// −x in the lanes in which the mask is −1.
    #[inline(always)]
    fn negated_if(self, mask: Self) -> Self {
        (self ^ mask).minus(mask)
    }
}

impl Row for u64 {
    const LANES: usize = 1;

    #[inline(always)]
    fn splat(word: u64) -> u64 {
        word
    }

    #[inline(always)]
    fn load<W: Word>(elements: &[W], at: usize) -> u64 {
        elements[at].as_()
    }

    #[inline(always)]
    fn store<W: Word>(self, elements: &mut [W], at: usize) {
        elements[at] = W::of_u64(self);
    }

    #[inline(always)]
    fn plus(self, other: u64) -> u64 {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn minus(self, other: u64) -> u64 {
        self.wrapping_sub(other)
    }

    #[inline(always)]
    fn shl(self, count: u32) -> u64 {
        self << count
    }

    #[inline(always)]
    fn shr(self, count: u32) -> u64 {
        self >> count
    }

    #[inline(always)]
    fn mask(self, bit: u32) -> u64 {
        (self >> bit & 1).wrapping_neg()
    }
}

/// Several rows side by side, as one: `N` of them.
#[derive(Clone, Copy)]
pub(crate) struct Beside<R, const N: usize>([R; N]);

/// Eight words on any processor.
pub(crate) type Plain = Beside<u64, 8>;

/// Parts one by one: what `$of` makes of those at the same place.
macro_rules! each {
    ($first:expr $(, $second:expr)?; |$x:ident $(, $y:ident)?| $of:expr) => {{
        let mut out = $first;
        for at in 0..N {
            let $x = out.0[at];
            $(let $y = $second.0[at];)?
            out.0[at] = $of;
        }
        out
    }};
}

impl<R: Row, const N: usize> BitAnd for Beside<R, N> {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        each!(self, other; |x, y| x & y)
    }
}

impl<R: Row, const N: usize> BitOr for Beside<R, N> {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        each!(self, other; |x, y| x | y)
    }
}

impl<R: Row, const N: usize> BitXor for Beside<R, N> {
    type Output = Self;
    #[inline(always)]
    fn bitxor(self, other: Self) -> Self {
        each!(self, other; |x, y| x ^ y)
    }
}

impl<R: Row, const N: usize> Not for Beside<R, N> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        each!(self; |x| !x)
    }
}

impl<R: Row, const N: usize> Row for Beside<R, N> {
    const LANES: usize = N * R::LANES;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        Beside([R::splat(word); N])
    }

    #[inline(always)]
    fn load<W: Word>(elements: &[W], at: usize) -> Self {
        let elements = &elements[at * Self::LANES..][..Self::LANES];
        let mut out = Self::splat(0);
        for (part, out) in out.0.iter_mut().enumerate() {
            *out = R::load(elements, part);
        }
        out
    }

    #[inline(always)]
    fn store<W: Word>(self, elements: &mut [W], at: usize) {
        let elements = &mut elements[at * Self::LANES..][..Self::LANES];
        for (part, row) in self.0.into_iter().enumerate() {
            row.store(elements, part);
        }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        each!(self, other; |x, y| x.plus(y))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        each!(self, other; |x, y| x.minus(y))
    }

    #[inline(always)]
    fn shl(self, count: u32) -> Self {
        each!(self; |x| x.shl(count))
    }

    #[inline(always)]
    fn shr(self, count: u32) -> Self {
        each!(self; |x| x.shr(count))
    }

    #[inline(always)]
    fn mask(self, bit: u32) -> Self {
        each!(self; |x| x.mask(bit))
    }
}

/// The vectors that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX2.
    Avx2,
    /// None that kernels on units are compiled for.
    None,
}

impl Vectors {
    /// The widest that this processor has.
    #[inline]
    pub(crate) fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
                return Vectors::Avx512;
            }
            if has!("avx2") {
                return Vectors::Avx2;
            }
        }
        Vectors::None
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Ymm, Zmm};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Beside, Row};
    use crate::ring::{Ring, Word};
    use std::arch::x86_64::*;
    use std::ops::{BitAnd, BitOr, BitXor, Not};

    /// Eight words. It is used in code that was chosen where there is AVX-512 alone, as every function of it supposes.
    #[derive(Clone, Copy)]
    pub(crate) struct Zmm(__m512i);

    /// Four words. It is used in code that was chosen where there is AVX2 alone, as every function of it supposes.
    #[derive(Clone, Copy)]
    pub(crate) struct Half(__m256i);

    /// Eight words in two vectors of AVX2.
    pub(crate) type Ymm = Beside<Half, 2>;

    macro_rules! vector {
        ($type:ident, $lanes:literal, $and:ident, $or:ident, $xor:ident, $splat:ident, $load:ident, $store:ident,
         $load_half:ident, $store_half:ident, $add:ident, $sub:ident, $shl:ident, $shr:ident) => {
            impl BitAnd for $type {
                type Output = Self;
                #[inline(always)]
                fn bitand(self, other: Self) -> Self {
                    // SAFETY: the type's promise.
                    $type(unsafe { $and(self.0, other.0) })
                }
            }

            impl BitOr for $type {
                type Output = Self;
                #[inline(always)]
                fn bitor(self, other: Self) -> Self {
                    // SAFETY: the type's promise.
                    $type(unsafe { $or(self.0, other.0) })
                }
            }

            impl BitXor for $type {
                type Output = Self;
                #[inline(always)]
                fn bitxor(self, other: Self) -> Self {
                    // SAFETY: the type's promise.
                    $type(unsafe { $xor(self.0, other.0) })
                }
            }

            impl Not for $type {
                type Output = Self;
                #[inline(always)]
                fn not(self) -> Self {
                    self ^ Self::splat(u64::MAX)
                }
            }

            impl Row for $type {
                const LANES: usize = $lanes;

                #[inline(always)]
                fn splat(word: u64) -> Self {
                    // SAFETY: the type's promise.
                    $type(unsafe { $splat(word.cast_signed()) })
                }

                #[inline(always)]
                fn load<W: Word>(elements: &[W], at: usize) -> Self {
                    let elements = &elements[at * $lanes..][..$lanes];
                    match W::RING {
                        // SAFETY: so many elements are the vector's bytes, and it needs no alignment; the type's promise.
                        Ring::Z64 => $type(unsafe { $load(elements.as_ptr().cast()) }),
                        // SAFETY: as above, for half a vector.
                        Ring::Z32 => Self::widened(unsafe { $load_half(elements.as_ptr().cast()) }),
                    }
                }

                #[inline(always)]
                fn store<W: Word>(self, elements: &mut [W], at: usize) {
                    let elements = &mut elements[at * $lanes..][..$lanes];
                    match W::RING {
                        // SAFETY: as above.
                        Ring::Z64 => unsafe { $store(elements.as_mut_ptr().cast(), self.0) },
                        // SAFETY: as above, for half a vector.
                        Ring::Z32 => unsafe { $store_half(elements.as_mut_ptr().cast(), self.cut()) },
                    }
                }

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    // SAFETY: the type's promise.
                    $type(unsafe { $add(self.0, other.0) })
                }

                #[inline(always)]
                fn minus(self, other: Self) -> Self {
                    // SAFETY: the type's promise.
                    $type(unsafe { $sub(self.0, other.0) })
                }

                #[inline(always)]
                fn shl(self, count: u32) -> Self {
                    // SAFETY: the type's promise.
                    $type(unsafe { $shl(self.0, $splat(i64::from(count))) })
                }

                #[inline(always)]
                fn shr(self, count: u32) -> Self {
                    // SAFETY: the type's promise.
                    $type(unsafe { $shr(self.0, $splat(i64::from(count))) })
                }

                #[inline(always)]
                fn mask(self, bit: u32) -> Self {
                    self.bit_mask(bit)
                }
            }
        };
    }

    vector!(
        Zmm,
        8,
        _mm512_and_si512,
        _mm512_or_si512,
        _mm512_xor_si512,
        _mm512_set1_epi64,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm512_add_epi64,
        _mm512_sub_epi64,
        _mm512_sllv_epi64,
        _mm512_srlv_epi64
    );
    vector!(
        Half,
        4,
        _mm256_and_si256,
        _mm256_or_si256,
        _mm256_xor_si256,
        _mm256_set1_epi64x,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm_loadu_si128,
        _mm_storeu_si128,
        _mm256_add_epi64,
        _mm256_sub_epi64,
        _mm256_sllv_epi64,
        _mm256_srlv_epi64
    );

    impl Zmm {
        #[inline(always)]
        fn widened(elements: __m256i) -> Self {
            // SAFETY: the type's promise.
            Zmm(unsafe { _mm512_cvtepu32_epi64(elements) })
        }

        #[inline(always)]
        fn cut(self) -> __m256i {
            // SAFETY: the type's promise.
            unsafe { _mm512_cvtepi64_epi32(self.0) }
        }

        #[inline(always)]
        fn bit_mask(self, bit: u32) -> Self {
            // SAFETY: the type's promise.
            Zmm(unsafe { _mm512_movm_epi64(_mm512_test_epi64_mask(self.0, _mm512_set1_epi64(1 << bit))) })
        }
    }

    impl Half {
        #[inline(always)]
        fn widened(elements: __m128i) -> Self {
            // SAFETY: the type's promise.
            Half(unsafe { _mm256_cvtepu32_epi64(elements) })
        }

        #[inline(always)]
        fn cut(self) -> __m128i {
            // SAFETY: the type's promise.
            unsafe {
                _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(self.0, _mm256_setr_epi32(0, 2, 4, 6, 0, 0, 0, 0)))
            }
        }

        #[inline(always)]
        fn bit_mask(self, bit: u32) -> Self {
            // SAFETY: the type's promise.
            Half(unsafe { _mm256_cmpgt_epi64(_mm256_setzero_si256(), self.shl(63 - bit).0) })
        }
    }
}

/// Defines a kernel on one unit: written for any row `R`, compiled for every kind of vectors, with the widest chosen when it is
/// called. A unit of one lane has less than a row of eight.
macro_rules! row_kernel {
    ($(#[$doc:meta])* $vis:vis fn $name:ident<$row:ident $(, $word:ident)?>($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name$(<$word: crate::ring::Word>)?(lanes: usize, $($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<$row: crate::device::cpu::rows::Row $(, $word: crate::ring::Word)?>($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(clippy::too_many_arguments)]
            fn avx512$(<$word: crate::ring::Word>)?($($arg: $ty),*) {
                body::<crate::device::cpu::rows::Zmm $(, $word)?>($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            #[allow(clippy::too_many_arguments)]
            fn avx2$(<$word: crate::ring::Word>)?($($arg: $ty),*) {
                body::<crate::device::cpu::rows::Ymm $(, $word)?>($($arg),*)
            }

            if lanes == 1 {
                return body::<u64 $(, $word)?>($($arg),*);
            }
            match crate::device::cpu::rows::Vectors::widest() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the processor has these vectors.
                crate::device::cpu::rows::Vectors::Avx512 => unsafe { avx512$(::<$word>)?($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                crate::device::cpu::rows::Vectors::Avx2 => unsafe { avx2$(::<$word>)?($($arg),*) },
                _ => body::<crate::device::cpu::rows::Plain $(, $word)?>($($arg),*),
            }
        }
    };
}
pub(crate) use row_kernel;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPERATIONS: usize = 12;

    /// Every operation on rows of eight words.
    #[inline(always)]
    fn all<R: Row, W: Word>(x: &[W; 8], y: &[W; 8], count: u32) -> [[W; 8]; OPERATIONS] {
        let mut out = [[W::zero(); 8]; OPERATIONS];
        for at in 0..8 / R::LANES {
            let (a, b, first) = (R::load(x, at), R::load(y, at), R::splat(x[0].as_()));
            let results: [R; OPERATIONS] = [
                a & b,
                a | b,
                a ^ b,
                !a,
                a.plus(b),
                a.minus(b),
                a.shl(count),
                a.shr(count),
                a.mask(count),
                a.negated_if(b.mask(count)),
                first,
                a.minus(b).reduced::<W>().shr(count),
            ];
            for (result, out) in results.into_iter().zip(&mut out) {
                result.store(out, at);
            }
        }
        out
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn zmm<W: Word>(x: &[W; 8], y: &[W; 8], count: u32) -> [[W; 8]; OPERATIONS] {
        all::<Zmm, W>(x, y, count)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn ymm<W: Word>(x: &[W; 8], y: &[W; 8], count: u32) -> [[W; 8]; OPERATIONS] {
        all::<Ymm, W>(x, y, count)
    }

    fn rows_are_words<W: Word>(x: [u64; 8], y: [u64; 8], count: u32) {
        let (x, y, count) = (x.map(W::of_u64), y.map(W::of_u64), count % W::BITS);
        let expected = all::<u64, W>(&x, &y, count);
        let (sum, negated) = (x[3].wrapping_add(&y[3]), y[3] >> count as usize & W::one() == W::one());
        assert_eq!((expected[4][3], expected[8][3]), (sum, (x[3] >> count as usize & W::one()).wrapping_neg()));
        assert_eq!(expected[9][3], if negated { x[3].wrapping_neg() } else { x[3] });
        assert_eq!(expected[11][3], x[3].wrapping_sub(&y[3]) >> count as usize);
        assert_eq!(all::<Plain, W>(&x, &y, count), expected);
        #[cfg(target_arch = "x86_64")]
        {
            let widest = Vectors::widest();
            if widest != Vectors::None {
                // SAFETY: a processor with AVX-512 has AVX2, too.
                assert_eq!(unsafe { ymm(&x, &y, count) }, expected);
            }
            if widest == Vectors::Avx512 {
                // SAFETY: it has been looked for.
                assert_eq!(unsafe { zmm(&x, &y, count) }, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn rows_of_every_kind_compute_what_words_do(x: [u64; 8], y: [u64; 8], count in 0u32..64) {
            rows_are_words::<u64>(x, y, count);
            rows_are_words::<u32>(x, y, count);
        }
    }
}
