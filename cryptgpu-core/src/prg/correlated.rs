//! The randomness that parties have in common: keys held by two neighbours, one held by all
//! three, and nonces that are handed out once, in the same order at all three parties.
//!
//! Party i holds kᵢ (in common with party i−1), kᵢ₊₁ (in common with party i+1), k (in common with
//! both) and a key of its own.
//!
//! **Programs that differ share no pad.** A stream's address has two halves. The low one is the nonce's position, so two
//! nonces of one program never give one stream. The high one is a digest of everything that led there: which operation
//! of which shape took each nonce so far, this one included ([`Purpose`]). Parties whose programs differ, by a nonce too
//! many, in an operation or in a shape, so mask nothing with one stream from there on, and what they send until they
//! notice tells nothing. The digest has 32 bits and is no secret: two programs, which are nobody's attack, agree in it by
//! chance with probability 2^−32 at each nonce, and by construction where they have been the same.

use super::{Key, Prg, Randomness, Stream};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

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

impl Nonce {
    /// The address of its stream, which is no secret: messages carry such addresses too.
    pub fn address(&self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// What a nonce is for: an operation and the public numbers that it depends on, as lengths and widths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose(u64);

impl Purpose {
    /// A draw that a protocol's author makes by hand.
    pub const BY_HAND: Purpose = Purpose(0);
    /// The keys of a branch.
    const BRANCH: Purpose = Purpose(1);
    /// New keys in place of the old ones.
    const RENEWAL: Purpose = Purpose(2);

    /// The operation of kind `kind` on these numbers. All parties of a run name the same.
    pub fn new(kind: u16, numbers: &[u64]) -> Self {
        Purpose(numbers.iter().fold(mixed(u64::from(kind)), |all, &number| absorb(all, number)))
    }
}

/// The digest of what led to `digest`, and then `word`.
fn absorb(digest: u64, word: u64) -> u64 {
    mixed(digest.rotate_left(23).wrapping_add(0x9e37_79b9_7f4a_7c15) ^ mixed(word))
}

/// A word's bits, well mixed: splitmix64's finalizer (Steele, Lea and Flood, OOPSLA 2014), a bijection.
fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Positions that one set of keys serves; after them, keys are derived anew. The address of this position is no nonce's:
/// the new keys come from there.
const EPOCH: u64 = u32::MAX as u64;

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
    /// A digest of the operations so far.
    history: u64,
    /// The addresses of all nonces since `keep_addresses`.
    #[cfg(test)]
    addresses: Option<Vec<u64>>,
    /// Addresses are bare counters, for a test to see what that gives away.
    #[cfg(test)]
    bare: bool,
}

/// What a party draws from. Party i draws kᵢ and gives it to party i − 1; party 0 draws k and gives
/// it to both.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

/// Where a party's randomness stands: all that is needed to draw the same streams again. It holds keys.
///
/// Whoever goes on from one standing twice draws every stream twice, so both times the same must be computed on the same
/// data (`docs/adr/0026-checkpoints-of-shares.md`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    randomness: Randomness,
    keys: Keys,
    position: u64,
    history: u64,
}

