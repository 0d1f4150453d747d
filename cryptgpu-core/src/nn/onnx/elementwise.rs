//! Sums, factors, normalisation.

use super::super::Op;
use super::attributes::Attributes;
use super::constant::Constant;
use super::import::{Failure, Held, Import};
use super::layers::{Kind, Order, Value};
use super::products::vector;
use super::{activations, sequences};
use crate::mpc::PiecewiseLinear;
use ndarray::ArrayD;

type Result<T> = std::result::Result<T, Failure>;

/// Add, Sub, Mul, Div of two values, or of a value and a constant; Sum and Mean of several.
pub(super) fn arithmetic<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let count = node.0.input.len();
    let constants = (0..count).map(|place| import.constant(node, place)).collect::<Result<Vec<_>>>()?;
    if let Some(place) = constants.iter().position(Option::is_some) {
        if count != 2 || node.operator() == "Mean" {
            return sum(import, node, &constants);
        }
        return with_constant(import, node, place);
    }
    if node.operator() == "Mean" {
        return sum(import, node, &constants);
    }
    if node.operator() == "Div"
        && let Some(normalised) = super::normalisation::division(import, node)?
    {
        return Ok(normalised);
    }
    if node.operator() == "Sub"
        && let Some(logarithms) = super::normalisation::less_log_sum(import, node)?
    {
        return Ok(logarithms);
    }
    let values = (0..count).map(|place| import.value(node, place)).collect::<Result<Vec<_>>>()?;
    match (node.operator(), values.as_slice()) {
        ("Add" | "Sum", [only]) => Ok(only.clone()),
        ("Add" | "Sum", [first, rest @ ..]) => {
            let mut sum = first.clone();
            if rest.iter().all(|other| have_same_axes(import, first, other)) {
                let layer = import.layer(node, None, Kind::Plain(Op::Add), &values.iter().collect::<Vec<_>>())?;
                return Ok(first.with(layer.layer));
            }
            for other in rest {
                let terms = sequences::alike(import, node, &sum, other)?;
                let [a, b] = terms.ok_or_else(|| unequal("added", first, other, FITTING))?;
                let layer = import.layer(node, None, Kind::Plain(Op::Add), &[&a, &b])?;
                sum = a.with(layer.layer);
            }
            Ok(sum)
        }
        ("Sub", [first, other]) => {
            let [first, other] = if have_same_axes(import, first, other) {
                [first.clone(), other.clone()]
            } else {
                let terms = sequences::alike(import, node, first, other)?;
                terms.ok_or_else(|| unequal("subtracted", first, other, FITTING))?
            };
            let minus = negated(import, node, &other)?;
            let layer = import.layer(node, None, Kind::Plain(Op::Add), &[&first, &minus])?;
            Ok(first.with(layer.layer))
        }
        ("Mul", [first, other]) => {
            let (wide, factor) = if first.dims.len() < other.dims.len() || scales_planes(import, other, first) {
                (other, first)
            } else {
                (first, other)
            };
            let [wide, factor] = if have_same_axes(import, wide, factor) || scales_planes(import, wide, factor) {
                [wide.clone(), factor.clone()]
            } else {
                let factors = sequences::alike(import, node, wide, factor)?;
                factors.ok_or_else(|| unequal("multiplied", wide, factor, FITTING))?
            };
            let layer = import.layer(node, None, Kind::Plain(Op::Mul), &[&wide, &factor])?;
            Ok(wide.with(layer.layer))
        }
        ("Div", [first, other]) => quotient(import, node, first, other),
        _ => Err("it has no value to compute with".to_owned().into()),
    }
}

/// The sum of values and constants, or their mean.
fn sum<'a>(import: &mut Import<'a>, node: Attributes<'a>, constants: &[Option<Constant>]) -> Result<Value> {
    let Some(first) = constants.iter().position(Option::is_none) else {
        return Err("it has no value to compute with".to_owned().into());
    };
    let x = import.value(node, first)?;
    let (x, axes) = import.plain(node, &x)?;
    let mut sum = axes.value(x.layer);
    for (place, constant) in constants.iter().enumerate().filter(|(place, _)| *place != first) {
        sum = if constant.is_some() {
            let constant = import.weights(node, place)?;
            let fitting = "it adds a constant whose shape is not broadcast to its value's";
            sequences::plus(import, node, &sum, &constant, 1.0)?.ok_or_else(|| fitting.to_owned())?
        } else {
            let other = import.value(node, place)?;
            let terms = sequences::alike(import, node, &sum, &other)?;
            let [a, b] = terms.ok_or_else(|| unequal("added", &sum, &other, FITTING))?;
            let layer = import.layer(node, None, Kind::Plain(Op::Add), &[&a, &b])?;
            a.with(layer.layer)
        };
    }
    if node.operator() == "Mean" {
        let part = activations::made(PiecewiseLinear::line(1.0 / constants.len() as f64, 0.0))?;
        return activations::of_each(import, node, part, &sum);
    }
    Ok(sum)
}

