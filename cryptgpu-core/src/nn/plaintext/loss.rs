//! Losses in f64, with their gradients.

use crate::nn::training::Loss;
use ndarray::{ArrayD, Axis, Ix2};

/// The sum of the losses of a batch, and its gradient in the results `[batch, …]`. `None` when `targets` are not as many.
pub(super) fn loss(loss: Loss, results: &ArrayD<f64>, targets: &ArrayD<f64>) -> Option<(f64, ArrayD<f64>)> {
    let batch = results.shape()[0];
    let outputs = results.len() / batch;
    if targets.shape()[0] != batch || targets.len() != results.len() {
        return None;
    }
    let flat = |array: &ArrayD<f64>| {
        array
            .as_standard_layout()
            .into_owned()
            .into_shape_with_order((batch, outputs))
            .ok()?
            .into_dimensionality::<Ix2>()
            .ok()
    };
    let (mut gradient, targets) = (flat(results)?, flat(targets)?);
    let mut sum = 0.0;
    for (mut row, target) in gradient.axis_iter_mut(Axis(0)).zip(targets.rows()) {
        match loss {
            Loss::CrossEntropy => {
                let largest = row.fold(f64::NEG_INFINITY, |largest, &value| largest.max(value));
                let log = row.mapv(|value| (value - largest).exp()).sum().ln() + largest;
                sum -= row.iter().zip(target).map(|(value, target)| target * (value - log)).sum::<f64>();
                row.zip_mut_with(&target, |value, target| *value = (*value - log).exp() - target);
            }
            Loss::MeanSquaredError => {
                row -= &target;
                sum += row.iter().map(|error| error * error).sum::<f64>() / outputs as f64;
                row *= 2.0 / outputs as f64;
            }
        }
    }
    Some((sum, gradient.into_dyn().into_shape_with_order(results.raw_dim()).ok()?))
}

/// Classes as targets: `[count, classes]`, 1 at each label and 0 elsewhere. A label that is no class is a row of zeros.
pub fn one_hot(labels: &[u8], classes: usize) -> ndarray::Array2<f64> {
    ndarray::Array2::from_shape_fn((labels.len(), classes), |(row, class)| f64::from(usize::from(labels[row]) == class))
}
