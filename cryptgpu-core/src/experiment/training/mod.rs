//! Private training as a declaration: which network, on whose examples, with which settings, over which links. It runs as
//! one job of a [`Cluster`](crate::cluster::Cluster)'s parties, becomes a record, and is shown beside what is published for
//! the same network and batch.

mod measure;
mod plaintext;
mod precision;
mod record;
mod table;

pub use measure::{TrainingStage, measure, measure_curve};
pub use plaintext::{InF64, PlaintextEngine, measure_plaintext};
pub use precision::{Cutting, Division, Precision, Simulation};
pub use record::{EXPERIMENT, LeftRange, PLAINTEXT, Simulated, StepRecord, TrainingRecord, append, read};
pub use table::{TrainingRow, latest, training_caption, training_table};

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use cryptgpu_datasets::{Collection, ImageSet, Split, bundled};
use serde::{Deserialize, Serialize};

use super::ExperimentError;
use super::inference::check_count;
use super::parties::Wanted;
use crate::cluster::Checkpointing;
use crate::device::Devices;
use crate::mpc::{CheckRange, Fidelity, Settings, SignWindow};
use crate::net::{Link, PartyId};
use crate::nn::training::{Batches, Iteration, Sgd, Train, TrainingPlan};
use crate::nn::{Graph, WeightSource, fold, window, zoo};
use crate::prg::Randomness;
use crate::ring::Ring;

/// The party that brings the images.
pub const IMAGES_OWNER: PartyId = PartyId::P0;
/// The party that brings the weights that training begins with.
pub const WEIGHTS_OWNER: PartyId = PartyId::P1;
/// The party that brings the labels.
pub const LABELS_OWNER: PartyId = PartyId::P2;

/// The networks and batches of the paper's training table.
pub const PAPER: [(&str, usize); 5] =
    [("lenet", 128), ("alexnet-cifar10", 128), ("vgg16-cifar10", 32), ("alexnet-tiny", 128), ("vgg16-tiny", 8)];

/// Private training of one network.
///
/// ```
/// use cryptgpu_core::experiment::training::Training;
///
/// let vgg16 = Training::of("vgg16-tiny")?; // the paper's batch, a few iterations, random images
/// assert_eq!((vgg16.train.batch, vgg16.train.iterations), (8, Some(4)));
/// assert_eq!(vgg16.data.to_string(), "random");
/// # Ok::<(), cryptgpu_core::experiment::ExperimentError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The network, as [`zoo::names`] has them.
    pub network: String,
    /// The examples.
    pub data: Examples,
    /// The weights that training begins with; none for those that are drawn from the settings' seed.
    pub weights: Option<WeightSource>,
    /// Its checkpoints, if it leaves any.
    #[serde(skip)]
    pub checkpoints: Option<Checkpointing>,
    /// To whom the trained weights are opened at the end, if to anybody.
    #[serde(skip)]
    pub export: Option<Export>,
    /// How it is trained. The first iteration is not timed where there are others. The accuracy, where it is revealed, is of
    /// the data set's other part.
    pub train: Train,
    /// The links that the parties imitate.
    pub link: Link,
    /// Where the parties compute.
    pub device: Devices,
    /// Which truncation runs.
    pub fidelity: Fidelity,
    /// What the parties draw masks from.
    pub randomness: Randomness,
    /// The ring that the parties compute in.
    #[serde(default)]
    pub ring: Ring,
    /// Fraction bits of the fixed-point codec.
    pub fraction_bits: u32,
    /// Bits that comparisons look at.
    pub window: SignWindow,
    /// Whether the parties find out that a value has left the range.
    pub check_range: CheckRange,
}

/// The party that trained weights are opened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Which one.
    pub to: PartyId,
    /// The safetensors file that it writes, a path of its machine.
    pub path: PathBuf,
}

/// Where the examples of a training come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Examples {
    /// A data set, or files at the parties that own images and labels.
    Set(ImageSet),
    /// Random images and labels, as many as the iterations take: for time and bytes.
    Random,
}

impl Examples {
    /// What accuracy is measured on: the part of the data set that was not trained with.
    pub fn held_out(&self) -> Option<ImageSet> {
        match self {
            Examples::Set(set) => set.test_part(),
            Examples::Random => None,
        }
    }

