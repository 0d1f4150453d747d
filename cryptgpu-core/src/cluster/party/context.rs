//! What a party has at hand in a job: its links and protocols, and what earlier runs left.

use crate::cluster::marshal::store::{Held, Store};
use crate::cluster::wire::error::{Failure, FailureKind};
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::HeldId;
use crate::mpc::{Party, Settings};
use crate::net::{GaveUp, Network, PartyId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a party has at hand in a job. It lasts as long as the party's process: what a run leaves for handles, later runs
/// find. After an error the processes end, and it with them.
pub struct PartyContext {
    party: Party,
    network: Arc<dyn Network>,
    report: Box<Report>,
    run: u64,
    reported: Option<Instant>,
    store: Store,
    in_memory: bool,
    settings: Settings,
}

/// Tells the controller: run, fraction, text, step.
pub(in crate::cluster) type Report = dyn Fn(u64, f64, &str, &str) + Send;

/// Least time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);

impl PartyContext {
    pub(super) fn new(party: Party, network: Arc<dyn Network>, in_memory: bool, report: Box<Report>) -> Self {
        let (settings, store) = (*party.settings(), Store::default());
        PartyContext { party, network, report, run: 0, reported: None, store, in_memory, settings }
    }

    /// Which of the three this is.
    pub fn id(&self) -> PartyId {
        self.party.id()
    }

    /// The party: links, randomness, protocols.
    pub fn party(&mut self) -> &mut Party {
        &mut self.party
    }

    /// The links beneath the party, for messages that are no protocol's.
    pub fn network(&self) -> Arc<dyn Network> {
        self.network.clone()
    }

    /// Tells the controller that `fraction` (0 to 1) of the job is done, and what comes now.
    /// Cheap; told at most ten times a second, but for the first and the last.
    pub fn progress(&mut self, fraction: f64, text: &str) {
        if fraction < 1.0 && self.reported.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        (self.report)(self.run, fraction, text, &self.party.current_step());
    }

    /// What is reported and left from now on belongs to this run, which computes as the cluster was told to.
    pub(in crate::cluster) fn begin(&mut self, run: u64) {
        self.run = run;
        self.reported = None;
        self.party.set_settings(self.settings);
        self.party.forget_range();
        self.network.endpoint().forget_error();
    }

    /// An error as it travels to the caller, with what the links and the party know about it.
    pub(in crate::cluster) fn failure(&self, error: &JobError) -> Failure {
        let mut failure = error.failure();
        if let (FailureKind::Job, Some(cause)) = (failure.kind, self.network.endpoint().first_error()) {
            let cause = JobError::Net(cause).failure();
            (failure.kind, failure.peer) = (cause.kind, cause.peer);
            failure.step = if failure.step.is_empty() { cause.step } else { failure.step };
        }
        if failure.step.is_empty() {
            failure.step = self.party.failed_step().to_owned();
        }
        failure
    }

    /// An error as the other parties hear it: where a function made one of its own of a link's, still as the link's.
    pub(in crate::cluster) fn gave_up(&self, error: &JobError) -> GaveUp {
        match (error.gave_up(), self.network.endpoint().first_error()) {
            (GaveUp::Failed, Some(cause)) => (&cause).into(),
            (reason, _) => reason,
        }
    }

    /// Holds what this run leaves at `place`.
    pub(in crate::cluster) fn hold(&mut self, place: u32, held: Held) {
        self.store.keep(HeldId { run: self.run, place }, held);
    }

    /// What is held under that number.
    pub(in crate::cluster) fn held(&self, id: HeldId) -> Result<Held, JobError> {
        self.store.get(id).cloned().ok_or_else(|| JobError::Other(format!("this party holds nothing as {id:?}")))
    }

    /// What is held for handles.
    pub(in crate::cluster) fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Whether the caller is in the same process.
    pub(in crate::cluster) fn in_memory(&self) -> bool {
        self.in_memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::mpc::MpcError;
    use crate::net::{NetError, Options, memory};
    use crate::prg::{Correlated, Key, Keys, Randomness};
    use parking_lot::Mutex;

    fn context(told: Arc<Mutex<Vec<(u64, f64)>>>) -> PartyContext {
        let [network, ..] = memory::trio(Options::default()).map(Arc::new);
        let keys = Keys::alone(Key::from_bytes([0; 16]));
        let correlated = Correlated::new(Randomness::default(), &keys);
        let party = Party::new(network.clone(), correlated, Settings::default(), Device::Cpu);
        let report = move |run, fraction, _: &str, _: &str| told.lock().push((run, fraction));
        PartyContext::new(party, network, true, Box::new(report))
    }

    #[test]
    fn progress_is_told_first_and_last_but_not_all_the_time() {
        let told: Arc<Mutex<Vec<(u64, f64)>>> = Arc::default();
        let mut context = context(told.clone());
        for run in [1, 2] {
            context.begin(run);
            for step in 0..=1000 {
                context.progress(f64::from(step) / 1000.0, "layers");
            }
        }
        let told = told.lock();
        for run in [1, 2] {
            let of_run: Vec<f64> = told.iter().filter(|(of, _)| *of == run).map(|(_, fraction)| *fraction).collect();
            assert_eq!((of_run.first(), of_run.last()), (Some(&0.0), Some(&1.0)));
            assert!(of_run.len() < 100, "{}", of_run.len());
        }
    }

    #[test]
    fn failures_tell_their_kind_and_step() {
        let party = PartyId::P1;
        let step = || "conv1/truncation".to_owned();
        let closed = NetError::PeerClosed { party, peer: party.next(), step: step(), reason: "gone".into() };
        let other = MpcError::other("no").located(party, &step());
        for (error, kind, at) in [
            (JobError::from(closed.clone()), FailureKind::PeerClosed, "conv1/truncation"),
            (JobError::from(MpcError::from(closed)), FailureKind::PeerClosed, "conv1/truncation"),
            (JobError::from(other), FailureKind::Job, "conv1/truncation"),
            (JobError::Other("no".into()), FailureKind::Job, ""),
        ] {
            let failure = error.failure();
            assert_eq!((failure.kind, failure.step.as_str()), (kind, at));
        }
    }
}
