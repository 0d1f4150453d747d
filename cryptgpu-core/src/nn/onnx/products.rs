//! Convolutions, fully connected layers and pools.

use super::super::Op;
use super::attributes::Attributes;
use super::axes::Axes;
use super::constant;
use super::import::{Failure, Import};
use super::layers::{Kind, Order, Value};
use crate::device::PoolGeometry;
use ndarray::{Array2, ArrayD, Axis, Ix2};

type Result<T> = std::result::Result<T, Failure>;

/// Conv, with its bias.
pub(super) fn conv<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let weight = import.weights(node, 1)?;
    let (signal, [out_channels, _, height, width]) = match weight.shape()[..] {
        [out, into, width] => (true, [out, into, 1, width]),
        [out, into, height, width] => (false, [out, into, height, width]),
        _ => {
            let rank = weight.ndim();
            return Err(
                format!("its weight has {rank} axes: only convolutions of images and signals are computed").into()
            );
        }
    };
    let x = image(import, node, x, signal)?;
    let kernel = [height, width];
    if node.ints("kernel_shape").is_some() && node.pair("kernel_shape", signal)? != kernel {
        return Err("its kernel_shape is not that of its weight".to_owned().into());
    }
    let groups = usize::try_from(node.int("group").unwrap_or(1)).map_err(|_| "its group is negative".to_owned())?;
    let window = window(node, kernel, &x, import)?.0;
    let in_channels = x.dims[0];
    if groups == 0 || in_channels % groups != 0 || weight.shape()[1] != in_channels / groups {
        let shape = weight.shape();
        return Err(
            format!("a weight of shape {shape:?} does not fit {in_channels} channels in {groups} groups").into()
        );
    }
    let bias = import.optional_weights(node, 2)?.map(|bias| vector(&bias, out_channels, "bias")).transpose()?;
    let op = Op::Conv2d { out_channels, window, groups, bias: false };
    let mut weight = weight.as_ref().clone();
    if signal {
        weight = weight.insert_axis(Axis(2));
    }
    let y = import.layer(node, Some(1), Kind::Product { op, weight, bias }, &[&x])?;
    Ok(y.into_signal(signal))
}

/// ConvTranspose, with its bias.
pub(super) fn conv_transpose<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let weight = import.weights(node, 1)?;
    let (signal, [in_channels, each, height, width]) = match weight.shape()[..] {
        [into, out, width] => (true, [into, out, 1, width]),
        [into, out, height, width] => (false, [into, out, height, width]),
        _ => return Err("only transposed convolutions of images and signals are computed".to_owned().into()),
    };
    let x = image(import, node, x, signal)?;
    let groups = usize::try_from(node.int("group").unwrap_or(1)).map_err(|_| "its group is negative".to_owned())?;
    let out_channels = each.saturating_mul(groups);
    if groups == 0 || x.dims[0] != in_channels || in_channels % groups != 0 {
        let (shape, channels) = (weight.shape(), x.dims[0]);
        return Err(format!("a weight of shape {shape:?} does not fit {channels} channels in {groups} groups").into());
    }
    let (window, output) = transposed_window(node, [height, width], &x, import)?;
    let bias = import.optional_weights(node, 2)?.map(|bias| vector(&bias, out_channels, "bias")).transpose()?;
    let op = Op::ConvTranspose2d { out_channels, output, window, groups, bias: false };
    let mut weight = weight.as_ref().clone();
    if signal {
        weight = weight.insert_axis(Axis(2));
    }
    let y = import.layer(node, Some(1), Kind::Product { op, weight, bias }, &[&x])?;
    Ok(y.into_signal(signal))
}

