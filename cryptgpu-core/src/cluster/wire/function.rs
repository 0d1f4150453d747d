//! The identity of a function: which object file its code is in, and how far behind the beginning. Another process
//! that has opened the same file finds the same function by it.
//!
//! An object counts as the same if the bytes of its loaded code and constants are: a file that was built anew in
//! the meantime, or another one at the same path, is an error and never a jump into the wrong code.

use libloading::os::unix::Library;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The object file that a function is in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum ObjectId {
    /// The program itself, which cannot be opened like a library.
    Program,
    /// A library, such as evcxr makes of each cell.
    Library(PathBuf),
}

/// Where a function is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct FunctionId {
    object: ObjectId,
    digest: [u8; 32],
    offset: u64,
}

/// An address that is the same for all code that shares this copy of the library.
#[inline(never)]
pub(in crate::cluster) fn runtime() -> usize {
    static MARK: u8 = 0;
    &raw const MARK as usize
}

/// Where the function at `address` of this process is.
pub(in crate::cluster) fn locate(address: usize) -> Result<FunctionId, String> {
    let loaded =
        find(|object| object.holds(address)).ok_or("its code is in no object file (was it made at run time?)")?;
    let object = match loaded.name.as_os_str().is_empty() {
        true => ObjectId::Program,
        false => ObjectId::Library(
            std::path::absolute(&loaded.name).map_err(|error| format!("{}: {error}", loaded.name.display()))?,
        ),
    };
    Ok(FunctionId { object, digest: loaded.digest(), offset: (address - loaded.base) as u64 })
}

/// The address of that function in this process, which opens the object if need be.
pub(in crate::cluster) fn resolve(code: &FunctionId) -> Result<usize, String> {
    let loaded = match &code.object {
        ObjectId::Program => {
            find(|object| object.name.as_os_str().is_empty()).ok_or("this program is not to be found")?
        }
        ObjectId::Library(path) => open(path)?,
    };
    if loaded.digest() != code.digest {
        return Err(match &code.object {
            ObjectId::Program => format!(
                "the parties run another program ({}) than the caller, or it was built anew since: have the caller's \
                 `main` begin with `cluster::party::serve_if_asked(…)`, and start it again",
                std::env::current_exe().unwrap_or_default().display()
            ),
            ObjectId::Library(path) => {
                format!("{} is not the file that the caller has loaded: was it built anew?", path.display())
            }
        });
    }
    let address = usize::try_from(code.offset).ok().and_then(|offset| loaded.base.checked_add(offset));
    address
        .filter(|&address| loaded.segments.iter().any(|segment| segment.executable && segment.range.contains(&address)))
        .ok_or_else(|| format!("offset {} is outside the code of {:?}", code.offset, code.object))
}

/// The dynamic library that `address` is in and that exports `symbol`; none if that is the program itself.
pub(in crate::cluster) fn library_of(address: usize, symbol: &CStr) -> Option<PathBuf> {
    let loaded = find(|object| object.holds(address)).filter(|object| !object.name.as_os_str().is_empty())?;
    let library = dlopen(&loaded.name, libc::RTLD_NOW | libc::RTLD_NOLOAD).ok()?;
    address_of(&library, symbol)?;
    std::path::absolute(&loaded.name).ok()
}

/// Opens a library for good and gives the address of `symbol` in it.
pub(in crate::cluster) fn symbol(path: &Path, symbol: &CStr) -> Result<usize, String> {
    let library = dlopen(path, libc::RTLD_NOW | libc::RTLD_GLOBAL)?;
    let address = address_of(&library, symbol);
    // It stays open for good.
    let _ = library.into_raw();
    address.ok_or_else(|| format!("{} has no {symbol:?}: it is not the library that cells link", path.display()))
}

fn address_of(library: &Library, symbol: &CStr) -> Option<usize> {
    // SAFETY: only the address is taken, whatever lies there; nothing is read or called by it here.
    let found = unsafe { library.get::<*const c_void>(symbol) }.ok()?;
    let address = found.as_raw_ptr();
    (!address.is_null()).then_some(address as usize)
}

fn open(path: &Path) -> Result<Loaded, String> {
    // It stays open for good: code of it may run at any time from now on.
    let handle = dlopen(path, libc::RTLD_NOW | libc::RTLD_LOCAL)?.into_raw();
    let mut map: *const LinkMap = std::ptr::null();
    // SAFETY: for this request dlinfo writes one pointer, to a link map, whose first field is the base.
    let outcome = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    if outcome != 0 || map.is_null() {
        return Err(format!("{}: the loader does not say where it is", path.display()));
    }
    // SAFETY: checked above; the library is never closed.
    let base = unsafe { (*map).base };
    find(|object| object.base == base).ok_or_else(|| format!("{} is not among the loaded objects", path.display()))
}

