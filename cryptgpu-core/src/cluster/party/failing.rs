//! Errors of functions that run at parties: any type that prints, with kind, step and peer kept where the cause is an
//! error of a protocol or a link.

use crate::cluster::wire::job_error::JobError;
use crate::mpc::MpcError;
use crate::net::NetError;
use crate::nn::NnError;
use std::any::Any;
use std::error::Error;
use std::fmt::Display;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What a function that runs at the parties returns: `?` works on whatever it calls.
pub type Result<T, E = BoxError> = std::result::Result<T, E>;

/// What the caller is told of a function's error.
pub(super) fn job_error<E: Display + 'static>(error: E) -> JobError {
    let known = from_any(&error);
    known.unwrap_or_else(|| JobError::Other(error.to_string()))
}

fn from_any(error: &dyn Any) -> Option<JobError> {
    if let Some(boxed) = error.downcast_ref::<BoxError>() {
        return from_chain(boxed.as_ref());
    }
    if let Some(boxed) = error.downcast_ref::<Box<dyn Error>>() {
        return from_chain(boxed.as_ref());
    }
    if let Some(error) = error.downcast_ref::<MpcError>() {
        return Some(error.clone().into());
    }
    if let Some(error) = error.downcast_ref::<NetError>() {
        return Some(error.clone().into());
    }
    error.downcast_ref::<NnError>().and_then(|error| from_chain(error))
}

/// The first error of a protocol or a link among the causes.
fn from_chain(error: &(dyn Error + 'static)) -> Option<JobError> {
    let mut causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.find_map(|cause| {
        let mpc = cause.downcast_ref::<MpcError>().cloned().map(JobError::from);
        mpc.or_else(|| cause.downcast_ref::<NetError>().cloned().map(JobError::from))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::wire::error::FailureKind;
    use crate::net::PartyId;

    #[test]
    fn an_error_of_a_link_is_found_however_it_is_wrapped() {
        let closed = || NetError::PeerClosed {
            party: PartyId::P0,
            peer: PartyId::P2,
            step: "conv1".into(),
            reason: "gone".into(),
        };
        let network = || NnError::Mpc(MpcError::Net(closed()));
        let errors = [
            job_error(closed()),
            job_error(MpcError::Net(closed())),
            job_error(network()),
            job_error(BoxError::from(closed())),
            job_error(BoxError::from(MpcError::Net(closed()))),
            job_error(BoxError::from(network())),
            job_error::<Box<dyn Error>>(network().into()),
        ];
        for error in errors {
            let failure = error.failure();
            assert_eq!((failure.kind, failure.peer), (FailureKind::PeerClosed, Some(PartyId::P2)), "{error:?}");
            assert_eq!(failure.step, "conv1", "{error:?}");
        }
    }
}
