//! A copy of an object file in memory that nobody can change any more, not even this process: what is compared is then
//! what is opened, whatever becomes of the file meanwhile.

use super::elf::{Facts, Names};
use super::error::CodeError;
use super::{is_of_the_system, loaded};
use libloading::os::unix::Library as Opened;
use std::ffi::{CString, OsStr, c_int};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A copy that stays as it is.
#[derive(Debug)]
pub(super) struct Sealed {
    copy: File,
    /// Where it is from.
    path: PathBuf,
    names: Names,
}

impl Sealed {
    /// Copies the file, and compares the copy with `digest`. Nothing of it is run.
    pub(super) fn copy(path: &Path, digest: &[u8; 32]) -> Result<Self, CodeError> {
        let file = File::open(path).map_err(|error| CodeError::unreadable(path, &error))?;
        Sealed::read(file, path, digest)
    }

    /// As [`Sealed::copy`], from anything that can be read; `path` is where it is from.
    pub(super) fn read(mut file: impl io::Read, path: &Path, digest: &[u8; 32]) -> Result<Self, CodeError> {
        let unreadable = |error: io::Error| CodeError::unreadable(path, &error);
        let name = path.file_name().map_or(&b"code"[..], OsStr::as_bytes);
        let mut copy = in_memory(name).map_err(unreadable)?;
        io::copy(&mut file, &mut copy).map_err(unreadable)?;
        let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
        // SAFETY: sets flags of a file that is ours.
        if unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
            return Err(unreadable(io::Error::last_os_error()));
        }
        let facts = Facts::read(&copy).map_err(unreadable)?;
        if facts.digest != *digest {
            return Err(CodeError::OtherFile { path: path.to_owned() });
        }
        Ok(Sealed { copy, path: path.to_owned(), names: facts.names })
    }

    /// Opens the copy for good, and says where it is. What it needs must be loaded already, because the loader would
    /// search it by name and run what it finds.
    pub(super) fn open(self, flags: c_int) -> Result<loaded::Loaded, CodeError> {
        let Sealed { copy, path, names } = self;
        let missing = names.needed.into_iter().find(|name| !is_of_the_system(name) && loaded::called(name).is_none());
        if let Some(needs) = missing {
            return Err(CodeError::Uncompared { path, needs });
        }
        // It stays open for good: the loader knows the object by this number, and code of it may run at any time.
        let name = loaded::by_descriptor(copy.into_raw_fd());
        let handle =
            dlopen(&name, flags).map_err(|detail| CodeError::Loader { path: path.clone(), detail })?.into_raw();
        let mut map: *const LinkMap = std::ptr::null();
        // SAFETY: for this request dlinfo writes one pointer, to a link map, whose first field is the base.
        let outcome = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) };
        let object = match outcome == 0 && !map.is_null() {
            // SAFETY: not null, and the library is never closed.
            true => loaded::at(unsafe { (*map).base }),
            false => None,
        };
        object.ok_or_else(|| CodeError::Loader { path, detail: "the loader does not say where it is".into() })
    }
}

/// The beginning of C's `struct link_map`.
#[repr(C)]
struct LinkMap {
    base: usize,
}

/// The loader's own words where it refuses.
pub(super) fn dlopen(path: &Path, flags: c_int) -> Result<Opened, String> {
    // SAFETY: what the library runs when it is opened is the caller's own code.
    unsafe { Opened::open(Some(path), flags) }
        .map_err(|error| std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
}

/// An empty file in memory, which can be sealed.
fn in_memory(name: &[u8]) -> io::Result<File> {
    // The system allows 249 bytes.
    let name = CString::new(&name[..name.len().min(200)])?;
    // SAFETY: the name ends with a zero.
    let create = |flags| unsafe { libc::memfd_create(name.as_ptr(), flags) };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Newer systems want to be told that it is no program to start; older ones do not know the flag.
    let mut descriptor = create(flags | libc::MFD_NOEXEC_SEAL);
    if descriptor < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        descriptor = create(flags);
    }
    match descriptor < 0 {
        true => Err(io::Error::last_os_error()),
        // SAFETY: a new descriptor that nobody else has.
        false => Ok(unsafe { File::from_raw_fd(descriptor) }),
    }
}
