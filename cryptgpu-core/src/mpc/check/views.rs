//! What a party sees, held against what it may: uniform, the same whatever the secret, and not a
//! secret in disguise, that is masked by what the party itself knows or by what masked another message.

use super::statistics::{bit_at, byte_at, bytes, holm, nibbles, same, uniform};
use super::trial::{Known, Undo, View};
use crate::mpc::{RecordedMessage, RecordedShare, Sharing};
use crate::net::PartyId;
use rayon::prelude::*;

/// What the tests of all views found.
#[derive(Clone, Debug)]
pub struct Views {
    /// Tests that were made.
    pub tests: usize,
    /// The level: the chance that a protocol without fault is reported.
    pub level: f64,
    /// The smallest p-value after Holm's correction.
    pub smallest: f64,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// Arrays that are too small for any test.
    pub untested: usize,
    /// Why views of different secrets cannot even be compared, if so.
    pub shape: Option<String>,
}

/// Something that a party's view gives away.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The party that sees it.
    pub party: PartyId,
    /// What it sees, and in what way that is wrong.
    pub what: String,
    /// The p-value after Holm's correction.
    pub p: f64,
}

/// An array that a party received, or a value that it opened.
struct Array<'a> {
    party: PartyId,
    what: String,
    words: &'a [u64],
    /// What was opened may have any distribution, but the same whatever the secret.
    opened: bool,
}

/// A test that was made.
struct Test {
    p: f64,
    party: PartyId,
    what: String,
}

/// All views of several runs: the first two of one secret under different keys, the third of a
/// constant one, the last of a random one.
pub(super) fn examine(runs: &[[View; 3]; 4], revealed: &[String], level: f64) -> Views {
    let arrays = runs.each_ref().map(|views| views.iter().flat_map(|view| arrays(view, revealed)).collect::<Vec<_>>());
    let mut views = Views { tests: 0, level, smallest: 1.0, findings: vec![], untested: 0, shape: differ(&arrays) };
    if views.shape.is_some() {
        return views;
    }
    let tests: Vec<Vec<Test>> = (0..arrays[0].len()).into_par_iter().map(|index| about(index, &arrays)).collect();
    views.untested = tests.iter().filter(|tests| tests.is_empty()).count();
    let joint: Vec<Vec<Test>> = PartyId::ALL
        .into_par_iter()
        .map(|party| joint(party, &runs.each_ref().map(|run| run[party.index()].known.as_slice()), &arrays))
        .collect();
    views.judge(tests.into_iter().chain(joint).flatten().collect())
}

impl Views {
    /// Whether nothing was found.
    pub fn passed(&self) -> bool {
        self.shape.is_none() && self.findings.is_empty()
    }

    fn judge(mut self, tests: Vec<Test>) -> Self {
        let corrected = holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>());
        self.tests = tests.len();
        self.smallest = corrected.iter().copied().fold(1.0, f64::min);
        let wrong = tests.into_iter().zip(corrected).filter(|(_, p)| *p < self.level);
        self.findings = wrong.map(|(test, p)| Finding { party: test.party, what: test.what, p }).collect();
        self.findings.sort_by(|a, b| a.p.total_cmp(&b.p));
        self
    }
}

fn is_revealed(step: &str, revealed: &[String]) -> bool {
    step.split('/').any(|part| revealed.iter().any(|name| name == part))
}

/// What a party received and opened, array by array.
fn arrays<'a>(view: &'a View, revealed: &[String]) -> Vec<Array<'a>> {
    let observed = &view.observed;
    let mut arrays = vec![];
    for (number, message) in observed.messages.iter().enumerate().filter(|(_, m)| !is_revealed(&m.step, revealed)) {
        let mut start = 0;
        for (part, &len) in message.arrays.iter().enumerate() {
            let words = &message.words[start..start + len];
            start += len;
            arrays.push(Array { party: observed.party, what: name(number, message, part), words, opened: false });
        }
    }
    let opened = |share: &&RecordedShare| share.sharing == Sharing::Known && share.name == "open";
    for share in observed.shares.iter().filter(opened).filter(|share| !is_revealed(&share.step, revealed)) {
        let what = format!("the value opened at {}", share.step);
        arrays.extend(share.components.iter().map(|(_, words)| Array {
            party: observed.party,
            what: what.clone(),
            words,
            opened: true,
        }));
    }
    arrays
}

fn name(number: usize, message: &RecordedMessage, part: usize) -> String {
    let array = if message.arrays.len() > 1 { format!(", array {part}") } else { String::new() };
    format!("message {number}, from party {}: {}{array}, at {}", message.from, message.kind, message.step)
}

/// In what the runs differ other than words, if in anything.
fn differ(runs: &[Vec<Array>; 4]) -> Option<String> {
    let first = &runs[0];
    for run in &runs[1..] {
        if run.len() != first.len() {
            return Some(format!("{} arrays are received with one secret, {} with another", first.len(), run.len()));
        }
        for (a, b) in first.iter().zip(run) {
            if a.what != b.what || a.words.len() != b.words.len() {
                let (n, m) = (a.words.len(), b.words.len());
                let (party, what) = (a.party, &a.what);
                return Some(format!(
                    "party {party} receives {what} ({n} words), with another secret {} ({m})",
                    b.what
                ));
            }
        }
    }
    None
}

const SECRETS: [&str; 4] = ["all zero", "all zero, other keys", "a constant", "random values"];

