//! Messages from card to card. A sender on a card has a mailbox there for each peer that is on one too: memory that the peer has
//! opened through the driver. A message is copied into it, the sender waits until it is there, and sends a frame that says where;
//! the receiver copies it to a buffer of its own, and publishes how far it has emptied the mailbox once its copies have been made.
//! A mailbox is a ring like that of main memory: places count words ever put in. A message for which there is no room goes through
//! main memory, so sending never waits for the receiver.
//!
//! **Nothing that the peer writes is trusted.** The receiver checks that a message lies within the mailbox, behind the one before,
//! and copies it before it uses it. The sender takes a note that cannot be for a full mailbox: what it could spoil is what it
//! sends there.

use super::super::inbox::Fault;
use super::super::payload::{Letter, Letters};
use super::super::stream::Stream;
use super::super::{Outgoing, PartyId};
use super::memory::Memory;
use super::ring::{MAILBOX_CLOSED, MAILBOX_EMPTIED};
use crate::device::mailbox::{HANDLE_BYTES, Mailbox, OpenMailbox};
use crate::device::{Buffer, Device, DeviceError};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Words of a mailbox, 16 MiB: several messages of any layer of ResNet-50 on one image. What is larger passes through main memory.
const WORDS: usize = 2 << 20;

/// Messages begin at multiples of so many words, as the card's memory likes it.
const ALIGNED: u64 = 32;

/// Words at a mailbox's start by which its receiver knows that it has opened the right memory, before the first message.
const PROBE: usize = 4;

/// Bytes of an offer: how many words there are, none where there is no mailbox, and the handle.
const OFFER_BYTES: usize = 8 + HANDLE_BYTES;

/// Where a message of `len` words goes, in one piece, in a ring of `capacity` into which so many were `put`, of which so many are said
/// to have been `emptied`; none where there is no room, or where that cannot be.
fn place(capacity: u64, put: u64, emptied: u64, len: u64) -> Option<u64> {
    let start = put.next_multiple_of(ALIGNED);
    let start = if start % capacity + len > capacity { start.next_multiple_of(capacity) } else { start };
    (emptied <= put && start + len - emptied <= capacity).then_some(start)
}

/// Where a message of `len` words that is said to begin at `start` ends; none where that cannot be, in a ring of `capacity` of which so
/// many words `came` before.
fn end(capacity: u64, came: u64, start: u64, len: u64) -> Option<u64> {
    let follows = (came..=came.saturating_add(capacity)).contains(&start);
    let fits = len <= capacity && start % capacity <= capacity - len;
    (follows && fits).then_some(start)?.checked_add(len)
}

/// What the probe of a connection is. It is no secret, and differs between mailboxes.
fn probe(session: &[u8; 16], from: PartyId, to: PartyId) -> [u64; PROBE] {
    let parties = [from.into(), to.into()];
    let digest = Sha256::new().chain_update(b"cryptgpu mailbox").chain_update(session).chain_update(parties).finalize();
    let (words, _) = digest.as_chunks::<8>();
    std::array::from_fn(|index| u64::from_le_bytes(words[index]))
}

/// The sending end.
#[derive(Debug)]
pub(super) struct Outbox {
    mailbox: Mailbox,
    /// Where the receiver says how far it has come.
    memory: Arc<Memory>,
    capacity: u64,
    /// Words that were put in, ever.
    put: u64,
}

impl Outbox {
    /// Offers a mailbox to the peer that a connection leads to; none where either end has none.
    pub(super) async fn offer(
        mailbox: Option<Mailbox>,
        memory: &Arc<Memory>,
        stream: &mut Box<dyn Stream>,
    ) -> io::Result<Option<Self>> {
        let mut offer = [0; OFFER_BYTES];
        if let Some(mailbox) = &mailbox {
            offer[..8].copy_from_slice(&(WORDS as u64).to_le_bytes());
            offer[8..].copy_from_slice(&mailbox.handle());
        }
        stream.write_all(&offer).await?;
        stream.flush().await?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await?;
        let opened = answer != [0; 8];
        Ok(mailbox.and_then(|mailbox| {
            if opened {
                return Some(Outbox { mailbox, memory: memory.clone(), capacity: WORDS as u64, put: 0 });
            }
            mailbox.free();
            None
        }))
    }

