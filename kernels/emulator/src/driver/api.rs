//! What every exported function needs: handles, the current context, errors instead of panics.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::code::{self, Code};
use super::device::{Device, devices};
use super::work::Stream;
use crate::checks::{Check, Report, submit};
use crate::statistics;

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CUcontext.
    Context = 1,
    /// CUstream.
    Stream = 2,
    /// CUevent.
    Event = 3,
    /// CUmodule.
    Module = 4,
    /// CUfunction.
    Function = 5,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Stream => "stream",
            Self::Event => "event",
            Self::Module => "module",
            Self::Function => "function",
        }
    }
}

/// A handle: `kind 8 | device 8 | context 16 | index 32`. No handle is ever given out twice.
pub fn handle(kind: Kind, device: &Device, index: usize) -> u64 {
    (kind as u64) << 56
        | (device.index as u64) << 48
        | (device.generation & 0xffff) << 32
        | (index as u64 & 0xffff_ffff)
}

/// Device and index of a handle of this kind, or a report.
pub fn parse(kind: Kind, value: u64) -> Result<(usize, u64, usize), Code> {
    let device = (value >> 48 & 0xff) as usize;
    if value >> 56 != kind as u64 || device >= devices().len() {
        return Err(stale(0, kind, value, "is none that this driver gave out"));
    }
    Ok((device, value >> 32 & 0xffff, (value & 0xffff_ffff) as usize))
}

/// Reports the use of what is no more.
pub fn stale(device: usize, kind: Kind, value: u64, what: &str) -> Code {
    let message = format!("{} {value:#x} {what}", kind.name());
    submit(Report::host(Check::UseAfterDestroy, device, message));
    if kind == Kind::Context { code::INVALID_CONTEXT } else { code::INVALID_HANDLE }
}

/// Checks that a handle belongs to the present context of its device.
pub fn check_generation(device: &Device, kind: Kind, value: u64, generation: u64) -> Result<(), Code> {
    if device.generation & 0xffff == generation && (device.retained > 0 || kind == Kind::Context) {
        return Ok(());
    }
    Err(stale(device.index, kind, value, "belongs to a context that was released"))
}

static INITIALISED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// cuInit was called. What `at_exit` does happens once, when the process ends.
pub fn initialise(at_exit: extern "C" fn()) {
    if !INITIALISED.swap(true, SeqCst) {
        // SAFETY: a function without arguments; it stays loaded, since the library is never unloaded.
        unsafe { libc::atexit(at_exit) };
    }
}

/// Runs a function of the host from a stream, during which no function of the driver may be called.
pub fn inside_callback(function: impl FnOnce()) {
    IN_CALLBACK.set(true);
    function();
    IN_CALLBACK.set(false);
}

/// The body of an exported function, which is counted: a panic becomes an error.
pub fn call(name: &str, body: impl FnOnce() -> Result<(), Code>) -> Code {
    statistics::called(name);
    if IN_CALLBACK.get() {
        submit(Report::host(Check::NotEmulated, 0, format!("{name} is called from a function of cuLaunchHostFunc")));
        return code::NOT_PERMITTED;
    }
    if !INITIALISED.load(SeqCst) {
        return code::NOT_INITIALIZED;
    }
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => code::SUCCESS,
        Ok(Err(code)) => code,
        Err(_) => {
            eprintln!("cryptgpu-emulator: {name} panicked: this is an error of the emulator");
            code::UNKNOWN
        }
    }
}

/// The thread's current context.
pub fn current() -> u64 {
    CURRENT.get()
}

/// Makes a context current.
pub fn set_current(context: u64) {
    CURRENT.set(context);
}

/// Runs `body` with the device of the current context, which must be alive and unbroken.
pub fn with_current(name: &str, body: impl FnOnce(&mut Device) -> Result<(), Code>) -> Code {
    call(name, || {
        if CURRENT.get() == 0 {
            return Err(code::INVALID_CONTEXT);
        }
        let (index, generation, _) = parse(Kind::Context, CURRENT.get())?;
        let mut device = devices()[index].lock();
        check_generation(&device, Kind::Context, CURRENT.get(), generation)?;
        if device.retained == 0 {
            return Err(code::INVALID_CONTEXT);
        }
        match device.sticky {
            Some(code) => Err(code),
            None => body(&mut device),
        }
    })
}

/// A stream of a device by handle.
pub fn stream(device: &mut Device, value: u64) -> Result<usize, Code> {
    match value {
        0 | 1 => return Ok(0),
        2 => {
            let thread = std::thread::current().id();
            if let Some(&slot) = device.thread_streams.get(&thread) {
                return Ok(slot);
            }
            device.streams.push(Stream::new(true));
            let slot = device.streams.len() - 1;
            device.thread_streams.insert(thread, slot);
            return Ok(slot);
        }
        _ => {}
    }
    let (index, generation, slot) = parse(Kind::Stream, value)?;
    if index != device.index {
        return Err(stale(device.index, Kind::Stream, value, "belongs to another device than the current context"));
    }
    check_generation(device, Kind::Stream, value, generation)?;
    if device.streams.get(slot).is_none_or(|stream| stream.destroyed) {
        return Err(stale(index, Kind::Stream, value, "was destroyed"));
    }
    Ok(slot)
}

/// Writes a result through a pointer of the caller.
///
/// # Safety
/// `to` is null or valid for a write.
pub unsafe fn give<T>(to: *mut T, value: T) -> Result<(), Code> {
    if to.is_null() {
        return Err(code::INVALID_VALUE);
    }
    // SAFETY: not null, and the caller says that it is valid.
    unsafe { to.write(value) };
    Ok(())
}

/// Reports what is not emulated.
pub fn not_emulated(device: usize, message: impl Into<String>) -> Code {
    submit(Report::host(Check::NotEmulated, device, message));
    code::NOT_SUPPORTED
}
