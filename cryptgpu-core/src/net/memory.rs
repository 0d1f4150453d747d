//! Links within one process: for tests, and for three parties on three threads. They have the
//! deadlines, checks and counts of real ones, and an [`Interceptor`] may look into them.
//!
//! A message is a vector or a device's buffer that is handed over. Parties on one card use the card's one stream of kernels, so a
//! buffer may go before its words are there: what its receiver asks of the card comes behind what writes them
//! (`docs/adr/0061-messages-between-cards.md`).

use super::endpoint::{Endpoint, Reach};
use super::frame::{HEADER_BYTES, Header, checksum};
use super::inbox::{Fault, Inbox, Incoming};
use super::intercept::{Interceptor, Message, Verdict};
use super::payload::{Outgoing, Payload, Received, Unsent};
use super::shaped::Shaper;
use super::{GaveUp, NetError, Network, Options, PartyId, Tag, after};
use crate::device::Device;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Three parties, linked with each other.
///
/// ```
/// use cryptgpu_core::net::{Network, Options, Tag, memory};
///
/// let [p0, p1, _p2] = memory::trio(Options::default());
/// let tag = Tag { position: 0, kind: 7 };
/// p0.send(p1.id(), tag, vec![1, 2, 3])?;
/// assert_eq!(p1.recv(p0.id(), tag, 3)?, [1, 2, 3]);
/// assert_eq!(p0.endpoint().stats().payload_bytes(), 24);
/// assert_eq!(p1.endpoint().stats().rounds, 1);
/// # Ok::<(), cryptgpu_core::net::NetError>(())
/// ```
pub fn trio(options: Options) -> [MemoryNetwork; 3] {
    trio_with(options, None)
}

/// Three parties whose messages pass `interceptor`.
pub fn trio_with(options: Options, interceptor: Option<Interceptor>) -> [MemoryNetwork; 3] {
    let ends = PartyId::ALL.map(|id| Arc::new(Endpoint::new(id, options.clone(), Reach::ThisProcess)));
    PartyId::ALL.map(|id| MemoryNetwork {
        end: ends[id.index()].clone(),
        outlets: PartyId::ALL.map(|to| Mutex::new(Outlet::new(id, to, ends[to.index()].inbox(id).clone(), &options))),
        interceptor: interceptor.clone(),
    })
}

/// A party's end of in-memory links. Dropping it closes them; its peers still get what it sent.
#[derive(Debug)]
pub struct MemoryNetwork {
    end: Arc<Endpoint>,
    /// By the receiver's index.
    outlets: [Mutex<Outlet>; 3],
    interceptor: Option<Interceptor>,
}

/// A frame on its way.
#[derive(Clone, Debug)]
struct Frame {
    header: Header,
    words: Payload,
    delay: Duration,
}

/// One direction of a link: numbers what it is given, and checks what comes out for the receiver.
#[derive(Debug)]
struct Outlet {
    from: PartyId,
    to: PartyId,
    inbox: Arc<Inbox>,
    shaper: Shaper,
    max_bytes: u64,
    next_sequence: u64,
    expected_sequence: u64,
    overtaken: Option<Frame>,
}

impl MemoryNetwork {
    fn outlet(&self, to: PartyId) -> MutexGuard<'_, Outlet> {
        self.outlets[to.index()].lock()
    }
}

impl Outlet {
    fn new(from: PartyId, to: PartyId, inbox: Arc<Inbox>, options: &Options) -> Self {
        let (shaper, max_bytes) = (Shaper::new(options.link), options.max_message_bytes);
        Outlet { from, to, inbox, shaper, max_bytes, next_sequence: 0, expected_sequence: 0, overtaken: None }
    }

    /// Gives a message its number.
    fn number(&mut self, header: Header) -> Header {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Header { sequence, ..header }
    }

