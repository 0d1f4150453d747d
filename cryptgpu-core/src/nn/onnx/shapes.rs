//! Changes of shape and order, which cost nothing: most are only another way to look at a layer's result.

use super::super::Op;
use super::attributes::Attributes;
use super::axes::Axes;
use super::constant::{self, Constant, Dim};
use super::import::{Failure, Import};
use super::layers::{Kind, Order, Value};

type Result<T> = std::result::Result<T, Failure>;

/// Shape of a value, with the batch's size as a symbol.
pub(super) fn shape<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Constant> {
    let axes = Axes::of(&import.value(node, 0)?);
    let size = |(at, &size): (usize, &usize)| match axes.batch {
        Some(batch) if batch == at => Dim::Batch(size as i64),
        _ => Dim::Is(size as i64),
    };
    Ok(constant::part_of(&axes.sizes.iter().enumerate().map(size).collect::<Vec<_>>(), &node)?)
}

/// Flatten, Reshape, Squeeze, Unsqueeze: the file's shape of a value, from what the node says.
pub(super) fn reshape<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let axes = Axes::of(&x);
    let wrong = |what: &str| Failure::Refused(format!("a value of shape {:?} (without the batch) {what}", x.dims));
    let mixed = "is given another: images are mixed, or elements lost";
    let found = match node.operator() {
        "Flatten" => {
            let (axis, rank) = (node.int("axis").unwrap_or(1), axes.sizes.len());
            let axis = constant::axis(if axis < 0 { axis + rank as i64 } else { axis }, rank + 1)?;
            let target = [axes.sizes[..axis].iter().product::<usize>(), axes.sizes[axis..].iter().product()];
            let target = target.map(|size| Dim::Is(size as i64));
            match axes.batch {
                Some(batch) if batch < axis => axes.reshaped(&[Dim::Batch(value_of(target[0])), target[1]], true, None),
                Some(_) => axes.reshaped(&[target[0], Dim::Batch(value_of(target[1]))], true, None),
                None => axes.reshaped(&target, true, Some(1)),
            }
            .ok_or_else(|| wrong(mixed))?
        }
        "Reshape" => {
            let target = import.constant(node, 1)?.and_then(|target| target.dims());
            let target = target.ok_or_else(|| "its shape is not known before it runs".to_owned())?;
            axes.reshaped(&target, node.flag("allowzero"), import.fixed_batch).ok_or_else(|| wrong(mixed))?
        }
        operator => {
            let named = constant::axes(&node, import.constant(node, 1)?.as_ref())?;
            let rank = axes.sizes.len() + if operator == "Unsqueeze" { named.len() } else { 0 };
            let named = named.iter().map(|&at| constant::axis(at, rank)).collect::<std::result::Result<Vec<_>, _>>()?;
            let changed = if operator == "Unsqueeze" { axes.unsqueezed(&named) } else { axes.squeezed(&named) };
            let what = "loses an axis that has elements, the batch's among them, or gets one twice";
            changed.filter(|_| !named.is_empty()).ok_or_else(|| wrong(what))?
        }
    };
    if found.value(x.layer).order == Order::Same && !matches!(x.order, Order::Inside { .. } | Order::Dropped) {
        return import.reshaped(node, &x, found.dims());
    }
    let x = import.in_order(node, &x)?;
    Ok(found.value(x.layer))
}

fn value_of(dim: Dim) -> i64 {
    match dim {
        Dim::Is(size) | Dim::Batch(size) => size,
    }
}

/// Transpose: between the order with channels first and that with channels last another view, else axes in another order.
pub(super) fn transpose<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let rank = Axes::of(&x).sizes.len();
    let reversed: Vec<i64> = (0..rank as i64).rev().collect();
    let order = node.ints("perm").unwrap_or(&reversed);
    let identity = order.iter().copied().eq(0..rank as i64);
    let dims = |places: [usize; 3]| places.map(|place| x.dims[place]).to_vec();
    match (order, x.order) {
        _ if identity => Ok(x),
        ([0, 2, 3, 1], Order::Same) if x.is_image(&import.layers) => {
            Ok(Value { dims: dims([1, 2, 0]), order: Order::ChannelsLast, layer: x.layer })
        }
        ([0, 3, 1, 2], Order::ChannelsLast) => Ok(Value { dims: dims([2, 0, 1]), order: Order::Same, layer: x.layer }),
        _ => {
            let mut sorted =
                order.iter().map(|&at| constant::axis(at, rank)).collect::<std::result::Result<Vec<_>, _>>()?;
            let order = sorted.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..rank) {
                return Err(format!("{order:?} is no order of {rank} axes").into());
            }
            import.permuted(node, &x, &order)
        }
    }
}

/// Concat along any axis but the batch's, of values and constants.
pub(super) fn concat<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let count = node.0.input.len();
    let constants = (0..count).map(|place| import.constant(node, place)).collect::<Result<Vec<_>>>()?;
    if constants.iter().any(Option::is_some) {
        return super::sequences::concat_with_constants(import, node, constants);
    }
    let values = (0..count).map(|place| import.value(node, place)).collect::<Result<Vec<_>>>()?;
    let [first, rest @ ..] = values.as_slice() else { return Err("it has no input".to_owned().into()) };
    if rest.is_empty() {
        return Ok(first.clone());
    }
    let along = constant::axis(node.int("axis").unwrap_or(1), Axes::of(first).sizes.len())?;
    let channels = first.channel_axis(&import.layers).map(|axis| axis + 1);
    let rank = |value: &Value| import.layers.shape(value.layer).len();
    let alike = |other: &Value| {
        other.order == first.order && other.dims.len() == first.dims.len() && rank(other) == rank(first)
    };
    if Some(along) != channels || !rest.iter().all(alike) {
        return super::sequences::concat(import, node, &values, along);
    }
    let joined = import.layer(node, None, Kind::Plain(Op::Concat), &values.iter().collect::<Vec<_>>())?;
    let mut dims = first.dims.clone();
    dims[along - 1] = import.layers.shape(joined.layer).first().copied().unwrap_or(0);
    Ok(Value { layer: joined.layer, dims, order: first.order })
}
