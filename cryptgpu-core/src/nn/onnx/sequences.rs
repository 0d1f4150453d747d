//! What networks on sequences need: products of two values, functions of rows, parts of axes, values and constants side by side, sums
//! over any axes. Axes are those of the file, wherever it has the batch ([`Axes`]).

use super::super::{Op, Rearrange};
use super::attributes::Attributes;
use super::axes::Axes;
use super::constant::{self, Constant};
use super::import::{Failure, Held, Import};
use super::layers::{Kind, Value};
use super::{activations, places};
use crate::device::{Part, PoolGeometry};
use crate::mpc::{PiecewiseLinear, RowFunction};
use ndarray::{ArrayD, Axis, IxDyn, Slice};

type Result<T> = std::result::Result<T, Failure>;

/// MatMul of two values: one product of matrices for each entry of the leading axes.
pub(super) fn matmul<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let (x, y) = (import.value(node, 0)?, import.value(node, 1)?);
    let refused = |what: &str| {
        let (x, y) = (&x.dims, &y.dims);
        Failure::Refused(format!("values of shapes {x:?} and {y:?} (without the batch) are multiplied: {what}"))
    };
    let (mut left, left_axes) = import.plain(node, &x)?;
    let (mut right, right_axes) = import.plain(node, &y)?;
    let rank = left_axes.sizes.len();
    let leading = |axes: &Axes| axes.batch.is_none_or(|batch| batch + 2 < axes.sizes.len());
    if rank != right_axes.sizes.len() || left_axes.batch != right_axes.batch || !leading(&left_axes) {
        return Err(refused("only matrices with the batch and equal axes before them are"));
    }
    if !left_axes.is_outermost() || !right_axes.is_outermost() {
        return Err(refused("the batch must be the first of their axes"));
    }
    let before = left.dims.len() - 2;
    if right.dims.len() != left.dims.len() {
        return Err(refused("only matrices with equal axes before them are"));
    }
    for axis in 0..before {
        let times = left.dims[axis].max(right.dims[axis]);
        left = repeated(import, node, left, axis, times)?;
        right = repeated(import, node, right, axis, times)?;
    }
    let z = import.layer(node, None, Kind::Plain(Op::MatMul), &[&left, &right])?;
    let sizes = left_axes.sizes.iter().zip(&right_axes.sizes).map(|(&left, &right)| left.max(right));
    let sizes: Vec<usize> = sizes.collect();
    let mut axes = left_axes;
    axes.sizes = sizes;
    axes.sizes[rank - 2..].copy_from_slice(&z.dims[before..]);
    Ok(axes.value(z.layer))
}

/// An axis of a plain value, as large as `times` where it has one entry.
pub(super) fn repeated<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: Value,
    axis: usize,
    times: usize,
) -> Result<Value> {
    if x.dims[axis] != 1 || times == 1 {
        return Ok(x);
    }
    let (order, mut dims) = (x.order, x.dims.clone());
    dims[axis] = times;
    let layer = import.rearranged(node, &x, Rearrange::Repeat { axis, times })?.layer;
    Ok(Value { layer, dims, order })
}

/// Two values with the same axes, those of one entry repeated where the other has more; None where they do not fit.
pub(super) fn alike<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    y: &Value,
) -> Result<Option<[Value; 2]>> {
    let (mut x, x_axes) = import.plain(node, x)?;
    let (mut y, y_axes) = import.plain(node, y)?;
    let fits = |(&x, &y): (&usize, &usize)| x == y || x == 1 || y == 1;
    if x.order != y.order || x_axes.sizes.len() != y_axes.sizes.len() || !x.dims.iter().zip(&y.dims).all(fits) {
        return Ok(None);
    }
    for axis in 0..x.dims.len() {
        let times = x.dims[axis].max(y.dims[axis]);
        x = repeated(import, node, x, axis, times)?;
        y = repeated(import, node, y, axis, times)?;
    }
    Ok(Some([x, y]))
}

