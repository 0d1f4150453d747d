//! The cluster as its user sees it: run jobs, get outputs or one clear error, run again.

use super::builder::ClusterBuilder;
use super::error::ClusterError;
use super::job::Job;
use super::launch::Launch;
use super::run::Run;
use super::session::Session;
use super::store::TensorId;
use super::watch::{Done, Watch};
use super::wire::{self, Command};
use crate::device::DeviceInUse;
use crate::net::PartyId;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

/// Three parties and the means to run functions and jobs in them.
///
/// A run goes on at all three at once. If it fails at one it ends at all, the processes end, and
/// the caller gets the likeliest cause; the next run starts new processes by itself, which have
/// none of what earlier runs kept. One run goes on at a time. Dropping the cluster ends its
/// processes; so does the end of this program, whatever way it comes about.
///
/// ```no_run
/// use cryptgpu_core::cluster::{Cluster, SelfTest};
///
/// let cluster = Cluster::local().start()?;
/// let run = cluster.run_job(SelfTest::quick())?;
/// println!("party 0 sent {} bytes", run.usage[0].stats.payload_bytes());
/// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
/// ```
#[derive(Debug)]
pub struct Cluster {
    pub(super) inner: Arc<Inner>,
}

/// What handles of a cluster have in common with it.
#[derive(Debug)]
pub(super) struct Inner {
    /// Tells this cluster from others of this program.
    pub(super) number: u64,
    pub(super) builder: ClusterBuilder,
    launch: Launch,
    /// Locked for as long as a run goes on.
    state: Mutex<State>,
    /// Locked for moments only.
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Session>,
    runs: u64,
    /// The cluster was dropped; only handles are left.
    closed: bool,
}

#[derive(Debug, Default)]
struct Facts {
    generation: u64,
    pids: Vec<u32>,
    devices: Vec<DeviceInUse>,
    /// What goes on now.
    running: Option<String>,
    /// Tensors whose last handle is gone, to be told to the parties with the next command.
    dropped: Vec<TensorId>,
}

/// How far a job is at one party.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Which party tells.
    pub party: PartyId,
    /// 0 to 1.
    pub fraction: f64,
    /// What it is about to do.
    pub text: String,
    /// The step it is in.
    pub step: String,
}

impl Cluster {
    /// Three parties on this machine, each a process of its own, with the settings' defaults.
    pub fn local() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// Three parties on three threads of this process: for a first try and for stepping through a
    /// function with a debugger. **No secret is safe from this process.** Everything else is as with
    /// [`Cluster::local`], but what parties print appears as it is, and [`ClusterBuilder::threads`]
    /// has no effect.
    pub fn in_memory() -> ClusterBuilder {
        ClusterBuilder { in_memory: true, ..ClusterBuilder::default() }
    }

    pub(super) fn start(builder: ClusterBuilder) -> Result<Self, ClusterError> {
        static CLUSTERS: AtomicU64 = AtomicU64::new(0);
        let (launch, number) = (Launch::find(&builder)?, CLUSTERS.fetch_add(1, Relaxed));
        let inner = Inner { number, builder, launch, state: Mutex::default(), facts: Mutex::default() };
        let cluster = Cluster { inner: Arc::new(inner) };
        cluster.restart()?;
        Ok(cluster)
    }

    /// Ends the processes, if there are any, and starts new ones.
    ///
    /// # Errors
    /// As [`ClusterBuilder::start`]; [`ClusterError::Busy`].
    pub fn restart(&self) -> Result<(), ClusterError> {
        let mut state = self.inner.lock("restart")?;
        self.inner.renew(&mut state)
    }

    /// How often processes were started. What a job kept is there as long as this is the same.
    pub fn generation(&self) -> u64 {
        self.inner.facts().generation
    }

    /// The operating system's numbers of the parties' processes; none after a failure, until the
    /// next run. Three times this process's own for parties in memory.
    pub fn pids(&self) -> Vec<u32> {
        self.inner.facts().pids.clone()
    }

    /// What each party computes on, by party; nothing after a failure, until the next run.
    pub fn devices(&self) -> Vec<DeviceInUse> {
        self.inner.facts().devices.clone()
    }

    /// The settings it was started with.
    pub fn settings(&self) -> &ClusterBuilder {
        &self.inner.builder
    }

    /// Runs one job at all parties, each with its own value.
    ///
    /// # Errors
    /// The likeliest cause, as [`ClusterError::Job`], [`ClusterError::Died`] or
    /// [`ClusterError::Silent`]; or why new processes, needed after a failure, did not start.
    pub fn run_job<J: Job>(&self, jobs: [J; 3]) -> Result<Run<J::Output>, ClusterError> {
        self.run_job_with(jobs, |_| ())
    }

    /// The same; `on_progress` gets to know how far the parties are.
    ///
    /// # Errors
    /// As [`Cluster::run_job`].
    pub fn run_job_with<J: Job>(
        &self,
        jobs: [J; 3],
        on_progress: impl FnMut(&Progress),
    ) -> Result<Run<J::Output>, ClusterError> {
        self.inner.begin(J::NAME)?.run_job(jobs, on_progress)
    }
}

