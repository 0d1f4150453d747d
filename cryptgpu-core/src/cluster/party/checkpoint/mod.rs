//! A party's sealed files: checkpoints, which hold its shares and keys at some iteration of a run, and what it has saved by
//! name, each sealed with a key that the party holds. They appear whole or not at all, and one that is not what and whose it
//! should be is refused. What is in a state is bytes here, and nothing is sent to anybody. See
//! `docs/adr/0026-checkpoints-of-shares.md` and `docs/adr/0056-saved-models-and-serving.md`.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | [`Checkpoints`]: those of one party of one run |
//! | `saved.rs` | [`SavedFiles`]: what a party has saved by name |
//! | `sealed.rs` | one file: the format, sealing and opening |
//! | `key.rs` | [`CheckpointKey`]: the key, in a file of its own |
//! | `place.rs` | files that nobody else can read and that appear whole |
//! | `error.rs` | [`SealedError`]: why a file cannot be written, or is refused |

mod error;
mod key;
mod place;
mod saved;
mod sealed;
#[cfg(test)]
mod tests;

pub use error::{SealedError, SealedKind};
pub use key::CheckpointKey;
pub(in crate::cluster) use key::serving_identity;
pub(in crate::cluster) use saved::{FOLDER as SAVED_FOLDER, SavedFiles, SavedLabel, Summary, check_name, describe};

use crate::net::PartyId;
use sealed::Sealed;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What a checkpoint is of. A run goes on only from one that agrees in all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The run, by a name that no other has.
    pub run: String,
    /// Whose shares they are.
    pub party: PartyId,
    /// The program that wrote it, with its commit.
    pub program: String,
    /// The network.
    pub network: String,
}

/// What a checkpoint's file is of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Label {
    origin: Origin,
    iteration: u64,
}

impl sealed::Label for Label {
    const KIND: SealedKind = SealedKind::Checkpoint;
    const MAGIC: &[u8; 8] = b"CGPUSHRS";
    const FORMAT: u32 = 2;
}

/// Checkpoints that are kept: the parties write one after the other and may be stopped between, so each keeps the one
/// before its last too, which the others are sure to have.
const KEPT: usize = 2;

const SUFFIX: &str = ".checkpoint";

/// The checkpoints of one party of one run, in one folder.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    origin: Origin,
    key: CheckpointKey,
}

impl Checkpoints {
    /// Checkpoints of `origin` in `folder`, which is made when the first one is written.
    pub fn new(folder: impl Into<PathBuf>, origin: Origin, key: CheckpointKey) -> Self {
        Checkpoints { folder: folder.into(), origin, key }
    }

    /// The run that the last checkpoint of `party` in `folder` says to be of; none where there is no checkpoint. To go on
    /// with that run: [`Checkpoints::read`] refuses files that others have written.
    ///
    /// # Errors
    /// [`SealedError`] for a file that is no checkpoint.
    pub fn run_in(folder: &Path, party: PartyId) -> Result<Option<String>, SealedError> {
        let last = files(folder, party)?.pop();
        last.map(|(_, path)| Ok(sealed::claimed::<Label>(&path)?.origin.run)).transpose()
    }

    /// The iterations that there are checkpoints of, in ascending order.
    ///
    /// # Errors
    /// [`SealedError::Io`] where the folder cannot be read.
    pub fn iterations(&self) -> Result<Vec<u64>, SealedError> {
        Ok(files(&self.folder, self.origin.party)?.into_iter().map(|(iteration, _)| iteration).collect())
    }

    /// Writes the state after so many iterations, and says where. The state is sealed where it lies, and wiped. Whatever
    /// happens meanwhile, the checkpoint before stays whole; older ones go afterwards, and so do later ones, which are of
    /// a continuation that was given up.
    ///
    /// # Errors
    /// [`SealedError::Io`], [`SealedError::Entropy`] and [`SealedError::TooLarge`].
    pub fn write(&self, iteration: u64, state: Zeroizing<Vec<u8>>) -> Result<PathBuf, SealedError> {
        place::create_folder(&self.folder)?;
        let path = self.path(iteration);
        let label = Label { origin: self.origin.clone(), iteration };
        let sealed = Sealed::new(&self.key, &label, state, &path)?;
        place::replace(&path, |file| sealed.write(file))?;
        self.clear(iteration)?;
        Ok(path)
    }

    /// The state after so many iterations.
    ///
    /// # Errors
    /// [`SealedError`], by kind: the file is no checkpoint, of another format, cut off, sealed with another key, not
    /// what was written, or of another run, party, program or network.
    pub fn read(&self, iteration: u64) -> Result<Zeroizing<Vec<u8>>, SealedError> {
        let path = self.path(iteration);
        let (label, state) = match sealed::open::<Label>(&self.key, &path) {
            // Whose file it is says more than that its key is another, which is also true of another party's.
            Err(error @ SealedError::OtherKey { .. }) => {
                self.check_own(&sealed::claimed(&path)?, iteration)?;
                return Err(error);
            }
            opened => opened?,
        };
        self.check_own(&label, iteration)?;
        Ok(state)
    }

    /// Refuses the label of another run, party, program, network or iteration.
    fn check_own(&self, label: &Label, iteration: u64) -> Result<(), SealedError> {
        let (found, expected) = (&label.origin, &self.origin);
        let pairs = [
            ("party", found.party.to_string(), expected.party.to_string()),
            ("run", found.run.clone(), expected.run.clone()),
            ("program", found.program.clone(), expected.program.clone()),
            ("network", found.network.clone(), expected.network.clone()),
            ("iteration", label.iteration.to_string(), iteration.to_string()),
        ];
        match pairs.into_iter().find(|(_, found, expected)| found != expected) {
            Some((what, found, expected)) => {
                Err(SealedError::Other { path: self.path(iteration), what, found, expected })
            }
            None => Ok(()),
        }
    }

    fn path(&self, iteration: u64) -> PathBuf {
        self.folder.join(format!("{}{iteration:09}{SUFFIX}", prefix(self.origin.party)))
    }

    /// Removes what is not needed once there is a checkpoint of `iteration`, and what was left of files that never became
    /// whole.
    fn clear(&self, iteration: u64) -> Result<(), SealedError> {
        let files = files(&self.folder, self.origin.party)?;
        let upto = files.iter().filter(|(at, _)| *at <= iteration).count();
        let old = files.iter().take(upto.saturating_sub(KEPT)).chain(files.iter().skip(upto));
        let partial = format!(".{}", prefix(self.origin.party));
        let partials = entries(&self.folder)?.into_iter().filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with(&partial) && name.ends_with(place::PARTIAL)
        });
        for path in old.map(|(_, path)| path.clone()).chain(partials) {
            std::fs::remove_file(&path).map_err(|error| SealedError::io("remove", &path, &error))?;
        }
        Ok(())
    }
}

fn prefix(party: PartyId) -> String {
    format!("party{party}-")
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, SealedError> {
    let failed = |error: std::io::Error| SealedError::io("read", folder, &error);
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries.map_err(failed)?,
    };
    entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)
}

/// A party's checkpoints in a folder, by iteration.
fn files(folder: &Path, party: PartyId) -> Result<Vec<(u64, PathBuf)>, SealedError> {
    let of = |path: PathBuf| -> Option<(u64, PathBuf)> {
        let name = path.file_name()?.to_str()?;
        let iteration = name.strip_prefix(&prefix(party))?.strip_suffix(SUFFIX)?.parse().ok()?;
        Some((iteration, path))
    };
    let mut files: Vec<_> = entries(folder)?.into_iter().filter_map(of).collect();
    files.sort();
    Ok(files)
}
