//! What a party's transport has counted: exact, and cheap to take and to subtract.

use super::PartyId;
use std::ops::AddAssign;

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

impl AddAssign for LinkStats {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.payload_bytes += other.payload_bytes;
        self.frame_bytes += other.frame_bytes;
    }
}

/// What one party has sent so far, and how deep its chain of messages is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    /// What it sent to the party of that index; a party's own entry stays zero.
    pub to: [LinkStats; 3],
    /// Rounds: the longest chain of messages, each sent after the one before was received, that
    /// ends at this party. Every frame carries its sender's count, so this is exact and not an
    /// estimate: on receipt `rounds = max(rounds, sender's rounds when it sent + 1)`.
    pub rounds: u64,
    /// Time spent waiting in `recv`, and in `send` for a link that is slower than its sender, in nanoseconds.
    pub wait_nanos: u64,
    /// Connections with a peer that broke and were made anew without loss. What was sent again is not counted in `to`.
    #[serde(default)]
    pub reconnections: u64,
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
        Stats {
            to,
            rounds: self.rounds - earlier.rounds,
            wait_nanos: self.wait_nanos - earlier.wait_nanos,
            reconnections: self.reconnections - earlier.reconnections,
        }
    }
}
