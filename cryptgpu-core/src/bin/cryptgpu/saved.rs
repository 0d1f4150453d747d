//! `cryptgpu saved`: networks that the parties keep in shares, each its part in a file of its own, from one command to the next.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use cryptgpu_core::cluster::{Cluster, Network};
use cryptgpu_core::experiment::{lowering, settings};
use cryptgpu_core::mpc::Fidelity;
use cryptgpu_core::nn::range::InputRange;
use cryptgpu_datasets::npy;
use ndarray::{Axis, Slice};

use super::arguments::{Computation, Parties, Sizes};
use super::input::InputArguments;
use super::model::Model;
use super::range::input_range;
use super::{Result, format};

/// Keep networks in shares at the parties, and use them without their weights
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Each party's part is in a file of its own, in the folder that CRYPTGPU_SAVED names at the party, or in
~/.local/share/cryptgpu, sealed with the party's key. It is used by the same parties, whoever starts them, with the
numbers (--ring, --fraction-bits) that it was saved with.

Examples:
  cryptgpu saved add digits --model lenet
  cryptgpu saved add flowers --model net.onnx --parties ann@h0,bob@h1,eve@h2
  cryptgpu saved list
  cryptgpu saved infer digits --input x.npy --output y.npy
  cryptgpu saved delete digits")]
pub enum Action {
    /// Share a network's weights and save it
    Add(Box<Add>),
    /// List what is saved, and what is in the way of loading it
    List(Box<Where>),
    /// Evaluate a saved network privately on arrays or pictures
    Infer(Box<Infer>),
    /// Delete what is saved under a name
    Delete(Box<Delete>),
}

/// Where the parties are and how they compute.
#[derive(Debug, clap::Args)]
pub struct Where {
    #[command(flatten)]
    parties: Parties,
    #[command(flatten)]
    computation: Computation,
}

/// Arguments of `cryptgpu saved add`.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// What it will be called: letters, digits and - _ .
    name: String,
    /// An ONNX file, or the name of a network (`cryptgpu networks` lists them)
    #[arg(long)]
    model: String,
    /// Which output of an ONNX file that has several: its name. Else the only one that holds numbers
    #[arg(long, value_name = "NAME")]
    output_name: Option<String>,
    #[command(flatten)]
    sizes: Sizes,
    /// The weights of a network that is named: a safetensors file, a PyTorch state dict, or bundled
    #[arg(long)]
    weights: Option<String>,
    /// The range that inputs will lie in, LOW:HIGH: whether values fit the ring is judged for it
    #[arg(long, value_parser = input_range, allow_hyphen_values = true)]
    input_range: Option<InputRange>,
    #[command(flatten)]
    at: Where,
}

/// Arguments of `cryptgpu saved infer`.
#[derive(Debug, clap::Args)]
pub struct Infer {
    /// What is saved
    name: String,
    #[command(flatten)]
    input: InputArguments,
    /// Where the scores go: a NumPy array of float64
    #[arg(long)]
    output: PathBuf,
    /// Images at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    batch: u32,
    #[command(flatten)]
    at: Where,
}

/// Arguments of `cryptgpu saved delete`.
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// What is saved
    name: String,
    #[command(flatten)]
    at: Where,
}

pub fn run(action: &Action) -> Result<ExitCode> {
    match action {
        Action::Add(add) => add.run(),
        Action::List(at) => at.list(),
        Action::Infer(infer) => infer.run(),
        Action::Delete(delete) => delete.run(),
    }
}

impl Where {
    pub fn fidelity(&self) -> Fidelity {
        self.computation.fidelity.into()
    }

    /// The parties, as they compute. None where this task of a job has served its party to the end.
    pub fn start(&self) -> Result<Option<Cluster>> {
        if self.parties.attend()? {
            return Ok(None);
        }
        let Computation { link, device, randomness, numbers, .. } = &self.computation;
        let (window, check) = (self.computation.window()?, self.computation.check_range_in_inference());
        let settings = settings(numbers.ring(), numbers.fraction_bits(), self.fidelity(), window, check)?;
        let builder = self.parties.builder()?.link(*link).device(*device).randomness(*randomness);
        Ok(Some(builder.computing(settings).start()?))
    }

    fn list(&self) -> Result<ExitCode> {
        let Some(cluster) = self.start()? else { return Ok(ExitCode::SUCCESS) };
        let saved = cluster.saved()?;
        let mut out = std::io::stdout().lock();
        if saved.is_empty() {
            writeln!(out, "Nothing is saved.")?;
        }
        for saved in &saved {
            let numbers = saved.codec.map(|codec| {
                format!(", numbers modulo 2^{} with {} fraction bits", codec.ring().bits(), codec.fraction_bits())
            });
            writeln!(out, "{}: {}{}", saved.name, saved.what, numbers.unwrap_or_default())?;
            if let Some(problem) = &saved.problem {
                writeln!(out, "    cannot be loaded: {problem}")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    fn run(&self) -> Result<ExitCode> {
        let mut model = Model::open(&self.model, self.output_name.as_deref(), &self.sizes)?;
        let (source, _) = model.weights(&self.model, self.weights.as_deref())?;
        let Some(cluster) = self.at.start()? else { return Ok(ExitCode::SUCCESS) };
        let network = Network::from(&model.graph).lowering(lowering(self.at.fidelity())).knowing(model.told);
        let network = self.input_range.into_iter().fold(network, Network::input_range);
        cluster.load_model(network, source)?.save(&self.name)?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} is saved as `{}`, in shares at the three parties.", model.graph.name(), self.name)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Infer {
    fn run(&self) -> Result<ExitCode> {
        npy::check_writable(&self.output)?;
        let labels = self.input.labels()?;
        let Some(cluster) = self.at.start()? else { return Ok(ExitCode::SUCCESS) };
        let saved = cluster.load(&self.name)?;
        let model = Model { graph: saved.graph().clone(), onnx: None, told: vec![] };
        let input = self.input.read(&model, &labels)?;
        let (count, batch) = (input.images.len_of(Axis(0)), self.batch as usize);
        let (mut parts, mut bytes, mut seconds) = (vec![], 0, 0.0);
        for first in (0..count).step_by(batch) {
            let images = input.images.slice_axis(Axis(0), Slice::from(first..(first + batch).min(count)));
            let result = cluster.infer(&saved, &images)?;
            bytes += result.bytes();
            seconds += result.duration.as_secs_f64();
            parts.push(result.scores);
        }
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let scores = ndarray::concatenate(Axis(0), &views)?;
        npy::write(&self.output, &scores)?;
        let mut out = std::io::stdout().lock();
        write!(out, "{}", input.likeliest(&scores, &labels))?;
        writeln!(
            out,
            "{count} images in {}: {} sent by all parties. Scores of shape {:?} are in {}.",
            format::seconds(seconds),
            format::bytes(bytes as f64),
            scores.shape(),
            self.output.display()
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    fn run(&self) -> Result<ExitCode> {
        let Some(cluster) = self.at.start()? else { return Ok(ExitCode::SUCCESS) };
        cluster.delete_saved(&self.name)?;
        writeln!(std::io::stdout().lock(), "What was saved as `{}` is deleted.", self.name)?;
        Ok(ExitCode::SUCCESS)
    }
}
