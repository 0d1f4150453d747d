//! Ring products through numbers that are not ring words, as CryptGPU computes them on a GPU (Tan et al., IEEE S&P
//! 2021, §III): a word is cut into limbs, products of limbs are summed in floating point, and sums become words again.
//! This is the plain reference of it: what the kernels' method `Double` does, one inner product at a time, with the
//! limbs and the way of summing open to choice. It computes on the processor, slowly, and shows where too few limbs go
//! wrong. No protocol uses it.
//!
//! With L limbs of w bits, w = ⌈64 / L⌉, and x = Σᵢ xᵢ·2^(iw),
//!
//! x·y ≡ Σ_d 2^(dw) Σ_{i+j=d} xᵢyⱼ modulo 2⁶⁴, d below L:
//!
//! L(L + 1)/2 products of limbs, because d·w ≥ 64 from d = L on. **Exact** while every sum stays within what its
//! accumulator holds: all integers up to 2⁵³ in a double, 2³² values in a 32-bit integer.

use std::fmt;

/// What a sum of products of limbs is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulator {
    /// A double for each diagonal d = i + j: what the kernels do. A sum has up to L products for each step in depth.
    Diagonal,
    /// A double for each pair (i, j): what CryptGPU's code does, a matrix product for each.
    Pair,
    /// A 32-bit integer for each diagonal, which wraps: the int8 tensor cores.
    Wrapping32,
}

/// A way to cut words into limbs and to sum up products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding {
    limbs: u32,
    balanced: bool,
    accumulator: Accumulator,
}

/// The most limbs that an [`Embedding`] has.
const MOST: usize = 16;

impl Embedding {
    /// `limbs` unsigned limbs of ⌈64 / limbs⌉ bits. None unless there are 2 to 16, or when 32-bit accumulators would
    /// take limbs of more than 8 bits.
    ///
    /// ```
    /// use cryptgpu_core::ring::{Accumulator, Embedding};
    ///
    /// let paper = Embedding::new(4, Accumulator::Pair).unwrap();
    /// assert_eq!((paper.width(), paper.products(), paper.exact_depth()), (16, 10, 1 << 21));
    /// let (x, y) = ([u64::MAX, 3], [5, 7]);
    /// assert_eq!(paper.inner_product(&x, &y), 16); // -5 + 21
    /// ```
    pub fn new(limbs: u32, accumulator: Accumulator) -> Option<Self> {
        let least = if accumulator == Accumulator::Wrapping32 { 8 } else { 2 };
        (least..=MOST as u32).contains(&limbs).then_some(Self { limbs, balanced: false, accumulator })
    }

    /// The embedding with signed limbs, from −2^(w−1) to 2^(w−1) − 1: products are a quarter as large.
    #[must_use]
    pub fn balanced(self) -> Self {
        Self { balanced: true, ..self }
    }

    /// Limbs of a word.
    pub fn limbs(&self) -> u32 {
        self.limbs
    }

    /// Bits of a limb.
    pub fn width(&self) -> u32 {
        64u32.div_ceil(self.limbs)
    }

    /// Whether limbs are signed.
    pub fn is_balanced(&self) -> bool {
        self.balanced
    }

    /// How products are summed.
    pub fn accumulator(&self) -> Accumulator {
        self.accumulator
    }

    /// Products of limbs for one product of words.
    pub fn products(&self) -> u32 {
        self.limbs * (self.limbs + 1) / 2
    }

    /// The depth K up to which every inner product is exact, whatever the words: with n products to a sum at each step
    /// (L, or 1 for [`Accumulator::Pair`]),
    ///
    /// * doubles: n · K · 2^(2w) ≤ 2⁵³, or n · K · 2^(2w−2) ≤ 2⁵³ with balanced limbs;
    /// * 32 bits, unsigned: diagonal d sums d + 1 products for each k. Its sum counts modulo 2^(64−dw) only, so
    ///   wrapping is right where dw ≥ 32; the greatest d below sums ⌈32/w⌉ products, each at most (2^w − 1)², and
    ///   must stay below 2³² (balanced: within ±2³¹).
    ///
    /// For doubles it is the rule by which the kernels choose how often sums are added to words; 0 means that one step
    /// may be too much.
    pub fn exact_depth(&self) -> u64 {
        let width = self.width();
        match self.accumulator {
            Accumulator::Wrapping32 => {
                let terms = u64::from(32u32.div_ceil(width));
                match self.balanced {
                    false => ((1u64 << 32) - 1) / (terms * ((1 << width) - 1) * ((1 << width) - 1)),
                    true => ((1u64 << 31) - 1) / (terms << (2 * width - 2)),
                }
            }
            accumulator => {
                let bits = if self.balanced { 2 * width - 2 } else { 2 * width };
                let terms = if accumulator == Accumulator::Pair { 1 } else { u64::from(self.limbs) };
                (1u64 << 53).checked_shr(bits).unwrap_or(0) / terms
            }
        }
    }

