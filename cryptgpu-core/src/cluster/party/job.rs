//! The trait of a job: what a party can be asked to do by name.

use super::context::PartyContext;
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

    /// Does the work at one party.
    ///
    /// # Errors
    /// Whatever ends the job. It ends at all parties, and the caller sees the likeliest cause.
    fn run(self, context: &mut PartyContext) -> Result<Self::Output, JobError>;
}
