//! The micro-kernel modulo 2³². A word is four limbs, and the ten limb products with d = i + j ≤ 3 are all that counts. Every sum
//! may wrap: the result is exact modulo 2³² for any depth.
//!
//! Floor: 1024 / 10 = 102 products of words per cycle. Sums stay in tile registers from the first depth of a panel to the last;
//! there are four for sums, so a panel is walked twice, for diagonals 3 and 2 and then for 1 and 0. 1024³ is at 117·10⁹
//! a second on one core of Sapphire Rapids (2.8 GHz, 0.4 of the floor: see `wide` for what is lost), 3.5 times as fast as modulo 2⁶⁴
//! and 2.5 times as fast as `halves`.

use super::{CHUNK, Limbs, NR, Sums, both, exchange_bytes, exchange_pairs};
use std::arch::asm;
use std::arch::x86_64::*;

const LIMBS: usize = <u32 as Limbs>::LIMBS;
const TILE: usize = <u32 as Limbs>::TILE;

/// Defines a pass over two diagonals: their sums over all chunks of both panels.
macro_rules! pass {
    ($name:ident, $d:literal, $lower:literal, [$($i:literal $low:literal),*]) => {
        /// # Safety
        /// Tiles are configured as in [`super::Tiles`]; `chunks` (not 0) chunks of both panels and the array of sums can be accessed at
        /// the pointers.
        #[inline]
        unsafe fn $name(a: *const u32, b: *const u32, sums: *mut u8, chunks: usize) {
            // SAFETY: the caller's promise. Tile registers hold nothing between the blocks of this file.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "2:",
                    concat!("tileloadd tmm5, [{b} + {row}*1 + ", $d, "*2048]"),
                    concat!("tileloadd tmm6, [{b} + {row}*1 + ", $d, "*2048 + 1024]"),
                    $(both!($i, $low),)*
                    concat!("tileloadd tmm4, [{a} + {row}*1 + ", $d, "*1024]"),
                    "tdpbuud tmm0, tmm4, tmm5",
                    "tdpbuud tmm1, tmm4, tmm6",
                    "add {a}, 4096",
                    "add {b}, 8192",
                    "dec {chunks}",
                    "jnz 2b",
                    concat!("tilestored [{sums} + {row}*1 + ", $d, "*2048], tmm0"),
                    concat!("tilestored [{sums} + {row}*1 + ", $d, "*2048 + 1024], tmm1"),
                    concat!("tilestored [{sums} + {row}*1 + ", $lower, "*2048], tmm2"),
                    concat!("tilestored [{sums} + {row}*1 + ", $lower, "*2048 + 1024], tmm3"),
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    chunks = inout(reg) chunks => _,
                    sums = in(reg) sums,
                    row = in(reg) 64_usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _,
                    options(nostack),
                );
            }
        }
    };
}

pass!(diagonals_3_2, 3, 2, [0 2, 1 1, 2 0]);
pass!(diagonals_1_0, 1, 0, [0 0]);

/// Σ_d 2⁸ᵈ·sum_d: the words of a tile.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn add(sums: &Sums, out: &mut [[u32; NR]]) {
    for (row, out) in out.iter_mut().enumerate() {
        for (tile, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let [d0, d1, d2, d3] = [&sums.0[0], &sums.0[1], &sums.0[2], &sums.0[3]].map(|sums| &sums[tile][row]);
            for (x, out) in out.iter_mut().enumerate() {
                *out = d0[x].wrapping_add(d1[x] << 8).wrapping_add(d2[x] << 16).wrapping_add(d3[x] << 24);
            }
        }
    }
}

impl Limbs for u32 {
    #[inline(always)]
    unsafe fn split_row(words: &[u32], dst: &mut [u32]) {
        // SAFETY: the caller's promise.
        unsafe { split(words, 16, dst, TILE) };
    }

    /// A tile is quarter of the depth, column, depth.
    #[inline(always)]
    unsafe fn split_columns(words: &[u32; CHUNK * NR], dst: &mut [u32]) {
        for row in 0..CHUNK / 4 {
            for tile in 0..NR / 16 {
                let dst = &mut dst[tile * TILE + row * Self::ROW..];
                // SAFETY: the caller's promise.
                unsafe { split(&words[row * NR + tile * 16..], 16 * NR, dst, TILE * NR / 16) };
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply(a: &[u32], b: &[u32], sums: &mut Sums, out: &mut [[u32; NR]]) {
        let chunks = b.len() / (LIMBS * TILE * NR / 16);
        assert!(chunks > 0 && a.len() >= chunks * LIMBS * TILE, "panels of one depth");
        let (a, b, to) = (a.as_ptr(), b.as_ptr(), sums.0.as_mut_ptr().cast::<u8>());
        // SAFETY: the caller's promise; the pointers are to so many chunks of each panel and to the whole array of sums.
        unsafe {
            diagonals_3_2(a, b, to, chunks);
            diagonals_1_0(a, b, to, chunks);
            add(sums, out);
        }
    }
}

/// Splits 64 words, in four parts of sixteen that are `apart` from each other, into limbs: limb l of all becomes 64 bytes at
/// `dst[l·stride]`. The bytes of four words that have one place in their parts lie next to each other, so depths d, d + 16, d + 32
/// and d + 48 of a chunk do, on both sides of a product.
///
/// Transposes four by four bytes in every lane, in two steps of exchanging ever larger parts.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn split(words: &[u32], apart: usize, dst: &mut [u32], stride: usize) {
    let words = words[..3 * apart + 16].as_ptr();
    let dst = dst[..3 * stride + 16].as_mut_ptr();
    // SAFETY: four times sixteen words of each slice; loads and stores need no alignment.
    unsafe {
        let part = |part: usize| _mm512_loadu_si512(words.add(part * apart).cast());
        let (ab_even, ab_odd) = exchange_bytes(part(0), part(1));
        let (cd_even, cd_odd) = exchange_bytes(part(2), part(3));
        let ((l0, l2), (l1, l3)) = (exchange_pairs(ab_even, cd_even), exchange_pairs(ab_odd, cd_odd));
        _mm512_storeu_si512(dst.cast(), l0);
        _mm512_storeu_si512(dst.add(stride).cast(), l1);
        _mm512_storeu_si512(dst.add(2 * stride).cast(), l2);
        _mm512_storeu_si512(dst.add(3 * stride).cast(), l3);
    }
}
