//! The AMX-INT8 micro-kernel. A word is eight limbs of eight bits, a = Σᵢ 2⁸ⁱ·aᵢ, and
//! a·b = Σ_d 2⁸ᵈ·Σ_{i+j=d} aᵢbⱼ mod 2⁶⁴ needs the 36 limb products with d ≤ 7. `tdpbuud` multiplies
//! tiles of bytes, 16 × 64 by 64 × 16, into 32-bit sums; products of one diagonal d share a sum.
//!
//! Exact: only the lower 64 − 8d bits of diagonal d count, so sums of d ≥ 4 may wrap modulo 2³². A
//! sum of diagonal d ≤ 3 is at most K·(d+1)·255² for depth K, below 2³² for all K ≤ 16,512; a panel is
//! at most `DEPTH_BLOCK` deep, and the sums of a panel are carried to 64-bit words before the next.
//!
//! Floor: a tile product takes 16 cycles for 16·16·64 byte products: 1024 / 36 = 28.4 products of
//! words per cycle. Two adjacent diagonals and two tiles of columns are summed at a time, so that
//! three tile loads serve four tile products.
//!
//! Measured on one core of a busy Sapphire Rapids virtual machine, in reference cycles (2.6 GHz): panels
//! in cache 22 products per cycle (57 G/s), 1024³ 12 (32 G/s), a ResNet's convolutions 5 to 13. The rest
//! goes to packing, 1.2 to 1.9 cycles per word, and to carrying sums into words, 500 per tile.
//! Deeper panels spread the carry: a depth of 1024 gained about a tenth over 512, 2048 nothing more.

use super::block::{Kernel, Left};
use super::pack::{Concat, Lanes, Operand};
use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

const MR: usize = 16;
const NR: usize = 32;
/// Depth of a tile.
const CHUNK: usize = 64;
/// Words of a tile (1 KiB).
const TILE: usize = 128;
const LIMBS: usize = 8;
const DEPTH_BLOCK: usize = 1024;

const _: () = assert!(DEPTH_BLOCK as u64 * 4 * 255 * 255 < 1 << 32, "a sum of diagonal 3 would overflow");

/// Does the processor have AMX-INT8, and does the kernel let this process use it? Asks once.
pub(super) fn permitted() -> bool {
    static PERMITTED: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        const AMX_TILE_AND_INT8: u32 = 0b11 << 24;
        let leaf = __cpuid_count(7, 0);
        leaf.edx & AMX_TILE_AND_INT8 == AMX_TILE_AND_INT8 && request_permission()
    });
    *PERMITTED
}

/// Asks the kernel for the tile registers, whose state it saves only for processes that asked.
#[cfg(target_os = "linux")]
fn request_permission() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: a system call with two integers; it changes nothing but the permission.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn request_permission() -> bool {
    false
}

