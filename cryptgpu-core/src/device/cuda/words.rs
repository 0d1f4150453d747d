//! Words in a card's memory, and views of parts of them.

use super::blocks::{Block, Home};
use super::marks::Mark;
use super::transfer::is_small;
use super::{Card, card};
use crate::device::{Device, DeviceError};
use cryptgpu_kernels as kernels;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::OnceLock;

/// Memory of one buffer, and whether its words are right.
pub(crate) struct Allocation {
    ordinal: u32,
    /// The card and its memory; none when there is no such card, no memory left, or no word.
    pub(super) place: Option<(&'static Card, Block)>,
    /// The end of a copy from main memory that the kernels' stream has not been told to wait for.
    pending: Mutex<Option<Mark>>,
    /// Why the words are not what they should be.
    failure: OnceLock<DeviceError>,
}

impl Allocation {
    /// Memory for `words` words that `home` writes first. Where there is none the allocation is marked.
    pub(super) fn new(ordinal: u32, words: usize, home: Home) -> Self {
        let mut allocation = Allocation { ordinal, place: None, pending: Mutex::new(None), failure: OnceLock::new() };
        let place = card(ordinal).and_then(|card| {
            card.check()?;
            if words == 0 { Ok(None) } else { card.allocate(words, home).map(|block| Some((card, block))) }
        });
        match place {
            Ok(place) => allocation.place = place,
            Err(error) => allocation.mark(error),
        }
        allocation
    }

    pub(super) fn device(&self) -> Device {
        Device::Cuda(self.ordinal)
    }

    /// Says that the words are not what they should be. The first reason is kept.
    pub(super) fn mark(&self, error: DeviceError) {
        // A second reason is a consequence of the first, or no worse.
        let _ = self.failure.set(error);
    }

    /// Why the words are not what they should be, if so.
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// The words are there once the copy before `mark` has ended.
    pub(super) fn set_pending(&self, mark: Mark) {
        *self.pending.lock() = Some(mark);
    }

    /// Orders the kernels' stream behind a copy from main memory, once.
    pub(super) fn settle(&self, card: &Card) -> Result<(), DeviceError> {
        let mut pending = self.pending.lock();
        if let Some(mark) = pending.as_ref() {
            card.order(&card.compute, mark)?;
            *pending = None;
        }
        Ok(())
    }

    pub(super) fn address(&self) -> u64 {
        self.place.as_ref().map_or(0, |(_, block)| block.address())
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Some((card, block)) = self.place.take() {
            let pending = self.pending.get_mut().take();
            card.release(block, pending);
        }
    }
}

/// Words in a card's memory.
pub struct Buffer {
    // In a box, because a buffer in main memory is small and both are one type.
    pub(super) allocation: Box<Allocation>,
    len: usize,
}

/// A part of a buffer on a card, to read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(super) allocation: &'a Allocation,
    start: usize,
    len: usize,
}

/// A part of a buffer on a card, to write.
pub struct ViewMut<'a> {
    pub(super) allocation: &'a Allocation,
    start: usize,
    len: usize,
}

impl Buffer {
    /// Memory whose words are not said, to be written by kernels.
    pub(crate) fn alloc(ordinal: u32, len: usize) -> Self {
        Buffer { allocation: Box::new(Allocation::new(ordinal, len, Home::Compute)), len }
    }

    /// The words of `host`, on their way to the card.
    pub(crate) fn upload(ordinal: u32, host: &[u64]) -> Self {
        let small = is_small(host.len());
        let home = if small { Home::Compute } else { Home::Upload };
        let allocation = Box::new(Allocation::new(ordinal, host.len(), home));
        let buffer = Buffer { allocation, len: host.len() };
        if let Some((card, block)) = &buffer.allocation.place {
            let copied = match small {
                true => card.copy_in_turn(host, block),
                false => card.copy_in(host, block).map(|mark| buffer.allocation.set_pending(mark)),
            };
            if let Err(error) = copied {
                buffer.allocation.mark(error);
            }
        }
        buffer
    }

    pub(crate) fn device(&self) -> Device {
        self.allocation.device()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether the words are right, as far as is known without waiting for the card.
    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        self.allocation.check()?;
        self.allocation.place.as_ref().map_or(Ok(()), |(card, _)| card.check())
    }

    /// All of it, to read.
    pub(crate) fn view(&self) -> View<'_> {
        self.slice(0..self.len)
    }

    pub(crate) fn slice(&self, range: Range<usize>) -> View<'_> {
        check(self.len, &range);
        View { allocation: &self.allocation, start: range.start, len: range.len() }
    }

    pub(crate) fn slice_mut(&mut self, range: Range<usize>) -> ViewMut<'_> {
        check(self.len, &range);
        ViewMut { allocation: &self.allocation, start: range.start, len: range.len() }
    }
}

impl<'a> View<'a> {
    pub(crate) fn slice(self, range: Range<usize>) -> View<'a> {
        check(self.len, &range);
        View { allocation: self.allocation, start: self.start + range.start, len: range.len() }
    }

    pub(crate) fn device(&self) -> Device {
        self.allocation.device()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A copy in main memory.
    pub(crate) fn to_host(self) -> Result<Vec<u64>, DeviceError> {
        self.allocation.check()?;
        let Some((card, _)) = &self.allocation.place else { return Ok(vec![]) };
        card.check()?;
        self.allocation.settle(card)?;
        card.copy_out(self.address(), self.len)
    }

    /// Where it is on the card.
    pub(super) fn address(&self) -> u64 {
        self.allocation.address() + 8 * self.start as u64
    }

    /// As an argument of a kernel.
    pub(super) fn words(&self) -> kernels::Words<'a> {
        // SAFETY: a view lies within its allocation, which lives as long as `'a`; its memory goes back to
        // the pool of its stream only, whose next use is ordered behind all kernels launched so far; and
        // `launch` has ordered the stream behind the copy that wrote it.
        unsafe { kernels::Words::from_raw(self.address(), self.len) }
    }
}

impl<'a> ViewMut<'a> {
    pub(crate) fn device(&self) -> Device {
        self.allocation.device()
    }

    /// The card's number.
    pub(super) fn ordinal(&self) -> u32 {
        self.allocation.ordinal
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The same words, for one more use.
    pub(crate) fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut { allocation: self.allocation, start: self.start, len: self.len }
    }

    /// The same words, to read.
    pub(super) fn as_view(&self) -> View<'_> {
        View { allocation: self.allocation, start: self.start, len: self.len }
    }

    /// The first `len` words, and the rest.
    pub(crate) fn split_at(self, len: usize) -> (ViewMut<'a>, ViewMut<'a>) {
        check(self.len, &(0..len));
        let part = |start, len| ViewMut { allocation: self.allocation, start: self.start + start, len };
        (part(0, len), part(len, self.len - len))
    }

    pub(super) fn address(&self) -> u64 {
        self.allocation.address() + 8 * self.start as u64
    }

    /// As an argument of a kernel.
    pub(super) fn words(&self) -> kernels::WordsMut<'a> {
        // SAFETY: as for views to read; and this one was made from a unique borrow of its buffer.
        unsafe { kernels::WordsMut::from_raw(self.address(), self.len) }
    }
}

/// As an index outside a slice: a mistake in the program.
fn check(len: usize, range: &Range<usize>) {
    assert!(range.start <= range.end && range.end <= len, "words {range:?} of a buffer of {len}");
}
