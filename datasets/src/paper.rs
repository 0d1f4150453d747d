//! The figures that the tables compare with: CryptGPU's own and those of systems published since,
//! each with its source.
//!
//! They are files under `datasets/paper` that are compiled in, so that a comparison needs no download
//! and a correction is a change of data. A figure whose source is not [`verified`](Figure::verified)
//! was quoted from memory; whoever shows it writes "unverified" beside it.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{DatasetError, Result};

/// A published figure of one network under one system.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Figure {
    /// The network, as the programs name it: `lenet`, `vgg16-cifar10`, `resnet50`.
    pub network: String,
    /// The data set, or the input size that it stands for: `mnist`, `cifar10`, `tinyimagenet`, `imagenet`.
    pub dataset: String,
    /// Images at a time; none where the source does not say.
    pub batch: Option<u32>,
    /// Whose figure it is: `CryptGPU`, `Falcon`, `Piranha P-Falcon`.
    pub system: String,
    /// What was measured; see [`quantity`].
    pub quantity: String,
    /// The figure.
    pub value: f64,
    /// Its unit: `s`, `B` (bytes), `count`, `pixels`, `%`.
    pub unit: String,
    /// Tag of its source; see [`sources`].
    pub source: String,
    /// Whether the figure was checked against its source; not so for those quoted from memory.
    pub verified: bool,
    /// What a reader must know to compare with it; often empty.
    pub caveat: String,
}

/// A published figure of one operation under one system.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OperationFigure {
    /// The operation: `matmul`, `relu`, `convolution`.
    pub operation: String,
    /// Size of its operands, in words; empty where there is none.
    pub size: String,
    /// Whose figure it is.
    pub system: String,
    /// What was measured: `seconds`, `bytes_per_element`, `max_abs_error`, or a ratio of the abstract.
    pub quantity: String,
    /// The figure.
    pub value: f64,
    /// Its unit: `s`, `B`, `ratio`, `1`.
    pub unit: String,
    /// Tag of its source.
    pub source: String,
    /// As [`Figure::verified`].
    pub verified: bool,
    /// As [`Figure::caveat`].
    pub caveat: String,
}

/// What another system's own code took on one NVIDIA H100 that all of its parties shared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CardFigure {
    /// Whose code, with its version.
    pub system: String,
    /// The network, or the operation with its size; `p1` is a padding of one.
    pub work: String,
    /// `inference` or `training iteration`.
    pub phase: String,
    /// Images at a time.
    pub batch: u32,
    /// Seconds.
    pub seconds: f64,
    /// Bytes that all parties sent together; none where nothing was sent or counted.
    pub bytes_all_parties: Option<f64>,
    /// Largest absolute difference from the same in the clear; none where it was not compared.
    pub max_abs_error: Option<f64>,
    /// Results that are off by one or more; none where it was not compared.
    pub entries_off_by_more_than_1: Option<u64>,
    /// Its fraction bits.
    pub fraction_bits: u32,
    /// `yes` with CUDA's multi-process service, `no` where processes took turns on the card.
    pub mps: String,
}

impl CardFigure {
    /// Whether some result was not right.
    pub fn is_wrong(&self) -> bool {
        self.entries_off_by_more_than_1.is_some_and(|entries| entries > 0)
    }

    /// Whether the parties' processes computed on the card at the same time.
    pub fn is_with_mps(&self) -> bool {
        self.mps == "yes"
    }
}

/// What a system took on two cores that all of its parties shared, ours among them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CoreFigure {
    /// Whose code, with its version.
    pub system: String,
    /// The network, one image, or the operation with its size.
    pub work: String,
    /// Seconds.
    pub seconds: f64,
    /// Seconds that processors computed, user and system, all parties together.
    pub cpu_seconds: f64,
    /// Bytes that all parties sent together.
    pub bytes_all_parties: f64,
    /// Largest absolute difference from the same in the clear; none where it was not compared.
    pub max_abs_error: Option<f64>,
    /// Its fraction bits.
    pub fraction_bits: u32,
    /// `yes` where links were encrypted.
    pub tls: String,
    /// Bits that its comparisons look at.
    pub bits_compared: u32,
}

