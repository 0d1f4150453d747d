//! A party's end of its two links, the same for every kind of link: the queues of both peers, the account of the run
//! (counts, steps, timeline, first error), the deadline, and errors that name party, peer and step. How a message
//! leaves is the business of the kind of link.

use super::frame::{FrameKind, Header};
use super::inbox::{Empty, Fault, Inbox, Incoming, Stirs, Waiter};
use super::ledger::Ledger;
use super::payload::{Payload, Received};
use super::{GaveUp, NetError, Options, PartyId, Recording, Stats, Tag, Timeline, WaitState, after, monotonic_nanos};
use crate::device::DeviceError;
use parking_lot::{Mutex, MutexGuard};
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// One party's end of its two links.
#[derive(Debug)]
pub struct Endpoint {
    id: PartyId,
    options: Options,
    reach: Reach,
    ledger: Mutex<Ledger>,
    /// By the sender's index; a party's own stays empty.
    inboxes: [Arc<Inbox>; 3],
    /// What this party does while it waits.
    waiter: Option<Arc<dyn Waiter>>,
}

/// Wakes a thread that sleeps.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Where the peers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// In this process: whoever reads its memory has the secrets anyway.
    ThisProcess,
    /// In processes of their own.
    OtherProcesses,
}

impl Endpoint {
    pub(super) fn new(id: PartyId, options: Options, reach: Reach) -> Self {
        let (ledger, inboxes) = (Mutex::new(Ledger::new(id)), std::array::from_fn(|_| Arc::default()));
        Endpoint { id, options, reach, ledger, inboxes, waiter: None }
    }

    /// The party at this end.
    pub fn id(&self) -> PartyId {
        self.id
    }

    /// How long a receive may wait.
    pub fn deadline(&self) -> Duration {
        self.options.deadline
    }

    /// Everything counted so far. Cheap: a copy of a few integers.
    pub fn stats(&self) -> Stats {
        let reconnections = self.inboxes.iter().map(|inbox| inbox.reconnections()).sum();
        Stats { reconnections, ..self.ledger().stats() }
    }

    /// Names the step that errors mention and under which is counted what happens from now on (`conv1/truncation`, a
    /// step within another), or [`NO_STEP`](super::NO_STEP).
    pub fn set_step(&self, step: &str) {
        self.ledger().set_step(step);
    }

    /// Whether this party is blocked in a receive, for whom, and how many messages it has sent and consumed. Other
    /// threads ask while it waits: see [`deadlock`](super::deadlock).
    pub fn wait_state(&self) -> WaitState {
        self.ledger().wait_state()
    }

    /// How long this party has waited for each peer since its links came up, the receive that it is blocked in among it.
    pub fn waited(&self) -> [Duration; 3] {
        self.ledger().waited().map(Duration::from_nanos)
    }

    /// What this party did since its links came up or a timeline was last taken. Recording never stops; it costs some
    /// tens of nanoseconds a message.
    pub fn take_timeline(&self) -> Timeline {
        self.ledger().take_timeline()
    }

    /// **Insecure**: keeps a copy of every message that is received from now on, until `max_words` words are kept (each
    /// message counting 16 more); a recording that goes on is dropped. What one party receives tells nothing, but with
    /// another party's recording it reveals every secret. A party process prints a warning, once.
    pub fn insecure_record(&self, max_words: u64) {
        static WARNED: Once = Once::new();
        if self.reach == Reach::OtherProcesses {
            WARNED.call_once(|| {
                eprintln!(
                    "warning: party {} keeps copies of the messages it receives (insecure recording): with another party's they reveal every secret",
                    self.id
                );
            });
        }
        self.ledger().record(max_words);
    }

    /// Ends recording: what was kept, or nothing if it was off.
    pub fn take_recording(&self) -> Option<Recording> {
        self.ledger().take_recording()
    }

    /// The first error that a send or receive returned since [`Endpoint::forget_error`]. A program may turn an error of
    /// a link into one of its own; this one still says that it was a consequence, and whose link failed.
    pub fn first_error(&self) -> Option<NetError> {
        self.ledger().first_error().cloned()
    }

    /// Another run begins: errors of the last one are none of its own.
    pub fn forget_error(&self) {
        self.ledger().forget_error();
    }

    /// What this party does while it waits; nothing but sleep by default.
    pub(super) fn set_waiter(&mut self, waiter: Option<Arc<dyn Waiter>>) {
        self.waiter = waiter;
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn inbox(&self, from: PartyId) -> &Arc<Inbox> {
        &self.inboxes[from.index()]
    }

    /// The account of this party. Never held while waiting.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock()
    }

    fn step(&self) -> String {
        self.ledger().step().to_owned()
    }

    /// Checks and counts a message of `len` words, and has `post` send it with this header, whose number and checksum are not
    /// filled in.
    pub(super) fn send(&self, to: PartyId, tag: Tag, len: usize, post: impl FnOnce(Header)) -> Result<(), NetError> {
        let words = self.check(to, len).map_err(|fault| self.failed(self.error(to, fault)))?;
        let rounds = self.ledger().sent(to, tag, u64::from(words) * 8);
        post(Header { kind: FrameKind::Message, tag, rounds, words, sequence: 0, payload_crc: 0 });
        Ok(())
    }

