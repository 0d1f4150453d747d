//! Micro-benchmarks by size, and where embeddings go wrong.

use std::error::Error;

use cryptgpu_core::experiment::EmbeddingRow;
use cryptgpu_core::experiment::micro::{MicroRecord, MicroRow};
use plotters::prelude::*;

use super::palette;
use crate::Result;
use crate::figure::{Canvas, Figure};
use crate::tables::micro_rows;

const PIRANHA: &str = "Piranha P-Falcon, GPU";
const MP_SPDZ: &str = "MP-SPDZ, CPU";
const WIDTH: u32 = 1020;

/// A line: its colour, its points from left to right.
struct Line {
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Seconds by size, a panel for each operation, both on logarithmic scales: ours on each device that was measured, and
/// the published times of other systems for the same sizes.
///
/// # Errors
/// As [`tables::micro`](crate::tables::micro), and [`Draw`](crate::NotebookError::Draw).
pub fn micro(records: &[MicroRecord]) -> Result<Figure> {
    let rows = micro_rows(records)?;
    let mut panels: Vec<(&str, Vec<&MicroRow>)> = Vec::new();
    for row in &rows {
        match panels.iter_mut().find(|(operation, _)| *operation == row.operation) {
            Some((_, same)) => same.push(row),
            None => panels.push((&row.operation, vec![row])),
        }
    }
    let mut names: Vec<String> = Vec::new();
    for row in &rows {
        if !names.contains(&row.series()) {
            names.push(row.series());
        }
    }
    let figure = Figure::draw((WIDTH, 400), |canvas| {
        canvas.fill(&WHITE)?;
        let (head, body) = canvas.split_vertically(34);
        let ours = names.iter().zip(palette::SERIES.into_iter().cycle()).map(|(name, colour)| (name.clone(), colour));
        let others = [PIRANHA, MP_SPDZ].map(|name| (name.to_owned(), palette::of(name)));
        legend(&head, ours.chain(others))?;
        for (area, (operation, rows)) in body.split_evenly((1, panels.len())).iter().zip(&panels) {
            let what = if *operation == "relu" { "elements" } else { "multiply-accumulates" };
            panel(area, operation, what, &lines(rows, &names))?;
        }
        Ok(())
    })?;
    let mut commits: Vec<&str> = records.iter().map(|of| of.commit.get(..7).unwrap_or(&of.commit)).collect();
    commits.sort_unstable();
    commits.dedup();
    let note =
        format!("Private operations of three parties by size; less is better. Ours: commit {}.", commits.join(", "));
    let title = format!("lines: seconds by size of {} operation(s), {}", panels.len(), names.join("; "));
    Ok(figure.title(title).noted(&note))
}

fn lines(rows: &[&MicroRow], names: &[String]) -> Vec<Line> {
    let ours = names.iter().zip(palette::SERIES.into_iter().cycle()).map(|(name, colour)| Line {
        colour,
        points: rows.iter().filter(|row| row.series() == *name).map(|row| (row.work as f64, row.seconds)).collect(),
    });
    let cited = |system, seconds: fn(&MicroRow) -> Option<f64>| {
        let mut points: Vec<_> = rows.iter().filter_map(|row| Some((row.work as f64, seconds(row)?))).collect();
        points.dedup();
        Line { colour: palette::of(system), points }
    };
    let others = [
        cited(PIRANHA, |row| row.piranha_seconds.as_ref().map(|cited| cited.value)),
        cited(MP_SPDZ, |row| row.mp_spdz_seconds.as_ref().map(|cited| cited.value)),
    ];
    ours.chain(others).filter(|line| !line.points.is_empty()).collect()
}

fn legend(
    canvas: &Canvas<'_>,
    entries: impl Iterator<Item = (String, RGBColor)>,
) -> std::result::Result<(), Box<dyn Error>> {
    let mut x = 20;
    for (name, colour) in entries {
        canvas.draw(&Rectangle::new([(x, 14), (x + 18, 17)], colour.filled()))?;
        canvas.draw(&Text::new(name.clone(), (x + 24, 8), ("sans-serif", 13)))?;
        x += 48 + 7 * name.chars().count() as i32;
    }
    Ok(())
}

fn panel(canvas: &Canvas<'_>, title: &str, what: &str, lines: &[Line]) -> std::result::Result<(), Box<dyn Error>> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let span = |of: fn((f64, f64)) -> f64| {
        let (low, high) = points().map(of).fold((f64::INFINITY, 0.0), |(l, h): (f64, f64), v| (l.min(v), h.max(v)));
        // One size alone is drawn in the middle.
        low / 1.8..high * 1.8
    };
    let mut chart = ChartBuilder::on(canvas)
        .caption(title, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(38)
        .y_label_area_size(58)
        .build_cartesian_2d(span(|(x, _)| x).log_scale(), span(|(_, y)| y).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(palette::RULE)
        .x_desc(what)
        .y_desc("seconds")
        .x_labels(5)
        .y_labels(6)
        .x_label_formatter(&|x| power(*x))
        .y_label_formatter(&|y| cryptgpu_core::show::number_text(*y, 2))
        .draw()?;
    for line in lines {
        chart.draw_series(LineSeries::new(line.points.iter().copied(), line.colour.stroke_width(2)))?;
        chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, line.colour.filled())))?;
    }
    Ok(())
}

