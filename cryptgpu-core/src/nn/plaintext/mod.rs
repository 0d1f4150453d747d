//! Networks in f64 on plaintext: the oracle that private evaluation and private training are compared with.
//! It shares no code with the private path but the graph itself and the settings of a training.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | [`evaluate`] |
//! | `kernels.rs` | convolution, matrix product and pooling |
//! | `adjoint.rs` | their gradients |
//! | `loss.rs` | losses |
//! | `gradients.rs` | [`gradients()`]: of a whole network |
//! | `rounding.rs` | [`Rounding`], [`Arithmetic`]: simulated fixed-point numbers |
//! | `training.rs` | [`PlaintextTraining`] |

mod adjoint;
mod gradients;
mod kernels;
mod loss;
mod rounding;
mod training;

pub use gradients::{Gradients, gradients};
pub use loss::one_hot;
pub use rounding::{Arithmetic, Cut, Rounding};
pub use training::PlaintextTraining;

use super::{Graph, NnError, Op, Weights};
use kernels::{conv2d, linear, matmul, pool, upsample};
use ndarray::{ArrayBase, ArrayD, ArrayViewD, Axis, Data, Dimension, IxDyn, concatenate};
use std::collections::BTreeMap;

/// Named tensors in f64, in name order.
pub type Tensors = BTreeMap<String, ArrayD<f64>>;

/// Weights in f64.
pub fn tensors(weights: &Weights) -> Tensors {
    weights.iter().map(|(name, tensor)| (name.to_owned(), tensor.mapv(f64::from))).collect()
}

/// The result of `graph` on `input` `[batch, channels, height, width]`, `[batch, …output shape]`.
///
/// ```
/// use cryptgpu_core::nn::{Weights, plaintext, zoo};
/// let net = zoo::by_name("lenet")?;
/// let image = ndarray::Array4::<f32>::zeros((1, 1, 28, 28));
/// let scores = plaintext::evaluate(&net, &Weights::seeded(&net, 1), &image)?;
/// assert_eq!(scores.shape(), [1, 10]);
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
///
/// # Errors
/// As [`Weights::check`]; [`NnError::Input`] for an input of another shape.
pub fn evaluate<S, D>(graph: &Graph, weights: &Weights, input: &ArrayBase<S, D>) -> Result<ArrayD<f64>, NnError>
where
    S: Data,
    S::Elem: Copy + Into<f64>,
    D: Dimension,
{
    evaluate_with(graph, weights, &input.mapv(Into::into).into_dyn().view(), |_, _| {})
}

/// As [`evaluate`], and shows every node's result to `observe`: to find where a private result leaves
/// the plaintext one, or how large activations get.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_with(
    graph: &Graph,
    weights: &Weights,
    input: &ArrayViewD<'_, f64>,
    mut observe: impl FnMut(&str, &ArrayD<f64>),
) -> Result<ArrayD<f64>, NnError> {
    weights.check(graph)?;
    check_shape(graph.name(), graph.input_shape(), input.shape())?;
    let mut uses: Vec<usize> = graph.consumers().iter().map(Vec::len).collect();
    uses[graph.output().index()] += 1;
    let mut values: Vec<Option<ArrayD<f64>>> = vec![None; graph.nodes().len()];
    for id in graph.ids() {
        let value = if id.index() == 0 { input.to_owned() } else { node(graph, weights, id, &values)? };
        observe(&graph.node(id).name, &value);
        values[id.index()] = Some(value);
        // Free what was used for the last time: the big networks would not fit otherwise.
        for used in &graph.node(id).inputs {
            uses[used.index()] -= 1;
            if uses[used.index()] == 0 {
                values[used.index()] = None;
            }
        }
    }
    values[graph.output().index()].take().ok_or_else(|| wiring(graph.name()))
}

/// Checks the shape of a batch of images for the network called `graph`.
pub(super) fn check_shape(graph: &str, expected: [usize; 3], shape: &[usize]) -> Result<(), NnError> {
    match shape {
        [batch, image @ ..] if *batch > 0 && image == expected.as_slice() => Ok(()),
        _ => Err(NnError::Input { graph: graph.into(), expected, found: shape.into() }),
    }
}

fn wiring(node: &str) -> NnError {
    NnError::Wiring { node: node.into(), what: "an input has no value".into() }
}

