//! A micro-benchmark as a record, and files of them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::party::in_the_clear;
use super::{Micro, MicroReport, Operation, run_party};
use crate::cluster::{Cluster, ClusterBuilder, Plain};
use crate::experiment::label::{Conditions, Mark, STANDARD_WINDOW};
use crate::experiment::record::{append_line, lines};
use crate::experiment::{ExperimentError, Machine, commit, machine, now, window};
use crate::net::Link;
use crate::ring::Ring;

/// What such records say their experiment is.
pub const EXPERIMENT: &str = "micro";

/// One measurement of one private operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MicroRecord {
    /// `micro`.
    pub experiment: String,
    /// `matmul`, `convolution`, `relu`.
    pub operation: String,
    /// The size, as [`Operation::size`] writes it.
    pub size: String,
    /// Where the parties computed: `cpu`, `cuda:0`, or by party, `cuda:0,cpu,cpu`.
    pub device: String,
    /// The name of each party's card; empty for a party that computed on the CPU.
    #[serde(default)]
    pub cards: [String; 3],
    /// The links between the parties: `none` (as they are), `lan`, `wan`, or MB/s and milliseconds.
    pub link: String,
    /// What masks were drawn from: `aes128-ctr`, `insecure-philox`.
    pub randomness: String,
    /// Which protocols ran: `exact` or `paper`; empty in records that do not say it.
    #[serde(default)]
    pub fidelity: String,
    /// The ring that the parties computed in; that of 64 bits in records that do not say it.
    #[serde(default)]
    pub ring: Ring,
    /// Fraction bits of the fixed-point codec.
    pub fraction_bits: u32,
    /// Bits that comparisons looked at, `lowest:width`; empty in records that do not say it.
    #[serde(default)]
    pub window: String,
    /// Timed iterations.
    pub iterations: usize,
    /// Seconds from shares to shares: the median over the iterations of the slowest party's time (of two in the
    /// middle, the lower).
    pub seconds: f64,
    /// The same of the fastest iteration.
    pub best_seconds: f64,
    /// Multiply-accumulates of secrets; 0 for ReLU.
    pub macs: u64,
    /// Elements of the result.
    pub outputs: u64,
    /// Payload bytes that each party sent in one iteration.
    pub bytes_sent: [u64; 3],
    /// Rounds of one iteration: by how much the longest chain of messages grew. One fewer than the protocol alone may
    /// have, where its first message need not wait for the end of the iteration before.
    pub rounds: u64,
    /// Largest absolute difference from the same in f64, over the elements compared.
    pub max_abs_error: f64,
    /// Elements compared.
    pub compared: usize,
    /// Where the parties ran.
    #[serde(default)]
    pub parties: String,
    /// Threads that each party computed on; zeros in records that do not say it.
    #[serde(default)]
    pub threads: [usize; 3],
    /// The machine of the caller, and of local parties.
    pub machine: Machine,
    /// Commit that the program was built from; a `+` says that its sources differed from it.
    pub commit: String,
    /// When the measurement ended, RFC 3339, UTC.
    pub time: String,
}

impl MicroRecord {
    /// The operation, if this version knows it.
    pub fn operation(&self) -> Option<Operation> {
        format!("{} {}", self.operation, self.size).parse().ok()
    }

    /// Bytes of one iteration, all parties together.
    pub fn total_bytes(&self) -> u64 {
        self.bytes_sent.iter().sum()
    }

    /// Multiply-accumulates of secrets a second, or elements for ReLU, in the median iteration.
    pub fn per_second(&self) -> f64 {
        let work = if self.macs > 0 { self.macs } else { self.outputs };
        work as f64 / self.seconds
    }

    /// Whether masks came from a generator that is not cryptographic, so that nothing was private.
    pub fn is_insecure(&self) -> bool {
        self.randomness.contains("insecure")
    }

    /// Everything that its numbers depend on besides operation, size and links, as tables say it; the program's version
    /// is left out.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let conditions = Conditions {
            ring: self.ring,
            device: &self.device,
            cards: &self.cards,
            // Older records are all of the standard.
            fidelity: if self.fidelity.is_empty() { "exact" } else { &self.fidelity },
            fraction_bits: self.fraction_bits,
            window: if self.window.is_empty() { STANDARD_WINDOW } else { &self.window },
            randomness: &self.randomness,
            parties: &self.parties,
            threads: self.threads,
            machine: &self.machine,
        };
        let mut marks = conditions.marks();
        marks.push(Mark::between(format!("{} iterations", self.iterations)));
        marks
    }

    /// Where it was measured: the card's name, or the processor's.
    pub fn hardware(&self) -> &str {
        self.cards.iter().find(|card| !card.is_empty()).unwrap_or(&self.machine.cpu)
    }

    /// The record as one line of JSON, with its newline.
    ///
    /// # Errors
    /// [`NotFinite`](ExperimentError::NotFinite): JSON would silently write `null` for such a number.
    pub fn to_line(&self) -> Result<String, ExperimentError> {
        let numbers =
            [("seconds", self.seconds), ("best_seconds", self.best_seconds), ("max_abs_error", self.max_abs_error)];
        if let Some((field, value)) = numbers.into_iter().find(|(_, value)| !value.is_finite()) {
            return Err(ExperimentError::NotFinite { network: self.operation.clone(), field, value });
        }
        Ok(serde_json::to_string(self)? + "\n")
    }
}

