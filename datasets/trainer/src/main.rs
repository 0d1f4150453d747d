//! Trains the paper's LeNet on real MNIST, in plaintext, and writes the weights that the project
//! ships, with a record of how they were made.
//!
//! `scripts/fetch-datasets mnist && cargo run --release -p cryptgpu-trainer` makes
//! `datasets/weights/lenet-mnist.safetensors` and `.json` again. `cryptgpu-trainer train-plaintext` and
//! `inference-plaintext` measure how fast candle or PyTorch trains and evaluates the networks of the private experiments, PyTorch
//! on cards too.

mod batches;
mod model;
mod network;
mod speed;
mod torch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use candle_core::{Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use clap::{Args, Parser, Subcommand};
use cryptgpu_datasets::{Collection, DatasetError, LabelledImages, Split, downloads_dir, manifest};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use model::LeNet;

/// Trains LeNet on MNIST and writes its weights, with a record of how they were made.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Program {
    #[command(subcommand)]
    speed: Option<Speed>,
    #[command(flatten)]
    settings: Settings,
}

/// What else can be done.
#[derive(Debug, Subcommand)]
enum Speed {
    /// Measures how fast candle or PyTorch trains networks, in plaintext
    TrainPlaintext(speed::TrainOptions),
    /// Measures how fast candle or PyTorch evaluates networks, in plaintext
    InferencePlaintext(speed::Options),
}

/// How LeNet is trained.
#[derive(Debug, Args)]
#[command(after_help = "Needs MNIST: run scripts/fetch-datasets mnist first. It takes about ten minutes of CPU time.")]
struct Settings {
    /// Passes over the 60,000 training images
    #[arg(long, default_value_t = 6)]
    epochs: usize,
    /// Images per step
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Learning rate at the start; it falls to zero along a cosine
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// AdamW's decoupled weight decay
    #[arg(long, default_value_t = 0.02)]
    weight_decay: f64,
    /// Seed of the initial weights, the order and the augmentation
    #[arg(long, default_value_t = 2021)]
    seed: u64,
    /// Least test accuracy, in percent, with which weights are written
    #[arg(long, default_value_t = 98.8)]
    require: f64,
    /// The file to write; the record goes beside it, with .json for its ending
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../weights/lenet-mnist.safetensors"))]
    out: PathBuf,
}

/// What can go wrong, each with what to do.
#[derive(Debug, thiserror::Error)]
enum TrainError {
    #[error(transparent)]
    Data(#[from] DatasetError),
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
    #[error("the loss became {0} in epoch {1}: try a smaller --learning-rate")]
    Diverged(f32, usize),
    #[error(
        "test accuracy is {0:.2} %, and {1:.2} % is required: nothing was written; try more --epochs or another --seed"
    )]
    TooLow(f64, f64),
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot serialise: {0}")]
    Serialise(String),
    #[error(transparent)]
    Speed(#[from] Box<speed::SpeedError>),
}

/// How weights were made: the committed JSON beside them.
#[derive(Serialize)]
struct Record {
    network: &'static str,
    parameters: usize,
    made_by: String,
    made_at_unix_seconds: u64,
    command: String,
    seed: u64,
    epochs: usize,
    batch: u32,
    optimiser: String,
    augmentation: String,
    normalisation: BTreeMap<&'static str, Vec<f32>>,
    final_train_loss: f32,
    train_accuracy_percent: f64,
    test_accuracy_percent: f64,
    test_correct: usize,
    test_images: usize,
    training_seconds: f64,
    data_sha256: BTreeMap<String, String>,
    weights_sha256: String,
}

