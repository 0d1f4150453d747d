//! Copies of what a party receives, kept at the receiving end of any kind of link: for looking into a protocol, never
//! for a run on secrets. Off by default.

use super::{PartyId, Tag};
use std::fmt;

/// A message as its receiver's program got it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReceivedMessage {
    /// The sender.
    pub from: PartyId,
    /// The step that the receiver was in.
    pub step: String,
    /// The message's tag.
    pub tag: Tag,
    /// The payload.
    pub words: Vec<u64>,
}

/// Shows no payload.
impl fmt::Debug for ReceivedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ReceivedMessage {{ {:?} from {:?} at {}, {} words }}",
            self.tag,
            self.from,
            self.step,
            self.words.len()
        )
    }
}

/// What one party received, from when recording began and in the order in which its program asked for it: its view of
/// a protocol, apart from its own input and keys.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recording {
    /// The party.
    pub party: PartyId,
    /// The messages, until memory for them was used up.
    pub messages: Vec<ReceivedMessage>,
    /// How many came after that, and are not among them.
    pub omitted: u64,
}

impl Recording {
    /// Whether messages are missing at the end.
    pub fn is_cut(&self) -> bool {
        self.omitted > 0
    }
}

/// A message counts as so many words beyond its payload, so that empty ones are bounded too.
const WORDS_A_MESSAGE: u64 = 16;

/// A recording that goes on.
#[derive(Debug)]
pub(super) struct Tape {
    recording: Recording,
    left: u64,
}

impl Tape {
    pub(super) fn new(party: PartyId, max_words: u64) -> Self {
        Tape { recording: Recording { party, messages: vec![], omitted: 0 }, left: max_words }
    }

    /// Keeps a copy, or counts the message from the first one on that does not fit.
    pub(super) fn note(&mut self, from: PartyId, step: &str, tag: Tag, words: &[u64]) {
        let size = words.len() as u64 + WORDS_A_MESSAGE;
        if self.recording.is_cut() || size > self.left {
            self.recording.omitted += 1;
            return;
        }
        self.left -= size;
        self.recording.messages.push(ReceivedMessage { from, step: step.to_owned(), tag, words: words.to_vec() });
    }

    pub(super) fn end(self) -> Recording {
        self.recording
    }
}
