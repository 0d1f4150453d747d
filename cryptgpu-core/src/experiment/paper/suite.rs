//! The tables and figures of the paper, and the list of measurements that they are drawn from: the one place that says what
//! `cryptgpu run paper` measures.

use std::fmt;
use std::str::FromStr;

use super::{Entry, Work};
use crate::device::Devices;
use crate::experiment::micro::{Micro, Operation};
use crate::experiment::training::{Examples, PAPER, Training};
use crate::experiment::{ExperimentError, Images, Inference, WeightSource, machine};
use crate::mpc::{CheckRange, Fidelity, SignWindow};
use crate::net::Link;
use crate::nn::training::Sgd;
use crate::nn::zoo;
use crate::prg::Randomness;
use cryptgpu_datasets::{Collection, ImageSet, Split};

/// A table or figure of the paper's evaluation, or of ours beside it. Its text is the name of its notebook in
/// `notebooks/paper` without the number: `inference`, `same-card`.
///
/// ```
/// use cryptgpu_core::experiment::paper::Exhibit;
///
/// assert_eq!("training".parse(), Ok(Exhibit::Training));
/// assert_eq!(Exhibit::Training.notebook(), "03-training.ipynb");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exhibit {
    /// Private inference of one image, the ten networks, by link.
    Inference,
    /// Private inference of a batch.
    Batches,
    /// An iteration of private training, five settings.
    Training,
    /// Private against plaintext: time, and accuracy and error by fraction bits.
    Plaintext,
    /// Where time and bytes go, by layer and kind of operation.
    Parts,
    /// Single operations by size.
    Operations,
    /// Training curves.
    Curves,
    /// Ours and others' code on one card.
    SameCard,
    /// What is ours, switched off in turn.
    Ablation,
    /// Batch, bandwidth and latency.
    Scaling,
}

impl Exhibit {
    /// All of them, in the order of their numbers, from 1.
    pub const ALL: [Exhibit; 10] = [
        Exhibit::Inference,
        Exhibit::Batches,
        Exhibit::Training,
        Exhibit::Plaintext,
        Exhibit::Parts,
        Exhibit::Operations,
        Exhibit::Curves,
        Exhibit::SameCard,
        Exhibit::Ablation,
        Exhibit::Scaling,
    ];

    /// What it is called on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Exhibit::Inference => "inference",
            Exhibit::Batches => "batches",
            Exhibit::Training => "training",
            Exhibit::Plaintext => "plaintext",
            Exhibit::Parts => "parts",
            Exhibit::Operations => "operations",
            Exhibit::Curves => "curves",
            Exhibit::SameCard => "same-card",
            Exhibit::Ablation => "ablation",
            Exhibit::Scaling => "scaling",
        }
    }

    /// The name of its notebook, whether or not it is written yet.
    pub fn notebook(self) -> String {
        format!("{:02}-{}.ipynb", self as usize + 1, self.id())
    }
}

impl fmt::Display for Exhibit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Exhibit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Exhibit::ALL.into_iter().find(|exhibit| exhibit.id() == text);
        let ids = || Exhibit::ALL.map(Exhibit::id).join(", ");
        found.ok_or_else(|| format!("`{text}` is no table or figure: use one of {}", ids()))
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// What takes less than ten minutes on two cores: the ten networks once each, a few links, a few iterations.
    Quick,
    /// Everything, up to five timed iterations each: less than forty minutes on two cores.
    Full,
}

impl Size {
    /// Timed iterations of a network's inference.
    fn iterations(self, network: &str) -> Result<usize, ExperimentError> {
        let large = crate::nn::count::count(&zoo::by_name(network)?).macs >= 1_000_000_000;
        Ok(match self {
            Size::Full if large => 3,
            Size::Full => 5,
            Size::Quick if large => 2,
            Size::Quick => 3,
        })
    }
}

