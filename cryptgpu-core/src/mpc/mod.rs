//! Replicated sharing and every protocol of three parties, semi-honest, one corruption tolerated.
//!
//! x = x₀ + x₁ + x₂ modulo 2^64 or 2^32, party i holding (xᵢ, xᵢ₊₁). A protocol is a method of [`Party`]
//! that all three call with shares of the same values; its documentation states bytes (summed over
//! the parties) and rounds, `cost` holds the same as formulas, and tests compare both with what
//! the transport counted. Messages are sent in `protocol`, and the keys of a session in `setup.rs`;
//! this folder names neither sockets nor a GPU.
//!
//! | file | what |
//! |---|---|
//! | `party.rs` | [`Party`]: links, randomness, settings, steps, claims |
//! | `setup.rs` | agreement on keys, before there are parties |
//! | `share/` | shares as one party holds them, and what is local on them |
//! | `randomness.rs` | draws that two parties or all three have in common; shares of zero |
//! | `protocol/` | every message: inputs, openings, resharing, truncation, sign bit, bit product, rounds |
//! | `linear.rs` | products, matrix products, convolutions; the gradients of their inputs |
//! | `compare.rs` | comparison, ReLU, maximum |
//! | `piecewise.rs` | [`PiecewiseLinear`]: piecewise linear functions with public slopes |
//! | `division.rs` | division by a public number |
//! | `pool.rs` | average and max-pooling, and the gradient of the latter |
//! | `range.rs` | [`CheckRange`]: the overflow flag |
//! | `functions/` | reciprocal, quotient, roots, logarithm, exponential, sigmoid, softmax, cross-entropy, activations: nothing is opened |
//! | `world.rs` | three parties in one process |
//! | `cost.rs`, `claim.rs` | declared costs: of the built-in protocols, and by authors of others |
//! | `account.rs` | a party's account: steps, declared costs, claims |
//! | `show.rs` | how settings, costs and claims show themselves |
//! | `view.rs` | a party's view: what it holds and receives, recorded for teaching and debugging |
//! | `check/` | the protocol checker: values, costs, views |

pub mod check;
pub mod cost;

mod account;
mod claim;
mod compare;
mod division;
mod error;
mod functions;
mod linear;
mod party;
mod piecewise;
mod pool;
mod protocol;
mod randomness;
mod range;
mod setup;
mod share;
mod show;
#[cfg(test)]
mod tests;
mod view;
mod world;

pub use crate::device::SignWindow;
pub use claim::{CheckedClaim, Claim};
pub use cost::Cost;
pub(crate) use division::Division;
pub use error::{MpcError, Origin};
pub(crate) use functions::EXP_FRACTION_BITS;
pub use functions::{CrossEntropy, Octaves, RowFunction, SmoothFunction};
pub use party::{Fidelity, Party, Settings};
pub use piecewise::PiecewiseLinear;
pub use pool::KeptMaxima;
pub use protocol::{Arrived, Integer, Pending, Resolve, Round, Side, Truncating};
pub(crate) use protocol::{INPUT_PIECE, MessageKind};
pub use range::CheckRange;
pub use setup::agree_on_keys;
pub use share::{Additive, Group, Operand, Rep, RepBits, RepXor, Sum, Xor};
pub use show::claims_table;
pub use view::{PartyView, Recordable, RecordedMessage, RecordedShare, Sharing};
pub use world::{Deals, World, deal};

/// The name of a kind of message, for people: `truncation: e`.
pub fn message_kind(kind: u16) -> String {
    protocol::MessageKind(kind).to_string()
}
