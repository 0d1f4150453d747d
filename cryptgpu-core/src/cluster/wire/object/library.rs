//! A library as one process names it to another: where its file is, and the digest of what it has loaded of it.

use super::elf::Facts;
use super::error::CodeError;
use super::is_of_the_system;
use super::loaded::{self, Loaded};
use super::sealed::{Sealed, dlopen};
use crate::cluster::wire::text::{hex, shown};
use libloading::os::unix::Library as Opened;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::{CStr, OsStr, OsString, c_int, c_void};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A library with the digest of its file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Library {
    /// What the loader calls it.
    name: String,
    pub(in crate::cluster) path: PathBuf,
    digest: [u8; 32],
}

/// Where a party takes a library from that it has not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Supply {
    /// What the caller has sent, and otherwise the file that it names.
    Files,
    /// What the caller has sent, and nothing else: which files of this machine are read is not the caller's word.
    Sent,
}

/// What the caller has sent of libraries that are not open yet, by digest.
static SENT: Mutex<Option<HashMap<[u8; 32], Sealed>>> = Mutex::new(None);

impl Library {
    /// `object` of this process behind all that it needs, in the order in which they can be opened.
    pub(in crate::cluster::wire) fn with_needs(object: &Loaded) -> Result<Vec<Library>, CodeError> {
        let mut found = Vec::new();
        Library::collect(object, &mut found)?;
        Ok(found)
    }

    fn collect(object: &Loaded, found: &mut Vec<Library>) -> Result<(), CodeError> {
        let (facts, path) = (object.facts()?, object.path());
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = facts.names.own.or(file).unwrap_or_default();
        if found.iter().any(|library| library.name == name) {
            return Ok(());
        }
        for needed in facts.names.needed.iter().filter(|needed| !is_of_the_system(needed)) {
            let needed = loaded::called(needed)
                .ok_or_else(|| CodeError::Uncompared { path: path.clone(), needs: needed.to_string() })?;
            Library::collect(&needed, found)?;
        }
        found.push(Library { name, path, digest: facts.digest });
        Ok(())
    }

    /// A library of this machine behind all that it needs, which is looked for beside it and where it says itself
    /// (`DT_RUNPATH`). None of them is opened.
    pub(in crate::cluster) fn of_file(path: &Path) -> Result<Vec<Library>, CodeError> {
        let mut found = Vec::new();
        Library::collect_files(path, &mut found)?;
        Ok(found)
    }

    /// The digest of a library's or program's file.
    pub(in crate::cluster) fn digest_of(path: &Path) -> Result<[u8; 32], CodeError> {
        let facts = File::open(path).and_then(|file| Facts::read(&file));
        facts.map(|facts| facts.digest).map_err(|error| CodeError::unreadable(path, &error))
    }

    fn collect_files(path: &Path, found: &mut Vec<Library>) -> Result<(), CodeError> {
        let unreadable = |error: std::io::Error| CodeError::unreadable(path, &error);
        let path = std::path::absolute(path).map_err(unreadable)?;
        let facts = File::open(&path).and_then(|file| Facts::read(&file)).map_err(unreadable)?;
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = facts.names.own.or(file).unwrap_or_default();
        if found.iter().any(|library| library.name == name) {
            return Ok(());
        }
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let search = facts.names.search.unwrap_or_default();
        let said = search.split(':').filter(|place| !place.is_empty());
        let said = said.map(|place| PathBuf::from(place.replace("$ORIGIN", &folder.to_string_lossy())));
        let folders: Vec<PathBuf> = std::iter::once(folder.clone()).chain(said).collect();
        for needed in facts.names.needed.iter().filter(|needed| !is_of_the_system(needed)) {
            let place = folders.iter().map(|folder| folder.join(needed)).find(|place| place.is_file());
            let place = place.ok_or_else(|| CodeError::Uncompared { path: path.clone(), needs: needed.to_string() })?;
            Library::collect_files(&place, found)?;
        }
        found.push(Library { name, path, digest: facts.digest });
        Ok(())
    }

