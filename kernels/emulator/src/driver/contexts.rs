//! Initialisation, devices and primary contexts.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::panic::catch_unwind;

use super::api::{
    Kind, call, check_generation, current, give, handle, initialise, not_emulated, parse, set_current, with_current,
};
use super::code::{self, Code};
use super::device::{self, Device, devices};
use crate::checks::{Check, Report, submit};

fn device_at(index: c_int) -> Result<&'static parking_lot::Mutex<Device>, Code> {
    usize::try_from(index).ok().and_then(|index| devices().get(index)).ok_or(code::INVALID_DEVICE)
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(flags: c_uint) -> Code {
    initialise(at_exit);
    call("cuInit", || match (flags, devices().len()) {
        (0, 0) => Err(code::NO_DEVICE),
        (0, _) => Ok(()),
        _ => Err(code::INVALID_VALUE),
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Code {
    // SAFETY: the caller's pointer is valid. This one works before cuInit.
    unsafe { give(version, 12090) }.map_or_else(|code| code, |()| code::SUCCESS)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Code {
    // SAFETY: the caller's pointer is valid.
    call("cuDeviceGetCount", || unsafe { give(count, devices().len() as c_int) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Code {
    call("cuDeviceGet", || {
        device_at(ordinal)?;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(device, ordinal) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, device: c_int) -> Code {
    call("cuDeviceGetName", || {
        device_at(device)?;
        let (major, minor) = crate::settings().capability;
        let text = format!("cryptgpu-emulator sm_{major}{minor}");
        let len = usize::try_from(len).unwrap_or(0);
        if name.is_null() || len == 0 {
            return Err(code::INVALID_VALUE);
        }
        let copied = text.len().min(len - 1);
        // SAFETY: the caller's buffer has `len` bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), name.cast(), copied);
            name.add(copied).write(0);
        }
        Ok(())
    })
}

unsafe fn uuid(name: &str, uuid: *mut [u8; 16], device: c_int) -> Code {
    call(name, || {
        device_at(device)?;
        let mut bytes = *b"cryptgpu-emu\0\0\0\0";
        bytes[15] = device as u8;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(uuid, bytes) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetUuid(to: *mut [u8; 16], device: c_int) -> Code {
    // SAFETY: as the caller promises.
    unsafe { uuid("cuDeviceGetUuid", to, device) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetUuid_v2(to: *mut [u8; 16], device: c_int) -> Code {
    // SAFETY: as the caller promises.
    unsafe { uuid("cuDeviceGetUuid_v2", to, device) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Code {
    call("cuDeviceTotalMem_v2", || {
        device_at(device)?;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(bytes, crate::settings().memory) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, device: c_int) -> Code {
    call("cuDeviceGetAttribute", || {
        device_at(device)?;
        match device::attribute(attribute) {
            // SAFETY: the caller's pointer is valid.
            Some(found) => unsafe { give(value, found) },
            None => Err(not_emulated(device as usize, format!("device attribute {attribute} is not known"))),
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut u64, device: c_int) -> Code {
    call("cuDevicePrimaryCtxRetain", || {
        let mut device = device_at(device)?.lock();
        device.retained += 1;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(context, handle(Kind::Context, &device, 0)) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Code {
    call("cuDevicePrimaryCtxRelease_v2", || {
        let mut device = device_at(device)?.lock();
        if device.retained == 0 {
            return Err(code::INVALID_CONTEXT);
        }
        device.retained -= 1;
        if device.retained > 0 {
            return Ok(());
        }
        // What was queued still happens; a context that broke has nothing queued.
        let ended = device.wait_for_all();
        if device.sticky.is_none() {
            report_leaks(&device, "the context was released");
        }
        device.reset();
        ended
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxReset_v2(device: c_int) -> Code {
    call("cuDevicePrimaryCtxReset_v2", || {
        device_at(device)?.lock().reset();
        Ok(())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut c_uint, active: *mut c_int) -> Code {
    call("cuDevicePrimaryCtxGetState", || {
        let retained = device_at(device)?.lock().retained;
        // SAFETY: the caller's pointers are valid.
        unsafe {
            give(flags, 0)?;
            give(active, c_int::from(retained > 0))
        }
    })
}

/// Reports allocations that were never freed.
fn report_leaks(device: &Device, when: &str) {
    let leaked: Vec<&crate::memory::global::Allocation> = device.memory.live().filter(|a| !a.variable).collect();
    let pinned = super::host::of_device(device.index);
    if leaked.is_empty() && pinned.is_empty() {
        return;
    }
    let bytes: usize = leaked.iter().map(|allocation| allocation.bytes).sum();
    let names: Vec<&str> = leaked.iter().take(10).map(|allocation| allocation.name.as_str()).collect();
    let more = if leaked.len() > 10 { ", …" } else { "" };
    let message = format!(
        "{when} with {} allocations of {bytes} bytes ({}{more}) and {} pinned buffers of {} bytes",
        leaked.len(),
        names.join(", "),
        pinned.len(),
        pinned.iter().sum::<usize>()
    );
    submit(Report::host(Check::Leak, device.index, message));
}

extern "C" fn at_exit() {
    let ended = catch_unwind(|| {
        report_leaks_at_exit();
        crate::statistics::append();
    });
    let reports = crate::checks::take();
    if crate::settings().abort && (ended.is_err() || !reports.is_empty()) {
        eprintln!("cryptgpu-emulator: {} reports that nobody took; the process ends with code 86", reports.len());
        // SAFETY: ends the process.
        unsafe { libc::_exit(86) };
    }
}

/// Reports what contexts that were never released still hold.
fn report_leaks_at_exit() {
    for device in devices() {
        // A thread that is still at work keeps its device.
        let Some(device) = device.try_lock() else { continue };
        if device.retained > 0 && device.sticky.is_none() {
            report_leaks(&device, "the process ended");
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: u64) -> Code {
    call("cuCtxSetCurrent", || {
        if context != 0 {
            let (index, generation, _) = parse(Kind::Context, context)?;
            check_generation(&devices()[index].lock(), Kind::Context, context, generation)?;
        }
        set_current(context);
        Ok(())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetCurrent(context: *mut u64) -> Code {
    // SAFETY: the caller's pointer is valid.
    call("cuCtxGetCurrent", || unsafe { give(context, current()) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> Code {
    // SAFETY: the caller's pointer is valid.
    with_current("cuCtxGetDevice", |found| unsafe { give(device, found.index as c_int) })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> Code {
    with_current("cuCtxSynchronize", Device::wait_for_all)
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetFlags(_flags: c_uint) -> Code {
    // How a waiting thread waits: of no effect here.
    with_current("cuCtxSetFlags", |_| Ok(()))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> Code {
    // SAFETY: the caller's pointers are valid.
    with_current("cuCtxGetStreamPriorityRange", |_| unsafe {
        give(least, 0)?;
        give(greatest, 0)
    })
}

unsafe fn text(
    error: Code,
    to: *mut *const c_char,
    choose: fn((&'static CStr, &'static CStr)) -> &'static CStr,
) -> Code {
    let found = code::describe(error).map(choose);
    // SAFETY: the caller's pointer is valid.
    match unsafe { give(to, found.map_or(std::ptr::null(), CStr::as_ptr)) } {
        Ok(()) if found.is_some() => code::SUCCESS,
        _ => code::INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorName(error: Code, to: *mut *const c_char) -> Code {
    // SAFETY: as the caller promises.
    unsafe { text(error, to, |both| both.0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(error: Code, to: *mut *const c_char) -> Code {
    // SAFETY: as the caller promises.
    unsafe { text(error, to, |both| both.1) }
}
