//! The micro-kernel modulo 2⁶⁴. A word is eight limbs, a = Σᵢ 2⁸ⁱ·aᵢ, and a·b = Σ_d 2⁸ᵈ·Σ_{i+j=d} aᵢbⱼ mod 2⁶⁴ needs the 36 limb
//! products with d ≤ 7.
//!
//! Exact: only the lower 64 − 8d bits of diagonal d count, so sums of d ≥ 4 may wrap modulo 2³². A
//! sum of diagonal d ≤ 3 is at most K·(d+1)·255² for depth K, below 2³² for all K ≤ 16,512; a panel is
//! at most `DEPTH_BLOCK` deep, and the sums of a panel are carried to 64-bit words before the next.
//!
//! Floor: 1024 / 36 = 28.4 products of words per cycle. Two adjacent diagonals and two tiles of columns are summed at a time, so
//! that three tile loads serve four tile products.
//!
//! Measured on one core of a busy Sapphire Rapids virtual machine at 2.8 GHz, 10⁹ products a second: of the floor of 80, 58 with one
//! chunk in the first-level cache and words that are all alike, 47 with random ones, which shares are (as much slower as the
//! processor must be to multiply them), 44 with panels from the second-level cache; 1024³ 32, a ResNet's convolutions 20 to 28,
//! where packing and carrying come on top. Prefetching the next chunk by instructions made it 6 to 10 % slower.

use super::{CHUNK, DEPTH_BLOCK, Limbs, NR, Sums, both, exchange_bytes, exchange_halves, exchange_pairs};
use std::arch::asm;
use std::arch::x86_64::*;

const LIMBS: usize = <u64 as Limbs>::LIMBS;
const TILE: usize = <u64 as Limbs>::TILE;

const _: () = assert!(DEPTH_BLOCK as u64 * 4 * 255 * 255 < 1 << 32, "a sum of diagonal 3 would overflow");

/// Defines a pass over two diagonals: sums (d, d − 1) += their products in a
/// chunk; without `add` the sums start from zero.
macro_rules! pass {
    ($name:ident, $d:literal, $lower:literal, [$($i:literal $low:literal),*]) => {
        /// # Safety
        /// Tiles are configured as in [`super::Tiles`]; a chunk of both panels and the array of sums can be
        /// accessed at the pointers.
        #[inline]
        unsafe fn $name(a: *const u64, b: *const u64, sums: *mut u8, add: bool) {
            // SAFETY: the caller's promise. Tile registers hold nothing between the blocks of this file.
            unsafe {
                asm!(
                    "test {add:e}, {add:e}",
                    "jnz 2f",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "jmp 3f",
                    "2:",
                    concat!("tileloadd tmm0, [{sums} + {row}*1 + ", $d, "*2048]"),
                    concat!("tileloadd tmm1, [{sums} + {row}*1 + ", $d, "*2048 + 1024]"),
                    concat!("tileloadd tmm2, [{sums} + {row}*1 + ", $lower, "*2048]"),
                    concat!("tileloadd tmm3, [{sums} + {row}*1 + ", $lower, "*2048 + 1024]"),
                    "3:",
                    concat!("tileloadd tmm5, [{b} + {row}*1 + ", $d, "*2048]"),
                    concat!("tileloadd tmm6, [{b} + {row}*1 + ", $d, "*2048 + 1024]"),
                    $(both!($i, $low),)*
                    concat!("tileloadd tmm4, [{a} + {row}*1 + ", $d, "*1024]"),
                    "tdpbuud tmm0, tmm4, tmm5",
                    "tdpbuud tmm1, tmm4, tmm6",
                    concat!("tilestored [{sums} + {row}*1 + ", $d, "*2048], tmm0"),
                    concat!("tilestored [{sums} + {row}*1 + ", $d, "*2048 + 1024], tmm1"),
                    concat!("tilestored [{sums} + {row}*1 + ", $lower, "*2048], tmm2"),
                    concat!("tilestored [{sums} + {row}*1 + ", $lower, "*2048 + 1024], tmm3"),
                    a = in(reg) a,
                    b = in(reg) b,
                    sums = in(reg) sums,
                    row = in(reg) 64_usize,
                    add = in(reg) u32::from(add),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _,
                    options(nostack),
                );
            }
        }
    };
}

pass!(diagonals_7_6, 7, 6, [0 6, 1 5, 2 4, 3 3, 4 2, 5 1, 6 0]);
pass!(diagonals_5_4, 5, 4, [0 4, 1 3, 2 2, 3 1, 4 0]);
pass!(diagonals_3_2, 3, 2, [0 2, 1 1, 2 0]);
pass!(diagonals_1_0, 1, 0, [0 0]);

/// Σ_d 2⁸ᵈ·sum_d: the words of a tile. Of every two sums next to each other the first is of a column x, the second of x + 8.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn carry(sums: &Sums, out: &mut [[u64; NR]]) {
    for (row, out) in out.iter_mut().enumerate() {
        for (tile, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (first, second) = carry_row(sums, tile, row);
            // SAFETY: sixteen words; the stores need no alignment.
            unsafe {
                _mm512_storeu_si512(out.as_mut_ptr().cast(), first);
                _mm512_storeu_si512(out[8..].as_mut_ptr().cast(), second);
            }
        }
    }
}

