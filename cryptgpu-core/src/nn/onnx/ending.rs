//! Functions behind the last layer: Sigmoid, Softmax, LogSoftmax. They are computed in the clear, of the scores, by whoever
//! opens these (ADR 0051).

use super::attributes::Attributes;
use super::import::{Failure, Import};
use super::layers::Value;
use super::operators::OTHER_ACTIVATION;
use super::proto::Node;
use ndarray::{ArrayD, Axis};

/// A function of the opened scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// 1 / (1 + exp(−x)) of each element.
    Sigmoid,
    /// exp(xᵢ) / Σⱼ exp(xⱼ) of each row.
    Softmax,
    /// xᵢ − ln Σⱼ exp(xⱼ) of each row.
    LogSoftmax,
}

impl Ending {
    /// Applies it to `[batch, …]`; softmax to `[batch, classes]`.
    pub(super) fn apply(self, scores: &mut ArrayD<f64>) {
        if self == Ending::Sigmoid {
            // exp of a large number is an infinity, whose reciprocal is the right limit.
            return scores.mapv_inplace(|x| 1.0 / (1.0 + (-x).exp()));
        }
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
            Ending::Softmax => "Softmax",
            Ending::LogSoftmax => "LogSoftmax",
        };
        format!(
            "its {name} at the end is computed of the opened scores: who opens the result sees the scores before it"
        )
    }
}

/// What the output is called before the Identities that hand it on, which exporters like to put there.
pub(super) fn before_copies<'a>(nodes: &[&'a Node], output: &'a str) -> &'a str {
    // Nodes stand in the order of evaluation.
    nodes.iter().rev().fold(output, |name, node| {
        match (node.op_type.as_str(), node.output.first(), node.input.first()) {
            ("Identity", Some(made), Some(of)) if made == name => of,
            _ => name,
        }
    })
}

/// Sigmoid, Softmax or LogSoftmax as the last node: the value is its input, and the function waits for the scores.
pub(super) fn ending<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value, Failure> {
    let x = import.value(node, 0)?;
    let last = node.0.output.first().is_some_and(|name| name == import.last);
    let ending = match node.operator() {
        "Sigmoid" if last => Ending::Sigmoid,
        "Sigmoid" => return Err(OTHER_ACTIVATION.to_owned().into()),
        _ if !last => {
            return Err("it is computed at the end of a network, of the opened scores, and nowhere else yet"
                .to_owned()
                .into());
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
