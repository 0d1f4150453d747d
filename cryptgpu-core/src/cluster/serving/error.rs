//! Why a client gets no answer.

use crate::net::PartyId;
use std::path::PathBuf;
use std::time::Duration;

/// Why a client gets no answer from the parties that serve a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServingError {
    /// A file that says where a service is, and cannot be used.
    #[error("{path}: {detail}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A party that cannot be reached, or that is not the one whose certificate is known.
    #[error(
        "cannot reach party {party} of the service at {address}: {detail}. Does it serve, and is the service's file of now?"
    )]
    Unreachable {
        /// The party.
        party: PartyId,
        /// Where it should be.
        address: String,
        /// What the operating system or TLS said.
        detail: String,
    },
    /// The parties do not serve one model.
    #[error(
        "party {party} serves {found}, and party 0 {expected}: they are of different services, or one was started anew alone"
    )]
    Apart {
        /// The party.
        party: PartyId,
        /// What it serves.
        found: String,
        /// What party 0 serves.
        expected: String,
    },
    /// Images that the service does not take.
    #[error("{0}")]
    Input(String),
    /// The queue of a party is full.
    #[error("party {party} has as many requests as it takes: try again in a moment")]
    Busy {
        /// The party.
        party: PartyId,
    },
    /// The request did not reach all parties in time.
    #[error(
        "the request reached some parties and not party {}: try again; if it comes again, that party cannot be reached or is far \
         behind",
        .parties.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and party ")
    )]
    Missing {
        /// The parties that had nothing of it.
        parties: Vec<PartyId>,
    },
    /// Two parties hold different words where the client dealt both the same, and nothing was computed of them.
    #[error(
        "party {party} says that two parties were sent different shares of one component: something has changed them on the way, try again"
    )]
    Inconsistent {
        /// The party that said so.
        party: PartyId,
    },
    /// A value of the evaluation left the range of the fixed-point numbers, so that scores would be wrong.
    #[error(
        "party {party} says that a value left the range of the fixed-point numbers in the evaluation of these images, so that there are no \
         scores: send images within the range that the model was saved for, or have it saved with fewer fraction bits or in the ring of 64 bits"
    )]
    LeftRange {
        /// The party that said so.
        party: PartyId,
    },
    /// A party said that it refuses what it got.
    #[error("party {party} refused the request: {detail}")]
    Refused {
        /// The party.
        party: PartyId,
        /// What it said.
        detail: String,
    },
    /// The service ends, or has lost a party.
    #[error("party {party} says that the service has ended or lost a party: try again when it was started anew")]
    Ended {
        /// The party that said so.
        party: PartyId,
    },
    /// The connection to a party is gone.
    #[error("the connection to party {party} is gone: {detail}. Connect again")]
    Closed {
        /// The party.
        party: PartyId,
        /// How it went.
        detail: String,
    },
    /// A party does not answer.
    #[error("party {party} did not {what} within {within:?}")]
    Deadline {
        /// The party.
        party: PartyId,
        /// What it should have done.
        what: &'static str,
        /// The time that it had.
        within: Duration,
    },
    /// Two parties sent different things where they hold the same.
    #[error("party {} and party {} sent different shares of component {component} of the scores: one of them is at fault, and no score is shown", .parties[0], .parties[1])]
    Disagree {
        /// The component, as the party of that number has it first.
        component: PartyId,
        /// The parties that hold it.
        parties: [PartyId; 2],
    },
    /// No randomness, or no thread.
    #[error("cannot share the images: {0}")]
    Local(String),
}
