//! What three parties have told each other of requests, and what becomes of each: party 0 keeps the list, and its decision
//! holds for all. A request is in a batch once all three have its shares, and is given up when one has had none of it for
//! too long. Nothing is sent here; the words are those that are.

use crate::cluster::serving::message::RequestId;
use crate::net::PartyId;
use std::time::{Duration, Instant};

/// Words of a request in a message: its number, and its images or the parties that have none of it.
const EACH: usize = 3;

/// A request and a number that goes with it.
pub(super) type Entry = (RequestId, u64);

/// How soon the parties look for requests again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// When some come.
    Idle = 0,
    /// In a moment: some have come to one party and not yet to all.
    Soon = 1,
    /// At once: there are more than went into the batch.
    Now = 2,
}

/// What party 0 decides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agenda {
    /// The requests that are evaluated together, in order, with their images.
    pub(super) batch: Vec<Entry>,
    /// Those that are given up, with the parties that have none of them, one bit each.
    pub(super) given_up: Vec<Entry>,
    pub(super) next: Next,
}

fn put(words: &mut Vec<u64>, (id, number): &Entry) {
    let half = |at: usize| id[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    words.extend([half(0), half(8), *number]);
}

fn take(words: &[u64]) -> Entry {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&words[0].to_le_bytes());
    id[8..].copy_from_slice(&words[1].to_le_bytes());
    (id, words[2])
}

/// Words of a message with news, where so many requests wait at most.
pub(super) fn news_words(most: usize) -> usize {
    1 + EACH * most
}

/// What has come to a party, as it tells party 0.
pub(super) fn encode_news(news: &[(RequestId, u32)], most: usize) -> Vec<u64> {
    let mut words = Vec::with_capacity(news_words(most));
    words.push(news.len() as u64);
    news.iter().for_each(|(id, images)| put(&mut words, &(*id, u64::from(*images))));
    words.resize(news_words(most), 0);
    words
}

/// The entries behind a number of them; None where there is no such number of them.
fn entries(words: &[u64], count: u64) -> Option<Vec<Entry>> {
    let count = usize::try_from(count).ok()?;
    let words = words.get(..count.checked_mul(EACH)?)?;
    Some(words.chunks_exact(EACH).map(take).collect())
}

pub(super) fn decode_news(words: &[u64]) -> Option<Vec<Entry>> {
    let (count, rest) = words.split_first()?;
    entries(rest, *count)
}

impl Agenda {
    /// Words of the message, where so many requests wait at each of three parties at most.
    pub(super) fn words(most: usize) -> usize {
        3 + EACH * 3 * most
    }

    pub(super) fn encode(&self, most: usize) -> Vec<u64> {
        let mut words = Vec::with_capacity(Agenda::words(most));
        words.extend([self.next as u64, self.batch.len() as u64, self.given_up.len() as u64]);
        self.batch.iter().chain(&self.given_up).for_each(|entry| put(&mut words, entry));
        words.resize(Agenda::words(most), 0);
        words
    }

    pub(super) fn decode(words: &[u64]) -> Option<Self> {
        let [next, batch, given_up, rest @ ..] = words else { return None };
        let next = match next {
            0 => Next::Idle,
            1 => Next::Soon,
            2 => Next::Now,
            _ => return None,
        };
        let batch = entries(rest, *batch)?;
        let given_up = entries(rest.get(EACH * batch.len()..)?, *given_up)?;
        Some(Agenda { batch, given_up, next })
    }
}

/// A request that party 0 has heard of.
#[derive(Debug)]
struct Known {
    id: RequestId,
    images: u64,
    /// Who has its shares.
    has: [bool; 3],
    since: Instant,
}

/// All that party 0 has heard of, in order, until it has decided.
#[derive(Debug)]
pub(super) struct Heard {
    known: Vec<Known>,
    batch: u64,
    patience: Duration,
}

impl Heard {
    /// Batches of so many images at most; what is not everywhere after `patience` is given up.
    pub(super) fn new(batch: u32, patience: Duration) -> Self {
        Heard { known: vec![], batch: u64::from(batch), patience }
    }

    /// A party has its shares.
    pub(super) fn note(&mut self, from: PartyId, (id, images): Entry, now: Instant) {
        let at = self.known.iter().position(|known| known.id == id);
        let known = match at {
            Some(at) => &mut self.known[at],
            None => {
                self.known.push(Known { id, images, has: [false; 3], since: now });
                let last = self.known.len() - 1;
                &mut self.known[last]
            }
        };
        // A client that tells parties different numbers has told nobody of one request.
        known.has[from.index()] = known.images == images;
        if known.images != images {
            known.images = u64::MAX;
        }
    }