    /// The largest magnitude of limb `i`. The highest has the bits that are left, so it may be smaller.
    fn largest(&self, i: u32) -> u64 {
        let width = self.width();
        match (width.min(64u32.saturating_sub(i * width)), self.balanced) {
            (0, _) => 0,
            (bits, false) => u64::MAX >> (64 - bits),
            (bits, true) => 1 << (bits - 1),
        }
    }

    /// The sum that grows fastest: its diagonal, and by how much it grows at most with each step in depth.
    fn fastest(&self) -> (u32, u128) {
        let product = |i: u32, j: u32| u128::from(self.largest(i)) * u128::from(self.largest(j));
        let growth = |d: u32| (d, (0..=d).map(|i| product(i, d - i)).sum::<u128>());
        match self.accumulator {
            Accumulator::Pair => (0, product(0, 0)),
            Accumulator::Diagonal => (0..self.limbs).map(growth).max_by_key(|&(_, growth)| growth).unwrap_or_default(),
            Accumulator::Wrapping32 => growth(32u32.div_ceil(self.width()) - 1),
        }
    }

    /// As [`exact_depth`](Self::exact_depth) without its roundings: beyond this depth there are words that go wrong,
    /// [`worst_case`](Self::worst_case) among them.
    pub fn tight_depth(&self) -> u64 {
        let most = match (self.accumulator, self.balanced) {
            (Accumulator::Wrapping32, false) => (1 << 32) - 1,
            (Accumulator::Wrapping32, true) => (1 << 31) - 1,
            _ => 1u128 << 53,
        };
        u64::try_from(most / self.fastest().1.max(1)).unwrap_or(u64::MAX)
    }

    /// The limbs of a word, from the lowest, with the place for those that there are not left zero.
    fn cut(&self, word: u64) -> [i64; MOST] {
        let width = self.width();
        let mut limbs = [0; MOST];
        let mut rest = word;
        for (i, limb) in limbs.iter_mut().enumerate().take(self.limbs as usize) {
            let bits = width.min(64u32.saturating_sub(i as u32 * width));
            if bits == 0 {
                break;
            }
            let low = rest & (u64::MAX >> (64 - bits));
            let negative = self.balanced && low >> (bits - 1) == 1;
            *limb = if negative { low as i64 - (1 << bits) } else { low as i64 };
            // The carry of a negative limb; the highest limb's is 2⁶⁴, which is 0.
            rest = (rest >> bits).wrapping_add(u64::from(negative));
        }
        limbs
    }

    /// Σₖ xₖ·yₖ modulo 2⁶⁴ by limbs: wrong where a sum leaves its accumulator. Of the longer of the two the rest is
    /// left out.
    pub fn inner_product(&self, x: &[u64], y: &[u64]) -> u64 {
        let mut sums = Sums::new(*self);
        sums.add(x, y);
        sums.value()
    }

    /// Words of which the inner product is wrong from three steps beyond [`tight_depth`](Self::tight_depth) on, at the
    /// latest: all limbs are as large as they can be. For doubles but for the last pair, which makes the fastest sum odd,
    /// and a double beyond 2⁵³ is even.
    pub fn worst_case(&self, depth: usize) -> (Vec<u64>, Vec<u64>) {
        let word = self.worst_word();
        let (mut x, mut y) = (vec![word; depth], vec![word; depth]);
        if let (Some(x), Some(y)) = (x.last_mut(), y.last_mut()) {
            (*x, *y) = self.worst_end(depth as u64);
        }
        (x, y)
    }

    /// At each of these depths, in ascending order, whether the inner product of the [`worst_case`](Self::worst_case) is
    /// wrong: one long one, looked at on the way.
    pub fn worst_is_wrong(&self, depths: &[u64]) -> Vec<bool> {
        let word = self.worst_word();
        let words = [word; 1 << 10];
        let (mut sums, mut right, mut done) = (Sums::new(*self), 0u64, 0u64);
        let wrong = |&depth: &u64| {
            if depth == 0 {
                return false;
            }
            while done < depth - 1 {
                let some = &words[..(depth - 1 - done).min(words.len() as u64) as usize];
                sums.add(some, some);
                right = right.wrapping_add(word.wrapping_mul(word).wrapping_mul(some.len() as u64));
                done += some.len() as u64;
            }
            let ((x, y), mut sums) = (self.worst_end(depth), sums.clone());
            sums.add(&[x], &[y]);
            sums.value() != right.wrapping_add(x.wrapping_mul(y))
        };
        depths.iter().map(wrong).collect()
    }

