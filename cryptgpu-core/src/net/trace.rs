//! The timelines of three parties as one trace: what each step cost, and every message with both of its ends.

use super::timeline::{Direction, StepSums};
use super::{LinkStats, NO_STEP, PartyId, Timeline};
use std::collections::{BTreeMap, HashMap};

/// A run of three parties.
///
/// ```
/// use cryptgpu_core::net::{Network, Options, Tag, Trace, memory};
///
/// let parties = memory::trio(Options::default());
/// let tag = Tag { position: 0, kind: 7 };
/// parties.iter().for_each(|party| party.endpoint().set_step("greeting"));
/// for party in &parties {
///     party.send(party.id().next(), tag, vec![1, 2])?;
/// }
/// for party in &parties {
///     party.recv(party.id().prev(), tag, 2)?;
/// }
/// let trace = Trace::new(parties.map(|party| party.endpoint().take_timeline()));
/// let greeting = trace.step("greeting").ok_or("no such step")?;
/// assert_eq!((greeting.rounds, greeting.bytes(), greeting.messages()), (1, 48, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Trace {
    timelines: [Timeline; 3],
}

/// What a step cost, with the steps within it, at all parties.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepTrace {
    /// The step with those around it: `conv1/truncation`.
    pub path: String,
    /// Rounds: by how much the longest chain of messages grew, from the deepest party at the beginning of each call to
    /// the deepest at its end. Where the parties' calls do not correspond or were not all kept, the growth at the party
    /// where it was largest.
    pub rounds: u64,
    /// What each party counted.
    pub parties: [PartyStep; 3],
}

/// What one party counted in a step, with the steps within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PartyStep {
    /// How often it entered the step.
    pub calls: u64,
    /// Growth of its own rounds. A party that falls behind and catches up counts more than the step has.
    pub rounds: u64,
    /// Wall-clock time.
    pub wall_nanos: u64,
    /// The part of `wall_nanos` in which the party waited for messages and for links.
    pub wait_nanos: u64,
    /// Messages and bytes sent, by receiver.
    pub sent: [LinkStats; 3],
    /// Messages received, by sender.
    pub received: [u64; 3],
}

/// A message. Times are nanoseconds since the trace began.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MessageTrace {
    /// The sender.
    pub from: PartyId,
    /// The receiver.
    pub to: PartyId,
    /// The step that the sender was in.
    pub step: String,
    /// The kind of its tag.
    pub kind: u16,
    /// The position of its tag.
    pub position: u64,
    /// Payload.
    pub bytes: u64,
    /// The round in which it travels: one more than its sender had behind it.
    pub round: u64,
    /// When it was posted.
    pub sent_nanos: i64,
    /// How its receiver got it; nothing if it did not within this trace, or if that was not kept.
    pub receipt: Option<Receipt>,
}

/// The other end of a message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Receipt {
    /// The step that the receiver was in.
    pub step: String,
    /// When its receive returned.
    pub at_nanos: i64,
    /// How long it had waited for this message.
    pub waited_nanos: u64,
}

impl Trace {
    /// The trace of three timelines, in the order of parties. Times of other hosts are shifted onto the clock of
    /// party 0, by the fastest messages of both directions, as if those took equally long; on one host nothing is
    /// shifted.
    pub fn new(mut timelines: [Timeline; 3]) -> Self {
        let [first, others @ ..] = &mut timelines;
        for other in others {
            if other.clock != first.clock {
                let shift = clock_shift(first, other);
                other.shift(shift);
            }
        }
        Trace { timelines }
    }

    /// What the parties recorded, with times on the clock of party 0.
    pub fn timelines(&self) -> &[Timeline; 3] {
        &self.timelines
    }

    /// When the first party began, on the clock of party 0.
    pub fn begin_nanos(&self) -> u64 {
        self.timelines.iter().map(|timeline| timeline.begin_nanos).min().unwrap_or(0)
    }

    /// Seconds from the first party's beginning to the last one's end.
    pub fn seconds(&self) -> f64 {
        let end = self.timelines.iter().map(|timeline| timeline.end_nanos).max().unwrap_or(0);
        end.saturating_sub(self.begin_nanos()) as f64 * 1e-9
    }

    /// Rounds of the deepest party when it began.
    fn begin_rounds(&self) -> u64 {
        self.timelines.iter().map(|timeline| timeline.begin_rounds).max().unwrap_or(0)
    }

    /// Single messages and calls of steps that the parties counted and did not keep: sums are exact all the same.
    pub fn omitted(&self) -> u64 {
        self.timelines.iter().map(|timeline| timeline.omitted_calls + timeline.omitted_transfers).sum()
    }

