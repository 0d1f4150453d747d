//! Training curves as a table: what each run began from, with which numbers it computed, and where it came to. And the
//! simulated trainings of the study of fraction bits.

use std::path::Path;

use cryptgpu_core::experiment::training::{TrainingRecord, latest};
use cryptgpu_core::nn::training::Optimizer;
use cryptgpu_core::ring::Ring;
use serde::Deserialize;

use super::precision::truncation;
use super::source::{self, Measured};
use super::training::taken;
use crate::sheet::{Cell, Column, Quantity, Sheet};
use crate::{NotebookError, Result};

/// Trainings that revealed a curve: settings, last loss and accuracy, and where one left its range.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without such a record.
pub fn curves(records: &[TrainingRecord]) -> Result<Sheet> {
    let records = curve_records(records)?;
    let of = &records;
    let measured: Vec<Measured<'_>> = of.iter().map(taken).collect();
    let begun = |record: &TrainingRecord| if record.weights.is_empty() { "random" } else { "trained weights" };
    let ended = |record: &TrainingRecord| {
        record.left_range.map_or_else(|| format!("all {} iterations", record.iterations), |left| left.to_string())
    };
    let mut columns = vec![
        Column::texts("network", of.iter().map(|record| record.network.clone())),
        Column::texts("examples", of.iter().map(|record| record.dataset.clone())),
        Column::new("batch", Quantity::Count, of.iter().map(|record| Cell::number(record.batch as f64))),
        Column::texts("computed in", of.iter().map(arithmetic)),
        Column::texts("from", of.iter().map(begun)),
        Column::texts("ended after", of.iter().map(ended)),
        Column::new(
            "last loss",
            Quantity::Number,
            of.iter().map(|record| Cell::number(record.losses.last().map(|(_, loss)| *loss))),
        ),
        Column::new("accuracy", Quantity::Percent, of.iter().map(|record| Cell::number(record.accuracy))),
        Column::texts("tested on", of.iter().map(|record| record.tested_on.clone())),
        Column::new("in all", Quantity::Seconds, of.iter().map(|record| Cell::number(record.total_seconds))),
    ];
    let (places, machines) = source::measured(&measured);
    columns.extend(places);
    let caption = "The last loss is of one minibatch. A run leaves its range where a revealed loss cannot be one: it is stopped \
                   there, its weights mean nothing, and it has the accuracies of the epochs before.";
    Ok(Sheet::new("Training curves", columns).noted(caption).noted(&machines))
}

/// The records behind [`curves`], the last of each.
pub(crate) fn curve_records(records: &[TrainingRecord]) -> Result<Vec<TrainingRecord>> {
    let mut records = latest(records);
    records.retain(|of| of.train.reveal.accuracy_every.is_some() && of.losses.len() > 1);
    if records.is_empty() {
        let hint = "measure with `cryptgpu run paper --only curves` and read its file";
        return Err(NotebookError::Empty { what: "the table of training curves", hint });
    }
    let key = |of: &TrainingRecord| {
        (
            of.network.clone(),
            of.dataset.clone(),
            !of.weights.is_empty(),
            !of.is_plaintext(),
            of.fidelity.clone(),
            of.fraction_bits,
        )
    };
    records.sort_by_key(key);
    Ok(records)
}

/// `in the clear, f64`, `16 bits`, `12 bits, ring of 32 bits`, `20 bits, CryptGPU's truncation`.
pub(crate) fn arithmetic(record: &TrainingRecord) -> String {
    if record.is_plaintext() {
        return format!("in the clear, {}", record.engine);
    }
    let truncation = match truncation(&record.fidelity) {
        "ours" => String::new(),
        truncation => format!(", {truncation} truncation"),
    };
    let ring = match record.ring {
        Ring::Z64 => "",
        Ring::Z32 => ", ring of 32 bits",
    };
    format!("{} bits{ring}{truncation}", record.fraction_bits)
}

/// A training of which the arithmetic was simulated in floating point.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Simulated {
    /// `alexnet` or `vgg16`, of CIFAR-10's size.
    pub net: String,
    /// Fraction bits; none for floating point.
    pub f: Option<u32>,
    /// How products were cut: `unbiased`, `local`, `floor`; empty for floating point.
    pub mode: String,
    /// When gradients were divided by the batch: `deferred` into the update, or `early`; empty for floating point.
    pub scale: String,
    /// Bits of the ring, where products were reduced.
    #[serde(default)]
    pub ring: Option<u32>,
    /// Learning rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Epochs that were asked for.
    pub epochs: usize,
    /// Mean loss and test accuracy, in percent, of each epoch; it ends where the loss became no number.
    pub curve: Vec<(Option<f64>, f64)>,
}

