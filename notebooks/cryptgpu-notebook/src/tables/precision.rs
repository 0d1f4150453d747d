//! Private against plaintext: time, and accuracy and error of a logit by fraction bits.

use cryptgpu_core::experiment::training::{self, TrainingRecord};
use cryptgpu_core::experiment::{Record, latest};
use cryptgpu_core::ring::Ring;

use super::inference::taken;
use super::source::{self, Measured};
use super::training::taken as taken_training;
use crate::sheet::{Cell, Column, Quantity, Sheet};
use crate::{NotebookError, Result};

/// Records from which precision is read compare at least so many images with plaintext.
const ENOUGH: usize = 50;

/// Private results beside plaintext ones by fraction bits and truncation: accuracy, predictions that agree, the largest error
/// of a logit. Of several records of the same measurement, the last.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a record that compares at least fifty images.
pub fn precision(records: &[Record]) -> Result<Sheet> {
    let records = precision_records(records)?;
    let of = &records;
    let same = |record: &Record| record.agreement.map(|same| same as f64 / record.compared.max(1) as f64);
    let measured: Vec<Measured<'_>> = of.iter().map(taken).collect();
    let mut columns = vec![
        Column::texts("network", of.iter().map(|record| record.network.clone())),
        Column::texts("images", of.iter().map(|record| record.dataset.clone())),
        Column::texts("weights", of.iter().map(|record| record.weights.clone())),
        Column::texts("truncation", of.iter().map(|record| truncation(&record.fidelity))),
        Column::new(
            "fraction bits",
            Quantity::Count,
            of.iter().map(|record| Cell::number(f64::from(record.fraction_bits))),
        ),
        Column::new("compared", Quantity::Count, of.iter().map(|record| Cell::number(record.compared as f64))),
        Column::new("accuracy", Quantity::Percent, of.iter().map(|record| Cell::number(record.accuracy))),
        Column::new("in the clear", Quantity::Percent, of.iter().map(|record| Cell::number(record.plaintext_accuracy))),
        Column::new("same prediction", Quantity::Percent, of.iter().map(|record| Cell::number(same(record)))),
        Column::new("largest error", Quantity::Error, of.iter().map(|record| Cell::number(record.max_abs_error))),
    ];
    let (places, machines) = source::measured(&measured);
    columns.extend(places);
    let caption = "Compared image by image with the same network in 64-bit floating point; the error is the largest of any \
                   logit of any image. Random weights guess, so that they have no accuracy. `ours` is never wrong by more than \
                   one unit in the last place; `CryptGPU's` is the local shift of its code, wrong by a large number with a \
                   probability of about |x|/2⁶⁴ for each product.";
    Ok(Sheet::new("Private against plaintext, by fraction bits", columns).noted(caption).noted(&machines))
}

/// The records behind [`precision`], by network, images, truncation and fraction bits.
pub(crate) fn precision_records(records: &[Record]) -> Result<Vec<Record>> {
    let mut records = latest(records);
    records.retain(|record| !record.is_plaintext() && record.ring == Ring::Z64);
    records.retain(|record| record.compared >= ENOUGH && record.max_abs_error.is_some());
    if records.is_empty() {
        let hint = "measure with `cryptgpu run paper --only plaintext` and read its file";
        return Err(NotebookError::Empty { what: "the precision study", hint });
    }
    let key = |of: &Record| (of.network.clone(), of.compared, of.fidelity.clone(), of.fraction_bits);
    records.sort_by_key(key);
    Ok(records)
}

/// Whose truncation ran.
pub(crate) fn truncation(fidelity: &str) -> &str {
    if fidelity == "paper" { "CryptGPU's" } else { "ours" }
}

