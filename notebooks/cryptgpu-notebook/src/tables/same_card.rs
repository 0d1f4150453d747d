//! Ours and others' code on one card: the same networks and operations, three processes on an H100.

use cryptgpu_core::experiment::micro::{self, MicroRecord};
use cryptgpu_core::experiment::{ExperimentError, Record, latest};
use cryptgpu_datasets::paper::{self, CardFigure};

use crate::sheet::{Cell, Column, Quantity, Sheet};
use crate::{NotebookError, Result};

/// What is compared: networks, and operations as records name them.
pub const SAME_CARD: [&str; 8] = [
    "lenet",
    "alexnet-cifar10",
    "vgg16-cifar10",
    "vgg16-tiny",
    "resnet50",
    "matmul 1024x1024x1024",
    "convolution 56x56 64->64 k3",
    "relu 1000000",
];

/// Systems as columns name them, and as the figures begin.
const SYSTEMS: [(&str, &str); 4] = [
    ("CryptGPU's code", "CryptGPU code ("),
    ("CrypTen, 3 parties", "CrypTen 0.4.1, 3"),
    ("CrypTen, 2 parties", "CrypTen 0.4.1, 2"),
    ("Piranha", "Piranha"),
];

/// One network or operation: what each system took, in seconds, and whether its result was wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct CardRow {
    /// What was computed.
    pub work: String,
    /// The systems that have a figure, ours first where there is one.
    pub systems: Vec<(String, f64, bool)>,
    /// Our largest error; or none.
    pub max_abs_error: Option<f64>,
    /// Our bytes, all parties together; or none.
    pub bytes: Option<u64>,
}

impl CardRow {
    fn of(&self, system: &str) -> Cell {
        let found = self.systems.iter().find(|(name, ..)| name == system);
        found.map_or_else(Cell::default, |&(_, seconds, wrong)| Cell { wrong, ..Cell::number(seconds) })
    }

    /// The fastest of the others whose result was right, by ours. Two parties with a trusted dealer are no match.
    fn ahead(&self) -> Option<f64> {
        let others =
            self.systems.iter().filter(|(name, _, wrong)| name != "ours" && name != "CrypTen, 2 parties" && !wrong);
        let best = others.map(|(_, seconds, _)| *seconds).min_by(f64::total_cmp)?;
        Some(best / self.of("ours").number?)
    }
}

/// The rows of the comparison, with CUDA's multi-process service or without. Records are of one card, of three processes
/// with links as they are; the last of each measurement counts.
///
/// # Errors
/// [`Experiment`](NotebookError::Experiment) if the others' figures cannot be read.
pub fn same_card_rows(inference: &[Record], operations: &[MicroRecord], mps: bool) -> Result<Vec<CardRow>> {
    let figures = paper::same_card().map_err(ExperimentError::from)?;
    let on_card = |device: &str, parties: &str| device.starts_with("cuda") && parties.contains("processes");
    let (inference, operations) = (latest(inference), micro::latest(operations));
    let row = |work: &str| {
        let network = inference
            .iter()
            .find(|of| of.network == work && of.batch == 1 && of.link == "none" && on_card(&of.device, &of.parties));
        let operation = operations.iter().find(|of| {
            format!("{} {}", of.operation, of.size) == work && of.link == "none" && on_card(&of.device, &of.parties)
        });
        let ours = network.map(|of| of.seconds).or(operation.map(|of| of.seconds));
        let mut systems: Vec<_> = ours.into_iter().map(|seconds| ("ours".to_owned(), seconds, false)).collect();
        for (name, begins) in SYSTEMS {
            let is = |figure: &&CardFigure| {
                figure.system.starts_with(begins)
                    && figure.work.trim_end_matches(" p1") == work
                    && figure.phase == "inference"
                    && figure.is_with_mps() == mps
            };
            let figure = figures.iter().find(is);
            systems.extend(figure.map(|figure| (name.to_owned(), figure.seconds, figure.is_wrong())));
        }
        CardRow {
            work: work.to_owned(),
            systems,
            max_abs_error: network.and_then(|of| of.max_abs_error).or(operation.map(|of| of.max_abs_error)),
            bytes: network.map(Record::total_bytes).or(operation.map(MicroRecord::total_bytes)),
        }
    };
    Ok(SAME_CARD.into_iter().map(row).collect())
}

