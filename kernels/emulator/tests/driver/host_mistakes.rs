//! Every check of the host's use of streams, events, memory and handles against a mistake that it must find, and
//! against the same program without it. The mistakes are made through cudarc's thin layers: its safe layer prevents
//! most of them.

use std::sync::Arc;

use super::common::{self, Device, config, device, device_at};
use cryptgpu_emulator::Check;
use cudarc::driver::sys::{self, CUstream};
use cudarc::driver::{CudaStream, DriverError, result};

/// `p0[i] += 1` for 256 words.
const INCREMENT: &str = "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 8; add.u64 %rd1, %rd1, %rd2; \
    ld.global.u64 %rd3, [%rd1]; add.u64 %rd3, %rd3, 1; st.global.u64 [%rd1], %rd3;";

struct World {
    streams: [Arc<CudaStream>; 2],
    kernel: cudarc::driver::CudaFunction,
    /// Last, so that nobody else gets the device before its context is gone.
    device: Device,
}

impl World {
    fn new() -> Self {
        Self::on(device())
    }

    fn on(device: Device) -> Self {
        let streams = [device.context.new_stream().unwrap(), device.context.new_stream().unwrap()];
        let kernel = device.kernel(&common::ptx(".param .u64 p0", INCREMENT));
        Self { device, streams, kernel }
    }

    fn stream(&self, index: usize) -> CUstream {
        self.streams[index].cu_stream()
    }

    fn allocate(&self, stream: usize) -> u64 {
        // SAFETY: the stream lives.
        unsafe { result::malloc_async(self.stream(stream), 2048).unwrap() }
    }

    fn upload(&self, stream: usize, to: u64, words: &[u64]) -> Result<(), DriverError> {
        // SAFETY: pageable memory is copied at once.
        unsafe { result::memcpy_htod_async(to, words, self.stream(stream)) }
    }

    fn launch(&self, stream: usize, pointer: u64) -> Result<(), DriverError> {
        use cudarc::driver::PushKernelArg;
        // SAFETY: the kernel has one pointer.
        unsafe { self.streams[stream].launch_builder(&self.kernel).arg(&pointer).launch(config(1, 256)).map(|_| ()) }
    }

    fn free(&self, stream: usize, pointer: u64) -> Result<(), DriverError> {
        // SAFETY: what is freed too early or twice is to be found.
        unsafe { result::free_async(pointer, self.stream(stream)) }
    }

    fn finish(&self) -> Result<(), DriverError> {
        self.device.context.synchronize()
    }

    fn join(&self, after: usize, before: usize) {
        let event = self.streams[before].record_event(None).unwrap();
        self.streams[after].wait(&event).unwrap();
    }
}

const WORDS: [u64; 256] = [7; 256];

#[test]
fn a_missing_event_between_streams_is_a_race() {
    for joined in [false, true] {
        let world = World::new();
        let pointer = world.allocate(0);
        world.upload(0, pointer, &WORDS).unwrap();
        world.streams[0].synchronize().unwrap();
        world.launch(0, pointer).unwrap();
        if joined {
            world.join(1, 0);
        }
        let second = world.launch(1, pointer).and_then(|()| world.finish());
        if joined {
            second.unwrap();
            let mut out = [0u64; 256];
            // SAFETY: the device's memory has 256 words.
            unsafe { result::memcpy_dtoh_sync(&mut out, pointer).unwrap() };
            assert_eq!(out, [9; 256]);
            world.free(0, pointer).unwrap();
            world.finish().unwrap();
            world.device.expect_none();
        } else {
            let report = world.device.expect(Check::StreamRace, second);
            assert_eq!(report.kernel.as_deref(), Some("test"));
            assert!(report.message.contains("another stream"), "{report}");
        }
    }
}

#[test]
fn a_copy_in_one_stream_and_a_kernel_in_another_race() {
    let world = World::new();
    let pointer = world.allocate(0);
    world.streams[0].synchronize().unwrap();
    world.upload(0, pointer, &WORDS).unwrap();
    let outcome = world.launch(1, pointer).and_then(|()| world.finish());
    // The kernel first: its input was never written. The copy first: nothing orders the two.
    world.device.expect_one_of(&[Check::StreamRace, Check::Uninitialised], outcome);
}

#[test]
fn memory_is_used_only_behind_its_allocation() {
    let world = World::new();
    let pointer = world.allocate(0);
    world.device.expect(Check::StreamRace, world.upload(1, pointer, &WORDS).and_then(|()| world.finish()));
}

