//! How fast candle trains and evaluates the networks of the private experiments in plaintext, on batches and data like
//! theirs: a record for each network.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Args;
use cryptgpu_core::experiment::training::{self, Training};
use cryptgpu_core::experiment::{self, ExperimentError, ImageSource, Images, Inference, Machine};
use cryptgpu_core::nn::training::{Batches, Initial, Sgd, Train, initial};
use cryptgpu_core::nn::{Graph, NnError, zoo};
use cryptgpu_core::prg::philox::Generator;
use cryptgpu_datasets::{DatasetError, ImageReader};
use ndarray::{Array4, Axis, Ix4, concatenate};
use serde::Serialize;

use crate::network::Network;

/// What the two subcommands take.
#[derive(Debug, Args)]
pub struct Options {
    /// Networks, by name, each with its batch if it is not the usual one: lenet or lenet:64; all of the paper by default
    #[arg(long, value_delimiter = ',')]
    networks: Vec<String>,
    /// Timed iterations; one more goes before
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    iterations: u32,
    /// Learning rate of a training
    #[arg(long, default_value_t = 0.01)]
    rate: f64,
    /// Momentum of a training
    #[arg(long, default_value_t = 0.9)]
    momentum: f64,
    /// Seed of initial weights, of the order of the examples, and of labels where images have none
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// A file that the records are appended to; they are printed otherwise
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole iterations of stochastic gradient descent.
    Train,
    /// Evaluations.
    Inference,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum SpeedError {
    /// The network or its batches.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// Images, weights or the file of records.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// A data set.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// candle.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
    /// A batch that is no number.
    #[error("`{0}` is not a network with a batch: write lenet:64, with a batch of at least 1")]
    Batch(String),
    /// An array of another shape.
    #[error("images of network {0} do not have its shape")]
    Images(String),
    /// The record.
    #[error("cannot serialise: {0}")]
    Serialise(#[from] serde_json::Error),
}

/// One measurement, a line of JSON.
#[derive(Debug, Serialize)]
struct Record {
    /// `train_plaintext` or `inference_plaintext`.
    experiment: &'static str,
    network: String,
    dataset: String,
    batch: usize,
    device: &'static str,
    engine: String,
    iterations: usize,
    /// Median seconds of an iteration, with its batch in memory.
    seconds: f64,
    images_per_second: f64,
    /// Mean loss of each timed batch, before its step; empty for inference.
    losses: Vec<f32>,
    settings: BTreeMap<&'static str, f64>,
    peak_rss_bytes: u64,
    machine: Machine,
    commit: &'static str,
    time: String,
}

/// Measures networks one after another.
///
/// # Errors
/// [`SpeedError`], at the first network that cannot be measured.
pub fn run(kind: Kind, options: &Options) -> Result<(), SpeedError> {
    if let Some(path) = &options.out {
        experiment::check_writable(path)?;
    }
    for (network, batch) in networks(kind, &options.networks)? {
        let record = measure(kind, &network, batch, options)?;
        let line = serde_json::to_string(&record)? + "\n";
        match &options.out {
            Some(path) => experiment::append_line(path, &line)?,
            None => print!("{line}"),
        }
        eprintln!("{network}, {batch}: {:.4} s, {:.0} images a second", record.seconds, record.images_per_second);
    }
    Ok(())
}

/// The networks and batches that are asked for.
fn networks(kind: Kind, names: &[String]) -> Result<Vec<(String, usize)>, SpeedError> {
    let usual = |name: &str| match kind {
        Kind::Train => training::PAPER.iter().find(|(network, _)| *network == name).map_or(32, |(_, batch)| *batch),
        Kind::Inference => 1,
    };
    if names.is_empty() {
        let all: Vec<&str> = match kind {
            Kind::Train => training::PAPER.iter().map(|(name, _)| *name).collect(),
            Kind::Inference => zoo::PAPER.to_vec(),
        };
        return Ok(all.into_iter().map(|name| (name.to_owned(), usual(name))).collect());
    }
    let parsed = names.iter().map(|text| match text.split_once(':') {
        None => Ok((text.clone(), usual(text))),
        Some((name, batch)) => match batch.parse() {
            Ok(batch) if batch > 0 => Ok((name.to_owned(), batch)),
            _ => Err(SpeedError::Batch(text.clone())),
        },
    });
    parsed.collect()
}

fn measure(kind: Kind, name: &str, batch: usize, options: &Options) -> Result<Record, SpeedError> {
    let declared = Inference { batch, ..Inference::of(name)? };
    let graph = declared.graph()?;
    let device = Device::Cpu;
    let weights = match kind {
        Kind::Train => initial(&graph, options.seed, Initial::Kaiming),
        Kind::Inference => declared.load_weights(&graph)?,
    };
    let mut network = Network::new(&graph, &weights, DType::F32, &device)?;
    let iterations = options.iterations as usize;
    let optimizer = Sgd::new(options.rate).momentum(options.momentum);
    let (most, epochs) = (Some(iterations + 1), iterations + 1);
    let train =
        Train { batch, epochs, iterations: most, optimizer: optimizer.into(), seed: options.seed, ..Train::default() };
    let examples = Examples::open(kind, &declared, &graph, batch * (iterations + 1))?;
    let (mut seconds, mut losses) = (vec![], vec![]);
    for (index, taken) in Batches::new(examples.len(), &train)?.from(0).enumerate() {
        let rate = train.rate(taken.epoch);
        let (images, targets) = examples.columns(&taken.rows, &graph, options.seed, &device)?;
        let start = Instant::now();
        let loss = match kind {
            Kind::Train => Some(network.step(&images, &targets, &train, rate)?),
            Kind::Inference => {
                network.results(&images, false)?.flatten_all()?.to_vec1::<f32>()?;
                None
            }
        };
        if index > 0 && taken.rows.len() == batch {
            seconds.push(start.elapsed().as_secs_f64());
            losses.extend(loss);
        }
    }
    let timed = seconds.len();
    let middle = median(&mut seconds);
    let training =
        BTreeMap::from([("rate", options.rate), ("momentum", options.momentum), ("seed", options.seed as f64)]);
    Ok(Record {
        experiment: if kind == Kind::Train { "train_plaintext" } else { "inference_plaintext" },
        network: name.to_owned(),
        dataset: examples.name(),
        batch,
        device: "cpu",
        engine: "candle 0.11, f32".to_owned(),
        iterations: timed,
        seconds: middle,
        images_per_second: batch as f64 / middle,
        losses,
        settings: if kind == Kind::Train { training } else { BTreeMap::new() },
        peak_rss_bytes: experiment::peak_rss_bytes(),
        machine: experiment::machine().clone(),
        commit: experiment::commit(),
        time: experiment::now(),
    })
}

/// The middle one of the times, NaN if there are none.
fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What is trained on or evaluated.
enum Examples {
    /// A data set and its name.
    Set(ImageReader, String),
    /// Random images, as many as this.
    Random(ImageSource, usize),
}

impl Examples {
    /// What the private experiment of the same network takes.
    fn open(kind: Kind, declared: &Inference, graph: &Graph, needed: usize) -> Result<Self, SpeedError> {
        let set = match (kind, &declared.images) {
            (Kind::Train, _) => match Training::of(&declared.network)?.data {
                training::Examples::Set(set) => Some(set),
                training::Examples::Random => None,
            },
            (Kind::Inference, Images::Set(set)) => Some(set.clone()),
            (Kind::Inference, Images::Random(_)) => None,
        };
        if let Some(set) = set {
            return Ok(Examples::Set(set.open()?, set.to_string()));
        }
        let random = Inference { images: Images::Random(1), ..declared.clone() };
        Ok(Examples::Random(random.open_images(graph)?, needed))
    }

    fn len(&self) -> usize {
        match self {
            Examples::Set(images, _) => images.len(),
            Examples::Random(_, count) => *count,
        }
    }

    fn name(&self) -> String {
        match self {
            Examples::Set(_, name) => name.clone(),
            Examples::Random(..) => "random".to_owned(),
        }
    }

    /// A batch as the networks take it: images (channels · height · width, count) and one-hot labels (classes, count).
    fn columns(
        &self,
        rows: &[usize],
        graph: &Graph,
        seed: u64,
        device: &Device,
    ) -> Result<(Tensor, Tensor), SpeedError> {
        let classes: usize = graph.output_shape().iter().product();
        let wrong = || SpeedError::Images(graph.name().to_owned());
        let mut parts: Vec<Array4<f32>> = vec![];
        let mut labels = vec![];
        for &row in rows {
            match self {
                Examples::Set(images, _) => {
                    parts.push(images.batch(row..row + 1)?);
                    let label = images.labels(row..row + 1)?.and_then(|labels| labels.first());
                    labels.push(label.map_or(0, |&label| usize::from(label)));
                }
                Examples::Random(source, _) => {
                    let image = source.batch(row, 1)?.mapv(|pixel| pixel as f32);
                    parts.push(image.into_dimensionality::<Ix4>().map_err(|_| wrong())?);
                    labels.push(Generator::seeded(seed ^ row as u64).integer(0..classes).unwrap_or(0));
                }
            }
        }
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let images = concatenate(Axis(0), &views).map_err(|_| wrong())?;
        let pixels = images.len() / rows.len();
        let images = Tensor::from_vec(images.into_raw_vec_and_offset().0, (rows.len(), pixels), device)?;
        let mut one_hot = vec![0f32; classes * rows.len()];
        for (column, &label) in labels.iter().enumerate() {
            if let Some(slot) = one_hot.get_mut(label * rows.len() + column) {
                *slot = 1.0;
            }
        }
        Ok((images.t()?.contiguous()?, Tensor::from_vec(one_hot, (classes, rows.len()), device)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_come_with_their_batches() {
        let names = |text: &str| networks(Kind::Train, &text.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(names("lenet,lenet:64").unwrap(), [("lenet".to_owned(), 128), ("lenet".to_owned(), 64)]);
        assert!(names("lenet:0").unwrap_err().to_string().contains("lenet:64"));
        assert_eq!(networks(Kind::Inference, &[]).unwrap().len(), 10);
        assert_eq!(networks(Kind::Train, &[]).unwrap().len(), 5);
        for (name, _) in training::PAPER {
            zoo::by_name(name).unwrap();
        }
    }
}