/// What `ldtilecfg` reads: eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static TILES: TileConfig = {
    let (mut row_bytes, mut rows, mut tile) = ([0; 16], [0; 16], 0);
    while tile < 8 {
        (row_bytes[tile], rows[tile]) = (64, 16);
        tile += 1;
    }
    TileConfig { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// A thread with configured tiles, and its buffers.
pub(super) struct Amx {
    /// Sums: diagonal, tile of columns, row, column, 32 bits each.
    sums: Sums,
    /// Words of a chunk before they are split into limbs.
    words: Words,
}

#[repr(C, align(64))]
struct Sums([[[[u32; 16]; MR]; NR / 16]; LIMBS]);

#[repr(C, align(64))]
struct Words([u64; CHUNK * NR]);

impl Amx {
    /// # Safety
    /// The machine must have AVX-512 F, DQ, VL, VBMI and AMX-INT8, with permission for tile data.
    pub unsafe fn new() -> Self {
        // SAFETY: AMX is there (the caller's promise); `TILES` is a valid configuration of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const TILES, options(nostack, preserves_flags)) };
        Amx { sums: Sums([[[[0; 16]; MR]; NR / 16]; LIMBS]), words: Words([0; CHUNK * NR]) }
    }
}

impl Drop for Amx {
    fn drop(&mut self) {
        // SAFETY: `self` witnesses AMX. Released tiles need not be saved at a context switch.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

impl Kernel<MR, NR> for Amx {
    type Word = u64;

    const DEPTH_UNIT: usize = CHUNK;
    const DEPTH_BLOCK: usize = DEPTH_BLOCK;
    const ROW_BLOCK: usize = 128;
    const COLUMN_BLOCK: usize = 512;

    /// In the order chunk, limb, then a tile: row, depth.
    fn pack_a(&mut self, a: &Concat<'_, Lanes<'_>>, depth: Range<usize>, rows: Range<usize>, dst: &mut [u64]) {
        let words = &mut self.words.0[..CHUNK];
        // SAFETY: `self` witnesses AVX-512 with VBMI.
        unsafe { pack_rows(a, depth, rows, words, dst) };
    }

    /// In the order chunk, limb, tile of columns, then a tile: depth / 4, column, depth mod 4.
    fn pack_b<B: Operand<Word = u64>>(
        &mut self,
        b: &Concat<'_, B>,
        depth: Range<usize>,
        columns: Range<usize>,
        dst: &mut [u64],
    ) {
        for (first, chunk) in depth.clone().step_by(CHUNK).zip(dst.chunks_exact_mut(LIMBS * TILE * NR / 16)) {
            let depth = first..(first + CHUNK).min(depth.end);
            // SAFETY: `self` witnesses AVX-512 with VBMI.
            unsafe { pack_b_chunk(b, depth, columns.clone(), &mut self.words.0, chunk) };
        }
    }

    fn tile(&mut self, a: Left<'_, u64>, b: &[u64], out: &mut [u64]) {
        let chunks = a.panel.chunks_exact(LIMBS * TILE).zip(b.chunks_exact(LIMBS * TILE * NR / 16));
        let sums = self.sums.0.as_mut_ptr().cast::<u8>();
        for (index, (a, b)) in chunks.enumerate() {
            let (a, b, add) = (a.as_ptr(), b.as_ptr(), index > 0);
            // SAFETY: `self` witnesses configured tiles; the pointers are to a chunk of each panel
            // and to the whole array of sums.
            unsafe {
                diagonals_7_6(a, b, sums, add);
                diagonals_5_4(a, b, sums, add);
                diagonals_3_2(a, b, sums, add);
                diagonals_1_0(a, b, sums, add);
            }
        }
        // SAFETY: `self` witnesses AVX-512.
        unsafe { carry(&self.sums, out.as_chunks_mut().0) };
    }
}

/// The products of limbs (A `$i`, B `$high` and B `$low`) of diagonals `$high + $i` and `$low + $i`, for
/// both tiles of columns; tiles 5 and 6 already hold the limbs `$high` of B.
macro_rules! both {
    ($i:literal, $low:literal) => {
        concat!(
            "tileloadd tmm4, [{a} + {row}*1 + ",
            $i,
            "*1024]\n",
            "tdpbuud tmm0, tmm4, tmm5\n",
            "tdpbuud tmm1, tmm4, tmm6\n",
            "tileloadd tmm5, [{b} + {row}*1 + ",
            $low,
            "*2048]\n",
            "tileloadd tmm6, [{b} + {row}*1 + ",
            $low,
            "*2048 + 1024]\n",
            "tdpbuud tmm2, tmm4, tmm5\n",
            "tdpbuud tmm3, tmm4, tmm6\n",
        )
    };
}

/// Defines a pass over two diagonals: sums (d, d − 1) += their products in a
/// chunk; without `add` the sums start from zero.
macro_rules! pass {
    ($name:ident, $d:literal, $lower:literal, [$($i:literal $low:literal),*]) => {
        /// # Safety
        /// Tiles are configured as in [`TILES`]; a chunk of both panels and the array of sums can be
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

/// Σ_d 2⁸ᵈ·sum_d: the words of a tile.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn carry(sums: &Sums, out: &mut [[u64; NR]]) {
    for (row, out) in out.iter_mut().enumerate() {
        for (tile, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let diagonal: [&[u32; 16]; LIMBS] = std::array::from_fn(|d| &sums.0[d][tile][row]);
            for (x, out) in out.iter_mut().enumerate() {
                let word = |d: usize| u64::from(diagonal[d][x]) << (8 * d);
                let upper = (4..LIMBS).fold(0u32, |sum, d| sum.wrapping_add(diagonal[d][x] << (8 * (d - 4))));
                *out = (word(0) + (word(1) + word(2) + word(3))).wrapping_add(u64::from(upper) << 32);
            }
        }
    }
}

/// Byte b of limb l of eight words, from byte l of word b.
static BY_LIMB: [u8; 64] = {
    let (mut order, mut byte) = ([0; 64], 0);
    while byte < 64 {
        order[byte] = (byte % 8 * 8 + byte / 8) as u8;
        byte += 1;
    }
    order
};

/// The order of B: of four rows of sixteen words, the first of each row, the second of each row, …
static BY_FOUR_ROWS: [u8; 64] = {
    let (mut order, mut byte) = ([0; 64], 0);
    while byte < 64 {
        order[byte] = (byte % 4 * 16 + byte / 4) as u8;
        byte += 1;
    }
    order
};

/// Splits at most 16 rows of A, each from start to end: the processor prefetches along rows.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512vbmi")]
fn pack_rows(a: &Concat<'_, Lanes<'_>>, depth: Range<usize>, rows: Range<usize>, words: &mut [u64], dst: &mut [u64]) {
    for (row, lane) in (rows.start..rows.start + MR).enumerate() {
        let lanes = lane..(lane + 1).min(rows.end).max(lane);
        for (first, chunk) in depth.clone().step_by(CHUNK).zip(dst.chunks_exact_mut(LIMBS * TILE)) {
            let range = first..(first + CHUNK).min(depth.end);
            let direct = a.contiguous(range.clone(), lanes.clone()).filter(|words| words.len() == CHUNK);
            let words = match direct {
                Some(direct) => direct,
                None => {
                    a.pack_by_lane(range, lanes.clone(), words, CHUNK);
                    &*words
                }
            };
            split(std::array::from_fn(|part| &words[8 * part..]), None, &mut chunk[row * 8..], TILE);
        }
    }
}

/// Splits a chunk of at most 32 columns of B.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512vbmi")]
fn pack_b_chunk<B: Operand<Word = u64>>(
    b: &Concat<'_, B>,
    depth: Range<usize>,
    columns: Range<usize>,
    words: &mut [u64; CHUNK * NR],
    chunk: &mut [u64],
) {
    b.pack::<NR>(depth, columns, words);
    let order = load(&BY_FOUR_ROWS);
    for (row, words) in words.as_chunks::<{ 4 * NR }>().0.iter().enumerate() {
        for tile in 0..NR / 16 {
            let parts = std::array::from_fn(|part| &words[part / 2 * NR + tile * 16 + part % 2 * 8..]);
            split(parts, Some(order), &mut chunk[tile * TILE + row * 8..], TILE * NR / 16);
        }
    }
}

/// An order of bytes, for `vpermb`.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(order: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(order.as_ptr().cast()) }
}

/// Splits 64 words, eight at the start of each part, into limbs: limb l of all, reordered if asked,
/// becomes 64 bytes at `dst[l·stride]`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512vbmi")]
fn split(parts: [&[u64]; 8], order: Option<__m512i>, dst: &mut [u64], stride: usize) {
    let parts = parts.map(|part| part.as_chunks::<8>().0);
    let by_limb = load(&BY_LIMB);
    let v: [__m512i; 8] = std::array::from_fn(|part| {
        // SAFETY: as above.
        let words = unsafe { _mm512_loadu_si512(parts[part][0].as_ptr().cast()) };
        _mm512_permutexvar_epi8(by_limb, words)
    });
    // Transposes 8 × 8 words in three steps of exchanging ever larger parts.
    let pair = |x: usize| (_mm512_unpacklo_epi64(v[x], v[x + 1]), _mm512_unpackhi_epi64(v[x], v[x + 1]));
    let (a, b, c, d) = (pair(0), pair(2), pair(4), pair(6));
    let quarter = |x: __m512i, y: __m512i| {
        (_mm512_shuffle_i64x2::<0b10_00_10_00>(x, y), _mm512_shuffle_i64x2::<0b11_01_11_01>(x, y))
    };
    for (odd, [a, b, c, d]) in [[a.0, b.0, c.0, d.0], [a.1, b.1, c.1, d.1]].into_iter().enumerate() {
        let ((ab_even, ab_odd), (cd_even, cd_odd)) = (quarter(a, b), quarter(c, d));
        let ((l0, l4), (l2, l6)) = (quarter(ab_even, cd_even), quarter(ab_odd, cd_odd));
        for (limb, bytes) in [(0, l0), (2, l2), (4, l4), (6, l6)] {
            let bytes = order.map_or(bytes, |order| _mm512_permutexvar_epi8(order, bytes));
            let target = &mut dst[(limb + odd) * stride..][..8];
            // SAFETY: 64 bytes; the store needs no alignment.
            unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), bytes) };
        }
    }
}
