//! The cluster as its user sees it: run jobs, get outputs or one clear error, run again.

use super::builder::ClusterBuilder;
use super::error::ClusterError;
use super::job::Job;
use super::process::describe;
use super::session::{Arrival, Session, What};
use super::wire::{self, Command, Event, Usage};
use crate::net::PartyId;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Three party processes and the means to run jobs in them.
///
/// A job runs at all three at once. If it fails at one it ends at all, the processes end, and
/// the caller gets the likeliest cause; the next run starts new processes by itself, which have
/// none of what earlier jobs kept. Dropping the cluster ends its processes; so does the end of
/// this program, whatever way it comes about.
///
/// ```no_run
/// use cryptgpu_core::cluster::{Cluster, SelfTest};
///
/// let cluster = Cluster::local().start()?;
/// let run = cluster.run(SelfTest::quick())?;
/// println!("party 0 sent {} bytes", run.usage[0].stats.payload_bytes());
/// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
/// ```
#[derive(Debug)]
pub struct Cluster {
    builder: ClusterBuilder,
    program: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Session>,
    generation: u64,
    runs: u64,
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

/// What came of a job.
#[derive(Clone, Debug)]
pub struct Run<T> {
    /// By party.
    pub outputs: [T; 3],
    /// What it took, by party.
    pub usage: [Usage; 3],
    /// Wall-clock time as seen from here, with the job's and the outputs' way.
    pub seconds: f64,
}

/// When one party has failed, the others have so long to tell how they fared.
const GRACE: Duration = Duration::from_secs(2);

impl Cluster {
    /// Three parties on this machine, with the settings' defaults.
    pub fn local() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    pub(super) fn start(builder: ClusterBuilder) -> Result<Self, ClusterError> {
        let program = builder.find_program()?;
        let cluster = Cluster { builder, program, state: Mutex::default() };
        cluster.restart()?;
        Ok(cluster)
    }

    /// Ends the processes, if there are any, and starts new ones.
    ///
    /// # Errors
    /// As [`ClusterBuilder::start`].
    pub fn restart(&self) -> Result<(), ClusterError> {
        self.renew(&mut self.state())
    }

    /// How often processes were started. What a job kept is there as long as this is the same.
    pub fn generation(&self) -> u64 {
        self.state().generation
    }

    /// The operating system's numbers of the parties' processes; none after a failure, until the
    /// next run.
    pub fn pids(&self) -> Vec<u32> {
        self.state().session.as_ref().map(Session::pids).unwrap_or_default()
    }

    /// The settings it was started with.
    pub fn settings(&self) -> &ClusterBuilder {
        &self.builder
    }

    /// Runs one job at all parties, each with its own value. One job runs at a time.
    ///
    /// # Errors
    /// The likeliest cause, as [`ClusterError::Job`], [`ClusterError::Died`] or
    /// [`ClusterError::Silent`]; or why new processes, needed after a failure, did not start.
    pub fn run<J: Job>(&self, jobs: [J; 3]) -> Result<Run<J::Output>, ClusterError> {
        self.run_with(jobs, |_| ())
    }

    /// The same; `on_progress` gets to know how far the parties are.
    ///
    /// # Errors
    /// As [`Cluster::run`].
    pub fn run_with<J: Job>(
        &self,
        jobs: [J; 3],
        mut on_progress: impl FnMut(&Progress),
    ) -> Result<Run<J::Output>, ClusterError> {
        let mut state = self.state();
        if !state.session.as_mut().is_some_and(Session::is_well) {
            self.renew(&mut state)?;
        }
        state.runs += 1;
        let run = state.runs;
        let Some(session) = state.session.as_mut() else { return Err(self.nothing_runs()) };
        let start = Instant::now();
        let mut watch = Watch::new(session, run, J::NAME, self.builder.deadline);
        let outcome = watch.send(jobs).and_then(|()| watch.collect(&mut on_progress));
        let decoded = outcome.and_then(|bodies| decode_outputs::<J>(bodies));
        match decoded {
            Ok((outputs, usage)) => Ok(Run { outputs, usage, seconds: start.elapsed().as_secs_f64() }),
            Err(error) => {
                state.session = None;
                Err(error)
            }
        }
    }

    fn renew(&self, state: &mut State) -> Result<(), ClusterError> {
        if let Some(old) = state.session.take() {
            old.end();
        }
        state.session = Some(Session::start(&self.builder, &self.program)?);
        state.generation += 1;
        Ok(())
    }

