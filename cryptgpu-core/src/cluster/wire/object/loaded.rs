//! The objects that this process has loaded, and which files they are. A digest is of the file, and is good only if the
//! file is the one that was loaded: a file built anew has another inode, even at the same path.

use super::elf::Facts;
use super::error::CodeError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files that are opened by their descriptor have such a name.
pub(super) const BY_DESCRIPTOR: &str = "/proc/self/fd/";

/// A part of an object in memory.
#[derive(Debug)]
struct Segment {
    range: Range<usize>,
    executable: bool,
}

/// An object that this process has loaded. None is ever unloaded.
#[derive(Debug)]
pub(in crate::cluster::wire) struct Loaded {
    pub(in crate::cluster::wire) base: usize,
    /// What the loader opened; empty for the program itself.
    pub(in crate::cluster::wire) name: PathBuf,
    segments: Vec<Segment>,
}

impl Loaded {
    pub(in crate::cluster::wire) fn is_program(&self) -> bool {
        self.name.as_os_str().is_empty()
    }

    pub(in crate::cluster::wire) fn holds(&self, address: usize) -> bool {
        self.segments.iter().any(|segment| segment.range.contains(&address))
    }

    /// Whether `address` is code of it.
    pub(in crate::cluster::wire) fn executes(&self, address: usize) -> bool {
        self.segments.iter().any(|segment| segment.executable && segment.range.contains(&address))
    }

    /// Its file.
    pub(in crate::cluster::wire) fn path(&self) -> PathBuf {
        match self.is_program() {
            true => PathBuf::from("/proc/self/exe"),
            false => std::path::absolute(&self.name).unwrap_or_else(|_| self.name.clone()),
        }
    }

    /// SHA-256 of its file, see [`Facts::digest`].
    pub(in crate::cluster::wire) fn digest(&self) -> Result<[u8; 32], CodeError> {
        self.facts().map(|facts| facts.digest)
    }

    /// What its file says about it; read once for each object of this process.
    pub(super) fn facts(&self) -> Result<Facts, CodeError> {
        static KNOWN: Mutex<Option<HashMap<usize, Facts>>> = Mutex::new(None);
        if let Some(facts) = KNOWN.lock().get_or_insert_default().get(&self.base) {
            return Ok(facts.clone());
        }
        let path = self.path();
        let unreadable = |error: io::Error| CodeError::unreadable(&path, &error);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CodeError::Replaced { path: path.clone() },
            _ => unreadable(error),
        })?;
        let address = self.segments.first().map_or(self.base, |segment| segment.range.start);
        if !lies_at(&file, address).map_err(unreadable)? {
            return Err(CodeError::Replaced { path });
        }
        let facts = Facts::read(&file).map_err(unreadable)?;
        KNOWN.lock().get_or_insert_default().insert(self.base, facts.clone());
        Ok(facts)
    }

    fn is_by_descriptor(&self) -> bool {
        self.name.as_os_str().as_bytes().starts_with(BY_DESCRIPTOR.as_bytes())
    }

    /// What the loader takes it for.
    pub(in crate::cluster::wire) fn file_name(&self) -> String {
        let own = self.facts().ok().and_then(|facts| facts.names.own);
        own.unwrap_or_else(|| self.path().file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// Whether the loader takes it when something needs `name`.
    pub(in crate::cluster::wire) fn goes_by(&self, name: &str) -> bool {
        match self.is_by_descriptor() {
            true => self.facts().is_ok_and(|facts| facts.names.own.as_deref() == Some(name)),
            false => self.name.file_name() == Some(OsStr::new(name)),
        }
    }
}

/// The program itself.
pub(in crate::cluster::wire) fn program() -> Option<Loaded> {
    find(Loaded::is_program)
}

/// The object that the loader takes when something needs `name`.
pub(super) fn called(name: &str) -> Option<Loaded> {
    all().into_iter().find(|object| object.goes_by(name))
}

/// Reads the files of the objects that were opened by a descriptor, so that the first call need not wait for it.
pub(in crate::cluster::wire) fn learn() {
    for object in all().into_iter().filter(Loaded::is_by_descriptor) {
        // An error is said when it matters.
        let _ = object.facts();
    }
}

/// All of them. Which files they are must not be asked while the loader goes through them.
fn all() -> Vec<Loaded> {
    let mut all = Vec::new();
    visit(&mut |object| {
        all.push(object);
        false
    });
    all
}

/// The first loaded object that `pick` accepts, the program itself being the first.
pub(in crate::cluster::wire) fn find(pick: impl Fn(&Loaded) -> bool) -> Option<Loaded> {
    let mut found = None;
    visit(&mut |object| {
        found = Some(object).filter(&pick);
        found.is_some()
    });
    found
}

/// Shows each loaded object to `seen`, until that says that it is enough.
fn visit(seen: &mut dyn FnMut(Loaded) -> bool) {
    struct Visit<'a> {
        seen: &'a mut dyn FnMut(Loaded) -> bool,
        first: bool,
    }

    unsafe extern "C" fn show(info: *mut libc::dl_phdr_info, _: usize, visit: *mut c_void) -> c_int {
        // SAFETY: the visit that was passed below, and what the loader fills in for the length of this call.
        let (info, visit) = unsafe { (&*info, &mut *visit.cast::<Visit<'_>>()) };
        // SAFETY: as many headers as the loader says.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let base = info.dlpi_addr as usize;
        let segments = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(|header| {
            let start = base + header.p_vaddr as usize;
            Segment { range: start..start + header.p_filesz as usize, executable: header.p_flags & libc::PF_X != 0 }
        });
        let segments = segments.collect();
        let name = match std::mem::take(&mut visit.first) || info.dlpi_name.is_null() {
            true => PathBuf::new(),
            // SAFETY: not null, and C's strings end with a zero.
            false => PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes())),
        };
        c_int::from((visit.seen)(Loaded { base, name, segments }))
    }

    let mut visit = Visit { seen, first: true };
    // SAFETY: `show` gets this visit and nothing else does while it is used.
    unsafe { libc::dl_iterate_phdr(Some(show), (&raw mut visit).cast()) };
}

/// Whether `file` is the one that is mapped at `address`. Both are looked up in the same table, since file systems that
/// lie above others give one file several numbers.
fn lies_at(file: &File, address: usize) -> io::Result<bool> {
    // SAFETY: a new mapping that nothing reads, and that is taken away below.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 1, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let maps = std::fs::read("/proc/self/maps");
    // SAFETY: the mapping from above.
    unsafe { libc::munmap(page, 1) };
    let maps = maps?;
    let maps = String::from_utf8_lossy(&maps);
    let there = file_at(&maps, address);
    Ok(there.is_some() && there == file_at(&maps, page as usize))
}

/// Device and inode of what is mapped at `address`, from a line `start-end flags offset device inode path`.
fn file_at(maps: &str, address: usize) -> Option<(&str, &str)> {
    let hex = |text: &str| usize::from_str_radix(text, 16).ok();
    maps.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        if !(hex(start)?..hex(end)?).contains(&address) {
            return None;
        }
        Some((words.nth(2)?, words.next()?))
    })
}

/// The object at `base`.
pub(super) fn at(base: usize) -> Option<Loaded> {
    find(|object| object.base == base)
}

/// The name under which the loader opens what `descriptor` is.
pub(super) fn by_descriptor(descriptor: c_int) -> PathBuf {
    Path::new(BY_DESCRIPTOR).join(descriptor.to_string())
}
