//! `cryptgpu infer`: private inference of one's own network on one's own arrays: what it will cost and whether its values
//! fit, the scores in a file, and how far they are from plaintext.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cryptgpu_core::cluster::{Cluster, Model as SharedModel, Network};
use cryptgpu_core::experiment::{available_memory_bytes, check_writable, lowering, settings};
use cryptgpu_core::mpc::{Fidelity, Settings};
use cryptgpu_core::nn::range::{Conditions, InputRange, headroom, judge};
use cryptgpu_core::nn::{Weights, fold, lower, plaintext, predictions, window};
use cryptgpu_datasets::npy;
use ndarray::{ArrayD, Axis, Slice};

use super::arguments::Computation;
use super::input::{Input, InputArguments, Labels};
use super::model::Model;
use super::progress::Progress;
use super::show::Whole;
use super::{Result, arguments, format};

/// Arguments of `cryptgpu infer`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
This program reads the network, the images and the result; of the parties, party 1 reads the file with the weights, and none
sees the images, the other's shares, or the result. Arrays have the shape that the ONNX file says, the batch first.

Examples:
  cryptgpu infer --model net.onnx --input x.npy --output y.npy
  cryptgpu infer --model net.onnx --input x.npy --output y.npy --link wan --batch 1
  cryptgpu infer --model net.onnx --input photos --preprocess imagenet --labels classes.txt --output y.npy
  cryptgpu infer --model resnet50-maxpool --weights resnet50.safetensors --input x.npy --output y.npy
  cryptgpu infer --model net.onnx --input x.npy --output y.npy --parties ann@h0,bob@h1,eve@h2")]
pub struct Arguments {
    /// An ONNX file, or the name of a network (`cryptgpu networks` lists them)
    #[arg(long)]
    model: String,
    #[command(flatten)]
    sizes: arguments::Sizes,
    /// The weights of a network that is named: a safetensors file, a PyTorch state dict (.pt, .pth), or bundled (of lenet and
    /// resnet8-cifar10)
    #[arg(long)]
    weights: Option<String>,
    #[command(flatten)]
    input: InputArguments,
    /// Where the scores go: a NumPy array of float64
    #[arg(long)]
    output: PathBuf,
    /// Images at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    batch: u32,
    /// Images, from the first on, that are also evaluated in plaintext; else all, or one for networks of 10⁹ MACs and more
    #[arg(long)]
    compare: Option<usize>,
    #[command(flatten)]
    parties: arguments::Parties,
    #[command(flatten)]
    computation: arguments::Computation,
}

/// What is computed, checked before anything starts.
struct Prepared {
    model: Model,
    weights: Weights,
    network: Network,
    source: cryptgpu_core::nn::WeightSource,
    settings: Settings,
    input: Input,
    labels: Labels,
    batch: usize,
    compare: usize,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.parties.attend()? {
        return Ok(ExitCode::SUCCESS);
    }
    let prepared = arguments.prepare()?;
    prepared.say_first()?;
    check_writable(&arguments.output)?;
    let (scores, taken) = prepared.infer(arguments)?;
    let scores_as_in_the_file = match &prepared.model.onnx {
        Some(onnx) => onnx.finish(&scores)?,
        None => scores.clone(),
    };
    npy::write(&arguments.output, &scores_as_in_the_file)?;
    let mut out = std::io::stdout().lock();
    write!(out, "{}", prepared.input.likeliest(&scores_as_in_the_file, &prepared.labels))?;
    writeln!(out, "{taken}")?;
    if prepared.compare > 0 {
        writeln!(out, "{}", prepared.compare_with_plaintext(&scores)?)?;
    }
    writeln!(out, "Scores of shape {:?} are in {}.", scores_as_in_the_file.shape(), arguments.output.display())?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn prepare(&self) -> Result<Prepared> {
        let model = Model::open(&self.model, &self.sizes)?;
        let (source, weights) = model.weights(&self.model, self.weights.as_deref())?;
        let labels = self.input.labels()?;
        let input = self.input.read(&model, &labels)?;
        let images = &input.images;
        let Computation { fidelity, numbers, .. } = &self.computation;
        let fidelity = Fidelity::from(*fidelity);
        let window = self.computation.window.unwrap_or_default();
        let check_range = self.computation.check_range().unwrap_or_default();
        let settings = settings(numbers.ring(), numbers.fraction_bits(), fidelity, window, check_range)?;
        let (low, high) =
            images.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| (low.min(value), high.max(value)));
        // A range needs two ends: where all elements are equal, a unit more.
        let range = InputRange::new(low, if high > low { high } else { low + 1.0 })?;
        let network = Network::from(&model.graph).input_range(range).lowering(lowering(fidelity));
        let count = images.len_of(Axis(0));
        let large = cryptgpu_core::nn::count::count(&model.graph).macs >= 1_000_000_000;
        let compare = self.compare.unwrap_or(if large { 1 } else { count }).min(count);
        let batch = (self.batch as usize).min(count);
        self.judge(&model, &weights, images, Conditions { input: range, options: lowering(fidelity), settings })?;
        Ok(Prepared { model, weights, network, source, settings, input, labels, batch, compare })
    }

    /// Says how much room values have, and refuses images with which one leaves the ring.
    fn judge(&self, model: &Model, weights: &Weights, images: &ArrayD<f64>, conditions: Conditions) -> Result<()> {
        let tried =
            images.slice_axis(Axis(0), Slice::from(..self.compare.unwrap_or(1).clamp(1, images.len_of(Axis(0)))));
        let room = headroom(&model.graph, weights, Some(tried), &conditions)?;
        let warning = judge(&room, &conditions)?;
        let least =
            room.iter().min_by(|a, b| a.bits_seen().unwrap_or(f64::MAX).total_cmp(&b.bits_seen().unwrap_or(f64::MAX)));
        if let Some(least) = least {
            let (seen, bound) = (least.bits_seen().unwrap_or_default(), least.bits_by_bound());
            eprintln!(
                "Room in the ring: {seen:.1} bits at the least on the first images, at `{}`, where all inputs of this range \
                 leave {bound:.1}.",
                least.node
            );
        }
        if let Some(warning) = warning {
            eprintln!("cryptgpu: {}: {warning}", self.model);
        }
        Ok(())
    }
}

