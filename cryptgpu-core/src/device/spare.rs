//! Words in main memory, and what becomes of their memory: freed words are kept for the next ones of about the same
//! number, since fresh memory costs more (page faults, zeroing) than what is written to it. Tensors, shapes and messages do
//! not live here.
//!
//! What is kept, with what is in use, is never more than a quarter above the most that was in use at once ([`Store::room`]). So
//! the memory of a process is that of its largest step, and can be stated before it runs. Memory that fits serves first, then
//! larger one, as long as that makes the most no more: a training of LeNet then has next to no fresh memory after its first
//! iteration, where exact fits alone would ask the system for half of all words.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

/// Fewer words than this are left to the allocator. (Keys are fewer, too: none is ever kept.)
const MIN_WORDS: usize = 4 << 10;

/// Of the most that was in use so large a part may be kept beside it.
const KEPT_PART: usize = 4;

static STORE: Mutex<Store> = Mutex::new(Store { free: VecDeque::new(), kept: 0, used: 0, most: [0; 2] });

/// The freed words of this process, all parties in it together. Counts are of words.
struct Store {
    /// From the longest there.
    free: VecDeque<Vec<u64>>,
    /// In `free`.
    kept: usize,
    /// In [`Words`].
    used: usize,
    /// The most that was in use: since the last job ended, and in that job.
    most: [usize; 2],
}

impl Store {
    /// The most that was in use, lately.
    fn most(&self) -> usize {
        self.most[0].max(self.most[1])
    }

    /// How many words may be kept while `used` are in use.
    fn room(&self, used: usize) -> usize {
        let most = self.most().max(used);
        most + most / KEPT_PART - used
    }

    /// Freed words for `len`: as many and at most an eighth more, or the fewest up to four times as many that make the most
    /// no more than it is.
    fn find(&mut self, len: usize) -> Option<Vec<u64>> {
        let larger = (4 * len).min(self.most().saturating_sub(self.used));
        let fewest = |most: usize| {
            let fits = self.free.iter().enumerate().filter(|(_, words)| (len..=most).contains(&words.capacity()));
            fits.min_by_key(|(_, words)| words.capacity()).map(|(at, _)| at)
        };
        let at = fewest(len + len / 8).or_else(|| fewest(larger))?;
        let words = self.free.remove(at)?;
        self.kept -= words.capacity();
        Some(words)
    }

    /// Takes out what there is no room for, the longest there first.
    fn shrink(&mut self, room: usize) -> Vec<Vec<u64>> {
        let mut out = vec![];
        while self.kept > room
            && let Some(words) = self.free.pop_front()
        {
            self.kept -= words.capacity();
            out.push(words);
        }
        out
    }
}

/// `len` words whose content is of no meaning: the caller overwrites all of it.
pub(crate) fn take(len: usize) -> Vec<u64> {
    if len < MIN_WORDS {
        return vec![0; len];
    }
    let mut store = STORE.lock();
    let found = store.find(len);
    let room = store.room(store.used + len);
    let unneeded = if found.is_none() { store.shrink(room) } else { vec![] };
    drop(store);
    drop(unneeded);
    match found {
        Some(mut words) => {
            words.resize(len, 0);
            words
        }
        None => vec![0; len],
    }
}

/// Keeps words that are needed no more, if there is room.
pub(crate) fn put(words: Vec<u64>) {
    let len = words.capacity();
    if len < MIN_WORDS {
        return;
    }
    let mut store = STORE.lock();
    store.kept += len;
    store.free.push_back(words);
    let room = store.room(store.used);
    let unneeded = store.shrink(room);
    drop(store);
    drop(unneeded);
}

/// A job has ended: what was needed before it counts no more. Memory beyond what it needed goes back to the system.
pub(crate) fn end_job() {
    let mut store = STORE.lock();
    store.most = [store.used, store.most[0]];
    let room = store.room(store.used);
    let unneeded = store.shrink(room);
    drop(store);
    drop(unneeded);
}

/// Bytes that are kept at most beside so many in use.
pub(crate) fn kept_beside(bytes: u64) -> u64 {
    bytes / KEPT_PART as u64
}

/// Words in use, whose memory is kept when they are dropped.
#[derive(Default)]
pub struct Words(Vec<u64>);

impl Words {
    /// Words that have come from elsewhere.
    pub(crate) fn new(words: Vec<u64>) -> Self {
        if words.capacity() >= MIN_WORDS {
            let mut store = STORE.lock();
            store.used += words.capacity();
            store.most[0] = store.most[0].max(store.used);
        }
        Words(words)
    }

    /// `len` words whose content is of no meaning: the caller overwrites all of it.
    pub(crate) fn scratch(len: usize) -> Self {
        Words::new(take(len))
    }

    /// A copy of `words`.
    pub(crate) fn copy_of(words: &[u64]) -> Self {
        Words::new(copy(words))
    }

    /// The words, for elsewhere.
    pub(crate) fn into_vec(mut self) -> Vec<u64> {
        self.leave()
    }

    fn leave(&mut self) -> Vec<u64> {
        let words = std::mem::take(&mut self.0);
        if words.capacity() >= MIN_WORDS {
            STORE.lock().used -= words.capacity();
        }
        words
    }
}

/// A copy of `words` in freed memory.
pub(crate) fn copy(words: &[u64]) -> Vec<u64> {
    let mut copy = take(words.len());
    copy.copy_from_slice(words);
    copy
}

impl Clone for Words {
    fn clone(&self) -> Self {
        Words::copy_of(self)
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        put(self.leave());
    }
}

impl Deref for Words {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}
