//! The bijections of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
//! (SC11): each maps a counter, under a key, to a block of as many words.
//!
//! A round multiplies every even word by a constant to twice its width, mixes the high half with
//! its neighbour and the round's key, and swaps. Ten rounds pass BigCrush with a margin; seven do
//! so narrowly. None is a cipher: outputs can be told from random by someone who tries.

macro_rules! philox2 {
    ($name:ident, $word:ty, $wide:ty, $multiplier:expr, $weyl:expr, $doc:expr) => {
        #[doc = $doc]
        pub fn $name<const ROUNDS: usize>(counter: [$word; 2], key: [$word; 1]) -> [$word; 2] {
            let ([mut x0, mut x1], [mut k]) = (counter, key);
            for _ in 0..ROUNDS {
                let product = <$wide>::from(x0) * $multiplier;
                (x0, x1) = ((product >> <$word>::BITS) as $word ^ k ^ x1, product as $word);
                k = k.wrapping_add($weyl);
            }
            [x0, x1]
        }
    };
}

macro_rules! philox4 {
    ($name:ident, $word:ty, $wide:ty, $multipliers:expr, $weyl:expr, $doc:expr) => {
        #[doc = $doc]
        pub fn $name<const ROUNDS: usize>(counter: [$word; 4], key: [$word; 2]) -> [$word; 4] {
            let [mut x0, mut x1, mut x2, mut x3] = counter;
            let [mut k0, mut k1] = key;
            for _ in 0..ROUNDS {
                let p0 = <$wide>::from(x0) * <$wide>::from($multipliers[0]);
                let p1 = <$wide>::from(x2) * <$wide>::from($multipliers[1]);
                let (h0, h1) = ((p0 >> <$word>::BITS) as $word, (p1 >> <$word>::BITS) as $word);
                (x0, x1, x2, x3) = (h1 ^ x1 ^ k0, p1 as $word, h0 ^ x3 ^ k1, p0 as $word);
                (k0, k1) = (k0.wrapping_add($weyl[0]), k1.wrapping_add($weyl[1]));
            }
            [x0, x1, x2, x3]
        }
    };
}

/// The multipliers of Philox4x64.
pub(super) const MULTIPLIERS_64: [u64; 2] = [0xd2e7_470e_e14c_6c93, 0xca5a_8263_9512_1157];
/// What each round adds to the key of Philox4x64: the golden ratio and √3 − 1.
pub(super) const WEYL_64: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbb67_ae85_84ca_a73b];
const MULTIPLIERS_32: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL_32: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

philox2!(
    philox2x32,
    u32,
    u64,
    0xd256_d193,
    WEYL_32[0],
    "Philox2x32: 2 words of 32 bits from a counter of 64 bits and a key of 32. `ROUNDS` is 10, or 7."
);
philox2!(
    philox2x64,
    u64,
    u128,
    0xd2b7_4407_b1ce_6e93,
    WEYL_64[0],
    "Philox2x64: 2 words of 64 bits from a counter of 128 bits and a key of 64. `ROUNDS` is 10, or 7."
);
philox4!(
    philox4x32,
    u32,
    u64,
    MULTIPLIERS_32,
    WEYL_32,
    "Philox4x32: 4 words of 32 bits from a counter of 128 bits and a key of 64, little-endian words. With ten \
     rounds the generator of PyTorch on CUDA.\n\n```\n# use cryptgpu_core::prg::philox::philox4x32;\n\
     let block = philox4x32::<10>([0; 4], [0; 2]);\n\
     assert_eq!(block, [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);\n```"
);
philox4!(
    philox4x64,
    u64,
    u128,
    MULTIPLIERS_64,
    WEYL_64,
    "Philox4x64: 4 words of 64 bits from a counter of 256 bits and a key of 128, little-endian words. With ten \
     rounds NumPy's `Philox`."
);
