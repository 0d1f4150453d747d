//! What can go wrong with a cluster, as its user sees it: one error, the root cause.

use crate::net::{Deadlock, PartyId, at_step};
use std::path::PathBuf;
use std::time::Duration;

/// What kind of failure ended a job at a party. In the order of how likely it is the cause and
/// not the consequence of another party's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// The job panicked: a mistake in the program.
    Panic,
    /// The party's owner does not allow it: the message names the line of the policy.
    Refused,
    /// The job refused its input, or failed by itself.
    Job,
    /// A message that breaks the wire format, is too large, or is not the expected one.
    BadMessage,
    /// Linking up with the other parties failed.
    Setup,
    /// A peer sent nothing within the deadline.
    Deadline,
    /// A peer closed its link, usually because of a failure of its own.
    PeerClosed,
}

/// How a job ended at a party that could still say so.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// The step the party was in, if it could tell.
    pub step: String,
    /// What it said, naming whatever it knew.
    pub message: String,
    /// Whose link failed, if one did.
    pub peer: Option<PartyId>,
}

/// An error of a cluster. After it the cluster has no processes; its next run starts new ones.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The `cryptgpu` program is nowhere to be found.
    #[error(
        "the program `cryptgpu`, which parties run, was not found at {}: build it (`cargo build --release`), or set CRYPTGPU_PROGRAM to its path",
        tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    ProgramMissing {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// Something on this side failed before the parties were asked.
    #[error("cannot {action}: {detail}. {hint}")]
    Controller {
        /// What was tried.
        action: String,
        /// What the operating system or TLS said.
        detail: String,
        /// What to do about it.
        hint: String,
    },
    /// What the caller asked for makes no sense; the parties were not asked and run on.
    #[error("cannot {action}: {detail}")]
    Argument {
        /// What was asked for.
        action: String,
        /// What is wrong with it, and what to do.
        detail: String,
    },
    /// Another run of the same cluster goes on, in another thread or around this call.
    #[error("cannot run {wanted}: this cluster is busy with {running}. Wait for it to end, or start a second cluster")]
    Busy {
        /// What was asked for.
        wanted: String,
        /// What goes on.
        running: String,
    },
    /// A closure that captures, or a pointer to a function, where cells are compiled; elsewhere the compiler refuses it.
    #[error(
        "cannot run {function} at the parties: it captures variables, or is a pointer to a function, and nothing of here \
         exists there. Pass the values as arguments, `cluster.run(|p: &mut Party, (x, n): (Rep, u64)| …, (&x, n))`, and \
         name the function itself"
    )]
    Captures {
        /// What was to run.
        function: String,
    },
    /// The cluster itself is gone.
    #[error(
        "the cluster that this handle belongs to has ended: keep the `Cluster` for as long as its handles are used"
    )]
    Ended,
    /// A handle of another cluster.
    #[error(
        "this handle of {what} belongs to another cluster: use it with the cluster that made it, or share or load the same here"
    )]
    ForeignHandle {
        /// What it stands for.
        what: String,
    },
    /// A handle from before the parties were started anew.
    #[error(
        "this handle of {what} is from generation {generation} of the parties, and after an error or a restart this is \
         generation {now}, which has none of what the earlier one held: share, compute or load it again"
    )]
    StaleHandle {
        /// What it stands for.
        what: String,
        /// The generation that it is of.
        generation: u64,
        /// The present one.
        now: u64,
    },
    /// A handle that was freed.
    #[error(
        "this handle of {what} was freed: share, compute or load it again, and call `free` only when it is used no more"
    )]
    FreedHandle {
        /// What it stood for.
        what: String,
    },
    /// The parties came back with different things where the same is needed.
    #[error(
        "party {party} came back with another value than party 0: look at `outputs`, or let all parties return what \
         they have in common"
    )]
    Disagree {
        /// A party that differs from party 0.
        party: PartyId,
    },
    /// The parties left shares that do not belong together.
    #[error(
        "the parties of {function} left different things: {detail}. All three must return shares of the same value, in the same order"
    )]
    Unequal {
        /// What ran.
        function: String,
        /// What they left.
        detail: String,
    },
    /// A party did not come up.
    #[error("party {party} did not start: {detail}{}", log_note(log))]
    Startup {
        /// The party.
        party: PartyId,
        /// What is known.
        detail: String,
        /// Its last lines of log.
        log: Vec<String>,
    },
    /// A host that a party was to be started on: it cannot be reached, refuses, or lacks something.
    #[error("party {party} on {host}: cannot {action}: {detail}. {hint}")]
    Host {
        /// The party.
        party: PartyId,
        /// The host, as it was named.
        host: String,
        /// What was tried.
        action: String,
        /// What is known.
        detail: String,
        /// What to do about it.
        hint: String,
    },
    /// The job failed at a party.
    #[error("party {party} failed in job {job}{}: {}{}", step_note(failure), failure.message, log_note(log))]
    Job {
        /// The party whose failure is the likely cause.
        party: PartyId,
        /// The job's name.
        job: String,
        /// What it reported.
        failure: Failure,
        /// Its last lines of log.
        log: Vec<String>,
    },
    /// The parties wait for each other, and would until their deadlines pass.
    #[error("{job}: {deadlock}")]
    Deadlock {
        /// What ran.
        job: String,
        /// Who waits for whom, in which step.
        deadlock: Deadlock,
    },
    /// All parties came back, but not all messages were received: the next run would find them in its way.
    #[error(
        "{job}: party {from} sent party {to} {messages} message(s) that it did not receive. Does every party run every \
         step, and receive what its peers send?"
    )]
    Unread {
        /// What ran.
        job: String,
        /// Who sent them.
        from: PartyId,
        /// Who did not receive them.
        to: PartyId,
        /// How many.
        messages: u64,
    },
    /// All parties came back, but not with the same number of nonces drawn: the masks of the next run would not fit.
    #[error(
        "{job}: party {party} has drawn {drawn} nonces since the start and party {other} {other_drawn}. Do all three parties \
         call the same protocols, in the same order, and draw masks together?"
    )]
    Apart {
        /// What ran.
        job: String,
        /// A party that differs from the others.
        party: PartyId,
        /// How many nonces it has drawn.
        drawn: u64,
        /// One of the others.
        other: PartyId,
        /// How many that one has drawn.
        other_drawn: u64,
    },
    /// A revealed loss cannot be one: values of the training have left the range of its numbers, and all that would follow means
    /// nothing. The run was stopped.
    #[error(
        "training left the range of its numbers: the loss of iteration {} was revealed as {loss:.4}, which no loss can \
         be. The run was stopped, and its weights mean nothing. Lower the rate; or take more fraction bits, or the exact \
         truncation, where `Fidelity::Paper` (--fidelity paper) was asked for; `check_range(CheckRange::Layers)` \
         (--check-range=layers) names the layer",
        .iteration + 1
    )]
    LeftRange {
        /// The iteration, from 0; the message counts from 1, as progress does.
        iteration: usize,
        /// What was revealed: the mean over the minibatch.
        loss: f64,
    },
    /// A training with checkpoints lost its parties, and went on no further.
    #[error("{error}\nThe training went on with new parties {restarts} times before, and does not now: {reason}")]
    Lost {
        /// How it lost the last parties.
        error: Box<ClusterError>,
        /// How often it went on with new ones before.
        restarts: usize,
        /// Why it does not now.
        reason: String,
    },
    /// [`Cluster::cancel`](crate::cluster::Cluster::cancel) was called while it ran, or while parties started for it.
    #[error("{job} was cancelled: the parties have ended, and the next run starts new ones")]
    Cancelled {
        /// What ran.
        job: String,
    },
    /// It did not end within its limit: that of [`run_within`](crate::cluster::Cluster::run_within), or
    /// [`ClusterBuilder::time_limit`](crate::cluster::ClusterBuilder::time_limit).
    #[error(
        "{job} did not end within {limit:?}: the parties have ended, and the next run starts new ones. Allow it more time, \
         or look for a step that does not end"
    )]
    TimeLimit {
        /// What ran.
        job: String,
        /// The limit.
        limit: Duration,
    },
    /// A party's process ended while it was needed.
    #[error(
        "party {party} died in job {job} ({status}){}: was it killed, or out of memory?{}",
        at_step(.step), log_note(log)
    )]
    Died {
        /// The party.
        party: PartyId,
        /// The job's name.
        job: String,
        /// Exit status or signal.
        status: String,
        /// The last step that it reported.
        step: String,
        /// Its last lines of log.
        log: Vec<String>,
    },
    /// A party's process exists but has not said anything, not even that it is alive.
    #[error(
        "party {party} gave no sign of life for {waited:?} in job {job}{}: is its process stopped, or its host cut off?",
        at_step(.step)
    )]
    Silent {
        /// The party.
        party: PartyId,
        /// The job's name.
        job: String,
        /// How long nothing was heard from it.
        waited: Duration,
        /// The last step that it reported.
        step: String,
    },
    /// Somebody asked for the end of the run: see [`interrupt`](crate::cluster::interrupt).
    #[error("job {job} was interrupted at step {step}: its parties have ended, and the next run starts new ones")]
    Interrupted {
        /// The job's name.
        job: String,
        /// The last step that a party told of.
        step: String,
    },
    /// A party or the controller sent what the control protocol does not allow.
    #[error("party {party} and the controller do not understand each other: {detail}. Are both of the same version?")]
    Protocol {
        /// The party.
        party: PartyId,
        /// What is wrong.
        detail: String,
    },
}

