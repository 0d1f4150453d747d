//! What a party has at hand in a job: its links and protocols, and what earlier runs left.

use super::execute::tell;
use super::gate::{self, Asks, Gate, Origin, To, What};
use crate::cluster::marshal::store::{Held, Store};
use crate::cluster::wire::error::{Failure, FailureKind};
use crate::cluster::wire::frame::{self, Outbox};
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::{Event, HeldId};
use crate::mpc::{CheckRange, Party, Settings};
use crate::net::{GaveUp, Network, PartyId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a party has at hand in a job. It lasts as long as the party's process: what a run leaves for handles, later runs
/// find. After an error the processes end, and it with them.
pub struct PartyContext {
    party: Party,
    network: Arc<dyn Network>,
    voice: Voice,
    store: Store,
    in_memory: bool,
    settings: Settings,
    /// Who decides for the party's owner; nobody where the caller owns the party.
    gate: Option<Box<dyn Gate>>,
    /// Where what is held came from, and what the present run leaves comes from.
    origins: HashMap<HeldId, Origin>,
    leaving: Origin,
    /// How many bytes a function has returned to the caller, beside handles.
    returned: Option<usize>,
}

/// What each handle counts beyond what is held for it, where that is limited.
const HANDLE_BYTES: u64 = 1 << 10;

/// Least time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);

impl PartyContext {
    pub(super) fn new(party: Party, network: Arc<dyn Network>, in_memory: bool, outbox: Outbox) -> Self {
        let (settings, store) = (*party.settings(), Store::default());
        let voice = Voice { outbox, run: 0, reported: None };
        let (origins, leaving) = (HashMap::new(), Origin::default());
        PartyContext { party, network, voice, store, in_memory, settings, gate: None, origins, leaving, returned: None }
    }

    /// Whether somebody else than the caller owns this party.
    pub(super) fn is_guarded(&self) -> bool {
        self.gate.is_some()
    }

    /// Everything that is asked from now on passes this gate.
    pub(super) fn guard(&mut self, gate: Option<Box<dyn Gate>>) {
        self.gate = gate;
    }

    /// Whether the owner lets a job of that name run at all.
    pub(super) fn admit_name(&mut self, job: &str) -> Result<(), JobError> {
        let run = self.voice.run;
        self.gate.as_mut().map_or(Ok(()), |gate| gate.admit_name(run, job)).map_err(JobError::from)
    }

    /// Lets the job that runs do what it asks for, if the party's owner does and the other owners do too.
    pub(super) fn admit(&mut self, job: &str, mut asks: Asks) -> Result<(), JobError> {
        let run = self.voice.run;
        if let Some(gate) = &mut self.gate {
            if self.settings.check_range != CheckRange::Off {
                asks = asks.reveals(What::Range, "the run", To::All, 1);
            }
            gate.admit(run, job, &asks)?;
            gate::agree(self.network.as_ref(), gate.session(), run, job, &asks)
                .inspect_err(|error| gate.withdrawn(run, job, &error.to_string()))?;
            gate.begin(run, job, &asks)?;
        }
        self.leaving = asks.leaves;
        Ok(())
    }

    /// Refuses what runs before its owner is asked, and writes that down.
    pub(super) fn refuse(&mut self, job: &str, why: String) -> JobError {
        let run = self.voice.run;
        if let Some(gate) = &mut self.gate {
            gate.withdrawn(run, job, &why);
        }
        JobError::Refused(why)
    }

    /// Whether so much code of the caller's is kept, for functions that come.
    pub(super) fn keeps_code(&mut self, bytes: u64) -> bool {
        self.gate.as_mut().is_none_or(|gate| gate.keep_code(bytes))
    }

    /// A function returns so many bytes to the caller, beside handles.
    pub(super) fn returns(&mut self, bytes: usize) {
        self.returned = Some(bytes);
    }

    /// Writes down how the run ended, for the owner.
    pub(super) fn ended(&mut self, job: &str, failed: Option<GaveUp>) {
        let run = self.voice.run;
        if let Some(gate) = &mut self.gate {
            gate.ended(run, job, &gate::outcome(failed, self.returned));
        }
    }

    /// What the party notices about its own data, as far as its owner lets the caller hear it; the owner reads the rest in
    /// the party's log.
    pub(in crate::cluster) fn notices(&self, notices: Vec<String>) -> Vec<String> {
        if self.gate.as_ref().is_none_or(|gate| gate.tells_notices()) {
            return notices;
        }
        notices.iter().for_each(|notice| eprintln!("{notice}"));
        vec![]
    }

    /// Where what is held under that number came from.
    pub(in crate::cluster) fn origin(&self, id: HeldId) -> Origin {
        self.origins.get(&id).cloned().unwrap_or_default()
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
        self.voice.progress(fraction, text, &self.party.current_step());
    }

    /// What tells the caller how far the job is, apart from the party, for work that has the party.
    pub(in crate::cluster) fn voice(&self) -> Voice {
        self.voice.clone()
    }

    /// What is reported and left from now on belongs to this run, which computes as the cluster was told to.
    pub(in crate::cluster) fn begin(&mut self, run: u64) {
        (self.voice.run, self.voice.reported, self.returned) = (run, None, None);
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

    /// What this run leaves from now on comes from there: known when it is looked at only.
    pub(in crate::cluster) fn leaves(&mut self, origin: Origin) {
        self.leaving = origin;
    }

    /// Holds what this run leaves at `place`, as far as the party's owner lets the caller have it held.
    pub(in crate::cluster) fn hold(&mut self, place: u32, held: Held) -> Result<(), JobError> {
        let id = HeldId { run: self.voice.run, place };
        if let Some(gate) = &mut self.gate {
            let handles = self.store.len() as u64 + 1;
            gate.hold(id.run, self.store.bytes() + held.bytes() + handles * HANDLE_BYTES)?;
        }
        self.origins.insert(id, self.leaving.clone());
        self.store.keep(id, held);
        Ok(())
    }

    /// What is held under that number.
    pub(in crate::cluster) fn held(&self, id: HeldId) -> Result<Held, JobError> {
        self.store.get(id).cloned().ok_or_else(|| JobError::Other(format!("this party holds nothing as {id:?}")))
    }

    /// Lets go of what no handle names any more.
    pub(in crate::cluster) fn free(&mut self, ids: &[HeldId]) {
        ids.iter().for_each(|id| drop(self.origins.remove(id)));
        self.store.free(ids);
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

/// What a job tells its caller with while it runs.
#[derive(Clone)]
pub(in crate::cluster) struct Voice {
    outbox: Outbox,
    run: u64,
    reported: Option<Instant>,
}

impl Voice {
    /// Tells the controller that `fraction` (0 to 1) of the job is done, and what comes now, in which step; at most ten
    /// times a second, but for the first and the last.
    pub(in crate::cluster) fn progress(&mut self, fraction: f64, text: &str, step: &str) {
        if fraction < 1.0 && self.reported.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        let (text, step) = (text.to_owned(), step.to_owned());
        tell(&self.outbox, &Event::Progress { run: self.run, fraction, text, step });
    }

    /// Tells the caller something of a type that is fixed for each job.
    pub(in crate::cluster) fn tell(&self, told: &impl serde::Serialize) -> Result<(), JobError> {
        let frame = frame::encode(&Event::Told { run: self.run }, told);
        self.outbox.post(frame.map_err(|error| JobError::Other(format!("cannot encode what is told: {error}")))?);
        Ok(())
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
        let outbox = Outbox::new(move |frame: Vec<u8>| {
            if let Ok((Event::Progress { run, fraction, .. }, _)) = frame::decode(&frame) {
                told.lock().push((run, fraction));
            }
        });
        PartyContext::new(party, network, true, outbox)
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
