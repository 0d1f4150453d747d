//! What a party sees, held against what it may: for each party, several sizes and secrets that differ only in what the
//! party lacks, everything that it is sent must be alike. Here is which runs are made; what is compared is in `distinguish`.

use super::distinguish::{Array, HELD, Sample, Test};
use super::inputs::{Source, pairs, secrets};
use super::sample::{Bench, Run, Sent};
use super::statistics::holm;
use super::{CheckError, Protocol};
use crate::mpc::{PartyView, Sharing, World, message_kind};
use crate::net::PartyId;
use ndarray::ArrayD;
use std::collections::BTreeSet;

/// What the tests of all views found.
#[derive(Clone, Debug)]
pub struct Views {
    /// Tests that were made.
    pub tests: usize,
    /// The level: the chance that a protocol without fault is reported.
    pub level: f64,
    /// The smallest p-value after correction (Holm's within a size, Bonferroni's over sizes).
    pub smallest: f64,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What no test looked at, by name: outputs for which no two secrets with equal outputs were found.
    pub untested: Vec<String>,
    /// Messages with bits that vary but are no fair coins: not wrong, as they are alike for all secrets that were
    /// tried, and yet not what a mask of whole words gives.
    pub uneven: Vec<String>,
    /// What was looked at: up to the size on which a leak was found.
    pub sizes: Vec<ViewSize>,
}

/// What was looked at with one number of elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSize {
    /// About how many elements the inputs had.
    pub elements: usize,
    /// Runs in front of all three parties.
    pub runs: usize,
    /// The messages that the party with the most of them is sent in a run.
    pub messages: usize,
    /// The bits that the party with the most is sent in a run.
    pub bits: usize,
    /// What was tested together, besides single bits, pairs of bits, words, and the lowest bits of words at equal places.
    pub together: Together,
}

/// What was tested together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Together {
    /// All that a party is sent.
    All,
    /// All that a party is sent about an element.
    Elements,
    /// Nothing more: there are too many bits.
    Nothing,
}

/// For a report: `all messages together`.
impl std::fmt::Display for Together {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Together::All => "all messages together",
            Together::Elements => "all about each element together",
            Together::Nothing => "in parts",
        })
    }
}

/// The inputs of a run, as words.
type Secret = Vec<ArrayD<u64>>;

/// Something that a party's view gives away.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The party that sees it.
    pub party: PartyId,
    /// What it sees, and in what way that is wrong.
    pub what: String,
    /// The p-value after correction.
    pub p: f64,
}

impl Views {
    /// Whether nothing was found, and not all that was sent is untested.
    pub fn passed(&self) -> bool {
        self.findings.is_empty() && (self.untested.is_empty() || self.sizes.iter().any(|size| size.bits > 0))
    }
}

/// Runs of each of the two main secrets at first; enough for the bits of one word.
const FIRST: usize = HELD + 84;
/// Runs beyond the dimension of all that varies, for its space to be spanned but with probability 2^−31.
const SPARE: usize = 32;
/// The most elements each of which is looked at by itself.
const FEW: usize = 8;
/// The most bits that are tested together.
const MOST: usize = 800;

/// How views are looked at.
pub(super) struct Plan<'c> {
    pub world: &'c World,
    /// The shapes of the inputs by about how many elements.
    pub shapes: &'c dyn Fn(usize) -> Vec<Vec<usize>>,
    pub bits: u32,
    pub sizes: &'c [usize],
    /// Paths of steps whose messages are the output.
    pub revealed: &'c [String],
    pub level: f64,
}

/// What came of one size and party.
struct Study {
    tests: Vec<Test>,
    clear: usize,
    runs: usize,
    messages: usize,
    bits: usize,
    together: Together,
}

