//! How time grows, in four panels: batch, latency, bandwidth, size of the image.

use cryptgpu_core::experiment::Record;
use cryptgpu_core::experiment::micro::MicroRecord;
use cryptgpu_core::net::Link;

use super::lines::{self, Axis, Line, Look, Panel, plain, seconds};
use super::palette;
use crate::figure::Figure;
use crate::tables::{Fit, by_batch, by_link, by_side, floor, pixels, places};
use crate::{NotebookError, Result};

const TIME: Axis = Axis { name: "time", log: true, text: seconds };

/// LeNet by batch, latency and bandwidth, and a convolution by the size of its image: what was measured, the fitted line,
/// and the floor that rounds and bytes put under a link.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a record of any of these; [`Draw`](NotebookError::Draw).
pub fn scaling(records: &[Record], operations: &[MicroRecord]) -> Result<Figure> {
    let batches = by_batch(records);
    let lenet: Vec<Record> = by_link(records).into_iter().filter(|of| of.network == "lenet").collect();
    let model = |of: &Record| of.link.parse::<Link>().ok().and_then(Link::model).unwrap_or_default();
    // Each varies while the other is as in the LAN, which is on both.
    let latency = |of: &&Record| model(of).0 >= 1.0e9;
    let speed = |of: &&Record| model(of).1.as_micros() <= 200;
    let mut panels = vec![fitted(
        "LeNet by batch",
        Axis { name: "images", log: true, text: plain },
        batches.iter().map(|of| (of.batch as f64, of.seconds)).collect(),
        None,
    )];
    panels.push(fitted(
        "LeNet by latency, 1.25 GB/s",
        Axis { name: "latency", log: true, text: seconds },
        lenet.iter().filter(latency).map(|of| (model(of).1.as_secs_f64(), of.seconds)).collect(),
        Some(lenet.iter().filter(latency).filter_map(|of| Some((model(of).1.as_secs_f64(), least(of)?))).collect()),
    ));
    panels.push(fitted(
        "LeNet by bandwidth, 0.2 ms",
        Axis { name: "time for a megabyte", log: true, text: seconds },
        lenet.iter().filter(speed).map(|of| (1e6 / model(of).0, of.seconds)).collect(),
        Some(lenet.iter().filter(speed).filter_map(|of| Some((1e6 / model(of).0, least(of)?))).collect()),
    ));
    panels.push(fitted(
        "convolution, 64 channels to 64, kernel 3",
        Axis { name: "pixels", log: true, text: plain },
        by_side(operations).iter().map(|(side, of)| (pixels(*side), of.seconds)).collect(),
        None,
    ));
    panels.retain(|panel| panel.lines.iter().any(|line| line.points.len() > 1));
    if panels.is_empty() {
        let hint = "measure with `cryptgpu run paper --only scaling` and read its file";
        return Err(NotebookError::Empty { what: "the figure of scaling", hint });
    }
    let shown: Vec<Record> = batches.iter().chain(&lenet).cloned().collect();
    Ok(lines::draw("Time of private inference by batch, link and size: less is better", &panels)?
        .noted(&places(&shown)))
}

fn least(of: &Record) -> Option<f64> {
    floor(&of.link, of.rounds, of.total_bytes())
}

/// Measured points, the line through them, and the floor.
fn fitted(title: &str, x: Axis, mut points: Vec<(f64, f64)>, floor: Option<Vec<(f64, f64)>>) -> Panel {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut all = vec![];
    if let (Some(fit), Some(first), Some(last)) = (Fit::of(&points), points.first(), points.last()) {
        let steps = 40;
        let at = |step: i32| first.0 * (last.0 / first.0).powf(f64::from(step) / f64::from(steps));
        let line = (0..=steps).map(|step| (at(step), fit.at(at(step)))).collect();
        all.push(Line {
            name: "fitted: fixed + each × amount".into(),
            colour: palette::OURS,
            look: Look::Thin,
            points: line,
        });
    }
    if let Some(mut floor) = floor {
        floor.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.push(Line {
            name: "floor of the link".into(),
            colour: palette::FLOOR,
            look: Look::Measured,
            points: floor,
        });
    }
    all.push(Line { name: "measured".into(), colour: palette::OURS, look: Look::Dots, points });
    Panel { title: title.into(), axes: [x, TIME], lines: all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::record;

    #[test]
    fn what_was_measured_is_drawn_with_its_line_and_floor() {
        let over = |link: &str, batch: usize, seconds: f64| {
            let mut record = record("lenet", seconds);
            (record.link, record.parties, record.threads) = (link.into(), "local processes, TLS".into(), [2; 3]);
            record.batch = batch;
            record
        };
        let records = [
            over("none", 1, 0.01),
            over("none", 4, 0.02),
            over("none", 16, 0.05),
            over("lan", 1, 0.03),
            over("wan", 1, 3.0),
            over("1250:5", 1, 0.4),
            over("1250:20", 1, 1.3),
            over("12.5:0.2", 1, 0.06),
        ];
        let svg = scaling(&records, &[]).unwrap().svg().to_owned();
        assert!(
            svg.contains("floor of the link") && svg.contains("LeNet by latency") && svg.contains("fitted"),
            "{svg}"
        );
        assert!(matches!(scaling(&[], &[]), Err(NotebookError::Empty { .. })));
    }
}
