//! The randomness that parties have in common: keys held by two neighbours, one held by all
//! three, and nonces that are handed out once, in the same order at all three parties.
//!
//! Party i holds kᵢ (in common with party i−1), kᵢ₊₁ (in common with party i+1), k (in common with
//! both) and a key of its own.

use super::{Key, Prg, Randomness, Stream};
use std::fmt;

/// The right to draw one stream. Not `Clone`: a stream consumes it.
///
/// ```compile_fail,E0382
/// # use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness};
/// # let mut correlated = Correlated::new(Randomness::Aes128Ctr, &Keys::alone(Key::from_bytes([1; 16])));
/// let nonce = correlated.nonce();
/// let mask = correlated.with_prev(nonce);
/// let reused = correlated.with_next(nonce); // use of moved value: `nonce`
/// ```
///
/// ```compile_fail,E0599
/// # use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness};
/// # let mut correlated = Correlated::new(Randomness::Aes128Ctr, &Keys::alone(Key::from_bytes([1; 16])));
/// let nonce = correlated.nonce();
/// let copy = nonce.clone(); // no method named `clone`
/// ```
#[must_use = "a nonce that is drawn and not used wastes nothing but says the program is wrong"]
pub struct Nonce(u64);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// Streams whose difference over the three parties is zero: `plus − minus` at each party.
#[derive(Debug)]
pub struct Zero {
    /// F(kᵢ), in common with the previous party.
    pub plus: Stream,
    /// F(kᵢ₊₁), in common with the next party.
    pub minus: Stream,
}

/// A party's correlated randomness.
///
/// Nonces start at zero, so a set of keys serves one `Correlated` per party: keys are drawn anew
/// for every session.
///
/// ```
/// use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness};
/// // Party i holds keys i and i + 1.
/// let (keys, common) = ([Key::from_os()?, Key::from_os()?, Key::from_os()?], Key::from_os()?);
/// let mut zero = [0u64; 4];
/// for party in 0..3 {
///     let (with_prev, with_next) = (keys[party].clone(), keys[(party + 1) % 3].clone());
///     let keys = Keys { with_prev, with_next, common: common.clone(), own: Key::from_os()? };
///     let mut correlated = Correlated::new(Randomness::Aes128Ctr, &keys);
///     let nonce = correlated.nonce();
///     let share = correlated.zero(nonce);
///     let (mut plus, mut minus) = ([0; 4], [0; 4]);
///     share.plus.fill(0, &mut plus);
///     share.minus.fill(0, &mut minus);
///     for i in 0..4 {
///         zero[i] = zero[i].wrapping_add(plus[i]).wrapping_sub(minus[i]);
///     }
/// }
/// assert_eq!(zero, [0; 4]);
/// # Ok::<(), cryptgpu_core::prg::PrgError>(())
/// ```
pub struct Correlated {
    prev: Prg,
    next: Prg,
    common: Prg,
    own: Prg,
    position: u64,
}

/// What a party draws from. Party i draws kᵢ and gives it to party i − 1; party 0 draws k and gives
/// it to both.
#[derive(Clone, Debug)]
pub struct Keys {
    /// kᵢ, in common with the previous party.
    pub with_prev: Key,
    /// kᵢ₊₁, in common with the next party.
    pub with_next: Key,
    /// k, in common with both: public coins, which hide nothing from a party.
    pub common: Key,
    /// Nobody else's.
    pub own: Key,
}

impl Keys {
    /// One key for all purposes: for somebody who draws alone, as the dealer of a sharing.
    pub fn alone(key: Key) -> Self {
        Keys { with_prev: key.clone(), with_next: key.clone(), common: key.clone(), own: key }
    }
}

impl Correlated {
    /// Streams of kind `randomness` from `keys`, from the first nonce on.
    pub fn new(randomness: Randomness, keys: &Keys) -> Self {
        Correlated {
            prev: Prg::new(randomness, &keys.with_prev),
            next: Prg::new(randomness, &keys.with_next),
            common: Prg::new(randomness, &keys.common),
            own: Prg::new(randomness, &keys.own),
            position: 0,
        }
    }

    /// The next nonce. All parties draw the same nonces in the same order, used or not.
    pub fn nonce(&mut self) -> Nonce {
        let nonce = Nonce(self.position);
        // At one nonce a nanosecond this would wrap after five centuries.
        self.position += 1;
        nonce
    }

    /// The kind of generator that all streams come from.
    pub fn randomness(&self) -> Randomness {
        self.own.randomness()
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

    /// The stream that all three parties know (key k): for public coins.
    pub fn common(&self, nonce: Nonce) -> Stream {
        Stream { prg: self.common.clone(), nonce: nonce.0 }
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

impl fmt::Debug for Correlated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Correlated({:?})", self.own)
    }
}
