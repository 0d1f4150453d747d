//! What one party recorded of a run: its timeline, and what its protocols claimed.

use crate::mpc::Claim;
use crate::net::Timeline;

/// What one party recorded of a run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct PartyTrace {
    pub(in crate::cluster) timeline: Timeline,
    pub(in crate::cluster) claims: Vec<Claim>,
}
