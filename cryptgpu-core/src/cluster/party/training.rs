//! A party's half of training: the whole run is one job, in which it shares its rows of each minibatch, goes through an
//! iteration on shares, and tells the caller what it took. The loss goes to the caller alone, and only where it was asked for;
//! the trained network stays in shares, until it is opened to the party that may have it.

use super::context::{PartyContext, Voice};
use super::dataset::{Data, Minibatches, wrong_predictions};
use super::gate::{Asks, Origin, To, What, asked_network};
use super::job::Job;
use super::keeper::{Keeper, Kept};
use crate::cluster::marshal::store::Held;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::HeldId;
use crate::mpc::Party;
use crate::net::{PartyId, Stats};
use crate::nn::training::{Batch, Batches, SharedTraining, StepTime, Train};
use crate::nn::{Graph, WeightSource};
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Trains a network, and holds it: the training at place 0, the network for inference at place 1.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct TrainModel {
    pub(in crate::cluster) graph: Graph,
    pub(in crate::cluster) weights: First,
    pub(in crate::cluster) train: Train,
    pub(in crate::cluster) data: Data,
    /// What the accuracy is measured on, where it is revealed.
    pub(in crate::cluster) held_out: Option<Data>,
    /// Where checkpoints go and from which one the run goes on.
    pub(in crate::cluster) kept: Option<Kept>,
}

/// The weights that a training begins with.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum First {
    /// The owner's. Where they are only the owner has, and it draws them from the settings' seed where there are none.
    Owner { owner: PartyId, source: Option<WeightSource> },
    /// Those of a training that the parties hold.
    Trained(HeldId),
    /// That training itself, which goes on.
    GoingOn(HeldId),
}

/// What a party tells of one iteration, when it has ended.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct ToldIteration {
    /// From 0.
    pub(in crate::cluster) number: u64,
    pub(in crate::cluster) epoch: u64,
    pub(in crate::cluster) examples: u64,
    /// From the images at their owner to new weights.
    pub(in crate::cluster) seconds: f64,
    /// What was counted before and after.
    pub(in crate::cluster) stats: [Stats; 2],
    /// This party's summand of the sum of the losses, made anew, where it may be revealed.
    pub(in crate::cluster) loss: Option<u64>,
    /// What was measured after it, where it is due.
    pub(in crate::cluster) accuracy: Option<ToldAccuracy>,
}

/// What a party tells of a measured accuracy.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct ToldAccuracy {
    /// This party's summand of the number of wrong predictions, made anew.
    pub(in crate::cluster) wrong: u64,
    pub(in crate::cluster) seconds: f64,
    /// Payload bytes that this party sent for it.
    pub(in crate::cluster) bytes: u64,
}

/// What all of a training took at one party.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct TrainingReport {
    /// Seconds and counts of sharing the first weights.
    pub(in crate::cluster) setup: (f64, Stats),
    /// Iterations that `steps` sums up: all, but for the first where there are others.
    pub(in crate::cluster) counted: u64,
    pub(in crate::cluster) steps: Vec<StepSum>,
    /// What the owner changed to make its weights fit, for the caller.
    pub(in crate::cluster) notices: Vec<String>,
}

/// One step, summed over iterations.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct StepSum {
    pub(in crate::cluster) pass: String,
    pub(in crate::cluster) layer: String,
    pub(in crate::cluster) kind: String,
    pub(in crate::cluster) seconds: f64,
    pub(in crate::cluster) bytes: u64,
    pub(in crate::cluster) rounds: u64,
}

/// Steps by pass and layer, in the order in which they first come.
#[derive(Default)]
struct Steps {
    places: HashMap<(String, String), usize>,
    sums: Vec<StepSum>,
}

impl Steps {
    fn add(&mut self, pass: &str, layer: &str, kind: &str, seconds: f64, stats: &Stats) {
        let place = *self.places.entry((pass.to_owned(), layer.to_owned())).or_insert_with(|| {
            let (pass, layer, kind) = (pass.to_owned(), layer.to_owned(), kind.to_owned());
            self.sums.push(StepSum { pass, layer, kind, seconds: 0.0, bytes: 0, rounds: 0 });
            self.sums.len() - 1
        });
        let sum = &mut self.sums[place];
        sum.seconds += seconds;
        sum.bytes += stats.payload_bytes();
        sum.rounds += stats.rounds;
    }
}