fn main() -> std::process::ExitCode {
    let program = Program::parse();
    let failed = |error| TrainError::from(Box::new(error));
    let done = match &program.speed {
        Some(Speed::TrainPlaintext(options)) => speed::train(options).map_err(failed),
        Some(Speed::InferencePlaintext(options)) => speed::infer(options).map_err(failed),
        None => run(&program.settings),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cryptgpu-trainer: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Result<(), TrainError> {
    let mut data_sha256 = BTreeMap::new();
    for entry in manifest::entries()?.into_iter().filter(|entry| entry.dataset == "mnist") {
        entry.verify(&downloads_dir())?;
        data_sha256.insert(entry.member, entry.sha256);
    }
    let (train, test) = (Collection::Mnist.load(Split::Train)?, Collection::Mnist.load(Split::Test)?);
    let net = LeNet::seeded(settings.seed)?;
    let start = Instant::now();
    let final_train_loss = fit(&net, &train, &test, settings)?;
    let training_seconds = start.elapsed().as_secs_f64();

    let (train_correct, test_correct) = (correct(&net, &train)?, correct(&net, &test)?);
    let percent = |right: usize, all: usize| 100.0 * right as f64 / all as f64;
    let test_accuracy_percent = percent(test_correct, test.len());
    if test_accuracy_percent < settings.require {
        return Err(TrainError::TooLow(test_accuracy_percent, settings.require));
    }
    let weights = serialise(&net)?;
    let normalisation =
        BTreeMap::from([("mean", train.normalisation.mean.clone()), ("std", train.normalisation.std.clone())]);
    let record = Record {
        network: "LeNet 1x28x28: C(20,k5)-R-AP2/2-C(50,k5)-R-AP2/2-FC 800->500-R-FC 500->10",
        parameters: net.parameters().iter().map(|(_, var)| var.elem_count()).sum(),
        made_by: format!("cryptgpu-trainer {} (candle 0.11, CPU, f32)", env!("CARGO_PKG_VERSION")),
        made_at_unix_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        command: format!(
            "cargo run --release -p cryptgpu-trainer -- --epochs {} --batch {} --learning-rate {} --weight-decay {} --seed {}",
            settings.epochs, settings.batch, settings.learning_rate, settings.weight_decay, settings.seed
        ),
        seed: settings.seed,
        epochs: settings.epochs,
        batch: settings.batch,
        optimiser: format!(
            "AdamW, beta 0.9 and 0.999, decoupled weight decay {}, learning rate {} falling to 0 along a cosine",
            settings.weight_decay, settings.learning_rate
        ),
        augmentation: format!("each image moved by up to {} pixels in both directions", batches::SHIFT),
        normalisation,
        final_train_loss,
        train_accuracy_percent: percent(train_correct, train.len()),
        test_accuracy_percent,
        test_correct,
        test_images: test.len(),
        training_seconds,
        data_sha256,
        weights_sha256: cryptgpu_datasets::manifest::sha256(&weights),
    };
    let text = serde_json::to_string_pretty(&record).map_err(|error| TrainError::Serialise(error.to_string()))?;
    write(&settings.out, &weights)?;
    write(&settings.out.with_extension("json"), format!("{text}\n").as_bytes())?;
    println!("{test_accuracy_percent:.2} % of the test images; written to {}", settings.out.display());
    Ok(())
}

/// Trains, printing a line per epoch, and gives the mean loss of the last epoch.
fn fit(net: &LeNet, train: &LabelledImages, test: &LabelledImages, settings: &Settings) -> Result<f32, TrainError> {
    let normalised = train.batch(0..train.len())?;
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed ^ 0x5eed);
    let vars = net.parameters().iter().map(|(_, var)| var.clone()).collect();
    let parameters =
        ParamsAdamW { lr: settings.learning_rate, weight_decay: settings.weight_decay, ..Default::default() };
    let mut optimiser = AdamW::new(vars, parameters)?;
    let steps = settings.epochs * train.len().div_ceil(settings.batch as usize);
    let (mut step, mut mean) = (0usize, f32::NAN);
    for epoch in 1..=settings.epochs {
        let start = Instant::now();
        let mut sum = 0.0;
        let order = batches::order(train.len(), &mut random);
        for indices in order.chunks(settings.batch as usize) {
            let progress = step as f64 / steps as f64;
            optimiser.set_learning_rate(settings.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()));
            let (images, one_hot) = batches::augmented(&normalised, train, indices, &mut random)?;
            let loss = net.loss(&images, &one_hot)?;
            optimiser.backward_step(&loss)?;
            sum += loss.to_scalar::<f32>()? * indices.len() as f32;
            step += 1;
        }
        mean = sum / train.len() as f32;
        if !mean.is_finite() {
            return Err(TrainError::Diverged(mean, epoch));
        }
        let accuracy = 100.0 * correct(net, test)? as f64 / test.len() as f64;
        println!("epoch {epoch:2}: loss {mean:.4}, test {accuracy:.2} %, {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(mean)
}

/// How many images of a set are classified right.
fn correct(net: &LeNet, images: &LabelledImages) -> Result<usize, TrainError> {
    let mut right = 0;
    for start in (0..images.len()).step_by(500) {
        let range = start..(start + 500).min(images.len());
        let batch = images.batch(range.clone())?;
        let shape = batch.dim();
        let batch = Tensor::from_vec(batch.into_raw_vec_and_offset().0, shape, &Device::Cpu)?;
        right += net.correct(&batch, images.labels_of(range)?)?;
    }
    Ok(right)
}

/// The weights as a safetensors file.
fn serialise(net: &LeNet) -> Result<Vec<u8>, TrainError> {
    let tensors: Vec<(&str, &Tensor)> = net.parameters().iter().map(|(name, var)| (*name, var.as_tensor())).collect();
    safetensors::serialize(tensors, None).map_err(|error| TrainError::Serialise(error.to_string()))
}

/// Writes a file whole: under a name that nobody has first, then renamed.
fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    std::fs::File::create_new(&partial)
        .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|source| TrainError::Write { path: path.to_path_buf(), source })
}
