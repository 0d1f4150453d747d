//! Shapes of results, without the batch, from what an operation says and its inputs: whatever is inconsistent ends here, with the
//! node's name and every shape.

use super::NnError;
use super::graph::Op;
use crate::device::{ConvGeometry, GeometryError, PoolGeometry};

/// Axes of a value, without the batch.
const MOST_AXES: usize = 7;

/// Whether an array of `shape` is a batch of inputs, at least one: `[batch, channels, height, width]`, or the same with axes of one
/// element left out or put in, as rows of features, signals and images of one channel come. Their elements stand in the same order.
///
/// ```
/// use cryptgpu_core::nn::is_batch_of;
/// assert!(is_batch_of(&[8, 3, 32, 32], [3, 32, 32]) && is_batch_of(&[8, 28, 28], [1, 28, 28]) && is_batch_of(&[8, 30], [30, 1, 1]));
/// assert!(!is_batch_of(&[32, 32, 3], [3, 32, 32]) && !is_batch_of(&[0, 30], [30, 1, 1]));
/// ```
pub fn is_batch_of(shape: &[usize], input: [usize; 3]) -> bool {
    let large = |sizes: &[usize]| sizes.iter().copied().filter(|&size| size != 1).collect::<Vec<_>>();
    matches!(shape, [1..=usize::MAX, sizes @ ..] if large(sizes) == large(&input))
}

