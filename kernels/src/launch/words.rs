//! Device memory as arguments: pointer and length, borrowed from whoever owns the allocation.

use crate::KernelError;
use cudarc::driver::sys::CUdeviceptr;
use std::marker::PhantomData;
use std::ops::Range;

/// Words on a card, to read.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    address: CUdeviceptr,
    len: usize,
    owner: PhantomData<&'a [u64]>,
}

/// Words on a card, to write.
pub struct WordsMut<'a> {
    address: CUdeviceptr,
    len: usize,
    owner: PhantomData<&'a mut [u64]>,
}

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

    /// How many words.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The words of `range`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] when it reaches beyond them.
    pub fn slice(&self, range: Range<usize>) -> Result<Words<'a>, KernelError> {
        let (address, len) = part(self.address, self.len, &range)?;
        Ok(Words { address, len, owner: PhantomData })
    }

    pub(crate) fn device(&self) -> In {
        In(self.address)
    }
}

impl WordsMut<'_> {
    /// The `len` words from `address` on.
    ///
    /// # Safety
    /// As [`Words::from_raw`], and nobody else may read them either, except work that is ordered by the stream.
    pub unsafe fn from_raw(address: CUdeviceptr, len: usize) -> Self {
        WordsMut { address, len, owner: PhantomData }
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The same words, for one more use.
    pub fn reborrow(&mut self) -> WordsMut<'_> {
        WordsMut { address: self.address, len: self.len, owner: PhantomData }
    }

    /// The same words, to read.
    pub fn as_words(&self) -> Words<'_> {
        Words { address: self.address, len: self.len, owner: PhantomData }
    }

    /// The words of `range`, to write.
    ///
    /// # Errors
    /// [`KernelError::Argument`] when it reaches beyond them.
    pub fn slice_mut(&mut self, range: Range<usize>) -> Result<WordsMut<'_>, KernelError> {
        let (address, len) = part(self.address, self.len, &range)?;
        Ok(WordsMut { address, len, owner: PhantomData })
    }

    pub(crate) fn device(&mut self) -> InOut {
        InOut(self.address)
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
impl std::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Words({})", self.len)
    }
}

/// Shows the length alone.
impl std::fmt::Debug for WordsMut<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WordsMut({})", self.len)
    }
}

/// A pointer parameter that a kernel reads: `const u64 *`.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct In(CUdeviceptr);

impl In {
    /// No words.
    pub(crate) const NONE: In = In(0);
}

/// A pointer parameter that a kernel writes: `u64 *`.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct InOut(CUdeviceptr);

impl InOut {
    /// No words.
    pub(crate) const NONE: InOut = InOut(0);
}
