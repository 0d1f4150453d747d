//! Memory of a card, kept for reuse: to ask the driver for memory stops the card, and a protocol asks
//! for the same sizes again and again.
//!
//! A block has the size of its class (at most an eighth more than was asked for) and belongs to the
//! stream that writes it first, its home. Back in the pool it is given out again at once, to the same
//! home only:
//!
//! - *compute*: the next kernels and small copies run behind those that used it before, on the same stream;
//! - *upload*: the next large copy into it waits for the point at which it was given back,
//!   behind all kernels that used it.
//!
//! Copies to main memory end before the view that they were made from does, so no block is given back
//! under one. When the driver has no more memory, what is kept is returned to it, and it is asked again.
//!
//! With `CRYPTGPU_CUDA_POOL=off` every buffer is an allocation of its own, of its own size, returned as it
//! is dropped: slow, and what checkers of memory need in order to see a read before a write, after the
//! end, or beyond it.
//!
//! **Words that are left.** A block that goes back to the driver is zeroed first. One that stays in the
//! pool keeps its words, as freed main memory does, unless `CRYPTGPU_CUDA_WIPE=on` has them zeroed as
//! they are dropped (`docs/adr/0016-memory-on-the-card.md`).

use super::Card;
use super::marks::Mark;
use crate::device::DeviceError;
use cudarc::driver::{DriverError, result, sys};
use parking_lot::Mutex;
use std::collections::HashMap;

/// Bytes of the smallest block.
const SMALLEST: usize = 512;

/// The stream that writes a block first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Home {
    /// Kernels, and small copies from main memory.
    Compute,
    /// Large copies from main memory.
    Upload,
}

/// Memory of a class's size.
#[derive(Debug)]
pub(super) struct Block {
    address: sys::CUdeviceptr,
    bytes: usize,
    home: Home,
}

impl Block {
    pub(super) fn address(&self) -> u64 {
        self.address
    }
}

/// A block that waits to be used again.
struct Free {
    block: Block,
    /// The end of its uses by kernels, for a block that another stream writes next.
    used: Option<Mark>,
}

/// What a pool holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes in buffers.
    pub in_use: usize,
    /// Bytes kept for reuse.
    pub kept: usize,
    /// The most that was in buffers at a time.
    pub peak: usize,
    /// Times that the driver was asked for memory.
    pub requests: u64,
    /// Times that a kept block was used again.
    pub reuses: u64,
}

#[derive(Default)]
struct State {
    free: HashMap<(Home, usize), Vec<Free>>,
    usage: MemoryUse,
}

/// The memory of one card.
pub(super) struct Pool {
    state: Mutex<State>,
    /// Words are zeroed when they are dropped.
    wipe: bool,
    /// Memory is kept for reuse.
    keep: bool,
}

/// Environment variable: `on` zeroes memory on the card as soon as the words in it are dropped.
const WIPE_VARIABLE: &str = "CRYPTGPU_CUDA_WIPE";
/// Environment variable: `off` makes every buffer an allocation of its own.
const POOL_VARIABLE: &str = "CRYPTGPU_CUDA_POOL";

impl Pool {
    /// As the environment says.
    pub(super) fn from_environment() -> Self {
        let is = |variable: &str, value: &str| std::env::var(variable).is_ok_and(|found| found == value);
        Pool { state: Mutex::default(), wipe: is(WIPE_VARIABLE, "on"), keep: !is(POOL_VARIABLE, "off") }
    }

    fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// The size of the class of `bytes`: the next multiple of an eighth of the power of two below it.
fn class(bytes: usize) -> usize {
    let step = (1usize << bytes.max(SMALLEST).ilog2()) / 8;
    bytes.max(SMALLEST).next_multiple_of(step)
}

impl Card {
    /// A block of at least `words` words whose old uses are behind what `home` is given next.
    pub(super) fn allocate(&self, words: usize, home: Home) -> Result<Block, DeviceError> {
        let too_much = || self.out_of_memory(words.saturating_mul(8));
        let bytes = words.checked_mul(8).filter(|&bytes| bytes <= isize::MAX as usize).ok_or_else(too_much)?;
        let bytes = if self.pool.keep { class(bytes) } else { bytes };
        let kept = self.pool.state().free.get_mut(&(home, bytes)).and_then(Vec::pop);
        let block = match kept {
            Some(Free { block, used }) => {
                self.pool.account(|usage| {
                    usage.kept -= bytes;
                    usage.reuses += 1;
                });
                if let Some(used) = used {
                    self.order(&self.upload, &used)?;
                }
                block
            }
            None => self.request(bytes, home)?,
        };
        self.pool.account(|usage| {
            usage.in_use += bytes;
            usage.peak = usage.peak.max(usage.in_use);
        });
        Ok(block)
    }

