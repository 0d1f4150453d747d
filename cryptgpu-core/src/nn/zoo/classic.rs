//! LeNet, AlexNet and VGG-16.

use super::sizes::Sizes;
use crate::device::PoolGeometry;
use crate::nn::{Graph, GraphBuilder, NnError, NodeId, Op};

/// What stands where the paper has ReLU, then average pooling.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// As in the paper's code.
    ReluThenAverage,
    /// As in Piranha.
    AverageThenRelu,
    /// As in the textbook.
    ReluThenMax,
}

impl Pooling {
    pub(super) fn op(self, window: PoolGeometry) -> Op {
        if self == Pooling::ReluThenMax { Op::MaxPool { window } } else { Op::AvgPool { window } }
    }
}

/// Three fully connected layers, the last of as many outputs as there are classes, after a pooling window of `pool` (0: none).
pub(super) struct Classifier {
    pub(super) pool: usize,
    /// Of the first two layers.
    pub(super) widths: [usize; 2],
    /// Whether there are ReLUs between the layers.
    pub(super) relu: bool,
}

/// ReLU and a pooling layer, in the order that `pooling` asks for.
pub(super) fn relu_and_pool(
    net: &mut GraphBuilder,
    [relu, pool]: [&str; 2],
    x: NodeId,
    window: PoolGeometry,
    pooling: Pooling,
) -> Result<NodeId, NnError> {
    if pooling == Pooling::AverageThenRelu {
        let x = net.add(pool, pooling.op(window), &[x])?;
        net.relu(relu, x)
    } else {
        let x = net.relu(relu, x)?;
        net.add(pool, pooling.op(window), &[x])
    }
}

pub(super) fn lenet(name: &str, pooling: Pooling, sizes: Sizes) -> Result<Graph, NnError> {
    let mut net = Graph::builder(name, sizes.input);
    let (five, two) = (PoolGeometry::square(5, 1, 0), PoolGeometry::square(2, 2, 0));
    let mut x = net.conv("conv1", net.input(), 20, five)?;
    x = relu_and_pool(&mut net, ["relu1", "pool1"], x, two, pooling)?;
    x = net.conv("conv2", x, 50, five)?;
    x = relu_and_pool(&mut net, ["relu2", "pool2"], x, two, pooling)?;
    x = net.flatten("flatten", x)?;
    x = net.linear("fc1", x, 500)?;
    x = net.relu("relu3", x)?;
    x = net.linear("fc2", x, sizes.classes)?;
    net.finish(x)
}

/// A step of a `features` stack: torchvision numbers layers, ReLUs and pools in one sequence.
enum Layer {
    Conv(usize, PoolGeometry),
    Pool(PoolGeometry),
}

/// The stack `features.0`, `features.1`, …: each convolution is followed by a ReLU (after the
/// pool if `pooling` says so).
fn features(net: &mut GraphBuilder, layers: &[Layer], pooling: Pooling) -> Result<NodeId, NnError> {
    let (mut x, mut index) = (net.input(), 0);
    for (position, layer) in layers.iter().enumerate() {
        match layer {
            Layer::Conv(out, window) => {
                x = net.conv(&format!("features.{index}"), x, *out, *window)?;
                let relu = format!("features.{}", index + 1);
                index += 2;
                if let Some(Layer::Pool(window)) = layers.get(position + 1) {
                    x = relu_and_pool(net, [&relu, &format!("features.{index}")], x, *window, pooling)?;
                    index += 1;
                } else {
                    x = net.relu(&relu, x)?;
                }
            }
            // Added with the convolution before it.
            Layer::Pool(_) => {}
        }
    }
    Ok(x)
}

/// The classifier, its layers called `classifier.{i}` for `i` in `indices` (torchvision counts
/// ReLUs and dropouts too).
fn classify(
    mut net: GraphBuilder,
    mut x: NodeId,
    classifier: &Classifier,
    classes: usize,
    indices: [usize; 3],
    pooling: Pooling,
) -> Result<Graph, NnError> {
    if classifier.pool > 0 {
        x = net.add("avgpool", pooling.op(PoolGeometry::square(classifier.pool, classifier.pool, 0)), &[x])?;
    }
    x = net.flatten("flatten", x)?;
    for (layer, (index, width)) in indices.into_iter().zip(classifier.widths.into_iter().chain([classes])).enumerate() {
        x = net.linear(&format!("classifier.{index}"), x, width)?;
        if classifier.relu && layer < 2 {
            x = net.relu(&format!("classifier.{}", index + 1), x)?;
        }
    }
    net.finish(x)
}

pub(super) fn alexnet(name: &str, sizes: Sizes, pooling: Pooling, classifier: Classifier) -> Result<Graph, NnError> {
    let square = PoolGeometry::square;
    let layers = [
        Layer::Conv(96, square(11, 4, 9)),
        Layer::Pool(square(3, 2, 0)),
        Layer::Conv(256, square(5, 1, 1)),
        Layer::Pool(square(2, 1, 0)),
        Layer::Conv(384, square(3, 1, 1)),
        Layer::Conv(384, square(3, 1, 1)),
        Layer::Conv(256, square(3, 1, 1)),
    ];
    let mut net = Graph::builder(name, sizes.input);
    let x = features(&mut net, &layers, pooling)?;
    classify(net, x, &classifier, sizes.classes, [1, 4, 6], pooling)
}

/// torchvision's AlexNet on 224² images, where its adaptive pooling to 6×6 is the identity; images of other sizes are not pooled
/// to 6×6.
pub(super) fn alexnet_torchvision(name: &str, sizes: Sizes) -> Result<Graph, NnError> {
    let square = PoolGeometry::square;
    let layers = [
        Layer::Conv(64, square(11, 4, 2)),
        Layer::Pool(square(3, 2, 0)),
        Layer::Conv(192, square(5, 1, 2)),
        Layer::Pool(square(3, 2, 0)),
        Layer::Conv(384, square(3, 1, 1)),
        Layer::Conv(256, square(3, 1, 1)),
        Layer::Conv(256, square(3, 1, 1)),
        Layer::Pool(square(3, 2, 0)),
    ];
    let mut net = Graph::builder(name, sizes.input);
    let x = features(&mut net, &layers, Pooling::ReluThenMax)?;
    let classifier = Classifier { pool: 0, widths: [4096; 2], relu: true };
    classify(net, x, &classifier, sizes.classes, [1, 4, 6], Pooling::ReluThenMax)
}

pub(super) fn vgg16(name: &str, sizes: Sizes, pooling: Pooling, classifier: Classifier) -> Result<Graph, NnError> {
    let mut layers = Vec::new();
    for (out, convolutions) in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)] {
        layers.extend((0..convolutions).map(|_| Layer::Conv(out, PoolGeometry::square(3, 1, 1))));
        layers.push(Layer::Pool(PoolGeometry::square(2, 2, 0)));
    }
    let mut net = Graph::builder(name, sizes.input);
    let x = features(&mut net, &layers, pooling)?;
    classify(net, x, &classifier, sizes.classes, [0, 3, 6], pooling)
}
