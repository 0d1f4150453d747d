//! The backward pass on shares: from the gradient of the loss to those of the parameters. What flows is the gradient of the
//! sum of the losses of [`TrainingPlan::summed`](super::plan::TrainingPlan) examples, as many as the settings' batch has but in the
//! ring of 32 bits, with the codec's scale; gradients of weights are sums of
//! products that nobody has truncated.
//!
//! A value with a pending divisor stands in the ring as so many times the network's value. What is differentiated is what
//! stands in the ring: the gradient of such a value is the network's divided by the divisor, as the layer's own truncation
//! does it, and that of the sum pool before it is the plain adjoint of a sum.

use super::batch_norm;
use super::forward::{Inputs, Kept, wiring};
use super::plan::{BackwardStep, extra_of};
use super::times::{Label, Pass, StepTime, observed};
use crate::device::{DeviceError, PoolGeometry};
use crate::mpc::{Additive, MpcError, Party, Rep};
use crate::nn::NnError;
use crate::nn::graph::without_gradient;
use crate::nn::plan::{PlanOp, Step};
use crate::nn::private::evaluate::convolution;

/// The gradient of a parameter.
pub(super) struct Gradient {
    /// Which tensor.
    pub tensor: usize,
    /// Summands at the scale of a product, 2^(2f), or as many bits above it as [`super::plan::extra_of`] says of its step.
    pub value: Additive,
}

/// What one step makes.
#[derive(Default)]
struct Made {
    /// For each input, its gradient if it is needed.
    inputs: Vec<Option<Rep>>,
    parameters: Vec<Gradient>,
}

/// Runs the backward pass from the gradient of the network's result.
pub(super) fn run(
    inputs: &Inputs<'_>,
    p: &mut Party,
    gradient: Rep,
    mut kept: Vec<Kept>,
    observe: &mut dyn FnMut(StepTime<'_>),
) -> Result<Vec<Gradient>, NnError> {
    let forward = inputs.plan.forward();
    let mut gradients: Vec<Option<Rep>> = vec![None; forward.shapes().len()];
    gradients[forward.output().index()] = Some(gradient);
    let mut parameters = vec![];
    for backward in inputs.plan.backward() {
        let step = inputs.plan.step(backward);
        let dy =
            gradients[step.output.index()].take().ok_or_else(|| wiring(&step.name, "its result has no gradient"))?;
        let kept = std::mem::replace(&mut kept[backward.step], Kept::Nothing);
        let label = Label { name: &step.name, kind: step.op.kind(), pass: Pass::Backward };
        let shapes: Vec<&[usize]> = step.inputs.iter().map(|&input| forward.shape(input)).collect();
        let made = observed(p, label, observe, |p| {
            let mut work = Work { inputs, backward, step, shapes: &shapes };
            work.step(p, dy, kept)
        })?;
        parameters.extend(made.parameters);
        for (input, gradient) in step.inputs.iter().zip(made.inputs) {
            let Some(gradient) = gradient else { continue };
            let slot = &mut gradients[input.index()];
            *slot = Some(match slot.take() {
                Some(sum) => sum.add(&gradient).map_err(MpcError::from)?,
                None => gradient,
            });
        }
    }
    Ok(parameters)
}

/// One step of the backward pass.
struct Work<'a> {
    inputs: &'a Inputs<'a>,
    backward: &'a BackwardStep,
    step: &'a Step,
    /// Shapes of the inputs, without the batch.
    shapes: &'a [&'a [usize]],
}