    /// Copies a message into the mailbox, and waits until it is there; its place, or none where there is no room now. It counts
    /// as put in once it was [`Outbox::sent`].
    pub(super) fn put(&self, message: &Outgoing<'_>) -> Result<Option<u64>, DeviceError> {
        if message.device() != self.mailbox.device() {
            return Ok(None);
        }
        let emptied = self.memory.words()[MAILBOX_EMPTIED].load(Ordering::Acquire);
        let Some(start) = place(self.capacity, self.put, emptied, message.len() as u64) else { return Ok(None) };
        self.mailbox.put((start % self.capacity) as usize, message.view())?;
        Ok(Some(start))
    }

    /// A message that was put at `start` has been sent.
    pub(super) fn sent(&mut self, start: u64, len: usize) {
        self.put = start + len as u64;
    }

    /// Whether the receiver has given the mailbox up.
    pub(super) fn is_closed(&self) -> bool {
        self.memory.words()[MAILBOX_CLOSED].load(Ordering::Acquire) != 0
    }

    /// Zeroes the mailbox and returns it. The receiver must have given it up, or be gone.
    pub(super) fn free(self) {
        self.mailbox.free();
    }
}

/// A mailbox for a peer, which begins with the probe. None on the CPU, and where there can be none: the log says why.
pub(super) fn mailbox(device: Device, session: &[u8; 16], [from, to]: [PartyId; 2]) -> Option<Mailbox> {
    if device == Device::Cpu {
        return None;
    }
    let filled = Mailbox::create(device, WORDS).and_then(|mailbox| {
        let probe = device.upload(probe(session, from, to).to_vec());
        match mailbox.put(0, probe.view()) {
            Ok(()) => Ok(mailbox),
            Err(error) => {
                mailbox.free();
                Err(error)
            }
        }
    });
    filled.map_err(|error| unmailed([from, to], &error)).ok()
}

