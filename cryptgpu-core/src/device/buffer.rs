//! Where words live: a device, buffers on it, and views of parts of them.

use super::spare::Words;
use super::{DeviceError, cuda};
use std::ops::Range;
use std::str::FromStr;

/// A device that holds buffers and runs kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Device {
    /// The processor, with the widest vectors it has, on all threads of the current rayon pool.
    #[default]
    Cpu,
    /// A CUDA card, by its number. Computes asynchronously; what goes wrong shows when words are brought
    /// to main memory.
    Cuda(u32),
}

/// Reads `cpu` or `cuda:N`, as [`Device`] is written. (See [`super::DeviceChoice`] for `auto`.)
impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let card = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        match (name, card) {
            ("cpu", _) => Ok(Device::Cpu),
            (_, Some(ordinal)) => Ok(Device::Cuda(ordinal)),
            _ => Err(DeviceError::Unknown { device: name.to_owned() }),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => f.pad("cpu"),
            Device::Cuda(ordinal) => f.pad(&format!("cuda:{ordinal}")),
        }
    }
}

/// Words on a device. `Debug` shows how many and where, never what: they may be shares.
pub enum Buffer {
    /// Words in main memory.
    Cpu(Words),
    /// Words in a card's memory.
    Cuda(cuda::Buffer),
}

/// A part of a buffer, to read.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// Words in main memory.
    Cpu(&'a [u64]),
    /// Words in a card's memory.
    Cuda(cuda::View<'a>),
}

/// A part of a buffer, to write.
pub enum ViewMut<'a> {
    /// Words in main memory.
    Cpu(&'a mut [u64]),
    /// Words in a card's memory.
    Cuda(cuda::ViewMut<'a>),
}

impl Device {
    /// Opens the device, so that what is missing shows now and not when words are brought back.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] with what is missing and what to do.
    pub fn open(&self) -> Result<(), DeviceError> {
        match self {
            Device::Cpu => Ok(()),
            Device::Cuda(ordinal) => cuda::card(*ordinal).map(drop),
        }
    }

    /// The card's name; none for the CPU.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn card_name(&self) -> Result<Option<String>, DeviceError> {
        match self {
            Device::Cpu => Ok(None),
            Device::Cuda(ordinal) => cuda::card(*ordinal).map(|card| Some(card.name().to_owned())),
        }
    }

    /// A buffer of `len` words that are written before they are read: what they hold until then is
    /// not said.
    pub fn alloc(&self, len: usize) -> Buffer {
        match self {
            Device::Cpu => Buffer::Cpu(Words::scratch(len)),
            Device::Cuda(ordinal) => Buffer::Cuda(cuda::Buffer::alloc(*ordinal, len)),
        }
    }

    /// A buffer of `len` words that are all `value`.
    pub fn full(&self, len: usize, value: u64) -> Buffer {
        let mut buffer = self.alloc(len);
        buffer.view_mut().fill(value);
        buffer
    }

    /// A buffer of `len` zero words.
    pub fn zeros(&self, len: usize) -> Buffer {
        self.full(len, 0)
    }

    /// The words of `host` on this device.
    pub fn upload(&self, host: Vec<u64>) -> Buffer {
        match self {
            Device::Cpu => Buffer::Cpu(Words::new(host)),
            Device::Cuda(ordinal) => Buffer::Cuda(cuda::Buffer::upload(*ordinal, &host)),
        }
    }

    /// Returns the memory that a card keeps for reuse to the driver, zeroed. A CPU keeps none.
    ///
    /// # Errors
    /// As [`Device::open`], and the fault that the card has, or meets.
    pub fn trim(&self) -> Result<(), DeviceError> {
        match self {
            Device::Cpu => Ok(()),
            Device::Cuda(ordinal) => cuda::card(*ordinal)?.trim(),
        }
    }

    /// What a card's memory is used for by this process; nothing for a CPU.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn memory_use(&self) -> Result<cuda::MemoryUse, DeviceError> {
        match self {
            Device::Cpu => Ok(cuda::MemoryUse::default()),
            Device::Cuda(ordinal) => Ok(cuda::card(*ordinal)?.memory_use()),
        }
    }
}

impl Buffer {
    /// The device it lives on.
    pub fn device(&self) -> Device {
        match self {
            Buffer::Cpu(_) => Device::Cpu,
            Buffer::Cuda(buffer) => buffer.device(),
        }
    }

    /// How many words.
    pub fn len(&self) -> usize {
        match self {
            Buffer::Cpu(words) => words.len(),
            Buffer::Cuda(buffer) => buffer.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, to read.
    pub fn view(&self) -> View<'_> {
        self.slice(0..self.len())
    }

    /// The words of `range`, to read. The range must lie inside.
    pub fn slice(&self, range: Range<usize>) -> View<'_> {
        match self {
            Buffer::Cpu(words) => View::Cpu(&words[range]),
            Buffer::Cuda(buffer) => View::Cuda(buffer.slice(range)),
        }
    }