    /// All limbs as large as they can be.
    fn worst_word(&self) -> u64 {
        let sign = if self.balanced { u64::MAX } else { 1 };
        let limb = |i: u32| sign.wrapping_mul(self.largest(i)).wrapping_shl(i * self.width());
        (0..self.limbs).filter(|i| i * self.width() < 64).map(limb).fold(0, u64::wrapping_add)
    }

    /// The last pair of the worst case of this depth.
    fn worst_end(&self, depth: u64) -> (u64, u64) {
        if self.accumulator == Accumulator::Wrapping32 || depth < 2 {
            return (self.worst_word(), self.worst_word());
        }
        let (diagonal, growth) = self.fastest();
        let even = (growth * (u128::from(depth) - 1)).is_multiple_of(2);
        (u64::from(even), u64::from(even) << (diagonal * self.width()))
    }
}

/// `4 × 16 bits`, `3 × 22 bits, signed`.
impl fmt::Display for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {} bits{}", self.limbs, self.width(), if self.balanced { ", signed" } else { "" })
    }
}

/// `double for each diagonal`, `double for each pair`, `32 bits for each diagonal`.
impl fmt::Display for Accumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accumulator::Diagonal => "double for each diagonal",
            Accumulator::Pair => "double for each pair",
            Accumulator::Wrapping32 => "32 bits for each diagonal",
        })
    }
}

/// An inner product under way: sums of products of limbs, to which more can be added.
#[derive(Clone, Debug)]
pub struct Sums {
    embedding: Embedding,
    /// By diagonal, or by pair, limb of x first.
    doubles: Vec<f64>,
    words: [u32; MOST],
}

impl Sums {
    /// Nothing added yet.
    pub fn new(embedding: Embedding) -> Self {
        let limbs = embedding.limbs as usize;
        let sums = if embedding.accumulator == Accumulator::Pair { limbs * limbs } else { limbs };
        Self { embedding, doubles: vec![0.0; sums], words: [0; MOST] }
    }

    /// Adds Σₖ xₖ·yₖ, in the order of k, and for each k in the order of x's limbs, then y's: as a thread of the kernels
    /// does, so that what is wrong is wrong in the same way.
    pub fn add(&mut self, x: &[u64], y: &[u64]) {
        let limbs = self.embedding.limbs as usize;
        let pairs = self.embedding.accumulator == Accumulator::Pair;
        // The fused multiply-add of the kernels; where products are exact anyway an ordinary one is the same and faster.
        let fused = 2 * self.embedding.width() > 53;
        for (x, y) in x.iter().zip(y) {
            let (x, y) = (self.embedding.cut(*x), self.embedding.cut(*y));
            if self.embedding.accumulator == Accumulator::Wrapping32 {
                for (i, x) in x[..limbs].iter().enumerate() {
                    for (sum, y) in self.words[i..limbs].iter_mut().zip(&y) {
                        // Both are below 2^8, and the sum is meant modulo 2^32.
                        *sum = sum.wrapping_add((x * y) as u32);
                    }
                }
                continue;
            }
            let (x, y) = (x.map(|limb| limb as f64), y.map(|limb| limb as f64));
            for (i, x) in x[..limbs].iter().enumerate() {
                let sums = if pairs { i * limbs..(i + 1) * limbs - i } else { i..limbs };
                for (sum, y) in self.doubles[sums].iter_mut().zip(&y) {
                    *sum = if fused { x.mul_add(*y, *sum) } else { x * y + *sum };
                }
            }
        }
    }