/// Says why messages from one party to another do not stay on cards.
fn unmailed([from, to]: [PartyId; 2], reason: &DeviceError) {
    eprintln!("messages of party {from} to party {to} pass through main memory: {reason}");
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct Letterbox {
    device: Device,
    memory: Arc<Memory>,
    capacity: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None once it was given up.
    mailbox: Option<OpenMailbox>,
    /// Words that have come, ever: where the next message may begin.
    came: u64,
    /// The copies that may still be under way: the turn of each, and where it ends.
    under_way: VecDeque<(u64, u64)>,
}

impl Letterbox {
    /// Hears what the peer at the other end offers, and opens it where that can be.
    pub(super) async fn hear(
        device: Device,
        session: &[u8; 16],
        [from, to]: [PartyId; 2],
        memory: &Arc<Memory>,
        stream: &mut Box<dyn Stream>,
    ) -> io::Result<Option<Arc<Self>>> {
        let mut offer = [0; OFFER_BYTES];
        stream.read_exact(&mut offer).await?;
        let (words, handle) = offer.split_at(8);
        let offered = words == (WORDS as u64).to_le_bytes();
        let mut opened = None;
        if offered && device != Device::Cpu {
            match open(device, handle, &probe(session, from, to)) {
                Ok(mailbox) => opened = Some(mailbox),
                Err(error) => unmailed([from, to], &error),
            }
        }
        stream.write_all(&u64::from(opened.is_some()).to_le_bytes()).await?;
        stream.flush().await?;
        let state = |mailbox| State { mailbox: Some(mailbox), came: 0, under_way: VecDeque::new() };
        Ok(opened.map(|mailbox| {
            Arc::new(Letterbox {
                device,
                memory: memory.clone(),
                capacity: WORDS as u64,
                state: Mutex::new(state(mailbox)),
            })
        }))
    }

    /// Publishes how far the mailbox is known to have been emptied.
    pub(super) fn publish(&self) {
        let mut state = self.state.lock();
        let State { mailbox: Some(mailbox), under_way, .. } = &mut *state else { return };
        let mut emptied = None;
        while let Some((_, end)) = under_way.pop_front_if(|(turn, _)| mailbox.is_over(*turn)) {
            emptied = Some(end);
        }
        if let Some(emptied) = emptied {
            self.memory.words()[MAILBOX_EMPTIED].store(emptied, Ordering::Release);
        }
    }

    /// Gives the mailbox up: what is in it nobody will take.
    pub(super) fn close(&self) {
        let taken = self.state.lock().mailbox.take();
        if let Some(mailbox) = taken {
            mailbox.close();
            self.memory.words()[MAILBOX_CLOSED].store(1, Ordering::Release);
        }
    }
}

impl Letters for Letterbox {
    fn came(self: Arc<Self>, start: u64, len: usize) -> Result<Letter, Fault> {
        let mut state = self.state.lock();
        let came = state.came;
        let Some(end) = end(self.capacity, came, start, len as u64) else {
            let detail =
                format!("{len} words at {start} of a mailbox, of which it has put in {came}: it sends nonsense");
            return Err(Fault::BadFrame(detail));
        };
        state.came = end;
        drop(state);
        Ok(Letter::new(self, start, len))
    }

    fn take(&self, start: u64, len: usize) -> Result<Buffer, DeviceError> {
        let mut state = self.state.lock();
        let State { mailbox: Some(mailbox), under_way, .. } = &mut *state else {
            let reason = "its links have ended".to_owned();
            return Err(DeviceError::Mailbox { device: self.device, reason });
        };
        let (buffer, turn) = mailbox.take((start % self.capacity) as usize, len);
        under_way.push_back((turn, start + len as u64));
        Ok(buffer)
    }
}

/// Opens a mailbox, if it is the one that is meant.
fn open(device: Device, handle: &[u8], probe: &[u64; PROBE]) -> Result<OpenMailbox, DeviceError> {
    let none = |reason: &str| DeviceError::Mailbox { device, reason: reason.to_owned() };
    let handle = handle.try_into().map_err(|_| none("no handle came"))?;
    let mailbox = OpenMailbox::open(device, handle, WORDS)?;
    let found = mailbox.take(0, PROBE).0.into_host();
    match found {
        Ok(found) if found == probe => Ok(mailbox),
        Ok(_) => {
            mailbox.close();
            Err(none("it leads to other memory than the sender's"))
        }
        Err(error) => {
            mailbox.close();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A receiver without a card: what it checks comes before it uses one.
    fn receiver(came: u64) -> Arc<Letterbox> {
        let (memory, _) = Memory::create(super::super::ring::WORDS).unwrap();
        let state = Mutex::new(State { mailbox: None, came, under_way: VecDeque::new() });
        Arc::new(Letterbox { device: Device::Cpu, memory: Arc::new(memory), capacity: WORDS as u64, state })
    }

    #[test]
    fn a_message_outside_of_the_mailbox_or_before_its_turn_is_refused() {
        let capacity = WORDS as u64;
        let nonsense = [
            (0, capacity - 1, 2),
            (0, capacity + 1, 1),
            (0, 0, WORDS + 1),
            (64, 32, 1),
            (64, 0, 1),
            (0, u64::MAX, 1),
            (u64::MAX, u64::MAX, 1),
            (0, 0, usize::MAX),
        ];
        for (came, start, len) in nonsense {
            let fault = receiver(came).came(start, len).unwrap_err();
            assert!(matches!(fault, Fault::BadFrame(_)), "{came}, {start}, {len}: {fault:?}");
        }
        let letterbox = receiver(0);
        letterbox.clone().came(0, WORDS).unwrap();
        assert!(letterbox.clone().came(0, 1).is_err(), "it has come");
        letterbox.clone().came(capacity, 5).unwrap();
        assert!(letterbox.take(capacity, 5).is_err(), "it was given up");
    }

    proptest! {
        #[test]
        fn what_a_receiver_says_leads_nowhere(put in 0..1u64 << 40, emptied in any::<u64>(), len in 1..2048u64) {
            if let Some(start) = place(1024, put, emptied, len) {
                prop_assert!(emptied <= put && put <= start && start % 1024 + len <= 1024);
            }
        }

        /// Messages in a ring lie within it, in one piece, on no message that has not been taken, and where the receiver
        /// takes them.
        #[test]
        fn messages_lie_in_one_piece_and_apart(lens in proptest::collection::vec(1..500u64, 1..100)) {
            let (capacity, mut put, mut emptied) = (1024, 0, 0);
            let mut kept: VecDeque<(u64, u64)> = VecDeque::new();
            for len in lens {
                let start = loop {
                    match place(capacity, put, emptied, len) {
                        Some(start) => break start,
                        // The receiver takes the oldest.
                        None => emptied = kept.pop_front().unwrap().1,
                    }
                };
                prop_assert_eq!(end(capacity, put, start, len), Some(start + len));
                prop_assert!(start.is_multiple_of(ALIGNED));
                let words = |(start, end): (u64, u64)| (start..end).map(|at| at % capacity).collect::<Vec<_>>();
                let mine = words((start, start + len));
                for &other in &kept {
                    prop_assert!(words(other).iter().all(|at| !mine.contains(at)));
                }
                put = start + len;
                kept.push_back((start, put));
            }
        }
    }
}
