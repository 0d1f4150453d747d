//! Fills a [`Timeline`] while a party runs. A step is known by its path; from one path to the next, steps that are no
//! longer part of it have ended and new parts have begun.

use super::timeline::{Direction, MAX_CALLS, MAX_STEPS, MAX_TRANSFERS, MORE_STEPS, NO_STEP, StepCall, StepSums};
use super::{LinkStats, PartyId, Tag, Timeline, Transfer, clock_id, monotonic_nanos};
use std::collections::HashMap;

/// Messages for which there is room from the start.
const ROOM: usize = 1 << 10;

/// A timeline that goes on.
#[derive(Debug)]
pub(super) struct Timekeeper {
    timeline: Timeline,
    /// Index of each step by its path.
    index: HashMap<String, u32>,
    /// The steps that the party is in, from the outermost.
    open: Vec<Open>,
    /// The path of the innermost of them, or [`NO_STEP`].
    path: String,
    /// Up to when time has been added to steps.
    counted_nanos: u64,
}

/// A step that has begun.
#[derive(Debug)]
struct Open {
    step: u32,
    /// Length of its path.
    end: usize,
    /// Index of its call, if that is kept.
    call: Option<usize>,
}

impl Timekeeper {
    pub(super) fn new(party: PartyId, rounds: u64) -> Self {
        let now = monotonic_nanos();
        let timeline = Timeline {
            party,
            clock: clock_id(),
            begin_nanos: now,
            end_nanos: now,
            begin_rounds: rounds,
            end_rounds: rounds,
            steps: vec![StepSums { calls: 1, ..StepSums::new(NO_STEP) }],
            calls: Vec::new(),
            omitted_calls: 0,
            transfers: Vec::with_capacity(ROOM),
            omitted_transfers: 0,
        };
        let (index, open, path) = (HashMap::new(), Vec::new(), NO_STEP.to_owned());
        Timekeeper { timeline, index, open, path, counted_nanos: now }
    }

    /// The path of the step that the party is in.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The party is in the step of that path from now on.
    pub(super) fn set_path(&mut self, path: &str, rounds: u64) {
        let now = monotonic_nanos();
        self.count_time(now);
        let inner = if path == NO_STEP { "" } else { path };
        let stays = |open: &Open| {
            let outer = self.path.get(..open.end).unwrap_or_default();
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let kept = self.open.iter().take_while(|open| stays(open)).count();
        for ended in self.open.drain(kept..) {
            close(&mut self.timeline, &ended, now, rounds);
        }
        let from = self.open.last().map_or(0, |open| open.end + 1);
        let ends = inner.char_indices().filter(|(at, char)| *at > from && *char == '/').map(|(at, _)| at);
        let ends = ends.chain((inner.len() > from).then_some(inner.len()));
        ends.for_each(|end| self.enter(&inner[..end], now, rounds));
        self.path.clear();
        self.path.push_str(path);
    }

    fn enter(&mut self, path: &str, now: u64, rounds: u64) {
        let step = self.step(path);
        self.timeline.steps[step as usize].calls += 1;
        let call = match self.timeline.calls.len() {
            MAX_CALLS => {
                self.timeline.omitted_calls += 1;
                None
            }
            at => {
                let (begin_nanos, begin_rounds) = (now, rounds);
                self.timeline.calls.push(StepCall {
                    step,
                    begin_nanos,
                    end_nanos: now,
                    begin_rounds,
                    end_rounds: rounds,
                });
                Some(at)
            }
        };
        self.open.push(Open { step, end: path.len(), call });
    }

    /// The index of the step of that path.
    fn step(&mut self, path: &str) -> u32 {
        if let Some(step) = self.index.get(path) {
            return *step;
        }
        let steps = &mut self.timeline.steps;
        let path = if steps.len() < MAX_STEPS { path } else { MORE_STEPS };
        if let Some(step) = self.index.get(path) {
            return *step;
        }
        let step = steps.len() as u32;
        steps.push(StepSums::new(path));
        self.index.insert(path.to_owned(), step);
        step
    }

    /// The step that the party is in.
    fn current(&mut self) -> (u32, &mut StepSums) {
        let step = self.open.last().map_or(0, |open| open.step);
        (step, &mut self.timeline.steps[step as usize])
    }

    fn count_time(&mut self, now: u64) {
        let passed = now.saturating_sub(self.counted_nanos);
        self.counted_nanos = now;
        self.current().1.wall_nanos += passed;
    }

    /// A message leaves.
    pub(super) fn sent(&mut self, to: PartyId, tag: Tag, sent: LinkStats, sequence: u64, rounds: u64) {
        let at_nanos = monotonic_nanos();
        let (step, sums) = self.current();
        sums.sent[to.index()] += sent;
        let (direction, bytes) = (Direction::Sent, sent.payload_bytes);
        self.keep(Transfer { direction, peer: to, step, tag, bytes, sequence, at_nanos, waited_nanos: 0, rounds });
    }

    /// A wait is over: of a receive, with or without a message, or of a send for its link.
    pub(super) fn waited(&mut self, nanos: u64) {
        self.current().1.wait_nanos += nanos;
    }

    /// The message that a receive has returned; the party's rounds grew by `deeper`. Its step is filled in here.
    pub(super) fn received(&mut self, transfer: Transfer, deeper: u64) {
        let (step, sums) = self.current();
        sums.received[transfer.peer.index()] += 1;
        sums.rounds += deeper;
        self.keep(Transfer { step, ..transfer });
    }

    fn keep(&mut self, transfer: Transfer) {
        if self.timeline.transfers.len() < MAX_TRANSFERS {
            self.timeline.transfers.push(transfer);
        } else {
            self.timeline.omitted_transfers += 1;
        }
    }

    /// What was recorded; recording goes on from here, within the same steps.
    pub(super) fn take(&mut self, rounds: u64) -> Timeline {
        let now = monotonic_nanos();
        self.count_time(now);
        let mut next = Timekeeper::new(self.timeline.party, rounds);
        next.set_path(&self.path, rounds);
        let mut done = std::mem::replace(self, next);
        for ended in &done.open {
            close(&mut done.timeline, ended, now, rounds);
        }
        done.timeline.end_nanos = now;
        done.timeline.end_rounds = rounds;
        done.timeline
    }
}

fn close(timeline: &mut Timeline, ended: &Open, now: u64, rounds: u64) {
    if let Some(call) = ended.call.and_then(|at| timeline.calls.get_mut(at)) {
        call.end_nanos = now;
        call.end_rounds = rounds;
    }
}
