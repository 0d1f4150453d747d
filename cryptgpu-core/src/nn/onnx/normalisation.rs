//! Normalisation of rows: LayerNormalization, RMSNormalization, and those of planes and of groups of these, InstanceNormalization and
//! GroupNormalization. Layer normalisation also as exporters wrote it before it was an operator, by its parts: (x − mean) / √(mean((x − mean)²) + ε). The
//! square root waits for the division that makes a normalisation of it, as a Euclidean norm does.

use super::super::Op;
use super::attributes::Attributes;
use super::axes::Axes;
use super::constant::{self, Dim};
use super::import::{Failure, Held, Import};
use super::layers::{Kind, Value};
use super::products::vector;
use super::sequences;
use crate::mpc::RowFunction;
use ndarray::IxDyn;

type Result<T> = std::result::Result<T, Failure>;

/// LayerNormalization and RMSNormalization along the last axes, with their factors and summands.
pub(super) fn rows<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let (x, axes) = sequences::rows(import, node, &x)?;
    let axis = constant::axis(node.int("axis").unwrap_or(-1), axes.sizes.len())?;
    let width: usize = axes.sizes[axis..].iter().product();
    if axes.batch.is_some_and(|batch| batch >= axis) {
        return Err("it normalises over the batch".to_owned().into());
    }
    let eps = node.float("epsilon").unwrap_or(1e-5);
    let gamma = flat(import, node, 1, width, "scale")?;
    let (function, beta) = match node.operator() {
        "RMSNormalization" => (RowFunction::RmsNorm { eps }, None),
        _ => (RowFunction::LayerNorm { eps }, flat(import, node, 2, width, "bias")?),
    };
    normalised(import, node, &x, &axes, width, function, [gamma, beta])
}

/// A constant that may be left out, as a vector.
fn flat<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    place: usize,
    width: usize,
    what: &str,
) -> Result<Option<Vec<f64>>> {
    let Some(given) = import.optional_weights(node, place)? else { return Ok(None) };
    let given = given.to_shape(IxDyn(&[given.len()])).map_err(|error| error.to_string())?.to_owned();
    Ok(Some(vector(&given, width, what)?))
}

/// Rows of the last axes, so many elements of them, normalised; then a factor and a summand for each.
fn normalised<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    axes: &Axes,
    width: usize,
    function: RowFunction,
    [gamma, beta]: [Option<Vec<f64>>; 2],
) -> Result<Value> {
    let elements: usize = x.dims.iter().product();
    let shape = if elements == width { vec![width] } else { vec![elements / width, width] };
    let x = import.shaped(node, x, shape)?;
    let mut y = import.layer(node, None, Kind::Plain(Op::Rows(function)), &[&x])?;
    if gamma.is_some() || beta.is_some() {
        let (scale, shift) = (gamma.unwrap_or_else(|| vec![1.0; width]), beta.unwrap_or_else(|| vec![0.0; width]));
        y = import.layer(node, None, Kind::Affine { scale, shift }, &[&y])?;
    }
    Ok(axes.value(y.layer))
}

/// InstanceNormalization and GroupNormalization: each plane of an image, or all planes of a group, as a row; then a factor and a summand for
/// each channel, or in opsets before 21 for each group.
pub(super) fn planes<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let (x, axes) = import.plain(node, &x)?;
    let (&[_, channels, _, ..], Some(0)) = (&axes.sizes[..], axes.batch) else {
        return Err(
            format!("it normalises a value of shape {:?} (without the batch), not planes of an image", x.dims).into()
        );
    };
    let groups = match node.operator() {
        "InstanceNormalization" => channels,
        _ => node.int("num_groups").and_then(|groups| usize::try_from(groups).ok()).unwrap_or(0),
    };
    if groups == 0 || channels % groups != 0 {
        return Err(format!("its {channels} channels are not those of {groups} groups").into());
    }
    let elements: usize = x.dims.iter().product();
    let eps = node.float("epsilon").unwrap_or(1e-5);
    let rows = normalised(import, node, &x, &axes, elements / groups, RowFunction::LayerNorm { eps }, [None, None])?;
    import.take(channels)?;
    let mut read = |place, what| -> Result<Vec<f64>> {
        let given = import.weights(node, place)?;
        if given.len() == groups && groups != channels {
            return Ok(given.iter().flat_map(|&value| vec![f64::from(value); channels / groups]).collect());
        }
        Ok(vector(&given, channels, what)?)
    };
    let (scale, shift) = (read(1, "scale")?, read(2, "bias")?);
    let image = import.shaped(node, &rows, vec![channels, 1, elements / channels])?;
    let y = import.layer(node, None, Kind::Affine { scale, shift }, &[&image])?;
    Ok(axes.value(y.layer))
}