    /// What becomes of them now.
    pub(super) fn decide(&mut self, now: Instant) -> Agenda {
        let (mut batch, mut given_up, mut images) = (vec![], vec![], 0);
        let mut left = vec![];
        let mut more = false;
        for known in std::mem::take(&mut self.known) {
            let whole = known.has == [true; 3] && known.images <= self.batch;
            if whole && !more && (batch.is_empty() || images + known.images <= self.batch) {
                images += known.images;
                batch.push((known.id, known.images));
            } else if whole {
                more = true;
                left.push(known);
            } else if now.duration_since(known.since) >= self.patience {
                let missing = PartyId::ALL.iter().filter(|party| !known.has[party.index()]);
                given_up.push((known.id, missing.fold(0, |mask, party| mask | 1 << party.index())));
            } else {
                left.push(known);
            }
        }
        let next = match (more, left.is_empty()) {
            (true, _) => Next::Now,
            (false, false) => Next::Soon,
            (false, true) => Next::Idle,
        };
        self.known = left;
        Agenda { batch, given_up, next }
    }
}

/// The parties of a mask.
pub(super) fn parties(mask: u64) -> Vec<PartyId> {
    PartyId::ALL.into_iter().filter(|party| mask >> party.index() & 1 == 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn heard() -> Heard {
        Heard::new(4, PATIENCE)
    }

    #[test]
    fn a_request_is_evaluated_when_all_have_it_in_the_order_in_which_party_0_heard_of_it() {
        let (mut heard, now) = (heard(), Instant::now());
        let [p0, p1, p2] = PartyId::ALL;
        // The parties hear in different orders.
        for (from, ids) in [(p0, [1, 2, 3]), (p1, [3, 1, 2]), (p2, [2, 3, 1])] {
            ids.iter().for_each(|id| heard.note(from, ([*id; 16], 2), now));
        }
        heard.note(p1, ([9; 16], 1), now);
        let agenda = heard.decide(now);
        assert_eq!(agenda.batch, [([1; 16], 2), ([2; 16], 2)], "as many images as go into a batch");
        assert_eq!((agenda.given_up.len(), agenda.next), (0, Next::Now));
        let agenda = heard.decide(now);
        assert_eq!((&agenda.batch[..], agenda.next), (&[([3; 16], 2)][..], Next::Soon));
        // What has come to party 1 alone is given up, by the names of the others.
        let agenda = heard.decide(now + PATIENCE);
        assert_eq!((agenda.batch.len(), &agenda.given_up[..], agenda.next), (0, &[([9; 16], 0b101)][..], Next::Idle));
        assert_eq!(parties(0b101), [p0, p2]);
    }

    #[test]
    fn one_that_is_told_differently_or_is_too_large_is_never_evaluated() {
        let (mut heard, now) = (heard(), Instant::now());
        for (from, images) in [(PartyId::P0, 1), (PartyId::P1, 2), (PartyId::P2, 1)] {
            heard.note(from, ([1; 16], images), now);
            heard.note(from, ([2; 16], 5), now);
        }
        assert_eq!(heard.decide(now).batch, []);
        let agenda = heard.decide(now + PATIENCE);
        assert_eq!((agenda.batch.len(), agenda.given_up.len()), (0, 2));
    }

    #[test]
    fn messages_are_of_one_length_and_read_back_and_others_are_none() {
        let news = [([1; 16], 3), ([0xfe; 16], 1)];
        let words = encode_news(&news, 5);
        assert_eq!((words.len(), words.len()), (news_words(5), encode_news(&[], 5).len()));
        assert_eq!(decode_news(&words), Some(vec![([1; 16], 3), ([0xfe; 16], 1)]));
        let agenda = Agenda { batch: vec![([7; 16], 2)], given_up: vec![([8; 16], 4)], next: Next::Soon };
        let words = agenda.encode(5);
        assert_eq!((words.len(), Agenda::decode(&words)), (Agenda::words(5), Some(agenda)));
        assert_eq!(decode_news(&[6, 0, 0]), None);
        assert_eq!(Agenda::decode(&[0, u64::MAX, 0, 1]), None);
        assert_eq!(Agenda::decode(&[3, 0, 0]), None);
    }
}
