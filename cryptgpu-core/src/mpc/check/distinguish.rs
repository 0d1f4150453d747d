//! The tests of what one party was sent in many runs on several secrets: whether anything in it tells the secrets
//! apart. Each is exact or nearly so whatever the distribution of messages is, so a protocol without fault fails no
//! more often than the level says, and the power alone depends on how many runs there are.

use super::columns::{Bit, Columns, Excerpt, Runs, features};
use super::sample::Run;
use super::span::Span;
use super::statistics::{fisher, rank_sum};
use crate::net::PartyId;
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

/// Everything that one party was sent, on every secret: the words of each run, and each bit as a column over the runs.
pub(super) struct Sample<'r> {
    party: PartyId,
    arrays: Vec<Array>,
    /// By run; empty where the run had another shape than the first.
    words: Vec<&'r [u64]>,
    columns: Columns,
    /// The runs of each secret, and of all.
    groups: Vec<Runs>,
    all: Runs,
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

impl<'r> Sample<'r> {
    /// A sample of the runs on each secret, all zeros of the first: the first [`HELD`] of a secret are held back.
    pub fn new(party: PartyId, arrays: Vec<Array>, groups: &'r [Vec<Run>]) -> Self {
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
        let all = set(&|_, _| true);
        let train = [0, 1].map(|group| set(&|g, index| g == group && index >= HELD));
        let hold = [0, 1].map(|group| set(&|g, index| g == group && index < HELD));
        let first = &groups[0][0];
        let words = |run: &'r Run| if run.same_shape(first) { &run.words[..] } else { &[] };
        let words: Vec<&[u64]> = groups.iter().flatten().map(words).collect();
        let columns = Columns::of(&words, length);
        let mut sample =
            Sample { party, arrays, words, columns, groups: of, all, train, hold, tests: vec![], clear: 0 };
        sample.shapes(groups);
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

    /// All bits, by number.
    pub fn bits(&self) -> Range<usize> {
        self.columns.bits()
    }

    /// The bits that are not the same in all runs, one of each set of bits that are equal or opposite in all of them;
    /// nothing when there are more than `most`.
    pub fn varying(&self, most: usize) -> Option<Vec<usize>> {
        self.columns.varying(&self.all, most)
    }

    fn varies(&self, bit: usize) -> bool {
        self.all.varies(self.columns.get(bit))
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
        let of = |array: &Array, element: usize| -> Vec<usize> {
            match array.words.len() == elements {
                true => (64 * (array.words.start + element)..64 * (array.words.start + element + 1)).collect(),
                false => array.words.clone().map(|word| 64 * word + element).collect(),
            }
        };
        let bits = |element| self.arrays.iter().flat_map(move |array| of(array, element));
        let block = |element| bits(element).filter(|&bit| self.varies(bit)).collect();
        (0..elements.min(64)).map(block).collect()
    }

    /// How often each bit is set on one secret and on another.
    fn single_bits(&mut self) {
        let counts: Vec<u32> = self.groups.iter().map(Runs::count).collect();
        for bit in self.bits() {
            let first = (self.groups[0].ones(self.columns.get(bit)), counts[0]);
            for group in 1..counts.len() {
                let other = (self.groups[group].ones(self.columns.get(bit)), counts[group]);
                let p = fisher(first, other);
                let name = if p < WORTH_SAYING { self.name(bit) } else { String::new() };
                self.add(p, || {
                    let say = |(ones, of): (u32, u32)| format!("set in {ones} of {of} runs");
                    format!("{name}: {} on the first secret, {} on {}", say(first), say(other), SECRETS[group])
                });
            }
        }
    }

    /// Two bits, wherever they stand, that are always equal or always opposite on one secret: whether they are on the
    /// others.
    fn pairs_of_bits(&mut self) {
        for of in [0, 1] {
            for [first, second] in self.columns.pairs(&self.train[of]) {
                let columns = self.columns.get(first).iter().zip(self.columns.get(second));
                let sum: Vec<u64> = columns.map(|(a, b)| a ^ b).collect();
                for group in (0..self.groups.len()).filter(|&group| group != of) {
                    let (runs, hold) = (&self.groups[group], &self.hold[of]);
                    let p = fisher((hold.ones(&sum), hold.count()), (runs.ones(&sum), runs.count()));
                    let (own, secret) = (SECRETS[of], SECRETS[group]);
                    let name = |bit: usize| if p < WORTH_SAYING { self.name(bit) } else { String::new() };
                    let (a, b) = (name(first), name(second));
                    self.add(p, || format!("{a} and {b} hang together on {own}, on {secret} in another way"));
                }
            }
        }
    }

    /// The affine space that some bits, all of which vary, span on each of the first two secrets: whether runs that it
    /// was not made from lie in it as often on the other secrets as on its own. A space of as many dimensions as there are
    /// bits has every run.
    fn span(&mut self, bits: &[Bit], what: &dyn Fn(&Self) -> String) {
        let rows = self.columns.rows(bits);
        for of in [0, 1] {
            let span = Span::of(rows.width, bits.len(), rows.of(&self.train[of]));
            let others: Vec<usize> = (0..self.groups.len()).filter(|&group| group != of).collect();
            if span.dimension() == bits.len() {
                self.clear += others.len();
                continue;
            }
            let own = span.outside(rows.of(&self.hold[of]));
            for group in others {
                let theirs = span.outside(rows.of(&self.groups[group]));
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

    /// [`Sample::span`] of at most 64 bits, those among `bits` that vary. Most such sets are seen at once to have no
    /// relation on either secret.
    fn few(&mut self, bits: impl Iterator<Item = usize>, excerpts: &[Excerpt; 2], what: &dyn Fn(&Self) -> String) {
        let bits: Vec<usize> = bits.filter(|&bit| self.varies(bit)).collect();
        if bits.is_empty() {
            return;
        }
        if excerpts.iter().all(|excerpt| self.columns.unrelated(&bits, excerpt)) {
            self.clear += 2 * (self.groups.len() - 1);
            return;
        }
        self.span(&bits.into_iter().map(Bit::One).collect::<Vec<_>>(), what);
    }

    fn excerpts(&self) -> [Excerpt; 2] {
        self.train.each_ref().map(Excerpt::of)
    }

    /// The bits of each word.
    fn words(&mut self) {
        let excerpts = self.excerpts();
        for word in 0..self.bits().len() / 64 {
            let bits = 64 * word..64 * (word + 1);
            self.few(bits, &excerpts, &|sample| sample.name(64 * word).replace(", bit 0", ""));
        }
    }

    /// The lowest bits of the words at one place of all arrays of one length.
    fn places(&mut self) {
        let excerpts = self.excerpts();
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
                self.few(bits, &excerpts, &|_| {
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
            if !bits.is_empty() {
                self.span(&bits, &|_| what.clone());
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
                (0..counts.len()).filter(|&run| runs.has(run)).map(|run| counts[run][feature]).collect()
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
            let ones = f64::from(runs.ones(self.columns.get(bit)));
            ones > 0.0 && ones < n && (2.0 * ones - n).abs() / n.sqrt() > 7.0
        };
        let of = |array: &&Array| (64 * array.words.start..64 * array.words.end).any(uneven);
        self.arrays.iter().filter(of).map(|array| format!("party {}, {}", self.party, array.what)).collect()
    }
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
        (a.from != b.from || a.tag != b.tag || a.len != b.len).then(|| {
            let of = |m: &super::sample::Sent| format!("{} of {} words from party {}", kind(m.tag.kind), m.len, m.from);
            format!("message {number} is {}, or {}", of(a), of(b))
        })
    })
}
