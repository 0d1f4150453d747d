//! Figures, drawn from the same rows as the [`tables`](crate::tables): measurements in bars ([`inference`],
//! [`training`]) and by size ([`micro`]), the loss and accuracy of a training ([`training_curve`], [`accuracy_curve`]) and what its layers take
//! ([`training_steps`]), ours and others' code on one card ([`same_card`]), errors and accuracies by fraction bits ([`precision`], [`simulated`]), how time grows ([`scaling`]), where embeddings go wrong ([`embedding`]), a run on a time axis ([`timeline`]), and two runs in
//! bars ([`compare`]).

mod arrows;
mod bars;
mod compare;
mod inference;
mod lanes;
mod lines;
mod micro;
mod palette;
mod pen;
mod precision;
mod raster;
mod same_card;
mod scaling;
mod timeline;
mod training;

pub use compare::compare;
pub use inference::inference;
pub use micro::{embedding, micro};
pub use precision::{precision, simulated};
pub use same_card::same_card;
pub use scaling::scaling;
pub use timeline::timeline;
pub use training::{accuracy_curve, curves, training, training_curve, training_steps};
