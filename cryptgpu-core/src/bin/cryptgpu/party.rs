//! `cryptgpu party`: one of the three parties.

use clap::Args;
use cryptgpu_core::cluster::{Jobs, owner, party, rendezvous};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use super::arguments::Meeting;

/// Be one of the three parties. With --config it is started by its owner, by hand or by systemd, and does what the owner's
/// policy allows (docs/hosts.md). With --rendezvous it is rank 1 or 2 of a Slurm step of three tasks, of which a program
/// or a notebook is rank 0. With neither, it is started by `cryptgpu run` and by notebooks: who it is, its certificate
/// and whom to trust come by standard input, and never by arguments or the environment, which other users of the machine
/// could see.
#[derive(Debug, Args)]
pub struct Party {
    /// The library that holds the caller's code, in place of what this program holds, with the digest of what the
    /// caller has loaded of it, behind the libraries that it needs: notebooks pass the one that their cells link. A
    /// file with another digest is not opened.
    #[arg(long, value_name = "DIGEST:NAME:LIBRARY")]
    runtime: Vec<OsString>,
    /// The file of its owner: who the party is, who the others are, what it allows, where its log is
    #[arg(long, value_name = "PARTY.TOML")]
    config: Option<PathBuf>,
    /// Be the process of one session: started by the party itself
    #[arg(long, requires = "config", hide = true)]
    session: bool,
    /// Be the party of this task of a Slurm step, rank 1 or 2, until rank 0 ends: a program or notebook with
    /// `Cluster::rendezvous(DIR)`. They find each other in this folder, which all nodes share
    #[arg(long, value_name = "DIR", conflicts_with_all = ["runtime", "config"])]
    rendezvous: Option<PathBuf>,
    #[command(flatten)]
    meeting: Meeting,
    /// Wait for rank 0 for as long as it takes, and for the next one after it: for a notebook, whose kernel may be started
    /// anew
    #[arg(long, requires = "rendezvous")]
    stay: bool,
}

impl Party {
    /// Runs until the controller says so or is gone.
    pub fn run(self) -> Result<ExitCode, Box<dyn std::error::Error>> {
        if let Some(config) = self.config {
            let arguments = ["party".into(), "--session".into(), "--config".into(), config.clone().into_os_string()];
            let code = match (self.session, self.runtime.is_empty()) {
                (true, true) => owner::serve_session_to_the_end(&config, &Jobs::default()),
                (true, false) => owner::serve_session_from(&self.runtime, &config)?,
                (false, true) => owner::serve_owner(&config, &arguments).map(|()| 0)?,
                (false, false) => {
                    return Err("the library of sessions is named in party.toml: `runtime = \"FILE\"`".into());
                }
            };
            return Ok(ExitCode::from(u8::from(code != 0)));
        }
        if let Some(folder) = &self.rendezvous {
            rendezvous::serve(&self.meeting.at(folder), self.stay)?;
            return Ok(ExitCode::SUCCESS);
        }
        let code = match self.runtime.is_empty() {
            false => party::serve_from(&self.runtime)?,
            true => party::serve_to_the_end(&Jobs::default()),
        };
        Ok(ExitCode::from(u8::from(code != 0)))
    }
}