    /// What a network is ordinarily trained on: the first data set of its images' shape and classes that is downloaded, else the
    /// bundled digits where they fit, and random examples otherwise.
    pub fn usual(graph: &Graph) -> Self {
        let (shape, classes) = (graph.input_shape(), graph.output_shape());
        let fits = |of: [usize; 3], number: u8| of == shape && *classes == [usize::from(number)];
        let downloaded = Collection::ALL
            .into_iter()
            .find(|collection| fits(collection.shape(), collection.classes()) && collection.is_there(Split::Train));
        match downloaded {
            Some(collection) => Examples::Set(ImageSet::Downloaded(collection, Split::Train)),
            None if fits([1, 28, 28], 10) => Examples::Set(ImageSet::DigitsTrain),
            None => Examples::Random,
        }
    }
}

impl fmt::Display for Examples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Examples::Set(set) => set.fmt(f),
            Examples::Random => f.write_str("random"),
        }
    }
}

impl From<ImageSet> for Examples {
    fn from(set: ImageSet) -> Self {
        Examples::Set(set)
    }
}

impl FromStr for Examples {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "random" => Ok(Examples::Random),
            "digits" => Ok(Examples::Set(ImageSet::DigitsTrain)),
            name => match Collection::by_name(name) {
                Some(collection) => Ok(Examples::Set(ImageSet::Downloaded(collection, Split::Train))),
                None => name.parse().map(Examples::Set).map_err(|error| {
                    format!("{error}; or mnist, cifar10, digits, random, or the path of a file or folder")
                }),
            },
        }
    }
}

impl Training {
    /// A few iterations of `network` at the paper's batch (32 for networks that the paper does not train), by gradient descent
    /// at a rate of 0.01 with momentum 0.9, on what it is [usually](Examples::usual) trained on.
    ///
    /// # Errors
    /// [`Nn`](ExperimentError::Nn) for an unknown network, with the nearest names.
    pub fn of(network: &str) -> Result<Self, ExperimentError> {
        let graph = zoo::by_name(network)?;
        let batch = PAPER.iter().find(|(name, _)| *name == network).map_or(32, |(_, batch)| *batch);
        let train = Train {
            batch,
            epochs: MOST_EPOCHS,
            iterations: Some(4),
            optimizer: Sgd::new(0.01).momentum(0.9),
            ..Train::default()
        };
        Ok(Training {
            network: network.to_owned(),
            data: Examples::usual(&graph),
            weights: None,
            checkpoints: None,
            export: None,
            train,
            link: Link::None,
            device: Devices::default(),
            fidelity: Fidelity::Exact,
            randomness: Randomness::default(),
            ring: Ring::Z64,
            fraction_bits: crate::ring::DEFAULT_FRACTION_BITS,
            window: SignWindow::default(),
            check_range: CheckRange::Off,
        })
    }

    /// The same in a ring, with as many fraction bits as are usual there. In that of 32 bits, where products stay below 64 at
    /// 12 of them, the parties look for values beyond the range, layer by layer.
    ///
    /// ```
    /// use cryptgpu_core::experiment::training::Training;
    /// use cryptgpu_core::mpc::CheckRange;
    /// use cryptgpu_core::ring::Ring;
    ///
    /// let lenet = Training::of("lenet")?.in_ring(Ring::Z32);
    /// assert_eq!((lenet.fraction_bits, lenet.check_range), (12, CheckRange::Layers));
    /// # Ok::<(), cryptgpu_core::experiment::ExperimentError>(())
    /// ```
    #[must_use]
    pub fn in_ring(self, ring: Ring) -> Self {
        let check_range = if ring == Ring::Z32 { CheckRange::Layers } else { self.check_range };
        Training { ring, fraction_bits: ring.default_fraction_bits(), check_range, ..self }
    }

    /// The network.
    ///
    /// # Errors
    /// [`Nn`](ExperimentError::Nn) for an unknown one, with the nearest names.
    pub fn graph(&self) -> Result<Graph, ExperimentError> {
        Ok(zoo::by_name(&self.network)?)
    }

    /// How each party computes; where is for it to say.
    ///
    /// # Errors
    /// [`Declaration`](ExperimentError::Declaration) for fraction bits that leave no room, or a window that no check of ranges
    /// goes with.
    pub fn settings(&self) -> Result<Settings, ExperimentError> {
        crate::experiment::window::settings(self.ring, self.fraction_bits, self.fidelity, self.window, self.check_range)
    }

    /// What parties it wants.
    pub(super) fn wanted(&self) -> Result<Wanted, ExperimentError> {
        let (link, randomness, devices, settings) = (self.link, self.randomness, self.device, self.settings()?);
        Ok(Wanted { link, randomness, devices, settings, threads: None })
    }

