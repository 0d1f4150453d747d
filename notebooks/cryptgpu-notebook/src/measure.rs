//! The paper's experiments, run from a notebook: three party processes, a line for each network or operation.

use std::time::Duration;

use cryptgpu_core::cluster::Cluster;
use cryptgpu_core::experiment::micro::{Bench, Micro, MicroRecord, Operation};
use cryptgpu_core::experiment::training::{self, Training, TrainingRecord};
use cryptgpu_core::experiment::{Inference, Parties, Record, measure};
use cryptgpu_core::net::Link;
use cryptgpu_core::show::number_text;

use crate::Result;

/// How long a party may wait for another. Parties of the largest networks compute for seconds between messages.
const DEADLINE: Duration = Duration::from_secs(60);

/// Measures private inference of each network, as [`Inference::of`] declares it, and prints a line for each.
/// `cryptgpu run inference` does the same without a notebook, with every choice open.
///
/// # Errors
/// [`Experiment`](crate::NotebookError::Experiment): an unknown network, or whatever ended a run.
pub fn inference(networks: &[&str]) -> Result<Vec<Record>> {
    let mut parties = Parties::new(Cluster::local().deadline(DEADLINE));
    let mut records = Vec::with_capacity(networks.len());
    for network in networks {
        let record = measure(&Inference::of(network)?, &mut parties, &mut |_| ())?;
        let (seconds, megabytes) = (number_text(record.seconds, 3), number_text(record.total_bytes() as f64 / 1e6, 3));
        println!("{network}: {seconds} s, {megabytes} MB, {} rounds", record.rounds);
        records.push(record);
    }
    Ok(records)
}

/// Measures a few iterations of private training of each network, as [`Training::of`] declares it, and prints a line for
/// each. `cryptgpu run train` does the same without a notebook, with every choice open.
///
/// # Errors
/// As [`inference`].
pub fn training(networks: &[&str]) -> Result<Vec<TrainingRecord>> {
    let mut parties = Parties::new(Cluster::local().deadline(DEADLINE));
    let mut records = Vec::with_capacity(networks.len());
    for network in networks {
        let record = training::measure(&Training::of(network)?, &mut parties, &mut |_| ())?;
        let (seconds, megabytes) = (number_text(record.seconds, 3), number_text(record.bytes() as f64 / 1e6, 3));
        println!(
            "{network}, {} examples an iteration: {seconds} s, {megabytes} MB, {} rounds",
            record.batch, record.rounds
        );
        records.push(record);
    }
    Ok(records)
}

/// Measures private operations at three party processes of this machine, each five times, and prints a line for each.
///
/// # Errors
/// As [`inference`].
pub fn micro(operations: &[Operation]) -> Result<Vec<MicroRecord>> {
    let bench = Bench::start(Cluster::local().deadline(DEADLINE), Link::None)?;
    let mut records = Vec::with_capacity(operations.len());
    for operation in operations {
        let record = bench.measure(&Micro::of(*operation))?;
        let milliseconds = number_text(1e3 * record.seconds, 3);
        println!("{operation}: {milliseconds} ms, {} rounds", record.rounds);
        records.push(record);
    }
    Ok(records)
}
