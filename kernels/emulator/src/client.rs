//! A client for the tests of other crates: opens the library in place of NVIDIA's driver, and asks it for reports and
//! statistics.
//!
//! ```no_run
//! let emulator = cryptgpu_emulator::client::open()?;
//! // From here on cudarc finds the emulator: CudaContext::new(0) …
//! let reports = emulator.take_reports();
//! assert!(reports.is_empty(), "{reports:?}");
//! # Ok::<(), cryptgpu_emulator::client::OpenError>(())
//! ```

use std::ffi::c_char;
use std::path::{Path, PathBuf};

use libloading::Library;

use crate::{Report, Statistics};

/// Name of the library's file.
pub const FILE: &str = "libcryptgpu_emulator.so";

/// The library could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No file was found.
    #[error("{FILE} was not found next to {0}: build the package cryptgpu-emulator, or set CRYPTGPU_LIBCUDA")]
    NotFound(PathBuf),
    /// The loader refused the file.
    #[error("{path} could not be opened")]
    Loader {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        source: libloading::Error,
    },
}

/// An open emulator.
#[derive(Debug, Clone, Copy)]
pub struct Emulator {
    library: &'static Library,
}

/// Where the library lies: what `CRYPTGPU_LIBCUDA` says, or else beside the running program or in a folder above it, as
/// Cargo builds it for a package that has `cryptgpu-emulator` among its dependencies.
pub fn library_path() -> Result<PathBuf, OpenError> {
    if let Some(path) = std::env::var_os("CRYPTGPU_LIBCUDA") {
        return Ok(path.into());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let found = program.ancestors().skip(1).take(3).map(|folder| folder.join(FILE)).find(|path| path.exists());
    found.ok_or(OpenError::NotFound(program))
}

/// Opens the library of `library_path`.
///
/// # Errors
/// As for [`library_path`] and [`open_at`].
pub fn open() -> Result<Emulator, OpenError> {
    open_at(&library_path()?)
}

/// Opens the library at `path` for good: its SONAME is `libcuda.so`, so that whoever opens that name later gets it.
///
/// # Errors
/// What the loader says.
pub fn open_at(path: &Path) -> Result<Emulator, OpenError> {
    // SAFETY: the library's constructors do nothing.
    match unsafe { Library::new(path) } {
        Ok(library) => Ok(Emulator { library: Box::leak(Box::new(library)) }),
        Err(source) => Err(OpenError::Loader { path: path.to_owned(), source }),
    }
}

type Text = unsafe extern "C" fn(*mut c_char, usize) -> usize;

impl Emulator {
    fn text(&self, name: &[u8]) -> String {
        // SAFETY: the library's functions of these names have this type. Another library gives an empty text.
        let Ok(function) = (unsafe { self.library.get::<Text>(name) }) else { return String::new() };
        // SAFETY: a null buffer asks for the length, with its final zero.
        let mut buffer = vec![0u8; unsafe { function(std::ptr::null_mut(), 0) }];
        // SAFETY: the buffer has the length that was asked for.
        unsafe { function(buffer.as_mut_ptr().cast(), buffer.len()) };
        buffer.pop();
        String::from_utf8(buffer).unwrap_or_default()
    }

    /// Takes all reports; none, if the library opened is not the emulator.
    pub fn take_reports(&self) -> Vec<Report> {
        serde_json::from_str(&self.text(b"cryptgpuEmulatorTakeReports")).unwrap_or_default()
    }

    /// The statistics so far.
    pub fn statistics(&self) -> Statistics {
        serde_json::from_str(&self.text(b"cryptgpuEmulatorStatistics")).unwrap_or_default()
    }

    /// Repairs the context of a device that an error broke, so that one process can test many errors.
    pub fn recover(&self, device: usize) {
        // SAFETY: the function has this type.
        if let Ok(function) = unsafe { self.library.get::<extern "C" fn(usize) -> u32>(b"cryptgpuEmulatorRecover") } {
            function(device);
        }
    }
}
