//! The key that a party's checkpoints are sealed with: a file that only the party's account can read, made at first use.

use super::error::CheckpointError;
use super::place::{create_folder, create_private};
use crate::net::PartyId;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The folder of keys, for those who do not want it at its usual place.
const FOLDER: &str = "CRYPTGPU_KEYS";

const BYTES: usize = 32;

/// The key that a party seals its checkpoints with. Whoever has it and the files of two parties has the secrets.
pub struct CheckpointKey {
    bytes: Zeroizing<[u8; BYTES]>,
    path: PathBuf,
}

impl CheckpointKey {
    /// A party's key: `checkpoint.partyN.key` in the folder that the environment variable `CRYPTGPU_KEYS` names, or in
    /// `$XDG_CONFIG_HOME/cryptgpu`, or in `~/.config/cryptgpu`.
    ///
    /// # Errors
    /// As [`CheckpointKey::at`]; [`CheckpointError::NoPlace`] where none of these is known.
    pub fn of_party(party: PartyId) -> Result<Self, CheckpointError> {
        let known = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let usual = || known("XDG_CONFIG_HOME").or_else(|| Some(known("HOME")?.join(".config")));
        let folder = known(FOLDER).or_else(|| Some(usual()?.join("cryptgpu")));
        let folder = folder.ok_or(CheckpointError::NoPlace { party, variable: FOLDER })?;
        Self::at(folder.join(format!("checkpoint.party{party}.key")))
    }

    /// The key in the file at `path`: 32 random bytes that are written there, for this account alone, if there is none.
    ///
    /// # Errors
    /// [`CheckpointError::Exposed`] if others can read it, [`CheckpointError::NoKey`] if it is none,
    /// [`CheckpointError::Io`] and [`CheckpointError::Entropy`] with what the operating system says.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        if !path.exists() {
            make(&path)?;
        }
        let failed = |error: std::io::Error| CheckpointError::io("read", &path, &error);
        let mut file = File::open(&path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CheckpointError::Exposed { path, mode });
        }
        if about.len() != BYTES as u64 {
            return Err(CheckpointError::NoKey { path, expected: BYTES });
        }
        let mut bytes = Zeroizing::new([0; BYTES]);
        file.read_exact(bytes.as_mut()).map_err(failed)?;
        Ok(CheckpointKey { bytes, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn expose(&self) -> &[u8; BYTES] {
        &self.bytes
    }

    /// What a checkpoint says of the key that it is sealed with. It does not lead back to the key, which is random.
    pub(super) fn name(&self) -> [u8; 8] {
        let mut digest = Sha256::new();
        digest.update(b"the name of a key of checkpoints");
        digest.update(self.expose());
        let digest: [u8; 32] = digest.finalize().into();
        let mut name = [0; 8];
        name.copy_from_slice(&digest[..8]);
        name
    }
}

/// Makes a key there. Where two do that at once, the first one's stays.
fn make(path: &Path) -> Result<(), CheckpointError> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    let entropy =
        |error: getrandom::Error| CheckpointError::Entropy { path: path.to_owned(), detail: error.to_string() };
    getrandom::fill(bytes.as_mut()).map_err(entropy)?;
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let (partial, mut file) = create_private(path)?;
    let written = file.write_all(bytes.as_ref()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match std::fs::hard_link(&partial, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // What it was written to is of no use any more; the first error is the one that is reported.
    let _ = std::fs::remove_file(&partial);
    linked.map_err(|error| CheckpointError::io("write", path, &error))
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointKey({})", self.path.display())
    }
}
