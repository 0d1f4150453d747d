//! The embedding of ring words into floating point, by limbs: how many products each way takes, and from which depth on
//! it goes wrong, by proof and by trial. Computed on the processor by the reference in [`crate::ring`].

use serde::Serialize;

use crate::prg::{Aes128Ctr, Key};
use crate::ring::{Accumulator, Embedding, Sums};

/// One way to embed, and what came of trying it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbeddingRow {
    /// Limbs: `4 × 16 bits`.
    pub limbs: String,
    /// What sums are kept in.
    pub sums: String,
    /// Products of limbs for each product of words.
    pub products: u32,
    /// The depth up to which every word is proved right: [`Embedding::exact_depth`].
    pub exact_depth: u64,
    /// The smallest depth at which the constructed words were seen to be wrong; none where that is beyond what is tried.
    pub first_wrong: Option<u64>,
    /// What was tried, by depth.
    pub points: Vec<EmbeddingPoint>,
}

/// What was seen at one depth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EmbeddingPoint {
    /// Length K of the inner products.
    pub depth: u64,
    /// The fraction of the inner products of uniform words that was wrong.
    pub random_wrong: f64,
    /// Whether the inner product of the constructed words was wrong.
    pub worst_wrong: bool,
}

impl EmbeddingRow {
    /// `4 × 16 bits, double for each pair`.
    pub fn label(&self) -> String {
        format!("{}, {}", self.limbs, self.sums)
    }
}

/// The deepest inner products that are tried.
const DEEPEST: u64 = 1 << 24;
/// Where the bound is beyond that, up to here: nothing goes wrong.
const SHALLOW: u64 = 1 << 18;
/// Words that are drawn at a time.
const CHUNK: usize = 1 << 12;

/// The ways that are compared: CryptGPU's (4 limbs, a matrix product for each pair of limbs), the kernels' (the same
/// summed by diagonal; 3 and 8 limbs), 5 and 6, 2, signed limbs, and the int8 tensor cores'.
pub fn embeddings() -> Vec<Embedding> {
    use Accumulator::{Diagonal, Pair, Wrapping32};
    let ways = [(2, Diagonal), (3, Diagonal), (4, Pair), (4, Diagonal), (5, Diagonal), (6, Diagonal), (8, Wrapping32)];
    let mut all: Vec<Embedding> =
        ways.into_iter().filter_map(|(limbs, accumulator)| Embedding::new(limbs, accumulator)).collect();
    let signed = Embedding::new(3, Diagonal).map(Embedding::balanced);
    all.splice(2..2, signed);
    all
}

/// Tries every way on `elements` inner products of uniform words, and on the worst ones, at depths that are powers of 4.
pub fn embedding_ablation(elements: usize) -> Vec<EmbeddingRow> {
    embeddings().into_iter().map(|embedding| row(embedding, elements.max(1))).collect()
}

fn row(embedding: Embedding, elements: usize) -> EmbeddingRow {
    let tight = embedding.tight_depth();
    // Uniform words go wrong at about 4 times the depth of the worst.
    let deepest = if tight <= DEEPEST / 4 { (16 * tight).clamp(1 << 14, DEEPEST) } else { SHALLOW };
    let depths: Vec<u64> = (0..32).map(|power| 1u64 << (2 * power)).take_while(|depth| *depth <= deepest).collect();
    let random: Vec<Vec<bool>> = (0..elements).map(|element| random(embedding, &depths, element as u64)).collect();
    let worst = embedding.worst_is_wrong(&depths);
    let point = |(at, &depth): (usize, &u64)| EmbeddingPoint {
        depth,
        random_wrong: random.iter().filter(|wrong| wrong[at]).count() as f64 / elements as f64,
        worst_wrong: worst[at],
    };
    EmbeddingRow {
        limbs: embedding.to_string(),
        sums: embedding.accumulator().to_string(),
        products: embedding.products(),
        exact_depth: embedding.exact_depth(),
        first_wrong: first_wrong(embedding, tight),
        points: depths.iter().enumerate().map(point).collect(),
    }
}

fn exactly(x: &[u64], y: &[u64]) -> u64 {
    x.iter().zip(y).fold(0, |sum, (x, y)| sum.wrapping_add(x.wrapping_mul(*y)))
}

/// The constructed words are right up to `tight` and wrong at the latest three steps beyond.
fn first_wrong(embedding: Embedding, tight: u64) -> Option<u64> {
    if tight > DEEPEST {
        return None;
    }
    let depths = [tight.max(1), tight + 1, tight + 2, tight + 3];
    depths.into_iter().zip(embedding.worst_is_wrong(&depths)).find_map(|(depth, wrong)| wrong.then_some(depth))
}

/// Whether the inner product of uniform words is wrong, at each depth: one long one, looked at on the way.
fn random(embedding: Embedding, depths: &[u64], element: u64) -> Vec<bool> {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&element.to_le_bytes());
    let stream = Aes128Ctr::new(&Key::from_bytes(key));
    let (mut words, mut sums, mut right, mut done) = (vec![0; 2 * CHUNK], Sums::new(embedding), 0u64, 0u64);
    let until = |depth: &u64| {
        while done < *depth {
            let some = (*depth - done).min(CHUNK as u64) as usize;
            let words = &mut words[..2 * some];
            stream.fill(0, 2 * done, words);
            let (x, y) = words.split_at(some);
            sums.add(x, y);
            right = right.wrapping_add(exactly(x, y));
            done += some as u64;
        }
        sums.value() != right
    };
    depths.iter().map(until).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_keep_to_the_bounds() {
        let rows = embedding_ablation(1);
        assert_eq!(rows.len(), 8);
        for row in &rows {
            for point in &row.points {
                let proved = point.depth <= row.exact_depth;
                assert!(!proved || (point.random_wrong == 0.0 && !point.worst_wrong), "{}: {point:?}", row.label());
                let shown = row.first_wrong.is_some_and(|first| point.depth >= first + 3);
                assert!(!shown || point.worst_wrong, "{}: {point:?}", row.label());
            }
            assert!(row.first_wrong.is_none_or(|first| first > row.exact_depth), "{row:?}");
        }
        let of = |label: &str| rows.iter().find(|row| row.label() == label).unwrap();
        let paper = of("4 × 16 bits, double for each pair");
        assert_eq!((paper.products, paper.exact_depth), (10, 1 << 21));
        let int8 = of("8 × 8 bits, 32 bits for each diagonal");
        assert_eq!((int8.products, int8.first_wrong), (36, Some(16_513)));
        assert_eq!(int8.points.last().unwrap().random_wrong, 1.0, "{int8:?}");
        let diagonal = of("4 × 16 bits, double for each diagonal");
        assert_eq!(diagonal.points.last().unwrap().random_wrong, 1.0, "{diagonal:?}");
    }
}
