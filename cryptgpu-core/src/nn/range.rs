//! Whether a network's values fit the ring, found out in plaintext by the owner of the weights before
//! anything is shared: a private run cannot see that a value has wrapped around.

use super::lower::PlanOp;
use super::private::cut;
use super::{Graph, LowerOptions, NnError, Weights, fold, lower::lower, plaintext};
use crate::ring::{FixedPoint, Withheld};
use ndarray::ArrayViewD;
use std::collections::HashMap;

/// Truncation is exact for products below 2^62.
const LIMIT_BITS: f64 = 62.0;

/// How much room a step has.
#[derive(Clone, Debug, PartialEq)]
pub struct Headroom {
    /// The node.
    pub node: String,
    /// The largest absolute value of its result.
    pub largest: f64,
    /// Bits between that value, at the scale that it has before the truncation, and 2^62.
    pub bits: f64,
}

/// The room of every step that truncates, for these `images`, the tightest first.
///
/// A result y of a convolution, a linear layer or an average stands in the ring as y · 2^(f + cut) before its
/// truncation, with cut = f + ⌈log₂ of the pending divisor⌉.
///
/// ```
/// use cryptgpu_core::nn::{Weights, range, zoo};
/// let net = zoo::by_name("lenet")?;
/// let image = ndarray::ArrayD::from_elem(vec![1, 1, 28, 28], 1.0);
/// let room = range::headroom(&net, &Weights::seeded(&net, 1), &image.view(), Default::default(), Default::default())?;
/// assert_eq!(room.len(), 4);
/// assert!(room[0].bits > 10.0);
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
///
/// # Errors
/// As [`plaintext::evaluate`] and [`fold::fold_graph`].
pub fn headroom(
    graph: &Graph,
    weights: &Weights,
    images: &ArrayViewD<'_, f64>,
    options: LowerOptions,
    codec: FixedPoint,
) -> Result<Vec<Headroom>, NnError> {
    let (folded, weights) = fold::fold_batch_norm(graph, weights)?;
    let plan = lower(&folded, options)?;
    let mut largest: HashMap<String, f64> = HashMap::new();
    plaintext::evaluate_with(&folded, &weights, images, |node, value| {
        largest.insert(node.to_owned(), value.iter().fold(0.0, |max, value| max.max(value.abs())));
    })?;
    let truncating = |op: &PlanOp| matches!(op, PlanOp::Conv2d { .. } | PlanOp::Linear { .. } | PlanOp::Rescale { .. });
    let mut room: Vec<Headroom> = plan
        .steps()
        .iter()
        .filter(|step| truncating(&step.op))
        .map(|step| {
            let largest = largest.get(&step.name).copied().unwrap_or(0.0);
            let scale = codec.fraction_bits() + cut(&step.op, codec.fraction_bits());
            let bits = LIMIT_BITS - f64::from(scale) - largest.max(f64::MIN_POSITIVE).log2();
            Headroom { node: step.name.clone(), largest, bits }
        })
        .collect();
    room.sort_by(|a, b| a.bits.total_cmp(&b.bits));
    Ok(room)
}

/// Checks that every step has room for these `images`.
///
/// # Errors
/// [`NnError::Range`] names the node that has the least; otherwise as [`headroom`].
pub fn check(
    graph: &Graph,
    weights: &Weights,
    images: &ArrayViewD<'_, f64>,
    options: LowerOptions,
    codec: FixedPoint,
) -> Result<(), NnError> {
    match headroom(graph, weights, images, options, codec)?.into_iter().next() {
        Some(Headroom { node, largest, bits }) if bits <= 0.0 => {
            let (largest, over) = (Withheld::new(largest), Withheld::new(-bits));
            Err(NnError::Range { node, largest, over, fraction_bits: codec.fraction_bits() })
        }
        _ => Ok(()),
    }
}
