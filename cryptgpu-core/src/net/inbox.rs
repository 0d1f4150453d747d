//! Where a link's messages wait for their receiver: a queue that the link fills and one thread
//! empties, with a deadline, and with the fault that ended the link behind the last message.

use super::payload::Received;
use super::wakers::Wakers;
use super::{GaveUp, PartyId, Tag};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Instant;

/// A message that arrived whole and was checked against its header.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) tag: Tag,
    pub(super) rounds: u32,
    pub(super) words: Received,
    /// On shaped links: when the imitated link delivers it.
    pub(super) ready: Option<Instant>,
}

/// Why a link is down. The receiver adds who and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Closed(String),
    BadFrame(String),
    TooLarge { bytes: u64, limit: u64 },
}

impl Fault {
    /// `party` has said that it gives up.
    pub(super) fn gave_up(party: PartyId, reason: GaveUp) -> Self {
        Fault::Closed(format!("party {party} gave up: {reason}"))
    }
}

/// Why nothing could be taken from an inbox.
#[derive(Debug)]
pub(super) enum Empty {
    Deadline,
    Down(Fault),
}

/// What a party does while it waits, where it does more than sleep.
pub(super) trait Waiter: std::fmt::Debug + Send + Sync {
    /// Returns when `stirs` is ready, or at the deadline, or earlier.
    fn wait(&self, stirs: Stirs<'_>, deadline: Instant);
}

/// What is waited for.
pub(super) type Stirs<'a> = &'a mut dyn FnMut(&mut Context<'_>) -> Poll<()>;

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Incoming>,
    fault: Option<Fault>,
    /// Whom to wake when something comes or the link is down: a thread that does not sleep here.
    wakers: Wakers,
}

/// The receiving end of one direction of a link.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
    reconnections: AtomicU64,
}

impl Inbox {
    /// Adds a message; false when the link is down already.
    pub(super) fn push(&self, message: Incoming) -> bool {
        let mut state = self.lock();
        if state.fault.is_some() {
            return false;
        }
        state.queue.push_back(message);
        self.stir(state);
        true
    }

    /// The link is down after the messages that already came. The first fault is kept.
    pub(super) fn close(&self, fault: Fault) {
        let mut state = self.lock();
        state.fault.get_or_insert(fault);
        self.stir(state);
    }

    /// The link is down now: messages that wait are dropped. The first fault is kept.
    pub(super) fn abort(&self, fault: Fault) {
        let mut state = self.lock();
        state.queue.clear();
        state.fault.get_or_insert(fault);
        self.stir(state);
    }

    /// Wakes the receiver.
    fn stir(&self, mut state: MutexGuard<'_, State>) {
        let wakers = state.wakers.take();
        drop(state);
        self.changed.notify_all();
        wakers.wake();
    }

    /// Ready when a message has come or the link is down.
    pub(super) fn poll_stirs(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.queue.is_empty() || state.fault.is_some() {
            return Poll::Ready(());
        }
        state.wakers.add(context);
        Poll::Pending
    }

    /// Ready when the link is down.
    pub(super) fn poll_down(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.fault.is_some() {
            return Poll::Ready(());
        }
        state.wakers.add(context);
        Poll::Pending
    }

    /// Why the link is down, if it is.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.lock().fault.clone()
    }

    /// The next message, if it is there now.
    pub(super) fn try_pop(&self) -> Option<Incoming> {
        let mut state = self.lock();
        let is_ready = |message: &Incoming| message.ready.is_none_or(|ready| ready <= Instant::now());
        state.queue.front().is_some_and(is_ready).then(|| state.queue.pop_front()).flatten()
    }

    /// The next message, once there is one and its imitated link has delivered it.
    pub(super) fn pop(&self, deadline: Instant) -> Result<Incoming, Empty> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let until = match (state.queue.front().map(|message| message.ready), &state.fault) {
                (Some(ready), _) if ready.is_none_or(|ready| ready <= now) => {
                    return state.queue.pop_front().ok_or(Empty::Deadline);
                }
                (Some(Some(ready)), _) => ready.min(deadline),
                (_, Some(fault)) => return Err(Empty::Down(fault.clone())),
                _ => deadline,
            };
            if now >= deadline {
                return Err(Empty::Deadline);
            }
            self.changed.wait_until(&mut state, until);
        }
    }

    /// A broken connection with the peer, of either direction, was made anew.
    pub(super) fn reconnected(&self) {
        self.reconnections.fetch_add(1, Relaxed);
    }

    /// How often that happened.
    pub(super) fn reconnections(&self) -> u64 {
        self.reconnections.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
