//! The walk through a file's nodes: each becomes a constant, another view of a value, or a layer; those that cannot are
//! listed, all of them, before anything is said.

use super::super::Op;
use super::attributes::Attributes;
use super::constant::{self, Constant};
use super::ending::{self, Ending};
use super::error::{OnnxError, Refused, Unsupported};
use super::layers::{Kind, Layers, MOST_ELEMENTS, Order, Value};
use super::operators::{self, Operator};
use super::proto::{GraphOfNodes, Node, Tensor};
use super::tensor::{self, Beside};
use super::{activations, elementwise, images, interface, normalisation, places, products, resize, sequences, shapes};
use ndarray::ArrayD;
use std::collections::HashMap;
use std::sync::Arc;

/// Why a node gives nothing.
pub(super) enum Failure {
    /// It cannot be computed, for this reason.
    Refused(String),
    /// What it takes cannot be computed.
    Unknown,
    /// The file is no good.
    Fatal(OnnxError),
}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Failure::Refused(what)
    }
}

impl From<OnnxError> for Failure {
    fn from(error: OnnxError) -> Self {
        Failure::Fatal(error)
    }
}

/// What a name of the file stands for.
#[derive(Clone)]
pub(super) enum Held {
    Constant(Constant),
    Value(Value),
    /// The square root of a value, which waits for a division.
    Root,
    /// ln Σ exp of a row of scores, which waits for being taken off them.
    LogSumExp(Value),
    /// The class of the largest score, which whoever opens the scores finds.
    Label,
    /// The result of a node that cannot be computed.
    Unknown,
}

/// The import of one file.
pub(super) struct Import<'a> {
    origin: &'a str,
    names: HashMap<&'a str, Held>,
    /// The nodes that make names.
    makers: HashMap<&'a str, &'a Node>,
    initializers: HashMap<&'a str, &'a Tensor>,
    beside: &'a mut Beside,
    /// Elements that copies of constants may still have: so many times those that the file holds.
    room: usize,
    pub(super) layers: Layers,
    /// The version of the standard operators.
    pub(super) opset: i64,
    /// The size of the batch that the file is for, if it is for one.
    pub(super) fixed_batch: Option<usize>,
    /// What gives the network's output, copies left out.
    pub(super) last: &'a str,
    /// The same, with views of it left out as well.
    pub(super) last_of_each: &'a str,
    /// The function behind the last layer, if there is one.
    pub(super) ending: Option<Ending>,
}

/// How often the elements of a file's constants may be copied, and how many copies are always allowed.
const COPIES: usize = 4;
const ROOM: usize = 1 << 20;

/// What the walk gives.
pub(super) struct Imported {
    pub(super) layers: Layers,
    /// The network's input and output, in the file's shape.
    pub(super) input: Value,
    pub(super) output: Value,
    pub(super) ending: Option<Ending>,
    /// What is to be said of other outputs, and of classes.
    pub(super) notices: Vec<String>,
}

