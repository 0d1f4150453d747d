//! Functions behind the last layer: Sigmoid, Softmax, LogSoftmax, ArgMax, Exp. They are computed in the clear, of the scores, by whoever
//! opens these (ADR 0051).

use super::attributes::Attributes;
use super::import::{Failure, Import};
use super::layers::Value;
use super::proto::Node;
use ndarray::{ArrayD, Axis};

/// A function of the opened scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// 1 / (1 + exp(−x)) of each element.
    Sigmoid,
    /// exp(x) of each element.
    Exp,
    /// exp(xᵢ) / Σⱼ exp(xⱼ) of each row.
    Softmax,
    /// xᵢ − ln Σⱼ exp(xⱼ) of each row.
    LogSoftmax,
    /// The place of the largest element along an axis, counted with the batch.
    ArgMax {
        axis: usize,
        /// Whether the axis stays, with one element.
        keep: bool,
        /// Of several largest, the last.
        last: bool,
    },
}

impl Ending {
    /// The sizes of its result behind the batch, from those of the scores.
    pub(super) fn dims(&self, scores: &[usize]) -> Vec<usize> {
        let mut dims = scores.to_vec();
        match *self {
            Ending::ArgMax { axis, keep: true, .. } => dims[axis - 1] = 1,
            Ending::ArgMax { axis, keep: false, .. } => drop(dims.remove(axis - 1)),
            _ => {}
        }
        dims
    }

    /// Applies it to `[batch, …]`; softmax to `[batch, classes]`.
    pub(super) fn apply(self, mut scores: ArrayD<f64>) -> ArrayD<f64> {
        match self {
            // exp of a large number is an infinity, whose reciprocal is the right limit.
            Ending::Sigmoid => scores.mapv_inplace(|x| 1.0 / (1.0 + (-x).exp())),
            Ending::Exp => scores.mapv_inplace(f64::exp),
            Ending::Softmax | Ending::LogSoftmax => self.by_row(&mut scores),
            Ending::ArgMax { axis, keep, last } => {
                let places = scores.map_axis(Axis(axis), |row| place_of_largest(row.iter().copied(), last));
                return if keep { places.insert_axis(Axis(axis)) } else { places };
            }
        }
        scores
    }

    fn by_row(self, scores: &mut ArrayD<f64>) {
        for mut row in scores.lanes_mut(Axis(1)) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let logarithm = largest + row.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
            match self {
                Ending::Softmax => row.mapv_inplace(|x| (x - logarithm).exp()),
                _ => row.mapv_inplace(|x| x - logarithm),
            }
        }
    }

    /// The notice for whoever opens the scores.
    pub(super) fn notice(&self) -> String {
        let name = match self {
            Ending::Sigmoid => "Sigmoid",
            Ending::Exp => "Exp",
            Ending::Softmax => "Softmax",
            Ending::LogSoftmax => "LogSoftmax",
            Ending::ArgMax { .. } => "ArgMax",
        };
        format!(
            "its {name} at the end is computed of the opened scores: who opens the result sees the scores before it"
        )
    }
}

/// The place of the first or the last of the largest numbers.
fn place_of_largest(row: impl Iterator<Item = f64>, last: bool) -> f64 {
    let better = |(place, largest), (at, value)| {
        let beats = if last { value >= largest } else { value > largest };
        if beats { (at, value) } else { (place, largest) }
    };
    row.enumerate().fold((0, f64::NEG_INFINITY), better).0 as f64
}

/// What the output is called before the nodes that hand it on, which exporters like to put there.
pub(super) fn before_copies<'a>(nodes: &[&'a Node], output: &'a str) -> &'a str {
    before(nodes, output, |node| hands_on(nodes, node))
}

/// The same, before nodes that give it another shape as well: functions of each element are the same before and behind these.
pub(super) fn before_views<'a>(nodes: &[&'a Node], output: &'a str) -> &'a str {
    let views =
        |node: &Node| matches!(node.op_type.as_str(), "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose");
    before(nodes, output, |node| views(node) || hands_on(nodes, node))
}

