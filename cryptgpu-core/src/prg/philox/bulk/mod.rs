//! Blocks of consecutive counters in bulk, by the fastest code that the machine runs.
//!
//! A round needs both halves of two 64-bit products, for which AVX2 has no instruction. Scalar
//! `mulx` makes one a cycle; products put together from 32-bit ones take some 15 vector operations
//! for four, and from 52-bit ones (AVX-512 IFMA) 12 for eight. Scalar and vector multipliers are
//! different parts of a core, so the vector kernels also make one or two scalar blocks a round.
//!
//! **Floor.** Within a run only the lowest word of the counter changes. So of the four products of the
//! first two rounds two are the same for all blocks and one goes up by a multiplier from block to
//! block, which leaves 17 products a block. By `mulx` alone that is 17 cycles for 32 B, 1.9 B per
//! cycle. On a Sapphire Rapids core at 3.7 GHz fills of 64 KiB run at 5.9 GB/s (portable), 6.3
//! (`mulx`, 0.9 of its floor), 5.6 (AVX2 with scalar) and 8.2 (AVX-512 with scalar, 2.2 B per cycle;
//! 6.9 without scalar), where NumPy's `random_raw` makes 2.6 to 2.9. Which of two kernels wins
//! depends on how a core shares its ports, so each process measures those that it can run, once, for
//! some tens of microseconds. All give the same words.

use super::block::{MULTIPLIERS_64, WEYL_64};
use super::{Int256, philox4x64};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

/// Rounds of Philox4x64-10.
const ROUNDS: usize = 10;
/// Fewer blocks than this are made one by one: preparing a run would cost more.
const FEW: usize = 6;
/// A block: four words.
type Block = [u64; 4];

/// Fills `blocks` with those of `counter`, `counter + 1`, …; returns the counter that follows.
pub(super) fn fill(key: [u64; 2], mut counter: Int256, blocks: &mut [Block]) -> Int256 {
    if blocks.len() < FEW {
        for block in blocks {
            *block = philox4x64::<ROUNDS>(counter.words(), key);
            counter = counter.wrapping_add(1.into());
        }
        return counter;
    }
    let kernel = fastest().fill;
    let mut rest = blocks;
    while !rest.is_empty() {
        let [low, high @ ..] = counter.words();
        // Within a run only the lowest word of the counter changes.
        let until_carry = usize::try_from(u64::MAX - low).unwrap_or(usize::MAX).saturating_add(1);
        let (now, later) = rest.split_at_mut(rest.len().min(until_carry));
        kernel(&Run::new(key, high), low, now);
        counter = counter.wrapping_add((now.len() as u64).into());
        rest = later;
    }
    counter
}

/// A way to fill.
#[derive(Clone, Copy)]
struct Kernel {
    #[cfg_attr(not(test), expect(dead_code, reason = "for the messages of tests"))]
    name: &'static str,
    /// Fills with the blocks of a run from this lowest counter word on.
    fill: fn(&Run, u64, &mut [Block]),
}

/// The kernels that this machine can run, the portable one first.
fn kernels() -> Vec<Kernel> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "others are for x86-64 only"))]
    let mut kernels = vec![Kernel { name: "portable", fill: Run::fill_portable }];
    #[cfg(target_arch = "x86_64")]
    {
        let bmi2 = is_x86_feature_detected!("bmi2");
        if bmi2 {
            // SAFETY: the machine has BMI2.
            kernels.push(Kernel { name: "mulx", fill: |run, low, blocks| unsafe { fill_mulx(run, low, blocks) } });
        }
        if bmi2 && is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2 and BMI2.
            kernels.push(Kernel { name: "AVX2", fill: |run, low, blocks| unsafe { avx2::fill(run, low, blocks) } });
        }
        if bmi2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma") {
            // SAFETY: the machine has AVX-512 F and IFMA, and BMI2.
            let fill = |run: &Run, low, blocks: &mut [Block]| unsafe { avx512::fill(run, low, blocks) };
            kernels.push(Kernel { name: "AVX-512", fill });
        }
    }
    kernels
}

/// The kernel that was fastest when this process first filled.
fn fastest() -> Kernel {
    static FASTEST: OnceLock<Kernel> = OnceLock::new();
    *FASTEST.get_or_init(|| {
        let (run, mut blocks) = (Run::new([1, 2], [3, 4, 5]), vec![[0; 4]; 480]);
        let mut time = |kernel: &Kernel| {
            let mut one = || {
                let start = Instant::now();
                (kernel.fill)(&run, 0, &mut blocks);
                start.elapsed()
            };
            // The least of several: an interruption makes a fill slower, nothing makes it faster.
            (0..6).map(|_| one()).min().unwrap_or(Duration::MAX)
        };
        let portable = Kernel { name: "portable", fill: Run::fill_portable };
        kernels().into_iter().min_by_key(|kernel| time(kernel)).unwrap_or(portable)
    })
}

