//! What streams hold: operations that were queued and have not happened. How they happen stands in `queue.rs`.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::Arc;

use super::host::HostRange;
use crate::checks::clock::{Clock, Stamp};
use crate::ir::Kernel;

/// Where an upload's bytes come from.
pub enum Source {
    /// Pageable memory: copied when the call was made.
    Staged(Vec<u8>),
    /// Pinned memory: read when the copy happens, and by then to be what it was (unless a copy to it is queued before).
    Pinned { range: HostRange, digest: Option<u64> },
}

impl Source {
    /// How many bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Staged(bytes) => bytes.len(),
            Self::Pinned { range, .. } => range.bytes,
        }
    }
}

/// What a task does.
pub enum Work {
    /// Nothing: marks a place in the stream (an allocation).
    Nothing,
    /// A kernel.
    Launch { kernel: Arc<Kernel>, grid: [u32; 3], block: [u32; 3], dynamic_shared: usize, params: Vec<u8> },
    /// Host to device.
    Upload { to: u64, from: Source },
    /// Device to host; a pinned destination was filled with `host::POISON`.
    Download { to: HostRange, from: u64, poisoned: bool },
    /// Within the device.
    Copy { to: u64, from: u64, bytes: usize },
    /// `count` values of `width` bytes.
    Fill { to: u64, value: u32, width: usize, count: usize },
    /// A stream-ordered free.
    Free(u64),
    /// A function of the host.
    Host { function: unsafe extern "C" fn(*mut c_void), data: usize },
}

/// A queued operation.
pub struct Task {
    /// Its stream and its place in it.
    pub stamp: Stamp,
    /// What it comes after.
    pub clock: Clock,
    /// What it does.
    pub work: Work,
}

/// A stream.
pub struct Stream {
    /// Whether it was destroyed.
    pub destroyed: bool,
    /// Whether it waits for the default stream and that for it.
    pub blocking: bool,
    /// What its next operation comes after.
    pub clock: Clock,
    /// The tasks that wait, the next one first.
    pub queue: VecDeque<Task>,
    /// The place of the last operation that was queued.
    pub last: u64,
    /// The place of the last operation that is done.
    pub done: u64,
    /// Place and epoch of operations that were executed and that a later one may not be ordered after.
    pub executed: Vec<(u64, u16)>,
}

impl Stream {
    /// An empty stream.
    pub fn new(blocking: bool) -> Self {
        Self {
            destroyed: false,
            blocking,
            clock: Clock::default(),
            queue: VecDeque::new(),
            last: 0,
            done: 0,
            executed: Vec::new(),
        }
    }

    /// The tasks that wait.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.queue.iter()
    }
}
