//! Changes of shape and order, which cost nothing: most are only another way to look at a layer's result.

use super::super::Op;
use super::attributes::Attributes;
use super::constant::{self, Constant, Dim};
use super::import::{Failure, Import};
use super::layers::{Kind, Order, Value};

type Result<T> = std::result::Result<T, Failure>;

/// Shape of a value, with the batch's size as a symbol.
pub(super) fn shape<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Constant> {
    let x = import.value(node, 0)?;
    let sizes = x.dims.iter().map(|&size| Dim::Is(size as i64));
    Ok(constant::part_of(&std::iter::once(Dim::Batch).chain(sizes).collect::<Vec<_>>(), &node)?)
}

/// Flatten, Reshape, Squeeze, Unsqueeze: the file's shape of a value without the batch, from what the node says.
pub(super) fn reshape<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let dims = match node.operator() {
        "Flatten" => match node.int("axis").unwrap_or(1) {
            1 => vec![x.dims.iter().product()],
            axis if axis == -(x.dims.len() as i64) => vec![x.dims.iter().product()],
            axis => return Err(format!("it flattens from axis {axis} on: only from axis 1, behind the batch").into()),
        },
        "Reshape" => {
            let target = import.constant(node, 1)?.and_then(|target| target.dims());
            let target = target.ok_or_else(|| "its shape is not known before it runs".to_owned())?;
            reshape_target(import, node, &x, &target)?
        }
        _ => {
            let axes = constant::axes(&node, import.constant(node, 1)?.as_ref())?;
            // The batch counts as one image, and must stay where it is.
            let with_batch: Vec<usize> = std::iter::once(1).chain(x.dims.iter().copied()).collect();
            let rank = with_batch.len() + if node.operator() == "Unsqueeze" { axes.len() } else { 0 };
            let named = axes.iter().map(|&at| constant::axis(at, rank)).collect::<std::result::Result<Vec<_>, _>>()?;
            if named.contains(&0) || axes.is_empty() {
                return Err("it changes the axis of the batch: name its axes, all behind the first".to_owned().into());
            }
            let shape = match node.operator() {
                "Unsqueeze" => constant::unsqueezed(&with_batch, &axes)?,
                _ => constant::squeezed(&with_batch, &axes)?,
            };
            shape[1..].to_vec()
        }
    };
    import.reshaped(node, &x, dims)
}

/// The sizes behind the batch that Reshape asks for.
fn reshape_target(import: &Import<'_>, node: Attributes<'_>, x: &Value, target: &[Dim]) -> Result<Vec<usize>> {
    let [batch, rest @ ..] = target else { return Err("its shape has no axis for the batch".to_owned().into()) };
    let keeps_zero = node.flag("allowzero");
    let elements: usize = x.dims.iter().product();
    let wrong = || format!("a value of shape {:?} (without the batch) is reshaped to {target:?}", x.dims);
    let mut sizes = Vec::with_capacity(rest.len());
    let mut open = None;
    for (at, dim) in rest.iter().enumerate() {
        sizes.push(match dim {
            Dim::Is(-1) if open.is_none() => {
                open = Some(at);
                1
            }
            Dim::Is(0) if !keeps_zero => *x.dims.get(at).ok_or_else(wrong)?,
            Dim::Is(size @ 1..) => usize::try_from(*size).map_err(|_| wrong())?,
            _ => return Err(wrong().into()),
        });
    }
    let product = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size)).ok_or_else(wrong)?;
    if let Some(at) = open {
        sizes[at] = elements.checked_div(product).ok_or_else(wrong)?;
    }
    let product = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size)).ok_or_else(wrong)?;
    let keeps_batch = match *batch {
        Dim::Batch => true,
        Dim::Is(0) => !keeps_zero,
        // What is left is the batch, if one image keeps its elements.
        Dim::Is(-1) => open.is_none(),
        Dim::Is(size) => import.fixed_batch.is_some_and(|fixed| usize::try_from(size) == Ok(fixed)),
    };
    if !keeps_batch || product != elements {
        return Err(format!("{}: images are mixed, or elements lost", wrong()).into());
    }
    Ok(sizes)
}

/// Transpose: between the order with channels first and that with channels last.
pub(super) fn transpose<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let rank = x.dims.len() + 1;
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
        // One pixel, or one channel: the elements stay where they are.
        ([0, a, b, c], Order::Same) if rank == 4 => {
            let places = [*a, *b, *c].map(|place| usize::try_from(place - 1).unwrap_or(usize::MAX));
            let mut sorted = places;
            sorted.sort_unstable();
            let moved: Vec<usize> =
                places.into_iter().filter(|&place| x.dims.get(place).is_some_and(|&size| size > 1)).collect();
            if sorted == [0, 1, 2] && moved.is_sorted() {
                return import.reshaped(node, &x, dims(places));
            }
            Err(unknown_order(order))
        }
        _ => Err(unknown_order(order)),
    }
}

fn unknown_order(order: &[i64]) -> Failure {
    format!("it puts axes into the order {order:?}: only channels first ↔ channels last are followed").into()
}

/// Concat along the channels.
pub(super) fn concat<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let values = (0..node.0.input.len()).map(|place| import.value(node, place)).collect::<Result<Vec<_>>>()?;
    let [first, rest @ ..] = values.as_slice() else { return Err("it has no input".to_owned().into()) };
    let along = constant::axis(node.int("axis").unwrap_or(1), first.dims.len() + 1)?;
    let channels = first.channel_axis(&import.layers).map(|axis| axis + 1);
    if Some(along) != channels
        || rest.iter().any(|other| other.order != first.order || other.dims.len() != first.dims.len())
    {
        return Err(format!(
            "it joins along axis {along}: only channels of images, or features of vectors, are joined"
        )
        .into());
    }
    if rest.is_empty() {
        return Ok(first.clone());
    }
    let joined = import.layer(node, None, Kind::Plain(Op::Concat), &values.iter().collect::<Vec<_>>())?;
    let mut dims = first.dims.clone();
    dims[along - 1] = import.layers.shape(joined.layer).first().copied().unwrap_or(0);
    Ok(Value { layer: joined.layer, dims, order: first.order })
}
