//! The tests of what one party was sent in many runs on several secrets: whether anything in it tells the secrets
//! apart. Each is exact or nearly so whatever the distribution of messages is, so a protocol without fault fails no
//! more often than the level says, and the power alone depends on how many runs there are.

use super::sample::Run;
use super::span::{Span, turn};
use super::statistics::{fisher, rank_sum};
use crate::net::PartyId;
use std::collections::HashMap;
use std::ops::Range;

/// An array of a message: where its words stand among all words of a run.
#[derive(Clone)]
pub(super) struct Array {
    pub what: String,
    pub words: Range<usize>,
}

/// A test that was made.
pub(super) struct Test {
    pub p: f64,
    pub party: PartyId,
    pub what: String,
}

/// A set of runs, as bits: run i is bit i mod 64 of word i / 64.
#[derive(Clone)]
struct Runs(Vec<u64>);

impl Runs {
    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    fn ones(&self, column: &[u64]) -> u32 {
        self.0.iter().zip(column).map(|(a, b)| (a & b).count_ones()).sum()
    }
}

/// Everything that one party was sent, on every secret: the words of each run, and each bit as a column over the runs.
pub(super) struct Sample {
    party: PartyId,
    arrays: Vec<Array>,
    /// By run; empty where the run had another shape than the first.
    words: Vec<Vec<u64>>,
    /// `height` words a bit.
    columns: Vec<u64>,
    height: usize,
    /// The runs of each secret.
    groups: Vec<Runs>,
    /// Runs of the first two secrets: some in which relations are looked for, and others that these are held against.
    train: [Runs; 2],
    hold: [Runs; 2],
    /// The tests whose probability is below 1.
    pub tests: Vec<Test>,
    /// The others.
    pub clear: usize,
}

/// The runs of each secret that relations are held against.
pub(super) const HELD: usize = 44;

/// Below this a test says in words what it was about.
const WORTH_SAYING: f64 = 1e-4;

/// What the first secret is called, and the others.
const SECRETS: [&str; 4] = ["the first secret", "the second secret", "the third secret", "the fourth secret"];

impl Sample {
    /// A sample of the runs on each secret, all zeros of the first: the first [`HELD`] of a secret are held back.
    pub fn new(party: PartyId, arrays: Vec<Array>, groups: &[Vec<Run>]) -> Self {
        let length = arrays.iter().map(|array| array.words.end).max().unwrap_or(0);
        let height = groups.iter().map(Vec::len).sum::<usize>().div_ceil(64);
        let set = |pick: &dyn Fn(usize, usize) -> bool| {
            let (mut runs, mut at) = (Runs(vec![0; height]), 0);
            for (group, all) in groups.iter().enumerate() {
                for (index, run) in all.iter().enumerate() {
                    if run.same_shape(&groups[0][0]) && pick(group, index) {
                        runs.0[at / 64] |= 1 << (at % 64);
                    }
                    at += 1;
                }
            }
            runs
        };
        let of = (0..groups.len()).map(|group| set(&|g, _| g == group)).collect();
        let train = [0, 1].map(|group| set(&|g, index| g == group && index >= HELD));
        let hold = [0, 1].map(|group| set(&|g, index| g == group && index < HELD));
        let mut sample = Sample {
            party,
            arrays,
            words: vec![],
            columns: vec![],
            height,
            groups: of,
            train,
            hold,
            tests: vec![],
            clear: 0,
        };
        sample.shapes(groups);
        let first = &groups[0][0];
        let flat = |run: &Run| match run.same_shape(first) {
            true => run.messages.iter().flat_map(|message| &message.words).copied().collect(),
            false => vec![],
        };
        sample.words = groups.iter().flatten().map(flat).collect();
        sample.turn(length);
        sample
    }

