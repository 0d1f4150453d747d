//! The links of a party, with a memory for their first error. A function may turn an error of a link into one of its own;
//! the caller is to learn all the same that it was a consequence, and whose link failed.

use crate::net::{NetError, Network, PartyId, Recording, Stats, Tag, Timeline, WaitState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Passes everything on, and keeps the first error of a run.
pub(super) struct Witness {
    network: Arc<dyn Network + Sync>,
    first: Mutex<Option<NetError>>,
}

impl Witness {
    pub(super) fn new(network: Arc<dyn Network + Sync>) -> Self {
        Witness { network, first: Mutex::default() }
    }

    /// The links themselves.
    pub(super) fn network(&self) -> &Arc<dyn Network + Sync> {
        &self.network
    }

    /// Forgets what it has seen.
    pub(super) fn begin(&self) {
        *self.first() = None;
    }

    /// The first error since then.
    pub(super) fn error(&self) -> Option<NetError> {
        self.first().clone()
    }

    fn first(&self) -> MutexGuard<'_, Option<NetError>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen<T>(&self, result: Result<T, NetError>) -> Result<T, NetError> {
        if let Err(error) = &result {
            self.first().get_or_insert_with(|| error.clone());
        }
        result
    }
}

impl Network for Witness {
    fn id(&self) -> PartyId {
        self.network.id()
    }

    fn send(&self, to: PartyId, tag: Tag, words: Vec<u64>) -> Result<(), NetError> {
        self.seen(self.network.send(to, tag, words))
    }

    fn recv(&self, from: PartyId, tag: Tag, len: usize) -> Result<Vec<u64>, NetError> {
        self.seen(self.network.recv(from, tag, len))
    }

    fn stats(&self) -> Stats {
        self.network.stats()
    }

    fn set_step(&self, step: &str) {
        self.network.set_step(step);
    }

    fn wait_state(&self) -> WaitState {
        self.network.wait_state()
    }

    fn insecure_record(&self, max_words: u64) {
        self.network.insecure_record(max_words);
    }

    fn take_recording(&self) -> Option<Recording> {
        self.network.take_recording()
    }

    fn take_timeline(&self) -> Timeline {
        self.network.take_timeline()
    }

    fn deadline(&self) -> Duration {
        self.network.deadline()
    }

    fn abort(&self, reason: &str) {
        self.network.abort(reason);
    }
}
