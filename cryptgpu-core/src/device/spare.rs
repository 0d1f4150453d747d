//! Words in main memory, and what becomes of their memory: freed words are kept for the next ones of about the same
//! number, since fresh memory costs more (page faults, zeroing) than what is written to it. Tensors, shapes and messages do
//! not live here.
//!
//! What is kept, with what is in use, is never more than half above the most that was asked for at once, and never more than
//! 64 MiB above it ([`Store::room`]); words in memory that is larger than was asked for are among what is kept. So the memory of a
//! process is that of its largest step and so much more, and can be stated before it runs. Memory that fits serves first, then
//! larger one, as long as there is room for what is not used of it, then one to which pages are added or from which they are
//! taken. Nothing that is used again is zeroed.

use crate::ring::Word;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::marker::PhantomData;
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

/// Of the most that was in use so large a part may be kept beside it. A third or a quarter makes small networks slower.
const KEPT_PART: usize = 2;

/// And no more words than these, of 64 MiB: networks may or may not fill what is beyond, so that it could not be stated.
const KEPT_MOST: usize = 8 << 20;

static STORE: Mutex<Store> = Mutex::new(Store::new());

/// The freed words of this process, all parties in it together. Counts are of words.
struct Store {
    /// From the longest there.
    free: VecDeque<Vec<u64>>,
    /// In `free`.
    kept: usize,
    /// In [`Words`], as many as were asked for.
    used: usize,
    /// Behind those, in the same memory.
    surplus: usize,
    /// The most that was in use: since the last job ended, and in that job.
    most: [usize; 2],
}

impl Store {
    const fn new() -> Self {
        Store { free: VecDeque::new(), kept: 0, used: 0, surplus: 0, most: [0; 2] }
    }

    /// The most that was in use, lately.
    fn most(&self) -> usize {
        self.most[0].max(self.most[1])
    }

    /// How many words may be kept, surplus included, while `used` are in use.
    fn room(&self, used: usize) -> usize {
        let most = self.most().max(used);
        most + beside(most) - used
    }

    /// How many words more may stand behind those that were asked for.
    fn room_for_surplus(&self) -> usize {
        beside(self.most()).saturating_sub(self.surplus)
    }

