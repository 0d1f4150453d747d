//! What the warps of a block share while it is executed.

use super::Launch;
use crate::memory::cell::{self, Cell};
use crate::memory::global::Actor;
use crate::memory::shared::SharedMemory;

/// What the warps of a block share.
pub struct Shared<'a> {
    pub launch: &'a Launch<'a>,
    pub memory: SharedMemory,
    pub block: u64,
    pub phase: u32,
    pub races: bool,
    pub uninitialised: bool,
    pub limit: u64,
}

impl Shared<'_> {
    /// Who `warp` is, towards device memory.
    #[inline(always)]
    pub fn actor(&self, warp: u32) -> Actor<'_> {
        Actor {
            cell: self.cell(warp),
            unordered: self.launch.unordered,
            races: self.races,
            uninitialised: self.uninitialised,
        }
    }

    fn cell(&self, warp: u32) -> Cell {
        cell::cell(self.launch.epoch, self.block, self.phase, warp)
    }
}
