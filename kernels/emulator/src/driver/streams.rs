//! Streams and events.

use std::ffi::{c_int, c_uint, c_void};

use super::api::{Kind, call, check_generation, give, handle, not_emulated, parse, stale, stream, with_current};
use super::code::{self, Code};
use super::device::{Device, Event, devices};
use super::work::{Stream, Work};
use crate::checks::clock::Clock;

const NON_BLOCKING: c_uint = 1;

unsafe fn create(name: &str, to: *mut u64, flags: c_uint) -> Code {
    with_current(name, |device| {
        if flags & !NON_BLOCKING != 0 {
            return Err(code::INVALID_VALUE);
        }
        device.streams.push(Stream::new(flags & NON_BLOCKING == 0));
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, handle(Kind::Stream, device, device.streams.len() - 1)) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreate(to: *mut u64, flags: c_uint) -> Code {
    // SAFETY: as the caller promises.
    unsafe { create("cuStreamCreate", to, flags) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreateWithPriority(to: *mut u64, flags: c_uint, _priority: c_int) -> Code {
    // SAFETY: as the caller promises.
    unsafe { create("cuStreamCreateWithPriority", to, flags) }
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(value: u64) -> Code {
    with_current("cuStreamDestroy_v2", |device| {
        if value <= 2 {
            return Err(code::INVALID_HANDLE);
        }
        // Its work still happens, some time.
        let slot = stream(device, value)?;
        device.streams[slot].destroyed = true;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(value: u64) -> Code {
    with_current("cuStreamSynchronize", |device| {
        let slot = stream(device, value)?;
        device.wait_for_stream(slot)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamQuery(value: u64) -> Code {
    with_current("cuStreamQuery", |device| {
        let slot = stream(device, value)?;
        device.join_default(slot);
        let clock = device.streams[slot].clock.clone();
        if device.poll(&clock)? { Ok(()) } else { Err(code::NOT_READY) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(value: u64, event: u64, _flags: c_uint) -> Code {
    // An event of another device is waited for here and now, which the API allows.
    if let Ok((other, generation, index)) = parse(Kind::Event, event)
        && devices().get(other).is_some_and(|device| device.lock().index != current_device())
    {
        return call("cuStreamWaitEvent", || {
            let mut device = devices()[other].lock();
            check_generation(&device, Kind::Event, event, generation)?;
            let clock = event_clock(&device, event, index)?;
            device.wait_for(&clock)
        });
    }
    with_current("cuStreamWaitEvent", |device| {
        let slot = stream(device, value)?;
        let clock = find_event(device, event)?;
        device.streams[slot].clock.join(&clock);
        Ok(())
    })
}

fn current_device() -> usize {
    parse_quietly(super::api::current())
}

fn parse_quietly(context: u64) -> usize {
    if context == 0 { usize::MAX } else { (context >> 48 & 0xff) as usize }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchHostFunc(
    value: u64,
    function: Option<unsafe extern "C" fn(*mut c_void)>,
    data: *mut c_void,
) -> Code {
    with_current("cuLaunchHostFunc", |device| {
        let slot = stream(device, value)?;
        let Some(function) = function else { return Err(code::INVALID_VALUE) };
        device.enqueue(slot, Work::Host { function, data: data as usize }).map(|_| ())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventCreate(to: *mut u64, flags: c_uint) -> Code {
    with_current("cuEventCreate", |device| {
        // 1: blocking wait, 2: no timing; both change nothing here. 4 is for other processes.
        if flags & !3 != 0 {
            return Err(not_emulated(device.index, format!("flags {flags:#x} of cuEventCreate are not emulated")));
        }
        device.events.push(Some(Event::default()));
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, handle(Kind::Event, device, device.events.len() - 1)) }
    })
}

fn event_clock(device: &Device, value: u64, index: usize) -> Result<Clock, Code> {
    match device.events.get(index) {
        Some(Some(event)) => Ok(event.clock.clone()),
        _ => Err(stale(device.index, Kind::Event, value, "was destroyed")),
    }
}

fn find_event(device: &Device, value: u64) -> Result<Clock, Code> {
    let (index, generation, slot) = parse(Kind::Event, value)?;
    if index != device.index {
        return Err(stale(device.index, Kind::Event, value, "belongs to another device than the current context"));
    }
    check_generation(device, Kind::Event, value, generation)?;
    event_clock(device, value, slot)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(value: u64) -> Code {
    with_current("cuEventDestroy_v2", |device| {
        find_event(device, value)?;
        device.events[(value & 0xffff_ffff) as usize] = None;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(value: u64, on: u64) -> Code {
    with_current("cuEventRecord", |device| {
        find_event(device, value)?;
        let slot = stream(device, on)?;
        device.join_default(slot);
        let clock = device.streams[slot].clock.clone();
        let recorded = Some(std::time::Instant::now());
        device.events[(value & 0xffff_ffff) as usize] = Some(Event { clock, recorded });
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(value: u64) -> Code {
    with_current("cuEventQuery", |device| {
        let clock = find_event(device, value)?;
        if device.poll(&clock)? { Ok(()) } else { Err(code::NOT_READY) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(value: u64) -> Code {
    with_current("cuEventSynchronize", |device| {
        let clock = find_event(device, value)?;
        device.wait_for(&clock)
    })
}

/// The time between the calls that recorded the events: work of the emulator has no time of its own.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventElapsedTime(to: *mut f32, start: u64, end: u64) -> Code {
    with_current("cuEventElapsedTime", |device| {
        for event in [start, end] {
            let clock = find_event(device, event)?;
            device.wait_for(&clock)?;
        }
        let when = |event: u64| device.events[(event & 0xffff_ffff) as usize].as_ref().and_then(|event| event.recorded);
        let (Some(start), Some(end)) = (when(start), when(end)) else { return Err(code::INVALID_HANDLE) };
        let elapsed = end.saturating_duration_since(start).as_secs_f32() * 1e3;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, elapsed) }
    })
}