    /// Freed words for `len`, of which some may have to be added or given back ([`fitted`]): as many and at most an eighth more,
    /// or the fewest up to twice as many whose surplus has room; or, where pages can be moved, twice as many at most, or half as
    /// many at least. Of equally many those that were freed last: a processor's caches may hold them.
    fn find(&mut self, len: usize) -> Option<Vec<u64>> {
        let larger = (2 * len).min(len + self.room_for_surplus());
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
    fn shrink(&mut self) -> Vec<Vec<u64>> {
        let (room, mut out) = (self.room(self.used), vec![]);
        while self.kept + self.surplus > room
            && let Some(words) = self.free.pop_front()
        {
            self.kept -= words.capacity();
            out.push(words);
        }
        out
    }

    /// Keeps words; gives those for which there is no room.
    fn keep(&mut self, words: Vec<u64>) -> Vec<Vec<u64>> {
        self.kept += words.capacity();
        self.free.push_back(words);
        self.shrink()
    }

    /// So many more words are in use, in memory for as many or more.
    fn begin(&mut self, len: usize, memory: usize) {
        self.used += len;
        self.surplus += memory - len;
        self.most[0] = self.most[0].max(self.used);
    }

    /// As many are in use no more.
    fn end(&mut self, len: usize, memory: usize) {
        self.used -= len;
        self.surplus -= memory - len;
    }

    /// A job has ended: what was needed before it counts no more. Gives the words for which there is no room then.
    fn end_job(&mut self) -> Vec<Vec<u64>> {
        self.most = [self.used, self.most[0]];
        self.shrink()
    }
}

/// How many words may be kept beside so many in use.
const fn beside(most: usize) -> usize {
    let part = most / KEPT_PART;
    if part < KEPT_MOST { part } else { KEPT_MOST }
}

/// At least `len` words whose content is of no meaning, counted as in use from before there is memory for them: new pages take
/// their time.
fn take(len: usize) -> Vec<u64> {
    let mut store = STORE.lock();
    let found = store.find(len);
    let most = len + store.room_for_surplus();
    let memory = found.as_ref().map_or(len, Vec::capacity).max(len);
    store.begin(len, memory);
    let unneeded = store.shrink();
    drop(store);
    drop(unneeded);
    let words = match found {
        Some(words) => fitted(words, len, most),
        None => fresh(len),
    };
    if words.capacity() != memory {
        let mut store = STORE.lock();
        store.end(len, memory);
        store.begin(len, words.capacity());
    }
    words
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

/// A job has ended: memory beyond what it needed goes back to the system.
pub(crate) fn end_job() {
    let unneeded = STORE.lock().end_job();
    drop(unneeded);
}

/// Bytes that are kept beside so many in use, at most: as many in a run of some length, which uses memory in many sizes.
pub(crate) fn kept_beside(bytes: u64) -> u64 {
    8 * beside((bytes / 8) as usize) as u64
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
    pub(crate) fn new(memory: Vec<u64>) -> Self {
        let len = memory.len();
        if memory.capacity() >= MIN_WORDS {
            let mut store = STORE.lock();
            store.begin(len, memory.capacity());
            let unneeded = store.shrink();
            drop(store);
            drop(unneeded);
        }
        Words { memory, len }
    }

    /// `len` words whose content is of no meaning: the caller overwrites all of it.
    pub(crate) fn scratch(len: usize) -> Self {
        let memory = if len < MIN_WORDS { vec![0; len] } else { take(len) };
        Words { memory, len }
    }

    /// A copy of `words`.
    pub(crate) fn copy_of(words: &[u64]) -> Self {
        let mut copy = Words::scratch(words.len());
        copy.copy_from_slice(words);
        copy
    }

    /// The words, for elsewhere.
    pub(crate) fn into_vec(mut self) -> Vec<u64> {
        let mut words = self.leave();
        words.truncate(self.len);
        words
    }

    /// Gives memory beyond these words back to the system: they will be in use for long.
    pub(crate) fn settle(&mut self) {
        if self.len >= MOVED_WORDS && self.memory.capacity() > self.len {
            let mut words = self.leave();
            words.truncate(self.len);
            words.shrink_to_fit();
            *self = Words::new(words);
        }
    }

    fn leave(&mut self) -> Vec<u64> {
        let words = std::mem::take(&mut self.memory);
        if words.capacity() >= MIN_WORDS {
            STORE.lock().end(self.len, words.capacity());
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
        let words = std::mem::take(&mut self.memory);
        let memory = words.capacity();
        if memory >= MIN_WORDS {
            let mut store = STORE.lock();
            store.end(self.len, memory);
            let unneeded = store.keep(words);
            // The system takes back what there is no room for, after the lock is free.
            drop(store);
            drop(unneeded);
        }
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

/// So many elements of a ring in words whose memory is kept likewise.
pub(crate) struct Elements<T> {
    words: Words,
    len: usize,
    ring: PhantomData<T>,
}

impl<T: Word> Elements<T> {
    /// `len` elements whose content is of no meaning: the caller overwrites all of it.
    pub(crate) fn scratch(len: usize) -> Self {
        Elements { words: Words::scratch(len.div_ceil(T::RING.packed())), len, ring: PhantomData }
    }
}

impl<T: Word> Deref for Elements<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &T::of(&self.words)[..self.len]
    }
}

impl<T: Word> DerefMut for Elements<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut T::of_mut(&mut self.words)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = MOVED_WORDS;

    /// A store that keeps words of these numbers, of which `used` are in use and `most` were.
    fn store(free: &[usize], used: usize, most: usize) -> Store {
        let free: VecDeque<Vec<u64>> = free.iter().map(|&len| Vec::with_capacity(len)).collect();
        Store { kept: free.iter().map(Vec::capacity).sum(), free, used, surplus: 0, most: [most, 0] }
    }

    /// What serves for `len` words, by number.
    fn served(store: &mut Store, len: usize) -> Option<usize> {
        let kept = store.kept;
        let found = store.find(len).map(|words| words.capacity());
        assert_eq!(store.kept, kept - found.unwrap_or(0));
        assert_eq!(store.kept, store.free.iter().map(Vec::capacity).sum::<usize>());
        found
    }

    #[test]
    fn memory_that_fits_serves_first_then_larger_one_then_one_whose_pages_are_moved() {
        // The fewest that are enough, at most an eighth more, whatever was in use.
        let all = [N, 3 * N, 5 * N / 4, N + N / 16, N + N / 8];
        let mut fits = store(&all, 9 * N, 9 * N);
        assert_eq!([(); 3].map(|()| served(&mut fits, N)), [Some(N), Some(N + N / 16), Some(N + N / 8)]);
        // Larger ones up to twice as many while there is room for what is not used of them: half of the most, here.
        assert_eq!(served(&mut store(&[3 * N, 2 * N, 7 * N / 4], 0, 2 * N), N), Some(7 * N / 4));
        assert_eq!(served(&mut store(&[3 * N], 0, 9 * N), N), None);
        let mut filled = store(&[N, 3 * N / 4], 0, 2 * N);
        filled.surplus = 3 * N / 4;
        assert_eq!((filled.room_for_surplus(), served(&mut filled, N / 2)), (N / 4, Some(3 * N / 4)));
        // Beyond that, pages: of the fewest that are enough, else of the most that are half as many at least.
        let moved = [N / 2, 2 * N, N / 2 - 1, 3 * N / 4];
        assert_eq!(served(&mut store(&moved, N, N), N), Some(2 * N));
        assert_eq!(served(&mut store(&[N / 2, N / 2 - 1, 3 * N / 4], N, N), N), Some(3 * N / 4));
        assert_eq!(served(&mut store(&[N / 2 - 1], N, N), N), None);
        // Few words are in no pages of their own.
        assert_eq!(served(&mut store(&[N, N / 3], N / 4, N / 4), N / 2), None);
    }

    #[test]
    fn of_equally_many_words_those_freed_last_serve() {
        let mut store = store(&[N, N, N], 0, 0);
        let places = [&store.free[0], &store.free[2]].map(|words| words.as_ptr());
        let (found, gone) = (store.find(N).unwrap(), store.shrink());
        assert_eq!([found.as_ptr(), gone[0].as_ptr()], [places[1], places[0]]);
    }

    #[test]
    fn pages_are_added_and_taken() {
        let mut words = vec![7; 4 * N];
        words.truncate(3 * N);
        // As large as may be in use, or too large for that, or too small.
        assert_eq!(fitted(words.clone(), N, 4 * N).capacity(), 3 * N);
        let taken = fitted(words, N, 2 * N);
        assert!(taken.capacity() == N && taken == [7; N]);
        let added = fitted(taken, 2 * N, 0);
        assert!(added.capacity() == 2 * N && added[..N] == [7; N] && added.len() == 2 * N);
        // A little too large is left so.
        assert_eq!(fitted(Vec::with_capacity(N + N / 8), N, 0).capacity(), N + N / 8);
    }

    #[test]
    fn as_much_is_kept_as_there_is_room_for_the_longest_there_going_first() {
        assert_eq!([store(&[], 40, 100).room(40), store(&[], 0, 0).room(60)], [110, 30]);
        let large = 5 * KEPT_MOST;
        assert_eq!(store(&[], large, large).room(large), KEPT_MOST);
        assert_eq!(kept_beside(8 * large as u64), 64 << 20);
        assert_eq!(kept_beside(40 << 20), 20 << 20);

        let mut store = store(&[], 2 * N, 4 * N);
        let gone = [N, 2 * N, N].map(|len| store.keep(Vec::with_capacity(len)).len());
        assert_eq!((gone, store.kept), ([0; 3], 4 * N));
        let gone: Vec<usize> = store.keep(Vec::with_capacity(2 * N)).iter().map(Vec::capacity).collect();
        assert_eq!((gone, store.kept), (vec![N, 2 * N], 3 * N));
        // What comes into use needs room as well; none of it is for what is beyond the most.
        store.begin(3 * N, 3 * N);
        assert_eq!((store.most(), store.room(5 * N), store.shrink().len()), (5 * N, 5 * N / 2, 1));
        // What was not asked for needs room like what is kept, until those words are dropped.
        store.begin(N, 3 * N);
        assert_eq!((store.surplus, store.room(6 * N), store.shrink().len(), store.kept), (2 * N, 3 * N, 1, 0));
        store.end(N, 3 * N);
        assert_eq!((store.used, store.surplus), (5 * N, 0));
    }

    #[test]
    fn what_a_job_needed_counts_until_the_next_one_has_ended() {
        let mut store = store(&[N, N], 0, 0);
        store.begin(4 * N, 4 * N);
        store.used = N;
        assert!(store.end_job().is_empty() && store.most() == 4 * N && store.room(N) == 5 * N);
        store.begin(N, N);
        store.used = N;
        let gone = store.end_job();
        assert_eq!((gone.len(), store.most(), store.room(N), store.kept), (0, 2 * N, 2 * N, 2 * N));
        let gone = store.end_job();
        assert_eq!((gone.len(), store.most(), store.kept), (2, N, 0));
    }

    #[test]
    fn settled_words_have_no_memory_beside_them() {
        let mut words = Words { memory: vec![3; 2 * N], len: N };
        STORE.lock().begin(N, 2 * N);
        words.settle();
        assert!(words.memory.capacity() == N && *words == [3; N]);
        let mut few = Words { memory: vec![3; 20], len: 10 };
        few.settle();
        assert_eq!(few.memory.capacity(), 20);
    }
}