/// Ours and others' code on one card, wrong results marked as such.
///
/// # Errors
/// As [`same_card_rows`], and [`Empty`](NotebookError::Empty) where nothing of ours was measured on a card.
pub fn same_card(inference: &[Record], operations: &[MicroRecord], mps: bool) -> Result<Sheet> {
    let rows = same_card_rows(inference, operations, mps)?;
    if rows.iter().all(|row| row.bytes.is_none()) {
        let hint = "measure with `cryptgpu run paper --only same-card --device cuda:0` on a machine with a card";
        return Err(NotebookError::Empty { what: "the comparison on one card", hint });
    }
    let mut columns = vec![Column::texts("network or operation", rows.iter().map(|row| row.work.clone()))];
    for system in SYSTEMS.map(|(name, _)| name).into_iter().chain(["ours"]) {
        columns.push(Column::new(system, Quantity::Seconds, rows.iter().map(|row| row.of(system))));
    }
    columns.extend([
        Column::new("ours is faster", Quantity::Times, rows.iter().map(|row| Cell::number(row.ahead()))),
        Column::new("our error", Quantity::Error, rows.iter().map(|row| Cell::number(row.max_abs_error))),
        Column::new(
            "we send",
            Quantity::Bytes,
            rows.iter().map(|row| Cell::number(row.bytes.map(|bytes| bytes as f64))),
        ),
    ]);
    let how = if mps { "with CUDA's multi-process service" } else { "processes take turns on the card" };
    Ok(Sheet::new(format!("One H100 for all parties, {how}"), columns).noted(NOTES))
}

const NOTES: &str = "\
Three processes on one NVIDIA H100 80GB HBM3, 26 November 2026. Ours at commit cbe0528, with TLS; no other system encrypts \
its links. wrong: some result is off by one or more. `ours is faster` compares with the fastest other system of three \
parties whose result was right.
CryptGPU's code (2ff57b2, 20 fraction bits) draws from PyTorch's generator, seeded by us: as released, its zero-shares on \
a GPU are all zero. Its truncation wraps now and then; of two runs of ResNet-50 one was wrong.
CrypTen 0.4.1 (16 fraction bits) gets its triples from a trusted dealer for free; its convolution on a GPU is inexact above \
C·k² = 512.
Piranha (dfbcb59, 26 fraction bits) uses constants for all randomness and counts no preprocessing; its ReLU comes behind \
pooling, so it has fewer of them. Its convolution here has a padding of one, as has everybody's but ours.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{micro_record, record};
    use cryptgpu_core::show::Show;

    #[test]
    fn wrong_results_are_marked_and_beat_nobody() {
        let mut vgg16 = record("vgg16-cifar10", 0.05);
        (vgg16.device, vgg16.parties) = ("cuda:0".into(), "local processes, TLS".into());
        let mut relu = micro_record("relu 1000000", 0.05, "NVIDIA H100");
        relu.parties = "local processes, TLS".into();
        let table = same_card(&[vgg16, record("lenet", 0.001)], &[relu], true).unwrap();
        assert_eq!(table.rows(), 8);
        let crypten = table.cell("CrypTen, 3 parties", 2).unwrap();
        assert!(crypten.wrong && crypten.number == Some(1.02839));
        assert!((table.cell("ours is faster", 2).unwrap().number.unwrap() - 0.356943 / 0.05).abs() < 1e-9);
        assert_eq!(table.cell("ours", 0).unwrap().number, None, "a processor's time is none of the card");
        assert!((table.cell("ours is faster", 7).unwrap().number.unwrap() - 0.20343 / 0.05).abs() < 1e-9);
        assert!(table.text().contains("1.03 s  (wrong)") && table.text().contains("constants"), "{}", table.text());
        assert!(matches!(same_card(&[], &[], true), Err(NotebookError::Empty { .. })));
    }
}
