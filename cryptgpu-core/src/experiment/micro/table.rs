//! Records of micro-benchmarks beside what is published for the same operation and size, as rows of plain values.

use cryptgpu_datasets::paper::{self, OperationFigure, quantity};
use serde::Serialize;

use super::{MicroRecord, Operation};
use crate::experiment::label::{self, Mark, said};
use crate::experiment::{Cited, ExperimentError};

/// A line of the table of micro-benchmarks. CryptGPU's own curves are not published as numbers, so it has no column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MicroRow {
    /// `matmul`, `convolution`, `relu`.
    pub operation: String,
    /// The size.
    pub size: String,
    /// Multiply-accumulates, or elements for ReLU: what sizes of one operation are ordered by.
    pub work: u64,
    /// Where: `cpu`, `cuda:0`.
    pub device: String,
    /// Processor or card.
    pub hardware: String,
    /// The links between the parties.
    pub link: String,
    /// What masks were drawn from, if nothing was private; or none.
    pub insecure: Option<String>,
    /// What sets the row apart besides device and links: what is not the default, and what it differs in from a row of
    /// the same operation and size.
    pub marks: Vec<String>,
    /// Seconds, median of the iterations.
    pub seconds: f64,
    /// Seconds of the fastest iteration.
    pub best_seconds: f64,
    /// Multiply-accumulates of secrets a second, or elements.
    pub per_second: f64,
    /// Payload bytes, all parties together.
    pub bytes: u64,
    /// Rounds.
    pub rounds: u64,
    /// Largest absolute error against f64.
    pub max_abs_error: f64,
    /// Seconds of Piranha's P-Falcon, on GPUs.
    pub piranha_seconds: Option<Cited>,
    /// Seconds of MP-SPDZ's replicated ring, on CPUs.
    pub mp_spdz_seconds: Option<Cited>,
}

impl MicroRow {
    /// What its points are drawn as one line for: `cpu`, `NVIDIA A100`, and what sets them apart.
    pub fn series(&self) -> String {
        let place = if self.device == "cpu" { "ours, CPU".to_owned() } else { format!("ours, {}", self.hardware) };
        let link = if self.link == "none" { String::new() } else { format!(", {}", self.link) };
        let marks: String = self.marks.iter().map(|mark| format!(", {mark}")).collect();
        format!("{place}{link}{marks}")
    }
}

/// One row for each record, ordered by operation, size and device.
///
/// # Errors
/// [`Dataset`](ExperimentError::Dataset) if the published figures cannot be read.
pub fn micro_table(records: &[MicroRecord]) -> Result<Vec<MicroRow>, ExperimentError> {
    let published = paper::operations()?;
    let named: Vec<_> = records
        .iter()
        .map(|record| {
            let card = if record.device == "cpu" { "" } else { record.hardware() };
            let name = format!("{} {} {} {card}", record.operation, record.size, record.link);
            let mut marks = record.marks();
            marks.extend([Mark::between(record.commit.clone()), Mark::between(record.time.clone())]);
            (name, marks)
        })
        .collect();
    let row = |(record, mut marks): (&MicroRecord, Vec<String>)| {
        // The hardware is named in its place.
        marks.retain(|mark| *mark != record.device);
        let cited = |system: &str| {
            let same = |figure: &&OperationFigure| {
                (figure.operation.as_str(), figure.size.as_str()) == (record.operation.as_str(), record.size.as_str())
                    && figure.system == system
                    && figure.quantity == quantity::SECONDS
            };
            let figure = published.iter().find(same).filter(|_| matches!(record.link.as_str(), "none" | "lan"))?;
            Some(Cited { value: figure.value, source: figure.source.clone(), verified: figure.verified })
        };
        MicroRow {
            operation: record.operation.clone(),
            size: record.size.clone(),
            work: record.operation().map_or(record.macs.max(record.outputs), |operation| operation.work()),
            device: record.device.clone(),
            hardware: record.hardware().to_owned(),
            link: record.link.clone(),
            insecure: record.is_insecure().then(|| record.randomness.clone()),
            marks,
            seconds: record.seconds,
            best_seconds: record.best_seconds,
            per_second: record.per_second(),
            bytes: record.total_bytes(),
            rounds: record.rounds,
            max_abs_error: record.max_abs_error,
            piranha_seconds: cited("Piranha P-Falcon"),
            mp_spdz_seconds: cited("MP-SPDZ replicated-ring"),
        }
    };
    let mut rows: Vec<MicroRow> = records.iter().zip(said(&named)).map(row).collect();
    let order = |name: &str| Operation::published().iter().position(|operation| operation.name() == name);
    rows.sort_by_key(|row| (order(&row.operation), row.work, row.device.clone()));
    Ok(rows)
}

