//! A network as a small dataflow graph: nodes in evaluation order, each with an operation, its
//! inputs and a stable dotted name, which is the prefix of its parameters in PyTorch's
//! `state_dict` (`layer1.0.conv1`). Shapes are inferred while the graph is built, so that a graph that
//! exists is consistent. Only structure lives here: no weights, no arithmetic.

use super::infer::infer_shape;
use super::{NnError, Rearrange};
use crate::device::{ConvGeometry, PoolGeometry};
use crate::mpc::{PiecewiseLinear, RowFunction, SmoothFunction};
use std::collections::HashSet;

/// Position of a node in its graph. Node 0 is the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct NodeId(usize);

impl NodeId {
    /// Position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a node computes. Images are `[channels, height, width]`, vectors `[features]`, sequences `[tokens, features]`; values between
/// operations may have any axes. The batch dimension in front is left out everywhere.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// The network's input.
    Input,
    /// Two-dimensional convolution, zero padding; weight `[out, in / groups, kernel height, kernel width]`.
    Conv2d {
        /// Output channels.
        out_channels: usize,
        /// Kernel, stride, padding, dilation.
        window: PoolGeometry,
        /// Groups; as many as channels for a depthwise convolution.
        groups: usize,
        /// Whether there is a bias `[out]`.
        bias: bool,
    },
    /// Two-dimensional transposed convolution: what a convolution has as the gradient of its images; weight `[in, out / groups, kernel
    /// height, kernel width]`.
    ConvTranspose2d {
        /// Output channels.
        out_channels: usize,
        /// Height and width of the result, from which the convolution `window` gives those of the input.
        output: [usize; 2],
        /// Kernel, stride, padding, dilation of that convolution.
        window: PoolGeometry,
        /// Groups.
        groups: usize,
        /// Whether there is a bias `[out]`.
        bias: bool,
    },
    /// Fully connected layer, y = W·x + b, of a vector or of each row of a matrix; weight `[out, in]`.
    Linear {
        /// Output features.
        out_features: usize,
        /// Whether there is a bias `[out]`.
        bias: bool,
    },
    /// Batch normalisation at inference: y = γ·(x − μ)/√(σ² + eps) + β by channel, with `weight` γ,
    /// `bias` β, `running_mean` μ and `running_var` σ².
    BatchNorm2d {
        /// Added to the variance; 1e-5 in PyTorch.
        eps: f64,
    },
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// A continuous piecewise linear function of each element, as LeakyRelu, HardSigmoid and Clip are.
    PiecewiseLinear(PiecewiseLinear),
    /// A smooth function of each element, within 2^−20 (sigmoid, error function, …).
    Smooth(SmoothFunction),
    /// A function of each row along the last axis (softmax, layer normalisation).
    Rows(RowFunction),
    /// x + b for a `bias` b of x's shape (position embeddings).
    Bias,
    /// Mean over windows. Padding counts as zeros *and* in the divisor, which is always the kernel's
    /// area (PyTorch's default, `count_include_pad=True`).
    AvgPool {
        /// The window.
        window: PoolGeometry,
    },
    /// Maximum over windows; padding counts as −∞ (PyTorch).
    MaxPool {
        /// The window.
        window: PoolGeometry,
    },
    /// Mean over height and width: `[channels, 1, 1]`.
    GlobalAvgPool,
    /// Sum of two or more inputs of one shape (residual connections).
    Add,
    /// Product of two inputs, element by element: of one shape, or an image and a factor for each of its planes, `[channels, 1, 1]` or
    /// `[channels]` (squeeze-and-excitation), in this order.
    Mul,
    /// Quotient of two inputs of one shape, element by element, within the range that [`crate::mpc::Party::quotient`] states.
    Div,
    /// Products of matrices, `[…, m, k]` by `[…, k, n]`, one for each entry of the leading axes (attention).
    MatMul,
    /// Inputs side by side along the first axis, of channels.
    Concat,
    /// The same elements in other places, or some of them.
    Rearrange(Rearrange),
    /// Every pixel as so many rows and columns of pixels: nearest neighbours, for whole factors.
    Upsample {
        /// Of height and width.
        factors: [usize; 2],
    },
    /// `[channels, height, width]` to `[channels · height · width]`, row-major.
    Flatten,
    /// The same elements, row-major, in another shape.
    Reshape {
        /// Without the batch.
        shape: Vec<usize>,
    },
}

/// The operations of a network or a plan (`Op` or `PlanOp`) that training has no gradient of, as a pattern: every match that must
/// say what it does with each operation takes them from here.
macro_rules! without_gradient {
    ($op:ident) => {
        $op::PiecewiseLinear(_)
            | $op::Smooth(_)
            | $op::Mul
            | $op::Div
            | $op::MatMul
            | $op::Rows(_)
            | $op::Bias
            | $op::Rearrange(_)
            | $op::ConvTranspose2d { .. }
    };
}
pub(super) use without_gradient;

