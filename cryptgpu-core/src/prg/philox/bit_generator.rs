//! NumPy's `Philox`: a stream of words with its buffer, to be advanced, jumped and saved.

use super::state::BLOCK;
use super::{Entropy, Int256, PhiloxState, PhiloxStream, SeedSequence, philox4x64};
use crate::prg::PrgError;
use rand_core::{Infallible, SeedableRng, TryRng};
use std::fmt;

/// The Philox4x64-10 generator, bit for bit `numpy.random.Philox`.
///
/// Key of 128 bits, counter of 256: 2¹²⁸ streams, each of period 2²⁵⁸ words. A block of four words is
/// made after the counter is incremented, so the first is the block of the counter given plus one. Not
/// for secrets: whoever sees its output may find its key.
///
/// Parallel streams in any of three ways: [`spawned`](Philox::spawn) seeds, [`jumped`](Philox::jumped)
/// counters, or keys of one's own choice. Random access to a stream is [`Philox::stream`].
///
/// ```
/// use cryptgpu_core::prg::philox::Philox;
/// let mut philox = Philox::seeded(42u64); // numpy.random.Philox(42)
/// assert_eq!(philox.random_raw(), 0x16092f00ecdab98a);
/// ```
///
/// With `rand_core` it is an `Rng` and a `SeedableRng`: `seed_from_u64(n)` is NumPy's `Philox(n)`,
/// and a seed of 16 bytes is the key, little-endian.
#[derive(Clone)]
pub struct Philox {
    state: PhiloxState,
    seeds: Option<SeedSequence>,
}

impl Philox {
    /// A generator from a seed of any size, as `numpy.random.Philox(seed)`.
    pub fn seeded(seed: impl Into<Entropy>) -> Self {
        Self::from_seed_sequence(SeedSequence::new(seed))
    }

    /// A generator from a seed sequence, whose first 128 bits become the key; the counter starts at zero.
    pub fn from_seed_sequence(seeds: SeedSequence) -> Self {
        let words = seeds.generate_u64(2);
        Philox { state: PhiloxState::fresh([words[0], words[1]], [0; 4]), seeds: Some(seeds) }
    }

    /// A generator from the operating system's entropy.
    ///
    /// # Errors
    /// [`PrgError::Entropy`] when there is none.
    pub fn from_os() -> Result<Self, PrgError> {
        Ok(Self::from_seed_sequence(SeedSequence::from_os()?))
    }

    /// A generator from a key, with counter zero, as `numpy.random.Philox(key=key)`.
    pub fn from_key(key: u128) -> Self {
        Self::from_key_words([key as u64, (key >> 64) as u64])
    }

    /// A generator from the two words of a key, the least significant first.
    pub fn from_key_words(key: [u64; 2]) -> Self {
        Philox { state: PhiloxState::fresh(key, [0; 4]), seeds: None }
    }

    /// Any combination of seed, key and counter: [`PhiloxBuilder`].
    pub fn builder() -> PhiloxBuilder {
        PhiloxBuilder::default()
    }

    /// A generator that goes on where `state` was taken. It has no seed sequence.
    ///
    /// # Errors
    /// [`PrgError::State`] when no generator can be in that state.
    pub fn from_state(state: PhiloxState) -> Result<Self, PrgError> {
        Ok(Philox { state: state.check()?, seeds: None })
    }

    /// The whole state, to save or to show.
    pub fn state(&self) -> PhiloxState {
        self.state
    }

    /// Goes on from a saved state; the seed sequence to spawn from stays.
    ///
    /// # Errors
    /// [`PrgError::State`] when no generator can be in that state; the old one is kept then.
    pub fn set_state(&mut self, state: PhiloxState) -> Result<(), PrgError> {
        self.state = state.check()?;
        Ok(())
    }

    /// The seed sequence it was made from, if it was.
    pub fn seed_sequence(&self) -> Option<&SeedSequence> {
        self.seeds.as_ref()
    }

    /// The next word, uniform on 0 … 2⁶⁴ − 1.
    #[inline]
    pub fn random_raw(&mut self) -> u64 {
        if self.state.buffer_pos >= BLOCK {
            self.next_block();
        }
        // The mask is the identity; it shows the compiler that the index is in range.
        let word = self.state.buffer[self.state.buffer_pos & (BLOCK - 1)];
        self.state.buffer_pos += 1;
        word
    }

    fn next_block(&mut self) {
        self.state.counter = Int256::from_words(self.state.counter).wrapping_add(1.into()).words();
        self.state.buffer = philox4x64::<10>(self.state.counter, self.state.key);
        self.state.buffer_pos = 0;
    }

    /// The next 32 bits: a word gives its low half first, and the high half waits for the next
    /// 32-bit draw, whatever is drawn between.
    #[inline]
    pub fn random_u32(&mut self) -> u32 {
        if self.state.has_uint32 {
            self.state.has_uint32 = false;
            return self.state.uinteger;
        }
        let word = self.random_raw();
        self.state.has_uint32 = true;
        self.state.uinteger = (word >> 32) as u32;
        word as u32
    }

