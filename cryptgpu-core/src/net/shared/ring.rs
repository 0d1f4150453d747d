//! One direction of a connection: a ring of words in shared memory, which one process fills and the other empties, each
//! at its own pace. A process keeps its own place in the ring to itself and only publishes it; what the other publishes is
//! checked before it is used, so that nothing which another process writes leads beyond the ring.
//!
//! Whoever finds nothing to do says so in the ring before it sleeps, and whoever changes that learns that it is to ring.

use super::memory::Memory;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Words of a cache line.
const LINE: usize = 8;

/// Words before the rings, a page: where each ring begins and ends, and who waits, on a line each.
const CONTROL: usize = 512;

/// Words on which the receiver of a mailbox says how far it has emptied it, and that it has given it up (`mailbox.rs`).
pub(super) const MAILBOX_EMPTIED: usize = 128;
pub(super) const MAILBOX_CLOSED: usize = MAILBOX_EMPTIED + LINE;

/// Words of the ring of messages. It stays in the cache of the cores that share it.
pub(super) const RING: usize = 1 << 17;

/// Words of the ring of the way back: greetings and acknowledgements.
pub(super) const BACK: usize = 512;

/// Words of the memory of a connection.
pub(super) const WORDS: usize = CONTROL + RING + BACK;

/// So many words at most are copied before the other process learns of them: it copies them while the next are copied.
pub(super) const PIECE: usize = 1 << 14;

/// So many words at most, which may be a key's, are wiped where they lay when they have been taken out: to wipe long ones
/// would cost as much as a copy.
const WIPED: usize = 64;

/// A ring and what is published about it.
#[derive(Clone, Debug)]
struct Ring {
    memory: Arc<Memory>,
    control: usize,
    data: Range<usize>,
}

/// What is published about a ring.
#[derive(Clone, Copy)]
enum Note {
    /// Words that were put in, ever.
    Put = 0,
    /// Words that were taken out, ever.
    Taken = 1,
    /// Whether the taking process sleeps until something is put in.
    TakerSleeps = 2,
    /// Whether the putting process sleeps until something is taken out.
    PutterSleeps = 3,
}

impl Ring {
    /// Ring 0 carries messages from whoever connects, ring 1 what comes back.
    fn new(memory: &Arc<Memory>, number: usize) -> Self {
        let data = [CONTROL..CONTROL + RING, CONTROL + RING..WORDS][number].clone();
        Ring { memory: memory.clone(), control: number * 4 * LINE, data }
    }

    fn note(&self, note: Note) -> &AtomicU64 {
        &self.memory.words()[self.control + note as usize * LINE]
    }

    fn data(&self) -> &[AtomicU64] {
        &self.memory.words()[self.data.clone()]
    }

    /// How many words are in the ring, where that many can be.
    fn filled(&self, put: u64, taken: u64) -> io::Result<usize> {
        let filled = put.wrapping_sub(taken);
        match filled <= self.data.len() as u64 {
            true => Ok(filled as usize),
            false => Err(nonsense(&format!("a ring of {} words that is said to hold {filled}", self.data.len()))),
        }
    }

    /// The ring from a place on, `words` of them, in the two parts in which they lie.
    fn parts(&self, place: u64, words: usize) -> [&[AtomicU64]; 2] {
        let data = self.data();
        let at = (place % data.len() as u64) as usize;
        let first = words.min(data.len() - at);
        [&data[at..at + first], &data[..words - first]]
    }

    /// Tells the other process that it need not sleep any more; whether it slept.
    fn wakes(&self, sleeper: Note) -> bool {
        // What was published before must be seen by a process whose note is not seen here.
        fence(Ordering::SeqCst);
        let sleeper = self.note(sleeper);
        sleeper.load(Ordering::Relaxed) != 0 && sleeper.swap(0, Ordering::Relaxed) != 0
    }

