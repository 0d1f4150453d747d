//! The forward pass on shares: in training, where steps keep what the backward pass needs, and in an evaluation.

use super::batch_norm::{self, BatchStatistics, Normalised};
use super::plan::{Keeps, LayerTensors, TrainingPlan};
use super::times::{Label, Pass, StepTime, observed};
use crate::mpc::{KeptMaxima, Operand, Party, Rep, RepBits};
use crate::nn::divisor::cut;
use crate::nn::plan::{PlanOp, Step};
use crate::nn::private::values::{Computed, Inputs as Operands, Values};
use crate::nn::private::{Layer, evaluate::evaluate};
use crate::nn::{NnError, window};
use std::collections::BTreeMap;

/// What a step has kept.
#[derive(Debug)]
pub(super) enum Kept {
    Nothing,
    Input(Rep),
    Bits(RepBits),
    Maxima(KeptMaxima),
    Normalised(Box<Normalised>),
}

/// What a forward pass computes with.
pub(super) struct Inputs<'a> {
    pub plan: &'a TrainingPlan,
    /// The network's tensors, as [`TrainingPlan::tensors`] names them.
    pub tensors: &'a [Rep],
    /// What products take of weights that stay as they are, where a component is zero, by the position of the tensor.
    pub still: &'a BTreeMap<usize, Operand>,
    /// γ/√(σ² + eps) of each batch normalisation that uses its running statistics, by step.
    pub factors: &'a BTreeMap<usize, Rep>,
    /// Whether steps keep anything, and batch normalisations use the batch.
    pub training: bool,
}

/// The result of a forward pass.
pub(super) struct Passed {
    pub output: Rep,
    /// By step.
    pub kept: Vec<Kept>,
    pub statistics: Vec<BatchStatistics>,
}

pub(super) fn wiring(step: &str, what: &str) -> NnError {
    NnError::Wiring { node: step.into(), what: what.into() }
}

impl Inputs<'_> {
    /// One of the network's tensors.
    pub fn tensor(&self, step: &Step, index: Option<usize>) -> Result<&Rep, NnError> {
        index.and_then(|index| self.tensors.get(index)).ok_or_else(|| wiring(&step.name, "has no weights"))
    }

    /// The weight of a convolution or a fully connected layer, as products take it, with the cut of the step.
    pub fn operand(&self, p: &Party, step: &Step, layer: &LayerTensors) -> Result<Operand, NnError> {
        let operand = match layer.weight.and_then(|weight| self.still.get(&weight)) {
            Some(operand) => operand.clone(),
            None => Operand::new(p.id(), self.tensor(step, layer.weight)?.clone()),
        };
        Ok(operand.with_cut(cut(&step.op, p.codec())))
    }

    /// Runs all steps on the images `x`.
    pub fn run(&self, p: &mut Party, x: Rep, observe: &mut dyn FnMut(StepTime<'_>)) -> Result<Passed, NnError> {
        let plan = self.plan.forward();
        let mut values = Values::new(plan, x);
        let (mut all_kept, mut statistics) = (Vec::with_capacity(plan.steps().len()), vec![]);
        for (index, step) in plan.steps().iter().enumerate() {
            let inputs = values.inputs(step)?;
            let looked_at = window::of_step(plan, step, p.settings())?;
            let label = Label { name: &step.name, kind: step.op.kind(), pass: Pass::Forward };
            let step_of = |p: &mut Party| {
                let (result, kept, batch) = self.step(p, index, step, inputs)?;
                Ok((result.settled(p, plan, step)?, kept, batch))
            };
            let (result, kept, batch) = observed(p, label, observe, |p| p.with_window(looked_at, step_of))?;
            all_kept.push(kept);
            statistics.extend(batch);
            values.put(step, result);
        }
        Ok(Passed { output: values.into_output(plan)?, kept: all_kept, statistics })
    }

    /// The result of one step, and what it keeps.
    fn step(
        &self,
        p: &mut Party,
        index: usize,
        step: &Step,
        inputs: Operands,
    ) -> Result<(Computed, Kept, Option<BatchStatistics>), NnError> {
        let layer = self.plan.layers()[index];
        let keeps = if self.training { self.plan.keeps()[index] } else { Keeps::Nothing };
        if inputs.begun.is_some() {
            return self.behind(p, step, keeps, inputs);
        }
        let x = inputs.complete.first().ok_or_else(|| wiring(&step.name, "has no input"))?;
        Ok(match (&step.op, keeps) {
            (PlanOp::Relu, Keeps::Bits) => {
                let x = x.clone();
                drop(inputs);
                let (y, bits) = p.relu_kept_behind(x.into())?;
                (y.into(), Kept::Bits(bits), None)
            }
            (PlanOp::Relu6, Keeps::Bits) => {
                let (y, bits) = p.clipped_relu_kept(x, 6.0)?;
                (y.into(), Kept::Bits(bits), None)
            }
            (PlanOp::MaxPool { window }, Keeps::Maxima) => {
                let (y, maxima) = p.max_pool_kept(x, window)?;
                (y.into(), Kept::Maxima(maxima), None)
            }
            (PlanOp::BatchNorm2d { eps }, Keeps::Normalised) => {
                let parameters = [self.tensor(step, layer.weight)?, self.tensor(step, layer.bias)?];
                let (y, kept, batch) = batch_norm::forward(p, x, parameters, *eps, index)?;
                (y.into(), Kept::Normalised(Box::new(kept)), Some(batch))
            }
            (PlanOp::BatchNorm2d { .. }, _) => {
                let [mean, beta] = [self.tensor(step, layer.running_mean)?, self.tensor(step, layer.bias)?];
                let y = batch_norm::by_running(p, x, mean, self.factor(index, step)?, beta)?;
                (y.into(), Kept::Nothing, None)
            }
            _ => {
                let weights = self.layer(p, step, &layer)?;
                let kept = if keeps == Keeps::Input { Kept::Input(x.clone()) } else { Kept::Nothing };
                (evaluate(p, step, weights.as_ref(), inputs)?, kept, None)
            }
        })
    }

    /// As [`Inputs::step`], of a step one of whose inputs is still being truncated: a ReLU, or what lies before it.
    fn behind(
        &self,
        p: &mut Party,
        step: &Step,
        keeps: Keeps,
        inputs: Operands,
    ) -> Result<(Computed, Kept, Option<BatchStatistics>), NnError> {
        match (&step.op, keeps, inputs) {
            (PlanOp::Relu, Keeps::Bits, Operands { begun: Some(x), .. }) => {
                let (y, bits) = p.relu_kept_behind(x)?;
                Ok((y.into(), Kept::Bits(bits), None))
            }
            (_, _, inputs) => Ok((evaluate(p, step, None, inputs)?, Kept::Nothing, None)),
        }
    }

    /// γ/√(σ² + eps) of a batch normalisation that uses its running statistics.
    pub fn factor(&self, index: usize, step: &Step) -> Result<&Rep, NnError> {
        self.factors.get(&index).ok_or_else(|| wiring(&step.name, "has no running factor"))
    }

    /// The weights of a convolution or a fully connected layer; the bias at the scale of the product.
    fn layer(&self, p: &Party, step: &Step, layer: &LayerTensors) -> Result<Option<Layer>, NnError> {
        if layer.weight.is_none() {
            return Ok(None);
        }
        let up = 1 << cut(&step.op, p.codec());
        let bias = layer.bias.map(|bias| Ok::<_, NnError>(self.tensor(step, Some(bias))?.mul_word(up))).transpose()?;
        Ok(Some(Layer { weight: Some(self.operand(p, step, layer)?), bias }))
    }
}