/// `10⁶`, for labels of a logarithmic axis.
fn power(value: f64) -> String {
    let exponent = value.log10().round();
    if (value.log10() - exponent).abs() > 1e-6 {
        return cryptgpu_core::show::number_text(value, 2);
    }
    let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let text: String = format!("{exponent}").chars().filter_map(|c| digits.get(c.to_digit(10)? as usize)).collect();
    format!("10{text}")
}

const ROW: i32 = 46;
const TOP: i32 = 64;
const LEFT: i32 = 330;
const RIGHT: i32 = 40;
/// Depths from 1 to 2²⁴ and a little more.
const DEPTHS: i32 = 26;
const RIGHT_INK: RGBColor = RGBColor(190, 220, 190);
const WRONG: RGBColor = palette::WRONG;

/// A row for each embedding: the depths up to which it is proved right, in green; where the worst words were wrong, from
/// the mark on; and the depths tried with uniform words, filled by the fraction that was wrong.
///
/// # Errors
/// [`Draw`](crate::NotebookError::Draw).
pub fn embedding(rows: &[EmbeddingRow]) -> Result<Figure> {
    let height = TOP + ROW * rows.len() as i32 + 44;
    let figure = Figure::draw((WIDTH, height as u32), |canvas| {
        canvas.fill(&WHITE)?;
        embedding_legend(canvas)?;
        let bottom = TOP + ROW * rows.len() as i32;
        for exponent in (0..=24).step_by(4) {
            let x = place((1u64 << exponent) as f64);
            canvas.draw(&PathElement::new([(x, TOP - 8), (x, bottom)], palette::RULE.stroke_width(1)))?;
            canvas.draw(&Text::new(format!("2^{exponent}"), (x - 10, bottom + 6), ("sans-serif", 12)))?;
        }
        for (index, row) in rows.iter().enumerate() {
            embedding_row(canvas, TOP + ROW * index as i32, row)?;
        }
        canvas.draw(&Text::new("depth K of the product", (LEFT + 200, bottom + 24), ("sans-serif", 13)))?;
        Ok(())
    })?;
    Ok(figure.title(format!("depths at which {} embeddings are right and wrong", rows.len())))
}

/// The pixel of a depth.
fn place(depth: f64) -> i32 {
    let room = f64::from(WIDTH as i32 - LEFT - RIGHT);
    LEFT + (depth.max(1.0).log2().min(f64::from(DEPTHS)) / f64::from(DEPTHS) * room) as i32
}

