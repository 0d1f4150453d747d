//! Device memory as arguments: pointer and length, borrowed from whoever owns the allocation.

use super::Element;
use crate::KernelError;
use cudarc::driver::sys::CUdeviceptr;
use std::marker::PhantomData;
use std::ops::Range;

/// Elements on a card, to read: by default words, which are elements of 64 bits, packed bits, or two elements of 32 bits each.
pub struct Words<'a, W = u64> {
    address: CUdeviceptr,
    len: usize,
    owner: PhantomData<&'a [W]>,
}

/// Elements on a card, to write.
pub struct WordsMut<'a, W = u64> {
    address: CUdeviceptr,
    len: usize,
    owner: PhantomData<&'a mut [W]>,
}

impl<W> Clone for Words<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Words<'_, W> {}

impl<'a> Words<'a> {
    /// The `len` words from `address` on.
    ///
    /// # Safety
    /// For as long as `'a`, and until all kernels launched with them have run, they must lie in one live
    /// allocation of the context they are used with, be aligned to 8 bytes, and be written by nobody but work
    /// that the stream is ordered after.
    pub unsafe fn from_raw(address: CUdeviceptr, len: usize) -> Self {
        Words { address, len, owner: PhantomData }
    }

    /// The words of `range`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] when it reaches beyond them.
    pub fn slice(&self, range: Range<usize>) -> Result<Words<'a>, KernelError> {
        let (address, len) = part(self.address, self.len, &range)?;
        Ok(Words { address, len, owner: PhantomData })
    }

    /// All elements of these words, with the one that may only fill the last.
    pub fn elements<W: Element>(self) -> Words<'a, W> {
        self.first(usize::MAX)
    }

    /// The first `n` elements of these words, or all if they are fewer.
    pub fn first<W: Element>(self, n: usize) -> Words<'a, W> {
        Words { address: self.address, len: n.min(self.len * W::WIDTH.packed()), owner: PhantomData }
    }
}

impl<W: Element> Words<'_, W> {
    /// How many elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Words of memory that they take.
    pub(crate) fn memory(&self) -> usize {
        self.len.div_ceil(W::WIDTH.packed())
    }

    pub(crate) fn device(&self) -> In {
        In(self.address)
    }

    /// From an element on, which may stand in the middle of a word.
    pub(crate) fn device_from(&self, first: usize) -> In {
        In(self.address + (first * size_of::<W>()) as u64)
    }
}

impl<'a> WordsMut<'a> {
    /// The `len` words from `address` on.
    ///
    /// # Safety
    /// As [`Words::from_raw`], and nobody else may read them either, except work that is ordered by the stream.
    pub unsafe fn from_raw(address: CUdeviceptr, len: usize) -> Self {
        WordsMut { address, len, owner: PhantomData }
    }

    /// The words of `range`, to write.
    ///
    /// # Errors
    /// [`KernelError::Argument`] when it reaches beyond them.
    pub fn slice_mut(&mut self, range: Range<usize>) -> Result<WordsMut<'_>, KernelError> {
        let (address, len) = part(self.address, self.len, &range)?;
        Ok(WordsMut { address, len, owner: PhantomData })
    }

    /// All elements of these words, with the one that may only fill the last.
    pub fn elements<W: Element>(self) -> WordsMut<'a, W> {
        self.first(usize::MAX)
    }

    /// The first `n` elements of these words, or all if they are fewer. Where that is an odd number of 32 bits, operations that go by
    /// a shape write zero behind them, to the end of the word.
    pub fn first<W: Element>(self, n: usize) -> WordsMut<'a, W> {
        WordsMut { address: self.address, len: n.min(self.len * W::WIDTH.packed()), owner: PhantomData }
    }
}

impl<W: Element> WordsMut<'_, W> {
    /// How many elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The same elements, for one more use.
    pub fn reborrow(&mut self) -> WordsMut<'_, W> {
        WordsMut { address: self.address, len: self.len, owner: PhantomData }
    }

    /// The same elements, to read.
    pub fn as_words(&self) -> Words<'_, W> {
        Words { address: self.address, len: self.len, owner: PhantomData }
    }

    /// The whole words that they stand in.
    pub(crate) fn memory(&mut self) -> WordsMut<'_> {
        WordsMut { address: self.address, len: self.as_words().memory(), owner: PhantomData }
    }

    pub(crate) fn device(&mut self) -> InOut {
        InOut(self.address)
    }

    /// From an element on, which may stand in the middle of a word.
    pub(crate) fn device_from(&mut self, first: usize) -> InOut {
        InOut(self.address + (first * size_of::<W>()) as u64)
    }
}

fn part(address: CUdeviceptr, len: usize, range: &Range<usize>) -> Result<(CUdeviceptr, usize), KernelError> {
    if range.start > range.end || range.end > len {
        return Err(KernelError::Argument {
            operation: "slice of device words",
            argument: "range",
            found: format!("{range:?} of {len} words"),
            rule: "it must lie inside",
        });
    }
    Ok((address + 8 * range.start as u64, range.len()))
}

/// Shows the length alone.
impl<W> std::fmt::Debug for Words<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Words({})", self.len)
    }
}

/// Shows the length alone.
impl<W> std::fmt::Debug for WordsMut<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WordsMut({})", self.len)
    }
}

/// A pointer parameter that a kernel reads: `const u64 *`, or `const Word *`.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct In(CUdeviceptr);

impl In {
    /// No words.
    pub(crate) const NONE: In = In(0);
}

/// A pointer parameter that a kernel writes: `u64 *`, or `Word *`.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct InOut(CUdeviceptr);

impl InOut {
    /// No words.
    pub(crate) const NONE: InOut = InOut(0);
}
