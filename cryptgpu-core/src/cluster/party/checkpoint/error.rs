//! Why a checkpoint cannot be written, or is not gone on from.

use crate::net::PartyId;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Why a checkpoint cannot be written, or is not gone on from. A checkpoint that is refused stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
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
    /// No folder for keys is known.
    #[error(
        "there is no place for party {party}'s key: set {variable} to a folder that only this party's account can read"
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
    #[error("{path} is no key of {expected} bytes: bring the right file back; without it, its checkpoints are lost")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// How long a key is.
        expected: usize,
    },
    /// A file that is no checkpoint.
    #[error("{path} is no checkpoint of this program's")]
    NoCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint that is written in another way.
    #[error(
        "{path} is a checkpoint of format {found}, this program reads {expected}: go on with the program that wrote it"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this program.
        expected: u32,
    },
    /// A checkpoint whose end is missing.
    #[error("{path} ends after {found} bytes of {expected}: delete it to go on from the checkpoint before it")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How long it is.
        found: u64,
        /// How long it should be.
        expected: u64,
    },
    /// A checkpoint that was sealed with another key.
    #[error("{path} was sealed with another key than the one in {key}: bring that key back")]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The file of the key that was tried.
        key: PathBuf,
    },
    /// A checkpoint that is not what was written.
    #[error(
        "{path} is not what this party wrote, some byte of it has changed: delete it to go on from the one before it"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint of something else.
    #[error("{path} is of {what} {found}, and not of {what} {expected}: {}", advice(.what))]
    Other {
        /// The file.
        path: PathBuf,
        /// In what it differs: `run`, `party`, `program`, `network` or `iteration`.
        what: &'static str,
        /// What it is of.
        found: String,
        /// What it should be of.
        expected: String,
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
        "party" => "each party goes on from its own files",
        "program" => "go on with the program that wrote it, or begin anew",
        "network" => "name the network that was trained",
        _ => "was it renamed? Give it its name back",
    }
}

impl CheckpointError {
    pub(super) fn io(action: &'static str, path: &Path, detail: &dyn Display) -> Self {
        CheckpointError::Io { action, path: path.to_owned(), detail: detail.to_string() }
    }
}
