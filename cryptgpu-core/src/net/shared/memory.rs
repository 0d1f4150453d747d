//! Memory that two processes map. It has no name that anybody could open: its descriptor is passed to the other process by
//! a socket, and the memory is gone when both have ended, however they end.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A sealed size: memory that became smaller would end a process that touches what was there.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// A mapping of memory that another process may write to at any time. It is seen as atomic words and in no other way.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to this value, and atomic words may be used by several threads.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// New memory of zeros, and the descriptor by which another process maps it.
    pub(super) fn create(words: usize) -> io::Result<(Self, OwnedFd)> {
        let file = memfd_create("cryptgpu-link", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, 8 * words as u64)?;
        fcntl_add_seals(&file, SEALS)?;
        Ok((Memory::map(&file, words)?, file))
    }

    /// The memory behind a descriptor that came from elsewhere.
    ///
    /// # Errors
    /// When it is no memory of that size for good.
    pub(super) fn open(file: &OwnedFd, words: usize) -> io::Result<Self> {
        let sealed = fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS));
        let bytes = fstat(file)?.st_size;
        if !sealed || u64::try_from(bytes) != Ok(8 * words as u64) {
            let what = format!(
                "{bytes} bytes came, {}, where {} are due",
                if sealed { "sealed" } else { "not sealed" },
                8 * words
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Memory::map(file, words)
    }

    fn map(file: impl AsFd, words: usize) -> io::Result<Self> {
        let (access, bytes) = (ProtFlags::READ | ProtFlags::WRITE, 8 * words);
        // SAFETY: a new mapping at an address of the system's choice touches no memory that is in use.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Memory { start, words })
    }

    /// All words.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: so many words are mapped for as long as this value lives, at a page's start, and the sealed size keeps
        // them there. Whatever the other process writes is a value of a word.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing borrows from it any more. It fails for no mapping that exists.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), 8 * self.words) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn two_mappings_are_one_memory_whose_size_stays() {
        let (here, file) = Memory::create(1024).unwrap();
        let there = Memory::open(&file, 1024).unwrap();
        assert_eq!(there.words().len(), 1024);
        here.words()[1023].store(7, Relaxed);
        assert_eq!(there.words()[1023].load(Relaxed), 7);
        assert!(ftruncate(&file, 0).is_err() && ftruncate(&file, 1 << 20).is_err());
    }

    #[test]
    fn memory_of_another_size_or_without_a_seal_is_refused() {
        let (_, file) = Memory::create(1024).unwrap();
        for words in [0, 1023, 1025, usize::MAX / 8] {
            assert!(Memory::open(&file, words).unwrap_err().to_string().contains("8192 bytes came, sealed"), "{words}");
        }
        let open = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&open, 8192).unwrap();
        assert!(Memory::open(&open, 1024).unwrap_err().to_string().contains("not sealed"));
        let no_memory = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(Memory::open(&no_memory, 1024).is_err());
    }
}
