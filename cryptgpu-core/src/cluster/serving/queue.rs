//! Requests that wait at a party: as many as there is room for, each with a place before its shares come. What the other
//! parties have been told of stays until all three agree on what becomes of it.

use super::message::RequestId;
use crate::net::PartyId;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What becomes of a request.
#[derive(Debug)]
pub(in crate::cluster) enum Outcome {
    /// This party's components of the scores.
    Scores([Vec<u64>; 2]),
    /// These parties had no shares in time.
    Missing(Vec<PartyId>),
    /// Its client dealt parties different words where they hold the same.
    Inconsistent,
    /// A value left the range: there are no scores.
    LeftRange,
    /// The service ends.
    Ended,
}

/// A request whose shares are there.
#[derive(Debug)]
pub(in crate::cluster) struct Waiting {
    pub(in crate::cluster) images: u32,
    pub(in crate::cluster) components: [Vec<u64>; 2],
    pub(in crate::cluster) came: Instant,
    reply: oneshot::Sender<Outcome>,
}

impl Waiting {
    /// Tells its client, if that is still there.
    pub(in crate::cluster) fn answer(self, outcome: Outcome) {
        // A client that is gone hurts nobody.
        let _ = self.reply.send(outcome);
    }
}

#[derive(Debug, Default)]
struct State {
    /// Places that are taken, whether the shares are there or not.
    taken: usize,
    waiting: HashMap<RequestId, Waiting>,
    /// What has come since the others were told last, in order.
    news: Vec<(RequestId, u32)>,
    /// Requests that were turned away since it was asked.
    busy: u64,
    ended: bool,
}

/// The queue of one party.
#[derive(Debug)]
pub(in crate::cluster) struct Queue {
    most: usize,
    state: Mutex<State>,
    came: Condvar,
}

/// A place in the queue; given back where no shares come.
#[derive(Debug)]
pub(super) struct Place {
    queue: Arc<Queue>,
    id: RequestId,
    images: u32,
    used: bool,
}

impl Queue {
    pub(in crate::cluster) fn new(most: usize) -> Arc<Self> {
        Arc::new(Queue { most, state: Mutex::default(), came: Condvar::new() })
    }

    /// A place for a request, if there is one.
    pub(super) fn reserve(self: &Arc<Self>, id: RequestId, images: u32) -> Option<Place> {
        let mut state = self.state.lock();
        if state.ended || state.taken >= self.most || state.waiting.contains_key(&id) {
            state.busy += 1;
            return None;
        }
        state.taken += 1;
        Some(Place { queue: self.clone(), id, images, used: false })
    }

    /// What has come since it was asked last: waits until there is something, at most for so long, and then so long for more,
    /// unless there are so many images.
    pub(in crate::cluster) fn news(&self, wait: Duration, linger: Duration, enough: u32) -> Vec<(RequestId, u32)> {
        let until = Instant::now() + wait;
        let mut state = self.state.lock();
        while state.news.is_empty() && !self.came.wait_until(&mut state, until).timed_out() {}
        let until = Instant::now() + linger;
        let images = |state: &State| state.news.iter().map(|(_, images)| u64::from(*images)).sum::<u64>();
        while !state.news.is_empty()
            && images(&state) < u64::from(enough)
            && !self.came.wait_until(&mut state, until).timed_out()
        {}
        std::mem::take(&mut state.news)
    }

    /// Takes a request out, whatever becomes of it.
    pub(in crate::cluster) fn take(&self, id: &RequestId) -> Option<Waiting> {
        let mut state = self.state.lock();
        let waiting = state.waiting.remove(id)?;
        state.taken -= 1;
        Some(waiting)
    }

    /// How many were turned away since this was asked last.
    pub(in crate::cluster) fn take_busy(&self) -> u64 {
        std::mem::take(&mut self.state.lock().busy)
    }

    /// Takes nothing more, and tells all that wait.
    pub(in crate::cluster) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.news.clear();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(|waiting| waiting.answer(Outcome::Ended));
    }
}

impl Place {
    /// The shares are there; what comes of them will be heard.
    pub(super) fn deliver(mut self, components: [Vec<u64>; 2]) -> oneshot::Receiver<Outcome> {
        let (reply, heard) = oneshot::channel();
        let waiting = Waiting { images: self.images, components, came: Instant::now(), reply };
        let mut state = self.queue.state.lock();
        if state.ended || state.waiting.contains_key(&self.id) {
            drop(state);
            waiting.answer(Outcome::Ended);
            return heard;
        }
        self.used = true;
        state.waiting.insert(self.id, waiting);
        state.news.push((self.id, self.images));
        drop(state);
        self.queue.came.notify_all();
        heard
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.used {
            self.queue.state.lock().taken -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_takes_nothing_and_a_place_without_shares_is_given_back() {
        let queue = Queue::new(2);
        let first = queue.reserve([1; 16], 3).unwrap();
        let second = queue.reserve([2; 16], 1).unwrap();
        assert!(queue.reserve([3; 16], 1).is_none() && queue.take_busy() == 1);
        drop(second);
        let mut heard = first.deliver([vec![1], vec![2]]);
        assert!(queue.reserve([1; 16], 1).is_none(), "a number is used once");
        assert_eq!(queue.news(Duration::ZERO, Duration::ZERO, 1), [([1; 16], 3)]);
        assert!(queue.news(Duration::ZERO, Duration::ZERO, 1).is_empty(), "told once");
        let _kept = queue.reserve([4; 16], 1).unwrap();
        assert!(queue.reserve([5; 16], 1).is_none(), "what waits has its place");
        queue.take(&[1; 16]).unwrap().answer(Outcome::Scores([vec![7], vec![8]]));
        assert!(matches!(heard.try_recv(), Ok(Outcome::Scores(_))));
        let place = queue.reserve([5; 16], 1).unwrap();
        queue.end();
        assert!(matches!(place.deliver([vec![], vec![]]).try_recv(), Ok(Outcome::Ended)));
        assert!(queue.reserve([6; 16], 1).is_none());
    }

    #[test]
    fn what_comes_within_the_linger_is_told_together() {
        let queue = Queue::new(8);
        let begun = Instant::now();
        assert!(queue.news(Duration::from_millis(20), Duration::from_secs(9), 1).is_empty());
        assert!(begun.elapsed() >= Duration::from_millis(20));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for id in 0..3 {
                    std::thread::sleep(Duration::from_millis(5));
                    drop(queue.reserve([id; 16], 1).unwrap().deliver([vec![], vec![]]));
                }
            });
            assert_eq!(queue.news(Duration::from_secs(9), Duration::from_secs(9), 3).len(), 3);
        });
    }
}
