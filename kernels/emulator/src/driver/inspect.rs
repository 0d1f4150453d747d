//! Functions that no driver of NVIDIA has: reports and statistics for tests. `client` calls them.

use std::cell::RefCell;
use std::ffi::c_char;

use super::code::{self, Code};
use super::device::devices;
use crate::checks;

/// Copies text to a buffer with a zero at its end, and gives the length it needs with that zero.
unsafe fn copy(text: &str, to: *mut c_char, capacity: usize) -> usize {
    let bytes = text.as_bytes();
    if !to.is_null() && capacity > bytes.len() {
        // SAFETY: the buffer has `capacity` bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), bytes.len());
            to.add(bytes.len()).write(0);
        }
    }
    bytes.len() + 1
}

static LAST: parking_lot::Mutex<String> = parking_lot::Mutex::new(String::new());

/// Takes all reports as a JSON array. With a null buffer it gives the length they need and holds them for the next
/// call; so call it twice.
///
/// # Safety
/// `to` is null or has `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cryptgpuEmulatorTakeReports(to: *mut c_char, capacity: usize) -> usize {
    let mut held = LAST.lock();
    if to.is_null() || held.is_empty() {
        let mut all: Vec<checks::Report> = serde_json::from_str(&held).unwrap_or_default();
        all.extend(checks::take());
        *held = serde_json::to_string(&all).unwrap_or_default();
    }
    // SAFETY: as the caller promises.
    let needed = unsafe { copy(&held, to, capacity) };
    if !to.is_null() && capacity >= needed {
        held.clear();
    }
    needed
}

thread_local! {
    static STATISTICS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The statistics so far as JSON. With a null buffer it gives the length they need and holds them for this thread's next call, as
/// counts grow meanwhile; so call it twice.
///
/// # Safety
/// `to` is null or has `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cryptgpuEmulatorStatistics(to: *mut c_char, capacity: usize) -> usize {
    STATISTICS.with_borrow_mut(|held| {
        if to.is_null() || held.is_empty() {
            *held = serde_json::to_string(&crate::statistics::current()).unwrap_or_default();
        }
        // SAFETY: as the caller promises.
        let needed = unsafe { copy(held, to, capacity) };
        if !to.is_null() {
            held.clear();
        }
        needed
    })
}

/// Repairs the context of a device that an error broke: the next calls work again. What was queued is lost; memory
/// stays. Real devices cannot do this.
#[unsafe(no_mangle)]
pub extern "C" fn cryptgpuEmulatorRecover(device: usize) -> Code {
    match devices().get(device) {
        Some(device) => {
            device.lock().sticky = None;
            code::SUCCESS
        }
        None => code::INVALID_DEVICE,
    }
}

/// Marks device memory as not written: for allocators that hand out again what was given back to them.
#[unsafe(no_mangle)]
pub extern "C" fn cryptgpuEmulatorForget(pointer: u64, bytes: usize) -> Code {
    for device in devices() {
        let mut device = device.lock();
        if device.memory.find(pointer, bytes).is_err() {
            continue;
        }
        // What is queued may still write it.
        if let Err(code) = device.wait_for_all() {
            return code;
        }
        if let Ok((allocation, at)) = device.memory.find(pointer, bytes) {
            allocation.set_written(at, bytes, false);
        }
        return code::SUCCESS;
    }
    code::INVALID_VALUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_fit_the_length_that_was_given_though_counts_grow() {
        // SAFETY: a null buffer asks for the length.
        let mut buffer = vec![0u8; unsafe { cryptgpuEmulatorStatistics(std::ptr::null_mut(), 0) }];
        crate::statistics::called("a function that was not called before");
        // SAFETY: the buffer has the length that is said.
        let needed = unsafe { cryptgpuEmulatorStatistics(buffer.as_mut_ptr().cast(), buffer.len()) };
        assert_eq!((needed, buffer.pop()), (buffer.len() + 1, Some(0)));
        let read: serde_json::Value = serde_json::from_slice(&buffer).unwrap();
        assert!(read["calls"].is_object(), "{read}");
    }
}
