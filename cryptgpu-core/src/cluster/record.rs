//! What a party recorded of a job: its timeline, and what its protocols claimed.

use super::run::Run;
use crate::mpc::{CheckedClaim, Claim};
use crate::net::{Timeline, Trace};

/// What one party recorded.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Record {
    pub(super) timeline: Timeline,
    pub(super) claims: Vec<Claim>,
}

impl<T> Run<T> {
    /// What each step cost, when every message was sent and received, and how long each party waited.
    pub fn trace(&self) -> Trace {
        Trace::new(self.records.each_ref().map(|record| record.timeline.clone()))
    }

    /// What the run's protocols claimed to cost ([`Party::declare`](crate::mpc::Party::declare)), beside what was counted.
    pub fn claims(&self) -> Vec<CheckedClaim> {
        Claim::check(self.records.each_ref().map(|record| record.claims.as_slice()))
    }
}
