//! What can go wrong with an experiment, its records and its tables.

use std::path::PathBuf;

use cryptgpu_datasets::DatasetError;

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
    /// A data set cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}
