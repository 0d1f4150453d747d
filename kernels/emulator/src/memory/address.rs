//! How addresses are laid out. A device pointer names its allocation in the upper bits, so that finding it costs a shift,
//! and starts in the middle of its window, so that an index that is off by up to 4 GiB either way meets no other
//! allocation. Addresses are never used twice. Shared, local and parameter memory have generic windows above.

use super::Fault;
use crate::checks::Check;

/// Bits of an offset within an allocation's window.
const WINDOW_BITS: u32 = 33;
/// Where in its window an allocation starts.
const START: u64 = 1 << 32;
/// Bits of an allocation's number.
const NUMBER_BITS: u32 = 23;

/// The largest allocation.
pub const MAX_BYTES: u64 = 1 << 32;
/// The most allocations that a device makes in its life.
pub const MAX_ALLOCATIONS: usize = 1 << NUMBER_BITS;
/// The most devices.
pub const MAX_DEVICES: usize = 8;

/// Generic address of shared memory's offset 0.
pub const SHARED_WINDOW: u64 = 1 << 62;
/// Generic address of local memory's offset 0.
pub const LOCAL_WINDOW: u64 = SHARED_WINDOW + (1 << 60);
/// Generic address of the kernel's parameters.
pub const PARAM_WINDOW: u64 = SHARED_WINDOW + (2 << 60);
/// Bytes below and above a window's start that belong to it.
const WINDOW_REACH: u64 = 1 << 40;

/// Checks the alignment of an address.
#[inline(always)]
pub fn aligned(address: u64, bytes: usize) -> Result<(), Fault> {
    if address.is_multiple_of(bytes as u64) {
        return Ok(());
    }
    Err(Fault::new(Check::Misaligned, format!("address {address:#x} is no multiple of {bytes}")))
}

/// The device pointer of an allocation's first byte.
pub fn pointer(device: usize, number: usize) -> u64 {
    (device as u64) << (WINDOW_BITS + NUMBER_BITS) | (number as u64) << WINDOW_BITS | START
}

/// Device, allocation and offset of a device pointer.
#[inline(always)]
pub fn split(address: u64) -> (usize, usize, i64) {
    let number = address >> WINDOW_BITS & ((1 << NUMBER_BITS) - 1);
    let offset = (address & ((1 << WINDOW_BITS) - 1)) as i64 - START as i64;
    ((address >> (WINDOW_BITS + NUMBER_BITS)) as usize, number as usize, offset)
}

/// Where a generic address lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// Device memory.
    Global,
    /// Shared memory, at this offset.
    Shared(u64),
    /// Local memory, at this offset.
    Local(u64),
    /// The kernel's parameters, at this offset.
    Param(u64),
}

/// Where a generic address lies.
#[inline(always)]
pub fn region(address: u64) -> Region {
    if address < SHARED_WINDOW - WINDOW_REACH {
        return Region::Global;
    }
    for (window, region) in [
        (SHARED_WINDOW, Region::Shared as fn(u64) -> Region),
        (LOCAL_WINDOW, Region::Local),
        (PARAM_WINDOW, Region::Param),
    ] {
        if address.wrapping_sub(window).wrapping_add(WINDOW_REACH) < 2 * WINDOW_REACH {
            return region(address.wrapping_sub(window));
        }
    }
    Region::Global
}