    /// The next `out.len()` words, as that many calls of [`Philox::random_raw`], at vector speed.
    pub fn fill_raw(&mut self, out: &mut [u64]) {
        let buffered = out.len().min(BLOCK - self.state.buffer_pos);
        let (head, rest) = out.split_at_mut(buffered);
        head.fill_with(|| self.random_raw());
        let (blocks, tail) = rest.split_at_mut(rest.len() / BLOCK * BLOCK);
        self.stream().fill(0, blocks);
        if let Some(last) = blocks.last_chunk::<BLOCK>() {
            let made = (blocks.len() / BLOCK) as u64;
            self.state.counter = Int256::from_words(self.state.counter).wrapping_add(made.into()).words();
            self.state.buffer = *last;
        }
        tail.fill_with(|| self.random_raw());
    }

    /// Bytes, four to a 32-bit draw, little-endian; the rest of the last draw is lost.
    pub fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(4) {
            let bytes = self.random_u32().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    /// Moves the counter by `delta` blocks of four words, forwards or back, and empties the
    /// buffers: the state is as if 4·`delta` words had been drawn and no part of a block was left.
    pub fn advance(&mut self, delta: impl Into<Int256>) {
        let counter = Int256::from_words(self.state.counter).wrapping_add(delta.into());
        self.state = PhiloxState::fresh(self.state.key, counter.words());
    }

    /// A generator as if 2¹³⁰·`jumps` words had been drawn from this one: disjoint streams for
    /// parallel use. It has no seed sequence, lest both spawn the same children (NumPy gives it a
    /// random one).
    pub fn jumped(&self, jumps: impl Into<Int256>) -> Self {
        let mut jumped = Philox { state: self.state, seeds: None };
        jumped.advance(jumps.into().shl_128());
        jumped
    }

    /// `n` generators from the next `n` children of the seed sequence.
    ///
    /// # Errors
    /// [`PrgError::NoSeedSequence`] when it was made from a key or a state, or is a jumped one.
    pub fn spawn(&mut self, n: usize) -> Result<Vec<Philox>, PrgError> {
        let seeds = self.seeds.as_mut().ok_or(PrgError::NoSeedSequence)?;
        Ok(seeds.spawn(n).into_iter().map(Self::from_seed_sequence).collect())
    }

    /// Random access to the words that follow the current block: word 0 is the first word of
    /// the next block.
    pub fn stream(&self) -> PhiloxStream {
        PhiloxStream::new(self.state.key, self.state.counter)
    }
}

/// Shows neither key nor counter: [`Philox::state`] does.
impl fmt::Debug for Philox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Philox(..)")
    }
}

impl TryRng for Philox {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.random_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.random_raw())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl SeedableRng for Philox {
    type Seed = [u8; 16];

    fn from_seed(seed: [u8; 16]) -> Self {
        Self::from_key(u128::from_le_bytes(seed))
    }

    fn seed_from_u64(seed: u64) -> Self {
        Self::seeded(seed)
    }
}

/// Makes a [`Philox`] from a seed or a key, and a counter, as the arguments of NumPy's constructor.
///
/// ```
/// use cryptgpu_core::prg::philox::{Int256, Philox, SeedSequence};
/// let philox = Philox::builder().key(7).counter([5, 0, 0, 0]).build()?;
/// assert_eq!(philox.state().counter, [5, 0, 0, 0]);
/// assert!(Philox::builder().seed(SeedSequence::new(1u64)).key(7).build().is_err());
/// # Ok::<(), cryptgpu_core::prg::PrgError>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct PhiloxBuilder {
    seeds: Option<SeedSequence>,
    key: Option<u128>,
    counter: [u64; 4],
}

impl PhiloxBuilder {
    /// The seed, which gives the key.
    pub fn seed(mut self, seeds: SeedSequence) -> Self {
        self.seeds = Some(seeds);
        self
    }

    /// The key.
    pub fn key(mut self, key: u128) -> Self {
        self.key = Some(key);
        self
    }

    /// The counter, least significant word first; zero by default. The first block is the block of
    /// the counter plus one.
    pub fn counter(mut self, counter: [u64; 4]) -> Self {
        self.counter = counter;
        self
    }

    /// The generator; without seed and key, one seeded by the operating system.
    ///
    /// # Errors
    /// [`PrgError::SeedAndKey`] when both were given, [`PrgError::Entropy`] when neither was and
    /// the operating system has no entropy.
    pub fn build(self) -> Result<Philox, PrgError> {
        let mut philox = match (self.seeds, self.key) {
            (Some(_), Some(_)) => return Err(PrgError::SeedAndKey),
            (Some(seeds), None) => Philox::from_seed_sequence(seeds),
            (None, Some(key)) => Philox::from_key(key),
            (None, None) => Philox::from_os()?,
        };
        philox.state.counter = self.counter;
        Ok(philox)
    }
}

/// Shows neither key nor counter.
impl fmt::Debug for PhiloxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhiloxBuilder(..)")
    }
}
