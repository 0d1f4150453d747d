//! Memory: allocation, copies, fills, pinned buffers.
//!
//! Pageable host memory behaves as the driver documents: an upload copies it before the call returns, a download ends
//! before the call returns. Pinned memory is read and written when the copy happens.

use std::ffi::{c_uint, c_void};

use super::api::{give, stream, with_current};
use super::code::{self, Code};
use super::device::{Device, devices};
use super::host::{self, HostRange};
use super::work::{Source, Work};
use crate::checks::clock::Stamp;
use crate::checks::{Check, Report, submit};
use crate::memory::Fault;

pub fn refuse(device: &Device, fault: Fault) -> Code {
    let code = code::of(fault.check);
    submit(Report::host(fault.check, device.index, fault.message));
    code
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAlloc_v2(to: *mut u64, bytes: usize) -> Code {
    with_current("cuMemAlloc_v2", |device| {
        if bytes == 0 {
            return Err(code::INVALID_VALUE);
        }
        let pointer = device.memory.allocate(bytes, None, false, Stamp::default()).ok_or(code::OUT_OF_MEMORY)?;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, pointer) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocAsync(to: *mut u64, bytes: usize, on: u64) -> Code {
    with_current("cuMemAllocAsync", |device| {
        let slot = stream(device, on)?;
        let born = device.enqueue(slot, Work::Nothing)?;
        let pointer = device.memory.allocate(bytes, None, false, born).ok_or(code::OUT_OF_MEMORY)?;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, pointer) }
    })
}

/// A free that waits for all work, as the hardware's driver does.
#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(pointer: u64) -> Code {
    with_current("cuMemFree_v2", |device| {
        if pointer == 0 {
            return Ok(());
        }
        device.wait_for_all()?;
        super::ipc::withdraw(device, pointer).map_err(|fault| refuse(device, fault))?;
        device.memory.free(pointer).map_err(|fault| refuse(device, fault))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(pointer: u64, on: u64) -> Code {
    with_current("cuMemFreeAsync", |device| {
        let slot = stream(device, on)?;
        if pointer == 0 {
            return Ok(());
        }
        if device.memory.start(pointer).is_none() {
            // Explains what the pointer is instead.
            return device.memory.free(pointer).map_err(|fault| refuse(device, fault));
        }
        device.enqueue(slot, Work::Free(pointer)).map(|_| ())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    with_current("cuMemGetInfo_v2", |device| {
        let (left, all) = device.memory.free_and_total();
        // SAFETY: the caller's pointers are valid.
        unsafe {
            give(free, left)?;
            give(total, all)
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemGetAddressRange_v2(start: *mut u64, bytes: *mut usize, pointer: u64) -> Code {
    with_current("cuMemGetAddressRange_v2", |device| {
        let (allocation, at) = device.memory.find(pointer, 1).map_err(|_| code::INVALID_VALUE)?;
        // SAFETY: the caller's pointers are valid or null.
        unsafe {
            if !start.is_null() {
                start.write(pointer - at as u64);
            }
            if !bytes.is_null() {
                bytes.write(allocation.bytes);
            }
        }
        Ok(())
    })
}

fn upload(device: &mut Device, to: u64, from: *const c_void, bytes: usize, on: u64) -> Result<usize, Code> {
    let slot = stream(device, on)?;
    if bytes == 0 {
        return Ok(slot);
    }
    if from.is_null() {
        return Err(code::INVALID_VALUE);
    }
    device.memory.find(to, bytes).map_err(|fault| refuse(device, fault))?;
    let range = HostRange { address: from as usize, bytes };
    let content = range.read();
    let from = if host::is_pinned(&range) {
        Source::Pinned { range, digest: (!pending(device, &range)).then(|| host::digest(&content)) }
    } else {
        Source::Staged(content)
    };
    device.enqueue(slot, Work::Upload { to, from })?;
    Ok(slot)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, on: u64) -> Code {
    with_current("cuMemcpyHtoDAsync_v2", |device| upload(device, to, from, bytes, on).map(|_| ()))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Code {
    with_current("cuMemcpyHtoD_v2", |device| {
        let slot = upload(device, to, from, bytes, 0)?;
        device.wait_for_stream(slot)
    })
}

fn download(device: &mut Device, to: *mut c_void, from: u64, bytes: usize, on: u64, wait: bool) -> Result<(), Code> {
    let slot = stream(device, on)?;
    if bytes == 0 {
        return Ok(());
    }
    if to.is_null() {
        return Err(code::INVALID_VALUE);
    }
    device.memory.find(from, bytes).map_err(|fault| refuse(device, fault))?;
    let to = HostRange { address: to as usize, bytes };
    let late = host::is_pinned(&to) && !wait;
    // A queued copy may still read the buffer, or write it before this one.
    let poisoned = late && !pending(device, &to);
    if poisoned {
        to.poison();
    }
    device.enqueue(slot, Work::Download { to, from, poisoned })?;
    if late { Ok(()) } else { device.wait_for_stream(slot) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, on: u64) -> Code {
    with_current("cuMemcpyDtoHAsync_v2", |device| download(device, to, from, bytes, on, false))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Code {
    with_current("cuMemcpyDtoH_v2", |device| download(device, to, from, bytes, 0, true))
}

fn copy(device: &mut Device, to: u64, from: u64, bytes: usize, on: u64) -> Result<usize, Code> {
    let slot = stream(device, on)?;
    if bytes > 0 {
        for pointer in [to, from] {
            device.memory.find(pointer, bytes).map_err(|fault| refuse(device, fault))?;
        }
        device.enqueue(slot, Work::Copy { to, from, bytes })?;
    }
    Ok(slot)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, on: u64) -> Code {
    with_current("cuMemcpyDtoDAsync_v2", |device| copy(device, to, from, bytes, on).map(|_| ()))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Code {
    with_current("cuMemcpyDtoD_v2", |device| {
        let slot = copy(device, to, from, bytes, 0)?;
        device.wait_for_stream(slot)
    })
}

fn fill(device: &mut Device, to: u64, value: u32, width: usize, count: usize, on: u64) -> Result<usize, Code> {
    let slot = stream(device, on)?;
    if count == 0 {
        return Ok(slot);
    }
    let bytes = count.checked_mul(width).ok_or(code::INVALID_VALUE)?;
    device.memory.find(to, bytes).map_err(|fault| refuse(device, fault))?;
    if !to.is_multiple_of(width as u64) {
        return Err(code::INVALID_VALUE);
    }
    device.enqueue(slot, Work::Fill { to, value, width, count })?;
    Ok(slot)
}

macro_rules! fills {
    ($($asynchronous:ident, $synchronous:ident, $t:ty;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $asynchronous(to: u64, value: $t, count: usize, on: u64) -> Code {
            with_current(stringify!($asynchronous), |device| {
                fill(device, to, u32::from(value), size_of::<$t>(), count, on).map(|_| ())
            })
        }

        #[unsafe(no_mangle)]
        extern "C" fn $synchronous(to: u64, value: $t, count: usize) -> Code {
            with_current(stringify!($synchronous), |device| {
                let slot = fill(device, to, u32::from(value), size_of::<$t>(), count, 0)?;
                device.wait_for_stream(slot)
            })
        }
    )*};
}
fills! {
    cuMemsetD8Async, cuMemsetD8_v2, u8;
    cuMemsetD16Async, cuMemsetD16_v2, u16;
    cuMemsetD32Async, cuMemsetD32_v2, u32;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemHostAlloc(to: *mut usize, bytes: usize, _flags: c_uint) -> Code {
    // The flags (portable, mapped, write-combined) change nothing that a program can see here, but that mapped memory
    // has no device address: cuMemHostGetDevicePointer is not emulated.
    with_current("cuMemHostAlloc", |device| {
        let address = host::allocate(bytes, device.index).ok_or(code::OUT_OF_MEMORY)?;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, address) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocHost_v2(to: *mut usize, bytes: usize) -> Code {
    // SAFETY: as the caller promises.
    unsafe { cuMemHostAlloc(to, bytes, 0) }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(address: usize) -> Code {
    with_current("cuMemFreeHost", |device| {
        if address == 0 {
            return Ok(());
        }
        let Some(block) = host::block(address) else {
            let message = format!("cuMemFreeHost of {address:#x}, which is no pinned buffer (any more)");
            return Err(refuse(device, Fault::new(Check::InvalidFree, message)));
        };
        if pending(device, &block) {
            let message = "a pinned buffer is freed while a copy from or to it is under way: wait for the copy first";
            let code = refuse(device, Fault::new(Check::HostBuffer, message));
            // The copy must not touch what is no more; the context is broken like after any other bad access.
            device.fail(code);
            host::free(address);
            return Err(code);
        }
        host::free(address);
        Ok(())
    })
}

/// Whether a copy from or to a pinned block waits, on this device or, where another thread is not at work, on others.
fn pending(device: &Device, block: &HostRange) -> bool {
    let touches = |device: &Device| {
        device.streams.iter().flat_map(|stream| stream.tasks()).any(|task| match &task.work {
            Work::Upload { from: Source::Pinned { range, .. }, .. } => range.overlaps(block),
            Work::Download { to, .. } => to.overlaps(block),
            _ => false,
        })
    };
    touches(device)
        || devices()
            .iter()
            .filter_map(|other| other.try_lock())
            .any(|other| other.index != device.index && touches(&other))
}
