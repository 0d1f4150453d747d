//! Times of a training: of each step of an iteration, by layer, kind and pass.

use crate::mpc::{CheckRange, Party};
use crate::net::Stats;
use crate::nn::NnError;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// A part of an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// From the images to the result.
    Forward,
    /// The loss and its gradient.
    Loss,
    /// From the gradient of the loss to those of the weights.
    Backward,
    /// From gradients to new weights.
    Update,
}

impl Pass {
    /// All four, in order.
    pub const ALL: [Pass; 4] = [Pass::Forward, Pass::Loss, Pass::Backward, Pass::Update];

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Loss => "loss",
            Pass::Backward => "backward",
            Pass::Update => "update",
        }
    }
}

impl std::fmt::Display for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What one step of an iteration took at one party.
#[derive(Clone, Copy, Debug)]
pub struct StepTime<'a> {
    /// The node of the graph that it comes from; `loss` or `update` in these passes.
    pub name: &'a str,
    /// The kind of operation, as [`crate::nn::plan::PlanOp::kind`]; `loss` or `update` in these passes.
    pub kind: &'static str,
    /// The pass.
    pub pass: Pass,
    /// Time on the clock, waiting for peers included.
    pub time: Duration,
    /// What this party sent, and for how long it waited.
    pub stats: Stats,
}

/// What a step is called.
#[derive(Clone, Copy)]
pub(super) struct Label<'a> {
    pub name: &'a str,
    pub kind: &'static str,
    pub pass: Pass,
}

/// Runs `body` as a step that errors and traces name, with the check of ranges by layer at its end where settings ask for
/// it, and shows what it took to `observe`.
pub(super) fn observed<T>(
    p: &mut Party,
    label: Label<'_>,
    observe: &mut dyn FnMut(StepTime<'_>),
    body: impl FnOnce(&mut Party) -> Result<T, NnError>,
) -> Result<T, NnError> {
    let Label { name, kind, pass } = label;
    let backward = format!("{name} backward");
    let step = if pass == Pass::Backward { &backward } else { name };
    let (start, before) = (Instant::now(), p.stats());
    let result = p.step(step, |p| {
        let result = body(p).and_then(|result| {
            if p.settings().check_range == CheckRange::Layers {
                p.check_range()?;
            }
            Ok(result)
        });
        result.map_err(|error| error.located(p))
    })?;
    let (time, stats) = (start.elapsed(), p.stats().since(&before));
    observe(StepTime { name, kind, pass, time, stats });
    Ok(result)
}
