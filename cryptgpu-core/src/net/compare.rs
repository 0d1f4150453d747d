//! Two traces, step by step.

use super::{StepTrace, Trace};

/// What can be compared of a step, over all parties.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    /// How often it was entered.
    pub calls: u64,
    /// Rounds.
    pub rounds: u64,
    /// Payload bytes, of all parties.
    pub bytes: u64,
    /// Messages, of all parties.
    pub messages: u64,
    /// Wall-clock time, on average over the parties.
    pub seconds: f64,
    /// The part of `seconds` in which they did not wait.
    pub compute_seconds: f64,
    /// The part of `seconds` in which they waited.
    pub wait_seconds: f64,
}

/// One step in both traces; nothing where a trace does not have it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepComparison {
    /// The step with those around it.
    pub path: String,
    /// Figures of the first trace, on which [`Trace::compare`] was called.
    pub this: Option<Figures>,
    /// Figures of the second trace, with which it was compared.
    pub other: Option<Figures>,
}

/// Two traces, step by step.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Comparison {
    /// Steps of either trace: all steps of the first in its order, then the steps that only the second has.
    pub steps: Vec<StepComparison>,
    /// Both traces as a whole.
    pub total: StepComparison,
}

impl Trace {
    /// This trace beside another, by the paths of their steps.
    pub fn compare(&self, other: &Trace) -> Comparison {
        let (these, others) = (self.steps(), other.steps());
        let find = |steps: &[StepTrace], path: &str| steps.iter().find(|step| step.path == path).map(Figures::of);
        let missing = others.iter().filter(|step| !these.iter().any(|this| this.path == step.path));
        let steps = these.iter().chain(missing).map(|step| StepComparison {
            path: step.path.clone(),
            this: find(&these, &step.path),
            other: find(&others, &step.path),
        });
        let (this, other) = (Some(Figures::of(&self.total())), Some(Figures::of(&other.total())));
        Comparison { steps: steps.collect(), total: StepComparison { path: "total".to_owned(), this, other } }
    }
}

impl Figures {
    /// Those of a step.
    pub fn of(step: &StepTrace) -> Self {
        Figures {
            calls: step.calls(),
            rounds: step.rounds,
            bytes: step.bytes(),
            messages: step.messages(),
            seconds: step.seconds(),
            compute_seconds: step.compute_seconds(),
            wait_seconds: step.wait_seconds(),
        }
    }
}

impl StepComparison {
    /// By how much the first trace has more of `figure`; a step that a trace does not have counts as 0.
    pub fn difference(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        self.this.as_ref().map_or(0.0, &figure) - self.other.as_ref().map_or(0.0, &figure)
    }

    /// How many times as much of `figure` the first trace has; nothing where the second has none of it.
    pub fn ratio(&self, figure: impl Fn(&Figures) -> f64) -> Option<f64> {
        let (this, other) = (figure(self.this.as_ref()?), figure(self.other.as_ref()?));
        (other != 0.0).then(|| this / other)
    }
}