impl Simulated {
    /// What `cryptgpu run precision` recorded; none for a record of another kind.
    pub fn of(record: &TrainingRecord) -> Option<Self> {
        let Optimizer::Sgd(sgd) = record.train.optimizer else { return None };
        let simulated = record.simulated.as_ref();
        if !record.is_plaintext() || (simulated.is_none() && record.engine != "f64") {
            return None;
        }
        let in_epoch = record.examples.div_ceil(record.batch.max(1)).max(1);
        let epochs = record.train.iterations.map_or(record.train.epochs, |iterations| iterations.div_ceil(in_epoch));
        let mean = |epoch: usize| {
            let losses: Vec<f64> =
                record.loss_points().iter().filter(|point| point.epoch == epoch).map(|point| point.loss).collect();
            (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64)
        };
        let points = record.accuracy_points();
        let mut curve: Vec<(Option<f64>, f64)> =
            points.iter().map(|point| (mean(point.epoch), 100.0 * point.accuracy)).collect();
        if record.left_range.is_some() {
            curve.push((None, 0.0));
        }
        Some(Simulated {
            net: record.network.clone(),
            f: simulated.map(|_| record.fraction_bits),
            mode: simulated.map_or_else(String::new, |of| of.cut.clone()),
            scale: simulated.map_or_else(String::new, |of| match of.summed {
                None => "deferred".to_owned(),
                Some(1) => "early".to_owned(),
                Some(examples) => format!("gradients of {examples}"),
            }),
            ring: simulated.filter(|_| record.ring != Ring::Z64).map(|_| record.ring.bits()),
            lr: sgd.rate,
            momentum: sgd.momentum,
            epochs,
            curve,
        })
    }

    /// The simulated trainings of a file of JSON lines.
    ///
    /// # Errors
    /// [`Read`](NotebookError::Read), [`Line`](NotebookError::Line).
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| NotebookError::Read { path: path.into(), source })?;
        let of = |(at, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|source| NotebookError::Line { path: path.into(), line: at + 1, source })
        };
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(of).collect()
    }

    /// The same run as it stood after so many epochs; none where it was asked for fewer.
    pub fn after(&self, epochs: usize) -> Option<Self> {
        let curve = self.curve.iter().take(epochs).copied().collect();
        (epochs > 0 && epochs <= self.epochs).then(|| Simulated { epochs, curve, ..self.clone() })
    }

    /// Whether it ended because its loss became no number.
    pub fn is_lost(&self) -> bool {
        self.curve.len() < self.epochs
            || self.curve.last().is_some_and(|(loss, _)| loss.is_none_or(|loss| !loss.is_finite()))
    }

    /// Test accuracy after the last epoch, from 0 to 1; a tenth where it was lost, which is what guessing gives.
    pub fn accuracy(&self) -> f64 {
        if self.is_lost() { 0.1 } else { self.curve.last().map_or(0.1, |(_, accuracy)| accuracy / 100.0) }
    }

    /// How it was cut: `unbiased, deferred`.
    pub fn cut(&self) -> String {
        match (self.f, self.ring) {
            (None, _) => "floating point".to_owned(),
            (_, Some(ring)) => format!("{}, {}, ring of {ring} bits", self.mode, self.scale),
            _ => format!("{}, {}", self.mode, self.scale),
        }
    }
}

