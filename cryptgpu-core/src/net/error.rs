//! Errors of links: what can go wrong between two parties.

use super::{NO_STEP, PartyId, Tag};
use crate::device::DeviceError;
use std::time::Duration;

/// An error of the transport. Each names the party that reports it, its peer and the step.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NetError {
    /// Nothing came from a peer within the deadline.
    #[error(
        "party {party}: party {peer} sent nothing for {waited:?}{}: is it still running and reachable?",
        at_step(.step)
    )]
    Deadline {
        /// The party that waited.
        party: PartyId,
        /// Whom it waited for.
        peer: PartyId,
        /// The step it was in.
        step: String,
        /// The deadline that passed.
        waited: Duration,
    },
    /// The link is down.
    #[error("party {party}: the link to party {peer} is closed{}: {reason}", at_step(.step))]
    PeerClosed {
        /// The party that noticed.
        party: PartyId,
        /// The peer at the other end.
        peer: PartyId,
        /// The step it was in.
        step: String,
        /// Why, as far as is known.
        reason: String,
    },
    /// A message with another tag or length than the one waited for.
    #[error(
        "party {party}: expected message {expected:?} of {expected_words} words from party {peer}{}, got {got:?} of {got_words} words: the parties' programs have diverged",
        at_step(.step)
    )]
    Diverged {
        /// The party that reports.
        party: PartyId,
        /// The sender.
        peer: PartyId,
        /// The step.
        step: String,
        /// The tag waited for.
        expected: Tag,
        /// The tag that came.
        got: Tag,
        /// The length waited for, in words.
        expected_words: usize,
        /// The length that came, in words.
        got_words: usize,
    },
    /// A frame that breaks the wire format: wrong magic, sequence number, length or checksum.
    #[error("party {party}: bad frame from party {peer}{}: {detail}", at_step(.step))]
    BadFrame {
        /// The party that reports.
        party: PartyId,
        /// The sender.
        peer: PartyId,
        /// The step.
        step: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A message larger than the transport allows.
    #[error(
        "party {party}: a message of {bytes} bytes to or from party {peer}{} exceeds the limit of {limit} bytes: use a smaller batch or raise the limit",
        at_step(.step)
    )]
    TooLarge {
        /// The party that reports.
        party: PartyId,
        /// The peer.
        peer: PartyId,
        /// The step.
        step: String,
        /// Size of the message.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The words of a message that has come could not be fetched from the card where its link has left them.
    #[error("party {party}: a message from party {peer}{}: {source}", at_step(.step))]
    Device {
        /// The party that reports.
        party: PartyId,
        /// The sender.
        peer: PartyId,
        /// The step.
        step: String,
        /// What the device said.
        source: Box<DeviceError>,
    },
    /// Connecting, listening or the TLS handshake failed.
    #[error("party {party}: cannot {action}: {detail}. {hint}")]
    Setup {
        /// The party that reports.
        party: PartyId,
        /// What was tried.
        action: String,
        /// What the operating system or TLS said.
        detail: String,
        /// What to do about it.
        hint: String,
    },
}

impl NetError {
    /// The step the party was in; empty for an error of set-up.
    pub fn step(&self) -> &str {
        match self {
            NetError::Deadline { step, .. }
            | NetError::PeerClosed { step, .. }
            | NetError::Diverged { step, .. }
            | NetError::BadFrame { step, .. }
            | NetError::TooLarge { step, .. }
            | NetError::Device { step, .. } => step,
            NetError::Setup { .. } => "",
        }
    }

    /// The peer at the other end of the link; none for an error of set-up.
    pub fn peer(&self) -> Option<PartyId> {
        match self {
            NetError::Deadline { peer, .. }
            | NetError::PeerClosed { peer, .. }
            | NetError::Diverged { peer, .. }
            | NetError::BadFrame { peer, .. }
            | NetError::TooLarge { peer, .. }
            | NetError::Device { peer, .. } => Some(*peer),
            NetError::Setup { .. } => None,
        }
    }
}

/// ` at step conv1`, for errors; nothing where the party is in no step.
pub(crate) fn at_step(step: &str) -> String {
    if step.is_empty() || step == NO_STEP { String::new() } else { format!(" at step {step}") }
}
