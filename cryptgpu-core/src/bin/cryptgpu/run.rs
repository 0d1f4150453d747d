//! `cryptgpu run`: the experiments by name.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Result, inference, micro, paper, plaintext, train};

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
    /// Private matrix products, convolutions and ReLUs by size
    Micro(Box<micro::MicroArguments>),
    /// All measurements of the paper's tables and figures, into one file; begun again, it goes on
    Paper(Box<paper::PaperArguments>),
}

pub fn run(experiment: &Experiment) -> Result<ExitCode> {
    match experiment {
        Experiment::Inference(arguments) => inference::run(arguments),
        Experiment::Train(arguments) => train::run(arguments),
        Experiment::TrainPlaintext(arguments) => plaintext::train(arguments),
        Experiment::InferencePlaintext(arguments) => plaintext::infer(arguments),
        Experiment::Micro(arguments) => micro::run(arguments),
        Experiment::Paper(arguments) => paper::run(arguments),
    }
}
