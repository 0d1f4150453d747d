//! Our records beside the published figures of the same network and batch, as rows of plain values.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use cryptgpu_datasets::paper::{self, Figure, Table, quantity};
use serde::Serialize;

use super::label::{self, Mark, labelled, said};
use super::{ExperimentError, Record};

/// A published figure with what must be said of it wherever it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cited {
    /// The figure: seconds, or bytes.
    pub value: f64,
    /// Tag of its source; `cryptgpu_datasets::paper::sources` explains it.
    pub source: String,
    /// Whether it was checked against the source; if not, it is shown as "unverified".
    pub verified: bool,
}

impl From<Figure> for Cited {
    fn from(figure: Figure) -> Self {
        Self { value: figure.value, source: figure.source, verified: figure.verified }
    }
}

impl Cited {
    /// The source's tag, and "unverified" where that is so: `T4`, `mem, unverified`.
    pub fn tag(&self) -> impl fmt::Display + '_ {
        format!("{}{}", self.source, if self.verified { "" } else { ", unverified" })
    }
}

/// A line of the inference table: a record of ours, and what is published for the same network and
/// batch. Columns of CryptGPU are its paper's and its code's, on three V100.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InferenceRow {
    /// The network.
    pub network: String,
    /// What sets the row apart: what is not the default, and what it differs in from a row of the same network, batch
    /// and links.
    pub marks: Vec<String>,
    /// Our images.
    pub dataset: String,
    /// Images at a time.
    pub batch: usize,
    /// Our links.
    pub link: String,
    /// Our protocols: `exact` or `paper`.
    pub fidelity: String,
    /// Fraction bits of our fixed-point numbers.
    pub fraction_bits: u32,
    /// Bits that our comparisons look at, `lowest:width`.
    pub window: String,
    /// Our weights.
    pub weights: String,
    /// What our masks were drawn from.
    pub randomness: String,
    /// Whether that is not cryptographic, so that nothing was private.
    pub insecure: bool,
    /// Where our parties computed.
    pub device: String,
    /// Whether on an emulator, so that the time says nothing of any card.
    pub emulated: bool,
    /// Our seconds.
    pub seconds: f64,
    /// Our payload bytes, all parties together.
    pub bytes: u64,
    /// Our rounds.
    pub rounds: u64,
    /// Our largest absolute error against plaintext; or none.
    pub max_abs_error: Option<f64>,
    /// Our accuracy, from 0 to 1; or none.
    pub accuracy: Option<f64>,
    /// CryptGPU's seconds; none beside links other than `none` and `lan`, since its own were fast.
    pub cryptgpu_seconds: Option<Cited>,
    /// How many times as fast ours is: CryptGPU's seconds by ours.
    pub speed_up: Option<f64>,
    /// Bytes that CryptGPU's code really sends.
    pub cryptgpu_bytes_sent: Option<Cited>,
    /// Our bytes as a fraction of those.
    pub bytes_fraction: Option<f64>,
    /// The bytes that CryptGPU published, whose counter leaves out one-byte messages.
    pub cryptgpu_bytes_published: Option<Cited>,
    /// Falcon's seconds.
    pub falcon_seconds: Option<Cited>,
    /// Falcon's bytes.
    pub falcon_bytes: Option<Cited>,
}

impl InferenceRow {
    /// The network, and in brackets what sets the row apart from an ordinary one and from the others of its table:
    /// `lenet (paper)`, `lenet (window 0:16)`.
    pub fn label(&self) -> String {
        labelled(&self.network, &self.marks)
    }

    /// The sources cited in the row.
    pub fn citations(&self) -> impl Iterator<Item = &Cited> {
        let all = [
            &self.cryptgpu_seconds,
            &self.cryptgpu_bytes_sent,
            &self.cryptgpu_bytes_published,
            &self.falcon_seconds,
            &self.falcon_bytes,
        ];
        all.into_iter().flatten()
    }
}

