//! What one party's end of the links knows about its run: counts, the step it is in, and whom it waits for. One lock,
//! taken by the party's thread at every message and by others only to look.

use super::frame::HEADER_BYTES;
use super::inbox::Incoming;
use super::recording::{Recording, Tape};
use super::timekeeper::Timekeeper;
use super::wait::{Activity, Wait, WaitState};
use super::{Direction, LinkStats, NetError, PartyId, Stats, Tag, Timeline, Transfer, monotonic_nanos};
use std::time::Duration;

/// The account of one party.
#[derive(Debug)]
pub(super) struct Ledger {
    party: PartyId,
    timekeeper: Timekeeper,
    stats: Stats,
    /// Messages that the program has taken, by sender.
    consumed: [u64; 3],
    /// Nanoseconds of waiting, by the peer that was waited for.
    waited: [u64; 3],
    wait: Option<Wait>,
    tape: Option<Tape>,
    first_error: Option<NetError>,
}

impl Ledger {
    pub(super) fn new(party: PartyId) -> Self {
        let timekeeper = Timekeeper::new(party, 0);
        let stats = Stats::default();
        Ledger { party, timekeeper, stats, consumed: [0; 3], waited: [0; 3], wait: None, tape: None, first_error: None }
    }

    pub(super) fn set_step(&mut self, step: &str) {
        self.timekeeper.set_path(step, self.stats.rounds);
    }

    pub(super) fn step(&self) -> &str {
        self.timekeeper.path()
    }

    pub(super) fn take_timeline(&mut self) -> Timeline {
        self.timekeeper.take(self.stats.rounds)
    }

    pub(super) fn stats(&self) -> Stats {
        self.stats
    }

    /// Counts a message to `to` before it leaves; the answer is the sender's rounds, which the frame carries.
    pub(super) fn sent(&mut self, to: PartyId, tag: Tag, payload_bytes: u64) -> u32 {
        let link = &mut self.stats.to[to.index()];
        let sequence = link.messages;
        let sent = LinkStats { messages: 1, payload_bytes, frame_bytes: payload_bytes + HEADER_BYTES as u64 };
        *link += sent;
        self.timekeeper.sent(to, tag, sent, sequence, self.stats.rounds);
        u32::try_from(self.stats.rounds).unwrap_or(u32::MAX)
    }

    /// Nanoseconds that were spent waiting for each peer, the present wait among them.
    pub(super) fn waited(&self) -> [u64; 3] {
        let mut waited = self.waited;
        if let Some(wait) = self.wait {
            waited[wait.from.index()] += monotonic_nanos().saturating_sub(wait.since_nanos);
        }
        waited
    }

    /// From here until [`Ledger::returned`] the party is blocked.
    pub(super) fn waits(&mut self, from: PartyId, expected: Tag, words: usize, since_nanos: u64) {
        self.wait = Some(Wait { from, expected, words, since_nanos, waited: Duration::ZERO });
    }

    /// A receive that began at `begin_nanos` has returned, with a message of `from` if there was one.
    pub(super) fn returned(&mut self, from: PartyId, begin_nanos: u64, message: Option<&Incoming>) {
        let now = monotonic_nanos();
        self.wait = None;
        let waited_nanos = self.add_wait(from, now, begin_nanos);
        let Some(message) = message else { return };
        let sequence = self.consumed[from.index()];
        self.consumed[from.index()] += 1;
        // The sender had `message.rounds` when it sent it.
        let rounds = self.stats.rounds.max(u64::from(message.rounds) + 1);
        let deeper = rounds - self.stats.rounds;
        self.stats.rounds = rounds;
        let (direction, bytes) = (Direction::Received, 8 * message.words.len() as u64);
        let transfer = Transfer {
            direction,
            peer: from,
            step: 0,
            tag: message.tag,
            bytes,
            sequence,
            at_nanos: now,
            waited_nanos,
            rounds,
        };
        self.timekeeper.received(transfer, deeper);
        if let (Some(tape), Some(words)) = (&mut self.tape, message.words.on_host()) {
            tape.note(from, self.timekeeper.path(), message.tag, words);
        }
    }

    /// A send that had to wait from `begin_nanos` on for what was on its way to `to` goes on.
    pub(super) fn waited_to_send(&mut self, to: PartyId, begin_nanos: u64) {
        self.add_wait(to, monotonic_nanos(), begin_nanos);
    }

    /// Counts a wait for `peer`, and how long it was.
    fn add_wait(&mut self, peer: PartyId, now: u64, begin_nanos: u64) -> u64 {
        let waited_nanos = now.saturating_sub(begin_nanos);
        self.stats.wait_nanos += waited_nanos;
        self.waited[peer.index()] += waited_nanos;
        self.timekeeper.waited(waited_nanos);
        waited_nanos
    }

    /// A send or receive has returned this error.
    pub(super) fn failed(&mut self, error: &NetError) {
        self.first_error.get_or_insert_with(|| error.clone());
    }

    pub(super) fn first_error(&self) -> Option<&NetError> {
        self.first_error.as_ref()
    }

    pub(super) fn forget_error(&mut self) {
        self.first_error = None;
    }

    pub(super) fn record(&mut self, max_words: u64) {
        self.tape = Some(Tape::new(self.party, max_words));
    }

    pub(super) fn is_recording(&self) -> bool {
        self.tape.is_some()
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
            step: self.step().to_owned(),
            sent: self.stats.to.map(|link| link.messages),
            consumed: self.consumed,
            activity,
        }
    }
}
