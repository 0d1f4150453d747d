//! What a cluster and its handles have in common: the present set of parties, and what is known about it at any moment.

use crate::cluster::interrupt::{GoingOn, POLL};
use crate::cluster::launch::board::Board;
use crate::cluster::launch::logs::Logs;
use crate::cluster::launch::mailbox::Mailbox;
use crate::cluster::launch::program::Launch;
use crate::cluster::launch::session::Session;
use crate::cluster::wire::configuration::Configuration;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::HeldId;
use crate::device::{Device, DeviceInUse, cuda};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Once;
use std::time::{Duration, Instant};

/// What handles of a cluster have in common with it.
#[derive(Debug)]
pub(super) struct Inner {
    /// Tells this cluster from others of this program.
    pub(super) number: u64,
    pub(super) configuration: Configuration,
    pub(super) launch: Launch,
    pub(super) logs: Logs,
    pub(super) board: Board,
    /// Locked for as long as a run goes on.
    pub(super) state: Mutex<State>,
    /// Locked for moments only.
    pub(super) facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) session: Option<Session>,
    pub(super) runs: u64,
    /// The cluster was dropped; only handles are left.
    pub(super) closed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) generation: u64,
    pub(super) pids: Vec<u32>,
    pub(super) devices: Vec<DeviceInUse>,
    /// What goes on now.
    pub(super) running: Option<String>,
    /// Where what goes on now is cancelled.
    pub(super) mailbox: Option<Mailbox>,
    /// Tensors whose last handle is gone, to be told to the parties with the next command.
    pub(super) dropped: Vec<HeldId>,
    /// Whether something that takes several runs goes on, and whether the caller wants it to end: between two of them there
    /// is no mailbox.
    pub(super) course: Option<bool>,
}

impl Facts {
    /// From now on what goes on is cancelled there, and at once if the caller wants all of it to end.
    pub(super) fn cancelled_at(&mut self, mailbox: Option<Mailbox>) {
        if let (Some(true), Some(mailbox)) = (self.course, &mailbox) {
            mailbox.cancel();
        }
        self.mailbox = mailbox;
    }

    /// Ends what goes on; whether there is something.
    pub(super) fn cancel(&mut self) -> bool {
        let course = self.course.as_mut().map(|cancelled| *cancelled = true);
        let run = self.mailbox.as_ref().map(Mailbox::cancel);
        course.or(run).is_some()
    }
}

/// Several runs and starts that are cancelled as one.
pub(super) struct WholeCourse<'a>(&'a Inner);

impl Drop for WholeCourse<'_> {
    fn drop(&mut self) {
        self.0.facts().course = None;
    }
}

impl Inner {
    pub(super) fn lock(&self, name: &str) -> Result<MutexGuard<'_, State>, ClusterError> {
        self.state.try_lock().ok_or_else(|| ClusterError::Busy {
            wanted: name.to_owned(),
            running: self.facts().running.clone().unwrap_or_else(|| "a start of processes".to_owned()),
        })
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock()
    }

    /// The last handle of a tensor is gone.
    pub(super) fn let_go(&self, generation: u64, id: HeldId) {
        let mut facts = self.facts();
        if facts.generation == generation {
            facts.dropped.push(id);
        }
    }

    /// What runs from now on, until this is dropped, is cancelled as one.
    pub(super) fn whole_course(&self) -> WholeCourse<'_> {
        self.facts().course = Some(false);
        WholeCourse(self)
    }

    /// Starts new parties in place of those that are there. A start is cancelled in the same way as a run.
    pub(super) fn renew(&self, state: &mut State, going_on: &GoingOn) -> Result<(), ClusterError> {
        self.renew_after(state, Duration::ZERO, going_on)
    }

    /// As [`Inner::renew`], after a pause, which is cancelled in the same way.
    pub(super) fn renew_after(
        &self,
        state: &mut State,
        pause: Duration,
        going_on: &GoingOn,
    ) -> Result<(), ClusterError> {
        self.end(state);
        let (mailbox, arrivals) = Mailbox::new(self.logs.clone(), self.board.clone());
        self.facts().cancelled_at(Some(mailbox.clone()));
        let until = Instant::now() + pause;
        // A start asks whether it is to end before anything else.
        while Instant::now() < until && !mailbox.is_cancelled() && !going_on.is_to_end() {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(POLL));
        }
        let started = Session::start(&self.configuration, &self.launch, (mailbox, arrivals), going_on);
        let mut facts = self.facts();
        facts.mailbox = None;
        let session = started?;
        facts.pids = session.pids();
        self.board.started(&facts.pids);
        facts.devices = session.devices().to_vec();
        if matches!(self.launch, Launch::Processes(_)) {
            say_if_in_turns(&facts.devices);
        }
        facts.generation += 1;
        state.session = Some(session);
        Ok(())
    }

    /// Lets the parties end by themselves.
    pub(super) fn end(&self, state: &mut State) {
        self.forget();
        if let Some(session) = state.session.take() {
            session.end();
        }
    }

    pub(super) fn forget(&self) {
        self.board.forget();
        let mut facts = self.facts();
        facts.pids.clear();
        facts.devices.clear();
        facts.dropped.clear();
    }
}

/// Says once, on standard error, that processes of this machine take turns on a card, and what helps.
fn say_if_in_turns(devices: &[DeviceInUse]) {
    static SAID: Once = Once::new();
    let cards: Vec<Device> = devices.iter().map(|used| used.device).filter(|&device| device != Device::Cpu).collect();
    let shared = cards.iter().enumerate().any(|(i, card)| cards[..i].contains(card));
    if shared && cuda::service().is_none() {
        SAID.call_once(|| eprintln!("hint: {}", cuda::SERVICE_HINT));
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::{Cluster, ClusterError, SelfTest};

    #[test]
    fn what_takes_several_runs_is_cancelled_between_two_of_them_too() {
        let cluster = Cluster::in_memory().start().unwrap();
        let course = cluster.inner.whole_course();
        assert!(cluster.cancel(), "it goes on, and nothing runs");
        // The next run; and the start of the parties after it.
        for _ in 0..2 {
            let error = cluster.run_job(SelfTest::quick()).unwrap_err();
            assert!(matches!(error, ClusterError::Cancelled { .. }), "{error}");
        }
        drop(course);
        cluster.run_job(SelfTest::quick()).unwrap();
        assert!(!cluster.cancel(), "nothing goes on");
    }
}
