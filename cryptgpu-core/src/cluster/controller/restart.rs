//! A training from one set of parties to the next: when it loses them and has checkpoints, new ones are started, read their
//! examples again, and go on from the last checkpoint that all three have. Which errors another attempt may mend is decided
//! here; what the parties compute is not known here.

use super::cluster::Cluster;
use super::dataset::data_job;
use super::start::{FirstWeights, Found, new_name};
use super::together::Together;
use super::turn::Turn;
use crate::cluster::interrupt::GoingOn;
use crate::cluster::launch::owners::SESSION;
use crate::cluster::marshal::dataset::Dataset;
use crate::cluster::party::keeper::Kept;
use crate::cluster::party::training::{First, TrainModel};
use crate::cluster::wire::error::{ClusterError, FailureKind};
use crate::net::PartyId;
use crate::nn::Graph;
use crate::nn::training::Train;
use std::time::Duration;

/// The longest pause before an attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// That a training lost its parties, and went on with new ones.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Restart {
    /// Iterations that lay behind it where it went on: those of the checkpoint, or 0 where it began anew.
    pub from: usize,
    /// Iterations that had ended when the parties were lost.
    pub reached: usize,
    /// Attempts to start parties that this took.
    pub attempts: usize,
    /// How they were lost.
    pub cause: String,
}

/// Whether other parties may get further after this error: it is of a process, a host or a link, and not of what was asked for.
pub(super) fn may_be_mended(error: &ClusterError) -> bool {
    match error {
        ClusterError::Died { .. } | ClusterError::Silent { .. } | ClusterError::Startup { .. } => true,
        ClusterError::Host { action, .. } => action != SESSION,
        ClusterError::Job { failure, .. } => {
            matches!(failure.kind, FailureKind::Setup | FailureKind::Deadline | FailureKind::PeerClosed)
        }
        _ => false,
    }
}

/// How long to wait before an attempt, after so many in a row.
pub(super) fn pause(before: usize) -> Duration {
    match before {
        0 => Duration::ZERO,
        more => Duration::from_secs(1 << (more - 1).min(10)).min(LONGEST_PAUSE),
    }
}

/// What a training is asked for, and how often it was started.
pub(super) struct Course {
    pub(super) graph: Graph,
    pub(super) owner: PartyId,
    pub(super) weights: FirstWeights,
    pub(super) train: Train,
    pub(super) data: Dataset,
    pub(super) held_out: Option<Dataset>,
    /// Its checkpoints, if it leaves any, and from which it goes on.
    pub(super) kept: Option<Kept>,
    /// How many attempts to start new parties it may take.
    pub(super) most: usize,
    /// How many it has taken.
    pub(super) attempts: usize,
    /// Iterations behind it when the last of them was made.
    pub(super) tried_at: Option<usize>,
    pub(super) restarts: Vec<Restart>,
}

impl Course {
    /// The job of each party.
    pub(super) fn jobs(&self, turn: &Turn<'_>) -> Result<[TrainModel; 3], ClusterError> {
        let (number, generation) = (turn.cluster().number, turn.generation());
        let job = |party: PartyId| -> Result<TrainModel, ClusterError> {
            let weights = match self.weights {
                // They were the parties' that were lost, and are in the checkpoint.
                FirstWeights::Trained(_) | FirstWeights::GoingOn(_) if !self.restarts.is_empty() => {
                    First::Owner { owner: self.owner, source: None }
                }
                _ => self.weights.at(party, self.owner, number, turn)?,
            };
            let data = data_job(&self.data, number, generation)?;
            let held_out = self.held_out.as_ref().map(|data| data_job(data, number, generation)).transpose()?;
            let (graph, train, kept) = (self.graph.clone(), self.train.clone(), self.kept.clone());
            Ok(TrainModel { graph, weights, train, data, held_out, kept })
        };
        let [p0, p1, p2] = PartyId::ALL.map(job);
        Ok([p0?, p1?, p2?])
    }

    fn lost(&self, error: ClusterError, reason: String) -> ClusterError {
        ClusterError::Lost { error: Box::new(error), restarts: self.restarts.len(), reason }
    }

