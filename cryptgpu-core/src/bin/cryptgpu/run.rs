//! `cryptgpu run`: the experiments by name.

use std::process::ExitCode;

use clap::Subcommand;

use super::arguments::Parties;
use super::{Result, inference, micro, paper, plaintext, precision, train};

/// The experiments.
#[derive(Debug, Subcommand)]
pub enum Experiment {
    /// Private inference: time, bytes, rounds, error against plaintext, accuracy
    Inference(Box<inference::InferenceArguments>),
    /// Private training: time, bytes and rounds of an iteration, loss and accuracy where they may be revealed
    Train(Box<train::TrainArguments>),
    /// The same training in the clear: what private accuracy and loss stand beside
    TrainPlaintext(Box<plaintext::TrainPlaintextArguments>),
    /// The same inference in the clear: time and accuracy
    InferencePlaintext(Box<plaintext::InferencePlaintextArguments>),
    /// How many fraction bits training needs, by way to cut products: simulated in the clear
    Precision(Box<precision::PrecisionArguments>),
    /// Private matrix products, convolutions and ReLUs by size
    Micro(Box<micro::MicroArguments>),
    /// All measurements of the paper's tables and figures, into one file; begun again, it goes on
    Paper(Box<paper::PaperArguments>),
}

impl Experiment {
    /// Where its parties run, if it has any.
    fn parties(&self) -> Option<&Parties> {
        match self {
            Experiment::Inference(arguments) => Some(&arguments.parties),
            Experiment::Train(arguments) => Some(&arguments.parties),
            Experiment::Micro(arguments) => Some(&arguments.parties),
            Experiment::Paper(arguments) => Some(&arguments.parties),
            Experiment::TrainPlaintext(_) | Experiment::InferencePlaintext(_) | Experiment::Precision(_) => None,
        }
    }
}

pub fn run(experiment: &Experiment) -> Result<ExitCode> {
    // Before the experiment is looked at: a rank 0 that fails early ends the others, too.
    if experiment.parties().map(Parties::attend).transpose()? == Some(true) {
        return Ok(ExitCode::SUCCESS);
    }
    match experiment {
        Experiment::Inference(arguments) => inference::run(arguments),
        Experiment::Train(arguments) => train::run(arguments),
        Experiment::TrainPlaintext(arguments) => plaintext::train(arguments),
        Experiment::InferencePlaintext(arguments) => plaintext::infer(arguments),
        Experiment::Precision(arguments) => precision::run(arguments),
        Experiment::Micro(arguments) => micro::run(arguments),
        Experiment::Paper(arguments) => paper::run(arguments),
    }
}
