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
//! | `mailbox` | messages from card to card, in memory of the sender's card |
//! | `memory` | memory that two processes map |
//! | `ring` | one direction of a connection, in that memory |
//! | `stream` | both directions and the bells, as a byte stream |

mod connect;
mod mailbox;
mod memory;
mod ring;
mod stream;

use super::endpoint::{Endpoint, Reach};
use super::stream::{Kind, Links, runtime};
use super::{GaveUp, NetError, Network, Options, Outgoing, PartyId, Tag, Unsent};
use crate::device::Device;
use connect::Linked;
use mailbox::{Letterbox, Outbox};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a party at its end waits for the others to give its mailboxes up, and how often it looks.
const LEFT_WITHIN: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(1);

/// What a party needs to know to link up with the others of its machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// The party at this end.
    pub id: PartyId,
    /// Equal at all parties of a session, different between sessions, and known to nobody else: whoever knows it and is of
    /// the same account can take a party's place.
    pub session: [u8; 16],
    /// The device of the party at this end: two parties on cards hand messages from card to card where the driver lets them.
    pub device: Device,
    /// How long linking up may take.
    pub connect_within: Duration,
    /// Deadline, imitated link, sizes. Memory does not break, so no time to resume is looked at.
    pub options: Options,
}

/// A party's links through shared memory. Dropping it ends them in good order and ends its threads.
///
/// ```
/// use cryptgpu_core::device::Device;
/// use cryptgpu_core::net::{Network, Options, PartyId, SharedNetwork, Tag, shared};
/// use std::time::Duration;
///
/// let party = |id| shared::Config {
///     id,
///     session: [7; 16],
///     device: Device::Cpu,
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
    /// By the peer's index: the mailboxes on this party's card, and those of the peers that it has opened.
    outboxes: [Mutex<Option<Outbox>>; 3],
    letterboxes: [Option<Arc<Letterbox>>; 3],
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
        let runtime = runtime(config.id)?;
        let options = Options { resume_within: Duration::ZERO, ..config.options.clone() };
        let end = Endpoint::new(config.id, options, Reach::OtherProcesses);
        // What is missing shows where words are brought to the card.
        let _ = config.device.open();
        let linked = runtime.block_on(connect::all(&Arc::new(config)))?;
        let (mut connections, mut outboxes, mut letterboxes) = (vec![], [const { None }; 3], [const { None }; 3]);
        for Linked { peer, connection, outbox, letterbox } in linked {
            connections.push((peer, connection));
            (outboxes[peer.index()], letterboxes[peer.index()]) = (outbox, letterbox);
        }
        let (links, _) = Links::new(end, runtime, KIND, connections, |_| None)?;
        Ok(SharedNetwork { links, outboxes: outboxes.map(Mutex::new), letterboxes })
    }

    /// The peers to which messages go from card to card.
    pub fn mailed(&self) -> Vec<PartyId> {
        PartyId::ALL.into_iter().filter(|peer| self.outboxes[peer.index()].lock().is_some()).collect()
    }

    /// Tells the peers how far their mailboxes have been emptied.
    fn publish(&self) {
        self.letterboxes.iter().flatten().for_each(|letterbox| letterbox.publish());
    }
}

impl Drop for SharedNetwork {
    fn drop(&mut self) {
        self.leave_devices();
    }
}

impl Network for SharedNetwork {
    fn endpoint(&self) -> &Endpoint {
        self.links.end()
    }

    fn send(&self, to: PartyId, tag: Tag, words: Vec<u64>) -> Result<(), NetError> {
        self.links.send(to, tag, words)
    }

    fn send_from(&self, to: PartyId, tag: Tag, message: Outgoing<'_>) -> Result<(), Unsent> {
        let mut outbox = self.outboxes[to.index()].lock();
        if let Some(outbox) = outbox.as_mut()
            && let Some(start) = outbox.put(&message)?
        {
            // The card was waited for, so copies out of the peers' mailboxes have been made too.
            self.publish();
            self.links.send_mailed(to, tag, message.len(), start)?;
            outbox.sent(start, message.len());
            return Ok(());
        }
        let words = message.into_host()?;
        self.publish();
        // In the order of the mailbox.
        Ok(self.send(to, tag, words)?)
    }

    fn abort(&self, reason: GaveUp) {
        self.links.abort(reason);
    }

    fn leave_devices(&self) {
        self.letterboxes.iter().flatten().for_each(|letterbox| letterbox.close());
        let until = Instant::now() + LEFT_WITHIN;
        for outbox in &self.outboxes {
            let Some(outbox) = outbox.lock().take() else { continue };
            while !outbox.is_closed() && Instant::now() < until {
                std::thread::sleep(PAUSE);
            }
            // Memory that another process may have open is not to be returned: it goes with this process.
            if outbox.is_closed() {
                outbox.free();
            }
        }
    }
}
