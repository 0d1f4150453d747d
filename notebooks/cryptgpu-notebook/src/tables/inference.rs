//! The paper's table of private inference with our records beside its figures.
//!
//! What stands in a row is decided by `cryptgpu_core::experiment`; this module only turns rows into frames and says,
//! visibly, where each of the paper's figures comes from and which of them nobody could check.

use cryptgpu_core::experiment::{InferenceRow, Record, inference_caption, inference_table, latest};

use super::source::{self, BYTES, Measured, Others, SECONDS, Times, cited, explained};
use crate::sheet::{Cell, Column, Quantity, Sheet};
use crate::{NotebookError, Result};

/// What the definitions of systems differ in, for the reader of a comparison.
const DIFFERENCES: &str = "Piranha and Antelope put ReLU behind pooling, so they have fewer ReLUs (LeNet 4,180 for 15,220); \
    Piranha's times leave out all randomness.";

/// Private inference: the time of each network over each link, ours and published ones, with their sources, error and
/// accuracy, and where ours was measured. Of several records of the same measurement, the last.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a record of an inference; [`Experiment`](NotebookError::Experiment) if the
/// published figures cannot be read.
pub fn inference(records: &[Record]) -> Result<Sheet> {
    let (records, rows) = both(records)?;
    let of = &rows;
    let near = |row: &InferenceRow| matches!(row.link.as_str(), "none" | "lan") && !row.emulated && is_private(row);
    // Of a few images it says nothing.
    let accuracy =
        |(row, record): (&InferenceRow, &Record)| Cell::number(row.accuracy.filter(|_| record.images >= 100));
    let accuracies = of.iter().zip(&records).map(accuracy);
    let near: Vec<_> = of.iter().map(|row| near(row).then(|| (row.network.clone(), row.batch))).collect();
    let measured: Vec<Measured<'_>> = records.iter().map(taken).collect();
    let mut columns = head(of, &measured);
    let times: Vec<Times<'_>> = of
        .iter()
        .map(|row| ((!row.emulated).then_some(row.seconds), &row.cryptgpu_seconds, row.speed_up, &row.falcon_seconds))
        .collect();
    columns.extend(source::times(&times));
    columns.extend(Others::read()?.columns("", SECONDS, &near));
    columns.extend([
        Column::new("largest error", Quantity::Error, of.iter().map(|row| Cell::number(row.max_abs_error))),
        Column::new("accuracy", Quantity::Percent, accuracies),
    ]);
    let (places, machines) = source::measured(&measured);
    columns.extend(places);
    let caption = inference_caption(&rows)?;
    let more = explained(&columns, &caption)?;
    let times = "Time from shared weights and the owner's images to shares of the result, median of the iterations.";
    let sheet = Sheet::new("Private inference: time", columns).noted(times).noted(&caption).noted(&more);
    Ok(sheet.noted(DIFFERENCES).noted(&machines))
}

/// Private inference: bytes of all parties and rounds, ours and published ones; a row for each network and batch, whatever
/// the link, since neither depends on it.
///
/// # Errors
/// As [`inference`].
pub fn inference_bytes(records: &[Record]) -> Result<Sheet> {
    let (_, mut rows) = both(records)?;
    let mut seen = vec![];
    rows.retain(|row| {
        let key = (row.network.clone(), row.batch, row.bytes, row.rounds);
        let new = is_private(row) && !seen.contains(&key);
        seen.push(key);
        new
    });
    let of = &rows;
    let all: Vec<_> = of.iter().map(|row| Some((row.network.clone(), row.batch))).collect();
    let mut columns = vec![
        Column::texts("network", of.iter().map(|row| row.network.clone())),
        Column::new("batch", Quantity::Count, of.iter().map(|row| Cell::number(row.batch as f64))),
        Column::new("rounds", Quantity::Count, of.iter().map(|row| Cell::number(row.rounds as f64))),
        Column::new("ours", Quantity::Bytes, of.iter().map(|row| Cell::number(row.bytes as f64))),
        Column::new("CryptGPU's code sends", Quantity::Bytes, of.iter().map(|row| cited(&row.cryptgpu_bytes_sent))),
        Column::new("ours of these", Quantity::Percent, of.iter().map(|row| Cell::number(row.bytes_fraction))),
        Column::new("CryptGPU counted", Quantity::Bytes, of.iter().map(|row| cited(&row.cryptgpu_bytes_published))),
        Column::new("Falcon", Quantity::Bytes, of.iter().map(|row| cited(&row.falcon_bytes))),
    ];
    columns.extend(Others::read()?.columns("", BYTES, &all));
    let caption = "Payload of all parties together, decimal units. CryptGPU published what a counter saw that leaves out \
                   every one-byte message, that is, all AND-gate traffic of the sign bit; its code really sends more.";
    let sources = explained(&columns, caption)?;
    Ok(Sheet::new("Private inference: communication", columns).noted(caption).noted(&sources))
}

