//! `cryptgpu party`: one of the three parties.

use clap::Args;
use cryptgpu_core::cluster::{Jobs, party};
use std::ffi::OsString;
use std::process::ExitCode;

/// Be one of the three parties. Started by `cryptgpu run` and by notebooks, not by hand: who it
/// is, its certificate and whom to trust come by standard input, and never by arguments or the
/// environment, which other users of the machine could see.
#[derive(Debug, Args)]
pub struct Party {
    /// The library that holds the caller's code, in place of what this program holds, with the digest of what the
    /// caller has loaded of it, behind the libraries that it needs: notebooks pass the one that their cells link. A
    /// file with another digest is not opened.
    #[arg(long, value_name = "DIGEST:NAME:LIBRARY")]
    runtime: Vec<OsString>,
}

impl Party {
    /// Runs until the controller says so or is gone.
    pub fn run(self) -> Result<ExitCode, Box<dyn std::error::Error>> {
        let code = match self.runtime.is_empty() {
            false => party::serve_from(&self.runtime)?,
            true => party::serve_to_the_end(&Jobs::default()),
        };
        Ok(ExitCode::from(u8::from(code != 0)))
    }
}