/// The networks that also run over imitated links, and in the clear, in the quick suite.
const SMALL: [&str; 3] = ["lenet", "alexnet-cifar10", "vgg16-cifar10"];
/// The networks that other systems' code was run with on one card.
const CARD: [&str; 5] = ["lenet", "alexnet-cifar10", "vgg16-cifar10", "vgg16-tiny", "resnet50"];

/// The list, in the order in which it is measured: what needs the same parties follows one another.
///
/// # Errors
/// [`Nn`](ExperimentError::Nn), which a list of known networks does not have.
pub fn suite(size: Size, device: Devices) -> Result<Vec<Entry>, ExperimentError> {
    let list = List { size, device, entries: vec![] };
    let lists = [List::one_image, List::batches, List::training, List::operations, List::in_the_clear];
    let more = [List::precision, List::curves, List::ablation, List::links, List::scaling];
    Ok(lists.into_iter().chain(more).try_fold(list, |list, add| add(list))?.entries)
}

/// The list while it is written.
struct List {
    size: Size,
    device: Devices,
    entries: Vec<Entry>,
}

impl List {
    fn add(&mut self, exhibits: &'static [Exhibit], work: impl Into<Work>) {
        self.entries.push(Entry { exhibits, work: work.into() });
    }

    fn full(&self) -> bool {
        self.size == Size::Full
    }

    /// A network's inference, one image over links as they are.
    fn inference(&self, network: &str) -> Result<Inference, ExperimentError> {
        let iterations = self.size.iterations(network)?;
        Ok(Inference { iterations, device: self.device, ..Inference::of(network)? })
    }

    /// A few iterations of a network's training.
    fn iterations_of(&self, network: &str) -> Result<Training, ExperimentError> {
        let mut training = Training { device: self.device, ..Training::of(network)? };
        training.train.iterations = Some(match (self.size, network) {
            (Size::Full, "lenet" | "alexnet-cifar10") => 6,
            (Size::Full, _) | (Size::Quick, "lenet" | "alexnet-cifar10") => 4,
            (Size::Quick, _) => 2,
        });
        Ok(training)
    }

    fn one_image(mut self) -> Result<Self, ExperimentError> {
        for network in zoo::PAPER {
            let inference = self.inference(network)?;
            let exhibits: &[Exhibit] = match (CARD.contains(&network), SMALL.contains(&network)) {
                (true, true) => &[
                    Exhibit::Inference,
                    Exhibit::Plaintext,
                    Exhibit::Parts,
                    Exhibit::SameCard,
                    Exhibit::Ablation,
                    Exhibit::Scaling,
                ],
                (true, false) => {
                    &[Exhibit::Inference, Exhibit::Plaintext, Exhibit::Parts, Exhibit::SameCard, Exhibit::Ablation]
                }
                _ => &[Exhibit::Inference, Exhibit::Plaintext, Exhibit::Parts],
            };
            self.add(exhibits, inference);
        }
        Ok(self)
    }

    fn batches(mut self) -> Result<Self, ExperimentError> {
        let small = [("alexnet-cifar10", 64), ("vgg16-cifar10", 64)];
        let large = [("resnet50", 8), ("resnet101", 8), ("resnet152", 8)];
        let large = if self.full() { &large[..] } else { &[] };
        for &(network, batch) in small.iter().chain(large) {
            let mut inference = Inference { batch, ..self.inference(network)? };
            if network != "alexnet-cifar10" {
                // A batch of these takes longer in the clear than the record is worth: one image is compared already.
                inference.compare = 0;
                inference.iterations = if self.full() && network == "vgg16-cifar10" { 2 } else { 1 };
            }
            self.add(&[Exhibit::Batches], inference);
        }
        Ok(self)
    }

    fn training(mut self) -> Result<Self, ExperimentError> {
        for (network, _) in PAPER {
            let training = self.iterations_of(network)?;
            let exhibits: &[Exhibit] = match network {
                // These are also trained in the clear.
                "lenet" | "alexnet-cifar10" => &[Exhibit::Training, Exhibit::Parts, Exhibit::Plaintext],
                _ => &[Exhibit::Training, Exhibit::Parts],
            };
            self.add(exhibits, training);
        }
        Ok(self)
    }

