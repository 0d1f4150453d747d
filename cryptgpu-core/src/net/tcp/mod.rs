//! Links over TCP with TLS 1.3, between processes on one or several hosts. Those of one machine pass TCP by, over local sockets
//! (`docs/adr/0069-past-tcp-on-one-machine.md`).
//!
//! What travels on a connection, and how it is numbered, acknowledged and watched, is the same as on other byte streams
//! (`stream`). A message is encrypted where it lies and decrypted to where it is to lie.
//!
//! **A connection that breaks is made anew**, by its sender again, and the link goes on where nothing was lost. All else
//! ends the link: a peer whose process is gone, bytes that were changed, a wrong certificate or session, a frame out of
//! order (`docs/adr/0030-links-that-resume.md`).
//!
//! | file | what lives there |
//! |---|---|
//! | `connect` | linking up, and who is at the other end |
//! | `reception` | a listener that strangers may find |
//! | `door` | the listener after linking up: connections made anew |
//! | `redial` | a broken connection made anew by its sender |
//! | `socket` | TCP's sockets, and local ones between processes of one machine |
//! | `opener` | TLS at the receiving end: from the socket to the words |

mod connect;
mod door;
mod opener;
mod reception;
mod redial;
mod socket;

use super::endpoint::{Endpoint, Reach};
use super::stream::{Kind, Links, Redial, runtime};
use super::tls::{Fingerprint, Identity};
use super::{GaveUp, NetError, Network, Options, PartyId, Tag};
use redial::Dialler;
use std::sync::Arc;
use std::time::Duration;

pub use connect::listen;
pub(crate) use reception::{PAUSE, Reception, is_unheard};
pub use socket::Listener;

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
    pub listener: Listener,
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

/// A message of at most so many words is encrypted and written by the thread that sends it.
const DIRECT_WORDS: usize = 4 << 10;

/// A party's links over TCP or local sockets. Dropping it ends them in good order and ends its threads.
pub struct TcpNetwork {
    links: Links,
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
        let with_checksum = matches!(config.security, Security::InsecurePlaintext);
        if with_checksum {
            eprintln!(
                "warning: party {} sends its shares in the clear (insecure plaintext links): anyone on the network can read every secret",
                config.id
            );
        }
        let runtime = runtime(config.id)?;
        let end = Endpoint::new(config.id, config.options.clone(), Reach::OtherProcesses);
        let config = Arc::new(config);
        let (entrance, connections) = runtime.block_on(async {
            let entrance = connect::entrance(&config)?;
            let connections = connect::all(&config, &entrance).await?;
            Ok((entrance, connections))
        })?;
        let kind = Kind { with_checksum, direct_words: DIRECT_WORDS };
        let redial = |peer| Some(Box::new(Dialler { config: config.clone(), peer }) as Box<dyn Redial>);
        let (links, readers) = Links::new(end, runtime, kind, connections, redial)?;
        links.spawn(door::keep(config, entrance, readers));
        Ok(TcpNetwork { links })
    }
}

impl Network for TcpNetwork {
    fn endpoint(&self) -> &Endpoint {
        self.links.end()
    }

    fn send(&self, to: PartyId, tag: Tag, words: Vec<u64>) -> Result<(), NetError> {
        self.links.send(to, tag, words)
    }

    fn abort(&self, reason: GaveUp) {
        self.links.abort(reason);
    }
}
