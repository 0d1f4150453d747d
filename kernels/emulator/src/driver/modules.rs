//! Modules: PTX text to kernels, with the module's variables in device memory.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use super::api::{Kind, check_generation, give, handle, not_emulated, parse, stale, with_current};
use super::code::{self, Code};
use super::device::{
    Device, Function, Module, REGISTERS, shared_limits, target_capability, threads_per_multiprocessor,
};
use crate::checks::clock::Stamp;
use crate::checks::{Check, Report, submit};
use crate::ir::{Kernel, lower_module};
use crate::ptx::{self, Space};

fn refuse(device: &Device, error: &ptx::PtxError, what: &str) -> Code {
    let report = Report {
        source: error.source_line.clone(),
        ptx_line: Some(error.line),
        ..Report::host(Check::Ptx, device.index, format!("{what}: {}", error.message))
    };
    submit(report);
    code::INVALID_PTX
}

/// Puts a module's variables into device memory.
fn place(device: &mut Device, module: &ptx::Module) -> Result<HashMap<String, (u64, usize)>, Code> {
    let mut placed = HashMap::new();
    for variable in module.variables.iter().filter(|v| matches!(v.space, Space::Global | Space::Const)) {
        let kind = if variable.space == Space::Const { "constant" } else { "variable" };
        if variable.external || variable.count.is_none() {
            let error = ptx::PtxError::new(variable.line, format!("{kind} {} is not defined here", variable.name));
            return Err(refuse(device, &error, "module"));
        }
        let name = Some(format!("{kind} {}", variable.name));
        let bytes = variable.bytes();
        let pointer = device.memory.allocate(bytes, name, variable.space == Space::Const, Stamp::default());
        let pointer = pointer.ok_or(code::OUT_OF_MEMORY)?;
        let (allocation, at) = device.memory.find(pointer, bytes).map_err(|_| code::OUT_OF_MEMORY)?;
        // What has no initial value is zero.
        let mut content = variable.initial.clone().unwrap_or_default();
        content.resize(bytes, 0);
        allocation.write_bytes(at, &content);
        allocation.set_written(at, bytes, true);
        placed.insert(variable.name.clone(), (pointer, bytes));
    }
    Ok(placed)
}

fn load(device: &mut Device, text: &str) -> Result<usize, Code> {
    let module = ptx::parse(text).map_err(|error| refuse(device, &error, "module"))?;
    let (major, minor) = crate::settings().capability;
    match target_capability(&module.target) {
        Some(target) if target <= 10 * major + minor => {}
        _ => {
            let message = format!("module: the target {} is not for a device of sm_{major}{minor}", module.target);
            submit(Report::host(Check::Ptx, device.index, message));
            return Err(code::NO_BINARY_FOR_GPU);
        }
    }
    let variables = place(device, &module)?;
    let symbols = variables.iter().map(|(name, &(address, _))| (name.clone(), address)).collect();
    let kernels = lower_module(&module, &symbols).map_err(|error| refuse(device, &error, "module"))?;
    let index = device.modules.len();
    let mut functions = HashMap::new();
    for kernel in kernels {
        functions.insert(kernel.name.clone(), device.functions.len());
        let max_dynamic_shared = shared_limits().0.saturating_sub(kernel.shared_bytes);
        device.functions.push(Function { kernel: Arc::new(kernel), module: index, max_dynamic_shared });
    }
    device.modules.push(Some(Module { functions, variables }));
    Ok(index)
}

