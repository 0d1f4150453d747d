//! What several figures draw with: ink, text that fits, heads of arrows.

use std::error::Error;
use std::time::Duration;

use cryptgpu_core::show::duration_text;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figure::Canvas;

/// Whether what was to be drawn is drawn.
pub(super) type Drawn = std::result::Result<(), Box<dyn Error>>;

/// Text and lines.
pub(super) const INK: RGBColor = RGBColor(40, 44, 52);
/// Text beside.
pub(super) const PALE_INK: RGBColor = RGBColor(110, 116, 124);

pub(super) fn font<'a>(size: i32, colour: RGBColor) -> TextStyle<'a> {
    ("sans-serif", size).with_color(colour).into_text_style(&(0, 0))
}

pub(super) fn centred<'a>(size: i32, colour: RGBColor) -> TextStyle<'a> {
    font(size, colour).pos(Pos::new(HPos::Center, VPos::Center))
}

/// How wide `text` is about, in pixels.
pub(super) fn text_width(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * 0.56 * f64::from(size)).ceil() as i32
}

/// As much of `text` as fits into `width` pixels, if that still says something.
pub(super) fn fitted(text: &str, width: i32, size: i32) -> Option<String> {
    if text_width(text, size) <= width {
        return Some(text.to_owned());
    }
    let fits = (f64::from(width) / (0.56 * f64::from(size))) as usize;
    (fits >= 5).then(|| text.chars().take(fits - 1).chain(['…']).collect())
}

pub(super) fn duration(nanos: f64) -> String {
    duration_text(Duration::from_nanos(nanos as u64))
}

/// The pixel of a point.
pub(super) fn pixel((x, y): (f64, f64)) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}

/// The head of an arrow that comes from `from` and ends in `to`.
pub(super) fn arrow_head(canvas: &Canvas<'_>, from: (f64, f64), to: (f64, f64), size: f64) -> Drawn {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1e-9);
    let (ux, uy) = (dx / length * size, dy / length * size);
    let side = |turn: f64| pixel((to.0 - ux + turn * uy, to.1 - uy - turn * ux));
    canvas.draw(&Polygon::new(vec![pixel(to), side(0.45), side(-0.45)], INK.mix(0.8).filled()))?;
    Ok(())
}
