//! Sizes of a network before anything runs: activations, multiply-accumulates, parameters.

use super::{Graph, Node, Op};

/// Sizes of a network for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Elements that go through a ReLU, a ReLU6 or another piecewise linear function.
    pub relus: u64,
    /// Output elements of convolutions and fully connected layers.
    pub linear_outputs: u64,
    /// Multiply-accumulates of convolutions and fully connected layers; taps on padding count.
    pub macs: u64,
    /// Trained parameters: running statistics of batch normalisation are not.
    pub parameters: u64,
}

/// Counts of `graph` for one image; a batch multiplies all but the parameters.
pub fn count(graph: &Graph) -> Counts {
    let mut counts = Counts::default();
    for node in graph.nodes() {
        let elements = size(&node.shape);
        match node.op {
            _ if compares(&node.op) => counts.relus += elements,
            Op::Conv2d { .. } | Op::ConvTranspose2d { .. } | Op::Linear { .. } => counts.linear_outputs += elements,
            _ => {}
        }
        counts.macs += macs(graph, node);
    }
    let trained = graph.parameters().into_iter().filter(|parameter| !parameter.name.contains(".running_"));
    counts.parameters = trained.map(|parameter| size(&parameter.shape)).sum();
    counts
}

/// Whether an operation is a ReLU or made of some.
pub fn compares(op: &Op) -> bool {
    match op {
        Op::Relu | Op::Relu6 => true,
        Op::PiecewiseLinear(function) => function.kinks() > 0,
        _ => false,
    }
}

/// Multiply-accumulates of one node for one image.
pub fn macs(graph: &Graph, node: &Node) -> u64 {
    let input = graph.input_of(node);
    match &node.op {
        Op::Conv2d { window, groups, .. } => {
            size(&node.shape) * (input[0] / groups) as u64 * (window.kernel[0] * window.kernel[1]) as u64
        }
        // Every pixel of the input meets every weight of its channel.
        Op::ConvTranspose2d { out_channels, window, groups, .. } => {
            size(input) * (out_channels / groups) as u64 * (window.kernel[0] * window.kernel[1]) as u64
        }
        Op::Linear { .. } | Op::MatMul => size(&node.shape) * input.last().copied().unwrap_or(0) as u64,
        _ => 0,
    }
}

fn size(shape: &[usize]) -> u64 {
    shape.iter().map(|&size| size as u64).product()
}
