//! Figures, drawn from the same rows as the [`tables`](crate::tables): measurements in bars ([`inference`]), a run on a
//! time axis ([`timeline`]), and two runs in bars ([`compare`]).

mod arrows;
mod compare;
mod inference;
mod raster;
mod timeline;

pub use compare::compare;
pub use inference::inference;
pub use timeline::timeline;