impl Inner {
    /// The turn to run something called `name`, with three parties that are well.
    pub(super) fn begin(self: &Arc<Self>, name: &str) -> Result<Turn<'_>, ClusterError> {
        let mut state = self.lock(name)?;
        if state.closed {
            return Err(ClusterError::Ended);
        }
        if !state.session.as_mut().is_some_and(Session::is_well) {
            self.renew(&mut state)?;
        }
        state.runs += 1;
        let run = state.runs;
        let mut facts = self.facts();
        facts.running = Some(name.to_owned());
        // What is dropped from now on may be an argument of this very run.
        let free = std::mem::take(&mut facts.dropped);
        drop(facts);
        Ok(Turn { inner: self, state, run, name: name.to_owned(), free })
    }

    fn lock(&self, name: &str) -> Result<MutexGuard<'_, State>, ClusterError> {
        match self.state.try_lock() {
            Ok(state) => Ok(state),
            Err(TryLockError::Poisoned(state)) => Ok(state.into_inner()),
            Err(TryLockError::WouldBlock) => Err(ClusterError::Busy {
                wanted: name.to_owned(),
                running: self.facts().running.clone().unwrap_or_else(|| "a start of processes".to_owned()),
            }),
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last handle of a tensor is gone.
    pub(super) fn let_go(&self, generation: u64, id: TensorId) {
        let mut facts = self.facts();
        if facts.generation == generation {
            facts.dropped.push(id);
        }
    }

    fn renew(&self, state: &mut State) -> Result<(), ClusterError> {
        self.end(state);
        let session = Session::start(&self.builder, &self.launch)?;
        let mut facts = self.facts();
        facts.pids = session.pids();
        facts.devices = session.devices().to_vec();
        facts.generation += 1;
        state.session = Some(session);
        Ok(())
    }

    /// Lets the parties end by themselves.
    fn end(&self, state: &mut State) {
        self.forget();
        if let Some(session) = state.session.take() {
            session.end();
        }
    }

    fn forget(&self) {
        let mut facts = self.facts();
        facts.pids.clear();
        facts.devices.clear();
        facts.dropped.clear();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        self.inner.end(&mut state);
    }
}

/// The right to run one thing; nothing else runs meanwhile.
pub(super) struct Turn<'a> {
    inner: &'a Arc<Inner>,
    state: MutexGuard<'a, State>,
    pub(super) run: u64,
    name: String,
    /// Tensors that nobody names any more.
    free: Vec<TensorId>,
}

impl<'a> Turn<'a> {
    pub(super) fn cluster(&self) -> &'a Arc<Inner> {
        self.inner
    }

    /// What runs.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn in_memory(&self) -> bool {
        self.inner.builder.in_memory
    }

    pub(super) fn generation(&self) -> u64 {
        self.inner.facts().generation
    }

    /// A frame that asks for the job called `job`, but for its encoding.
    pub(super) fn frame(&self, job: &str) -> Result<Vec<u8>, ClusterError> {
        wire::encode_header(&Command::Run { run: self.run, job: job.to_owned() })
            .map_err(|error| ClusterError::argument(&format!("run {}", self.name), &error))
    }

    pub(super) fn run_job<J: Job>(
        mut self,
        jobs: [J; 3],
        mut on_progress: impl FnMut(&Progress),
    ) -> Result<Run<J::Output>, ClusterError> {
        let command = Command::Run { run: self.run, job: J::NAME.to_owned() };
        let encode = |job| {
            wire::encode(&command, job).map_err(|error| ClusterError::argument(&format!("run {}", J::NAME), &error))
        };
        let frames = [encode(&jobs[0])?, encode(&jobs[1])?, encode(&jobs[2])?];
        let ended = self.execute(frames, &mut on_progress)?;
        let decode = |party: PartyId| {
            postcard::from_bytes::<J::Output>(ended.output(party)).map_err(|error| ClusterError::Protocol {
                party,
                detail: format!("cannot decode the output of {}: {error}", J::NAME),
            })
        };
        let [p0, p1, p2] = PartyId::ALL;
        let outputs = [decode(p0)?, decode(p1)?, decode(p2)?];
        let differs = [p1, p2].into_iter().find(|&party| ended.output(party) != ended.output(p0));
        Ok(ended.into_run(outputs, differs))
    }

    /// Sends the parties their frames and waits for what they answer. After an error there are no
    /// parties any more.
    pub(super) fn execute(
        &mut self,
        frames: [Vec<u8>; 3],
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<Ended, ClusterError> {
        let ids = std::mem::take(&mut self.free);
        let Some(session) = self.state.session.as_mut() else { return Err(ClusterError::Ended) };
        let (start, bytes) = (Instant::now(), session.control_bytes());
        if !ids.is_empty() {
            session.tell_all(&Command::Free { ids })?;
        }
        let mut watch = Watch::new(session, self.run, &self.name, self.inner.builder.deadline);
        watch.send(frames);
        let outcome = watch.collect(on_progress);
        match outcome {
            Ok(done) => {
                let control_bytes = session.control_bytes() - bytes;
                Ok(Ended { done, seconds: start.elapsed().as_secs_f64(), control_bytes })
            }
            Err(error) => {
                self.state.session = None;
                self.inner.forget();
                Err(error)
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut facts = self.inner.facts();
        facts.running = None;
        // Nothing was sent.
        facts.dropped.append(&mut self.free);
    }
}

/// A run that ended well at all parties.
#[derive(Debug)]
pub(super) struct Ended {
    done: [Done; 3],
    seconds: f64,
    control_bytes: u64,
}

impl Ended {
    /// What the party sent back.
    pub(super) fn output(&self, party: PartyId) -> &[u8] {
        self.done[party.index()].output()
    }

    /// With the outputs out of their encoding.
    pub(super) fn into_run<T>(self, outputs: [T; 3], differs: Option<PartyId>) -> Run<T> {
        let usage = self.done.each_ref().map(|done| done.usage);
        let records = self.done.map(|done| done.record);
        Run { outputs, usage, seconds: self.seconds, control_bytes: self.control_bytes, records, differs }
    }
}
