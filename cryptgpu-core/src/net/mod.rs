//! Messages between the three parties. A message is an array of 64-bit words with a [`Tag`];
//! the [`Network`] trait hides whether it travels through memory of this process or of this machine, TCP or a shaped link. Nothing
//! here knows what a message means.

use std::fmt;
use std::time::Duration;

mod clock;
mod compare;
mod endpoint;
mod error;
mod frame;
pub(crate) mod fuzz;
mod gave_up;
mod inbox;
mod intercept;
mod ledger;
mod link_type;
mod local;
pub mod memory;
mod payload;
mod recording;
mod shaped;
pub mod shared;
mod show;
mod stats;
mod stream;
pub mod tcp;
mod timekeeper;
mod timeline;
pub(crate) mod tls;
mod trace;
mod wait;
mod wakers;

pub(crate) use clock::after;
pub use clock::{clock_id, monotonic_nanos};
pub use compare::{Comparison, Figures, StepComparison};
pub use endpoint::Endpoint;
pub use error::NetError;
pub(crate) use error::at_step;
pub use frame::HEADER_BYTES;
pub use gave_up::GaveUp;
pub use intercept::{Interceptor, Message, Recorder, SentMessage, Verdict};
pub use link_type::LinkType;
pub use memory::MemoryNetwork;
pub use payload::{Outgoing, Received, Unsent};
pub use recording::{ReceivedMessage, Recording};
pub use shaped::Link;
pub use shared::SharedNetwork;
pub use stats::{LinkStats, Stats};
pub(crate) use stream::ENOUGH_BYTES;
pub use tcp::TcpNetwork;
pub use timeline::{
    Direction, MAX_CALLS, MAX_STEPS, MAX_TRANSFERS, MORE_STEPS, NO_STEP, StepCall, StepSums, Timeline, Transfer,
};
pub use tls::{Fingerprint, Identity};
pub use trace::{MessageTrace, PartyStep, Receipt, StepTrace, Trace};
pub use wait::{Activity, Deadlock, Stuck, Unread, Wait, WaitState, deadlock};

/// Settings of a party's links, the same for every kind of link.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How long a receive may wait before it is [`NetError::Deadline`], and a send for a link on which nothing gets on before that is
    /// [`NetError::PeerClosed`]: 30 s by default. [`Duration::MAX`] sets no limit.
    pub deadline: Duration,
    /// Bandwidth and latency to imitate: none by default.
    pub link: Link,
    /// The largest payload of one message, checked before memory is taken: 1 GiB by default.
    pub max_message_bytes: u64,
    /// How long a broken TCP connection may take to be made anew before it is [`NetError::PeerClosed`]: 5 s by default.
    /// Half of the deadline where it is not less than the deadline. Zero: a connection that breaks ends the link.
    pub resume_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            deadline: Duration::from_secs(30),
            link: Link::None,
            max_message_bytes: 1 << 30,
            resume_within: Duration::from_secs(5),
        }
    }
}

/// One of the three parties. Arithmetic is modulo three: `next` of party 2 is party 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PartyId(u8);

impl PartyId {
    /// Party 0.
    pub const P0: PartyId = PartyId(0);
    /// Party 1.
    pub const P1: PartyId = PartyId(1);
    /// Party 2.
    pub const P2: PartyId = PartyId(2);
    /// The three parties, in order.
    pub const ALL: [PartyId; 3] = [PartyId::P0, PartyId::P1, PartyId::P2];

    /// Party `index`, which must be 0, 1 or 2.
    pub fn new(index: usize) -> Option<Self> {
        (index < 3).then_some(PartyId(index as u8))
    }
    /// 0, 1 or 2.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
    /// The party after this one: i + 1 mod 3.
    pub fn next(self) -> Self {
        PartyId((self.0 + 1) % 3)
    }
    /// The party before this one: i − 1 mod 3.
    pub fn prev(self) -> Self {
        PartyId((self.0 + 2) % 3)
    }
}