#[test]
fn freeing_memory_in_use_is_found_whatever_runs_first() {
    let world = World::new();
    let pointer = world.allocate(0);
    world.upload(0, pointer, &WORDS).unwrap();
    world.finish().unwrap();
    world.launch(0, pointer).unwrap();
    let outcome = world.free(1, pointer).and_then(|()| world.finish());
    world.device.expect_one_of(&[Check::FreeInUse, Check::UseAfterFree], outcome);

    let pointer = world.allocate(0);
    world.upload(0, pointer, &WORDS).unwrap();
    world.launch(0, pointer).unwrap();
    world.join(1, 0);
    world.free(1, pointer).unwrap();
    world.finish().unwrap();
    world.device.expect_none();
}

#[test]
fn freeing_twice_or_in_the_middle_is_found() {
    let world = World::new();
    let pointer = world.allocate(0);
    world.device.expect(Check::InvalidFree, world.free(0, pointer + 8));
    world.free(0, pointer).unwrap();
    world.finish().unwrap();
    let report = world.device.expect(Check::InvalidFree, world.free(0, pointer));
    assert!(report.message.contains("was freed before"), "{report}");
    world.device.expect(Check::InvalidFree, world.free(0, 0x1234));
}

#[test]
fn a_pinned_source_must_stay_until_it_is_copied() {
    let world = World::new();
    let pointer = world.allocate(0);
    // SAFETY: 256 words, which live until they are freed below.
    let (raw, words) = unsafe {
        let raw = result::malloc_host(2048, 0).unwrap();
        (raw, std::slice::from_raw_parts_mut(raw.cast::<u64>(), 256))
    };
    words.copy_from_slice(&WORDS);
    world.upload(0, pointer, words).unwrap();
    world.finish().unwrap();
    words[3] = 1;
    world.upload(0, pointer, words).unwrap();
    words[3] = 2;
    let report = world.device.expect(Check::HostBuffer, world.finish());
    assert!(report.message.contains("pinned buffer was changed"), "{report}");
    // Freed while it is copied.
    world.upload(0, pointer, words).unwrap();
    // SAFETY: the mistake under test; the emulator drops the copy before it frees.
    let freed = unsafe { result::free_host(raw) };
    world.device.expect(Check::HostBuffer, freed);
}

#[test]
fn a_pinned_destination_is_garbage_until_the_copy_is_waited_for() {
    let world = World::new();
    let pointer = world.allocate(0);
    // SAFETY: written before it is read.
    let mut pinned = unsafe { world.device.context.alloc_pinned::<u64>(256).unwrap() };
    // SAFETY: 256 words, which live until the end.
    let words = unsafe { std::slice::from_raw_parts_mut(pinned.as_mut_ptr().unwrap(), 256) };
    words.fill(7);
    world.upload(0, pointer, &[9; 256]).unwrap();
    // SAFETY: as above.
    unsafe { result::memcpy_dtoh_async(words, pointer, world.stream(0)).unwrap() };
    assert!(words.iter().all(|&word| word != 7 && word != 9));
    world.streams[0].synchronize().unwrap();
    assert_eq!(words, [9; 256]);
    // Pageable memory is there when the call returns.
    let mut pageable = [0u64; 256];
    // SAFETY: as above.
    unsafe { result::memcpy_dtoh_async(&mut pageable, pointer, world.stream(0)).unwrap() };
    assert_eq!(pageable, [9; 256]);
    world.device.expect_none();
}

#[test]
fn reading_back_what_nobody_wrote_is_found() {
    let world = World::new();
    let pointer = world.allocate(0);
    let mut words = [0u64; 256];
    // SAFETY: 256 words.
    let outcome = unsafe { result::memcpy_dtoh_async(&mut words, pointer, world.stream(0)) };
    let report = world.device.expect(Check::Uninitialised, outcome);
    assert!(report.message.starts_with("copy to the host: byte 0 of allocation"), "{report}");
    // A copy of unwritten bytes is as unwritten.
    let copy = world.allocate(0);
    world.upload(0, pointer, &WORDS[..255]).unwrap();
    // SAFETY: both have 2048 bytes.
    unsafe { result::memcpy_dtod_async(copy, pointer, 2048, world.stream(0)).unwrap() };
    // SAFETY: 255 words, and 256.
    unsafe {
        result::memcpy_dtoh_async(&mut words[..255], copy, world.stream(0)).unwrap();
        let outcome = result::memcpy_dtoh_async(&mut words, copy, world.stream(0));
        assert!(world.device.expect(Check::Uninitialised, outcome).message.contains("byte 2040"));
    }
}

#[test]
fn copies_beyond_the_end_are_refused_at_once() {
    let world = World::new();
    let pointer = world.allocate(0);
    world.device.expect(Check::OutOfBounds, world.upload(0, pointer + 8, &WORDS));
    // SAFETY: the mistake under test.
    let fill = unsafe { result::memset_d8_async(pointer, 0, 2049, world.stream(0)) };
    world.device.expect(Check::OutOfBounds, fill);
    world.free(0, pointer).unwrap();
    world.finish().unwrap();
    world.device.expect(Check::UseAfterFree, world.upload(0, pointer, &WORDS));
}

