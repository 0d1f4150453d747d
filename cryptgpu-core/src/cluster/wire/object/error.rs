//! Why code of another process cannot be found here, or is not run.

use std::path::PathBuf;

/// Why a function is not run at a party. Nothing of a file that is refused has been run, its initialisers included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Code that lies in no object file.
    #[error("its code is in no object file: was it made at run time? Pass a function of the program, or of a cell")]
    Nowhere,
    /// A file that was replaced while its former content was loaded.
    #[error(
        "{path} was built anew since this process loaded it: start this program again (in a notebook: restart the kernel)"
    )]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// A file that is not what the caller has loaded.
    #[error(
        "{path} is not what the caller has loaded, and was not opened: was it built anew since? Start the caller again (in \
         a notebook: restart the kernel, after scripts/setup if the library itself was changed)"
    )]
    OtherFile {
        /// The file.
        path: PathBuf,
    },
    /// A party that runs another program than the caller.
    #[error(
        "the parties run another program ({path}) than the caller, or it was built anew since: have the caller's `main` \
         begin with `cluster::party::serve_if_asked(…)`, and start it again"
    )]
    OtherProgram {
        /// The party's program.
        path: PathBuf,
    },
    /// A library of which the party has another build loaded.
    #[error(
        "this party has another {name} loaded than the caller, and cannot have both: restart the cluster, and the caller \
         if that does not help"
    )]
    OtherLoaded {
        /// What the loader calls it.
        name: String,
    },
    /// A library that would be searched by name, and so opened without having been compared.
    #[error(
        "{path} needs {needs}, which the caller did not name and which would be opened without being compared: link it \
         statically, or give it a DT_SONAME"
    )]
    Uncompared {
        /// The file.
        path: PathBuf,
        /// What it needs.
        needs: String,
    },
    /// A file that cannot be read, or is no object file.
    #[error("cannot read the code in {path}: {detail}. Is the file still there?")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A file that the loader refuses.
    #[error("cannot open {path}: {detail}")]
    Loader {
        /// The file.
        path: PathBuf,
        /// The loader's words.
        detail: String,
    },
    /// A place outside the code of an object.
    #[error("offset {offset} is outside the code of {object}: are caller and parties of the same version?")]
    Outside {
        /// Where.
        offset: u64,
        /// Of what.
        object: String,
    },
    /// A library that is not the one that cells link.
    #[error("{path} has no {symbol}: it is not the library that cells link. Run scripts/setup")]
    NoEntry {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        symbol: String,
    },
    /// A function that was linked with other code than this party runs.
    #[error(
        "it was linked with other code than this party runs: the caller's {theirs}, this party's {own}. Both must be the same \
         file; `cryptgpu digest FILE` shows the digest of one"
    )]
    OtherRuntime {
        /// The caller's, by name and digest.
        theirs: String,
        /// The party's, by name and digest.
        own: String,
    },
    /// A library that a party of somebody else's has not, and that the caller has not sent.
    #[error("{name}, which has the digest {digest}, was not sent, and no file is opened here by the caller's word")]
    NotSent {
        /// What the caller calls it.
        name: String,
        /// Of what the caller has loaded.
        digest: String,
    },
    /// An argument that names no library with its digest.
    #[error("`{argument}` names no library with its digest: this option is for callers, and not to be given by hand")]
    Argument {
        /// The argument.
        argument: String,
    },
}

impl CodeError {
    pub(super) fn unreadable(path: impl Into<PathBuf>, detail: &dyn std::fmt::Display) -> Self {
        CodeError::Unreadable { path: path.into(), detail: detail.to_string() }
    }
}
