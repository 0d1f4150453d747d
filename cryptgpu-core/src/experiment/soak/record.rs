//! What came of each fault, as a plain record, and of all faults of a kind.

use super::faults::{Fault, Place};
use super::work::Work;
use crate::ring::Ring;
use std::collections::BTreeMap;

/// One piece of work with one fault.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FaultRecord {
    /// The experiment: `soak`.
    pub experiment: String,
    /// The campaign's seed.
    pub seed: u64,
    /// The ring in which everything was computed.
    #[serde(default)]
    pub ring: Ring,
    /// From 0.
    pub number: u64,
    /// Where the parties were.
    pub place: Place,
    /// What ran.
    pub work: Work,
    /// What was done.
    pub fault: Fault,
    /// To which party; for a fault of messages or connections, their sender.
    pub party: usize,
    /// The receiver, for a fault of messages or connections.
    pub to: Option<usize>,
    /// When: milliseconds after the beginning, or so many messages of that link.
    pub at: f64,
    /// Whether it was done before the work had ended.
    pub done: bool,
    /// The step in which it was noticed, where an error says so.
    pub step: String,
    /// How the work ended: empty for the right result, else the error's message.
    pub error: String,
    /// Seconds until it ended.
    pub seconds: f64,
    /// What must not be: a wrong result, an end too late, something left behind, a next run that fails.
    pub violation: Option<String>,
    /// Commit that the program was built from.
    pub commit: String,
    /// When it ended, RFC 3339, UTC.
    pub time: String,
}

/// All faults of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultSummary {
    /// Pieces of work that it was done to.
    pub done: u64,
    /// Of those, how many came to their right result.
    pub right: u64,
    /// Of those, how many ended with an error.
    pub errors: u64,
    /// Violations, of work too that had ended before it.
    pub violations: u64,
    /// The longest time until the end, in seconds.
    pub slowest: f64,
}

/// Counts records by place and fault.
pub fn summaries(records: &[FaultRecord]) -> BTreeMap<(Place, Fault), FaultSummary> {
    let mut all: BTreeMap<(Place, Fault), FaultSummary> = BTreeMap::new();
    for record in records {
        let of = all.entry((record.place, record.fault)).or_default();
        of.violations += u64::from(record.violation.is_some());
        if record.done {
            of.done += 1;
            *if record.error.is_empty() { &mut of.right } else { &mut of.errors } += 1;
            of.slowest = of.slowest.max(record.seconds);
        }
    }
    all
}