/// The tests of one array in all runs.
fn about(index: usize, runs: &[Vec<Array>; 4]) -> Vec<Test> {
    let of = runs.each_ref().map(|run| &run[index]);
    let (party, what) = (of[0].party, &of[0].what);
    let mut tests = vec![];
    let mut add = |p: Option<f64>, how: &dyn Fn() -> String| {
        tests.extend(p.map(|p| Test {
            p,
            party,
            what: if p < 1e-4 { format!("{what}: {}", how()) } else { String::new() },
        }));
    };
    if !of[0].opened {
        for (array, secret) in of.iter().zip(SECRETS) {
            let histogram = bytes(array.words.iter().copied());
            let pooled = uniform(&histogram).or_else(|| uniform(&nibbles(&histogram)));
            add(pooled, &|| format!("its bytes are not uniform (secret: {secret})"));
            for at in 0..8 {
                add(uniform(&byte_at(array.words, at)), &|| format!("byte {at} is not uniform (secret: {secret})"));
            }
            for at in 0..64 {
                let bits = bit_at(array.words, at);
                let enough = array.words.len() >= 40;
                let p = enough.then(|| uniform(&bits)).flatten();
                add(p, &|| format!("bit {at} is not uniform (secret: {secret})"));
            }
        }
        let equal = of[0].words.iter().zip(of[1].words).filter(|(a, b)| a == b).count();
        // Two uniform words are equal with probability 2^-64: one pair at all is already too many.
        let p = if equal == 0 { 1.0 } else { of[0].words.len() as f64 * 2f64.powi(-64) };
        add((of[0].words.len() >= 8).then_some(p), &|| format!("{equal} words are the same under other keys"));
    }
    for other in 1..4 {
        let (first, second) = (of[0].words, of[other].words);
        let how = match other {
            1 => "differs between two runs on one secret",
            _ => "depends on the secret",
        };
        let pooled = same(&bytes(first.iter().copied()), &bytes(second.iter().copied()));
        add(pooled, &|| format!("the distribution of its bytes {how} ({})", SECRETS[other]));
        for at in 0..64 {
            let p = same(&bit_at(first, at), &bit_at(second, at));
            add(p, &|| format!("bit {at} {how} ({})", SECRETS[other]));
        }
    }
    tests
}

/// Words that may unmask a message: what its receiver knows, and its other messages.
struct Candidate<'a> {
    what: &'a str,
    undo: &'static [Undo],
    /// In the runs on a constant and on a random secret.
    words: [&'a [u64]; 2],
}

/// The tests of what a party receives together with what it knows: neither difference, sum nor
/// exclusive or may be anything but uniform, or the one would have masked the other.
fn joint(party: PartyId, known: &[&[Known]; 4], runs: &[Vec<Array>; 4]) -> Vec<Test> {
    let of = |run: usize| runs[run].iter().filter(|array| array.party == party && !array.opened);
    let received: Vec<(&Array, &Array)> = of(2).zip(of(3)).collect();
    let known: Vec<Candidate> = known[2]
        .iter()
        .zip(known[3])
        .map(|(a, b)| Candidate { what: &a.name, undo: a.undo, words: [&a.words, &b.words] })
        .collect();
    let about = |(index, (constant, random)): (usize, &(&Array, &Array))| {
        let earlier = received[..index].iter();
        let earlier: Vec<Candidate> = earlier
            .map(|pair| Candidate { what: &pair.0.what, undo: Undo::ALL, words: [pair.0.words, pair.1.words] })
            .collect();
        let mut tests = vec![];
        for candidate in known.iter().chain(&earlier) {
            unmask(party, constant, random, candidate, &mut tests);
        }
        tests
    };
    received.par_iter().enumerate().flat_map_iter(about).collect()
}

/// The words of a pooled histogram; those of single bytes are cheaper and take all.
const POOLED_WORDS: usize = 1024;

/// What is left of a message when a mask is taken off.
fn left<'a>(words: &'a [u64], mask: &'a [u64], undo: Undo) -> impl Iterator<Item = u64> + 'a {
    words.iter().zip(mask).map(move |(&word, &mask)| undo.apply(word, mask))
}

/// Takes a candidate mask off a message, in each way that it may be on. No test where nothing but
/// zero is left whatever the secret: that message says what its receiver knows already.
fn unmask(party: PartyId, constant: &Array, random: &Array, candidate: &Candidate, tests: &mut Vec<Test>) {
    let nothing = |&undo: &Undo| {
        let mut both =
            left(constant.words, candidate.words[0], undo).chain(left(random.words, candidate.words[1], undo));
        both.all(|word| word == 0)
    };
    if constant.words.is_empty() || candidate.undo.iter().any(nothing) {
        return;
    }
    for &undo in candidate.undo {
        let left: Vec<u64> = left(constant.words, candidate.words[0], undo).collect();
        let pooled = bytes(left.iter().copied().take(POOLED_WORDS));
        let pooled = uniform(&pooled).or_else(|| uniform(&nibbles(&pooled)));
        for p in [pooled, uniform(&byte_at(&left, 0)), uniform(&byte_at(&left, 7))].into_iter().flatten() {
            let what = || format!("{} {undo} {} is not uniform: one masks the other", constant.what, candidate.what);
            // There are very many of these; only what may matter gets its text.
            let what = if p < 1e-4 { what() } else { String::new() };
            tests.push(Test { p, party, what });
        }
    }
}