    /// Tests what can be tested before anything starts: network, settings, counts, that a data set is there.
    ///
    /// # Errors
    /// Which field cannot be used, and what can.
    pub fn validate(&self) -> Result<(), ExperimentError> {
        let graph = self.graph()?;
        let declaration = |field, value: String, hint: &str| {
            Err(ExperimentError::Declaration { field, value, hint: hint.to_owned() })
        };
        fold::fold_graph(&graph)?;
        let plan = TrainingPlan::new(&graph, &self.train, self.ring)?;
        window::check_training(&plan, &self.settings()?)?;
        check_count("batch", self.train.batch, MOST_EXAMPLES)?;
        check_count("epochs", self.train.epochs, MOST_EPOCHS)?;
        check_count("epochs between accuracies", self.train.reveal.accuracy_every.unwrap_or(1), MOST_EPOCHS)?;
        if let Some(iterations) = self.train.iterations {
            check_count("iterations", iterations, super::inference::MOST_ITERATIONS)?;
        }
        if let Some(every) = self.train.reveal.loss_every {
            check_count("iterations between losses", every, super::inference::MOST_ITERATIONS)?;
        }
        match &self.data {
            Examples::Set(set) if !set.is_there() => {
                let hint = "its files are not there: get them with scripts/fetch-datasets, or take digits, or random";
                declaration("data set", set.to_string(), hint)
            }
            Examples::Random if self.train.iterations.is_none() => {
                let hint = "random examples have no epochs: give a number of iterations";
                declaration("data set", self.data.to_string(), hint)
            }
            _ if self.train.reveal.accuracy_every.is_some() && self.data.held_out().is_none() => {
                let hint = "nothing is held out of it to measure the accuracy on: take digits, mnist or cifar10";
                declaration("data set", self.data.to_string(), hint)
            }
            _ if self.weights == Some(WeightSource::Bundled) && bundled::weights(&self.network).is_none() => {
                let hint = "bundled weights are those of lenet and resnet8-cifar10; give a safetensors file, or none";
                declaration("weights", "bundled".to_owned(), hint)
            }
            Examples::Set(set) => set.size().map_or(Ok(()), |(examples, _)| self.check_batch(examples)),
            Examples::Random => Ok(()),
        }
    }

    /// Refuses a minibatch of more examples than there are: none of that size would run, and all that is stated and recorded is
    /// of one that does.
    fn check_batch(&self, examples: usize) -> Result<(), ExperimentError> {
        let batch = self.train.batch;
        if batch <= examples {
            return Ok(());
        }
        let hint = format!("{} has {examples} examples: take a batch of at most as many", self.data);
        Err(ExperimentError::Declaration { field: "batch", value: batch.to_string(), hint })
    }

    /// How it is trained, as a record says it: where iterations end the run, of as many epochs as they take.
    fn recorded(&self, examples: usize) -> Train {
        let in_epoch = examples.div_ceil(self.train.batch.max(1)).max(1);
        let epochs = self.train.iterations.map_or(usize::MAX, |iterations| iterations.div_ceil(in_epoch));
        Train { epochs: self.train.epochs.min(epochs), ..self.train.clone() }
    }

    /// Examples that the run needs, where they are random.
    fn random_examples(&self) -> usize {
        self.train.batch.saturating_mul(self.train.iterations.unwrap_or(1))
    }

    /// Iterations of the whole run on so many examples.
    ///
    /// # Errors
    /// As [`Batches::new`].
    pub fn iterations(&self, examples: usize) -> Result<usize, ExperimentError> {
        Ok(Batches::new(examples, &self.train)?.iterations())
    }

