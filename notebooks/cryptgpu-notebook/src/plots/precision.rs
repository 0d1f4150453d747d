//! Errors of logits, and accuracies of simulated trainings, by fraction bits.

use cryptgpu_core::experiment::Record;
use cryptgpu_core::experiment::training::TrainingRecord;
use cryptgpu_core::ring::Ring;
use plotters::style::RGBColor;

use super::lines::{self, Axis, Line, Look, Panel, plain};
use super::palette;
use crate::figure::Figure;
use crate::tables::{Simulated, places, precision_records, truncation};
use crate::{NotebookError, Result};

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

/// Colours of the ways to cut.
const CUTS: [(&str, RGBColor); 6] = [
    ("unbiased, deferred", palette::SERIES[0]),
    ("unbiased, early", palette::SERIES[2]),
    ("local, deferred", RGBColor(230, 159, 0)),
    ("local, early", RGBColor(213, 94, 0)),
    ("floor, deferred", RGBColor(170, 170, 170)),
    ("floor, early", RGBColor(90, 90, 90)),
];
/// Colours of others, such as those in the ring of 32 bits.
const OTHERS: [RGBColor; 3] = [RGBColor(0, 158, 115), RGBColor(204, 121, 167), palette::SERIES[1]];

/// Accuracy of simulated trainings by fraction bits: a panel for each network and number of epochs with several numbers of bits, a
/// line for each way to cut products, and dots for private trainings of the same network and examples, as they stood after so many
/// epochs.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) where nothing was simulated with two numbers of fraction bits, [`Draw`](NotebookError::Draw).
pub fn simulated(runs: &[Simulated], private: &[TrainingRecord]) -> Result<Figure> {
    let mut studies: Vec<(&str, usize)> = vec![];
    for run in runs.iter().filter(|run| run.f.is_some()) {
        let study = (run.net.as_str(), run.epochs);
        let several = |other: &Simulated| {
            (other.net.as_str(), other.epochs) == study && other.f.is_some_and(|f| Some(f) != run.f)
        };
        if !studies.contains(&study) && runs.iter().any(several) {
            studies.push(study);
        }
    }
    if studies.is_empty() {
        let hint = "make some with `cryptgpu run precision`";
        return Err(NotebookError::Empty { what: "the figure of accuracies by fraction bits", hint });
    }
    let accuracy = Axis { name: "test accuracy, %", log: false, text: plain };
    let panel = |&(net, epochs): &(&str, usize)| {
        let of: Vec<&Simulated> = runs.iter().filter(|run| (run.net.as_str(), run.epochs) == (net, epochs)).collect();
        let mut lines = simulated_lines(&of);
        lines.extend(private_dots(net, epochs, private));
        let title = format!("{net}, {epochs} epoch{}", if epochs == 1 { "" } else { "s" });
        Panel { title, axes: [BITS, accuracy], lines }
    };
    let panels: Vec<Panel> = studies.iter().map(panel).collect();
    let headline = "Training from scratch by fraction bits and cut: higher is better; 10 % is guessing";
    Ok(lines::draw(headline, &panels)?.noted("Lines are simulated in the clear, dots are private runs."))
}

/// A line for each way to cut, and a thin one for floating point.
fn simulated_lines(runs: &[&Simulated]) -> Vec<Line> {
    let mut names: Vec<String> = runs.iter().filter(|run| run.f.is_some()).map(|run| run.cut()).collect();
    names.sort();
    names.dedup();
    names.sort_by_key(|name| CUTS.iter().position(|(known, _)| known == name).unwrap_or(CUTS.len()));
    let others: Vec<String> =
        names.iter().filter(|name| !CUTS.iter().any(|(known, _)| known == name)).cloned().collect();
    let of = |name: String| {
        // Of several rates, the best.
        let mut best: Vec<(f64, f64)> = vec![];
        for (f, run) in runs.iter().filter(|run| run.cut() == name).filter_map(|run| Some((run.f?, run))) {
            let value = 100.0 * run.accuracy();
            match best.iter_mut().find(|(known, _)| *known == f64::from(f)) {
                Some((_, known)) => *known = known.max(value),
                None => best.push((f64::from(f), value)),
            }
        }
        best.sort_by(|a, b| a.0.total_cmp(&b.0));
        let known = CUTS.iter().find(|(known, _)| *known == name).map(|(_, colour)| *colour);
        let other = others.iter().position(|other| *other == name).unwrap_or_default();
        Line { colour: known.unwrap_or(OTHERS[other % OTHERS.len()]), look: Look::Measured, points: best, name }
    };
    let mut all: Vec<Line> = names.into_iter().map(of).collect();
    let float = runs.iter().filter(|run| run.f.is_none()).map(|run| run.accuracy()).fold(0.0, f64::max);
    let span = || all.iter().flat_map(|line| &line.points).map(|point| point.0);
    let (low, high) = (span().fold(f64::INFINITY, f64::min), span().fold(0.0, f64::max));
    if float > 0.0 && low <= high {
        let points = vec![(low, 100.0 * float), (high, 100.0 * float)];
        let (name, colour) = ("floating point".into(), palette::of("in the clear"));
        all.push(Line { name, colour, look: Look::Thin, points });
    }
    all
}

