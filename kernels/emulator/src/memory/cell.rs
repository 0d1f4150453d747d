//! Who touched a piece of device memory last, in one word: the operation (an epoch), the block, the interval between
//! barriers, the warp. Two accesses race if one writes, they are not both atomic, and neither is ordered before the
//! other: by a barrier within a block, or by the stream order of their operations.
//!
//! Threads of one warp are taken to run in lockstep: what they do to each other in different instructions is not
//! reported (in one instruction it is, by the executor).

/// `epoch 16 | block 24 | phase 16 | many 1 | atomic 1 | 0 | warp 5`; zero for "nobody".
pub type Cell = u64;

/// Set where several warps touched the place in the same interval.
pub const MANY: u64 = 1 << 7;
/// Set where the access was atomic.
pub const ATOMIC: u64 = 1 << 6;
const WARP: u64 = 31;
const PHASE_SHIFT: u32 = 8;
const PHASE: u64 = 0xffff;
const BLOCK_SHIFT: u32 = 24;
/// Several blocks.
const ALL_BLOCKS: u64 = 0xff_ffff;
const EPOCH_SHIFT: u32 = 48;

/// The cell of an access by a warp of a block in the interval `phase`. Beyond 65534 barriers the interval is no longer
/// known, and no races within the block are reported.
pub fn cell(epoch: u16, block: u64, phase: u32, warp: u32) -> Cell {
    u64::from(epoch) << EPOCH_SHIFT
        | (block % ALL_BLOCKS) << BLOCK_SHIFT
        | u64::from(phase).min(PHASE) << PHASE_SHIFT
        | (u64::from(warp) & WARP)
}

/// The epoch of a cell.
#[inline(always)]
pub fn epoch(cell: Cell) -> u16 {
    (cell >> EPOCH_SHIFT) as u16
}

#[inline(always)]
fn block(cell: Cell) -> u64 {
    cell >> BLOCK_SHIFT & ALL_BLOCKS
}

#[inline(always)]
fn phase(cell: Cell) -> u64 {
    cell >> PHASE_SHIFT & PHASE
}

/// How an earlier access relates to the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Ordered, atomic, or by the same warp.
    Fine,
    /// By another block or warp of the same kernel.
    Race,
    /// By another operation, which may be ordered or not.
    Other(u16),
}

/// How `earlier` relates to `now`.
#[inline(always)]
pub fn relation(earlier: Cell, now: Cell) -> Relation {
    const SAME: u64 = !(PHASE << PHASE_SHIFT | ATOMIC);
    if earlier == 0 || (earlier ^ now) & SAME == 0 {
        return Relation::Fine;
    }
    if epoch(earlier) != epoch(now) {
        return Relation::Other(epoch(earlier));
    }
    if earlier & now & ATOMIC != 0 {
        return Relation::Fine;
    }
    if block(earlier) != block(now) {
        return Relation::Race;
    }
    if phase(earlier) == phase(now) && phase(now) != PHASE { Relation::Race } else { Relation::Fine }
}

/// The cell that stands for `earlier` and `now` together: both readers, or both atomic writers.
#[inline(always)]
pub fn merge(earlier: Cell, now: Cell) -> Cell {
    if earlier == 0 || epoch(earlier) != epoch(now) {
        return now;
    }
    let both_atomic = earlier & now & ATOMIC;
    let now = now & !ATOMIC | both_atomic;
    if block(earlier) != block(now) {
        return now | ALL_BLOCKS << BLOCK_SHIFT;
    }
    if phase(earlier) != phase(now) || (earlier ^ now) & (WARP | MANY) == 0 {
        return now;
    }
    now | MANY
}

/// The block and warp of a cell, in words.
pub fn describe(cell: Cell) -> String {
    let block_name =
        if block(cell) == ALL_BLOCKS { "several blocks".to_owned() } else { format!("block {}", block(cell)) };
    if cell & MANY != 0 {
        format!("several warps of {block_name}")
    } else {
        format!("warp {} of {block_name}", cell & WARP)
    }
}