impl Standing {
    /// How many nonces had been drawn.
    pub fn position(&self) -> u64 {
        self.position
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
            history: 0,
            #[cfg(test)]
            addresses: None,
            #[cfg(test)]
            bare: false,
        }
    }

    /// The next nonce, for a draw by hand. All parties draw the same nonces in the same order, used or not.
    pub fn nonce(&mut self) -> Nonce {
        self.nonce_for(Purpose::BY_HAND)
    }

    /// The next nonce, for an operation. All parties draw the same nonces for the same purposes in the same order, used
    /// or not.
    pub fn nonce_for(&mut self, purpose: Purpose) -> Nonce {
        self.enter(purpose);
        if self.position > 0 && self.position.is_multiple_of(EPOCH) {
            self.derive_keys();
        }
        let address = self.address();
        self.position += 1;
        #[cfg(test)]
        if let Some(addresses) = &mut self.addresses {
            addresses.push(address);
        }
        Nonce(address)
    }

    /// Enters an operation into the history without drawing: for one that sends and masks nothing, as an opening.
    pub fn enter(&mut self, purpose: Purpose) {
        #[cfg(test)]
        if self.bare {
            return;
        }
        self.history = absorb(self.history, purpose.0);
    }

    /// The history in the high half, the position in the low one: the address of the next nonce, and what a message
    /// carries so that a program that diverges is an error.
    pub fn address(&self) -> u64 {
        (self.history & !u64::from(u32::MAX)) | (self.position % EPOCH)
    }

    /// New keys from the old ones, from a stream that is no nonce's.
    fn derive_keys(&mut self) {
        let keys = self.keys_at(EPOCH);
        self.take_keys(&keys);
    }

    /// The keys that the streams of this address make.
    fn keys_at(&self, address: u64) -> Keys {
        let key = |prg: &Prg| {
            let mut words = Zeroizing::new([0u64; 2]);
            prg.fill(address, 0, words.as_mut());
            let bytes: Zeroizing<[u8; 16]> = Zeroizing::new(bytemuck::cast(*words));
            Key::from_bytes(*bytes)
        };
        Keys { with_prev: key(&self.prev), with_next: key(&self.next), common: key(&self.common), own: key(&self.own) }
    }

    fn take_keys(&mut self, keys: &Keys) {
        let randomness = self.randomness();
        let prg = |key: &Key| Prg::new(randomness, key);
        (self.prev, self.next) = (prg(&keys.with_prev), prg(&keys.with_next));
        (self.common, self.own) = (prg(&keys.common), prg(&keys.own));
    }

    /// Randomness with keys of its own, derived from a nonce of this one: for a computation that may be repeated from a
    /// [`Standing`], without anything else being drawn from its keys. All parties branch at the same place.
    pub fn branch(&mut self) -> Correlated {
        let nonce = self.nonce_for(Purpose::BRANCH);
        let mut branch = Correlated::new(self.randomness(), &self.keys_at(nonce.0));
        branch.history = self.history;
        branch
    }

    /// Draws new keys, from which all comes that is drawn from now on, and says where that is: what goes on from there
    /// ([`Correlated::resume`]) draws the same. The old keys are gone. All parties renew at the same place.
    pub fn renew(&mut self) -> Standing {
        let nonce = self.nonce_for(Purpose::RENEWAL);
        let keys = self.keys_at(nonce.0);
        self.take_keys(&keys);
        Standing { randomness: self.randomness(), keys, position: self.position, history: self.history }
    }

    /// The randomness that stood there.
    pub fn resume(standing: &Standing) -> Correlated {
        let mut correlated = Correlated::new(standing.randomness, &standing.keys);
        (correlated.position, correlated.history) = (standing.position, standing.history);
        correlated
    }

    /// From now on addresses say nothing of the operations.
    #[cfg(test)]
    pub(crate) fn count_only(&mut self) {
        (self.bare, self.history) = (true, 0);
    }

    /// Keeps the addresses of nonces from now on, for tests of what a party sees.
    #[cfg(test)]
    pub(crate) fn keep_addresses(&mut self) {
        self.addresses = Some(vec![]);
    }

    /// The addresses of the nonces since they are kept.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> &[u64] {
        self.addresses.as_deref().unwrap_or_default()
    }

    /// The kind of generator that all streams come from.
    pub fn randomness(&self) -> Randomness {
        self.own.randomness()
    }

    /// How many nonces were drawn: equal at all parties by construction.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parties(randomness: Randomness) -> [Correlated; 3] {
        let key = |k: usize| Key::from_bytes([k as u8; 16]);
        [0, 1, 2].map(|i| {
            let keys = Keys { with_prev: key(i), with_next: key((i + 1) % 3), common: key(9), own: key(10 + i) };
            Correlated::new(randomness, &keys)
        })
    }

    fn words(stream: &Stream) -> [u64; 8] {
        let mut words = [0; 8];
        stream.fill(0, &mut words);
        words
    }

    #[test]
    fn programs_that_differ_share_no_address() {
        let run = |purposes: &[Purpose]| {
            let mut party = parties(Randomness::Aes128Ctr).into_iter().next().unwrap();
            party.keep_addresses();
            for &purpose in purposes {
                let _nonce = party.nonce_for(purpose);
            }
            party.addresses().to_vec()
        };
        let of = |kind, n| Purpose::new(kind, &[n]);
        let same = [of(1, 5), Purpose::BY_HAND, of(2, 5), of(1, 5), of(2, 5), Purpose::BY_HAND];
        let expected = run(&same);
        for at in 0..same.len() {
            for other in [of(1, 6), of(3, 5), Purpose::new(1, &[]), Purpose::new(1, &[5, 0])] {
                let (mut changed, mut more) = (same.to_vec(), same.to_vec());
                changed[at] = other;
                more.insert(at, other);
                let mut less = same.to_vec();
                less.remove(at);
                for purposes in [changed, more, less] {
                    let addresses = run(&purposes);
                    assert_eq!(addresses[..at], expected[..at]);
                    let after = addresses[at..].iter().filter(|address| expected.contains(address)).count();
                    // Removing one of two equal neighbours is the same program until they end.
                    assert!(after == 0, "{purposes:?} at {at}: {after} in common");
                }
            }
        }
        let positions: Vec<u64> = expected.iter().map(|address| address & EPOCH).collect();
        assert_eq!(positions, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn entering_changes_all_later_addresses() {
        let [mut a, mut b, _] = parties(Randomness::Aes128Ctr);
        b.enter(Purpose::new(7, &[]));
        assert!((0..10).all(|_| a.nonce().0 != b.nonce().0));
    }

    #[test]
    fn whoever_goes_on_from_a_standing_draws_the_same_and_a_branch_draws_from_keys_of_its_own() {
        let four = |party: &mut Correlated| -> Vec<u64> {
            let own = party.nonce();
            let zero = party.nonce_for(Purpose::new(3, &[1]));
            let (own, zero) = (party.own(own), party.zero(zero));
            [words(&own), words(&zero.plus), words(&zero.minus)].concat()
        };
        for randomness in [Randomness::Aes128Ctr, Randomness::InsecurePhilox] {
            let [mut p0, mut p1, _] = parties(randomness);
            let (mut branch, mut other) = (p0.branch(), p1.branch());
            let (n0, n1) = (branch.nonce(), other.nonce());
            assert_eq!(words(&branch.with_next(n0)), words(&other.with_prev(n1)));
            let _ = four(&mut branch);
            let (position, standing) = (branch.position(), branch.renew());
            assert_eq!(standing.position(), position + 1);
            let later = four(&mut branch);
            let read: Standing = postcard::from_bytes(&postcard::to_stdvec(&standing).unwrap()).unwrap();
            let mut again = Correlated::resume(&read);
            assert_eq!(four(&mut again), later);
            assert_eq!((again.position(), again.address()), (branch.position(), branch.address()));
            // As far as it was drawn from meanwhile, what it branched from is another one, and renewed keys are others.
            assert_ne!(four(&mut p0), later);
            let _ = again.renew();
            let (_, mut old) = (four(&mut again), Correlated::resume(&standing));
            let (a, b) = (again.nonce(), old.nonce());
            assert_ne!(words(&again.own(a)), words(&old.own(b)));
            assert!(!format!("{standing:?}").contains(&format!("{:?}", standing.keys.own.expose())));
        }
    }

    #[test]
    fn after_an_epoch_keys_are_new_and_still_agree() {
        for randomness in [Randomness::Aes128Ctr, Randomness::InsecurePhilox] {
            let (mut parties, mut first) = (parties(randomness), parties(randomness));
            for party in &mut parties {
                party.position = EPOCH - 1;
            }
            for turn in 0..3 {
                let nonces = parties.each_mut().map(Correlated::nonce);
                let early = first.each_mut().map(Correlated::nonce);
                if turn > 0 {
                    assert_eq!(nonces[0].0 & EPOCH, turn - 1, "positions begin anew");
                }
                let [n0, n1, _] = nonces;
                let (with_next, with_prev) = (parties[0].with_next(n0), parties[1].with_prev(n1));
                assert_eq!(words(&with_next), words(&with_prev));
                let [e0, ..] = early;
                assert_ne!(words(&with_next), words(&first[0].with_next(e0)));
            }
        }
    }
}
