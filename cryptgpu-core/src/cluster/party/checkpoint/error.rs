//! Why a sealed file cannot be written, or is refused.

use crate::net::PartyId;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// What a sealed file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealedKind {
    /// A party's state at some iteration of a training.
    Checkpoint,
    /// A party's part of what was saved by name.
    Saved,
}

impl fmt::Display for SealedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SealedKind::Checkpoint => "checkpoint",
            SealedKind::Saved => "saved share",
        })
    }
}

impl SealedKind {
    /// What to do about a file that is damaged.
    fn instead(self) -> &'static str {
        match self {
            SealedKind::Checkpoint => "delete it to go on from the one before it",
            SealedKind::Saved => "bring the right file back, or delete what is saved under this name and save it again",
        }
    }

    /// What to do about a file of another format.
    fn by_format(self) -> &'static str {
        match self {
            SealedKind::Checkpoint => "go on with the program that wrote it",
            SealedKind::Saved => "load it with the program that wrote it, or save it again",
        }
    }
}

/// Why a sealed file, a checkpoint or what was saved by name, cannot be written, or is refused. A file that is refused stays as
/// it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// A file or folder that cannot be read or written.
    #[error("cannot {action} {path}: {detail}")]
    Io {
        /// What was tried: `read`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's words.
        detail: String,
    },
    /// No folder for keys, or for what is saved, is known.
    #[error(
        "there is no place for party {party}'s files: set {variable} to a folder that only this party's account can read"
    )]
    NoPlace {
        /// The party.
        party: PartyId,
        /// The variable that names the folder.
        variable: &'static str,
    },
    /// A key that others could read.
    #[error("others can read the key in {path} (mode {mode:o}): chmod 600 it, or make a new one if they may have")]
    Exposed {
        /// The key's file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file that is no key.
    #[error("{path} is no key of {expected} bytes: bring the right file back; without it, what it has sealed is lost")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// How long a key is.
        expected: usize,
    },
    /// A file that is something else.
    #[error("{path} is no {kind} of this program's")]
    Foreign {
        /// What it should be.
        kind: SealedKind,
        /// The file.
        path: PathBuf,
    },
    /// A file that is written in another way.
    #[error("{path} is a {kind} of format {found}, this program reads {expected}: {}", .kind.by_format())]
    Format {
        /// What it is.
        kind: SealedKind,
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this program.
        expected: u32,
    },
    /// A file whose end is missing.
    #[error("{path} ends after {found} bytes of {expected}: {}", .kind.instead())]
    Truncated {
        /// What it is.
        kind: SealedKind,
        /// The file.
        path: PathBuf,
        /// How long it is.
        found: u64,
        /// How long it should be.
        expected: u64,
    },
    /// A file that was sealed with another key.
    #[error("{path} was sealed with another key than the one in {key}: bring that key back")]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The file of the key that was tried.
        key: PathBuf,
    },
    /// A file that is not what was written.
    #[error("{path} is not what this party wrote, some byte of it has changed: {}", .kind.instead())]
    Changed {
        /// What it is.
        kind: SealedKind,
        /// The file.
        path: PathBuf,
    },
    /// A file of something else.
    #[error("{path} is of {what} {found}, and not of {what} {expected}: {}", advice(.what))]
    Other {
        /// The file.
        path: PathBuf,
        /// In what it differs: `run`, `party`, `program`, `network` or `iteration` of a checkpoint; `party`, `name`, `saving` or
        /// `numbers` of what is saved.
        what: &'static str,
        /// What it is of.
        found: String,
        /// What it should be of.
        expected: String,
    },
    /// Nothing was saved under that name at the party.
    #[error("party {party} has nothing saved as `{name}` ({path}): save it, or say with `CRYPTGPU_SAVED` where it is")]
    Missing {
        /// The party.
        party: PartyId,
        /// The name.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// Something is saved under that name already.
    #[error("party {party} has something saved as `{name}` ({path}): delete that first, or take another name")]
    Taken {
        /// The party.
        party: PartyId,
        /// The name.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
    /// A state that is too large for one file.
    #[error("{path}: a state of {bytes} bytes is more than the {limit} that one file takes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The state's length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The operating system has no randomness to give.
    #[error("cannot draw random bytes for {path}: {detail}. Is /dev/urandom there?")]
    Entropy {
        /// What they are for.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
}

fn advice(what: &str) -> &'static str {
    match what {
        "run" => "name the folder of the run that is to go on",
        "party" => "each party has files of its own",
        "program" => "go on with the program that wrote it, or begin anew",
        "network" => "name the network that was trained",
        "saving" => "the parties' files must be of one saving: delete what is saved under this name, and save it again",
        "numbers" => "start the cluster with those",
        _ => "was it renamed? Give it its name back",
    }
}

impl SealedError {
    pub(super) fn io(action: &'static str, path: &Path, detail: &dyn Display) -> Self {
        SealedError::Io { action, path: path.to_owned(), detail: detail.to_string() }
    }
}
