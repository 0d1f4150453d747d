//! Private inference in bars, from the same rows as its table.

use std::error::Error;

use cryptgpu_core::experiment::{Cited, Record};
use plotters::prelude::*;

use crate::Result;
use crate::figure::{Canvas, Figure};
use crate::tables::inference_rows;

/// One bar: its length, its colour, and whether its figure is unverified, in which case it is drawn hollow.
struct Bar {
    value: f64,
    colour: RGBColor,
    unverified: bool,
}

/// The bars of one network, from the top.
struct Group {
    name: String,
    bars: Vec<Bar>,
}

const OURS: RGBColor = RGBColor(31, 119, 180);
const PAPER: RGBColor = RGBColor(255, 127, 14);
const FALCON: RGBColor = RGBColor(140, 140, 140);
const WIDTH: u32 = 900;
const ROW: u32 = 46;
const HEAD: u32 = 90;

/// Private inference, time on the left and bytes of all parties on the right, both on a logarithmic scale: ours,
/// CryptGPU's and Falcon's. Hollow bars are figures that nobody could check. Bytes of CryptGPU are those that its code
/// really sends.
///
/// # Errors
/// As [`tables::inference`](crate::tables::inference), and [`Draw`](crate::NotebookError::Draw).
pub fn inference(records: &[Record]) -> Result<Figure> {
    let rows = inference_rows(records)?;
    let group = |ours: f64, paper: &Option<Cited>, falcon: &Option<Cited>, unit: f64, name: &str| {
        let own = Bar { value: ours / unit, colour: OURS, unverified: false };
        let cited = [(paper, PAPER), (falcon, FALCON)].into_iter().filter_map(|(cited, colour)| {
            cited.as_ref().map(|cited| Bar { value: cited.value / unit, colour, unverified: !cited.verified })
        });
        Group { name: name.to_owned(), bars: std::iter::once(own).chain(cited).collect() }
    };
    let seconds: Vec<_> = rows
        .iter()
        .map(|row| group(row.seconds, &row.cryptgpu_seconds, &row.falcon_seconds, 1.0, &row.label()))
        .collect();
    let bytes: Vec<_> = rows
        .iter()
        .map(|row| group(row.bytes as f64, &row.cryptgpu_bytes_sent, &row.falcon_bytes, 1e6, &row.label()))
        .collect();
    let height = HEAD + ROW * rows.len() as u32;
    let figure = Figure::draw((WIDTH, height), |canvas| {
        canvas.fill(&WHITE)?;
        let (head, body) = canvas.split_vertically(24);
        legend(&head)?;
        let panels = body.split_evenly((1, 2));
        for (panel, (title, groups)) in panels.iter().zip([("seconds", &seconds), ("MB, all parties", &bytes)]) {
            bars(panel, title, groups)?;
        }
        Ok(())
    })?;
    Ok(figure.title(format!("bars: seconds and bytes of {} network(s), ours, CryptGPU's and Falcon's", rows.len())))
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
        .x_label_formatter(&|x| cryptgpu_core::show::number_text(*x, 3))
        .draw()?;
    for (index, group) in groups.iter().enumerate() {
        let top = count - index as f64;
        let name = Text::new(group.name.clone(), (-116, -7), ("sans-serif", 13));
        chart.draw_series(std::iter::once(EmptyElement::at((range.start, top - 0.5)) + name))?;
        let thickness = 0.8 / group.bars.len() as f64;
        for (place, bar) in group.bars.iter().enumerate() {
            let upper = top - 0.1 - thickness * place as f64;
            let corners = [(range.start, upper), (bar.value.max(range.start), upper - thickness)];
            let style = if bar.unverified { bar.colour.stroke_width(1) } else { bar.colour.filled() };
            chart.draw_series(std::iter::once(Rectangle::new(corners, style)))?;
            let number = Text::new(cryptgpu_core::show::number_text(bar.value, 3), (4, 1), ("sans-serif", 11));
            chart.draw_series(std::iter::once(EmptyElement::at((bar.value.max(range.start), upper)) + number))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NotebookError;
    use crate::tables;
    use crate::tables::record;
    use cryptgpu_core::show::Show;

    #[test]
    fn a_figure_names_every_network_and_draws_unverified_bars_hollow() {
        let svg = inference(&[record("lenet", 0.019), record("resnet50", 4.655)]).unwrap().html();
        assert!(svg.contains("lenet") && svg.contains("resnet50") && svg.contains("9.31"), "{svg}");
        // CryptGPU's bar: LeNet's time is from a checked source, ResNet-50's is not.
        let orange = |fill: &str| svg.lines().filter(|l| l.contains("<rect") && l.contains(fill)).count();
        assert!(orange("fill=\"#FF7F0E\"") >= 1 && orange("stroke=\"#FF7F0E\"") >= 1, "{svg}");
    }

    #[test]
    fn nothing_measured_is_an_error_that_says_what_to_run() {
        for error in [inference(&[]).unwrap_err(), tables::inference(&[]).unwrap_err()] {
            assert!(matches!(error, NotebookError::Empty { .. }), "{error}");
            assert!(error.to_string().contains("cryptgpu run inference"), "{error}");
        }
    }
}