/// What a source tag stands for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Source {
    /// The tag, as figures carry it.
    pub tag: String,
    /// Whether figures with this tag were checked.
    pub verified: bool,
    /// The source, in words.
    pub description: String,
}

/// The quantities of [`Figure`], by name.
pub mod quantity {
    /// Seconds for one inference of a batch.
    pub const SECONDS: &str = "seconds";
    /// Seconds for one iteration of training.
    pub const SECONDS_PER_ITERATION: &str = "seconds_per_iteration";
    /// Bytes that CryptGPU published: the sum over the parties of a counter that leaves out every
    /// one-byte message, that is, all AND-gate traffic of the sign bit.
    pub const BYTES_PUBLISHED_COUNT: &str = "bytes_published_count";
    /// Bytes that CryptGPU's code really sends, all parties together: what ours are compared with.
    pub const BYTES_SENT: &str = "bytes_sent_cnt";
    /// Bytes of another system for one inference, all parties together.
    pub const BYTES_TOTAL: &str = "bytes_total";
    /// Bytes of another system for one iteration of training, all parties together.
    pub const BYTES_TOTAL_TRAINING: &str = "bytes_total_training";
    /// Test accuracy, in percent.
    pub const TEST_ACCURACY: &str = "test_accuracy";
    /// Side of the square input, in pixels.
    pub const INPUT_SIDE: &str = "input_side";
    /// Number of ReLUs.
    pub const RELUS: &str = "relus";
    /// Output elements of convolutions and fully connected layers.
    pub const LINEAR_OUTPUTS: &str = "linear_outputs";
    /// Multiply-accumulates.
    pub const MACS: &str = "macs";

    /// All of them.
    pub const ALL: [&str; 11] = [
        SECONDS,
        SECONDS_PER_ITERATION,
        BYTES_PUBLISHED_COUNT,
        BYTES_SENT,
        BYTES_TOTAL,
        BYTES_TOTAL_TRAINING,
        TEST_ACCURACY,
        INPUT_SIDE,
        RELUS,
        LINEAR_OUTPUTS,
        MACS,
    ];
}

/// A table of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Sizes of the ten networks: input, ReLUs, outputs, multiply-accumulates.
    Networks,
    /// Private inference of one image: CryptGPU, Falcon, CrypTFlow.
    Inference,
    /// Private inference of a batch: CryptGPU.
    BatchInference,
    /// One iteration of private training: CryptGPU, Falcon.
    Training,
    /// Systems published since, and CryptGPU run again by their authors.
    LaterSystems,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 5] =
        [Table::Networks, Table::Inference, Table::BatchInference, Table::Training, Table::LaterSystems];

    fn file(self) -> (&'static str, &'static str) {
        match self {
            Table::Networks => ("networks.csv", include_str!("../paper/networks.csv")),
            Table::Inference => ("inference.csv", include_str!("../paper/inference.csv")),
            Table::BatchInference => ("batch_inference.csv", include_str!("../paper/batch_inference.csv")),
            Table::Training => ("training.csv", include_str!("../paper/training.csv")),
            Table::LaterSystems => ("later_systems.csv", include_str!("../paper/later_systems.csv")),
        }
    }

    /// The figures of the table, in its order.
    ///
    /// # Errors
    /// [`Table`](DatasetError::Table) with the line, if a row does not parse.
    pub fn figures(self) -> Result<Vec<Figure>> {
        let (name, text) = self.file();
        parse(name, text)
    }
}

