//! Lines and dots in panels side by side, with a headline that says what was measured, where, and what is better.

use std::error::Error;

use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

use super::palette;
use super::pen::{Drawn, INK, PALE_INK, font, text_width};
use crate::Result;
use crate::figure::{Canvas, Figure};

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// A line with a dot at each point.
    Measured,
    /// Dots alone.
    Dots,
    /// A thin line: fitted, or computed.
    Thin,
}

/// One line.
pub(super) struct Line {
    pub name: String,
    pub colour: RGBColor,
    pub look: Look,
    pub points: Vec<(f64, f64)>,
}

/// What an axis shows.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub name: &'static str,
    pub log: bool,
    pub text: fn(f64) -> String,
}

/// One panel.
pub(super) struct Panel {
    pub title: String,
    pub axes: [Axis; 2],
    pub lines: Vec<Line>,
}

const PANEL: (u32, u32) = (490, 330);
const HEAD: i32 = 34;
const ROW: i32 = 20;

/// Panels, two in a row.
pub(super) fn draw(headline: &str, panels: &[Panel]) -> Result<Figure> {
    let columns = panels.len().clamp(1, 2);
    let rows = panels.len().div_ceil(2).max(1);
    let width = if columns == 1 { 820 } else { columns as u32 * PANEL.0 };
    let legend = legend(panels, width as i32);
    let head = HEAD + ROW * legend.last().map_or(0, |(_, (_, row))| row + 1) + 8;
    let figure = Figure::draw((width, head as u32 + rows as u32 * PANEL.1), |canvas| {
        canvas.fill(&WHITE)?;
        let (top, body) = canvas.split_vertically(head);
        top.draw(&Text::new(headline.to_owned(), (12, 10), font(15, INK)))?;
        for (line, (x, row)) in &legend {
            sample(&top, line, (*x, HEAD + ROW * row))?;
        }
        for (area, one) in body.split_evenly((rows, columns)).iter().zip(panels) {
            panel(area, one)?;
        }
        Ok(())
    })?;
    Ok(figure.title(format!("lines: {headline}")))
}

/// Each name once, with its place: pixels from the left, and row.
fn legend(panels: &[Panel], width: i32) -> Vec<(&Line, (i32, i32))> {
    let mut entries: Vec<(&Line, (i32, i32))> = vec![];
    let (mut x, mut row) = (12, 0);
    for line in panels.iter().flat_map(|panel| &panel.lines) {
        if entries.iter().any(|(known, _)| known.name == line.name) {
            continue;
        }
        let needed = 26 + text_width(&line.name, 13) + 18;
        if x + needed > width && x > 12 {
            (x, row) = (12, row + 1);
        }
        entries.push((line, (x, row)));
        x += needed;
    }
    entries
}

fn sample(canvas: &Canvas<'_>, line: &Line, (x, y): (i32, i32)) -> Drawn {
    let stroke = if line.look == Look::Thin { 1 } else { 2 };
    if line.look != Look::Dots {
        canvas.draw(&PathElement::new([(x, y + 8), (x + 18, y + 8)], line.colour.stroke_width(stroke)))?;
    }
    if line.look != Look::Thin {
        canvas.draw(&Circle::new((x + 9, y + 8), 3, line.colour.filled()))?;
    }
    canvas.draw(&Text::new(line.name.clone(), (x + 24, y), font(13, INK)))?;
    Ok(())
}

fn panel(canvas: &Canvas<'_>, panel: &Panel) -> std::result::Result<(), Box<dyn Error>> {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let span = |axis: Axis, of: fn(&(f64, f64)) -> f64| {
        let fold = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let (low, high) = points().map(of).filter(|v| !axis.log || *v > 0.0).fold((f64::INFINITY, f64::MIN), fold);
        let (low, high) = if low > high { (1.0, 2.0) } else { (low, high) };
        let margin = 0.05 * (high - low).max(1e-3);
        if axis.log { low / 1.5..high * 1.5 } else { low - margin..high + margin }
    };
    let [x, y] = panel.axes;
    let (wide, tall) = (span(x, |point| point.0), span(y, |point| point.1));
    let mut chart = ChartBuilder::on(canvas);
    chart.margin(8).x_label_area_size(40).y_label_area_size(66);
    if !panel.title.is_empty() {
        chart.caption(&panel.title, ("sans-serif", 14));
    }
    match (x.log, y.log) {
        (true, true) => fill(chart.build_cartesian_2d(wide.log_scale(), tall.log_scale())?, panel),
        (false, true) => fill(chart.build_cartesian_2d(wide, tall.log_scale())?, panel),
        (true, false) => fill(chart.build_cartesian_2d(wide.log_scale(), tall)?, panel),
        (false, false) => fill(chart.build_cartesian_2d(wide, tall)?, panel),
    }
}

fn fill<X, Y>(
    mut chart: ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    panel: &Panel,
) -> std::result::Result<(), Box<dyn Error>>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let [x, y] = panel.axes;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(palette::RULE)
        .axis_style(PALE_INK)
        .x_desc(x.name)
        .y_desc(y.name)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|value| (x.text)(*value))
        .y_label_formatter(&|value| (y.text)(*value))
        .draw()?;
    for line in &panel.lines {
        let points = || line.points.iter().copied();
        if line.look == Look::Thin {
            chart.draw_series(LineSeries::new(points(), line.colour.mix(0.6).stroke_width(1)))?;
        }
        if line.look == Look::Measured {
            chart.draw_series(LineSeries::new(points(), line.colour.stroke_width(2)))?;
        }
        if line.look != Look::Thin {
            chart.draw_series(points().map(|point| Circle::new(point, 3, line.colour.filled())))?;
        }
    }
    Ok(())
}

/// A number as axes write it.
pub(super) fn plain(value: f64) -> String {
    cryptgpu_core::show::number_text(value, 3)
}

/// Seconds as axes write them: `5 ms`.
pub(super) fn seconds(value: f64) -> String {
    let (value, unit) = match value {
        value if value < 0.999e-3 => (1e6 * value, "µs"),
        value if value < 0.999 => (1e3 * value, "ms"),
        value => (value, "s"),
    };
    format!("{} {unit}", cryptgpu_core::show::number_text(value, 3))
}