/// Shape of the result of `op`, without the batch.
pub(super) fn infer_shape(node: &str, op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>, NnError> {
    let wrong = |what: String| NnError::Shape {
        node: node.into(),
        op: op.kind(),
        inputs: inputs.iter().map(|shape| shape.to_vec()).collect(),
        what,
    };
    let (first, rest) = match (op, inputs) {
        (Op::Add | Op::Concat, [first, rest @ ..]) if !rest.is_empty() => (*first, rest),
        (Op::Add | Op::Concat, _) => return Err(wrong(format!("needs two or more inputs, has {}", inputs.len()))),
        (Op::Mul | Op::Div | Op::MatMul, [first, _]) => (*first, &inputs[1..]),
        (Op::Mul | Op::Div | Op::MatMul, _) => return Err(wrong(format!("needs two inputs, has {}", inputs.len()))),
        (Op::Input, _) => return Err(wrong("a graph has one input, which its builder makes".into())),
        (_, [first]) => (*first, &[][..]),
        _ => return Err(wrong(format!("needs one input, has {}", inputs.len()))),
    };
    let image = || <[usize; 3]>::try_from(first).map_err(|_| wrong("needs an image, [channels, height, width]".into()));
    // A value with more bytes than memory can have, or none, is a mistake in the sizes.
    let fits = |shape: &[usize]| {
        let elements = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        elements.is_some_and(|count| count > 0 && count <= isize::MAX as usize / 8)
    };
    if !inputs.iter().all(|shape| fits(shape)) {
        return Err(wrong("an input has no element, or more than memory can hold: every size is at least 1".into()));
    }
    let geometry =
        |source: GeometryError| NnError::Geometry { node: node.into(), op: op.kind(), input: first.into(), source };
    match op {
        Op::Conv2d { out_channels, window, groups, .. } => {
            let [in_channels, height, width] = image()?;
            let (out_channels, window, groups) = (*out_channels, *window, *groups);
            if out_channels == 0 {
                return Err(wrong("needs at least one output channel".into()));
            }
            let conv = ConvGeometry { batch: 1, in_channels, input: [height, width], out_channels, window, groups };
            let [height, width] = conv.output().map_err(geometry)?;
            Ok(vec![out_channels, height, width])
        }
        Op::ConvTranspose2d { out_channels, output, window, groups, .. } => {
            let [in_channels, height, width] = image()?;
            let (out_channels, output, window, groups) = (*out_channels, *output, *window, *groups);
            // The convolution whose gradient it is.
            let conv = ConvGeometry {
                batch: 1,
                in_channels: out_channels,
                input: output,
                out_channels: in_channels,
                window,
                groups,
            };
            if out_channels == 0 || output.contains(&0) {
                return Err(wrong("needs at least one output channel and pixel".into()));
            }
            match conv.output().map_err(geometry)? == [height, width] {
                true => Ok(vec![out_channels, output[0], output[1]]),
                false => Err(wrong(format!("its window does not make images of {output:?} of these"))),
            }
        }
        Op::Linear { out_features, .. } => match first {
            [_] if *out_features > 0 => Ok(vec![*out_features]),
            [rows, _] if *out_features > 0 => Ok(vec![*rows, *out_features]),
            [_] | [_, _] => Err(wrong("needs at least one output feature".into())),
            _ => Err(wrong("needs a vector, [features], or rows of such; flatten first".into())),
        },
        Op::MatMul => match (first, rest) {
            ([leading @ .., m, k], [[others @ .., inner, n]]) if leading == others && k == inner => {
                Ok([leading, &[*m, *n]].concat())
            }
            _ => Err(wrong("needs matrices with equal leading axes and inner dimensions".into())),
        },
        Op::Rearrange(rearrange) => {
            rearrange.shape(first).ok_or_else(|| wrong(format!("{rearrange:?} does not fit its axes")))
        }
        Op::BatchNorm2d { eps } if !(eps.is_finite() && *eps >= 0.0) => Err(wrong(format!("eps is {eps}"))),
        Op::BatchNorm2d { .. } => image().map(|image| image.to_vec()),
        Op::AvgPool { window } | Op::MaxPool { window } => {
            let [channels, height, width] = image()?;
            let out = window.output([height, width]).map_err(geometry)?;
            if matches!(op, Op::MaxPool { .. })
                && (0..2).any(|axis| sees_only_padding(window, axis, [height, width], out))
            {
                return Err(wrong("a window that is all padding has no maximum: use less padding".into()));
            }
            Ok(vec![channels, out[0], out[1]])
        }
        Op::GlobalAvgPool => image().map(|[channels, ..]| vec![channels, 1, 1]),
        Op::Add | Op::Div if rest.iter().any(|shape| *shape != first) => Err(wrong("the shapes differ".into())),
        Op::Mul
            if !rest.iter().all(|shape| {
                *shape == first
                    || (first.len() == 3 && **shape == [first[0], 1, 1])
                    || (first.len() == 3 && **shape == [first[0]])
            }) =>
        {
            Err(wrong("the second must have the shape of the first, or one element for each of its channels".into()))
        }
        Op::Concat if rest.iter().any(|shape| shape.len() != first.len() || shape[1..] != first[1..]) => {
            Err(wrong("all but the channels must be the same".into()))
        }
        Op::Concat => {
            let channels = inputs.iter().try_fold(0usize, |sum, shape| sum.checked_add(*shape.first()?));
            let Some(channels) = channels else {
                return Err(wrong("a vector or an image is joined with neither".into()));
            };
            Ok([&[channels], &first[1..]].concat())
        }
        Op::Upsample { factors: [down, right] } => {
            let [channels, height, width] = image()?;
            let sizes = (height.checked_mul(*down), width.checked_mul(*right));
            match sizes {
                (Some(height @ 1..), Some(width @ 1..)) => Ok(vec![channels, height, width]),
                _ => Err(wrong(format!("its factors are {down} and {right}"))),
            }
        }
        Op::Flatten => Ok(vec![first.iter().product()]),
        Op::Reshape { shape } => {
            let elements = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
            match (1..=MOST_AXES).contains(&shape.len()) && elements == Some(first.iter().product()) {
                true => Ok(shape.clone()),
                false => Err(wrong(format!("{shape:?} has not as many elements, or more than {MOST_AXES} axes"))),
            }
        }
        Op::Rows(_) if first.is_empty() => Err(wrong("needs rows".into())),
        Op::Input
        | Op::Relu
        | Op::Relu6
        | Op::PiecewiseLinear(_)
        | Op::Smooth(_)
        | Op::Rows(_)
        | Op::Bias
        | Op::Add
        | Op::Div
        | Op::Mul => Ok(first.to_vec()),
    }
}

/// Whether along `axis` some window of a max-pool sees nothing but padding.
fn sees_only_padding(window: &PoolGeometry, axis: usize, input: [usize; 2], out: [usize; 2]) -> bool {
    let (before, end) = (window.padding[2 * axis], window.padding[2 * axis] + input[axis]);
    let (stride, dilation) = (window.stride[axis], window.dilation[axis]);
    // One that begins in the image sees its first tap; of the others, those that begin behind it see nothing.
    let mut before_it = (0..out[axis]).map(|position| position * stride).take_while(|&start| start < before);
    (out[axis] - 1) * stride >= end
        || before_it.any(|start| {
            let tap = (before - start).div_ceil(dilation);
            tap >= window.kernel[axis] || start + tap * dilation >= end
        })
}
