//! Resize and Upsample. Nearest neighbours are entries of axes, and cost nothing; linear and cubic interpolation is, axis by axis, a
//! product with the matrix of its weights.

use super::super::Op;
use super::attributes::Attributes;
use super::axes::Axes;
use super::constant::{self, Dim};
use super::import::{Failure, Import, harmless};
use super::layers::{Kind, Value};
use super::{places, products};
use ndarray::Array2;

type Result<T> = std::result::Result<T, Failure>;

/// How one axis changes.
#[derive(Clone, Copy)]
struct Along {
    axis: usize,
    before: usize,
    after: usize,
    scale: f64,
}

/// Where pixels of the result lie in what there was, and what is taken there.
struct Way<'a> {
    coordinates: &'a str,
    rounding: &'a str,
    mode: &'a str,
    /// The constant of cubic interpolation.
    cubic: f64,
    /// Whether weights of what lies outside are zero, and the others larger for it.
    only_inside: bool,
    /// Whether pixels that become fewer are means of more neighbours.
    smooths: bool,
}

pub(super) fn resize<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let way = Way::of(node, import.opset)?;
    let along = changes(import, node, &Axes::of(&x))?;
    let broken = |change: &Along| (change.before as f64 * change.scale - change.after as f64).abs() > 1e-3;
    if way.coordinates == "align_corners" && along.iter().any(broken) {
        // The standard's reference counts parts of a pixel here, and others do not.
        return Err("its corners are aligned by scales that make no whole pixels: export it with sizes"
            .to_owned()
            .into());
    }
    let mut y = x;
    let mut left = along;
    if way.mode == "nearest" {
        (y, left) = repeated(import, node, &way, y, left)?;
    }
    for change in left {
        y = match way.mode {
            "nearest" => places::selected(import, node, &y, change.axis, change.after, |at| way.nearest(change, at))?,
            _ => interpolated(import, node, &way, &y, change)?,
        };
    }
    Ok(y)
}

/// The axes that change.
fn changes<'a>(import: &mut Import<'a>, node: Attributes<'a>, axes: &Axes) -> Result<Vec<Along>> {
    let rank = axes.sizes.len();
    let named = match node.ints("axes") {
        Some(named) => named.iter().map(|&at| constant::axis(at, rank)).collect::<std::result::Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let unknown = || "its sizes are not known before it runs".to_owned();
    let (scales, sizes) = given(import, node)?.ok_or_else(unknown)?;
    if scales.as_ref().map_or(0, Vec::len).max(sizes.as_ref().map_or(0, Vec::len)) != named.len() {
        return Err(format!("it does not say how each of {} axes changes", named.len()).into());
    }
    let mut along = vec![];
    for (at, axis) in named.into_iter().enumerate() {
        let before = axes.sizes[axis];
        let (after, scale) = match (&scales, sizes.as_ref().map(|sizes| &sizes[at])) {
            (Some(scales), _) => ((before as f64 * scales[at]).floor(), scales[at]),
            // A file for so many images says so.
            (None, Some(_)) if axes.batch == Some(axis) => continue,
            (None, Some(Dim::Is(size))) => (*size as f64, *size as f64 / before as f64),
            (None, _) => continue,
        };
        if !((1.0..1e7).contains(&after) && scale > 0.0 && scale.is_finite()) {
            return Err(format!("an axis of {before} becomes one of {after}").into());
        }
        let after = after as usize;
        if after == before && scale == 1.0 {
            continue;
        }
        if axes.batch == Some(axis) {
            return Err("it changes how many images there are".to_owned().into());
        }
        along.push(Along { axis, before, after, scale });
    }
    Ok(along)
}

/// Scales or sizes.
type Given = (Option<Vec<f64>>, Option<Vec<Dim>>);