    fn operations(mut self) -> Result<Self, ExperimentError> {
        let links: &[Link] = if self.full() { &[Link::None, Link::Lan, Link::Wan] } else { &[Link::None] };
        for &link in links {
            for operation in Operation::published() {
                let iterations = if link == Link::None { 5 } else { 3 };
                let micro = Micro { iterations, ..Micro::of(operation) };
                self.add(&[Exhibit::Operations], (micro, link, self.device));
            }
        }
        for operation in [Operation::Matmul { m: 1024, k: 1024, n: 1024 }, Operation::Relu { n: 1_000_000 }] {
            self.add(&[Exhibit::Operations, Exhibit::SameCard], (Micro::of(operation), Link::None, self.device));
        }
        for side in [14, 28, 56, 112] {
            let operation = Operation::Convolution { side, inputs: 64, outputs: 64, kernel: 3 };
            let exhibits: &[Exhibit] = match side {
                56 => &[Exhibit::Operations, Exhibit::SameCard, Exhibit::Scaling],
                _ => &[Exhibit::Scaling],
            };
            self.add(exhibits, (Micro::of(operation), Link::None, self.device));
        }
        Ok(self)
    }

    fn in_the_clear(mut self) -> Result<Self, ExperimentError> {
        let networks: &[&str] = if self.full() { &zoo::PAPER } else { &SMALL };
        for network in networks {
            let mut inference = self.inference(network)?;
            if inference.compare == 1 {
                // The reference takes seconds for an image of these.
                inference.iterations = 1;
            }
            self.add(&[Exhibit::Plaintext], Work::InferencePlaintext(inference));
        }
        let networks: &[&str] = if self.full() { &["lenet", "alexnet-cifar10"] } else { &["lenet"] };
        for network in networks {
            let training = self.iterations_of(network)?;
            self.add(&[Exhibit::Plaintext], Work::TrainingPlaintext(Box::new(training)));
        }
        Ok(self)
    }

    /// LeNet on real digits by fraction bits: accuracy and error of a logit; ours, and the truncation of CryptGPU's code.
    /// The same of ResNet-8 on CIFAR-10, where its images are there. AlexNet with random weights, likewise: error of a logit.
    /// All of MNIST.
    fn precision(mut self) -> Result<Self, ExperimentError> {
        let (all, paper): (&[u32], &[u32]) = match self.size {
            Size::Full => (&[6, 8, 10, 12, 14, 16, 18, 20, 22, 24], &[12, 16, 20, 24]),
            Size::Quick => (&[6, 8, 10, 12, 16, 20, 24], &[20]),
        };
        let exact = all.iter().map(|&bits| (bits, Fidelity::Exact));
        for (fraction_bits, fidelity) in exact.chain(paper.iter().map(|&bits| (bits, Fidelity::Paper))) {
            let iterations = if self.full() { 10 } else { 2 };
            let lenet = self.inference("lenet")?;
            self.add(
                &[Exhibit::Plaintext],
                Inference { batch: 100, iterations, fraction_bits, fidelity, compare: usize::MAX, ..lenet },
            );
        }
        let (exact, paper): (&[u32], &[u32]) = match self.size {
            Size::Full => (&[8, 10, 12, 16, 20, 24], &[16, 20, 24]),
            Size::Quick => (&[8, 12, 20], &[]),
        };
        let exact = exact.iter().map(|&bits| (bits, Fidelity::Exact));
        for (fraction_bits, fidelity) in exact.chain(paper.iter().map(|&bits| (bits, Fidelity::Paper))) {
            let iterations = if self.full() { 10 } else { 1 };
            let images = Images::Set(ImageSet::Downloaded(Collection::Cifar10, Split::Test));
            let resnet8 = Inference { images, ..self.inference("resnet8-cifar10")? };
            self.add(
                &[Exhibit::Plaintext],
                Inference { batch: 50, iterations, fraction_bits, fidelity, compare: usize::MAX, ..resnet8 },
            );
        }
        let (alexnet, mnist): (&[u32], &[u32]) =
            if self.full() { (&[8, 12, 16, 20, 24], &[12, 20]) } else { (&[], &[]) };
        for &fraction_bits in alexnet {
            let alexnet = self.inference("alexnet-cifar10")?;
            self.add(&[Exhibit::Plaintext], Inference { batch: 50, iterations: 2, fraction_bits, ..alexnet });
        }
        for &fraction_bits in mnist {
            let images = Images::Set(ImageSet::Downloaded(Collection::Mnist, Split::Test));
            let lenet = Inference { images, fraction_bits, ..self.inference("lenet")? };
            self.add(&[Exhibit::Plaintext], Inference { batch: 500, iterations: 20, compare: usize::MAX, ..lenet });
        }
        Ok(self)
    }