/// The words of columns 0 to 7 and of columns 8 to 15.
#[inline]
#[target_feature(enable = "avx512f")]
fn carry_row(sums: &Sums, tile: usize, row: usize) -> (__m512i, __m512i) {
    macro_rules! sum {
        ($d:literal) => {
            // SAFETY: sixteen sums; the load needs no alignment.
            unsafe { _mm512_loadu_si512(sums.0[$d][tile][row].as_ptr().cast()) }
        };
    }
    // Of diagonals from 4 on only the lower bits count: sums of 32 bits may wrap.
    let upper = _mm512_add_epi32(
        _mm512_add_epi32(sum!(4), _mm512_slli_epi32::<8>(sum!(5))),
        _mm512_add_epi32(_mm512_slli_epi32::<16>(sum!(6)), _mm512_slli_epi32::<24>(sum!(7))),
    );
    let lower_half = _mm512_set1_epi64(0xffff_ffff);
    let mut first = _mm512_add_epi64(_mm512_slli_epi64::<32>(upper), _mm512_and_si512(sum!(0), lower_half));
    let mut second = _mm512_add_epi64(_mm512_andnot_si512(lower_half, upper), _mm512_srli_epi64::<32>(sum!(0)));
    macro_rules! add {
        ($($d:literal)*) => {
            $(
                first = _mm512_add_epi64(first, _mm512_slli_epi64::<{ 8 * $d }>(_mm512_and_si512(sum!($d), lower_half)));
                second = _mm512_add_epi64(second, _mm512_slli_epi64::<{ 8 * $d }>(_mm512_srli_epi64::<32>(sum!($d))));
            )*
        };
    }
    add!(1 2 3);
    (first, second)
}

impl Limbs for u64 {
    #[inline(always)]
    unsafe fn split_row(words: &[u64], dst: &mut [u64]) {
        // SAFETY: the caller's promise.
        unsafe { split([0, 8, 16, 24, 32, 40, 48, 56], words, dst, TILE) };
    }

    /// In a tile four bytes next to each other are of the depths that stand next to each other in a row of A, and of one column
    /// x; the next four are of column x + 8.
    #[inline(always)]
    unsafe fn split_columns(words: &[u64; CHUNK * NR], dst: &mut [u64]) {
        let parts = const {
            let (mut parts, mut part) = ([0; 8], 0);
            while part < 8 {
                parts[part] = part % 4 * 8 * NR + part / 4 * 8;
                part += 1;
            }
            parts
        };
        for row in 0..CHUNK / 4 {
            let words = &words[(row / 2 + row % 2 * 32) * NR..];
            for tile in 0..NR / 16 {
                // SAFETY: the caller's promise.
                unsafe { split(parts, &words[tile * 16..], &mut dst[tile * TILE + row * Self::ROW..], TILE * NR / 16) };
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply(a: &[u64], b: &[u64], sums: &mut Sums, out: &mut [[u64; NR]]) {
        let chunks = a.chunks_exact(LIMBS * TILE).zip(b.chunks_exact(LIMBS * TILE * NR / 16));
        let to = sums.0.as_mut_ptr().cast::<u8>();
        for (index, (a, b)) in chunks.enumerate() {
            let (a, b, add) = (a.as_ptr(), b.as_ptr(), index > 0);
            // SAFETY: the caller's promise; the pointers are to a chunk of each panel and to the whole array of sums.
            unsafe {
                diagonals_7_6(a, b, to, add);
                diagonals_5_4(a, b, to, add);
                diagonals_3_2(a, b, to, add);
                diagonals_1_0(a, b, to, add);
            }
        }
        // SAFETY: the caller's promise.
        unsafe { carry(sums, out) };
    }
}

/// Splits 64 words, eight from each of the places `parts` on (the last of them the farthest), into limbs: limb l of all becomes 64
/// bytes at `dst[l·stride]`. The bytes of eight words that have one place in their parts lie next to each other: of a row of A,
/// depths d, d + 8, … d + 56.
///
/// Transposes eight by eight bytes in every lane, in three steps of exchanging ever larger parts.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn split(parts: [usize; 8], words: &[u64], dst: &mut [u64], stride: usize) {
    let words = words[..parts[7] + 8].as_ptr();
    let dst = dst[..7 * stride + 8].as_mut_ptr();
    macro_rules! part {
        ($part:literal) => {
            _mm512_loadu_si512(words.add(parts[$part]).cast())
        };
    }
    // SAFETY: eight times eight words of each slice; loads and stores need no alignment.
    unsafe {
        let (a, b) = (exchange_bytes(part!(0), part!(1)), exchange_bytes(part!(2), part!(3)));
        let (c, d) = (exchange_bytes(part!(4), part!(5)), exchange_bytes(part!(6), part!(7)));
        for (odd, [a, b, c, d]) in [[a.0, b.0, c.0, d.0], [a.1, b.1, c.1, d.1]].into_iter().enumerate() {
            let ((ab_0, ab_2), (cd_0, cd_2)) = (exchange_pairs(a, b), exchange_pairs(c, d));
            let ((l0, l4), (l2, l6)) = (exchange_halves(ab_0, cd_0), exchange_halves(ab_2, cd_2));
            _mm512_storeu_si512(dst.add(odd * stride).cast(), l0);
            _mm512_storeu_si512(dst.add((odd + 2) * stride).cast(), l2);
            _mm512_storeu_si512(dst.add((odd + 4) * stride).cast(), l4);
            _mm512_storeu_si512(dst.add((odd + 6) * stride).cast(), l6);
        }
    }
}