/// Walks through the nodes that an output needs: the one of this name, or the only one of numbers.
pub(super) fn import<'a>(
    graph: &'a GraphOfNodes,
    opset: i64,
    output: Option<&str>,
    origin: &'a str,
    beside: &'a mut Beside,
) -> Result<Imported, OnnxError> {
    let initializers: HashMap<&str, &Tensor> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let input = interface::input(graph, &initializers, origin)?;
    let (output, left_out) = interface::output(graph, output, origin)?;
    let classes = interface::classes(graph, &initializers);
    let needed = interface::needed(graph, &output.name, origin)?;
    let (fixed_batch, dims) = interface::input_dims(input, origin)?;
    if dims.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).is_none_or(|count| count > MOST_ELEMENTS) {
        return Err(interface::error(
            origin,
            format!("its input, {dims:?} without the batch, is larger than any image"),
        ));
    }
    let channels_last = dims.len() == 3 && interface::channels_last(&needed, &input.name);
    let shape = match dims[..] {
        [height, width, channels] if channels_last => [channels, height, width],
        [channels, height, width] => [channels, height, width],
        [channels, length] if interface::is_signal(&needed, &input.name) => [channels, 1, length],
        [height, width] => [1, height, width],
        _ => [dims.iter().product(), 1, 1],
    };
    let mut layers = Layers::new(shape);
    let order = if channels_last { Order::ChannelsLast } else { Order::Same };
    let mut value = Value { layer: 0, dims, order };
    let outside = value.clone();
    if value.dims.len() == 1 {
        let flat = layers.flat("flatten_input", 0);
        value.layer = flat.map_err(|what| interface::error(origin, what))?;
    }
    let names = HashMap::from([(input.name.as_str(), Held::Value(value))]);
    let mut import = Import {
        origin,
        names,
        makers: needed.iter().flat_map(|node| node.output.iter().map(|name| (name.as_str(), *node))).collect(),
        initializers,
        beside,
        room: ROOM,
        layers,
        opset,
        fixed_batch,
        last: ending::before_copies(&needed, &output.name),
        last_of_each: ending::before_views(&needed, &output.name),
        ending: None,
    };
    import.walk(&needed)?;
    match import.names.get(output.name.as_str()) {
        Some(Held::Value(value)) if matches!(value.order, Order::Inside { .. } | Order::Dropped) => {
            let what = format!("the batch is not in front of its output, {:?} without it: transpose it", value.dims);
            Err(interface::error(origin, what))
        }
        Some(Held::Value(value)) if !matches!(value.order, Order::FlatChannelsLast(_)) => {
            let (layers, ending) = (import.layers, import.ending);
            let classes = classes.and_then(|classes| interface::of_classes(&classes, &value.dims));
            let notices = left_out.into_iter().chain(classes).collect();
            Ok(Imported { output: value.clone(), layers, input: outside, ending, notices })
        }
        Some(Held::Value(_)) => {
            let what = "its output is a flattened image with its channels last: end with the image, or with a layer";
            Err(interface::error(origin, what.into()))
        }
        Some(Held::Label) => {
            let what = "its output is a label, the class of the largest score: take the scores, and find the largest of them in the clear";
            Err(interface::error(origin, what.into()))
        }
        _ => Err(interface::error(origin, "its output is none that its input leads to through layers".into())),
    }
}