/// Expand of a value.
pub(super) fn expand<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let target = import.constant(node, 1)?.and_then(|target| target.dims());
    let target = target.ok_or_else(|| "its shape is not known before it runs".to_owned())?;
    let (mut y, axes) = import.plain(node, &x)?;
    let refused =
        || Failure::Refused(format!("a value of shape {:?} (without the batch) does not grow to {target:?}", x.dims));
    if target.len() > axes.sizes.len() {
        return Err(refused());
    }
    let mut grown = axes.clone();
    for (axis, dim) in target.iter().rev().enumerate().map(|(back, dim)| (axes.sizes.len() - 1 - back, dim)) {
        let (Some(place), constant::Dim::Is(size)) = (axes.place(axis), dim) else { continue };
        let size = usize::try_from(*size).map_err(|_| refused())?;
        let fits = size == 1 || axes.sizes[axis] == 1 || axes.sizes[axis] == size;
        if axes.batch == Some(axis) || !fits {
            return Err(refused());
        }
        if size > 1 {
            y = repeated(import, node, y, place, size)?;
            grown = grown.with(axis, size);
        }
    }
    Ok(grown.value(y.layer))
}

/// A value as rows of its last axis, with the axes that it had.
pub(super) fn rows<'a>(import: &mut Import<'a>, node: Attributes<'a>, x: &Value) -> Result<(Value, Axes)> {
    let (x, axes) = import.plain(node, x)?;
    let last = axes.sizes.len().saturating_sub(1);
    if axes.batch == Some(last) || axes.sizes.is_empty() {
        return Err("its last axis is the batch".to_owned().into());
    }
    Ok((x, axes))
}

/// Softmax or LogSoftmax within a network: along one axis, or in opsets before 13 along it and all behind it together.
pub(super) fn softmax<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let rank = Axes::of(&x).sizes.len();
    let (default, joined) = if import.opset < 13 { (1, true) } else { (-1, false) };
    let axis = constant::axis(node.int("axis").unwrap_or(default), rank)?;
    let function = if node.operator() == "Softmax" { RowFunction::Softmax } else { RowFunction::LogSoftmax };
    if joined && axis + 1 < rank {
        let (x, axes) = import.plain(node, &x)?;
        if axes.batch.is_some_and(|batch| batch >= axis) {
            return Err("it compares the images of a batch with one another".to_owned().into());
        }
        let width: usize = axes.sizes[axis..].iter().product();
        let elements: usize = x.dims.iter().product();
        let x = import.shaped(node, &x, vec![elements / width, width])?;
        let y = import.layer(node, None, Kind::Plain(Op::Rows(function)), &[&x])?;
        return Ok(axes.value(y.layer));
    }
    let order: Vec<usize> = (0..rank).filter(|&other| other != axis).chain([axis]).collect();
    let back: Vec<usize> = (0..axis).chain([rank - 1]).chain(axis..rank - 1).collect();
    let moved = if axis + 1 < rank { import.permuted(node, &x, &order)? } else { x };
    let (moved, axes) = rows(import, node, &moved)?;
    let y = import.layer(node, None, Kind::Plain(Op::Rows(function)), &[&moved])?;
    let y = axes.value(y.layer);
    if axis + 1 < rank { import.permuted(node, &y, &back) } else { Ok(y) }
}

/// A part of one axis of the file.
pub(super) fn part<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    axis: usize,
    [start, step, count]: [usize; 3],
) -> Result<Value> {
    let (x, axes) = import.plain(node, x)?;
    // The size of the batch is not known, unless the file is for one image.
    if axes.batch == Some(axis) && import.fixed_batch != Some(1) {
        return Err("it takes some images of the batch".to_owned().into());
    }
    if axes.sizes[axis] == count && step == 1 {
        return Ok(axes.value(x.layer));
    }
    let Some(place) = axes.place(axis).filter(|_| axes.batch != Some(axis)) else {
        return Err("it takes some images of the batch".to_owned().into());
    };
    let part = Rearrange::Part(Part { axis: place, start, step, count });
    let layer = import.rearranged(node, &x, part)?.layer;
    Ok(axes.with(axis, count).value(layer))
}