/// Rows of the last axis, each divided by its Euclidean norm: x/√Σx² as x/√(mean(x²)) by 1/√width. A row of zeros stays one.
pub(super) fn unit_rows<'a>(import: &mut Import<'a>, node: Attributes<'a>, x: &Value) -> Result<Value> {
    let (x, axes) = sequences::rows(import, node, x)?;
    let width = x.dims.last().copied().unwrap_or(1);
    import.take(2 * width)?;
    let gamma = vec![(width as f64).sqrt().recip(); width];
    let function = RowFunction::RmsNorm { eps: UNIT_EPS };
    normalised(import, node, &x, &axes, width, function, [Some(gamma), None])
}

/// What is added to the mean square of a row, so that zeros have a norm.
const UNIT_EPS: f64 = 1e-7;

/// LpNormalization by the Euclidean norm of rows.
pub(super) fn lp<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let rank = Axes::of(&x).sizes.len();
    let last = constant::axis(node.int("axis").unwrap_or(-1), rank)? + 1 == rank;
    if node.int("p").unwrap_or(2) != 2 || !last {
        return Err("of norms, the Euclidean one along the last axis is computed".to_owned().into());
    }
    unit_rows(import, node, &x)
}

/// Div of rows by their Euclidean norm, which is written as ReduceL2 or as the root of ReduceSumSquare, and may be kept from being
/// zero and repeated.
fn by_norm<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Option<Value>> {
    let mut maker = node.0.input.get(1).and_then(|name| import.maker(name));
    let (mut root, mut around) = (false, vec![]);
    while let Some(of) = maker.filter(|maker| matches!(maker.operator(), "Clip" | "Expand" | "Sqrt")) {
        match of.operator() {
            "Sqrt" => root = true,
            _ => around.push(of),
        }
        maker = of.0.input.first().and_then(|name| import.maker(name));
    }
    let Some(norm) = maker.filter(|maker| maker.operator() == if root { "ReduceSumSquare" } else { "ReduceL2" }) else {
        return Ok(None);
    };
    if norm.0.input.first() != node.0.input.first() {
        return Ok(None);
    }
    let x = import.value(node, 0)?;
    let axes = Axes::of(&x);
    for of in around {
        if !changes_no_norm(import, of, &axes)? {
            return Ok(None);
        }
    }
    if !is_of_rows(import, norm, axes.sizes.len())? {
        return Ok(None);
    }
    unit_rows(import, node, &x).map(Some)
}

/// Whether a Clip only keeps a norm from being zero, or an Expand only repeats it for each element of a value with these axes.
fn changes_no_norm<'a>(import: &mut Import<'a>, node: Attributes<'a>, axes: &Axes) -> Result<bool> {
    if node.operator() == "Clip" {
        let [low, high] = super::activations::clip_bounds(import, node)?;
        return Ok(low <= 1e-6 && high >= 1e30);
    }
    let target = import.constant(node, 1)?.and_then(|target| target.dims()).unwrap_or_default();
    let fits = |(at, dim): (usize, &Dim)| match *dim {
        Dim::Is(1) => true,
        Dim::Is(size) if axes.batch == Some(at) => usize::try_from(size).ok() == import.fixed_batch,
        Dim::Is(size) => usize::try_from(size).ok() == axes.sizes.get(at).copied(),
        Dim::Batch(times) => axes.batch == Some(at) && times == 1,
    };
    Ok(target.len() == axes.sizes.len() && target.iter().enumerate().all(fits))
}