    /// Whether messages are as many, as long and of the same kinds whatever the secret.
    fn shapes(&mut self, groups: &[Vec<Run>]) {
        let usual: Vec<_> =
            self.groups.iter().zip(groups).map(|(usual, all)| (usual.count(), all.len() as u32)).collect();
        for (group, secret) in SECRETS.iter().enumerate().take(groups.len()).skip(1) {
            let p = fisher(usual[0], usual[group]);
            let odd = groups[0].iter().chain(&groups[group]).find_map(|run| differ(&groups[0][0], run));
            let odd = odd.unwrap_or_default();
            self.add(p, || format!("sizes depend on the secret ({secret} against the first): {odd}"));
        }
    }

    fn add(&mut self, p: f64, what: impl FnOnce() -> String) {
        if p >= 1.0 {
            self.clear += 1;
            return;
        }
        let what = if p < WORTH_SAYING { what() } else { String::new() };
        self.tests.push(Test { p, party: self.party, what });
    }

    fn turn(&mut self, length: usize) {
        self.columns = vec![0; 64 * length * self.height];
        for word in 0..length {
            for (block, runs) in self.words.chunks(64).enumerate() {
                let mut rows = [0; 64];
                rows.iter_mut().zip(runs).for_each(|(row, run)| *row = run.get(word).copied().unwrap_or(0));
                turn(&mut rows);
                for (bit, row) in rows.into_iter().enumerate() {
                    self.columns[(64 * word + bit) * self.height + block] = row;
                }
            }
        }
    }

    fn column(&self, bit: usize) -> &[u64] {
        &self.columns[bit * self.height..(bit + 1) * self.height]
    }

    /// All bits, by number.
    pub fn bits(&self) -> Range<usize> {
        0..self.columns.len() / self.height.max(1)
    }

    fn all(&self) -> Runs {
        let mut all = Runs(vec![0; self.height]);
        for group in &self.groups {
            all.0.iter_mut().zip(&group.0).for_each(|(a, b)| *a |= b);
        }
        all
    }

    /// The bits that are not the same in all runs, one of each set of bits that are equal or opposite in all of them.
    pub fn varying(&self) -> Vec<usize> {
        let all = self.all();
        let total = all.count();
        let mut seen = HashMap::new();
        let mut varying = vec![];
        for bit in self.bits() {
            let ones = all.ones(self.column(bit));
            if ones > 0 && ones < total && seen.insert(self.digest(bit, &all), bit).is_none() {
                varying.push(bit);
            }
        }
        varying
    }

    /// Equal for bits that are equal, or opposite, in all of `runs`.
    fn digest(&self, bit: usize, runs: &Runs) -> u128 {
        let column = self.column(bit);
        let first = runs.0.iter().zip(column).find(|(runs, _)| **runs != 0);
        let flip = first.is_some_and(|(runs, column)| column >> runs.trailing_zeros() & 1 == 1);
        let flip = if flip { u64::MAX } else { 0 };
        let word = |(runs, column): (&u64, &u64)| (column ^ flip) & runs;
        runs.0.iter().zip(column).map(word).fold(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835, |digest: u128, word| {
            let mixed = (digest ^ u128::from(word)).wrapping_mul(0xDA94_2042_E4DD_58B5_9E37_79B9_7F4A_7C15);
            mixed ^ mixed >> 67
        })
    }

    /// What array a bit belongs to, and which it is.
    fn name(&self, bit: usize) -> String {
        let word = bit / 64;
        let array = self.arrays.iter().find(|array| array.words.contains(&word));
        let (what, at) = array.map_or(("a message", 0), |array| (array.what.as_str(), word - array.words.start));
        format!("{what}, word {at}, bit {}", bit % 64)
    }

    /// All tests, and those of sets of bits that there are runs enough for.
    pub fn test(&mut self, together: &[Vec<usize>]) {
        self.single_bits();
        self.pairs_of_bits();
        self.words();
        self.places();
        self.pooled();
        for (index, bits) in together.iter().enumerate() {
            let what = match together.len() {
                1 => "all that it is sent, together".to_owned(),
                _ => format!("all that it is sent about element {index}, together"),
            };
            self.together(bits, &what);
        }
    }

