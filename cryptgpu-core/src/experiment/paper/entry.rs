//! One measurement of the suite: what it is of, how a record of it is known again, and about how long it takes.

use std::fmt;

use super::Exhibit;
use crate::device::Devices;
use crate::experiment::micro::Micro;
use crate::experiment::training::{EXPERIMENT as TRAIN, Examples, PLAINTEXT as TRAIN_PLAINTEXT, Training};
use crate::experiment::{ExperimentError, INFERENCE_PLAINTEXT, Images, Inference, Machine, window};
use crate::mpc::{Fidelity, SignWindow};
use crate::net::Link;
use crate::nn::training::TrainingPlan;
use crate::nn::{cost, count, fold, lower};
use crate::prg::Randomness;
use crate::ring::{DEFAULT_FRACTION_BITS, Ring};

/// A measurement, and the tables and figures that show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The tables and figures.
    pub exhibits: &'static [Exhibit],
    /// What is measured.
    pub work: Work,
}

/// What an entry measures.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Private inference.
    Inference(Inference),
    /// The same in the clear, in f64.
    InferencePlaintext(Inference),
    /// Private training.
    Training(Box<Training>),
    /// The same in the clear, in f64.
    TrainingPlaintext(Box<Training>),
    /// A private operation, by the links between the parties and where they compute.
    Operation(Micro, Link, Devices),
}

impl From<Inference> for Work {
    fn from(inference: Inference) -> Self {
        Work::Inference(inference)
    }
}

impl From<Training> for Work {
    fn from(training: Training) -> Self {
        Work::Training(Box::new(training))
    }
}

impl From<(Micro, Link, Devices)> for Work {
    fn from((micro, link, device): (Micro, Link, Devices)) -> Self {
        Work::Operation(micro, link, device)
    }
}

/// What a measurement is of: the columns of a table, whatever machine, version and number of iterations they come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// `inference`, `train`, `micro`, …
    pub experiment: String,
    /// The network, or the operation with its size.
    pub of: String,
    /// Images at a time; 0 for an operation.
    pub batch: usize,
    /// The links between the parties.
    pub link: String,
    /// How they computed, and how a curve was trained: everything that a table's row names besides.
    pub settings: Vec<String>,
}

/// Under which conditions an entry is measured: a record from elsewhere does not stand for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// Timed iterations; of a training, all.
    pub iterations: usize,
    /// What the images were.
    pub dataset: String,
    /// Where the parties computed.
    pub device: String,
    /// `local processes, TLS`; empty in the clear.
    pub place: String,
    /// Threads of each party where they were chosen.
    pub threads: Option<usize>,
    /// The program's version.
    pub commit: String,
    /// Processor and cores, and cards.
    pub machine: (String, usize, Vec<String>),
}

impl Conditions {
    /// What identifies a machine; its free memory does not.
    pub(super) fn machine(machine: &Machine) -> (String, usize, Vec<String>) {
        (machine.cpu.clone(), machine.cores, machine.gpus.clone())
    }

    /// Whether a record of these conditions stands for one that is wanted under `wanted`.
    pub(super) fn are(&self, wanted: &Conditions) -> bool {
        let device = match wanted.device.as_str() {
            // A choice that the parties made.
            "auto" => self.machine.2.is_empty() || self.device != "cpu",
            "cuda" => self.device.starts_with("cuda"),
            device => self.device == device,
        };
        // One for each core, where none are named; fewer were asked for.
        let threads = match wanted.threads {
            None => self.threads.is_none_or(|threads| threads >= self.machine.1),
            wanted => self.threads == wanted,
        };
        let same = |conditions: &Conditions| Conditions { device: String::new(), threads: None, ..conditions.clone() };
        device && threads && same(self) == same(wanted)
    }
}

/// How a subject writes settings: nothing for those of a usual run, so that older records are found too.
pub(super) fn settings(
    fidelity: &str,
    ring: Ring,
    fraction_bits: u32,
    window: &str,
    check: &str,
    random: &str,
) -> Vec<String> {
    let usual = [
        (format!("ring of {ring}"), ring == Ring::Z64),
        (fidelity.to_owned(), [Fidelity::default().to_string(), String::new()].contains(&fidelity.to_owned())),
        (format!("{fraction_bits} fraction bits"), [0, DEFAULT_FRACTION_BITS].contains(&fraction_bits)),
        (format!("window {window}"), ["", "none", &window::text(SignWindow::default())].contains(&window)),
        (format!("range check {check}"), ["", "off"].contains(&check)),
        (random.to_owned(), ["none", &Randomness::default().to_string()].contains(&random)),
    ];
    usual.into_iter().filter(|(_, usual)| !usual).map(|(text, _)| text).collect()
}

