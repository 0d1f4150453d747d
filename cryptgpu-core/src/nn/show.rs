//! How networks, their sizes and the room of their values show themselves. Weights show names and shapes, no values.

use super::count::Counts;
use super::memory::InferenceMemory;
use super::range::{Headroom, Verdict};
use super::{Graph, Op, Weights, count};
use crate::show::{Cell, PlainTable, Show, bytes_text, number_text, show_as_table};

impl Graph {
    /// A row for each node: its name, what it computes, from what, the shape of its result, and its parameters.
    pub fn table(&self) -> PlainTable {
        let parameters = self.parameters();
        let row = |(index, node): (usize, &super::Node)| -> [Cell; 5] {
            let inputs: Vec<&str> = node.inputs.iter().map(|&input| self.node(input).name.as_str()).collect();
            let own = parameters.iter().filter(|parameter| parameter.node.index() == index);
            let elements: usize = own.map(|parameter| parameter.shape.iter().product::<usize>()).sum();
            [
                node.name.as_str().into(),
                node.op.kind().into(),
                inputs.join(", ").into(),
                shape_text(&node.shape).into(),
                (elements > 0).then_some(elements).into(),
            ]
        };
        PlainTable::new(["layer", "operation", "of", "shape", "parameters"])
            .titled(format!("{}: {}", self.name(), count::count(self).text()))
            .rows(self.nodes().iter().enumerate().map(row))
    }

    /// The operations of the network, without its input: for a line about it.
    pub(crate) fn summary(&self) -> String {
        let layers = self.nodes().iter().filter(|node| node.op != Op::Input).count();
        let (input, output) = (shape_text(&self.input_shape()), shape_text(self.output_shape()));
        format!("{}: {input} to {output}, {layers} layers, {} parameters", self.name(), count::count(self).parameters)
    }
}

/// `1×28×28`.
fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

impl Show for Graph {
    fn text(&self) -> String {
        self.table().text()
    }

    fn html(&self) -> String {
        self.table().html()
    }
}

impl Show for Counts {
    fn text(&self) -> String {
        let Counts { relus, macs, parameters, .. } = self;
        format!("{parameters} parameters; for one image {macs} multiply-accumulates, {relus} ReLUs")
    }
}

impl Show for InferenceMemory {
    fn text(&self) -> String {
        let (weights, activations) = (bytes_text(self.weights), bytes_text(self.activations));
        format!("{} at each party: {weights} of weights, {activations} at the widest step", bytes_text(self.total()))
    }
}

impl Show for Headroom {
    fn text(&self) -> String {
        let bits = |bits: f64| number_text(bits, 3);
        let seen = self.bits_seen().map_or_else(String::new, |room| format!(", {} bits of room on images", bits(room)));
        format!("{}: {} bits of room by the bound{seen}", self.node, bits(self.bits_by_bound()))
    }
}

impl Show for [Headroom] {
    fn text(&self) -> String {
        headroom_table(self).text()
    }

    fn html(&self) -> String {
        headroom_table(self).html()
    }
}

/// The room of each step, as a table: a step without room computes something else.
pub fn headroom_table(room: &[Headroom]) -> PlainTable {
    let row = |step: &Headroom| -> [Cell; 7] {
        let verdict = match step.verdict() {
            Verdict::Proved => "proved",
            Verdict::Open if step.seen.is_some() => "fits on the images",
            Verdict::Open => "not proved",
            Verdict::TooLarge => "TOO LARGE",
        };
        let bits = |bits: f64| Cell::from((10.0 * bits).round() / 10.0);
        [
            step.node.as_str().into(),
            step.kind.into(),
            step.bound.into(),
            step.seen.into(),
            bits(step.bits_by_bound()),
            step.bits_seen().map_or_else(|| None::<f64>.into(), bits),
            verdict.into(),
        ]
    };
    let columns =
        ["layer", "operation", "largest by bound", "largest seen", "bits left by bound", "bits left seen", ""];
    PlainTable::new(columns).rows(room.iter().map(row)).whole().note(
        "Bits left: between the largest value and what the step computes rightly. A value without room comes out as another \
         value, and no party can see it: scale the weights or the input, or use fewer fraction bits. The bound holds for \
         every image of the declared range, and is often far above what occurs in deep networks.",
    )
}

impl Weights {
    /// A row for each tensor: its name, shape and elements. Values are not shown.
    pub fn table(&self) -> PlainTable {
        let row = |(name, shape): (&str, &[usize])| -> [Cell; 3] {
            [name.into(), shape_text(shape).into(), shape.iter().product::<usize>().into()]
        };
        PlainTable::new(["tensor", "shape", "elements"])
            .rows(self.iter().map(|(name, tensor)| row((name, tensor.shape()))))
    }
}

show_as_table!(Weights);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{range, zoo};

    #[test]
    fn a_network_is_a_row_for_each_layer() {
        let lenet = zoo::by_name("lenet").unwrap();
        let text = lenet.text();
        assert!(text.starts_with("lenet: 431080 parameters; for one image "), "{text}");
        assert_eq!(text.lines().count(), 2 + lenet.nodes().len(), "{text}");
        assert!(lenet.html().contains("<td>conv1</td><td>conv2d</td><td>input</td>"), "{}", lenet.html());
        assert!(lenet.summary().starts_with("lenet: 1×28×28 to 10, "), "{}", lenet.summary());
    }

    #[test]
    fn weights_show_no_value_and_headroom_says_where_there_is_none() {
        let lenet = zoo::by_name("lenet").unwrap();
        let weights = Weights::seeded(&lenet, 1);
        assert!(weights.text().contains("conv1.weight  20×1×5×5"), "{}", weights.text());
        let image = ndarray::ArrayD::from_elem(vec![1, 1, 28, 28], 1e9);
        let room = range::headroom(&lenet, &weights, Some(image.view()), &Default::default()).unwrap();
        assert!(room.text().contains("TOO LARGE") && room.html().contains("bits left by bound"), "{}", room.text());
        assert!(room[0].text().contains("bits of room"), "{}", room[0].text());
    }
}
