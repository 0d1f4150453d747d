//! Micro-benchmarks, and the ablation of the embedding as a data frame. What stands in a row is decided by
//! `cryptgpu_core::experiment`.

use cryptgpu_core::experiment::EmbeddingRow;
use cryptgpu_core::experiment::micro::{MicroRecord, MicroRow, latest, micro_caption, micro_table};
use polars::prelude::DataFrame;

use super::source::cited;
use super::{Table, counts, numbers, texts};
use crate::sheet::{Cell, Column as SheetColumn, Quantity, Sheet};
use crate::{NotebookError, Result};

/// Private operations by size and device, beside what is published for the same size. Of several records of the same
/// measurement, the last.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a record; [`Experiment`](NotebookError::Experiment) if the published figures
/// cannot be read.
pub fn micro(records: &[MicroRecord]) -> Result<Sheet> {
    let rows = micro_rows(records)?;
    let of = &rows;
    let columns = vec![
        SheetColumn::texts("operation", of.iter().map(|row| row.operation.clone())),
        SheetColumn::texts("size", of.iter().map(|row| row.size.clone())),
        SheetColumn::texts("where", of.iter().map(MicroRow::series)),
        SheetColumn::new("ours", Quantity::Seconds, of.iter().map(|row| Cell::number(row.seconds))),
        SheetColumn::new("fastest", Quantity::Seconds, of.iter().map(|row| Cell::number(row.best_seconds))),
        SheetColumn::new("10⁶ a second", Quantity::Number, of.iter().map(|row| Cell::number(row.per_second / 1e6))),
        SheetColumn::new("sent", Quantity::Bytes, of.iter().map(|row| Cell::number(row.bytes as f64))),
        SheetColumn::new("rounds", Quantity::Count, of.iter().map(|row| Cell::number(row.rounds as f64))),
        SheetColumn::new("largest error", Quantity::Error, of.iter().map(|row| Cell::number(row.max_abs_error))),
        SheetColumn::new("Piranha, GPU", Quantity::Seconds, of.iter().map(|row| cited(&row.piranha_seconds))),
        SheetColumn::new("MP-SPDZ, CPU", Quantity::Seconds, of.iter().map(|row| cited(&row.mp_spdz_seconds))),
    ];
    Ok(Sheet::new("Private operations by size", columns).noted(&micro_caption(&rows)?))
}

/// The rows behind [`micro`], for figures.
pub(crate) fn micro_rows(records: &[MicroRecord]) -> Result<Vec<MicroRow>> {
    let rows = micro_table(&latest(records))?;
    if rows.is_empty() {
        let hint = "measure with `measure::micro(&Operation::published())?`, or read a file of records";
        return Err(NotebookError::Empty { what: "the table of micro-benchmarks", hint });
    }
    Ok(rows)
}

/// Ways to embed ring words into floating point: what they cost, up to which depth they are proved right, and where they
/// were seen to be wrong.
///
/// # Errors
/// [`Polars`](NotebookError::Polars).
pub fn embedding(rows: &[EmbeddingRow]) -> Result<Table> {
    let first_random =
        |row: &EmbeddingRow| row.points.iter().find(|point| point.random_wrong > 0.0).map(|point| point.depth as f64);
    let columns = vec![
        texts("limbs", rows.iter().map(|row| Some(row.limbs.clone()))),
        texts("sums kept in", rows.iter().map(|row| Some(row.sums.clone()))),
        counts("products", rows.iter().map(|row| u64::from(row.products))),
        counts("proved right up to K", rows.iter().map(|row| row.exact_depth)),
        numbers("worst words wrong at K", rows.iter().map(|row| row.first_wrong.map(|depth| depth as f64))),
        numbers("uniform words wrong at K", rows.iter().map(first_random)),
        numbers("tried up to K", rows.iter().map(|row| row.points.last().map(|point| point.depth as f64))),
    ];
    let caption = "Products of limbs for one product of words. K is the depth of an inner product: the inner dimension \
                   of a matrix product, or input channels times kernel. Worst words are built to go wrong as early as \
                   any can; uniform ones are what shares look like, tried at powers of 4. An empty cell: not seen, up \
                   to the depth that was tried.";
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption: caption.to_owned() })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cryptgpu_core::experiment::micro::Operation;
    use cryptgpu_core::show::Show;
    use serde_json::json;

    /// A record as a file of results holds it.
    pub(crate) fn record(operation: &str, seconds: f64, card: &str) -> MicroRecord {
        let operation: Operation = operation.parse().unwrap();
        serde_json::from_value(json!({
            "experiment": "micro", "operation": operation.name(), "size": operation.size(),
            "device": if card.is_empty() { "cpu" } else { "cuda:0" }, "cards": [card, card, card], "link": "none",
            "randomness": "aes128-ctr", "fraction_bits": 20, "iterations": 5, "seconds": seconds,
            "best_seconds": seconds, "macs": operation.macs(), "outputs": operation.outputs(),
            "bytes_sent": [1000, 1000, 1000], "rounds": 3, "max_abs_error": 1e-6, "compared": 10,
            "machine": {"cpu": "a processor"}, "commit": "", "time": "",
        }))
        .unwrap()
    }

    #[test]
    fn measurements_stand_beside_published_ones() {
        let records =
            [record("relu 1000", 0.5, ""), record("relu 1000", 0.1, "NVIDIA A100"), record("relu 12", 1.0, "")];
        let table = micro(&records).unwrap();
        assert_eq!(table.rows(), 3);
        let html = table.html();
        assert!(html.contains("ours, NVIDIA A100") && html.contains("826") && html.contains("not otherwise"), "{html}");
        assert!(matches!(micro(&[]), Err(NotebookError::Empty { .. })));
    }
}
