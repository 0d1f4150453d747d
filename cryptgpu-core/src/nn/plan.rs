//! What the parties run: the steps of an evaluation in order, and the values between them. A plan is public; it names no
//! weight's value, and all parties make the same of a graph ([`super::lower`]). How it is made, what it costs and how it is run live
//! elsewhere.

use super::Rearrange;
use super::divisor::{Divisor, product_cut};
use crate::device::PoolGeometry;
use crate::mpc::{PiecewiseLinear, RowFunction, SmoothFunction};
use crate::ring::Ring;

/// A value of a plan: the input (0), or the result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(super) usize);

impl ValueId {
    /// Position in [`Plan::shapes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a step computes on shares. `divisor` is the pending divisor that the step takes away: its input holds
/// `divisor` times the value of the graph.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanOp {
    /// Convolution with the tensors `{name}.weight` and `{name}.bias`, then truncation.
    Conv2d {
        /// Output channels.
        out_channels: usize,
        /// The window.
        window: PoolGeometry,
        /// Groups.
        groups: usize,
        /// Whether there is a bias.
        bias: bool,
        /// Pending divisor of the input.
        divisor: Divisor,
    },
    /// Transposed convolution with the tensors `{name}.weight` and `{name}.bias`, then truncation.
    ConvTranspose2d {
        /// Output channels.
        out_channels: usize,
        /// Height and width of the result.
        output: [usize; 2],
        /// The window of the convolution whose gradient it is.
        window: PoolGeometry,
        /// Groups.
        groups: usize,
        /// Whether there is a bias.
        bias: bool,
        /// Pending divisor of the input.
        divisor: Divisor,
    },
    /// Fully connected layer with the tensors `{name}.weight` and `{name}.bias`, then truncation.
    Linear {
        /// Output features.
        out_features: usize,
        /// Whether there is a bias.
        bias: bool,
        /// Pending divisor of the input.
        divisor: Divisor,
    },
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// A piecewise linear function of each element.
    PiecewiseLinear(PiecewiseLinear),
    /// A smooth function of each element.
    Smooth(SmoothFunction),
    /// A function of each row.
    Rows(RowFunction),
    /// Sum with the tensor `{name}.bias`: local.
    Bias,
    /// Maximum over windows, padding as −∞.
    MaxPool {
        /// The window.
        window: PoolGeometry,
    },
    /// Sum over windows: local.
    SumPool {
        /// The window.
        window: PoolGeometry,
    },
    /// Batch normalisation with the tensors `{name}.weight`, `{name}.bias`, `{name}.running_mean` and
    /// `{name}.running_var`: in plans of training only.
    BatchNorm2d {
        /// Added to every variance.
        eps: f64,
    },
    /// Division by a public number, with truncation.
    Rescale {
        /// The number.
        divisor: Divisor,
    },
    /// Sum of the inputs: local.
    Add,
    /// Product of two inputs, then truncation.
    Mul,
    /// Quotient of two inputs.
    Div,
    /// Products of matrices, then truncation.
    MatMul,
    /// Elements in other places: local.
    Rearrange(Rearrange),
    /// Inputs side by side along the channels: local.
    Concat,
    /// Each pixel as several: local.
    Upsample {
        /// Rows and columns for each.
        factors: [usize; 2],
    },
    /// The same elements in another shape: local.
    Reshape {
        /// Without the batch.
        shape: Vec<usize>,
    },
}

impl PlanOp {
    /// Name of the kind of operation, for times and bytes by kind.
    pub fn kind(&self) -> &'static str {
        match self {
            PlanOp::Conv2d { .. } => "conv2d",
            PlanOp::ConvTranspose2d { .. } => "conv_transpose2d",
            PlanOp::Linear { .. } => "linear",
            PlanOp::Relu => "relu",
            PlanOp::Relu6 => "relu6",
            PlanOp::PiecewiseLinear(_) => "piecewise_linear",
            PlanOp::Smooth(function) => function.name(),
            PlanOp::Rows(function) => function.name(),
            PlanOp::Bias => "bias",
            PlanOp::MaxPool { .. } => "max_pool",
            PlanOp::SumPool { .. } | PlanOp::Rescale { .. } => "avg_pool",
            PlanOp::BatchNorm2d { .. } => "batch_norm",
            PlanOp::Add => "add",
            PlanOp::Mul => "mul",
            PlanOp::Div => "div",
            PlanOp::Upsample { .. } => "upsample",
            PlanOp::MatMul => "matmul",
            PlanOp::Concat | PlanOp::Reshape { .. } | PlanOp::Rearrange(_) => "reshape",
        }
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The node it comes from; the prefix of its weights.
    pub name: String,
    /// What it computes.
    pub op: PlanOp,
    /// The values it computes from.
    pub inputs: Vec<ValueId>,
    /// The value it makes.
    pub output: ValueId,
    /// Values that nobody uses after this step.
    pub release: Vec<ValueId>,
    /// Whether its products are left to the sum that alone uses them, which truncates them together.
    pub left_to_sum: bool,
}