/// How a subject writes what a curve was trained with; nothing for a few timed iterations.
pub(super) fn curve(train: &crate::nn::training::Train, dataset: &str, weights: &str) -> Option<String> {
    train.reveal.accuracy_every?;
    let optimizer = serde_json::to_string(&train.optimizer).unwrap_or_default();
    let begun = if weights.is_empty() { format!("seed {}", train.seed) } else { weights.to_owned() };
    Some(format!("{} epochs of {dataset}, {optimizer}, {begun}", train.epochs))
}

impl Work {
    /// What it is of.
    pub fn subject(&self) -> Subject {
        match self {
            Work::Inference(inference) | Work::InferencePlaintext(inference) => {
                let private = matches!(self, Work::Inference(_));
                Subject {
                    experiment: if private { "inference" } else { INFERENCE_PLAINTEXT }.to_owned(),
                    of: inference.network.clone(),
                    batch: inference.batch,
                    link: if private { inference.link } else { Link::None }.to_string(),
                    settings: if private { of_inference(inference) } else { vec![] },
                }
            }
            Work::Training(training) | Work::TrainingPlaintext(training) => {
                let private = matches!(self, Work::Training(_));
                let weights = training.weights.as_ref().map_or_else(String::new, ToString::to_string);
                let mut settings = if private { of_training(training) } else { vec![] };
                settings.extend(curve(&training.train, &training.data.to_string(), &weights));
                Subject {
                    experiment: if private { TRAIN } else { TRAIN_PLAINTEXT }.to_owned(),
                    of: training.network.clone(),
                    batch: training.train.batch,
                    link: if private { training.link } else { Link::None }.to_string(),
                    settings,
                }
            }
            Work::Operation(micro, link, _) => Subject {
                experiment: crate::experiment::micro::EXPERIMENT.to_owned(),
                of: micro.operation.to_string(),
                batch: 0,
                link: link.to_string(),
                settings: vec![],
            },
        }
    }

    /// Where its parties compute.
    pub(super) fn device(&self) -> Devices {
        match self {
            Work::Inference(inference) => inference.device,
            Work::Training(training) => training.device,
            Work::Operation(_, _, device) => *device,
            Work::InferencePlaintext(_) | Work::TrainingPlaintext(_) => Devices::default(),
        }
    }

    /// Threads of each party, where it names some.
    pub(super) fn threads(&self) -> Option<usize> {
        if let Work::Inference(inference) = self { inference.threads } else { None }
    }

    /// Whether nothing is shared.
    pub fn is_plaintext(&self) -> bool {
        matches!(self, Work::InferencePlaintext(_) | Work::TrainingPlaintext(_))
    }

    /// Whether the data set that it takes is on this machine: `scripts/fetch-datasets` gets those that are not.
    pub fn has_its_data(&self) -> bool {
        match self {
            Work::Inference(Inference { images: Images::Set(set), .. })
            | Work::InferencePlaintext(Inference { images: Images::Set(set), .. }) => set.is_there(),
            Work::Training(training) | Work::TrainingPlaintext(training) => match &training.data {
                Examples::Set(set) => set.is_there(),
                Examples::Random => true,
            },
            _ => true,
        }
    }

    /// Tests what can be tested before anything starts.
    ///
    /// # Errors
    /// What is wrong with the declaration.
    pub fn validate(&self) -> Result<(), ExperimentError> {
        match self {
            Work::Inference(inference) | Work::InferencePlaintext(inference) => inference.validate().map(drop),
            Work::Training(training) | Work::TrainingPlaintext(training) => training.validate(),
            Work::Operation(micro, ..) => micro.validate(),
        }
    }

    /// Iterations and images, as its record will say them.
    ///
    /// # Errors
    /// [`Dataset`](ExperimentError::Dataset) if a training's examples cannot be counted.
    pub(super) fn extent(&self) -> Result<(usize, String), ExperimentError> {
        Ok(match self {
            Work::Inference(inference) | Work::InferencePlaintext(inference) => {
                (inference.iterations, inference.images.to_string())
            }
            Work::Training(training) | Work::TrainingPlaintext(training) => {
                (iterations(training)?, training.data.to_string())
            }
            Work::Operation(micro, ..) => (micro.iterations, String::new()),
        })
    }