impl From<PartyId> for u8 {
    fn from(party: PartyId) -> u8 {
        party.0
    }
}

impl TryFrom<u8> for PartyId {
    type Error = String;
    fn try_from(index: u8) -> Result<Self, String> {
        PartyId::new(usize::from(index))
            .ok_or_else(|| format!("party {index} does not exist: there are parties 0, 1 and 2"))
    }
}

impl fmt::Display for PartyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for PartyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P{}", self.0)
    }
}

/// The label of a message, which both ends know before it is sent. A receiver names the tag it waits for,
/// so parties whose programs have diverged get an error and not garbage.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Tag {
    /// Where in the program: the low half counts what was drawn of the correlated randomness, the high half is a digest
    /// of the operations so far. Equal on all parties whose programs are the same.
    pub position: u64,
    /// Which message of a protocol this is (a constant of the protocol's code).
    pub kind: u16,
}

impl Tag {
    /// The low half of the position: how much was drawn of the correlated randomness.
    pub fn count(&self) -> u64 {
        self.position & u64::from(u32::MAX)
    }
}

/// Count, kind and, where there is one, the digest of what led there.
impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag {{ position: {}, kind: {}", self.count(), self.kind)?;
        match self.position >> 32 {
            0 => f.write_str(" }"),
            history => write!(f, ", history: {history:08x} }}"),
        }
    }
}

/// A party's links to the other two. Sending never waits for the receiver's program (post both sends
/// before either receive); every receive has a deadline. Links are ordered and reliable.
///
/// A kind of link says how messages leave and how all links end at once. What it counts, records and knows about its
/// party is asked of its [`Endpoint`], the same for every kind of link.
pub trait Network: Send + Sync {
    /// The party's end of both links: counts, steps, recordings.
    fn endpoint(&self) -> &Endpoint;

    /// Posts `words` to `to`. Returns at once, unless 16 MiB or more of what was sent to `to` before have not come there: then it waits for
    /// the link, while that gets on. An error says that the link is down.
    ///
    /// # Errors
    /// [`NetError::TooLarge`] when the message exceeds the limit, [`NetError::PeerClosed`] when the link is down.
    fn send(&self, to: PartyId, tag: Tag, words: Vec<u64>) -> Result<(), NetError>;

    /// Posts words that are on a device. Where the receiver can take them from there they do not pass through main memory; what is
    /// counted is the same. Waits for what computes them where they cannot be handed over while that goes on.
    ///
    /// # Errors
    /// Those of [`Network::send`]; [`Unsent::Device`] when the words are not what they should be.
    fn send_from(&self, to: PartyId, tag: Tag, message: Outgoing<'_>) -> Result<(), Unsent> {
        Ok(self.send(to, tag, message.into_host()?)?)
    }

    /// Gives up the memory on cards that this party shares with others, and takes its own back: for the end of a program.
    fn leave_devices(&self) {}

    /// Ends all links at once: both peers see [`NetError::PeerClosed`], and hear of `reason` which word it is.
    fn abort(&self, reason: GaveUp);

    /// The party at this end.
    fn id(&self) -> PartyId {
        self.endpoint().id()
    }

    /// The next message of `from`, which must carry `tag` and have `len` words.
    ///
    /// # Errors
    /// [`NetError::Deadline`] when nothing came in time, [`NetError::Diverged`] when tag or length
    /// is not the expected one, [`NetError::PeerClosed`] when the link is down, and whatever the
    /// link found wrong with the frame.
    fn recv(&self, from: PartyId, tag: Tag, len: usize) -> Result<Vec<u64>, NetError> {
        self.endpoint().recv_words(from, tag, len)
    }

    /// As [`Network::recv`]; the words stay where the link has left them until they are asked for.
    ///
    /// # Errors
    /// Those of [`Network::recv`].
    fn recv_where_it_is(&self, from: PartyId, tag: Tag, len: usize) -> Result<Received, NetError> {
        self.endpoint().recv(from, tag, len)
    }
}