    /// The word that the sums stand for.
    pub fn value(&self) -> u64 {
        let (limbs, width) = (self.embedding.limbs as usize, self.embedding.width());
        let place = |diagonal: usize, sum: u64| sum.checked_shl(diagonal as u32 * width).unwrap_or(0);
        let parts = match (self.embedding.accumulator, self.embedding.balanced) {
            (Accumulator::Wrapping32, balanced) => {
                let wide = |sum: u32| if balanced { i64::from(sum as i32) as u64 } else { u64::from(sum) };
                self.words.iter().take(limbs).map(|&sum| wide(sum)).collect::<Vec<_>>()
            }
            // The conversion saturates, as the kernels' does.
            _ => self.doubles.iter().map(|&sum| sum as i64 as u64).collect(),
        };
        let diagonal = |at: usize| match self.embedding.accumulator {
            Accumulator::Pair => at / limbs + at % limbs,
            _ => at,
        };
        let placed = parts.into_iter().enumerate().map(|(at, sum)| place(diagonal(at), sum));
        placed.fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Accumulator::{Diagonal, Pair, Wrapping32};
    use proptest::prelude::*;

    fn exactly(x: &[u64], y: &[u64]) -> u64 {
        x.iter().zip(y).fold(0, |sum, (x, y)| sum.wrapping_add(x.wrapping_mul(*y)))
    }

    fn all() -> Vec<Embedding> {
        let some = (2..=16).flat_map(|limbs| [Diagonal, Pair, Wrapping32].map(|sums| Embedding::new(limbs, sums)));
        some.flatten().flat_map(|embedding| [embedding, embedding.balanced()]).collect()
    }

    #[test]
    fn bounds_are_those_of_the_kernels() {
        let depth = |limbs, sums| Embedding::new(limbs, sums).unwrap().exact_depth();
        assert_eq!([2, 3, 4].map(|limbs| depth(limbs, Diagonal)), [0, (1 << 9) / 3, 1 << 19]);
        assert_eq!(depth(8, Diagonal), 1 << 34);
        assert_eq!(depth(4, Pair), 1 << 21, "CryptGPU's code");
        assert_eq!(depth(8, Wrapping32), 16_512, "`ring_product.cuh`: K ≤ 16,512");
        assert!(Embedding::new(7, Wrapping32).is_none() && Embedding::new(1, Pair).is_none());
        assert!(all().iter().all(|embedding| embedding.exact_depth() <= embedding.tight_depth()));
    }

    #[test]
    fn limbs_make_up_the_word() {
        for embedding in all() {
            for word in [0, 1, u64::MAX, 1 << 63, 0x8000_8000_8000_8000, 0x7fff_0123_89ab_fedc] {
                let limbs = embedding.cut(word).into_iter().enumerate();
                let placed = limbs.map(|(i, x)| (x as u64).checked_shl(i as u32 * embedding.width()).unwrap_or(0));
                assert_eq!(placed.fold(0, u64::wrapping_add), word, "{embedding}");
                let within = |(i, x): (usize, i64)| x.unsigned_abs() <= embedding.largest(i as u32);
                assert!(embedding.cut(word).into_iter().enumerate().all(within), "{embedding} {word:x}");
            }
        }
    }

    #[test]
    fn the_worst_words_are_right_up_to_the_bound_and_wrong_just_beyond() {
        let mut tried = 0;
        for embedding in all() {
            let tight = embedding.tight_depth();
            if !(1..=1 << 22).contains(&tight) {
                continue;
            }
            let depths = [1, embedding.exact_depth(), tight, tight + 1, tight + 2, tight + 3];
            let wrong = embedding.worst_is_wrong(&depths);
            assert_eq!(wrong[..3], [false; 3], "{embedding}, {} at {depths:?}", embedding.accumulator);
            assert!(wrong[5], "{embedding}, {}: and it stays wrong", embedding.accumulator);
            // Step by step it is what the words make at once.
            if tight < 1 << 12 {
                for (depth, wrong) in depths.into_iter().zip(wrong) {
                    let (x, y) = embedding.worst_case(depth as usize);
                    assert_eq!(embedding.inner_product(&x, &y) != exactly(&x, &y), wrong, "{embedding} at {depth}");
                }
            }
            tried += 1;
        }
        assert!(tried >= 9, "{tried}");
    }

    #[test]
    fn two_limbs_are_wrong_at_once() {
        let two = Embedding::new(2, Diagonal).unwrap();
        assert_eq!((two.exact_depth(), two.tight_depth()), (0, 0));
        let (x, y) = ([0xffff_ffff], [0xffff_ffff]);
        assert_ne!(two.inner_product(&x, &y), exactly(&x, &y));
        let (x, y) = two.worst_case(1);
        assert_ne!(two.inner_product(&x, &y), exactly(&x, &y));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn within_the_bound_every_word_is_right(words in prop::collection::vec(any::<(u64, u64)>(), 1..200)) {
            let (x, y): (Vec<_>, Vec<_>) = words.into_iter().unzip();
            for embedding in all() {
                let depth = x.len().min(usize::try_from(embedding.exact_depth()).unwrap_or(usize::MAX));
                let (x, y) = (&x[..depth], &y[..depth]);
                prop_assert_eq!(embedding.inner_product(x, y), exactly(x, y), "{}", embedding);
            }
        }
    }
}
