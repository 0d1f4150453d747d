//! The paper's experiments as declarations, their measurements as plain records, and the comparison
//! of records with published figures. Nothing here draws: a table is rows of plain values, which the
//! program prints and a notebook turns into a data frame.

mod error;
mod machine;
mod record;
mod table;

pub use error::ExperimentError;
pub use machine::{Machine, available_memory_bytes, commit, machine, now, peak_rss_bytes};
pub use record::{Record, append, read};
pub use table::{Cited, InferenceRow, inference_caption, inference_table, latest};
