//! Finding libcuda, and what goes wrong with it or with NVRTC (`compiler.rs`). cudarc opens libcuda by name at the first
//! call and panics when it is missing or lacks a function; so every use begins here, where it is searched, opened once
//! and kept, tested to have every function that is called, and where what is missing is an error that says what to do.

use crate::compiler::nvrtc;
use cudarc::driver;
use libloading::Library;
use std::ffi::{CStr, c_void};
use std::path::Path;
use std::sync::OnceLock;

/// Environment variable: the libcuda to open, a path. Another driver or an emulator can take its place.
pub const LIBCUDA_VARIABLE: &str = "CRYPTGPU_LIBCUDA";
/// Environment variable: the NVRTC to open, a path of the library or of its folder.
pub const NVRTC_VARIABLE: &str = "CRYPTGPU_NVRTC";

/// Why a library cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// No libcuda.
    #[error(
        "libcuda is not on this machine: install NVIDIA's driver, or set {LIBCUDA_VARIABLE} to a library in its place"
    )]
    NoDriver,
    /// No NVRTC.
    #[error(
        "NVRTC, the CUDA compiler, was not found (libnvrtc.so.12 or .13): install it (pip install \
         nvidia-cuda-nvrtc-cu12==12.9.*) and set {NVRTC_VARIABLE} to its folder"
    )]
    NoCompiler,
    /// A library named by an environment variable cannot be opened.
    #[error("{variable}={path}: cannot be opened: {reason}")]
    Open {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: String,
        /// What the loader says.
        reason: String,
    },
    /// Another library of the same kind would be used instead of the one asked for.
    #[error("{variable}={path}: another library of the same name is used instead; its SONAME must be {soname}")]
    Shadowed {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: String,
        /// The name under which it is looked for.
        soname: &'static str,
    },
    /// A libcuda that is no driver that can be used: a stub, an old one, or something else of that name.
    #[error(
        "{library} is not a driver that can be used: {reason}; install or update NVIDIA's driver (525 or newer, for \
         CUDA 12), and let no other libcuda come before it (LD_LIBRARY_PATH, a toolkit's `stubs` folder)"
    )]
    Driver {
        /// The library.
        library: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An NVRTC that does not work.
    #[error(
        "{library} is not an NVRTC that can be used: {reason}; install NVRTC 12.9 (pip install \
             nvidia-cuda-nvrtc-cu12==12.9.*) and set {NVRTC_VARIABLE} to its folder"
    )]
    Compiler {
        /// The library.
        library: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The functions of libcuda that are called here, by cudarc on behalf of this crate, or by the layers above. (One more,
/// `cuFuncGetParamInfo`, is asked for before it is called.)
pub const DRIVER_FUNCTIONS: &[&CStr] = &[
    c"cuInit",
    c"cuDriverGetVersion",
    c"cuGetErrorName",
    c"cuGetErrorString",
    c"cuDeviceGet",
    c"cuDeviceGetAttribute",
    c"cuDeviceGetCount",
    c"cuDeviceGetName",
    c"cuDeviceTotalMem_v2",
    c"cuDevicePrimaryCtxRetain",
    c"cuDevicePrimaryCtxRelease_v2",
    c"cuCtxGetCurrent",
    c"cuCtxSetCurrent",
    c"cuCtxSynchronize",
    c"cuModuleLoadData",
    c"cuModuleUnload",
    c"cuModuleGetFunction",
    c"cuFuncSetAttribute",
    c"cuLaunchKernel",
    c"cuMemAlloc_v2",
    c"cuMemFree_v2",
    c"cuMemHostAlloc",
    c"cuMemFreeHost",
    c"cuMemGetInfo_v2",
    c"cuMemcpyHtoDAsync_v2",
    c"cuMemcpyDtoHAsync_v2",
    c"cuMemcpyDtoDAsync_v2",
    c"cuMemsetD8Async",
    c"cuStreamCreate",
    c"cuStreamDestroy_v2",
    c"cuStreamSynchronize",
    c"cuStreamWaitEvent",
    c"cuEventCreate",
    c"cuEventDestroy_v2",
    c"cuEventRecord",
    c"cuEventQuery",
    c"cuEventSynchronize",
    c"cuEventElapsedTime",
];

/// The functions by which processes share a card's memory: not asked for as the driver is opened, since nothing needs them.
const IPC_FUNCTIONS: [&CStr; 4] =
    [c"cuIpcGetMemHandle", c"cuIpcOpenMemHandle_v2", c"cuIpcCloseMemHandle", c"cuMemGetAddressRange_v2"];

/// Whether the driver can share memory between processes: each of these functions is there to be called.
pub fn has_ipc() -> bool {
    IPC_FUNCTIONS.iter().all(|function| driver_has(function))
}

/// Makes sure that cudarc's driver API can be called, and says which CUDA the driver serves.
///
/// # Errors
/// [`LibraryError`] when there is no libcuda, when it is no driver that can be used, or when `CRYPTGPU_LIBCUDA` names
/// what cannot be opened.
pub fn driver() -> Result<Version, LibraryError> {
    static FOUND: OnceLock<Result<Version, LibraryError>> = OnceLock::new();
    FOUND.get_or_init(open_driver).clone()
}

fn open_driver() -> Result<Version, LibraryError> {
    let named = match std::env::var_os(LIBCUDA_VARIABLE) {
        Some(path) => Some(open_named(LIBCUDA_VARIABLE, Path::new(&path))?),
        None => None,
    };
    // SAFETY: opening a driver runs its initialisers only; it is what the next call does anyway.
    if !unsafe { driver::sys::is_culib_present() } {
        return Err(LibraryError::NoDriver);
    }
    // SAFETY: the library is present by the check above, so this does not panic.
    let used = unsafe { driver::sys::culib() };
    if let Some((library, path)) = named
        && address(library, c"cuInit") != address(used, c"cuInit")
    {
        return Err(LibraryError::Shadowed { variable: LIBCUDA_VARIABLE, path, soname: "libcuda.so" });
    }
    let unusable = |reason| LibraryError::Driver { library: file_of(used, DRIVER_FUNCTIONS, "libcuda"), reason };
    // Asked by hand: cudarc would panic where the function is missing.
    // SAFETY: this is the function's type in every version of CUDA.
    let version =
        unsafe { used.get::<unsafe extern "C" fn(*mut i32) -> u32>(c"cuDriverGetVersion".to_bytes_with_nul()) };
    let version = version.ok().map(|ask| {
        let mut version = 0;
        // SAFETY: the pointer is valid for the call.
        (unsafe { ask(&raw mut version) }, (version / 1000, version % 1000 / 10))
    });
    match version {
        Some((STUB, _)) => return Err(unusable("it is the stub that programs are linked with".to_owned())),
        Some((code, _)) if code != 0 => return Err(unusable(format!("cuDriverGetVersion fails with code {code}"))),
        _ => {}
    }
    let served = version.map(|(_, version)| version);
    match (missing(used, DRIVER_FUNCTIONS), served) {
        (None, Some(version)) => Ok(version),
        (missing, served) => {
            let missing = missing.unwrap_or_default();
            let serves = served.map_or(String::new(), |(major, minor)| format!(" (it serves CUDA {major}.{minor})"));
            Err(unusable(format!("{missing}{serves}")))
        }
    }
}

/// CUDA_ERROR_STUB_LIBRARY.
const STUB: u32 = 34;

/// What `library` lacks of `functions`, in words; none if it has them all.
pub(crate) fn missing(library: &Library, functions: &[&CStr]) -> Option<String> {
    let missing: Vec<_> = functions.iter().filter(|name| address(library, name).is_none()).collect();
    let first = missing.first()?.to_string_lossy();
    Some(match missing.len() {
        1 => format!("it lacks the function {first}"),
        more => format!("it lacks the function {first} and {} more", more - 1),
    })
}

/// The file that `library` was opened from, by the address of a function that it has; else `name`.
pub(crate) fn file_of(library: &Library, functions: &[&CStr], name: &str) -> String {
    let found = functions.iter().find_map(|function| address(library, function)).and_then(|address| {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let hex = |text: &str| usize::from_str_radix(text, 16).ok();
        maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let within = (hex(start)?..hex(end)?).contains(&address.addr());
            within.then(|| rest.find('/').map(|at| rest[at..].to_owned()))?
        })
    });
    found.unwrap_or_else(|| name.to_owned())
}