/// Nodes stand in the order of evaluation.
fn before<'a>(nodes: &[&'a Node], output: &'a str, hands_on: impl Fn(&Node) -> bool) -> &'a str {
    nodes.iter().rev().fold(output, |name, node| match (node.output.first(), node.input.first()) {
        (Some(made), Some(of)) if made == name && hands_on(node) => of,
        _ => name,
    })
}

/// Whether the result of a node is its first input: copies, conversions between floats, a map of scores by class, and probabilities that are
/// divided by their sum.
fn hands_on(nodes: &[&Node], node: &Node) -> bool {
    match node.op_type.as_str() {
        "Identity" | "ZipMap" => true,
        "Cast" => super::elementwise::casts_to_float(Attributes(node)),
        "Normalizer" => {
            let maker = node.input.first().and_then(|name| nodes.iter().find(|node| node.output.contains(name)));
            maker.is_some_and(|maker| sums_to_one(Attributes(maker), Attributes(node)))
        }
        _ => false,
    }
}

/// Whether `normalizer` divides by their sum what sums up to one.
pub(super) fn sums_to_one(maker: Attributes<'_>, normalizer: Attributes<'_>) -> bool {
    let softmax = match maker.operator() {
        "Softmax" => true,
        "LinearClassifier" => maker.text("post_transform") == Some("SOFTMAX"),
        _ => false,
    };
    softmax && normalizer.text("norm") == Some("L1")
}

/// Exp as the last node, but for views of it; of logarithms of probabilities it gives a softmax.
pub(super) fn exponential<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value, Failure> {
    let x = import.value(node, 0)?;
    let made = |name: &str| node.0.output.first().is_some_and(|output| output == name);
    if let (true, Some(scores)) = (made(import.last), import.layers.before_log_softmax(x.layer))
        && x.dims.len() == 1
    {
        import.ending = Some(Ending::Softmax);
        return Ok(x.with(scores));
    }
    if !made(import.last_of_each) {
        return Err("exponentials are computed at the end of a network, of the opened scores, and in Softmax, Sigmoid and the like within one"
            .to_owned()
            .into());
    }
    import.ending = Some(Ending::Exp);
    Ok(x)
}

/// Sigmoid, Softmax, LogSoftmax or ArgMax as the last node: the value is its input, and the function waits for the scores.
pub(super) fn ending<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value, Failure> {
    let x = import.value(node, 0)?;
    let last = node.0.output.first().is_some_and(|name| name == import.last);
    let ending = match node.operator() {
        "Sigmoid" if last => Ending::Sigmoid,
        "Sigmoid" => return super::activations::smooth(import, node),
        "Softmax" | "LogSoftmax" if !last || x.dims.len() != 1 => {
            return super::sequences::softmax(import, node);
        }
        _ if !last => return Err("it is computed at the end of a network, of the opened scores".to_owned().into()),
        "ArgMax" => {
            let axis = super::constant::axis(node.int("axis").unwrap_or(0), x.dims.len() + 1)?;
            if axis == 0 {
                return Err("it compares the images of a batch with one another".to_owned().into());
            }
            Ending::ArgMax { axis, keep: node.int("keepdims").unwrap_or(1) != 0, last: node.flag("select_last_index") }
        }
        // Of `[batch, classes]` the last axis is axis 1, which is also what opsets before 13 take if nothing is said.
        _ if x.dims.len() != 1 || !matches!(node.int("axis"), None | Some(1 | -1)) => {
            let dims = &x.dims;
            return Err(format!(
                "it is computed over classes, the last axis of [batch, classes], not of {dims:?} (without the batch)"
            )
            .into());
        }
        "Softmax" => Ending::Softmax,
        _ => Ending::LogSoftmax,
    };
    import.ending = Some(ending);
    Ok(x)
}