impl Prepared {
    fn say_first(&self) -> Result<()> {
        let folded = fold::fold_graph(&self.model.graph)?;
        let plan = lower::lower(&folded, lowering(self.settings.fidelity))?;
        window::check_plan(&plan, &self.settings)?;
        let whole = Whole::of(&self.model, &folded, &plan, self.batch, &self.settings);
        eprintln!("{}", self.model.describe());
        eprintln!("{}", whole.text());
        let count = self.input.images.len_of(Axis(0));
        if count > self.batch {
            eprintln!("{count} images are evaluated {} at a time, {} times.", self.batch, count.div_ceil(self.batch));
        }
        let free = available_memory_bytes();
        if free < whole.memory_bytes_per_party {
            eprintln!("cryptgpu: this machine has less memory free than one party needs: use a smaller --batch");
        }
        Ok(())
    }

    /// The scores, and what they took.
    fn infer(&self, arguments: &Arguments) -> Result<(ArrayD<f64>, String)> {
        let Computation { link, device, randomness, .. } = &arguments.computation;
        let builder = arguments.parties.builder()?.link(*link).device(*device).randomness(*randomness);
        let cluster = builder.computing(self.settings).start()?;
        let mut progress = Progress::new(self.model.graph.name(), false);
        progress.update(0, 1, "sharing the weights");
        let model = cluster.load_model(self.network.clone(), self.source.clone())?;
        let result = self.infer_all(&cluster, &model, &mut progress);
        let (scores, time, bytes, rounds) = result?;
        let count = self.input.images.len_of(Axis(0));
        progress.finish(&format!("{count} images"));
        let taken = format!(
            "{count} images in {}: {} sent by all parties, {rounds} rounds.",
            format::seconds(time.as_secs_f64()),
            format::bytes(bytes as f64)
        );
        Ok((scores, taken))
    }

    fn infer_all(
        &self,
        cluster: &Cluster,
        model: &SharedModel,
        progress: &mut Progress,
    ) -> Result<(ArrayD<f64>, Duration, u64, u64)> {
        let count = self.input.images.len_of(Axis(0));
        let (mut parts, mut time, mut bytes, mut rounds) = (Vec::new(), Duration::ZERO, 0, 0);
        for first in (0..count).step_by(self.batch) {
            progress.update(first, count, &format!("private inference, {first} of {count}"));
            let last = (first + self.batch).min(count);
            let result = cluster.infer(model, &self.input.images.slice_axis(Axis(0), Slice::from(first..last)))?;
            time += result.duration;
            bytes += result.bytes();
            rounds += result.rounds();
            parts.push(result.scores);
        }
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        Ok((ndarray::concatenate(Axis(0), &views)?, time, bytes, rounds))
    }

    fn compare_with_plaintext(&self, scores: &ArrayD<f64>) -> Result<String> {
        let images = self.input.images.slice_axis(Axis(0), Slice::from(..self.compare));
        let expected = plaintext::evaluate(&self.model.graph, &self.weights, &images)?;
        let private = scores.slice_axis(Axis(0), Slice::from(..self.compare)).to_owned();
        let error = private.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        let same = predictions(&private).into_iter().zip(predictions(&expected)).filter(|(a, b)| a == b).count();
        Ok(format!(
            "At most {error:.1e} away from plaintext, whose scores go up to {}, on {} images; the same prediction on {same}.",
            format::digits(largest),
            self.compare
        ))
    }
}
