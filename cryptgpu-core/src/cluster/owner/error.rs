//! What can go wrong with the files of an owner, each error with the file and what to do.

use std::path::{Path, PathBuf};

/// An owner's key, configuration, policy or audit log cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// The operating system refuses a file.
    #[error("cannot {action} {}: {detail}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        detail: String,
    },
    /// A file is there already that would have to be replaced.
    #[error("{} is there already: a key is not overwritten. Choose another name or folder", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others can read a private key.
    #[error("others can read the key {} (mode {mode:o}): chmod 600 {}, and make a new one if others had access", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A key or a certificate cannot be made or read.
    #[error("{}: {detail}. `cryptgpu keygen` makes a key and its certificate", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A line of a configuration or policy file says something that cannot be used.
    #[error("{}, line {line}: {detail}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there, and what to write.
        detail: String,
    },
    /// A line of the audit log does not follow from the one before: the log was changed.
    #[error(
        "{}, line {line}: {detail}. Lines from here on prove nothing; keep the file, find out who changed it, and start a new log",
        path.display()
    )]
    Broken {
        /// The log.
        path: PathBuf,
        /// The first line that is wrong, from 1.
        line: u64,
        /// What is wrong there.
        detail: String,
    },
}

impl OwnerError {
    pub(super) fn io(action: &'static str, path: &Path, error: &std::io::Error) -> Self {
        OwnerError::Io { action, path: path.to_owned(), detail: error.to_string() }
    }
}
