//! Weights as ring elements: which tensors a plan needs, at which scale, and how they become the
//! layers of a shared model.

use super::Layer;
use crate::mpc::{Operand, Rep};
use crate::nn::divisor::{Divisor, cut};
use crate::nn::plan::{PlanOp, Step};
use crate::nn::{NnError, Plan, Weights};
use crate::ring::FixedPoint;
use rayon::prelude::*;

/// A tensor that a plan needs: its name, its shape and its scale.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Name in the weights of the folded network.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// 2^s / divisor for the weight of a layer whose input has a pending divisor, in [1, 2); otherwise 1.
    factor: f64,
    /// Fraction bits beyond the codec's: those of the product, for a bias.
    extra: u32,
}

impl TensorSpec {
    /// Takes this tensor out of the folded `weights` and encodes it, in row-major order.
    ///
    /// # Errors
    /// [`NnError::Encode`] when a value does not fit the ring.
    pub(super) fn encode(&self, codec: FixedPoint, weights: &mut Weights) -> Result<Vec<u64>, NnError> {
        // Folding and checking have put it there; an empty one has the wrong shape and is refused.
        let tensor = weights.remove(&self.name).unwrap_or_default();
        let values: Vec<f32> = tensor.iter().copied().collect();
        drop(tensor);
        let words: Result<Vec<u64>, _> = values
            .par_iter()
            .enumerate()
            .map(|(index, &value)| codec.encode_scaled(f64::from(value) * self.factor, self.extra, index))
            .collect();
        words.map_err(|source| NnError::Encode { tensor: self.name.clone(), source })
    }
}

/// The weight and the bias of a step, those of them that it has.
pub(super) fn of_step(plan: &Plan, step: &Step, codec: FixedPoint) -> [Option<TensorSpec>; 2] {
    let (divisor, scale) = match step.op {
        PlanOp::Conv2d { divisor, .. } | PlanOp::ConvTranspose2d { divisor, .. } | PlanOp::Linear { divisor, .. } => {
            (divisor, codec.fraction_bits() + divisor.extra_bits())
        }
        // Of a summand alone, at the scale of values.
        _ => (Divisor::ONE, 0),
    };
    let factor = divisor.factor();
    let named = |suffix: &str| format!("{}.{suffix}", step.name);
    let weight = plan.weight_shape(step);
    let weight = weight.map(|shape| TensorSpec { name: named("weight"), shape, factor, extra: 0 });
    let bias = plan.bias_shape(step).map(|shape| TensorSpec { name: named("bias"), shape, factor: 1.0, extra: scale });
    [weight, bias]
}

/// Every tensor that `plan` needs, in the order in which the owner shares them.
pub(super) fn specs(plan: &Plan, codec: FixedPoint) -> Vec<TensorSpec> {
    plan.steps().iter().flat_map(|step| of_step(plan, step, codec)).flatten().collect()
}

/// Where the shared tensors of a model come from.
pub(super) trait Tensors {
    /// What inputs are multiplied with.
    fn weight(&mut self, spec: &TensorSpec) -> Result<Operand, NnError>;
    /// What is added to the products.
    fn bias(&mut self, spec: &TensorSpec) -> Result<Rep, NnError>;
}

/// The layers of `plan`, by step, of its shared tensors.
pub(super) fn layers(plan: &Plan, codec: FixedPoint, mut tensors: impl Tensors) -> Result<Vec<Option<Layer>>, NnError> {
    let layer = |step: &Step| {
        let [weight, bias] = of_step(plan, step, codec);
        if weight.is_none() && bias.is_none() {
            return Ok(None);
        }
        let weight = weight.map(|spec| tensors.weight(&spec)).transpose()?;
        let bias = bias.map(|spec| tensors.bias(&spec)).transpose()?;
        Ok(Some(Layer { weight: weight.map(|weight| weight.with_cut(cut(&step.op, codec))), bias }))
    };
    plan.steps().iter().map(layer).collect()
}
