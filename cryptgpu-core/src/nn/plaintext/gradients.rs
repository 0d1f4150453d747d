//! Gradients of a network's loss in f64 by reverse-mode differentiation: the oracle that private gradients are compared
//! with. It follows the formulas of the private backward pass, and can round wherever that one truncates; it shares no
//! code with it, but for the public numbers that an average is divided by.

use super::rounding::{Arithmetic, Cuts};
use super::{Tensors, adjoint, check_shape, kernels, loss};
use crate::device::PoolGeometry;
use crate::nn::graph::without_gradient;
use crate::nn::training::Loss;
use crate::nn::{Graph, NnError, Node, NodeId, Op};
use ndarray::{ArrayD, Axis, IxDyn, Slice, concatenate};

/// What [`gradients`] computes of a batch.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// The sum of the examples' losses.
    pub loss: f64,
    /// The network's results, `[batch, …output shape]`.
    pub logits: ArrayD<f64>,
    /// The gradient of `loss` in each weight, by PyTorch's names. Running statistics have none.
    pub parameters: Tensors,
    /// The gradient of `loss` in the images.
    pub input: ArrayD<f64>,
    /// What each batch normalisation saw, by channel: `{node}.running_mean` its mean over the batch, `{node}.running_var`
    /// its variance with Bessel's correction.
    pub statistics: Tensors,
}

/// The gradients of the *sum* of the losses over a batch. Batch normalisation is in training mode: it normalises with mean
/// and variance of the batch.
///
/// At a kink, a ReLU's slope is 0 at 0, a ReLU6's is 0 at 0 and 1 at 6, and a max-pool's gradient goes to the first of
/// several largest values.
///
/// ```
/// use cryptgpu_core::nn::training::{Initial, Loss, initial};
/// use cryptgpu_core::nn::{plaintext, zoo};
/// let net = zoo::by_name("lenet")?;
/// let weights = plaintext::tensors(&initial(&net, 1, Initial::Kaiming));
/// let images = ndarray::ArrayD::from_elem(vec![2, 1, 28, 28], 0.5);
/// let targets = plaintext::one_hot(&[3, 7], 10).into_dyn();
/// let gradients = plaintext::gradients(&net, &weights, &images, &targets, Loss::CrossEntropy)?;
/// assert_eq!(gradients.parameters["conv1.weight"].shape(), [20, 1, 5, 5]);
/// // The gradient of the logits is softmax − target, which sums to 0 over the classes.
/// assert!(gradients.parameters["fc2.bias"].sum().abs() < 1e-12);
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
///
/// # Errors
/// [`NnError::MissingTensor`] or [`NnError::TensorShape`] for weights that are not the network's, [`NnError::Input`] for
/// images of another shape, [`NnError::NoGradient`] for an operation of inference only, [`NnError::Wiring`] for targets that are not one for each result.
pub fn gradients(
    graph: &Graph,
    weights: &Tensors,
    images: &ArrayD<f64>,
    targets: &ArrayD<f64>,
    loss: Loss,
) -> Result<Gradients, NnError> {
    let mut cuts = Cuts::new(Arithmetic::default());
    let pass = Pass::forward(graph, weights, images.clone(), &mut cuts, |_| true)?;
    pass.backward(targets, loss, 1.0)
}

/// Bits that x − μ has less in the ring of 32 bits where it is a factor of squares and of gradients, as a private run cuts it.
const COARSER: f64 = 4.0;

/// Bits that the gradient of a batch normalisation's input stands higher there until it is cut.
const SLOPE_GUARD: u32 = 3;

/// What a batch normalisation keeps.
struct Normal {
    /// x − μ, coarser in the ring of 32 bits.
    centred: ArrayD<f64>,
    /// 1/√(variance + eps), by channel.
    inverse: ArrayD<f64>,
    mean: ArrayD<f64>,
    /// Without Bessel's correction.
    variance: ArrayD<f64>,
    of_batch: bool,
}

/// A forward pass with everything that the backward pass needs.
pub(super) struct Pass<'a> {
    graph: &'a Graph,
    weights: &'a Tensors,
    cuts: &'a mut Cuts,
    values: Vec<ArrayD<f64>>,
    normals: Vec<Option<Normal>>,
    /// A value of a private run stands so many times as large in the ring: a pool's divisor that the next product takes.
    pending: Vec<f64>,
}

