//! Links over byte streams, whatever carries the bytes: TCP, a local socket, or memory that two processes share. What makes two parties'
//! streams and says who is at the other end is the business of the kind of link (`tcp`, `shared`).
//!
//! Each direction of each pair of parties is a connection of its own, made by its sender, so
//! that sending and receiving share no lock. One task per peer reads, checks and queues what
//! comes, whether or not anyone waits for it; therefore both sends may be posted before either
//! receive, whatever their size. A short message is written by the thread that sends it; a long one by a task. A sender
//! that is faster than its link waits for it (`room`). Tasks are run by parties that wait, or by a thread beside them (`watch`).
//!
//! Frames are numbered, the receiver acknowledges them on the same connection's way back, and the sender keeps each until
//! then. Both ends give signs of life, so that a connection which is dead without an end is noticed.
//!
//! | file | what lives there |
//! |---|---|
//! | `hello` | what the two ends of a connection say first |
//! | `links` | a party's two links over connections that are there |
//! | `writer` | the sending end: frames in order, kept until acknowledged |
//! | `outgoing` | the task at the sending end |
//! | `room` | how much of what was sent may wait |
//! | `reader` | the receiving end: frames checked, queued, acknowledged |
//! | `pulse` | signs of life, and how long a connection may be silent or broken |
//! | `watch` | who runs the tasks: a party that waits, or a thread of their own |

mod hello;
mod links;
mod outgoing;
mod pulse;
mod reader;
mod room;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use super::inbox::{Fault, Inbox};
use super::payload::Letters;
use super::{Options, PartyId};
pub(super) use hello::{Answer, Hello, Purpose};
pub(super) use links::Links;
pub(super) use reader::{Notice, refused};
pub(crate) use room::ENOUGH_BYTES;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedSender;
use watch::Duty;
pub(super) use watch::runtime;

/// A byte stream to or from a peer.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The two connections with one peer.
pub(super) struct Connection {
    pub(super) incoming: Box<dyn Stream>,
    pub(super) outgoing: Box<dyn Stream>,
    /// Where the peer may leave messages on a card.
    pub(super) letters: Option<Arc<dyn Letters>>,
}

/// What a kind of stream is good for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Whether payloads carry a checksum: where nothing below finds a changed bit.
    pub(super) with_checksum: bool,
    /// A message of at most so many words is written by the thread that sends it.
    pub(super) direct_words: usize,
}

/// The way to a peer.
struct Way {
    id: PartyId,
    peer: PartyId,
    kind: Kind,
    options: Options,
    /// Where the peer's end shows.
    inbox: Arc<Inbox>,
    /// The receiving end of the other direction of the link.
    reader: UnboundedSender<Notice>,
    /// Who runs the tasks.
    duty: Arc<Duty>,
    /// Makes a broken connection anew. None where one that breaks means that the peer's process is gone.
    redial: Option<Box<dyn Redial>>,
}

/// Makes a broken connection to a peer anew.
pub(super) trait Redial: Send + Sync {
    /// The connection in place of the one that broke with `broken`, and the number of the frame that is expected there.
    /// `needed` says whether the link is still to be resumed.
    fn redial<'a>(&'a self, broken: &'a io::Error, within: Duration, needed: &'a Needed<'a>) -> Redialling<'a>;
}

pub(super) type Needed<'a> = dyn Fn() -> bool + Send + Sync + 'a;
pub(super) type Redialling<'a> = Pin<Box<dyn Future<Output = Result<(Box<dyn Stream>, u64), Unmade>> + Send + 'a>>;

/// Why a connection was not made anew.
pub(super) enum Unmade {
    /// The peer's process is gone: it refuses connections.
    Gone,
    /// The link has ended, and the inbox knows why.
    Over,
    /// The link ends with this.
    Fault(Fault),
}
