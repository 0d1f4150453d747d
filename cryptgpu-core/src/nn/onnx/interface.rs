//! What a file's network takes and gives: its input and which of its outputs, what these need, and in which order images come.

use super::attributes::Attributes;
use super::error::OnnxError;
use super::import::harmless;
use super::proto::{GraphOfNodes, Node, Tensor, ValueInfo};
use super::tensor;
use std::collections::{HashMap, HashSet};

pub(super) fn error(origin: &str, what: String) -> OnnxError {
    OnnxError::Interface { path: origin.into(), what }
}

/// The one input that is no constant.
pub(super) fn input<'a>(
    graph: &'a GraphOfNodes,
    initializers: &HashMap<&str, &Tensor>,
    origin: &str,
) -> Result<&'a ValueInfo, OnnxError> {
    let inputs: Vec<&ValueInfo> =
        graph.input.iter().filter(|info| !initializers.contains_key(info.name.as_str())).collect();
    let [input] = inputs[..] else {
        let what = format!(
            "networks have one input, and it has {} ({}): export the model with its features in one array",
            inputs.len(),
            names(&inputs)
        );
        return Err(error(origin, what));
    };
    Ok(input)
}

/// The output that is asked for by name, or else the only one that holds numbers: what scikit-learn's classifiers have beside their
/// scores is labels. With it, what is to be said of the others.
pub(super) fn output<'a>(
    graph: &'a GraphOfNodes,
    name: Option<&str>,
    origin: &str,
) -> Result<(&'a ValueInfo, Option<String>), OnnxError> {
    let all: Vec<&ValueInfo> = graph.output.iter().collect();
    if let Some(name) = name {
        let found = all.iter().find(|info| info.name == name);
        let what = || format!("none of its outputs is `{}`: it has {}", harmless(name), names(&all));
        let found = found.ok_or_else(|| error(origin, what()))?;
        let tensor = found.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref());
        if tensor.is_some_and(|tensor| tensor.elem_type == tensor::STRING) {
            let what = format!("its output `{}` is words: name the one that holds the scores", harmless(name));
            return Err(error(origin, what));
        }
        return Ok((found, None));
    }
    if let [only] = all[..] {
        return Ok((only, None));
    }
    let (scores, labels): (Vec<&ValueInfo>, Vec<&ValueInfo>) = all.iter().partition(|info| holds_scores(info));
    let [chosen] = scores[..] else {
        let (count, names) = (all.len(), names(&all));
        let what = format!(
            "networks have one output, and it has {count} ({names}): name the one that is wanted with --output-name \
             (OnnxModel::load_output), or export the model with that one"
        );
        return Err(error(origin, what));
    };
    let (name, labels) = (harmless(&chosen.name), names(&labels));
    let notice = format!(
        "of its outputs `{name}` is computed, and not {labels}: a label is the class of the largest score, which whoever opens \
         these finds"
    );
    Ok((chosen, Some(notice)))
}

fn names(infos: &[&ValueInfo]) -> String {
    infos.iter().take(8).map(|info| format!("`{}`", harmless(&info.name))).collect::<Vec<_>>().join(", ")
}

/// Whether an output is of floats, as scores are; those that skl2onnx writes as a map of each class's score are no tensors.
fn holds_scores(info: &ValueInfo) -> bool {
    let tensor = info.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref());
    tensor.is_none_or(|tensor| tensor::is_float(tensor.elem_type))
}

/// The names of classes, where the file has some.
pub(super) fn classes(graph: &GraphOfNodes, initializers: &HashMap<&str, &Tensor>) -> Option<Vec<String>> {
    let of = |operator: &str| {
        let mut nodes = graph.node.iter().filter(|node| node.op_type == operator).map(Attributes);
        nodes.find_map(|node| {
            if operator == "ArrayFeatureExtractor" {
                // What the place of the largest score chooses from.
                return tensor::labels(initializers.get(node.0.input.first()?.as_str())?);
            }
            let texts = node.texts("classlabels_strings").filter(|texts| !texts.is_empty());
            let numbers = node.ints("classlabels_ints").or_else(|| node.ints("classlabels_int64s"));
            texts.or_else(|| Some(numbers?.iter().map(i64::to_string).collect()))
        })
    };
    // Where there are several classifiers they are parts of one.
    of("ZipMap").or_else(|| of("ArrayFeatureExtractor")).or_else(|| of("LinearClassifier"))
}

