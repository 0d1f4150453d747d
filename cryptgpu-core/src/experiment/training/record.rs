//! A measured training as a plain record, one line of JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Stated;
use crate::cluster::{AccuracyPoint, LossPoint, Restart};
use crate::experiment::label::{Conditions, Mark};
use crate::experiment::record::lines;
use crate::experiment::{ExperimentError, Machine, append_line};
use crate::nn::plaintext::Cut;
use crate::nn::training::{Initial, Loss, Optimizer, Schedule, Train};
use crate::ring::Ring;

/// What the records of this experiment are called.
pub const EXPERIMENT: &str = "train";
/// What the records of training in the clear are called, which have the same shape.
pub const PLAINTEXT: &str = "train_plaintext";

/// One measured training. Fields that a newer version adds are ignored by an older one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The experiment: `train`, or `train_plaintext`, which has no parties, links and bytes.
    pub experiment: String,
    /// What computed in the clear: `f64`, `candle 0.11, f32`; empty for private training.
    #[serde(default)]
    pub engine: String,
    /// The network, as `nn::zoo` names it.
    pub network: String,
    /// What it was trained on: `mnist-train`, `digits-train`, `random`.
    pub dataset: String,
    /// Examples of that.
    pub examples: usize,
    /// Examples of a minibatch.
    pub batch: usize,
    /// How it was trained.
    pub train: Train,
    /// Where the first weights came from; empty where they were drawn from the settings' seed.
    pub weights: String,
    /// Where the parties computed: `cpu`, `cuda:0`, or by party.
    pub device: String,
    /// The name of each party's card; empty for a party that computed on the CPU.
    pub cards: [String; 3],
    /// The links between the parties.
    pub link: String,
    /// Which protocols ran: `exact` or `paper`.
    pub fidelity: String,
    /// The ring that the parties computed in; that of 64 bits in records that do not say it.
    #[serde(default)]
    pub ring: Ring,
    /// Fraction bits of the fixed-point codec; 0 for floating point.
    pub fraction_bits: u32,
    /// Of a training in the clear, how it simulated fixed-point numbers, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<Simulated>,
    /// Bits that comparisons looked at, `lowest:width`.
    pub window: String,
    /// Whether the parties looked for values beyond the range: `off`, `run`, `layers`.
    pub check_range: String,
    /// Iterations of the whole run.
    pub iterations: usize,
    /// Seconds of one iteration, from the examples at their owners to new weights: the median over the iterations of a full
    /// batch, without the first, of the slowest party's time.
    pub seconds: f64,
    /// Payload bytes that each party sent in that iteration.
    pub bytes_sent: [u64; 3],
    /// Rounds of that iteration: the longest chain of messages.
    pub rounds: u64,
    /// By layer and pass: means over all iterations but the first.
    pub steps: Vec<StepRecord>,
    /// Seconds of an iteration by pass, sums over `steps`.
    pub seconds_by_pass: BTreeMap<String, f64>,
    /// Seconds of the whole run, as the caller waited for it, with those of measuring the accuracy.
    pub total_seconds: f64,
    /// Payload bytes that each party sent in the whole run.
    pub total_bytes_sent: [u64; 3],
    /// How often the run lost its parties and went on with new ones: from which iteration, and why.
    #[serde(default)]
    pub restarts: Vec<Restart>,
    /// That it ended before its end, because a revealed loss could not be one. Times, losses and accuracies are of the
    /// iterations before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_range: Option<LeftRange>,
    /// After how many iterations of an earlier run it went on, from a checkpoint; none where it began. Iterations, times, losses
    /// and accuracies are of those that came then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<usize>,
    /// Losses that were revealed: iteration, from 0, and mean loss of its minibatch.
    pub losses: Vec<(usize, f64)>,
    /// Accuracy on `tested_on` after the last iteration, from 0 to 1; none where it was not revealed.
    pub accuracy: Option<f64>,
    /// Accuracies that were revealed: iteration after which, from 0, and accuracy. The last one is `accuracy`; older records
    /// have that alone.
    #[serde(default)]
    pub accuracies: Vec<(usize, f64)>,
    /// Seconds that measuring them took, within the run.
    #[serde(default)]
    pub accuracy_seconds: f64,
    /// What the accuracy is of; empty where there is none.
    pub tested_on: String,
    /// What was revealed, a policy line each.
    pub revealed: Vec<String>,
    /// What an iteration was stated to take, before the run.
    pub stated: Stated,
    /// The most memory that each party's process held, in bytes.
    pub peak_rss_bytes: [u64; 3],
    /// Seconds to read and share the first weights.
    pub setup_seconds: f64,
    /// Bytes that each party sent for that.
    pub setup_bytes_sent: [u64; 3],
    /// Where the parties ran.
    pub parties: String,
    /// Threads that each party computed on.
    pub threads: [usize; 3],
    /// What masks were drawn from.
    pub randomness: String,
    /// The machine of the caller, and of local parties.
    pub machine: Machine,
    /// Commit that the program was built from; a `+` says that its sources differed from it.
    pub commit: String,
    /// When the measurement ended, RFC 3339, UTC.
    pub time: String,
}

