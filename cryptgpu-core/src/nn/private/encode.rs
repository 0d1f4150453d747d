//! The owner's weights as shared ring elements.

use super::{Layer, cut, extra_bits};
use crate::device::Tensor;
use crate::mpc::{MpcError, Operand, Party, Rep};
use crate::net::PartyId;
use crate::nn::lower::{PlanOp, Step};
use crate::nn::{NnError, Plan, Weights};
use rayon::prelude::*;

/// Encodes and shares one layer after the other.
pub(super) struct Encoder<'a> {
    party: &'a mut Party,
    owner: PartyId,
    /// At the owner, what is left to be shared.
    weights: Option<Weights>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(party: &'a mut Party, owner: PartyId, weights: Option<Weights>) -> Self {
        Encoder { party, owner, weights }
    }

    /// The shared weights of a step, or `None` for a step without.
    pub(super) fn layer(&mut self, plan: &Plan, step: &Step) -> Result<Option<Layer>, NnError> {
        let Some(shape) = plan.weight_shape(step) else { return Ok(None) };
        let (&PlanOp::Conv2d { bias, divisor, .. } | &PlanOp::Linear { bias, divisor, .. }) = &step.op else {
            return Ok(None);
        };
        let fraction_bits = self.party.codec().fraction_bits();
        let extra = extra_bits(divisor);
        // Below the divisor there is a power of two at least half as large: the factor is in [1, 2).
        let factor = (1u64 << extra) as f64 / divisor as f64;
        let weight = self.tensor(&format!("{}.weight", step.name), &shape, factor, 0)?;
        let weight = Operand::new(weight).map_err(|source| NnError::Local { node: step.name.clone(), source })?;
        let bias = if bias {
            Some(self.tensor(&format!("{}.bias", step.name), &shape[..1], 1.0, fraction_bits + extra)?)
        } else {
            None
        };
        Ok(Some(Layer { weight, bias, cut: cut(&step.op, fraction_bits) }))
    }

    /// Shares the tensor `name` times `factor`, with `extra` more fraction bits than the codec's.
    fn tensor(&mut self, name: &str, shape: &[usize], factor: f64, extra: u32) -> Result<Rep, NnError> {
        let value =
            self.weights.as_mut().map(|weights| encode(self.party, weights, name, factor, extra)).transpose()?;
        let value = value.map(|words| Tensor::new(self.party.device().upload(words), shape));
        let value = value.transpose().map_err(|source| NnError::Local { node: name.into(), source })?;
        let owner = self.owner;
        Ok(self.party.step(name, |p| -> Result<Rep, MpcError> { p.input(owner, value.as_ref(), shape) })?)
    }
}

/// Takes the tensor `name` out of `weights` and encodes it, in row-major order.
fn encode(p: &Party, weights: &mut Weights, name: &str, factor: f64, extra: u32) -> Result<Vec<u64>, NnError> {
    // Folding and checking have put it there; an empty one has the wrong shape and is refused.
    let tensor = weights.remove(name).unwrap_or_default();
    let values: Vec<f32> = tensor.iter().copied().collect();
    drop(tensor);
    let codec = p.codec();
    let words: Result<Vec<u64>, _> = values
        .par_iter()
        .enumerate()
        .map(|(index, &value)| codec.encode_scaled(f64::from(value) * factor, extra, index))
        .collect();
    words.map_err(|source| NnError::Encode { tensor: name.into(), source })
}
