//! The randomness that parties have in common: each key is held by two neighbours, and every
//! nonce is handed out once, in the same order at all three parties.
//!
//! Party i holds kᵢ (in common with party i−1) and kᵢ₊₁ (in common with party i+1).

use super::{Key, Prg, Randomness, Stream};

/// The right to draw one stream. Not `Clone`: a stream consumes it.
#[derive(Debug)]
#[must_use = "a nonce that is drawn and not used wastes nothing but says the program is wrong"]
pub struct Nonce(u64);

/// Streams whose difference over the three parties is zero: `plus − minus` at each party.
#[derive(Debug)]
pub struct Zero {
    /// F(kᵢ), in common with the previous party.
    pub plus: Stream,
    /// F(kᵢ₊₁), in common with the next party.
    pub minus: Stream,
}

/// A party's correlated randomness.
#[derive(Debug)]
pub struct Correlated {
    prev: Prg,
    next: Prg,
    own: Prg,
    position: u64,
}

impl Correlated {
    /// From kᵢ (`with_prev`), kᵢ₊₁ (`with_next`) and a key that nobody else has (`own`).
    pub fn new(randomness: Randomness, with_prev: &Key, with_next: &Key, own: &Key) -> Self {
        Correlated {
            prev: Prg::new(randomness, with_prev),
            next: Prg::new(randomness, with_next),
            own: Prg::new(randomness, own),
            position: 0,
        }
    }

    /// The next nonce. All parties draw the same nonces in the same order, used or not.
    pub fn nonce(&mut self) -> Nonce {
        let nonce = Nonce(self.position);
        self.position += 1;
        nonce
    }

    /// How many nonces were drawn: equal at all parties by construction, and carried by every
    /// message so that a program that diverges is an error.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The stream in common with the previous party (key kᵢ).
    pub fn with_prev(&self, nonce: Nonce) -> Stream {
        Stream { prg: self.prev.clone(), nonce: nonce.0 }
    }

    /// The stream in common with the next party (key kᵢ₊₁).
    pub fn with_next(&self, nonce: Nonce) -> Stream {
        Stream { prg: self.next.clone(), nonce: nonce.0 }
    }

    /// A stream that nobody else knows.
    pub fn own(&self, nonce: Nonce) -> Stream {
        Stream { prg: self.own.clone(), nonce: nonce.0 }
    }

    /// A zero-share: F(kᵢ) and F(kᵢ₊₁), whose differences sum to zero over the parties.
    pub fn zero(&self, nonce: Nonce) -> Zero {
        Zero {
            plus: Stream { prg: self.prev.clone(), nonce: nonce.0 },
            minus: Stream { prg: self.next.clone(), nonce: nonce.0 },
        }
    }
}
