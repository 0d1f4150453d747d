//! Where words live: a device, buffers on it, and views of parts of them.

use super::DeviceError;
use std::ops::Range;
use std::str::FromStr;

/// A device that holds buffers and runs kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Device {
    /// The processor, with the widest vectors it has, on all threads of the current rayon pool.
    #[default]
    Cpu,
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        match name {
            "cpu" | "auto" => Ok(Device::Cpu),
            cuda if cuda.starts_with("cuda") => Err(DeviceError::Unavailable {
                device: name.to_owned(),
                reason: "this build has no CUDA support".to_owned(),
            }),
            _ => {
                Err(DeviceError::Unavailable { device: name.to_owned(), reason: "there is no such device".to_owned() })
            }
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
        }
    }
}

/// Words on a device. `Debug` shows how many and where, never what: they may be shares.
#[derive(Clone)]
pub enum Buffer {
    /// In main memory.
    Cpu(Vec<u64>),
}

/// A part of a buffer, to read.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// In main memory.
    Cpu(&'a [u64]),
}

/// A part of a buffer, to write.
pub enum ViewMut<'a> {
    /// In main memory.
    Cpu(&'a mut [u64]),
}

impl Device {
    /// A buffer of `len` words that are written before they are read: what they hold until then is
    /// not said.
    pub fn alloc(&self, len: usize) -> Buffer {
        match self {
            Device::Cpu => Buffer::Cpu(vec![0; len]),
        }
    }

    /// A buffer of `len` words that are all `value`.
    pub fn full(&self, len: usize, value: u64) -> Buffer {
        match self {
            Device::Cpu => Buffer::Cpu(vec![value; len]),
        }
    }

    /// A buffer of `len` zero words.
    pub fn zeros(&self, len: usize) -> Buffer {
        self.full(len, 0)
    }

    /// The words of `host` on this device.
    pub fn upload(&self, host: Vec<u64>) -> Buffer {
        match self {
            Device::Cpu => Buffer::Cpu(host),
        }
    }
}

impl Buffer {
    /// The device it lives on.
    pub fn device(&self) -> Device {
        match self {
            Buffer::Cpu(_) => Device::Cpu,
        }
    }

    /// How many words.
    pub fn len(&self) -> usize {
        match self {
            Buffer::Cpu(words) => words.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, to read.
    pub fn view(&self) -> View<'_> {
        match self {
            Buffer::Cpu(words) => View::Cpu(words),
        }
    }

    /// The words of `range`, to read. The range must lie inside.
    pub fn slice(&self, range: Range<usize>) -> View<'_> {
        match self {
            Buffer::Cpu(words) => View::Cpu(&words[range]),
        }
    }

    /// All of it, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        match self {
            Buffer::Cpu(words) => ViewMut::Cpu(words),
        }
    }

    /// The words of `range`, to write. The range must lie inside.
    pub fn slice_mut(&mut self, range: Range<usize>) -> ViewMut<'_> {
        match self {
            Buffer::Cpu(words) => ViewMut::Cpu(&mut words[range]),
        }
    }

    /// The words in main memory; no copy if they are there.
    ///
    /// # Errors
    /// What went wrong on the device while the words were computed, or as they were fetched. On a
    /// CPU nothing does.
    pub fn into_host(self) -> Result<Vec<u64>, DeviceError> {
        match self {
            Buffer::Cpu(words) => Ok(words),
        }
    }
}

impl<'a> View<'a> {
    /// The words of `range`. The range must lie inside.
    pub fn slice(self, range: Range<usize>) -> View<'a> {
        match self {
            View::Cpu(words) => View::Cpu(&words[range]),
        }
    }

    /// How many words.
    pub fn len(&self) -> usize {
        match self {
            View::Cpu(words) => words.len(),
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
            View::Cpu(words) => Ok(words.to_vec()),
        }
    }

    /// A copy on the same device.
    pub fn to_buffer(self) -> Buffer {
        match self {
            View::Cpu(words) => Buffer::Cpu(words.to_vec()),
        }
    }
}

impl ViewMut<'_> {
    /// Overwrites all words with those of `from`, of the same length.
    pub fn copy_from(self, from: View<'_>) {
        match (self, from) {
            (ViewMut::Cpu(to), View::Cpu(from)) => to.copy_from_slice(from),
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} words, {})", self.len(), self.device())
    }
}
