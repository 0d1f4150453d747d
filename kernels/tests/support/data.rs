//! Words to compute with, and streams that the core and the kernels know alike.

use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness, Stream};
use cryptgpu_kernels::RoundKeys;

/// Sizes at the edges of warps, words, packed groups and blocks.
pub const SIZES: [usize; 14] = [0, 1, 31, 32, 33, 63, 64, 65, 511, 512, 513, 1000, 1024, 1613];

/// Seeded words, a quarter of them values at the edges.
pub fn words(seed: u64, n: usize) -> Vec<u64> {
    const EDGES: [u64; 8] = [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 62, (1 << 62) - 1, u64::MAX << 62];
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15;
    let next = |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        if word.is_multiple_of(4) { EDGES[(word >> 8) as usize % EDGES.len()] } else { word }
    };
    (0..n).map(next).collect()
}

/// Streams of one key.
pub struct Draws {
    correlated: Correlated,
    pub keys: RoundKeys,
    pub philox: [u64; 2],
}

impl Draws {
    pub fn new(randomness: Randomness, seed: u8) -> Self {
        let bytes: [u8; 16] = std::array::from_fn(|i| (i as u8).wrapping_mul(17) ^ seed);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        Draws {
            correlated: Correlated::new(randomness, &Keys::alone(Key::from_bytes(bytes))),
            keys: RoundKeys::expand(&bytes),
            philox: [word(0), word(8)],
        }
    }

    /// The next stream, with the address that a kernel is given.
    pub fn next(&mut self) -> (Stream, u64) {
        let nonce = self.correlated.nonce();
        let address = nonce.address();
        (self.correlated.own(nonce), address)
    }

    /// As a kernel's argument.
    pub fn device(&self, nonce: u64) -> cryptgpu_kernels::Stream<'_> {
        match self.correlated.randomness() {
            Randomness::Aes128Ctr => cryptgpu_kernels::Stream::Aes128Ctr { keys: &self.keys, nonce },
            _ => cryptgpu_kernels::Stream::InsecurePhilox { key: &self.philox, nonce },
        }
    }
}

/// The first `n` words of a stream.
pub fn drawn(stream: &Stream, n: usize) -> Vec<u64> {
    let mut words = vec![0; n];
    stream.fill(0, &mut words);
    words
}
