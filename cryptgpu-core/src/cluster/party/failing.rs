//! Errors of functions that run at parties: any type that prints, with kind, step and peer kept where the cause is an
//! error of a protocol or a link.

use crate::cluster::wire::job_error::JobError;
use crate::mpc::MpcError;
use crate::net::NetError;
use crate::nn::NnError;
use crate::ring::RingError;
use std::any::Any;
use std::error::Error;
use std::fmt::Display;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What a function that runs at the parties returns: `?` works on whatever it calls.
pub type Result<T, E = BoxError> = std::result::Result<T, E>;

/// A function's error as the caller gets it.
pub(super) fn job_error<E: Display + 'static>(error: E) -> JobError {
    match from_any(&error) {
        Some(known) => known,
        None if is_of_input(&error) => JobError::Input(error.to_string()),
        None => JobError::Other(error.to_string()),
    }
}

fn from_any(error: &dyn Any) -> Option<JobError> {
    if let Some(boxed) = error.downcast_ref::<BoxError>() {
        return from_chain(boxed.as_ref());
    }
    if let Some(boxed) = error.downcast_ref::<Box<dyn Error>>() {
        return from_chain(boxed.as_ref());
    }
    let mpc = error.downcast_ref::<MpcError>().cloned().map(JobError::from);
    let net = || error.downcast_ref::<NetError>().cloned().map(JobError::from);
    mpc.or_else(net).or_else(|| error.downcast_ref::<NnError>().and_then(of_network))
}

/// The error of a protocol that ended the evaluation of a network. It shows its own cause as its source and not this one.
fn of_network(error: &NnError) -> Option<JobError> {
    match error {
        NnError::Mpc(error) => Some(error.clone().into()),
        _ => None,
    }
}

/// Whether it is about something that the party brings and that does not fit, as it is or among its causes.
fn is_of_input(error: &dyn Any) -> bool {
    let of_input = |error: &NnError| error.is_of_input();
    if let Some(boxed) = error.downcast_ref::<BoxError>() {
        return chain(boxed.as_ref())
            .any(|cause| cause.is::<RingError>() || cause.downcast_ref().is_some_and(of_input));
    }
    if let Some(boxed) = error.downcast_ref::<Box<dyn Error>>() {
        return chain(boxed.as_ref())
            .any(|cause| cause.is::<RingError>() || cause.downcast_ref().is_some_and(of_input));
    }
    error.is::<RingError>() || error.downcast_ref().is_some_and(of_input)
}

/// An error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source())
}

/// The first error of a protocol or a link among the causes.
fn from_chain(error: &(dyn Error + 'static)) -> Option<JobError> {
    chain(error).find_map(|cause| {
        let mpc = cause.downcast_ref::<MpcError>().cloned().map(JobError::from);
        let net = || cause.downcast_ref::<NetError>().cloned().map(JobError::from);
        mpc.or_else(net).or_else(|| cause.downcast_ref::<NnError>().and_then(of_network))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::wire::error::FailureKind;
    use crate::net::PartyId;

    #[derive(Debug, thiserror::Error)]
    #[error("the function gave up")]
    struct GaveUp(#[source] NnError);

    #[test]
    fn a_link_that_ended_a_network_is_found_in_any_error() {
        let party = PartyId::P0;
        let link = || NetError::PeerClosed { party, peer: party.next(), step: "conv1".into(), reason: "gone".into() };
        let network = || NnError::Mpc(MpcError::Net(link()));
        let boxed: BoxError = Box::new(network());
        let wrapped: BoxError = Box::new(GaveUp(network()));
        for error in [job_error(network()), job_error(boxed), job_error(wrapped)] {
            let failure = error.failure();
            assert_eq!((failure.kind, failure.peer), (FailureKind::PeerClosed, Some(party.next())));
            assert_eq!(failure.step, "conv1");
        }
    }
}
