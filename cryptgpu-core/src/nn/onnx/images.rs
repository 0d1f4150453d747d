//! Images made larger: zeros around them, and each pixel as several.

use super::super::Op;
use super::attributes::Attributes;
use super::constant::{self, Dim};
use super::import::{Failure, Import};
use super::layers::{Kind, Value};
use crate::device::PoolGeometry;

type Result<T> = std::result::Result<T, Failure>;

/// Axes of height and width, counted with the batch; signals have the latter alone.
fn spatial(import: &Import<'_>, x: &Value) -> Result<Vec<usize>> {
    let axes = x.spatial_axes(&import.layers).ok_or_else(|| "its input is no image".to_owned())?;
    Ok(axes.into_iter().map(|axis| axis + 1).collect())
}

/// Pad with zeros, of height and width: a sum over windows of one pixel, whose padding is zeros.
pub(super) fn pad<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let mode = node.text("mode").unwrap_or("constant");
    let value = import.constant(node, 2)?.map(|value| value.scalar().unwrap_or(f64::NAN));
    if mode != "constant" || value.or(node.float("value")).is_some_and(|value| value != 0.0) {
        return Err("it pads with something that is not zero: only zeros are put around images".to_owned().into());
    }
    let given = match node.ints("pads") {
        Some(pads) => Some(pads.to_vec()),
        None => import.constant(node, 1)?.and_then(|pads| pads.integers()),
    };
    let pads = given.ok_or_else(|| "its pads are not known before it runs".to_owned())?;
    let rank = x.dims.len() + 1;
    let axes = match import.constant(node, 3)? {
        Some(axes) => axes.integers().ok_or_else(|| "its axes are no numbers".to_owned())?,
        None => (0..rank as i64).collect(),
    };
    let axes = axes.into_iter().map(|at| constant::axis(at, rank)).collect::<std::result::Result<Vec<_>, _>>()?;
    let spatial = spatial(import, &x)?;
    let refused = || format!("its pads {pads:?} of axes {axes:?} are none of height and width alone, of zero or more");
    if pads.len() != 2 * axes.len() {
        return Err(refused().into());
    }
    let (mut padding, mut dims) = ([0; 4], x.dims.clone());
    for (place, &axis) in axes.iter().enumerate() {
        let ends = [pads[place], pads[place + axes.len()]].map(usize::try_from);
        let [Ok(before), Ok(after)] = ends else { return Err(refused().into()) };
        if [before, after] == [0, 0] {
            continue;
        }
        let at = spatial.iter().position(|&spatial| spatial == axis).ok_or_else(refused)? + 2 - spatial.len();
        padding[2 * at..2 * at + 2].copy_from_slice(&[before, after]);
        dims[axis - 1] = dims[axis - 1].saturating_add(before).saturating_add(after);
    }
    if padding == [0; 4] {
        return Ok(x);
    }
    let window = PoolGeometry { padding, ..PoolGeometry::square(1, 1, 0) };
    let layer = import.layer(node, None, Kind::Plain(Op::AvgPool { window }), &[&x])?;
    Ok(Value { dims, ..x.with(layer.layer) })
}

/// Resize and Upsample to nearest neighbours, by whole factors.
pub(super) fn upsample<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let refused =
        |what: String| Failure::Refused(format!("{what}: only nearest neighbours by whole factors are computed"));
    let mode = node.text("mode").unwrap_or("nearest");
    if mode != "nearest" {
        return Err(refused(format!("its mode is {}", super::import::harmless(mode))));
    }
    if node.ints("axes").is_some() {
        return Err(refused("it names axes".into()));
    }
    let dims = [&[1], &x.dims[..]].concat();
    let scales =
        scales(import, node, &dims)?.ok_or_else(|| refused("its sizes are not known before it runs".into()))?;
    let whole = |scale: f64| (scale >= 1.0 && scale.fract() == 0.0 && scale < 65536.0).then_some(scale as usize);
    let factors = scales.iter().map(|&scale| whole(scale)).collect::<Option<Vec<usize>>>();
    let factors = factors.filter(|factors| factors.len() == dims.len());
    let factors = factors.ok_or_else(|| refused(format!("its scales are {scales:?}")))?;
    let spatial = spatial(import, &x)?;
    let (mut both, mut dims) = ([1, 1], x.dims.clone());
    for (axis, factor) in factors.into_iter().enumerate().filter(|(_, factor)| *factor != 1) {
        let at = spatial.iter().position(|&spatial| spatial == axis);
        let at = at.ok_or_else(|| refused(format!("its scales are {scales:?}")))?;
        both[at + 2 - spatial.len()] = factor;
        dims[axis - 1] = dims[axis - 1].saturating_mul(factor);
    }
    if !repeats(node, both[0].max(both[1])) {
        return Err(refused("its neighbours are chosen in another way".into()));
    }
    if both == [1, 1] {
        return Ok(x);
    }
    let layer = import.layer(node, None, Kind::Plain(Op::Upsample { factors: both }), &[&x])?;
    Ok(Value { dims, ..x.with(layer.layer) })
}

/// The scale of each axis, the batch's first, from scales or sizes.
fn scales<'a>(import: &mut Import<'a>, node: Attributes<'a>, dims: &[usize]) -> Result<Option<Vec<f64>>> {
    if let Some(scales) = node.floats("scales") {
        return Ok(Some(scales.iter().map(|&scale| scale.into()).collect()));
    }
    let place = if node.operator() == "Resize" && node.0.input.len() > 2 { 2 } else { 1 };
    if let Some(scales) = import.constant(node, place)?.filter(|scales| scales.len() > 0) {
        return Ok(scales.as_floats().map(|scales| scales.iter().map(|&scale| scale.into()).collect()));
    }
    let Some(sizes) = import.constant(node, 3)?.and_then(|sizes| sizes.dims()) else { return Ok(None) };
    let Some((_, rest)) = sizes.split_first().filter(|_| sizes.len() == dims.len()) else { return Ok(None) };
    let scale = |(size, &old): (&Dim, &usize)| match size {
        Dim::Is(size) => Some(*size as f64 / old as f64),
        Dim::Batch(_) => None,
    };
    let scales: Option<Vec<f64>> = rest.iter().zip(&dims[1..]).map(scale).collect();
    Ok(scales.map(|scales| [&[1.0], &scales[..]].concat()))
}

/// Whether the nearest neighbour of pixel x is pixel ⌊x / factor⌋, in whatever way the node says so.
fn repeats(node: Attributes<'_>, factor: usize) -> bool {
    if node.operator() == "Upsample" {
        return true;
    }
    let rounding = node.text("nearest_mode").unwrap_or("round_prefer_floor");
    match node.text("coordinate_transformation_mode").unwrap_or("half_pixel") {
        // (x + 1/2) / factor − 1/2 is less than half a pixel away from it.
        "half_pixel" | "half_pixel_symmetric" | "pytorch_half_pixel" => rounding.starts_with("round_prefer"),
        // x / factor.
        "asymmetric" => rounding == "floor" || (rounding == "round_prefer_floor" && factor <= 2),
        _ => false,
    }
}