/// The window of the convolution whose gradient a transposed one is, and the size of its result.
fn transposed_window(
    node: Attributes<'_>,
    kernel: [usize; 2],
    x: &Value,
    import: &Import<'_>,
) -> std::result::Result<(PoolGeometry, [usize; 2]), String> {
    let &[_, height, width] = import.layers.shape(x.layer) else { return Err("its input is no image".into()) };
    let signal = x.dims.len() == 2;
    let (stride, dilation) = (node.pair("strides", signal)?, node.pair("dilations", signal)?);
    let most = 1 << 20;
    if kernel.iter().chain(&stride).chain(&dilation).any(|&size| size == 0 || size > most) {
        return Err("a size of its window is zero or too large".into());
    }
    let more = if node.ints("output_padding").is_some() { node.pair("output_padding", signal)? } else { [0; 2] };
    let mut more = if signal { [0, more[1]] } else { more };
    let pads = node.ints("pads").map_or_else(|| vec![0; if signal { 2 } else { 4 }], <[i64]>::to_vec);
    let sizes: Option<Vec<usize>> = pads.iter().map(|&pad| usize::try_from(pad).ok()).collect();
    let mut padding = match sizes.as_deref() {
        Some(&[top, left, bottom, right]) if !signal => [top, bottom, left, right],
        Some(&[left, right]) if signal => [0, 0, left, right],
        _ => return Err(format!("its pads {pads:?} are not a size of zero or more for each side")),
    };
    let asked = if node.ints("output_shape").is_some() { Some(node.pair("output_shape", signal)?) } else { None };
    let automatic = node.text("auto_pad").unwrap_or("NOTSET");
    let mut output = [0; 2];
    for (axis, size) in [height, width].into_iter().enumerate() {
        let whole = stride[axis] * (size - 1) + dilation[axis] * (kernel[axis] - 1) + 1;
        if signal && axis == 0 {
            output[0] = 1;
            continue;
        }
        let wanted = match (asked, automatic) {
            (Some(asked), _) => Some(asked[axis]),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some(stride[axis] * size),
            (None, "NOTSET" | "" | "VALID") => None,
            (None, other) => return Err(format!("its auto_pad is `{}`", super::import::harmless(other))),
        };
        if let Some(wanted) = wanted {
            // What is too much goes away on both sides, what is missing is added behind.
            let all = (whole + more[axis]).saturating_sub(wanted);
            more[axis] = wanted.saturating_sub(whole);
            let upper = automatic != "SAME_UPPER";
            let (before, after) = if upper { (all - all / 2, all / 2) } else { (all / 2, all - all / 2) };
            padding[2 * axis..2 * axis + 2].copy_from_slice(&[before, after]);
        }
        if more[axis] >= stride[axis].max(dilation[axis]) {
            return Err("its output_padding is not smaller than its stride or dilation".into());
        }
        let pads = padding[2 * axis] + padding[2 * axis + 1];
        output[axis] = (whole + more[axis]).checked_sub(pads).filter(|&size| size > 0).ok_or("it has no result")?;
    }
    Ok((PoolGeometry { kernel, stride, padding, dilation }, output))
}

/// Gemm: α·x·B + β·C.
pub(super) fn gemm<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    if node.flag("transA") {
        return Err("it transposes its input: transpose the weight instead".to_owned().into());
    }
    let weight = import.weights(node, 1)?;
    let (alpha, beta) = (node.float("alpha").unwrap_or(1.0), node.float("beta").unwrap_or(1.0));
    let mut weight = matrix(&weight, !node.flag("transB"))?;
    if alpha != 1.0 {
        weight.mapv_inplace(|value| (f64::from(value) * alpha) as f32);
    }
    let bias = import.optional_weights(node, 2)?.map(|bias| vector(&bias, weight.nrows(), "bias")).transpose()?;
    let bias = bias.map(|bias| bias.into_iter().map(|value| value * beta).collect());
    linear(import, node, weight, bias)
}

/// MatMul by a constant; a bias that is added behind it joins it later.
pub(super) fn matmul<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    if import.constant(node, 1)?.is_none() && import.constant(node, 0)?.is_none() {
        return super::sequences::matmul(import, node);
    }
    if import.constant(node, 0)?.is_some() {
        return Err("its first factor is constant: write it as x · W, with the constant behind".to_owned().into());
    }
    let weight = import.weights(node, 1)?;
    if weight.ndim() != 1 {
        return linear(import, node, matrix(&weight, true)?, None);
    }
    // A vector: one number of each row.
    let column = weight.as_ref().clone().insert_axis(Axis(1));
    let y = linear(import, node, matrix(&column, true)?, None)?;
    let axes = Axes::of(&y);
    let last = axes.sizes.len() - 1;
    axes.squeezed(&[last]).map(|axes| axes.value(y.layer)).ok_or_else(|| "it multiplies the batch".to_owned().into())
}

