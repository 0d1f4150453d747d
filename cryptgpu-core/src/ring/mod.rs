//! Z_2^64 and Z_2^32: words, the fixed-point codec and bit-packed words. No I/O, no device, no sharing.
//!
//! Reals live in the ring as two's complement fixed-point numbers ([`FixedPoint`]). Bits that
//! protocols work on live in packed planes ([`Layout`]), 64 elements a word. Products of words by
//! limbs, as CryptGPU's GPU code makes them, are here as a reference ([`Embedding`]). Errors of this and higher
//! layers carry a value only as [`Withheld`].

mod embedding;
mod fixed_point;
mod layout;
mod withheld;
mod word;

pub use embedding::{Accumulator, Embedding, Sums};
pub use fixed_point::{DEFAULT_FRACTION_BITS, FixedPoint, RingError};
pub use layout::{BLOCK, Layout};
pub use withheld::Withheld;
pub use word::{Ring, Word};
