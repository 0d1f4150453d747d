//! `cryptgpu party`: one of the three parties.

use clap::Args;
use cryptgpu_core::cluster::{Jobs, party};
use cryptgpu_core::experiment::InferenceJob;

/// Be one of the three parties. Started by `cryptgpu run` and by notebooks, not by hand: who it
/// is, its certificate and whom to trust come by standard input, and never by arguments or the
/// environment, which other users of the machine could see.
#[derive(Debug, Args)]
pub struct Party {}

impl Party {
    /// Runs until the controller says so or is gone.
    pub fn run(self) -> Result<(), Box<dyn std::error::Error>> {
        Ok(party::serve(&Jobs::default().with::<InferenceJob>())?)
    }
}
