//! NVRTC, NVIDIA's compiler of CUDA C++ at run time: where it is looked for, and the functions of it that are called. It is
//! opened once, tested to have all of them, and kept. cudarc has bindings of it too, which know one major version's file
//! name alone; these functions are the same in CUDA 12 and 13. What is compiled, and with which options, is `compile`'s.

use crate::library::{LibraryError, NVRTC_VARIABLE, Version, file_of, missing, open_named};
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What a function of NVRTC answers; zero is success.
pub(crate) type Code = c_int;
/// A program that NVRTC holds.
pub(crate) type Handle = *mut c_void;

/// Declares the functions that are called: the field, its name in the library and its type.
macro_rules! functions {
    ($($field:ident: $name:literal, fn($($argument:ty),*) -> $result:ty;)*) => {
        /// NVRTC as it was found.
        pub(crate) struct Nvrtc {
            /// Its version.
            pub(crate) version: Version,
            /// Its file.
            pub(crate) file: String,
            $(pub(crate) $field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        /// The functions of NVRTC that are called here.
        const FUNCTIONS: &[&CStr] = &[$($name),*];

        impl Nvrtc {
            /// The functions of an open library; the version is still to be asked for.
            fn of(library: &'static Library, file: String) -> Result<Self, libloading::Error> {
                // SAFETY: these are the functions' types in NVRTC's manual, of CUDA 12 and 13.
                unsafe {
                    Ok(Nvrtc { version: (0, 0), file, $($field: *library.get($name.to_bytes_with_nul())?,)* })
                }
            }
        }
    };
}

functions! {
    ask_version: c"nvrtcVersion", fn(*mut c_int, *mut c_int) -> Code;
    error_string: c"nvrtcGetErrorString", fn(Code) -> *const c_char;
    count_architectures: c"nvrtcGetNumSupportedArchs", fn(*mut c_int) -> Code;
    architectures: c"nvrtcGetSupportedArchs", fn(*mut c_int) -> Code;
    create: c"nvrtcCreateProgram",
        fn(*mut Handle, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char) -> Code;
    compile: c"nvrtcCompileProgram", fn(Handle, c_int, *const *const c_char) -> Code;
    destroy: c"nvrtcDestroyProgram", fn(*mut Handle) -> Code;
    log_size: c"nvrtcGetProgramLogSize", fn(Handle, *mut usize) -> Code;
    log: c"nvrtcGetProgramLog", fn(Handle, *mut c_char) -> Code;
    ptx_size: c"nvrtcGetPTXSize", fn(Handle, *mut usize) -> Code;
    ptx: c"nvrtcGetPTX", fn(Handle, *mut c_char) -> Code;
    cubin_size: c"nvrtcGetCUBINSize", fn(Handle, *mut usize) -> Code;
    cubin: c"nvrtcGetCUBIN", fn(Handle, *mut c_char) -> Code;
}

impl Nvrtc {
    /// What a function answered, in NVRTC's words where it was no success.
    pub(crate) fn check(&self, code: Code) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the function takes any code and gives a constant text, or nothing.
        let text = unsafe { (self.error_string)(code) };
        // SAFETY: as above: where it is not null it ends with a zero byte and lives as long as the library.
        let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned());
        Err(text.unwrap_or_else(|| format!("code {code}")))
    }

    /// That this NVRTC cannot be used, and why.
    pub(crate) fn unusable(&self, reason: String) -> LibraryError {
        LibraryError::Compiler { library: self.file.clone(), reason }
    }
}

/// NVRTC: the library or folder that `CRYPTGPU_NVRTC` names, else what the loader finds, else what is in a virtual
/// environment `.venv` in a folder above the program or the working directory. Of two versions the older, which knows the
/// V100.
///
/// # Errors
/// [`LibraryError`] when there is none, or the named one cannot be opened or lacks a function.
pub(crate) fn nvrtc() -> Result<&'static Nvrtc, LibraryError> {
    static FOUND: OnceLock<Result<Nvrtc, LibraryError>> = OnceLock::new();
    FOUND.get_or_init(open).as_ref().map_err(Clone::clone)
}

/// The names of NVRTC's file, by major version.
const FILES: [&str; 2] = ["libnvrtc.so.12", "libnvrtc.so.13"];
/// Where NVIDIA's Python packages put each.
const WHEELS: [&str; 2] = ["nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "nvidia/cu13/lib/libnvrtc.so.13"];

fn open() -> Result<Nvrtc, LibraryError> {
    let library = match std::env::var_os(NVRTC_VARIABLE) {
        Some(path) => open_named(NVRTC_VARIABLE, &file_in(PathBuf::from(path)))?.0,
        None => match FILES.into_iter().chain(["libnvrtc.so"]).find_map(by_name) {
            Some(library) => library,
            None => {
                let file = wheels().find(|file| file.is_file()).ok_or(LibraryError::NoCompiler)?;
                open_named(NVRTC_VARIABLE, &file)?.0
            }
        },
    };
    let file = file_of(library, FUNCTIONS, "libnvrtc");
    let unusable = |reason| LibraryError::Compiler { library: file.clone(), reason };
    if let Some(missing) = missing(library, FUNCTIONS) {
        return Err(unusable(missing));
    }
    let mut nvrtc = Nvrtc::of(library, file.clone()).map_err(|error| unusable(error.to_string()))?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are valid for the call.
    let code = unsafe { (nvrtc.ask_version)(&raw mut major, &raw mut minor) };
    nvrtc.check(code).map_err(|error| unusable(format!("nvrtcVersion fails: {error}")))?;
    nvrtc.version = (major, minor);
    Ok(nvrtc)
}

/// The library at `path`, or in the folder at `path`.
fn file_in(path: PathBuf) -> PathBuf {
    if !path.is_dir() {
        return path;
    }
    let there = FILES.iter().map(|file| path.join(file)).find(|file| file.is_file());
    there.unwrap_or_else(|| path.join(FILES[0]))
}

/// The library that the loader finds by this name, opened for good.
fn by_name(name: &str) -> Option<&'static Library> {
    // SAFETY: opening NVRTC runs its initialisers only.
    unsafe { Library::new(name) }.ok().map(|library| &*Box::leak(Box::new(library)))
}

/// Where NVIDIA's Python packages put NVRTC, in every `.venv` above the program and the working directory.
fn wheels() -> impl Iterator<Item = PathBuf> {
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    let folders = starts.into_iter().flatten().flat_map(|start| {
        start.ancestors().map(|folder| folder.join(".venv/lib")).filter(|lib| lib.is_dir()).collect::<Vec<_>>()
    });
    folders.flat_map(|lib| {
        let pythons: Vec<_> = std::fs::read_dir(lib).into_iter().flatten().flatten().collect();
        let within = |wheel: &'static str| {
            let paths = pythons.iter().map(|python| python.path().join("site-packages").join(Path::new(wheel)));
            paths.collect::<Vec<_>>()
        };
        WHEELS.into_iter().flat_map(within).collect::<Vec<_>>()
    })
}

/// Texts for NVRTC, which wants each to end with a zero byte.
pub(crate) fn text(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| "the source holds a zero byte".to_owned())
}
