//! The paper's experiments, run from a notebook: three party processes, a line for each network or operation. And records
//! that were measured before, by the table or figure that shows them.

use std::path::Path;
use std::time::Duration;

use cryptgpu_core::cluster::Cluster;
use cryptgpu_core::device::Devices;
use cryptgpu_core::experiment::micro::{Bench, Micro, MicroRecord, Operation};
use cryptgpu_core::experiment::paper::{self, Exhibit, Measured, Measuring, Size};
use cryptgpu_core::experiment::training::{self, Training, TrainingRecord};
use cryptgpu_core::experiment::{Inference, Parties, Record, append_line, measure};
use cryptgpu_core::net::Link;

use crate::Result;
use crate::sheet::{bytes_text, seconds_text};

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
        let (seconds, bytes) = (seconds_text(record.seconds), bytes_text(record.total_bytes() as f64));
        println!("{network}: {seconds}, {bytes}, {} rounds", record.rounds);
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
        let (seconds, bytes) = (seconds_text(record.seconds), bytes_text(record.bytes() as f64));
        println!("{network}, {} examples an iteration: {seconds}, {bytes}, {} rounds", record.batch, record.rounds);
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
        let seconds = seconds_text(record.seconds);
        println!("{operation}: {seconds}, {} rounds", record.rounds);
        records.push(record);
    }
    Ok(records)
}

/// Records by what they are of.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Of inference, private and in the clear.
    pub inference: Vec<Record>,
    /// Of training, likewise.
    pub training: Vec<TrainingRecord>,
    /// Of operations.
    pub operations: Vec<MicroRecord>,
}

/// Of the records in `files`, those that a table or figure shows; a file that is not there has none. Where several measure
/// the same thing, tables show the last: so the newest file stands last.
///
/// # Errors
/// [`Experiment`](crate::NotebookError::Experiment) with the line of a file that is no record.
pub fn stored(exhibit: Exhibit, files: &[&str]) -> Result<Stored> {
    let mut measured = vec![];
    for file in files.iter().map(Path::new).filter(|file| file.exists()) {
        measured.extend(paper::read(file)?);
    }
    let shown = paper::records(exhibit, &measured)?;
    Ok(Stored {
        inference: shown.iter().filter_map(Measured::inference).cloned().collect(),
        training: shown.iter().filter_map(Measured::training).cloned().collect(),
        operations: shown.iter().filter_map(Measured::operation).cloned().collect(),
    })
}

/// Measures what the quick suite has for a table or figure, at three party processes of this machine, adds the records to a
/// file, and prints a line for each. What the file has already is not measured again. `cryptgpu run paper --only` does the
/// same without a notebook, and the full suite.
///
/// # Errors
/// Whatever ends a measurement, after all others have run.
pub fn afresh(exhibit: Exhibit, file: &str) -> Result<()> {
    let path = Path::new(file);
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .map_err(|source| crate::NotebookError::Write { path: path.into(), source })?;
    let known = if path.exists() { paper::read(path)? } else { vec![] };
    let mut measuring = Measuring::new(Cluster::local().deadline(DEADLINE), known);
    let mut failed = Ok(());
    let mut entries = paper::suite(Size::Quick, Devices::default())?;
    entries.retain(|entry| entry.exhibits.contains(&exhibit));
    for (index, entry) in entries.iter().enumerate() {
        if measuring.known(entry)?.is_some() {
            continue;
        }
        println!("{} of {}: {}", index + 1, entries.len(), entry.work);
        match measuring.measure(entry, &mut |_| ()) {
            Ok(measured) => append_line(path, &measured.to_line()?)?,
            Err(error) => failed = Err(error),
        }
    }
    Ok(failed?)
}
