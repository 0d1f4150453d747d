//! What a party has saved by name: one sealed file for each name, which says in the open what it is of.

use super::error::{SealedError, SealedKind};
use super::key::CheckpointKey;
use super::place;
use super::sealed::{self, Sealed};
use crate::net::PartyId;
use crate::ring::FixedPoint;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The folder of what is saved, for those who do not want it at its usual place.
pub(in crate::cluster) const FOLDER: &str = "CRYPTGPU_SAVED";

const SUFFIX: &str = ".shares";
/// The longest name.
const LONGEST: usize = 64;

/// What a saved file says of itself. It is authenticated with the shares, and not secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct SavedLabel {
    pub(in crate::cluster) name: String,
    pub(in crate::cluster) party: PartyId,
    /// A number that all three files of one saving have, and no other.
    pub(in crate::cluster) saving: String,
    /// The program that wrote it, with its commit.
    pub(in crate::cluster) program: String,
    /// When, in seconds since 1970.
    pub(in crate::cluster) at: u64,
    pub(in crate::cluster) summary: Summary,
    /// The codec of its numbers.
    pub(in crate::cluster) codec: FixedPoint,
}

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) enum Summary {
    /// A network with its weights: its name, and the digest by which policies know it.
    Model { network: String, digest: String },
    /// A tensor of that shape.
    Share { shape: Vec<usize> },
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Summary::Model { network, .. } => write!(f, "the model {network}"),
            Summary::Share { shape } => write!(f, "a share of shape {shape:?}"),
        }
    }
}

impl sealed::Label for SavedLabel {
    const KIND: SealedKind = SealedKind::Saved;
    const MAGIC: &[u8; 8] = b"CGPUSAVD";
    const FORMAT: u32 = 2;
}

/// Whether something can be saved under that name: it is part of a file's.
pub(in crate::cluster) fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    match begins && name.len() <= LONGEST && name.chars().all(fits) {
        true => Ok(()),
        false => Err(format!(
            "`{name}` is no name: up to {LONGEST} letters, digits and - _ . make one, a letter or a digit first"
        )),
    }
}

/// Numbers as errors call them.
pub(in crate::cluster) fn describe(codec: FixedPoint) -> String {
    format!("modulo 2^{} with {} fraction bits", codec.ring().bits(), codec.fraction_bits())
}

/// What one party has saved, in one folder.
#[derive(Debug)]
pub(in crate::cluster) struct SavedFiles {
    folder: PathBuf,
    party: PartyId,
}

impl SavedFiles {
    /// Those in the folder that the environment variable `CRYPTGPU_SAVED` names, or in `$XDG_DATA_HOME/cryptgpu`, or in
    /// `~/.local/share/cryptgpu`. It is made when something is saved.
    pub(in crate::cluster) fn of_party(party: PartyId) -> Result<Self, SealedError> {
        let folder = place::usual_folder(FOLDER, "XDG_DATA_HOME", ".local/share");
        Ok(SavedFiles::new(folder.ok_or(SealedError::NoPlace { party, variable: FOLDER })?, party))
    }

    pub(super) fn new(folder: PathBuf, party: PartyId) -> Self {
        SavedFiles { folder, party }
    }

