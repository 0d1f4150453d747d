//! Runs the entries of the suite, one after the other, at parties that stay for as long as entries want the same.

use std::collections::HashMap;

use super::{Conditions, Entry, Measured, Subject, Work};
use crate::cluster::ClusterBuilder;
use crate::device::Devices;
use crate::experiment::micro::Bench;
use crate::experiment::training::{InF64, TrainingStage, measure_plaintext};
use crate::experiment::{
    ExperimentError, Inference, Parties, ReferenceNetwork, Stage, commit, machine, measure,
    measure_inference_plaintext, training,
};
use crate::net::Link;
use crate::nn::plaintext::Rounding;

/// How far an entry is: parts done, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Parts that are done.
    pub done: usize,
    /// Parts in all.
    pub of: usize,
}

/// Three parties that measure entries, and what is measured already.
#[derive(Debug)]
pub struct Measuring {
    builder: ClusterBuilder,
    parties: Option<Parties>,
    bench: Option<((Link, Devices), Bench)>,
    known: HashMap<Subject, Vec<Measured>>,
}

impl Measuring {
    /// Parties as `builder` says, but for what entries name. Of the records in `known`, those that were taken here, with
    /// this program, stand for entries.
    pub fn new(builder: ClusterBuilder, known: Vec<Measured>) -> Self {
        let mut by_subject: HashMap<Subject, Vec<Measured>> = HashMap::new();
        for measured in known {
            by_subject.entry(measured.subject()).or_default().push(measured);
        }
        Self { builder, parties: None, bench: None, known: by_subject }
    }

    /// The record that stands for an entry already: of the same measurement, on this machine, at parties in the same place,
    /// with the same devices, threads, iterations and images, by this version of the program.
    ///
    /// # Errors
    /// [`Dataset`](ExperimentError::Dataset) if a training's examples cannot be counted.
    pub fn known(&self, entry: &Entry) -> Result<Option<&Measured>, ExperimentError> {
        let wanted = self.wanted(&entry.work)?;
        let known = self.known.get(&entry.work.subject());
        Ok(known.and_then(|known| known.iter().rev().find(|measured| measured.conditions().are(&wanted))))
    }

    fn wanted(&self, work: &Work) -> Result<Conditions, ExperimentError> {
        let (iterations, dataset) = work.extent()?;
        let clear = work.is_plaintext();
        Ok(Conditions {
            iterations,
            dataset,
            device: work.device().to_string(),
            place: if clear { String::new() } else { self.builder.place().to_owned() },
            threads: work.threads().or(self.builder.chosen_threads()).filter(|_| !clear),
            commit: commit().to_owned(),
            machine: Conditions::machine(machine()),
        })
    }

    /// Starts the parties that an entry wants, where it wants any: to find out before all else whether they start.
    ///
    /// # Errors
    /// As [`ClusterBuilder::start`].
    pub fn start(&mut self, entry: &Entry) -> Result<(), ExperimentError> {
        match &entry.work {
            Work::Inference(inference) => self.parties().started(inference.wanted()?).map(drop),
            Work::Training(training) => self.parties().started(training.wanted()?).map(drop),
            Work::Operation(_, link, device) => self.bench(*link, *device).map(drop),
            Work::InferencePlaintext(_) | Work::TrainingPlaintext(_) => Ok(()),
        }
    }

    /// Measures an entry. `observe` gets how far it is.
    ///
    /// # Errors
    /// Whatever ends the measurement. The next one has new parties.
    pub fn measure(&mut self, entry: &Entry, observe: &mut dyn FnMut(Step)) -> Result<Measured, ExperimentError> {
        let measured = self.one(&entry.work, observe);
        if measured.is_err() {
            (self.parties, self.bench) = (None, None);
        }
        measured
    }

