//! What the owner of a network does in plaintext before sharing it, so that private inference never sees it: batch
//! normalisations are folded into the convolutions before them, and kernels lose what only ever sees padding (`seen`).

use super::{Graph, NnError, NodeId, Op, Weights, seen};
use crate::device::Part;
use crate::ring::Withheld;
use ndarray::{ArrayD, Axis, IxDyn};

/// The graph without batch normalisations that follow convolutions, and without rows and columns of kernels that only ever see
/// padding. Needs no weights, so parties that do not own them compute the same graph.
///
/// # Errors
/// [`NnError::CannotFold`] when a batch normalisation does not alone follow a convolution.
pub fn fold_graph(graph: &Graph) -> Result<Graph, NnError> {
    let graph = &*seen::graph(graph)?;
    let pairs = foldable(graph)?;
    let mut folded = Graph::builder(graph.name(), graph.input_shape());
    let mut renamed: Vec<NodeId> = vec![folded.input()];
    for (node, pair) in graph.nodes().iter().zip(&pairs).skip(1) {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|id| renamed[id.index()]).collect();
        let id = match (&node.op, pair) {
            (Op::BatchNorm2d { .. }, _) => inputs[0],
            (&Op::Conv2d { out_channels, window, groups, .. }, Some(_)) => {
                folded.add(&node.name, Op::Conv2d { out_channels, window, groups, bias: true }, &inputs)?
            }
            (op, _) => folded.add(&node.name, op.clone(), &inputs)?,
        };
        renamed.push(id);
    }
    folded.finish(renamed[graph.output().index()])
}

/// Folds every batch normalisation into the convolution it follows:
/// W′ = γ/√(σ² + eps) · W and b′ = (b − μ)·γ/√(σ² + eps) + β by output channel, in f64, rounded to f32. The
/// convolution keeps its name, and of its weight what sees an input; the other tensors are copied.
///
/// # Errors
/// As [`fold_graph`], and as [`Weights::check`] for `weights`.
pub fn fold_weights(graph: &Graph, weights: &Weights) -> Result<(Graph, Weights), NnError> {
    weights.check(graph)?;
    let folded_graph = fold_graph(graph)?;
    let mut folded = Weights::new();
    let parameters = graph.parameters();
    for (id, pair) in graph.ids().zip(foldable(graph)?) {
        let node = graph.node(id);
        let Some(norm) = pair else {
            let copied = parameters.iter().filter(|p| p.node == id && !matches!(node.op, Op::BatchNorm2d { .. }));
            for parameter in copied {
                let tensor = weights.tensor(graph, &parameter.name, &parameter.shape)?;
                let parts = seen::parts(graph, node).filter(|_| parameter.name.ends_with(".weight"));
                folded.insert(&parameter.name, part_of(tensor, parts));
            }
            continue;
        };
        let (weight, bias) = fold_one(graph, weights, id, norm)?;
        folded.insert(format!("{}.weight", node.name), part_of(&weight, seen::parts(graph, node)));
        folded.insert(format!("{}.bias", node.name), bias);
    }
    Ok((folded_graph, folded))
}

fn part_of(tensor: &ArrayD<f32>, parts: Option<[Part; 2]>) -> ArrayD<f32> {
    parts.map_or_else(|| tensor.clone(), |parts| seen::view(tensor, &parts).as_standard_layout().into_owned())
}

/// For each convolution, the batch normalisation to fold into it.
fn foldable(graph: &Graph) -> Result<Vec<Option<NodeId>>, NnError> {
    let consumers = graph.consumers();
    let mut pairs = vec![None; graph.nodes().len()];
    for (id, node) in graph.ids().zip(graph.nodes()) {
        if !matches!(node.op, Op::BatchNorm2d { .. }) {
            continue;
        }
        let before = node.inputs[0];
        let conv = graph.node(before);
        // A convolution whose unnormalised result is also wanted elsewhere cannot be changed.
        let alone = consumers[before.index()].len() == 1 && graph.output() != before;
        if !matches!(conv.op, Op::Conv2d { .. }) || !alone {
            let before = format!("{} ({})", conv.name, if alone { conv.op.kind() } else { "which others use too" });
            return Err(NnError::CannotFold { node: node.name.clone(), before });
        }
        pairs[before.index()] = Some(id);
    }
    Ok(pairs)
}

fn fold_one(
    graph: &Graph,
    weights: &Weights,
    conv: NodeId,
    norm: NodeId,
) -> Result<(ArrayD<f32>, ArrayD<f32>), NnError> {
    let (conv, norm) = (graph.node(conv), graph.node(norm));
    let channels = conv.shape[0];
    let read = |node: &str, suffix: &str| weights.tensor(graph, &format!("{node}.{suffix}"), &[channels]);
    let [gamma, beta] = [read(&norm.name, "weight")?, read(&norm.name, "bias")?];
    let [mean, variance] = [read(&norm.name, "running_mean")?, read(&norm.name, "running_var")?];
    let bias = match conv.op {
        Op::Conv2d { bias: true, .. } => Some(read(&conv.name, "bias")?),
        _ => None,
    };
    let eps = if let Op::BatchNorm2d { eps } = norm.op { eps } else { 0.0 };
    let mut weight = weights.get(&format!("{}.weight", conv.name)).cloned().unwrap_or_default();
    let mut folded_bias = ArrayD::zeros(IxDyn(&[channels]));
    for (channel, mut filter) in weight.axis_iter_mut(Axis(0)).enumerate() {
        let sigma2 = f64::from(variance[[channel]]) + eps;
        if sigma2 <= 0.0 {
            let tensor = format!("{}.running_var", norm.name);
            let value = Withheld::new(f64::from(variance[[channel]]));
            return Err(NnError::Variance { tensor, index: channel, eps, value });
        }
        let factor = f64::from(gamma[[channel]]) / sigma2.sqrt();
        filter.mapv_inplace(|w| (f64::from(w) * factor) as f32);
        let bias = bias.map_or(0.0, |bias| f64::from(bias[[channel]]));
        folded_bias[[channel]] = ((bias - f64::from(mean[[channel]])) * factor + f64::from(beta[[channel]])) as f32;
    }
    Ok((weight, folded_bias))
}
