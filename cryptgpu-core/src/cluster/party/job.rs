//! The trait of a job: what a party can be asked to do by name.

use super::context::PartyContext;
use super::gate::Asks;
use crate::cluster::wire::job_error::JobError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Work for all three parties. The controller sends each party its own value, so the fields may
/// hold what only that party shall know ([`Words`](crate::cluster::Words) for large arrays).
///
/// A new job is a type with this trait and its name among the [`Jobs`](crate::cluster::Jobs) that the program serves.
pub trait Job: Serialize + DeserializeOwned {
    /// What the party finds it by, unique in the table.
    const NAME: &'static str;

    /// What each party sends back.
    type Output: Serialize + DeserializeOwned;

    /// What it asks of this party beyond its name: what it reads, writes and reveals, and what all three must be asked for
    /// alike. The policy of a party that somebody else owns decides on it before anything is done; a party of the caller's
    /// own does not ask. Nothing by default.
    ///
    /// # Errors
    /// When the party does not hold what the job names.
    fn asks(&self, _context: &PartyContext) -> Result<Asks, JobError> {
        Ok(Asks::default())
    }

    /// Does the work at one party.
    ///
    /// # Errors
    /// Whatever ends the job. It ends at all parties, and the caller sees the likeliest cause.
    fn run(self, context: &mut PartyContext) -> Result<Self::Output, JobError>;
}
