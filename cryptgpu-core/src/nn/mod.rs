//! Networks: what they are ([`graph`], [`zoo`]), what they hold ([`weights`], [`fold`]), what they
//! cost ([`count`], [`cost`]), what they compute ([`plaintext`], the oracle), in which order the
//! parties evaluate them ([`lower`]), whether their values fit the ring ([`range`]), and their
//! evaluation on shares ([`private`]). A [`Graph`] is
//! public and names no device, no share and no party; protocols live in [`crate::mpc`].

pub mod cost;
pub mod count;
mod error;
mod fit;
pub mod fold;
pub mod graph;
pub mod lower;
pub mod plaintext;
mod predictions;
pub mod private;

pub mod range;
mod show;
mod source;
pub mod weights;
pub mod zoo;

pub use error::NnError;
pub use fit::FittedWeights;
pub use fold::fold_batch_norm;
pub use graph::{Graph, GraphBuilder, Node, NodeId, Op};
pub use lower::{LowerOptions, Plan};
pub use predictions::predictions;
pub use private::SharedModel;
pub use show::headroom_table;
pub use source::{WeightFile, WeightSource};
pub use weights::Weights;
