//! What one party did and when: the steps it was in, every message it sent and received, and how long it waited.
//! Recorded in every run. Sums by step are always exact; single calls and messages are kept up to a bound, beyond
//! which they are counted only.

use super::{LinkStats, PartyId, Stats, Tag};

/// The name of what is not in any step.
pub const NO_STEP: &str = "outside any step";

/// Where distinct steps beyond the bound are summed.
pub const MORE_STEPS: &str = "(more steps)";

/// Single messages that a timeline keeps at most.
pub const MAX_TRANSFERS: usize = 1 << 16;
/// Single calls of steps that a timeline keeps at most.
pub const MAX_CALLS: usize = 1 << 16;
/// Distinct steps that a timeline keeps at most; others are summed as [`MORE_STEPS`].
pub const MAX_STEPS: usize = 1 << 12;

/// The run of one party. Times are nanoseconds on the clock of its host ([`monotonic_nanos`](super::monotonic_nanos)):
/// equal for all processes of a host, unrelated between hosts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Timeline {
    /// The party.
    pub party: PartyId,
    /// Which clock the times are of: [`clock_id`](super::clock_id).
    pub clock: u64,
    /// When it began.
    pub begin_nanos: u64,
    /// When it ended.
    pub end_nanos: u64,
    /// The party's rounds when it began.
    pub begin_rounds: u64,
    /// The party's rounds when it ended.
    pub end_rounds: u64,
    /// Every step that was entered, in the order of first entering. The first is no step: [`NO_STEP`].
    pub steps: Vec<StepSums>,
    /// Single calls of steps, in the order in which they began.
    pub calls: Vec<StepCall>,
    /// Calls that are missing at the end of `calls`.
    pub omitted_calls: u64,
    /// Single messages, in the order of sending and receiving.
    pub transfers: Vec<Transfer>,
    /// Messages that are missing at the end of `transfers`.
    pub omitted_transfers: u64,
}

/// What was counted while a step was the innermost one: without the steps within it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepSums {
    /// The step with those around it: `conv1/truncation`.
    pub path: String,
    /// How often it was entered.
    pub calls: u64,
    /// Growth of the party's rounds.
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

/// One call of a step, with the steps within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepCall {
    /// Index of the step.
    pub step: u32,
    /// When it began.
    pub begin_nanos: u64,
    /// When it ended.
    pub end_nanos: u64,
    /// The party's rounds when it began.
    pub begin_rounds: u64,
    /// The party's rounds when it ended.
    pub end_rounds: u64,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Direction {
    /// To the peer.
    Sent,
    /// From the peer.
    Received,
}

/// A message, at one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Transfer {
    /// Which way it went.
    pub direction: Direction,
    /// The party at the other end.
    pub peer: PartyId,
    /// Index of the step that this party was in.
    pub step: u32,
    /// The message's tag.
    pub tag: Tag,
    /// Payload, in bytes.
    pub bytes: u64,
    /// Its number among the messages of this direction of the link, from 0 when the link came up: equal at both ends.
    pub sequence: u64,
    /// When it was posted, or when the receive returned.
    pub at_nanos: u64,
    /// How long the receive took; 0 for a message that was sent.
    pub waited_nanos: u64,
    /// The party's rounds after that.
    pub rounds: u64,
}

impl Timeline {
    /// The sums of all steps, as the transport counted them between begin and end.
    pub fn totals(&self) -> Stats {
        let mut total = Stats::default();
        for step in &self.steps {
            total.rounds += step.rounds;
            total.wait_nanos += step.wait_nanos;
            for (sum, link) in total.to.iter_mut().zip(&step.sent) {
                *sum += *link;
            }
        }
        total
    }

    /// Whether single calls or messages are missing.
    pub fn is_cut(&self) -> bool {
        self.omitted_calls + self.omitted_transfers > 0
    }

    /// Adds `nanos` to all times.
    pub(super) fn shift(&mut self, nanos: i64) {
        let calls = self.calls.iter_mut().flat_map(|call| [&mut call.begin_nanos, &mut call.end_nanos]);
        let transfers = self.transfers.iter_mut().map(|transfer| &mut transfer.at_nanos);
        for time in calls.chain(transfers).chain([&mut self.begin_nanos, &mut self.end_nanos]) {
            *time = time.saturating_add_signed(nanos);
        }
    }

    /// What the message of `transfer` was sent or received in.
    pub fn step_of(&self, transfer: &Transfer) -> &str {
        self.steps.get(transfer.step as usize).map_or(NO_STEP, |step| &step.path)
    }
}

impl StepSums {
    pub(super) fn new(path: &str) -> Self {
        StepSums {
            path: path.to_owned(),
            calls: 0,
            rounds: 0,
            wall_nanos: 0,
            wait_nanos: 0,
            sent: [LinkStats::default(); 3],
            received: [0; 3],
        }
    }
}
