//! The identity of a function: which object file its code is in, and how far behind the beginning. Another process
//! that has opened the same file finds the same function by it.
//!
//! An object counts as the same if all that is loaded of its file is: a file that was built anew in the meantime, or
//! another one at the same path, is an error. It is not opened then, so that not even its initialisers run.

use super::object::loaded;
use super::object::{CodeError, Library, Supply, address_of};
use super::text::hex;
use sha2::{Digest, Sha256};
use std::ffi::CStr;

/// The object file that a function is in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum ObjectId {
    /// The program itself, which cannot be opened like a library, by the digest of its file.
    Program([u8; 32]),
    /// A library, such as evcxr makes of each cell, behind all that it needs.
    Libraries(Vec<Library>),
}

/// Where a function is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct FunctionId {
    object: ObjectId,
    offset: u64,
}

impl FunctionId {
    /// A digest of its code: of all that is loaded of its object and of what that needs, and of the place in it. It is the
    /// same for everybody who has built the same.
    pub(in crate::cluster) fn digest(&self) -> [u8; 32] {
        let digest = Sha256::new().chain_update(self.offset.to_le_bytes());
        match &self.object {
            ObjectId::Program(object) => digest.chain_update(object),
            ObjectId::Libraries(libraries) => {
                libraries.iter().fold(digest, |digest, library| digest.chain_update(library.digest()))
            }
        }
        .finalize()
        .into()
    }

    /// The digest of its object: of the program, or of a library whose needs are all here already, so that it says all of
    /// what the function runs. What `cryptgpu digest` shows of a file.
    pub(in crate::cluster) fn object_digest(&self) -> Option<[u8; 32]> {
        match &self.object {
            ObjectId::Program(object) => Some(*object),
            ObjectId::Libraries(libraries) => {
                let (last, needs) = libraries.split_last()?;
                needs.iter().all(Library::is_here).then(|| last.digest())
            }
        }
    }

    /// The libraries that it needs, its own last; none of a function of the program itself.
    pub(in crate::cluster) fn libraries(&self) -> &[Library] {
        match &self.object {
            ObjectId::Program(_) => &[],
            ObjectId::Libraries(libraries) => libraries,
        }
    }
}

/// An address that is the same for all code that shares this copy of the library.
#[inline(never)]
pub(in crate::cluster) fn runtime() -> usize {
    static MARK: u8 = 0;
    &raw const MARK as usize
}

/// Reads the library that this party runs, on a thread of its own, so that the first call need not wait for it.
pub(in crate::cluster) fn learn() {
    // Without a thread the first call does it.
    let _ = std::thread::Builder::new().name("code".into()).spawn(loaded::learn);
}

/// Where the function at `address` of this process is.
pub(in crate::cluster) fn locate(address: usize) -> Result<FunctionId, CodeError> {
    let object = loaded::find(|object| object.holds(address)).ok_or(CodeError::Nowhere)?;
    let id = match object.is_program() {
        true => ObjectId::Program(object.digest()?),
        false => ObjectId::Libraries(Library::with_needs(&object)?),
    };
    Ok(FunctionId { object: id, offset: (address - object.base) as u64 })
}

/// Whether a function is linked with the code that this process runs: the program, or the library that cells link. Nothing
/// is opened.
pub(in crate::cluster) fn compare(code: &FunctionId) -> Result<(), CodeError> {
    /// What a caller names beyond that is not told.
    const TOLD: usize = 8;
    let own = loaded::find(|object| object.holds(runtime())).ok_or(CodeError::Nowhere)?;
    let digest = own.digest()?;
    let theirs = match &code.object {
        ObjectId::Program(theirs) if own.is_program() && *theirs == digest => return Ok(()),
        ObjectId::Program(theirs) => format!("program has the digest {}", hex(theirs)),
        ObjectId::Libraries(libraries) => {
            let named = || libraries.iter().filter(|library| own.goes_by(library.name()));
            if !own.is_program() && named().any(|library| library.digest() == digest) {
                return Ok(());
            }
            let mut told: Vec<String> = named().map(Library::describe).take(TOLD).collect();
            if told.is_empty() {
                told = libraries.iter().map(Library::describe).take(TOLD).collect();
            }
            told.join(", ")
        }
    };
    let kind = match own.is_program() {
        true => "program".to_owned(),
        false => own.file_name(),
    };
    Err(CodeError::OtherRuntime { theirs, own: format!("{kind} has the digest {}", hex(digest)) })
}

