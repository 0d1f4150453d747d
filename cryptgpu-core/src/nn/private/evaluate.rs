//! The steps of a plan on shares.

use super::{Layer, LayerTime, SharedModel};
use crate::device::{ConvGeometry, DeviceError, PoolGeometry};
use crate::mpc::{CheckRange, MpcError, Party, Rep};
use crate::nn::divisor::reciprocal;
use crate::nn::lower::{PlanOp, Step};
use crate::nn::{NnError, window};
use std::time::Instant;

/// Runs all steps of the model's plan.
pub(super) fn run(
    model: &SharedModel,
    p: &mut Party,
    x: Rep,
    mut observe: impl FnMut(LayerTime<'_>),
) -> Result<Rep, NnError> {
    let plan = &model.plan;
    let mut values: Vec<Option<Rep>> = vec![None; plan.shapes().len()];
    if let Some(input) = values.first_mut() {
        *input = Some(x);
    }
    let missing = |step: &str| NnError::Wiring { node: step.into(), what: "an input was already released".into() };
    for (step, layer) in plan.steps().iter().zip(&model.layers) {
        let inputs: Option<Vec<&Rep>> = step.inputs.iter().map(|input| values[input.index()].as_ref()).collect();
        let inputs = inputs.ok_or_else(|| missing(&step.name))?;
        let (start, before) = (Instant::now(), p.stats());
        let looked_at = window::of_step(plan, step, p.settings())?;
        let evaluate = |p: &mut Party| {
            let result = evaluate(p, step, layer.as_ref(), &inputs).and_then(|result| {
                if p.settings().check_range == CheckRange::Layers {
                    p.check_range()?;
                }
                Ok(result)
            });
            result.map_err(|error| error.located(p))
        };
        let result = p.step(&step.name, |p| p.with_window(looked_at, evaluate))?;
        let (time, stats) = (start.elapsed(), p.stats().since(&before));
        observe(LayerTime { name: &step.name, kind: step.op.kind(), elements: result.len(), time, stats });
        values[step.output.index()] = Some(result);
        for released in &step.release {
            values[released.index()] = None;
        }
    }
    p.check_range()?;
    values[plan.output().index()].take().ok_or_else(|| missing(plan.name()))
}

/// The result of one step.
pub(in crate::nn) fn evaluate(
    p: &mut Party,
    step: &Step,
    layer: Option<&Layer>,
    inputs: &[&Rep],
) -> Result<Rep, NnError> {
    let local = |source: DeviceError| NnError::Local { node: step.name.clone(), source };
    let wiring = |what: &str| NnError::Wiring { node: step.name.clone(), what: what.into() };
    let [x, rest @ ..] = inputs else { return Err(wiring("has no input")) };
    let weights = || layer.ok_or_else(|| wiring("has no weights"));
    match &step.op {
        PlanOp::Conv2d { out_channels, window, groups, .. } => {
            let layer = weights()?;
            let geometry = convolution(x.shape(), *out_channels, *window, *groups);
            let geometry = geometry.ok_or_else(|| wiring("its input is no image"))?;
            Ok(p.conv2d(x, &layer.weight, &geometry, layer.bias.as_ref())?)
        }
        PlanOp::Linear { .. } => {
            let layer = weights()?;
            Ok(p.linear(x, &layer.weight, layer.bias.as_ref())?)
        }
        PlanOp::Relu => Ok(p.relu(x)?),
        PlanOp::Relu6 => Ok(p.clipped_relu(x, 6.0)?),
        PlanOp::MaxPool { window } => Ok(p.max_pool(x, window)?),
        PlanOp::BatchNorm2d { .. } => {
            Err(wiring("is normalised in training only: fold it first (nn::fold_batch_norm)"))
        }
        PlanOp::SumPool { window } => x.sum_pool(window).map_err(local),
        PlanOp::Rescale { divisor } => Ok(rescale(p, x, *divisor)?),
        PlanOp::Add => rest.iter().try_fold((*x).clone(), |sum, term| sum.add(term)).map_err(local),
        PlanOp::Concat => concat_channels(inputs).map_err(local),
        PlanOp::Flatten => {
            let batch = x.shape().first().copied().unwrap_or(1).max(1);
            x.reshape(&[batch, x.len() / batch]).map_err(local)
        }
    }
}

/// The geometry of a convolution of images of this shape, batch included.
pub(in crate::nn) fn convolution(
    images: &[usize],
    out_channels: usize,
    window: PoolGeometry,
    groups: usize,
) -> Option<ConvGeometry> {
    let &[batch, in_channels, height, width] = images else { return None };
    Some(ConvGeometry { batch, in_channels, input: [height, width], out_channels, window, groups })
}

/// x divided by a public number, truncated.
pub(in crate::nn) fn rescale(p: &mut Party, x: &Rep, divisor: u64) -> Result<Rep, MpcError> {
    let (factor, bits) = reciprocal(divisor, p.codec().fraction_bits());
    let scaled = if factor == 1 { x.clone() } else { x.mul_word(factor) };
    p.truncate(&scaled, bits)
}

/// Side by side along axis 1: image by image, because shares are joined along axis 0.
fn concat_channels(inputs: &[&Rep]) -> Result<Rep, DeviceError> {
    let batch = inputs.first().map_or(0, |x| x.shape()[0]);
    let mut shape = inputs.first().map_or(vec![], |x| x.shape().to_vec());
    if let Some(channels) = shape.get_mut(1) {
        *channels = inputs.iter().map(|x| x.shape()[1]).sum();
    }
    let mut parts = Vec::with_capacity(batch * inputs.len());
    for image in 0..batch {
        for x in inputs {
            let part = x.narrow(image..image + 1)?;
            parts.push(part.reshape(&[part.len()])?);
        }
    }
    Rep::concat(&parts)?.reshape(&shape)
}