/// Which class each of the scores is of, where that is not their number.
pub(super) fn of_classes(classes: &[String], scores: &[usize]) -> Option<String> {
    const SHOWN: usize = 32;
    if classes.iter().enumerate().all(|(at, class)| *class == at.to_string()) {
        return None;
    }
    let names: Vec<String> = classes.iter().take(SHOWN).map(|class| harmless(class)).collect();
    match (scores, &names[..]) {
        ([1], [below, above]) => Some(format!("its score is above zero for the class {above}, and below for {below}")),
        ([count], _) if *count == classes.len() => {
            let more = if *count > SHOWN { format!(" and {} others", count - SHOWN) } else { String::new() };
            Some(format!("its scores are those of the classes {}{more}, in this order", names.join(", ")))
        }
        _ => None,
    }
}

/// Nodes that the output needs, in the file's order.
pub(super) fn needed<'a>(graph: &'a GraphOfNodes, output: &str, origin: &str) -> Result<Vec<&'a Node>, OnnxError> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if makers.insert(name, at).is_some() {
                return Err(error(origin, format!("two nodes make `{}`", harmless(name))));
            }
        }
    }
    let mut wanted = vec![false; graph.node.len()];
    let mut open: Vec<&str> = vec![output];
    while let Some(name) = open.pop() {
        let Some(&at) = makers.get(name) else { continue };
        if !std::mem::replace(&mut wanted[at], true) {
            open.extend(graph.node[at].input.iter().map(String::as_str));
        }
    }
    Ok(graph.node.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(node, _)| node).collect())
}

/// The batch that the file is for, if it is for one, and the sizes behind it.
pub(super) fn input_dims(input: &ValueInfo, origin: &str) -> Result<(Option<usize>, Vec<usize>), OnnxError> {
    let name = harmless(&input.name);
    let wrong = |what: String| error(origin, format!("its input `{name}` {what}"));
    let tensor = input.r#type.as_ref().and_then(|r#type| r#type.tensor_type.as_ref());
    let tensor = tensor.ok_or_else(|| wrong("is no tensor".into()))?;
    if !tensor::is_float(tensor.elem_type) {
        return Err(wrong(format!("has elements of type number {}, and networks take floats", tensor.elem_type)));
    }
    let shape = tensor.shape.as_ref().ok_or_else(|| wrong("has no shape: export the model with one".into()))?;
    let size = |value: Option<i64>| value.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
    let [batch, sizes @ ..] = shape.dim.as_slice() else {
        return Err(wrong("is a number: networks take batches of images or of vectors".into()));
    };
    let dims: Option<Vec<usize>> = sizes.iter().map(|dim| size(dim.dim_value)).collect();
    match dims {
        Some(dims) if (1..=3).contains(&dims.len()) => Ok((size(batch.dim_value), dims)),
        Some(dims) => {
            Err(wrong(format!("has {} axes: networks take [batch, channels, height, width]", dims.len() + 1)))
        }
        None => {
            Err(wrong("has a size behind the batch that is not fixed: export the model for one size of image".into()))
        }
    }
}

/// Whether what the network does first to its images, but for functions of each element, is to put their channels first:
/// then they come with channels last, as TensorFlow has them.
pub(super) fn channels_last(nodes: &[&Node], input: &str) -> bool {
    let mut names = HashSet::from([input]);
    for node in nodes {
        let Some(first) = node.input.iter().find(|name| names.contains(name.as_str())) else { continue };
        match node.op_type.as_str() {
            "Transpose" if names.contains(first.as_str()) => {
                return Attributes(node).ints("perm") == Some(&[0, 3, 1, 2]);
            }
            "Add" | "Sub" | "Mul" | "Div" | "Cast" | "Identity" | "Relu" | "Clip" => {
                names.extend(node.output.iter().map(String::as_str));
            }
            _ => return false,
        }
    }
    false
}

/// Whether the first layer of what takes the input, but for functions of each element, is one of signals: `[channels, length]`.
pub(super) fn is_signal(nodes: &[&Node], input: &str) -> bool {
    let mut names = HashSet::from([input]);
    for node in nodes {
        if !node.input.iter().any(|name| names.contains(name.as_str())) {
            continue;
        }
        match node.op_type.as_str() {
            "Conv" | "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "BatchNormalization"
            | "Pad" => {
                return true;
            }
            "Unsqueeze" | "Reshape" | "Squeeze" | "Flatten" | "Transpose" | "Gemm" | "MatMul" => return false,
            _ => names.extend(node.output.iter().map(String::as_str)),
        }
    }
    false
}
