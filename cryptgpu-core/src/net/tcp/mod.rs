//! Links over TCP with TLS 1.3, between processes on one or several hosts.
//!
//! Each direction of each pair of parties is a connection of its own, made by its sender, so
//! that sending and receiving share no lock. One task per peer reads, checks and queues what
//! comes, whether or not anyone waits for it; therefore both sends may be posted before either
//! receive, whatever their size. A short message is encrypted and written by the thread that
//! sends it; a long one by a task, while that thread goes on.
//!
//! **A connection that breaks is made anew**, by its sender again, and the link goes on where nothing was lost: frames are
//! numbered, the receiver acknowledges them on the same connection's way back, and the sender keeps each until then. Both
//! ends give signs of life, so that a connection which is dead without an end is noticed. All else ends the link: a peer
//! whose process is gone, bytes that were changed, a wrong certificate or session, a frame out of order
//! (`docs/adr/0030-links-that-resume.md`).
//!
//! | file | what lives there |
//! |---|---|
//! | `connect` | linking up, and who is at the other end |
//! | `hello` | what the two ends of a connection say first |
//! | `reception` | a listener that strangers may find |
//! | `door` | the listener after linking up: connections made anew |
//! | `writer` | the sending end: frames in order, kept until acknowledged |
//! | `outgoing` | the task at the sending end |
//! | `redial` | a broken connection made anew by its sender |
//! | `opener` | TLS at the receiving end: from the socket to the words |
//! | `reader` | the receiving end: frames checked, queued, acknowledged |
//! | `pulse` | signs of life, and how long a connection may be silent or broken |

mod connect;
mod door;
mod hello;
mod opener;
mod outgoing;
mod pulse;
mod reader;
mod reception;
mod redial;
#[cfg(test)]
mod tests;
mod writer;

use super::endpoint::{Endpoint, Reach};
use super::frame::{FrameKind, Header};
use super::tls::{Fingerprint, Identity};
use super::{GaveUp, NetError, Network, Options, PartyId, Tag};
use reader::Reader;
use redial::Way;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::unbounded_channel;
use writer::Outlet;

pub use connect::listen;
pub(crate) use reception::{PAUSE, Reception, is_unheard};

/// How the links are protected.
#[derive(Clone, Debug)]
pub enum Security {
    /// TLS 1.3, both ends known by their certificates.
    Tls {
        /// This party's.
        identity: Identity,
        /// All parties' by index; this party's own is not looked at.
        peers: [Fingerprint; 3],
    },
    /// **Nothing**: anyone on the way reads and changes messages, and two parties' messages
    /// together reveal every secret. For measuring what TLS costs.
    InsecurePlaintext,
}

/// What a party needs to know to link up with the others.
#[derive(Debug)]
pub struct Config {
    /// The party at this end.
    pub id: PartyId,
    /// Where the others connect to: see [`listen`].
    pub listener: TcpListener,
    /// Where each party can be reached, by index, as `host:port`; this party's own is not looked at. Names are looked up
    /// by the party that connects.
    pub addresses: [String; 3],
    /// How the links are protected.
    pub security: Security,
    /// Equal at all parties of a session, different between sessions.
    pub session: [u8; 16],
    /// How long linking up may take.
    pub connect_within: Duration,
    /// Deadline, imitated link, sizes.
    pub options: Options,
}

/// A byte stream to or from a peer, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A party's links over TCP. Dropping it ends them in good order and ends its threads.
pub struct TcpNetwork {
    end: Endpoint,
    /// By the receiver's index; none to itself.
    outlets: [Option<Outlet>; 3],
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for TcpNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpNetwork").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl TcpNetwork {
    /// Links up with both peers, in both directions.
    ///
    /// # Errors
    /// [`NetError::Setup`] when a peer cannot be reached in time, shows another certificate than
    /// the expected one, or belongs to another session.
    pub fn connect(config: Config) -> Result<Self, NetError> {
        if matches!(config.security, Security::InsecurePlaintext) {
            eprintln!(
                "warning: party {} sends its shares in the clear (insecure plaintext links): anyone on the network can read every secret",
                config.id
            );
        }
        let id = config.id;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name(format!("net-{id}"))
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| NetError::Setup {
                party: id,
                action: "start the threads of the transport".into(),
                detail: error.to_string(),
                hint: "Is the limit on threads (ulimit -u) reached?".into(),
            })?;
        let end = Endpoint::new(id, config.options.clone(), Reach::OtherProcesses);
        let with_checksum = matches!(config.security, Security::InsecurePlaintext);
        let config = Arc::new(config);
        let (listener, connections) = runtime.block_on(async {
            let listener = connect::listener(&config)?;
            let connections = connect::all(&config, &listener).await?;
            Ok((listener, connections))
        })?;
        let mut outlets = [None, None, None];
        let mut readers = [None, None, None];
        for (peer, connection) in connections {
            let inbox = end.inbox(peer).clone();
            let (notices, noticed) = unbounded_channel();
            let reader = Reader::new(peer, inbox.clone(), end.options().clone(), with_checksum);
            runtime.spawn(reader.run(connection.incoming, noticed));
            let way = Way { config: config.clone(), peer, inbox, reader: notices.clone() };
            outlets[peer.index()] = Some(Outlet::new(&runtime, connection.outgoing, way));
            readers[peer.index()] = Some(notices);
        }
        runtime.spawn(door::keep(config, listener, readers));
        Ok(TcpNetwork { end, outlets, runtime: Some(runtime) })
    }

    /// Posts a last frame to both peers.
    fn last_frame(&self, kind: FrameKind, payload: &[u64]) {
        for outlet in self.outlets.iter().flatten() {
            outlet.post(Header { words: payload.len() as u32, ..Header::bare(kind, 0) }, payload.to_vec());
        }
    }
}

/// Threads of the transport at each party.
const WORKERS: usize = 1;

/// How long the end of the links may wait for peers to take what is still on its way.
const LINGER: Duration = Duration::from_secs(1);

impl Network for TcpNetwork {
    fn endpoint(&self) -> &Endpoint {
        &self.end
    }

    fn send(&self, to: PartyId, tag: Tag, words: Vec<u64>) -> Result<(), NetError> {
        self.end.send(to, tag, words, |header, words| {
            if let Some(outlet) = &self.outlets[to.index()] {
                outlet.post(header, words);
            }
        })
    }

    fn abort(&self, reason: GaveUp) {
        self.end.abort(reason);
        for outlet in self.outlets.iter().flatten() {
            outlet.give_up();
        }
        self.last_frame(FrameKind::Abort, &[reason.to_word()]);
    }
}

impl Drop for TcpNetwork {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        self.last_frame(FrameKind::End, &[]);
        let writers: Vec<_> = self.outlets.iter_mut().filter_map(|outlet| outlet.take().map(Outlet::finish)).collect();
        if tokio::runtime::Handle::try_current().is_ok() {
            // A task must not wait for another runtime's threads.
            runtime.shutdown_background();
            return;
        }
        runtime.block_on(async {
            let all = async {
                for writer in writers {
                    // It ends when all is acknowledged; one that failed has told the inbox why.
                    let _ = writer.await;
                }
            };
            // Peers that take nothing see the connection end without notice.
            let _ = tokio::time::timeout(LINGER, all).await;
        });
        runtime.shutdown_timeout(LINGER);
    }
}
