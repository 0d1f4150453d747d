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
//! | `party.rs` | [`Party`]: links, randomness, settings, steps |
//! | `share.rs` | [`Rep`], [`RepBits`], [`Operand`]: shares, and what is local and linear |
//! | `roads/` | every message: inputs, openings, resharing, truncation, sign bit, bit product |
//! | `linear.rs` | products, matrix products, convolutions |
//! | `compare.rs` | comparison, ReLU, maximum |
//! | `pool.rs` | average and max-pooling |
//! | `world.rs` | three parties in one process |
//! | `cost.rs` | declared costs |

pub mod cost;

mod compare;
mod error;
mod linear;
mod party;
mod pool;
mod roads;
mod share;
#[cfg(test)]
mod tests;
mod world;

pub use cost::Cost;
pub use error::MpcError;
pub use party::{Fidelity, Party, Settings, SignWindow};
pub use share::{Operand, Rep, RepBits};
pub use world::{World, deal};
