//! ResNets with torchvision's structure and names, and the small ones for images of 32×32.

use super::classic::{Pooling, relu_and_pool};
use super::sizes::Sizes;
use crate::device::PoolGeometry;
use crate::nn::{Graph, GraphBuilder, NnError, NodeId, Op};

/// The pooling layer after the first convolution.
pub(super) struct Stem {
    pooling: Pooling,
    window: PoolGeometry,
}

impl From<Pooling> for Stem {
    /// The paper's average pool of 3×3 without padding (55×55), or torchvision's max-pool with padding 1 (56×56).
    fn from(pooling: Pooling) -> Self {
        let padding = usize::from(pooling == Pooling::ReluThenMax);
        Stem { pooling, window: PoolGeometry::square(3, 2, padding) }
    }
}

/// The residual block.
#[derive(Clone, Copy)]
pub(super) enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 (which carries the stride), 1×1 to four times the width.
    Bottleneck,
}

/// One block on `x`: the main path, a projection where the shape changes, their sum, a ReLU.
fn block(
    net: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    width: usize,
    stride: usize,
    kind: Block,
) -> Result<NodeId, NnError> {
    let window = PoolGeometry::square;
    let (layers, out) = match kind {
        Block::Basic => (vec![(width, window(3, stride, 1)), (width, window(3, 1, 1))], width),
        Block::Bottleneck => {
            let out = 4 * width;
            (vec![(width, window(1, 1, 0)), (width, window(3, stride, 1)), (out, window(1, 1, 0))], out)
        }
    };
    let mut main = x;
    for (index, &(channels, window)) in layers.iter().enumerate() {
        let number = index + 1;
        let names = [format!("{name}.conv{number}"), format!("{name}.bn{number}")];
        main = net.conv_bn([&names[0], &names[1]], main, channels, window, 1)?;
        if number < layers.len() {
            main = net.relu(&format!("{name}.relu{number}"), main)?;
        }
    }
    let mut skip = x;
    if stride != 1 || net.shape(x)[0] != out {
        let names = [format!("{name}.downsample.0"), format!("{name}.downsample.1")];
        skip = net.conv_bn([&names[0], &names[1]], x, out, window(1, stride, 0), 1)?;
    }
    let sum = net.add(&format!("{name}.add"), Op::Add, &[main, skip])?;
    net.relu(&format!("{name}.relu"), sum)
}

/// The network of He et al. (2016, section 4.2) for CIFAR-10: 6n + 2 layers, a first convolution and three stages of n blocks
/// with 16, 32 and 64 channels. Where the shape changes, a 1×1 convolution projects, as torchvision's blocks do; theirs pads
/// with zeros there.
pub(super) fn small(name: &str, sizes: Sizes, blocks: usize) -> Result<Graph, NnError> {
    let mut net = Graph::builder(name, sizes.input);
    let mut x = net.conv_bn(["conv1", "bn1"], net.input(), 16, PoolGeometry::square(3, 1, 1), 1)?;
    x = net.relu("relu", x)?;
    for stage in 0..3 {
        for index in 0..blocks {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            x = block(&mut net, &format!("layer{}.{index}", stage + 1), x, 16 << stage, stride, Block::Basic)?;
        }
    }
    classified(net, x, sizes.classes)
}

/// The average over the image, and a fully connected layer.
fn classified(mut net: GraphBuilder, x: NodeId, classes: usize) -> Result<Graph, NnError> {
    let pool = net.add("avgpool", Op::GlobalAvgPool, &[x])?;
    let flat = net.flatten("flatten", pool)?;
    let scores = net.linear("fc", flat, classes)?;
    net.finish(scores)
}

pub(super) fn resnet(name: &str, sizes: Sizes, depths: [usize; 4], kind: Block, stem: Stem) -> Result<Graph, NnError> {
    let mut net = Graph::builder(name, sizes.input);
    let mut x = net.conv_bn(["conv1", "bn1"], net.input(), 64, PoolGeometry::square(7, 2, 3), 1)?;
    let pool = if stem.pooling == Pooling::ReluThenMax { "maxpool" } else { "stempool" };
    x = relu_and_pool(&mut net, ["relu", pool], x, stem.window, stem.pooling)?;
    for (stage, depth) in depths.into_iter().enumerate() {
        for index in 0..depth {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            x = block(&mut net, &format!("layer{}.{index}", stage + 1), x, 64 << stage, stride, kind)?;
        }
    }
    classified(net, x, sizes.classes)
}
