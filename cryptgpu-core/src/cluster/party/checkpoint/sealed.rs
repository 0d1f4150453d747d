//! One sealed file: a head that says what it is of, and a state that only the party's key opens. AES-256 in Galois counter
//! mode, with a nonce drawn at random for each file; the head is authenticated with it.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `CGPUSHRS` of a checkpoint, `CGPUSAVD` of what is saved by name |
//! | 4 | the format, 2 |
//! | 4 | h, the length of the label |
//! | 8 | n, the length of the state |
//! | 8 | the name of the key |
//! | 12 | the nonce |
//! | h | the label: what it is of, by postcard |
//! | n | the state, encrypted |
//! | 16 | the tag |

use super::error::{SealedError, SealedKind};
use super::key::CheckpointKey;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes before the label.
const FIXED: usize = 44;
const TAG: usize = 16;
/// The most that a label may take.
const MOST_LABEL: usize = 1 << 16;
/// The most that a state may take; the mode allows not quite twice as much under one nonce.
const MOST_STATE: u64 = 1 << 35;

/// What a file is of.
pub(super) trait Label: Serialize + DeserializeOwned {
    /// What such a file is.
    const KIND: SealedKind;
    /// Its first bytes.
    const MAGIC: &[u8; 8];
    /// How label and state are written.
    const FORMAT: u32;
}

/// A state that is sealed, and can be written.
pub(super) struct Sealed {
    head: Vec<u8>,
    state: Zeroizing<Vec<u8>>,
    tag: [u8; TAG],
}

impl Sealed {
    /// Seals a state where it lies: no copy of it is made.
    pub(super) fn new<L: Label>(
        key: &CheckpointKey,
        label: &L,
        mut state: Zeroizing<Vec<u8>>,
        path: &Path,
    ) -> Result<Self, SealedError> {
        let too_large = |limit: u64| SealedError::TooLarge { path: path.to_owned(), bytes: state.len() as u64, limit };
        let failed = |error: &dyn std::fmt::Display| SealedError::io("write", path, error);
        let said = postcard::to_stdvec(label).map_err(|error| failed(&error))?;
        if state.len() as u64 > MOST_STATE || said.len() > MOST_LABEL {
            return Err(too_large(MOST_STATE));
        }
        let mut nonce = [0u8; 12];
        let entropy =
            |error: getrandom::Error| SealedError::Entropy { path: path.to_owned(), detail: error.to_string() };
        getrandom::fill(&mut nonce).map_err(entropy)?;
        let mut head = Vec::with_capacity(FIXED + said.len());
        head.extend_from_slice(L::MAGIC);
        head.extend_from_slice(&L::FORMAT.to_le_bytes());
        head.extend_from_slice(&(said.len() as u32).to_le_bytes());
        head.extend_from_slice(&(state.len() as u64).to_le_bytes());
        head.extend_from_slice(&key.name());
        head.extend_from_slice(&nonce);
        head.extend_from_slice(&said);
        let sealed = cipher(key).encrypt_inout_detached(&nonce.into(), &head, state.as_mut_slice().into());
        let tag = sealed.map_err(|error| failed(&error))?.into();
        Ok(Sealed { head, state, tag })
    }

    pub(super) fn write(&self, file: &mut File) -> io::Result<()> {
        file.write_all(&self.head)?;
        file.write_all(&self.state)?;
        file.write_all(&self.tag)
    }
}

fn cipher(key: &CheckpointKey) -> Aes256Gcm {
    Aes256Gcm::new(key.expose().into())
}

/// A file's head, as it says itself; nothing of it is authenticated yet.
struct Head {
    bytes: Vec<u8>,
    key: [u8; 8],
    nonce: [u8; 12],
    state: u64,
}

impl Head {
    fn read<L: Label>(file: &mut File, path: &Path) -> Result<Self, SealedError> {
        let failed = |error: io::Error| SealedError::io("read", path, &error);
        let found = file.metadata().map_err(failed)?.len();
        let ends = |expected: u64| SealedError::Truncated { kind: L::KIND, path: path.to_owned(), found, expected };
        if found < FIXED as u64 {
            return Err(ends(FIXED as u64));
        }
        let mut bytes = vec![0; FIXED];
        file.read_exact(&mut bytes).map_err(failed)?;
        if !bytes.starts_with(L::MAGIC) {
            return Err(SealedError::Foreign { kind: L::KIND, path: path.to_owned() });
        }
        let format = u32::from_le_bytes(piece(&bytes, 8));
        if format != L::FORMAT {
            let (kind, path, expected) = (L::KIND, path.to_owned(), L::FORMAT);
            return Err(SealedError::Format { kind, path, found: format, expected });
        }
        let (label, state) = (u32::from_le_bytes(piece(&bytes, 12)), u64::from_le_bytes(piece(&bytes, 16)));
        let (key, nonce) = (piece(&bytes, 24), piece(&bytes, 32));
        let expected = state.saturating_add(u64::from(label) + (FIXED + TAG) as u64);
        if found < expected {
            return Err(ends(expected));
        }
        if found > expected || label as usize > MOST_LABEL || state > MOST_STATE {
            return Err(SealedError::Changed { kind: L::KIND, path: path.to_owned() });
        }
        bytes.resize(FIXED + label as usize, 0);
        file.read_exact(&mut bytes[FIXED..]).map_err(failed)?;
        Ok(Head { bytes, key, nonce, state })
    }

    fn label<L: Label>(&self, path: &Path) -> Result<L, SealedError> {
        postcard::from_bytes(&self.bytes[FIXED..])
            .map_err(|_| SealedError::Changed { kind: L::KIND, path: path.to_owned() })
    }
}

fn piece<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut piece = [0; N];
    piece.copy_from_slice(&bytes[at..at + N]);
    piece
}

/// What the file at `path` says that it is of. Anybody who can write there may have written that.
pub(super) fn claimed<L: Label>(path: &Path) -> Result<L, SealedError> {
    let mut file = File::open(path).map_err(|error| SealedError::io("read", path, &error))?;
    Head::read::<L>(&mut file, path)?.label(path)
}

/// What the file at `path` is of, and its state: all as it was written.
pub(super) fn open<L: Label>(key: &CheckpointKey, path: &Path) -> Result<(L, Zeroizing<Vec<u8>>), SealedError> {
    let failed = |error: io::Error| SealedError::io("read", path, &error);
    let changed = || SealedError::Changed { kind: L::KIND, path: path.to_owned() };
    let mut file = File::open(path).map_err(failed)?;
    let head = Head::read::<L>(&mut file, path)?;
    if head.key != key.name() {
        return Err(SealedError::OtherKey { path: path.to_owned(), key: key.path().to_owned() });
    }
    let mut state = Zeroizing::new(vec![0; head.state as usize]);
    file.read_exact(&mut state).map_err(failed)?;
    let mut tag = [0; TAG];
    file.read_exact(&mut tag).map_err(failed)?;
    let nonce = head.nonce.into();
    let opened = cipher(key).decrypt_inout_detached(&nonce, &head.bytes, state.as_mut_slice().into(), &tag.into());
    opened.map_err(|_| changed())?;
    Ok((head.label(path)?, state))
}
