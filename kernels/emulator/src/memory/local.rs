//! The local memory of the threads of a warp: arrays that a kernel keeps for itself, and parameters of calls.

use super::Fault;
use crate::checks::Check;
use crate::lanes::LANES;

/// Local memory of 32 threads, one after the other.
pub struct LocalMemory {
    data: Vec<u8>,
    written: Vec<bool>,
    bytes: usize,
    /// Whether reads of uninitialised memory are looked for.
    uninitialised: bool,
}

impl LocalMemory {
    /// `bytes` bytes for each thread.
    pub fn new(bytes: usize, uninitialised: bool) -> Self {
        Self { data: vec![0; bytes * LANES], written: vec![false; bytes * LANES], bytes, uninitialised }
    }

    /// New threads start: nothing is initialised.
    pub fn start_block(&mut self) {
        self.written.fill(false);
    }

    fn range(&self, lane: usize, offset: u64, bytes: usize) -> Result<std::ops::Range<usize>, Fault> {
        let end = (offset as usize).checked_add(bytes);
        if end.is_none_or(|end| end > self.bytes) {
            let message = format!("{bytes} bytes at byte {} of local memory of {} bytes", offset as i64, self.bytes);
            return Err(Fault::new(Check::OutOfBounds, message));
        }
        let start = lane * self.bytes + offset as usize;
        Ok(start..start + bytes)
    }

    /// Reads up to 8 bytes, zero-extended.
    pub fn load(&self, lane: usize, offset: u64, bytes: usize) -> Result<u64, Fault> {
        let range = self.range(lane, offset, bytes)?;
        if self.uninitialised && !self.written[range.clone()].iter().all(|&written| written) {
            let message = format!("local memory at byte {offset} is read and was never written by this thread");
            return Err(Fault::new(Check::Uninitialised, message));
        }
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(&self.data[range]);
        Ok(u64::from_le_bytes(word))
    }

    /// Writes the low `bytes` bytes of `value`.
    pub fn store(&mut self, lane: usize, offset: u64, bytes: usize, value: u64) -> Result<(), Fault> {
        let range = self.range(lane, offset, bytes)?;
        self.written[range.clone()].fill(true);
        self.data[range].copy_from_slice(&value.to_le_bytes()[..bytes]);
        Ok(())
    }
}
