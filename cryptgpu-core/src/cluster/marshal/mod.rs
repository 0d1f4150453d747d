//! Values and handles: how values travel between a caller and the functions that it runs at the parties. Arguments go in,
//! outcomes come back, and shares stay where they are, named by handles. No message between parties is sent here, no
//! share is made, and nothing here knows who runs.
//!
//! | file | what |
//! |---|---|
//! | `traits.rs` | [`Argument`], [`PassedAs`], [`Outcome`]: what may travel |
//! | `parcel.rs` | what arguments and outcomes are written to and read from |
//! | `bytes.rs` | plain values as bytes: fixed width, little-endian, arrays in one piece |
//! | `plain.rs` | numbers, text, arrays, [`Plain`] |
//! | `collections.rs` | tuples, lists, options of anything that travels |
//! | `private.rs` | [`PerParty`], [`OnlyAt`]: what only some parties get to know |
//! | `shares.rs` | shares and opened tensors, as numbers that name them |
//! | `handle.rs` | [`Shared`] and other handles, and the tokens behind them |
//! | `model.rs` | [`Model`]: the handle of a network with shared weights |
//! | `dataset.rs` | [`Dataset`]: whose examples, and where they come from |
//! | `examples.rs` | examples at their owner |
//! | `openable.rs` | [`Openable`]: what of a run the caller can open |
//! | `store.rs` | what a party holds for handles |
//! | `words.rs` | [`Words`]: arrays of words in jobs |

mod bytes;
mod collections;
pub(super) mod dataset;
pub(super) mod examples;
pub(super) mod handle;
pub(super) mod model;
mod openable;
pub(super) mod parcel;
mod plain;
mod private;
mod shares;
pub(super) mod store;
pub(super) mod traits;
pub(super) mod words;

pub use dataset::{DataSource, Dataset, Images, Labels, PartyNumber};
pub(crate) use examples::InTheClear;
pub use handle::{Revealed, Shared, SharedBits};
pub use model::Model;
pub use openable::Openable;
pub use plain::Plain;
pub use private::{OnlyAt, PerParty};
pub use traits::{Argument, Outcome, PassedAs};
pub use words::Words;