#[test]
fn destroyed_streams_and_events_and_unloaded_modules_are_known() {
    let world = World::new();
    let (stream, event) = (
        result::stream::create(result::stream::StreamKind::NonBlocking).unwrap(),
        result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap(),
    );
    // SAFETY: the mistakes under test.
    unsafe {
        result::event::record(event, stream).unwrap();
        result::event::destroy(event).unwrap();
        let found = world.device.expect(Check::UseAfterDestroy, result::event::record(event, stream));
        assert!(found.message.contains("event") && found.message.contains("was destroyed"), "{found}");
        result::stream::destroy(stream).unwrap();
        let found = world.device.expect(Check::UseAfterDestroy, result::stream::synchronize(stream));
        assert!(found.message.contains("stream") && found.message.contains("was destroyed"), "{found}");
        let text = std::ffi::CString::new(common::ptx("", "")).unwrap();
        let module = result::module::load_data(text.as_ptr().cast()).unwrap();
        let function = result::module::get_function(module, c"test".to_owned()).unwrap();
        result::module::unload(module).unwrap();
        let launched = result::launch_kernel(function, (1, 1, 1), (1, 1, 1), 0, std::ptr::null_mut(), &mut []);
        world.device.expect(Check::UseAfterDestroy, launched);
    }
}

#[test]
fn arguments_are_checked_as_far_as_the_driver_sees_them() {
    let world = World::new();
    // SAFETY: null pointers are what the test is about.
    unsafe {
        let kernel = result::module::load_data(
            std::ffi::CString::new(common::ptx(".param .u64 p0, .param .u32 p1", "")).unwrap().as_ptr().cast(),
        )
        .and_then(|module| result::module::get_function(module, c"test".to_owned()))
        .unwrap();
        let word = 5u64;
        let mut one = [std::ptr::from_ref(&word).cast_mut().cast(), std::ptr::null_mut()];
        let launched = result::launch_kernel(kernel, (1, 1, 1), (1, 1, 1), 0, std::ptr::null_mut(), &mut one);
        assert!(world.device.expect(Check::Arguments, launched).message.contains("argument 1 of 4 bytes"));
        // What a typed launch wrapper can ask for.
        let (mut offset, mut bytes) = (0usize, 0usize);
        assert_eq!(sys::cuFuncGetParamInfo(kernel, 1, &mut offset, &mut bytes), sys::CUresult::CUDA_SUCCESS);
        assert_eq!((offset, bytes), (8, 4));
        assert_eq!(
            sys::cuFuncGetParamInfo(kernel, 2, &mut offset, &mut bytes),
            sys::CUresult::CUDA_ERROR_INVALID_VALUE
        );
    }
}

#[test]
fn what_a_context_still_holds_at_its_end_is_a_leak() {
    let world = World::new();
    let pointer = world.allocate(0);
    let kept = world.allocate(0);
    world.free(0, pointer).unwrap();
    let index = world.device.context.ordinal();
    let World { device, streams, kernel } = world;
    drop((streams, kernel));
    let Device { context, lock } = device;
    drop(context);
    let found = common::reports(common::emulator(), index);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].check, Check::Leak);
    assert!(found[0].message.contains("1 allocations of 2048 bytes"), "{} {kept:#x}", found[0]);
    drop(lock);
}

#[test]
fn what_is_not_emulated_says_so() {
    // A call that names no device is reported for device 0.
    let world = World::on(device_at(0));
    // SAFETY: the function fails before it looks at its arguments.
    let refused = unsafe { sys::cuGraphLaunch(std::ptr::null_mut(), std::ptr::null_mut()) };
    assert_eq!(refused, sys::CUresult::CUDA_ERROR_NOT_SUPPORTED);
    let found = common::reports(common::emulator(), 0);
    assert!(found.iter().any(|report| report.message == "cuGraphLaunch is not emulated"), "{found:?}");
    let binary = b"\x7fELF\0\0\0\0";
    // SAFETY: the image is as long as the driver looks at it.
    let refused = unsafe { result::module::load_data(binary.as_ptr().cast()) };
    let report = world.device.expect(Check::NotEmulated, refused);
    assert!(report.message.contains("machine code"), "{report}");
}

#[test]
fn work_runs_late_and_queries_get_there() {
    let world = World::new();
    let pointer = world.allocate(0);
    world.upload(0, pointer, &WORDS).unwrap();
    world.launch(0, pointer).unwrap();
    let event = world.streams[0].record_event(None).unwrap();
    let mut asked = 0;
    while !event.try_is_complete().unwrap() {
        asked += 1;
        assert!(asked < 10);
    }
    assert!(asked > 0, "the work was done before anybody waited");
    world.free(0, pointer).unwrap();
    world.finish().unwrap();
    world.device.expect_none();
}