fn wiring(node: &str) -> NnError {
    NnError::Wiring { node: node.into(), what: "shapes do not fit".into() }
}

/// Nodes whose result may stand in the ring without a division by a pool's area: everything it reaches passes a positive
/// factor on, to products that take it with their cut.
fn carriers(graph: &Graph) -> Vec<bool> {
    let consumers = graph.consumers();
    let mut carries = vec![false; graph.nodes().len()];
    for id in graph.ids().collect::<Vec<_>>().into_iter().rev() {
        let takes = |user: &NodeId| match graph.node(*user).op {
            Op::Conv2d { .. } | Op::Linear { .. } => true,
            Op::Relu | Op::MaxPool { .. } | Op::AvgPool { .. } | Op::GlobalAvgPool => carries[user.index()],
            Op::Upsample { .. } | Op::Flatten | Op::Reshape { .. } => carries[user.index()],
            _ => false,
        };
        carries[id.index()] = id != graph.output() && consumers[id.index()].iter().all(takes);
    }
    carries
}

impl<'a> Pass<'a> {
    /// Evaluates `graph`; batch normalisations for whose node `of_batch` holds use the batch's statistics, the others their
    /// running ones.
    pub(super) fn forward(
        graph: &'a Graph,
        weights: &'a Tensors,
        images: ArrayD<f64>,
        cuts: &'a mut Cuts,
        of_batch: impl Fn(&Node) -> bool,
    ) -> Result<Self, NnError> {
        check_shape(graph.name(), graph.input_shape(), images.shape())?;
        graph.check_gradients()?;
        for parameter in graph.parameters() {
            let (graph, tensor) = (graph.name().to_owned(), parameter.name);
            match weights.get(&tensor).map(|weights| weights.shape().to_vec()) {
                Some(found) if found == parameter.shape => {}
                Some(found) => return Err(NnError::TensorShape { graph, tensor, expected: parameter.shape, found }),
                None => {
                    let hint = format!("they are {} tensors", weights.len());
                    return Err(NnError::MissingTensor { graph, tensor, shape: parameter.shape, hint });
                }
            }
        }
        let carries = if cuts.carries_averages() { carriers(graph) } else { vec![false; graph.nodes().len()] };
        let images = cuts.encoded(images);
        let mut pass = Pass { graph, weights, cuts, values: vec![images], normals: vec![None], pending: vec![1.0] };
        for id in graph.ids().skip(1) {
            let node = graph.node(id);
            let (value, pending, normal) =
                pass.node(id, carries[id.index()], of_batch(node)).ok_or_else(|| wiring(&node.name))?;
            pass.values.push(value);
            pass.pending.push(pending);
            pass.normals.push(normal);
        }
        Ok(pass)
    }

    /// The network's results.
    pub(super) fn results(&self) -> &ArrayD<f64> {
        &self.values[self.graph.output().index()]
    }