    /// All of it, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        self.slice_mut(0..self.len())
    }

    /// The words of `range`, to write. The range must lie inside.
    pub fn slice_mut(&mut self, range: Range<usize>) -> ViewMut<'_> {
        match self {
            Buffer::Cpu(words) => ViewMut::Cpu(&mut words[range]),
            Buffer::Cuda(buffer) => ViewMut::Cuda(buffer.slice_mut(range)),
        }
    }

    /// Whether the words are what they should be, as far as is known without waiting for the device.
    ///
    /// # Errors
    /// What went wrong, that is known so far. On a CPU nothing does.
    pub fn check(&self) -> Result<(), DeviceError> {
        match self {
            Buffer::Cpu(_) => Ok(()),
            Buffer::Cuda(buffer) => buffer.check(),
        }
    }

    /// The words in main memory; no copy if they are there.
    ///
    /// # Errors
    /// What went wrong on the device while the words were computed, or as they were fetched. On a
    /// CPU nothing does.
    pub fn into_host(self) -> Result<Vec<u64>, DeviceError> {
        match self {
            Buffer::Cpu(words) => Ok(words.into_vec()),
            Buffer::Cuda(_) => self.view().to_host(),
        }
    }
}

/// A copy on the same device.
impl Clone for Buffer {
    fn clone(&self) -> Self {
        self.view().to_buffer()
    }
}

impl<'a> View<'a> {
    /// The words of `range`. The range must lie inside.
    pub fn slice(self, range: Range<usize>) -> View<'a> {
        match self {
            View::Cpu(words) => View::Cpu(&words[range]),
            View::Cuda(view) => View::Cuda(view.slice(range)),
        }
    }

    /// The device it lives on.
    pub fn device(&self) -> Device {
        match self {
            View::Cpu(_) => Device::Cpu,
            View::Cuda(view) => view.device(),
        }
    }

    /// How many words.
    pub fn len(&self) -> usize {
        match self {
            View::Cpu(words) => words.len(),
            View::Cuda(view) => view.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy in main memory.
    ///
    /// # Errors
    /// As [`Buffer::into_host`].
    pub fn to_host(self) -> Result<Vec<u64>, DeviceError> {
        match self {
            View::Cpu(words) => Ok(Words::copy_of(words).into_vec()),
            View::Cuda(view) => view.to_host(),
        }
    }

    /// A copy on the same device.
    pub fn to_buffer(self) -> Buffer {
        match self {
            View::Cpu(words) => Buffer::Cpu(Words::copy_of(words)),
            View::Cuda(_) => {
                let mut copy = self.device().alloc(self.len());
                copy.view_mut().copy_from(self);
                copy
            }
        }
    }

    /// The words in main memory, of an operation of the CPU.
    pub(super) fn on_host(self) -> &'a [u64] {
        match self {
            View::Cpu(words) => words,
            View::Cuda(view) => elsewhere(view.device(), "the CPU"),
        }
    }

    /// The words on a card, of an operation of the card.
    pub(super) fn on_card(self) -> cuda::View<'a> {
        match self {
            View::Cuda(view) => view,
            View::Cpu(_) => elsewhere(Device::Cpu, "a card"),
        }
    }
}

impl<'a> ViewMut<'a> {
    /// The device it lives on.
    pub fn device(&self) -> Device {
        match self {
            ViewMut::Cpu(_) => Device::Cpu,
            ViewMut::Cuda(view) => view.device(),
        }
    }

    /// The same words, for one more use.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        match self {
            ViewMut::Cpu(words) => ViewMut::Cpu(words),
            ViewMut::Cuda(view) => ViewMut::Cuda(view.reborrow()),
        }
    }

    /// The first `len` words, and the rest. There must be so many.
    pub fn split_at(self, len: usize) -> (ViewMut<'a>, ViewMut<'a>) {
        match self {
            ViewMut::Cpu(words) => {
                let (first, rest) = words.split_at_mut(len);
                (ViewMut::Cpu(first), ViewMut::Cpu(rest))
            }
            ViewMut::Cuda(view) => {
                let (first, rest) = view.split_at(len);
                (ViewMut::Cuda(first), ViewMut::Cuda(rest))
            }
        }
    }

    /// Overwrites all words with `value`.
    pub fn fill(self, value: u64) {
        match self {
            ViewMut::Cpu(words) => words.fill(value),
            ViewMut::Cuda(view) => {
                cuda::launch("filling a buffer", [], [view], |k, s, [], [out]| k.fill_constant(s, value, out));
            }
        }
    }

    /// Overwrites all words with those of `from`, of the same length and on the same device.
    pub fn copy_from(self, from: View<'_>) {
        match self {
            ViewMut::Cpu(to) => to.copy_from_slice(from.on_host()),
            ViewMut::Cuda(to) => cuda::copy(from.on_card(), to),
        }
    }

    /// The words in main memory, of an operation of the CPU.
    pub(super) fn on_host(self) -> &'a mut [u64] {
        match self {
            ViewMut::Cpu(words) => words,
            ViewMut::Cuda(view) => elsewhere(view.device(), "the CPU"),
        }
    }

    /// The words on a card, of an operation of the card.
    pub(super) fn on_card(self) -> cuda::ViewMut<'a> {
        match self {
            ViewMut::Cuda(view) => view,
            ViewMut::Cpu(_) => elsewhere(Device::Cpu, "a card"),
        }
    }
}

/// Tensors and protocols refuse operands that live elsewhere, with an error; a program that calls an
/// operation with views of several devices is wrong, as one that indexes outside of a slice.
fn elsewhere(found: Device, expected: &str) -> ! {
    panic!("an operand lives on {found}, the operation runs on {expected}: move it there first")
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} words, {})", self.len(), self.device())
    }
}
