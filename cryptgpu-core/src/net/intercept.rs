//! Looking into links: an [`Interceptor`] sees every message of an in-memory network on its way
//! and decides its fate. Tests use it to record what a party sees and to break links.

use super::{PartyId, Tag};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A message on its way. The words may be changed or cut: the receiver then finds that they do
/// not fit the header, as it would on a real link. `Debug` shows their number only.
pub struct Message {
    /// The sender.
    pub from: PartyId,
    /// The receiver.
    pub to: PartyId,
    /// How many messages went this way before.
    pub sequence: u64,
    /// The message's tag.
    pub tag: Tag,
    /// The payload.
    pub words: Vec<u64>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { from, to, sequence, tag, words } = self;
        write!(f, "Message({from} to {to}, number {sequence}, {tag:?}, {} words)", words.len())
    }
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on (as it is now).
    Pass,
    /// It is lost.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It arrives later, and with it all that comes behind it.
    Delay(Duration),
    /// It arrives after the next message of the same direction.
    Overtaken,
}

type Judge = dyn Fn(&mut Message) -> Verdict + Send + Sync;

/// A function that sees every message and decides its fate; called on the sender's thread.
#[derive(Clone)]
pub struct Interceptor(Arc<Judge>);

impl Interceptor {
    /// An interceptor that asks this function.
    pub fn new(judge: impl Fn(&mut Message) -> Verdict + Send + Sync + 'static) -> Self {
        Interceptor(Arc::new(judge))
    }

    pub(super) fn judge(&self, message: &mut Message) -> Verdict {
        (self.0)(message)
    }
}

impl fmt::Debug for Interceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interceptor(..)")
    }
}

/// A message that a [`Recorder`] saw. `Debug` shows the number of its words only.
#[derive(Clone, PartialEq, Eq)]
pub struct SentMessage {
    /// The sender.
    pub from: PartyId,
    /// The receiver.
    pub to: PartyId,
    /// The message's tag.
    pub tag: Tag,
    /// The payload.
    pub words: Vec<u64>,
}

impl fmt::Debug for SentMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SentMessage { from, to, tag, words } = self;
        write!(f, "SentMessage({from} to {to}, {tag:?}, {} words)", words.len())
    }
}

/// Keeps a copy of every message, in the order of sending.
///
/// ```
/// use cryptgpu_core::net::{Network, Options, PartyId, Recorder, Tag, memory};
///
/// let recorder = Recorder::default();
/// let [p0, p1, _p2] = memory::trio_with(Options::default(), Some(recorder.interceptor()));
/// p0.send(p1.id(), Tag { position: 0, kind: 7 }, vec![1, 2, 3])?;
/// assert_eq!(recorder.seen_by(p1.id())[0].words, [1, 2, 3]);
/// # Ok::<(), cryptgpu_core::net::NetError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Vec<SentMessage>>>);

impl Recorder {
    /// The interceptor that records and lets everything pass.
    pub fn interceptor(&self) -> Interceptor {
        let log = self.0.clone();
        Interceptor::new(move |message| {
            log.lock().push(SentMessage {
                from: message.from,
                to: message.to,
                tag: message.tag,
                words: message.words.clone(),
            });
            Verdict::Pass
        })
    }

    /// Everything that was sent.
    pub fn messages(&self) -> Vec<SentMessage> {
        self.0.lock().clone()
    }

    /// What `party` received: its view of a protocol, apart from its own input and keys.
    pub fn seen_by(&self, party: PartyId) -> Vec<SentMessage> {
        self.messages().into_iter().filter(|message| message.to == party).collect()
    }
}