/// The result of one node from those of its inputs.
fn node(
    graph: &Graph,
    weights: &Weights,
    id: super::NodeId,
    values: &[Option<ArrayD<f64>>],
) -> Result<ArrayD<f64>, NnError> {
    let node = graph.node(id);
    let inputs: Vec<&ArrayD<f64>> = node.inputs.iter().filter_map(|input| values[input.index()].as_ref()).collect();
    let Some(&x) = inputs.first().filter(|_| inputs.len() == node.inputs.len()) else {
        return Err(wiring(&node.name));
    };
    let tensor = |suffix: &str| weights.get(&format!("{}.{suffix}", node.name)).ok_or_else(|| wiring(&node.name));
    let batch = x.shape()[0];
    let out_shape = IxDyn(&[&[batch][..], &node.shape].concat());
    let reshape = |value: ArrayD<f64>| value.into_shape_with_order(out_shape).map_err(|_| wiring(&node.name));
    match &node.op {
        Op::Input => Err(wiring(&node.name)),
        Op::Conv2d { bias, .. } => {
            let geometry = graph.conv_geometry(id, batch).ok_or_else(|| wiring(&node.name))?;
            let bias = if *bias { Some(tensor("bias")?) } else { None };
            conv2d(&geometry, x, tensor("weight")?, bias).ok_or_else(|| wiring(&node.name))
        }
        Op::ConvTranspose2d { bias, .. } => {
            let geometry = graph.conv_geometry(id, batch).ok_or_else(|| wiring(&node.name))?;
            let weight = tensor("weight")?.mapv(f64::from);
            let zeros = ArrayD::zeros(IxDyn(&geometry.input_shape()));
            let [y, _] = adjoint::conv2d(&geometry, &zeros, &weight, x).ok_or_else(|| wiring(&node.name))?;
            Ok(if *bias { y + &tensor("bias")?.mapv(f64::from).insert_axis(Axis(1)).insert_axis(Axis(2)) } else { y })
        }
        Op::Linear { bias, .. } => {
            let bias = if *bias { Some(tensor("bias")?) } else { None };
            let features = x.shape().last().copied().unwrap_or(1);
            let rows = x.to_shape((x.len() / features.max(1), features)).map_err(|_| wiring(&node.name))?;
            reshape(linear(&rows.to_owned().into_dyn(), tensor("weight")?, bias).ok_or_else(|| wiring(&node.name))?)
        }
        Op::BatchNorm2d { eps } => {
            let [gamma, beta] = [tensor("weight")?, tensor("bias")?];
            let [mean, variance] = [tensor("running_mean")?, tensor("running_var")?];
            let mut y = x.clone();
            for (channel, mut slice) in y.axis_iter_mut(Axis(1)).enumerate() {
                let at = |tensor: &ArrayD<f32>| f64::from(tensor[[channel]]);
                let factor = at(gamma) / (at(variance) + eps).sqrt();
                slice.mapv_inplace(|value| (value - at(mean)) * factor + at(beta));
            }
            Ok(y)
        }
        Op::Relu => Ok(x.mapv(|value| value.max(0.0))),
        Op::Relu6 => Ok(x.mapv(|value| value.clamp(0.0, 6.0))),
        Op::PiecewiseLinear(function) => Ok(x.mapv(|value| function.value(value))),
        Op::Smooth(function) => Ok(x.mapv(|value| function.value(value))),
        Op::Rows(function) => {
            let mut y = x.as_standard_layout().into_owned();
            y.rows_mut().into_iter().filter_map(|row| row.into_slice()).for_each(|row| function.apply(row));
            Ok(y)
        }
        Op::Bias => Ok(x + &tensor("bias")?.mapv(f64::from)),
        Op::Rearrange(rearrange) => rearrange.array(x).ok_or_else(|| wiring(&node.name)),
        Op::MatMul => inputs.get(1).and_then(|y| matmul(x, y)).ok_or_else(|| wiring(&node.name)),
        Op::Mul => {
            let factor = inputs.get(1).copied().ok_or_else(|| wiring(&node.name))?;
            let planes = [factor.shape(), &vec![1; x.ndim() - factor.ndim()]].concat();
            let factor = factor.to_shape(IxDyn(&planes)).map_err(|_| wiring(&node.name))?;
            Ok(x * &factor)
        }
        Op::Div => inputs.get(1).map(|&divisor| x / divisor).ok_or_else(|| wiring(&node.name)),
        Op::AvgPool { window } => {
            let area = (window.kernel[0] * window.kernel[1]) as f64;
            let sum = pool(window, x, 0.0, |sum, value| sum + value).ok_or_else(|| wiring(&node.name))?;
            Ok(sum / area)
        }
        Op::MaxPool { window } => pool(window, x, f64::NEG_INFINITY, f64::max).ok_or_else(|| wiring(&node.name)),
        Op::GlobalAvgPool => {
            let area = (x.shape()[2] * x.shape()[3]) as f64;
            reshape(x.sum_axis(Axis(3)).sum_axis(Axis(2)) / area)
        }
        Op::Add => Ok(inputs[1..].iter().fold(x.clone(), |sum, &term| sum + term)),
        Op::Concat => {
            let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
            concatenate(Axis(1), &views).map_err(|_| wiring(&node.name))
        }
        Op::Upsample { factors } => upsample(x, *factors).ok_or_else(|| wiring(&node.name)),
        Op::Flatten | Op::Reshape { .. } => reshape(x.as_standard_layout().into_owned()),
    }
}
