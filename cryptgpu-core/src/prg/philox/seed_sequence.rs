//! Seeds of any size to well-mixed keys, and trees of independent seeds: NumPy's `SeedSequence`.
//!
//! The algorithm is O'Neill's `seed_seq_fe` ("Developing a seed_seq alternative", 2015) as
//! NumPy 1.17 and later have it: entropy words are hashed into a pool, every pool word is mixed
//! into every other, further entropy is mixed in, and output words are hashes of the pool. A
//! change of one input bit changes each output bit with probability about a half.

use super::integer::parse_natural;
use crate::prg::PrgError;
use std::str::FromStr;

const INIT_A: u32 = 0x43b0_d7e5;
const MULT_A: u32 = 0x931e_8875;
const INIT_B: u32 = 0x8b51_f9dd;
const MULT_B: u32 = 0x58f3_8ded;
const MIX_MULT_L: u32 = 0xca01_f9dd;
const MIX_MULT_R: u32 = 0x4973_f715;
const XSHIFT: u32 = 16;

/// Words of a pool by default, and the least number: 128 bits.
const DEFAULT_POOL_SIZE: usize = 4;

/// What a seed sequence starts from: a non-negative integer of any size, or a list of them, as
/// little-endian 32-bit words (an integer takes as few as it needs, zero takes one).
///
/// ```
/// use cryptgpu_core::prg::philox::Entropy;
/// assert_eq!(Entropy::from(1u128 << 64).words(), [0, 0, 1]);
/// assert_eq!(Entropy::from([7u64, 0, 1 << 32]).words(), [7, 0, 0, 1]);
/// assert_eq!("340282366920938463463374607431768211456".parse::<Entropy>()?.words(), [0, 0, 0, 0, 1]);
/// # Ok::<(), cryptgpu_core::prg::PrgError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entropy(Vec<u32>);

impl Entropy {
    /// The words, as they are hashed.
    pub fn words(&self) -> &[u32] {
        &self.0
    }
}

macro_rules! from_unsigned {
    ($($int:ty),*) => {$(
        impl From<$int> for Entropy {
            fn from(value: $int) -> Self {
                Entropy::from(value as u128)
            }
        }
    )*};
}
from_unsigned!(u8, u16, u32, u64, usize);

impl From<u128> for Entropy {
    fn from(value: u128) -> Self {
        let used = (128 - value.leading_zeros()).div_ceil(32).max(1);
        Entropy((0..used).map(|i| (value >> (32 * i)) as u32).collect())
    }
}

impl<T: Into<Entropy>> FromIterator<T> for Entropy {
    fn from_iter<I: IntoIterator<Item = T>>(list: I) -> Self {
        Entropy(list.into_iter().flat_map(|item| item.into().0).collect())
    }
}

impl<T: Into<Entropy>> From<Vec<T>> for Entropy {
    fn from(list: Vec<T>) -> Self {
        list.into_iter().collect()
    }
}

impl<T: Into<Entropy>, const N: usize> From<[T; N]> for Entropy {
    fn from(list: [T; N]) -> Self {
        list.into_iter().collect()
    }
}

/// Reads one decimal or `0x` integer of any length.
impl FromStr for Entropy {
    type Err = PrgError;

    fn from_str(text: &str) -> Result<Self, PrgError> {
        parse_natural(text)
            .map(Entropy)
            .ok_or_else(|| PrgError::NotAnInteger { text: text.to_owned(), expected: "a non-negative integer" })
    }
}

/// A seed from which keys and further seeds are made, equal to `numpy.random.SeedSequence`.
///
/// ```
/// use cryptgpu_core::prg::philox::SeedSequence;
/// let mut root = SeedSequence::new(42u64);
/// let workers = root.spawn(3); // independent of each other and of the root
/// assert_eq!(workers[2].spawn_key(), [2]);
/// assert_ne!(workers[0].generate_u64(2), workers[1].generate_u64(2));
/// ```
#[derive(Clone, Debug)]
pub struct SeedSequence {
    entropy: Entropy,
    spawn_key: Vec<u32>,
    pool_size: usize,
    children: u64,
    pool: Vec<u32>,
}

impl SeedSequence {
    /// A sequence from `entropy`, with an empty spawn key and a pool of four words.
    pub fn new(entropy: impl Into<Entropy>) -> Self {
        Self::mixed(entropy.into(), Vec::new(), DEFAULT_POOL_SIZE)
    }