/// Appends a record to a file of JSON Lines, as [`experiment::append`](crate::experiment::append) does.
///
/// # Errors
/// [`File`](ExperimentError::File) or [`NotFinite`](ExperimentError::NotFinite).
pub fn append(path: &Path, record: &MicroRecord) -> Result<(), ExperimentError> {
    append_line(path, &record.to_line()?)
}

/// The micro-benchmarks of a file of records, in its order; records of other experiments are skipped.
///
/// # Errors
/// [`File`](ExperimentError::File) or [`Line`](ExperimentError::Line), with the line's number.
pub fn read(path: &Path) -> Result<Vec<MicroRecord>, ExperimentError> {
    lines(path, |experiment| experiment == EXPERIMENT)
}

/// Three parties to measure at.
#[derive(Debug)]
pub struct Bench {
    cluster: Cluster,
    link: Link,
    parties: &'static str,
}

impl Bench {
    /// Starts three parties as `builder` says, with `link` between them.
    ///
    /// # Errors
    /// As [`ClusterBuilder::start`].
    pub fn start(builder: ClusterBuilder, link: Link) -> Result<Self, ExperimentError> {
        let cluster = builder.link(link).start()?;
        let parties = cluster.place();
        Ok(Self { cluster, link, parties })
    }

    /// Measures one operation.
    ///
    /// # Errors
    /// What is wrong with the declaration; whatever ends the run at a party; [`Emulated`](ExperimentError::Emulated)
    /// when a party's card is an emulator's, whose time says nothing of any card.
    pub fn measure(&self, declaration: &Micro) -> Result<MicroRecord, ExperimentError> {
        declaration.validate()?;
        let reports = self.cluster.run(run_party, Plain(*declaration))?.outputs;
        record(declaration, self.link, self.parties, &reports)
    }
}

fn record(
    declaration: &Micro,
    link: Link,
    parties: &str,
    reports: &[MicroReport; 3],
) -> Result<MicroRecord, ExperimentError> {
    let cards = reports.each_ref().map(|report| report.card.clone());
    if let Some(card) = cards.iter().find(|card| card.contains("emulator")) {
        return Err(ExperimentError::Emulated { card: card.clone() });
    }
    let [randomness, others @ ..] = reports.each_ref().map(|report| report.randomness);
    if others != [randomness; 2] {
        return Err(ExperimentError::Reports("they differ in what masks were drawn from".to_owned()));
    }
    let seconds = slowest(declaration, reports)?;
    let (clear, settings) = (in_the_clear(declaration.operation), reports[0].settings);
    let max_abs_error = largest_error(reports, &clear)?;
    let devices = reports.each_ref().map(|report| report.device.clone());
    let depth = |when: usize| reports.iter().map(|report| report.stats[when].rounds).max().unwrap_or(0);
    Ok(MicroRecord {
        experiment: EXPERIMENT.to_owned(),
        operation: declaration.operation.name().to_owned(),
        size: declaration.operation.size(),
        device: if devices.iter().all(|device| *device == devices[0]) { devices[0].clone() } else { devices.join(",") },
        cards,
        link: link.to_string(),
        randomness: randomness.to_string(),
        fidelity: settings.fidelity.to_string(),
        ring: settings.codec.ring(),
        fraction_bits: settings.codec.fraction_bits(),
        window: window::text(settings.window),
        iterations: declaration.iterations,
        seconds: seconds[(seconds.len() - 1) / 2],
        best_seconds: seconds[0],
        macs: declaration.operation.macs(),
        outputs: declaration.operation.outputs(),
        bytes_sent: reports.each_ref().map(|report| report.stats[1].since(&report.stats[0]).payload_bytes()),
        rounds: depth(1).saturating_sub(depth(0)),
        max_abs_error,
        compared: clear.len(),
        parties: parties.to_owned(),
        threads: reports.each_ref().map(|report| report.threads),
        machine: machine().clone(),
        commit: commit().to_owned(),
        time: now(),
    })
}

