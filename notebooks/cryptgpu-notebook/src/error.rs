//! What can go wrong between records and what a cell shows.

use std::path::PathBuf;

/// Result of this crate's functions.
pub type Result<T, E = NotebookError> = std::result::Result<T, E>;

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum NotebookError {
    /// polars refused.
    #[error("data frame: {0}")]
    Polars(#[from] polars::error::PolarsError),
    /// Records or published figures cannot be had.
    #[error(transparent)]
    Experiment(#[from] cryptgpu_core::experiment::ExperimentError),
    /// A value does not serialise to a record, that is, to named fields.
    #[error("record {row} is {found}: a data frame needs records with named fields")]
    NotARecord {
        /// Index of the record.
        row: usize,
        /// What was found instead.
        found: String,
    },
    /// A record does not serialise.
    #[error("record {row} does not serialise: {source}")]
    Serialise {
        /// Index of the record.
        row: usize,
        /// What serde says.
        source: serde_json::Error,
    },
    /// A line of a file of records is not JSON.
    #[error("{path}, line {line}: {source}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// An array cannot be shown as a picture.
    #[error("a picture of shape {shape:?}: channels, height and width are needed, with 1 or 3 channels and no zero")]
    PictureShape {
        /// The array's shape.
        shape: [usize; 3],
    },
    /// A picture cannot be encoded.
    #[error("encoding a picture: {0}")]
    Png(#[from] png::EncodingError),
    /// plotters refused.
    #[error("drawing a figure: {0}")]
    Draw(String),
    /// A table or figure needs at least one row that there is not.
    #[error("{what} has nothing to show: {hint}")]
    Empty {
        /// The table or figure.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
}
