//! `cryptgpu infer`: private inference of one's own network on one's own arrays: what it will cost and whether its values
//! fit, the scores in a file, and how far they are from plaintext.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cryptgpu_core::cluster::{InferenceResult, Network, Usage};
use cryptgpu_core::device::DeviceInUse;
use cryptgpu_core::experiment::{
    Record, append, available_memory_bytes, check_writable, commit, lowering, machine, now, settings,
};
use cryptgpu_core::mpc::{Fidelity, Settings};
use cryptgpu_core::nn::range::{Conditions, InputRange, headroom, judge};
use cryptgpu_core::nn::{WeightSource, Weights, fold, lower, plaintext, predictions, window};
use cryptgpu_datasets::npy;
use ndarray::{ArrayD, Axis, Slice};
use sha2::{Digest, Sha256};

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
    /// Which output of an ONNX file that has several: its name. Else the only one that holds numbers
    #[arg(long, value_name = "NAME")]
    output_name: Option<String>,
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
    /// Add a record of the run to this file (JSON Lines), as those of `cryptgpu run inference`
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What is computed, checked before anything starts.
struct Prepared {
    model: Model,
    weights: Weights,
    network: Network,
    source: WeightSource,
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
    npy::check_writable(&arguments.output)?;
    arguments.out.iter().try_for_each(|path| check_writable(path))?;
    let done = prepared.infer(arguments)?;
    let scores = done.scores()?;
    let scores_as_in_the_file = match &prepared.model.onnx {
        Some(onnx) => onnx.finish(&scores)?,
        None => scores.clone(),
    };
    npy::write(&arguments.output, &scores_as_in_the_file)?;
    let mut out = std::io::stdout().lock();
    write!(out, "{}", prepared.input.likeliest(&scores_as_in_the_file, &prepared.labels))?;
    writeln!(out, "{}", done.taken())?;
    let compared = prepared.compare_with_plaintext(&scores)?;
    if let Some(compared) = &compared {
        writeln!(out, "{}", compared.text())?;
    }
    if let Some(path) = &arguments.out {
        append(path, &prepared.record(arguments, &done, compared.as_ref())?)?;
    }
    writeln!(out, "Scores of shape {:?} are in {}.", scores_as_in_the_file.shape(), arguments.output.display())?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn prepare(&self) -> Result<Prepared> {
        let mut model = Model::open(&self.model, self.output_name.as_deref(), &self.sizes)?;
        let (source, weights) = model.weights(&self.model, self.weights.as_deref())?;
        let labels = self.input.labels()?;
        let input = self.input.read(&model, &labels)?;
        let images = &input.images;
        let Computation { fidelity, numbers, .. } = &self.computation;
        let fidelity = Fidelity::from(*fidelity);
        let window = self.computation.window()?;
        let check_range = self.computation.check_range_in_inference();
        let settings = settings(numbers.ring(), numbers.fraction_bits(), fidelity, window, check_range)?;
        let (low, high) =
            images.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| (low.min(value), high.max(value)));
        // A range needs two ends: where all elements are equal, a unit more.
        let range = InputRange::new(low, if high > low { high } else { low + 1.0 })?;
        let count = images.len_of(Axis(0));
        let large = cryptgpu_core::nn::count::count(&model.graph).macs >= 1_000_000_000;
        let compare = self.compare.unwrap_or(if large { 1 } else { count }).min(count);
        let batch = (self.batch as usize).min(count);
        let conditions = Conditions { input: range, options: lowering(fidelity), settings };
        let warning = self.judge(&model, &weights, images, conditions)?;
        model.told.extend(warning);
        let network = Network::from(&model.graph).input_range(range).lowering(lowering(fidelity));
        let network = network.knowing(model.told.iter().cloned());
        Ok(Prepared { model, weights, network, source, settings, input, labels, batch, compare })
    }

    /// Says how much room values have, and refuses images with which one leaves the ring; the warning, if one was said.
    fn judge(
        &self,
        model: &Model,
        weights: &Weights,
        images: &ArrayD<f64>,
        conditions: Conditions,
    ) -> Result<Option<String>> {
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
        if let Some(warning) = &warning {
            eprintln!("cryptgpu: {}: {warning}", self.model);
        }
        Ok(warning)
    }
}

