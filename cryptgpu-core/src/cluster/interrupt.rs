//! An interrupt from outside, as by Ctrl-C or a notebook's button: it ends the run that goes on and nothing else.
//! Whoever hears of the signal calls [`request`]; whoever watches a run asks now and then whether it was called.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// How often whoever waits for parties asks whether it was interrupted.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// Runs, and starts of parties, of all clusters of this program that go on now.
static GOING_ON: AtomicUsize = AtomicUsize::new(0);
/// They are to end.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Ends the runs and the starts of parties that go on now, at all parties, with [`ClusterError::Interrupted`](super::ClusterError::Interrupted).
/// Says whether it will: not if none goes on, nor if they have been asked to end already. A signal handler may call this.
///
/// ```
/// use cryptgpu_core::cluster::interrupt;
///
/// assert!(!interrupt::request(), "no run goes on");
/// ```
pub fn request() -> bool {
    GOING_ON.load(SeqCst) > 0 && !REQUESTED.swap(true, SeqCst)
}

/// Held while a run or a start of parties goes on.
#[derive(Debug)]
pub(super) struct GoingOn(());

impl GoingOn {
    pub(super) fn new() -> Self {
        // A request that came too late for the run before is not this one's.
        if GOING_ON.fetch_add(1, SeqCst) == 0 {
            REQUESTED.store(false, SeqCst);
        }
        GoingOn(())
    }

    /// Whether the run is to end.
    pub(super) fn is_to_end(&self) -> bool {
        REQUESTED.load(SeqCst)
    }
}

impl Drop for GoingOn {
    fn drop(&mut self) {
        GOING_ON.fetch_sub(1, SeqCst);
    }
}
