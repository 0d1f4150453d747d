//! Why a job failed at a party, and how that travels to the caller: kind, step and peer where the cause is an error of a
//! protocol or a link, and of a weight or pixel its place but never its value. The other parties hear one word of it.

use super::error::{Failure, FailureKind};
use crate::mpc::MpcError;
use crate::net::{GaveUp, NetError};
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
    /// What a party brings (images, weights, values to encode) is missing, damaged or does not fit.
    #[error("{0}")]
    Input(String),
    /// Arguments that do not arrive as what the function takes.
    #[error("{0}")]
    Arguments(String),
    /// The party's owner does not allow it; the line of the policy that says so.
    #[error("{0}")]
    Refused(String),
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
            NetError::Device { .. } => FailureKind::Job,
            NetError::Diverged { .. } | NetError::BadFrame { .. } | NetError::TooLarge { .. } => {
                FailureKind::BadMessage
            }
        };
        let (kind, step, peer) = match self {
            JobError::Net(error) | JobError::Mpc(MpcError::Net(error)) => (net_kind(error), error.step(), error.peer()),
            JobError::Mpc(error @ MpcError::Message { .. }) => (FailureKind::BadMessage, error.step(), error.peer()),
            JobError::Mpc(error) => (FailureKind::Job, error.step(), None),
            JobError::Refused(_) => (FailureKind::Refused, "", None),
            JobError::Input(_) | JobError::Arguments(_) | JobError::Other(_) => (FailureKind::Job, "", None),
        };
        Failure { kind, step: step.to_owned(), message: self.to_string(), peer }
    }

    /// As the other parties hear it: of the message, nothing.
    pub(in crate::cluster) fn gave_up(&self) -> GaveUp {
        match self {
            JobError::Net(error) | JobError::Mpc(MpcError::Net(error)) => error.into(),
            JobError::Mpc(MpcError::Message { peer, .. }) => GaveUp::Message(*peer),
            JobError::Mpc(MpcError::Device { .. }) => GaveUp::Device,
            JobError::Mpc(MpcError::Ring { .. }) | JobError::Input(_) => GaveUp::Input,
            JobError::Arguments(_) => GaveUp::Arguments,
            JobError::Refused(_) => GaveUp::Refused,
            // All three have opened whether a value has left the range.
            JobError::Mpc(MpcError::Argument { .. } | MpcError::Range { .. } | MpcError::Other { .. })
            | JobError::Other(_) => GaveUp::Failed,
        }
    }
}

impl From<NnError> for JobError {
    fn from(error: NnError) -> Self {
        match error {
            // The cluster weighs errors of links to find the party that failed first.
            NnError::Mpc(MpcError::Net(error)) => JobError::Net(error),
            NnError::Mpc(error) => JobError::Mpc(error),
            other if other.is_of_input() => JobError::Input(other.to_string()),
            other => JobError::Other(other.to_string()),
        }
    }
}

impl From<String> for JobError {
    fn from(text: String) -> Self {
        JobError::Other(text)
    }
}
