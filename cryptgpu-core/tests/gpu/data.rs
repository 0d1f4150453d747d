//! Words to compute on.

use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness, Stream, Zero};

/// Element counts that leave blocks and tail groups of packed bits empty, whole and partial.
pub const SIZES: [usize; 9] = [1, 63, 64, 65, 511, 512, 513, 1000, 1600];

/// A value's bits, well mixed (splitmix64).
pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// Uniform words, with the ring's edges among them.
pub fn words(n: usize, seed: u64) -> Vec<u64> {
    let edges = [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 62, (1 << 62) - 1, (1u64 << 62).wrapping_neg()];
    let word = |i: u64| if i.is_multiple_of(5) { edges[(i / 5) as usize % edges.len()] } else { mix(seed ^ mix(i)) };
    (0..n as u64).map(word).collect()
}

/// Packed bits of `n` elements in `planes` planes; zero where a group has no element, as the layout says.
pub fn planes(n: usize, planes: usize, seed: u64) -> Vec<u64> {
    let mut packed = words(planes * n.div_ceil(64), seed);
    let (blocks, rest) = (n / 512, n % 512);
    if !rest.is_multiple_of(64) {
        // The last group: one word a plane, one bit an element.
        let start = planes * (8 * blocks + rest / 64);
        packed[start..].iter_mut().for_each(|word| *word &= (1 << (rest % 64)) - 1);
    }
    packed
}

/// Both generators.
pub const GENERATORS: [Randomness; 2] = [Randomness::Aes128Ctr, Randomness::InsecurePhilox];

fn correlated(randomness: Randomness, seed: u64) -> Correlated {
    let key = |purpose: u64| Key::from_bytes((u128::from(mix(seed)) << 64 | u128::from(mix(!purpose))).to_le_bytes());
    let keys = Keys { with_prev: key(0), with_next: key(1), common: key(2), own: key(3) };
    Correlated::new(randomness, &keys)
}

/// Streams that nobody else draws.
pub fn streams<const N: usize>(randomness: Randomness, seed: u64) -> [Stream; N] {
    let mut correlated = correlated(randomness, seed);
    std::array::from_fn(|_| {
        let nonce = correlated.nonce();
        correlated.own(nonce)
    })
}

/// A zero-share.
pub fn zero(randomness: Randomness, seed: u64) -> Zero {
    let mut correlated = correlated(randomness, seed);
    let nonce = correlated.nonce();
    correlated.zero(nonce)
}