fn embedding_legend(canvas: &Canvas<'_>) -> std::result::Result<(), Box<dyn Error>> {
    let text = |x: i32, text: &'static str| Text::new(text, (x, 12), ("sans-serif", 13));
    canvas.draw(&Rectangle::new([(20, 12), (38, 24)], RIGHT_INK.filled()))?;
    canvas.draw(&text(44, "proved right for all words"))?;
    canvas.draw(&PathElement::new([(240, 8), (240, 28)], WRONG.stroke_width(3)))?;
    canvas.draw(&text(250, "worst words wrong from here on"))?;
    canvas.draw(&Circle::new((490, 18), 5, BLACK.stroke_width(1)))?;
    canvas.draw(&text(502, "uniform words: all right"))?;
    canvas.draw(&Circle::new((690, 18), 5, WRONG.filled()))?;
    canvas.draw(&text(702, "all wrong"))?;
    canvas.draw(&Circle::new((790, 18), 5, WRONG.mix(0.4).filled()))?;
    canvas.draw(&text(802, "some wrong"))?;
    Ok(())
}

fn embedding_row(canvas: &Canvas<'_>, top: i32, row: &EmbeddingRow) -> std::result::Result<(), Box<dyn Error>> {
    let middle = top + ROW / 2 - 6;
    canvas.draw(&Text::new(row.label(), (14, middle - 13), ("sans-serif", 13)))?;
    canvas.draw(&Text::new(format!("{} products", row.products), (14, middle + 3), ("sans-serif", 11)))?;
    if row.exact_depth > 0 {
        let area = [(LEFT, top + 4), (place(row.exact_depth as f64), top + ROW - 14)];
        canvas.draw(&Rectangle::new(area, RIGHT_INK.filled()))?;
    }
    if let Some(first) = row.first_wrong {
        let x = place(first as f64);
        canvas.draw(&PathElement::new([(x, top), (x, top + ROW - 10)], WRONG.stroke_width(3)))?;
    }
    for point in &row.points {
        let at = (place(point.depth as f64), middle);
        if point.random_wrong > 0.0 {
            let style = if point.random_wrong < 1.0 { WRONG.mix(0.4).filled() } else { WRONG.filled() };
            canvas.draw(&Circle::new(at, 5, style))?;
        } else {
            canvas.draw(&Circle::new(at, 5, WHITE.filled()))?;
            canvas.draw(&Circle::new(at, 5, BLACK.stroke_width(1)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::micro_record as record;
    use cryptgpu_core::experiment::EmbeddingPoint;
    use cryptgpu_core::show::Show;

    #[test]
    fn a_device_is_drawn_when_it_was_measured_and_not_otherwise() {
        let cpu = [record("relu 10", 0.01, ""), record("relu 1000", 0.02, ""), record("matmul 10x10x10", 0.1, "")];
        let svg = micro(&cpu).unwrap().html();
        assert!(svg.contains("ours, CPU") && !svg.contains("NVIDIA"), "{svg}");
        let mut both = cpu.to_vec();
        both.push(record("relu 10", 0.001, "NVIDIA A100"));
        assert!(micro(&both).unwrap().html().contains("ours, NVIDIA A100"));
        assert!(micro(&[]).is_err());
        assert_eq!((power(1e6).as_str(), power(20.0).as_str()), ("10⁶", "20"));
    }

    #[test]
    fn an_embedding_shows_its_proof_and_its_trials() {
        let point = |depth, random_wrong| EmbeddingPoint { depth, random_wrong, worst_wrong: random_wrong > 0.0 };
        let row = EmbeddingRow {
            limbs: "4 × 16 bits".into(),
            sums: "double for each pair".into(),
            products: 10,
            exact_depth: 1 << 21,
            first_wrong: Some((1 << 21) + 65),
            points: vec![point(1, 0.0), point(1 << 24, 1.0)],
        };
        let figure = embedding(&[row]).unwrap();
        let svg = figure.svg();
        assert!(svg.contains("4 × 16 bits, double for each pair") && svg.contains("10 products"), "{svg}");
        // The legend's and the row's.
        let red = |what: &str| svg.lines().filter(|line| line.contains(what) && line.contains("#A01E3C")).count();
        assert_eq!((red("<circle"), red("<polyline")), (3, 2), "{svg}");
    }
}