    /// LeNet trained on the bundled digits, with the losses and the accuracy revealed; in private and in the clear.
    fn curves(mut self) -> Result<Self, ExperimentError> {
        let mut digits = Training { data: Examples::Set(ImageSet::DigitsTrain), ..self.iterations_of("lenet")? };
        digits.train.batch = 50;
        digits.train.epochs = if self.full() { 5 } else { 2 };
        digits.train.iterations = None;
        digits.train.optimizer = Sgd::new(0.02).momentum(0.9);
        digits.train.reveal.loss_every = Some(1);
        digits.train.reveal.accuracy_every = Some(1);
        let (exact, paper): (&[u32], &[u32]) = match self.size {
            Size::Full => (&[10, 12, 16, 20], &[16, 20, 24]),
            Size::Quick => (&[12, 20], &[20]),
        };
        let exact = exact.iter().map(|&bits| (bits, Fidelity::Exact));
        for (fraction_bits, fidelity) in exact.chain(paper.iter().map(|&bits| (bits, Fidelity::Paper))) {
            self.add(&[Exhibit::Curves], Training { fraction_bits, fidelity, ..digits.clone() });
        }
        let tuned = Training { weights: Some(WeightSource::Bundled), ..digits.clone() };
        self.add(&[Exhibit::Curves], tuned.clone());
        self.add(&[Exhibit::Curves], Work::TrainingPlaintext(Box::new(tuned)));
        self.add(&[Exhibit::Curves], Work::TrainingPlaintext(Box::new(digits)));
        Ok(self)
    }

    /// One thing at a time is not as it is by default.
    fn ablation(mut self) -> Result<Self, ExperimentError> {
        let narrow = SignWindow::new(0, 32).unwrap_or_default();
        let networks: &[&str] =
            if self.full() { &["lenet", "vgg16-cifar10", "resnet50"] } else { &["lenet", "vgg16-cifar10"] };
        for network in networks {
            let usual = self.inference(network)?;
            let changed = [
                Inference { randomness: Randomness::InsecurePhilox, ..usual.clone() },
                Inference { fidelity: Fidelity::Paper, ..usual.clone() },
                Inference { check_range: CheckRange::Run, ..usual.clone() },
                Inference { window: narrow, ..usual.clone() },
            ];
            changed.into_iter().for_each(|changed| self.add(&[Exhibit::Ablation], changed));
            for variant in ["maxpool", "relu-after-pool"] {
                let weights = WeightSource::usual(&format!("{network}-{variant}"));
                let variant = Inference { network: format!("{network}-{variant}"), weights, ..usual.clone() };
                self.add(&[Exhibit::Ablation], variant);
            }
        }
        Ok(self)
    }

    fn links(mut self) -> Result<Self, ExperimentError> {
        let (lan, wan): (&[&str], &[&str]) = match self.size {
            Size::Full => (&zoo::PAPER, &zoo::PAPER),
            Size::Quick => (&["lenet", "alexnet-cifar10", "vgg16-cifar10", "resnet50"], &SMALL),
        };
        for (link, networks) in [(Link::Lan, lan), (Link::Wan, wan)] {
            for network in networks {
                let usual = self.inference(network)?;
                // A large network waits minutes for its messages, always the same.
                let iterations = if link == Link::Wan && usual.compare == 1 { 1 } else { 2 };
                let compare = usize::from(usual.compare != 1);
                let inference = Inference { link, iterations, compare, ..usual };
                self.add(&[Exhibit::Inference, Exhibit::Scaling], inference);
            }
        }
        Ok(self)
    }