impl Plan<'_> {
    /// All sizes, the first one on which a leak is found the last, in front of each party.
    pub fn look<R, E, F: Protocol<R, E>>(&self, protocol: &F) -> Result<Views, CheckError> {
        let mut views = Views {
            tests: 0,
            level: self.level,
            smallest: 1.0,
            findings: vec![],
            untested: vec![],
            uneven: vec![],
            sizes: vec![],
        };
        let mut steps = BTreeSet::new();
        for &elements in self.sizes {
            let (mut tests, mut clear, mut size) =
                (vec![], 0, ViewSize { elements, runs: 0, messages: 0, bits: 0, together: Together::All });
            for observer in PartyId::ALL {
                let study = self.study(elements, observer, protocol, (&mut views, &mut steps))?;
                size.runs += study.runs;
                size.messages = size.messages.max(study.messages);
                size.bits = size.bits.max(study.bits);
                size.together = size.together.max(study.together);
                tests.extend(study.tests);
                clear += study.clear;
            }
            views.judge(tests, clear, self.sizes.len());
            views.sizes.push(size);
            if !views.findings.is_empty() {
                break;
            }
        }
        let missing = self.revealed.iter().find(|path| !steps.contains(*path));
        if let Some(path) = missing {
            let steps = steps.into_iter().collect::<Vec<_>>().join(", ");
            let hint =
                format!("reveals({path:?}): no message is received in that step; messages are received in: {steps}");
            return Err(CheckError::Setup(hint));
        }
        views.findings.sort_by(|a, b| a.p.total_cmp(&b.p));
        views.untested.dedup();
        Ok(views)
    }

    /// One size in front of one party.
    fn study<R, E, F: Protocol<R, E>>(
        &self,
        elements: usize,
        observer: PartyId,
        protocol: &F,
        (views, steps): (&mut Views, &mut BTreeSet<String>),
    ) -> Result<Study, CheckError> {
        let bench = Bench { world: self.world, observer };
        let (secrets, equal_outputs) = self.secrets(&bench, elements, protocol)?;
        let shares: Vec<_> = secrets.iter().map(|secret| bench.deal(secret)).collect::<Result<_, _>>()?;
        let observed = bench.observe(&shares[0], protocol);
        let runs = |group: usize, from: usize, to: usize, hidden: &[bool]| {
            let mut runs = bench.runs(&shares[group], (group << 20 | from) as u64, to.saturating_sub(from), protocol);
            runs.iter_mut().for_each(|run| run.leave_out(hidden));
            runs
        };
        let mut usual = runs(0, 0, 1, &[]);
        let names = names(&usual[0], observed.as_ref(), self.revealed);
        steps.extend(names.iter().filter_map(|message| message.step.clone()));
        let hidden: Vec<bool> = names.iter().map(|message| message.revealed && !equal_outputs).collect();
        let left_out = names.iter().zip(&hidden).filter(|(_, hidden)| **hidden);
        views.untested.extend(left_out.map(|(message, _)| format!("party {observer}, {}", message.what)));
        usual[0].leave_out(&hidden);
        usual.extend(runs(0, 1, FIRST, &hidden));
        let arrays = arrays(names.iter().zip(&hidden).filter(|(_, hidden)| !**hidden).map(|(message, _)| message));
        let mut groups = vec![usual, runs(1, 0, FIRST, &hidden)];
        let mut sample = Sample::new(observer, arrays.clone(), &groups);
        let (together, blocks) = choose(&sample, elements);
        if together != Together::Nothing {
            drop(sample);
            let enough = HELD + blocks.iter().map(Vec::len).max().unwrap_or(0) + SPARE;
            (0..2).for_each(|group| groups[group].extend(runs(group, FIRST, enough, &hidden)));
            groups.extend((2..shares.len()).map(|group| runs(group, 0, HELD, &hidden)));
            sample = Sample::new(observer, arrays, &groups);
        }
        sample.test(&blocks);
        views.uneven.extend(sample.uneven());
        let (runs, messages) = (groups.iter().map(Vec::len).sum(), groups[0][0].messages.len());
        Ok(Study { bits: sample.bits().len(), tests: sample.tests, clear: sample.clear, runs, messages, together })
    }

    /// Secrets to compare, and whether what is revealed is equal on all of them. Where the output is opened, two that
    /// give this party the same output; if none are found, any.
    fn secrets<R, E, F: Protocol<R, E>>(
        &self,
        bench: &Bench<'_>,
        elements: usize,
        protocol: &F,
    ) -> Result<(Vec<Secret>, bool), CheckError> {
        let shapes = (self.shapes)(elements);
        let mut source = Source::new(self.world.seed ^ 0x76_69_65_77 ^ (elements as u64) << 32);
        let any = secrets(&mut source, &shapes, self.bits);
        if self.revealed.is_empty() {
            return Ok((any, false));
        }
        let opened = |secret: &[ArrayD<u64>]| -> Result<Vec<Vec<u64>>, CheckError> {
            let Some(observed) = bench.observe(&bench.deal(secret)?, protocol) else { return Ok(vec![]) };
            let opened =
                observed.shares.into_iter().filter(|share| share.sharing == Sharing::Known && share.name == "open");
            let revealed = opened.filter(|share| self.revealed.contains(&share.step));
            Ok(revealed.flat_map(|share| share.components).map(|(_, words)| words).collect())
        };
        for pair in pairs(&mut source, &shapes, self.bits) {
            let output = opened(&pair[0])?;
            if !output.is_empty() && output == opened(&pair[1])? {
                return Ok((pair.to_vec(), true));
            }
        }
        Ok((any, false))
    }
}

