//! What comes of a private inference.

use super::run::Run;
use crate::cluster::party::model::Timing;
use crate::cluster::wire::message::Usage;
use crate::net::{PartyId, Trace};
use crate::nn::predictions;
use crate::nn::private::TimeByKind;
use ndarray::ArrayD;
use std::time::Duration;

/// The result of a private inference, and what it took.
#[derive(Clone)]
#[non_exhaustive]
pub struct InferenceResult {
    /// The network's output, `[batch, …]`: known to the caller alone.
    pub scores: ArrayD<f64>,
    /// The time from the images at the party that reads them, or from shares of the caller's, to shares of the result,
    /// at the slowest party.
    pub duration: Duration,
    /// The parts of `duration`, by kind of operation.
    pub time_by_kind: TimeByKind,
    run: Run<Timing>,
}

impl InferenceResult {
    pub(super) fn new(scores: ArrayD<f64>, run: Run<Timing>) -> Self {
        let [p0, p1, p2] = &run.outputs;
        let slowest = [p1, p2].into_iter().fold(p0, |slowest, timing| match timing.duration > slowest.duration {
            true => timing,
            false => slowest,
        });
        let (duration, time_by_kind) = (slowest.duration, slowest.by_kind.clone());
        InferenceResult { scores, duration, time_by_kind, run }
    }

    /// The class with the largest score, for each image; the first of equals.
    pub fn predictions(&self) -> Vec<usize> {
        predictions(&self.scores)
    }

    /// Rounds, the weights being shared already.
    pub fn rounds(&self) -> u64 {
        self.run.rounds()
    }

    /// Payload bytes that the three parties sent to each other.
    pub fn bytes(&self) -> u64 {
        self.run.bytes()
    }

    /// What it took, by party: time, bytes, the most memory.
    pub fn usage(&self) -> &[Usage; 3] {
        &self.run.usage
    }

    /// How long it took at one party.
    pub fn duration_at(&self, party: PartyId) -> Duration {
        self.run.outputs[party.index()].duration
    }

    /// What each layer cost, and every message.
    pub fn trace(&self) -> Trace {
        self.run.trace()
    }
}