/// One row for each record of an inference, private or in the clear, in the order given.
///
/// A variant of a network (`lenet-maxpool`) is another network: it has no published figures.
///
/// # Errors
/// [`Dataset`](ExperimentError::Dataset) if the published figures cannot be read.
pub fn inference_table(records: &[Record]) -> Result<Vec<InferenceRow>, ExperimentError> {
    let mut published = HashMap::new();
    for figure in [Table::Inference, Table::BatchInference]
        .map(Table::figures)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .concat()
    {
        let batch = figure.batch.map(|batch| batch as usize);
        let key = (figure.network.clone(), batch, figure.system.clone(), figure.quantity.clone());
        // Where two sources have a figure the first stands: the published one.
        published.entry(key).or_insert_with(|| Cited::from(figure));
    }
    let row = |(record, marks): (&Record, Vec<String>)| {
        let find = |system: &str, quantity: &str| {
            let key = (record.network.clone(), Some(record.batch), system.to_owned(), quantity.to_owned());
            // What was published is private, too.
            published.get(&key).cloned().filter(|_| !record.is_plaintext())
        };
        // Times were taken within one data centre; beside a run over a slower link they would mislead.
        // So would they beside an emulator's.
        let near = matches!(record.link.as_str(), "none" | "lan") && !record.is_emulated();
        let cryptgpu_seconds = find("CryptGPU", quantity::SECONDS).filter(|_| near);
        let cryptgpu_bytes_sent = find("CryptGPU", quantity::BYTES_SENT);
        let ratio = |above: f64, below: f64| (below > 0.0).then(|| above / below);
        InferenceRow {
            network: record.network.clone(),
            marks,
            dataset: record.dataset.clone(),
            batch: record.batch,
            link: record.link.clone(),
            fidelity: record.fidelity.clone(),
            fraction_bits: record.fraction_bits,
            window: record.window.clone(),
            weights: record.weights.clone(),
            randomness: record.randomness.clone(),
            insecure: record.is_insecure(),
            device: record.device.clone(),
            emulated: record.is_emulated(),
            seconds: record.seconds,
            bytes: record.total_bytes(),
            rounds: record.rounds,
            max_abs_error: record.max_abs_error,
            accuracy: record.accuracy,
            speed_up: cryptgpu_seconds.as_ref().and_then(|cited| ratio(cited.value, record.seconds)),
            cryptgpu_seconds,
            bytes_fraction: cryptgpu_bytes_sent
                .as_ref()
                .and_then(|cited| ratio(record.total_bytes() as f64, cited.value)),
            cryptgpu_bytes_sent,
            cryptgpu_bytes_published: find("CryptGPU", quantity::BYTES_PUBLISHED_COUNT),
            falcon_seconds: find("Falcon", quantity::SECONDS).filter(|_| near),
            falcon_bytes: find("Falcon", quantity::BYTES_TOTAL),
        }
    };
    let is_inference = |record: &&Record| record.experiment == "inference" || record.is_plaintext();
    let records: Vec<&Record> = records.iter().filter(is_inference).collect();
    let named: Vec<(String, Vec<Mark>)> = records.iter().map(|record| named(record)).collect();
    Ok(records.into_iter().zip(said(&named)).map(row).collect())
}

/// What rows have columns for, and what else sets them apart, version and time included.
fn named(record: &Record) -> (String, Vec<Mark>) {
    let mut marks = record.marks();
    let commit = if record.commit.is_empty() { String::new() } else { format!("commit {}", record.commit) };
    marks.extend([Mark::between(commit), Mark::between(record.time.clone())]);
    (format!("{} {} {}", record.network, record.batch, record.link), marks)
}

/// What a reader of the inference table must know, with the sources that its rows cite.
///
/// # Errors
/// [`Dataset`](ExperimentError::Dataset) if the list of sources cannot be read.
pub fn inference_caption(rows: &[InferenceRow]) -> Result<String, ExperimentError> {
    let mut caption = String::from(
        "CryptGPU's times are of three V100s within one data centre; they stand beside links `none` and `lan` only. \
         Bytes are payload, all parties together, decimal units. Ours are compared with what CryptGPU's code really \
         sends: the communication it published is of a counter that leaves out every one-byte message, that is, all \
         AND-gate traffic of the sign bit.",
    );
    for name in rows.iter().filter(|row| row.insecure).map(|row| &row.randomness).collect::<BTreeSet<_>>() {
        caption.push_str(&format!(
            "\n  {name}: INSECURE. Masks came from a generator that is not cryptographic, so nothing was private in \
             these runs; they show what the cipher costs."
        ));
    }
    if rows.iter().any(|row| row.emulated) {
        caption.push_str(
            "\n  emulated: the cards were an emulator's, which shows what they compute and not how long they take; no \
             time is shown.",
        );
    }
    for source in paper::sources()? {
        if rows.iter().flat_map(InferenceRow::citations).any(|cited| cited.source == source.tag) {
            let mark = if source.verified { "" } else { " (unverified)" };
            caption.push_str(&format!("\n  {}{mark}: {}", source.tag, source.description));
        }
    }
    Ok(caption)
}

