//! What a party's transport has counted: exact, and cheap to take and to subtract.

use super::PartyId;
use super::frame::HEADER_BYTES;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One direction of one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LinkStats {
    /// Messages sent to that peer.
    pub messages: u64,
    /// Payload bytes sent to that peer: the words of messages, without frame headers and TLS.
    pub payload_bytes: u64,
    /// Bytes of payload and frame headers, without TLS records.
    pub frame_bytes: u64,
}

/// What one party has sent so far, and how deep its chain of messages is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// To the party of that index; a party's own entry stays zero.
    pub to: [LinkStats; 3],
    /// Rounds: the longest chain of messages, each sent after the one before was received, that
    /// ends at this party. Every frame carries its sender's count, so this is exact and not an
    /// estimate: on receipt `rounds = max(rounds, sender's rounds when it sent + 1)`.
    pub rounds: u64,
    /// Time spent waiting in `recv`, in nanoseconds.
    pub wait_nanos: u64,
}

impl Stats {
    /// Payload bytes sent to both peers.
    pub fn payload_bytes(&self) -> u64 {
        self.to.iter().map(|link| link.payload_bytes).sum()
    }
    /// Messages sent to both peers.
    pub fn messages(&self) -> u64 {
        self.to.iter().map(|link| link.messages).sum()
    }
    /// What was sent to `peer`.
    pub fn to(&self, peer: PartyId) -> LinkStats {
        self.to[peer.index()]
    }
    /// What was counted after `earlier` was taken.
    #[must_use]
    pub fn since(&self, earlier: &Stats) -> Stats {
        let mut to = [LinkStats::default(); 3];
        for (i, link) in to.iter_mut().enumerate() {
            link.messages = self.to[i].messages - earlier.to[i].messages;
            link.payload_bytes = self.to[i].payload_bytes - earlier.to[i].payload_bytes;
            link.frame_bytes = self.to[i].frame_bytes - earlier.to[i].frame_bytes;
        }
        Stats { to, rounds: self.rounds - earlier.rounds, wait_nanos: self.wait_nanos - earlier.wait_nanos }
    }
}

/// The counting side of [`Stats`]: shared between the caller and the link's tasks.
#[derive(Debug, Default)]
pub(super) struct Counters {
    to: [LinkCounters; 3],
    rounds: AtomicU64,
    wait_nanos: AtomicU64,
}

#[derive(Debug, Default)]
struct LinkCounters {
    messages: AtomicU64,
    payload_bytes: AtomicU64,
}

impl Counters {
    /// Counts a message to `to`; the answer is the sender's rounds, which the frame carries.
    pub(super) fn sent(&self, to: PartyId, payload_bytes: u64) -> u32 {
        let link = &self.to[to.index()];
        link.messages.fetch_add(1, Relaxed);
        link.payload_bytes.fetch_add(payload_bytes, Relaxed);
        u32::try_from(self.rounds.load(Relaxed)).unwrap_or(u32::MAX)
    }

    /// Counts a receipt of a message whose sender had `sender_rounds` when it sent it.
    pub(super) fn received(&self, sender_rounds: u32) {
        self.rounds.fetch_max(u64::from(sender_rounds) + 1, Relaxed);
    }

    /// Counts time spent waiting.
    pub(super) fn waited(&self, time: Duration) {
        self.wait_nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// What was counted so far.
    pub(super) fn stats(&self) -> Stats {
        let mut to = [LinkStats::default(); 3];
        for (link, counters) in to.iter_mut().zip(&self.to) {
            link.messages = counters.messages.load(Relaxed);
            link.payload_bytes = counters.payload_bytes.load(Relaxed);
            link.frame_bytes = link.payload_bytes + link.messages * HEADER_BYTES as u64;
        }
        Stats { to, rounds: self.rounds.load(Relaxed), wait_nanos: self.wait_nanos.load(Relaxed) }
    }
}