impl<'a> Import<'a> {
    fn walk(&mut self, nodes: &[&'a Node]) -> Result<(), OnnxError> {
        let mut refused = Vec::new();
        for node in nodes {
            // Masks of Dropout and the like are nothing that layers take; Split names all of its parts.
            for output in node.output.iter().skip(1).filter(|name| !name.is_empty()) {
                self.names.insert(output, Held::Unknown);
            }
            let held = match self.node(Attributes(node)) {
                Ok(held) => held,
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Unknown) => match operators::find(node) {
                    Operator::Known(_) => Held::Unknown,
                    Operator::Unknown(what) => {
                        refused.push(refusal(node, what));
                        Held::Unknown
                    }
                },
                Err(Failure::Refused(what)) => {
                    refused.push(refusal(node, what));
                    // Those behind it are looked at as well, where its shape is known.
                    match node.input.first().and_then(|name| self.names.get(name.as_str())) {
                        Some(value @ Held::Value(_)) if operators::keeps_shape(node) => value.clone(),
                        _ => Held::Unknown,
                    }
                }
            };
            if let Some(output) = node.output.first() {
                self.names.insert(output, held);
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        Err(OnnxError::Unsupported(Unsupported { path: self.origin.into(), nodes: nodes.len(), refused }))
    }

    fn node(&mut self, node: Attributes<'a>) -> Result<Held, Failure> {
        let operate = match operators::find(node.0) {
            Operator::Known(operate) => operate,
            // The inputs are looked for first: what nothing makes is another error.
            Operator::Unknown(what) => {
                self.inputs(node)?;
                return Err(Failure::Refused(what));
            }
        };
        let inputs = self.inputs(node)?;
        let constants: Option<Vec<Option<Constant>>> = inputs
            .iter()
            .map(|held| match held {
                Some(Held::Constant(constant)) => Some(Some(constant.clone())),
                None => Some(None),
                Some(_) => None,
            })
            .collect();
        if let Some(folded) = constants.as_ref().and_then(|constants| constant::fold(&node, constants)) {
            let folded = folded?;
            self.take(folded.len())?;
            return Ok(Held::Constant(folded));
        }
        // What waits for another node is handed on.
        match (inputs.first(), node.operator()) {
            (Some(Some(held @ Held::LogSumExp(_))), "Reshape" | "Unsqueeze" | "Identity")
            | (Some(Some(held @ Held::Root)), "Clip" | "Expand" | "Identity") => return Ok(held.clone()),
            _ => {}
        }
        operate(self, node)
    }

    /// What the inputs stand for.
    fn inputs(&mut self, node: Attributes<'a>) -> Result<Vec<Option<Held>>, Failure> {
        let found = (0..node.0.input.len()).map(|place| self.input(node, place)).collect::<Result<Vec<_>, _>>()?;
        if found.iter().flatten().any(|held| matches!(held, Held::Unknown)) {
            return Err(Failure::Unknown);
        }
        Ok(found)
    }

    /// What the input at `place` stands for; None where it is left out.
    pub(super) fn input(&mut self, node: Attributes<'a>, place: usize) -> Result<Option<Held>, Failure> {
        let Some(name) = node.0.input.get(place).filter(|name| !name.is_empty()) else { return Ok(None) };
        if let Some(held) = self.names.get(name.as_str()) {
            return Ok(Some(held.clone()));
        }
        let Some(tensor) = self.initializers.get(name.as_str()) else {
            let (node, name) = (harmless(&label(node.0)), harmless(name));
            let what = format!("node {node} takes `{name}`, which nothing before it makes");
            return Err(Failure::Fatal(interface::error(self.origin, what)));
        };
        let constant = tensor::constant(tensor, self.beside)?;
        self.room = self.room.saturating_add(constant.len().saturating_mul(COPIES));
        let held = Held::Constant(constant);
        self.names.insert(name, held.clone());
        Ok(Some(held))
    }

    /// The node that makes a name.
    pub(super) fn maker(&self, name: &str) -> Option<Attributes<'a>> {
        self.makers.get(name).map(|node| Attributes(node))
    }

    /// What a further output of a node stands for.
    pub(super) fn name(&mut self, output: &'a str, held: Held) {
        if !output.is_empty() {
            self.names.insert(output, held);
        }
    }

    /// Takes room for a copy of that many elements.
    pub(super) fn take(&mut self, elements: usize) -> Result<(), Failure> {
        self.room = self.room.checked_sub(elements).ok_or_else(|| {
            let what = "its nodes make many times as many constants as it holds".into();
            Failure::Fatal(OnnxError::TooLarge { path: self.origin.into(), what })
        })?;
        Ok(())
    }

    /// The value at `place`, which must depend on the input.
    pub(super) fn value(&mut self, node: Attributes<'a>, place: usize) -> Result<Value, Failure> {
        match self.input(node, place)? {
            Some(Held::Value(value)) => Ok(value),
            Some(Held::Unknown) => Err(Failure::Unknown),
            Some(Held::Root) => Err(Failure::Refused(format!(
                "its input {place} is a square root, which is computed in normalisations alone"
            ))),
            Some(Held::LogSumExp(_)) => Err(Failure::Refused(format!(
                "its input {place} is the logarithm of a sum of exponentials, which is computed where it is taken off the scores alone"
            ))),
            Some(Held::Label) => Err(Failure::Refused(
                "it computes with a label: end the model with the scores, of which whoever opens them finds the largest".into(),
            )),
            Some(Held::Constant(_)) => Err(Failure::Refused(format!("its input {place} is a constant"))),
            None => Err(Failure::Refused(format!("it has no input {place}"))),
        }
    }

    /// The constant at `place`; None where the input is left out or no constant.
    pub(super) fn constant(&mut self, node: Attributes<'a>, place: usize) -> Result<Option<Constant>, Failure> {
        Ok(match self.input(node, place)? {
            Some(Held::Constant(constant)) => Some(constant),
            _ => None,
        })
    }

    /// The constant at `place`, as floats, which a layer will have a copy of.
    pub(super) fn weights(&mut self, node: Attributes<'a>, place: usize) -> Result<Arc<ArrayD<f32>>, Failure> {
        match self.input(node, place)? {
            None => Err(Failure::Refused(format!("it has no input {place}"))),
            Some(Held::Constant(constant)) => {
                self.take(constant.len())?;
                if constant.len() == 0 {
                    return Err(Failure::Refused(format!("its input {place} has no elements")));
                }
                constant.as_floats().ok_or_else(|| Failure::Refused(format!("its input {place} is the batch's size")))
            }
            Some(_) => Err(Failure::Refused(format!(
                "its input {place}, a weight, depends on the network's input: products of two such values are not computed"
            ))),
        }
    }

    /// As [`weights`](Self::weights), of an input that may be left out.
    pub(super) fn optional_weights(
        &mut self,
        node: Attributes<'a>,
        place: usize,
    ) -> Result<Option<Arc<ArrayD<f32>>>, Failure> {
        if node.0.input.get(place).is_none_or(String::is_empty) {
            return Ok(None);
        }
        self.weights(node, place).map(Some)
    }

    /// Adds a layer; its name is that of its weight, at `weight`, where PyTorch has given that one.
    pub(super) fn layer(
        &mut self,
        node: Attributes<'a>,
        weight: Option<usize>,
        kind: Kind,
        inputs: &[&Value],
    ) -> Result<Value, Failure> {
        let weight = weight.and_then(|place| node.0.input.get(place)).and_then(|name| name.strip_suffix(".weight"));
        let name = weight.filter(|name| !name.is_empty()).map_or_else(|| label(node.0), str::to_owned);
        let inputs = inputs.iter().map(|value| value.layer).collect();
        let layer = self.layers.add(&harmless(&name), kind, inputs)?;
        Ok(Value::of(layer, &self.layers))
    }

    /// A value whose elements stand in the file's order, with a layer of this shape.
    pub(super) fn shaped(&mut self, node: Attributes<'a>, x: &Value, shape: Vec<usize>) -> Result<Value, Failure> {
        if self.layers.shape(x.layer) == shape {
            return Ok(x.clone());
        }
        if matches!(x.order, Order::ChannelsLast | Order::FlatChannelsLast(_)) {
            return Err(Failure::Refused("its input has its channels last: transpose it first".into()));
        }
        self.layer(node, None, Kind::Plain(Op::Reshape { shape }), &[x])
    }

    /// A value in another shape, of as many elements.
    pub(super) fn reshaped(&mut self, node: Attributes<'a>, x: &Value, dims: Vec<usize>) -> Result<Value, Failure> {
        if dims == x.dims {
            return Ok(x.clone());
        }
        let elements = |dims: &[usize]| dims.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if elements(&dims).is_none() || elements(&dims) != elements(&x.dims) {
            return Err(Failure::Refused(format!("{:?} elements cannot have shape {dims:?}", x.dims)));
        }
        let shape = <[usize; 3]>::try_from(self.layers.shape(x.layer));
        let order = match (x.order, shape) {
            // One channel or one pixel: both orders are the same.
            (Order::ChannelsLast, Ok([channels, height, width])) if channels == 1 || height * width == 1 => Order::Same,
            (Order::ChannelsLast, Ok(shape)) if dims.len() == 1 => Order::FlatChannelsLast(shape),
            (Order::Same | Order::Inside { .. } | Order::Dropped, _) => Order::Same,
            _ => {
                let x = self.in_order(node, x)?;
                return self.reshaped(node, &x, dims);
            }
        };
        let label = label(node.0);
        let layer = match dims.len() {
            1 => self.layers.flat(&harmless(&label), x.layer)?,
            _ => self.layers.flattened_from(x.layer).unwrap_or(x.layer),
        };
        Ok(Value { layer, dims, order })
    }
}

/// What a node is called: by its name, or else by its operator and what it makes.
fn label(node: &Node) -> String {
    let name = node.name.trim_matches('/');
    if !name.is_empty() {
        return name.to_owned();
    }
    format!("{}_{}", node.op_type, node.output.first().map_or("", |name| name.trim_matches('/')))
}

/// A name of the file as it may be printed and sent: short, and of letters, digits and a few signs.
pub(super) fn harmless(name: &str) -> String {
    const SHOWN: usize = 120;
    let plain = |sign: char| if sign.is_ascii_alphanumeric() || "._-/:".contains(sign) { sign } else { '_' };
    name.chars().take(SHOWN).map(plain).collect()
}

fn refusal(node: &Node, what: String) -> Refused {
    Refused { node: harmless(&label(node)), operator: harmless(&node.op_type), what }
}

/// Runs the conversion of a known operator.
pub(super) type Operate = for<'a> fn(&mut Import<'a>, Attributes<'a>) -> Result<Held, Failure>;

/// The conversions by operator.
pub(super) fn conversion(operator: &str) -> Option<Operate> {
    /// A conversion that gives a value.
    macro_rules! value {
        ($convert:path) => {
            |import, node| $convert(import, node).map(Held::Value)
        };
    }
    Some(match operator {
        "Conv" => value!(products::conv),
        "Gemm" => value!(products::gemm),
        "MatMul" => value!(products::matmul),
        "MaxPool" | "AveragePool" => value!(products::pool),
        "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMean" => value!(products::global),
        "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceSumSquare" => value!(sequences::reduce),
        "ConvTranspose" => value!(products::conv_transpose),
        "LayerNormalization" | "RMSNormalization" => value!(normalisation::rows),
        "InstanceNormalization" | "GroupNormalization" => value!(normalisation::planes),
        "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Mean" => value!(elementwise::arithmetic),
        "BatchNormalization" => value!(elementwise::batch_norm),
        "Relu" | "Clip" | "LeakyRelu" | "HardSigmoid" | "Abs" | "Neg" => value!(activations::piecewise_linear),
        "HardSwish" => value!(activations::hard_swish),
        "Tanh" | "Erf" | "Swish" | "Gelu" | "Elu" | "Selu" | "Celu" | "Softplus" | "Mish" => {
            value!(activations::smooth)
        }
        "PRelu" => value!(activations::prelu),
        "Reciprocal" | "Softsign" => value!(elementwise::reciprocal),
        "Max" | "Min" => value!(elementwise::extremum),
        "Pad" => value!(images::pad),
        "Resize" | "Upsample" => value!(resize::resize),
        "Tile" => value!(places::tile),
        "DepthToSpace" | "SpaceToDepth" => value!(places::blocks),
        "Identity" | "Dropout" | "Cast" => value!(elementwise::same),
        "Sigmoid" | "Softmax" | "LogSoftmax" | "ArgMax" => value!(ending::ending),
        "ReduceLogSumExp" => |import, node| normalisation::log_sum_exp(import, node),
        "Exp" => value!(ending::exponential),
        "Constant" => |_, node| elementwise::constant(node),
        "Shape" => |import, node| shapes::shape(import, node).map(Held::Constant),
        "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => value!(shapes::reshape),
        "Transpose" => value!(shapes::transpose),
        "Concat" => value!(shapes::concat),
        "Gather" => value!(sequences::gather),
        "Slice" => value!(sequences::slice),
        "Expand" => value!(sequences::expand),
        "Split" => |import, node| sequences::split(import, node),
        // Of constants only: `constant::fold` has computed them.
        "Sqrt" | "ReduceL2" => |import, node| normalisation::root(import, node),
        "LpNormalization" => value!(normalisation::lp),
        "Pow" => value!(normalisation::power),
        "ConstantOfShape" | "Equal" | "Where" | "Mod" => {
            |_, _| Err("it is computed of constants only, not of what depends on the input".to_owned().into())
        }
        _ => return None,
    })
}