/// A fully connected layer, `[out, in]`, of a vector or of rows.
pub(super) fn linear<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    mut weight: Array2<f32>,
    bias: Option<Vec<f64>>,
) -> Result<Value> {
    let x = import.value(node, 0)?;
    let features = x.dims.last().copied().unwrap_or(0);
    if weight.ncols() != features {
        return Err(format!("its weight is for {} features, and its input has {features}", weight.ncols()).into());
    }
    if x.dims.len() > 1 {
        return linear_of_rows(import, node, &x, weight, bias);
    }
    if let Order::FlatChannelsLast([channels, height, width]) = x.order {
        // Column (c, h, w) here is column (h, w, c) there.
        let there = |at: usize| (at % (height * width)) * channels + at / (height * width);
        let columns: Vec<usize> = (0..channels * height * width).map(there).collect();
        weight = weight.select(Axis(1), &columns);
    }
    let op = Op::Linear { out_features: weight.nrows(), bias: false };
    let x = import.shaped(node, &Value { order: Order::Same, ..x }, vec![features])?;
    import.layer(node, Some(1), Kind::Product { op, weight: weight.into_dyn(), bias }, &[&x])
}

/// The same of each row of features, whatever axes the file has before those.
pub(super) fn linear_of_rows<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    weight: Array2<f32>,
    bias: Option<Vec<f64>>,
) -> Result<Value> {
    let (x, axes) = import.plain(node, x)?;
    let last = axes.sizes.len() - 1;
    if axes.batch == Some(last) {
        return Err("it multiplies the batch".to_owned().into());
    }
    let rows: usize = x.dims[..x.dims.len() - 1].iter().product();
    let x = import.shaped(node, &x, vec![rows, weight.ncols()])?;
    let out = weight.nrows();
    let op = Op::Linear { out_features: out, bias: false };
    let y = import.layer(node, Some(1), Kind::Product { op, weight: weight.into_dyn(), bias }, &[&x])?;
    Ok(axes.with(last, out).value(y.layer))
}

/// A matrix as fully connected layers have it, `[out, in]`.
fn matrix(weight: &ArrayD<f32>, transposed: bool) -> Result<Array2<f32>> {
    let rank = weight.ndim();
    let weight = weight.view().into_dimensionality::<Ix2>();
    let weight = weight.map_err(|_| format!("its weight has {rank} axes: only products by a matrix are computed"))?;
    Ok(if transposed { weight.t().as_standard_layout().into_owned() } else { weight.to_owned() })
}

/// A constant of one element, or `length` of them along its last axis, as a vector.
pub(super) fn vector(values: &ArrayD<f32>, length: usize, what: &str) -> std::result::Result<Vec<f64>, String> {
    match values.len() {
        1 => Ok(values.iter().flat_map(|&value| vec![f64::from(value); length]).collect()),
        count if count == length && values.shape().last() == Some(&length) => {
            Ok(values.iter().map(|&v| v.into()).collect())
        }
        _ => Err(format!("its {what} has shape {:?}, which does not fit {length} outputs", values.shape())),
    }
}

/// MaxPool and AveragePool.
pub(super) fn pool<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let signal = x.dims.len() == 2;
    let x = image(import, node, x, signal)?;
    if node.0.output.len() > 1 && node.0.output[1..].iter().any(|name| !name.is_empty()) {
        return Err("it also gives the places of the maxima, which are not computed".to_owned().into());
    }
    if node.ints("kernel_shape").is_none() {
        return Err("it has no kernel_shape".to_owned().into());
    }
    let (window, more) = window(node, node.pair("kernel_shape", signal)?, &x, import)?;
    if node.operator() == "AveragePool" {
        let counted = if node.flag("count_include_pad") { Some(window.padding.map(|pad| pad as i64)) } else { None };
        let beyond = more.map(|more| more as i64);
        let counted = counted.map(|[top, bottom, left, right]| [top, bottom - beyond[0], left, right - beyond[1]]);
        return mean(import, node, &x, window, counted.unwrap_or([0; 4]), signal);
    }
    let y = import.layer(node, None, Kind::Plain(Op::MaxPool { window }), &[&x])?;
    Ok(y.into_signal(signal))
}

