//! Finding libcuda and NVRTC. cudarc opens both by name at the first call and panics when one is
//! missing; so every use begins here, where they are searched, opened once and kept, and where
//! what is missing is an error that says what to do.

use cudarc::{driver, nvrtc};
use libloading::Library;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
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
        "NVRTC, the CUDA compiler, was not found (libnvrtc.so.12): install it (pip install \
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
    /// NVRTC does not say its version.
    #[error("NVRTC was opened but does not work: {0}")]
    Broken(String),
}

/// Makes sure that cudarc's driver API can be called.
///
/// # Errors
/// [`LibraryError`] when there is no libcuda, or `CRYPTGPU_LIBCUDA` names what cannot be opened.
pub fn driver() -> Result<(), LibraryError> {
    static FOUND: OnceLock<Result<(), LibraryError>> = OnceLock::new();
    FOUND.get_or_init(open_driver).clone()
}

fn open_driver() -> Result<(), LibraryError> {
    let named = match std::env::var_os(LIBCUDA_VARIABLE) {
        Some(path) => Some(open_named(LIBCUDA_VARIABLE, Path::new(&path))?),
        None => None,
    };
    // SAFETY: opening a driver runs its initialisers only; it is what the next call does anyway.
    if !unsafe { driver::sys::is_culib_present() } {
        return Err(LibraryError::NoDriver);
    }
    let Some((library, path)) = named else { return Ok(()) };
    // SAFETY: the library is present by the check above, so this does not panic.
    let used = unsafe { driver::sys::culib() };
    if address(library, c"cuInit") == address(used, c"cuInit") {
        Ok(())
    } else {
        Err(LibraryError::Shadowed { variable: LIBCUDA_VARIABLE, path, soname: "libcuda.so" })
    }
}

/// Whether libcuda has `symbol`: older drivers lack newer calls, and cudarc panics at those.
pub(crate) fn driver_has(symbol: &std::ffi::CStr) -> bool {
    // SAFETY: `culib` does not panic where the driver was found.
    driver().is_ok() && address(unsafe { driver::sys::culib() }, symbol).is_some()
}

/// Where a symbol lies, to tell libraries apart.
fn address(library: &Library, symbol: &std::ffi::CStr) -> Option<*const c_void> {
    // SAFETY: the symbol is not called, only its address is taken.
    unsafe { library.get::<*const c_void>(symbol.to_bytes_with_nul()).ok().map(|symbol| *symbol) }
}

/// Opens the library at `path` for good: cudarc's later opening by name finds it by its SONAME.
fn open_named(variable: &'static str, path: &Path) -> Result<(&'static Library, String), LibraryError> {
    let shown = path.display().to_string();
    // SAFETY: the user names this library to be loaded in the place of the system's.
    match unsafe { Library::new(path) } {
        Ok(library) => Ok((Box::leak(Box::new(library)), shown)),
        Err(error) => Err(LibraryError::Open { variable, path: shown, reason: error.to_string() }),
    }
}

/// NVRTC's version, major and minor.
pub type Version = (i32, i32);

/// Makes sure that cudarc's NVRTC API can be called; says which version it is.
///
/// Looks for the library or folder that `CRYPTGPU_NVRTC` names, else where the loader looks, else in
/// a virtual environment `.venv` in a folder above the program or the working directory.
///
/// # Errors
/// [`LibraryError`] when there is none, or the named one cannot be opened.
pub fn compiler() -> Result<Version, LibraryError> {
    static FOUND: OnceLock<Result<Version, LibraryError>> = OnceLock::new();
    FOUND.get_or_init(open_compiler).clone()
}

fn open_compiler() -> Result<Version, LibraryError> {
    if let Some(path) = std::env::var_os(NVRTC_VARIABLE) {
        let path = PathBuf::from(path);
        let file = if path.is_dir() { path.join(NVRTC_FILE) } else { path };
        open_named(NVRTC_VARIABLE, &file)?;
    } else if !nvrtc_present() {
        let file = wheels().find(|file| file.is_file()).ok_or(LibraryError::NoCompiler)?;
        open_named(NVRTC_VARIABLE, &file)?;
    }
    if !nvrtc_present() {
        return Err(LibraryError::NoCompiler);
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is present, and both pointers are valid for the call.
    unsafe { nvrtc::sys::nvrtcVersion(&mut major, &mut minor) }
        .result()
        .map_err(|error| LibraryError::Broken(error.to_string()))?;
    Ok((major, minor))
}

const NVRTC_FILE: &str = "libnvrtc.so.12";

fn nvrtc_present() -> bool {
    // SAFETY: opening NVRTC runs its initialisers only.
    unsafe { nvrtc::sys::is_culib_present() }
}

/// Where NVIDIA's Python packages put NVRTC, in every `.venv` above the program and the working directory.
fn wheels() -> impl Iterator<Item = PathBuf> {
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    let folders = starts.into_iter().flatten().flat_map(|start| {
        start.ancestors().map(|folder| folder.join(".venv/lib")).filter(|lib| lib.is_dir()).collect::<Vec<_>>()
    });
    folders.flat_map(|lib| {
        let pythons = std::fs::read_dir(lib).into_iter().flatten().flatten();
        pythons
            .map(|python| python.path().join("site-packages/nvidia/cuda_nvrtc/lib").join(NVRTC_FILE))
            .collect::<Vec<_>>()
    })
}
