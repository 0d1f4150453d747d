//! What one party was sent in many runs, bit by bit: each bit is a column over the runs, so that counting in how many
//! runs it is set, or looking for bits that hang together, takes a few words. Nothing here says what a difference means.

use super::span::{independent, turn};
use std::collections::HashMap;
use std::ops::Range;

/// A set of runs, as bits: run i is bit i mod 64 of word i / 64.
#[derive(Clone)]
pub(super) struct Runs(pub Vec<u64>);

impl Runs {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// In how many of them a bit is set.
    pub fn ones(&self, column: &[u64]) -> u32 {
        self.0.iter().zip(column).map(|(a, b)| (a & b).count_ones()).sum()
    }

    /// Whether it has a run.
    pub fn has(&self, run: usize) -> bool {
        self.0[run / 64] >> (run % 64) & 1 == 1
    }

    /// Whether a bit is not the same in all of them.
    pub fn varies(&self, column: &[u64]) -> bool {
        let (mut zeros, mut ones) = (0, 0);
        self.0.iter().zip(column).for_each(|(runs, column)| {
            zeros |= runs & !column;
            ones |= runs & column;
        });
        zeros != 0 && ones != 0
    }
}

/// The bits of all runs as columns, `height` words each.
pub(super) struct Columns {
    words: Vec<u64>,
    height: usize,
}

impl Columns {
    /// The columns of runs of `length` words, or of none.
    pub fn of(runs: &[&[u64]], length: usize) -> Self {
        let height = runs.len().div_ceil(64);
        let mut words = vec![0; 64 * length * height];
        for (word, columns) in words.chunks_exact_mut((64 * height).max(1)).enumerate() {
            for (block, runs) in runs.chunks(64).enumerate() {
                let mut rows = [0; 64];
                rows.iter_mut().zip(runs).for_each(|(row, run)| *row = run.get(word).copied().unwrap_or(0));
                turn(&mut rows);
                columns[block..].iter_mut().step_by(height).zip(rows).for_each(|(column, row)| *column = row);
            }
        }
        Columns { words, height }
    }

    /// All bits, by number.
    pub fn bits(&self) -> Range<usize> {
        0..self.words.len() / self.height.max(1)
    }

    /// In which runs a bit is set.
    pub fn get(&self, bit: usize) -> &[u64] {
        &self.words[bit * self.height..(bit + 1) * self.height]
    }

    /// A number for each bit that varies in `runs`: the same for bits that are equal, or opposite, in all of them.
    fn digest(&self, bit: usize, runs: &Runs) -> Option<u64> {
        let column = self.get(bit);
        let first = runs.0.iter().zip(column).find(|(runs, _)| **runs != 0);
        let flip = first.is_some_and(|(runs, column)| column >> runs.trailing_zeros() & 1 == 1);
        let flip = if flip { u64::MAX } else { 0 };
        let (mut digest, mut any) = (0x9E37_79B9_7F4A_7C15_u64, 0);
        for (runs, column) in runs.0.iter().zip(column) {
            let word = (column ^ flip) & runs;
            any |= word;
            let mixed = u128::from(digest ^ word) * 0xDA94_2042_E4DD_58B5;
            digest = mixed as u64 ^ (mixed >> 64) as u64;
        }
        (any != 0).then_some(digest)
    }

    /// The bits that are not the same in all of `runs`, one of each set of bits that are equal or opposite in all of
    /// them; nothing when there are more than `most`.
    pub fn varying(&self, runs: &Runs, most: usize) -> Option<Vec<usize>> {
        let (mut seen, mut varying) = (HashMap::new(), vec![]);
        for bit in self.bits() {
            if self.digest(bit, runs).is_some_and(|digest| seen.insert(digest, bit).is_none()) {
                varying.push(bit);
                if varying.len() > most {
                    return None;
                }
            }
        }
        Some(varying)
    }

