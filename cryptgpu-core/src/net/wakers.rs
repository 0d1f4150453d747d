//! Threads and tasks that wait for the same thing to stir.

use std::task::{Context, Waker};

/// Whom to wake. Whoever waits is added before it looks for the last time, and is woken once.
#[derive(Debug, Default)]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    /// One more waits, unless it does already.
    pub(super) fn add(&mut self, context: &Context<'_>) {
        let waker = context.waker();
        if !self.0.iter().any(|other| other.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }

    /// All who wait, to be woken where no lock is held.
    pub(super) fn take(&mut self) -> Wakers {
        std::mem::take(self)
    }

    /// Wakes them.
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}