/// Gather of one entry, or of entries in any order.
pub(super) fn gather<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let axes = Axes::of(&x);
    let axis = constant::axis(node.int("axis").unwrap_or(0), axes.sizes.len())?;
    let indices = import.constant(node, 1)?.ok_or_else(|| "its indices are no constants".to_owned())?;
    let (rank, list) =
        (indices.shape().len(), indices.integers().ok_or_else(|| "its indices are no constants".to_owned())?);
    let list =
        list.into_iter().map(|at| constant::axis(at, axes.sizes[axis])).collect::<std::result::Result<Vec<_>, _>>()?;
    if rank > 1 {
        return Err("it gathers by more than a list of entries".to_owned().into());
    }
    let y = places::selected(import, node, &x, axis, list.len(), |k| list[k])?;
    if rank == 1 {
        return Ok(y);
    }
    let (y, axes) = import.plain(node, &y)?;
    let squeezed = axes.squeezed(&[axis]).ok_or_else(|| "it takes one image of the batch".to_owned())?;
    Ok(squeezed.value(y.layer))
}

/// Slice, with steps forwards or backwards.
pub(super) fn slice<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let mut given = |name: &str, place: usize| -> Result<Option<Vec<i64>>> {
        Ok(match (node.ints(name), import.constant(node, place)?) {
            (Some(list), _) => Some(list.to_vec()),
            (None, Some(input)) => Some(input.integers().ok_or_else(|| format!("its {name} are no numbers"))?),
            (None, None) => None,
        })
    };
    let (starts, ends) = (given("starts", 1)?, given("ends", 2)?);
    let (axes, steps) = (given("axes", 3)?, given("steps", 4)?);
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Err("its ends are not known before it runs".to_owned().into());
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("it does not say where each of its axes begins and ends".to_owned().into());
    }
    let mut y = x;
    for ((&start, &end), (&axis, &step)) in starts.iter().zip(&ends).zip(axes.iter().zip(&steps)) {
        let own = Axes::of(&y);
        let axis = constant::axis(axis, own.sizes.len())?;
        let size = own.sizes[axis] as i64;
        let place = |at: i64| (if at < 0 { at.saturating_add(size) } else { at }).clamp(0, size);
        if step < 0 {
            let last = |at: i64| (if at < 0 { at.saturating_add(size) } else { at }).clamp(-1, size - 1);
            let (start, end) = (last(start), last(end));
            let step = usize::try_from(step.saturating_neg()).unwrap_or(usize::MAX);
            let count = usize::try_from(start - end).unwrap_or(0).div_ceil(step);
            y = places::selected(import, node, &y, axis, count, |k| start as usize - k * step)?;
            continue;
        }
        let step =
            usize::try_from(step).ok().filter(|&step| step > 0).ok_or_else(|| "its steps are zero".to_owned())?;
        if own.batch == Some(axis) && start == 0 && end >= i64::from(i32::MAX) && step == 1 {
            continue;
        }
        let (start, end) = (place(start) as usize, place(end) as usize);
        if end <= start {
            return Err("it takes nothing".to_owned().into());
        }
        y = part(import, node, &y, axis, [start, step, (end - start).div_ceil(step)])?;
    }
    Ok(y)
}

