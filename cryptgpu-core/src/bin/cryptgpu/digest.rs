//! `cryptgpu digest`: what owners of parties compare programs and libraries by.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cryptgpu_core::cluster::owner;

use super::Result;

/// Which files.
#[derive(Debug, Args)]
#[command(after_help = "\
A digest is of all that is loaded of the file: code, constants, initial values. As a line of a policy's `functions` it
allows every function of that program, or of that object of a notebook's cell.")]
pub struct Arguments {
    /// Programs or libraries
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for file in &arguments.files {
        writeln!(out, "{}  {}", owner::digest_of(file)?, file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
