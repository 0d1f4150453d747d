//! A measurement as a plain record, one line of JSON, and files of them. A table is always drawn from
//! records, so what was measured once can be shown again, next to what was measured elsewhere.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::label::{Conditions, Mark, STANDARD_WINDOW};
use super::{ExperimentError, Images, Machine};
use crate::mpc::CheckRange;
use crate::nn::WeightSource;
use crate::ring::{DEFAULT_FRACTION_BITS, Ring};

/// One measurement. Fields that a newer version adds are ignored by an older one, and fields marked
/// "or none" may be missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The experiment: `inference`, or `inference_plaintext`, which has no parties, links and bytes.
    pub experiment: String,
    /// What computed in the clear: `f64`, `candle 0.11, f32`; empty for private inference.
    #[serde(default)]
    pub engine: String,
    /// The network, as `nn::zoo` names it.
    pub network: String,
    /// What the images were: `mnist-test`, `cifar10-test`, `random`.
    pub dataset: String,
    /// SHA-256 of a file of images, in hexadecimal digits; empty for data sets that have a name.
    #[serde(default)]
    pub dataset_sha256: String,
    /// Images at a time.
    pub batch: usize,
    /// Where the parties computed: `cpu`, `cuda:0`, or by party, `cuda:0,cpu,cpu`.
    pub device: String,
    /// The name of each party's card; empty for a party that computed on the CPU.
    #[serde(default)]
    pub cards: [String; 3],
    /// The links between the parties: `none` (as they are), `lan`, `wan`, or MB/s and milliseconds.
    pub link: String,
    /// Which protocols ran: `exact` or `paper`.
    pub fidelity: String,
    /// The ring that the parties computed in; that of 64 bits in records that do not say it.
    #[serde(default)]
    pub ring: Ring,
    /// Fraction bits of the fixed-point codec; 0 for floating point.
    pub fraction_bits: u32,
    /// Bits that comparisons looked at, `lowest:width`. Older records do not say it: [`read`] tells it from their bytes,
    /// `?:16` where the lowest bit is not known, and leaves it empty where no width fits.
    #[serde(default)]
    pub window: String,
    /// Whether the parties looked for values beyond the range: `off`, `run`, `layers`.
    #[serde(default = "no_check")]
    pub check_range: String,
    /// Timed iterations.
    pub iterations: usize,
    /// Seconds of one iteration, from shared weights and the owner's images to shares of the result:
    /// the median over the iterations of the slowest party's time.
    pub seconds: f64,
    /// Seconds of the median iteration by kind of operation (`conv2d`, `relu`, `input`, …), of
    /// the slowest party.
    pub seconds_by_kind: BTreeMap<String, f64>,
    /// Payload bytes that each party sent in one iteration.
    pub bytes_sent: [u64; 3],
    /// Rounds of one iteration: the longest chain of messages.
    pub rounds: u64,
    /// Largest absolute difference of any output from the plaintext evaluation in f64, over the images
    /// compared; or none.
    #[serde(default)]
    pub max_abs_error: Option<f64>,
    /// Images evaluated, over all timed iterations.
    #[serde(default)]
    pub images: usize,
    /// Of those, how many were compared with the plaintext evaluation.
    #[serde(default)]
    pub compared: usize,
    /// Of those compared, on how many the private and the plaintext prediction agree; or none.
    #[serde(default)]
    pub agreement: Option<usize>,
    /// Accuracy of the private predictions, from 0 to 1; none without labels or with random weights.
    #[serde(default)]
    pub accuracy: Option<f64>,
    /// Accuracy of the plaintext predictions; none unless all images were compared and have labels.
    #[serde(default)]
    pub plaintext_accuracy: Option<f64>,
    /// The most memory that each party's process held while it evaluated, in bytes.
    pub peak_rss_bytes: [u64; 3],
    /// Where the weights came from: `bundled`, a file's name, or `random, seed 1`.
    #[serde(default)]
    pub weights: String,
    /// SHA-256 of a file of weights, in hexadecimal digits; empty for other weights.
    #[serde(default)]
    pub weights_sha256: String,
    /// Seconds to read and share the weights once, outside the timed part, as the caller waited for it.
    #[serde(default)]
    pub setup_seconds: f64,
    /// Bytes that each party sent to share the weights.
    #[serde(default)]
    pub setup_bytes_sent: [u64; 3],
    /// The most memory that each party's process held while the weights were shared, in bytes; zeros in records that do not say it.
    #[serde(default)]
    pub setup_peak_rss_bytes: [u64; 3],
    /// Where the parties ran: `local processes`, `threads`, host names.
    #[serde(default)]
    pub parties: String,
    /// Threads that each party computed on; zeros in records that do not say it.
    #[serde(default)]
    pub threads: [usize; 3],
    /// What masks were really drawn from: `aes128-ctr`, `insecure-philox`.
    pub randomness: String,
    /// The machine of the caller, and of local parties.
    pub machine: Machine,
    /// Commit that the program was built from; a `+` says that its sources differed from it.
    pub commit: String,
    /// When the measurement ended, RFC 3339, UTC.
    pub time: String,
}