    /// What may be about each of a few elements: the words at its place in arrays of so many words, its bit in the words of
    /// all other arrays (which hold packed bits, if anything). Without the bits that are the same in all runs.
    pub fn by_element(&self, elements: usize) -> Vec<Vec<usize>> {
        let all = self.all();
        let varies = |bit: &usize| (1..all.count()).contains(&all.ones(self.column(*bit)));
        let of = |array: &Array, element: usize| -> Vec<usize> {
            match array.words.len() == elements {
                true => (64 * (array.words.start + element)..64 * (array.words.start + element + 1)).collect(),
                false => array.words.clone().map(|word| 64 * word + element).collect(),
            }
        };
        let block = |element| self.arrays.iter().flat_map(|array| of(array, element)).filter(varies).collect();
        (0..elements.min(64)).map(block).collect()
    }

    /// How often each bit is set on one secret and on another.
    fn single_bits(&mut self) {
        let counts: Vec<u32> = self.groups.iter().map(Runs::count).collect();
        for bit in self.bits() {
            let ones: Vec<u32> = self.groups.iter().map(|runs| runs.ones(self.column(bit))).collect();
            for group in 1..ones.len() {
                let p = fisher((ones[0], counts[0]), (ones[group], counts[group]));
                let say = |ones: u32, of: u32| format!("set in {ones} of {of} runs");
                let (a, b) = (say(ones[0], counts[0]), say(ones[group], counts[group]));
                let name = if p < WORTH_SAYING { self.name(bit) } else { String::new() };
                self.add(p, || format!("{name}: {a} on the first secret, {b} on {}", SECRETS[group]));
            }
        }
    }

    /// Two bits, wherever they stand, that are always equal or always opposite on one secret: whether they are on the
    /// others.
    fn pairs_of_bits(&mut self) {
        for of in [0, 1] {
            let (train, hold) = (self.train[of].clone(), self.hold[of].clone());
            let mut first: HashMap<u128, usize> = HashMap::new();
            for bit in self.bits() {
                let ones = train.ones(self.column(bit));
                if ones == 0 || ones == train.count() {
                    continue;
                }
                let other = *first.entry(self.digest(bit, &train)).or_insert(bit);
                if other == bit {
                    continue;
                }
                let sum: Vec<u64> = self.column(bit).iter().zip(self.column(other)).map(|(a, b)| a ^ b).collect();
                for group in (0..self.groups.len()).filter(|&group| group != of) {
                    let (runs, own) = (&self.groups[group], (hold.ones(&sum), hold.count()));
                    let p = fisher(own, (runs.ones(&sum), runs.count()));
                    let (own, secret) = (SECRETS[of], SECRETS[group]);
                    let names = if p < WORTH_SAYING { [self.name(other), self.name(bit)] } else { Default::default() };
                    let [a, b] = names;
                    self.add(p, || format!("{a} and {b} hang together on {own}, on {secret} in another way"));
                }
            }
        }
    }

    /// Rows of some bits of each run, `width` words each.
    fn rows(&self, bits: &[Bit], width: usize) -> Vec<Vec<u64>> {
        let row = |run: usize| {
            let mut row = vec![0u64; width];
            for (at, bit) in bits.iter().enumerate() {
                let one = |bit: usize| self.columns[bit * self.height + run / 64] >> (run % 64) & 1;
                let value = match *bit {
                    Bit::One(bit) => one(bit),
                    Bit::Product(a, b) => one(a) & one(b),
                };
                row[at / 64] |= value << (at % 64);
            }
            row
        };
        (0..self.words.len()).map(row).collect()
    }

