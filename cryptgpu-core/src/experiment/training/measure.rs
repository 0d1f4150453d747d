//! Measurement of a training, which gives a record: opens the examples at their owners, trains, measures the accuracy where
//! it may be revealed, and sums up what was counted.

use std::collections::BTreeMap;

use super::record::{EXPERIMENT, StepRecord, TrainingRecord};
use super::{IMAGES_OWNER, LABELS_OWNER, Stated, Training, WEIGHTS_OWNER};
use crate::cluster::{Accuracy, FirstWeights, Images, Iteration, Labels, Network, Start, TrainingRun};
use crate::device::Devices;
use crate::experiment::party::{PartyState, state};
use crate::experiment::{ExperimentError, Parties, available_memory_bytes, commit, machine, now};

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
    declaration.validate()?;
    check_memory(declaration, &declaration.stated()?)?;
    observe(TrainingStage::Setup);
    let wanted = (declaration.link, declaration.randomness, declaration.device, declaration.settings()?);
    let cluster = parties.started(wanted)?;
    let graph = declaration.graph()?;
    let data = cluster.dataset(declaration.source(&graph), Images::at(IMAGES_OWNER), Labels::at(LABELS_OWNER))?;
    let network = Network::from(&graph).owner(WEIGHTS_OWNER);
    let train = declaration.train.clone();
    let checkpoints = declaration.checkpoints.clone();
    let held_out = declaration.held_out();
    let test = held_out.clone().map(|set| cluster.dataset(set, Images::at(IMAGES_OWNER), Labels::at(LABELS_OWNER)));
    let weights = declaration.weights.clone().map_or(FirstWeights::Drawn, FirstWeights::Read);
    let start = Start { weights, checkpoints, held_out: test.transpose()? };
    let run = cluster.train_observed(network, start, &data, train, |iteration| {
        observe(TrainingStage::Iteration(iteration));
    })?;
    let states = cluster.run(state, ())?.outputs;
    record(declaration, &run, data.len(), &states, parties.describe())
}

/// Refuses a run that would not fit, so that nothing is killed on the way.
fn check_memory(declaration: &Training, stated: &Stated) -> Result<(), ExperimentError> {
    let (here, available) = (3, available_memory_bytes());
    let parties = stated.memory_by_party();
    if available == 0 || parties.into_iter().fold(0, u64::saturating_add) <= available {
        return Ok(());
    }
    let needed = parties.into_iter().max().unwrap_or(0);
    let (network, batch) = (declaration.network.clone(), declaration.train.batch);
    Err(ExperimentError::Memory { network, batch, needed: needed >> 20, here, available: available >> 20 })
}

impl Training {
    /// What the accuracy is measured on, if it is.
    pub(super) fn held_out(&self) -> Option<cryptgpu_datasets::ImageSet> {
        self.data.held_out().filter(|_| self.train.reveal.accuracy_every.is_some())
    }
}

fn record(
    declaration: &Training,
    run: &TrainingRun,
    examples: usize,
    states: &[PartyState; 3],
    parties: &str,
) -> Result<TrainingRecord, ExperimentError> {
    let [randomness, others @ ..] = states.each_ref().map(|state| state.randomness);
    if others != [randomness; 2] {
        return Err(ExperimentError::Reports("they differ in what masks were drawn from".to_owned()));
    }
    let median = median(run.iterations()).ok_or_else(|| ExperimentError::Declaration {
        field: "epochs",
        value: declaration.train.epochs.to_string(),
        hint: "the run had ended before, and nothing was left to do: ask for more".to_owned(),
    })?;
    let steps: Vec<StepRecord> = run
        .steps()
        .into_iter()
        .map(|step| {
            let (pass, layer, kind) = (step.pass, step.layer, step.kind);
            StepRecord { pass, layer, kind, seconds: step.seconds, bytes: step.bytes }
        })
        .collect();
    let mut seconds_by_pass = BTreeMap::new();
    for step in &steps {
        *seconds_by_pass.entry(step.pass.clone()).or_insert(0.0) += step.seconds;
    }
    let (setup_seconds, setup_bytes_sent) = run.setup();
    Ok(TrainingRecord {
        experiment: EXPERIMENT.to_owned(),
        engine: String::new(),
        network: declaration.network.clone(),
        dataset: declaration.data.to_string(),
        examples,
        batch: declaration.train.batch,
        train: declaration.train.clone(),
        weights: declaration.weights.as_ref().map_or_else(String::new, ToString::to_string),
        device: Devices::from(states.each_ref().map(|state| state.device.device)).to_string(),
        cards: states.each_ref().map(|state| state.device.card.clone()),
        link: declaration.link.to_string(),
        fidelity: declaration.fidelity.to_string(),
        fraction_bits: declaration.fraction_bits,
        window: crate::experiment::window::text(declaration.window),
        check_range: declaration.check_range.to_string(),
        iterations: run.iterations().len(),
        seconds: median.seconds,
        bytes_sent: median.bytes,
        rounds: median.rounds,
        steps,
        seconds_by_pass,
        total_seconds: run.duration().as_secs_f64(),
        total_bytes_sent: run.bytes_sent(),
        restarts: run.restarts().to_vec(),
        losses: run.curve().iter().map(|point| (point.iteration, point.loss)).collect(),
        accuracy: run.accuracies().last().map(|point| point.accuracy),
        accuracies: run.accuracies().iter().map(|point| (point.iteration, point.accuracy)).collect(),
        accuracy_seconds: run.iterations().iter().flat_map(|one| &one.accuracy).map(Accuracy::seconds).sum(),
        tested_on: declaration.held_out().map_or_else(String::new, |set| set.to_string()),
        revealed: declaration.revealed(),
        stated: declaration.stated()?,
        peak_rss_bytes: run.usage().each_ref().map(|usage| usage.peak_rss_bytes),
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