    /// Everything, as one step without a name.
    pub fn total(&self) -> StepTrace {
        let depth = |of: fn(&Timeline) -> u64| self.timelines.iter().map(of).max().unwrap_or(0);
        let rounds = depth(|timeline| timeline.end_rounds).saturating_sub(self.begin_rounds());
        let mut total = StepTrace { path: String::new(), rounds, parties: Default::default() };
        for (party, timeline) in total.parties.iter_mut().zip(&self.timelines) {
            timeline.steps.iter().for_each(|step| party.add(step));
            party.calls = 1;
        }
        total
    }

    /// The step of that path.
    pub fn step(&self, path: &str) -> Option<StepTrace> {
        self.steps().into_iter().find(|step| step.path == path)
    }

    /// All steps, each with those within it and before those, in the order in which they were first entered. At the
    /// end what was outside any step ([`NO_STEP`]), if that was more than time.
    pub fn steps(&self) -> Vec<StepTrace> {
        let mut steps: HashMap<&str, StepTrace> = HashMap::new();
        for (party, timeline) in self.timelines.iter().enumerate() {
            for sums in &timeline.steps {
                for path in with_outer(&sums.path) {
                    let step = steps.entry(path).or_insert_with(|| StepTrace::new(path));
                    step.parties[party].add(sums);
                    if path == sums.path {
                        step.parties[party].calls = sums.calls;
                    }
                }
            }
        }
        for (path, rounds) in self.rounds() {
            if let Some(step) = steps.get_mut(path) {
                step.rounds = rounds;
            }
        }
        let mut ordered: Vec<StepTrace> = self.order().into_iter().filter_map(|path| steps.remove(path)).collect();
        if let Some(mut rest) = steps.remove(NO_STEP) {
            let top: u64 = ordered.iter().filter(|step| !step.path.contains('/')).map(|step| step.rounds).sum();
            rest.rounds = self.total().rounds.saturating_sub(top);
            ordered.extend((rest.messages() + rest.rounds > 0 || ordered.is_empty()).then_some(rest));
        }
        ordered
    }

    /// Paths of steps, outer before inner, and otherwise as first entered at any party.
    fn order(&self) -> Vec<&str> {
        let mut first: HashMap<&str, usize> = HashMap::new();
        for timeline in &self.timelines {
            for path in timeline.steps.iter().flat_map(|step| with_outer(&step.path)) {
                let next = first.len();
                first.entry(path).or_insert(next);
            }
        }
        let mut paths: Vec<&str> = first.keys().copied().filter(|path| *path != NO_STEP).collect();
        // A step sorts by the places of all steps around it and then its own, so it stands right below them.
        paths.sort_by_cached_key(|path| with_outer(path).map(|outer| first[outer]).collect::<Vec<_>>());
        paths
    }

    /// Rounds by path: see [`StepTrace::rounds`].
    fn rounds(&self) -> HashMap<&str, u64> {
        /// Rounds at the beginning and end of each call.
        type Depths = Vec<(u64, u64)>;
        let mut calls: HashMap<&str, [Depths; 3]> = HashMap::new();
        for (party, timeline) in self.timelines.iter().enumerate() {
            for call in &timeline.calls {
                let Some(step) = timeline.steps.get(call.step as usize) else { continue };
                calls.entry(&step.path).or_default()[party].push((call.begin_rounds, call.end_rounds));
            }
        }
        let whole = self.timelines.iter().all(|timeline| timeline.omitted_calls == 0);
        let of = |[p0, p1, p2]: &[Depths; 3]| {
            if whole && p0.len() == p1.len() && p1.len() == p2.len() {
                let calls = p0.iter().zip(p1).zip(p2);
                calls.map(|((a, b), c)| a.1.max(b.1).max(c.1).saturating_sub(a.0.max(b.0).max(c.0))).sum()
            } else {
                let own = |depths: &Depths| depths.iter().map(|(begin, end)| end.saturating_sub(*begin)).sum();
                [p0, p1, p2].into_iter().map(own).max().unwrap_or(0)
            }
        };
        calls.iter().map(|(path, depths)| (*path, of(depths))).collect()
    }

