//! What a host must have before its party can run: the program, and the libraries that a notebook's cells link, each by the
//! SHA-256 of its file, under which the host keeps it.

use crate::cluster::launch::program::Program;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::object::{LibcVersion, libc_needed};
use crate::cluster::wire::text::hex;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that is copied where it is not there yet.
#[derive(Clone, Debug)]
pub(super) struct Shipped {
    pub(super) from: PathBuf,
    /// Below the host's cache.
    pub(super) to: String,
    pub(super) digest: String,
    pub(super) len: u64,
}

/// What is needed to start parties of a program at hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Shipment {
    pub(super) files: Vec<Shipped>,
    /// The program's place below the cache.
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    /// Libraries as arguments but for their paths, and their places below the cache.
    pub(super) libraries: Vec<(String, String)>,
    /// The oldest C library that the files run with.
    pub(super) libc: Option<LibcVersion>,
}

impl Shipment {
    /// Reads the files of `program`: the program itself only if some host `copies` it.
    pub(super) fn of(program: &Program, copies: bool) -> Result<Self, ClusterError> {
        let mut shipment = Shipment::default();
        if copies {
            shipment.program = shipment.add("bin", &program.path)?;
        }
        shipment.arguments = program.arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
        for library in &program.libraries {
            let to = shipment.add("lib", &library.path)?;
            shipment.libraries.push((library.argument_before_path(), to));
        }
        Ok(shipment)
    }

    /// The same without the program, for a host that has one; libraries are copied all the same.
    pub(super) fn without_program(&self) -> Self {
        let files = self.files.iter().filter(|file| file.to != self.program).cloned().collect();
        Shipment { files, ..self.clone() }
    }

    /// Adds a file, and gives its place below the cache.
    fn add(&mut self, folder: &str, path: &Path) -> Result<String, ClusterError> {
        let fail = |error: io::Error| ClusterError::Controller {
            action: format!("read {}, which the hosts need", path.display()),
            detail: error.to_string(),
            hint: "Is it still there?".into(),
        };
        let file = File::open(path).map_err(fail)?;
        let known = digest(path, &file).map_err(fail)?;
        self.libc = self.libc.max(known.libc);
        let name = path.file_name().map_or_else(|| "program".into(), |name| name.to_string_lossy());
        // The name is for people who look: the digest tells files apart.
        let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-+".contains(*c)).collect();
        let to = format!("{folder}/{}/{name}", known.digest);
        self.files.push(Shipped { from: path.to_owned(), to: to.clone(), digest: known.digest, len: known.len });
        Ok(to)
    }
}

/// What is known of a file as long as it stays the same.
#[derive(Clone)]
struct Known {
    digest: String,
    len: u64,
    libc: Option<LibcVersion>,
}

/// Device, inode, length, and time of the last change.
type Version = (u64, u64, u64, i64, i64);

/// SHA-256 and needs of a file; read once for each version of it.
fn digest(path: &Path, file: &File) -> io::Result<Known> {
    static READ: Mutex<Option<HashMap<(PathBuf, Version), Known>>> = Mutex::new(None);
    let facts = file.metadata()?;
    let key = (path.to_owned(), (facts.dev(), facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec()));
    if let Some(known) = READ.lock().get_or_insert_default().get(&key) {
        return Ok(known.clone());
    }
    let (mut digest, mut buffer, mut len) = (Sha256::new(), vec![0u8; 256 << 10], 0);
    loop {
        match (&mut &*file).read(&mut buffer)? {
            0 => break,
            read => {
                digest.update(&buffer[..read]);
                len += read as u64;
            }
        }
    }
    let digest = hex(digest.finalize());
    let known = Known { digest, len, libc: libc_needed(file)? };
    READ.lock().get_or_insert_default().insert(key, known.clone());
    Ok(known)
}
