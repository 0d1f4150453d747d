//! The loss of a batch, and its gradient with respect to the network's result: where the backward pass begins.

use super::plan::TrainingPlan;
use super::settings::Loss;
use crate::mpc::{Additive, MpcError, Party, Rep};

/// The gradient of the sum of the losses of a batch; with `wanted` that sum itself too, as a share of shape `[1]`.
///
/// Whatever the size of the batch, its gradient is scaled to [`TrainingPlan::summed`] examples, usually as many as the settings say,
/// so that the gradient divided by that size is always the mean's.
pub(super) fn gradient(
    p: &mut Party,
    plan: &TrainingPlan,
    outputs: &Rep,
    targets: &Rep,
    wanted: bool,
) -> Result<(Rep, Option<Rep>), MpcError> {
    let batch = outputs.shape().first().copied().unwrap_or(1).max(1);
    let scale = plan.summed() / batch as f64;
    match plan.train().loss {
        Loss::CrossEntropy => {
            let (gradient, loss) = if wanted {
                let both = p.cross_entropy(outputs, targets)?;
                (both.gradient, Some(both.losses.sum()))
            } else {
                (p.softmax(outputs)?.sub(targets)?, None)
            };
            Ok((scaled(p, gradient, scale)?, loss))
        }
        Loss::MeanSquaredError => {
            let count = (outputs.len() / batch).max(1) as f64;
            let difference = outputs.sub(targets)?;
            let loss = if wanted {
                let squares = Additive::from_summand(difference.local_mul(&difference)?.mine().sum());
                let sum = p.truncate_additive(squares, p.codec().fraction_bits())?;
                Some(scaled(p, sum, 1.0 / count)?)
            } else {
                None
            };
            Ok((scaled(p, difference, scale * 2.0 / count)?, loss))
        }
    }
}

/// x times a public number.
fn scaled(p: &mut Party, x: Rep, factor: f64) -> Result<Rep, MpcError> {
    if factor == 1.0 { Ok(x) } else { p.mul_scalar(&x, factor) }
}