/// What records say that were written before there was a check of ranges.
fn no_check() -> String {
    CheckRange::Off.to_string()
}

impl Record {
    /// Bytes of one iteration, all parties together.
    pub fn total_bytes(&self) -> u64 {
        self.bytes_sent.iter().sum()
    }

    /// Whether it was evaluated in the clear.
    pub fn is_plaintext(&self) -> bool {
        self.experiment == super::INFERENCE_PLAINTEXT
    }

    /// Whether masks came from a generator that is not cryptographic, so that nothing was private.
    pub fn is_insecure(&self) -> bool {
        // Names of such generators say so, by rule: see `prg::Randomness`.
        self.randomness.contains("insecure")
    }

    /// Whether a party's card was an emulator's, so that the time says nothing of any card.
    pub fn is_emulated(&self) -> bool {
        self.cards.iter().any(|card| card.contains("emulator"))
    }

    /// Everything that its numbers depend on besides network, batch and links, as tables say it; the program's version
    /// is left out.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let conditions = Conditions {
            device: &self.device,
            cards: &self.cards,
            fidelity: &self.fidelity,
            ring: self.ring,
            // Floating point and no comparisons are not what sets a record in the clear apart.
            fraction_bits: if self.is_plaintext() { DEFAULT_FRACTION_BITS } else { self.fraction_bits },
            window: if self.is_plaintext() { STANDARD_WINDOW } else { &self.window },
            randomness: &self.randomness,
            parties: &self.parties,
            threads: self.threads,
            machine: &self.machine,
        };
        let usual_weights = WeightSource::usual(&self.network).to_string();
        let weights = if self.weights.is_empty() { String::new() } else { format!("weights {}", self.weights) };
        let digest = |digits: &str| digits.get(..8).map(|digits| format!("sha256 {digits}")).unwrap_or_default();
        let images =
            if self.dataset.starts_with("random") { format!("images {}", self.dataset) } else { self.dataset.clone() };
        let has_real_images = Images::usual_sets(&self.network);
        // Only an older record has no window: its bytes tell it from others.
        let counted = format!("{} rounds, {} bytes", self.rounds, self.total_bytes());
        let clear = if self.is_plaintext() { format!("in the clear, {}", self.engine) } else { String::new() };
        let mut marks = conditions.marks();
        marks.extend([
            Mark::new(clear, true),
            Mark::new(format!("range check {}", self.check_range), self.check_range != no_check()),
            Mark::new(weights, self.weights != usual_weights),
            Mark::between(digest(&self.weights_sha256)),
            Mark::between(digest(&self.dataset_sha256)),
            Mark::new(images, !has_real_images.is_empty() && !has_real_images.contains(&self.dataset.as_str())),
            Mark::between(if self.window.is_empty() { counted } else { String::new() }),
            Mark::between(format!("{} iterations", self.iterations)),
            Mark::between(format!("{} compared", self.compared)),
        ]);
        marks
    }

    /// The record as one line of JSON, with its newline.
    ///
    /// # Errors
    /// [`NotFinite`](ExperimentError::NotFinite): JSON would silently write `null` for such a number.
    pub fn to_line(&self) -> Result<String, ExperimentError> {
        let numbers = [
            ("seconds", Some(self.seconds)),
            ("setup_seconds", Some(self.setup_seconds)),
            ("max_abs_error", self.max_abs_error),
            ("accuracy", self.accuracy),
            ("plaintext_accuracy", self.plaintext_accuracy),
        ];
        let by_kind = self.seconds_by_kind.values().map(|&seconds| ("seconds_by_kind", Some(seconds)));
        for (field, value) in numbers.into_iter().chain(by_kind) {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                return Err(ExperimentError::NotFinite { network: self.network.clone(), field, value });
            }
        }
        Ok(serde_json::to_string(self)? + "\n")
    }
}

/// Appends a record to a file of JSON Lines, which is made if it is not there.
///
/// The line is written whole or not at all: under a lock, so that two programs may append to one file,
/// and taken back if the disk fills on the way. A last line that lacks its newline, because a program
/// was killed, is ended first.
///
/// # Errors
/// [`File`](ExperimentError::File) or [`NotFinite`](ExperimentError::NotFinite).
pub fn append(path: &Path, record: &Record) -> Result<(), ExperimentError> {
    append_line(path, &record.to_line()?)
}

