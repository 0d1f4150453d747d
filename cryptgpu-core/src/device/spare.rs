//! Words in main memory, and what becomes of their memory: freed words are kept for the next ones of about the same
//! number, since fresh memory costs more (page faults, zeroing) than what is written to it. Tensors, shapes and messages do
//! not live here.
//!
//! What is kept, with what is in use, is never more than half above the most that was in use at once ([`Store::room`]). So
//! the memory of a process is that of its largest step, and can be stated before it runs. Memory that fits serves first, then
//! larger one, as long as that makes the most no more, then one to which pages are added or from which they are taken. Nothing
//! that is used again is zeroed.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut, RangeInclusive};

/// Fewer words than this are left to the allocator. (Keys are fewer, too: none is ever kept.)
const MIN_WORDS: usize = 4 << 10;

/// As many words are mapped by themselves (`own_process::return_large_memory`): the allocator adds to them, and takes from them, by
/// pages.
const MOVED_WORDS: usize = 32 << 10;

/// As many words, of 4 MiB, have a large page of 2 MiB among them.
const HUGE_WORDS: usize = 512 << 10;

/// Bytes of a page, at most.
const PAGE: usize = 64 << 10;

/// Of the most that was in use so large a part may be kept beside it.
const KEPT_PART: usize = 2;

/// Of the most that was in use so large a part is kept beside it when a training's memory is at its peak, about: from a fifth
/// (VGG-16) to three fifths with what is on its way (LeNet).
const USUAL_PART: u64 = 3;

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

    /// Freed words for `len`, of which some may have to be added or given back ([`fitted`]): as many and at most an eighth more,
    /// or the fewest up to twice as many that make the most no more than it is; or, where pages can be moved, twice as many at
    /// most, or half as many at least. Of equally many those that were freed last: a processor's caches may hold them.
    fn find(&mut self, len: usize) -> Option<Vec<u64>> {
        let larger = (2 * len).min(self.most().saturating_sub(self.used));
        let of = |range: RangeInclusive<usize>| {
            let fits = self.free.iter().enumerate().rev().filter(move |(_, words)| range.contains(&words.capacity()));
            fits.map(|(at, words)| (at, words.capacity()))
        };
        let fewest = |most: usize| of(len..=most).min_by_key(|(_, words)| *words);
        let at = fewest(len + len / 8).or_else(|| fewest(larger));
        let moved = || fewest(2 * len).or_else(|| of(len.div_ceil(2)..=len).max_by_key(|(_, words)| *words));
        let (at, _) = at.or_else(|| moved().filter(|_| len >= MOVED_WORDS))?;
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

/// At least `len` words whose content is of no meaning.
fn take(len: usize) -> Vec<u64> {
    if len < MIN_WORDS {
        return vec![0; len];
    }
    let mut store = STORE.lock();
    let found = store.find(len);
    let most = store.most().saturating_sub(store.used);
    let room = store.room(store.used + len);
    let unneeded = if found.is_none() { store.shrink(room) } else { vec![] };
    drop(store);
    drop(unneeded);
    match found {
        Some(words) => fitted(words, len, most),
        None => fresh(len),
    }
}

/// Freed words as at least `len`, and not many more where that would be more than `most`. The allocator moves pages to do so,
/// and copies nothing.
fn fitted(mut words: Vec<u64>, len: usize, most: usize) -> Vec<u64> {
    if words.capacity() > len + len / 8 && words.capacity() > most {
        words.truncate(len);
        words.shrink_to(len);
    }
    if words.len() < len {
        words.reserve_exact(len - words.len());
        words.resize(len, 0);
    }
    words
}

/// Zero words from the system; the memory of many is asked for in large pages, which cost less to get and to find.
fn fresh(len: usize) -> Vec<u64> {
    let mut words = vec![0u64; len];
    if len >= HUGE_WORDS {
        let range = words.as_mut_ptr_range();
        let (first, end) = ((range.start as usize).next_multiple_of(PAGE), range.end as usize / PAGE * PAGE);
        // SAFETY: advice for whole pages that are these words' own changes nothing that they hold. Where it is refused, pages
        // are small.
        unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
    }
    words
}

/// Keeps words that are needed no more, if there is room.
fn put(words: Vec<u64>) {
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

/// Bytes that are usually kept beside so many in use, at the peak.
pub(crate) fn kept_beside(bytes: u64) -> u64 {
    bytes / USUAL_PART
}

/// Words in use, whose memory is kept when they are dropped.
#[derive(Default)]
pub struct Words {
    /// As many as are in use, or more.
    memory: Vec<u64>,
    len: usize,
}

impl Words {
    /// Words that have come from elsewhere.
    pub(crate) fn new(words: Vec<u64>) -> Self {
        let len = words.len();
        Words::of(words, len)
    }

    /// `len` words whose content is of no meaning: the caller overwrites all of it.
    pub(crate) fn scratch(len: usize) -> Self {
        Words::of(take(len), len)
    }

    /// A copy of `words`.
    pub(crate) fn copy_of(words: &[u64]) -> Self {
        let mut copy = Words::scratch(words.len());
        copy.copy_from_slice(words);
        copy
    }

    fn of(memory: Vec<u64>, len: usize) -> Self {
        if memory.capacity() >= MIN_WORDS {
            let mut store = STORE.lock();
            store.used += memory.capacity();
            store.most[0] = store.most[0].max(store.used);
        }
        Words { memory, len }
    }

    /// The words, for elsewhere.
    pub(crate) fn into_vec(mut self) -> Vec<u64> {
        let mut words = self.leave();
        words.truncate(self.len);
        words
    }

    fn leave(&mut self) -> Vec<u64> {
        let words = std::mem::take(&mut self.memory);
        if words.capacity() >= MIN_WORDS {
            STORE.lock().used -= words.capacity();
        }
        words
    }
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
        &self.memory[..self.len]
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.memory[..self.len]
    }
}
