//! Links over TCP with TLS 1.3, between processes on one or several hosts.
//!
//! Each direction of each pair of parties is a connection of its own, made by its sender, so
//! that sending and receiving share no lock. One task per peer reads, checks and queues what
//! comes, whether or not anyone waits for it; therefore both sends may be posted before either
//! receive, whatever their size. A short message is encrypted and written by the thread that
//! sends it; a long one by a task, while that thread goes on.

mod connect;
mod reader;
mod reception;
#[cfg(test)]
mod tests;
mod writer;

use super::endpoint::{Endpoint, Reach};
use super::frame::{FrameKind, Header};
use super::spare::SpareBuffers;
use super::tls::{Fingerprint, Identity};
use super::{GaveUp, NetError, Network, Options, PartyId, Tag};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
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
        let connections = runtime.block_on(connect::all(config))?;
        let spare = Arc::new(SpareBuffers::default());
        let mut outlets = [None, None, None];
        for (peer, connection) in connections {
            let inbox = end.inbox(peer).clone();
            let (options, spare) = (end.options().clone(), spare.clone());
            runtime.spawn(reader::run(connection.incoming, peer, inbox.clone(), options, spare.clone(), with_checksum));
            outlets[peer.index()] = Some(Outlet::new(&runtime, connection.outgoing, inbox, spare, with_checksum));
        }
        Ok(TcpNetwork { end, outlets, runtime: Some(runtime) })
    }

    /// Posts a last frame to both peers.
    fn last_frame(&self, kind: FrameKind, payload: &[u64]) {
        for outlet in self.outlets.iter().flatten() {
            let tag = Tag { position: 0, kind: 0 };
            let words = payload.len() as u32;
            outlet.post(Header { kind, tag, rounds: 0, words, sequence: 0, payload_crc: 0 }, payload.to_vec());
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
                    // A writer that failed has told the inbox why.
                    let _ = writer.await;
                }
            };
            // Peers that take nothing see the connection end without notice.
            let _ = tokio::time::timeout(LINGER, all).await;
        });
        runtime.shutdown_timeout(LINGER);
    }
}