fn given<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Option<Given>> {
    if let Some(scales) = node.floats("scales") {
        return Ok(Some((Some(scales.iter().map(|&scale| scale.into()).collect()), None)));
    }
    let place = if node.operator() == "Resize" && node.0.input.len() > 2 { 2 } else { 1 };
    if let Some(scales) = import.constant(node, place)?.filter(|scales| scales.len() > 0) {
        let scales = scales.as_floats().map(|scales| scales.iter().map(|&scale| f64::from(scale)).collect());
        return Ok(scales.map(|scales| (Some(scales), None)));
    }
    let sizes = import.constant(node, 3)?.and_then(|sizes| sizes.dims());
    Ok(sizes.map(|sizes| (None, Some(sizes))))
}

/// Height and width by whole factors, where neighbours are repeated: one operation for both. What is left to do comes back.
fn repeated<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    way: &Way<'_>,
    x: Value,
    along: Vec<Along>,
) -> Result<(Value, Vec<Along>)> {
    let Some(spatial) = x.spatial_axes(&import.layers) else { return Ok((x, along)) };
    let (mut factors, mut dims, mut left) = ([1, 1], x.dims.clone(), vec![]);
    for change in along {
        let at = spatial.iter().position(|&spatial| spatial + 1 == change.axis);
        let factor = change.after / change.before;
        let whole = change.scale == factor as f64 && (0..change.after).all(|at| way.nearest(change, at) == at / factor);
        match at.filter(|_| whole && factor > 1) {
            Some(at) => {
                factors[at + 2 - spatial.len()] = factor;
                dims[change.axis - 1] = change.after;
            }
            None => left.push(change),
        }
    }
    if factors == [1, 1] {
        return Ok((x, left));
    }
    let layer = import.layer(node, None, Kind::Plain(Op::Upsample { factors }), &[&x])?;
    Ok((Value { dims, ..x.with(layer.layer) }, left))
}

/// An axis whose entries are sums of neighbours with public weights.
fn interpolated<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    way: &Way<'_>,
    x: &Value,
    change: Along,
) -> Result<Value> {
    import.take(change.before.saturating_mul(change.after))?;
    let mut weights = Array2::<f32>::zeros((change.after, change.before));
    for (at, mut row) in weights.rows_mut().into_iter().enumerate() {
        for (place, weight) in way.weights(change, at) {
            row[place] += weight as f32;
        }
    }
    let rank = Axes::of(x).sizes.len();
    let order: Vec<usize> = (0..rank).filter(|&axis| axis != change.axis).chain([change.axis]).collect();
    let back: Vec<usize> = (0..change.axis).chain([rank - 1]).chain(change.axis..rank - 1).collect();
    let moved = import.permuted(node, x, &order)?;
    let mixed = products::linear_of_rows(import, node, &moved, weights, None)?;
    import.permuted(node, &mixed, &back)
}

impl<'a> Way<'a> {
    fn of(node: Attributes<'a>, opset: i64) -> Result<Self> {
        // Before opset 11 a pixel's place is that of its corner.
        let old = node.operator() == "Upsample" || opset < 11;
        let [coordinates, rounding] = if old { ["asymmetric", "floor"] } else { ["half_pixel", "round_prefer_floor"] };
        let refused = |what: &str, how: &str| Err(Failure::Refused(format!("its {what} is {}", harmless(how))));
        let mode = node.text("mode").unwrap_or("nearest");
        if !matches!(mode, "nearest" | "linear" | "bilinear" | "cubic") {
            return refused("mode", mode);
        }
        let coordinates = node.text("coordinate_transformation_mode").unwrap_or(coordinates);
        if !matches!(
            coordinates,
            "half_pixel" | "half_pixel_symmetric" | "pytorch_half_pixel" | "align_corners" | "asymmetric"
        ) {
            return refused("coordinate_transformation_mode", coordinates);
        }
        let rounding = node.text("nearest_mode").unwrap_or(rounding);
        if !matches!(rounding, "round_prefer_floor" | "round_prefer_ceil" | "floor" | "ceil") {
            return refused("nearest_mode", rounding);
        }
        let aspect = node.text("keep_aspect_ratio_policy").unwrap_or("stretch");
        if aspect != "stretch" {
            return refused("keep_aspect_ratio_policy", aspect);
        }
        let cubic = node.float("cubic_coeff_a").unwrap_or(-0.75);
        let (only_inside, smooths) = (node.flag("exclude_outside"), node.flag("antialias"));
        Ok(Way { coordinates, rounding, mode, cubic, only_inside, smooths })
    }

