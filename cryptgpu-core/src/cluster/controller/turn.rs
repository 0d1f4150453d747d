//! One turn of a cluster: the right to run one thing, from its frames to what came of it.

use super::inner::{Inner, State};
use super::run::Run;
use super::watch::{Done, Heard, Progress, Watch};
use crate::cluster::interrupt::GoingOn;
use crate::cluster::launch::session::Session;
use crate::cluster::party::job::Job;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::frame;
use crate::cluster::wire::message::{Command, HeldId};
use crate::cluster::wire::object::Library;
use crate::net::PartyId;
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The right to run one thing; nothing else runs meanwhile.
pub(super) struct Turn<'a> {
    inner: &'a Arc<Inner>,
    state: MutexGuard<'a, State>,
    pub(super) run: u64,
    name: String,
    /// Tensors that nobody names any more.
    free: Vec<HeldId>,
    /// How long it may take.
    pub(super) limit: Duration,
    /// From the start of parties on, where one is needed.
    going_on: GoingOn,
}

impl<'a> Turn<'a> {
    /// The turn to run something called `name`, with three parties that are well.
    pub(super) fn begin(inner: &'a Arc<Inner>, name: &str) -> Result<Self, ClusterError> {
        let mut state = inner.lock(name)?;
        if state.closed {
            return Err(ClusterError::Ended);
        }
        let going_on = GoingOn::new();
        if !state.session.as_mut().is_some_and(Session::is_well) {
            inner.renew(&mut state, &going_on)?;
        }
        state.runs += 1;
        let run = state.runs;
        let mut facts = inner.facts();
        facts.running = Some(name.to_owned());
        facts.cancelled_at(state.session.as_ref().map(|session| session.mailbox().clone()));
        // What is dropped from now on may be an argument of this very run.
        let free = std::mem::take(&mut facts.dropped);
        drop(facts);
        let limit = inner.configuration.time_limit;
        Ok(Turn { inner, state, run, name: name.to_owned(), free, limit, going_on })
    }

    pub(super) fn cluster(&self) -> &'a Arc<Inner> {
        self.inner
    }

    /// What runs.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn in_memory(&self) -> bool {
        self.inner.configuration.in_memory()
    }

    pub(super) fn generation(&self) -> u64 {
        self.inner.facts().generation
    }

    /// Sends the parties those libraries that they do not have.
    pub(super) fn ship(&mut self, libraries: &[Library]) -> Result<(), ClusterError> {
        match self.state.session.as_mut() {
            Some(session) => session.ship(libraries),
            None => Err(ClusterError::Ended),
        }
    }

    /// A frame that asks for the job called `job`, but for its encoding.
    pub(super) fn frame(&self, job: &str) -> Result<Vec<u8>, ClusterError> {
        frame::encode_header(&Command::Run { run: self.run, job: job.to_owned() })
            .map_err(|error| ClusterError::argument(&format!("run {}", self.name), &error))
    }

    pub(super) fn run_job<J: Job>(
        self,
        jobs: [J; 3],
        mut on_progress: impl FnMut(&Progress),
    ) -> Result<Run<J::Output>, ClusterError> {
        self.run_job_hearing(jobs, |heard| {
            if let Heard::Progress(progress) = heard {
                on_progress(progress);
            }
        })
    }

    /// As [`Turn::run_job`]; `hear` learns what the parties say while it runs.
    pub(super) fn run_job_hearing<J: Job>(
        mut self,
        jobs: [J; 3],
        mut hear: impl FnMut(Heard<'_>),
    ) -> Result<Run<J::Output>, ClusterError> {
        let command = Command::Run { run: self.run, job: J::NAME.to_owned() };
        let encode = |job| {
            frame::encode(&command, job).map_err(|error| ClusterError::argument(&format!("run {}", J::NAME), &error))
        };
        let frames = [encode(&jobs[0])?, encode(&jobs[1])?, encode(&jobs[2])?];
        let ended = self.execute(frames, &mut hear)?;
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
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<Ended, ClusterError> {
        let ids = std::mem::take(&mut self.free);
        let Some(session) = self.state.session.as_mut() else { return Err(ClusterError::Ended) };
        let (start, bytes) = (Instant::now(), session.control_bytes());
        if !ids.is_empty() {
            session.tell_all(&Command::Free { ids })?;
        }
        self.inner.logs.begin(self.run, &self.name);
        self.inner.board.begin(self.run, &self.name);
        let deadline = self.inner.configuration.deadline;
        let mut watch = Watch::new(session, self.run, &self.name, deadline, self.limit, &self.going_on);
        watch.send(frames);
        let outcome = watch.collect(hear);
        match outcome {
            Ok(done) => {
                let control_bytes = session.control_bytes() - bytes;
                Ok(Ended { done, duration: start.elapsed(), control_bytes })
            }
            Err(error) => {
                self.inner.logs.ended(&error);
                self.state.session = None;
                self.inner.forget();
                Err(error)
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.inner.board.over();
        let mut facts = self.inner.facts();
        facts.running = None;
        facts.mailbox = None;
        // Nothing was sent.
        facts.dropped.append(&mut self.free);
    }
}

/// A run that ended well at all parties.
#[derive(Debug)]
pub(super) struct Ended {
    done: [Done; 3],
    duration: Duration,
    control_bytes: u64,
}

impl Ended {
    /// What the party sent back.
    pub(super) fn output(&self, party: PartyId) -> &[u8] {
        self.done[party.index()].output()
    }

    /// The run, with the outputs out of their encoding.
    pub(super) fn into_run<T>(self, outputs: [T; 3], differs: Option<PartyId>) -> Run<T> {
        let usage = self.done.each_ref().map(|done| done.usage);
        let traces = self.done.map(|done| done.trace);
        Run { outputs, usage, duration: self.duration, control_bytes: self.control_bytes, traces, differs }
    }
}
