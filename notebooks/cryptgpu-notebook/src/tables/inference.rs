//! The paper's table of private inference with our records beside its figures.
//!
//! What stands in a row is decided by `cryptgpu_core::experiment`; this module only turns rows into frames and says,
//! visibly, where each of the paper's figures comes from and which of them nobody could check.

use cryptgpu_core::experiment::{Cited, InferenceRow, Record, inference_caption, inference_table, latest};
use polars::prelude::DataFrame;

use super::{Table, counts, numbers, texts};
use crate::{NotebookError, Result};

/// Private inference: time and bytes of each network, ours and the paper's, with the source of each of the paper's
/// figures. Of several records of the same measurement, the last.
///
/// | column | unit |
/// |---|---|
/// | `seconds`, `CryptGPU s` | for one batch; CryptGPU's on three V100 |
/// | `× as fast` | CryptGPU's seconds by ours |
/// | `MB`, `CryptGPU MB sent` | 10⁶ bytes, all parties together |
/// | `% of its bytes` | ours of those that CryptGPU's code really sends |
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a record of an inference; [`Experiment`](NotebookError::Experiment) if the
/// published figures cannot be read.
pub fn inference(records: &[Record]) -> Result<Table> {
    let rows = inference_rows(records)?;
    let megabytes = |bytes: f64| bytes / 1e6;
    let of = &rows;
    let columns = vec![
        texts("network", of.iter().map(|row| Some(row.label()))),
        texts("images", of.iter().map(|row| Some(row.dataset.clone()))),
        counts("batch", of.iter().map(|row| row.batch as u64)),
        texts("link", of.iter().map(|row| Some(row.link.clone()))),
        numbers("seconds", of.iter().map(|row| Some(row.seconds))),
        numbers("CryptGPU s", of.iter().map(|row| value(&row.cryptgpu_seconds))),
        texts("source", of.iter().map(|row| tag(&row.cryptgpu_seconds))),
        numbers("× as fast", of.iter().map(|row| row.speed_up)),
        numbers("MB", of.iter().map(|row| Some(megabytes(row.bytes as f64)))),
        numbers("CryptGPU MB sent", of.iter().map(|row| value(&row.cryptgpu_bytes_sent).map(megabytes))),
        texts("source of MB", of.iter().map(|row| tag(&row.cryptgpu_bytes_sent))),
        numbers("% of its bytes", of.iter().map(|row| row.bytes_fraction.map(|fraction| 100.0 * fraction))),
        counts("rounds", of.iter().map(|row| row.rounds)),
        numbers("largest error", of.iter().map(|row| row.max_abs_error)),
        numbers("Falcon s", of.iter().map(|row| value(&row.falcon_seconds))),
        numbers("Falcon MB", of.iter().map(|row| value(&row.falcon_bytes).map(megabytes))),
    ];
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption: inference_caption(&rows)? })
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

pub(super) fn value(cited: &Option<Cited>) -> Option<f64> {
    cited.as_ref().map(|cited| cited.value)
}

pub(super) fn tag(cited: &Option<Cited>) -> Option<String> {
    cited.as_ref().map(|cited| cited.tag().to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cryptgpu_core::show::Show;
    use polars::prelude::AnyValue;
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
        let table = inference(&[record("lenet", 0.038), record("resnet50", 4.655), record("lenet", 0.019)]).unwrap();
        assert_eq!(table.frame.height(), 2, "of two records of LeNet, the last");
        let cell = |column: &str, row| table.frame.column(column).unwrap().get(row).unwrap().into_static();
        assert_eq!(cell("seconds", 0), AnyValue::Float64(0.019));
        assert_eq!(cell("× as fast", 0), AnyValue::Float64(20.0));
        assert_eq!(cell("MB", 0), AnyValue::Float64(1.5));
        assert_eq!(cell("source", 1).to_string(), "\"mem, unverified\"");
        assert!(cell("Falcon s", 1).is_null());
        let html = table.html();
        assert!(html.contains("one-byte message") && html.contains("mem (unverified): "), "{html}");
        assert!(table.text().contains("T4: "));
    }

    #[test]
    fn rows_that_were_not_private_say_so() {
        let mut insecure = record("lenet", 0.019);
        insecure.randomness = "insecure-philox".into();
        let table = inference(&[insecure, record("lenet", 0.02)]).unwrap();
        assert!(table.html().contains("lenet (insecure-philox)") && table.caption.contains("INSECURE"));
    }
}
