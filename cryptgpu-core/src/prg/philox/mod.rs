//! Philox, bit for bit NumPy's: a fast counter-based generator that is **not** for secrets.
//!
//! | type | what it is |
//! |---|---|
//! | [`philox4x64`], … | the bijections themselves, from counter and key to block |
//! | [`SeedSequence`] | seeds of any size to keys, and trees of independent seeds |
//! | [`Philox`] | NumPy's bit generator: draws, buffers, advance, jump, state |
//! | [`PhiloxStream`] | random access to its words, from any thread |
//! | [`Generator`] | NumPy's distributions over it, as `ndarray`s |
//!
//! Counter and key are lists of words, the least significant first. Sources: Salmon, Moraes, Dror
//! and Shaw (SC11) for Philox; O'Neill (2015) for the seed sequence; Marsaglia and Tsang (2000) for
//! the ziggurat; Lemire (2019) for integers in a range; NumPy's documentation for how it combines
//! them. Tests compare with Random123's known answers and with NumPy itself.

mod bit_generator;
mod block;
mod bulk;
mod generator;
mod integer;
mod protocol;
mod seed_sequence;
mod state;
mod stream;

pub use bit_generator::{Philox, PhiloxBuilder};
pub use block::{philox2x32, philox2x64, philox4x32, philox4x64};
pub use generator::{Choice, Generator, Integer};
pub use integer::Int256;
pub use protocol::InsecurePhilox;
pub use seed_sequence::{Entropy, SeedSequence};
pub use state::PhiloxState;
pub use stream::PhiloxStream;