    /// New memory of the driver; when it has none, what is kept is returned first.
    fn request(&self, bytes: usize, home: Home) -> Result<Block, DeviceError> {
        let ask = || {
            self.pool.account(|usage| usage.requests += 1);
            // SAFETY: the memory is given back in `return_kept` or stays the process's until it ends.
            self.context().bind_to_thread().and_then(|()| unsafe { result::malloc_sync(bytes) })
        };
        let none_left = |error: &DriverError| error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;
        let answer = match ask() {
            Err(error) if none_left(&error) => {
                self.trim()?;
                ask()
            }
            answer => answer,
        };
        match answer {
            Ok(address) => Ok(Block { address, bytes, home }),
            // Memory that cannot be had is the error of one buffer; the card goes on.
            Err(error) if none_left(&error) => Err(self.out_of_memory(bytes)),
            Err(error) => Err(self.fail("asking for memory", &error)),
        }
    }

    fn out_of_memory(&self, wanted: usize) -> DeviceError {
        let (free, total) = self.context().mem_get_info().unwrap_or_default();
        let in_use = self.pool.state().usage.in_use;
        DeviceError::Memory { device: self.device(), wanted, in_use, free, total }
    }

    /// Takes a block back. `pending` is a copy into it that no kernel has waited for.
    pub(super) fn release(&self, block: Block, pending: Option<Mark>) {
        self.pool.account(|usage| usage.in_use -= block.bytes);
        // Where the driver fails the card has, and a block that may still be written is left alone.
        let Ok(used) = self.retire(&block, pending) else { return };
        {
            let mut state = self.pool.state();
            state.usage.kept += block.bytes;
            state.free.entry((block.home, block.bytes)).or_default().push(Free { block, used });
        }
        if !self.pool.keep {
            // A failure has marked the card.
            let _ = self.trim();
        }
    }

    /// What the next user of a block has to wait for.
    fn retire(&self, block: &Block, pending: Option<Mark>) -> Result<Option<Mark>, DeviceError> {
        self.check()?;
        if let Some(mark) = pending {
            self.order(&self.compute, &mark)?;
        }
        if self.pool.wipe {
            self.zero(block)?;
        }
        match block.home {
            Home::Compute => Ok(None),
            Home::Upload => self.mark(&self.compute).map(Some),
        }
    }

    fn zero(&self, block: &Block) -> Result<(), DeviceError> {
        let zero = self.context().bind_to_thread().and_then(|()| {
            // SAFETY: the block is nobody's, and the stream is behind all of its uses.
            unsafe { result::memset_d8_async(block.address, 0, block.bytes, self.compute.cu_stream()) }
        });
        self.driver("zeroing memory", zero)
    }

    /// Zeroes all memory that is kept for reuse and returns it to the driver.
    ///
    /// # Errors
    /// The fault that this card has, or meets.
    pub(crate) fn trim(&self) -> Result<(), DeviceError> {
        self.check()?;
        let kept: Vec<Free> = {
            let mut state = self.pool.state();
            state.usage.kept = 0;
            state.free.drain().flat_map(|(_, blocks)| blocks).collect()
        };
        for free in &kept {
            self.zero(&free.block)?;
        }
        let turns = self.staging.turns();
        self.driver("waiting for the card", self.compute.synchronize())?;
        self.staging.are_over(turns);
        for Free { block, .. } in kept {
            // SAFETY: the block came from the driver, is nobody's, and all of its uses have ended.
            self.driver("returning memory", unsafe { result::free_sync(block.address) })?;
        }
        self.staging.clear();
        Ok(())
    }

    /// What the pool holds.
    pub(crate) fn memory_use(&self) -> MemoryUse {
        self.pool.state().usage
    }
}

impl Pool {
    fn account(&self, change: impl FnOnce(&mut MemoryUse)) {
        change(&mut self.state().usage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_class_wastes_at_most_an_eighth(bytes in 1usize..1 << 40) {
            let size = class(bytes);
            prop_assert!(size >= bytes && size.is_multiple_of(64));
            prop_assert!(size == SMALLEST || size - bytes <= bytes / 8);
            prop_assert_eq!(class(size), size, "a class is its own");
        }
    }
}