    /// Where entry `at` of the result lies.
    fn place(&self, Along { before, after, scale, .. }: Along, at: usize) -> f64 {
        let (at, before, after) = (at as f64, before as f64, after as f64);
        match self.coordinates {
            "align_corners" if after <= 1.0 => 0.0,
            "align_corners" => at * (before - 1.0) / (after - 1.0),
            "asymmetric" => at / scale,
            "pytorch_half_pixel" if after <= 1.0 => 0.0,
            "half_pixel_symmetric" => {
                let shift = before / 2.0 * (1.0 - after / (scale * before));
                shift + (at + 0.5) / scale - 0.5
            }
            _ => (at + 0.5) / scale - 0.5,
        }
    }

    fn nearest(&self, change: Along, at: usize) -> usize {
        let place = self.place(change, at);
        let rounded = match self.rounding {
            "floor" => place.floor(),
            "ceil" => place.ceil(),
            "round_prefer_ceil" => (place + 0.5).floor(),
            _ => (place - 0.5).ceil(),
        };
        rounded.clamp(0.0, (change.before - 1) as f64) as usize
    }

    /// The entries that entry `at` of the result is a sum of, and their weights.
    fn weights(&self, change: Along, at: usize) -> Vec<(usize, f64)> {
        let place = self.place(change, at);
        let shrink = if self.smooths { change.scale.min(1.0) } else { 1.0 };
        let reach = if self.mode == "cubic" { 2.0 } else { 1.0 } / shrink;
        let (first, last) = ((place - reach).ceil() as i64, (place + reach).floor() as i64);
        let inside = |entry: i64| (0..change.before as i64).contains(&entry);
        let taps = (first..=last).map(|entry| (entry, self.kernel(((entry as f64 - place) * shrink).abs())));
        let taps: Vec<(i64, f64)> = taps.filter(|(entry, _)| !self.only_inside || inside(*entry)).collect();
        let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
        let clamped = |entry: i64| entry.clamp(0, change.before as i64 - 1) as usize;
        taps.into_iter().map(|(entry, weight)| (clamped(entry), weight / sum)).collect()
    }

    /// The weight of a neighbour at so large a distance.
    fn kernel(&self, x: f64) -> f64 {
        let a = self.cubic;
        match self.mode {
            "cubic" if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            "cubic" if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            "cubic" => 0.0,
            _ => (1.0 - x).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PyTorch resizes: weights are of one sum, and a whole factor repeats neighbours.
    #[test]
    fn neighbours_are_those_of_the_standard() {
        let way = |mode, coordinates| Way {
            coordinates,
            rounding: "round_prefer_floor",
            mode,
            cubic: -0.75,
            only_inside: false,
            smooths: false,
        };
        let along = |before: usize, after: usize| Along { axis: 1, before, after, scale: after as f64 / before as f64 };
        let places =
            |way: &Way<'_>, change: Along| (0..change.after).map(|at| way.nearest(change, at)).collect::<Vec<_>>();
        assert_eq!(places(&way("nearest", "half_pixel"), along(2, 6)), [0, 0, 0, 1, 1, 1]);
        assert_eq!(places(&way("nearest", "half_pixel"), along(5, 3)), [0, 2, 4]);
        assert_eq!(places(&way("nearest", "align_corners"), along(4, 2)), [0, 3]);
        let weights = way("linear", "half_pixel").weights(along(2, 4), 1);
        assert_eq!(
            weights.iter().map(|&(at, weight)| (at, (weight * 4.0).round())).collect::<Vec<_>>(),
            [(0, 3.0), (1, 1.0)]
        );
        for at in 0..7 {
            let sum: f64 = way("cubic", "half_pixel").weights(along(4, 7), at).iter().map(|(_, weight)| weight).sum();
            assert!((sum - 1.0).abs() < 1e-12);
        }
    }
}
