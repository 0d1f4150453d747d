//! What a network costs before anything runs: activations, multiply-accumulates, parameters, and the
//! memory of a private run.

use super::plan::PlanOp;
use super::{Graph, Node, Op, Plan};

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

/// Memory of one party during a private run, in bytes: an estimate made before the run, so that a
/// machine that is too small is known at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Memory {
    /// Shares of the weights: yᵢ and yᵢ + yᵢ₊₁, two words for each.
    pub weights: u64,
    /// The largest sum, over the steps, of what is live: two words for each element of an activation, and
    /// the workspace of the step's protocol.
    pub activations: u64,
}

impl Memory {
    /// Weights and activations.
    pub fn total(&self) -> u64 {
        self.weights + self.activations
    }
}

/// Words that a protocol holds for each element it works on besides the result's shares: masks,
/// bit-packed intermediate values, messages. Rounded up from the sign bit, the hungriest.
const WORKSPACE_WORDS: u64 = 10;

/// Comparisons of an exponential in a softmax.
const EXPONENTIALS: u64 = 7;

/// Comparisons of a divisor.
const OCTAVES: u64 = 31;

/// Elements that a step's protocol works on at once for each element of its result.
fn width(op: &PlanOp) -> u64 {
    match op {
        PlanOp::Relu6 => 2,
        PlanOp::PiecewiseLinear(function) => function.kinks().max(1) as u64,
        PlanOp::Smooth(function) => function.comparisons() as u64,
        // All taps of all windows, of which half are compared at once.
        PlanOp::MaxPool { window } => (window.kernel[0] * window.kernel[1]) as u64,
        PlanOp::Rows(function) if function.compares() => EXPONENTIALS,
        // The octaves of its divisor.
        PlanOp::Div => OCTAVES,
        PlanOp::SumPool { .. }
        | PlanOp::Add
        | PlanOp::Bias
        | PlanOp::Concat
        | PlanOp::Upsample { .. }
        | PlanOp::Rearrange(_)
        | PlanOp::Reshape { .. } => 0,
        PlanOp::Conv2d { .. }
        | PlanOp::ConvTranspose2d { .. }
        | PlanOp::MatMul
        | PlanOp::Rows(_)
        | PlanOp::Linear { .. }
        | PlanOp::Relu
        | PlanOp::Mul
        | PlanOp::BatchNorm2d { .. }
        | PlanOp::Rescale { .. } => 1,
    }
}

/// The memory that `plan` needs at one party for `batch` images.
pub fn memory(plan: &Plan, batch: usize) -> Memory {
    let mut live = vec![0u64; plan.shapes().len()];
    let share = |shape: &[usize]| 16 * batch as u64 * size(shape);
    let mut activations = 0;
    if let (Some(input), Some(shape)) = (live.first_mut(), plan.shapes().first()) {
        *input = share(shape);
    }
    for step in plan.steps() {
        let shape = &plan.shapes()[step.output.index()];
        live[step.output.index()] = share(shape);
        let workspace = 8 * WORKSPACE_WORDS * width(&step.op) * batch as u64 * size(shape);
        activations = activations.max(live.iter().sum::<u64>() + workspace);
        for released in &step.release {
            live[released.index()] = 0;
        }
    }
    Memory { weights: 16 * plan.weight_elements(), activations }
}

fn size(shape: &[usize]) -> u64 {
    shape.iter().map(|&size| size as u64).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{LowerOptions, fold, lower::lower, zoo};
    use crate::ring::Ring;

    fn of(name: &str, batch: usize) -> Memory {
        let plan = lower(&fold::fold_graph(&zoo::by_name(name).unwrap()).unwrap(), LowerOptions::default(), Ring::Z64)
            .unwrap();
        memory(&plan, batch)
    }

    #[test]
    fn memory_grows_with_the_batch_and_resnet152_fits_two_gibibytes() {
        let [one, eight] = [1, 8].map(|batch| of("lenet", batch));
        assert_eq!((one.weights, eight.weights), (16 * 431_080, 16 * 431_080));
        // The first ReLU: its input, its result and the workspace, for 20 · 24² elements.
        assert_eq!(one.activations, (16 + 16 + 80) * 11_520);
        assert_eq!(eight.activations, 8 * one.activations);
        let resnet = of("resnet152", 1);
        assert!((900 << 20..1 << 31).contains(&resnet.total()), "{resnet:?}");
    }
}
