//! Replicated sharing and every protocol of three parties, semi-honest, one corruption tolerated.
//!
//! x = x₀ + x₁ + x₂ modulo 2^64, party i holding (xᵢ, xᵢ₊₁). A protocol is a method of [`Party`]
//! that all three call with shares of the same values; its documentation states bytes (summed over
//! the parties) and rounds, `cost` holds the same as formulas, and tests compare both with what
//! the transport counted. Messages are sent in `roads` and nowhere else; this folder names neither
//! sockets nor a GPU.
//!
//! | file | what |
//! |---|---|
//! | `party.rs` | [`Party`]: links, randomness, settings, steps, claims |
//! | `share.rs` | [`Rep`], [`RepBits`], [`Operand`]: shares, and what is local and linear |
//! | `ground/` | what protocols are made of: additive shares, words of bits, randomness in common |
//! | `roads/` | every message: inputs, openings, resharing, truncation, sign bit, bit product, rounds |
//! | `linear.rs` | products, matrix products, convolutions |
//! | `compare.rs` | comparison, ReLU, maximum |
//! | `pool.rs` | average and max-pooling |
//! | `world.rs` | three parties in one process |
//! | `cost.rs`, `claim.rs` | declared costs: of the built-in protocols, and by authors of others |
//! | `show.rs` | how costs and claims show themselves |
//! | `microscope.rs` | what a party sees, kept for teaching and debugging |
//! | `check/` | the protocol checker: values, costs, views |

pub mod check;
pub mod cost;

mod claim;
mod compare;
mod error;
mod ground;
mod linear;
mod microscope;
mod party;
mod pool;
mod roads;
mod share;
mod show;
#[cfg(test)]
mod tests;
mod world;

pub use claim::{CheckedClaim, Claim};
pub use cost::Cost;
pub use error::MpcError;
pub use ground::{Additive, Group, RepXor, Ring, Xor};
pub use microscope::{Look, Looked, Observed, Seen, Sharing};
pub use party::{Fidelity, Party, Settings, SignWindow};
pub use roads::{Arrived, Integer, Pending, Resolve, Round, Side};
pub use share::{Operand, Rep, RepBits};
pub use show::claims_table;
pub use world::{World, deal};

/// What a message is whose tag has that kind, for people: `truncation: e`.
pub fn message_kind(kind: u16) -> String {
    roads::Code(kind).to_string()
}
