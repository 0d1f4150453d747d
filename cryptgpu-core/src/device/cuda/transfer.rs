//! Copies between main memory and a card, through buffers that the system does not move (pinned): only such
//! copies run beside kernels.
//!
//! A large copy goes in pieces on a stream of its own: while one travels, the processor fills or empties the next, and
//! kernels run. A small one takes its turn among the kernels, on their stream: nothing has to be marked and waited for to
//! put it in order, and whoever waits for a copy to main memory knows that all turns before it are over
//! (`docs/adr/0041-calls-of-the-driver.md`).

use super::Card;
use super::blocks::Block;
use super::marks::Mark;
use crate::device::DeviceError;
use cudarc::driver::{DriverError, result};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Words of a piece: 1 MiB, some 50 µs on a PCIe 4 link, long against the cost of starting a copy.
const PIECE: usize = 1 << 17;

/// Pieces that one copy has under way.
const DEPTH: usize = 4;

/// Words of the largest copy that takes its turn among the kernels: 256 KiB, some 13 µs on a PCIe 4 link.
const SMALL: usize = 1 << 15;

/// Whether a copy of so many words takes its turn among the kernels.
pub(super) fn is_small(words: usize) -> bool {
    words <= SMALL
}

/// Pinned buffers that a card keeps; a transfer that finds none idle waits for the oldest.
const KEPT: usize = 4 * DEPTH;

/// A pinned buffer of one piece.
struct Pinned {
    start: *mut u64,
    /// The copy that may still use it.
    busy: Option<Busy>,
}

/// The end of a copy.
enum Busy {
    Until(Mark),
    /// That of the copy to the card which took this turn.
    Turn(u64),
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
        if let Some(Busy::Until(mark)) = &self.busy {
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
    /// How many copies into buffers have taken a turn among the kernels, and how many of these turns are known to be over.
    turns: AtomicU64,
    over: AtomicU64,
}

impl Staging {
    fn idle(&self) -> parking_lot::MutexGuard<'_, VecDeque<Pinned>> {
        self.idle.lock()
    }

    fn give_back(&self, pinned: Pinned) {
        self.idle().push_back(pinned);
    }

    /// The turns that have been taken so far: they are over once the kernels' stream has passed a later point.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(SeqCst)
    }

    /// So many turns are over.
    pub(super) fn are_over(&self, turns: u64) {
        self.over.fetch_max(turns, SeqCst);
    }

    /// A copy that was just asked for on the kernels' stream is this turn. Counted behind the copy: whoever sees the count marks a
    /// point behind it.
    pub(super) fn take_turn(&self) -> u64 {
        self.turns.fetch_add(1, SeqCst) + 1
    }

    pub(super) fn is_over(&self, turn: u64) -> bool {
        turn <= self.over.load(SeqCst)
    }

    /// Frees what no transfer holds.
    pub(super) fn clear(&self) {
        self.idle().retain(|pinned| matches!(pinned.busy, Some(Busy::Turn(turn)) if !self.is_over(turn)));
    }
}

impl Card {
    /// A pinned buffer that no copy uses.
    fn pinned(&self, operation: &str) -> Result<Pinned, DeviceError> {
        let mut idle = self.staging.idle();
        let (oldest, many) = (idle.pop_front(), idle.len() + 1 >= KEPT);
        let new = || self.driver(operation, Pinned::new());
        let Some(mut pinned) = oldest else { return new() };
        let free = match &pinned.busy {
            None => true,
            Some(Busy::Until(mark)) => self.driver(operation, mark.is_passed())?,
            Some(Busy::Turn(turn)) => self.staging.is_over(*turn),
        };
        if !free && !many {
            idle.push_front(pinned);
            return new();
        }
        match pinned.busy.take() {
            Some(Busy::Until(mark)) if !free => self.driver(operation, mark.wait())?,
            Some(Busy::Turn(_)) if !free => {
                let turns = self.staging.turns();
                let mark = self.mark(&self.compute)?;
                self.driver(operation, mark.wait())?;
                self.staging.are_over(turns);
            }
            _ => {}
        }
        Ok(pinned)
    }