impl Op {
    /// Whether networks with it can be trained.
    fn has_gradient(&self) -> bool {
        !matches!(self, without_gradient!(Op))
    }

    /// Name of the kind of operation, for errors and for times by kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Conv2d { .. } => "conv2d",
            Op::ConvTranspose2d { .. } => "conv_transpose2d",
            Op::Linear { .. } => "linear",
            Op::BatchNorm2d { .. } => "batch_norm",
            Op::Relu => "relu",
            Op::Relu6 => "relu6",
            Op::PiecewiseLinear(_) => "piecewise_linear",
            Op::Smooth(function) => function.name(),
            Op::Rows(function) => function.name(),
            Op::Bias => "bias",
            Op::AvgPool { .. } => "avg_pool",
            Op::MaxPool { .. } => "max_pool",
            Op::GlobalAvgPool => "global_avg_pool",
            Op::Add => "add",
            Op::Mul => "mul",
            Op::Div => "div",
            Op::MatMul => "matmul",
            Op::Concat => "concat",
            Op::Rearrange(_) => "rearrange",
            Op::Upsample { .. } => "upsample",
            Op::Flatten => "flatten",
            Op::Reshape { .. } => "reshape",
        }
    }
}

/// One operation of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Dotted, unique, and the prefix of its parameters' names.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it computes it from: nodes before this one.
    pub inputs: Vec<NodeId>,
    /// Shape of its result, without the batch.
    pub shape: Vec<usize>,
}

/// A tensor of weights that a network needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Name in PyTorch's `state_dict`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The node it belongs to.
    pub node: NodeId,
}

/// A network: nodes in evaluation order, the first of which is the input.
///
/// ```
/// use cryptgpu_core::device::PoolGeometry;
/// use cryptgpu_core::nn::{Graph, NnError};
/// let mut net = Graph::builder("tiny", [1, 8, 8]);
/// let input = net.input();
/// let conv = net.conv("conv1", input, 4, PoolGeometry::square(3, 1, 1))?;
/// let relu = net.relu("relu1", conv)?;
/// let flat = net.flatten("flatten", relu)?;
/// let fc = net.linear("fc", flat, 10)?;
/// let net = net.finish(fc)?;
/// assert_eq!(net.output_shape(), &[10]);
/// # Ok::<(), NnError>(())
/// ```
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "GraphData", into = "GraphData")]
pub struct Graph {
    name: String,
    input_shape: [usize; 3],
    nodes: Vec<Node>,
    output: NodeId,
}