    fn weight(&self, node: &Node, suffix: &str) -> Option<&'a ArrayD<f64>> {
        self.weights.get(&format!("{}.{suffix}", node.name))
    }

    /// The result of a node, its pending divisor, and what a normalisation keeps.
    fn node(&mut self, id: NodeId, carries: bool, of_batch: bool) -> Option<(ArrayD<f64>, f64, Option<Normal>)> {
        let (graph, node) = (self.graph, self.graph.node(id));
        let first = node.inputs.first()?.index();
        let (x, pending) = (&self.values[first], self.pending[first]);
        let batch = x.shape()[0];
        let shape = IxDyn(&[&[batch][..], &node.shape].concat());
        Some(match &node.op {
            Op::Input => return None,
            // Refused before ([`Graph::check_gradients`]).
            without_gradient!(Op) => return None,
            Op::Conv2d { bias, .. } => {
                let bias = if *bias { Some(self.weight(node, "bias")?) } else { None };
                let y = kernels::conv2d(&graph.conv_geometry(id, batch)?, x, self.weight(node, "weight")?, bias)?;
                (self.cuts.rounded(y), 1.0, None)
            }
            Op::Linear { bias, .. } => {
                let bias = if *bias { Some(self.weight(node, "bias")?) } else { None };
                let y = adjoint::linear_forward(x, self.weight(node, "weight")?, bias)?;
                (self.cuts.rounded(y), 1.0, None)
            }
            Op::BatchNorm2d { eps } => {
                let (y, normal) = self.normalise(node, first, *eps, of_batch)?;
                (y, 1.0, Some(normal))
            }
            Op::Relu => (x.mapv(|value| value.max(0.0)), pending, None),
            Op::Relu6 => (x.mapv(|value| value.clamp(0.0, 6.0)), pending, None),
            Op::MaxPool { window } => (kernels::pool(window, x, f64::NEG_INFINITY, f64::max)?, pending, None),
            Op::AvgPool { .. } | Op::GlobalAvgPool => {
                let area = area(node, x);
                let sum = match &node.op {
                    Op::AvgPool { window } => kernels::pool(window, x, 0.0, |sum, value| sum + value)?,
                    _ => x.sum_axis(Axis(3)).sum_axis(Axis(2)).into_shape_with_order(shape).ok()?,
                };
                if !(carries && area.log2().fract() == 0.0) {
                    return Some((self.cuts.divided(sum, area), 1.0, None));
                }
                let (mut mean, pending) = (sum / area, pending * area);
                self.cuts.cut(&mut mean, pending.recip());
                (mean, pending, None)
            }
            Op::Add => {
                let sum = node.inputs[1..].iter().fold(x.clone(), |sum, term| sum + &self.values[term.index()]);
                (sum, 1.0, None)
            }
            Op::Concat => {
                let views: Vec<_> = node.inputs.iter().map(|input| self.values[input.index()].view()).collect();
                (concatenate(Axis(1), &views).ok()?, 1.0, None)
            }
            Op::Upsample { factors } => (kernels::upsample(x, *factors)?, pending, None),
            Op::Flatten | Op::Reshape { .. } => {
                (x.as_standard_layout().into_owned().into_shape_with_order(shape).ok()?, pending, None)
            }
        })
    }

    /// y = γ·inv·(x − μ) + β.
    fn normalise(&mut self, node: &Node, input: usize, eps: f64, of_batch: bool) -> Option<(ArrayD<f64>, Normal)> {
        let x = &self.values[input];
        let count = (x.len() / x.shape()[1]) as f64;
        let [gamma, beta] = [self.weight(node, "weight")?, self.weight(node, "bias")?];
        if of_batch && self.cuts.are_short() {
            return Some(self.normalise_short(x.clone(), count, [gamma, beta], eps));
        }
        let (mean, variance, centred) = if of_batch {
            let mean = self.cuts.rounded(adjoint::channel_sums(x) / count);
            let centred = x - by_channel(&mean);
            let variance = self.cuts.rounded(adjoint::channel_sums(&centred.mapv(|value| value * value)) / count);
            (mean, variance, centred)
        } else {
            let mean = self.weight(node, "running_mean")?.clone();
            let centred = x - by_channel(&mean);
            (mean, self.weight(node, "running_var")?.clone(), centred)
        };
        let inverse = self.cuts.rounded(variance.mapv(|variance| (variance + eps).sqrt().recip()));
        let factor = self.cuts.rounded(gamma * &inverse);
        let y = self.cuts.rounded(&centred * by_channel(&factor)) + by_channel(beta);
        Some((y, Normal { centred, inverse, mean, variance, of_batch }))
    }

    /// By the statistics of the batch in the ring of 32 bits: those of 64 bits, of x − μ with four bits less.
    fn normalise_short(
        &mut self,
        x: ArrayD<f64>,
        count: f64,
        [gamma, beta]: [&ArrayD<f64>; 2],
        eps: f64,
    ) -> (ArrayD<f64>, Normal) {
        let cuts = &mut *self.cuts;
        let mean = cuts.wide(adjoint::channel_sums(&x) / count, 0);
        let centred = x - by_channel(&cuts.rounded(mean.clone()));
        let mut coarse = centred.clone();
        cuts.cut(&mut coarse, COARSER.exp2());
        let variance = cuts.wide(adjoint::channel_sums(&coarse.mapv(|value| value * value)) / count, 0);
        let inverse = cuts.wide(variance.mapv(|variance| (variance + eps).sqrt().recip()), 0);
        let factor = cuts.rounded(gamma * &inverse);
        let y = cuts.rounded(centred * by_channel(&factor)) + by_channel(beta);
        (y, Normal { centred: coarse, inverse, mean, variance, of_batch: true })
    }

    /// The gradients of `factor` times the sum of the losses; the loss is the sum.
    pub(super) fn backward(mut self, targets: &ArrayD<f64>, kind: Loss, factor: f64) -> Result<Gradients, NnError> {
        let graph = self.graph;
        let output = graph.output();
        let logits = self.results().clone();
        let (loss, gradient) = loss::loss(kind, &logits, targets).ok_or_else(|| {
            let what = format!("the targets have shape {:?}, its results {:?}", targets.shape(), logits.shape());
            NnError::Wiring { node: graph.node(output).name.clone(), what }
        })?;
        let mut parameters = Tensors::new();
        let mut flowing: Vec<Option<ArrayD<f64>>> = vec![None; self.values.len()];
        flowing[output.index()] = Some(self.cuts.rounded(gradient * factor));
        for id in graph.ids().skip(1).collect::<Vec<_>>().into_iter().rev() {
            let node = graph.node(id);
            let Some(dy) = flowing[id.index()].take() else { continue };
            let inputs = self.node_backward(id, &dy, &mut parameters).ok_or_else(|| wiring(&node.name))?;
            for (input, dx) in node.inputs.iter().zip(inputs) {
                let slot = &mut flowing[input.index()];
                *slot = Some(match slot.take() {
                    Some(sum) => sum + dx,
                    None => dx,
                });
            }
        }
        let input = flowing[0].take().unwrap_or_else(|| ArrayD::zeros(self.values[0].raw_dim()));
        Ok(Gradients { loss, logits, parameters, input, statistics: self.statistics() })
    }

    /// Mean and unbiased variance that each normalisation of the batch saw.
    fn statistics(self) -> Tensors {
        let mut statistics = Tensors::new();
        for (node, normal) in self.graph.nodes().iter().zip(self.normals) {
            let Some(normal) = normal.filter(|normal| normal.of_batch) else { continue };
            let count = (normal.centred.len() / normal.mean.len()) as f64;
            statistics.insert(format!("{}.running_mean", node.name), normal.mean);
            // One value alone has no variance, and PyTorch refuses to normalise it.
            let bessel = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
            statistics.insert(format!("{}.running_var", node.name), normal.variance * bessel);
        }
        statistics
    }

    /// The gradients of a node's inputs; those of its weights go to `parameters`.
    fn node_backward(&mut self, id: NodeId, dy: &ArrayD<f64>, parameters: &mut Tensors) -> Option<Vec<ArrayD<f64>>> {
        let node = self.graph.node(id);
        let first = node.inputs.first()?.index();
        let x = &self.values[first];
        let mut set =
            |suffix: &str, gradient: ArrayD<f64>| parameters.insert(format!("{}.{suffix}", node.name), gradient);
        let dx = match &node.op {
            Op::Input => return None,
            // Refused before ([`Graph::check_gradients`]).
            without_gradient!(Op) => return None,
            Op::Conv2d { bias, .. } | Op::Linear { bias, .. } => {
                let weight = self.weight(node, "weight")?;
                let [mut dx, dw] = match self.graph.conv_geometry(id, x.shape()[0]) {
                    Some(geometry) => adjoint::conv2d(&geometry, x, weight, dy)?,
                    None => adjoint::linear(x, weight, dy)?,
                };
                set("weight", dw);
                if *bias {
                    set("bias", adjoint::channel_sums(dy));
                }
                self.cuts.cut(&mut dx, self.pending[first]);
                dx
            }
            Op::BatchNorm2d { .. } => {
                let normal = self.normals[id.index()].as_ref()?;
                let gamma = self.weights.get(&format!("{}.weight", node.name))?;
                let (dx, dgamma, dbeta) = normalise_backward(self.cuts, normal, gamma, dy);
                set("weight", dgamma);
                set("bias", dbeta);
                dx
            }
            Op::Relu => mask(dy, x, |value| value > 0.0),
            Op::Relu6 => mask(dy, x, |value| value > 0.0 && value <= 6.0),
            Op::MaxPool { window } => adjoint::pool(window, x, dy, true)?,
            Op::AvgPool { .. } | Op::GlobalAvgPool => {
                let (area, pending) = (area(node, x), self.pending[first]);
                let dy = if pending == 1.0 {
                    self.cuts.divided(dy.clone(), area)
                } else {
                    let mut dy = dy / area;
                    self.cuts.cut(&mut dy, pending);
                    dy
                };
                match &node.op {
                    Op::AvgPool { window } => adjoint::pool(window, x, &dy, false)?,
                    _ => dy.broadcast(x.raw_dim())?.to_owned(),
                }
            }
            Op::Add => return Some(vec![dy.clone(); node.inputs.len()]),
            Op::Concat => {
                let mut start = 0;
                let mut part = |input: &NodeId| {
                    let channels = self.values[input.index()].shape()[1];
                    start += channels;
                    dy.slice_axis(Axis(1), Slice::from(start - channels..start)).to_owned()
                };
                return Some(node.inputs.iter().map(&mut part).collect());
            }
            Op::Upsample { factors } => {
                let window = PoolGeometry { kernel: *factors, stride: *factors, ..PoolGeometry::square(1, 1, 0) };
                kernels::pool(&window, dy, 0.0, |sum, value| sum + value)?
            }
            Op::Flatten | Op::Reshape { .. } => {
                dy.as_standard_layout().into_owned().into_shape_with_order(x.raw_dim()).ok()?
            }
        };
        Some(vec![dx])
    }
}

