//! The paper's table of private training with our records beside its figures. What stands in a row is decided by
//! `cryptgpu_core::experiment::training`.

use cryptgpu_core::experiment::training::{TrainingRecord, TrainingRow, latest, training_caption, training_table};

use super::source::{self, Measured, Others, TRAINING_BYTES, TRAINING_SECONDS, Times, cited, explained};
use crate::sheet::{Cell, Column, Quantity, Sheet};
use crate::{NotebookError, Result};

/// Private training: time, bytes and rounds of an iteration of each network, ours and published ones, with their sources.
/// Of several records of the same measurement, the last.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a record of a training; [`Experiment`](NotebookError::Experiment) if the
/// published figures cannot be read.
pub fn training(records: &[TrainingRecord]) -> Result<Sheet> {
    let rows = training_rows(records)?;
    let (records, of) = (latest(records), &rows);
    let private = |row: &TrainingRow| row.bytes > 0 && !row.emulated;
    let near = |row: &TrainingRow| private(row) && matches!(row.link.as_str(), "none" | "lan");
    let key = |row: &TrainingRow| (row.network.clone(), row.batch);
    let others = Others::read()?;
    let measured: Vec<Measured<'_>> = records.iter().map(taken).collect();
    let mut columns = vec![
        Column::texts("network", of.iter().zip(&measured).map(|(row, taken)| label(row, taken))),
        Column::texts("images", of.iter().map(|row| row.dataset.clone())),
        Column::new("batch", Quantity::Count, of.iter().map(|row| Cell::number(row.batch as f64))),
        Column::texts("link", of.iter().map(|row| row.link.clone())),
    ];
    let times: Vec<Times<'_>> = of
        .iter()
        .map(|row| ((!row.emulated).then_some(row.seconds), &row.cryptgpu_seconds, row.speed_up, &row.falcon_seconds))
        .collect();
    columns.extend(source::times(&times));
    let rows_near: Vec<_> = of.iter().map(|row| near(row).then(|| key(row))).collect();
    columns.extend(others.columns("", TRAINING_SECONDS, &rows_near));
    columns.extend([
        Column::new(
            "we send",
            Quantity::Bytes,
            of.iter().map(|row| Cell::number(private(row).then_some(row.bytes as f64))),
        ),
        Column::new("CryptGPU's code sends", Quantity::Bytes, of.iter().map(|row| cited(&row.cryptgpu_bytes_sent))),
        Column::new("ours of these", Quantity::Percent, of.iter().map(|row| Cell::number(row.bytes_fraction))),
        Column::new("Falcon sends", Quantity::Bytes, of.iter().map(|row| cited(&row.falcon_bytes))),
    ]);
    let rows_private: Vec<_> = of.iter().map(|row| private(row).then(|| key(row))).collect();
    columns.extend(others.columns(" sends", TRAINING_BYTES, &rows_private));
    columns.extend([
        Column::new(
            "rounds",
            Quantity::Count,
            of.iter().map(|row| Cell::number(private(row).then_some(row.rounds as f64))),
        ),
        Column::new("memory", Quantity::Bytes, of.iter().map(|row| Cell::number(row.peak_rss_bytes as f64))),
        Column::new("loss", Quantity::Number, of.iter().map(|row| Cell::number(row.loss))),
        Column::new("accuracy", Quantity::Percent, of.iter().map(|row| Cell::number(row.accuracy))),
    ]);
    let (places, machines) = source::measured(&measured);
    columns.extend(places);
    let caption = training_caption(&rows)?;
    let more = explained(&columns, &caption)?;
    Ok(Sheet::new("Private training: an iteration", columns).noted(&caption).noted(&more).noted(&machines))
}

/// Where and when a record was measured.
pub(super) fn taken(record: &TrainingRecord) -> Measured<'_> {
    Measured {
        machine: &record.machine,
        card: record.cards.iter().find(|card| !card.is_empty()).map_or("", String::as_str),
        commit: &record.commit,
        time: &record.time,
    }
}