    /// Whether a message of so many words may leave; the answer is how many.
    fn check(&self, to: PartyId, words: usize) -> Result<u32, Fault> {
        self.check_peer(to)?;
        let bytes = words as u64 * 8;
        let limit = self.options.max_message_bytes.min(u64::from(u32::MAX) * 8);
        let len = u32::try_from(words).ok().filter(|_| bytes <= limit);
        let len = len.ok_or(Fault::TooLarge { bytes, limit })?;
        self.inbox(to).fault().map_or(Ok(len), Err)
    }

    fn check_peer(&self, peer: PartyId) -> Result<(), Fault> {
        match peer == self.id {
            true => Err(Fault::Closed("a party has no link to itself".into())),
            false => Ok(()),
        }
    }

    /// The next message of `from`, checked against what is expected.
    pub(super) fn recv(&self, from: PartyId, tag: Tag, len: usize) -> Result<Received, NetError> {
        self.receive(from, tag, len).map_err(|error| self.failed(error))
    }

    /// The same in main memory.
    pub(super) fn recv_words(&self, from: PartyId, tag: Tag, len: usize) -> Result<Vec<u64>, NetError> {
        let message = self.recv(from, tag, len)?;
        message.into_host().map_err(|source| self.failed(self.unfetched(from, source)))
    }

    fn receive(&self, from: PartyId, tag: Tag, len: usize) -> Result<Received, NetError> {
        self.check_peer(from).map_err(|fault| self.error(from, fault))?;
        let (begin, deadline) = (monotonic_nanos(), after(Instant::now(), self.options.deadline));
        let popped = self.inbox(from).try_pop().map_or_else(
            || {
                self.ledger().waits(from, tag, len, begin);
                if let Some(waiter) = &self.waiter {
                    waiter.wait(&mut |context| self.inbox(from).poll_stirs(context), deadline);
                }
                self.inbox(from).pop(deadline)
            },
            Ok,
        );
        let popped = match popped {
            Ok(message) if self.ledger().is_recording() => {
                // What is recorded is in main memory.
                let words = message.words.into_host().map_err(|source| self.unfetched(from, source))?;
                Ok(Incoming { words: Payload::new(words).into(), ..message })
            }
            popped => popped,
        };
        self.ledger().returned(from, begin, popped.as_ref().ok());
        let message = popped.map_err(|empty| match empty {
            Empty::Deadline => {
                NetError::Deadline { party: self.id, peer: from, step: self.step(), waited: self.options.deadline }
            }
            Empty::Down(fault) => self.error(from, fault),
        })?;
        if message.tag != tag || message.words.len() != len {
            return Err(NetError::Diverged {
                party: self.id,
                peer: from,
                step: self.step(),
                expected: tag,
                got: message.tag,
                expected_words: len,
                got_words: message.words.len(),
            });
        }
        Ok(message.words)
    }

    /// Waits for room among what is on its way to `to`, which `makes_room` says when there is, for as long as `progress` changes within
    /// each deadline and the link is up; a link where nothing gets on is down from then on.
    pub(super) fn wait_to_send(&self, to: PartyId, makes_room: Stirs<'_>, progress: impl Fn() -> (usize, u64)) {
        let (begin, inbox) = (monotonic_nanos(), self.inbox(to));
        let mut stirs = |context: &mut Context<'_>| match makes_room(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => inbox.poll_down(context),
        };
        let mut before = progress();
        while !self.sleep_until(&mut stirs, after(Instant::now(), self.options.deadline)) {
            let now = progress();
            if now == before {
                let waited = self.options.deadline;
                inbox.close(Fault::Closed(format!(
                    "it took nothing for {waited:?} of {} bytes that were sent to it: is it still running and reachable?",
                    now.0
                )));
            }
            before = now;
        }
        self.ledger().waited_to_send(to, begin);
    }

    /// Whether `stirs` was ready before the deadline.
    fn sleep_until(&self, stirs: Stirs<'_>, deadline: Instant) -> bool {
        if let Some(waiter) = &self.waiter {
            waiter.wait(stirs, deadline);
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        while stirs(&mut Context::from_waker(&waker)).is_pending() {
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            std::thread::park_timeout(deadline - now);
        }
        true
    }

    /// A message of `from` that is there and cannot be fetched.
    fn unfetched(&self, from: PartyId, source: DeviceError) -> NetError {
        NetError::Device { party: self.id, peer: from, step: self.step(), source: Box::new(source) }
    }

    /// Ends both incoming directions at this end.
    pub(super) fn abort(&self, reason: GaveUp) {
        for inbox in &self.inboxes {
            inbox.abort(Fault::gave_up(self.id, reason));
        }
    }

    /// Notes an error that a send or receive is about to return.
    fn failed(&self, error: NetError) -> NetError {
        self.ledger().failed(&error);
        error
    }

    /// `fault`, seen on the link to `peer`, as an error that says who and where.
    fn error(&self, peer: PartyId, fault: Fault) -> NetError {
        let (party, step) = (self.id, self.step());
        match fault {
            Fault::Closed(reason) => NetError::PeerClosed { party, peer, step, reason },
            Fault::BadFrame(detail) => NetError::BadFrame { party, peer, step, detail },
            Fault::TooLarge { bytes, limit } => NetError::TooLarge { party, peer, step, bytes, limit },
        }
    }
}