    /// A sequence from 128 bits of the operating system's entropy.
    ///
    /// # Errors
    /// [`PrgError::Entropy`] when there is none.
    pub fn from_os() -> Result<Self, PrgError> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(PrgError::Entropy)?;
        Ok(Self::new(u128::from_le_bytes(bytes)))
    }

    /// The same entropy at another place of the tree of seeds: NumPy's `spawn_key`.
    pub fn with_spawn_key(self, spawn_key: impl Into<Entropy>) -> Self {
        Self::mixed(self.entropy, spawn_key.into().0, self.pool_size)
    }

    /// The same entropy mixed in a pool of `pool_size` words of 32 bits. More than four pay when
    /// more than 128 bits of entropy are to be kept.
    ///
    /// # Errors
    /// [`PrgError::PoolSize`] below four.
    pub fn with_pool_size(self, pool_size: usize) -> Result<Self, PrgError> {
        if pool_size < DEFAULT_POOL_SIZE {
            return Err(PrgError::PoolSize(pool_size));
        }
        Ok(Self::mixed(self.entropy, self.spawn_key, pool_size))
    }

    fn mixed(entropy: Entropy, spawn_key: Vec<u32>, pool_size: usize) -> Self {
        let mut words = entropy.0.clone();
        if !spawn_key.is_empty() && words.len() < pool_size {
            // Else [1] spawned at 0 and [1, 0] unspawned would mix the same words.
            words.resize(pool_size, 0);
        }
        words.extend_from_slice(&spawn_key);
        let pool = mix(&words, pool_size);
        SeedSequence { entropy, spawn_key, pool_size, children: 0, pool }
    }

    /// The entropy that it was made from.
    pub fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// The path from the root of the tree of seeds, in 32-bit words: one per level but for a child
    /// whose number exceeds 32 bits.
    pub fn spawn_key(&self) -> &[u32] {
        &self.spawn_key
    }

    /// The mixed pool.
    pub fn pool(&self) -> &[u32] {
        &self.pool
    }

    /// How many children were spawned so far.
    pub fn children_spawned(&self) -> u64 {
        self.children
    }

    /// The next `n` children: seeds whose streams are independent of one another's and of this
    /// one's. Spawning again gives other children.
    pub fn spawn(&mut self, n: usize) -> Vec<SeedSequence> {
        let first = self.children;
        self.children += n as u64;
        (first..self.children)
            .map(|child| {
                let mut key = self.spawn_key.clone();
                key.extend(Entropy::from(child).0);
                Self::mixed(self.entropy.clone(), key, self.pool_size)
            })
            .collect()
    }

    /// `n` words of 32 bits for seeding a generator: always the same ones.
    pub fn generate_u32(&self, n: usize) -> Vec<u32> {
        let mut hash = INIT_B;
        self.pool
            .iter()
            .cycle()
            .take(n)
            .map(|word| {
                let word = word ^ hash;
                hash = hash.wrapping_mul(MULT_B);
                let word = word.wrapping_mul(hash);
                word ^ (word >> XSHIFT)
            })
            .collect()
    }

    /// `n` words of 64 bits: pairs of the 32-bit ones, the low half first.
    pub fn generate_u64(&self, n: usize) -> Vec<u64> {
        self.generate_u32(2 * n).chunks_exact(2).map(|pair| u64::from(pair[0]) | (u64::from(pair[1]) << 32)).collect()
    }
}

/// Hashes a word with the running hash constant.
fn hash_mix(word: u32, hash: &mut u32) -> u32 {
    let word = word ^ *hash;
    *hash = hash.wrapping_mul(MULT_A);
    let word = word.wrapping_mul(*hash);
    word ^ (word >> XSHIFT)
}

/// Mixes `y` into `x`.
fn combine(x: u32, y: u32) -> u32 {
    let word = MIX_MULT_L.wrapping_mul(x).wrapping_sub(MIX_MULT_R.wrapping_mul(y));
    word ^ (word >> XSHIFT)
}

/// The pool of `size` words for the given entropy.
fn mix(entropy: &[u32], size: usize) -> Vec<u32> {
    let mut hash = INIT_A;
    let mut pool: Vec<u32> = (0..size).map(|i| hash_mix(entropy.get(i).copied().unwrap_or(0), &mut hash)).collect();
    for from in 0..size {
        for to in (0..size).filter(|&to| to != from) {
            pool[to] = combine(pool[to], hash_mix(pool[from], &mut hash));
        }
    }
    for &word in entropy.iter().skip(size) {
        for slot in &mut pool {
            *slot = combine(*slot, hash_mix(word, &mut hash));
        }
    }
    pool
}