/// How a training in the clear simulated fixed-point numbers ([`Arithmetic`](crate::nn::plaintext::Arithmetic)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simulated {
    /// How it cut: `unbiased`, `local`, `floor` or `nearest`.
    pub cut: String,
    /// Examples over which gradients were summed; none for those of the minibatch.
    pub summed: Option<usize>,
    /// What was cut.
    pub counts: Cut,
}

/// Where a training left the range of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LeftRange {
    /// The iteration, from 0.
    pub iteration: usize,
    /// What was revealed as its loss; the largest number for what is none.
    pub loss: f64,
    /// Iterations that the run was to have.
    pub of: usize,
}

/// `left its range at iteration 4 of 80`, iterations counted from 1.
impl fmt::Display for LeftRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "left its range at iteration {} of {}", self.iteration + 1, self.of)
    }
}

/// One layer in one pass of an iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// `input`, `forward`, `loss`, `backward` or `update`.
    pub pass: String,
    /// The layer.
    pub layer: String,
    /// The kind of operation.
    pub kind: String,
    /// Seconds at the slowest party.
    pub seconds: f64,
    /// Payload bytes, all parties together.
    pub bytes: f64,
}

impl TrainingRecord {
    /// Bytes of one iteration, all parties together.
    pub fn bytes(&self) -> u64 {
        self.bytes_sent.iter().sum()
    }

    /// Whether it was trained in the clear.
    pub fn is_plaintext(&self) -> bool {
        self.experiment == PLAINTEXT
    }

    /// Whether masks came from a generator that is not cryptographic, so that nothing was private.
    pub fn is_insecure(&self) -> bool {
        self.randomness.contains("insecure")
    }

    /// Whether a party's card was an emulator's, so that the time says nothing of any card.
    pub fn is_emulated(&self) -> bool {
        self.cards.iter().any(|card| card.contains("emulator"))
    }

    /// The losses that were revealed, in order, with their epochs.
    pub fn loss_points(&self) -> Vec<LossPoint> {
        let point = |&(iteration, loss)| LossPoint { iteration, epoch: self.epoch(iteration), loss };
        self.losses.iter().map(point).collect()
    }

    /// The accuracies that were revealed, in order, with their epochs.
    pub fn accuracy_points(&self) -> Vec<AccuracyPoint> {
        let point = |&(iteration, accuracy)| AccuracyPoint { iteration, epoch: self.epoch(iteration), accuracy };
        self.accuracies.iter().map(point).collect()
    }

    fn epoch(&self, iteration: usize) -> usize {
        iteration / self.examples.div_ceil(self.batch.max(1)).max(1)
    }