/// The mean over windows, each of the image and of the padding that counts: where some of a window lies beyond these, the mean over all
/// of it times a public factor for each pixel.
fn mean<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    window: PoolGeometry,
    counts: [i64; 4],
    signal: bool,
) -> Result<Value> {
    let &[channels, height, width] = import.layers.shape(x.layer) else {
        return Err("it pools something that is no image".to_owned().into());
    };
    let [down, right] = window.output([height, width]).map_err(|error| error.to_string())?;
    import.take(down.saturating_add(right))?;
    let along = |axis: usize, size: usize, out: usize| -> Vec<usize> {
        let [before, after] = [counts[2 * axis], counts[2 * axis + 1]];
        let inside = |at: usize, tap: usize| {
            let place =
                (at * window.stride[axis] + tap * window.dilation[axis]) as i64 - window.padding[2 * axis] as i64;
            (-before..size as i64 + after).contains(&place)
        };
        (0..out).map(|at| (0..window.kernel[axis]).filter(|&tap| inside(at, tap)).count()).collect()
    };
    let (rows, columns) = (along(0, height, down), along(1, width, right));
    if rows.iter().chain(&columns).any(|&count| count == 0) {
        return Err("a window of its mean is all padding: use less of it".to_owned().into());
    }
    let area = window.kernel[0] * window.kernel[1];
    let y = if window.dilation == [1; 2] {
        import.layer(node, None, Kind::Plain(Op::AvgPool { window }), &[x])?
    } else {
        import.take(channels.saturating_mul(area))?;
        let weight = ArrayD::from_elem(vec![channels, 1, window.kernel[0], window.kernel[1]], 1.0 / area as f32);
        let op = Op::Conv2d { out_channels: channels, window, groups: channels, bias: false };
        import.layer(node, None, Kind::Product { op, weight, bias: None }, &[x])?
    };
    let y = y.into_signal(signal);
    if rows.iter().all(|&count| count == window.kernel[0]) && columns.iter().all(|&count| count == window.kernel[1]) {
        return Ok(y);
    }
    import.take(down.saturating_mul(right))?;
    let factor = |row: usize, column: usize| (area as f64 / (rows[row] * columns[column]) as f64) as f32;
    let factors = ArrayD::from_shape_fn(vec![down, right], |at| factor(at[0], at[1]));
    let factors = if signal { factors.remove_axis(Axis(0)) } else { factors };
    let scaled = super::sequences::scaled(import, node, &y, &factors, |factor| factor)?;
    scaled.ok_or_else(|| "its means have no factor for each pixel".to_owned().into())
}

/// GlobalAveragePool, GlobalMaxPool, and ReduceMean over height and width.
pub(super) fn global<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let Some(spatial) = x.spatial_axes(&import.layers) else {
        if node.operator() == "ReduceMean" {
            return super::sequences::reduce(import, node);
        }
        return Err("it pools something that is no image".to_owned().into());
    };
    let mut keep = true;
    if node.operator() == "ReduceMean" {
        let axes = constant::axes(&node, import.constant(node, 1)?.as_ref())?;
        let mut axes =
            axes.iter().map(|&at| constant::axis(at, x.dims.len() + 1)).collect::<std::result::Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        if !axes.iter().copied().eq(spatial.iter().map(|axis| axis + 1)) {
            return super::sequences::reduce(import, node);
        }
        keep = node.int("keepdims").unwrap_or(1) != 0;
    }
    let &[_, height, width] = import.layers.shape(x.layer) else {
        return Err("it pools something that is no image".to_owned().into());
    };
    let op = match node.operator() {
        "GlobalMaxPool" => {
            Op::MaxPool { window: PoolGeometry { kernel: [height, width], ..PoolGeometry::square(1, 1, 0) } }
        }
        _ => Op::GlobalAvgPool,
    };
    let channels = import.layers.shape(x.layer)[0];
    let pooled = import.layer(node, None, Kind::Plain(op), &[&Value::of(x.layer, &import.layers)])?;
    let dims = match (keep, x.order) {
        (false, _) => vec![channels],
        (true, Order::ChannelsLast) => vec![1, 1, channels],
        (true, _) if spatial.len() == 1 => vec![channels, 1],
        (true, _) => vec![channels, 1, 1],
    };
    // One pixel: the order of its elements is the same whichever way they are counted.
    import.reshaped(node, &Value { order: Order::Same, ..pooled }, dims)
}