impl Prepared {
    fn say_first(&self) -> Result<()> {
        let folded = fold::fold_graph(&self.model.graph)?;
        let plan = lower::lower(&folded, lowering(self.settings.fidelity), self.settings.codec.ring())?;
        window::check_plan(&plan, &self.settings)?;
        let whole = Whole::of(&self.model, &folded, &plan, self.batch, &self.settings);
        eprintln!("{}", self.model.describe());
        eprintln!("{}", whole.text());
        let count = self.input.images.len_of(Axis(0));
        if count > self.batch {
            eprintln!("{count} images are evaluated {} at a time, {} times.", self.batch, count.div_ceil(self.batch));
        }
        let free = available_memory_bytes();
        if free < whole.memory_bytes_of_owner {
            eprintln!("cryptgpu: this machine has less memory free than one party needs: use a smaller --batch");
        }
        Ok(())
    }

    /// All images, batch by batch.
    fn infer(&self, arguments: &Arguments) -> Result<Done> {
        let Computation { link, device, randomness, .. } = &arguments.computation;
        let builder = arguments.parties.builder()?.link(*link).device(*device).randomness(*randomness);
        let cluster = builder.computing(self.settings).start()?;
        let mut progress = Progress::new(self.model.graph.name(), false);
        progress.update(0, 1, "sharing the weights");
        let started = Instant::now();
        let model = cluster.load_model(self.network.clone(), self.source.clone())?;
        let setup_seconds = started.elapsed().as_secs_f64();
        let count = self.input.images.len_of(Axis(0));
        let mut results = vec![];
        for first in (0..count).step_by(self.batch) {
            progress.update(first, count, &format!("private inference, {first} of {count}"));
            let last = (first + self.batch).min(count);
            results.push(cluster.infer(&model, &self.input.images.slice_axis(Axis(0), Slice::from(first..last)))?);
        }
        progress.finish(&format!("{count} images"));
        let (devices, place) = (cluster.devices(), cluster.place());
        Ok(Done { results, devices, setup_seconds, setup: *model.usage(), place })
    }

    /// How far the first scores are from an evaluation in the clear; None where none are to be compared.
    fn compare_with_plaintext(&self, scores: &ArrayD<f64>) -> Result<Option<Compared>> {
        if self.compare == 0 {
            return Ok(None);
        }
        let images = self.input.images.slice_axis(Axis(0), Slice::from(..self.compare));
        let expected = plaintext::evaluate(&self.model.graph, &self.weights, &images)?;
        let private = scores.slice_axis(Axis(0), Slice::from(..self.compare)).to_owned();
        let error = private.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        let same = predictions(&private).into_iter().zip(predictions(&expected)).filter(|(a, b)| a == b).count();
        Ok(Some(Compared { error, largest, images: self.compare, same }))
    }