    /// Bits that vary in `runs` and are equal, or opposite, in all of them: each with the first of its kind.
    pub fn pairs(&self, runs: &Runs) -> Vec<[usize; 2]> {
        // Few bits of very many have a twin. Two sets of bits, of hashes met and of those met again, leave out most others.
        let slots = (16 * self.bits().len()).next_power_of_two().max(64);
        let (mut met, mut again) = (vec![0u64; slots / 64], vec![0u64; slots / 64]);
        let slot = |digest: u64| (digest as usize % slots / 64, 1u64 << (digest % 64));
        // Zero: the same in all runs.
        let digests: Vec<u64> = self.bits().map(|bit| self.digest(bit, runs).unwrap_or(0)).collect();
        for (word, bit) in digests.iter().filter(|&&digest| digest != 0).map(|&digest| slot(digest)) {
            again[word] |= met[word] & bit;
            met[word] |= bit;
        }
        let (mut first, mut pairs) = (HashMap::new(), vec![]);
        for (bit, digest) in digests.into_iter().enumerate() {
            let (word, one) = slot(digest);
            if digest == 0 || again[word] & one == 0 {
                continue;
            }
            let other = *first.entry(digest).or_insert(bit);
            if other != bit {
                pairs.push([other, bit]);
            }
        }
        pairs
    }

    /// Whether it is seen at once that some bits have no relation with each other: no sum of them is the same in all
    /// runs of an excerpt.
    pub fn unrelated(&self, bits: &[usize], excerpt: &Excerpt) -> bool {
        if bits.len() > 64 {
            return false;
        }
        let ([low, high], masks) = (excerpt.blocks, excerpt.masks);
        let mut columns = [[0; 2]; 64];
        for (column, &bit) in columns.iter_mut().zip(bits) {
            let whole = self.get(bit);
            // Zero in the first run, so that what is the same in all is zero.
            let flip = (whole[low] >> (masks[0].trailing_zeros() % 64) & 1).wrapping_neg();
            *column = [(whole[low] ^ flip) & masks[0], (whole[high] ^ flip) & masks[1]];
        }
        independent(&mut columns[..bits.len()])
    }

    /// The rows of some bits, run by run, in as many words as they need.
    pub fn rows(&self, bits: &[Bit]) -> Rows {
        let width = bits.len().div_ceil(64);
        let mut words = vec![0; width * 64 * self.height];
        for (at, bits) in bits.chunks(64).enumerate() {
            for block in 0..self.height {
                let mut turned = [0; 64];
                for (word, bit) in turned.iter_mut().zip(bits) {
                    *word = match *bit {
                        Bit::One(bit) => self.get(bit)[block],
                        Bit::Product(a, b) => self.get(a)[block] & self.get(b)[block],
                    };
                }
                turn(&mut turned);
                words[64 * block * width + at..].iter_mut().step_by(width).zip(turned).for_each(|(to, row)| *to = row);
            }
        }
        Rows { words, width }
    }
}

/// A bit of what was sent, or the product of two.
#[derive(Clone, Copy)]
pub(super) enum Bit {
    One(usize),
    Product(usize, usize),
}

/// Some bits of all runs, run by run.
pub(super) struct Rows {
    words: Vec<u64>,
    /// Words a run.
    pub width: usize,
}

impl Rows {
    /// The rows of a set of runs.
    pub fn of<'r>(&'r self, runs: &Runs) -> impl Iterator<Item = &'r [u64]> {
        let runs = runs.clone();
        let rows = self.words.chunks_exact(self.width.max(1)).enumerate();
        rows.filter(move |(run, _)| runs.has(*run)).map(|(_, row)| row)
    }
}

/// Up to 128 of a set of runs: the two words of it that have the most.
pub(super) struct Excerpt {
    blocks: [usize; 2],
    masks: [u64; 2],
}

impl Excerpt {
    /// The excerpt of a set that has room for a run at least.
    pub fn of(runs: &Runs) -> Self {
        let mut blocks: Vec<usize> = (0..runs.0.len()).collect();
        blocks.sort_by_key(|&block| std::cmp::Reverse(runs.0[block].count_ones()));
        let low = blocks[0];
        match blocks.get(1) {
            Some(&high) => Excerpt { blocks: [low, high], masks: [runs.0[low], runs.0[high]] },
            None => Excerpt { blocks: [low; 2], masks: [runs.0[low], 0] },
        }
    }
}