/// The time of a private inference, and of an iteration of private training, beside the same in the clear on the same machine.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) where nothing was measured both in private and in the clear.
pub fn against_plaintext(inference: &[Record], trainings: &[TrainingRecord]) -> Result<Sheet> {
    let inference = latest(inference);
    let trainings = training::latest(trainings);
    let mut rows = vec![];
    for clear in inference.iter().filter(|record| record.is_plaintext()) {
        let is = |of: &&Record| {
            !of.is_plaintext()
                && (&of.network, of.batch, &of.machine.cpu) == (&clear.network, clear.batch, &clear.machine.cpu)
                && is_usual(&of.device, &of.link, &of.fidelity, of.fraction_bits)
        };
        let private = inference.iter().find(is);
        rows.extend(private.map(|of| Pair::of(format!("{}, {} image", of.network, of.batch), clear, of)));
    }
    for clear in trainings.iter().filter(|record| record.is_plaintext()) {
        let is = |of: &&TrainingRecord| {
            !of.is_plaintext()
                && (&of.network, of.batch, &of.machine.cpu) == (&clear.network, clear.batch, &clear.machine.cpu)
                && is_usual(&of.device, &of.link, &of.fidelity, of.fraction_bits)
        };
        let private = trainings.iter().find(is);
        rows.extend(private.map(|of| Pair {
            work: format!("{}, an iteration of {}", of.network, of.batch),
            seconds: [of.seconds, clear.seconds],
            threads: [of.threads[0], clear.threads[0]],
            engine: &clear.engine,
            taken: taken_training(of),
        }));
    }
    if rows.is_empty() {
        let hint = "measure with `cryptgpu run paper --only plaintext` and read its file";
        return Err(NotebookError::Empty { what: "the comparison with plaintext", hint });
    }
    let seconds = |at: usize| rows.iter().map(move |row| Cell::number(row.seconds[at]));
    let threads = |at: usize| rows.iter().map(move |row| Cell::number(row.threads[at] as f64));
    let mut columns = vec![
        Column::texts("what", rows.iter().map(|row| row.work.clone())),
        Column::new("private", Quantity::Seconds, seconds(0)),
        Column::new("threads a party", Quantity::Count, threads(0)),
        Column::new("in the clear", Quantity::Seconds, seconds(1)),
        Column::new("threads", Quantity::Count, threads(1)),
        Column::texts("computed in", rows.iter().map(|row| row.engine.to_owned())),
        Column::new(
            "private takes",
            Quantity::Times,
            rows.iter().map(|row| Cell::number((row.seconds[1] > 0.0).then(|| row.seconds[0] / row.seconds[1]))),
        ),
    ];
    let taken: Vec<Measured<'_>> = rows.into_iter().map(|row| row.taken).collect();
    let (places, machines) = source::measured(&taken);
    columns.extend(places);
    let caption = "The same network, weights and images, on the same machine; three private parties share it. In the clear \
                   computes the library's own reference in 64-bit floating point, on one thread: what private results are \
                   compared with, and no fast engine.";
    Ok(Sheet::new("Private against plaintext: time", columns).noted(caption).noted(&machines))
}

/// One thing in private and in the clear.
struct Pair<'a> {
    work: String,
    seconds: [f64; 2],
    threads: [usize; 2],
    engine: &'a str,
    taken: Measured<'a>,
}

impl<'a> Pair<'a> {
    fn of(work: String, clear: &'a Record, private: &'a Record) -> Self {
        let (seconds, threads) = ([private.seconds, clear.seconds], [private.threads[0], clear.threads[0]]);
        Pair { work, seconds, threads, engine: &clear.engine, taken: taken(private) }
    }
}

/// Whether a record is of an ordinary run on processors.
fn is_usual(device: &str, link: &str, fidelity: &str, fraction_bits: u32) -> bool {
    (device, link, fidelity) == ("cpu", "none", "exact") && [0, 20].contains(&fraction_bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::record;

    /// LeNet on a hundred images with so many fraction bits.
    pub(crate) fn at(fraction_bits: u32, error: f64) -> Record {
        let mut record = record("lenet", 0.3);
        (record.fraction_bits, record.batch, record.max_abs_error) = (fraction_bits, 100, Some(error));
        (record.compared, record.images, record.agreement, record.accuracy) = (100, 100, Some(99), Some(0.98));
        record
    }

    #[test]
    fn precision_is_sorted_by_bits_and_only_of_many_images() {
        let table = precision(&[at(20, 1e-5), record("lenet", 0.02), at(8, 0.2)]).unwrap();
        assert_eq!(table.rows(), 2);
        let number = |column: &str, row| table.cell(column, row).unwrap().number;
        assert_eq!((number("fraction bits", 0), number("largest error", 0)), (Some(8.0), Some(0.2)));
        assert_eq!((number("same prediction", 1), number("accuracy", 1)), (Some(0.99), Some(0.98)));
        assert!(matches!(precision(&[record("lenet", 0.02)]), Err(NotebookError::Empty { .. })));
    }

    #[test]
    fn private_and_clear_are_of_one_machine_and_network() {
        let mut clear = record("lenet", 0.004);
        (clear.experiment, clear.engine) = ("inference_plaintext".into(), "f64".into());
        let table = against_plaintext(&[clear.clone(), record("lenet", 0.02), record("resnet50", 1.0)], &[]).unwrap();
        assert_eq!((table.rows(), table.cell("private takes", 0).unwrap().number), (1, Some(5.0)));
        clear.machine.cpu = "another".into();
        assert!(against_plaintext(&[clear, record("lenet", 0.02)], &[]).is_err());
    }
}
