//! Weights as ring elements: which tensors a plan needs, at which scale, and how they become the
//! layers of a shared model.

use super::Layer;
use crate::device::{Device, Tensor, Words};
use crate::mpc::{Operand, Rep};
use crate::nn::divisor::{Divisor, cut};
use crate::nn::plan::{PlanOp, Step};
use crate::nn::{NnError, Plan, Weights};
use crate::ring::{FixedPoint, Ring, RingError, Word};
use ndarray::ArrayD;
use rayon::prelude::*;
use std::ops::Range;

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
    /// Takes this tensor out of the folded `weights`.
    pub(super) fn encoding(&self, codec: FixedPoint, weights: &mut Weights) -> Encoding {
        // Folding and checking have put it there; of an empty one no element can be encoded.
        let tensor = weights.remove(&self.name).unwrap_or_default();
        Encoding { factor: self.factor, extra: self.extra, ..Encoding::new(&self.name, codec, &tensor) }
    }
}

/// A tensor in the clear, whose elements its owner makes as he shares them.
pub(in crate::nn) struct Encoding {
    name: String,
    codec: FixedPoint,
    /// In row-major order.
    values: Vec<f32>,
    factor: f64,
    extra: u32,
}

impl Encoding {
    /// At the codec's scale.
    pub fn new(name: &str, codec: FixedPoint, tensor: &ArrayD<f32>) -> Self {
        let values = tensor.iter().copied().collect();
        Encoding { name: name.to_owned(), codec, values, factor: 1.0, extra: 0 }
    }

    /// Elements of the ring, all of them.
    ///
    /// # Errors
    /// As [`Encoding::piece`].
    pub fn all(&self) -> Result<Vec<u64>, NnError> {
        let mut words = vec![0u64; self.values.len()];
        self.fill(&mut words, 0)?;
        Ok(words)
    }

    /// Elements of that range as a tensor.
    ///
    /// # Errors
    /// [`NnError::Encode`] when a value does not fit the ring.
    pub fn piece(&self, device: Device, range: Range<usize>) -> Result<Tensor, NnError> {
        let (ring, n) = (self.codec.ring(), range.len());
        // Memory that was in use before: a piece follows another.
        let mut words = Words::scratch(ring.words(n));
        if let Some(last) = words.last_mut() {
            *last = 0;
        }
        match ring {
            Ring::Z64 => self.fill(u64::of_mut(&mut words), range.start)?,
            Ring::Z32 => self.fill(&mut u32::of_mut(&mut words)[..n], range.start)?,
        }
        Ok(Tensor::of_ring(ring, device.upload(words.into_vec()), &[n]))
    }

    fn fill<T: Word>(&self, elements: &mut [T], first: usize) -> Result<(), NnError> {
        // A value that is missing is no number.
        let value = |place: usize| self.values.get(first + place).copied().unwrap_or(f32::NAN);
        let filled: Result<(), RingError> = elements.par_iter_mut().enumerate().try_for_each(|(place, element)| {
            let value = f64::from(value(place)) * self.factor;
            *element = T::of_u64(self.codec.encode_scaled(value, self.extra, first + place)?);
            Ok(())
        });
        filled.map_err(|source| NnError::Encode { tensor: self.name.clone(), source })
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn pieces_are_the_parts_of_the_whole_and_an_error_names_the_place_in_it() {
        for ring in [Ring::Z64, Ring::Z32] {
            let codec = FixedPoint::in_ring(ring, 10).unwrap();
            let encoding = Encoding::new("w", codec, &array![[0.5f32, -1.0, 2.0], [3.0, f32::NAN, 4.0]].into_dyn());
            let piece = encoding.piece(Device::Cpu, 1..4).unwrap();
            assert_eq!(codec.decode_array(&piece.to_array().unwrap()), array![-1.0, 2.0, 3.0].into_dyn());
            for range in [4..5, 2..6] {
                let NnError::Encode { tensor, source } = encoding.piece(Device::Cpu, range).unwrap_err() else {
                    panic!("another error")
                };
                assert!(tensor == "w" && matches!(source, RingError::NotFinite { index: 4, .. }), "{source}");
            }
        }
    }
}