/// What a reader of the table must know, with the sources that its rows cite.
///
/// # Errors
/// [`Dataset`](ExperimentError::Dataset) if the published figures cannot be read.
pub fn micro_caption(rows: &[MicroRow]) -> Result<String, ExperimentError> {
    let mut caption = String::from(
        "Seconds from shares to shares, truncation included: the median over the iterations of the slowest party. A \
         device is shown when it was measured, and not otherwise. Bytes are payload, all parties together; rounds \
         are those of one iteration after another. The curves \
         of CryptGPU's paper are not available as numbers, so its column is left out. Our convolutions have stride 1 \
         and no padding; the published sizes do not say theirs.",
    );
    if rows.iter().any(|row| row.insecure.is_some()) {
        caption.push_str("\n  insecure: masks came from a generator that is not cryptographic; nothing was private.");
    }
    let cited: Vec<&Cited> =
        rows.iter().flat_map(|row| [&row.piranha_seconds, &row.mp_spdz_seconds]).flatten().collect();
    for source in paper::sources()? {
        if cited.iter().any(|cited| cited.source == source.tag) {
            let mark = if source.verified { "" } else { " (unverified)" };
            caption.push_str(&format!("\n  {}{mark}: {}", source.tag, source.description));
        }
    }
    let mut caveats: Vec<String> = Vec::new();
    for figure in paper::operations()? {
        let shown = rows.iter().any(|row| row.operation == figure.operation && row.size == figure.size);
        let caveat = format!("{}: {}", figure.system, figure.caveat);
        if shown
            && !cited.is_empty()
            && figure.quantity == quantity::SECONDS
            && !figure.caveat.is_empty()
            && !caveats.contains(&caveat)
        {
            caveats.push(caveat);
        }
    }
    caveats.iter().for_each(|caveat| caption.push_str(&format!("\n  {caveat}")));
    Ok(caption)
}

/// The last of the records that measure the same thing: of those that agree in everything that their numbers depend on
/// but the program's version.
pub fn latest(records: &[MicroRecord]) -> Vec<MicroRecord> {
    label::latest(records, |record| {
        let marks: Vec<String> = record.marks().into_iter().map(|mark| mark.text).collect();
        ([&record.operation, &record.size, &record.link].map(String::clone), marks)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(operation: &str, seconds: f64, card: &str) -> MicroRecord {
        let operation: Operation = operation.parse().unwrap();
        MicroRecord {
            experiment: super::super::EXPERIMENT.into(),
            operation: operation.name().into(),
            size: operation.size(),
            device: if card.is_empty() { "cpu" } else { "cuda:0" }.into(),
            cards: [card; 3].map(str::to_owned),
            link: "none".into(),
            randomness: "aes128-ctr".into(),
            fidelity: "exact".into(),
            ring: Default::default(),
            fraction_bits: 20,
            window: "0:64".into(),
            iterations: 5,
            seconds,
            best_seconds: seconds,
            macs: operation.macs(),
            outputs: operation.outputs(),
            bytes_sent: [100; 3],
            rounds: 3,
            max_abs_error: 1e-6,
            compared: 10,
            parties: "local processes, TLS".into(),
            threads: [0; 3],
            machine: Default::default(),
            commit: String::new(),
            time: String::new(),
        }
    }

    #[test]
    fn every_published_size_has_its_figures_and_others_have_none() {
        let records: Vec<_> =
            Operation::published().iter().map(|operation| sample(&operation.to_string(), 0.5, "")).collect();
        let rows = micro_table(&records).unwrap();
        assert_eq!(rows.len(), 15);
        assert!(rows.iter().all(|row| row.piranha_seconds.is_some() && row.mp_spdz_seconds.is_some()));
        assert!(rows.windows(2).all(|pair| pair[0].operation != pair[1].operation || pair[0].work < pair[1].work));
        assert_eq!(rows[4].piranha_seconds.as_ref().unwrap().value, 0.00756);
        let caption = micro_caption(&rows).unwrap();
        assert!(caption.contains("\n  pir: ") && caption.contains("constants"), "{caption}");
        let other = micro_table(&[sample("relu 12", 1.0, "")]).unwrap();
        assert!(other[0].piranha_seconds.is_none());
        assert!(!micro_caption(&other).unwrap().contains("pir: "));
        let mut far = sample("relu 10", 1.0, "");
        far.link = "wan".into();
        assert!(
            micro_table(&[far]).unwrap()[0].mp_spdz_seconds.is_none(),
            "times of fast links stand beside such only"
        );
    }

    #[test]
    fn devices_are_told_apart_and_named_by_their_hardware() {
        let records = [sample("relu 10", 3.0, ""), sample("relu 10", 1.0, "NVIDIA A100"), sample("relu 10", 2.0, "")];
        let rows = micro_table(&latest(&records)).unwrap();
        let shown: Vec<_> = rows.iter().map(|row| (row.series(), row.seconds)).collect();
        assert_eq!(shown, [("ours, CPU".to_owned(), 2.0), ("ours, NVIDIA A100".to_owned(), 1.0)]);
    }

    #[test]
    fn what_a_time_depends_on_makes_a_row_of_its_own() {
        let changes: [fn(&mut MicroRecord); 6] = [
            |r| r.window = "0:16".into(),
            |r| r.fidelity = "paper".into(),
            |r| r.fraction_bits = 12,
            |r| r.threads = [1; 3],
            |r| r.machine.cpu = "another".into(),
            |r| r.randomness = "insecure-philox".into(),
        ];
        for change in changes {
            let mut changed = sample("relu 10", 2.0, "");
            change(&mut changed);
            let rows = micro_table(&latest(&[sample("relu 10", 1.0, ""), changed])).unwrap();
            assert_eq!(rows.len(), 2);
            assert_ne!(rows[0].series(), rows[1].series());
        }
    }
}
