//! Inputs to try a protocol on: edge values of the range that it is meant for, small values of both
//! signs, and uniform ones, in shapes that leave packed blocks and tails empty, whole and odd.

use crate::prg::{Correlated, Key, Keys, Randomness};
use crate::ring::Ring;
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

/// The edges of the integers below 2^`bits` in absolute value; with all bits of the ring but one also its own lowest value, −2^63 or
/// −2^31.
pub(super) fn edges(bits: u32, ring: Ring) -> Vec<u64> {
    let whole = bits + 1 == ring.bits();
    let top = (1u64 << bits) - 1;
    let half = 1u64 << bits.saturating_sub(1);
    let mut edges = vec![0, 1, 2, half - 1, half, top];
    edges.extend(edges.clone().into_iter().map(u64::wrapping_neg));
    edges.extend(whole.then_some((1u64 << bits).wrapping_neg()));
    edges.retain(|&edge| whole || (edge as i64).unsigned_abs() <= top);
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// One input of a trial. Edges of all inputs meet each other: input k steps through them at its own
/// speed. Integers of 64 bits, whatever the ring.
pub(super) fn values(source: &mut Source, shape: &[usize], bits: u32, input: u32, ring: Ring) -> ArrayD<u64> {
    let n: usize = shape.iter().product();
    let edges = edges(bits, ring);
    let words = source.words(n).into_iter().enumerate().map(|(i, word)| {
        let uniform = (word as i64 >> (63 - bits)) as u64;
        // Arithmetic shifts reach −2^bits, which is out of the range.
        let uniform = if bits + 1 < ring.bits() && uniform == (1u64 << bits).wrapping_neg() { 0 } else { uniform };
        match i % 4 {
            0 | 1 => edges[((i / 4 * 2 + i % 4) / edges.len().pow(input % 3)) % edges.len()],
            2 => (uniform as i64 >> (bits / 2)) as u64,
            _ => uniform,
        }
    });
    ArrayD::from_shape_vec(IxDyn(shape), words.collect()).unwrap_or_default()
}

/// A word of `bits` bits and either sign, odd, so that it differs from zero where a ring has its simplest relations.
fn odd(word: u64, bits: u32, negative: bool) -> u64 {
    let size = word >> (64 - bits.min(63)) | 1;
    if negative { size.wrapping_neg() } else { size }
}

fn array(shape: &[usize], words: impl Iterator<Item = u64>) -> ArrayD<u64> {
    ArrayD::from_shape_vec(IxDyn(shape), words.collect()).unwrap_or_default()
}

/// Four secrets for views: zeros; odd values of all sizes, of alternating sign; small values; a constant.
pub(super) fn secrets(source: &mut Source, shapes: &[Vec<usize>], bits: u32) -> Vec<Vec<ArrayD<u64>>> {
    let constant = (0x5555_5555_5555_5555u64 >> (64 - bits)).wrapping_neg();
    let mut inputs = |value: &dyn Fn(usize, usize, u64) -> u64| -> Vec<ArrayD<u64>> {
        let mut one = |(input, shape): (usize, &Vec<usize>)| {
            let words = source.words(shape.iter().product()).into_iter().enumerate();
            array(shape, words.map(|(at, word)| value(input, at, word)))
        };
        shapes.iter().enumerate().map(&mut one).collect()
    };
    let zeros = inputs(&|_, _, _| 0);
    let large = inputs(&|input, at, word| odd(word, bits, (input + at).is_multiple_of(2)));
    let small = inputs(&|_, at, word| odd(word, bits.div_ceil(2), !at.is_multiple_of(2)).wrapping_add(1));
    let constant = inputs(&|_, _, _| constant);
    vec![zeros, large, small, constant]
}

/// Pairs of different secrets on which many functions agree: of opposite sign (products, squares, absolute values), with
/// inputs exchanged (sums, products, maxima), with a zero among them (products), moved alike (differences,
/// comparisons), all negative or all positive (signs, ReLU), in another order (sums and maxima over all).
pub(super) fn pairs(source: &mut Source, shapes: &[Vec<usize>], bits: u32) -> Vec<[Vec<ArrayD<u64>>; 2]> {
    let mut random = |bits: u32, sign: fn(usize) -> bool| -> Vec<ArrayD<u64>> {
        let mut words = |shape: &Vec<usize>| source.words(shape.iter().product()).into_iter().enumerate();
        let mut one = |shape: &Vec<usize>| array(shape, words(shape).map(|(at, word)| odd(word, bits, sign(at))));
        shapes.iter().map(&mut one).collect()
    };
    let each = |x: &[ArrayD<u64>], f: fn(u64) -> u64| x.iter().map(|x| x.mapv(f)).collect::<Vec<_>>();
    let half = bits.saturating_sub(1).max(1);
    let x = random(half, |at| at.is_multiple_of(2));
    let (negative, other) = (random(bits, |_| true), random(bits, |_| true));
    let (positive, larger) = (random(half, |_| false), random(bits, |_| false));
    let (mut zero, mut another) = (x.clone(), random(half, |_| true));
    zero[0].fill(0);
    another[0].fill(0);
    let backwards = |x: &ArrayD<u64>| array(x.shape(), x.iter().copied().collect::<Vec<_>>().into_iter().rev());
    let mut exchanged = x.clone();
    exchanged.reverse();
    let moved = each(&x, |x| x.wrapping_add(1));
    let mut pairs = vec![
        [x.clone(), each(&x, u64::wrapping_neg)],
        [zero, another],
        [x.clone(), moved],
        [negative, other],
        [positive, larger],
        [x.clone(), x.iter().map(backwards).collect()],
    ];
    if shapes.iter().all(|shape| *shape == shapes[0]) {
        pairs.push([x, exchanged]);
    }
    pairs.retain(|[a, b]| a != b);
    pairs
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
        for (bits, ring) in
            [1, 8, 20, 62, 63].map(|bits| (bits, Ring::Z64)).into_iter().chain([(30, Ring::Z32), (31, Ring::Z32)])
        {
            let mut source = Source::new(5);
            let inputs = [0, 1].map(|input| values(&mut source, &[1600], bits, input, ring));
            let (top, whole) = ((1u128 << bits) - 1, bits + 1 == ring.bits());
            for x in inputs.iter().flatten() {
                assert_eq!(*x, ring.signed(*x) as u64, "an element of the ring");
                assert!(whole || u128::from((*x as i64).unsigned_abs()) <= top, "{x} has more than {bits} bits");
            }
            let edges = edges(bits, ring);
            let pairs: std::collections::HashSet<_> = inputs[0].iter().zip(&inputs[1]).collect();
            for a in &edges {
                for b in &edges {
                    assert!(pairs.contains(&(a, b)), "{a} never met {b}");
                }
            }
        }
        let edges = |bits, value: i64| super::edges(bits, Ring::Z64).contains(&(value as u64));
        assert!(edges(63, i64::MIN) && edges(62, (1 << 62) - 1) && !edges(31, -1 << 31));
        assert!(super::edges(31, Ring::Z32).contains(&((-1i64 << 31) as u64)));
    }
}