/// Accuracy by fraction bits, a row for each network, way to cut and rate, of simulated trainings.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without one.
pub fn simulated(runs: &[Simulated]) -> Result<Sheet> {
    let key = |run: &Simulated| (run.net.clone(), run.cut(), run.lr.to_string(), run.momentum.to_string(), run.epochs);
    let mut rows = vec![];
    for row in runs.iter().map(key) {
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        let hint = "make some with `cryptgpu run precision`";
        return Err(NotebookError::Empty { what: "the table of simulated trainings", hint });
    }
    rows.sort();
    let mut bits: Vec<Option<u32>> = runs.iter().map(|run| run.f).collect();
    bits.sort_unstable();
    bits.dedup();
    let mut columns = vec![
        Column::texts("network", rows.iter().map(|row| row.0.clone())),
        Column::texts("cut, and gradients divided", rows.iter().map(|row| row.1.clone())),
        Column::texts("rate", rows.iter().map(|row| row.2.clone())),
        Column::texts("momentum", rows.iter().map(|row| row.3.clone())),
        Column::new("epochs", Quantity::Count, rows.iter().map(|row| Cell::number(row.4 as f64))),
    ];
    columns.extend(bits.into_iter().map(|f| {
        let cell = |row: &(String, String, String, String, usize)| {
            let run = runs.iter().find(|run| run.f == f && key(run) == *row);
            run.map_or_else(Cell::default, |run| Cell { wrong: run.is_lost(), ..Cell::number(run.accuracy()) })
        };
        let name = f.map_or_else(|| "floating point".to_owned(), |f| format!("{f} bits"));
        Column::new(name, Quantity::Percent, rows.iter().map(cell))
    }));
    let caption = "Accuracy after the last epoch; each row with one seed. Struck through: the loss became no number. A simulation of the \
                   arithmetic in floating point, not a run of the protocols. Unbiased rounds up with a probability equal to the \
                   fraction, as ours does; local is that less one unit, the mean of a shift of two shares, which CryptGPU, \
                   Piranha and CrypTen make; floor is a plain shift. Deferred divides by the batch in the weight's update, \
                   early where the gradient begins.";
    Ok(Sheet::new("Simulated training by fraction bits", columns).noted(caption))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::training_record;
    use cryptgpu_core::experiment::training::{self, LeftRange, PLAINTEXT};
    use cryptgpu_core::show::Show;

    #[test]
    fn a_curve_that_left_its_range_says_where() {
        let mut lost = training_record("lenet", 50, 0.3);
        lost.losses = vec![(0, 2.4), (1, 2.5)];
        lost.train.reveal.accuracy_every = Some(1);
        (lost.fidelity, lost.left_range) = ("paper".into(), Some(LeftRange { iteration: 3, loss: 7e4, of: 80 }));
        let table = curves(&[lost, training_record("lenet", 50, 0.3)]).unwrap();
        assert!(table.text().contains("left its range at iteration 4 of 80"), "{}", table.text());
        assert_eq!(
            (table.rows(), table.cell("computed in", 0).unwrap().text.as_str()),
            (1, "20 bits, CryptGPU's truncation")
        );
        let mut short = training_record("lenet", 50, 0.3);
        (short.ring, short.fraction_bits) = (Ring::Z32, 12);
        assert_eq!(arithmetic(&short), "12 bits, ring of 32 bits");
    }

    #[test]
    fn a_study_of_this_program_stands_beside_the_simulation() {
        let mut record = training_record("lenet", 50, 0.3);
        assert_eq!(Simulated::of(&record), None, "it is a private one");
        (record.experiment, record.engine, record.fraction_bits) = (PLAINTEXT.into(), "f64, local cuts".into(), 12);
        (record.train.epochs, record.train.iterations) = (2, None);
        record.losses = vec![(0, 2.0), (15, 1.0), (16, 0.5)];
        record.accuracies = vec![(15, 0.5), (31, 0.75)];
        let counts = cryptgpu_core::nn::plaintext::Cut::default();
        record.simulated = Some(training::Simulated { cut: "local".into(), summed: Some(1), counts });
        let run = Simulated::of(&record).unwrap();
        assert_eq!((run.f, run.cut().as_str(), run.epochs), (Some(12), "local, early", 2));
        assert_eq!(run.curve, [(Some(1.5), 50.0), (Some(0.5), 75.0)]);
        assert!(!run.is_lost() && run.accuracy() == 0.75);
        record.left_range = Some(LeftRange { iteration: 20, loss: f64::MAX, of: 32 });
        record.accuracies.truncate(1);
        assert!(Simulated::of(&record).unwrap().is_lost());
    }

    #[test]
    fn simulated_trainings_that_were_lost_are_struck_through() {
        let line = |f: u32, curve: &str| {
            format!(
                r#"{{"net":"alexnet","f":{f},"mode":"local","scale":"early","lr":0.03,"momentum":0.9,"epochs":2,"curve":{curve}}}"#
            )
        };
        let runs: Vec<Simulated> = [line(12, "[[null,10.0]]"), line(22, "[[2.0,30.0],[1.5,51.6]]")]
            .map(|line| serde_json::from_str(&line).unwrap())
            .into();
        let table = simulated(&runs).unwrap();
        assert_eq!(table.rows(), 1);
        assert!(table.cell("12 bits", 0).unwrap().wrong && !table.cell("22 bits", 0).unwrap().wrong);
        assert_eq!(table.cell("22 bits", 0).unwrap().number, Some(0.516));
        // As they stood after the first epoch.
        let first: Vec<Simulated> = runs.iter().filter_map(|run| run.after(1)).collect();
        assert_eq!(first.iter().map(Simulated::accuracy).collect::<Vec<_>>(), [0.1, 0.3]);
        assert!(first[0].is_lost() && !first[1].is_lost() && runs[1].after(3).is_none() && runs[1].after(0).is_none());
    }
}