/// The scalar fill with `mulx`, which frees the multiplication from fixed registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi2")]
fn fill_mulx(run: &Run, low: u64, blocks: &mut [Block]) {
    run.fill_inline(low, blocks);
}

/// The high and low halves of a product.
#[inline(always)]
fn product(a: u64, b: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b);
    ((wide >> 64) as u64, wide as u64)
}

/// The first product of the block of a lowest counter word. That of the next counter is one
/// multiplier more, so in a run it takes additions only.
#[inline(always)]
fn first_product(low: u64) -> u128 {
    u128::from(low) * u128::from(MULTIPLIERS_64[0])
}

/// What all blocks of a run have in common: the keys of the rounds, and the parts of the first two
/// rounds that do not depend on the lowest word of the counter.
struct Run {
    keys: [[u64; 2]; ROUNDS],
    /// After the first round: x₀, x₁, and what the varying high half is to be mixed with to give x₂.
    first: [u64; 3],
    /// After the second: what x₁'s high half is mixed with, what the varying x₃ is mixed with to
    /// give x₂, and x₃.
    second: [u64; 3],
}

impl Run {
    fn new(key: [u64; 2], [c1, c2, c3]: [u64; 3]) -> Self {
        let mut keys = [key; ROUNDS];
        for i in 1..ROUNDS {
            keys[i] = [keys[i - 1][0].wrapping_add(WEYL_64[0]), keys[i - 1][1].wrapping_add(WEYL_64[1])];
        }
        let (high, low) = product(c2, MULTIPLIERS_64[1]);
        let first = [high ^ c1 ^ keys[0][0], low, c3 ^ keys[0][1]];
        let (high, low) = product(first[0], MULTIPLIERS_64[0]);
        let second = [first[1] ^ keys[1][0], high ^ keys[1][1], low];
        Run { keys, first, second }
    }

    /// One block at a time, by the language's 128-bit products.
    fn fill_portable(&self, low: u64, blocks: &mut [Block]) {
        self.fill_inline(low, blocks);
    }

    /// The body of every scalar fill, compiled for the instructions of the function it is inlined in.
    #[inline(always)]
    fn fill_inline(&self, low: u64, blocks: &mut [Block]) {
        let mut first = first_product(low);
        for block in blocks {
            *block = self.block(first);
            first = first.wrapping_add(MULTIPLIERS_64[0].into());
        }
    }

    /// The block whose first product is `first`.
    #[inline(always)]
    fn block(&self, first: u128) -> Block {
        let (x3, x2) = (first as u64, (first >> 64) as u64 ^ self.first[2]);
        let (h, l) = product(x2, MULTIPLIERS_64[1]);
        let (mut x0, mut x1, mut x2, mut x3) = (h ^ self.second[0], l, x3 ^ self.second[1], self.second[2]);
        for key in &self.keys[2..] {
            let ((h0, l0), (h1, l1)) = (product(x0, MULTIPLIERS_64[0]), product(x2, MULTIPLIERS_64[1]));
            (x0, x1, x2, x3) = (h1 ^ x1 ^ key[0], l1, h0 ^ x3 ^ key[1], l0);
        }
        [x0, x1, x2, x3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_fills_the_same_blocks() {
        for kernel in kernels() {
            for (low, count) in [(0, 0), (7, 1), (0, 15), (u64::MAX - 100, 100), (1 << 63, 24), (3, 200), (9, 2000)] {
                let (key, high) = ([u64::MAX, 0x1234_5678_9abc_def0], [low ^ 5, u64::MAX, 1]);
                let mut blocks = vec![[0; 4]; count];
                (kernel.fill)(&Run::new(key, high), low, &mut blocks);
                for (i, block) in blocks.iter().enumerate() {
                    let counter = [low + i as u64, high[0], high[1], high[2]];
                    assert_eq!(*block, philox4x64::<10>(counter, key), "{}, block {i} from {low}", kernel.name);
                }
            }
        }
    }

    #[test]
    fn kernels_agree_on_many_keys() {
        let mut words = [0; 6];
        for seed in 0..200 {
            super::super::PhiloxStream::new([seed, 99], [0; 4]).fill(0, &mut words);
            let run = Run::new([words[0], words[1]], [words[2], words[3], words[4]]);
            let results = kernels().into_iter().map(|kernel| {
                let mut blocks = vec![[0; 4]; 60];
                (kernel.fill)(&run, words[5] >> 1, &mut blocks);
                blocks
            });
            let results: Vec<_> = results.collect();
            assert!(results.iter().all(|blocks| *blocks == results[0]), "seed {seed}");
        }
    }
}
