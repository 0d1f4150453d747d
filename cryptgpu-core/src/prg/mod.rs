//! Pseudo-random streams, and the correlated randomness that three parties draw from them.
//!
//! A [`Prg`] is a keyed generator; a [`Stream`] is one single-use piece of its output, addressed
//! by a [`Nonce`] that cannot be copied. [`Correlated`] holds the two keys that a party shares
//! with its neighbours and hands out nonces in the same order at every party. Nothing here knows
//! of tensors, networks or protocols.

mod aes_ctr;
mod correlated;
mod key;

pub use aes_ctr::Aes128Ctr;
pub use correlated::{Correlated, Nonce, Zero};
pub use key::Key;

use std::sync::Arc;

/// Which generator the parties draw from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Randomness {
    /// AES-128 in counter mode: cryptographic, the default.
    #[default]
    Aes128Ctr,
}

/// A keyed generator: random access into 2^64 independent streams of 2^65 words each.
#[derive(Clone, Debug)]
pub enum Prg {
    /// AES-128 in counter mode.
    Aes128Ctr(Arc<Aes128Ctr>),
}

impl Prg {
    /// The generator of kind `randomness` with `key`.
    pub fn new(randomness: Randomness, key: &Key) -> Self {
        match randomness {
            Randomness::Aes128Ctr => Prg::Aes128Ctr(Arc::new(Aes128Ctr::new(key))),
        }
    }

    fn fill(&self, nonce: u64, offset: u64, out: &mut [u64]) {
        match self {
            Prg::Aes128Ctr(prg) => prg.fill(nonce, offset, out),
        }
    }
}

/// A single-use stream of uniform words, known to everyone who has the key and the nonce.
///
/// It cannot be cloned, and making it consumes its nonce, so no two uses see the same words. Any
/// thread may fill any range ([`Stream::fill`]); the user of a stream fills each range once.
#[derive(Debug)]
pub struct Stream {
    prg: Prg,
    nonce: u64,
}

impl Stream {
    /// Words `offset .. offset + out.len()` of the stream. Any offset; even ones are fastest
    /// (an AES block is two words).
    pub fn fill(&self, offset: usize, out: &mut [u64]) {
        self.prg.fill(self.nonce, offset as u64, out);
    }
}
