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
        let private = !record.is_plaintext();
        let near = matches!(record.link.as_str(), "none" | "lan") && !record.is_emulated() && private;
        let cryptgpu_seconds = find("CryptGPU", quantity::SECONDS_PER_ITERATION).filter(|_| near);
        let cryptgpu_bytes_sent = find("CryptGPU", quantity::BYTES_SENT).filter(|_| private);
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
            falcon_bytes: find("Falcon", quantity::BYTES_TOTAL).filter(|_| private),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Machine;
    use crate::experiment::training::{EXPERIMENT, PLAINTEXT, Stated, StepRecord, append, read};
    use crate::nn::training::{Adam, Initial, Loss, Schedule, Sgd, Train};
    use crate::ring::Ring;

    fn sample(network: &str, batch: usize, seconds: f64, bytes: u64) -> TrainingRecord {
        let step = StepRecord {
            pass: "forward".into(),
            layer: "conv1".into(),
            kind: "conv2d".into(),
            seconds,
            bytes: bytes as f64,
        };
        TrainingRecord {
            experiment: EXPERIMENT.into(),
            engine: String::new(),
            network: network.into(),
            dataset: "digits-train".into(),
            examples: 800,
            batch,
            train: Train { batch, ..Train::default() },
            weights: String::new(),
            device: "cpu".into(),
            cards: Default::default(),
            link: "none".into(),
            fidelity: "exact".into(),
            ring: Ring::Z64,
            fraction_bits: 20,
            simulated: None,
            window: "0:64".into(),
            check_range: "off".into(),
            iterations: 4,
            seconds,
            bytes_sent: [bytes; 3],
            rounds: 166,
            steps: vec![step],
            seconds_by_pass: [("forward".to_owned(), seconds)].into(),
            total_seconds: 4.0 * seconds,
            total_bytes_sent: [4 * bytes; 3],
            restarts: vec![],
            left_range: None,
            resumed_from: None,
            losses: vec![(1, 2.3), (3, 1.5)],
            accuracy: Some(0.5),
            accuracies: vec![(3, 0.5)],
            accuracy_seconds: 0.1,
            tested_on: "digits-test".into(),
            revealed: vec!["loss every 2, to the caller".into()],
            stated: Stated::default(),
            peak_rss_bytes: [1 << 20, 3 << 20, 2 << 20],
            setup_seconds: 0.1,
            setup_bytes_sent: [0, 8, 0],
            parties: "local processes, TLS".into(),
            threads: [2; 3],
            randomness: "aes128-ctr".into(),
            machine: Machine { cores: 2, ..Machine::default() },
            commit: "0123456789ab".into(),
            time: "2026-01-01T00:00:00Z".into(),
        }
    }

    #[test]
    fn an_iteration_stands_beside_the_papers_of_the_same_batch() {
        let records = [sample("lenet", 128, 1.105, 100_000_000), sample("lenet", 64, 1.0, 1)];
        let rows = training_table(&records).unwrap();
        let cited = rows[0].cryptgpu_seconds.as_ref().unwrap();
        assert_eq!((cited.value, rows[0].speed_up), (2.21, Some(2.0)));
        assert!((rows[0].bytes_fraction.unwrap() - 0.3 / 1.353).abs() < 1e-9);
        assert_eq!((rows[0].loss, rows[0].accuracy, rows[0].peak_rss_bytes), (Some(1.5), Some(0.5), 3 << 20));
        assert!(rows[1].citations().next().is_none(), "another batch has no published figures");
        assert!(training_caption(&rows).unwrap().contains("\n  T4: "));
        let mut far = sample("lenet", 128, 1.0, 1);
        (far.link, far.fraction_bits) = ("wan".into(), 12);
        let far = &training_table(&[far]).unwrap()[0];
        assert_eq!((far.label().as_str(), far.speed_up), ("lenet (12 fraction bits)", None));
    }

    #[test]
    fn trainings_with_other_settings_are_told_apart() {
        let with = |change: &dyn Fn(&mut Train)| {
            let mut record = sample("lenet", 128, 1.0, 1);
            change(&mut record.train);
            record
        };
        let records = [
            with(&|_| ()),
            with(&|train| train.optimizer = Sgd::nesterov(0.1, 0.9).weight_decay(0.01)),
            with(&|train| train.optimizer = Adam::new(0.1).weight_decay(0.01)),
            with(&|train| train.schedule = Schedule::Steps { epochs: 2, factor: 0.5 }),
            with(&|train| train.schedule = Schedule::Milestones { epochs: vec![3, 5], factor: 0.5 }),
            with(&|train| train.loss = Loss::MeanSquaredError),
            with(&|train| train.initial = Initial::PyTorch),
            with(&|train| train.frozen = vec!["conv1".into(), "conv2".into()]),
        ];
        assert_eq!(latest(&records).len(), records.len(), "none takes another's place");
        let rows = training_table(&records).unwrap();
        let labels: Vec<String> = rows.iter().map(TrainingRow::label).collect();
        for (label, says) in labels.iter().zip([
            "sgd 0.1",
            "Nesterov's momentum 0.9, weight decay 0.01",
            "adam 0.1, weight decay 0.01",
            "rate × 0.5 every 2 epochs",
            "rate × 0.5 after 3 and 5 epochs",
            "mean squared error",
            "PyTorch's first weights",
            "conv1 and conv2 frozen",
        ]) {
            assert!(label.contains(says), "{says}: {labels:?}");
        }
    }

    #[test]
    fn a_training_in_the_clear_stands_beside_a_private_one() {
        let mut clear = sample("lenet", 128, 0.1, 0);
        (clear.experiment, clear.engine, clear.fraction_bits) = (PLAINTEXT.into(), "f64".into(), 0);
        let rows = training_table(&[sample("lenet", 128, 1.0, 5), clear]).unwrap();
        assert_eq!(rows[1].label(), "lenet (in the clear, f64)");
        assert!(rows[1].citations().next().is_none() && rows[0].citations().next().is_some());
    }

    #[test]
    fn records_are_read_back_beside_others_and_the_last_one_stands() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let (first, second) = (sample("lenet", 128, 2.0, 5), sample("lenet", 128, 1.0, 5));
        let inference = crate::experiment::record::tests::sample("lenet", 0.02, 1000);
        append(&path, &first).unwrap();
        crate::experiment::append(&path, &inference).unwrap();
        append(&path, &second).unwrap();
        assert_eq!(read(&path).unwrap(), [first.clone(), second.clone()]);
        assert_eq!(crate::experiment::read(&path).unwrap(), [inference]);
        assert_eq!(latest(&read(&path).unwrap()), std::slice::from_ref(&second));
        // The rest of a run is no whole one, and says so; older records do not know the field.
        assert!(!second.to_line().unwrap().contains("resumed_from"));
        let resumed = TrainingRecord { resumed_from: Some(50), ..second.clone() };
        append(&path, &resumed).unwrap();
        assert_eq!(latest(&read(&path).unwrap()), [second, resumed.clone()]);
        assert_eq!(training_table(&[resumed]).unwrap()[0].label(), "lenet (resumed after 50 iterations)");
        let broken = TrainingRecord { losses: vec![(0, f64::NAN)], ..first };
        assert!(matches!(append(&path, &broken), Err(ExperimentError::NotFinite { field: "losses", .. })));
    }
}