    fn nothing_runs(&self) -> ClusterError {
        ClusterError::Controller {
            action: "run a job".into(),
            detail: "no party runs".into(),
            hint: "Start the cluster again.".into(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(session) = self.state().session.take() {
            session.end();
        }
    }
}

/// The frame of a party's output, and where its body begins.
type Output = (Vec<u8>, usize);

fn decode_outputs<J: Job>(done: [(Output, Usage); 3]) -> Result<([J::Output; 3], [Usage; 3]), ClusterError> {
    let usage = done.each_ref().map(|(_, usage)| *usage);
    let decode = |party: PartyId, ((frame, body), _): &(Output, Usage)| {
        postcard::from_bytes::<J::Output>(&frame[*body..]).map_err(|error| ClusterError::Protocol {
            party,
            detail: format!("cannot decode the output of {}: {error}", J::NAME),
        })
    };
    let [p0, p1, p2] = PartyId::ALL;
    Ok(([decode(p0, &done[0])?, decode(p1, &done[1])?, decode(p2, &done[2])?], usage))
}

/// One run, watched until all parties have told how it ended, or one has failed to.
struct Watch<'a> {
    session: &'a mut Session,
    run: u64,
    job: &'static str,
    deadline: Duration,
    heard: [Instant; 3],
    steps: [String; 3],
    usage: [Usage; 3],
    done: [Option<Output>; 3],
    failed: [Option<ClusterError>; 3],
    first_failure: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(session: &'a mut Session, run: u64, job: &'static str, deadline: Duration) -> Self {
        Watch {
            session,
            run,
            job,
            deadline,
            heard: [Instant::now(); 3],
            steps: std::array::from_fn(|_| "start".to_owned()),
            usage: Default::default(),
            done: Default::default(),
            failed: Default::default(),
            first_failure: None,
        }
    }

    fn send<J: Job>(&mut self, jobs: [J; 3]) -> Result<(), ClusterError> {
        for (party, job) in PartyId::ALL.into_iter().zip(jobs) {
            let command = Command::Run { run: self.run, job: self.job.to_owned() };
            let frame = wire::encode(&command, &job).map_err(|error| ClusterError::Protocol {
                party,
                detail: format!("cannot encode the job {}: {error}", self.job),
            })?;
            self.session.post(party, frame);
        }
        self.heard = [Instant::now(); 3];
        Ok(())
    }

    /// Waits for all parties' outputs.
    fn collect(&mut self, on_progress: &mut impl FnMut(&Progress)) -> Result<[(Output, Usage); 3], ClusterError> {
        while self.open().next().is_some() {
            match self.session.next(self.patience()) {
                Some(Arrival { from, what }) => self.take(from, what, on_progress),
                None if self.first_failure.is_some() => break,
                None => self.blame_silence(),
            }
        }
        let [u0, u1, u2] = self.usage;
        match std::mem::take(&mut self.done) {
            [Some(p0), Some(p1), Some(p2)] => Ok([(p0, u0), (p1, u1), (p2, u2)]),
            _ => Err(self.cause()),
        }
    }

    /// Parties that have not told how it ended.
    fn open(&self) -> impl Iterator<Item = PartyId> {
        let told = |party: &PartyId| self.done[party.index()].is_some() || self.failed[party.index()].is_some();
        PartyId::ALL.into_iter().filter(move |party| !told(party))
    }

    /// When waiting for the next event makes no more sense.
    fn patience(&self) -> Instant {
        let silence = self.open().map(|party| self.heard[party.index()] + self.deadline).min();
        let silence = silence.unwrap_or_else(Instant::now);
        self.first_failure.map_or(silence, |first| first + GRACE.min(self.deadline))
    }

    fn take(&mut self, from: PartyId, what: What, on_progress: &mut impl FnMut(&Progress)) {
        let at = from.index();
        self.heard[at] = Instant::now();
        match what {
            What::Event(Event::Progress { run, fraction, text, step }, ..) if run == self.run => {
                self.steps[at].clone_from(&step);
                on_progress(&Progress { party: from, fraction, text, step });
            }
            What::Event(Event::Used { run, usage }, ..) if run == self.run => self.usage[at] = usage,
            What::Event(Event::Done { run }, frame, body) if run == self.run => self.done[at] = Some((frame, body)),
            What::Event(Event::Failed { run, failure }, ..) if run == self.run => {
                let log = self.session.process(from).log();
                self.fail(from, ClusterError::Job { party: from, job: self.job.into(), failure, log });
            }
            What::Event(Event::Unable { detail }, ..) => {
                self.fail(from, ClusterError::Protocol { party: from, detail });
            }
            What::Event(..) | What::Piece => {}
            What::Gone(detail) => {
                let process = self.session.process(from);
                let ended = process.wait_exit(Duration::from_millis(500));
                let status = ended.map_or_else(|| format!("its control link closed: {detail}"), describe);
                let (log, step) = (process.log(), self.steps[at].clone());
                self.done[at] = None;
                self.fail(from, ClusterError::Died { party: from, job: self.job.into(), status, step, log });
            }
        }
    }

    fn fail(&mut self, party: PartyId, error: ClusterError) {
        self.failed[party.index()].get_or_insert(error);
        self.first_failure.get_or_insert_with(Instant::now);
    }

    /// Nothing came in time: the party that was silent for longest is to blame.
    fn blame_silence(&mut self) {
        let Some(party) = self.open().min_by_key(|party| self.heard[party.index()]) else { return };
        let waited = self.heard[party.index()].elapsed();
        let step = self.steps[party.index()].clone();
        self.fail(party, ClusterError::Silent { party, job: self.job.into(), waited, step });
    }

    /// Of what the parties reported, the likeliest cause of the rest. A party that waits for one
    /// that waits for a third reports the second: so of equal errors that one counts whose peer
    /// has reported nothing itself.
    fn cause(&mut self) -> ClusterError {
        let reported = self.failed.each_ref().map(Option::is_some);
        let is_echo = |error: &ClusterError| error.peer().is_some_and(|peer| reported[peer.index()]);
        let errors = self.failed.iter_mut().filter_map(Option::take);
        errors.min_by_key(|error| (error.rank(), is_echo(error))).unwrap_or_else(|| ClusterError::Protocol {
            party: PartyId::ALL[0],
            detail: format!("the job {} ended without a result", self.job),
        })
    }
}