/// The divisor of an average pool.
fn area(node: &Node, x: &ArrayD<f64>) -> f64 {
    match &node.op {
        Op::AvgPool { window } => (window.kernel[0] * window.kernel[1]) as f64,
        _ => (x.shape()[2] * x.shape()[3]) as f64,
    }
}

/// `[channels]` as `[1, channels, 1, 1]`.
fn by_channel(values: &ArrayD<f64>) -> ArrayD<f64> {
    values.clone().insert_axis(Axis(0)).insert_axis(Axis(2)).insert_axis(Axis(3))
}

/// `dy` where `passes` holds for `x`, else 0.
fn mask(dy: &ArrayD<f64>, x: &ArrayD<f64>, passes: impl Fn(f64) -> bool) -> ArrayD<f64> {
    let mut dx = dy.clone();
    dx.zip_mut_with(x, |dy, &x| {
        if !passes(x) {
            *dy = 0.0;
        }
    });
    dx
}

/// Gradients of a normalisation's input, γ and β: with S = Σ dy·xc and M values a channel, dγ = inv·S, dβ = Σ dy, and
/// dx = γ·inv·(dy − inv²·S/M·xc − dβ/M), or γ·inv·dy with running statistics.
fn normalise_backward(
    cuts: &mut Cuts,
    normal: &Normal,
    gamma: &ArrayD<f64>,
    dy: &ArrayD<f64>,
) -> (ArrayD<f64>, ArrayD<f64>, ArrayD<f64>) {
    let Normal { centred, inverse, of_batch, .. } = normal;
    let count = (centred.len() / inverse.len()) as f64;
    let beta = adjoint::channel_sums(dy);
    if *of_batch && cuts.are_short() {
        return normalise_backward_short(cuts, normal, gamma, dy);
    }
    let sum = cuts.rounded(adjoint::channel_sums(&(dy * centred)));
    let factor = cuts.rounded(gamma * inverse);
    let mut dx = dy * by_channel(&factor);
    if *of_batch {
        let square = cuts.rounded(inverse * inverse);
        let along = cuts.rounded(&sum * &square / count);
        let slope = cuts.rounded(&factor * &along);
        let shift = cuts.rounded(&factor * &beta / count);
        dx = dx - centred * by_channel(&slope) - by_channel(&shift);
    }
    (cuts.rounded(dx), cuts.rounded(inverse * &sum), beta)
}

/// The same where products stand in the ring of 32 bits: what there is one of for each channel is of 64.
fn normalise_backward_short(
    cuts: &mut Cuts,
    normal: &Normal,
    gamma: &ArrayD<f64>,
    dy: &ArrayD<f64>,
) -> (ArrayD<f64>, ArrayD<f64>, ArrayD<f64>) {
    let Normal { centred, inverse, .. } = normal;
    let count = (centred.len() / inverse.len()) as f64;
    let beta = adjoint::channel_sums(dy);
    let weight = cuts.wide(inverse * adjoint::channel_sums(&(dy * centred)), 4);
    let factor = cuts.wide(gamma * inverse, 0);
    let slope = cuts.wide(&factor * inverse * &weight / count, 0);
    let shift = cuts.wide(&factor * &beta / count, 7);
    let mut dx = dy * by_channel(&cuts.rounded(factor)) - centred * by_channel(&slope) - by_channel(&shift);
    cuts.cut_behind(&mut dx, 1.0, SLOPE_GUARD);
    (dx, weight, beta)
}