    /// About how many seconds it takes on two cores, by its multiply-accumulates, ReLUs, rounds and bytes. The time that is
    /// left is estimated from it, corrected by how long earlier entries took.
    ///
    /// # Errors
    /// [`Nn`](ExperimentError::Nn) for a network that cannot be evaluated.
    pub fn guess(&self) -> Result<f64, ExperimentError> {
        Ok(match self {
            Work::Inference(inference) => guess_inference(inference)?,
            Work::InferencePlaintext(inference) => {
                let macs = count::count(&inference.graph()?).macs as f64;
                START + IN_THE_CLEAR * macs * (inference.batch * (inference.iterations + 1)) as f64
            }
            Work::Training(training) => guess_training(training)?,
            Work::TrainingPlaintext(training) => {
                let macs = count::count(&training.graph()?).macs as f64;
                START + 3.0 * IN_THE_CLEAR * macs * (training.train.batch * iterations(training)?) as f64
            }
            Work::Operation(micro, link, _) => {
                let relus = if micro.operation.macs() == 0 { micro.operation.outputs() } else { 0 };
                let once = PRODUCT * micro.operation.macs() as f64
                    + RELU * (relus as f64 + 0.3 * micro.operation.outputs() as f64);
                0.05 + (micro.iterations + 1) as f64 * (once + waiting(*link, 8, 30 * micro.operation.outputs()))
            }
        })
    }
}

/// Seconds until parties and weights are there.
const START: f64 = 0.5;
/// Seconds of a private multiply-accumulate and a ReLU, three parties on two cores; of a multiply-accumulate in f64.
const PRODUCT: f64 = 0.3e-9;
const RELU: f64 = 0.12e-6;
const IN_THE_CLEAR: f64 = 1e-9;

/// Iterations of a training; those of the whole data set where they are not limited.
fn iterations(training: &Training) -> Result<usize, ExperimentError> {
    if let Some(iterations) = training.train.iterations {
        return Ok(iterations);
    }
    let examples = match &training.data {
        Examples::Set(set) => set.open()?.len(),
        Examples::Random => training.train.batch,
    };
    training.iterations(examples)
}

/// What an imitated link adds.
fn waiting(link: Link, rounds: u64, bytes: u64) -> f64 {
    // Three parties, each with two links that it sends by.
    link.model().map_or(0.0, |(speed, latency)| rounds as f64 * latency.as_secs_f64() + bytes as f64 / 6.0 / speed)
}

fn guess_inference(inference: &Inference) -> Result<f64, ExperimentError> {
    let graph = inference.graph()?;
    let counts = count::count(&graph);
    let plan = lower::lower(&fold::fold_graph(&graph)?, inference.lowering(), inference.ring)?;
    let cost = cost::infer(&plan, inference.batch, &inference.settings()?);
    let image = PRODUCT * counts.macs as f64 + RELU * counts.relus as f64;
    let once = inference.batch as f64 * image + waiting(inference.link, cost.rounds, cost.bytes);
    let images = inference.batch * inference.iterations;
    let compared = inference.compare.min(images).next_multiple_of(inference.batch.max(1));
    let compared = IN_THE_CLEAR * counts.macs as f64 * compared as f64;
    Ok(START + (inference.iterations + 1) as f64 * once + compared)
}

fn guess_training(training: &Training) -> Result<f64, ExperimentError> {
    let graph = training.graph()?;
    let counts = count::count(&graph);
    let plan = TrainingPlan::new(&graph, &training.train, training.ring)?;
    let cost = plan.cost(&plan.iteration(), &training.settings()?)?;
    let example = 3.0 * PRODUCT * counts.macs as f64 + 2.0 * RELU * counts.relus as f64;
    let once = training.train.batch as f64 * example + waiting(training.link, cost.rounds, cost.bytes);
    Ok(START + iterations(training)? as f64 * once)
}

fn of_inference(inference: &Inference) -> Vec<String> {
    settings(
        &inference.fidelity.to_string(),
        inference.ring,
        inference.fraction_bits,
        &window::text(inference.window),
        &inference.check_range.to_string(),
        &inference.randomness.to_string(),
    )
}

fn of_training(training: &Training) -> Vec<String> {
    settings(
        &training.fidelity.to_string(),
        training.ring,
        training.fraction_bits,
        &window::text(training.window),
        &training.check_range.to_string(),
        &training.randomness.to_string(),
    )
}

/// `inference resnet50, lan`, `train lenet × 50, 12 fraction bits, …`, `micro relu 1000`.
impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { experiment, of, batch, link, settings } = self.subject();
        write!(f, "{} {of}", experiment.replace('_', " "))?;
        if batch > 1 {
            write!(f, " × {batch}")?;
        }
        if link != "none" {
            write!(f, ", {link}")?;
        }
        match self.threads() {
            Some(1) => write!(f, ", 1 thread")?,
            Some(threads) => write!(f, ", {threads} threads")?,
            None => {}
        }
        settings.iter().try_for_each(|setting| write!(f, ", {setting}"))
    }
}