    /// All messages that were kept, in the order of sending.
    pub fn messages(&self) -> Vec<MessageTrace> {
        let (begin, begin_rounds) = (self.begin_nanos() as i64, self.begin_rounds());
        let since_begin = |nanos: u64| nanos as i64 - begin;
        let mut receipts = BTreeMap::new();
        for timeline in &self.timelines {
            for transfer in timeline.transfers.iter().filter(|transfer| transfer.direction == Direction::Received) {
                let step = timeline.step_of(transfer).to_owned();
                let (at_nanos, waited_nanos) = (since_begin(transfer.at_nanos), transfer.waited_nanos);
                let message = (transfer.peer, timeline.party, transfer.sequence);
                receipts.insert(message, Receipt { step, at_nanos, waited_nanos });
            }
        }
        let mut messages = Vec::new();
        for timeline in &self.timelines {
            for transfer in timeline.transfers.iter().filter(|transfer| transfer.direction == Direction::Sent) {
                let (from, to) = (timeline.party, transfer.peer);
                messages.push(MessageTrace {
                    from,
                    to,
                    step: timeline.step_of(transfer).to_owned(),
                    kind: transfer.tag.kind,
                    position: transfer.tag.count(),
                    bytes: transfer.bytes,
                    round: (transfer.rounds + 1).saturating_sub(begin_rounds).max(1),
                    sent_nanos: since_begin(transfer.at_nanos),
                    receipt: receipts.remove(&(from, to, transfer.sequence)),
                });
            }
        }
        messages.sort_by_key(|message| message.sent_nanos);
        messages
    }
}

/// `a/b/c`, and before it `a` and `a/b`.
fn with_outer(path: &str) -> impl Iterator<Item = &str> {
    let outer = path.char_indices().filter(|(at, char)| *at > 0 && *char == '/').map(|(at, _)| &path[..at]);
    outer.chain([path])
}

/// What must be added to the clock of `other` so that it shows the time of `first`.
fn clock_shift(first: &Timeline, other: &Timeline) -> i64 {
    /// The shortest time from sending to receiving, on two clocks.
    fn shortest(from: &Timeline, to: &Timeline) -> Option<i64> {
        let way = |timeline: &Timeline, direction, peer| {
            let found = timeline.transfers.iter().filter(move |t| t.direction == direction && t.peer == peer);
            found.map(|t| (t.sequence, t.at_nanos as i64)).collect::<HashMap<_, _>>()
        };
        let sent = way(from, Direction::Sent, to.party);
        let received = way(to, Direction::Received, from.party);
        received.iter().filter_map(|(sequence, at)| Some(at - sent.get(sequence)?)).min()
    }
    match (shortest(first, other), shortest(other, first)) {
        (Some(there), Some(back)) => (back - there) / 2,
        _ => first.begin_nanos as i64 - other.begin_nanos as i64,
    }
}

impl StepTrace {
    fn new(path: &str) -> Self {
        StepTrace { path: path.to_owned(), rounds: 0, parties: Default::default() }
    }

    /// The step without those around it.
    pub fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, name)| name)
    }

    /// How many steps are around it.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count()
    }

    /// How often it was entered, at the party that did so most often.
    pub fn calls(&self) -> u64 {
        self.parties.iter().map(|party| party.calls).max().unwrap_or(0)
    }

    /// What party `from` sent to party `to`.
    pub fn link(&self, from: PartyId, to: PartyId) -> LinkStats {
        self.parties[from.index()].sent[to.index()]
    }

    /// Payload bytes that all parties sent.
    pub fn bytes(&self) -> u64 {
        self.parties.iter().map(PartyStep::bytes).sum()
    }

    /// Messages that all parties sent.
    pub fn messages(&self) -> u64 {
        self.parties.iter().map(PartyStep::messages).sum()
    }

    /// Wall-clock time, on average over the parties.
    pub fn seconds(&self) -> f64 {
        self.average(|party| party.wall_nanos)
    }

    /// The part of [`StepTrace::seconds`] in which the parties did not wait: computing and sending.
    pub fn compute_seconds(&self) -> f64 {
        self.average(PartyStep::compute_nanos)
    }

    /// The part of [`StepTrace::seconds`] in which the parties waited for messages and for links.
    pub fn wait_seconds(&self) -> f64 {
        self.average(|party| party.wait_nanos)
    }

    fn average(&self, of: impl Fn(&PartyStep) -> u64) -> f64 {
        self.parties.iter().map(|party| of(party) as f64).sum::<f64>() * 1e-9 / 3.0
    }
}

impl PartyStep {
    /// Payload bytes sent.
    pub fn bytes(&self) -> u64 {
        self.sent.iter().map(|link| link.payload_bytes).sum()
    }

    /// Messages sent.
    pub fn messages(&self) -> u64 {
        self.sent.iter().map(|link| link.messages).sum()
    }

    /// Time in which it did not wait.
    pub fn compute_nanos(&self) -> u64 {
        self.wall_nanos.saturating_sub(self.wait_nanos)
    }

    /// Adds everything but the calls, which do not add up.
    fn add(&mut self, sums: &StepSums) {
        self.rounds += sums.rounds;
        self.wall_nanos += sums.wall_nanos;
        self.wait_nanos += sums.wait_nanos;
        for (sum, link) in self.sent.iter_mut().zip(&sums.sent) {
            *sum += *link;
        }
        for (sum, messages) in self.received.iter_mut().zip(&sums.received) {
            *sum += messages;
        }
    }
}