/// A value as an image, or a signal as one of height one.
fn image<'a>(import: &mut Import<'a>, node: Attributes<'a>, x: Value, signal: bool) -> Result<Value> {
    let shape = match x.dims[..] {
        [channels, width] if signal => Some(vec![channels, 1, width]),
        [_, _, _] if !signal => Some(x.dims.clone()),
        _ => None,
    };
    if let Some(shape) = shape.filter(|_| x.order == Order::Same) {
        let layer = import.shaped(node, &x, shape)?.layer;
        return Ok(x.with(layer));
    }
    Err(match x.order {
        Order::ChannelsLast => "its input has its channels last: transpose it first".to_owned().into(),
        _ => format!(
            "its input has shape {:?} without the batch: only images, [channels, height, width], and signals, [channels, length], are computed",
            x.dims
        )
        .into(),
    })
}

/// The window of a convolution or pool, and how far its last windows reach beyond the padded image, by `ceil_mode`: the
/// padding behind is as much larger.
fn window(
    node: Attributes<'_>,
    kernel: [usize; 2],
    x: &Value,
    import: &Import<'_>,
) -> std::result::Result<(PoolGeometry, [usize; 2]), String> {
    let &[_, height, width] = import.layers.shape(x.layer) else { return Err("its input is no image".into()) };
    let signal = x.dims.len() == 2;
    let (stride, dilation) = (node.pair("strides", signal)?, node.pair("dilations", signal)?);
    let mut window = PoolGeometry { kernel, stride, padding: [0; 4], dilation };
    let most = 1 << 20;
    if kernel.iter().chain(&stride).chain(&dilation).any(|&size| size == 0 || size > most) {
        return Err("a size of its window is zero or too large".into());
    }
    let reach = |axis: usize| dilation[axis] * (kernel[axis] - 1) + 1;
    let automatic = node.text("auto_pad").unwrap_or("NOTSET");
    match automatic {
        "NOTSET" | "" => {
            let pads = node.ints("pads").unwrap_or(if signal { &[0; 2] } else { &[0; 4] });
            let sizes: Option<Vec<usize>> = pads.iter().map(|&pad| usize::try_from(pad).ok()).collect();
            match sizes.as_deref() {
                Some(&[top, left, bottom, right]) if !signal => window.padding = [top, bottom, left, right],
                Some(&[left, right]) if signal => window.padding = [0, 0, left, right],
                _ => return Err(format!("its pads {pads:?} are not a size of zero or more for each side")),
            }
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => {
            for (axis, size) in [height, width].into_iter().enumerate() {
                let all = ((size.div_ceil(stride[axis]) - 1) * stride[axis] + reach(axis)).saturating_sub(size);
                let less = all / 2;
                let (before, after) = if automatic == "SAME_UPPER" { (less, all - less) } else { (all - less, less) };
                window.padding[2 * axis..2 * axis + 2].copy_from_slice(&[before, after]);
            }
        }
        other => return Err(format!("its auto_pad is `{}`", super::import::harmless(other))),
    }
    let mut more = [0; 2];
    if node.flag("ceil_mode") && automatic == "NOTSET" {
        for (axis, size) in [height, width].into_iter().enumerate() {
            let [before, after] = [window.padding[2 * axis], window.padding[2 * axis + 1]];
            let padded = size.checked_add(before).and_then(|sum| sum.checked_add(after)).unwrap_or(usize::MAX);
            let Some(room) = padded.checked_sub(reach(axis)) else { continue };
            let mut last = room.div_ceil(stride[axis]) * stride[axis];
            // A window that would begin behind the image is left out.
            if last >= size.saturating_add(before) {
                last -= stride[axis];
            }
            let missing = (last + reach(axis)).saturating_sub(padded);
            more[axis] = missing;
            window.padding[2 * axis + 1] = after.saturating_add(missing);
        }
    }
    Ok((window, more))
}
