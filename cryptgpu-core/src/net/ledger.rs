//! What one party's end of the links knows about its run: counts, the step it is in, and whom it waits for. One lock,
//! taken by the party's thread at every message and by others only to look.

use super::frame::HEADER_BYTES;
use super::inbox::Incoming;
use super::recording::{Recording, Tape};
use super::wait::{Activity, Wait, WaitState};
use super::{PartyId, Stats, Tag, monotonic_nanos};
use std::time::Duration;

/// The account of one party.
#[derive(Debug)]
pub(super) struct Ledger {
    party: PartyId,
    step: String,
    stats: Stats,
    /// Messages that the program has taken, by sender.
    consumed: [u64; 3],
    wait: Option<Wait>,
    tape: Option<Tape>,
}

impl Ledger {
    pub(super) fn new(party: PartyId) -> Self {
        Ledger { party, step: "start".into(), stats: Stats::default(), consumed: [0; 3], wait: None, tape: None }
    }

    pub(super) fn set_step(&mut self, step: &str) {
        self.step.clear();
        self.step.push_str(step);
    }

    pub(super) fn step(&self) -> &str {
        &self.step
    }

    pub(super) fn stats(&self) -> Stats {
        self.stats
    }

    /// Counts a message to `to` before it leaves; the answer is the sender's rounds, which the frame carries.
    pub(super) fn sent(&mut self, to: PartyId, payload_bytes: u64) -> u32 {
        let link = &mut self.stats.to[to.index()];
        link.messages += 1;
        link.payload_bytes += payload_bytes;
        link.frame_bytes += payload_bytes + HEADER_BYTES as u64;
        u32::try_from(self.stats.rounds).unwrap_or(u32::MAX)
    }

    /// From here until [`Ledger::returned`] the party is blocked.
    pub(super) fn waits(&mut self, from: PartyId, expected: Tag, words: usize, since_nanos: u64) {
        self.wait = Some(Wait { from, expected, words, since_nanos, waited: Duration::ZERO });
    }

    /// A receive that began at `begin_nanos` has returned, with a message of `from` if there was one.
    pub(super) fn returned(&mut self, from: PartyId, begin_nanos: u64, message: bool) {
        self.wait = None;
        self.stats.wait_nanos += monotonic_nanos().saturating_sub(begin_nanos);
        self.consumed[from.index()] += u64::from(message);
    }

    /// Counts a good message.
    pub(super) fn received(&mut self, from: PartyId, message: &Incoming) {
        // The sender had `rounds` when it sent it.
        self.stats.rounds = self.stats.rounds.max(u64::from(message.rounds) + 1);
        if let Some(tape) = &mut self.tape {
            tape.note(from, &self.step, message.tag, &message.words);
        }
    }

    pub(super) fn record(&mut self, max_words: u64) {
        self.tape = Some(Tape::new(self.party, max_words));
    }

    pub(super) fn take_recording(&mut self) -> Option<Recording> {
        self.tape.take().map(Tape::end)
    }

    pub(super) fn wait_state(&self) -> WaitState {
        let activity = match self.wait {
            None => Activity::Running,
            Some(wait) => {
                let waited = Duration::from_nanos(monotonic_nanos().saturating_sub(wait.since_nanos));
                Activity::Waiting(Wait { waited, ..wait })
            }
        };
        WaitState {
            party: self.party,
            step: self.step.clone(),
            sent: self.stats.to.map(|link| link.messages),
            consumed: self.consumed,
            activity,
        }
    }
}