    /// Everything that its numbers depend on besides network, batch and links, as tables say it.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let conditions = Conditions {
            ring: self.ring,
            device: &self.device,
            cards: &self.cards,
            fidelity: &self.fidelity,
            fraction_bits: if self.fraction_bits == 0 { self.ring.default_fraction_bits() } else { self.fraction_bits },
            window: &self.window,
            randomness: &self.randomness,
            parties: &self.parties,
            threads: self.threads,
            machine: &self.machine,
        };
        let weights = if self.weights.is_empty() { String::new() } else { format!("from {}", self.weights) };
        let clear = if self.is_plaintext() { format!("in the clear, {}", self.engine) } else { String::new() };
        let mut marks = conditions.marks();
        marks.extend([
            Mark::new(clear, true),
            Mark::new(format!("range check {}", self.check_range), self.check_range != "off"),
            Mark::new(weights, true),
            Mark::new(if self.left_range.is_some() { "left its range" } else { "" }, true),
            Mark::new(
                self.resumed_from.map_or_else(String::new, |from| format!("resumed after {from} iterations")),
                true,
            ),
            Mark::between(self.dataset.clone()),
            Mark::between(optimizer(&self.train.optimizer)),
            Mark::between(schedule(&self.train.schedule)),
            Mark::between(if self.train.loss == Loss::MeanSquaredError { "mean squared error" } else { "" }),
            Mark::between(if self.train.initial == Initial::PyTorch { "PyTorch's first weights" } else { "" }),
            Mark::between(frozen(&self.train.frozen)),
            Mark::between(format!("seed {}", self.train.seed)),
            Mark::between(format!("{} iterations", self.iterations)),
        ]);
        marks
    }

    /// The record as one line of JSON, with its newline.
    ///
    /// # Errors
    /// [`NotFinite`](ExperimentError::NotFinite): JSON would silently write `null` for such a number.
    pub fn to_line(&self) -> Result<String, ExperimentError> {
        let numbers = [("seconds", self.seconds), ("total_seconds", self.total_seconds)].into_iter();
        let numbers = numbers.chain(self.left_range.map(|left| ("left_range.loss", left.loss)));
        let numbers = numbers.chain(self.losses.iter().map(|(_, loss)| ("losses", *loss)));
        let numbers = numbers.chain(self.accuracies.iter().map(|(_, accuracy)| ("accuracies", *accuracy)));
        for (field, value) in numbers.chain(self.accuracy.map(|accuracy| ("accuracy", accuracy))) {
            if !value.is_finite() {
                return Err(ExperimentError::NotFinite { network: self.network.clone(), field, value });
            }
        }
        Ok(serde_json::to_string(self)? + "\n")
    }
}

/// `sgd 0.1, momentum 0.9`.
fn optimizer(optimizer: &Optimizer) -> String {
    let mut text = match optimizer {
        Optimizer::Sgd(sgd) if sgd.nesterov => format!("sgd {}, Nesterov's momentum {}", sgd.rate, sgd.momentum),
        Optimizer::Sgd(sgd) if sgd.momentum > 0.0 => format!("sgd {}, momentum {}", sgd.rate, sgd.momentum),
        Optimizer::Sgd(sgd) => format!("sgd {}", sgd.rate),
        Optimizer::Adam(adam) => format!("adam {}", adam.rate),
    };
    if optimizer.decay() > 0.0 {
        text += &format!(", weight decay {}", optimizer.decay());
    }
    text
}

/// `rate × 0.5 every 2 epochs`; nothing where the rate stays.
fn schedule(schedule: &Schedule) -> String {
    match schedule {
        Schedule::Constant => String::new(),
        Schedule::Steps { epochs: 1, factor } => format!("rate × {factor} every epoch"),
        Schedule::Steps { epochs, factor } => format!("rate × {factor} every {epochs} epochs"),
        Schedule::Milestones { epochs, factor } => {
            let epochs: Vec<String> = epochs.iter().map(ToString::to_string).collect();
            format!("rate × {factor} after {} epochs", epochs.join(" and "))
        }
    }
}

/// `conv1 and conv2 frozen`; nothing where all layers are trained.
fn frozen(layers: &[String]) -> String {
    if layers.is_empty() { String::new() } else { format!("{} frozen", layers.join(" and ")) }
}

/// Appends a record to a file of JSON Lines, as [`append_line`].
///
/// # Errors
/// [`File`](ExperimentError::File) or [`NotFinite`](ExperimentError::NotFinite).
pub fn append(path: &Path, record: &TrainingRecord) -> Result<(), ExperimentError> {
    append_line(path, &record.to_line()?)
}

/// The training records of a file, private and in the clear, in its order; those of other experiments are skipped.
///
/// # Errors
/// [`File`](ExperimentError::File) or [`Line`](ExperimentError::Line), with the line's number.
pub fn read(path: &Path) -> Result<Vec<TrainingRecord>, ExperimentError> {
    lines(path, |experiment| [EXPERIMENT, PLAINTEXT].contains(&experiment))
}