/// The beginning of C's `struct link_map`.
#[repr(C)]
struct LinkMap {
    base: usize,
}

fn dlopen(path: &Path, flags: c_int) -> Result<Library, String> {
    // SAFETY: what the library runs when it is opened is the caller's own code.
    unsafe { Library::open(Some(path), flags) }.map_err(|error| {
        // The loader's own words are the source.
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        format!("cannot open {}: {cause}", path.display())
    })
}

/// A part of an object in memory.
#[derive(Debug)]
struct Segment {
    range: Range<usize>,
    executable: bool,
    /// Neither written by the program nor by the loader.
    constant: bool,
}

/// An object that this process has loaded. None is ever unloaded.
#[derive(Debug)]
struct Loaded {
    base: usize,
    /// Empty for the program itself.
    name: PathBuf,
    segments: Vec<Segment>,
}

impl Loaded {
    fn holds(&self, address: usize) -> bool {
        self.segments.iter().any(|segment| segment.range.contains(&address))
    }

    /// SHA-256 of code and constants; computed once for each object of this process.
    fn digest(&self) -> [u8; 32] {
        static KNOWN: Mutex<Option<HashMap<usize, [u8; 32]>>> = Mutex::new(None);
        let mut known = KNOWN.lock();
        *known.get_or_insert_default().entry(self.base).or_insert_with(|| {
            let mut digest = Sha256::new();
            for segment in self.segments.iter().filter(|segment| segment.constant) {
                let Range { start, end } = segment.range;
                // SAFETY: a loaded, readable segment of an object that stays loaded, which nobody writes to.
                digest.update(unsafe { std::slice::from_raw_parts(start as *const u8, end - start) });
            }
            digest.finalize().into()
        })
    }
}

/// The first loaded object that `pick` accepts, the program itself being the first.
fn find(pick: impl Fn(&Loaded) -> bool) -> Option<Loaded> {
    struct Search<'a> {
        pick: &'a dyn Fn(&Loaded) -> bool,
        first: bool,
        found: Option<Loaded>,
    }

    unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
        // SAFETY: the search that was passed below, and what the loader fills in for the length of this call.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<Search<'_>>()) };
        // SAFETY: as many headers as the loader says.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let base = info.dlpi_addr as usize;
        let segments = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(|header| {
            let start = base + header.p_vaddr as usize;
            let is = |flag| header.p_flags & flag != 0;
            Segment {
                range: start..start + header.p_filesz as usize,
                executable: is(libc::PF_X),
                constant: is(libc::PF_R) && !is(libc::PF_W),
            }
        });
        let segments = segments.collect();
        let name = match std::mem::take(&mut search.first) || info.dlpi_name.is_null() {
            true => PathBuf::new(),
            // SAFETY: not null, and C's strings end with a zero.
            false => PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes())),
        };
        let loaded = Loaded { base, name, segments };
        if (search.pick)(&loaded) {
            search.found = Some(loaded);
        }
        c_int::from(search.found.is_some())
    }

    let mut search = Search { pick: &pick, first: true, found: None };
    // SAFETY: `visit` gets this search and nothing else does while it is used.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_function() -> usize {
        locate as *const () as usize
    }

    #[test]
    fn a_function_of_this_program_is_found_again() {
        let code = locate(some_function()).unwrap();
        assert_eq!(code.object, ObjectId::Program);
        assert_eq!(resolve(&code).unwrap(), some_function());
    }

    #[test]
    fn a_function_of_a_library_is_found_again() {
        let address = libc::getpid as *const () as usize;
        let code = locate(address).unwrap();
        assert!(matches!(&code.object, ObjectId::Library(path) if path.is_file()), "{code:?}");
        assert_eq!(resolve(&code).unwrap(), address);
    }

    #[test]
    fn other_code_and_offsets_outside_code_are_refused() {
        let code = locate(some_function()).unwrap();
        let mut other = code.clone();
        other.digest[0] ^= 1;
        assert!(resolve(&other).unwrap_err().contains("serve_if_asked"));
        let error = resolve(&FunctionId { offset: u64::MAX, ..code.clone() }).unwrap_err();
        assert!(error.contains("outside the code"), "{error}");
        static CONSTANT: u64 = 7;
        let data = (&raw const CONSTANT as usize).wrapping_sub(some_function()) as u64;
        assert!(resolve(&FunctionId { offset: code.offset.wrapping_add(data), ..code }).is_err());
        assert!(locate(&Box::new(7u8) as *const _ as usize).is_err());
    }

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let code = FunctionId {
            object: ObjectId::Library("/nowhere/libcode_1.so".into()),
            ..locate(some_function()).unwrap()
        };
        assert!(resolve(&code).unwrap_err().contains("/nowhere/libcode_1.so"));
    }
}