    /// The affine space that some bits span on each of the first two secrets: whether runs that it was not made from lie
    /// in it as often on the other secrets as on its own. `varying` is how many of the bits vary: a space of that
    /// dimension has every run.
    fn span(&mut self, rows: &[Vec<u64>], varying: usize, what: &dyn Fn(&Self) -> String) {
        let width = rows.first().map_or(0, Vec::len);
        for of in [0, 1] {
            let span = Span::of(width, pick(rows, &self.train[of]));
            let others: Vec<usize> = (0..self.groups.len()).filter(|&group| group != of).collect();
            if span.dimension() == varying {
                self.clear += others.len();
                continue;
            }
            let own = span.outside(pick(rows, &self.hold[of]));
            for group in others {
                let theirs = span.outside(pick(rows, &self.groups[group]));
                let p = fisher(own, theirs);
                let say = |(outside, all): (u32, u32)| format!("{} of {all} runs", all - outside);
                let name = if p < WORTH_SAYING { what(self) } else { String::new() };
                self.add(p, || {
                    let (own, theirs) = (say(own), say(theirs));
                    let (first, second) = (SECRETS[of], SECRETS[group]);
                    format!(
                        "{name}: what its bits add up to is a matter of the secret; relations of {first} hold in {own} \
                             on it, in {theirs} on {second}"
                    )
                });
            }
        }
    }

    /// The bits of each word.
    fn words(&mut self) {
        let (all, total) = (self.all(), self.all().count());
        for word in 0..self.columns.len() / (64 * self.height).max(1) {
            let varying = (64 * word..64 * (word + 1)).filter(|&bit| (1..total).contains(&all.ones(self.column(bit))));
            let varying = varying.count();
            if varying > 0 {
                let row = |run: &Vec<u64>| vec![run.get(word).copied().unwrap_or(0)];
                let rows: Vec<Vec<u64>> = self.words.iter().map(row).collect();
                self.span(&rows, varying, &|sample| sample.name(64 * word).replace(", bit 0", ""));
            }
        }
    }

