//! Times of an evaluation: of each layer, and summed by kind of operation.

use crate::mpc::Rep;
use crate::net::Stats;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What one layer took at one party.
#[derive(Clone, Copy, Debug)]
pub struct LayerTime<'a> {
    /// The node of the graph that it comes from.
    pub name: &'a str,
    /// The kind of operation, as [`crate::nn::plan::PlanOp::kind`].
    pub kind: &'static str,
    /// Elements of its result.
    pub elements: usize,
    /// Time on the clock, waiting for peers included.
    pub time: Duration,
    /// What this party sent, and for how long it waited.
    pub stats: Stats,
}

/// A party's share of the result of a private inference, with the time that it took there.
#[derive(Clone, Debug)]
pub struct TimedInference {
    /// The shared result.
    pub output: Rep,
    /// Time on the clock, waiting for peers included, from the images at their owner, or from their shares, to `output`.
    pub duration: Duration,
    /// The parts of `duration`, by kind of operation.
    pub by_kind: TimeByKind,
}

/// Time at one party, summed by kind of operation (`conv2d`, `relu`, …). Serialised as a map of seconds.
///
/// ```
/// use cryptgpu_core::nn::private::TimeByKind;
/// use std::time::Duration;
/// let mut times = TimeByKind::default();
/// times.add("relu", Duration::from_millis(250));
/// times.add("conv2d", Duration::from_millis(500));
/// times.add("relu", Duration::from_millis(250));
/// assert_eq!(times.seconds("relu"), 0.5);
/// assert_eq!(times.total_seconds(), 1.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeByKind(BTreeMap<String, f64>);

impl TimeByKind {
    /// Adds `time` to the sum of `kind`.
    pub fn add(&mut self, kind: &str, time: Duration) {
        *self.0.entry(kind.to_owned()).or_default() += time.as_secs_f64();
    }

    /// Seconds of one kind; 0 for a kind that did not occur.
    pub fn seconds(&self, kind: &str) -> f64 {
        self.0.get(kind).copied().unwrap_or(0.0)
    }

    /// Seconds of all kinds together.
    pub fn total_seconds(&self) -> f64 {
        self.0.values().sum()
    }

    /// Kinds with their seconds, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(kind, &seconds)| (kind.as_str(), seconds))
    }

    /// The sums as a map, for records.
    pub fn into_map(self) -> BTreeMap<String, f64> {
        self.0
    }
}
