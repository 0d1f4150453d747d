//! What keeps the tasks of a job from finding each other, each with what to do.

use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::version;
use crate::net::PartyId;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The tasks of a job did not find each other.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RendezvousError {
    /// This process is no task of a step.
    #[error("this is no task of a Slurm step: {detail}. Start it with `srun --ntasks=3`, in a batch script too")]
    NoTask {
        /// What is missing.
        detail: String,
    },
    /// The step does not have three tasks.
    #[error("the step {step} has {found} task(s), and there are three parties: `srun --ntasks=3`")]
    Tasks {
        /// Job and step.
        step: String,
        /// How many there are.
        found: u32,
    },
    /// A task that cannot do what it was asked for.
    #[error("this is rank {rank} of the step {step}: {detail}")]
    Rank {
        /// Its rank.
        rank: usize,
        /// Job and step.
        step: String,
        /// What is wrong, and what to do.
        detail: &'static str,
    },
    /// The folder cannot be used.
    #[error("cannot {action} {}: {detail}. Name a folder that all nodes share, and in which you may write", path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the operating system says.
        detail: String,
    },
    /// Somebody else owns the folder, or can write or read in it.
    #[error(
        "{} is not yours alone ({detail}): somebody else could be one of the parties. Remove it, and name a folder in which only \
         you can make others", path.display()
    )]
    Exposed {
        /// The step's folder.
        path: PathBuf,
        /// Its owner and permissions.
        detail: String,
    },
    /// Nobody came.
    #[error(
        "rank {} did not come to {} within {within:?}{}. Do all nodes share that folder (/tmp they do not), and do the nodes \
         reach each other?", ranks(missing), path.display(), detail.iter().map(|detail| format!(" ({detail})")).collect::<String>()
    )]
    Absent {
        /// Who did not come.
        missing: Vec<PartyId>,
        /// The step's folder.
        path: PathBuf,
        /// How long was waited.
        within: Duration,
        /// What is known of it.
        detail: Option<String>,
    },
    /// Another version of the program.
    #[error("rank {rank} runs `{theirs}`, this task `{}`: let all three run the same program", version())]
    Version {
        /// The other task.
        rank: usize,
        /// Its version.
        theirs: String,
    },
    /// A task that serves another process of rank 0.
    #[error("rank {rank} turns this process away: {detail}")]
    Refused {
        /// The other task.
        rank: usize,
        /// What it said.
        detail: String,
    },
    /// Something of this process itself.
    #[error("cannot {action}: {detail}")]
    Process {
        /// What was tried.
        action: &'static str,
        /// What the operating system or TLS said.
        detail: String,
    },
}

impl RendezvousError {
    pub(super) fn folder(action: &'static str, path: &Path, error: &dyn std::fmt::Display) -> Self {
        RendezvousError::Folder { action, path: path.to_owned(), detail: error.to_string() }
    }

    pub(super) fn process(action: &'static str, detail: &dyn std::fmt::Display) -> Self {
        RendezvousError::Process { action, detail: detail.to_string() }
    }

    /// The party that did not come or is another's.
    fn party(&self) -> Option<PartyId> {
        let rank = match self {
            RendezvousError::Absent { missing, .. } => match missing.as_slice() {
                [party] => return Some(*party),
                _ => return None,
            },
            RendezvousError::Version { rank, .. } | RendezvousError::Refused { rank, .. } => *rank,
            _ => return None,
        };
        PartyId::ALL.get(rank).copied()
    }
}

impl From<RendezvousError> for ClusterError {
    fn from(error: RendezvousError) -> Self {
        match error.party() {
            Some(party) => ClusterError::Startup { party, detail: error.to_string(), log: vec![] },
            None => ClusterError::argument("meet the other tasks of the job", &error),
        }
    }
}

fn ranks(missing: &[PartyId]) -> String {
    let ranks: Vec<String> = missing.iter().map(|party| party.index().to_string()).collect();
    ranks.join(" and rank ")
}
