//! What can go wrong with an experiment, its records and its tables.

use std::path::PathBuf;

use cryptgpu_datasets::DatasetError;

use crate::cluster::ClusterError;
use crate::device::DeviceError;
use crate::mpc::MpcError;
use crate::net::PartyId;
use crate::nn::NnError;
use crate::prg::PrgError;

/// An error of the `experiment` layer. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A file of records cannot be read or written.
    #[error("cannot {action} the records in {}: {source}; check the folder, its permissions and the disk", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A line of a file of records is not a record.
    #[error("{}, line {line}, is not a record: {reason}; correct or remove the line", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A record holds a number that JSON has no notation for.
    #[error("the record of {network} cannot be written: {field} is {value}, and JSON knows finite numbers only")]
    NotFinite {
        /// The network measured.
        network: String,
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// A record cannot be serialised.
    #[error("a record cannot be written as JSON: {0}")]
    Serialise(#[from] serde_json::Error),
    /// A declaration that cannot be run.
    #[error("{field} {value} cannot be used: {hint}")]
    Declaration {
        /// The field.
        field: &'static str,
        /// What was asked for.
        value: String,
        /// What can be used.
        hint: String,
    },
    /// What computes in the clear failed.
    #[error("in the clear: {0}")]
    Engine(String),
    /// A data set cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A network, its weights or its evaluation.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// A protocol or a link failed.
    #[error(transparent)]
    Mpc(#[from] MpcError),
    /// The party processes could not be started, or one of them failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A time was to be taken on an emulator.
    #[error("`{card}` is an emulator: it shows what a card computes and not how long it takes; use a card, or the CPU")]
    Emulated {
        /// The card's name.
        card: String,
    },
    /// A device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Keys could not be drawn.
    #[error(transparent)]
    Keys(#[from] PrgError),
    /// A run needs more memory than there is.
    #[error(
        "{network} with a batch of {batch} takes about {needed} MiB at each party, {here} of them {} on this machine, and \
         {available} MiB are free here: use a smaller --batch or a smaller network, or one machine for each party",
        if *.here == 1 { "runs" } else { "run" }
    )]
    Memory {
        /// The network.
        network: String,
        /// Images at a time.
        batch: usize,
        /// MiB for one party.
        needed: u64,
        /// Parties on this machine.
        here: usize,
        /// MiB that are free.
        available: u64,
    },
    /// The parties' reports do not fit together.
    #[error("the reports of the three parties do not fit together: {0}; do all run the same version of the program?")]
    Reports(String),
    /// A party ended without a report.
    #[error("party {party} ended without a report: {reason}")]
    Party {
        /// The party.
        party: PartyId,
        /// Why, as far as is known.
        reason: String,
    },
}
