//! What messages say when parties do not run one program, for tests of that: bits that are the same in all runs, and pairs
//! of bits that are always equal or never, on one secret and not on another. Parties fail in such runs, some earlier than
//! others, so only the messages that most runs have are compared.

use super::Protocol;
use super::inputs::{Source, secrets};
use super::sample::{Bench, Run};
use crate::mpc::World;
use crate::net::PartyId;
use std::collections::HashMap;

/// Runs of each secret in which relations are looked for, and in which one that was found must hold again.
const RUNS: usize = 32;
const AGAIN: usize = 60;

/// The bits of the messages to one party: a column for each, bit r of which is that of run r.
struct Columns {
    /// Which sender, word and bit each is.
    places: Vec<(PartyId, usize, u32)>,
    columns: Vec<u64>,
    /// As many ones as there are runs.
    all: u64,
}

/// Relations between what `observer` is sent in `protocol` and what it lacks of the input, of `elements` elements.
pub(in crate::mpc) fn tells<R, E, F: Protocol<R, E>>(
    world: &World,
    observer: PartyId,
    elements: usize,
    protocol: &F,
) -> Vec<String> {
    let bench = Bench { world, observer };
    let inputs = secrets(&mut Source::new(world.seed), &[vec![elements]], 63);
    let shares: Vec<_> = inputs.iter().take(2).map(|secret| bench.deal(secret).unwrap()).collect();
    let runs = |from: u64, count| -> [Vec<Run>; 2] {
        [0, 1].map(|group| bench.runs(&shares[group], (group as u64) << 20 | from, count, protocol))
    };
    let first = columns(&runs(0, RUNS));
    let found: Vec<_> = [(0, 1), (1, 0)]
        .into_iter()
        .flat_map(|(one, other)| first[one].relations().into_iter().map(move |relation| (one, other, relation)))
        .filter(|(_, other, relation)| !first[*other].holds(*relation))
        .collect();
    if found.is_empty() {
        return vec![];
    }
    let second = columns(&runs(1 << 10, AGAIN));
    let confirmed = found.into_iter().filter(|(one, other, r)| second[*one].holds(*r) && !second[*other].holds(*r));
    confirmed.map(|(one, _, (i, j, _))| format!("{observer}: {}, on secret {one}", first[one].name(i, j))).collect()
}

/// The columns of two secrets, of the same places.
fn columns(groups: &[Vec<Run>; 2]) -> [Columns; 2] {
    let senders = PartyId::ALL;
    let count = |run: &Run, from: PartyId| run.messages.iter().filter(|message| message.from == from).count();
    // As many messages as three quarters of the runs have.
    let usual = senders.map(|from| {
        let mut counts: Vec<usize> = groups.iter().flatten().map(|run| count(run, from)).collect();
        counts.sort_unstable();
        counts[counts.len() / 4]
    });
    groups.each_ref().map(|runs| {
        let whole = |run: &&Run| senders.iter().all(|&from| count(run, from) >= usual[from.index()]);
        let rows: Vec<Vec<(PartyId, u64)>> = runs.iter().filter(whole).map(|run| words(run, usual)).collect();
        let all = u64::MAX >> (64 - rows.len());
        let (mut places, mut columns) = (vec![], vec![]);
        let length = rows.iter().map(Vec::len).min().unwrap_or(0);
        for (word, bit) in (0..length).flat_map(|word| (0..64).map(move |bit| (word, bit))) {
            places.push((rows[0][word].0, word, bit));
            columns.push((0..).zip(&rows).fold(0, |column, (r, row)| column | (row[word].1 >> bit & 1) << r));
        }
        Columns { places, columns, all }
    })
}

/// The first messages of each sender, as many as usual, as words.
fn words(run: &Run, usual: [usize; 3]) -> Vec<(PartyId, u64)> {
    let (mut met, mut first) = ([0; 3], vec![]);
    for (message, words) in run.each() {
        let at = message.from.index();
        met[at] += 1;
        if met[at] <= usual[at] {
            first.extend(words.iter().map(|&word| (message.from, word)));
        }
    }
    first
}

/// Two bits, or one where there is no second, and whether they differ, or the one is set.
type Relation = (usize, Option<usize>, bool);

impl Columns {
    /// Bits that are constant, and bits that are always as an earlier one or never.
    fn relations(&self) -> Vec<Relation> {
        let mut met: HashMap<u64, (Option<usize>, bool)> = HashMap::from([(0, (None, false))]);
        let mut found = vec![];
        for (i, &column) in self.columns.iter().enumerate() {
            let set = column & 1 == 1;
            let normal = if set { !column & self.all } else { column };
            match met.get(&normal) {
                Some(&(j, other)) => found.push((i, j, set != other)),
                None => drop(met.insert(normal, (Some(i), set))),
            }
        }
        found
    }

    fn holds(&self, (i, j, differ): Relation) -> bool {
        let expected = if differ { self.all } else { 0 };
        let column = |i: usize| self.columns.get(i).copied();
        let other = j.map_or(Some(0), column);
        column(i).zip(other).is_none_or(|(a, b)| a ^ b == expected)
    }

    fn name(&self, i: usize, j: Option<usize>) -> String {
        let one = |i: usize| {
            let (from, word, bit) = self.places[i];
            format!("bit {bit} of word {word} from party {from}")
        };
        match j {
            None => format!("{} is constant", one(i)),
            Some(j) => format!("{} is that of {}, or never", one(i), one(j)),
        }
    }
}