impl Views {
    /// Takes the tests of one size in.
    fn judge(&mut self, tests: Vec<Test>, clear: usize, sizes: usize) {
        let corrected = holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>(), clear);
        self.tests += tests.len() + clear;
        for (test, p) in tests.into_iter().zip(corrected) {
            let p = (p * sizes as f64).min(1.0);
            self.smallest = self.smallest.min(p);
            if p < self.level {
                self.findings.push(Finding { party: test.party, what: test.what, p });
            }
        }
    }
}

/// Which sets of bits are few enough to be tested together.
fn choose(sample: &Sample, elements: usize) -> (Together, Vec<Vec<usize>>) {
    if let Some(varying) = sample.varying(MOST) {
        return (Together::All, vec![varying]);
    }
    let blocks = if elements <= FEW { sample.by_element(elements) } else { vec![] };
    match blocks.iter().map(Vec::len).max() {
        Some(0) | None | Some(MOST..) => (Together::Nothing, vec![]),
        Some(_) => (Together::Elements, blocks),
    }
}

/// What a message is called, and of which arrays it is made.
struct Named {
    what: String,
    /// The step that the party received it in, if it did.
    step: Option<String>,
    arrays: Vec<usize>,
    revealed: bool,
}

/// The messages of a run, by what the party saw in another: what was sent and never waited for it did not see.
fn names(run: &Run, observed: Option<&PartyView>, revealed: &[String]) -> Vec<Named> {
    let mut met = [0; 3];
    let name = |message: &Sent| {
        let (from, kind) = (message.from, message_kind(message.tag.kind));
        let number = met[from.index()];
        met[from.index()] += 1;
        let seen = observed.and_then(|seen| seen.messages.iter().filter(|seen| seen.from == from).nth(number));
        match seen {
            Some(seen) => Named {
                what: format!("message {number} from party {from}: {}, at {}", seen.kind, seen.step),
                step: Some(seen.step.clone()),
                arrays: seen.arrays.clone(),
                revealed: revealed.contains(&seen.step),
            },
            None => Named {
                what: format!("message {number} from party {from}: {kind}, sent and not received"),
                step: None,
                arrays: vec![message.len],
                revealed: false,
            },
        }
    };
    run.messages.iter().map(name).collect()
}

/// Where the arrays of messages stand among their words.
fn arrays<'n>(messages: impl Iterator<Item = &'n Named>) -> Vec<Array> {
    let (mut arrays, mut start) = (vec![], 0);
    for message in messages {
        for (index, len) in message.arrays.iter().enumerate() {
            let part = if message.arrays.len() > 1 { format!(", array {index}") } else { String::new() };
            arrays.push(Array { what: format!("{}{part}", message.what), words: start..start + len });
            start += len;
        }
    }
    arrays
}
