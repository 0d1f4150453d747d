//! How time grows: with the batch, with latency and bandwidth of the links, with the size of an image, with threads. Beside
//! what was measured stands a fitted line, time = fixed + each · amount, and the floor below which a link lets nobody.

use std::time::Duration;

use cryptgpu_core::experiment::micro::{self, MicroRecord};
use cryptgpu_core::experiment::{Record, latest};
use cryptgpu_core::net::Link;

use super::inference::taken;
use super::source::{self, Measured};
use crate::sheet::{Cell, Column, Quantity, Sheet};
use crate::{NotebookError, Result};

/// A line through points, by least squares of the relative error: fast and slow points count alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Seconds that are there whatever the amount.
    pub fixed: f64,
    /// Seconds for each unit of the amount.
    pub each: f64,
}

impl Fit {
    /// The line through points of amount and seconds, neither part below 0; none for fewer than three points.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < 3 || points.iter().any(|(_, y)| *y <= 0.0) {
            return None;
        }
        let sum = |of: fn(f64, f64) -> f64| points.iter().map(|&(x, y)| of(x, y)).sum::<f64>();
        // Of a/y + b·x/y = 1.
        let (aa, ab, bb) = (sum(|_, y| 1.0 / y / y), sum(|x, y| x / y / y), sum(|x, y| x * x / y / y));
        let (a, b) = (sum(|_, y| 1.0 / y), sum(|x, y| x / y));
        let det = aa * bb - ab * ab;
        let both = Fit { fixed: (a * bb - b * ab) / det, each: (b * aa - a * ab) / det };
        let fit = match (both.fixed >= 0.0, both.each >= 0.0) {
            (true, true) => both,
            (false, _) => Fit { fixed: 0.0, each: b / bb },
            _ => Fit { fixed: a / aa, each: 0.0 },
        };
        (fit.fixed.is_finite() && fit.each.is_finite()).then_some(fit)
    }

    /// Its seconds for an amount.
    pub fn at(self, amount: f64) -> f64 {
        self.fixed + self.each * amount
    }
}

/// Below this nobody gets over a link: its latency for each round, and the bytes of a party at the link's speed. Each of the
/// three parties sends over two links.
pub fn floor(link: &str, rounds: u64, bytes: u64) -> Option<f64> {
    let (speed, latency): (f64, Duration) = link.parse::<Link>().ok()?.model()?;
    Some(rounds as f64 * latency.as_secs_f64() + bytes as f64 / 6.0 / speed)
}

/// Ordinary runs of private inference on processors, from `records`, the last of each.
fn ordinary(records: &[Record]) -> Vec<Record> {
    let usual = |of: &Record| {
        !of.is_plaintext()
            && of.device == "cpu"
            && of.fidelity == "exact"
            && of.fraction_bits == 20
            && !of.is_insecure()
            && ["", "none", "0:64"].contains(&of.window.as_str())
            && ["", "off"].contains(&of.check_range.as_str())
            && of.parties.contains("processes")
    };
    latest(records).into_iter().filter(usual).collect()
}

fn all_threads(of: &Record) -> bool {
    of.threads[0] >= of.machine.cores
}

/// LeNet by batch, over links as they are.
pub(crate) fn by_batch(records: &[Record]) -> Vec<Record> {
    let mut records = ordinary(records);
    records.retain(|of| of.network == "lenet" && of.link == "none" && all_threads(of));
    records.sort_by_key(|of| of.batch);
    records
}

/// One image over imitated links, by network and link.
pub(crate) fn by_link(records: &[Record]) -> Vec<Record> {
    let mut records = ordinary(records);
    records.retain(|of| of.batch == 1 && floor(&of.link, 1, 1).is_some() && all_threads(of));
    records
}

/// A network's runs by the threads of each party.
pub(crate) fn by_threads(records: &[Record]) -> Vec<Record> {
    let mut records = ordinary(records);
    records.retain(|of| of.network == "vgg16-cifar10" && of.batch == 1 && of.link == "none");
    records.sort_by_key(|of| of.threads[0]);
    let several = records.iter().any(|of| records.first().is_some_and(|first| first.threads != of.threads));
    if several { records } else { vec![] }
}

/// A convolution of 64 channels to 64, by the side of the image.
pub(crate) fn by_side(operations: &[MicroRecord]) -> Vec<(f64, MicroRecord)> {
    let side = |of: &MicroRecord| {
        let (side, rest) = of.size.split_once('x')?;
        (of.operation == "convolution" && rest.ends_with(" 64->64 k3") && of.device == "cpu" && of.link == "none")
            .then(|| side.parse().ok())?
    };
    let mut sides: Vec<(f64, MicroRecord)> =
        micro::latest(operations).into_iter().filter_map(|of| Some((side(&of)?, of))).collect();
    sides.sort_by(|a, b| a.0.total_cmp(&b.0));
    sides
}

