//! Errors of logits, and accuracies of simulated trainings, by fraction bits.

use cryptgpu_core::experiment::Record;
use plotters::style::RGBColor;

use super::lines::{self, Axis, Line, Look, Panel, plain};
use super::palette;
use crate::Result;
use crate::figure::Figure;
use crate::tables::{Simulated, places, precision_records, truncation};

const BITS: Axis = Axis { name: "fraction bits", log: false, text: plain };

/// The largest error of a logit by fraction bits, a panel for each network, a line for each truncation and number of images.
///
/// # Errors
/// As [`tables::precision`](crate::tables::precision), and [`Draw`](crate::NotebookError::Draw).
pub fn precision(records: &[Record]) -> Result<Figure> {
    let records = precision_records(records)?;
    let error = Axis { name: "largest error of a logit", log: true, text: |value| format!("{value:.0e}") };
    let (mut panels, mut ours): (Vec<Panel>, Vec<String>) = (vec![], vec![]);
    for record in &records {
        let at = panels.iter().position(|panel| panel.title == record.network).unwrap_or_else(|| {
            panels.push(Panel { title: record.network.clone(), axes: [BITS, error], lines: vec![] });
            panels.len() - 1
        });
        let whose = truncation(&record.fidelity);
        let whose = if whose == "ours" { "our" } else { whose };
        let name = format!("{whose} truncation, {} images", record.compared);
        let lines = &mut panels[at].lines;
        let at = lines.iter().position(|line| line.name == name).unwrap_or_else(|| {
            let colour = if whose == "our" { series(&mut ours, &name) } else { palette::of("CryptGPU") };
            lines.push(Line { name, colour, look: Look::Measured, points: vec![] });
            lines.len() - 1
        });
        lines[at].points.push((f64::from(record.fraction_bits), record.max_abs_error.unwrap_or_default().max(1e-12)));
    }
    let headline = "Error of private inference against floating point: less is better, more bits cost nothing";
    Ok(lines::draw(headline, &panels)?.noted(&places(&records)))
}

/// One colour for each name, in all panels.
fn series(names: &mut Vec<String>, name: &str) -> RGBColor {
    let at = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    palette::SERIES[at % palette::SERIES.len()]
}

/// Accuracy of simulated trainings by fraction bits, a panel for each network, a line for each way to cut products.
///
/// # Errors
/// [`Draw`](crate::NotebookError::Draw).
pub fn simulated(runs: &[Simulated]) -> Result<Figure> {
    let cuts: [(&str, &str, RGBColor); 6] = [
        ("unbiased", "deferred", palette::SERIES[0]),
        ("unbiased", "early", palette::SERIES[2]),
        ("local", "deferred", RGBColor(230, 159, 0)),
        ("local", "early", palette::of("CryptGPU")),
        ("floor", "deferred", RGBColor(170, 170, 170)),
        ("floor", "early", RGBColor(90, 90, 90)),
    ];
    let accuracy = Axis { name: "test accuracy, %", log: false, text: plain };
    let panel = |net: &str, title: &str, epochs: usize| {
        let of = |(mode, scale, colour): (&str, &str, RGBColor)| {
            let is = |run: &&Simulated| {
                run.net == net
                    && run.epochs == epochs
                    && run.ring.is_none()
                    && (&*run.mode, &*run.scale) == (mode, scale)
            };
            // Of several rates, the best.
            let mut best: Vec<(f64, f64)> = vec![];
            for run in runs.iter().filter(is) {
                let Some(f) = run.f else { continue };
                let value = 100.0 * run.accuracy();
                match best.iter_mut().find(|(known, _)| *known == f64::from(f)) {
                    Some((_, known)) => *known = known.max(value),
                    None => best.push((f64::from(f), value)),
                }
            }
            best.sort_by(|a, b| a.0.total_cmp(&b.0));
            Line { name: format!("{mode}, {scale}"), colour, look: Look::Measured, points: best }
        };
        let mut all: Vec<Line> = cuts.into_iter().map(of).filter(|line| !line.points.is_empty()).collect();
        let float = runs
            .iter()
            .filter(|run| run.net == net && run.epochs == epochs && run.f.is_none())
            .map(Simulated::accuracy)
            .fold(0.0, f64::max);
        let span = || all.iter().flat_map(|line| &line.points).map(|point| point.0);
        let (low, high) = (span().fold(f64::INFINITY, f64::min), span().fold(0.0, f64::max));
        if float > 0.0 && low <= high {
            let points = vec![(low, 100.0 * float), (high, 100.0 * float)];
            all.push(Line {
                name: "floating point".into(),
                colour: palette::of("in the clear"),
                look: Look::Thin,
                points,
            });
        }
        Panel { title: title.into(), axes: [BITS, accuracy], lines: all }
    };
    let panels =
        [panel("alexnet", "AlexNet, CIFAR-10, 8 epochs", 8), panel("vgg16", "VGG-16, CIFAR-10, 12 epochs", 12)];
    let figure = lines::draw(
        "Simulated training from scratch by fraction bits and cut: higher is better; 10 % is guessing",
        &panels,
    )?;
    Ok(figure.noted("A simulation in floating point on an H100, 26 November 2026; 12,000 training images, one seed; the best of the rates tried."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::record;

    #[test]
    fn errors_and_accuracies_are_drawn_by_bits() {
        let at = |bits: u32, fidelity: &str| {
            let mut record = record("lenet", 0.3);
            (record.fraction_bits, record.compared, record.fidelity) = (bits, 100, fidelity.into());
            record
        };
        let other = Record { network: "resnet8-cifar10".into(), ..at(8, "exact") };
        let svg = precision(&[at(8, "exact"), at(20, "exact"), at(20, "paper"), other]).unwrap().svg().to_owned();
        // Each network has a panel, and a name its colour in all of them.
        assert!(svg.contains("lenet") && svg.contains("resnet8-cifar10"), "{svg}");
        assert_eq!(svg.matches("our truncation").count(), 1, "{svg}");
        assert!(svg.contains("our truncation") && svg.contains("CryptGPU&apos;s truncation"), "{svg}");
        assert!(svg.contains("#D55E00") && svg.contains("less is better"), "{svg}");
        let run = Simulated {
            net: "alexnet".into(),
            f: Some(12),
            mode: "unbiased".into(),
            scale: "deferred".into(),
            ring: None,
            lr: 0.03,
            momentum: 0.9,
            epochs: 8,
            curve: vec![(Some(1.0), 53.3); 8],
        };
        assert!(simulated(&[run]).unwrap().svg().contains("unbiased, deferred"));
    }
}
