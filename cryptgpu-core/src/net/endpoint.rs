//! What all kinds of links have in common at one party: the queues of both peers, the counts,
//! the deadline, and errors that name party, peer and step.

use super::inbox::{Empty, Fault, Inbox};
use super::ledger::Ledger;
use super::{NetError, Options, PartyId, Tag, monotonic_nanos};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One party's end of its two links.
#[derive(Debug)]
pub(super) struct Endpoint {
    id: PartyId,
    options: Options,
    ledger: Mutex<Ledger>,
    /// By the sender's index; a party's own stays empty.
    inboxes: [Arc<Inbox>; 3],
}

impl Endpoint {
    pub(super) fn new(id: PartyId, options: Options) -> Self {
        Endpoint { id, options, ledger: Mutex::new(Ledger::new(id)), inboxes: std::array::from_fn(|_| Arc::default()) }
    }

    pub(super) fn id(&self) -> PartyId {
        self.id
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn inbox(&self, from: PartyId) -> &Arc<Inbox> {
        &self.inboxes[from.index()]
    }

    /// The account of this party. Never held while waiting.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self) -> String {
        self.ledger().step().to_owned()
    }

    /// Checks a message before it leaves; the answer is its length in words.
    pub(super) fn check_send(&self, to: PartyId, words: &[u64]) -> Result<u32, NetError> {
        if to == self.id {
            return Err(self.error(to, Fault::Closed("a party has no link to itself".into())));
        }
        let bytes = words.len() as u64 * 8;
        let limit = self.options.max_message_bytes.min(u64::from(u32::MAX) * 8);
        match u32::try_from(words.len()) {
            Ok(len) if bytes <= limit => Ok(len),
            _ => Err(self.error(to, Fault::TooLarge { bytes, limit })),
        }
    }

    /// Counts a message of `words` words that is about to leave; the answer is this party's rounds.
    pub(super) fn sent(&self, to: PartyId, tag: Tag, words: u32) -> u32 {
        self.ledger().sent(to, tag, u64::from(words) * 8)
    }

    /// The next message of `from`, checked against what is expected.
    pub(super) fn recv(&self, from: PartyId, tag: Tag, len: usize) -> Result<Vec<u64>, NetError> {
        if from == self.id {
            return Err(self.error(from, Fault::Closed("a party has no link to itself".into())));
        }
        let (begin, deadline) = (monotonic_nanos(), Instant::now() + self.options.deadline);
        let popped = self.inbox(from).try_pop().map_or_else(
            || {
                self.ledger().waits(from, tag, len, begin);
                self.inbox(from).pop(deadline)
            },
            Ok,
        );
        self.ledger().returned(from, begin, popped.as_ref().ok());
        let message = popped.map_err(|empty| match empty {
            Empty::Deadline => {
                NetError::Deadline { party: self.id, peer: from, step: self.step(), waited: self.options.deadline }
            }
            Empty::Down(fault) => self.error(from, fault),
        })?;
        if message.tag != tag || message.words.len() != len {
            return Err(NetError::Diverged {
                party: self.id,
                peer: from,
                step: self.step(),
                expected: tag,
                got: message.tag,
                expected_words: len,
                got_words: message.words.len(),
            });
        }
        Ok(message.words)
    }

    /// Ends both incoming directions at this end.
    pub(super) fn abort(&self, reason: &str) {
        for inbox in &self.inboxes {
            inbox.abort(Fault::Closed(reason.to_string()));
        }
    }

    /// `fault`, seen on the link to `peer`, as an error that says who and where.
    pub(super) fn error(&self, peer: PartyId, fault: Fault) -> NetError {
        let (party, step) = (self.id, self.step());
        match fault {
            Fault::Closed(reason) => NetError::PeerClosed { party, peer, step, reason },
            Fault::BadFrame(detail) => NetError::BadFrame { party, peer, step, detail },
            Fault::TooLarge { bytes, limit } => NetError::TooLarge { party, peer, step, bytes, limit },
        }
    }
}
