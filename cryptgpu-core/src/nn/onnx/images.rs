//! Pad: numbers around a value, or its own elements once more.

use super::super::Op;
use super::attributes::Attributes;
use super::axes::Axes;
use super::constant;
use super::import::{Failure, Import};
use super::layers::{Kind, Value};
use super::{activations, places, sequences};
use crate::device::PoolGeometry;
use crate::mpc::PiecewiseLinear;

type Result<T> = std::result::Result<T, Failure>;

/// Pad with a number, of any axes but the batch's, or by reflection, by the outermost elements, or by those of the other end.
pub(super) fn pad<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let along = ends(import, node, &x)?;
    match node.text("mode").unwrap_or("constant") {
        "constant" => {
            let value = import.constant(node, 2)?.map(|value| value.scalar().unwrap_or(f64::NAN));
            let value = value.or(node.float("value")).unwrap_or(0.0);
            if !value.is_finite() {
                return Err(format!("it pads with {value}").into());
            }
            let line = |offset: f64| activations::made(PiecewiseLinear::line(1.0, offset));
            // x − c with zeros around it, and c added everywhere.
            let mut y = x;
            if value != 0.0 {
                y = activations::of_each(import, node, line(-value)?, &y)?;
            }
            y = with_zeros(import, node, y, &along)?;
            if value != 0.0 {
                y = activations::of_each(import, node, line(value)?, &y)?;
            }
            Ok(y)
        }
        mode @ ("reflect" | "edge" | "wrap") => {
            let mut y = x;
            for &(axis, [before, after]) in &along {
                let size = Axes::of(&y).sizes[axis] as i64;
                let count = usize::try_from(size.saturating_add(before).saturating_add(after)).unwrap_or(0);
                let place = |at: usize| mirrored(mode, at as i64 - before, size) as usize;
                y = places::selected(import, node, &y, axis, count, place)?;
            }
            Ok(y)
        }
        mode => Err(format!("its mode is {}", super::import::harmless(mode)).into()),
    }
}

/// The element of an axis that stands at a place before, on or behind it.
fn mirrored(mode: &str, at: i64, size: i64) -> i64 {
    match mode {
        "edge" => at.clamp(0, size - 1),
        "wrap" => at.rem_euclid(size),
        _ if size == 1 => 0,
        _ => {
            let place = at.rem_euclid(2 * size - 2);
            place.min(2 * size - 2 - place)
        }
    }
}

/// How much each axis grows at either end, or shrinks; the batch's stays.
fn ends<'a>(import: &mut Import<'a>, node: Attributes<'a>, x: &Value) -> Result<Vec<(usize, [i64; 2])>> {
    let given = match node.ints("pads") {
        Some(pads) => Some(pads.to_vec()),
        None => import.constant(node, 1)?.and_then(|pads| pads.integers()),
    };
    let pads = given.ok_or_else(|| "its pads are not known before it runs".to_owned())?;
    let own = Axes::of(x);
    let rank = own.sizes.len();
    let axes = match import.constant(node, 3)? {
        Some(axes) => axes.integers().ok_or_else(|| "its axes are no numbers".to_owned())?,
        None => (0..rank as i64).collect(),
    };
    let axes = axes.into_iter().map(|at| constant::axis(at, rank)).collect::<std::result::Result<Vec<_>, _>>()?;
    if pads.len() != 2 * axes.len() {
        return Err(format!("its pads {pads:?} are not two for each of the axes {axes:?}").into());
    }
    let pairs = axes.iter().enumerate().map(|(place, &axis)| (axis, [pads[place], pads[place + axes.len()]]));
    let along: Vec<_> = pairs.filter(|(_, pads)| *pads != [0, 0]).collect();
    if along.iter().any(|(axis, _)| own.batch == Some(*axis)) {
        return Err("it adds images to the batch".to_owned().into());
    }
    Ok(along)
}

/// Zeros around a value. Of height and width: what a sum over windows of one pixel has as padding.
fn with_zeros<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: Value,
    along: &[(usize, [i64; 2])],
) -> Result<Value> {
    if let Some(spatial) = x.spatial_axes(&import.layers) {
        let (mut padding, mut dims, mut all) = ([0; 4], x.dims.clone(), true);
        for &(axis, pads) in along {
            let at = spatial.iter().position(|&spatial| spatial + 1 == axis).map(|at| at + 2 - spatial.len());
            let (Some(at), [Ok(before), Ok(after)]) = (at, pads.map(usize::try_from)) else {
                all = false;
                break;
            };
            padding[2 * at..2 * at + 2].copy_from_slice(&[before, after]);
            dims[axis - 1] = dims[axis - 1].saturating_add(before).saturating_add(after);
        }
        if all && padding == [0; 4] {
            return Ok(x);
        }
        if all {
            let window = PoolGeometry { padding, ..PoolGeometry::square(1, 1, 0) };
            let layer = import.layer(node, None, Kind::Plain(Op::AvgPool { window }), &[&x])?;
            return Ok(Value { dims, ..x.with(layer.layer) });
        }
    }
    let mut y = x;
    for &(axis, pads) in along {
        let [cut, more] = [
            pads.map(|pad| usize::try_from(pad.saturating_neg()).unwrap_or(0)),
            pads.map(|pad| usize::try_from(pad).unwrap_or(0)),
        ];
        let left = Axes::of(&y).sizes[axis].saturating_sub(cut[0]).saturating_sub(cut[1]);
        y = places::selected(import, node, &y, axis, left, |at| at + cut[0])?;
        y = sequences::padded(import, node, &y, axis, more)?;
    }
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::mirrored;

    #[test]
    fn elements_beyond_the_ends_are_those_of_numpy() {
        let around = |mode, size| (-4..size + 4).map(|at| mirrored(mode, at, size)).collect::<Vec<_>>();
        assert_eq!(around("reflect", 3), [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert_eq!(around("edge", 3), [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]);
        assert_eq!(around("wrap", 3), [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(around("reflect", 1), [0; 9]);
    }
}