impl ClusterError {
    /// The party that the error is about, if it is about one.
    pub fn party(&self) -> Option<PartyId> {
        match self {
            ClusterError::Disagree { party }
            | ClusterError::Startup { party, .. }
            | ClusterError::Host { party, .. }
            | ClusterError::Job { party, .. }
            | ClusterError::Died { party, .. }
            | ClusterError::Silent { party, .. }
            | ClusterError::Apart { party, .. }
            | ClusterError::Protocol { party, .. } => Some(*party),
            ClusterError::Lost { error, .. } => error.party(),
            _ => None,
        }
    }

    /// The step in which it was noticed, where it is known; otherwise empty.
    pub(crate) fn step(&self) -> &str {
        match self {
            ClusterError::Job { failure, .. } => &failure.step,
            ClusterError::Died { step, .. }
            | ClusterError::Silent { step, .. }
            | ClusterError::Interrupted { step, .. } => step,
            ClusterError::Lost { error, .. } => error.step(),
            _ => "",
        }
    }

    /// Whose link failed, if that is what the error is about.
    pub(in crate::cluster) fn peer(&self) -> Option<PartyId> {
        match self {
            ClusterError::Job { failure, .. } => failure.peer,
            _ => None,
        }
    }

    pub(in crate::cluster) fn argument(action: &str, detail: &dyn std::fmt::Display) -> Self {
        ClusterError::Argument { action: action.to_owned(), detail: detail.to_string() }
    }

    /// Smaller is likelier to be the cause of what other parties report.
    pub(in crate::cluster) fn rank(&self) -> u8 {
        match self {
            ClusterError::Job { failure, .. } if failure.kind <= FailureKind::Job => 1,
            ClusterError::Died { .. } | ClusterError::Startup { .. } => 2,
            ClusterError::Protocol { .. } => 3,
            ClusterError::Job { failure, .. } if failure.kind < FailureKind::Deadline => 4,
            ClusterError::Silent { .. } => 5,
            ClusterError::Job { failure, .. } if failure.kind == FailureKind::Deadline => 6,
            ClusterError::Job { .. } => 7,
            // The others are no party's.
            _ => 0,
        }
    }
}

/// The step, unless the message names it anyway.
fn step_note(failure: &Failure) -> String {
    match failure.message.contains(&failure.step) {
        true => String::new(),
        false => at_step(&failure.step),
    }
}

fn log_note(log: &[String]) -> String {
    if log.is_empty() { String::new() } else { format!("\nlast lines of its log:\n  {}", log.join("\n  ")) }
}
