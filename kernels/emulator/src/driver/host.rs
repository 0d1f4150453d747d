//! Memory of the host: what is pinned, and what copies may do with it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;

/// What a pinned destination holds until its copy has happened.
pub const POISON: u8 = 0xd5;

/// Bytes of the host's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostRange {
    /// Address.
    pub address: usize,
    /// Length.
    pub bytes: usize,
}

impl HostRange {
    /// Copies the bytes out.
    pub fn read(&self) -> Vec<u8> {
        if self.bytes == 0 {
            return Vec::new();
        }
        // SAFETY: the caller of the driver's function promised that the range is readable until the copy is done.
        unsafe { std::slice::from_raw_parts(self.address as *const u8, self.bytes) }.to_vec()
    }

    /// Copies bytes in.
    pub fn write(&self, bytes: &[u8]) {
        // SAFETY: the caller of the driver's function promised that the range is writable until the copy is done.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.address as *mut u8, self.bytes.min(bytes.len())) }
    }

    /// Fills the range, so that who reads it too early sees it.
    pub fn poison(&self) {
        self.write(&vec![POISON; self.bytes]);
    }

    /// Whether it is still as `poison` left it.
    pub fn is_poisoned(&self) -> bool {
        self.read().iter().all(|&byte| byte == POISON)
    }

    /// Whether the two share a byte.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.address < other.address + other.bytes && other.address < self.address + self.bytes
    }
}

/// A digest of bytes, by which a change is noticed.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

struct Pinned {
    bytes: usize,
    device: usize,
    layout: std::alloc::Layout,
}

static PINNED: Mutex<BTreeMap<usize, Pinned>> = Mutex::new(BTreeMap::new());

/// Allocates pinned memory.
pub fn allocate(bytes: usize, device: usize) -> Option<usize> {
    let layout = std::alloc::Layout::from_size_align(bytes.max(1), 4096).ok()?;
    // SAFETY: the layout is not empty.
    let address = unsafe { std::alloc::alloc(layout) } as usize;
    if address == 0 {
        return None;
    }
    HostRange { address, bytes }.poison();
    PINNED.lock().insert(address, Pinned { bytes, device, layout });
    Some(address)
}

/// The pinned block that starts at `address`.
pub fn block(address: usize) -> Option<HostRange> {
    PINNED.lock().get(&address).map(|pinned| HostRange { address, bytes: pinned.bytes })
}

/// Frees a pinned block.
pub fn free(address: usize) -> bool {
    let Some(pinned) = PINNED.lock().remove(&address) else { return false };
    // SAFETY: allocated by `allocate` with this layout, and no longer registered.
    unsafe { std::alloc::dealloc(address as *mut u8, pinned.layout) };
    true
}

/// Whether a range lies in pinned memory.
pub fn is_pinned(range: &HostRange) -> bool {
    let blocks = PINNED.lock();
    let below = blocks.range(..=range.address).next_back();
    below.is_some_and(|(&start, pinned)| range.address + range.bytes <= start + pinned.bytes)
}

/// Bytes of the pinned blocks of a device.
pub fn of_device(device: usize) -> Vec<usize> {
    PINNED.lock().values().filter(|pinned| pinned.device == device).map(|pinned| pinned.bytes).collect()
}