/// The figure of `system` for `quantity` of a network at a batch size, if a table has one. Where a
/// table has the figure of two sources, the first: the published one.
///
/// # Errors
/// As [`Table::figures`].
pub fn find(table: Table, network: &str, batch: u32, system: &str, quantity: &str) -> Result<Option<Figure>> {
    let wanted = |figure: &Figure| {
        figure.network == network
            && figure.batch == Some(batch)
            && figure.system == system
            && figure.quantity == quantity
    };
    Ok(table.figures()?.into_iter().find(wanted))
}

/// Figures of single operations: Piranha's micro-benchmarks, cost and error of CryptGPU's code.
///
/// # Errors
/// [`Table`](DatasetError::Table) with the line, if a row does not parse.
pub fn operations() -> Result<Vec<OperationFigure>> {
    parse("operations.csv", include_str!("../paper/operations.csv"))
}

/// The claims of the paper's abstract, as ratios.
///
/// # Errors
/// As [`operations`].
pub fn claims() -> Result<Vec<OperationFigure>> {
    parse("claims.csv", include_str!("../paper/claims.csv"))
}

/// CryptGPU's own code, CrypTen and Piranha, measured on one H100 on 26 November 2026.
///
/// # Errors
/// As [`operations`].
pub fn same_card() -> Result<Vec<CardFigure>> {
    parse("same_card.csv", include_str!("../paper/same_card.csv"))
}

/// Ours, SPU and MP-SPDZ, measured one after the other on two cores on 26 November 2026.
///
/// # Errors
/// As [`operations`].
pub fn two_cores() -> Result<Vec<CoreFigure>> {
    parse("two_cores.csv", include_str!("../paper/two_cores.csv"))
}

/// What the source tags stand for.
///
/// # Errors
/// As [`operations`].
pub fn sources() -> Result<Vec<Source>> {
    parse("sources.csv", include_str!("../paper/sources.csv"))
}

fn parse<T: DeserializeOwned>(table: &'static str, text: &str) -> Result<Vec<T>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(|row| row.map_err(|error| bad_row(table, &error))).collect()
}