/// The steps of a private evaluation, in order, with the shape of every value (without the batch).
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(super) name: String,
    pub(super) ring: Ring,
    pub(super) input_shape: [usize; 3],
    pub(super) shapes: Vec<Vec<usize>>,
    /// The pending divisor of every value.
    pub(super) divisors: Vec<Divisor>,
    pub(super) steps: Vec<Step>,
    pub(super) output: ValueId,
}

impl Plan {
    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The ring that it is made for: which averages are carried on depends on it.
    pub fn ring(&self) -> Ring {
        self.ring
    }
    /// Channels, height and width of an input image.
    pub fn input_shape(&self) -> [usize; 3] {
        self.input_shape
    }
    /// Shape of every value; value 0 is the input.
    pub fn shapes(&self) -> &[Vec<usize>] {
        &self.shapes
    }
    /// Shape of one value.
    pub fn shape(&self, id: ValueId) -> &[usize] {
        self.shapes.get(id.0).map_or(&[], Vec::as_slice)
    }
    /// The pending divisor of a value: in the ring it stands `divisor` times as large as in the network; 1 for most.
    pub fn divisor(&self, id: ValueId) -> Divisor {
        self.divisors.get(id.0).copied().unwrap_or(Divisor::ONE)
    }
    /// How many times as large as in the network the largest of a step's inputs stands in the ring.
    pub(super) fn largest_divisor(&self, step: &Step) -> f64 {
        step.inputs.iter().map(|&input| self.divisor(input).value()).reduce(f64::max).unwrap_or(1.0)
    }
    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
    /// The value that is the network's result.
    pub fn output(&self) -> ValueId {
        self.output
    }

    /// By how many bits a step truncates products, f being the codec's fraction bits; None where it truncates none.
    pub fn product_cut(&self, step: &Step, fraction_bits: u32) -> Option<u32> {
        match step.op {
            PlanOp::Conv2d { .. } | PlanOp::Linear { .. } if step.left_to_sum => None,
            PlanOp::Conv2d { .. }
            | PlanOp::ConvTranspose2d { .. }
            | PlanOp::Linear { .. }
            | PlanOp::Mul
            | PlanOp::MatMul => Some(product_cut(&step.op, fraction_bits)),
            PlanOp::Add => {
                let left = self.steps.iter().filter(|left| left.left_to_sum && step.inputs.contains(&left.output));
                left.map(|left| product_cut(&left.op, fraction_bits)).max()
            }
            _ => None,
        }
    }

    /// Whether the result of a step is used by a ReLU alone, at once, or its sum with others is. What truncates products
    /// then leaves the last message of its truncation to the ReLU ([`crate::mpc::Truncating`]).
    pub fn only_a_relu_uses(&self, step: &Step) -> bool {
        let mut value = step.output;
        for next in self.steps.iter().skip_while(|next| next.output != step.output).skip(1) {
            let uses = next.inputs.iter().filter(|&&input| input == value).count();
            if uses != 1 || !next.release.contains(&value) {
                return false;
            }
            match next.op {
                PlanOp::Relu => return true,
                PlanOp::Add | PlanOp::Reshape { .. } => value = next.output,
                _ => return false,
            }
        }
        false
    }

    /// Shape of the weight of a step, or `None` when it has none.
    pub fn weight_shape(&self, step: &Step) -> Option<Vec<usize>> {
        let input = step.inputs.first().map(|&id| self.shape(id))?;
        match &step.op {
            PlanOp::Conv2d { out_channels, window, groups, .. } => {
                Some(vec![*out_channels, input.first()? / groups, window.kernel[0], window.kernel[1]])
            }
            PlanOp::ConvTranspose2d { out_channels, window, groups, .. } => {
                Some(vec![*input.first()?, out_channels / groups, window.kernel[0], window.kernel[1]])
            }
            PlanOp::Linear { out_features, .. } => Some(vec![*out_features, *input.last()?]),
            _ => None,
        }
    }

    /// Shape of the bias of a step, or `None` when it has none.
    pub(super) fn bias_shape(&self, step: &Step) -> Option<Vec<usize>> {
        match step.op {
            PlanOp::Conv2d { out_channels, bias: true, .. } => Some(vec![out_channels]),
            PlanOp::ConvTranspose2d { out_channels, bias: true, .. } => Some(vec![out_channels]),
            PlanOp::Linear { out_features, bias: true, .. } => Some(vec![out_features]),
            PlanOp::Bias => Some(self.shape(step.output).to_vec()),
            _ => None,
        }
    }

    /// Elements of all weights and biases.
    pub fn weight_elements(&self) -> u64 {
        self.weight_tensors().sum()
    }

    /// Elements of each weight and of each bias.
    pub(super) fn weight_tensors(&self) -> impl Iterator<Item = u64> {
        let tensors = self.steps.iter().flat_map(|step| [self.weight_shape(step), self.bias_shape(step)]);
        tensors.flatten().map(|shape| shape.iter().map(|&size| size as u64).product())
    }
}
