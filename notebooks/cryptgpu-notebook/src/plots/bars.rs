//! Measurements beside published figures in bars: time on the left, bytes on the right, a group for each network.

use std::error::Error;

use cryptgpu_core::experiment::Cited;
use cryptgpu_core::show::number_text;
use plotters::prelude::*;

use crate::Result;
use crate::figure::{Canvas, Figure};

const OURS: RGBColor = RGBColor(31, 119, 180);
const PAPER: RGBColor = RGBColor(255, 127, 14);
const FALCON: RGBColor = RGBColor(140, 140, 140);
const WIDTH: u32 = 900;
const ROW: u32 = 46;
const HEAD: u32 = 90;

/// One bar: its length, its colour, and whether its figure is unverified, in which case it is drawn hollow.
struct Bar {
    value: f64,
    colour: RGBColor,
    unverified: bool,
}

/// The bars of one network, from the top.
pub(super) struct Group {
    name: String,
    bars: Vec<Bar>,
}

impl Group {
    /// Ours, where it may be shown, above CryptGPU's and Falcon's, all divided by `unit`.
    pub(super) fn of(name: String, ours: Option<f64>, cited: [&Option<Cited>; 2], unit: f64) -> Self {
        let own = ours.map(|value| Bar { value: value / unit, colour: OURS, unverified: false });
        let published = cited.into_iter().zip([PAPER, FALCON]).filter_map(|(cited, colour)| {
            cited.as_ref().map(|cited| Bar { value: cited.value / unit, colour, unverified: !cited.verified })
        });
        Group { name, bars: own.into_iter().chain(published).collect() }
    }
}

/// Panels side by side, each with its title, on logarithmic scales.
pub(super) fn draw(panels: [(&str, Vec<Group>); 2]) -> Result<Figure> {
    let height = HEAD + ROW * panels[0].1.len() as u32;
    Figure::draw((WIDTH, height), |canvas| {
        canvas.fill(&WHITE)?;
        let (head, body) = canvas.split_vertically(24);
        legend(&head)?;
        for (panel, (title, groups)) in body.split_evenly((1, 2)).iter().zip(&panels) {
            bars(panel, title, groups)?;
        }
        Ok(())
    })
}

/// What the colours mean.
fn legend(canvas: &Canvas<'_>) -> std::result::Result<(), Box<dyn Error>> {
    let entries = [
        ("ours", OURS, false),
        ("CryptGPU", PAPER, false),
        ("Falcon", FALCON, false),
        ("hollow: unverified", BLACK, true),
    ];
    for (index, (name, colour, hollow)) in entries.into_iter().enumerate() {
        let x = 20 + 130 * index as i32;
        let style = if hollow { colour.stroke_width(1) } else { colour.filled() };
        canvas.draw(&Rectangle::new([(x, 7), (x + 14, 17)], style))?;
        canvas.draw(&Text::new(name, (x + 20, 5), ("sans-serif", 13)))?;
    }
    Ok(())
}

/// Horizontal bars on a logarithmic scale, each with its value.
fn bars(canvas: &Canvas<'_>, title: &str, groups: &[Group]) -> std::result::Result<(), Box<dyn Error>> {
    let values = || groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value).filter(|value| *value > 0.0);
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::MIN_POSITIVE, f64::max);
    // Room for the shortest bar to be seen, and for the number at the end of the longest.
    let range = (low.min(high) / 3.0)..(high * 8.0);
    let count = groups.len() as f64;
    let mut chart = ChartBuilder::on(canvas)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(118)
        .build_cartesian_2d(range.clone().log_scale(), 0.0..count)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .x_labels(5)
        .x_label_formatter(&|x| number_text(*x, 3))
        .draw()?;
    for (index, group) in groups.iter().enumerate() {
        let top = count - index as f64;
        let name = Text::new(group.name.clone(), (-116, -7), ("sans-serif", 13));
        chart.draw_series(std::iter::once(EmptyElement::at((range.start, top - 0.5)) + name))?;
        let thickness = 0.8 / group.bars.len().max(1) as f64;
        for (place, bar) in group.bars.iter().enumerate() {
            let upper = top - 0.1 - thickness * place as f64;
            let corners = [(range.start, upper), (bar.value.max(range.start), upper - thickness)];
            let style = if bar.unverified { bar.colour.stroke_width(1) } else { bar.colour.filled() };
            chart.draw_series(std::iter::once(Rectangle::new(corners, style)))?;
            let number = Text::new(number_text(bar.value, 3), (4, 1), ("sans-serif", 11));
            chart.draw_series(std::iter::once(EmptyElement::at((bar.value.max(range.start), upper)) + number))?;
        }
    }
    Ok(())
}