    /// What an iteration of a whole batch takes, before anything runs.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn stated(&self) -> Result<Stated, ExperimentError> {
        let graph = self.graph()?;
        let plan = TrainingPlan::new(&graph, &self.train, self.ring)?;
        let cost = plan.cost(&plan.iteration(), &self.settings()?)?;
        // Each owner sends one component of its rows.
        let rows = |shape: &[usize]| 8 * self.ring.words(self.train.batch * shape.iter().product::<usize>()) as u64;
        let rows = rows(&graph.input_shape()) + rows(graph.output_shape());
        let memory_bytes = plan.memory(self.train.batch, self.check_range).total();
        let more = |iteration: Iteration| -> Result<(u64, u64), ExperimentError> {
            let with = plan.cost(&iteration, &self.settings()?)?;
            // A first iteration may also have less to send, for Adam's factors.
            Ok((with.bytes.saturating_sub(cost.bytes), with.rounds.saturating_sub(cost.rounds)))
        };
        let (loss_bytes, loss_rounds) = match self.train.reveal.loss_every {
            Some(_) => more(Iteration { loss: true, ..plan.iteration() })?,
            None => (0, 0),
        };
        let (first_bytes, first_rounds) = more(Iteration { number: 1, ..plan.iteration() })?;
        let (bytes, rounds) = (rows + cost.bytes, cost.rounds);
        let examples_bytes = self.examples_bytes();
        Ok(Stated { memory_bytes, examples_bytes, bytes, rounds, loss_bytes, loss_rounds, first_bytes, first_rounds })
    }

    /// What each party holds of the examples that it owns: a byte a pixel, two a label. Random ones are made when they are
    /// needed; of files nothing is known here.
    fn examples_bytes(&self) -> [u64; 3] {
        let own = match &self.data {
            Examples::Set(set) => Some(set.clone()),
            Examples::Random => None,
        };
        let mut bytes = [0; 3];
        for (examples, shape) in own.into_iter().chain(self.held_out()).filter_map(|set| set.size()) {
            bytes[IMAGES_OWNER.index()] += (examples * shape.iter().product::<usize>()) as u64;
            bytes[LABELS_OWNER.index()] += 2 * examples as u64;
        }
        bytes
    }

    /// What the run reveals, a policy line each: nothing else is opened to anybody.
    pub fn revealed(&self) -> Vec<String> {
        let mut lines = vec![];
        if let Some(every) = self.train.reveal.loss_every {
            lines.push(format!("loss every {every}, to the caller"));
        }
        match self.check_range {
            CheckRange::Off => {}
            CheckRange::Run => lines.push("whether a value has left the range, every iteration".to_owned()),
            CheckRange::Layers => lines.push("whether a value has left the range, every layer".to_owned()),
        }
        if let (Some(every), Some(set)) = (self.train.reveal.accuracy_every, self.data.held_out()) {
            let epochs = if every == 1 { "every epoch".to_owned() } else { format!("every {every} epochs") };
            lines.push(format!("accuracy on {set} after {epochs} and at the end, to the caller"));
        }
        if let Some(Export { to, .. }) = self.export {
            lines.push(format!("the trained weights at the end, to party {to}"));
        }
        lines
    }
}

/// What an iteration takes, as it is known before the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stated {
    /// Memory of a party beside the examples that it owns, in bytes.
    pub memory_bytes: u64,
    /// Memory that each party's own examples take, in bytes; 0 where they are in files of one's own.
    #[serde(default)]
    pub examples_bytes: [u64; 3],
    /// Payload bytes, all parties together, with the check of ranges where there is one, and without a loss.
    pub bytes: u64,
    /// Rounds of the protocols, likewise, one after the other.
    pub rounds: u64,
    /// Bytes that an iteration has on top in which the loss is revealed; 0 where none is.
    #[serde(default)]
    pub loss_bytes: u64,
    /// Rounds, likewise.
    #[serde(default)]
    pub loss_rounds: u64,
    /// Bytes that the first iteration has on top, for the factors of frozen batch normalisations.
    #[serde(default)]
    pub first_bytes: u64,
    /// Rounds, likewise.
    #[serde(default)]
    pub first_rounds: u64,
}

impl Stated {
    /// Memory of each party, in bytes.
    pub fn memory_by_party(&self) -> [u64; 3] {
        self.examples_bytes.map(|examples| self.memory_bytes + examples)
    }
}

