//! Where the time of inference and of training goes, by kind of operation and by pass.

use std::collections::BTreeMap;

use cryptgpu_core::experiment::training::{TrainingRecord, TrainingRow};
use cryptgpu_core::experiment::{InferenceRow, Record, inference_table, latest, training};

use super::inference::taken as source_of;
use super::source::{self, Measured};
use super::training::{label, taken};
use crate::sheet::{Cell, Column, Quantity, Sheet};
use crate::{NotebookError, Result};

/// Seconds of the median inference of each network, and the share of each kind of operation in them: `conv2d`, `relu`,
/// `linear`, …, the largest on average first. Of several records of the same measurement, the last.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a record of private inference; [`Experiment`](NotebookError::Experiment) if the
/// published figures cannot be read.
pub fn parts(records: &[Record]) -> Result<Sheet> {
    let records: Vec<Record> = latest(records)
        .into_iter()
        .filter(|record| !record.seconds_by_kind.is_empty() && !record.is_emulated())
        .collect();
    let rows = inference_table(&records)?;
    let name = |(row, record): (&InferenceRow, &Record)| {
        (source_of(record).label(&row.network, &row.marks), row.link.clone(), row.seconds)
    };
    let names = rows.iter().zip(&records).map(name);
    let parts: Vec<&BTreeMap<String, f64>> = records.iter().map(|record| &record.seconds_by_kind).collect();
    let measured: Vec<Measured<'_>> = records.iter().map(source_of).collect();
    sheet("Private inference: where the time goes", names.collect(), &parts, &measured)
}

/// Seconds of an iteration of each network's training, and the share of each pass in them.
///
/// # Errors
/// As [`parts`].
pub fn training_parts(records: &[TrainingRecord]) -> Result<Sheet> {
    let records: Vec<TrainingRecord> = training::latest(records)
        .into_iter()
        .filter(|record| !record.seconds_by_pass.is_empty() && !record.is_emulated())
        .collect();
    let rows = training::training_table(&records)?;
    let name = |(row, record): (&TrainingRow, &TrainingRecord)| {
        (format!("{} × {}", label(row, &taken(record)), row.batch), row.link.clone(), row.seconds)
    };
    let names = rows.iter().zip(&records).map(name);
    let parts: Vec<&BTreeMap<String, f64>> = records.iter().map(|record| &record.seconds_by_pass).collect();
    let measured: Vec<Measured<'_>> = records.iter().map(taken).collect();
    sheet("Private training: where the time of an iteration goes", names.collect(), &parts, &measured)
}

fn sheet(
    title: &str,
    rows: Vec<(String, String, f64)>,
    parts: &[&BTreeMap<String, f64>],
    measured: &[Measured<'_>],
) -> Result<Sheet> {
    if rows.is_empty() {
        let hint = "measure with `cryptgpu run paper --only parts` and read its file";
        return Err(NotebookError::Empty { what: "the table of parts", hint });
    }
    // Parts overlap nothing, and leave out what lies between them.
    let share = |parts: &BTreeMap<String, f64>, kind: &str| {
        let all: f64 = parts.values().sum();
        parts.get(kind).map(|seconds| seconds / all.max(f64::MIN_POSITIVE))
    };
    let mut kinds: Vec<(&String, f64)> = vec![];
    for kind in parts.iter().flat_map(|parts| parts.keys()) {
        if !kinds.iter().any(|(known, _)| *known == kind) {
            kinds.push((kind, parts.iter().filter_map(|parts| share(parts, kind)).sum()));
        }
    }
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut columns = vec![
        Column::texts("network", rows.iter().map(|(name, ..)| name.clone())),
        Column::texts("link", rows.iter().map(|(_, link, _)| link.clone())),
        Column::new("in all", Quantity::Seconds, rows.iter().map(|(.., seconds)| Cell::number(*seconds))),
    ];
    columns.extend(kinds.into_iter().map(|(kind, _)| {
        let cells = parts.iter().map(|parts| Cell::number(share(parts, kind)));
        Column::new(kind.replace('_', " "), Quantity::Percent, cells)
    }));
    let (places, machines) = source::measured(measured);
    columns.extend(places);
    let sheet = Sheet::new(title, columns).noted(
        "Shares of the slowest party's time within operations, waiting for messages included. A convolution's time has its \
         truncation's in it.",
    );
    Ok(sheet.noted(&machines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{record, training_record};

    #[test]
    fn shares_are_of_the_whole_and_the_largest_comes_first() {
        let mut lenet = record("lenet", 0.02);
        lenet.seconds_by_kind = [("relu", 0.015), ("conv2d", 0.005)].map(|(kind, s)| (kind.to_owned(), s)).into();
        let table = parts(&[lenet, record("resnet50", 1.0)]).unwrap();
        assert_eq!((table.rows(), table.columns()[3].name.as_str()), (1, "relu"), "a record without parts has no row");
        assert_eq!(table.cell("relu", 0).unwrap().number, Some(0.75));
        let mut trained = training_record("lenet", 128, 0.5);
        trained.seconds_by_pass = [("forward", 0.1), ("backward", 0.3)].map(|(pass, s)| (pass.to_owned(), s)).into();
        assert_eq!(training_parts(&[trained]).unwrap().cell("backward", 0).unwrap().number, Some(0.3 / 0.4));
        assert!(matches!(parts(&[]), Err(NotebookError::Empty { .. })));
    }
}