/// The slowest party's seconds of each iteration, from the least to the most; at least one.
fn slowest(declaration: &Micro, reports: &[MicroReport; 3]) -> Result<Vec<f64>, ExperimentError> {
    let iterations = declaration.iterations;
    if iterations == 0 || reports.iter().any(|report| report.seconds.len() != iterations) {
        return Err(ExperimentError::Reports("they differ in the number of iterations".to_owned()));
    }
    let of_all = |iteration: usize| reports.iter().map(|report| report.seconds[iteration]).fold(0.0, f64::max);
    let mut seconds: Vec<f64> = (0..iterations).map(of_all).collect();
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

/// The parties' components put together and compared.
fn largest_error(reports: &[MicroReport; 3], clear: &[f64]) -> Result<f64, ExperimentError> {
    let settings = reports[0].settings;
    if reports.iter().any(|report| report.result.0.len() != clear.len() || report.settings != settings) {
        return Err(ExperimentError::Reports("they differ in what they computed".to_owned()));
    }
    let codec = settings.codec;
    let word = |at: usize| reports.iter().fold(0u64, |sum, report| sum.wrapping_add(report.result.0[at]));
    let value = |at: usize| codec.decode(codec.ring().residue(word(at)));
    let errors = clear.iter().enumerate().map(|(at, clear)| (value(at) - clear).abs());
    Ok(errors.fold(0.0, f64::max))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::Words;
    use crate::mpc::{Settings, cost};

    fn measured(ring: Ring, operations: &[&str]) -> Vec<MicroRecord> {
        let settings = Settings { codec: ring.into(), ..Settings::default() };
        let bench = Bench::start(Cluster::in_memory().computing(settings), Link::None).unwrap();
        let one = |text: &&str| Micro { iterations: 2, ..Micro::of(text.parse().unwrap()) };
        operations.iter().map(|text| bench.measure(&one(text)).unwrap()).collect()
    }

    #[test]
    fn operations_are_right_and_cost_what_their_protocols_do() {
        for (ring, most) in [(Ring::Z64, 3e-5), (Ring::Z32, 8e-3)] {
            let records = measured(ring, &["matmul 7x9x5", "convolution 12x12 3->4 k3", "relu 1000"]);
            for record in &records {
                assert_eq!((record.device.as_str(), record.parties.as_str()), ("cpu", "threads of one process"));
                assert!(record.max_abs_error > 0.0 && record.max_abs_error < most, "{record:?}");
                assert!(0.0 < record.best_seconds && record.best_seconds <= record.seconds);
                assert_eq!(record.compared as u64, record.outputs);
                assert_eq!((record.window.as_str(), record.fidelity.as_str()), ("0:64", "exact"));
                assert_eq!(record.ring, ring);
                let window = crate::device::SignWindow::default();
                let cost = match record.operation().unwrap() {
                    Operation::Relu { n } => cost::relu(ring, n, window),
                    other => cost::truncate_product(ring, other.outputs() as usize, record.fraction_bits),
                };
                assert_eq!(record.total_bytes(), cost.bytes, "{}", record.operation);
                assert!((cost.rounds - 1..=cost.rounds).contains(&record.rounds), "{record:?}");
            }
            assert_eq!((records[1].macs, records[2].macs), (400 * 27, 0));
        }
    }

    #[test]
    fn a_file_may_hold_records_of_several_experiments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let inference = crate::experiment::record::tests::sample("lenet", 0.02, 1000);
        // Numbers that decimal digits hold exactly.
        let (seconds, best_seconds, max_abs_error) = (0.5, 0.25, 0.0);
        let micro =
            &MicroRecord { seconds, best_seconds, max_abs_error, ..measured(Ring::Z64, &["relu 10"])[0].clone() };
        append(&path, micro).unwrap();
        crate::experiment::append(&path, &inference).unwrap();
        assert_eq!(read(&path).unwrap(), std::slice::from_ref(micro));
        assert_eq!(crate::experiment::read(&path).unwrap(), [inference]);
    }

    #[test]
    fn an_emulators_time_is_no_measurement() {
        let report = |card: &str| MicroReport {
            seconds: vec![1.0, 2.0],
            stats: Default::default(),
            result: Words(vec![0; 10]),
            randomness: Default::default(),
            device: "cuda:0".to_owned(),
            card: card.to_owned(),
            threads: 1,
            settings: Default::default(),
        };
        let declaration = Micro { iterations: 2, ..Micro::of(Operation::Relu { n: 10 }) };
        let reports = ["NVIDIA V100", "cryptgpu-emulator sm_80", "NVIDIA V100"].map(report);
        let error = record(&declaration, Link::None, "test", &reports).unwrap_err();
        assert!(matches!(error, ExperimentError::Emulated { .. }), "{error}");
        let real = record(&declaration, Link::None, "test", &["NVIDIA V100"; 3].map(report)).unwrap();
        assert_eq!((real.hardware(), real.seconds, real.best_seconds), ("NVIDIA V100", 1.0, 1.0));
        let short = MicroReport { result: Words::default(), ..report("") };
        assert!(record(&declaration, Link::None, "test", &[report(""), short, report("")]).is_err());
    }
}