/// The last of the records that measure the same thing; in the order in which each first appears. Two records measure
/// the same thing if they agree in everything that their numbers depend on but the program's version: network, images,
/// weights, batch, links, devices, protocols and their settings, randomness, machine, threads, iterations.
pub fn latest(records: &[Record]) -> Vec<Record> {
    label::latest(records, |record| {
        let marks: Vec<String> = record.marks().into_iter().map(|mark| mark.text).collect();
        let columns = [&record.experiment, &record.network, &record.dataset, &record.link].map(String::clone);
        (columns, record.batch, [record.weights_sha256.clone(), record.dataset_sha256.clone()], marks)
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::sample;
    use super::*;
    use crate::ring::Ring;

    #[test]
    fn ours_stand_beside_the_papers_with_their_sources() {
        let records =
            [sample("lenet", 0.019, 467_500), sample("resnet50", 4.655, 1 << 20), sample("lenet-maxpool", 1.0, 1)];
        let rows = inference_table(&records).unwrap();
        assert_eq!(rows[0].cryptgpu_seconds, Some(Cited { value: 0.38, source: "T4".into(), verified: true }));
        assert!((rows[0].speed_up.unwrap() - 20.0).abs() < 1e-9);
        assert_eq!((rows[0].bytes, rows[0].bytes_fraction), (1_402_500, Some(0.3)));
        assert_eq!(rows[0].falcon_seconds.as_ref().unwrap().value, 0.038);
        let unverified = rows[1].cryptgpu_seconds.as_ref().unwrap();
        assert_eq!((unverified.verified, unverified.tag().to_string()), (false, "mem, unverified".to_owned()));
        assert!(rows[2].citations().next().is_none());
    }

    #[test]
    fn a_batch_is_compared_with_the_same_batch_only() {
        let mut record = sample("resnet50", 40.0, 1);
        record.batch = 8;
        assert_eq!(inference_table(&[record.clone()]).unwrap()[0].cryptgpu_seconds.as_ref().unwrap().value, 42.99);
        record.link = "wan".into();
        let far = &inference_table(&[record.clone()]).unwrap()[0];
        assert_eq!((far.cryptgpu_seconds.is_none(), far.speed_up), (true, None));
        assert_eq!(far.cryptgpu_bytes_sent.as_ref().unwrap().value, 32.97e9);
        record.batch = 7;
        assert_eq!(inference_table(&[record]).unwrap()[0].citations().count(), 0);
    }

    #[test]
    fn the_caption_explains_what_is_cited_and_nothing_else() {
        let rows = inference_table(&[sample("lenet", 0.02, 1)]).unwrap();
        let caption = inference_caption(&rows).unwrap();
        assert!(caption.contains("one-byte message") && caption.contains("\n  T4: "), "{caption}");
        assert!(!caption.contains("unverified"), "{caption}");
        let rows = inference_table(&[sample("resnet152", 20.0, 1)]).unwrap();
        assert!(inference_caption(&rows).unwrap().contains("mem (unverified): "));
    }

    #[test]
    fn a_row_without_security_says_so_in_its_name_and_below_the_table() {
        let mut insecure = sample("lenet", 0.02, 1);
        insecure.randomness = crate::prg::Randomness::InsecurePhilox.to_string();
        let both = [sample("lenet", 0.02, 1), insecure.clone()];
        let rows = inference_table(&both).unwrap();
        assert_eq!((rows[0].label().as_str(), rows[1].label().as_str()), ("lenet", "lenet (insecure-philox)"));
        assert!(inference_caption(&rows).unwrap().contains("insecure-philox: INSECURE."));
        assert!(!inference_caption(&rows[..1]).unwrap().contains("INSECURE"));
        assert_eq!(latest(&both).len(), 2, "neither stands for the other");
        insecure.fidelity = "paper".into();
        assert_eq!(inference_table(&[insecure]).unwrap()[0].label(), "lenet (paper, insecure-philox)");
    }

    #[test]
    fn an_emulators_time_stands_beside_nothing() {
        let mut emulated = sample("lenet", 1.5, 1);
        emulated.device = "cuda:0,cpu,cpu".into();
        emulated.cards[0] = "cryptgpu-emulator sm_80".into();
        let rows = inference_table(&[emulated, sample("lenet", 0.02, 1)]).unwrap();
        assert_eq!(rows[0].label(), "lenet (cuda:0,cpu,cpu emulated)");
        assert!(rows[0].emulated && rows[0].speed_up.is_none() && rows[0].cryptgpu_seconds.is_none());
        assert!(inference_caption(&rows).unwrap().contains("\n  emulated: "));
        assert!(!inference_caption(&rows[1..]).unwrap().contains("emulated"));
        let mut card = sample("lenet", 0.01, 1);
        (card.device, card.cards) = ("cuda:0".into(), ["NVIDIA V100"; 3].map(String::from));
        let rows = inference_table(&[card]).unwrap();
        assert_eq!((rows[0].label().as_str(), rows[0].emulated), ("lenet (cuda:0)", false));
        assert!(rows[0].speed_up.is_some());
    }

    #[test]
    fn the_last_record_of_a_measurement_stands() {
        let mut other_link = sample("lenet", 3.0, 1);
        other_link.link = "wan".into();
        let kept = latest(&[sample("lenet", 1.0, 1), other_link, sample("lenet", 2.0, 1)]);
        assert_eq!(kept.iter().map(|record| record.seconds).collect::<Vec<_>>(), [2.0, 3.0]);
    }

    /// Everything that changes a number but the version of the program: a row of its own, that says so.
    #[test]
    fn what_a_number_depends_on_makes_a_row_of_its_own_with_a_name_of_its_own() {
        type Change = fn(&mut Record);
        let changes: [(Change, &str); 16] = [
            (|r| (r.ring, r.fraction_bits) = (Ring::Z32, 12), "lenet (ring of 32 bits)"),
            (|r| r.window = "0:16".into(), "lenet (window 0:16)"),
            (|r| r.check_range = "run".into(), "lenet (range check run)"),
            (|r| r.fraction_bits = 12, "lenet (12 fraction bits)"),
            (|r| r.fidelity = "paper".into(), "lenet (paper)"),
            (|r| r.randomness = "insecure-philox".into(), "lenet (insecure-philox)"),
            (|r| r.weights = "other.safetensors".into(), "lenet (weights other.safetensors)"),
            (|r| r.dataset = "random".into(), "lenet (images random)"),
            (|r| r.device = "cuda:0".into(), "lenet (cuda:0)"),
            (|r| r.threads = [1; 3], "lenet (1 thread)"),
            (|r| r.parties = "threads of one process".into(), "lenet (threads of one process)"),
            (|r| r.machine.cpu = "another".into(), "lenet (another, 2 cores)"),
            (|r| r.machine.isa = vec!["avx2".into()], "lenet (avx2)"),
            (|r| r.weights_sha256 = "0123456789".into(), "lenet (sha256 01234567)"),
            (|r| r.cards = ["card".into(), "card".into(), String::new()], "lenet (card)"),
            (|r| r.iterations = 7, "lenet (7 iterations)"),
        ];
        for (change, label) in changes {
            let mut changed = sample("lenet", 2.0, 1);
            change(&mut changed);
            let both = [sample("lenet", 1.0, 1), changed];
            assert_eq!(latest(&both).len(), 2, "{label}: one stands for the other");
            let rows = inference_table(&both).unwrap();
            assert!(rows[1].label().starts_with(label.trim_end_matches(')')), "{} is not {label}", rows[1].label());
            assert_ne!(rows[0].label(), rows[1].label());
        }
        let mut newer = sample("lenet", 2.0, 1);
        (newer.commit, newer.time) = ("another".into(), "2026-01-02T00:00:00Z".into());
        let both = [sample("lenet", 1.0, 1), newer];
        assert_eq!(latest(&both), both[1..], "a newer version's takes its place");
        assert!(inference_table(&both).unwrap()[1].label().contains("commit another"), "unless both are shown");
    }

    /// Records as they were written before they named the window: their bytes tell them apart.
    #[test]
    fn older_records_are_read_and_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("older.jsonl");
        let older = |bytes: u64| {
            let mut record = sample("lenet", 0.01, bytes / 3);
            record.bytes_sent[0] += bytes % 3;
            let mut json = serde_json::to_value(&record).unwrap();
            for field in ["window", "threads", "weights_sha256"] {
                json.as_object_mut().unwrap().remove(field);
            }
            format!("{json}\n")
        };
        std::fs::write(&path, [1_000_000, 999_999].map(older).concat()).unwrap();
        let records = crate::experiment::read(&path).unwrap();
        let labels: Vec<_> = inference_table(&latest(&records)).unwrap().iter().map(InferenceRow::label).collect();
        assert_eq!(labels, ["lenet (61 rounds, 1000000 bytes)", "lenet (61 rounds, 999999 bytes)"]);
    }
}