/// Tests that records can be appended to a file, and leaves no file that was not there: to be called before anything that
/// takes long.
///
/// # Errors
/// [`File`](ExperimentError::File).
pub fn check_writable(path: &Path) -> Result<(), ExperimentError> {
    let failed = |action| move |source| ExperimentError::File { path: path.to_path_buf(), action, source };
    let is_new = !path.exists();
    let file = open(path)?;
    // Another program may have added to it meanwhile.
    if is_new && file.metadata().map_err(failed("look at"))?.len() == 0 {
        std::fs::remove_file(path).map_err(failed("remove"))?;
    }
    Ok(())
}

/// The file, locked until it is closed.
fn open(path: &Path) -> Result<File, ExperimentError> {
    let failed = |action| move |source| ExperimentError::File { path: path.to_path_buf(), action, source };
    loop {
        let file = File::options().create(true).read(true).append(true).open(path).map_err(failed("open"))?;
        file.lock().map_err(failed("lock"))?;
        // Whoever held the lock may have removed it.
        let same = |there: &Metadata, own: &Metadata| (there.dev(), there.ino()) == (own.dev(), own.ino());
        let own = file.metadata().map_err(failed("look at"))?;
        if path.metadata().is_ok_and(|there| same(&there, &own)) {
            return Ok(file);
        }
    }
}

/// As [`append`], of a line with its newline.
///
/// # Errors
/// [`File`](ExperimentError::File).
pub fn append_line(path: &Path, line: &str) -> Result<(), ExperimentError> {
    let failed = |action| move |source| ExperimentError::File { path: path.to_path_buf(), action, source };
    let mut file = open(path)?;
    let end = file.seek(SeekFrom::End(0)).map_err(failed("seek in"))?;
    let mut last = [b'\n'];
    if end > 0 {
        file.seek(SeekFrom::Start(end - 1)).and_then(|_| file.read_exact(&mut last)).map_err(failed("read"))?;
    }
    let text = if last == *b"\n" { line.to_owned() } else { format!("\n{line}") };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(|source| {
        let _ = file.set_len(end); // the report is of the first error; a second changes nothing for the reader
        failed("append to")(source)
    })
}

/// The records of a file, in its order. Blank lines, unknown fields, micro-benchmarks and trainings are skipped, which
/// [`micro::read`](super::micro::read) and [`training::read`](super::training::read) read.
///
/// # Errors
/// [`File`](ExperimentError::File) or [`Line`](ExperimentError::Line), with the line's number.
pub fn read(path: &Path) -> Result<Vec<Record>, ExperimentError> {
    lines(path, is_of_a_network)
}

fn is_of_a_network(experiment: &str) -> bool {
    ![super::micro::EXPERIMENT, super::training::EXPERIMENT, super::training::PLAINTEXT].contains(&experiment)
}