    /// The lowest bits of the words at one place of all arrays of one length.
    fn places(&mut self) {
        let (all, total) = (self.all(), self.all().count());
        let mut lengths: Vec<usize> = self.arrays.iter().map(|array| array.words.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        for length in lengths {
            let of = self.arrays.iter().filter(|array| array.words.len() == length);
            let starts: Vec<usize> = of.map(|array| array.words.start).take(32).collect();
            if starts.len() < 2 {
                continue;
            }
            let (count, low) = (starts.len(), 64 / starts.len());
            for at in 0..length {
                let bits = starts.iter().flat_map(|start| (0..low).map(move |bit| 64 * (start + at) + bit));
                let varying = bits.filter(|&bit| (1..total).contains(&all.ones(self.column(bit)))).count();
                let word =
                    |run: &[u64], start: usize| run.get(start + at).copied().unwrap_or(0) & (u64::MAX >> (64 - low));
                let row = |run: &Vec<u64>| {
                    let words = starts.iter().enumerate().map(|(index, &start)| word(run, start) << (index * low));
                    vec![words.fold(0, |a, b| a | b)]
                };
                let rows: Vec<Vec<u64>> = self.words.iter().map(row).collect();
                self.span(&rows, varying, &|_| {
                    format!("the lowest {low} bits of word {at} of {count} arrays of {length} words")
                });
            }
        }
    }

    /// Many bits together; and the lowest ones of words with their products.
    fn together(&mut self, bits: &[usize], what: &str) {
        let room = self.train[0].count().min(self.train[1].count()).saturating_sub(24) as usize;
        let mut low: Vec<usize> = bits.to_vec();
        low.dedup_by_key(|bit| *bit / 64);
        let products = |count: usize| count * (count + 1) / 2;
        let fit = (0..=low.len()).rev().find(|&count| products(count) <= room).unwrap_or(0);
        low.truncate(fit);
        let mut with_products: Vec<Bit> = low.iter().copied().map(Bit::One).collect();
        for (index, &a) in low.iter().enumerate() {
            with_products.extend(low[..index].iter().map(|&b| Bit::Product(a, b)));
        }
        let bits: Vec<Bit> = bits.iter().copied().map(Bit::One).collect();
        let of_products = format!("the lowest bits of {fit} words and their products");
        for (bits, what) in [(bits, what.to_owned()), (with_products, of_products)] {
            let width = bits.len().div_ceil(64);
            if width > 0 {
                let rows = self.rows(&bits, width);
                self.span(&rows, bits.len(), &|_| what.clone());
            }
        }
    }

    /// How often each bit of a word, and each half byte, occurs in an array: for what is too little to show at one place.
    fn pooled(&mut self) {
        for index in 0..self.arrays.len() {
            let Array { what, words } = &self.arrays[index];
            let (what, words) = (what.clone(), words.clone());
            if words.len() < 8 {
                continue;
            }
            let counts: Vec<[u32; 80]> =
                self.words.iter().map(|run| features(run.get(words.clone()).unwrap_or(&[]))).collect();
            let of = |group: usize, feature: usize| -> Vec<u32> {
                let runs = &self.groups[group];
                let here = |run: &usize| runs.0[run / 64] >> (run % 64) & 1 == 1;
                (0..counts.len()).filter(here).map(|run| counts[run][feature]).collect()
            };
            let mut found = vec![];
            for feature in 0..80 {
                let first = of(0, feature);
                for (group, secret) in SECRETS.iter().enumerate().take(self.groups.len()).skip(1) {
                    found.push((rank_sum(&first, &of(group, feature)), feature, *secret));
                }
            }
            for (p, feature, secret) in found {
                self.add(p, || match feature {
                    0..64 => format!("{what}: how often bit {feature} is set depends on the secret ({secret})"),
                    _ => format!("{what}: how often half bytes are {} depends on the secret ({secret})", feature - 64),
                });
            }
        }
    }

    /// Arrays some bit of which varies and is not fair on the first secret: by name.
    pub fn uneven(&self) -> Vec<String> {
        let (runs, n) = (&self.groups[0], f64::from(self.groups[0].count()));
        let uneven = |bit: usize| {
            let ones = f64::from(runs.ones(self.column(bit)));
            ones > 0.0 && ones < n && (2.0 * ones - n).abs() / n.sqrt() > 7.0
        };
        let of = |array: &&Array| (64 * array.words.start..64 * array.words.end).any(uneven);
        self.arrays.iter().filter(of).map(|array| format!("party {}, {}", self.party, array.what)).collect()
    }
}

/// The rows of a set of runs.
fn pick<'r>(rows: &'r [Vec<u64>], runs: &Runs) -> impl Iterator<Item = &'r [u64]> {
    let runs = runs.clone();
    rows.iter().enumerate().filter(move |(run, _)| runs.0[run / 64] >> (run % 64) & 1 == 1).map(|(_, row)| &row[..])
}

/// A bit of what was sent, or the product of two.
enum Bit {
    One(usize),
    Product(usize, usize),
}

/// How often each bit of a word is set, and each half byte occurs.
fn features(words: &[u64]) -> [u32; 80] {
    let mut counts = [0; 80];
    for &word in words {
        (0..64).for_each(|bit| counts[bit] += (word >> bit & 1) as u32);
        (0..16).for_each(|at| counts[64 + (word >> (4 * at) & 15) as usize] += 1);
    }
    counts
}

/// What two runs differ in besides words.
fn differ(usual: &Run, odd: &Run) -> Option<String> {
    if usual.same_shape(odd) {
        return None;
    }
    if usual.failed != odd.failed {
        return Some("the protocol fails in some runs, in others it does not".to_owned());
    }
    let (n, m) = (usual.messages.len(), odd.messages.len());
    if n != m {
        return Some(format!("{n} messages are received, or {m}"));
    }
    usual.messages.iter().zip(&odd.messages).enumerate().find_map(|(number, (a, b))| {
        let kind = |kind: u16| crate::mpc::message_kind(kind);
        (a.from != b.from || a.tag != b.tag || a.words.len() != b.words.len()).then(|| {
            let of = |m: &super::sample::Sent| {
                format!("{} of {} words from party {}", kind(m.tag.kind), m.words.len(), m.from)
            };
            format!("message {number} is {}, or {}", of(a), of(b))
        })
    })
}