/// x/y, within the range that the protocol states.
fn quotient<'a>(import: &mut Import<'a>, node: Attributes<'a>, x: &Value, y: &Value) -> Result<Value> {
    let [x, y] = if have_same_axes(import, x, y) {
        [x.clone(), y.clone()]
    } else {
        sequences::alike(import, node, x, y)?.ok_or_else(|| unequal("divided", x, y, FITTING))?
    };
    let layer = import.layer(node, None, Kind::Plain(Op::Div), &[&x, &y])?;
    Ok(x.with(layer.layer))
}

/// Reciprocal, and Softsign, x/(1 + |x|).
pub(super) fn reciprocal<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let line = |slope, offset| activations::made(PiecewiseLinear::line(slope, offset));
    if node.operator() == "Reciprocal" {
        let one = activations::of_each(import, node, line(0.0, 1.0)?, &x)?;
        return quotient(import, node, &one, &x);
    }
    let beyond = activations::made(PiecewiseLinear::new(-1.0, 1.0, vec![(0.0, 2.0)]))?;
    let beyond = activations::of_each(import, node, beyond, &x)?;
    quotient(import, node, &x, &beyond)
}

/// The largest or smallest of values and constants, element by element: y + max(x − y, 0) or y + min(x − y, 0).
pub(super) fn extremum<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let beyond = match node.operator() {
        "Max" => PiecewiseLinear::new(0.0, 0.0, vec![(0.0, 1.0)]),
        _ => PiecewiseLinear::new(1.0, 0.0, vec![(0.0, -1.0)]),
    };
    let beyond = activations::made(beyond)?;
    let constants = (0..node.0.input.len()).map(|place| import.constant(node, place)).collect::<Result<Vec<_>>>()?;
    let Some(first) = constants.iter().position(Option::is_none) else {
        return Err("it has no value to compute with".to_owned().into());
    };
    let x = import.value(node, first)?;
    let (x, axes) = import.plain(node, &x)?;
    let mut y = axes.value(x.layer);
    for (place, constant) in constants.iter().enumerate().filter(|(place, _)| *place != first) {
        let difference = if constant.is_none() {
            let other = import.value(node, place)?;
            let terms = sequences::alike(import, node, &y, &other)?;
            let [own, other] = terms.ok_or_else(|| unequal("compared", &y, &other, FITTING))?;
            let minus = negated(import, node, &own)?;
            y = own;
            import.layer(node, None, Kind::Plain(Op::Add), &[&other, &minus])?
        } else {
            let minus = negated(import, node, &y)?;
            let constant = import.weights(node, place)?;
            let sum = sequences::plus(import, node, &minus, &constant, 1.0)?;
            sum.ok_or_else(|| "it is compared with a constant whose shape is not broadcast to its own".to_owned())?
        };
        let more = activations::of_each(import, node, beyond.clone(), &difference)?;
        let layer = import.layer(node, None, Kind::Plain(Op::Add), &[&y, &more])?;
        y = y.with(layer.layer);
    }
    Ok(y)
}

/// What shapes of two values must be.
const FITTING: &str = "with as many axes, of equal sizes or of one";

/// Whether two values have the same axes, here and there.
fn have_same_axes(import: &Import<'_>, x: &Value, y: &Value) -> bool {
    let shape = |value: &Value| import.layers.shape(value.layer);
    x.dims == y.dims && x.order == y.order && shape(x) == shape(y)
}

/// −x.
fn negated<'a>(import: &mut Import<'a>, node: Attributes<'a>, x: &Value) -> Result<Value> {
    let minus = PiecewiseLinear::line(-1.0, 0.0).map_err(|error| error.to_string())?;
    let layer = import.layer(node, None, Kind::Plain(Op::PiecewiseLinear(minus)), &[x])?;
    Ok(x.with(layer.layer))
}

fn unequal(what: &str, a: &Value, b: &Value, only: &str) -> Failure {
    format!("values of shapes {:?} and {:?} (without the batch) are {what}: only such {only} are", a.dims, b.dims)
        .into()
}

