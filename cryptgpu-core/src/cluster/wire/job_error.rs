//! Why a job failed at a party, and how that travels to the caller: kind, step and peer where the cause is an error of a
//! protocol or a link, and of a weight or pixel its place but never its value.

use super::error::{Failure, FailureKind};
use crate::mpc::MpcError;
use crate::net::NetError;
use crate::nn::NnError;

/// Why a job failed at a party.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// A protocol or a link failed.
    #[error(transparent)]
    Mpc(#[from] MpcError),
    /// A link failed.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Anything else, with what to do about it.
    #[error("{0}")]
    Other(String),
}

impl JobError {
    /// As it travels to the controller.
    pub(in crate::cluster) fn failure(&self) -> Failure {
        let net_kind = |error: &NetError| match error {
            NetError::Deadline { .. } => FailureKind::Deadline,
            NetError::PeerClosed { .. } => FailureKind::PeerClosed,
            NetError::Setup { .. } => FailureKind::Setup,
            NetError::Diverged { .. } | NetError::BadFrame { .. } | NetError::TooLarge { .. } => {
                FailureKind::BadMessage
            }
        };
        let (kind, step, peer) = match self {
            JobError::Net(error) | JobError::Mpc(MpcError::Net(error)) => (net_kind(error), error.step(), error.peer()),
            JobError::Mpc(error @ MpcError::Message { .. }) => (FailureKind::BadMessage, error.step(), error.peer()),
            JobError::Mpc(error) => (FailureKind::Job, error.step(), None),
            JobError::Other(_) => (FailureKind::Job, "", None),
        };
        Failure { kind, step: step.to_owned(), message: self.to_string(), peer }
    }
}

impl From<NnError> for JobError {
    fn from(error: NnError) -> Self {
        match error {
            // The cluster weighs errors of links to find the party that failed first.
            NnError::Mpc(MpcError::Net(error)) => JobError::Net(error),
            NnError::Mpc(error) => JobError::Mpc(error),
            other => JobError::Other(other.to_string()),
        }
    }
}

impl From<String> for JobError {
    fn from(text: String) -> Self {
        JobError::Other(text)
    }
}