    fn one(&mut self, work: &Work, observe: &mut dyn FnMut(Step)) -> Result<Measured, ExperimentError> {
        let mut in_training = |stage: TrainingStage<'_>| {
            if let TrainingStage::Iteration(iteration) = stage {
                observe(Step { done: iteration.number + 1, of: iteration.of });
            }
        };
        Ok(match work {
            Work::Training(training) => {
                Measured::Training(Box::new(training::measure_curve(training, self.parties(), &mut in_training)?))
            }
            Work::TrainingPlaintext(training) => {
                let begin = |graph: &_, weights: &_, train: &_| InF64::new(graph, weights, train, Rounding::Exact);
                Measured::Training(Box::new(measure_plaintext(training, begin, &mut in_training)?))
            }
            Work::Inference(inference) => {
                let record = measure(inference, self.parties(), &mut |stage| observe(step(inference, stage)))?;
                Measured::Inference(Box::new(record))
            }
            Work::InferencePlaintext(inference) => {
                let begin = |graph: &_, weights: &_| Ok(ReferenceNetwork::new(graph, weights));
                let mut observe = |done, of| observe(Step { done, of });
                Measured::Inference(Box::new(measure_inference_plaintext(inference, begin, &mut observe)?))
            }
            Work::Operation(micro, link, device) => {
                Measured::Operation(Box::new(self.bench(*link, *device)?.measure(micro)?))
            }
        })
    }

    /// The parties of networks. Those of operations end first, since both would compute on the same cores.
    fn parties(&mut self) -> &mut Parties {
        self.bench = None;
        let builder = &self.builder;
        self.parties.get_or_insert_with(|| Parties::new(builder.clone()))
    }

    /// The parties of operations, likewise.
    fn bench(&mut self, link: Link, device: Devices) -> Result<&Bench, ExperimentError> {
        self.parties = None;
        self.bench.take_if(|(wanted, _)| *wanted != (link, device));
        let bench = match self.bench.take() {
            Some(bench) => bench,
            None => ((link, device), Bench::start(self.builder.clone().device(device), link)?),
        };
        Ok(&self.bench.insert(bench).1)
    }
}

/// Private evaluations, and the comparisons with plaintext after them.
fn step(inference: &Inference, stage: Stage) -> Step {
    let private = inference.iterations + 1;
    let batches = inference.iterations.min(inference.compare.div_ceil(inference.batch.max(1)));
    let done = match stage {
        Stage::Setup => 0,
        Stage::Private(done, _) => done,
        Stage::Plaintext(done, _) => private + done,
    };
    Step { done, of: private + batches }
}

#[cfg(test)]
mod tests {
    use super::super::{Exhibit, Size, read, records, suite};
    use super::*;
    use crate::cluster::Cluster;
    use crate::experiment::append_line;

    fn entries() -> Vec<Entry> {
        let small = |entry: &Entry| match &entry.work {
            Work::Inference(inference) | Work::InferencePlaintext(inference) => {
                inference.network == "lenet" && inference.batch == 1 && inference.link == Link::None
            }
            Work::Operation(micro, ..) => micro.operation.work() <= 100,
            Work::Training(_) | Work::TrainingPlaintext(_) => false,
        };
        suite(Size::Quick, Devices::default()).unwrap().into_iter().filter(small).collect()
    }

    /// What is measured is known again from its file, and another program's or machine's is not.
    #[test]
    fn what_is_measured_is_not_measured_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("paper.jsonl");
        let entries: Vec<Entry> = entries().into_iter().take(4).collect();
        let mut measuring = Measuring::new(Cluster::in_memory(), vec![]);
        for entry in &entries {
            assert_eq!(measuring.known(entry).unwrap(), None, "{}", entry.work);
            let mut last = Step { done: 0, of: 0 };
            let measured = measuring.measure(entry, &mut |step| last = step).unwrap();
            assert_eq!(last.done, last.of, "{}", entry.work);
            assert_eq!(measured.subject(), entry.work.subject());
            append_line(&path, &measured.to_line().unwrap()).unwrap();
        }
        let known = read(&path).unwrap();
        assert_eq!(known.len(), entries.len());
        let again = Measuring::new(Cluster::in_memory(), known.clone());
        assert!(entries.iter().all(|entry| again.known(entry).unwrap().is_some()));
        let elsewhere = [Cluster::local(), Cluster::in_memory().threads(77)];
        for builder in elsewhere {
            let elsewhere = Measuring::new(builder, known.clone());
            let private = |entry: &&Entry| !entry.work.is_plaintext();
            assert!(entries.iter().filter(private).all(|entry| elsewhere.known(entry).unwrap().is_none()));
        }
        let changed = known.iter().cloned().map(|measured| match measured {
            Measured::Inference(mut record) => {
                record.commit = "another".into();
                Measured::Inference(record)
            }
            other => other,
        });
        let newer = Measuring::new(Cluster::in_memory(), changed.collect());
        assert_eq!(newer.known(&entries[0]).unwrap(), None);
        let shown = records(Exhibit::Inference, &known).unwrap();
        assert_eq!(shown.len(), 1, "one image over links as they are");
    }

    #[test]
    fn an_entry_that_fails_leaves_the_next_one_alone() {
        let mut measuring = Measuring::new(Cluster::in_memory(), vec![]);
        let [first, ..] = &entries()[..] else { panic!("no entries") };
        let mut broken = first.clone();
        if let Work::Inference(inference) = &mut broken.work {
            inference.weights = crate::nn::WeightSource::File("no/such.safetensors".into());
        }
        measuring.start(first).unwrap();
        assert!(measuring.measure(&broken, &mut |_| {}).unwrap_err().to_string().contains("no/such.safetensors"));
        measuring.measure(first, &mut |_| {}).unwrap();
    }
}