    /// The record of a run: one iteration is one whole batch, its numbers those of the median one.
    fn record(&self, arguments: &Arguments, done: &Done, compared: Option<&Compared>) -> Result<Record> {
        let Computation { link, fidelity, numbers, randomness, .. } = &arguments.computation;
        let window = self.settings.window;
        let by_party = |of: fn(&DeviceInUse) -> String| {
            std::array::from_fn(|party| done.devices.get(party).map_or_else(String::new, of))
        };
        let mut whole: Vec<&InferenceResult> =
            done.results.iter().filter(|result| result.scores.len_of(Axis(0)) == self.batch).collect();
        whole.sort_by_key(|result| result.duration);
        let median = *whole.get(whole.len().saturating_sub(1) / 2).ok_or("no batch was evaluated")?;
        let digest = |path: &Path| -> Result<String> {
            Ok(Sha256::digest(std::fs::read(path)?).iter().map(|byte| format!("{byte:02x}")).collect())
        };
        let weights_sha256 = match (&self.model.onnx, &self.source) {
            (Some(onnx), _) => onnx.digest.clone(),
            (None, WeightSource::File(file)) => digest(file.path())?,
            _ => String::new(),
        };
        let input = arguments.input.path();
        let name = |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Record {
            experiment: "inference".to_owned(),
            engine: String::new(),
            network: self.model.graph.name().to_owned(),
            dataset: name(input),
            dataset_sha256: if input.is_file() { digest(input)? } else { String::new() },
            batch: self.batch,
            device: together(by_party(|used| used.device.to_string())),
            cards: by_party(|used| used.card.clone()),
            link: link.to_string(),
            fidelity: Fidelity::from(*fidelity).to_string(),
            ring: numbers.ring(),
            fraction_bits: numbers.fraction_bits(),
            window: format!("{}:{}", window.low(), window.width()),
            check_range: self.settings.check_range.to_string(),
            iterations: whole.len(),
            seconds: median.duration.as_secs_f64(),
            seconds_by_kind: median.time_by_kind.clone().into_map(),
            bytes_sent: median.usage().each_ref().map(|usage| usage.stats.payload_bytes()),
            rounds: median.rounds(),
            max_abs_error: compared.map(|compared| compared.error),
            images: self.input.images.len_of(Axis(0)),
            compared: compared.map_or(0, |compared| compared.images),
            agreement: compared.map(|compared| compared.same),
            accuracy: self.input.accuracy(&done.scores()?),
            plaintext_accuracy: None,
            peak_rss_bytes: median.usage().each_ref().map(|usage| usage.peak_rss_bytes),
            weights: self.source.to_string(),
            weights_sha256,
            setup_seconds: done.setup_seconds,
            setup_bytes_sent: done.setup.map(|usage| usage.stats.payload_bytes()),
            setup_peak_rss_bytes: done.setup.map(|usage| usage.peak_rss_bytes),
            parties: done.place.to_owned(),
            threads: std::array::from_fn(|party| done.devices.get(party).map_or(0, |used| used.threads)),
            randomness: randomness.to_string(),
            machine: machine().clone(),
            commit: commit().to_owned(),
            time: now(),
        })
    }
}

/// One name where all parties have it, else one for each.
fn together(names: [String; 3]) -> String {
    let [first, others @ ..] = &names;
    if others.iter().all(|other| other == first) { first.clone() } else { names.join(",") }
}

/// What came of all batches.
struct Done {
    results: Vec<InferenceResult>,
    devices: Vec<DeviceInUse>,
    setup_seconds: f64,
    /// What sharing the weights took, by party.
    setup: [Usage; 3],
    place: &'static str,
}

impl Done {
    fn scores(&self) -> Result<ArrayD<f64>> {
        let views: Vec<_> = self.results.iter().map(|result| result.scores.view()).collect();
        Ok(ndarray::concatenate(Axis(0), &views)?)
    }

    fn taken(&self) -> String {
        let sum = |of: fn(&InferenceResult) -> u64| self.results.iter().map(of).sum::<u64>();
        let time: Duration = self.results.iter().map(|result| result.duration).sum();
        format!(
            "{} images in {}: {} sent by all parties, {} rounds.",
            sum(|result| result.scores.len_of(Axis(0)) as u64),
            format::seconds(time.as_secs_f64()),
            format::bytes(sum(InferenceResult::bytes) as f64),
            sum(InferenceResult::rounds),
        )
    }
}

/// How far private scores are from plaintext.
struct Compared {
    error: f64,
    largest: f64,
    images: usize,
    same: usize,
}

impl Compared {
    fn text(&self) -> String {
        format!(
            "At most {:.1e} away from plaintext, whose scores go up to {}, on {} images; the same prediction on {}.",
            self.error,
            format::digits(self.largest),
            self.images,
            self.same
        )
    }
}
