//! Which function a network computes, in words: its pooling, and the order of pooling and ReLU, which weights do not
//! tell. The same file of weights fits every network with the same parameters.

use super::sizes::split;
use super::{by_name, names};
use crate::nn::{Graph, Op};

/// The pooling of a network and where it stands beside ReLU, told from the graph itself.
///
/// ```
/// use cryptgpu_core::nn::zoo;
/// assert_eq!(zoo::pooling(&zoo::by_name("lenet")?), "average pooling after ReLU");
/// assert_eq!(zoo::pooling(&zoo::by_name("lenet-relu-after-pool")?), "average pooling before ReLU");
/// assert_eq!(zoo::pooling(&zoo::by_name("resnet50-maxpool")?), "max-pooling after ReLU");
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
pub fn pooling(graph: &Graph) -> String {
    let consumers = graph.consumers();
    let is_relu = |op: &Op| matches!(op, Op::Relu | Op::Relu6);
    let mut kinds: Vec<String> = Vec::new();
    for (node, consumers) in graph.nodes().iter().zip(&consumers) {
        let kind = match node.op {
            Op::MaxPool { .. } => "max-pooling",
            Op::AvgPool { .. } => "average pooling",
            _ => continue,
        };
        let after = node.inputs.iter().any(|&input| is_relu(&graph.node(input).op));
        let before = consumers.iter().any(|&next| is_relu(&graph.node(next).op));
        let kind = match (after, before) {
            (true, _) => format!("{kind} after ReLU"),
            (false, true) => format!("{kind} before ReLU"),
            (false, false) => kind.to_owned(),
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() { "no pooling windows".to_owned() } else { kinds.join(", ") }
}

/// The networks of the zoo, besides this one, that take the same tensors: the same file of weights fits them, and they
/// are other functions.
pub fn with_the_same_weights(graph: &Graph) -> Vec<String> {
    let parameters = |graph: &Graph| {
        graph.parameters().into_iter().map(|parameter| (parameter.name, parameter.shape)).collect::<Vec<_>>()
    };
    let (own, (_, sizes)) = (parameters(graph), split(graph.name()));
    let same = |name: &String| {
        name != graph.name()
            && by_name(name).is_ok_and(|other| other.input_shape() == graph.input_shape() && parameters(&other) == own)
    };
    names().into_iter().map(|name| name + sizes).filter(same).collect()
}

/// The network of which a file with torchvision's names holds the weights, if this network takes such a file: the one
/// with max-pooling, as torchvision and textbooks have it; MobileNet-V2 with symmetric padding.
pub fn meant_by_torchvision(graph: &Graph) -> Option<String> {
    let mut all = with_the_same_weights(graph);
    all.push(graph.name().to_owned());
    let endings = ["-torchvision", "-maxpool", "mobilenet-v2"];
    let is = |name: &str, ending: &str| split(name).0.ends_with(ending);
    endings.into_iter().find_map(|ending| all.iter().find(|name| is(name, ending)).cloned())
}

/// Which function runs when weights come from a file, in one line.
///
/// ```
/// use cryptgpu_core::nn::zoo;
/// let line = zoo::function(&zoo::by_name("resnet50")?);
/// assert!(line.starts_with("average pooling after ReLU; the same weights fit resnet50-relu-after-pool, resnet50-maxpool"));
/// assert!(line.ends_with("a file with torchvision's names means resnet50-maxpool"));
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
pub fn function(graph: &Graph) -> String {
    let mut line = pooling(graph);
    let others = with_the_same_weights(graph);
    if !others.is_empty() {
        line += &format!("; the same weights fit {}, which are other functions", others.join(", "));
    }
    match meant_by_torchvision(graph) {
        Some(meant) if meant == graph.name() => line += "; a file with torchvision's names means this one",
        Some(meant) => line += &format!("; a file with torchvision's names means {meant}"),
        None => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_weights_fits_several_functions_and_torchvisions_is_named() {
        let of = |name: &str| by_name(name).unwrap();
        assert_eq!(with_the_same_weights(&of("lenet")), ["lenet-relu-after-pool", "lenet-maxpool"]);
        for (name, meant) in [
            ("lenet", "lenet-maxpool"),
            ("resnet18", "resnet18-maxpool"),
            ("resnet152-relu-after-pool", "resnet152-maxpool"),
            ("resnet101-maxpool", "resnet101-maxpool"),
            ("alexnet-torchvision", "alexnet-torchvision"),
            ("mobilenet-v2-same", "mobilenet-v2"),
            ("resnet18:classes=2:input=3x96x96", "resnet18-maxpool:classes=2:input=3x96x96"),
        ] {
            assert_eq!(meant_by_torchvision(&of(name)).as_deref(), Some(meant), "{name}");
        }
        assert_eq!(pooling(&of("mobilenet-v2")), "no pooling windows");
    }
}
