//! The values of a run over a plan: shares, products that are left to a sum, and one value at most whose truncation has only
//! begun, for the ReLU behind it.

use crate::mpc::{Additive, MpcError, Party, Rep, Truncating};
use crate::nn::NnError;
use crate::nn::plan::{Plan, Step, ValueId};
use std::collections::BTreeMap;

/// Values by number, for as long as a step still uses them.
pub(in crate::nn) struct Values {
    complete: Vec<Option<Rep>>,
    products: BTreeMap<ValueId, Products>,
    begun: Option<(ValueId, Truncating)>,
}

/// Sums of products that are still to be truncated.
pub(in crate::nn) struct Products {
    /// The sums.
    pub sum: Additive,
    /// By how many bits.
    pub cut: u32,
}

/// What a step computes from: its own, so that it can drop what it needs no more.
pub(in crate::nn) struct Inputs {
    /// The one whose truncation has only begun: for what lies between a step and the ReLU that alone uses it
    /// ([`Plan::only_a_relu_uses`]).
    pub begun: Option<Truncating>,
    /// Products of layers that are left to this sum.
    pub products: Vec<Products>,
    /// The others, in order.
    pub complete: Vec<Rep>,
}

/// The result of a step.
pub(in crate::nn) enum Computed {
    /// Left to the sum behind.
    Left(Products),
    /// Left to the ReLU behind.
    Begun(Truncating),
    /// A share.
    Complete(Rep),
}

impl Computed {
    /// Ends the truncation of a result that anything but a ReLU uses next.
    pub fn settled(self, p: &mut Party, plan: &Plan, step: &Step) -> Result<Self, MpcError> {
        match self {
            Computed::Begun(result) if !plan.only_a_relu_uses(step) => {
                Ok(Computed::Complete(p.finish_truncation(result)?))
            }
            other => Ok(other),
        }
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            Computed::Left(products) => products.sum.len(),
            Computed::Begun(result) => result.len(),
            Computed::Complete(result) => result.len(),
        }
    }
}

impl From<Rep> for Computed {
    fn from(complete: Rep) -> Self {
        Computed::Complete(complete)
    }
}

impl Values {
    /// The network's input, and no result yet.
    pub fn new(plan: &Plan, input: Rep) -> Self {
        let mut complete = vec![None; plan.shapes().len()];
        if let Some(first) = complete.first_mut() {
            *first = Some(input);
        }
        Values { complete, products: BTreeMap::new(), begun: None }
    }

    /// The inputs of a step. What nobody uses afterwards is given away.
    pub fn inputs(&mut self, step: &Step) -> Result<Inputs, NnError> {
        let begun = self.begun.take_if(|(value, _)| step.inputs.contains(value));
        let products: Vec<_> = step.inputs.iter().filter_map(|input| self.products.remove(input)).collect();
        let given = products.len() + usize::from(begun.is_some());
        let complete: Vec<_> = step.inputs.iter().filter_map(|input| self.complete[input.index()].clone()).collect();
        if given + complete.len() < step.inputs.len() {
            return Err(released(&step.name));
        }
        for value in &step.release {
            self.complete[value.index()] = None;
        }
        Ok(Inputs { begun: begun.map(|(_, begun)| begun), products, complete })
    }

    /// Keeps the result of a step.
    pub fn put(&mut self, step: &Step, result: Computed) {
        match result {
            Computed::Left(products) => drop(self.products.insert(step.output, products)),
            Computed::Begun(begun) => self.begun = Some((step.output, begun)),
            Computed::Complete(result) => self.complete[step.output.index()] = Some(result),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Device, Tensor};
    use crate::net::PartyId;
    use crate::nn::{LowerOptions, fold, lower::lower, zoo};
    use crate::ring::Ring;

    #[test]
    fn what_nobody_uses_afterwards_is_given_away() {
        let net = fold::fold_graph(&zoo::by_name("resnet8-cifar10").unwrap()).unwrap();
        let plan = lower(&net, LowerOptions::default(), Ring::Z64).unwrap();
        let share = || Rep::public(PartyId::P0, &Tensor::full(Device::Cpu, &[1], 0));
        let mut values = Values::new(&plan, share());
        let mut still_used = 0;
        for step in plan.steps() {
            let inputs = values.inputs(step).unwrap();
            assert_eq!(inputs.complete.len(), step.inputs.len());
            for input in &step.inputs {
                let given_away = values.complete[input.index()].is_none();
                assert_eq!(given_away, step.release.contains(input), "{}", step.name);
                still_used += usize::from(!given_away);
            }
            values.put(step, share().into());
        }
        assert!(still_used > 0, "a block's input is used twice");
        assert!(
            values.complete.iter().filter(|value| value.is_some()).count() == 1 && values.into_output(&plan).is_ok()
        );
    }
}
