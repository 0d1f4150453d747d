//! Copies between main memory and a card, in pieces, through buffers that the system does not move
//! (pinned): only such copies run beside kernels. While one piece travels, the processor fills or
//! empties the next.

use super::Card;
use super::blocks::Block;
use super::marks::Mark;
use crate::device::DeviceError;
use cudarc::driver::{DriverError, result};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Words of a piece: 1 MiB, some 50 µs on a PCIe 4 link, long against the cost of starting a copy.
const PIECE: usize = 1 << 17;

/// Pieces that one copy has under way.
const DEPTH: usize = 4;

/// Pinned buffers that a card keeps; a transfer that finds none idle waits for the oldest.
const KEPT: usize = 4 * DEPTH;

/// A pinned buffer of one piece.
struct Pinned {
    start: *mut u64,
    /// The end of the copy that still reads it.
    busy: Option<Mark>,
}

// SAFETY: the memory belongs to the process, not to a thread; a `Pinned` is its only owner.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new() -> Result<Self, DriverError> {
        // SAFETY: the memory is freed when the buffer is dropped, and nowhere else.
        let start = unsafe { result::malloc_host(8 * PIECE, 0) }?.cast();
        // SAFETY: that many words were just allocated; zero is a value of each.
        unsafe { std::ptr::write_bytes(start, 0, PIECE) };
        Ok(Pinned { start, busy: None })
    }

    /// The first `len` words.
    fn words(&mut self, len: usize) -> &mut [u64] {
        // SAFETY: `PIECE` initialised words that only this borrow reaches: copies of the card are waited for
        // before a buffer is taken from the pool, or by whoever has it.
        unsafe { std::slice::from_raw_parts_mut(self.start, len.min(PIECE)) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(mark) = &self.busy {
            // An error here has ended the use of the card already; the copy is not under way any more.
            let _ = mark.wait();
        }
        // SAFETY: it came from `malloc_host`, and no copy is under way.
        let _ = unsafe { result::free_host(self.start.cast()) };
    }
}

/// The pinned buffers of a card, the longest unused first.
#[derive(Default)]
pub(super) struct Staging {
    idle: Mutex<VecDeque<Pinned>>,
}

impl Staging {
    fn idle(&self) -> parking_lot::MutexGuard<'_, VecDeque<Pinned>> {
        self.idle.lock()
    }

    /// A buffer that no copy uses.
    fn take(&self) -> Result<Pinned, DriverError> {
        let mut idle = self.idle();
        let (oldest, many) = (idle.pop_front(), idle.len() + 1 >= KEPT);
        let Some(mut pinned) = oldest else { return Pinned::new() };
        match &pinned.busy {
            Some(mark) if !many && !mark.is_passed()? => {
                idle.push_front(pinned);
                return Pinned::new();
            }
            Some(mark) => mark.wait()?,
            None => {}
        }
        pinned.busy = None;
        Ok(pinned)
    }

    fn give_back(&self, pinned: Pinned) {
        self.idle().push_back(pinned);
    }

    /// Frees what no transfer holds.
    pub(super) fn clear(&self) {
        self.idle().clear();
    }
}

impl Card {
    /// Starts to copy `host` to a block; returns the mark after which its words are there. `host` is read
    /// before this returns.
    pub(super) fn copy_in(&self, host: &[u64], block: &Block) -> Result<Mark, DeviceError> {
        let operation = "copying to the card";
        self.driver(operation, self.context().bind_to_thread())?;
        let mut last = None;
        for (index, piece) in host.chunks(PIECE).enumerate() {
            let mut pinned = self.driver(operation, self.staging.take())?;
            let words = pinned.words(piece.len());
            words.copy_from_slice(piece);
            let to = block.address() + 8 * (index * PIECE) as u64;
            // SAFETY: the block has room for all of `host`; nothing else uses it, by the pool's rule; the
            // pinned words stay as they are until `busy` has happened.
            let copy = unsafe { result::memcpy_htod_async(to, words, self.upload.cu_stream()) };
            self.driver(operation, copy)?;
            let copied = self.mark(&self.upload)?;
            pinned.busy = Some(copied.clone());
            last = Some(copied);
            self.staging.give_back(pinned);
        }
        last.map_or_else(|| self.mark(&self.upload), Ok)
    }

    /// The `len` words from `address` on, once everything that the card was asked for so far is done.
    pub(super) fn copy_out(&self, address: u64, len: usize) -> Result<Vec<u64>, DeviceError> {
        let operation = "copying from the card";
        let computed = self.mark(&self.compute)?;
        self.order(&self.download, &computed)?;
        let mut host = Vec::with_capacity(len);
        let mut under_way = VecDeque::with_capacity(DEPTH);
        for start in (0..len).step_by(PIECE) {
            if under_way.len() == DEPTH {
                self.collect(operation, under_way.pop_front(), &mut host)?;
            }
            let count = PIECE.min(len - start);
            let mut pinned = self.driver(operation, self.staging.take())?;
            let from = address + 8 * start as u64;
            // SAFETY: the words lie in a live allocation that is borrowed until this function returns, and
            // the stream is behind all that writes them; the pinned ones are not touched before `busy`.
            let copy = unsafe { result::memcpy_dtoh_async(pinned.words(count), from, self.download.cu_stream()) };
            self.driver(operation, copy)?;
            pinned.busy = Some(self.mark(&self.download)?);
            under_way.push_back((pinned, count));
        }
        while !under_way.is_empty() {
            self.collect(operation, under_way.pop_front(), &mut host)?;
        }
        // What went wrong in a kernel shows at the latest here, where the card was waited for.
        self.check()?;
        Ok(host)
    }

    /// Waits for a piece and takes its words.
    fn collect(&self, operation: &str, piece: Option<(Pinned, usize)>, host: &mut Vec<u64>) -> Result<(), DeviceError> {
        let Some((mut pinned, count)) = piece else { return Ok(()) };
        if let Some(mark) = pinned.busy.take() {
            self.driver(operation, mark.wait())?;
        }
        host.extend_from_slice(pinned.words(count));
        self.staging.give_back(pinned);
        Ok(())
    }
}
