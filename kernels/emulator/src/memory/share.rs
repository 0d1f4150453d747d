//! Device memory that several processes have: bytes, marks of what was written, and a list of the operations that are under way
//! there, by process. An operation is under way from the call that asks for it until its own process knows that it has ended:
//! nothing else orders processes here. Two that touch the same bytes meanwhile, one writing, are a race, whichever runs first.
//!
//! The memory has no name: a process gets its descriptor from the one that exported it, and it is gone when all have ended.
//! What a process that was killed had under way, or locked, counts no more.

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Word of the lock: the process that has it.
const LOCK: usize = 0;
/// Word of the allocation's size.
const BYTES: usize = 1;
/// Words with the processes that have the memory open.
const OPEN: Range<usize> = 8..40;
/// Words of the operations under way: process, first byte, end, whether it writes.
const FLIGHTS: Range<usize> = 64..64 + 4 * 1024;
/// Words before the bytes.
const CONTROL: usize = FLIGHTS.end + 64;

/// An operation under way, by its place in the list.
pub type Flight = usize;

/// Why an operation cannot begin.
pub enum Refused {
    /// Another process has an operation under way there.
    Race(String),
    /// There is no room in the list.
    Full,
}

/// A mapping of memory that several processes have.
pub struct Share {
    file: OwnedFd,
    start: NonNull<AtomicU64>,
    words: usize,
    /// Bytes of the allocation.
    pub bytes: usize,
}

// SAFETY: the mapping belongs to this value, and is used as atomic words.
unsafe impl Send for Share {}
// SAFETY: as above.
unsafe impl Sync for Share {}

/// Words for so many bytes of an allocation, or of its marks.
pub fn words_for(bytes: usize) -> usize {
    bytes.div_ceil(8) + 2
}

impl Share {
    /// New memory for an allocation.
    pub fn create(bytes: usize) -> io::Result<Self> {
        let file = memfd_create("cryptgpu-emulator", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, 8 * (CONTROL + 2 * words_for(bytes)) as u64)?;
        let share = Self::map(file, bytes)?;
        share.word(BYTES).store(bytes as u64, SeqCst);
        Ok(share)
    }

    /// The memory behind a descriptor of another process's, which is open in this one from now on.
    pub fn open(file: OwnedFd, bytes: usize) -> io::Result<Self> {
        let size = fstat(&file)?.st_size;
        if u64::try_from(size) != Ok(8 * (CONTROL + 2 * words_for(bytes)) as u64) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let share = Self::map(file, bytes)?;
        if share.word(BYTES).load(SeqCst) != bytes as u64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let opened = share.locked(|| {
            let free = OPEN.map(|at| share.word(at)).find(|word| !is_alive(word.load(Relaxed)));
            free.map(|word| word.store(own(), Relaxed))
        });
        opened.map(|()| share).ok_or_else(|| io::ErrorKind::QuotaExceeded.into())
    }

    fn map(file: OwnedFd, bytes: usize) -> io::Result<Self> {
        let words = CONTROL + 2 * words_for(bytes);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the system's choice touches no memory that is in use.
        let start = unsafe { mmap(std::ptr::null_mut(), 8 * words, access, MapFlags::SHARED, &file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { file, start, words, bytes })
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at < self.words);
        // SAFETY: so many words are mapped for as long as this value lives.
        unsafe { self.start.add(at).as_ref() }
    }

    /// The descriptor, for another process.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Where the allocation's bytes begin.
    pub fn data(&self) -> NonNull<AtomicU64> {
        // SAFETY: within the mapping.
        unsafe { self.start.add(CONTROL) }
    }

    /// Where the marks of what was written begin, a byte for each.
    pub fn written(&self) -> NonNull<AtomicU64> {
        // SAFETY: within the mapping.
        unsafe { self.start.add(CONTROL + words_for(self.bytes)) }
    }

    /// Runs `body` while no other process looks at the lists. A process that died with the lock has it no more.
    fn locked<T>(&self, body: impl FnOnce() -> T) -> T {
        let lock = self.word(LOCK);
        let mut free = 0;
        while let Err(holder) = lock.compare_exchange(free, own(), SeqCst, SeqCst) {
            free = if is_alive(holder) { 0 } else { holder };
            std::thread::yield_now();
        }
        let result = body();
        lock.store(0, SeqCst);
        result
    }

    /// An operation on these bytes is asked for.
    pub fn begin(&self, range: &Range<usize>, writes: bool) -> Result<Flight, Refused> {
        self.locked(|| {
            let mut free = None;
            for flight in FLIGHTS.step_by(4) {
                let [process, from, to, wrote] =
                    std::array::from_fn(|index| self.word(flight + index).load(Relaxed));
                if process == 0 || (process != own() && !is_alive(process)) {
                    free = free.or(Some(flight));
                } else if process != own()
                    && (from as usize) < range.end
                    && range.start < to as usize
                    && (writes || wrote != 0)
                {
                    let (now, then) = (verb(writes), verb(wrote != 0));
                    return Err(Refused::Race(format!(
                        "bytes {}..{} are {now} here while an operation of process {process}, by which bytes {from}..{to} are \
                         {then}, is not known to have ended: that process must wait for it before it lets this one go on",
                        range.start, range.end
                    )));
                }
            }
            let flight = free.ok_or(Refused::Full)?;
            for (index, value) in [own(), range.start as u64, range.end as u64, u64::from(writes)].into_iter().enumerate() {
                self.word(flight + index).store(value, Relaxed);
            }
            Ok(flight)
        })
    }

    /// This process knows that an operation has ended.
    pub fn end(&self, flight: Flight) {
        self.locked(|| self.word(flight).store(0, Relaxed));
    }

    /// A process beside this one that has the memory open.
    pub fn opened_elsewhere(&self) -> Option<u64> {
        let others = OPEN.map(|at| self.word(at).load(SeqCst));
        others.into_iter().find(|&process| process != own() && is_alive(process))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.locked(|| {
            for at in OPEN {
                if self.word(at).load(Relaxed) == own() {
                    self.word(at).store(0, Relaxed);
                }
            }
        });
        // SAFETY: the mapping is this value's, and nothing borrows from it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), 8 * self.words) };
    }
}

fn verb(writes: bool) -> &'static str {
    if writes { "written" } else { "read" }
}

/// This process.
pub fn own() -> u64 {
    u64::from(std::process::id())
}

/// Whether a process runs: one that was killed and that nobody has waited for does not.
fn is_alive(process: u64) -> bool {
    process == own()
        || process != 0
            && std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| {
                let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
                !matches!(state, Some('Z' | 'X'))
            })
}
