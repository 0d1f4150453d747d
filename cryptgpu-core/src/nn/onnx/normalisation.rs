//! Layer normalisation as exporters wrote it before it was an operator, by its parts: (x − mean) / √(mean((x − mean)²) + ε). The
//! square root waits for the division that makes a normalisation of it.

use super::attributes::Attributes;
use super::constant;
use super::import::{Failure, Held, Import};
use super::layers::Value;
use super::sequences;

type Result<T> = std::result::Result<T, Failure>;

/// Sqrt of a value: nothing by itself.
pub(super) fn root<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Held> {
    import.value(node, 0).map(|_| Held::Root)
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
pub(super) fn division<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let (x, eps) = parts(import, node)?.ok_or_else(|| {
        "it divides by a value that depends on the input: only division by constants, and that of layer normalisation, is computed"
            .to_owned()
    })?;
    let (x, axes) = import.plain(node, &x)?;
    let width = x.dims.last().copied().unwrap_or(1);
    sequences::normalised(import, node, &x, &axes, width, eps, [None, None])
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
    let rank = super::axes::Axes::of(&x).sizes.len();
    for reduction in [mean, variance] {
        let axes = constant::axes(&reduction, import.constant(reduction, 1)?.as_ref())?;
        let keeps = reduction.int("keepdims").unwrap_or(1) != 0;
        if !keeps || !matches!(axes[..], [axis] if constant::axis(axis, rank) == Ok(rank - 1)) {
            return Ok(None);
        }
    }
    Ok(Some((x, eps)))
}