impl Work<'_> {
    fn step(&mut self, p: &mut Party, dy: Rep, kept: Kept) -> Result<Made, NnError> {
        let step = self.step;
        match (&step.op, kept) {
            (PlanOp::Conv2d { .. } | PlanOp::Linear { .. }, kept) => self.layer(p, dy, kept),
            (PlanOp::BatchNorm2d { .. }, kept) => self.batch_norm(p, &dy, kept),
            _ if !self.backward.inputs.contains(&true) => Ok(Made::default()),
            (PlanOp::Relu | PlanOp::Relu6, Kept::Bits(bits)) => self.one(p.bit_product_of(&bits, dy)?),
            (PlanOp::MaxPool { .. }, Kept::Maxima(maxima)) => self.one(p.max_pool_gradient(&maxima, &dy)?),
            (PlanOp::SumPool { window }, _) => self.one(self.sum_pool(&dy, window)?),
            (PlanOp::Rescale { divisor }, _) => self.one(p.divide(&dy, divisor.division(p.codec()))?),
            (PlanOp::Upsample { factors }, _) => {
                let window = PoolGeometry { kernel: *factors, stride: *factors, ..PoolGeometry::square(1, 1, 0) };
                self.one(dy.sum_pool(&window).map_err(MpcError::from)?)
            }
            (PlanOp::Reshape { .. }, _) => self.one(dy.reshape(&self.input_shape(&dy)).map_err(MpcError::from)?),
            (PlanOp::Add, _) => {
                let each = self.backward.inputs.iter().map(|&needed| needed.then(|| dy.clone()));
                Ok(Made { inputs: each.collect(), parameters: vec![] })
            }
            (PlanOp::Concat, _) => self.concat(&dy),
            (without_gradient!(PlanOp), _) => Err(NnError::NoGradient { node: step.name.clone(), op: step.op.kind() }),
            (PlanOp::Relu | PlanOp::Relu6 | PlanOp::MaxPool { .. }, _) => Err(wiring(&step.name, "kept no bits")),
        }
    }

    fn one(&self, gradient: Rep) -> Result<Made, NnError> {
        Ok(Made { inputs: vec![Some(gradient)], parameters: vec![] })
    }

    /// Shape of the first input, batch included.
    fn input_shape(&self, dy: &Rep) -> Vec<usize> {
        let batch = dy.shape().first().copied().unwrap_or(1);
        let image = self.shapes.first().copied().unwrap_or(&[]);
        [&[batch], image].concat()
    }

    fn sum_pool(&self, dy: &Rep, window: &PoolGeometry) -> Result<Rep, NnError> {
        let &[.., height, width] = &self.input_shape(dy)[..] else {
            return Err(wiring(&self.step.name, "its input is no image"));
        };
        Ok(dy.sum_pool_gradient(window, [height, width]).map_err(MpcError::from)?)
    }

    /// A convolution or a fully connected layer.
    fn layer(&self, p: &mut Party, dy: Rep, kept: Kept) -> Result<Made, NnError> {
        let step = self.step;
        let layer = self.inputs.plan.layers()[self.backward.step];
        let input = self.backward.inputs.contains(&true);
        let shape = self.input_shape(&dy);
        let geometry = match step.op {
            PlanOp::Conv2d { out_channels, window, groups, .. } => {
                let geometry = convolution(&shape, out_channels, window, groups);
                Some(geometry.ok_or_else(|| wiring(&step.name, "its input is no image"))?)
            }
            _ => None,
        };
        let mut made = Made::default();
        if self.backward.parameters {
            let Kept::Input(x) = kept else { return Err(wiring(&step.name, "kept no input")) };
            let weight = match &geometry {
                Some(geometry) => dy.conv2d_weight_gradient(p.id(), &x, geometry),
                None => dy.linear_weight_gradient(p.id(), &x),
            };
            let up = 1 << (p.codec().fraction_bits() + extra_of(&step.op));
            let bias = layer.bias.map(|_| Ok::<_, DeviceError>(dy.channel_sums()?.mul_word(up).to_additive()));
            let (weight, bias) = (weight.map_err(MpcError::from)?, bias.transpose().map_err(MpcError::from)?);
            let tensors = [(layer.weight, Some(weight)), (layer.bias, bias)];
            made.parameters = gradients(tensors);
        }
        if input {
            let weight = self.inputs.operand(p, step, &layer)?;
            let products = match &geometry {
                Some(geometry) => dy.conv2d_input_gradient(&weight, geometry),
                None => dy.linear_input_gradient(&weight),
            };
            let (products, cut) = (products.map_err(MpcError::from)?, weight.cut(p.codec().fraction_bits()));
            drop((dy, weight));
            made.inputs = vec![Some(p.truncate_additive(products, cut)?)];
        }
        Ok(made)
    }

    fn batch_norm(&self, p: &mut Party, dy: &Rep, kept: Kept) -> Result<Made, NnError> {
        let layer = self.inputs.plan.layers()[self.backward.step];
        let input = self.backward.inputs.contains(&true);
        let Kept::Normalised(kept) = kept else {
            let factor = self.inputs.factor(self.backward.step, self.step)?;
            let gradient = batch_norm::by_running_backward(p, dy, factor)?;
            return self.one(gradient);
        };
        let made = batch_norm::backward(p, dy, &kept, input)?;
        let bias = made.bias.mul_word(1 << p.codec().fraction_bits()).to_additive();
        let parameters = gradients([(layer.weight, Some(made.weight)), (layer.bias, Some(bias))]);
        Ok(Made { inputs: vec![made.input], parameters })
    }

    /// The part of each input, along the channels.
    fn concat(&self, dy: &Rep) -> Result<Made, NnError> {
        let batch = dy.shape().first().copied().unwrap_or(1);
        let mut first = 0;
        let mut inputs = vec![];
        for (shape, &needed) in self.shapes.iter().zip(&self.backward.inputs) {
            let channels = first..first + shape.first().copied().unwrap_or(0);
            first = channels.end;
            inputs.push(needed.then(|| channels_of(dy, channels, &[&[batch], *shape].concat())).transpose()?);
        }
        Ok(Made { inputs, parameters: vec![] })
    }
}

fn gradients(tensors: [(Option<usize>, Option<Additive>); 2]) -> Vec<Gradient> {
    tensors.into_iter().filter_map(|(tensor, value)| Some(Gradient { tensor: tensor?, value: value? })).collect()
}

/// Some channels of every image, in this shape: image by image, because shares are cut along axis 0.
fn channels_of(x: &Rep, channels: std::ops::Range<usize>, shape: &[usize]) -> Result<Rep, MpcError> {
    let batch = x.shape().first().copied().unwrap_or(0);
    let mut parts = Vec::with_capacity(batch);
    for image in 0..batch {
        let all = x.narrow(image..image + 1)?.reshape(&x.shape()[1..])?;
        let part = all.narrow(channels.clone())?;
        parts.push(part.reshape(&[part.len()])?);
    }
    Ok(Rep::concat(&parts)?.reshape(shape)?)
}
