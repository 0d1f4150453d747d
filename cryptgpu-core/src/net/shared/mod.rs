//! Links between processes of one machine through memory that they share. Nothing on them is encrypted. Messages travel
//! as on other byte streams (`stream`); here is what carries the bytes: a connection's two rings in memory of its own,
//! which each process copies to or from, and a socket on which the sleeper of both is woken
//! (`docs/adr/0044-shared-memory-between-processes.md`).
//!
//! The memory has no name, the sockets are in no folder: nothing is left behind by a process that is killed, and the
//! others hear of that at once by the end of its sockets. A process that writes nonsense to the memory can spoil what it
//! sends, and nothing else.
//!
//! | file | what lives there |
//! |---|---|
//! | `connect` | linking up, and who is at the other end |
//! | `memory` | memory that two processes map |
//! | `ring` | one direction of a connection, in that memory |
//! | `stream` | both directions and the bells, as a byte stream |

mod connect;
mod memory;
mod ring;
mod stream;

use super::endpoint::{Endpoint, Reach};
use super::stream::{Kind, Links};
use super::{GaveUp, NetError, Network, Options, PartyId, Tag};
use std::sync::Arc;
use std::time::Duration;

/// What a party needs to know to link up with the others of its machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// The party at this end.
    pub id: PartyId,
    /// Equal at all parties of a session, different between sessions, and known to nobody else: whoever knows it and is of
    /// the same account can take a party's place.
    pub session: [u8; 16],
    /// How long linking up may take.
    pub connect_within: Duration,
    /// Deadline, imitated link, sizes. Memory does not break, so no time to resume is looked at.
    pub options: Options,
}

/// A party's links through shared memory. Dropping it ends them in good order and ends its threads.
///
/// ```
/// use cryptgpu_core::net::{Network, Options, PartyId, SharedNetwork, Tag, shared};
/// use std::time::Duration;
///
/// let party = |id| shared::Config {
///     id,
///     session: [7; 16],
///     connect_within: Duration::from_secs(5),
///     options: Options::default(),
/// };
/// let parties = PartyId::ALL.map(|id| std::thread::spawn(move || SharedNetwork::connect(party(id))));
/// let [p0, p1, _p2] = parties.map(|thread| thread.join().unwrap().unwrap());
/// let tag = Tag { position: 0, kind: 7 };
/// p0.send(p1.id(), tag, vec![1, 2, 3])?;
/// assert_eq!(p1.recv(p0.id(), tag, 3)?, [1, 2, 3]);
/// # Ok::<(), cryptgpu_core::net::NetError>(())
/// ```
pub struct SharedNetwork {
    links: Links,
}

impl std::fmt::Debug for SharedNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedNetwork").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// The thread that sends a message copies it itself, as far as there is room: to hand it over would cost as much. Header
/// and places are checked; a payload has no way on which it could change.
const KIND: Kind = Kind { with_checksum: false, direct_words: usize::MAX };

impl SharedNetwork {
    /// Links up with both peers, in both directions.
    ///
    /// # Errors
    /// [`NetError::Setup`] when a peer is not there in time, is not of this machine or account, or belongs to another
    /// session.
    pub fn connect(config: Config) -> Result<Self, NetError> {
        eprintln!(
            "warning: party {} sends its shares through shared memory, unencrypted (insecure shared links): whoever reads this machine's memory, as its administrator can, reads every secret",
            config.id
        );
        let runtime = Links::runtime(config.id)?;
        let options = Options { resume_within: Duration::ZERO, ..config.options.clone() };
        let end = Endpoint::new(config.id, options, Reach::OtherProcesses);
        let connections = runtime.block_on(connect::all(&Arc::new(config)))?;
        let (links, _) = Links::new(end, runtime, KIND, connections, |_| None);
        Ok(SharedNetwork { links })
    }
}

impl Network for SharedNetwork {
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