/// Where records of training were measured, in a line for a figure.
pub(crate) fn training_places(records: &[TrainingRecord]) -> String {
    source::line(&records.iter().map(taken).collect::<Vec<_>>())
}

/// The network with what sets its row apart, but for what columns say.
pub(super) fn label(row: &TrainingRow, taken: &Measured<'_>) -> String {
    let marks: Vec<String> = row.marks.iter().filter(|mark| **mark != row.dataset).cloned().collect();
    taken.label(&row.network, &marks)
}

/// The rows behind [`training`], for figures.
pub(crate) fn training_rows(records: &[TrainingRecord]) -> Result<Vec<TrainingRow>> {
    let rows = training_table(&latest(records))?;
    if rows.is_empty() {
        let hint =
            "measure with `measure::training(&[\"lenet\"])?`, or `cryptgpu run train --out train.jsonl` and read that";
        return Err(NotebookError::Empty { what: "the training table", hint });
    }
    Ok(rows)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cryptgpu_core::experiment::training::Training;
    use cryptgpu_core::show::Show;
    use serde_json::json;

    /// A record as a file of results holds it.
    pub(crate) fn record(network: &str, batch: usize, seconds: f64) -> TrainingRecord {
        let train = Training::of(network).unwrap().train;
        serde_json::from_value(json!({
            "experiment": "train", "network": network, "dataset": "digits-train", "examples": 800, "batch": batch,
            "train": train, "weights": "", "device": "cpu", "cards": ["", "", ""], "link": "none", "fidelity": "exact",
            "fraction_bits": 20, "window": "0:64", "check_range": "off", "iterations": 4, "seconds": seconds,
            "bytes_sent": [100_000_000, 100_000_000, 100_000_000], "rounds": 200, "steps": [], "seconds_by_pass": {},
            "total_seconds": 4.0 * seconds, "total_bytes_sent": [0, 0, 0], "losses": [[0, 2.3], [3, 1.5]],
            "accuracy": null, "tested_on": "", "revealed": [],
            "stated": {"memory_bytes": 0, "bytes": 0, "rounds": 0}, "peak_rss_bytes": [5_000_000, 7_000_000, 6_000_000],
            "setup_seconds": 0.1, "setup_bytes_sent": [0, 0, 0], "parties": "processes", "threads": [1, 1, 1],
            "randomness": "aes128-ctr",
            "machine": {"cpu": "", "cores": 2, "isa": [], "memory_bytes": 0, "gpus": []}, "commit": "", "time": "",
        }))
        .unwrap()
    }

    #[test]
    fn records_stand_beside_the_papers_figures() {
        let records = [record("lenet", 128, 3.0), record("vgg16-tiny", 8, 4.0), record("lenet", 128, 0.5)];
        let table = training(&records).unwrap();
        assert_eq!(table.rows(), 2, "of two records of LeNet, the last");
        let number = |column: &str, row| table.cell(column, row).unwrap().number;
        assert_eq!((number("ours", 0), number("ours is faster", 0)), (Some(0.5), Some(2.21 / 0.5)));
        assert_eq!((number("we send", 0), number("memory", 0)), (Some(300e6), Some(7e6)));
        assert_eq!(
            (number("loss", 0), number("Antelope", 0), number("Piranha sends", 1)),
            (Some(1.5), Some(0.52), Some(4.28e9))
        );
        assert_eq!(table.cell("CryptGPU", 1).unwrap().source, "mem, unverified");
        assert!(table.cell("accuracy", 0).is_none(), "nothing is known of it");
        assert!(table.text().contains("T4: ") && table.text().contains("ante: "));
    }

    #[test]
    fn the_time_of_an_emulated_card_is_no_time() {
        let mut emulated = record("lenet", 128, 3.0);
        emulated.cards = ["an emulator", "", ""].map(String::from);
        let table = training(&[emulated]).unwrap();
        assert!(table.cell("ours", 0).is_none());
        assert!(table.text().contains("emulated"));
    }
}
