//! The two memories that lanes of different threads share, as one access sees them: device memory and the shared
//! memory of a block. How lanes become accesses stands in `access.rs`, what memory notes of them in `memory/`.

use super::shared::Shared;
use super::warp::Warp;
use crate::memory::Fault;
use crate::memory::cell::ATOMIC;
use crate::memory::global::{Actor, Allocation, GlobalMemory, Touch};
use crate::memory::shared::SharedMemory;

/// A memory that a warp reads and writes.
pub(super) trait Target {
    /// Where a checked range starts.
    type Place: Copy;

    /// The place of `bytes` bytes from `address` on, which must lie within memory.
    fn find(&self, address: u64, bytes: usize) -> Result<Self::Place, Fault>;
    /// Notes an access, and finds races and reads of what was never written.
    fn touch(&mut self, place: Self::Place, bytes: usize, touch: Touch) -> Result<(), Fault>;
    /// The value `offset` bytes behind a place.
    fn load(&self, place: Self::Place, offset: usize, bytes: usize) -> u64;
    /// Stores a value `offset` bytes behind a place.
    fn store(&mut self, place: Self::Place, offset: usize, bytes: usize, value: u64);
    /// Lets the warp remember what it touched.
    fn note(_place: Self::Place, _warp: &mut Warp) {}
}

/// Device memory, as one warp accesses it.
pub(super) struct OfDevice<'a> {
    memory: &'a GlobalMemory,
    actor: Actor<'a>,
}

impl<'a> OfDevice<'a> {
    /// A target for warp `warp`; accesses that are `strong` do not race with each other.
    #[inline(always)]
    pub fn new(shared: &'a Shared<'_>, warp: u32, strong: bool) -> Self {
        let mut actor = shared.actor(warp);
        if strong {
            actor.cell |= ATOMIC;
        }
        OfDevice { memory: shared.launch.memory, actor }
    }
}

impl<'a> Target for OfDevice<'a> {
    type Place = (&'a Allocation, usize);

    #[inline(always)]
    fn find(&self, address: u64, bytes: usize) -> Result<Self::Place, Fault> {
        self.memory.find(address, bytes)
    }

    #[inline(always)]
    fn touch(&mut self, (allocation, start): Self::Place, bytes: usize, touch: Touch) -> Result<(), Fault> {
        allocation.touch(start, bytes, touch, &self.actor)
    }

    #[inline(always)]
    fn load(&self, (allocation, start): Self::Place, offset: usize, bytes: usize) -> u64 {
        allocation.load(start + offset, bytes)
    }

    #[inline(always)]
    fn store(&mut self, (allocation, start): Self::Place, offset: usize, bytes: usize, value: u64) {
        allocation.store(start + offset, bytes, value);
    }

    #[inline(always)]
    fn note((allocation, _): Self::Place, warp: &mut Warp) {
        warp.note_touched(allocation.number);
    }
}

/// A block's shared memory, as one warp accesses it.
pub(super) struct OfBlock<'a> {
    memory: &'a mut SharedMemory,
    warp: u32,
}

impl<'a> OfBlock<'a> {
    /// A target for warp `warp`.
    #[inline(always)]
    pub fn new(memory: &'a mut SharedMemory, warp: u32) -> Self {
        OfBlock { memory, warp }
    }
}

impl Target for OfBlock<'_> {
    type Place = usize;

    #[inline(always)]
    fn find(&self, address: u64, bytes: usize) -> Result<usize, Fault> {
        self.memory.bounds(address, bytes)
    }

    #[inline(always)]
    fn touch(&mut self, start: usize, bytes: usize, touch: Touch) -> Result<(), Fault> {
        self.memory.touch(start, bytes, touch, self.warp)
    }

    #[inline(always)]
    fn load(&self, start: usize, offset: usize, bytes: usize) -> u64 {
        self.memory.load(start + offset, bytes)
    }

    #[inline(always)]
    fn store(&mut self, start: usize, offset: usize, bytes: usize, value: u64) {
        self.memory.store(start + offset, bytes, value);
    }
}