/// Split: each of its results is a part of the axis.
pub(super) fn split<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Held> {
    let x = import.value(node, 0)?;
    let axes = Axes::of(&x);
    let axis = constant::axis(node.int("axis").unwrap_or(0), axes.sizes.len())?;
    let (size, outputs) = (axes.sizes[axis], node.0.output.len());
    let given = match node.ints("split") {
        Some(list) => Some(list.to_vec()),
        None => import.constant(node, 1)?.and_then(|list| list.integers()),
    };
    let counts: Vec<usize> = match given {
        Some(list) => list.iter().map(|&count| usize::try_from(count).unwrap_or(0)).collect(),
        None => {
            let each = size.div_ceil(outputs.max(1));
            (0..outputs).map(|k| each.min(size.saturating_sub(k * each))).collect()
        }
    };
    if counts.len() != outputs || counts.iter().sum::<usize>() != size || counts.contains(&0) {
        return Err(format!("its parts {counts:?} are not those of an axis of {size}").into());
    }
    let (mut start, mut parts) = (0, vec![]);
    for count in counts {
        parts.push(part(import, node, &x, axis, [start, 1, count])?);
        start += count;
    }
    let mut parts = parts.into_iter().map(Held::Value);
    let first = parts.next().ok_or_else(|| "it has no result".to_owned())?;
    for (name, part) in node.0.output.iter().skip(1).zip(parts) {
        import.name(name, part);
    }
    Ok(first)
}

/// Values side by side along any axis of the file but the batch's.
pub(super) fn concat<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    values: &[Value],
    along: usize,
) -> Result<Value> {
    let mut parts = vec![];
    for value in values {
        parts.push(import.plain(node, value)?);
    }
    let Some((_, axes)) = parts.first().cloned() else { return Err("it has no input".to_owned().into()) };
    let alike = |other: &Axes| other.clone().with(along, 1) == axes.clone().with(along, 1);
    let place = axes.place(along).filter(|_| axes.batch != Some(along));
    let Some(place) =
        place.filter(|_| parts.iter().all(|(_, other)| other.sizes.len() == axes.sizes.len() && alike(other)))
    else {
        return Err(format!("it joins along axis {along}: values that differ elsewhere, or images of the batch").into());
    };
    let rank = axes.dims().len();
    let front: Vec<usize> = std::iter::once(place).chain((0..rank).filter(|&axis| axis != place)).collect();
    if let [(only, _)] = &parts[..] {
        return Ok(only.clone());
    }
    let mut moved = vec![];
    for (value, _) in &parts {
        moved.push(match place {
            0 => value.clone(),
            _ => import.rearranged(node, value, Rearrange::Permute(front.clone()))?,
        });
    }
    let joined = import.layer(node, None, Kind::Plain(Op::Concat), &moved.iter().collect::<Vec<_>>())?;
    let size = joined.dims.first().copied().unwrap_or(0);
    let back: Vec<usize> = (0..rank).map(|axis| front.iter().position(|&from| from == axis).unwrap_or(axis)).collect();
    let layer = match place {
        0 => joined.layer,
        _ => import.rearranged(node, &joined, Rearrange::Permute(back))?.layer,
    };
    Ok(axes.with(along, size).value(layer))
}

