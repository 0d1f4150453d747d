//! Inputs to try a protocol on: edge values of the range that it is meant for, small values of both
//! signs, and uniform ones, in shapes that leave packed blocks and tails empty, whole and odd.

use crate::prg::{Correlated, Key, Keys, Randomness};
use ndarray::{ArrayD, IxDyn};

/// Numbers of elements that leave parts, blocks and tail groups of packed bits empty, whole and odd.
const SIZES: [usize; 5] = [1, 10, 64, 513, 1000];
/// Enough elements to give every role of every protocol something to do.
const DENSE: usize = 1600;

/// How many elements the trials have: some that are apt to find mistakes, some at random, and at the
/// end enough for every role.
pub(super) fn sizes(source: &mut Source) -> Vec<usize> {
    let random = source.words(2).into_iter().map(|word| 1 + (word % 3000) as usize);
    SIZES.into_iter().chain(random).chain([DENSE]).collect()
}

/// n elements in one or two axes, as it comes.
pub(super) fn shape(source: &mut Source, n: usize) -> Vec<usize> {
    let divisors: Vec<usize> = (1..=n).filter(|rows| n.is_multiple_of(*rows)).collect();
    let pick = source.words(1).into_iter().map(|word| divisors[word as usize % divisors.len()]).next();
    match pick {
        Some(rows) if rows < n => vec![rows, n / rows],
        _ => vec![n],
    }
}

/// Seeded random words.
pub(super) struct Source {
    correlated: Correlated,
}

impl Source {
    pub fn new(seed: u64) -> Self {
        let key = Key::from_bytes(bytemuck::cast([seed, 0x6368_6563_6b65_7221]));
        Source { correlated: Correlated::new(Randomness::Aes128Ctr, &Keys::alone(key)) }
    }

    pub fn words(&mut self, n: usize) -> Vec<u64> {
        let nonce = self.correlated.nonce();
        let mut words = vec![0; n];
        self.correlated.own(nonce).fill(0, &mut words);
        words
    }
}

/// The edges of the integers below 2^`bits` in absolute value; with 63 bits also −2^63, the ring's
/// own lowest value.
pub(super) fn edges(bits: u32) -> Vec<u64> {
    let top = (1u64 << bits) - 1;
    let half = 1u64 << bits.saturating_sub(1);
    let mut edges = vec![0, 1, 2, half - 1, half, top];
    edges.extend(edges.clone().into_iter().map(u64::wrapping_neg));
    edges.extend((bits == 63).then_some(1 << 63));
    edges.retain(|&edge| bits == 63 || (edge as i64).unsigned_abs() <= top);
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// One input of a trial. Edges of all inputs meet each other: input k steps through them at its own
/// speed.
pub(super) fn values(source: &mut Source, shape: &[usize], bits: u32, input: u32) -> ArrayD<u64> {
    let n: usize = shape.iter().product();
    let edges = edges(bits);
    let words = source.words(n).into_iter().enumerate().map(|(i, word)| {
        let uniform = (word as i64 >> (63 - bits)) as u64;
        // Arithmetic shifts reach −2^bits, which is out of the range.
        let uniform = if bits < 63 && uniform == (1u64 << bits).wrapping_neg() { 0 } else { uniform };
        match i % 4 {
            0 | 1 => edges[((i / 4 * 2 + i % 4) / edges.len().pow(input % 3)) % edges.len()],
            2 => (uniform as i64 >> (bits / 2)) as u64,
            _ => uniform,
        }
    });
    ArrayD::from_shape_vec(IxDyn(shape), words.collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_the_elements_they_should() {
        let mut source = Source::new(9);
        for n in sizes(&mut source) {
            let shape = shape(&mut source, n);
            assert!(shape.iter().product::<usize>() == n && (1..=2).contains(&shape.len()), "{shape:?}");
        }
    }

    #[test]
    fn values_stay_in_range_and_meet_their_edges() {
        for bits in [1, 8, 20, 62, 63] {
            let mut source = Source::new(5);
            let inputs = [0, 1].map(|input| values(&mut source, &[1600], bits, input));
            let top = (1u128 << bits) - 1;
            for x in inputs.iter().flatten() {
                assert!(bits == 63 || u128::from((*x as i64).unsigned_abs()) <= top, "{x} has more than {bits} bits");
            }
            let edges = edges(bits);
            let pairs: std::collections::HashSet<_> = inputs[0].iter().zip(&inputs[1]).collect();
            for a in &edges {
                for b in &edges {
                    assert!(pairs.contains(&(a, b)), "{a} never met {b}");
                }
            }
        }
        assert!(super::edges(63).contains(&(1 << 63)) && super::edges(62).contains(&(1u64 << 62).wrapping_sub(1)));
    }
}
