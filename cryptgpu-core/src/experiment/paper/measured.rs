//! A record of any experiment, and files in which they stand together. What a record is of and under which conditions it
//! was taken is read here, so that it is known again.

use std::path::Path;

use super::entry::{curve, settings};
use super::{Conditions, Exhibit, Size, Subject, suite};
use crate::device::Devices;
use crate::experiment::micro::{self, MicroRecord};
use crate::experiment::training::{self, TrainingRecord};
use crate::experiment::{ExperimentError, Record};

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// Of inference, private or in the clear.
    Inference(Box<Record>),
    /// Of training, private or in the clear.
    Training(Box<TrainingRecord>),
    /// Of an operation.
    Operation(Box<MicroRecord>),
}

impl Measured {
    /// What it is of.
    pub fn subject(&self) -> Subject {
        match self {
            Measured::Inference(record) => Subject {
                experiment: record.experiment.clone(),
                of: record.network.clone(),
                batch: record.batch,
                link: record.link.clone(),
                settings: settings(
                    &record.fidelity,
                    record.ring,
                    record.fraction_bits,
                    &record.window,
                    &record.check_range,
                    &record.randomness,
                ),
            },
            Measured::Training(record) => {
                let mut settings = settings(
                    &record.fidelity,
                    record.ring,
                    record.fraction_bits,
                    &record.window,
                    &record.check_range,
                    &record.randomness,
                );
                settings.extend(curve(&record.train, &record.dataset, &record.weights));
                Subject {
                    experiment: record.experiment.clone(),
                    of: record.network.clone(),
                    batch: record.batch,
                    link: record.link.clone(),
                    settings,
                }
            }
            Measured::Operation(record) => Subject {
                experiment: record.experiment.clone(),
                of: format!("{} {}", record.operation, record.size),
                batch: 0,
                link: record.link.clone(),
                settings: settings(
                    &record.fidelity,
                    record.ring,
                    record.fraction_bits,
                    &record.window,
                    "off",
                    &record.randomness,
                ),
            },
        }
    }

    /// Under which conditions it was taken.
    pub fn conditions(&self) -> Conditions {
        let threads = |by_party: [usize; 3]| by_party.first().copied().filter(|&threads| by_party == [threads; 3]);
        let (iterations, dataset, device, place, of_parties, commit, machine) = match self {
            Measured::Inference(of) => {
                (of.iterations, &of.dataset, &of.device, &of.parties, of.threads, &of.commit, &of.machine)
            }
            Measured::Training(of) => {
                // A run that left its range stands for what it was to be.
                let iterations = of.left_range.map_or(of.iterations, |left| left.of);
                (iterations, &of.dataset, &of.device, &of.parties, of.threads, &of.commit, &of.machine)
            }
            Measured::Operation(of) => {
                (of.iterations, &String::new(), &of.device, &of.parties, of.threads, &of.commit, &of.machine)
            }
        };
        let plaintext = place == "in the clear";
        Conditions {
            iterations,
            dataset: dataset.clone(),
            device: device.clone(),
            place: if plaintext { String::new() } else { place.clone() },
            threads: threads(of_parties).filter(|_| !plaintext),
            commit: commit.clone(),
            machine: Conditions::machine(machine),
        }
    }

    /// The record of inference, if it is one.
    pub fn inference(&self) -> Option<&Record> {
        if let Measured::Inference(record) = self { Some(record) } else { None }
    }

    /// The record of training, if it is one.
    pub fn training(&self) -> Option<&TrainingRecord> {
        if let Measured::Training(record) = self { Some(record) } else { None }
    }

    /// The record of an operation, if it is one.
    pub fn operation(&self) -> Option<&MicroRecord> {
        if let Measured::Operation(record) = self { Some(record) } else { None }
    }

    /// When it was taken, RFC 3339, UTC.
    pub fn time(&self) -> &str {
        match self {
            Measured::Inference(record) => &record.time,
            Measured::Training(record) => &record.time,
            Measured::Operation(record) => &record.time,
        }
    }

    /// The record as one line of JSON, with its newline.
    ///
    /// # Errors
    /// [`NotFinite`](ExperimentError::NotFinite): JSON has no notation for such a number.
    pub fn to_line(&self) -> Result<String, ExperimentError> {
        match self {
            Measured::Inference(record) => record.to_line(),
            Measured::Training(record) => record.to_line(),
            Measured::Operation(record) => record.to_line(),
        }
    }
}

/// All records of a file: inference, then training, then operations, each in its order.
///
/// # Errors
/// [`File`](ExperimentError::File) or [`Line`](ExperimentError::Line), with the line's number.
pub fn read(path: &Path) -> Result<Vec<Measured>, ExperimentError> {
    let inference = crate::experiment::read(path)?.into_iter().map(|record| Measured::Inference(Box::new(record)));
    let training = training::read(path)?.into_iter().map(|record| Measured::Training(Box::new(record)));
    let operations = micro::read(path)?.into_iter().map(|record| Measured::Operation(Box::new(record)));
    Ok(inference.chain(training).chain(operations).collect())
}

/// Of `measured`, what a table or figure shows: records of what the full suite has for it, whatever machine, version and
/// device they come from.
///
/// # Errors
/// As [`suite`].
pub fn records(exhibit: Exhibit, measured: &[Measured]) -> Result<Vec<Measured>, ExperimentError> {
    let mut subjects = vec![];
    for size in [Size::Quick, Size::Full] {
        let entries = suite(size, Devices::default())?.into_iter();
        subjects.extend(entries.filter(|entry| entry.exhibits.contains(&exhibit)).map(|entry| entry.work.subject()));
    }
    Ok(measured.iter().filter(|measured| subjects.contains(&measured.subject())).cloned().collect())
}
