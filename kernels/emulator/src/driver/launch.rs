//! Launches: the limits are checked when the call is made, the kernel runs later.

use std::ffi::{c_uint, c_void};

use super::api::{stream, with_current};
use super::code::{self, Code};
use super::device::{Device, Function};
use super::modules::find_function;
use super::work::Work;
use crate::checks::{Check, Report, submit};
use crate::ir::Kernel;

/// Markers in `extra`.
const POINTER: usize = 1;
const SIZE: usize = 2;

fn refuse(device: &Device, kernel: &Kernel, check: Check, message: String) -> Code {
    let report = Report { kernel: Some(kernel.name.clone()), ..Report::host(check, device.index, message) };
    let code = code::of(report.check);
    submit(report);
    code
}

fn check_limits(
    device: &Device,
    function: &Function,
    grid: [u32; 3],
    block: [u32; 3],
    shared: usize,
) -> Result<(), Code> {
    let kernel = &function.kernel;
    let limit = |message: String| Err(refuse(device, kernel, Check::LaunchLimits, message));
    let threads: u64 = block.iter().map(|&n| u64::from(n)).product();
    if grid.contains(&0) || block.contains(&0) {
        return limit(format!("an empty grid {grid:?} or block {block:?}"));
    }
    if block[0] > 1024 || block[1] > 1024 || block[2] > 64 || threads > 1024 {
        return limit(format!("a block of {block:?} threads; at most [1024, 1024, 64] and 1024 in all are allowed"));
    }
    if grid[0] > i32::MAX as u32 || grid[1] > 65535 || grid[2] > 65535 {
        return limit(format!("a grid of {grid:?} blocks; at most [2147483647, 65535, 65535] are allowed"));
    }
    if kernel.max_threads.is_some_and(|most| threads > u64::from(most)) {
        return limit(format!(
            "a block of {threads} threads; the kernel is compiled for at most {:?}",
            kernel.max_threads
        ));
    }
    if kernel.required_threads.is_some_and(|required| required != block) {
        return limit(format!(
            "a block of {block:?} threads; the kernel is compiled for {:?}",
            kernel.required_threads
        ));
    }
    if shared > function.max_dynamic_shared {
        return limit(format!(
            "{shared} bytes of dynamic shared memory; {} are allowed (more with \
             CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, up to what the device has)",
            function.max_dynamic_shared
        ));
    }
    Ok(())
}

/// The values of the parameters: exactly as many bytes as the kernel declares are read from each pointer.
unsafe fn parameters(
    device: &Device,
    kernel: &Kernel,
    pointers: *const *const u8,
    extra: *const *const c_void,
) -> Result<Vec<u8>, Code> {
    let mut values = vec![0; kernel.param_bytes];
    let wrong = |message: String| refuse(device, kernel, Check::Arguments, message);
    if !pointers.is_null() {
        for (index, param) in kernel.params.iter().enumerate() {
            // SAFETY: the caller gives as many pointers as the kernel has parameters.
            let pointer = unsafe { *pointers.add(index) };
            if pointer.is_null() {
                return Err(wrong(format!("argument {index} of {} bytes is a null pointer", param.bytes)));
            }
            // SAFETY: the caller's pointer leads to a value of the parameter's type.
            let value = unsafe { std::slice::from_raw_parts(pointer, param.bytes) };
            values[param.offset..param.offset + param.bytes].copy_from_slice(value);
        }
        return Ok(values);
    }
    if kernel.params.is_empty() {
        return Ok(values);
    }
    if extra.is_null() {
        return Err(wrong(format!("no arguments; the kernel has {}", kernel.params.len())));
    }
    let (mut buffer, mut size) = (std::ptr::null::<u8>(), None);
    let mut at = 0;
    loop {
        // SAFETY: the caller's list ends with a zero and has a value behind each marker.
        let (marker, value) = unsafe {
            match *extra.add(at) as usize {
                0 => break,
                marker => (marker, *extra.add(at + 1)),
            }
        };
        match marker {
            POINTER => buffer = value.cast(),
            // SAFETY: the marker's value points to a size.
            SIZE => size = Some(unsafe { value.cast::<usize>().read() }),
            _ => return Err(wrong(format!("marker {marker} in `extra` is not known"))),
        }
        at += 2;
    }
    match size {
        Some(size) if size == kernel.param_bytes && !buffer.is_null() => {
            // SAFETY: the caller's buffer has `size` bytes.
            values.copy_from_slice(unsafe { std::slice::from_raw_parts(buffer, size) });
            Ok(values)
        }
        _ => Err(wrong(format!("{size:?} bytes of arguments; the kernel has {}", kernel.param_bytes))),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernel(
    function: u64,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    on: u64,
    pointers: *const *const u8,
    extra: *const *const c_void,
) -> Code {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    with_current("cuLaunchKernel", |device| {
        let found = find_function(device, function)?;
        let slot = stream(device, on)?;
        let function = &device.functions[found];
        check_limits(device, function, grid, block, shared as usize)?;
        let kernel = function.kernel.clone();
        // SAFETY: as the caller promises.
        let params = unsafe { parameters(device, &kernel, pointers, extra) }?;
        let work = Work::Launch { kernel, grid, block, dynamic_shared: shared as usize, params };
        device.enqueue(slot, work).map(|_| ())
    })
}