/// How often each bit of a word is set in some words, and, behind these 64, how often each half byte occurs.
pub(super) fn features(words: &[u64]) -> [u32; 80] {
    let (mut counts, mut bytes) = ([0; 80], [0u32; 256]);
    for words in words.chunks(64) {
        let mut rows = [0; 64];
        rows[..words.len()].copy_from_slice(words);
        turn(&mut rows);
        counts.iter_mut().zip(rows).for_each(|(count, row)| *count += row.count_ones());
        words.iter().flat_map(|word| word.to_le_bytes()).for_each(|byte| bytes[usize::from(byte)] += 1);
    }
    for (byte, count) in bytes.into_iter().enumerate() {
        counts[64 + byte % 16] += count;
        counts[64 + byte / 16] += count;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(seed: u64) -> u64 {
        let x = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (x ^ x >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ x >> 31
    }

    #[test]
    fn columns_and_rows_are_the_words_turned() {
        let runs: Vec<Vec<u64>> = (0..130).map(|run| (0..3).map(|at| word(3 * run + at)).collect()).collect();
        let columns = Columns::of(&runs.iter().map(|run| &run[..]).collect::<Vec<_>>(), 3);
        assert_eq!(columns.bits(), 0..192);
        for (run, words) in runs.iter().enumerate() {
            assert!(
                columns
                    .bits()
                    .all(|bit| columns.get(bit)[run / 64] >> (run % 64) & 1 == words[bit / 64] >> (bit % 64) & 1)
            );
        }
        let bits: Vec<Bit> = columns.bits().map(Bit::One).chain([Bit::Product(5, 70)]).collect();
        let rows = columns.rows(&bits);
        let some = Runs(vec![1 << 7, 0, 0b11]);
        let expected = |run: usize| {
            let product = runs[run][0] >> 5 & runs[run][1] >> 6 & 1;
            [runs[run].clone(), vec![product]].concat()
        };
        assert!(rows.of(&some).eq([7, 128, 129].map(expected)) && some.count() == 3);
    }

    #[test]
    fn twins_and_relations_are_seen_and_nothing_else() {
        let mut runs: Vec<Vec<u64>> = (0..128).map(|run| vec![word(run), word(500 + run)]).collect();
        // Bit 70 is the opposite of bit 3, bit 9 the sum of bits 4 and 5, bit 80 is constant.
        for run in &mut runs {
            run[1] = run[1] & !(1 << 6 | 1 << 16) | (!run[0] >> 3 & 1) << 6;
            run[0] = run[0] & !(1 << 9) | ((run[0] >> 4 ^ run[0] >> 5) & 1) << 9;
        }
        let runs: Vec<&[u64]> = runs.iter().map(|run| &run[..]).collect();
        let (columns, all) = (Columns::of(&runs, 2), Runs(vec![u64::MAX; 2]));
        assert_eq!(columns.pairs(&all), [[3, 70]]);
        assert_eq!(columns.varying(&all, 126).map(|bits| bits.len()), Some(126));
        assert!(columns.varying(&all, 125).is_none() && !all.varies(columns.get(80)) && all.varies(columns.get(70)));
        let excerpt = Excerpt::of(&all);
        let without = |out: &[usize]| (0..64).filter(|bit| !out.contains(bit)).collect::<Vec<_>>();
        assert!(!columns.unrelated(&without(&[]), &excerpt) && columns.unrelated(&without(&[9]), &excerpt));
        assert!(!columns.unrelated(&[1, 3, 70], &excerpt) && !columns.unrelated(&[1, 80], &excerpt));
    }

    #[test]
    fn features_are_counted() {
        let words: Vec<u64> = (0..100).map(word).collect();
        let mut expected = [0; 80];
        for word in &words {
            (0..64).for_each(|bit| expected[bit] += (word >> bit & 1) as u32);
            (0..16).for_each(|at| expected[64 + (word >> (4 * at) & 15) as usize] += 1);
        }
        assert_eq!(features(&words), expected);
    }
}
