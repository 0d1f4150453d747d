//! Kernels without the rows and columns that only ever see padding: of a 3 × 3 kernel on a plane of one pixel the middle is left.
//! The rest of a weight is multiplied with zeros alone, so neither inference nor training computes with it. That takes three
//! quarters of AlexNet's weights on images of CIFAR-10. Which part it is follows from the graph, which is public.

use super::{Graph, NnError, Node, NodeId, Op};
use crate::device::{Part, SeenKernel};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, Axis, Slice};
use std::borrow::Cow;

/// The graph with kernels of which every row and column sees an input: the same function.
///
/// # Errors
/// As [`Graph::builder`]'s, should the rewritten graph be none.
pub(super) fn graph(whole: &Graph) -> Result<Cow<'_, Graph>, NnError> {
    if whole.nodes().iter().all(|node| kernel(whole, node).is_none()) {
        return Ok(Cow::Borrowed(whole));
    }
    let mut seen = Graph::builder(whole.name(), whole.input_shape());
    let mut renamed: Vec<NodeId> = vec![seen.input()];
    for node in whole.nodes().iter().skip(1) {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|id| renamed[id.index()]).collect();
        let op = match (node.op.clone(), kernel(whole, node)) {
            (Op::Conv2d { out_channels, groups, bias, .. }, Some(SeenKernel { window, .. })) => {
                Op::Conv2d { out_channels, window, groups, bias }
            }
            (op, _) => op,
        };
        renamed.push(seen.add(&node.name, op, &inputs)?);
    }
    Ok(Cow::Owned(seen.finish(renamed[whole.output().index()])?))
}

/// The part of a convolution's kernels that sees its input, where that is not all of them.
fn kernel(graph: &Graph, node: &Node) -> Option<SeenKernel> {
    let (Op::Conv2d { window, .. }, &[_, height, width]) = (&node.op, graph.input_of(node)) else { return None };
    window.over([height, width]).ok()?.seen()
}

/// The rows and columns of a convolution's weight that make up that part.
pub(super) fn parts(graph: &Graph, node: &Node) -> Option<[Part; 2]> {
    let SeenKernel { window, first } = kernel(graph, node)?;
    Some([0, 1].map(|side| Part { axis: 2 + side, start: first[side], step: 1, count: window.kernel[side] }))
}

/// The parts of the tensor called `name`, if it is the weight of such a convolution.
pub(super) fn parts_of(graph: &Graph, name: &str) -> Option<[Part; 2]> {
    let node = graph.nodes().iter().find(|node| name.strip_suffix(".weight") == Some(&node.name))?;
    parts(graph, node)
}

/// What else there is of a weight of this shape: rows before and after these parts, and beside them columns before and after.
pub(super) fn rest(shape: &[usize], [rows, columns]: &[Part; 2]) -> Vec<[Part; 2]> {
    let &[_, _, height, width] = shape else { return vec![] };
    let around = |part: &Part, size: usize| {
        let end = part.start + part.count;
        [Part { start: 0, count: part.start, ..*part }, Part { start: end, count: size - end, ..*part }]
    };
    let above = around(rows, height).map(|rows| [rows, Part { start: 0, count: width, ..*columns }]);
    let beside = around(columns, width).map(|columns| [*rows, columns]);
    above.into_iter().chain(beside).filter(|parts| parts.iter().all(|part| part.count > 0)).collect()
}

/// These parts of a weight.
pub(super) fn view<'a>(weight: &'a ArrayD<f32>, parts: &[Part; 2]) -> ArrayViewD<'a, f32> {
    weight.slice_each_axis(|axis| slice(parts, axis.axis))
}

/// The whole weight of this shape of which these parts are `seen`, and all others, one after the other as [`rest`] has them, `unseen`.
pub(super) fn whole(shape: &[usize], parts: &[Part; 2], seen: &ArrayD<f32>, unseen: &ArrayD<f32>) -> ArrayD<f32> {
    let (mut whole, mut unseen) = (ArrayD::zeros(shape), unseen.iter());
    view_mut(&mut whole, parts).assign(seen);
    for parts in rest(shape, parts) {
        view_mut(&mut whole, &parts).iter_mut().zip(unseen.by_ref()).for_each(|(to, value)| *to = *value);
    }
    whole
}

/// These parts of a weight, to be written.
fn view_mut<'a>(weight: &'a mut ArrayD<f32>, parts: &[Part; 2]) -> ArrayViewMutD<'a, f32> {
    weight.slice_each_axis_mut(|axis| slice(parts, axis.axis))
}

fn slice(parts: &[Part; 2], axis: Axis) -> Slice {
    let part = parts.iter().find(|part| part.axis == axis.index());
    part.map_or(Slice::from(..), |part| Slice::from(part.start..part.start + part.count))
}
