//! `cryptgpu run`: the experiments by name.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Result, inference, micro};

/// The experiments.
#[derive(Debug, Subcommand)]
pub enum Experiment {
    /// Private inference: time, bytes, rounds, error against plaintext, accuracy
    Inference(Box<inference::InferenceArguments>),
    /// Private matrix products, convolutions and ReLUs by size
    Micro(micro::MicroArguments),
}

pub fn run(experiment: &Experiment) -> Result<ExitCode> {
    match experiment {
        Experiment::Inference(arguments) => inference::run(arguments),
        Experiment::Micro(arguments) => micro::run(arguments),
    }
}
