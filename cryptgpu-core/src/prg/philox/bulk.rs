//! Blocks of consecutive counters in bulk, by the fastest code the machine can run.

use super::Int256;
use super::block::{MULTIPLIERS_64, WEYL_64};

/// Rounds of Philox4x64-10.
const ROUNDS: usize = 10;
/// A block: four words.
type Block = [u64; 4];

/// Fills `blocks` with those of `counter`, `counter + 1`, …; returns the counter that follows.
pub(super) fn fill(key: [u64; 2], mut counter: Int256, blocks: &mut [Block]) -> Int256 {
    let mut rest = blocks;
    while !rest.is_empty() {
        let [low, high @ ..] = counter.words();
        // Within a run only the lowest word of the counter changes.
        let until_carry = usize::try_from(u64::MAX - low).unwrap_or(usize::MAX).saturating_add(1);
        let (now, later) = rest.split_at_mut(rest.len().min(until_carry));
        Run::new(key, high).fill(low, now);
        counter = counter.wrapping_add((now.len() as u64).into());
        rest = later;
    }
    counter
}

/// The high and low halves of a product.
#[inline(always)]
fn product(a: u64, b: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b);
    ((wide >> 64) as u64, wide as u64)
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

    fn fill(&self, low: u64, blocks: &mut [Block]) {
        self.fill_portable(low, blocks);
    }

    /// One block at a time; the 128-bit products are single instructions on most machines.
    fn fill_portable(&self, low: u64, blocks: &mut [Block]) {
        for (i, block) in blocks.iter_mut().enumerate() {
            *block = self.block(low.wrapping_add(i as u64));
        }
    }

    #[inline(always)]
    fn block(&self, low: u64) -> Block {
        let (h, x3) = product(low, MULTIPLIERS_64[0]);
        let x2 = h ^ self.first[2];
        let (h, l) = product(x2, MULTIPLIERS_64[1]);
        let (mut x0, mut x1, mut x2, mut x3) = (h ^ self.second[0], l, x3 ^ self.second[1], self.second[2]);
        for key in &self.keys[2..] {
            let ((h0, l0), (h1, l1)) = (product(x0, MULTIPLIERS_64[0]), product(x2, MULTIPLIERS_64[1]));
            (x0, x1, x2, x3) = (h1 ^ x1 ^ key[0], l1, h0 ^ x3 ^ key[1], l0);
        }
        [x0, x1, x2, x3]
    }
}