/// The same with constants among them, as the class token of a vision transformer: zeros beside the values, and a summand.
pub(super) fn concat_with_constants<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    constants: Vec<Option<Constant>>,
) -> Result<Value> {
    let Some(first) = constants.iter().position(Option::is_none) else {
        return Err("it joins constants of more than a list of integers".to_owned().into());
    };
    let axes = Axes::of(&import.value(node, first)?);
    let along = constant::axis(node.int("axis").unwrap_or(1), axes.sizes.len())?;
    let place = axes
        .place(along)
        .filter(|_| axes.batch != Some(along))
        .ok_or_else(|| "it joins images of the batch".to_owned())?;
    // A constant stands for zeros in front of the first value, or behind the value before it.
    let (mut values, mut pieces, mut zeros) = (vec![], vec![], 0);
    for (at, constant) in constants.iter().enumerate() {
        if constant.is_none() {
            let value = import.value(node, at)?;
            let before = if at == first { zeros } else { 0 };
            values.push((value, [before, 0]));
            continue;
        }
        let weights = import.weights(node, at)?;
        let piece = over_dims(&axes, import.fixed_batch, &weights).filter(|piece| piece.ndim() == axes.dims().len());
        let piece = piece.ok_or_else(|| "its constants have not the axes of its values".to_owned())?;
        let size = piece.len_of(Axis(place));
        match values.last_mut() {
            Some((_, [_, after])) => *after += size,
            None => zeros += size,
        }
        pieces.push((at, piece));
    }
    let mut parts = vec![];
    for (value, around) in &values {
        parts.push(padded(import, node, value, along, *around)?);
    }
    let joined = concat(import, node, &parts, along)?;
    let (joined, axes) = import.plain(node, &joined)?;
    import.take(joined.dims.iter().product())?;
    let mut bias = ArrayD::<f32>::zeros(IxDyn(&joined.dims));
    let (mut start, mut pieces) = (0, pieces.into_iter().peekable());
    for at in 0..constants.len() {
        let size = match pieces.next_if(|(of, _)| *of == at) {
            None => Axes::of(&import.value(node, at)?).sizes[along],
            Some((_, piece)) => {
                let size = piece.len_of(Axis(place));
                let mut own = bias.slice_axis_mut(Axis(place), Slice::from(start..start + size));
                let piece = piece.broadcast(own.raw_dim());
                own.assign(&piece.ok_or_else(|| "its constants have not the sizes of its values".to_owned())?);
                size
            }
        };
        start += size;
    }
    let y = import.layer(node, None, Kind::Bias(bias), &[&joined])?;
    Ok(axes.value(y.layer))
}

/// Zeros along an axis of the file, before and behind: what an average over windows of one pixel has as padding.
pub(super) fn padded<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    along: usize,
    [before, after]: [usize; 2],
) -> Result<Value> {
    let (x, axes) = import.plain(node, x)?;
    let Some(place) = axes.place(along).filter(|_| before + after > 0) else { return Ok(axes.value(x.layer)) };
    let around = [&x.dims[..place], &x.dims[place + 1..]].map(|dims| dims.iter().product::<usize>());
    let image = import.shaped(node, &x, vec![around[0], x.dims[place], around[1]])?;
    let window = PoolGeometry { padding: [before, after, 0, 0], ..PoolGeometry::square(1, 1, 0) };
    let wide = import.layer(node, None, Kind::Plain(Op::AvgPool { window }), &[&image])?;
    Ok(axes.clone().with(along, axes.sizes[along] + before + after).value(wide.layer))
}

/// A constant with the axes of a layer, of one entry where it has none; None where it has more, or says something else for each image of a
/// batch of `fixed`. Whether its sizes fit is not looked at.
fn over_dims(axes: &Axes, fixed: Option<usize>, constant: &ArrayD<f32>) -> Option<ArrayD<f32>> {
    if let Some(axis) = axes.batch.and_then(|batch| (batch + constant.ndim()).checked_sub(axes.sizes.len())) {
        let images = constant.len_of(Axis(axis));
        if images > 1 && Some(images) == fixed && axes.sizes[axes.batch?] == 1 {
            let one = constant.slice_axis(Axis(axis), Slice::from(0..1)).to_owned();
            return (one.broadcast(constant.raw_dim())? == *constant).then(|| over_dims(axes, None, &one))?;
        }
    }
    let mut sizes = constant.shape().to_vec();
    if sizes.len() > axes.sizes.len() {
        return None;
    }
    while sizes.len() < axes.sizes.len() {
        sizes.insert(0, 1);
    }
    if sizes.iter().enumerate().any(|(at, &size)| size != 1 && axes.batch == Some(at)) {
        return None;
    }
    let dims: Vec<usize> =
        sizes.iter().enumerate().filter(|(at, _)| axes.place(*at).is_some()).map(|(_, &size)| size).collect();
    constant.as_standard_layout().into_owned().into_shape_with_order(IxDyn(&dims)).ok()
}