/// Dots of private trainings from scratch of a network after so many epochs; one that left its range is at what guessing gives.
fn private_dots(net: &str, epochs: usize, records: &[TrainingRecord]) -> Vec<Line> {
    // The simulation by PyTorch calls the networks of CIFAR-10's size by their first names, and trained with 12,000 of its images.
    let same = |of: &&TrainingRecord| {
        let short = of.network == format!("{net}-cifar10") && of.examples == 12_000;
        !of.is_plaintext() && of.weights.is_empty() && of.train.epochs >= epochs && (of.network == net || short)
    };
    let dots = |fidelity: &str, ring: Ring| {
        let of = records.iter().filter(same).filter(|of| of.fidelity == fidelity && of.ring == ring);
        let at = |of: &TrainingRecord| {
            let early = || of.accuracy_points().iter().find(|point| point.epoch + 1 == epochs).map(|at| at.accuracy);
            let then = if of.train.epochs == epochs { of.accuracy } else { early() };
            let accuracy = of.left_range.map_or(then, |_| Some(0.1))?;
            Some((f64::from(of.fraction_bits), 100.0 * accuracy))
        };
        of.filter_map(at).collect::<Vec<_>>()
    };
    let line = |(name, fidelity, ring, colour): (&str, &str, Ring, RGBColor)| Line {
        name: name.to_owned(),
        colour,
        look: Look::Dots,
        points: dots(fidelity, ring),
    };
    let kinds = [
        ("private, ours", "exact", Ring::Z64, RGBColor(0, 0, 0)),
        ("private, ours, ring of 32 bits", "exact", Ring::Z32, RGBColor(0, 110, 80)),
        ("private, CryptGPU's truncation", "paper", Ring::Z64, RGBColor(200, 0, 0)),
    ];
    kinds.map(line).into_iter().filter(|line| !line.points.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{record, training_record};

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
        let run = |f: Option<u32>, mode: &str| Simulated {
            net: "alexnet".into(),
            f,
            mode: mode.into(),
            scale: "deferred".into(),
            ring: None,
            lr: 0.03,
            momentum: 0.9,
            epochs: 8,
            curve: vec![(Some(1.0), 53.3); 8],
        };
        let ours = ["unbiased", "own", "another", "own"].map(|mode| run(Some(12), mode));
        let runs: Vec<Simulated> = [run(None, ""), run(Some(20), "unbiased")].into_iter().chain(ours).collect();
        let mut private = training_record("alexnet-cifar10", 128, 1.0);
        (private.examples, private.train.epochs, private.accuracy) = (12_000, 8, Some(0.5));
        let svg = simulated(&runs, std::slice::from_ref(&private)).unwrap().svg().to_owned();
        assert!(svg.contains("unbiased, deferred") && svg.contains("own, deferred") && svg.contains("private, ours"));
        assert_eq!(svg.matches("own, deferred").count(), 1, "a line has one place");
        assert!(svg.contains("#009E73") && svg.contains("#CC79A7"), "and no colour twice");
        assert!(svg.contains("alexnet, 8 epochs") && svg.contains("floating point"), "{svg}");
        // After two epochs, the same private run is where it was then, and one that revealed no accuracy then is nowhere.
        let early: Vec<Simulated> = runs.iter().filter_map(|run| run.after(2)).collect();
        let dots = |private: &TrainingRecord| {
            let svg = simulated(&early, std::slice::from_ref(private)).unwrap().svg().to_owned();
            assert!(svg.contains("alexnet, 2 epochs"), "{svg}");
            svg.contains("private, ours")
        };
        assert!(!dots(&private));
        private.accuracies = vec![(93, 0.3), (187, 0.4)];
        assert!(dots(&private));
        private.ring = Ring::Z32;
        let svg = simulated(&early, &[private]).unwrap().svg().to_owned();
        assert!(svg.contains("private, ours, ring of 32 bits"), "{svg}");
        assert!(matches!(simulated(&runs[..1], &[]), Err(NotebookError::Empty { .. })));
    }
}