impl Job for TrainModel {
    const NAME: &'static str = "train";
    type Output = TrainingReport;

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        let TrainModel { graph, weights, train, data, held_out, kept } = self;
        let network = asked_network(graph);
        let asks = Asks::default().network(graph).leaving(Origin::network(network.known_as()));
        // The folder is a path of each party's own machine.
        let going = kept.as_ref().map(|kept| (kept.every, &kept.run, kept.from));
        let asks = asks.same(&(train, data, held_out, going));
        let asks = match weights {
            First::Owner { owner, source } => source.iter().fold(asks.same(owner), Asks::reads_weights),
            First::Trained(id) | First::GoingOn(id) if context.origin(*id).of == network.known_as() => {
                asks.same(weights)
            }
            First::Trained(_) | First::GoingOn(_) => {
                return Err(JobError::Arguments("what is trained on is of another network".to_owned()));
            }
        };
        let asks = kept.iter().fold(asks, |asks, kept| asks.writes(&kept.folder));
        let batches = Batches::new(Minibatches::count(data, context)?, train)?;
        let from = match (weights, kept.as_ref().and_then(|kept| kept.from)) {
            (_, Some(from)) => from as usize,
            (First::GoingOn(id), None) => held_training(context, *id)?.iteration() as usize,
            (First::Owner { .. } | First::Trained(_), None) => 0,
        };
        let rest = from..batches.iterations();
        let losses = losses_of(&rest, train.reveal.loss_every);
        let accuracies =
            held_out.as_ref().map_or(0, |_| rest.filter(|iteration| batches.accuracy_is_due(*iteration)).count());
        let told = [(What::Loss, losses), (What::Accuracy, accuracies)].into_iter().filter(|(_, times)| *times > 0);
        Ok(told.fold(asks, |asks, (what, times)| asks.reveals(what, network.known_as(), To::Caller, times as u64)))
    }

    fn run(self, context: &mut PartyContext) -> Result<TrainingReport, JobError> {
        let TrainModel { graph, weights, train, data, held_out, kept } = self;
        let classes = graph.output_shape().iter().product();
        let data = Minibatches::open(data, classes, context)?;
        let held_out = held_out.map(|data| Minibatches::open(data, classes, context)).transpose()?;
        let keeper = kept.map(|kept| Keeper::open(kept, context.party(), &graph, &train, &data)).transpose()?;
        let restored = keeper.as_ref().map(|keeper| keeper.restore(context.party(), &graph)).transpose()?.flatten();
        let (restored, standing) = restored.unzip();
        let training = match (restored, &weights) {
            (Some(restored), _) => Some(restored),
            (None, First::Owner { .. }) => None,
            (None, First::Trained(id)) => Some(held_training(context, *id)?.anew(&train)?),
            (None, First::GoingOn(id)) => Some(held_training(context, *id)?.going_on(&train)?),
        };
        let begun = Begun { graph, weights, train, data, held_out, keeper };
        let mut voice = context.voice();
        let p = context.party();
        let (training, mut report) = match &begun.keeper {
            None => begun.run(p, &mut voice, training)?,
            // What is in a file leads to nothing that is drawn outside.
            Some(_) => p.with_own_keys(standing.as_ref(), |p| begun.run(p, &mut voice, training))?,
        };
        let model = p.step("model", |p| training.to_model(p))?;
        context.hold(0, Held::Training(Arc::new(training)))?;
        context.hold(1, Held::Model(Arc::new(model)))?;
        report.notices = context.notices(report.notices);
        Ok(report)
    }
}

/// How many of these iterations reveal their loss, as [`SharedTraining::loss_is_next`] decides: ⌊end/k⌋ − ⌊start/k⌋.
fn losses_of(iterations: &Range<usize>, every: Option<usize>) -> usize {
    let Some(every) = every.filter(|every| *every > 0) else { return 0 };
    (iterations.end / every).saturating_sub(iterations.start / every)
}

/// A training as it runs at one party.
struct Begun {
    graph: Graph,
    weights: First,
    train: Train,
    data: Minibatches,
    held_out: Option<Minibatches>,
    keeper: Option<Keeper>,
}

impl Begun {
    /// All iterations, from the first one or on from those that a training has behind it.
    fn run(
        &self,
        p: &mut Party,
        voice: &mut Voice,
        begun: Option<SharedTraining>,
    ) -> Result<(SharedTraining, TrainingReport), JobError> {
        let mut report = TrainingReport::default();
        let mut training = match begun {
            Some(training) => training,
            None => self.share_weights(p, &mut report)?,
        };
        let first = training.iteration() as usize;
        let batches = Batches::new(self.data.examples(), &self.train)?;
        let (mut steps, all) = (Steps::default(), batches.iterations());
        let skipped = usize::from(all > first + 1);
        for batch in batches.from(first) {
            let fraction = batch.iteration as f64 / all.max(1) as f64;
            voice.progress(fraction, &format!("iteration {} of {all}", batch.iteration + 1), &p.current_step());
            let mut unseen = Steps::default();
            let seen = if batch.iteration < first + skipped { &mut unseen } else { &mut steps };
            let mut told = self.iteration(p, &mut training, &batch, seen)?;
            if batches.accuracy_is_due(batch.iteration) {
                let text = format!("the accuracy after iteration {}", batch.iteration + 1);
                // It changes nothing of the training, and may differ where that is gone on with from a checkpoint.
                told.accuracy = p.with_session_keys(|p| {
                    self.accuracy(p, &training, |p| voice.progress(fraction, &text, &p.current_step()))
                })?;
            }
            if let Some(keeper) = &self.keeper {
                keeper.ended(p, &training, batch.iteration + 1 == all)?;
            }
            voice.tell(&told)?;
        }
        voice.progress(1.0, "done", &p.current_step());
        (report.counted, report.steps) = (all.saturating_sub(first + skipped) as u64, steps.sums);
        Ok((training, report))
    }