impl Graph {
    /// Starts a network called `name` on images `[channels, height, width]`.
    pub fn builder(name: &str, input_shape: [usize; 3]) -> GraphBuilder {
        let input = Node { name: "input".into(), op: Op::Input, inputs: vec![], shape: input_shape.to_vec() };
        GraphBuilder { name: name.into(), input_shape, names: HashSet::from(["input".to_owned()]), nodes: vec![input] }
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Channels, height and width of an input image.
    pub fn input_shape(&self) -> [usize; 3] {
        self.input_shape
    }
    /// Shape of the result for one image.
    pub fn output_shape(&self) -> &[usize] {
        &self.node(self.output).shape
    }
    /// The node whose result is the network's.
    pub fn output(&self) -> NodeId {
        self.output
    }
    /// All nodes, inputs before users.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
    /// The ids of all nodes, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }
    /// One node. Ids of another graph are a mistake of the caller and may panic.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
    /// Shape of the first input of `node`.
    pub fn input_of(&self, node: &Node) -> &[usize] {
        node.inputs.first().map_or(&[], |&input| &self.node(input).shape)
    }

    /// Every tensor of weights that the network needs, in node order.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let mut push = |suffix: &str, shape: Vec<usize>| {
                parameters.push(Parameter { name: format!("{}.{suffix}", node.name), shape, node: NodeId(index) });
            };
            let input = self.input_of(node);
            match &node.op {
                Op::Conv2d { out_channels, window, groups, bias } => {
                    let [height, width] = window.kernel;
                    push("weight", vec![*out_channels, input[0] / groups, height, width]);
                    if *bias {
                        push("bias", vec![*out_channels]);
                    }
                }
                Op::ConvTranspose2d { out_channels, window, groups, bias, .. } => {
                    let [height, width] = window.kernel;
                    push("weight", vec![input[0], out_channels / groups, height, width]);
                    if *bias {
                        push("bias", vec![*out_channels]);
                    }
                }
                Op::Bias => push("bias", node.shape.clone()),
                Op::Linear { out_features, bias } => {
                    push("weight", vec![*out_features, input.last().copied().unwrap_or(0)]);
                    if *bias {
                        push("bias", vec![*out_features]);
                    }
                }
                Op::BatchNorm2d { .. } => {
                    for suffix in ["weight", "bias", "running_mean", "running_var"] {
                        push(suffix, vec![input[0]]);
                    }
                }
                _ => {}
            }
        }
        parameters
    }

    /// Refuses what training has no gradient of.
    ///
    /// # Errors
    /// [`NnError::NoGradient`] names the node.
    pub(super) fn check_gradients(&self) -> Result<(), NnError> {
        let rows = |node: &Node| matches!(node.op, Op::Linear { .. }) && node.shape.len() > 1;
        let without = self.nodes.iter().find(|node| !node.op.has_gradient() || rows(node));
        without.map_or(Ok(()), |node| Err(NnError::NoGradient { node: node.name.clone(), op: node.op.kind() }))
    }

    /// For each node, the nodes that use its result.
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                consumers[input.0].push(NodeId(index));
            }
        }
        consumers
    }

    /// The geometry of a convolution node for a batch, of a transposed one that of the convolution whose gradient it is, or `None`
    /// for any other node.
    pub fn conv_geometry(&self, id: NodeId, batch: usize) -> Option<ConvGeometry> {
        let node = self.node(id);
        let &[in_channels, height, width] = self.input_of(node) else { return None };
        match node.op {
            Op::Conv2d { out_channels, window, groups, .. } => {
                Some(ConvGeometry { batch, in_channels, input: [height, width], out_channels, window, groups })
            }
            Op::ConvTranspose2d { out_channels, output, window, groups, .. } => Some(ConvGeometry {
                batch,
                in_channels: out_channels,
                input: output,
                out_channels: in_channels,
                window,
                groups,
            }),
            _ => None,
        }
    }
}

/// Builds a [`Graph`], checking names, wiring and shapes node by node.
#[derive(Clone, Debug)]
pub struct GraphBuilder {
    name: String,
    input_shape: [usize; 3],
    names: HashSet<String>,
    nodes: Vec<Node>,
}

impl GraphBuilder {
    /// The input node.
    pub fn input(&self) -> NodeId {
        NodeId(0)
    }

    /// Shape of a node's result.
    pub fn shape(&self, id: NodeId) -> &[usize] {
        &self.nodes[id.0].shape
    }

    /// Adds a node.
    ///
    /// # Errors
    /// When the name is taken, an input does not exist, or the shapes do not fit; the error names
    /// the node and every shape.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> Result<NodeId, NnError> {
        if let Some(missing) = inputs.iter().find(|id| id.0 >= self.nodes.len()) {
            let what = format!("takes node {} as an input, and there are {} nodes so far", missing.0, self.nodes.len());
            return Err(NnError::Wiring { node: name.into(), what });
        }
        let shapes: Vec<&[usize]> = inputs.iter().map(|&id| self.shape(id)).collect();
        let shape = infer_shape(name, &op, &shapes)?;
        if name.is_empty() || !self.names.insert(name.to_owned()) {
            return Err(NnError::NodeName { graph: self.name.clone(), name: name.into() });
        }
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec(), shape });
        Ok(NodeId(self.nodes.len() - 1))
    }

    /// Adds a dense convolution with a bias.
    ///
    /// # Errors
    /// As [`GraphBuilder::add`].
    pub fn conv(&mut self, name: &str, x: NodeId, out: usize, window: PoolGeometry) -> Result<NodeId, NnError> {
        self.add(name, Op::Conv2d { out_channels: out, window, groups: 1, bias: true }, &[x])
    }

    /// Adds a convolution without a bias, and the batch normalisation `bn` after it.
    ///
    /// # Errors
    /// As [`GraphBuilder::add`].
    pub fn conv_bn(
        &mut self,
        [conv, bn]: [&str; 2],
        x: NodeId,
        out: usize,
        window: PoolGeometry,
        groups: usize,
    ) -> Result<NodeId, NnError> {
        let x = self.add(conv, Op::Conv2d { out_channels: out, window, groups, bias: false }, &[x])?;
        self.add(bn, Op::BatchNorm2d { eps: 1e-5 }, &[x])
    }

    /// Adds a fully connected layer with a bias.
    ///
    /// # Errors
    /// As [`GraphBuilder::add`].
    pub fn linear(&mut self, name: &str, x: NodeId, out_features: usize) -> Result<NodeId, NnError> {
        self.add(name, Op::Linear { out_features, bias: true }, &[x])
    }

    /// Adds a ReLU.
    ///
    /// # Errors
    /// As [`GraphBuilder::add`].
    pub fn relu(&mut self, name: &str, x: NodeId) -> Result<NodeId, NnError> {
        self.add(name, Op::Relu, &[x])
    }

    /// Adds a flattening.
    ///
    /// # Errors
    /// As [`GraphBuilder::add`].
    pub fn flatten(&mut self, name: &str, x: NodeId) -> Result<NodeId, NnError> {
        self.add(name, Op::Flatten, &[x])
    }

    /// Ends the graph, with the result of `output` as the network's.
    ///
    /// # Errors
    /// When `output` does not exist, or a node's result is used by none and is not the output.
    pub fn finish(self, output: NodeId) -> Result<Graph, NnError> {
        let mut used = vec![false; self.nodes.len()];
        for id in self.nodes.iter().flat_map(|node| &node.inputs).chain([&output]) {
            match used.get_mut(id.0) {
                Some(used) => *used = true,
                None => return Err(NnError::Wiring { node: self.name, what: format!("has no node {}", id.0) }),
            }
        }
        if let Some(unused) = used.iter().position(|used| !used) {
            let what = "its result is not used, and it is not the output: remove it".into();
            return Err(NnError::Wiring { node: self.nodes[unused].name.clone(), what });
        }
        Ok(Graph { name: self.name, input_shape: self.input_shape, nodes: self.nodes, output })
    }
}