/// Whether `factor` has one element for each channel of an image, and is broadcast over its planes.
fn scales_planes(import: &Import<'_>, image: &Value, factor: &Value) -> bool {
    let (wide, narrow) = (import.layers.shape(image.layer), import.layers.shape(factor.layer));
    let Some(axis) = image.channel_axis(&import.layers) else { return false };
    let channels = wide.first().copied().unwrap_or(0);
    let fits = |(at, &size): (usize, &usize)| size == if at == axis { channels } else { 1 };
    wide.len() == 3
        && image.dims.len() == factor.dims.len()
        && factor.dims.iter().enumerate().all(fits)
        && (narrow == [channels, 1, 1] || narrow == [channels])
}

/// A value and a constant by channel, at `place`: scale · x + shift.
fn with_constant<'a>(import: &mut Import<'a>, node: Attributes<'a>, place: usize) -> Result<Value> {
    let constant = import.weights(node, place)?;
    let x = import.value(node, 1 - place)?;
    import.take(import.layers.shape(x.layer).iter().copied().max().unwrap_or(1))?;
    let (channels, by_channel) = match channels(import, &x, &constant) {
        Ok(found) => found,
        Err(refused) => return with_any_constant(import, node, place, &constant, &x)?.ok_or(refused),
    };
    let ones = vec![1.0; channels];
    let (scale, shift) = match (node.operator(), place) {
        ("Add" | "Sum", _) => (ones, by_channel),
        ("Sub", 1) => (ones, by_channel.iter().map(|value| -value).collect()),
        ("Sub", _) => (vec![-1.0; channels], by_channel),
        ("Mul", _) => (by_channel, vec![0.0; channels]),
        ("Div", 1) if by_channel.iter().all(|&value| value != 0.0) => {
            (by_channel.iter().map(|value| 1.0 / value).collect(), vec![0.0; channels])
        }
        ("Div", 1) => return Err("it divides by zero".to_owned().into()),
        ("Div", _) => return over_constant(import, node, &constant, &x),
        _ => return Err("it has no value to compute with".to_owned().into()),
    };
    let layer = import.layer(node, None, Kind::Affine { scale, shift }, &[&x])?;
    Ok(x.with(layer.layer))
}

/// The same with a constant of any shape that fits.
fn with_any_constant<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    place: usize,
    constant: &ArrayD<f32>,
    x: &Value,
) -> Result<Option<Value>> {
    match (node.operator(), place) {
        ("Add" | "Sum", _) => sequences::plus(import, node, x, constant, 1.0),
        ("Sub", 1) => sequences::plus(import, node, x, constant, -1.0),
        ("Sub", _) => {
            let minus = negated(import, node, x)?;
            sequences::plus(import, node, &minus, constant, 1.0)
        }
        ("Mul", _) => sequences::scaled(import, node, x, constant, |factor| factor),
        ("Div", 1) if constant.iter().all(|&value| value != 0.0) => {
            sequences::scaled(import, node, x, constant, |divisor| 1.0 / divisor)
        }
        ("Div", 0) => over_constant(import, node, constant, x).map(Some),
        _ => Ok(None),
    }
}

/// A constant over a value.
fn over_constant<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    constant: &ArrayD<f32>,
    x: &Value,
) -> Result<Value> {
    let nothing = activations::made(PiecewiseLinear::line(0.0, 0.0))?;
    let nothing = activations::of_each(import, node, nothing, x)?;
    let above = sequences::plus(import, node, &nothing, constant, 1.0)?;
    let above = above.ok_or_else(|| "its constant has not the shape of what it is divided by".to_owned())?;
    quotient(import, node, &above, x)
}