/// ReduceMean, ReduceSum and others over any axes but the batch's: a mean or a maximum over the width of an image whose other axes are in
/// front.
pub(super) fn reduce<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let mut x = import.value(node, 0)?;
    let turned = |import: &mut Import<'a>, x: &Value| {
        let minus = activations::made(PiecewiseLinear::line(-1.0, 0.0))?;
        activations::of_each(import, node, minus, x)
    };
    match node.operator() {
        "ReduceL1" => x = activations::of_each(import, node, Op::PiecewiseLinear(PiecewiseLinear::absolute()), &x)?,
        "ReduceSumSquare" => x = activations::product(import, node, &x, &x)?,
        "ReduceMin" => x = turned(import, &x)?,
        _ => {}
    }
    let axes = Axes::of(&x);
    let named = constant::axes(&node, import.constant(node, 1)?.as_ref())?;
    let gone =
        named.iter().map(|&at| constant::axis(at, axes.sizes.len())).collect::<std::result::Result<Vec<_>, _>>()?;
    if gone.is_empty() || axes.batch.is_some_and(|batch| gone.contains(&batch)) {
        return Err("it reduces over the batch: name its axes, without that".to_owned().into());
    }
    let kept = (0..axes.sizes.len()).filter(|axis| !gone.contains(axis));
    let order: Vec<usize> = kept.chain((0..axes.sizes.len()).filter(|axis| gone.contains(axis))).collect();
    let moved = import.permuted(node, &x, &order)?;
    let (moved, moved_axes) = import.plain(node, &moved)?;
    let count: usize = gone.iter().map(|&axis| axes.sizes[axis]).product();
    let rest = moved.dims.iter().product::<usize>() / count.max(1);
    let image = import.shaped(node, &moved, vec![rest, 1, count])?;
    let y = match node.operator() {
        "ReduceMax" | "ReduceMin" => {
            let window = PoolGeometry { kernel: [1, count], ..PoolGeometry::square(1, 1, 0) };
            let largest = import.layer(node, None, Kind::Plain(Op::MaxPool { window }), &[&image])?;
            if node.operator() == "ReduceMin" { turned(import, &largest)? } else { largest }
        }
        "ReduceSum" | "ReduceL1" | "ReduceSumSquare" => sum(import, node, image, count)?,
        _ => import.layer(node, None, Kind::Plain(Op::GlobalAvgPool), &[&image])?,
    };
    let mut small = moved_axes;
    let first = small.sizes.len() - gone.len();
    small.sizes[first..].fill(1);
    if node.int("keepdims").unwrap_or(1) != 0 {
        // The axes back in their places; those that went have one entry each.
        let back: Vec<usize> =
            (0..order.len()).map(|axis| order.iter().position(|&from| from == axis).unwrap_or(axis)).collect();
        return Ok(small.permuted(&back).value(y.layer));
    }
    let all: Vec<usize> = (first..small.sizes.len()).collect();
    let squeezed = small.squeezed(&all).ok_or_else(|| "it reduces over the batch".to_owned())?;
    Ok(squeezed.value(y.layer))
}

/// The sum of `count` entries of the last axis, by halves: local, and nothing is divided and multiplied again.
pub(super) fn sum<'a>(import: &mut Import<'a>, node: Attributes<'a>, x: Value, count: usize) -> Result<Value> {
    let (mut sum, mut left) = (x, count);
    // What is over where a number is odd.
    let mut rest = vec![];
    let part = |import: &mut Import<'a>, x: &Value, start: usize, count: usize| {
        let part = Rearrange::Part(Part { axis: 2, start, step: 1, count });
        import.rearranged(node, x, part)
    };
    while left > 1 {
        let half = left / 2;
        let halves = [part(import, &sum, 0, half)?, part(import, &sum, half, half)?];
        if !left.is_multiple_of(2) {
            rest.push(part(import, &sum, left - 1, 1)?);
        }
        sum = import.layer(node, None, Kind::Plain(Op::Add), &[&halves[0], &halves[1]])?;
        left = half;
    }
    if rest.is_empty() {
        return Ok(sum);
    }
    let all: Vec<&Value> = std::iter::once(&sum).chain(&rest).collect();
    import.layer(node, None, Kind::Plain(Op::Add), &all)
}

