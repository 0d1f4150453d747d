//! candle and PyTorch as engines of the experiments in the clear: what plaintext training and inference of the networks of the
//! private experiments take on the same batches, weights and data, with records of the same shape. The experiments themselves
//! are the core's, which depends on neither.

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use clap::{Args, ValueEnum};
use cryptgpu_core::experiment::training::{
    self, Examples, PlaintextEngine, Training, TrainingRecord, TrainingStage, measure_plaintext,
};
use cryptgpu_core::experiment::{
    self, ExperimentError, Inference, PlaintextBackend, PlaintextNetwork, Record, measure_inference_plaintext,
};
use cryptgpu_core::nn::training::{Sgd, Train};
use cryptgpu_core::nn::{Graph, Weights, zoo};
use ndarray::{Array4, ArrayD, IxDyn};

use crate::network::Network;
use crate::torch::{Place, Torch};

/// What both subcommands take.
#[derive(Debug, Args)]
pub struct Options {
    /// Networks, by name, each with its batch if it is not the usual one: lenet or lenet:64; all of the paper by default
    #[arg(long, value_delimiter = ',')]
    networks: Vec<String>,
    /// Iterations; of a training the first is not timed, and of an inference one more goes before
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    iterations: u32,
    /// A file that the records are appended to; they are printed otherwise
    #[arg(long)]
    out: Option<PathBuf>,
    /// What computes: candle, or the PyTorch of a Python
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Where it computes: cpu, or with PyTorch a card, cuda:0 (docs/adr/0037 says why candle does not)
    #[arg(long, default_value = "cpu")]
    device: String,
    /// The Python that has PyTorch
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

/// What computes in the clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// candle, which is part of this program, on the CPU
    #[default]
    Candle,
    /// PyTorch, which a Python has to have
    Torch,
}

/// What a training takes besides.
#[derive(Debug, Args)]
pub struct TrainOptions {
    #[command(flatten)]
    common: Options,
    /// How often all examples are gone through, in place of a number of iterations
    #[arg(long, conflicts_with = "iterations")]
    epochs: Option<usize>,
    /// Examples from mnist, cifar10 (downloaded), digits (bundled) or random; else what fits the network and is there
    #[arg(long)]
    dataset: Option<Examples>,
    /// Learning rate
    #[arg(long, default_value_t = 0.01)]
    rate: f64,
    /// Momentum
    #[arg(long, default_value_t = 0.9)]
    momentum: f64,
    /// Seed of the first weights and of the order of the examples, as of a private training
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Measure the accuracy on the data set's test part after every epoch and at the end
    #[arg(long)]
    accuracy: bool,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum SpeedError {
    /// The experiment, images, weights or the file of records.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// A batch that is no number.
    #[error("`{0}` is not a network with a batch: write lenet:64, with a batch of at least 1")]
    Batch(String),
    /// candle's kernels of CUDA need nvcc when they are built, and link the driver that this program loads when it runs.
    #[error(
        "candle computes on the CPU only in this program, not on {0}: PyTorch does with --engine torch --device cuda:0 (docs/adr/0037 says why)"
    )]
    NoCard(String),
}

/// Trains networks one after another.
///
/// # Errors
/// [`SpeedError`], at the first network that cannot be measured.
pub fn train(options: &TrainOptions) -> Result<(), SpeedError> {
    check(&options.common)?;
    for (network, batch) in networks(&options.common.networks, &training::PAPER, |_| 32)? {
        let declaration = options.declaration(&network, batch)?;
        let observe = &mut |stage: TrainingStage<'_>| {
            if let TrainingStage::Iteration(iteration) = stage
                && let Some(accuracy) = &iteration.accuracy
            {
                eprintln!("{network}, epoch {}: accuracy {:.2} %", iteration.epoch + 1, 100.0 * accuracy.fraction());
            }
        };
        let place = options.common.place();
        let record: TrainingRecord = match options.common.engine {
            Engine::Candle => measure_plaintext(&declaration, Candle::training, observe),
            Engine::Torch => {
                let begin = |graph: &_, weights: &_, train: &_| Torch::training(&place, graph, weights, train);
                measure_plaintext(&declaration, begin, observe)
            }
        }?;
        write(&options.common, &record.to_line()?)?;
        options.common.say(&network, batch, record.seconds);
    }
    Ok(())
}