/// The file that the driver in use was opened from, or `libcuda` where the system does not say; none without a driver.
pub fn driver_file() -> Option<String> {
    // SAFETY: opening a driver runs its initialisers only; `culib` does not panic where one is present.
    unsafe { driver::sys::is_culib_present().then(|| file_of(driver::sys::culib(), DRIVER_FUNCTIONS, "libcuda")) }
}

/// Whether libcuda has `symbol`: older drivers lack newer calls, and cudarc panics at those.
pub(crate) fn driver_has(symbol: &CStr) -> bool {
    // SAFETY: `culib` does not panic where the driver was found.
    driver().is_ok() && address(unsafe { driver::sys::culib() }, symbol).is_some()
}

/// Where a symbol lies, to tell libraries apart.
fn address(library: &Library, symbol: &CStr) -> Option<*const c_void> {
    // SAFETY: the symbol is not called, only its address is taken.
    unsafe { library.get::<*const c_void>(symbol.to_bytes_with_nul()).ok().map(|symbol| *symbol) }
}

/// Opens the library at `path` for good: cudarc's later opening of libcuda by name finds it by its SONAME.
pub(crate) fn open_named(variable: &'static str, path: &Path) -> Result<(&'static Library, String), LibraryError> {
    let shown = path.display().to_string();
    // SAFETY: the user names this library to be loaded in the place of the system's.
    match unsafe { Library::new(path) } {
        Ok(library) => Ok((Box::leak(Box::new(library)), shown)),
        Err(error) => Err(LibraryError::Open { variable, path: shown, reason: error.to_string() }),
    }
}

/// The version of a driver or of NVRTC, major and minor.
pub type Version = (i32, i32);

/// The version of the NVRTC that is used: of the library or folder that `CRYPTGPU_NVRTC` names, else of what the loader finds
/// as `libnvrtc.so.12`, `.13` or without a number, else of what is in a virtual environment `.venv` in a folder above the
/// program or the working directory.
///
/// # Errors
/// [`LibraryError`] when there is none, or the named one cannot be opened.
pub fn compiler() -> Result<Version, LibraryError> {
    nvrtc().map(|nvrtc| nvrtc.version)
}