    /// The weights that training begins with.
    fn share_weights(&self, p: &mut Party, report: &mut TrainingReport) -> Result<SharedTraining, JobError> {
        let (start, before) = (Instant::now(), p.stats());
        let First::Owner { owner, source } = &self.weights else {
            return Err(JobError::Other("the weights of a training that goes on are shared already".to_owned()));
        };
        let opened = source.as_ref().map(|source| source.open(&self.graph)).transpose()?;
        let (weights, notices) = opened.map(|fitted| (fitted.weights, fitted.notices)).unzip();
        let training =
            p.step("share weights", |p| SharedTraining::share(p, &self.graph, *owner, weights, &self.train))?;
        report.setup = (start.elapsed().as_secs_f64(), p.stats().since(&before));
        report.notices = notices.unwrap_or_default();
        Ok(training)
    }

    fn iteration(
        &self,
        p: &mut Party,
        training: &mut SharedTraining,
        batch: &Batch,
        steps: &mut Steps,
    ) -> Result<ToldIteration, JobError> {
        let (shape, classes) = (self.graph.input_shape(), self.graph.output_shape().iter().product());
        let (start, before) = (Instant::now(), p.stats());
        let (images, targets) = self.data.share(p, &batch.rows, shape, classes)?;
        steps.add("input", "minibatch", "input", start.elapsed().as_secs_f64(), &p.stats().since(&before));
        let rate = self.train.rate(batch.epoch);
        let loss = training.step(p, &images, &targets, rate, |step: StepTime<'_>| {
            steps.add(step.pass.name(), step.name, step.kind, step.time.as_secs_f64(), &step.stats);
        })?;
        let (seconds, after) = (start.elapsed().as_secs_f64(), p.stats());
        let loss = match loss {
            Some(loss) => {
                let summand = p.fresh_summand(&loss)?;
                summand.into_host().map_err(|error| JobError::Mpc(error.into()))?.first().copied()
            }
            None => None,
        };
        let (number, epoch, examples) = (batch.iteration as u64, batch.epoch as u64, batch.rows.len() as u64);
        Ok(ToldIteration { number, epoch, examples, seconds, stats: [before, after], loss, accuracy: None })
    }

    /// Measures the accuracy of the network as it is now, as many examples at a time as a minibatch has.
    fn accuracy(
        &self,
        p: &mut Party,
        training: &SharedTraining,
        mut observe: impl FnMut(&Party),
    ) -> Result<Option<ToldAccuracy>, JobError> {
        let Some(data) = &self.held_out else { return Ok(None) };
        let classes = self.graph.output_shape().iter().product();
        let (start, before) = (Instant::now(), p.stats());
        let wrong = p.step("accuracy", |p| {
            let model = training.to_model(p)?;
            wrong_predictions(p, &model, data, (classes, self.train.batch), |p, _| observe(p))
        })?;
        let bytes = p.stats().since(&before).payload_bytes();
        let wrong = wrong.first().copied().unwrap_or_default();
        Ok(Some(ToldAccuracy { wrong, seconds: start.elapsed().as_secs_f64(), bytes }))
    }
}

fn held_training(context: &PartyContext, id: HeldId) -> Result<Arc<SharedTraining>, JobError> {
    match context.held(id)? {
        Held::Training(training) => Ok(training),
        held => Err(JobError::Other(format!("the handle names {}", held.label().describe()))),
    }
}

/// Opens a trained network to one party, which writes it to a file.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct ExportModel {
    pub(in crate::cluster) training: HeldId,
    pub(in crate::cluster) to: PartyId,
    /// Where to; only that party has this.
    pub(in crate::cluster) path: Option<PathBuf>,
}

impl Job for ExportModel {
    const NAME: &'static str = "export-model";
    type Output = ();

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        let network = context.origin(self.training);
        let asks = Asks::default().same(&self.training).reveals(What::Weights, &network.of, To::Party(self.to), 1);
        Ok(self.path.iter().fold(asks, |asks, path| asks.writes(path)))
    }

    fn run(self, context: &mut PartyContext) -> Result<(), JobError> {
        let training = held_training(context, self.training)?;
        let weights = context.party().step("export", |p| training.open_to(p, self.to))?;
        if let (Some(weights), Some(path)) = (weights, self.path) {
            weights.stating(training.graph().name()).save(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_losses_are_asked_for_as_are_revealed() {
        for (every, start, end) in [(1, 0, 5), (2, 0, 5), (3, 2, 7), (3, 3, 6), (7, 0, 5), (2, 5, 5), (2, 6, 5)] {
            let revealed = (start..end).filter(|iteration| (iteration + 1) % every == 0).count();
            assert_eq!(losses_of(&(start..end), Some(every)), revealed, "every {every} of {start}..{end}");
        }
        assert_eq!([None, Some(0)].map(|every| losses_of(&(0..5), every)), [0, 0]);
    }
}