/// Evaluates networks one after another.
///
/// # Errors
/// [`SpeedError`], at the first network that cannot be measured.
pub fn infer(options: &Options) -> Result<(), SpeedError> {
    check(options)?;
    let of_paper = zoo::PAPER.map(|name| (name, 1));
    for (network, batch) in networks(&options.networks, &of_paper, |_| 1)? {
        let declaration = Inference { batch, iterations: options.iterations as usize, ..Inference::of(&network)? };
        let place = options.place();
        let record: Record = match options.engine {
            Engine::Candle => measure_inference_plaintext(&declaration, Candle::inference, &mut |_, _| {}),
            Engine::Torch => {
                let begin = |graph: &_, weights: &_| Torch::inference(&place, graph, weights);
                measure_inference_plaintext(&declaration, begin, &mut |_, _| {})
            }
        }?;
        write(options, &record.to_line()?)?;
        options.say(&network, batch, record.seconds);
    }
    Ok(())
}

fn check(options: &Options) -> Result<(), SpeedError> {
    if options.engine == Engine::Candle && options.device != "cpu" {
        return Err(SpeedError::NoCard(options.device.clone()));
    }
    Ok(options.out.iter().try_for_each(|path| experiment::check_writable(path))?)
}

fn write(options: &Options, line: &str) -> Result<(), SpeedError> {
    match &options.out {
        Some(path) => experiment::append_line(path, line)?,
        None => print!("{line}"),
    }
    Ok(())
}

impl Options {
    fn place(&self) -> Place {
        Place { python: self.python.clone(), device: self.device.clone() }
    }

    fn say(&self, network: &str, batch: usize, seconds: f64) {
        let speed = batch as f64 / seconds;
        eprintln!("{network}, {batch}, {}: {seconds:.4} s, {speed:.0} images a second", self.device);
    }
}

impl TrainOptions {
    fn declaration(&self, network: &str, batch: usize) -> Result<Training, SpeedError> {
        let usual = Training::of(network)?;
        let iterations = if self.epochs.is_some() { None } else { Some(self.common.iterations as usize) };
        let mut train = Train {
            batch,
            epochs: self.epochs.unwrap_or(usual.train.epochs),
            iterations,
            optimizer: Sgd::new(self.rate).momentum(self.momentum),
            seed: self.seed,
            ..usual.train
        };
        train.reveal.accuracy_every = self.accuracy.then_some(1);
        Ok(Training { data: self.dataset.clone().unwrap_or(usual.data), train, ..usual })
    }
}

/// The networks and batches that are asked for; all of `usual` where none are.
fn networks(
    names: &[String],
    usual: &[(&str, usize)],
    other: fn(&str) -> usize,
) -> Result<Vec<(String, usize)>, SpeedError> {
    if names.is_empty() {
        return Ok(usual.iter().map(|(name, batch)| ((*name).to_owned(), *batch)).collect());
    }
    let batch =
        |name: &str| usual.iter().find(|(usual, _)| *usual == name).map_or_else(|| other(name), |(_, batch)| *batch);
    let parsed = names.iter().map(|text| match text.split_once(':') {
        None => Ok((text.clone(), batch(text))),
        Some((name, batch)) => match batch.parse() {
            Ok(batch) if batch > 0 => Ok((name.to_owned(), batch)),
            _ => Err(SpeedError::Batch(text.clone())),
        },
    });
    parsed.collect()
}

/// A network in candle, in single precision on the CPU.
struct Candle {
    network: Network,
    train: Train,
    classes: usize,
}

impl Candle {
    fn training(graph: &Graph, weights: &Weights, train: &Train) -> Result<Self, ExperimentError> {
        let network = Network::new(graph, weights, DType::F32, &Device::Cpu).map_err(failed)?;
        Ok(Candle { network, train: train.clone(), classes: graph.output_shape().iter().product() })
    }

    fn inference(graph: &Graph, weights: &Weights) -> Result<Self, ExperimentError> {
        Candle::training(graph, weights, &Train::default())
    }

    /// Results of images, `[count, …]`, as rows of (count, classes).
    fn rows(&self, images: Vec<f32>, count: usize) -> candle_core::Result<Vec<Vec<f32>>> {
        self.network.results(&columns(images, count)?, false)?.t()?.contiguous()?.to_vec2::<f32>()
    }

    fn stepped(&mut self, images: &Array4<f32>, labels: &[usize], rate: f64) -> candle_core::Result<f64> {
        let mut one_hot = vec![0f32; self.classes * labels.len()];
        for (column, &label) in labels.iter().enumerate() {
            if let Some(slot) = one_hot.get_mut(label * labels.len() + column) {
                *slot = 1.0;
            }
        }
        let targets = Tensor::from_vec(one_hot, (self.classes, labels.len()), &Device::Cpu)?;
        let images = columns(images.iter().copied().collect(), labels.len())?;
        Ok(f64::from(self.network.step(&images, &targets, &self.train, rate)?))
    }
}