const HINT: &str = "measure with `cryptgpu run paper --only scaling` and read its file";

fn empty<T>(what: &'static str, rows: &[T]) -> Result<()> {
    if rows.is_empty() { Err(NotebookError::Empty { what, hint: HINT }) } else { Ok(()) }
}

fn with_places(sheet: (&str, Vec<Column>), measured: &[Measured<'_>], caption: &str) -> Sheet {
    let (title, mut columns) = sheet;
    let (places, machines) = source::measured(measured);
    columns.extend(places);
    Sheet::new(title, columns).noted(caption).noted(&machines)
}

/// LeNet by batch: time, time of an image, and the fitted line.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a record of it.
pub fn scaling_batches(records: &[Record]) -> Result<Sheet> {
    let of = by_batch(records);
    empty("the table of batches", &of)?;
    let points: Vec<(f64, f64)> = of.iter().map(|of| (of.batch as f64, of.seconds)).collect();
    let fit = Fit::of(&points);
    let measured: Vec<Measured<'_>> = of.iter().map(taken).collect();
    let columns = vec![
        Column::texts("network", of.iter().map(|of| of.network.clone())),
        Column::new("batch", Quantity::Count, of.iter().map(|of| Cell::number(of.batch as f64))),
        Column::new("time", Quantity::Seconds, of.iter().map(|of| Cell::number(of.seconds))),
        Column::new(
            "an image",
            Quantity::Seconds,
            of.iter().map(|of| Cell::number(of.seconds / of.batch.max(1) as f64)),
        ),
        Column::new(
            "fitted",
            Quantity::Seconds,
            of.iter().map(|one| Cell::number(fit.map(|fit| fit.at(one.batch as f64)))),
        ),
        Column::new("rounds", Quantity::Count, of.iter().map(|of| Cell::number(of.rounds as f64))),
    ];
    let caption = fit.map_or_else(String::new, |fit| {
        let (fixed, each) = (crate::sheet::seconds_text(fit.fixed), crate::sheet::seconds_text(fit.each));
        format!("Fitted: {fixed} whatever the batch, and {each} for each image. Images of a batch share their rounds.")
    });
    Ok(with_places(("Private inference by batch", columns), &measured, &caption))
}

/// One image by link: time, what the link alone must take, and how far above that the run is.
///
/// # Errors
/// As [`scaling_batches`].
pub fn scaling_links(records: &[Record]) -> Result<Sheet> {
    let of = by_link(records);
    empty("the table of links", &of)?;
    let model = |of: &Record| of.link.parse::<Link>().ok().and_then(Link::model);
    let least = |of: &Record| floor(&of.link, of.rounds, of.total_bytes());
    let measured: Vec<Measured<'_>> = of.iter().map(taken).collect();
    let columns = vec![
        Column::texts("network", of.iter().map(|of| of.network.clone())),
        Column::texts("link", of.iter().map(|of| of.link.clone())),
        Column::new(
            "latency",
            Quantity::Seconds,
            of.iter().map(|of| Cell::number(model(of).map(|(_, latency)| latency.as_secs_f64()))),
        ),
        Column::new(
            "bytes a second",
            Quantity::Bytes,
            of.iter().map(|of| Cell::number(model(of).map(|(speed, _)| speed))),
        ),
        Column::new("rounds", Quantity::Count, of.iter().map(|of| Cell::number(of.rounds as f64))),
        Column::new("sent", Quantity::Bytes, of.iter().map(|of| Cell::number(of.total_bytes() as f64))),
        Column::new("time", Quantity::Seconds, of.iter().map(|of| Cell::number(of.seconds))),
        Column::new("floor", Quantity::Seconds, of.iter().map(|of| Cell::number(least(of)))),
        Column::new(
            "time of the floor",
            Quantity::Times,
            of.iter().map(|one| Cell::number(least(one).map(|floor| one.seconds / floor))),
        ),
    ];
    let caption = "The floor is rounds · latency + bytes of a link / speed: no run with these rounds and bytes can be faster, \
                   whatever the parties compute with. What is above it is computation that did not overlap with waiting.";
    Ok(with_places(("Private inference by link, and the floor", columns), &measured, caption))
}

/// VGG-16 by threads of each party.
///
/// # Errors
/// As [`scaling_batches`].
pub fn scaling_threads(records: &[Record]) -> Result<Sheet> {
    let of = by_threads(records);
    empty("the table of threads", &of)?;
    let measured: Vec<Measured<'_>> = of.iter().map(taken).collect();
    let columns = vec![
        Column::texts("network", of.iter().map(|of| of.network.clone())),
        Column::new("threads a party", Quantity::Count, of.iter().map(|of| Cell::number(of.threads[0] as f64))),
        Column::new("cores", Quantity::Count, of.iter().map(|of| Cell::number(of.machine.cores as f64))),
        Column::new("time", Quantity::Seconds, of.iter().map(|of| Cell::number(of.seconds))),
    ];
    let caption = "Three parties share the cores: with as many threads each as there are cores, three threads wait for each core.";
    Ok(with_places(("Private inference by threads", columns), &measured, caption))
}

/// A convolution of 64 channels to 64 with a kernel of 3, by the side of the image, with the fitted line in its output pixels.
///
/// # Errors
/// As [`scaling_batches`].
pub fn scaling_sizes(operations: &[MicroRecord]) -> Result<Sheet> {
    let of = by_side(operations);
    empty("the table of image sizes", &of)?;
    let fit = Fit::of(&of.iter().map(|(side, of)| (pixels(*side), of.seconds)).collect::<Vec<_>>());
    let measured: Vec<Measured<'_>> = of
        .iter()
        .map(|(_, of)| Measured { machine: &of.machine, card: "", commit: &of.commit, time: &of.time })
        .collect();
    let columns = vec![
        Column::texts("operation", of.iter().map(|(_, of)| format!("{} {}", of.operation, of.size))),
        Column::new("pixels", Quantity::Count, of.iter().map(|(side, _)| Cell::number(pixels(*side)))),
        Column::new("time", Quantity::Seconds, of.iter().map(|(_, of)| Cell::number(of.seconds))),
        Column::new(
            "fitted",
            Quantity::Seconds,
            of.iter().map(|(side, _)| Cell::number(fit.map(|fit| fit.at(pixels(*side))))),
        ),
        Column::new("sent", Quantity::Bytes, of.iter().map(|(_, of)| Cell::number(of.total_bytes() as f64))),
        Column::new("rounds", Quantity::Count, of.iter().map(|(_, of)| Cell::number(of.rounds as f64))),
    ];
    let caption = fit.map_or_else(String::new, |fit| {
        let (fixed, each) = (crate::sheet::seconds_text(fit.fixed), crate::sheet::seconds_text(1e3 * fit.each));
        format!("Pixels of the result, of which each has 64 channels. Fitted: {fixed} whatever the size, and {each} for each thousand of them.")
    });
    Ok(with_places(("A private convolution by the size of its image", columns), &measured, &caption))
}

/// Pixels of the result of a convolution with a kernel of 3 and no padding.
pub(crate) fn pixels(side: f64) -> f64 {
    (side - 2.0) * (side - 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{micro_record, record};

    fn over(link: &str, seconds: f64) -> Record {
        let mut record = record("lenet", seconds);
        (record.link, record.parties, record.threads) = (link.into(), "local processes, TLS".into(), [2; 3]);
        record
    }

    #[test]
    fn a_line_is_found_again_and_never_begins_below_nothing() {
        let line: Vec<_> = [1.0, 4.0, 16.0, 64.0].map(|x| (x, 0.005 + 0.002 * x)).into();
        let fit = Fit::of(&line).unwrap();
        assert!((fit.fixed - 0.005).abs() < 1e-9 && (fit.each - 0.002).abs() < 1e-9, "{fit:?}");
        let bent = Fit::of(&[(1.0, 0.1), (2.0, 0.4), (4.0, 1.6)]).unwrap();
        assert!(bent.fixed == 0.0 && bent.each > 0.0, "{bent:?}");
        assert_eq!(Fit::of(&line[..2]), None);
    }

    #[test]
    fn the_floor_is_latency_and_bytes() {
        let (rounds, bytes) = (61, 1_500_000);
        assert!((floor("lan", rounds, bytes).unwrap() - (61.0 * 0.0002 + 0.25e6 / 1.25e9)).abs() < 1e-9);
        assert_eq!(floor("none", rounds, bytes), None);
        let table = scaling_links(&[over("wan", 3.0), over("none", 0.02)]).unwrap();
        assert_eq!(table.rows(), 1);
        assert!(table.cell("time of the floor", 0).unwrap().number.unwrap() > 1.0);
    }

    #[test]
    fn tables_are_by_batch_by_side_and_by_threads() {
        let mut many = over("none", 0.1);
        many.batch = 64;
        assert_eq!(scaling_batches(&[many, over("none", 0.01)]).unwrap().rows(), 2);
        let sides = [micro_record("convolution 28x28 64->64 k3", 0.02, ""), micro_record("relu 10", 0.1, "")];
        assert_eq!(scaling_sizes(&sides).unwrap().rows(), 1);
        let (mut one, mut two) = (over("none", 0.3), over("none", 0.2));
        for record in [&mut one, &mut two] {
            record.network = "vgg16-cifar10".into();
        }
        one.threads = [1; 3];
        assert_eq!(scaling_threads(&[two.clone(), one]).unwrap().rows(), 2);
        assert!(scaling_threads(&[two]).is_err() && scaling_batches(&[]).is_err());
    }
}