    /// From which iteration the run goes on, which began with `first` and has told of `reached`: the next jobs say the same.
    fn choose(&mut self, found: Found, first: usize, reached: usize) -> Result<usize, String> {
        let Some(kept) = &mut self.kept else { return Err("it leaves no checkpoints".to_owned()) };
        // What came behind was told to nobody.
        let told = |iteration: &&u64| **iteration <= reached as u64;
        if let Found::Run { run, iterations, .. } = &found
            && *run == kept.run
            && let Some(&from) = iterations.iter().rfind(told)
        {
            kept.from = Some(from);
            return Ok(from as usize);
        }
        let at = kept.folder.display();
        let every = (kept.every as usize).max(1);
        if kept.from.is_some() || reached / every > first / every {
            return Err(format!("the parties no longer have a checkpoint in {at} in common"));
        }
        match self.weights {
            FirstWeights::Drawn | FirstWeights::Read(_) => {
                kept.run = new_name().map_err(|error| error.to_string())?;
                Ok(0)
            }
            FirstWeights::Trained(_) | FirstWeights::GoingOn(_) => {
                Err("the weights that it began with were lost too, and there is no checkpoint yet".to_owned())
            }
        }
    }
}

impl Cluster {
    /// New parties that go on with a training after an error; the error, where nothing is gained by that.
    pub(super) fn go_on(
        &self,
        error: ClusterError,
        course: &mut Course,
        progress: &mut Together,
    ) -> Result<(), ClusterError> {
        if course.kept.is_none() || course.most == 0 || progress.failed.is_some() || !may_be_mended(&error) {
            return Err(error);
        }
        // An interrupt between two attempts ends both.
        let going_on = GoingOn::new();
        let (reached, before) = (progress.reached(), course.attempts);
        let mut in_a_row = usize::from(course.tried_at == Some(reached));
        let mut latest = error.clone();
        loop {
            if course.attempts == course.most {
                let reason = format!("that was the last of {} attempts (`restarts`)", course.most);
                return Err(course.lost(latest, reason));
            }
            course.attempts += 1;
            course.tried_at = Some(reached);
            let (attempt, most) = (course.attempts, course.most);
            self.note(&format!(
                "training: new parties start, attempt {attempt} of {most}, after: {}",
                first_line(&latest)
            ));
            match self.start_again(course, pause(in_a_row), &going_on, progress.first(), reached) {
                Ok(from) => {
                    let (cause, attempts) = (first_line(&error), course.attempts - before);
                    self.note(&format!("training: it goes on after {from} iterations, of {reached} that had ended"));
                    progress.go_back(from);
                    course.restarts.push(Restart { from, reached, attempts, cause });
                    return Ok(());
                }
                Err(Trial::Ended(ended)) => return Err(ended),
                Err(Trial::Failed(error)) => latest = error,
                Err(Trial::Refused(reason)) => return Err(course.lost(error, reason)),
            }
            in_a_row += 1;
        }
    }

    /// One attempt: from which iteration its parties go on.
    fn start_again(
        &self,
        course: &mut Course,
        pause: Duration,
        going_on: &GoingOn,
        first: usize,
        reached: usize,
    ) -> Result<usize, Trial> {
        {
            let mut state = self.inner.lock("start a training again")?;
            self.inner.renew_after(&mut state, pause, going_on)?;
        }
        let Some(folder) = course.kept.as_ref().map(|kept| kept.folder.clone()) else { return Ok(first) };
        let found = self.find_checkpoints(&folder)?;
        let from = course.choose(found, first, reached).map_err(Trial::Refused)?;
        self.read_again(&course.data)?;
        course.held_out.iter().try_for_each(|data| self.read_again(data))?;
        Ok(from)
    }

    /// Tells what becomes of a run, on standard error and in the parties' log files.
    fn note(&self, text: &str) {
        eprintln!("{text}");
        self.inner.logs.note(text);
    }
}

/// How an attempt ended that did not go well.
enum Trial {
    /// Another one may go well.
    Failed(ClusterError),
    /// None will.
    Refused(String),
    /// The caller has ended it.
    Ended(ClusterError),
}

impl From<ClusterError> for Trial {
    fn from(error: ClusterError) -> Self {
        match error {
            ended @ (ClusterError::Cancelled { .. } | ClusterError::Interrupted { .. }) => Trial::Ended(ended),
            error if may_be_mended(&error) => Trial::Failed(error),
            error => Trial::Refused(error.to_string()),
        }
    }
}

/// An error without the lines of log behind it.
fn first_line(error: &ClusterError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