/// The columns by which a row is known.
fn head(rows: &[InferenceRow], measured: &[Measured<'_>]) -> Vec<Column> {
    let batches = rows.iter().any(|row| row.batch > 1);
    let batch = |row: &InferenceRow| Cell::number(batches.then_some(row.batch as f64));
    vec![
        Column::texts("network", rows.iter().zip(measured).map(|(row, taken)| taken.label(&row.network, &row.marks))),
        Column::texts("images", rows.iter().map(|row| row.dataset.clone())),
        Column::new("batch", Quantity::Count, rows.iter().map(batch)),
        Column::texts("link", rows.iter().map(|row| row.link.clone())),
    ]
}

fn is_private(row: &InferenceRow) -> bool {
    row.bytes > 0
}

/// Where and when a record was measured.
pub(super) fn taken(record: &Record) -> Measured<'_> {
    Measured {
        machine: &record.machine,
        card: record.cards.iter().find(|card| !card.is_empty()).map_or("", String::as_str),
        commit: &record.commit,
        time: &record.time,
    }
}

/// Where records of inference were measured, in a line for a figure.
pub(crate) fn places(records: &[Record]) -> String {
    source::line(&records.iter().map(taken).collect::<Vec<_>>())
}

/// The records of inference, the last of each measurement, with their rows.
fn both(records: &[Record]) -> Result<(Vec<Record>, Vec<InferenceRow>)> {
    let rows = inference_rows(records)?;
    let is_inference = |record: &Record| record.experiment == "inference" || record.is_plaintext();
    Ok((latest(records).into_iter().filter(is_inference).collect(), rows))
}

/// The rows behind [`inference`], for figures.
pub(crate) fn inference_rows(records: &[Record]) -> Result<Vec<InferenceRow>> {
    let rows = inference_table(&latest(records))?;
    if rows.is_empty() {
        let hint = "measure with `cryptgpu run inference --out results.jsonl` and read that file";
        return Err(NotebookError::Empty { what: "the inference table", hint });
    }
    Ok(rows)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cryptgpu_core::show::Show;
    use serde_json::json;

    /// A record as a file of results holds it.
    pub(crate) fn record(network: &str, seconds: f64) -> Record {
        let machine = json!({"cpu": "", "cores": 2, "isa": [], "memory_bytes": 0, "gpus": []});
        serde_json::from_value(json!({
            "experiment": "inference", "network": network, "dataset": "mnist-test", "batch": 1, "device": "cpu",
            "link": "none", "fidelity": "exact", "fraction_bits": 20, "iterations": 5, "seconds": seconds,
            "seconds_by_kind": {}, "bytes_sent": [500_000, 500_000, 500_000], "rounds": 61, "max_abs_error": 1e-5,
            "peak_rss_bytes": [0, 0, 0], "randomness": "aes128-ctr", "machine": machine, "commit": "", "time": "",
        }))
        .unwrap()
    }

    #[test]
    fn sources_and_doubts_stand_in_the_table_and_below_it() {
        let records = [record("lenet", 0.038), record("resnet50", 4.655), record("lenet", 0.019)];
        let table = inference(&records).unwrap();
        assert_eq!(table.rows(), 2, "of two records of LeNet, the last");
        let number = |column: &str, row| table.cell(column, row).unwrap().number;
        assert_eq!((number("ours", 0), number("ours is faster", 0)), (Some(0.019), Some(20.0)));
        assert_eq!((number("Antelope", 0), number("Piranha P-Falcon", 0)), (Some(0.024), Some(0.031)));
        assert_eq!((number("CrypTFlow", 0), number("CrypTFlow", 1)), (None, Some(25.9)));
        let cited = table.cell("CryptGPU", 1).unwrap();
        assert_eq!((cited.source.as_str(), cited.unverified), ("mem, unverified", true));
        assert!(number("Falcon", 1).is_none());
        let html = table.html();
        assert!(html.contains("one-byte message") && html.contains("mem (unverified): "), "{html}");
        assert!(table.text().contains("T4: ") && table.text().contains("ante: "));
        let mut far = record("lenet", 0.8);
        far.link = "wan".into();
        let far = inference(&[record("lenet", 0.02), far]).unwrap();
        assert!(far.cell("Antelope", 1).unwrap().number.is_none(), "times of fast links stand beside such only");
        let bytes = inference_bytes(&records).unwrap();
        assert_eq!((bytes.rows(), bytes.cell("CryptGPU counted", 0).unwrap().number), (2, Some(3e6)));
    }

    #[test]
    fn rows_that_were_not_private_say_so() {
        let mut insecure = record("lenet", 0.019);
        insecure.randomness = "insecure-philox".into();
        let table = inference(&[insecure, record("lenet", 0.02)]).unwrap();
        assert!(table.html().contains("lenet (insecure-philox)") && table.text().contains("INSECURE"));
    }
}
