//! The `cryptgpu` program: private inference by three parties, from the command line.

mod party;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Private inference of convolutional networks by three parties that hold replicated secret shares.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Party(party::Party),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Party(party) => party.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
