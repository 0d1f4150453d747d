//! `cryptgpu run train-plaintext` and `inference-plaintext`: the networks, batches, weights, data and seeds of the private
//! experiments, in the clear, with records of the same shape, which the same tables and plots show beside the private ones.

use std::process::ExitCode;

use cryptgpu_core::experiment::training::{InF64, Training, TrainingRecord, measure_plaintext};
use cryptgpu_core::experiment::{ReferenceNetwork, measure_inference_plaintext};
use cryptgpu_core::nn::plaintext::Rounding;

use super::arguments::Output;
use super::progress::Progress;
use super::train::{What, print, watched};
use super::{Result, inference, table};

/// Arguments of `cryptgpu run train-plaintext`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Computes in f64, without any cut or where a private run cuts (--cut). candle, which is much faster and computes in f32, is
behind `cargo run --release -p cryptgpu-trainer -- train-plaintext`, with records of the same shape.

Examples:
  cryptgpu run train-plaintext --networks lenet --dataset digits --epochs 3 --accuracy
  cryptgpu run train-plaintext --networks lenet --dataset digits --epochs 3 --accuracy --cut --out train.jsonl
      with the roundings of 20 fraction bits; the record is added to a file, where private ones may be too")]
pub struct TrainPlaintextArguments {
    #[command(flatten)]
    what: What,
    /// Round to fixed-point numbers wherever a private run truncates
    #[arg(long)]
    cut: bool,
    /// Fraction bits of these numbers
    #[arg(long, default_value_t = 20, requires = "cut", value_parser = clap::value_parser!(u32).range(1..=50))]
    fraction_bits: u32,
    #[command(flatten)]
    output: Output,
}

pub fn train(arguments: &TrainPlaintextArguments) -> Result<ExitCode> {
    let declarations = arguments.what.declarations()?;
    arguments.output.check()?;
    let (fraction_bits, seed) = (arguments.fraction_bits, 1);
    let rounding = if arguments.cut { Rounding::Stochastic { fraction_bits, seed } } else { Rounding::Exact };
    let mut records = vec![];
    for declaration in &declarations {
        declaration.validate()?;
        records.push(one(declaration, rounding, &arguments.output)?);
    }
    if !arguments.output.json {
        print(&records)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn one(declaration: &Training, rounding: Rounding, output: &Output) -> Result<TrainingRecord> {
    let begin = |graph: &_, weights: &_, train: &_| InF64::new(graph, weights, train, rounding);
    watched(&declaration.network, output, "reading examples", |observe| measure_plaintext(declaration, begin, observe))
}

/// Arguments of `cryptgpu run inference-plaintext`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Computes in f64, as private results are compared with. candle, which is much faster and computes in f32, is behind
`cargo run --release -p cryptgpu-trainer -- inference-plaintext`, with records of the same shape.

Examples:
  cryptgpu run inference-plaintext --networks lenet --batch 100 --images 1000")]
pub struct InferencePlaintextArguments {
    #[command(flatten)]
    what: inference::What,
    #[command(flatten)]
    output: Output,
}

pub fn infer(arguments: &InferencePlaintextArguments) -> Result<ExitCode> {
    let declarations = arguments.what.declarations()?;
    arguments.output.check()?;
    let mut records = vec![];
    for declaration in &declarations {
        let mut progress = Progress::new(&declaration.network, arguments.output.json);
        let begin = |graph: &_, weights: &_| Ok(ReferenceNetwork::new(graph, weights));
        let record = measure_inference_plaintext(declaration, begin, &mut |done, of| {
            progress.update(done, of, &format!("{done} of {of} batches"));
        })?;
        progress.finish(&inference::summary(&record));
        arguments.output.write(&record.to_line()?)?;
        records.push(record);
    }
    if !arguments.output.json {
        table::print(&records)?;
    }
    Ok(ExitCode::SUCCESS)
}
