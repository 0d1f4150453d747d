//! MobileNet-V2 with torchvision's names: depthwise convolutions, ReLU6, linear bottlenecks.

use super::sizes::Sizes;
use crate::device::PoolGeometry;
use crate::nn::{Graph, GraphBuilder, NnError, NodeId, Op};

/// How 3×3 convolutions are padded.
#[derive(Clone, Copy)]
pub(super) enum Padding {
    /// One on each side (torchvision).
    Symmetric,
    /// TensorFlow's "SAME": in all just enough for ⌈size / stride⌉ outputs, the odd one at the bottom and right.
    Same,
}

impl Padding {
    pub(super) fn window(self, kernel: usize, stride: usize, input: &[usize]) -> PoolGeometry {
        match self {
            Padding::Symmetric => PoolGeometry::square(kernel, stride, kernel / 2),
            Padding::Same => {
                let mut window = PoolGeometry::square(kernel, stride, 0);
                for axis in 0..2 {
                    let size = input[1 + axis];
                    let total = ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
                    (window.padding[2 * axis], window.padding[2 * axis + 1]) = (total / 2, total - total / 2);
                }
                window
            }
        }
    }
}

/// Convolution `{name}.0`, batch normalisation `{name}.1`, ReLU6 `{name}.2`.
fn conv_bn_relu6(
    net: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    out: usize,
    window: PoolGeometry,
    groups: usize,
) -> Result<NodeId, NnError> {
    let x = net.conv_bn([&format!("{name}.0"), &format!("{name}.1")], x, out, window, groups)?;
    net.add(&format!("{name}.2"), Op::Relu6, &[x])
}

/// An inverted residual: expansion 1×1, depthwise 3×3, projection 1×1 without activation.
fn inverted_residual(
    net: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    [expansion, out, stride]: [usize; 3],
    padding: Padding,
) -> Result<NodeId, NnError> {
    let channels = net.shape(x)[0];
    let hidden = channels * expansion;
    let (mut y, mut index) = (x, 0);
    if expansion != 1 {
        y = conv_bn_relu6(net, &format!("{name}.conv.0"), y, hidden, PoolGeometry::square(1, 1, 0), 1)?;
        index = 1;
    }
    let window = padding.window(3, stride, net.shape(y));
    y = conv_bn_relu6(net, &format!("{name}.conv.{index}"), y, hidden, window, hidden)?;
    let projection = [format!("{name}.conv.{}", index + 1), format!("{name}.conv.{}", index + 2)];
    y = net.conv_bn([&projection[0], &projection[1]], y, out, PoolGeometry::square(1, 1, 0), 1)?;
    if stride == 1 && channels == out { net.add(&format!("{name}.add"), Op::Add, &[x, y]) } else { Ok(y) }
}

pub(super) fn mobilenet_v2(name: &str, sizes: Sizes, padding: Padding) -> Result<Graph, NnError> {
    let mut net = Graph::builder(name, sizes.input);
    let input = net.input();
    let window = padding.window(3, 2, net.shape(input));
    let mut x = conv_bn_relu6(&mut net, "features.0", input, 32, window, 1)?;
    let mut index = 1;
    // Expansion, output channels, repeats, stride of the first (Sandler et al., CVPR 2018, Table 2).
    let stages =
        [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];
    for [expansion, out, repeats, stride] in stages {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            x = inverted_residual(&mut net, &format!("features.{index}"), x, [expansion, out, stride], padding)?;
            index += 1;
        }
    }
    x = conv_bn_relu6(&mut net, &format!("features.{index}"), x, 1280, PoolGeometry::square(1, 1, 0), 1)?;
    x = net.add("avgpool", Op::GlobalAvgPool, &[x])?;
    x = net.flatten("flatten", x)?;
    x = net.linear("classifier.1", x, sizes.classes)?;
    net.finish(x)
}
