//! Our training records beside the published figures of the same network and batch, as rows of plain values.

use std::collections::{BTreeSet, HashMap};

use cryptgpu_datasets::paper::{self, Table, quantity};
use serde::Serialize;

use super::TrainingRecord;
use crate::experiment::label::{self, Mark, labelled, said};
use crate::experiment::{Cited, ExperimentError};

/// A line of the training table: a record of ours, and what is published for an iteration of the same network and batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingRow {
    /// The network.
    pub network: String,
    /// What sets the row apart from an ordinary one and from others of the same name.
    pub marks: Vec<String>,
    /// What it was trained on.
    pub dataset: String,
    /// Examples of a minibatch.
    pub batch: usize,
    /// Our links.
    pub link: String,
    /// Whether nothing was private, for masks that are not cryptographic.
    pub insecure: bool,
    /// Whether on an emulator, so that the time says nothing of any card.
    pub emulated: bool,
    /// Our seconds of an iteration.
    pub seconds: f64,
    /// Our payload bytes of an iteration, all parties together.
    pub bytes: u64,
    /// Our rounds of an iteration.
    pub rounds: u64,
    /// The most memory of a party.
    pub peak_rss_bytes: u64,
    /// Iterations of the run.
    pub iterations: usize,
    /// The last loss that was revealed; or none.
    pub loss: Option<f64>,
    /// The accuracy at the end, from 0 to 1; or none.
    pub accuracy: Option<f64>,
    /// CryptGPU's seconds; none beside links other than `none` and `lan`.
    pub cryptgpu_seconds: Option<Cited>,
    /// How many times as fast ours is.
    pub speed_up: Option<f64>,
    /// Bytes that CryptGPU's code really sends.
    pub cryptgpu_bytes_sent: Option<Cited>,
    /// Our bytes as a fraction of those.
    pub bytes_fraction: Option<f64>,
    /// Falcon's seconds.
    pub falcon_seconds: Option<Cited>,
    /// Falcon's bytes.
    pub falcon_bytes: Option<Cited>,
}

impl TrainingRow {
    /// The network, and in brackets what sets the row apart.
    pub fn label(&self) -> String {
        labelled(&self.network, &self.marks)
    }

    /// The sources cited in the row.
    pub fn citations(&self) -> impl Iterator<Item = &Cited> {
        let all = [&self.cryptgpu_seconds, &self.cryptgpu_bytes_sent, &self.falcon_seconds, &self.falcon_bytes];
        all.into_iter().flatten()
    }
}

/// One row for each record, in the order given.
///
/// # Errors
/// [`Dataset`](ExperimentError::Dataset) if the published figures cannot be read.
pub fn training_table(records: &[TrainingRecord]) -> Result<Vec<TrainingRow>, ExperimentError> {
    let mut published: HashMap<_, Cited> = HashMap::new();
    for figure in Table::Training.figures()? {
        let batch = figure.batch.map(|batch| batch as usize);
        let key = (figure.network.clone(), batch, figure.system.clone(), figure.quantity.clone());
        published.entry(key).or_insert_with(|| figure.into());
    }
    let row = |(record, marks): (&TrainingRecord, Vec<String>)| {
        let find = |system: &str, quantity: &str| {
            let key = (record.network.clone(), Some(record.batch), system.to_owned(), quantity.to_owned());
            published.get(&key).cloned()
        };
        // Published times are of one data centre.
        let near = matches!(record.link.as_str(), "none" | "lan") && !record.is_emulated();
        let cryptgpu_seconds = find("CryptGPU", quantity::SECONDS_PER_ITERATION).filter(|_| near);
        let cryptgpu_bytes_sent = find("CryptGPU", quantity::BYTES_SENT);
        let ratio = |above: f64, below: f64| (below > 0.0).then(|| above / below);
        TrainingRow {
            network: record.network.clone(),
            marks,
            dataset: record.dataset.clone(),
            batch: record.batch,
            link: record.link.clone(),
            insecure: record.is_insecure(),
            emulated: record.is_emulated(),
            seconds: record.seconds,
            bytes: record.bytes(),
            rounds: record.rounds,
            peak_rss_bytes: record.peak_rss_bytes.into_iter().max().unwrap_or(0),
            iterations: record.iterations,
            loss: record.losses.last().map(|(_, loss)| *loss),
            accuracy: record.accuracy,
            speed_up: cryptgpu_seconds.as_ref().and_then(|cited| ratio(cited.value, record.seconds)),
            cryptgpu_seconds,
            bytes_fraction: cryptgpu_bytes_sent.as_ref().and_then(|cited| ratio(record.bytes() as f64, cited.value)),
            cryptgpu_bytes_sent,
            falcon_seconds: find("Falcon", quantity::SECONDS_PER_ITERATION).filter(|_| near),
            falcon_bytes: find("Falcon", quantity::BYTES_TOTAL),
        }
    };
    let named: Vec<(String, Vec<Mark>)> = records.iter().map(named).collect();
    Ok(records.iter().zip(said(&named)).map(row).collect())
}

fn named(record: &TrainingRecord) -> (String, Vec<Mark>) {
    let mut marks = record.marks();
    let commit = if record.commit.is_empty() { String::new() } else { format!("commit {}", record.commit) };
    marks.extend([Mark::between(commit), Mark::between(record.time.clone())]);
    (format!("{} {} {}", record.network, record.batch, record.link), marks)
}

/// What a reader of the training table must know, with the sources that its rows cite.
///
/// # Errors
/// [`Dataset`](ExperimentError::Dataset) if the list of sources cannot be read.
pub fn training_caption(rows: &[TrainingRow]) -> Result<String, ExperimentError> {
    let mut caption = String::from(
        "Time and bytes are of one iteration: a minibatch forward and backward, and the update. CryptGPU's times are of \
         three V100s within one data centre; they stand beside links `none` and `lan` only. Bytes are payload, all \
         parties together, decimal units, beside what CryptGPU's code really sends.",
    );
    if rows.iter().any(|row| row.insecure) {
        caption
            .push_str("\n  INSECURE: masks came from a generator that is not cryptographic, so nothing was private.");
    }
    if rows.iter().any(|row| row.emulated) {
        caption.push_str("\n  emulated: the cards were an emulator's; no time is shown.");
    }
    let cited: BTreeSet<&str> =
        rows.iter().flat_map(TrainingRow::citations).map(|cited| cited.source.as_str()).collect();
    for source in paper::sources()?.into_iter().filter(|source| cited.contains(source.tag.as_str())) {
        let mark = if source.verified { "" } else { " (unverified)" };
        caption.push_str(&format!("\n  {}{mark}: {}", source.tag, source.description));
    }
    Ok(caption)
}

/// The last of the records that measure the same thing; in the order in which each first appears.
pub fn latest(records: &[TrainingRecord]) -> Vec<TrainingRecord> {
    label::latest(records, |record| {
        let marks: Vec<String> = record.marks().into_iter().map(|mark| mark.text).collect();
        ([&record.network, &record.dataset, &record.link].map(String::clone), record.batch, marks)
    })
}