    /// Keeps the content of the file, as the caller has sent it, for [`Library::obtain`] to open: at another host there is no
    /// such file. It is compared first.
    pub(in crate::cluster) fn keep(&self, content: &[u8]) -> Result<(), CodeError> {
        let sealed = Sealed::read(content, &self.path, &self.digest)?;
        SENT.lock().get_or_insert_default().insert(self.digest, sealed);
        Ok(())
    }

    /// What the loader calls it.
    pub(in crate::cluster::wire) fn name(&self) -> &str {
        &self.name
    }

    /// What tells it from others.
    pub(in crate::cluster) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What it is called in errors: its name, as far as it is shown, and its digest.
    pub(in crate::cluster) fn describe(&self) -> String {
        format!("{} has the digest {}", shown(&self.name), hex(self.digest))
    }

    /// Whether this process has loaded this very library.
    pub(in crate::cluster::wire) fn is_here(&self) -> bool {
        loaded::called(&self.name).is_some_and(|object| object.digest().is_ok_and(|digest| digest == self.digest))
    }

    /// The library in this process; it is compared and opened if it is not there yet.
    pub(in crate::cluster::wire) fn obtain(&self, supply: Supply, flags: c_int) -> Result<Loaded, CodeError> {
        static OPENED: Mutex<Option<HashMap<[u8; 32], usize>>> = Mutex::new(None);
        let mut opened = OPENED.lock();
        let opened = opened.get_or_insert_default();
        if let Some(object) = opened.get(&self.digest).and_then(|base| loaded::at(*base)) {
            return Ok(object);
        }
        let object = match loaded::called(&self.name) {
            Some(object) if object.digest()? == self.digest => object,
            Some(_) => return Err(CodeError::OtherLoaded { name: self.name.clone() }),
            None => {
                let sent = SENT.lock().get_or_insert_default().remove(&self.digest);
                let missing = || match supply {
                    Supply::Files => Sealed::copy(&self.path, &self.digest),
                    Supply::Sent => Err(CodeError::NotSent { name: shown(&self.name), digest: hex(self.digest) }),
                };
                sent.map_or_else(missing, Ok)?.open(flags)?
            }
        };
        opened.insert(self.digest, object.base);
        Ok(object)
    }

    /// As an argument of a program: the digest, a colon, the name, a colon, the path.
    pub(in crate::cluster) fn to_argument(&self) -> OsString {
        let mut argument = OsString::from(self.argument_before_path());
        argument.push(&self.path);
        argument
    }

    /// That argument without the path, which is its end.
    pub(in crate::cluster) fn argument_before_path(&self) -> String {
        format!("{}:{}:", hex(self.digest), self.name)
    }

    /// What [`Library::to_argument`] has written.
    pub(in crate::cluster) fn from_argument(argument: &OsStr) -> Result<Self, CodeError> {
        let read = || {
            let mut parts = argument.as_bytes().splitn(3, |byte| *byte == b':');
            let (digits, name, path) = (str::from_utf8(parts.next()?).ok()?, parts.next()?, parts.next()?);
            let mut digest = [0u8; 32];
            if digits.len() != 64 || !digits.is_ascii() {
                return None;
            }
            for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
                *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
            }
            let name = String::from_utf8(name.to_vec()).ok()?;
            Some(Library { name, path: OsString::from_vec(path.to_vec()).into(), digest })
        };
        read().ok_or_else(|| CodeError::Argument { argument: argument.to_string_lossy().into_owned() })
    }
}

/// The address of `symbol` in a loaded object; none if it does not export it.
pub(in crate::cluster::wire) fn address_of(object: &Loaded, symbol: &CStr) -> Option<usize> {
    let library: Opened = dlopen(&object.name, libc::RTLD_NOW | libc::RTLD_NOLOAD).ok()?;
    // SAFETY: only the address is taken, whatever lies there; nothing is read or called by it here.
    let found = unsafe { library.get::<*const c_void>(symbol) }.ok()?;
    let address = found.as_raw_ptr();
    (!address.is_null()).then_some(address as usize)
}
