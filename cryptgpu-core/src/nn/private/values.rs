//! The values of a run over a plan: shares, and one at most whose truncation has only begun, for the ReLU behind it.

use crate::mpc::{MpcError, Party, Rep, Truncating};
use crate::nn::NnError;
use crate::nn::lower::{Plan, Step, ValueId};

/// Values by number, for as long as a step still uses them.
pub(in crate::nn) struct Values {
    complete: Vec<Option<Rep>>,
    begun: Option<(ValueId, Truncating)>,
}

/// What a step computes from.
pub(in crate::nn) struct Inputs<'a> {
    /// The one whose truncation has only begun: for what lies between a step and the ReLU that alone uses it
    /// ([`Plan::only_a_relu_uses`]).
    pub begun: Option<Truncating>,
    /// The others, in order.
    pub complete: Vec<&'a Rep>,
}

/// The result of a step.
pub(in crate::nn) enum Computed {
    /// Left to the ReLU behind.
    Begun(Truncating),
    /// A share.
    Complete(Rep),
}

impl Computed {
    /// Ends the truncation of a result that anything but a ReLU uses next.
    pub fn of(p: &mut Party, plan: &Plan, step: &Step, result: Truncating) -> Result<Self, MpcError> {
        if plan.only_a_relu_uses(step) {
            return Ok(Computed::Begun(result));
        }
        Ok(Computed::Complete(p.finish_truncation(result)?))
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            Computed::Begun(result) => result.len(),
            Computed::Complete(result) => result.len(),
        }
    }
}

impl Values {
    /// The network's input, and no result yet.
    pub fn new(plan: &Plan, input: Rep) -> Self {
        let mut complete = vec![None; plan.shapes().len()];
        if let Some(first) = complete.first_mut() {
            *first = Some(input);
        }
        Values { complete, begun: None }
    }

    /// The inputs of a step. One that has only begun is given away, since nobody else uses it.
    pub fn inputs(&mut self, step: &Step) -> Result<Inputs<'_>, NnError> {
        let begun = self.begun.take_if(|(value, _)| step.inputs.contains(value));
        let rest = step.inputs.iter().filter(|&&input| begun.as_ref().is_none_or(|(value, _)| *value != input));
        let complete: Option<Vec<&Rep>> = rest.map(|input| self.complete[input.index()].as_ref()).collect();
        let complete = complete.ok_or_else(|| released(&step.name))?;
        Ok(Inputs { begun: begun.map(|(_, begun)| begun), complete })
    }

    /// Keeps the result of a step, and drops what nobody uses any more.
    pub fn put(&mut self, step: &Step, result: Computed) {
        match result {
            Computed::Begun(begun) => self.begun = Some((step.output, begun)),
            Computed::Complete(result) => self.complete[step.output.index()] = Some(result),
        }
        for value in &step.release {
            self.complete[value.index()] = None;
        }
    }

    /// The result of the last step.
    pub fn into_output(mut self, plan: &Plan) -> Result<Rep, NnError> {
        self.complete[plan.output().index()].take().ok_or_else(|| released(plan.name()))
    }
}

fn released(step: &str) -> NnError {
    NnError::Wiring { node: step.into(), what: "an input was already released".into() }
}
