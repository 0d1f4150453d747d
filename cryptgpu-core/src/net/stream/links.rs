//! A party's two links over connections that are there: posting to both, the end of both at once, and the end in good order.

use super::super::Link;
use super::super::endpoint::Endpoint;
use super::super::frame::{FrameKind, Header};
use super::super::{GaveUp, NetError, PartyId, Tag};
use super::reader::{Notice, Reader};
use super::watch::Watch;
use super::writer::Outlet;
use super::{Connection, Kind, Redial, Way};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// How long the end of the links may wait for peers to take what is still on its way.
const LINGER: Duration = Duration::from_secs(1);

/// By the sender's index, where its reader hears that a connection was made anew; none from the party itself.
pub(in super::super) type Readers = [Option<UnboundedSender<Notice>>; 3];

/// A party's links. Dropping them ends them in good order and ends their threads.
pub(in super::super) struct Links {
    end: Endpoint,
    /// By the receiver's index; none to itself.
    outlets: [Option<Outlet>; 3],
    watch: Option<Arc<Watch>>,
    keeper: Option<JoinHandle<()>>,
}

impl Links {
    /// Takes over the connections with both peers. `redial` makes one to a peer anew that breaks, where that can be.
    pub(in super::super) fn new(
        mut end: Endpoint,
        runtime: Runtime,
        kind: Kind,
        connections: Vec<(PartyId, Connection)>,
        redial: impl Fn(PartyId) -> Option<Box<dyn Redial>>,
    ) -> Result<(Self, Readers), NetError> {
        let watch = Watch::new(runtime);
        let (runtime, duty) = (watch.runtime(), watch.duty());
        let (mut outlets, mut readers) = ([None, None, None], [None, None, None]);
        for (peer, connection) in connections {
            let inbox = end.inbox(peer).clone();
            let (notices, noticed) = unbounded_channel();
            let (options, letters) = (end.options().clone(), connection.letters);
            let reader = Reader::new(peer, inbox.clone(), options, kind.with_checksum, letters, duty.clone());
            runtime.spawn(reader.run(connection.incoming, noticed));
            let (id, options) = (end.id(), end.options().clone());
            let (reader, duty, redial) = (notices.clone(), duty.clone(), redial(peer));
            let way = Way { id, peer, kind, options, inbox, reader, duty, redial };
            outlets[peer.index()] = Some(Outlet::new(runtime, connection.outgoing, way));
            readers[peer.index()] = Some(notices);
        }
        let keeper = Some(watch.keep(end.id())?);
        if end.options().link == Link::None {
            end.set_waiter(Some(watch.clone()));
        }
        Ok((Links { end, outlets, watch: Some(watch), keeper }, readers))
    }

    pub(in super::super) fn end(&self) -> &Endpoint {
        &self.end
    }

    /// Runs a task for as long as the links live.
    pub(in super::super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(watch) = &self.watch {
            watch.runtime().spawn(task);
        }
    }

    pub(in super::super) fn send(&self, to: PartyId, tag: Tag, words: Vec<u64>) -> Result<(), NetError> {
        self.wait_to_send(to);
        self.end.send(to, tag, words.len(), |header| {
            if let Some(outlet) = &self.outlets[to.index()] {
                outlet.post(header, words);
            }
        })
    }

    /// Waits while enough is on its way to `to`. Readers wait for nobody, so that what is on its way gets on, whatever else the parties
    /// wait for. On a link that is down there is nothing to wait for: the send says why.
    fn wait_to_send(&self, to: PartyId) {
        if let Some(outlet) = &self.outlets[to.index()]
            && !outlet.room().is_there()
        {
            self.end.wait_to_send(to, &mut |context| outlet.room().poll(context), || outlet.progress());
        }
    }

    /// Sends a message of `len` words that lies at place `start` of a mailbox on a card.
    pub(in super::super) fn send_mailed(&self, to: PartyId, tag: Tag, len: usize, start: u64) -> Result<(), NetError> {
        self.end.send(to, tag, len, |header| {
            if let Some(outlet) = &self.outlets[to.index()] {
                outlet.post(Header { kind: FrameKind::Mailed, ..header }, vec![start]);
            }
        })
    }

    pub(in super::super) fn abort(&self, reason: GaveUp) {
        self.end.abort(reason);
        for outlet in self.outlets.iter().flatten() {
            outlet.give_up();
        }
        self.last_frame(FrameKind::Abort, &[reason.to_word()]);
    }

    /// Posts a last frame to both peers.
    fn last_frame(&self, kind: FrameKind, payload: &[u64]) {
        for outlet in self.outlets.iter().flatten() {
            outlet.post(Header { words: payload.len() as u32, ..Header::bare(kind, 0) }, payload.to_vec());
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.last_frame(FrameKind::End, &[]);
        let (Some(watch), Some(keeper)) = (self.watch.take(), self.keeper.take()) else { return };
        watch.end();
        // It has nothing to tell.
        let _ = keeper.join();
        self.end.set_waiter(None);
        let Some(runtime) = watch.into_runtime() else { return };
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