    /// Copies `host`, which is small, to a block that the kernels' stream writes first. `host` is read before this returns.
    pub(super) fn copy_in_turn(&self, host: &[u64], block: &Block) -> Result<(), DeviceError> {
        let operation = "copying to the card";
        self.driver(operation, self.context().bind_to_thread())?;
        let mut pinned = self.pinned(operation)?;
        let words = pinned.words(host.len());
        words.copy_from_slice(host);
        // SAFETY: the block has room for all of `host`, and the stream is behind all of its uses; the pinned words stay as
        // they are until the turn is over.
        let copy = unsafe { result::memcpy_htod_async(block.address(), words, self.compute.cu_stream()) };
        self.driver(operation, copy)?;
        pinned.busy = Some(Busy::Turn(self.staging.take_turn()));
        self.staging.give_back(pinned);
        Ok(())
    }

    /// The `len` words from `address` on, which are few, once everything that the card was asked for so far is done.
    fn copy_out_in_turn(&self, address: u64, len: usize) -> Result<Vec<u64>, DeviceError> {
        let operation = "copying from the card";
        self.driver(operation, self.context().bind_to_thread())?;
        let mut pinned = self.pinned(operation)?;
        let turns = self.staging.turns();
        // SAFETY: the words lie in a live allocation that is borrowed until this function returns, and the stream is behind
        // all that writes them; the pinned ones are not touched before the copy has ended.
        let copy = unsafe { result::memcpy_dtoh_async(pinned.words(len), address, self.compute.cu_stream()) };
        self.driver(operation, copy)?;
        let copied = self.mark(&self.compute)?;
        self.driver(operation, copied.wait())?;
        self.staging.are_over(turns);
        let host = pinned.words(len).to_vec();
        self.staging.give_back(pinned);
        // What went wrong in a kernel shows at the latest here, where the card was waited for.
        self.check()?;
        Ok(host)
    }

    /// Starts to copy `host` to a block; returns the mark after which its words are there. `host` is read
    /// before this returns.
    pub(super) fn copy_in(&self, host: &[u64], block: &Block) -> Result<Mark, DeviceError> {
        let operation = "copying to the card";
        self.driver(operation, self.context().bind_to_thread())?;
        let mut last = None;
        for (index, piece) in host.chunks(PIECE).enumerate() {
            let mut pinned = self.pinned(operation)?;
            let words = pinned.words(piece.len());
            words.copy_from_slice(piece);
            let to = block.address() + 8 * (index * PIECE) as u64;
            // SAFETY: the block has room for all of `host`; nothing else uses it, by the pool's rule; the
            // pinned words stay as they are until `busy` has happened.
            let copy = unsafe { result::memcpy_htod_async(to, words, self.upload.cu_stream()) };
            self.driver(operation, copy)?;
            let copied = self.mark(&self.upload)?;
            pinned.busy = Some(Busy::Until(copied.clone()));
            last = Some(copied);
            self.staging.give_back(pinned);
        }
        last.map_or_else(|| self.mark(&self.upload), Ok)
    }

    /// The `len` words from `address` on, once everything that the card was asked for so far is done.
    pub(super) fn copy_out(&self, address: u64, len: usize) -> Result<Vec<u64>, DeviceError> {
        if is_small(len) {
            return if len == 0 { Ok(vec![]) } else { self.copy_out_in_turn(address, len) };
        }
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
            let mut pinned = self.pinned(operation)?;
            let from = address + 8 * start as u64;
            // SAFETY: the words lie in a live allocation that is borrowed until this function returns, and
            // the stream is behind all that writes them; the pinned ones are not touched before `busy`.
            let copy = unsafe { result::memcpy_dtoh_async(pinned.words(count), from, self.download.cu_stream()) };
            self.driver(operation, copy)?;
            pinned.busy = Some(Busy::Until(self.mark(&self.download)?));
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
        if let Some(Busy::Until(mark)) = pinned.busy.take() {
            self.driver(operation, mark.wait())?;
        }
        host.extend_from_slice(pinned.words(count));
        self.staging.give_back(pinned);
        Ok(())
    }
}
