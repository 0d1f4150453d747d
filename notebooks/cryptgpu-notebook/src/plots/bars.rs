//! Measurements beside published figures in bars: time on the left, bytes on the right, a group for each network.

use std::error::Error;

use cryptgpu_core::experiment::Cited;
use cryptgpu_core::show::number_text;
use plotters::prelude::*;

use super::palette;
use super::pen::{fitted, text_width};
use crate::Result;
use crate::figure::{Canvas, Figure};

const WIDTH: u32 = 980;
/// Pixels of a bar, and between groups.
const BAR: u32 = 15;
const GAP: u32 = 8;
const HEAD: u32 = 100;
/// Room for the names of groups.
const NAMES: u32 = 170;

/// One bar: whose it is, its length, and whether its figure is unverified, in which case it is drawn hollow, or its result
/// wrong, in which case it is crossed.
struct Bar {
    system: String,
    value: f64,
    unverified: bool,
    wrong: bool,
}

/// The bars of one network, from the top.
pub(super) struct Group {
    name: String,
    bars: Vec<Bar>,
}

impl Group {
    /// A group without bars.
    pub(super) fn new(name: impl Into<String>) -> Self {
        Group { name: name.into(), bars: vec![] }
    }

    /// Adds a system's bar, where there is a number.
    pub(super) fn with(mut self, system: &str, value: Option<f64>, [unverified, wrong]: [bool; 2]) -> Self {
        self.bars.extend(value.map(|value| Bar { system: system.to_owned(), value, unverified, wrong }));
        self
    }

    /// Ours, where it may be shown, above CryptGPU's and Falcon's, all divided by `unit`.
    pub(super) fn of(name: String, ours: Option<f64>, cited: [&Option<Cited>; 2], unit: f64) -> Self {
        let group = Group::new(name).with("ours", ours.map(|value| value / unit), [false; 2]);
        let cite = |group: Group, (cited, system): (&Option<Cited>, &str)| match cited {
            Some(cited) => group.with(system, Some(cited.value / unit), [!cited.verified, false]),
            None => group,
        };
        cited.into_iter().zip(["CryptGPU", "Falcon"]).fold(group, cite)
    }
}

/// Panels side by side, each with its title, on logarithmic scales.
pub(super) fn draw<const N: usize>(panels: [(&str, Vec<Group>); N]) -> Result<Figure> {
    let tallest = |(_, groups): &(&str, Vec<Group>)| {
        let most = groups.iter().map(|group| group.bars.len()).max().unwrap_or(1) as u32;
        groups.len() as u32 * (most.max(2) * BAR + GAP)
    };
    let height = HEAD + panels.iter().map(tallest).max().unwrap_or(0);
    let mut systems: Vec<&str> = vec![];
    for bar in panels.iter().flat_map(|(_, groups)| groups).flat_map(|group| &group.bars) {
        if !systems.contains(&bar.system.as_str()) {
            systems.push(&bar.system);
        }
    }
    Figure::draw((WIDTH, height), |canvas| {
        canvas.fill(&WHITE)?;
        let (head, body) = canvas.split_vertically(24);
        let any =
            |is: fn(&Bar) -> bool| panels.iter().flat_map(|(_, groups)| groups).flat_map(|group| &group.bars).any(is);
        legend(&head, &systems, [any(|bar| bar.unverified), any(|bar| bar.wrong)])?;
        for (panel, (title, groups)) in body.split_evenly((1, N)).iter().zip(&panels) {
            bars(panel, title, groups)?;
        }
        Ok(())
    })
}

/// What the colours mean, and hollow and crossed bars where there are some.
fn legend(
    canvas: &Canvas<'_>,
    systems: &[&str],
    [unverified, wrong]: [bool; 2],
) -> std::result::Result<(), Box<dyn Error>> {
    let mut x = 12;
    let mut entry = |name: &str, colour: RGBColor, hollow: bool, crossed: bool| {
        let style = if hollow { colour.stroke_width(1) } else { colour.filled() };
        canvas.draw(&Rectangle::new([(x, 7), (x + 14, 17)], style))?;
        if crossed {
            canvas.draw(&PathElement::new([(x, 17), (x + 14, 7)], BLACK.stroke_width(2)))?;
        }
        canvas.draw(&Text::new(name.to_owned(), (x + 20, 5), ("sans-serif", 13)))?;
        x += 40 + text_width(name, 13);
        Ok::<(), Box<dyn Error>>(())
    };
    systems.iter().try_for_each(|system| entry(system, palette::of(system), false, false))?;
    if unverified {
        entry("hollow: unverified", BLACK, true, false)?;
    }
    if wrong {
        entry("crossed: wrong result", palette::RULE, false, true)?;
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
    let most = groups.iter().map(|group| group.bars.len()).max().unwrap_or(1).max(2) as f64;
    let mut chart = ChartBuilder::on(canvas)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(NAMES)
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
        // A long name says in the table what this one leaves out.
        let name = fitted(&group.name, NAMES as i32 - 4, 12).unwrap_or_default();
        let name = Text::new(name, (2 - NAMES as i32, -7), ("sans-serif", 12));
        chart.draw_series(std::iter::once(EmptyElement::at((range.start, top - 0.5)) + name))?;
        let thickness = 0.86 / most;
        for (place, bar) in group.bars.iter().enumerate() {
            let upper = top - 0.07 - thickness * place as f64;
            let corners = [(range.start, upper), (bar.value.max(range.start), upper - thickness)];
            let colour = palette::of(&bar.system);
            let style = if bar.unverified { colour.stroke_width(1) } else { colour.filled() };
            chart.draw_series(std::iter::once(Rectangle::new(corners, style)))?;
            if bar.wrong {
                let across = [(corners[0].0, corners[1].1), (corners[1].0, corners[0].1)];
                chart.draw_series(std::iter::once(PathElement::new(across, BLACK.stroke_width(1))))?;
            }
            let number = Text::new(number_text(bar.value, 3), (4, 1), ("sans-serif", 11));
            chart.draw_series(std::iter::once(EmptyElement::at((bar.value.max(range.start), upper)) + number))?;
        }
    }
    Ok(())
}