/// How many channels a value has, or features its rows, and the constant by these.
pub(super) fn channels(import: &Import<'_>, x: &Value, constant: &ArrayD<f32>) -> Result<(usize, Vec<f64>)> {
    let shape = import.layers.shape(x.layer);
    let refused = || {
        let (dims, constant) = (&x.dims, constant.shape());
        Failure::from(format!(
            "a constant of shape {constant:?} meets a value of shape {dims:?} (without the batch): only constants by \
             channel, or of one element, are computed"
        ))
    };
    // Rows of features, whatever axes the file has before those.
    let last = x.dims.len().saturating_sub(1);
    let rows = matches!(shape, [_, features] if Some(features) == x.dims.last())
        && !matches!(x.order, Order::Inside { axis, .. } if axis >= last);
    let (axis, channels) = match shape {
        [_, features] if rows => (last, *features),
        [channels] | [channels, _, _] => {
            if constant.len() == 1 {
                return Ok((*channels, vector(constant, *channels, "constant")?));
            }
            let axis = x.channel_axis(&import.layers);
            let axis = axis.filter(|_| matches!(x.order, Order::Same | Order::ChannelsLast));
            (axis.ok_or_else(refused)?, *channels)
        }
        _ => return Err(refused()),
    };
    if constant.len() == 1 {
        return Ok((channels, vector(constant, channels, "constant")?));
    }
    // Aligned at the last axes, as broadcasting does: all sizes but the channels' are 1.
    let from_end = x.dims.len() - 1 - axis;
    let sizes = constant.shape();
    let fits = sizes.len() <= x.dims.len() + 1
        && sizes
            .iter()
            .rev()
            .enumerate()
            .all(|(place, &size)| if place == from_end { size == channels } else { size == 1 });
    if !fits || sizes.len() <= from_end {
        return Err(refused());
    }
    Ok((channels, constant.iter().map(|&value| value.into()).collect()))
}

/// BatchNormalization at inference: (x − μ) · γ/√(σ² + ε) + β by channel.
pub(super) fn batch_norm<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    if node.flag("training_mode") {
        return Err("it normalises by the batch's statistics (training_mode): export the model in eval mode"
            .to_owned()
            .into());
    }
    let x = import.value(node, 0)?;
    let channels = import.layers.shape(x.layer).first().copied().unwrap_or(0);
    if x.channel_axis(&import.layers) != Some(0) {
        return Err(format!(
            "it normalises a value of shape {:?} (without the batch), not channels of an image",
            x.dims
        )
        .into());
    }
    import.take(channels)?;
    let mut read = |place, what| vector(&*import.weights(node, place)?, channels, what).map_err(Failure::from);
    let [gamma, beta, mean, variance] = [read(1, "scale")?, read(2, "bias")?, read(3, "mean")?, read(4, "variance")?];
    let eps = node.float("epsilon").unwrap_or(1e-5);
    if variance.iter().any(|variance| variance + eps <= 0.0) {
        return Err("it has a variance that is not positive with epsilon added".to_owned().into());
    }
    let scale: Vec<f64> =
        gamma.iter().zip(&variance).map(|(gamma, variance)| gamma / (variance + eps).sqrt()).collect();
    let shift = beta.iter().zip(&mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale).collect();
    let layer = import.layer(node, None, Kind::Affine { scale, shift }, &[&x])?;
    Ok(x.with(layer.layer))
}

/// What gives its first input: Identity, Dropout at inference, Cast between floats.
pub(super) fn same<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    match node.operator() {
        "Dropout" => {
            let training = import.constant(node, 2)?.and_then(|training| training.scalar());
            if training.is_some_and(|training| training != 0.0) {
                return Err("it drops out (training_mode): export the model in eval mode".to_owned().into());
            }
        }
        "Cast" if !casts_to_float(node) => {
            return Err("it makes integers of values that depend on the input".to_owned().into());
        }
        _ => {}
    }
    Ok(x)
}

/// Whether a Cast gives floats.
pub(super) fn casts_to_float(node: Attributes<'_>) -> bool {
    node.int("to").and_then(|to| i32::try_from(to).ok()).is_some_and(super::tensor::is_float)
}

/// Constant: a tensor, or a number or list that is written as an attribute.
pub(super) fn constant(node: Attributes<'_>) -> Result<Held> {
    use super::constant::Dim;
    let floats = |values: &[f32]| Constant::floats(ndarray::Array1::from(values.to_vec()).into_dyn());
    let ints = |values: &[i64]| Constant::ints(values.iter().map(|&value| Dim::Is(value)).collect());
    let scalar = |constant: Constant| match constant {
        Constant::Floats(values) => {
            Constant::floats(values.iter().map(|&value| ndarray::arr0(value).into_dyn()).next().unwrap_or_default())
        }
        Constant::Ints(values) => Constant::Ints(values.index_axis(ndarray::Axis(0), 0).to_owned()),
    };
    let found = if let Some(constant) = node.tensor("value")? {
        Some(constant)
    } else if let Some(value) = node.float("value_float") {
        Some(scalar(floats(&[value as f32])))
    } else if let Some(values) = node.floats("value_floats") {
        Some(floats(values))
    } else if let Some(value) = node.int("value_int") {
        Some(scalar(ints(&[value])))
    } else {
        node.ints("value_ints").map(ints)
    };
    found.map(Held::Constant).ok_or_else(|| "it holds no tensor of numbers".to_owned().into())
}
