//! Figures, drawn from the same rows as the [`tables`](crate::tables): measurements in bars ([`inference`]) and by size
//! ([`micro`]), where embeddings go wrong ([`embedding`]), a run on a time axis ([`timeline`]), and two runs in bars
//! ([`compare`]).

mod arrows;
mod compare;
mod inference;
mod lanes;
mod micro;
mod pen;
mod raster;
mod timeline;

pub use compare::compare;
pub use inference::inference;
pub use micro::{embedding, micro};
pub use timeline::timeline;
