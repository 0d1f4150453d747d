//! The key that a party's files are sealed with: a file that only the party's account can read, made at first use.

use super::error::SealedError;
use super::place::{create_once, usual_folder};
use crate::net::{Identity, PartyId};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The folder of keys, for those who do not want it at its usual place.
const FOLDER: &str = "CRYPTGPU_KEYS";

const BYTES: usize = 32;

/// The key that a party seals its checkpoints and what it saves with. Whoever has it and the files of two parties has the secrets.
pub struct CheckpointKey {
    bytes: Zeroizing<[u8; BYTES]>,
    path: PathBuf,
}

/// Where a party's keys are.
fn folder(party: PartyId) -> Result<PathBuf, SealedError> {
    usual_folder(FOLDER, "XDG_CONFIG_HOME", ".config").ok_or(SealedError::NoPlace { party, variable: FOLDER })
}

/// A key's file and its length, if nobody else can read it.
fn open_private(path: &Path) -> Result<(File, u64), SealedError> {
    let failed = |error: std::io::Error| SealedError::io("read", path, &error);
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let mode = about.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok((file, about.len())),
        _ => Err(SealedError::Exposed { path: path.to_owned(), mode }),
    }
}

impl CheckpointKey {
    /// A party's key: `checkpoint.partyN.key` in the folder that the environment variable `CRYPTGPU_KEYS` names, or in
    /// `$XDG_CONFIG_HOME/cryptgpu`, or in `~/.config/cryptgpu`.
    ///
    /// # Errors
    /// As [`CheckpointKey::at`]; [`SealedError::NoPlace`] where none of these is known.
    pub fn of_party(party: PartyId) -> Result<Self, SealedError> {
        Self::at(folder(party)?.join(format!("checkpoint.party{party}.key")))
    }

    /// The key in the file at `path`: 32 random bytes that are written there, for this account alone, if there is none.
    ///
    /// # Errors
    /// [`SealedError::Exposed`] if others can read it, [`SealedError::NoKey`] if it is none,
    /// [`SealedError::Io`] and [`SealedError::Entropy`] with what the operating system says.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, SealedError> {
        let path = path.into();
        if !path.exists() {
            make(&path)?;
        }
        let (mut file, length) = open_private(&path)?;
        if length != BYTES as u64 {
            return Err(SealedError::NoKey { path, expected: BYTES });
        }
        let mut bytes = Zeroizing::new([0; BYTES]);
        file.read_exact(bytes.as_mut()).map_err(|error| SealedError::io("read", &path, &error))?;
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
fn make(path: &Path) -> Result<(), SealedError> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    let entropy = |error: getrandom::Error| SealedError::Entropy { path: path.to_owned(), detail: error.to_string() };
    getrandom::fill(bytes.as_mut()).map_err(entropy)?;
    create_once(path, bytes.as_ref())
}

/// The identity by which clients know a party that serves: `serving.partyN.pem` beside its other keys, made at first use.
pub(in crate::cluster) fn serving_identity(party: PartyId) -> Result<Identity, SealedError> {
    let path = folder(party)?.join(format!("serving.party{party}.pem"));
    if !path.exists() {
        let made = Identity::generate_pem(&format!("party {party}"));
        let entropy = |error: &dyn fmt::Display| SealedError::Entropy { path: path.clone(), detail: error.to_string() };
        let (_, certificate, key) = made.map_err(|error| entropy(&error))?;
        let both = Zeroizing::new([certificate.as_bytes(), key.as_bytes()].concat());
        create_once(&path, &both)?;
    }
    let mut text = Zeroizing::new(vec![]);
    let (mut file, _) = open_private(&path)?;
    file.read_to_end(&mut text).map_err(|error| SealedError::io("read", &path, &error))?;
    Identity::from_pem(&text, &text).map_err(|detail| SealedError::io("use the key in", &path, &detail))
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointKey({})", self.path.display())
    }
}