/// A graph as it travels: shapes are left out and inferred again on arrival.
#[derive(serde::Serialize, serde::Deserialize)]
struct GraphData {
    name: String,
    input_shape: [usize; 3],
    nodes: Vec<(String, Op, Vec<NodeId>)>,
    output: NodeId,
}

impl From<Graph> for GraphData {
    fn from(graph: Graph) -> Self {
        let nodes = graph.nodes.into_iter().skip(1).map(|node| (node.name, node.op, node.inputs)).collect();
        GraphData { name: graph.name, input_shape: graph.input_shape, nodes, output: graph.output }
    }
}

impl TryFrom<GraphData> for Graph {
    type Error = NnError;
    fn try_from(data: GraphData) -> Result<Self, NnError> {
        let mut builder = Graph::builder(&data.name, data.input_shape);
        for (name, op, inputs) in data.nodes {
            builder.add(&name, op, &inputs)?;
        }
        builder.finish(data.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_errors_name_the_node_and_the_shapes() {
        let mut net = Graph::builder("t", [3, 8, 8]);
        let input = net.input();
        let conv = net.conv("conv1", input, 4, PoolGeometry::square(3, 2, 0)).unwrap();
        let error = net.add("add", Op::Add, &[input, conv]).unwrap_err().to_string();
        assert!(error.contains("add") && error.contains("[3, 8, 8]") && error.contains("[4, 3, 3]"), "{error}");
        let error = net.conv("conv2", conv, 4, PoolGeometry::square(5, 1, 0)).unwrap_err().to_string();
        assert!(error.contains("conv2") && error.contains("window of 5") && error.contains("input of 3"), "{error}");
        for channels in [0, usize::MAX / 2] {
            let mut odd = Graph::builder("odd", [channels, 8, 8]);
            let input = odd.input();
            let error = odd.flatten("flat", input).unwrap_err().to_string();
            assert!(error.contains("flat") && error.contains("at least 1"), "{error}");
        }
        let error = net.linear("fc", conv, 4).unwrap_err().to_string();
        assert!(error.contains("flatten first"), "{error}");
        let odd = Op::Conv2d { out_channels: 4, window: PoolGeometry::square(1, 1, 0), groups: 2, bias: false };
        assert!(net.add("grouped", odd, &[input]).unwrap_err().to_string().contains("3 input channels"));
        assert!(net.relu("conv1", conv).unwrap_err().to_string().contains("unique"));
        assert!(net.relu("later", NodeId(7)).is_err());
        let all_padding = Op::MaxPool { window: PoolGeometry::square(2, 2, 2) };
        assert!(net.add("pool", all_padding, &[input]).is_err());
        net.relu("relu", conv).unwrap();
        assert!(net.finish(conv).unwrap_err().to_string().contains("relu"), "an unused node is reported");
    }

    #[test]
    fn a_graph_survives_the_journey_and_a_forged_one_does_not() {
        let graph = crate::nn::zoo::by_name("resnet50").unwrap();
        let json = serde_json::to_string(&graph).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&json).unwrap(), graph);
        let forged = json.replacen("\"layer1.0.conv1\"", "\"conv1\"", 1);
        assert!(serde_json::from_str::<Graph>(&forged).unwrap_err().to_string().contains("conv1"));
    }
}
