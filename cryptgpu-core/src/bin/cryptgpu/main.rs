//! The `cryptgpu` program: private inference and training from a terminal, and what a notebook's cluster starts as
//! its parties. Everything it does is in the library; here are arguments, progress and tables.

mod arguments;
mod audit;
mod bench;
mod digest;
mod doctor;
mod format;
mod infer;
mod inference;
mod input;
mod keygen;
mod micro;
mod model;
mod networks;
mod paper;
mod party;
mod plaintext;
mod precision;
mod progress;
mod range;
mod run;
mod saved;
mod serve;
mod settings;
mod show;
mod soak;
mod table;
mod top;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Private inference and training of convolutional networks by three parties, none of which sees images or weights.
#[derive(Debug, Parser)]
#[command(name = "cryptgpu", version, max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cryptgpu doctor                                     what works on this machine
  cryptgpu networks                                   the networks, and how large they are
  cryptgpu infer --model net.onnx --input x.npy --output y.npy    your own network on your own arrays
  cryptgpu saved add digits --model lenet             share a network once, and keep it at the parties
  cryptgpu serve digits --client lab.crt --service digits.toml    keep it at the parties for clients
  cryptgpu show net.onnx                              what it would cost, layer by layer
  cryptgpu run inference --networks lenet             private inference of real digits
  cryptgpu run inference --suite full --out r.jsonl   the ten networks of the paper; minutes
  cryptgpu range --networks lenet                     whether its values fit the ring, layer by layer
  cryptgpu run train --networks lenet                 private training: time and bytes of an iteration
  cryptgpu run train-plaintext --networks lenet       the same training in the clear
  cryptgpu run precision --networks lenet             how many fraction bits training needs
  cryptgpu run micro                                  private operations by size
  cryptgpu run paper                                  all of the paper's tables and figures, the quick suite
  cryptgpu top                                        the clusters that run now, and what they do
  cryptgpu table r.jsonl                              the comparison with the paper, from records
  cryptgpu soak --minutes 10                          random faults in random runs";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an experiment and compare it with the paper
    #[command(subcommand)]
    Run(run::Experiment),
    /// Draw the table of records that were measured before
    Table(table::Arguments),
    /// Evaluate a network of your own privately on your own arrays
    Infer(Box<infer::Arguments>),
    #[command(subcommand)]
    Saved(saved::Action),
    /// Serve a saved network to clients, who share their inputs themselves
    Serve(Box<serve::Serve>),
    /// Have a served network evaluated: this program is a client, which alone sees inputs and scores
    Request(Box<serve::Request>),
    /// Show a network layer by layer, and what private inference of it costs
    Show(show::Arguments),
    /// List the networks with their sizes
    Networks(networks::Arguments),
    /// Show how much room a network's values have in the ring, layer by layer
    Range(range::Arguments),
    /// Measure what needs hardware
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Watch a running cluster: what each party does, rounds and bytes a second, waiting, memory, time left
    Top(top::Arguments),
    /// Say what works on this machine, and what to do about the rest
    Doctor(doctor::Arguments),
    /// Do random faults to random runs, and see that each ends right or with an error, and leaves nothing behind
    Soak(soak::Arguments),
    Party(party::Party),
    /// Make the key and the certificate by which a party or a caller is known to the others
    Keygen(keygen::Arguments),
    /// Print the digest by which owners know a program, or a library that cells link
    Digest(digest::Arguments),
    /// Check a party's audit log, and print what was run, refused and revealed
    Audit(audit::Arguments),
}

/// What a subcommand says when it fails: a message that is shown as it is.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(experiment) => run::run(&experiment),
        Command::Table(arguments) => table::run(&arguments),
        Command::Infer(arguments) => infer::run(&arguments),
        Command::Saved(action) => saved::run(&action),
        Command::Serve(arguments) => serve::serve(&arguments),
        Command::Request(arguments) => serve::request(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Networks(arguments) => networks::run(&arguments),
        Command::Range(arguments) => range::run(&arguments),
        Command::Bench(bench) => bench::run(&bench),
        Command::Top(arguments) => top::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Party(party) => party.run(),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Digest(arguments) => digest::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
    };
    // Parties on threads of this process have kept memory on cards.
    cryptgpu_core::device::cuda::leave();
    match done {
        Ok(code) => code,
        Err(error) if is_closed_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cryptgpu: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether standard output was closed by its reader, as `| head` does: no error of ours.
fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
