//! Measurement of a training, which gives a record: opens the examples at their owners, trains, measures the accuracy where
//! it may be revealed, and sums up what was counted.

use std::collections::BTreeMap;
use std::time::Instant;

use super::record::{EXPERIMENT, LeftRange, StepRecord, TrainingRecord};
use super::{Export, IMAGES_OWNER, LABELS_OWNER, Stated, Training, WEIGHTS_OWNER};
use crate::cluster::{
    Accuracy, ClusterError, FirstWeights, Images, Iteration, Labels, Network, Restart, Start, StepUsage, TrainingRun,
};
use crate::device::Devices;
use crate::experiment::measure::fits;
use crate::experiment::party::{PartyState, state};
use crate::experiment::{ExperimentError, Parties, commit, machine, now};
use crate::net::PartyId;
use crate::nn::training::Train;

/// How far a training is.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainingStage<'a> {
    /// The owners read their examples, and the first weights are shared.
    Setup,
    /// An iteration has ended, and the accuracy has been measured where it is due.
    Iteration(&'a Iteration),
}

/// Runs `declaration` and gives its record. `observe` gets how far it is.
///
/// # Errors
/// What is wrong with the declaration, before anything starts; then whatever ends the run at a party.
pub fn measure(
    declaration: &Training,
    parties: &mut Parties,
    observe: &mut dyn FnMut(TrainingStage<'_>),
) -> Result<TrainingRecord, ExperimentError> {
    match run(declaration, parties, observe)? {
        (_, Some(error)) => Err(error.into()),
        (record, None) => Ok(record),
    }
}

/// As [`measure`], for a curve that may be one of failure: where a revealed loss cannot be one, the record says at which
/// iteration ([`left_range`](TrainingRecord::left_range)), and is of those before.
///
/// # Errors
/// As [`measure`], but for [`ClusterError::LeftRange`] behind the first iteration.
pub fn measure_curve(
    declaration: &Training,
    parties: &mut Parties,
    observe: &mut dyn FnMut(TrainingStage<'_>),
) -> Result<TrainingRecord, ExperimentError> {
    run(declaration, parties, observe).map(|(record, _)| record)
}

/// The record of a run, and the error of one that left its range.
fn run(
    declaration: &Training,
    parties: &mut Parties,
    observe: &mut dyn FnMut(TrainingStage<'_>),
) -> Result<(TrainingRecord, Option<ClusterError>), ExperimentError> {
    declaration.validate()?;
    check_memory(declaration, &declaration.stated()?, parties.here())?;
    check_export(declaration, parties.here())?;
    observe(TrainingStage::Setup);
    let cluster = parties.started(declaration.wanted()?)?;
    let graph = declaration.graph()?;
    let data = cluster.dataset(declaration.source(&graph), Images::at(IMAGES_OWNER), Labels::at(LABELS_OWNER))?;
    // Of files nothing was known before.
    declaration.check_batch(data.len())?;
    let network = Network::from(&graph).owner(WEIGHTS_OWNER);
    let train = declaration.train.clone();
    let checkpoints = declaration.checkpoints.clone();
    let held_out = declaration.held_out();
    let test = held_out.clone().map(|set| cluster.dataset(set, Images::at(IMAGES_OWNER), Labels::at(LABELS_OWNER)));
    let weights = declaration.weights.clone().map_or(FirstWeights::Drawn, FirstWeights::Read);
    let start = Start { weights, checkpoints, held_out: test.transpose()? };
    // Parties whose run left its range have ended.
    let before = cluster.run(state, ())?.outputs;
    let (mut seen, began) = (vec![], Instant::now());
    let run = cluster.train_observed(network, start, &data, train, |iteration| {
        seen.push(iteration.clone());
        observe(TrainingStage::Iteration(iteration));
    });
    let (course, states, error) = match run {
        Ok(run) => {
            if let Some(export) = &declaration.export {
                run.model().export_to(export.to, &export.path)?;
            }
            (Course::from(&run), cluster.run(state, ())?.outputs, None)
        }
        Err(error @ ClusterError::LeftRange { iteration, loss }) => {
            let of = seen.last().map_or(0, |last| last.of);
            seen.retain(|one| one.number < iteration);
            if seen.is_empty() {
                return Err(error.into());
            }
            let left = LeftRange { iteration, loss, of };
            (Course::left(seen, left, began.elapsed().as_secs_f64()), before, Some(error))
        }
        Err(error) => return Err(error.into()),
    };
    Ok((record(declaration, course, data.len(), &states, parties.describe())?, error))
}

/// What came of a run.
struct Course {
    iterations: Vec<Iteration>,
    steps: Vec<StepRecord>,
    seconds: f64,
    bytes_sent: [u64; 3],
    restarts: Vec<Restart>,
    left_range: Option<LeftRange>,
    peak_rss_bytes: [u64; 3],
    setup: (f64, [u64; 3]),
}

impl From<&TrainingRun> for Course {
    fn from(run: &TrainingRun) -> Self {
        let step = |step: StepUsage| {
            let (pass, layer, kind) = (step.pass, step.layer, step.kind);
            StepRecord { pass, layer, kind, seconds: step.seconds, bytes: step.bytes }
        };
        Course {
            iterations: run.iterations().to_vec(),
            steps: run.steps().into_iter().map(step).collect(),
            seconds: run.duration().as_secs_f64(),
            bytes_sent: run.bytes_sent(),
            restarts: run.restarts().to_vec(),
            left_range: None,
            peak_rss_bytes: run.usage().each_ref().map(|usage| usage.peak_rss_bytes),
            setup: run.setup(),
        }
    }
}

impl Course {
    /// Of a run that was stopped; the parties report nothing then.
    fn left(iterations: Vec<Iteration>, left: LeftRange, seconds: f64) -> Self {
        let sum = |sum: [u64; 3], one: &Iteration| [0, 1, 2].map(|party| sum[party] + one.bytes[party]);
        Course {
            bytes_sent: iterations.iter().fold([0; 3], sum),
            iterations,
            steps: vec![],
            seconds,
            restarts: vec![],
            left_range: Some(left),
            peak_rss_bytes: [0; 3],
            setup: (0.0, [0; 3]),
        }
    }
}

/// Refuses a run that would not fit, so that nothing is killed on the way.
fn check_memory(declaration: &Training, stated: &Stated, here: &[PartyId]) -> Result<(), ExperimentError> {
    let takes = |party: &PartyId| stated.memory_by_party()[party.index()];
    fits(&declaration.network, declaration.train.batch, here.iter().map(takes))
}

/// Refuses a file of weights that could not be written when all is done, as far as that can be seen here.
fn check_export(declaration: &Training, here: &[PartyId]) -> Result<(), ExperimentError> {
    let Some(Export { to, path }) = &declaration.export else { return Ok(()) };
    // A path without a folder is one of the party's own.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let hint = match folder {
        _ if !here.contains(to) => return Ok(()),
        _ if path.is_dir() => "it is a folder: name a file in it",
        Some(folder) if !folder.is_dir() => "there is no such folder: make it, or name a file in another",
        _ => return Ok(()),
    };
    let value = path.display().to_string();
    Err(ExperimentError::Declaration { field: "the file for weights", value, hint: hint.to_owned() })
}

impl Training {
    /// What the accuracy is measured on, if it is.
    pub(super) fn held_out(&self) -> Option<cryptgpu_datasets::ImageSet> {
        self.data.held_out().filter(|_| self.train.reveal.accuracy_every.is_some())
    }
}

fn record(
    declaration: &Training,
    course: Course,
    examples: usize,
    states: &[PartyState; 3],
    parties: &str,
) -> Result<TrainingRecord, ExperimentError> {
    let [randomness, others @ ..] = states.each_ref().map(|state| state.randomness);
    if others != [randomness; 2] {
        return Err(ExperimentError::Reports("they differ in what masks were drawn from".to_owned()));
    }
    let train = declaration.recorded(examples);
    let median = median(&course.iterations).ok_or_else(|| nothing_left(&train))?;
    let mut seconds_by_pass = BTreeMap::new();
    for step in &course.steps {
        *seconds_by_pass.entry(step.pass.clone()).or_insert(0.0) += step.seconds;
    }
    let (setup_seconds, setup_bytes_sent) = course.setup;
    let point = |one: &Iteration| Some((one.number, one.accuracy.as_ref()?.fraction()));
    let accuracies: Vec<(usize, f64)> = course.iterations.iter().filter_map(point).collect();
    Ok(TrainingRecord {
        experiment: EXPERIMENT.to_owned(),
        engine: String::new(),
        network: declaration.network.clone(),
        dataset: declaration.data.to_string(),
        examples,
        batch: declaration.train.batch,
        train,
        weights: declaration.weights.as_ref().map_or_else(String::new, ToString::to_string),
        device: Devices::from(states.each_ref().map(|state| state.device.device)).to_string(),
        cards: states.each_ref().map(|state| state.device.card.clone()),
        link: declaration.link.to_string(),
        fidelity: declaration.fidelity.to_string(),
        ring: declaration.ring,
        fraction_bits: declaration.fraction_bits,
        simulated: None,
        window: crate::experiment::window::text(declaration.window),
        check_range: declaration.check_range.to_string(),
        iterations: course.iterations.len(),
        seconds: median.seconds,
        bytes_sent: median.bytes,
        rounds: median.rounds,
        steps: course.steps,
        seconds_by_pass,
        total_seconds: course.seconds,
        total_bytes_sent: course.bytes_sent,
        restarts: course.restarts,
        left_range: course.left_range,
        resumed_from: course.iterations.first().map(|first| first.number).filter(|number| *number > 0),
        losses: course.iterations.iter().filter_map(|one| Some((one.number, one.loss?))).collect(),
        accuracy: accuracies.last().map(|(_, accuracy)| *accuracy),
        accuracies,
        accuracy_seconds: course.iterations.iter().flat_map(|one| &one.accuracy).map(Accuracy::seconds).sum(),
        tested_on: declaration.held_out().map_or_else(String::new, |set| set.to_string()),
        revealed: declaration.revealed(),
        stated: declaration.stated()?,
        peak_rss_bytes: course.peak_rss_bytes,
        setup_seconds,
        setup_bytes_sent,
        parties: parties.to_owned(),
        threads: states.each_ref().map(|state| state.threads),
        randomness: randomness.to_string(),
        machine: machine().clone(),
        commit: commit().to_owned(),
        time: now(),
    })
}

/// That a run which goes on from a checkpoint had ended there, by what was given as its end.
fn nothing_left(train: &Train) -> ExperimentError {
    let (field, value) = train.iterations.map_or(("epochs", train.epochs), |iterations| ("iterations", iterations));
    let hint = "the run that it goes on with had ended before, and nothing is left to do: ask for more".to_owned();
    ExperimentError::Declaration { field, value: value.to_string(), hint }
}

/// The iteration of the median time, among those of a full batch; without the first where there are others.
pub(super) fn median(iterations: &[Iteration]) -> Option<&Iteration> {
    let full = iterations.iter().map(|iteration| iteration.examples).max()?;
    let timed = iterations.get(1..).filter(|rest| !rest.is_empty()).unwrap_or(iterations);
    let mut timed: Vec<&Iteration> = timed.iter().filter(|iteration| iteration.examples == full).collect();
    if timed.is_empty() {
        timed = iterations.iter().filter(|iteration| iteration.examples == full).collect();
    }
    timed.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    timed.get(timed.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use crate::experiment::paper::Measured;
    use crate::experiment::training::Examples;
    use crate::nn::training::Sgd;
    use cryptgpu_datasets::ImageSet;

    #[test]
    fn a_run_that_had_ended_names_the_end_that_was_given() {
        let lenet = Training::of("lenet").unwrap();
        let error = nothing_left(&lenet.train).to_string();
        assert!(error.contains("iterations 4") && error.contains("nothing is left"), "{error}");
        let error = nothing_left(&Train { epochs: 2, iterations: None, ..lenet.train }).to_string();
        assert!(error.contains("epochs 2"), "{error}");
    }

    #[test]
    fn memory_and_folders_are_looked_at_where_a_party_runs_here() {
        let lenet = Training::of("lenet").unwrap();
        let most = Stated { memory_bytes: u64::MAX >> 8, ..Stated::default() };
        let error = check_memory(&lenet, &most, &PartyId::ALL).unwrap_err().to_string();
        assert!(error.contains("3 of them run on this machine"), "{error}");
        let error = check_memory(&lenet, &most, &[PartyId::P0]).unwrap_err().to_string();
        assert!(error.contains("1 of them runs on this machine"), "{error}");
        check_memory(&lenet, &most, &[]).unwrap();
        let to = |path: &str| Training { export: Some(Export { to: PartyId::P1, path: path.into() }), ..lenet.clone() };
        for (path, hint) in [("no/such/folder/w.safetensors", "no such folder"), (".", "it is a folder")] {
            let error = check_export(&to(path), &PartyId::ALL).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(hint), "{error}");
            check_export(&to(path), &[PartyId::P0]).unwrap();
        }
        check_export(&to("w.safetensors"), &PartyId::ALL).unwrap();
    }

    #[test]
    fn a_curve_that_leaves_its_range_is_a_record_and_a_measurement_that_does_is_an_error() {
        let digits = Examples::Set(ImageSet::DigitsTrain);
        let mut lenet = Training { data: digits, ..Training::of("lenet").unwrap() };
        // A rate at which weights explode.
        lenet.train.optimizer = Sgd::new(1e5).momentum(0.9);
        (lenet.train.batch, lenet.train.iterations) = (8, Some(60));
        lenet.train.reveal.loss_every = Some(1);
        let mut parties = Parties::new(Cluster::in_memory());
        let error = measure(&lenet, &mut parties, &mut |_| {}).unwrap_err();
        assert!(matches!(error, ExperimentError::Cluster(ClusterError::LeftRange { .. })), "{error}");
        let record = measure_curve(&lenet, &mut parties, &mut |_| {}).unwrap();
        let left = record.left_range.unwrap();
        assert_eq!((left.of, record.iterations, record.losses.len()), (60, left.iteration, left.iteration));
        assert!(left.to_string().starts_with("left its range at iteration "), "{left}");
        assert!(record.to_line().unwrap().contains("left_range"));
        assert_eq!((record.train.epochs, record.resumed_from), (1, None));
        assert_eq!(Measured::Training(Box::new(record)).conditions().iterations, 60);
    }
}
