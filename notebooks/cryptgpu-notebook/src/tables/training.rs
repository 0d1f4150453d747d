//! The paper's table of private training with our records beside its figures. What stands in a row is decided by
//! `cryptgpu_core::experiment::training`.

use cryptgpu_core::experiment::training::{TrainingRecord, TrainingRow, latest, training_caption, training_table};
use polars::prelude::DataFrame;

use super::inference::{tag, value};
use super::{Table, counts, numbers, texts};
use crate::{NotebookError, Result};

/// Private training: time and bytes of an iteration of each network, ours and the paper's, with the source of each of the
/// paper's figures. Of several records of the same measurement, the last.
///
/// | column | unit |
/// |---|---|
/// | `s an iteration`, `CryptGPU s` | forward, backward and update of one minibatch; CryptGPU's on three V100. Empty for an emulated card |
/// | `× as fast` | CryptGPU's seconds by ours |
/// | `MB`, `CryptGPU MB sent` | 10⁶ bytes, all parties together |
/// | `% of its bytes` | ours of those that CryptGPU's code really sends |
/// | `peak MB` | most memory of a party's process |
/// | `loss`, `accuracy %` | at the end; empty where it was not revealed |
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a record of a training; [`Experiment`](NotebookError::Experiment) if the
/// published figures cannot be read.
pub fn training(records: &[TrainingRecord]) -> Result<Table> {
    let rows = training_rows(records)?;
    let megabytes = |bytes: f64| bytes / 1e6;
    let of = &rows;
    let columns = vec![
        texts("network", of.iter().map(|row| Some(row.label()))),
        texts("images", of.iter().map(|row| Some(row.dataset.clone()))),
        counts("batch", of.iter().map(|row| row.batch as u64)),
        texts("link", of.iter().map(|row| Some(row.link.clone()))),
        counts("iterations", of.iter().map(|row| row.iterations as u64)),
        numbers("s an iteration", of.iter().map(|row| (!row.emulated).then_some(row.seconds))),
        numbers("CryptGPU s", of.iter().map(|row| value(&row.cryptgpu_seconds))),
        texts("source", of.iter().map(|row| tag(&row.cryptgpu_seconds))),
        numbers("× as fast", of.iter().map(|row| row.speed_up)),
        numbers("MB", of.iter().map(|row| Some(megabytes(row.bytes as f64)))),
        numbers("CryptGPU MB sent", of.iter().map(|row| value(&row.cryptgpu_bytes_sent).map(megabytes))),
        numbers("% of its bytes", of.iter().map(|row| row.bytes_fraction.map(|fraction| 100.0 * fraction))),
        counts("rounds", of.iter().map(|row| row.rounds)),
        numbers("peak MB", of.iter().map(|row| Some(megabytes(row.peak_rss_bytes as f64)))),
        numbers("loss", of.iter().map(|row| row.loss)),
        numbers("accuracy %", of.iter().map(|row| row.accuracy.map(|accuracy| 100.0 * accuracy))),
        numbers("Falcon s", of.iter().map(|row| value(&row.falcon_seconds))),
        numbers("Falcon MB", of.iter().map(|row| value(&row.falcon_bytes).map(megabytes))),
    ];
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption: training_caption(&rows)? })
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
    use polars::prelude::AnyValue;
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
        assert_eq!(table.frame.height(), 2, "of two records of LeNet, the last");
        let cell = |column: &str, row| table.frame.column(column).unwrap().get(row).unwrap().into_static();
        assert_eq!(cell("s an iteration", 0), AnyValue::Float64(0.5));
        assert_eq!(cell("× as fast", 0), AnyValue::Float64(2.21 / 0.5));
        assert_eq!((cell("MB", 0), cell("peak MB", 0)), (AnyValue::Float64(300.0), AnyValue::Float64(7.0)));
        assert_eq!(cell("loss", 0), AnyValue::Float64(1.5));
        assert_eq!(cell("source", 1).to_string(), "\"mem, unverified\"");
        assert!(cell("accuracy %", 0).is_null());
        assert!(table.text().contains("T4: "));
    }

    #[test]
    fn the_time_of_an_emulated_card_is_no_time() {
        let mut emulated = record("lenet", 128, 3.0);
        emulated.cards = ["an emulator", "", ""].map(String::from);
        let table = training(&[emulated]).unwrap();
        assert!(table.frame.column("s an iteration").unwrap().get(0).unwrap().is_null());
        assert!(table.caption.contains("emulated"));
    }
}
