//! How much waits for a link. What was sent lies in memory until the receiver has it, so a sender that is faster than its link would
//! fill its memory with messages: it waits while too much of them is there.

use super::super::wakers::Wakers;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// So many bytes that a link has not delivered are enough: a message is added to fewer, whatever its own length. A receiver acknowledges
/// what it has a sixty-fourth of this at a time, so a sender that waits never waits for what is held back.
pub(crate) const ENOUGH_BYTES: usize = 16 << 20;

/// What waits for a link.
#[derive(Debug, Default)]
pub(super) struct Room {
    bytes: AtomicUsize,
    /// Senders that wait.
    wakers: Mutex<Wakers>,
}

/// A part of what waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    /// As much waits from now on until what is returned is dropped.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Held { room: self.clone(), bytes }
    }

    /// How many bytes wait.
    pub(super) fn held(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Whether a message may be added.
    pub(super) fn is_there(&self) -> bool {
        self.held() < ENOUGH_BYTES
    }

    /// Ready when a message may be added.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_there() {
            self.wakers.lock().add(context);
        }
        // What is delivered from here on finds the waker.
        if self.is_there() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.room.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        if (ENOUGH_BYTES..ENOUGH_BYTES + self.bytes).contains(&before) {
            let wakers = self.room.wakers.lock().take();
            wakers.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::endpoint::{Endpoint, Reach};
    use super::super::super::frame::{FrameKind, HEADER_BYTES, Header};
    use super::super::super::{NetError, Options, PartyId, Tag};
    use super::super::links::Links;
    use super::super::{Connection, Kind, runtime};
    use super::*;
    use std::thread;
    use std::time::{Duration, Instant};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const TAG: Tag = Tag { position: 3, kind: 9 };
    const SOON: Duration = Duration::from_secs(10);
    const MESSAGE: usize = 1 << 20;

    /// Party 0's links, to party 1 alone, and what they are connected with: what comes from party 1, and what goes there.
    fn links(deadline: Duration, direct_words: usize) -> (Links, DuplexStream, DuplexStream) {
        let options = Options { deadline, resume_within: Duration::ZERO, ..Options::default() };
        let end = Endpoint::new(PartyId::P0, options, Reach::ThisProcess);
        let [(incoming, from_peer), (outgoing, to_peer)] = [(); 2].map(|()| duplex(64 << 10));
        let connection = Connection { incoming: Box::new(incoming), outgoing: Box::new(outgoing), letters: None };
        let kind = Kind { with_checksum: false, direct_words };
        let runtime = runtime(PartyId::P0).unwrap();
        let (links, _) = Links::new(end, runtime, kind, vec![(PartyId::P1, connection)], |_| None).unwrap();
        (links, from_peer, to_peer)
    }

    /// Runs party 1's end of a connection until it ends.
    fn peer(serve: impl Future<Output = ()> + Send + 'static) -> thread::JoinHandle<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        thread::spawn(move || runtime.block_on(serve))
    }

    fn acknowledgement(expected: u64) -> [u8; HEADER_BYTES] {
        Header::bare(FrameKind::Acknowledgement, expected).encode()
    }

    /// A sign of life.
    fn beat() -> [u8; HEADER_BYTES] {
        Header::bare(FrameKind::Beat, 0).encode()
    }

    /// Sends messages until one is refused: how many were not, and why it was.
    fn send_on(links: &Links) -> (usize, NetError) {
        let refused = |_: &usize| links.send(PartyId::P1, TAG, vec![7; MESSAGE / 8]).err();
        (0..1000).find_map(|sent| refused(&sent).map(|error| (sent, error))).unwrap()
    }

    #[test]
    fn a_sender_waits_for_a_slow_link_so_that_little_waits() {
        for direct_words in [0, usize::MAX] {
            let (links, mut from_peer, mut to_peer) = links(SOON, direct_words);
            let [begun, taken] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
            let (begins, takes) = (begun.clone(), taken.clone());
            let peer = peer(async move {
                // Once as much waits as may, the next send has to.
                while begins.load(Ordering::Acquire) <= ENOUGH_BYTES / MESSAGE {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let mut frame = vec![0; HEADER_BYTES + MESSAGE];
                for expected in 1.. {
                    if to_peer.read_exact(&mut frame).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    takes.fetch_add(MESSAGE, Ordering::AcqRel);
                    to_peer.write_all(&acknowledgement(expected)).await.unwrap();
                    from_peer.write_all(&beat()).await.unwrap();
                }
            });
            for sent in 1..=50 {
                begun.store(sent, Ordering::Release);
                links.send(PartyId::P1, TAG, vec![sent as u64; MESSAGE / 8]).unwrap();
                let waits = sent * MESSAGE - taken.load(Ordering::Acquire);
                assert!(waits <= ENOUGH_BYTES + MESSAGE, "{waits} bytes after {sent} messages");
            }
            let waited = links.end().waited()[1];
            assert!(!waited.is_zero() && links.end().stats().wait_nanos == waited.as_nanos() as u64);
            drop(links);
            peer.join().unwrap();
        }
    }

    #[test]
    fn a_peer_that_lives_and_takes_nothing_is_an_error_that_says_so() {
        for direct_words in [0, usize::MAX] {
            let (links, mut from_peer, mut to_peer) = links(Duration::from_millis(500), direct_words);
            links.end().set_step("input");
            let peer = peer(async move {
                // Its signs of life come, so that the connection does not count as dead.
                while to_peer.write_all(&acknowledgement(0)).await.is_ok() && from_peer.write_all(&beat()).await.is_ok()
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
            let begin = Instant::now();
            let (sent, error) = send_on(&links);
            assert_eq!(sent, ENOUGH_BYTES / MESSAGE);
            assert!((Duration::from_millis(500)..SOON).contains(&begin.elapsed()), "{:?}", begin.elapsed());
            assert!(matches!(error, NetError::PeerClosed { peer: PartyId::P1, .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("took nothing for 500ms of 16777216 bytes") && text.contains("step input"), "{text}");
            drop(links);
            peer.join().unwrap();
        }
    }

    #[test]
    fn a_sender_that_waits_hears_that_its_link_is_down() {
        let (links, from_peer, _to_peer) = links(Duration::MAX, 0);
        let peer = peer(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(from_peer);
        });
        let begin = Instant::now();
        let (sent, error) = send_on(&links);
        assert_eq!(sent, ENOUGH_BYTES / MESSAGE);
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        assert!(error.to_string().contains("the process at the other end has died"), "{error}");
        peer.join().unwrap();
    }
}
