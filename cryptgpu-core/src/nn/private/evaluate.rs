//! The steps of a plan on shares.

use super::values::{Computed, Inputs, Products, Values};
use super::{Layer, LayerTime, SharedModel};
use crate::device::{ConvGeometry, DeviceError, PoolGeometry};
use crate::mpc::{Additive, CheckRange, MpcError, Operand, Party, Rep, Truncating};
use crate::nn::plan::{PlanOp, Step};
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
    let mut values = Values::new(plan, x);
    for (step, layer) in plan.steps().iter().zip(&model.layers) {
        let inputs = values.inputs(step)?;
        let (start, before) = (Instant::now(), p.stats());
        let looked_at = window::of_step(plan, step, p.settings())?;
        let evaluate = |p: &mut Party| {
            let result = evaluate(p, step, layer.as_ref(), inputs).and_then(|result| {
                let result = result.settled(p, plan, step)?;
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
        values.put(step, result);
    }
    p.check_range()?;
    values.into_output(plan)
}

/// The result of one step; of one that truncates products, without the last message of the truncation; of one that leaves
/// them to a sum, the products.
pub(in crate::nn) fn evaluate(
    p: &mut Party,
    step: &Step,
    layer: Option<&Layer>,
    inputs: Inputs,
) -> Result<Computed, NnError> {
    let local = |source: DeviceError| NnError::Local { node: step.name.clone(), source };
    let wiring = |what: &str| NnError::Wiring { node: step.name.clone(), what: what.into() };
    if let Some(begun) = inputs.begun {
        return behind(p, step, begun, &inputs.complete);
    }
    if let Some((sum, cut)) = summed(&inputs.products).map_err(local)? {
        return Ok(Computed::Begun(p.begin_truncation(sum, cut)?));
    }
    let mut inputs = inputs.complete.into_iter();
    let Some(x) = inputs.next() else { return Err(wiring("has no input")) };
    let rest = inputs.as_slice();
    let weights = || {
        let weight = layer.and_then(|layer| Some((layer.weight.as_ref()?, layer.bias.as_ref())));
        weight.ok_or_else(|| wiring("has no weights"))
    };
    Ok(Computed::Complete(match &step.op {
        PlanOp::Conv2d { out_channels, window, groups, .. } => {
            let (weight, bias) = weights()?;
            let geometry = convolution(x.shape(), *out_channels, *window, *groups);
            let geometry = geometry.ok_or_else(|| wiring("its input is no image"))?;
            let products = x.local_conv2d(weight, &geometry, bias);
            drop(x);
            return cut(p, step, weight, products);
        }
        PlanOp::ConvTranspose2d { out_channels, output, window, groups, .. } => {
            let (weight, bias) = weights()?;
            let &[batch, in_channels, ..] = x.shape() else { return Err(wiring("its input is no image")) };
            let geometry = convolution(&[batch, *out_channels, output[0], output[1]], in_channels, *window, *groups);
            let geometry = geometry.ok_or_else(|| wiring("its input is no image"))?;
            let products = x.local_conv_transpose2d(weight, &geometry, bias);
            drop(x);
            return cut(p, step, weight, products);
        }
        PlanOp::Linear { .. } => {
            let (weight, bias) = weights()?;
            let products = linear(&x, weight, bias);
            drop(x);
            return cut(p, step, weight, products);
        }
        PlanOp::Relu => p.relu_behind(x.into())?,
        PlanOp::Relu6 => p.clipped_relu(&x, 6.0)?,
        PlanOp::PiecewiseLinear(function) => p.piecewise_linear(&x, function)?,
        PlanOp::Smooth(function) => p.smooth(&x, *function)?,
        PlanOp::Rows(function) => p.of_rows(&x, *function)?,
        PlanOp::Bias => {
            let bias = layer.and_then(|layer| layer.bias.as_ref()).ok_or_else(|| wiring("has no weights"))?;
            plus_each(&x, bias).map_err(local)?
        }
        PlanOp::Rearrange(rearrange) => rearrange.share(&x).map_err(local)?,
        PlanOp::MatMul => {
            let [y] = rest else { return Err(wiring("multiplies two values")) };
            let bits = p.codec().fraction_bits();
            return Ok(Computed::Begun(p.begin_truncation(x.local_batched_matmul(p.id(), y).map_err(local)?, bits)?));
        }
        PlanOp::Mul => {
            let [factor] = rest else { return Err(wiring("multiplies two values")) };
            let products = if factor.len() == x.len() { x.local_mul(factor) } else { x.scale_planes(factor) };
            let bits = p.codec().fraction_bits();
            return Ok(Computed::Begun(p.begin_truncation(products.map_err(local)?, bits)?));
        }
        PlanOp::Div => {
            let [divisor] = rest else { return Err(wiring("divides two values")) };
            p.quotient(&x, divisor)?
        }
        PlanOp::MaxPool { window } => p.max_pool(&x, window)?,
        PlanOp::BatchNorm2d { .. } => {
            return Err(wiring("is normalised in training only: fold it first (nn::fold_weights)"));
        }
        PlanOp::SumPool { window } => x.sum_pool(window).map_err(local)?,
        PlanOp::Rescale { divisor } => p.divide(&x, divisor.division(p.codec()))?,
        PlanOp::Add => rest.iter().try_fold(x, |sum, term| sum.add(term)).map_err(local)?,
        PlanOp::Concat => concat_channels(&x, rest).map_err(local)?,
        PlanOp::Upsample { factors } => {
            let &[_, _, height, width] = x.shape() else { return Err(wiring("its input is no image")) };
            // What the sum over windows of this size gives back to their elements.
            let window = PoolGeometry { kernel: *factors, stride: *factors, ..PoolGeometry::square(1, 1, 0) };
            x.sum_pool_gradient(&window, [height * factors[0], width * factors[1]]).map_err(local)?
        }
        PlanOp::Reshape { shape } => x.reshape(&reshaped(x.shape(), shape)).map_err(local)?,
    }))
}

/// The sum of products, at the largest of their scales, and by how many bits it is truncated; None of none.
fn summed(products: &[Products]) -> Result<Option<(Additive, u32)>, DeviceError> {
    let Some(cut) = products.iter().map(|products| products.cut).max() else { return Ok(None) };
    let mut scaled = products.iter().map(|products| match cut - products.cut {
        0 => products.sum.clone(),
        missing => products.sum.mul_word(1 << missing),
    });
    let Some(first) = scaled.next() else { return Ok(None) };
    let sum = scaled.try_fold(first, |sum, other| sum.add(&other))?;
    Ok(Some((sum, cut)))
}

/// Begins to truncate the products of a layer, unless they are left to a sum.
fn cut(
    p: &mut Party,
    step: &Step,
    weight: &Operand,
    products: Result<Additive, DeviceError>,
) -> Result<Computed, NnError> {
    let (sum, cut) = (products.map_err(MpcError::from)?, weight.cut(p.codec().fraction_bits()));
    if step.left_to_sum {
        return Ok(Computed::Left(Products { sum, cut }));
    }
    Ok(Computed::Begun(p.begin_truncation(sum, cut)?))
}

/// The result of a step one of whose inputs is still being truncated.
fn behind(p: &mut Party, step: &Step, x: Truncating, others: &[Rep]) -> Result<Computed, NnError> {
    let local = |source: DeviceError| NnError::Local { node: step.name.clone(), source };
    let begun = match &step.op {
        PlanOp::Relu => return Ok(Computed::Complete(p.relu_behind(x)?)),
        PlanOp::Add => others.iter().try_fold(x, |sum, term| sum.plus(term)).map_err(local)?,
        PlanOp::Reshape { shape } => {
            let shape = reshaped(x.shape(), shape);
            x.reshape(&shape).map_err(local)?
        }
        _ => return Err(NnError::Wiring { node: step.name.clone(), what: "its input is still truncated".into() }),
    };
    Ok(Computed::Begun(begun))
}

/// The products of a fully connected layer and the bias, of a vector or of each row of a matrix.
fn linear(x: &Rep, weight: &Operand, bias: Option<&Rep>) -> Result<Additive, DeviceError> {
    let Some((&features, rows)) = x.shape().split_last() else { return x.local_linear(weight, bias) };
    let products = x.reshape(&[x.len() / features.max(1), features])?.local_linear(weight, bias)?;
    let out = products.shape().last().copied().unwrap_or(1);
    products.reshape(&[rows, &[out]].concat())
}

/// x + b for each image of a batch.
fn plus_each(x: &Rep, b: &Rep) -> Result<Rep, DeviceError> {
    let batch = x.shape().first().copied().unwrap_or(1);
    let sums = x.reshape(&[batch, b.len()])?.add_channels(&b.reshape(&[b.len()])?)?;
    sums.reshape(x.shape())
}

/// This shape for each image of a batch.
fn reshaped(batch: &[usize], shape: &[usize]) -> Vec<usize> {
    [batch.get(..1).unwrap_or(&[1]), shape].concat()
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

/// Side by side along axis 1: image by image, because shares are joined along axis 0.
fn concat_channels(first: &Rep, rest: &[Rep]) -> Result<Rep, DeviceError> {
    let inputs = || std::iter::once(first).chain(rest);
    let (batch, mut shape) = (first.shape()[0], first.shape().to_vec());
    if let Some(channels) = shape.get_mut(1) {
        *channels = inputs().map(|x| x.shape()[1]).sum();
    }
    let mut parts = Vec::with_capacity(batch * (1 + rest.len()));
    for image in 0..batch {
        for x in inputs() {
            let part = x.narrow(image..image + 1)?;
            parts.push(part.reshape(&[part.len()])?);
        }
    }
    Rep::concat(&parts)?.reshape(&shape)
}
