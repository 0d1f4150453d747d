//! The AMX-INT8 micro-kernels, modulo 2⁶⁴ (`wide`) and modulo 2³² (`narrow`). A word is limbs of eight bits; `tdpbuud` multiplies tiles
//! of them, 16 × 64 by 64 × 16 bytes, into 32-bit sums, and products of limbs i and j with one diagonal d = i + j share a sum. A tile
//! product takes 16 cycles for 16·16·64 byte products. Here: who may use tiles, and how a kernel gets them.

mod narrow;
mod wide;

use super::block::{Kernel, Left};
use super::pack::{Concat, Lanes, Operand};
use crate::ring::Word;
use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

/// Rows and columns of a product: a tile of A, two of B.
const MR: usize = 16;
const NR: usize = 32;
/// Depth of a tile.
const CHUNK: usize = 64;
/// Deeper panels spread what it takes to make words of sums: 1024 gained about a tenth over 512 modulo 2⁶⁴, 2048 nothing more.
const DEPTH_BLOCK: usize = 1024;

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

/// A thread with configured tiles, while this value is there.
struct Tiles(());

impl Tiles {
    /// # Safety
    /// The machine must have AMX, with permission for tile data.
    unsafe fn new() -> Self {
        // SAFETY: AMX is there (the caller's promise); `TILES` is a valid configuration of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const TILES, options(nostack, preserves_flags)) };
        Tiles(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: `self` witnesses AMX. Released tiles need not be saved at a context switch.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

/// 32-bit sums: diagonal (as many as a word has limbs), tile of columns, row, column.
#[repr(C, align(64))]
pub(super) struct Sums([[[[u32; 16]; MR]; NR / 16]; 8]);

/// Words of a chunk of B, or of a row of A, before they are split into limbs.
#[repr(C, align(64))]
struct Words<W>([W; CHUNK * NR]);

/// A word as limbs in tiles.
pub(super) trait Limbs: Word {
    /// How many limbs it has.
    const LIMBS: usize = size_of::<Self>();
    /// Words that a tile (1 KiB) takes.
    const TILE: usize = 1024 / Self::LIMBS;
    /// Words that a row of a tile (64 bytes) takes.
    const ROW: usize = 64 / Self::LIMBS;

    /// Splits a row of A of 64 words: limb l of all becomes 64 bytes at `dst[l·TILE]`.
    ///
    /// # Safety
    /// The machine must have AVX-512 F, DQ, VL and BW.
    unsafe fn split_row(words: &[Self], dst: &mut [Self]);

    /// Splits a chunk of B, 64 rows of `NR` words, in the order limb, tile of columns, then a tile.
    ///
    /// # Safety
    /// As [`Limbs::split_row`].
    unsafe fn split_columns(words: &[Self; CHUNK * NR], dst: &mut [Self]);

    /// The product of two panels of as many chunks.
    ///
    /// # Safety
    /// The machine must have AVX-512 F, DQ, VL and BW, and tiles must be configured, as [`Tiles`] are.
    unsafe fn multiply(a: &[Self], b: &[Self], sums: &mut Sums, out: &mut [[Self; NR]]);
}

/// A thread with configured tiles, and its buffers.
pub(super) struct Amx<W> {
    _tiles: Tiles,
    sums: Sums,
    words: Words<W>,
}

impl<W: Limbs> Amx<W> {
    /// # Safety
    /// The machine must have AVX-512 F, DQ, VL, BW and AMX-INT8, with permission for tile data.
    pub unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        let tiles = unsafe { Tiles::new() };
        Amx { _tiles: tiles, sums: Sums([[[[0; 16]; MR]; NR / 16]; 8]), words: Words([W::zero(); CHUNK * NR]) }
    }
}

impl<W: Limbs> Kernel<MR, NR> for Amx<W> {
    type Word = W;

    const DEPTH_UNIT: usize = CHUNK;
    const DEPTH_BLOCK: usize = DEPTH_BLOCK;
    const ROW_BLOCK: usize = 128;
    const COLUMN_BLOCK: usize = 512;

    fn pack_a(&mut self, a: &Concat<'_, Lanes<'_, W>>, depth: Range<usize>, rows: Range<usize>, dst: &mut [W]) {
        // SAFETY: `self` witnesses AVX-512.
        unsafe { pack_rows(a, depth, rows, &mut self.words, dst) };
    }

    fn pack_b<B: Operand<Word = W>>(
        &mut self,
        b: &Concat<'_, B>,
        depth: Range<usize>,
        columns: Range<usize>,
        dst: &mut [W],
    ) {
        // SAFETY: `self` witnesses AVX-512.
        unsafe { pack_columns(b, depth, columns, &mut self.words, dst) };
    }

    fn tile(&mut self, a: Left<'_, W>, b: &[W], out: &mut [W]) {
        // SAFETY: `self` witnesses AVX-512 and configured tiles.
        unsafe { W::multiply(a.panel, b, &mut self.sums, out.as_chunks_mut().0) };
    }
}

/// Splits at most 16 rows of A, each from start to end (the processor prefetches along rows), in the order chunk, limb, then a tile: row,
/// depth.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn pack_rows<W: Limbs>(
    a: &Concat<'_, Lanes<'_, W>>,
    depth: Range<usize>,
    rows: Range<usize>,
    Words(words): &mut Words<W>,
    dst: &mut [W],
) {
    let words = &mut words[..CHUNK];
    for (row, lane) in (rows.start..rows.start + MR).enumerate() {
        let lanes = lane..(lane + 1).min(rows.end).max(lane);
        for (first, chunk) in depth.clone().step_by(CHUNK).zip(dst.chunks_exact_mut(W::LIMBS * W::TILE)) {
            let range = first..(first + CHUNK).min(depth.end);
            let direct = a.contiguous(range.clone(), lanes.clone()).filter(|words| words.len() == CHUNK);
            let words = match direct {
                Some(direct) => direct,
                None => {
                    a.pack_by_lane(range, lanes.clone(), words, CHUNK);
                    &*words
                }
            };
            // SAFETY: this function has the instructions.
            unsafe { W::split_row(words, &mut chunk[row * W::ROW..]) };
        }
    }
}

/// Splits at most 32 columns of B, chunk by chunk. All of them are gathered first, where they are split then: what a gather finds
/// out about a convolution's pixels serves the whole panel.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn pack_columns<W: Limbs, B: Operand<Word = W>>(
    b: &Concat<'_, B>,
    depth: Range<usize>,
    columns: Range<usize>,
    Words(words): &mut Words<W>,
    dst: &mut [W],
) {
    b.pack::<NR>(depth, columns, dst);
    for chunk in dst.as_chunks_mut::<{ CHUNK * NR }>().0 {
        *words = *chunk;
        // SAFETY: this function has the instructions.
        unsafe { W::split_columns(words, chunk) };
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

use both;

/// The bytes of even places of both, and those of odd places.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn exchange_bytes(x: __m512i, y: __m512i) -> (__m512i, __m512i) {
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
    let even = _mm512_mask_blend_epi8(ODD, x, _mm512_slli_epi16::<8>(y));
    (even, _mm512_mask_blend_epi8(ODD, _mm512_srli_epi16::<8>(x), y))
}

/// [`exchange_bytes`] of pairs of bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn exchange_pairs(x: __m512i, y: __m512i) -> (__m512i, __m512i) {
    const ODD: u32 = 0xaaaa_aaaa;
    let even = _mm512_mask_blend_epi16(ODD, x, _mm512_slli_epi32::<16>(y));
    (even, _mm512_mask_blend_epi16(ODD, _mm512_srli_epi32::<16>(x), y))
}

/// [`exchange_bytes`] of halves of 64-bit words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn exchange_halves(x: __m512i, y: __m512i) -> (__m512i, __m512i) {
    const ODD: u16 = 0xaaaa;
    let even = _mm512_mask_blend_epi32(ODD, x, _mm512_slli_epi64::<32>(y));
    (even, _mm512_mask_blend_epi32(ODD, _mm512_srli_epi64::<32>(x), y))
}