    fn scaling(mut self) -> Result<Self, ExperimentError> {
        let batches: &[usize] = if self.full() { &[2, 4, 8, 16, 32, 64, 128] } else { &[4, 16, 64] };
        for &batch in batches {
            let lenet = self.inference("lenet")?;
            self.add(&[Exhibit::Scaling], Inference { batch, compare: 1, ..lenet });
        }
        let links: &[(f64, f64)] = match self.size {
            Size::Full => {
                &[(1250.0, 1.0), (1250.0, 5.0), (1250.0, 20.0), (1250.0, 80.0), (125.0, 0.2), (12.5, 0.2), (1.25, 0.2)]
            }
            Size::Quick => &[(1250.0, 5.0), (1250.0, 20.0), (12.5, 0.2)],
        };
        for &(megabytes_per_second, latency_ms) in links {
            let lenet = self.inference("lenet")?;
            let link = Link::Custom { megabytes_per_second, latency_ms };
            self.add(&[Exhibit::Scaling], Inference { link, compare: 1, iterations: 2, ..lenet });
        }
        // One for each core is the usual number, which is there already.
        let cores = machine().cores;
        for threads in [1, 2, 4, 8, 16].into_iter().filter(|threads| *threads < cores) {
            let vgg16 = self.inference("vgg16-cifar10")?;
            self.add(&[Exhibit::Scaling], Inference { threads: Some(threads), compare: 1, ..vgg16 });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_entry_is_valid_and_stands_once_and_every_exhibit_has_some() {
        for size in [Size::Quick, Size::Full] {
            let entries = suite(size, Devices::default()).unwrap();
            let mut seen = HashSet::new();
            for entry in &entries {
                if entry.work.has_its_data() {
                    entry.work.validate().unwrap();
                }
                let new = seen.insert((entry.work.subject(), entry.work.threads()));
                assert!(!entry.exhibits.is_empty() && new, "twice: {}", entry.work);
                assert!(entry.work.guess().unwrap() > 0.0, "{}", entry.work);
            }
            for exhibit in Exhibit::ALL {
                assert!(entries.iter().any(|entry| entry.exhibits.contains(&exhibit)), "{exhibit}: {size:?}");
                assert_eq!(exhibit.id().parse(), Ok(exhibit));
            }
        }
        assert!("tables".parse::<Exhibit>().unwrap_err().contains("same-card"));
    }

    /// The quick suite promises to take less than ten minutes on two cores, the full one less than forty: the sums of the
    /// entries' estimates do.
    #[test]
    fn the_quick_suite_is_quick_and_part_of_the_full_one() {
        let seconds = |size| -> f64 {
            let entries = suite(size, Devices::default()).unwrap();
            entries.iter().map(|entry| entry.work.guess().unwrap()).sum()
        };
        let (quick, full) = (seconds(Size::Quick), seconds(Size::Full));
        assert!((100.0..500.0).contains(&quick), "{quick:.0} s");
        assert!((600.0..2200.0).contains(&full), "{full:.0} s");
        let entries = suite(Size::Quick, Devices::default()).unwrap();
        let full: HashSet<_> =
            suite(Size::Full, Devices::default()).unwrap().iter().map(|entry| entry.work.subject()).collect();
        let missing = |entry: &&Entry| !full.contains(&entry.work.subject());
        let missing: Vec<_> = entries.iter().filter(missing).map(|entry| entry.work.to_string()).collect();
        // Curves have as many epochs as their suite takes.
        assert!(missing.iter().all(|name| name.contains("epochs")), "{missing:?}");
    }
}