/// A summand for each element, of a constant that fits: position embeddings and the like.
pub(super) fn plus<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    constant: &ArrayD<f32>,
    sign: f32,
) -> Result<Option<Value>> {
    let (mut x, mut axes) = import.plain(node, x)?;
    let Some(bias) = over_dims(&axes, import.fixed_batch, constant) else { return Ok(None) };
    for at in 0..axes.sizes.len() {
        // Where the value has one entry and the constant several, it grows.
        let Some(place) = axes.place(at).filter(|&place| x.dims[place] == 1 && bias.ndim() == x.dims.len()) else {
            continue;
        };
        let times = bias.len_of(Axis(place));
        if times > 1 && axes.batch != Some(at) {
            import.take(times)?;
            x = repeated(import, node, x, place, times)?;
            axes = axes.with(at, times);
        }
    }
    let elements = x.dims.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
    import.take(elements.unwrap_or(usize::MAX))?;
    let Some(bias) = bias.broadcast(IxDyn(&x.dims)) else { return Ok(None) };
    let bias = Kind::Bias(bias.mapv(|value| sign * value));
    Ok(Some(axes.value(import.layer(node, None, bias, &[&x])?.layer)))
}

/// A factor and a summand for each entry of some neighbouring axes, the same over all others: by channel of an image that has those axes as
/// its channels. None where the constant has no such shape.
pub(super) fn scaled<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    constant: &ArrayD<f32>,
    factor: impl Fn(f64) -> f64,
) -> Result<Option<Value>> {
    let (x, axes) = import.plain(node, x)?;
    let Some(constant) = over_dims(&axes, import.fixed_batch, constant) else { return Ok(None) };
    let several = |axis: &usize| constant.shape().get(*axis).is_some_and(|&size| size > 1);
    let begin = (0..constant.ndim()).find(several).unwrap_or(0);
    let end = (0..constant.ndim()).rev().find(several).map_or(begin, |last| last + 1);
    let group: usize = x.dims[begin..end].iter().product();
    import.take(group)?;
    let mut own = vec![1; constant.ndim()];
    own[begin..end].copy_from_slice(&x.dims[begin..end]);
    let Some(values) = constant.broadcast(IxDyn(&own)) else { return Ok(None) };
    let scale: Vec<f64> = values.iter().map(|&value| factor(value.into())).collect();
    let shift = vec![0.0; scale.len()];
    let [outer, inner] = [&x.dims[..begin], &x.dims[end..]].map(|dims| dims.iter().product::<usize>());
    let affine = Kind::Affine { scale, shift };
    let layer = if inner == 1 {
        let rows = import.shaped(node, &x, if outer == 1 { vec![group] } else { vec![outer, group] })?;
        import.layer(node, None, affine, &[&rows])?.layer
    } else if outer == 1 {
        let image = import.shaped(node, &x, vec![group, 1, inner])?;
        import.layer(node, None, affine, &[&image])?.layer
    } else {
        let blocks = import.shaped(node, &x, vec![outer, group, inner])?;
        let front = import.rearranged(node, &blocks, Rearrange::Permute(vec![1, 0, 2]))?;
        let scaled = import.layer(node, None, affine, &[&front])?;
        import.rearranged(node, &scaled, Rearrange::Permute(vec![1, 0, 2]))?.layer
    };
    Ok(Some(axes.value(layer)))
}
