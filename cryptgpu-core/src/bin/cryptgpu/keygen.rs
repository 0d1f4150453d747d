//! `cryptgpu keygen`: a long-term key and its certificate.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cryptgpu_core::cluster::owner;

use super::Result;

/// Where the key goes and whose it is.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder for NAME.key, which only this account can read, and NAME.crt
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Who is known by it: ann, lab, …
    #[arg(long)]
    name: String,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let made = owner::generate_key(&arguments.out, &arguments.name)?;
    writeln!(std::io::stdout(), "{}", made.fingerprint)?;
    eprintln!(
        "The line above is the fingerprint of {}, as `openssl x509 -noout -fingerprint -sha256 -in {}` shows it too.\n\
         Tell it to the others by a way on which nobody can change it; {} stays here and is nobody else's.",
        arguments.name,
        made.certificate.display(),
        made.key.display()
    );
    Ok(ExitCode::SUCCESS)
}