    /// Says that this process is about to sleep: it must look once more before it does.
    fn sleeps(&self, sleeper: Note) {
        self.note(sleeper).store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

/// The end at which words are put in.
#[derive(Debug)]
pub(super) struct Putter {
    ring: Ring,
    put: u64,
}

/// The end at which words are taken out.
#[derive(Debug)]
pub(super) struct Taker {
    ring: Ring,
    taken: u64,
}

/// The ends of the process that connects, and sends.
pub(super) fn sending_ends(memory: &Arc<Memory>) -> (Putter, Taker) {
    (Putter { ring: Ring::new(memory, 0), put: 0 }, Taker { ring: Ring::new(memory, 1), taken: 0 })
}

/// The ends of the process that is connected to, and receives.
pub(super) fn receiving_ends(memory: &Arc<Memory>) -> (Putter, Taker) {
    (Putter { ring: Ring::new(memory, 1), put: 0 }, Taker { ring: Ring::new(memory, 0), taken: 0 })
}

impl Putter {
    /// Copies as many words of `bytes` as a piece has and there is room for: how many bytes, and whether the other process
    /// sleeps, and is to be woken.
    ///
    /// # Errors
    /// When the other process has published a place that cannot be.
    pub(super) fn put(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<(usize, bool)> {
        let taken = self.ring.note(Note::Taken).load(Ordering::Acquire);
        let mut room = (self.ring.data.len() - self.ring.filled(self.put, taken)?).min(PIECE);
        let mut words = 0;
        for slice in bytes {
            let (slice, rest) = slice.as_chunks::<8>();
            let slice = &slice[..slice.len().min(room)];
            let [first, second] = self.ring.parts(self.put.wrapping_add(words as u64), slice.len());
            let (one, two) = slice.split_at(first.len());
            write(first, one);
            write(second, two);
            words += slice.len();
            room -= slice.len();
            if room == 0 || !rest.is_empty() {
                break;
            }
        }
        if words == 0 {
            return Ok((0, false));
        }
        self.put = self.put.wrapping_add(words as u64);
        self.ring.note(Note::Put).store(self.put, Ordering::Release);
        Ok((8 * words, self.ring.wakes(Note::TakerSleeps)))
    }

    /// Says that this process sleeps until there is room; false if there is some.
    pub(super) fn sleeps(&self) -> io::Result<bool> {
        self.ring.sleeps(Note::PutterSleeps);
        let taken = self.ring.note(Note::Taken).load(Ordering::Acquire);
        Ok(self.ring.filled(self.put, taken)? == self.ring.data.len())
    }
}

impl Taker {
    /// Copies what there is, up to a piece, to the words of `bytes`: how many bytes, and whether the other process sleeps,
    /// and is to be woken.
    ///
    /// # Errors
    /// When the other process has published a place that cannot be.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> io::Result<(usize, bool)> {
        let put = self.ring.note(Note::Put).load(Ordering::Acquire);
        let filled = self.ring.filled(put, self.taken)?;
        let (out, _) = bytes.as_chunks_mut::<8>();
        let words = filled.min(out.len()).min(PIECE);
        if words == 0 {
            return Ok((0, false));
        }
        let [first, second] = self.ring.parts(self.taken, words);
        let (one, two) = out[..words].split_at_mut(first.len());
        read(one, first);
        read(two, second);
        if words <= WIPED {
            first.iter().chain(second).for_each(|slot| slot.store(0, Ordering::Relaxed));
        }
        self.taken = self.taken.wrapping_add(words as u64);
        self.ring.note(Note::Taken).store(self.taken, Ordering::Release);
        // A sleeper is woken for as much as is worth it: the ring is emptied further in any case.
        let wakes = 2 * (filled - words) <= self.ring.data.len() && self.ring.wakes(Note::PutterSleeps);
        Ok((8 * words, wakes))
    }

    /// Says that this process sleeps until something is there; false if there is something.
    pub(super) fn sleeps(&self) -> io::Result<bool> {
        self.ring.sleeps(Note::TakerSleeps);
        let put = self.ring.note(Note::Put).load(Ordering::Acquire);
        Ok(self.ring.filled(put, self.taken)? == 0)
    }
}

fn write(ring: &[AtomicU64], words: &[[u8; 8]]) {
    ring.iter().zip(words).for_each(|(slot, word)| slot.store(u64::from_ne_bytes(*word), Ordering::Relaxed));
}

fn read(words: &mut [[u8; 8]], ring: &[AtomicU64]) {
    words.iter_mut().zip(ring).for_each(|(word, slot)| *word = slot.load(Ordering::Relaxed).to_ne_bytes());
}

/// The other process has written what no honest one writes.
fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} in the shared memory"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends() -> (Arc<Memory>, Putter, Taker) {
        let (memory, _) = Memory::create(WORDS).unwrap();
        let memory = Arc::new(memory);
        let ((putter, _), (_, taker)) = (sending_ends(&memory), receiving_ends(&memory));
        (memory, putter, taker)
    }

    fn bytes(words: Range<u64>) -> Vec<u8> {
        words.flat_map(u64::to_ne_bytes).collect()
    }

    #[test]
    fn what_is_put_in_comes_out_in_order_around_the_ring() {
        let (_memory, mut putter, mut taker) = ends();
        let (mut put, mut taken) = (0u64, 0u64);
        // Sizes that are no divisors of the ring's, for several rounds of it.
        for turn in 0..400u64 {
            let message = bytes(put..put + 1000 + 37 * (turn % 11));
            let (wrote, _) = putter.put(&[IoSlice::new(&message[..40]), IoSlice::new(&message[40..])]).unwrap();
            assert_eq!(wrote, message.len());
            put += wrote as u64 / 8;
            let mut out = vec![0; 8 * 1500];
            let (read, _) = taker.take(&mut out).unwrap();
            assert_eq!(out[..read], bytes(taken..taken + read as u64 / 8));
            taken += read as u64 / 8;
        }
        assert!(put > 3 * RING as u64 && put == taken);
    }

    #[test]
    fn a_full_ring_takes_no_more_and_an_empty_one_gives_none() {
        let (_memory, mut putter, mut taker) = ends();
        let all = bytes(0..2 * RING as u64);
        let mut wrote = 0;
        while let (more @ 1.., _) = putter.put(&[IoSlice::new(&all[wrote..])]).unwrap() {
            assert!(more <= 8 * PIECE);
            wrote += more;
        }
        assert_eq!(wrote, 8 * RING);
        assert!(putter.sleeps().unwrap(), "there is no room");
        let mut out = vec![0; 8 * RING];
        let mut read = 0;
        let mut woke_at = None;
        while let (more @ 1.., wakes) = taker.take(&mut out[read..]).unwrap() {
            read += more;
            woke_at = woke_at.or(wakes.then_some(read));
        }
        assert_eq!((read, out), (8 * RING, all[..8 * RING].to_vec()));
        assert_eq!(woke_at, Some(4 * RING), "once half of the ring is free, and once");
        assert!(taker.sleeps().unwrap() && !putter.sleeps().unwrap());
        assert_eq!(putter.put(&[IoSlice::new(&all[..8])]).unwrap(), (8, true), "the sleeper is woken");
        assert_eq!(putter.put(&[IoSlice::new(&all[..8])]).unwrap(), (8, false), "and once");
        assert!(!taker.sleeps().unwrap(), "something is there");
    }

    #[test]
    fn what_may_be_a_key_stays_in_no_ring() {
        let (memory, mut putter, mut taker) = ends();
        for turn in 0..3000u64 {
            let key = bytes(turn + 1..turn + 65);
            putter.put(&[IoSlice::new(&key)]).unwrap();
            taker.take(&mut [0; 512]).unwrap();
        }
        assert!(memory.words()[CONTROL..].iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    proptest! {
        /// Whatever the other process writes, and wherever: an error or some words, never more than there is room for.
        #[test]
        fn nothing_that_the_other_process_writes_leads_beyond_the_ring(
            scribbles in proptest::collection::vec((0..64usize, any::<u64>()), 1..20), honest in 0..3000u64,
        ) {
            let (memory, mut putter, mut taker) = ends();
            let message = bytes(0..honest);
            putter.put(&[IoSlice::new(&message)]).unwrap();
            for (at, word) in scribbles {
                memory.words()[at].store(word, Ordering::Relaxed);
                let mut out = vec![0; 4096];
                if let Ok((read, _)) = taker.take(&mut out) {
                    prop_assert!(read <= out.len());
                }
                if let Ok((wrote, _)) = putter.put(&[IoSlice::new(&message)]) {
                    prop_assert!(wrote <= message.len());
                }
                let _ = (taker.sleeps(), putter.sleeps());
            }
        }
    }
}
