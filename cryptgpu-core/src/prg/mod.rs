//! Pseudo-random streams, and the correlated randomness that three parties draw from them.
//!
//! A [`Prg`] is a keyed generator; a [`Stream`] is one single-use piece of its output, addressed
//! by a [`Nonce`] that cannot be copied. [`Correlated`] holds the keys that a party shares with
//! its neighbours and hands out nonces in the same order at every party. Nothing here knows
//! of tensors, networks or protocols.

mod aes_ctr;
mod aes_vector;
mod correlated;
mod error;
mod key;
pub mod philox;

pub use aes_ctr::Aes128Ctr;
pub use correlated::{Correlated, Keys, Nonce, Purpose, Standing, Zero};
pub use error::PrgError;
pub use key::Key;

use philox::InsecurePhilox;
use rayon::prelude::*;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Which generator the parties draw from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Randomness {
    /// AES-128 in counter mode: cryptographic, the default. Written `aes128-ctr`.
    #[default]
    Aes128Ctr,
    /// Philox4x64-10: fast, and **no protection at all**; for measuring what the cipher costs.
    /// Written `insecure-philox`.
    InsecurePhilox,
}

/// The name that serde uses: those of insecure choices say so.
impl fmt::Display for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Randomness::Aes128Ctr => "aes128-ctr",
            Randomness::InsecurePhilox => "insecure-philox",
        })
    }
}

/// Reads the name that [`Randomness`] is written with.
///
/// ```
/// use cryptgpu_core::prg::Randomness;
/// for randomness in [Randomness::Aes128Ctr, Randomness::InsecurePhilox] {
///     assert_eq!(randomness.to_string().parse::<Randomness>()?, randomness);
/// }
/// assert!("philox".parse::<Randomness>().is_err(), "insecure choices are named so");
/// # Ok::<(), cryptgpu_core::prg::PrgError>(())
/// ```
impl FromStr for Randomness {
    type Err = PrgError;

    fn from_str(name: &str) -> Result<Self, PrgError> {
        [Randomness::Aes128Ctr, Randomness::InsecurePhilox]
            .into_iter()
            .find(|randomness| randomness.to_string() == name)
            .ok_or_else(|| PrgError::UnknownRandomness(name.to_owned()))
    }
}

/// A keyed generator: random access into 2⁶⁴ independent streams of 2⁶⁵ words each.
#[derive(Clone, Debug)]
pub enum Prg {
    /// AES-128 in counter mode.
    Aes128Ctr(Arc<Aes128Ctr>),
    /// Philox4x64-10, insecure.
    InsecurePhilox(Arc<InsecurePhilox>),
}

impl Prg {
    /// The generator of kind `randomness` with `key`. An insecure kind prints a warning on standard
    /// error, once a process.
    pub fn new(randomness: Randomness, key: &Key) -> Self {
        match randomness {
            Randomness::Aes128Ctr => Prg::Aes128Ctr(Arc::new(Aes128Ctr::new(key))),
            Randomness::InsecurePhilox => Prg::InsecurePhilox(Arc::new(InsecurePhilox::new(key))),
        }
    }

    /// Which kind this is.
    pub fn randomness(&self) -> Randomness {
        match self {
            Prg::Aes128Ctr(_) => Randomness::Aes128Ctr,
            Prg::InsecurePhilox(_) => Randomness::InsecurePhilox,
        }
    }

    fn fill(&self, nonce: u64, offset: u64, out: &mut [u64]) {
        match self {
            Prg::Aes128Ctr(prg) => prg.fill(nonce, offset, out),
            Prg::InsecurePhilox(prg) => prg.fill(nonce, offset, out),
        }
    }
}

/// A single-use stream of uniform words, known to everyone who has the key and the nonce.
///
/// It cannot be cloned, and making it consumes its nonce, so no two uses see the same words. Any
/// thread may fill any range ([`Stream::fill`]); a range serves one purpose, so who needs its words
/// twice (as a mask, and as the share that the mask becomes) fills the same range again.
///
/// ```compile_fail,E0599
/// # use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness};
/// # let mut correlated = Correlated::new(Randomness::Aes128Ctr, &Keys::alone(Key::from_bytes([1; 16])));
/// let nonce = correlated.nonce();
/// let stream = correlated.own(nonce);
/// let again = stream.clone(); // no method named `clone`
/// ```
pub struct Stream {
    prg: Prg,
    nonce: u64,
}

/// Words that one task of [`Stream::fill_parallel`] makes: 512 KiB, large against the cost of a task.
const PARALLEL_CHUNK: usize = 1 << 16;

impl Stream {
    /// Words `offset .. offset + out.len()` of the stream. Any offset; even ones are fastest
    /// (an AES block is two words), and multiples of 128 a little more so (a batch of blocks).
    ///
    /// ```
    /// # use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness};
    /// # let mut correlated = Correlated::new(Randomness::Aes128Ctr, &Keys::alone(Key::from_os()?));
    /// let nonce = correlated.nonce();
    /// let stream = correlated.own(nonce);
    /// let (mut whole, mut part) = ([0; 100], [0; 7]);
    /// stream.fill(0, &mut whole);
    /// stream.fill(31, &mut part);
    /// assert_eq!(part, whole[31..38]);
    /// # Ok::<(), cryptgpu_core::prg::PrgError>(())
    /// ```
    pub fn fill(&self, offset: usize, out: &mut [u64]) {
        self.prg.fill(self.nonce, offset as u64, out);
    }

    /// What the kernels of a card make the same words from. It refers to the key: not for a log.
    pub(crate) fn for_card(&self) -> cryptgpu_kernels::Stream<'_> {
        let nonce = self.nonce;
        match &self.prg {
            Prg::Aes128Ctr(prg) => cryptgpu_kernels::Stream::Aes128Ctr { keys: prg.round_keys(), nonce },
            Prg::InsecurePhilox(prg) => cryptgpu_kernels::Stream::InsecurePhilox { key: prg.words(), nonce },
        }
    }

    /// The words of [`Stream::fill`], made by all threads of the current rayon pool: the same
    /// words whatever their number. Pays from about a mebibyte on.
    pub fn fill_parallel(&self, offset: usize, out: &mut [u64]) {
        out.par_chunks_mut(PARALLEL_CHUNK)
            .enumerate()
            .for_each(|(i, chunk)| self.fill(offset + i * PARALLEL_CHUNK, chunk));
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.prg)
    }
}