/// Whether a reduction is along the last axis, and keeps it.
fn is_of_rows<'a>(import: &mut Import<'a>, reduction: Attributes<'a>, rank: usize) -> Result<bool> {
    let axes = constant::axes(&reduction, import.constant(reduction, 1)?.as_ref())?;
    let keeps = reduction.int("keepdims").unwrap_or(1) != 0;
    Ok(keeps && matches!(axes[..], [axis] if constant::axis(axis, rank) == Ok(rank - 1)))
}

/// Sqrt or ReduceL2 of a value: nothing by itself.
pub(super) fn root<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Held> {
    import.value(node, 0).map(|_| Held::Root)
}

/// ReduceLogSumExp of the scores of classes: nothing by itself.
pub(super) fn log_sum_exp<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Held> {
    let x = import.value(node, 0)?;
    let axes = constant::axes(&node, import.constant(node, 1)?.as_ref())?;
    if x.dims.len() != 1 || !matches!(axes[..], [1 | -1]) {
        return Err("it is computed over classes, the last axis of [batch, classes]".to_owned().into());
    }
    Ok(Held::LogSumExp(x))
}

/// Scores less the logarithm of the sum of their exponentials: the logarithm of a softmax, as naive Bayes has it.
pub(super) fn less_log_sum<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Option<Value>> {
    let Some(Held::LogSumExp(of)) = import.input(node, 1)? else { return Ok(None) };
    let x = import.value(node, 0)?;
    if x != of {
        return Ok(None);
    }
    super::activations::of_each(import, node, Op::Rows(RowFunction::LogSoftmax), &x).map(Some)
}

/// Pow: a square, as a product.
pub(super) fn power<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let exponent = import.constant(node, 1)?.and_then(|exponent| exponent.scalar());
    if exponent != Some(2.0) {
        return Err("of powers, squares are computed".to_owned().into());
    }
    let x = import.value(node, 0)?;
    super::activations::product(import, node, &x, &x)
}

/// Div of two values, where it ends a normalisation.
pub(super) fn division<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Option<Value>> {
    let Some((x, eps)) = parts(import, node)? else { return by_norm(import, node) };
    let (x, axes) = import.plain(node, &x)?;
    let width = x.dims.last().copied().unwrap_or(1);
    normalised(import, node, &x, &axes, width, RowFunction::LayerNorm { eps }, [None, None]).map(Some)
}

/// What is normalised, and ε.
fn parts<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Option<(Value, f64)>> {
    let makes = |import: &Import<'a>, of: Attributes<'a>, place: usize, operator: &str| {
        let maker = import.maker(of.0.input.get(place)?)?;
        (maker.operator() == operator).then_some(maker)
    };
    let Some(root) = makes(import, node, 1, "Sqrt") else { return Ok(None) };
    let Some(sum) = makes(import, root, 0, "Add") else { return Ok(None) };
    let constants = [import.constant(sum, 0)?, import.constant(sum, 1)?];
    let (place, eps) = match constants {
        [None, Some(eps)] => (0, eps),
        [Some(eps), None] => (1, eps),
        _ => return Ok(None),
    };
    let (Some(eps), Some(variance)) = (eps.scalar(), makes(import, sum, place, "ReduceMean")) else { return Ok(None) };
    let square = makes(import, variance, 0, "Pow").or_else(|| makes(import, variance, 0, "Mul"));
    let Some(square) = square else { return Ok(None) };
    let squared = match square.operator() {
        "Pow" => import.constant(square, 1)?.and_then(|exponent| exponent.scalar()) == Some(2.0),
        _ => square.0.input.first() == square.0.input.get(1),
    };
    let (Some(above), Some(below)) = (makes(import, node, 0, "Sub"), makes(import, square, 0, "Sub")) else {
        return Ok(None);
    };
    let Some(mean) = makes(import, above, 1, "ReduceMean") else { return Ok(None) };
    if !squared || above.0.input != below.0.input || above.0.input.first() != mean.0.input.first() {
        return Ok(None);
    }
    let x = import.value(above, 0)?;
    let rank = Axes::of(&x).sizes.len();
    for reduction in [mean, variance] {
        if !is_of_rows(import, reduction, rank)? {
            return Ok(None);
        }
    }
    Ok(Some((x, eps)))
}