/// The lines of a file of which the experiment is `wanted`.
pub(super) fn lines<T: DeserializeOwned>(path: &Path, wanted: fn(&str) -> bool) -> Result<Vec<T>, ExperimentError> {
    let text = std::fs::read_to_string(path).map_err(|source| ExperimentError::File {
        path: path.to_path_buf(),
        action: "read",
        source,
    })?;
    parse(path, &text, wanted)
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str, wanted: fn(&str) -> bool) -> Result<Vec<T>, ExperimentError> {
    /// What records of experiments have; others, in the same file, do not.
    #[derive(Deserialize)]
    struct Header {
        #[serde(default)]
        experiment: String,
    }
    let record = |(index, line): (usize, &str)| {
        let named = |error: serde_json::Error| ExperimentError::Line {
            path: path.to_path_buf(),
            line: index + 1,
            reason: error.to_string(),
        };
        match serde_json::from_str::<Header>(line).map_err(named) {
            Ok(header) if !wanted(&header.experiment) => None,
            Ok(_) => Some(serde_json::from_str(line).map_err(named)),
            Err(error) => Some(Err(error)),
        }
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).filter_map(record).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn parse(path: &Path, text: &str) -> Result<Vec<Record>, ExperimentError> {
        super::parse(path, text, is_of_a_network)
    }

    use proptest::prelude::*;

    pub(crate) fn sample(network: &str, seconds: f64, bytes: u64) -> Record {
        Record {
            experiment: "inference".into(),
            engine: String::new(),
            network: network.into(),
            dataset: "mnist-test".into(),
            dataset_sha256: String::new(),
            batch: 1,
            device: "cpu".into(),
            cards: Default::default(),
            link: "none".into(),
            fidelity: "exact".into(),
            ring: Ring::Z64,
            fraction_bits: 20,
            window: "0:64".into(),
            check_range: no_check(),
            iterations: 5,
            seconds,
            seconds_by_kind: BTreeMap::from([("conv2d".into(), seconds / 2.0)]),
            bytes_sent: [bytes; 3],
            rounds: 61,
            max_abs_error: Some(1.5e-5),
            images: 5,
            compared: 5,
            agreement: Some(5),
            accuracy: Some(1.0),
            plaintext_accuracy: Some(1.0),
            peak_rss_bytes: [1 << 20; 3],
            weights: WeightSource::usual(network).to_string(),
            weights_sha256: String::new(),
            setup_seconds: 0.1,
            setup_bytes_sent: [0, 3_448_640, 0],
            setup_peak_rss_bytes: [1 << 20; 3],
            parties: "local processes, TLS".into(),
            threads: [2; 3],
            randomness: "aes128-ctr".into(),
            machine: Machine { cores: 2, ..Machine::default() },
            commit: "0123456789ab".into(),
            time: "2026-01-01T00:00:00Z".into(),
        }
    }

    #[test]
    fn records_are_read_back_with_unknown_fields_ignored_and_new_ones_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let records = [sample("lenet", 0.02, 1000), sample("resnet50", 9.0, 1 << 30)];
        records.iter().for_each(|record| append(&path, record).unwrap());
        assert_eq!(read(&path).unwrap(), records);

        let newer = records[0].to_line().unwrap().replacen('{', "{\"colour\":{\"of\":[1]},", 1);
        assert_eq!(parse(&path, &newer).unwrap(), records[..1]);
        let mut older: serde_json::Value = serde_json::from_str(&newer).unwrap();
        for field in ["max_abs_error", "agreement", "accuracy", "setup_seconds", "setup_peak_rss_bytes", "parties"] {
            older.as_object_mut().unwrap().remove(field);
        }
        let older = parse(&path, &older.to_string()).unwrap();
        assert_eq!((older[0].max_abs_error, older[0].seconds), (None, 0.02));
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = sample("lenet", 0.02, 1000).to_line().unwrap();
        let error = parse(Path::new("r.jsonl"), &format!("{good}\n{}", &good[..40])).unwrap_err();
        assert!(error.to_string().starts_with("r.jsonl, line 3, is not a record"), "{error}");
        assert!(matches!(read(Path::new("no/such.jsonl")), Err(ExperimentError::File { action: "read", .. })));
        assert!(matches!(append(Path::new("no/such.jsonl"), &sample("x", 1.0, 1)), Err(ExperimentError::File { .. })));
    }

    #[test]
    fn numbers_that_json_lacks_are_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let mut record = sample("lenet", 0.02, 1000);
        record.max_abs_error = Some(f64::NAN);
        check_writable(&path).unwrap();
        assert!(!path.exists(), "looking whether it can be written leaves nothing");
        let error = append(&path, &record).unwrap_err();
        assert!(matches!(error, ExperimentError::NotFinite { field: "max_abs_error", .. }), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_line_cut_by_a_kill_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        std::fs::write(&path, "{\"experiment\":\"infer").unwrap();
        append(&path, &sample("lenet", 0.02, 1000)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(parse(&path, text.split_once('\n').unwrap().1).unwrap().len(), 1);
        assert!(matches!(read(&path), Err(ExperimentError::Line { line: 1, .. })));
    }

    #[test]
    fn many_writers_leave_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    (0..8).for_each(|_| check_writable(path).unwrap());
                    (0..8).for_each(|i| append(path, &sample(&format!("w{writer}"), f64::from(i), 1)).unwrap());
                });
            }
        });
        let records = read(&path).unwrap();
        assert_eq!(records.len(), 32);
        for writer in 0..4 {
            let own = records.iter().filter(|record| record.network == format!("w{writer}"));
            assert!(own.map(|record| record.seconds).eq((0..8).map(f64::from)));
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_records_or_an_error(text: String) {
            if let Ok(records) = parse(Path::new("r.jsonl"), &text) {
                prop_assert!(records.is_empty());
            }
        }

        #[test]
        fn numbers_survive_the_file(seconds in 0f64..1e9, bytes: u64) {
            let mut record = sample("lenet", seconds, 0);
            record.bytes_sent = [bytes, 0, 1];
            let read = parse(Path::new("r.jsonl"), &record.to_line().unwrap()).unwrap();
            prop_assert_eq!(read[0].bytes_sent, [bytes, 0, 1]);
            prop_assert!((read[0].seconds - seconds).abs() <= seconds * f64::EPSILON);
        }
    }
}
