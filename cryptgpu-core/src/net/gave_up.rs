//! What a party that gives up tells its peers: one word of a fixed vocabulary. Texts may not pass here: an error's message
//! is for the party's owner and for the caller, who gets it by the control link.

use super::{NetError, PartyId};
use std::fmt;

/// Why a party gives up, as its peers hear it. It has no place for text, so nothing of a message, a path, the name of a
/// tensor or a panic can reach a peer. The step is not sent: each peer names its own, which is the same by then.
///
/// ```
/// use cryptgpu_core::net::{GaveUp, PartyId};
///
/// assert_eq!(GaveUp::Link(PartyId::P2).to_string(), "its link to party 2 is closed");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GaveUp {
    /// It was asked to, or its cluster has ended.
    Ended,
    /// Its program returned an error.
    Failed,
    /// Its program panicked.
    Panicked,
    /// Images, weights or other values that it brings cannot be read or encoded.
    Input,
    /// The arguments of its function could not be read.
    Arguments,
    /// A device failed, or refused its operands.
    Device,
    /// Its owner does not allow what it was asked for.
    Refused,
    /// Linking up failed.
    Setup,
    /// What this party sent it is not the message that it waited for.
    Message(PartyId),
    /// This party sent it nothing in time.
    Deadline(PartyId),
    /// Its link to this party is closed.
    Link(PartyId),
}

impl GaveUp {
    /// Words of the payload.
    pub(super) const WORDS: usize = 1;

    /// As it travels: the kind in the lowest byte, a party in the next.
    pub(super) fn to_word(self) -> u64 {
        let (kind, party) = match self {
            GaveUp::Ended => (0, PartyId::P0),
            GaveUp::Failed => (1, PartyId::P0),
            GaveUp::Panicked => (2, PartyId::P0),
            GaveUp::Input => (3, PartyId::P0),
            GaveUp::Arguments => (4, PartyId::P0),
            GaveUp::Device => (5, PartyId::P0),
            GaveUp::Setup => (6, PartyId::P0),
            GaveUp::Message(party) => (7, party),
            GaveUp::Deadline(party) => (8, party),
            GaveUp::Link(party) => (9, party),
            GaveUp::Refused => (10, PartyId::P0),
        };
        kind | (party.index() as u64) << 8
    }

    /// What came, if it is a word of the vocabulary.
    pub(super) fn from_word(word: u64) -> Option<Self> {
        let party = PartyId::new((word >> 8) as usize)?;
        let heard = match word & 0xff {
            0 => GaveUp::Ended,
            1 => GaveUp::Failed,
            2 => GaveUp::Panicked,
            3 => GaveUp::Input,
            4 => GaveUp::Arguments,
            5 => GaveUp::Device,
            6 => GaveUp::Setup,
            7 => GaveUp::Message(party),
            8 => GaveUp::Deadline(party),
            9 => GaveUp::Link(party),
            10 => GaveUp::Refused,
            _ => return None,
        };
        (heard.to_word() == word).then_some(heard)
    }
}

impl From<&NetError> for GaveUp {
    fn from(error: &NetError) -> Self {
        match error {
            NetError::Deadline { peer, .. } => GaveUp::Deadline(*peer),
            NetError::PeerClosed { peer, .. } => GaveUp::Link(*peer),
            NetError::Diverged { peer, .. } | NetError::BadFrame { peer, .. } | NetError::TooLarge { peer, .. } => {
                GaveUp::Message(*peer)
            }
            NetError::Device { .. } => GaveUp::Device,
            NetError::Setup { .. } => GaveUp::Setup,
        }
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GaveUp::Ended => f.write_str("its run was ended"),
            GaveUp::Failed => f.write_str("its program failed"),
            GaveUp::Panicked => f.write_str("its program panicked"),
            GaveUp::Input => f.write_str("what it brings cannot be read or encoded"),
            GaveUp::Arguments => f.write_str("its arguments could not be read"),
            GaveUp::Device => f.write_str("its device failed or refused an operation"),
            GaveUp::Refused => f.write_str("its owner does not allow what it was asked for"),
            GaveUp::Setup => f.write_str("it could not link up"),
            GaveUp::Message(party) => write!(f, "party {party} sent it another message than it waited for"),
            GaveUp::Deadline(party) => write!(f, "party {party} sent it nothing in time"),
            GaveUp::Link(party) => write!(f, "its link to party {party} is closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_arrives_and_nothing_else_is_one() {
        let parties = || PartyId::ALL.into_iter();
        let plain = [
            GaveUp::Ended,
            GaveUp::Failed,
            GaveUp::Panicked,
            GaveUp::Input,
            GaveUp::Arguments,
            GaveUp::Device,
            GaveUp::Refused,
            GaveUp::Setup,
        ];
        let links = [GaveUp::Message, GaveUp::Deadline, GaveUp::Link];
        let all: Vec<GaveUp> = plain.into_iter().chain(links.into_iter().flat_map(|of| parties().map(of))).collect();
        for reason in &all {
            assert_eq!(GaveUp::from_word(reason.to_word()), Some(*reason));
        }
        let heard: Vec<GaveUp> = (0..1 << 16).filter_map(GaveUp::from_word).collect();
        assert_eq!(heard.len(), all.len());
        assert_eq!([1 << 16, 1 << 40, u64::MAX].map(GaveUp::from_word), [None; 3]);
    }
}
