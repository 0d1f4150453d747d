//! Two runs side by side, in bars.

use std::error::Error;

use cryptgpu_core::net::{Comparison, Figures, StepComparison, Trace};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::pen::{self, font, text_width};
use crate::Result;
use crate::figure::{Canvas, Figure};
use cryptgpu_core::show::bytes_text;

const FIRST: RGBColor = RGBColor(51, 117, 184);
const SECOND: RGBColor = RGBColor(230, 142, 38);
const INK: RGBColor = RGBColor(40, 44, 52);
const PALE_INK: RGBColor = RGBColor(110, 116, 124);
const RULE: RGBColor = RGBColor(228, 230, 233);
const WIDTH: i32 = 1000;
const HEAD: i32 = 62;
const ROW: i32 = 34;
const BAR: i32 = 12;
/// Steps that are drawn at most: those that cost most.
const MAX_STEPS: usize = 24;

/// A panel: its title, what it shows of a step, and that number with its unit.
struct Panel {
    title: &'static str,
    figure: fn(&Figures) -> f64,
    text: fn(f64) -> String,
}

const PANELS: [Panel; 3] = [
    Panel { title: "rounds", figure: |figures| figures.rounds as f64, text: |value| format!("{value}") },
    Panel {
        title: "bytes, all parties",
        figure: |figures| figures.bytes as f64,
        text: |value| bytes_text(value as u64),
    },
    Panel { title: "time, average of the parties", figure: |figures| 1e9 * figures.seconds, text: pen::duration },
];

/// Two runs by steps: rounds, bytes and time of each, on linear scales; a dash
/// where a run does not have the step. Of many steps, the total and those on which the
/// runs spend most.
///
/// # Errors
/// [`Draw`](crate::NotebookError::Draw).
pub fn compare(first: (&str, &Trace), second: (&str, &Trace)) -> Result<Figure> {
    let comparison = first.1.compare(second.1);
    let (rows, hidden) = rows(&comparison);
    let height = HEAD + ROW * rows.len() as i32 + if hidden > 0 { 30 } else { 12 };
    let longest = rows.iter().map(|row| text_width(&shown(&row.path), 12)).max().unwrap_or(0);
    let left = longest.clamp(60, 240) + 24;
    let figure = Figure::draw((WIDTH as u32, height as u32), |canvas| {
        canvas.fill(&WHITE)?;
        legend(canvas, left, [first.0, second.0])?;
        let width = (WIDTH - left) / PANELS.len() as i32;
        for (index, row) in rows.iter().enumerate() {
            let y = HEAD + ROW * index as i32;
            if index > 0 {
                canvas.draw(&PathElement::new([(10, y - 3), (WIDTH - 10, y - 3)], RULE.stroke_width(1)))?;
            }
            let right = Pos::new(HPos::Right, VPos::Center);
            canvas.draw(&Text::new(shown(&row.path), (left - 12, y + BAR + 1), font(12, INK).pos(right)))?;
        }
        for (index, panel) in PANELS.iter().enumerate() {
            draw(canvas, panel, &rows, (left + width * index as i32, width))?;
        }
        if hidden > 0 {
            let note = format!("{hidden} more steps are not shown");
            canvas.draw(&Text::new(note, (left, height - 22), font(11, PALE_INK)))?;
        }
        Ok(())
    })?;
    Ok(figure.title(format!("bars: rounds, bytes and time by step, {} and {}", first.0, second.0)))
}

/// The total and the steps to draw, in the order of the comparison, and how many are left out.
fn rows(comparison: &Comparison) -> (Vec<&StepComparison>, usize) {
    let costs = |row: &&StepComparison| {
        let part = |figure: fn(&Figures) -> f64| {
            let of = |row: &StepComparison| [&row.this, &row.other].into_iter().flatten().map(figure).sum::<f64>();
            of(row) / of(&comparison.total).max(1e-9)
        };
        PANELS.iter().map(|panel| part(panel.figure)).fold(0.0, f64::max)
    };
    let mut steps: Vec<(usize, &StepComparison)> = comparison.steps.iter().enumerate().collect();
    steps.sort_by(|a, b| costs(&b.1).total_cmp(&costs(&a.1)));
    let hidden = steps.len().saturating_sub(MAX_STEPS);
    steps.truncate(MAX_STEPS);
    steps.sort_by_key(|(index, _)| *index);
    (std::iter::once(&comparison.total).chain(steps.into_iter().map(|(_, step)| step)).collect(), hidden)
}

/// A path that fits before the bars: its end, if it is too long.
fn shown(path: &str) -> String {
    let length = path.chars().count();
    if length <= 34 { path.to_owned() } else { format!("…{}", path.chars().skip(length - 33).collect::<String>()) }
}

fn legend(canvas: &Canvas<'_>, left: i32, names: [&str; 2]) -> std::result::Result<(), Box<dyn Error>> {
    let mut x = left;
    for (name, colour) in names.into_iter().zip([FIRST, SECOND]) {
        canvas.draw(&Rectangle::new([(x, 10), (x + 12, 22)], colour.filled()))?;
        canvas.draw(&Text::new(
            name.to_owned(),
            (x + 18, 16),
            font(12, INK).pos(Pos::new(HPos::Left, VPos::Center)),
        ))?;
        x += 18 + text_width(name, 12) + 24;
    }
    Ok(())
}

fn draw(
    canvas: &Canvas<'_>,
    panel: &Panel,
    rows: &[&StepComparison],
    (left, width): (i32, i32),
) -> std::result::Result<(), Box<dyn Error>> {
    canvas.draw(&Text::new(panel.title, (left, 36), font(13, INK)))?;
    let values = |row: &StepComparison| [&row.this, &row.other].map(|side| side.as_ref().map(panel.figure));
    let most = rows.iter().flat_map(|row| values(row)).flatten().fold(0.0, f64::max).max(1e-9);
    // Room for the number at the end of the longest bar.
    let room = f64::from(width - 84);
    for (index, row) in rows.iter().enumerate() {
        for (place, (value, colour)) in values(row).into_iter().zip([FIRST, SECOND]).enumerate() {
            let y = HEAD + ROW * index as i32 + (BAR + 2) * place as i32;
            let length = value.map_or(0, |value| ((value / most * room).round() as i32).max(i32::from(value > 0.0)));
            if length > 0 {
                canvas.draw(&Rectangle::new([(left, y), (left + length, y + BAR)], colour.filled()))?;
            }
            let (text, ink) = value.map_or(("–".to_owned(), PALE_INK), |value| ((panel.text)(value), INK));
            let style = font(10, ink).pos(Pos::new(HPos::Left, VPos::Center));
            canvas.draw(&Text::new(text, (left + length + 5, y + BAR / 2), style))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_keep_their_end() {
        assert_eq!(shown("conv1/truncation"), "conv1/truncation");
        let long = format!("{}/the end", "layer/".repeat(10));
        assert!(
            shown(&long).starts_with('…') && shown(&long).ends_with("/the end") && shown(&long).chars().count() == 34
        );
    }
}