fn bad_row(table: &'static str, error: &csv::Error) -> DatasetError {
    DatasetError::Table { table, line: error.position().map_or(0, csv::Position::line), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashMap, HashSet};

    fn tags() -> HashMap<String, bool> {
        sources().unwrap().into_iter().map(|source| (source.tag, source.verified)).collect()
    }

    #[test]
    fn every_row_has_a_known_tag_quantity_and_unit() {
        let tags = tags();
        let mut seen = HashSet::new();
        for figure in Table::ALL.into_iter().flat_map(|table| table.figures().unwrap()) {
            assert_eq!(tags.get(&figure.source), Some(&figure.verified), "{figure:?}");
            assert!(quantity::ALL.contains(&figure.quantity.as_str()), "{figure:?}");
            assert!(["s", "B", "count", "pixels", "%"].contains(&figure.unit.as_str()), "{figure:?}");
            assert!(figure.value.is_finite() && figure.value > 0.0, "{figure:?}");
            assert!(figure.verified || !figure.caveat.is_empty(), "an unverified figure says so: {figure:?}");
            let key = (figure.network, figure.batch, figure.system, figure.quantity, figure.source);
            assert!(seen.insert(key.clone()), "twice: {key:?}");
        }
        for figure in operations().unwrap().into_iter().chain(claims().unwrap()) {
            assert_eq!(tags.get(&figure.source), Some(&figure.verified), "{figure:?}");
            assert!(figure.value.is_finite() && figure.value > 0.0, "{figure:?}");
        }
    }

    #[test]
    fn the_ten_networks_have_time_and_bytes() {
        let names: BTreeSet<_> = Table::Networks.figures().unwrap().into_iter().map(|figure| figure.network).collect();
        assert_eq!(names.len(), 10);
        for name in &names {
            for quantity in [quantity::SECONDS, quantity::BYTES_PUBLISHED_COUNT, quantity::BYTES_SENT] {
                let found = find(Table::Inference, name, 1, "CryptGPU", quantity).unwrap();
                assert!(found.is_some(), "{name}: {quantity}");
            }
        }
        for figure in Table::ALL.into_iter().flat_map(|table| table.figures().unwrap()) {
            assert!(names.contains(&figure.network), "{figure:?}");
        }
    }

    #[test]
    fn what_was_really_sent_is_more_than_what_was_counted() {
        for table in [Table::Inference, Table::BatchInference, Table::Training] {
            let figures = table.figures().unwrap();
            for sent in figures.iter().filter(|figure| figure.quantity == quantity::BYTES_SENT) {
                let batch = sent.batch.unwrap();
                let counted = find(table, &sent.network, batch, "CryptGPU", quantity::BYTES_PUBLISHED_COUNT);
                let ratio = sent.value / counted.unwrap().unwrap().value;
                assert!((1.1..1.6).contains(&ratio), "{}: {ratio}", sent.network);
            }
        }
    }

    #[test]
    fn figures_are_those_of_the_sources() {
        let value =
            |table, network, batch, system, quantity| find(table, network, batch, system, quantity).unwrap().unwrap();
        let lenet = value(Table::Inference, "lenet", 1, "CryptGPU", quantity::SECONDS);
        assert_eq!((lenet.value, lenet.source.as_str(), lenet.verified), (0.38, "T4", true));
        let resnet = value(Table::Inference, "resnet50", 1, "CryptGPU", quantity::SECONDS);
        assert_eq!((resnet.value, resnet.source.as_str(), resnet.verified), (9.31, "mem", false));
        assert_eq!(value(Table::Inference, "resnet152", 1, "CryptGPU", quantity::BYTES_SENT).value, 8.853e9);
        assert_eq!(
            value(Table::Training, "vgg16-cifar10", 32, "Falcon", quantity::SECONDS_PER_ITERATION).value,
            360.83
        );
        let antelope = value(Table::LaterSystems, "lenet", 1, "Antelope", quantity::SECONDS);
        assert_eq!((antelope.value, antelope.source.as_str()), (0.024, "ante"));
        assert_eq!(value(Table::Networks, "resnet101", 1, "CryptGPU", quantity::RELUS).value, 14_584_576.0);
    }

    #[test]
    fn every_work_on_two_cores_has_a_figure_of_each_system() {
        let figures = two_cores().unwrap();
        let works: HashSet<&str> = figures.iter().map(|figure| figure.work.as_str()).collect();
        assert_eq!((figures.len(), works.len()), (21, 7));
        assert!(figures.iter().all(|figure| figure.cpu_seconds >= figure.seconds && figure.bytes_all_parties > 1e6));
    }

    #[test]
    fn wrong_results_on_the_card_are_known_as_such() {
        let figures = same_card().unwrap();
        let wrong = |system: &str, work: &str, mps: bool| {
            let is = |figure: &&CardFigure| {
                figure.system.starts_with(system) && figure.work == work && figure.is_with_mps() == mps
            };
            figures.iter().find(is).unwrap().is_wrong()
        };
        assert!(wrong("CrypTen 0.4.1, 3", "vgg16-cifar10", true) && !wrong("CrypTen 0.4.1, 3", "lenet", true));
        // One run of two: its truncation wrapped.
        assert!(wrong("CryptGPU code (", "resnet50", false) && !wrong("CryptGPU code (", "resnet50", true));
    }

    #[test]
    fn a_bad_row_names_the_table_and_the_line() {
        let text = "tag,verified,description\nabs,true,x\nT4,perhaps,y\n";
        let error = parse::<Source>("sources.csv", text).unwrap_err();
        assert!(matches!(error, DatasetError::Table { table: "sources.csv", line: 3, .. }), "{error}");
        let error = parse::<Source>("sources.csv", "tag,verified,description\nabs,true\n").unwrap_err();
        assert!(matches!(error, DatasetError::Table { line: 2, .. }), "{error}");
    }
}
