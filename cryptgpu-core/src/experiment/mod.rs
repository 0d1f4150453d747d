//! The paper's experiments as declarations, their measurements as plain records, and the comparison
//! of records with published figures. Nothing here draws: a table is rows of plain values, which the
//! program prints and a notebook turns into a data frame.

mod ablation;
mod error;
mod gpu;
mod inference;
mod label;
mod machine;
mod measure;
pub mod micro;
pub mod paper;
mod parties;
mod party;
mod plaintext;
mod record;
pub mod soak;
mod table;
pub mod training;
mod window;

pub use crate::nn::{WeightFile, WeightSource};
pub use ablation::{EmbeddingPoint, EmbeddingRow, embedding_ablation};
pub use error::ExperimentError;
pub use gpu::{KernelRecord, measure_kernels, try_kernels};
pub use inference::{IMAGES_OWNER, ImageSource, Images, Inference, Suite, WEIGHTS_OWNER};
pub use machine::{Machine, available_memory_bytes, commit, machine, now, peak_rss_bytes};
pub use measure::{Stage, measure};
pub use parties::Parties;
pub use party::{IterationReport, PartyReport};
pub use plaintext::{
    INFERENCE_PLAINTEXT, PlaintextBackend, PlaintextNetwork, ReferenceNetwork, measure_inference_plaintext,
};
pub use record::{Record, append, append_line, check_writable, read};
pub use table::{Cited, InferenceRow, inference_caption, inference_table, latest};
pub use window::{lowering, settings};