    /// Sends a message on its way.
    fn post(&mut self, interceptor: Option<&Interceptor>, header: Header, words: Vec<u64>) {
        let header = self.number(header);
        match interceptor {
            Some(interceptor) => self.intercept(interceptor, header, words),
            None => self.deliver(header, Payload::new(words).into(), Duration::ZERO),
        }
    }

    /// Hands a message to the receiver, its header checked as on a real link.
    fn deliver(&mut self, header: Header, words: Received, delay: Duration) {
        if let Err(fault) = header.admit(self.expected_sequence, self.max_bytes) {
            self.inbox.close(fault);
            return;
        }
        self.expected_sequence += 1;
        let start = after(Instant::now(), delay);
        let shaped = self.shaper.deliver(start, (HEADER_BYTES + 8 * words.len()) as u64);
        let ready = shaped.or((!delay.is_zero()).then_some(start));
        self.inbox.push(Incoming { tag: header.tag, rounds: header.rounds, words, ready });
    }

    /// Hands over a frame that has been in other hands: its payload is checked too.
    fn deliver_verified(&mut self, Frame { header, words, delay }: Frame) {
        match header.admit(self.expected_sequence, self.max_bytes).and_then(|()| header.verify(&words)) {
            Ok(()) => self.deliver(header, words.into(), delay),
            Err(fault) => self.inbox.close(fault),
        }
    }

    /// Lets `interceptor` decide what becomes of a frame.
    fn intercept(&mut self, interceptor: &Interceptor, mut header: Header, words: Vec<u64>) {
        header.payload_crc = checksum(&words);
        let (from, to, sequence, tag) = (self.from, self.to, header.sequence, header.tag);
        let mut message = Message { from, to, sequence, tag, words };
        let verdict = interceptor.judge(&mut message);
        header.tag = message.tag;
        let mut frame = Frame { header, words: Payload::new(message.words), delay: Duration::ZERO };
        let earlier = self.overtaken.take();
        match verdict {
            Verdict::Pass => self.deliver_verified(frame),
            Verdict::Drop => {}
            Verdict::Duplicate => {
                self.deliver_verified(frame.clone());
                self.deliver_verified(frame);
            }
            Verdict::Delay(delay) => {
                frame.delay = delay;
                self.deliver_verified(frame);
            }
            Verdict::Overtaken => self.overtaken = Some(frame),
        }
        if let Some(earlier) = earlier {
            self.deliver_verified(earlier);
        }
    }
}

impl Network for MemoryNetwork {
    fn endpoint(&self) -> &Endpoint {
        &self.end
    }

    fn send(&self, to: PartyId, tag: Tag, words: Vec<u64>) -> Result<(), NetError> {
        let interceptor = self.interceptor.as_ref();
        self.end.send(to, tag, words.len(), |header| self.outlet(to).post(interceptor, header, words))
    }

    fn send_from(&self, to: PartyId, tag: Tag, message: Outgoing<'_>) -> Result<(), Unsent> {
        // Whoever looks into messages does so in main memory.
        if message.device() == Device::Cpu || self.interceptor.is_some() {
            return Ok(self.send(to, tag, message.into_host()?)?);
        }
        let buffer = message.into_buffer()?;
        let sent = self.end.send(to, tag, buffer.len(), |header| {
            let mut outlet = self.outlet(to);
            let header = outlet.number(header);
            outlet.deliver(header, buffer.into(), Duration::ZERO);
        });
        Ok(sent?)
    }

    fn abort(&self, reason: GaveUp) {
        self.end.abort(reason);
        for peer in [self.id().next(), self.id().prev()] {
            self.outlet(peer).inbox.abort(Fault::gave_up(self.id(), reason));
        }
    }
}

impl Drop for MemoryNetwork {
    fn drop(&mut self) {
        for peer in [self.id().next(), self.id().prev()] {
            self.outlet(peer).inbox.close(Fault::Closed(format!("party {} has ended", self.id())));
        }
    }
}