/// Images as the networks take them, (channels · height · width, count).
fn columns(images: Vec<f32>, count: usize) -> candle_core::Result<Tensor> {
    let pixels = images.len() / count.max(1);
    Tensor::from_vec(images, (count, pixels), &Device::Cpu)?.t()?.contiguous()
}

fn failed(error: candle_core::Error) -> ExperimentError {
    ExperimentError::Engine(format!("candle: {error}"))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl PlaintextBackend for Candle {
    fn name(&self) -> String {
        "candle 0.11, f32".to_owned()
    }

    fn threads(&self) -> usize {
        cores()
    }
}

impl PlaintextEngine for Candle {
    fn step(&mut self, images: &Array4<f32>, labels: &[usize], rate: f64) -> Result<f64, ExperimentError> {
        let mean = self.stepped(images, labels, rate).map_err(failed)?;
        Ok(mean * labels.len() as f64)
    }

    fn right(&mut self, images: &Array4<f32>, labels: &[usize]) -> Result<usize, ExperimentError> {
        let rows = self.rows(images.iter().copied().collect(), labels.len()).map_err(failed)?;
        let is_right = |(scores, label): &(Vec<f32>, &usize)| {
            scores.get(**label).is_some_and(|own| scores.iter().all(|score| score <= own))
        };
        Ok(rows.into_iter().zip(labels).filter(is_right).count())
    }
}

impl PlaintextNetwork for Candle {
    fn scores(&mut self, images: &ArrayD<f64>) -> Result<ArrayD<f64>, ExperimentError> {
        let count = images.shape().first().copied().unwrap_or(0);
        let rows = self.rows(images.iter().map(|&pixel| pixel as f32).collect(), count).map_err(failed)?;
        let values: Vec<f64> = rows.into_iter().flatten().map(f64::from).collect();
        let shape = IxDyn(&[count, values.len() / count.max(1)]);
        ArrayD::from_shape_vec(shape, values).map_err(|error| ExperimentError::Engine(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use cryptgpu_core::experiment::training::InF64;
    use cryptgpu_core::nn::plaintext::Rounding;
    use cryptgpu_datasets::ImageSet;

    #[test]
    fn networks_come_with_their_batches() {
        let networks = |text: &str| {
            let names: Vec<String> = text.split(',').map(str::to_owned).collect();
            super::networks(&names, &training::PAPER, |_| 32)
        };
        assert_eq!(networks("lenet,lenet:64").unwrap(), [("lenet".to_owned(), 128), ("lenet".to_owned(), 64)]);
        assert!(networks("lenet:0").unwrap_err().to_string().contains("lenet:64"));
        assert_eq!(super::networks(&[], &training::PAPER, |_| 32).unwrap().len(), 5);
        for (name, _) in training::PAPER {
            zoo::by_name(name).unwrap();
        }
    }

    #[derive(Debug, clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Arguments::parse_from([&["test"], arguments].concat()).options
    }

    #[test]
    fn candle_refuses_a_card_with_what_computes_on_one() {
        assert!(check(&options(&[])).is_ok());
        let refused = check(&options(&["--device", "cuda:0"])).unwrap_err().to_string();
        assert!(refused.contains("--engine torch --device cuda:0"), "{refused}");
        assert!(check(&options(&["--device", "cuda:0", "--engine", "torch"])).is_ok());
    }

    /// candle and the core's own engine get the same examples, weights and order, so their losses and accuracies are equal.
    #[test]
    fn both_engines_train_alike() {
        let mut declaration = Training::of("lenet").unwrap();
        declaration.data = Examples::Set(ImageSet::DigitsTrain);
        (declaration.train.batch, declaration.train.iterations) = (10, Some(3));
        declaration.train.reveal.accuracy_every = Some(1);
        let candle = measure_plaintext(&declaration, Candle::training, &mut |_| {}).unwrap();
        let begin =
            |graph: &Graph, weights: &Weights, train: &Train| InF64::new(graph, weights, train, Rounding::Exact);
        let f64s = measure_plaintext(&declaration, begin, &mut |_| {}).unwrap();
        assert_eq!((candle.losses.len(), candle.tested_on.as_str()), (3, "digits-test"));
        assert!(candle.losses.iter().zip(&f64s.losses).all(|(a, b)| (a.1 - b.1).abs() < 1e-4));
        assert!((candle.accuracy.unwrap() - f64s.accuracy.unwrap()).abs() < 0.02);
    }
}