/// The most examples at a time, and the most epochs: beyond are typing errors.
const MOST_EXAMPLES: usize = 1 << 16;
const MOST_EPOCHS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use cryptgpu_datasets::paper::{self, Table, quantity};

    #[test]
    fn memory_is_stated_with_the_examples_of_their_owners() {
        let mut lenet = Training { data: Examples::Random, ..Training::of("lenet").unwrap() };
        let stated = lenet.stated().unwrap();
        assert_eq!((stated.examples_bytes, stated.memory_by_party()), ([0; 3], [stated.memory_bytes; 3]));
        lenet.data = Examples::Set(ImageSet::Downloaded(Collection::Mnist, Split::Train));
        let with = lenet.stated().unwrap();
        assert_eq!((with.examples_bytes, with.memory_bytes), ([784 * 60_000, 0, 2 * 60_000], stated.memory_bytes));
        lenet.train.reveal.accuracy_every = Some(1);
        assert_eq!(lenet.stated().unwrap().examples_bytes, [784 * 70_000, 0, 2 * 70_000]);
    }

    #[test]
    fn the_papers_settings_are_declared_and_have_published_figures() {
        for (network, batch) in PAPER {
            let declaration = Training::of(network).unwrap();
            assert_eq!(declaration.train.batch, batch);
            declaration.validate().unwrap();
            assert!(declaration.revealed().is_empty(), "nothing is revealed unless it is asked for");
            for quantity in [quantity::SECONDS_PER_ITERATION, quantity::BYTES_SENT] {
                let found = paper::find(Table::Training, network, batch as u32, "CryptGPU", quantity).unwrap();
                assert!(found.is_some(), "{network}: {quantity}");
            }
        }
    }

    #[test]
    fn half_the_bits_are_half_the_bytes() {
        for (network, _) in PAPER {
            for check_range in [CheckRange::Off, CheckRange::Layers] {
                let [wide, narrow] = [Ring::Z64, Ring::Z32].map(|ring| {
                    let declaration = Training::of(network).unwrap().in_ring(ring);
                    Training { check_range, ..declaration }.stated().unwrap().bytes
                });
                let ratio = narrow as f64 / wide as f64;
                println!("{network}, {check_range:?}: {narrow} of {wide} bytes, {ratio:.4}");
                assert!(ratio <= 0.52, "{network}, {check_range:?}: {ratio:.4}");
            }
        }
    }

    #[test]
    fn declarations_that_cannot_run_say_what_can() {
        let lenet = || Training { data: Examples::Set(ImageSet::DigitsTrain), ..Training::of("lenet").unwrap() };
        let train = |change: fn(&mut Train)| {
            let mut declaration = lenet();
            change(&mut declaration.train);
            declaration
        };
        for (wrong, hint) in [
            (train(|train| train.batch = 0), "batch"),
            (train(|train| train.epochs = 0), "at least 1"),
            (train(|train| train.batch = 5000), "digits-train has 800 examples: take a batch of at most as many"),
            (train(|train| train.reveal.loss_every = Some(0)), "iterations between losses"),
            (train(|train| train.iterations = Some(usize::MAX)), "at most"),
            (Training { fraction_bits: 60, ..lenet() }, "fraction bits"),
            (Training { data: Examples::Random, ..train(|train| train.reveal.accuracy_every = Some(1)) }, "held out"),
            (train(|train| train.reveal.accuracy_every = Some(0)), "at least 1"),
            (Training { network: "lanet".into(), ..lenet() }, "lenet"),
            (Training { data: Examples::Set(ImageSet::file("no/such")), ..lenet() }, "not there"),
            (
                Training { weights: Some(WeightSource::Bundled), ..Training::of("vgg16-tiny").unwrap() },
                "those of lenet",
            ),
            (Training { data: Examples::Random, ..train(|train| train.iterations = None) }, "number of iterations"),
        ] {
            let error = wrong.validate().unwrap_err().to_string();
            assert!(error.contains(hint), "{hint}: {error}");
        }
        assert!("imagenet".parse::<Examples>().unwrap_err().contains("digits"));
        assert_eq!("mnist".parse(), Ok(Examples::Set(ImageSet::Downloaded(Collection::Mnist, Split::Train))));
    }

    #[test]
    fn a_record_says_as_many_epochs_as_the_iterations_take() {
        let of = |batch, iterations, epochs| {
            let train = Train { batch, iterations, epochs, ..Train::default() };
            Training { train, ..Training::of("lenet").unwrap() }.recorded(800).epochs
        };
        assert_eq!((of(100, Some(4), MOST_EPOCHS), of(100, Some(17), MOST_EPOCHS)), (1, 3));
        assert_eq!((of(100, None, 5), of(100, Some(1000), 5)), (5, 5));
    }

    #[test]
    fn what_is_revealed_is_listed_line_by_line() {
        let mut declaration = Training { check_range: CheckRange::Run, ..Training::of("lenet").unwrap() };
        declaration.train.reveal.accuracy_every = Some(1);
        declaration.data = Examples::Set(ImageSet::DigitsTrain);
        declaration.train.reveal.loss_every = Some(50);
        let lines = declaration.revealed();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("loss every 50") && lines[2].starts_with("accuracy on digits-test"), "{lines:?}");
    }
}
