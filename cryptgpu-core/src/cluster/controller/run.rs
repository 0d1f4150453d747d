//! What comes of a run.

use crate::cluster::marshal::{Openable, Shared};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::Usage;
use crate::cluster::wire::trace::PartyTrace;
use crate::mpc::{CheckedClaim, Claim};
use crate::net::{PartyId, Trace};
use ndarray::ArrayD;
use std::time::Duration;

/// What came of a run.
#[derive(Clone)]
#[non_exhaustive]
pub struct Run<T> {
    /// The outputs, by party.
    pub outputs: [T; 3],
    /// What it took, by party.
    pub usage: [Usage; 3],
    /// Wall-clock time as seen from here, with the arguments' and the outputs' way.
    pub duration: Duration,
    /// Bytes of arguments and outputs between the caller and the parties, all three together.
    pub control_bytes: u64,
    /// What each party recorded.
    pub(super) traces: [PartyTrace; 3],
    /// A party whose output differs from party 0's.
    pub(super) differs: Option<PartyId>,
}

impl<T> Run<T> {
    /// The output, which must be the same at all parties.
    ///
    /// # Errors
    /// [`ClusterError::Disagree`] when it is not: then look at `outputs`.
    pub fn output(&self) -> Result<T, ClusterError>
    where
        T: Clone,
    {
        self.agreed().cloned()
    }

    fn agreed(&self) -> Result<&T, ClusterError> {
        self.differs.map_or(Ok(&self.outputs[0]), |party| Err(ClusterError::Disagree { party }))
    }

    /// The shares that it left, opened to the caller alone.
    ///
    /// # Errors
    /// As [`Shared::reveal`].
    pub fn reveal(&self) -> Result<T::Value, ClusterError>
    where
        T: Openable,
    {
        self.agreed()?.reveal()
    }

    /// What each step cost, when every message was sent and received, and how long each party waited.
    pub fn trace(&self) -> Trace {
        Trace::new(self.traces.each_ref().map(|trace| trace.timeline.clone()))
    }

    /// What the run's protocols claimed to cost ([`Party::declare`](crate::mpc::Party::declare)), beside what was counted.
    pub fn claims(&self) -> Vec<CheckedClaim> {
        Claim::check(self.traces.each_ref().map(|trace| trace.claims.as_slice()))
    }

    /// Rounds: the growth of the longest chain of messages that ends at any party. (Not the longest growth at a party:
    /// one that had fewer rounds behind it than the others would be charged with catching up.)
    pub fn rounds(&self) -> u64 {
        self.trace().total().rounds
    }

    /// Payload bytes that the three parties sent to each other.
    pub fn bytes(&self) -> u64 {
        self.usage.iter().map(|usage| usage.stats.payload_bytes()).sum()
    }
}

impl Run<Shared> {
    /// The share that it left, opened to the caller alone, as ring words.
    ///
    /// # Errors
    /// As [`Shared::reveal`].
    pub fn reveal_words(&self) -> Result<ArrayD<u64>, ClusterError> {
        self.agreed()?.reveal_words()
    }
}