unsafe fn load_image(device: &mut Device, to: *mut u64, image: *const c_void) -> Result<(), Code> {
    if image.is_null() {
        return Err(code::INVALID_VALUE);
    }
    // SAFETY: every image has at least four bytes.
    let magic = unsafe { image.cast::<[u8; 4]>().read() };
    if magic == *b"\x7fELF" || magic == [0x50, 0xed, 0x55, 0xba] {
        let message = "module: the image is machine code; the emulator executes PTX only";
        submit(Report::host(Check::NotEmulated, device.index, message));
        return Err(code::NO_BINARY_FOR_GPU);
    }
    // SAFETY: the caller says that a PTX image ends with a zero byte.
    let Ok(text) = (unsafe { CStr::from_ptr(image.cast::<c_char>()) }).to_str() else { return Err(code::INVALID_PTX) };
    let index = load(device, text)?;
    // SAFETY: the caller's pointer is valid.
    unsafe { give(to, handle(Kind::Module, device, index)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadData(to: *mut u64, image: *const c_void) -> Code {
    // SAFETY: as the caller promises.
    with_current("cuModuleLoadData", |device| unsafe { load_image(device, to, image) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadDataEx(
    to: *mut u64,
    image: *const c_void,
    options: c_uint,
    _names: *const c_uint,
    _values: *const *mut c_void,
) -> Code {
    with_current("cuModuleLoadDataEx", |device| {
        if options > 0 {
            return Err(not_emulated(device.index, "options of cuModuleLoadDataEx are not emulated"));
        }
        // SAFETY: as the caller promises.
        unsafe { load_image(device, to, image) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoad(to: *mut u64, path: *const c_char) -> Code {
    with_current("cuModuleLoad", |device| {
        if path.is_null() {
            return Err(code::INVALID_VALUE);
        }
        // SAFETY: the caller gives a string.
        let path = unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned();
        let mut image = std::fs::read(path).map_err(|_| code::NOT_FOUND)?;
        image.extend([0; 4]);
        // SAFETY: the image ends with zeros and has four bytes at least.
        unsafe { load_image(device, to, image.as_ptr().cast()) }
    })
}

fn find_module(device: &Device, value: u64) -> Result<usize, Code> {
    let (index, generation, slot) = parse(Kind::Module, value)?;
    if index != device.index {
        return Err(stale(device.index, Kind::Module, value, "belongs to another device than the current context"));
    }
    check_generation(device, Kind::Module, value, generation)?;
    match device.modules.get(slot) {
        Some(Some(_)) => Ok(slot),
        _ => Err(stale(index, Kind::Module, value, "was unloaded")),
    }
}

/// A function by handle.
pub fn find_function(device: &Device, value: u64) -> Result<usize, Code> {
    let (index, generation, slot) = parse(Kind::Function, value)?;
    if index != device.index {
        return Err(stale(device.index, Kind::Function, value, "belongs to another device than the current context"));
    }
    check_generation(device, Kind::Function, value, generation)?;
    let loaded = |function: &Function| device.modules.get(function.module).is_some_and(Option::is_some);
    match device.functions.get(slot) {
        Some(function) if loaded(function) => Ok(slot),
        _ => Err(stale(index, Kind::Function, value, "belongs to a module that was unloaded")),
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(value: u64) -> Code {
    with_current("cuModuleUnload", |device| {
        let slot = find_module(device, value)?;
        // Kernels that are queued keep their code; variables may only go when nothing can use them.
        device.wait_for_all()?;
        if let Some(module) = device.modules[slot].take() {
            for (address, _) in module.variables.into_values() {
                device.memory.free(address).map_err(|_| code::UNKNOWN)?;
            }
        }
        Ok(())
    })
}

unsafe fn name_of(name: *const c_char) -> Result<String, Code> {
    if name.is_null() {
        return Err(code::INVALID_VALUE);
    }
    // SAFETY: the caller gives a string.
    Ok(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(to: *mut u64, module: u64, name: *const c_char) -> Code {
    with_current("cuModuleGetFunction", |device| {
        let slot = find_module(device, module)?;
        // SAFETY: as the caller promises.
        let name = unsafe { name_of(name) }?;
        let found = device.modules[slot].as_ref().and_then(|module| module.functions.get(&name).copied());
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, handle(Kind::Function, device, found.ok_or(code::NOT_FOUND)?)) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetGlobal_v2(to: *mut u64, bytes: *mut usize, module: u64, name: *const c_char) -> Code {
    with_current("cuModuleGetGlobal_v2", |device| {
        let slot = find_module(device, module)?;
        // SAFETY: as the caller promises.
        let name = unsafe { name_of(name) }?;
        let found = device.modules[slot].as_ref().and_then(|module| module.variables.get(&name).copied());
        let (address, size) = found.ok_or(code::NOT_FOUND)?;
        // SAFETY: both pointers are null or valid.
        unsafe {
            if !bytes.is_null() {
                give(bytes, size)?;
            }
            if to.is_null() { Ok(()) } else { give(to, address) }
        }
    })
}

/// Registers of a thread: an estimate from liveness, since only ptxas knows.
fn registers(kernel: &Kernel) -> u32 {
    (kernel.live_words + 8).next_multiple_of(8).clamp(16, 255)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuFuncGetAttribute(to: *mut c_int, attribute: c_uint, function: u64) -> Code {
    with_current("cuFuncGetAttribute", |device| {
        let function = &device.functions[find_function(device, function)?];
        let kernel = &function.kernel;
        let (major, minor) = crate::settings().capability;
        let value = match attribute {
            0 => kernel.max_threads.unwrap_or(1024) as usize,
            1 => kernel.shared_bytes,
            2 => 0,
            3 => kernel.local_bytes,
            4 => registers(kernel) as usize,
            5 | 6 => (10 * major + minor) as usize,
            8 => function.max_dynamic_shared,
            _ => return Err(not_emulated(device.index, format!("function attribute {attribute} is not known"))),
        };
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, value as c_int) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(function: u64, attribute: c_uint, value: c_int) -> Code {
    with_current("cuFuncSetAttribute", |device| {
        let slot = find_function(device, function)?;
        match attribute {
            8 => {
                let function = &mut device.functions[slot];
                let limit = shared_limits().1.saturating_sub(function.kernel.shared_bytes);
                match usize::try_from(value) {
                    Ok(bytes) if bytes <= limit => {
                        function.max_dynamic_shared = bytes;
                        Ok(())
                    }
                    _ => Err(code::INVALID_VALUE),
                }
            }
            // The preferred carve-out between cache and shared memory is a hint.
            9 => Ok(()),
            _ => Err(not_emulated(device.index, format!("function attribute {attribute} is not known"))),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetCacheConfig(function: u64, _config: c_uint) -> Code {
    with_current("cuFuncSetCacheConfig", |device| find_function(device, function).map(|_| ()))
}

/// Offset and size of a kernel's parameter, by which a typed launch wrapper can check itself.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuFuncGetParamInfo(function: u64, index: usize, offset: *mut usize, bytes: *mut usize) -> Code {
    with_current("cuFuncGetParamInfo", |device| {
        let kernel = &device.functions[find_function(device, function)?].kernel;
        let param = kernel.params.get(index).ok_or(code::INVALID_VALUE)?;
        // SAFETY: the caller's pointers are valid; the size is optional.
        unsafe {
            give(offset, param.offset)?;
            if bytes.is_null() { Ok(()) } else { give(bytes, param.bytes) }
        }
    })
}

/// Blocks of a kernel that fit a multiprocessor at once, by threads, shared memory and estimated registers.
fn occupancy(device: &Device, function: u64, threads: c_int, dynamic: usize) -> Result<u32, Code> {
    let kernel = &device.functions[find_function(device, function)?].kernel;
    let threads = u32::try_from(threads).ok().filter(|&n| (1..=1024).contains(&n)).ok_or(code::INVALID_VALUE)?;
    let warps = threads.div_ceil(32) * 32;
    let by_shared = match kernel.shared_bytes + dynamic {
        0 => u32::MAX,
        bytes => (shared_limits().2 / (bytes + 1024)) as u32,
    };
    let by_registers = REGISTERS / (registers(kernel) * warps);
    let blocks = super::device::blocks_per_multiprocessor();
    Ok((threads_per_multiprocessor() / warps).min(by_shared).min(by_registers).min(blocks))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    to: *mut c_int,
    function: u64,
    threads: c_int,
    dynamic: usize,
) -> Code {
    with_current("cuOccupancyMaxActiveBlocksPerMultiprocessor", |device| {
        let blocks = occupancy(device, function, threads, dynamic)?;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, blocks as c_int) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    to: *mut c_int,
    function: u64,
    threads: c_int,
    dynamic: usize,
    _flags: c_uint,
) -> Code {
    // SAFETY: as the caller promises.
    unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor(to, function, threads, dynamic) }
}