    pub(in crate::cluster) fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// Where what has that name is, or would be.
    pub(in crate::cluster) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{}", self.ending()))
    }

    fn ending(&self) -> String {
        format!(".party{}{SUFFIX}", self.party)
    }

    /// What has that name says that it is of; anybody who can write there may have written that.
    pub(in crate::cluster) fn claimed(&self, name: &str) -> Result<SavedLabel, SealedError> {
        let (path, party) = (self.path(name), self.party);
        if !path.exists() {
            return Err(SealedError::Missing { party, name: name.to_owned(), path });
        }
        sealed::claimed(&path)
    }

    /// Writes what is saved, under a name that nothing has here; the state is sealed where it lies, and wiped.
    pub(in crate::cluster) fn write(
        &self,
        key: &CheckpointKey,
        label: &SavedLabel,
        state: Zeroizing<Vec<u8>>,
    ) -> Result<(), SealedError> {
        place::create_folder(&self.folder)?;
        self.check_free(&label.name)?;
        let path = self.path(&label.name);
        let sealed = Sealed::new(key, label, state, &path)?;
        place::replace(&path, |file| sealed.write(file))
    }

    /// Refuses a name that something has.
    pub(in crate::cluster) fn check_free(&self, name: &str) -> Result<(), SealedError> {
        let (path, party) = (self.path(name), self.party);
        match path.exists() {
            true => Err(SealedError::Taken { party, name: name.to_owned(), path }),
            false => Ok(()),
        }
    }

    /// What was saved under that name in that saving.
    pub(in crate::cluster) fn read(
        &self,
        key: &CheckpointKey,
        name: &str,
        saving: &str,
    ) -> Result<(SavedLabel, Zeroizing<Vec<u8>>), SealedError> {
        let path = self.path(name);
        // Before its key is asked for, which may be another party's: whose file it is says more.
        self.check_own(&self.claimed(name)?, name, saving)?;
        let (label, state) = sealed::open::<SavedLabel>(key, &path)?;
        self.check_own(&label, name, saving)?;
        Ok((label, state))
    }

    fn check_own(&self, label: &SavedLabel, name: &str, saving: &str) -> Result<(), SealedError> {
        let (found, expected) = (label.party.to_string(), self.party.to_string());
        let pairs = [("party", &*found, &*expected), ("name", &*label.name, name), ("saving", &*label.saving, saving)];
        match pairs.into_iter().find(|(_, found, expected)| found != expected) {
            Some((what, found, expected)) => {
                let (path, found, expected) = (self.path(name), found.to_owned(), expected.to_owned());
                Err(SealedError::Other { path, what, found, expected })
            }
            None => Ok(()),
        }
    }

    /// The names that files have here, in order.
    pub(in crate::cluster) fn names(&self) -> Result<Vec<String>, SealedError> {
        let ending = self.ending();
        let name = |path: PathBuf| Some(path.file_name()?.to_str()?.strip_suffix(&ending)?.to_owned());
        let mut names: Vec<String> = super::entries(&self.folder)?.into_iter().filter_map(name).collect();
        names.retain(|name| check_name(name).is_ok());
        names.sort();
        Ok(names)
    }

    /// Removes what has that name, whatever it is; whether there was something.
    pub(in crate::cluster) fn delete(&self, name: &str) -> Result<bool, SealedError> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(SealedError::io("remove", &path, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn label(party: PartyId, saving: &str) -> SavedLabel {
        let [name, saving, program] = ["digits", saving, "0.1.0 e8786fe"].map(str::to_owned);
        let summary = Summary::Share { shape: vec![2] };
        SavedLabel { name, party, saving, program, at: 1_790_000_000, summary, codec: FixedPoint::default() }
    }

    fn saved(folder: &Path, party: PartyId) -> (SavedFiles, CheckpointKey) {
        let key = CheckpointKey::at(folder.join(format!("key{party}"))).unwrap();
        (SavedFiles::new(folder.join("saved"), party), key)
    }

    fn write(folder: &Path, party: PartyId, saving: &str) -> (SavedFiles, CheckpointKey) {
        let (files, key) = saved(folder, party);
        files.write(&key, &label(party, saving), Zeroizing::new(b"shares".to_vec())).unwrap();
        (files, key)
    }

    #[test]
    fn what_was_saved_is_read_by_its_name_and_a_name_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let (files, key) = saved(folder.path(), PartyId::P1);
        assert!(files.names().unwrap().is_empty() && !files.delete("digits").unwrap());
        let error = files.read(&key, "digits", "a1").unwrap_err();
        assert!(matches!(&error, SealedError::Missing { party: PartyId::P1, name, .. } if name == "digits"), "{error}");
        write(folder.path(), PartyId::P1, "a1");
        let (found, state) = files.read(&key, "digits", "a1").unwrap();
        assert_eq!((found, &state[..]), (label(PartyId::P1, "a1"), &b"shares"[..]));
        assert_eq!(files.names().unwrap(), ["digits"]);
        let again = files.write(&key, &label(PartyId::P1, "a2"), Zeroizing::new(vec![]));
        assert!(matches!(again, Err(SealedError::Taken { party: PartyId::P1, .. })));
        assert!(files.delete("digits").unwrap() && files.names().unwrap().is_empty());
        for name in ["", "../x", ".hidden", "a/b", "-rf", "a b", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("resnet-50_v1.2").is_ok());
    }

    #[test]
    fn another_party_key_saving_name_or_a_changed_byte_is_refused_by_file_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let (files, key) = write(folder.path(), PartyId::P0, "a1");
        let (other, other_key) = write(folder.path(), PartyId::P1, "b2");
        let path = files.path("digits");
        let whole = fs::read(&path).unwrap();
        let refused = |error: SealedError, says: &str| {
            let error = error.to_string();
            assert!(error.contains(says) && error.contains(&path.display().to_string()), "{error}");
        };
        refused(files.read(&key, "digits", "b2").unwrap_err(), "is of saving a1, and not of saving b2");
        refused(files.read(&other_key, "digits", "a1").unwrap_err(), "was sealed with another key");
        fs::copy(other.path("digits"), &path).unwrap();
        refused(files.read(&key, "digits", "a1").unwrap_err(), "is of party 1, and not of party 0");
        fs::write(&path, &whole).unwrap();
        fs::copy(&path, files.path("letters")).unwrap();
        let error = files.read(&key, "letters", "a1").unwrap_err().to_string();
        assert!(error.contains("is of name digits, and not of name letters"), "{error}");
        for at in 0..8 * whole.len() {
            let mut changed = whole.clone();
            changed[at / 8] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            files.read(&key, "digits", "a1").unwrap_err();
        }
        for len in [0, 43, 60, whole.len() - 1] {
            fs::write(&path, &whole[..len]).unwrap();
            let error = files.read(&key, "digits", "a1").unwrap_err();
            assert!(matches!(error, SealedError::Truncated { kind: SealedKind::Saved, .. }), "{error}");
        }
        fs::write(&path, [b'x'; 100]).unwrap();
        refused(files.read(&key, "digits", "a1").unwrap_err(), "is no saved share");
        let mut newer = whole.clone();
        newer[8] = 3;
        fs::write(&path, newer).unwrap();
        refused(files.read(&key, "digits", "a1").unwrap_err(), "of format 3, this program reads 2");
    }
}