/// The address of that function in this process, which opens the object if need be, once it has been compared.
pub(in crate::cluster) fn resolve(code: &FunctionId, supply: Supply) -> Result<usize, CodeError> {
    let outside = |object: String| CodeError::Outside { offset: code.offset, object };
    let (object, name) = match &code.object {
        ObjectId::Program(digest) => {
            let name = std::env::current_exe().unwrap_or_default();
            let program = loaded::program().ok_or_else(|| outside("this program".into()))?;
            if program.digest()? != *digest {
                return Err(CodeError::OtherProgram { path: name });
            }
            (program, name)
        }
        ObjectId::Libraries(libraries) => {
            let (last, needs) = libraries.split_last().ok_or_else(|| outside("no library".into()))?;
            for library in needs {
                library.obtain(supply, libc::RTLD_NOW | libc::RTLD_LOCAL)?;
            }
            (last.obtain(supply, libc::RTLD_NOW | libc::RTLD_LOCAL)?, last.path.clone())
        }
    };
    let address = usize::try_from(code.offset).ok().and_then(|offset| object.base.checked_add(offset));
    address.filter(|&address| object.executes(address)).ok_or_else(|| outside(name.display().to_string()))
}

/// The dynamic library that `address` is in and that exports `symbol`, behind all that it needs; none if that is the
/// program itself.
pub(in crate::cluster) fn library_of(address: usize, symbol: &CStr) -> Result<Option<Vec<Library>>, CodeError> {
    let Some(object) = loaded::find(|object| object.holds(address)).filter(|object| !object.is_program()) else {
        return Ok(None);
    };
    match address_of(&object, symbol) {
        Some(_) => Library::with_needs(&object).map(Some),
        None => Ok(None),
    }
}

/// Compares the libraries, opens them for good, and gives the address of `symbol` in the last of them.
pub(in crate::cluster) fn symbol(libraries: &[Library], symbol: &CStr) -> Result<usize, CodeError> {
    let mut found = Err(CodeError::Nowhere);
    for library in libraries {
        let object = library.obtain(Supply::Files, libc::RTLD_NOW | libc::RTLD_GLOBAL)?;
        found = address_of(&object, symbol)
            .ok_or_else(|| CodeError::NoEntry { path: library.path.clone(), symbol: format!("{symbol:?}") });
    }
    found
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
        assert!(matches!(code.object, ObjectId::Program(_)), "{code:?}");
        assert_eq!(resolve(&code, Supply::Sent).unwrap(), some_function());
        assert_eq!(compare(&code), Ok(()));
    }

    #[test]
    fn a_function_of_a_library_is_found_again() {
        let address = libc::getpid as *const () as usize;
        let code = locate(address).unwrap();
        let ObjectId::Libraries(libraries) = &code.object else { panic!("{code:?}") };
        assert!(libraries.len() == 1 && libraries[0].path.is_file(), "{code:?}");
        assert_eq!(resolve(&code, Supply::Files).unwrap(), address);
        // A library is not the program that the test runs.
        let (error, ObjectId::Program(own)) = (compare(&code).unwrap_err(), locate(some_function()).unwrap().object)
        else {
            panic!("the test is in no program")
        };
        for digest in [own, libraries[0].digest()] {
            assert!(error.to_string().contains(&hex(digest)), "{error}");
        }
        // A file that is here is not opened by the caller's word.
        let argument = format!("{}:libnone.so:/dev/zero", "0".repeat(64));
        let library = Library::from_argument(argument.as_ref()).unwrap();
        let code = FunctionId { object: ObjectId::Libraries(vec![library]), offset: 0 };
        assert!(matches!(resolve(&code, Supply::Sent), Err(CodeError::NotSent { .. })));
    }

    #[test]
    fn other_code_and_offsets_outside_code_are_refused() {
        let code = locate(some_function()).unwrap();
        let ObjectId::Program(mut digest) = code.object else { panic!("{code:?}") };
        digest[0] ^= 1;
        let other = FunctionId { object: ObjectId::Program(digest), ..code };
        let error = resolve(&other, Supply::Files).unwrap_err();
        assert!(matches!(error, CodeError::OtherProgram { .. }), "{error}");
        assert!(error.to_string().contains("serve_if_asked"), "{error}");
        let error = resolve(&FunctionId { offset: u64::MAX, ..code.clone() }, Supply::Files).unwrap_err();
        assert!(matches!(error, CodeError::Outside { .. }), "{error}");
        static CONSTANT: u64 = 7;
        let data = (&raw const CONSTANT as usize).wrapping_sub(some_function()) as u64;
        assert!(resolve(&FunctionId { offset: code.offset.wrapping_add(data), ..code }, Supply::Files).is_err());
        assert_eq!(locate(&Box::new(7u8) as *const _ as usize).unwrap_err(), CodeError::Nowhere);
    }
}
