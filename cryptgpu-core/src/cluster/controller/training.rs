//! The caller's half of training: one run at the parties, watched iteration by iteration, and what comes of it. The caller
//! learns the loss where it was asked for, and of weights, images and labels nothing.

use super::cluster::Cluster;
use super::dataset::{Accuracy, check_fit};
use super::inference::InferenceResult;
use super::inner::Inner;
use super::model::infer;
use super::network::Network;
use super::restart::{Course, Restart};
use super::run::Run;
use super::start::Start;
use super::together::Together;
use super::turn::Turn;
use super::watch::Heard;
use crate::cluster::marshal::dataset::{Dataset, PartyNumber, party};
use crate::cluster::marshal::handle::Token;
use crate::cluster::marshal::model::Model;
use crate::cluster::marshal::store::Label;
use crate::cluster::party::job::Job;
use crate::cluster::party::training::{ExportModel, TrainModel, TrainingReport};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::{HeldId, Usage};
use crate::net::PartyId;
use crate::nn::training::{Batches, Train, TrainingPlan};
use crate::nn::{Graph, NnError, WeightSource, fold, window};
use ndarray::{ArrayBase, Data, Dimension};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const ACTION: &str = "train";

impl Cluster {
    /// Trains a network on examples that stay with their owners, from weights that party 1, or the network's
    /// [`owner`](Network::owner), draws from the settings' seed. The parties hold weights, gradients and examples in shares only;
    /// nothing is opened but what [`Train::reveal`] names, to the caller alone. The whole run is one job at the parties, which
    /// [`cancel`](Cluster::cancel) and an interrupt end like any other.
    ///
    /// ```no_run
    /// use cryptgpu_core::prelude::*;
    ///
    /// let cluster = Cluster::local().start()?;
    /// let lenet = zoo::by_name("lenet")?;
    /// let train = cluster.dataset("mnist-train", Images::at(0), Labels::at(2))?; // images at party 0, labels at party 2
    /// let run = cluster.train(&lenet, &train, Train { batch: 128, epochs: 2, optimizer: Sgd::new(0.1).momentum(0.9), seed: 7, ..Default::default() })?;
    /// run.curve(); // loss: only what was asked to be revealed, and here nothing was
    /// let test = cluster.dataset("mnist-test", Images::at(0), Labels::at(2))?;
    /// println!("{:?}", cluster.accuracy(run.model(), &test, 500)?); // one number, opened to this program
    /// run.model().infer(&Array4::<f64>::zeros((1, 1, 28, 28)))?;
    /// run.model().export_to(1, "lenet.safetensors")?; // to the party that may have it; PyTorch reads it
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ClusterError::Argument`] for an unknown network, examples that do not fit it, and settings that it cannot be trained
    /// with, before anything is sent; [`ClusterError::Job`] with party and step, also for values that leave the ring where the
    /// cluster checks ranges; [`ClusterError::LeftRange`] for a revealed loss that cannot be one, which stops the run; whatever
    /// else ends a run.
    pub fn train(
        &self,
        network: impl Into<Network>,
        data: &Dataset,
        train: Train,
    ) -> Result<TrainingRun, ClusterError> {
        self.train_observed(network, Start::default(), data, train, |_| ())
    }

    /// As [`Cluster::train`], from weights that the network's owner reads: for fine-tuning, of all layers or of those that
    /// [`Train::frozen`] does not name.
    ///
    /// # Errors
    /// As [`Cluster::train`], and for weights that are missing, damaged or another network's.
    pub fn fine_tune(
        &self,
        network: impl Into<Network>,
        weights: WeightSource,
        data: &Dataset,
        train: Train,
    ) -> Result<TrainingRun, ClusterError> {
        self.train_observed(network, Start::from(weights), data, train, |_| ())
    }

    /// As [`Cluster::train`], from given weights ([`Start::weights`]), with checkpoints ([`Start::checkpoints`]) where they
    /// are asked for, and tested meanwhile on examples that are held out ([`Start::held_out`]); `observe` gets each iteration when all parties have ended it and have written what checkpoint is due,
    /// so that a curve can be drawn while the run goes on.
    ///
    /// A run with checkpoints that loses its parties goes on with new ones by itself
    /// ([`Checkpointing::restarts`](crate::cluster::Checkpointing::restarts)); `observe` gets the iterations since the last checkpoint
    /// again then. One that was killed itself goes on after the last checkpoint that all parties have, with the same bits as one that
    /// was not ([`Checkpointing::resuming`](crate::cluster::Checkpointing::resuming)). It needs the same program, network, data set and
    /// settings, but for how many epochs there are, when the accuracy is measured, and how many iterations lie between checkpoints;
    /// the parties refuse others. One that had ended goes on for the epochs that are asked for beyond.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::{Checkpointing, Cluster, Images, Labels, Start};
    /// use cryptgpu_core::nn::training::Train;
    ///
    /// let cluster = Cluster::local().start()?;
    /// let data = cluster.dataset("mnist-train", Images::at(0), Labels::at(2))?;
    /// let checkpoints = Checkpointing::every(50, "checkpoints").resuming();
    /// let start = Start { checkpoints: Some(checkpoints), ..Start::default() };
    /// cluster.train_observed("lenet", start, &data, Train::default(), |iteration| println!("{iteration:?}"))?;
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Cluster::train`] and [`Cluster::fine_tune`]; [`ClusterError::Argument`] where there is no checkpoint to go on
    /// from, where there are some of another run, and where the parties have none in common; [`ClusterError::Job`] of a party that
    /// refuses its own; [`ClusterError::Lost`] when its parties were lost and new ones did not start or could not go on.
    pub fn train_observed(
        &self,
        network: impl Into<Network>,
        start: Start,
        data: &Dataset,
        train: Train,
        mut observe: impl FnMut(&Iteration),
    ) -> Result<TrainingRun, ClusterError> {
        let network = network.into();
        let refused = |error: NnError| ClusterError::argument(ACTION, &error);
        let graph = network.graph().map_err(refused)?;
        let owner = network.owner;
        check_fit(&graph, data, ACTION)?;
        check_reveal(&graph, start.held_out.as_ref(), &train)?;
        // What would end the run at its end is found before it begins.
        fold::fold_graph(&graph).map_err(refused)?;
        let plan = TrainingPlan::new(&graph, &train, self.settings().codec.ring()).map_err(refused)?;
        window::check_training(&plan, self.settings()).map_err(refused)?;
        let batches = Batches::new(data.len(), &train).map_err(refused)?;
        // A schedule's factors go one way: that of the last epoch is the farthest.
        let last = batches.iterations().checked_sub(1).and_then(|last| batches.get(last)).map_or(0, |last| last.epoch);
        plan.check_rate(train.rate(last), self.settings().codec).map_err(refused)?;
        start.weights.check(&graph, &batches)?;
        let Start { weights, checkpoints, held_out } = start;
        let kept = checkpoints.as_ref().map(|checkpoints| self.kept(checkpoints)).transpose()?;
        let first = kept.as_ref().and_then(|kept| kept.from).map_or(weights.iterations(), |from| from as usize);
        let tested = held_out.as_ref().map_or(0, Dataset::len);
        let mut progress = Together::new(self.settings().codec, (first, batches.iterations()), tested, train.loss);
        let most = checkpoints.map_or(0, |checkpoints| checkpoints.restarts);
        let (data, restarts) = (data.clone(), vec![]);
        let mut course =
            Course { graph, owner, weights, train, data, held_out, kept, most, attempts: 0, tried_at: None, restarts };
        let began = Instant::now();
        let course_of_runs = self.inner.whole_course();
        let (mut run, id, generation) = loop {
            match self.attempt(&course, &mut progress, &mut observe) {
                Ok(ended) => break ended,
                Err(error) => self.go_on(error, &mut course, &mut progress)?,
            }
        };
        drop(course_of_runs);
        run.duration = began.elapsed();
        let (iterations, before) = progress.finish()?;
        let Course { graph, weights, train, restarts, .. } = course;
        let notices: Vec<String> = run.outputs.iter().flat_map(|report| report.notices.clone()).collect();
        if let Some(weights) = weights.source() {
            notices.iter().for_each(|notice| eprintln!("{weights}: {notice}"));
        }
        let name = graph.name().to_owned();
        let token =
            |place, label| Arc::new(Token::new(self.inner.clone(), generation, HeldId { run: id, place }, label));
        let training = token(0, Label::Training(name.clone()));
        let model = token(1, Label::Model(name));
        let (graph, input, usage) = (Arc::new(graph), network.input, run.usage);
        let model = Model { token: model, graph, input, notices: notices.into(), usage };
        let iterations_behind = batches.iterations().max(first);
        let model = TrainedModel { inner: self.inner.clone(), model, training, iterations: iterations_behind };
        Ok(TrainingRun { model, iterations, train, run, before, restarts })
    }

    /// The training at the parties that are there, to its end or to an error; with the run's number and generation.
    fn attempt(
        &self,
        course: &Course,
        progress: &mut Together,
        observe: &mut dyn FnMut(&Iteration),
    ) -> Result<(Run<TrainingReport>, u64, u64), ClusterError> {
        let turn = Turn::begin(&self.inner, TrainModel::NAME)?;
        let (generation, id, jobs) = (turn.generation(), turn.run, course.jobs(&turn)?);
        let ended = turn.run_job_hearing(jobs, |heard| {
            if let Heard::Told(party, told) = heard
                && let Some(iteration) = progress.hear(party, told)
            {
                observe(&iteration);
                if matches!(progress.failed, Some(ClusterError::LeftRange { .. })) {
                    self.cancel();
                }
            }
        });
        match (ended, progress.failed.take()) {
            (Ok(_) | Err(ClusterError::Cancelled { .. }), Some(left @ ClusterError::LeftRange { .. })) => Err(left),
            (ended, failed) => {
                progress.failed = failed;
                Ok((ended?, id, generation))
            }
        }
    }
}

/// One iteration of a training, as all parties have ended it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Iteration {
    /// From 0.
    pub number: usize,
    /// Iterations of the whole run.
    pub of: usize,
    /// From 0.
    pub epoch: usize,
    /// Examples of its minibatch.
    pub examples: usize,
    /// From the images at their owner to new weights, at the slowest party.
    pub seconds: f64,
    /// Payload bytes that each party sent.
    pub bytes: [u64; 3],
    /// Rounds: the growth of the longest chain of messages.
    pub rounds: u64,
    /// The mean loss over the minibatch, before its update; only where it was asked for.
    pub loss: Option<f64>,
    /// The accuracy on held-out examples, after its update; only where it was asked for. Its time and bytes are not among
    /// those of the iteration.
    pub accuracy: Option<Accuracy>,
    /// How often the run has gone on with new parties before ([`Checkpointing::restarts`](crate::cluster::Checkpointing::restarts)).
    pub restarts: usize,
}

/// A loss that was revealed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossPoint {
    /// The iteration, from 0.
    pub iteration: usize,
    /// Its epoch, from 0.
    pub epoch: usize,
    /// The mean loss over its minibatch.
    pub loss: f64,
}

/// An accuracy that was revealed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccuracyPoint {
    /// The iteration after which it was measured, from 0.
    pub iteration: usize,
    /// Its epoch, from 0.
    pub epoch: usize,
    /// The part of the held-out examples whose prediction is right, from 0 to 1.
    pub accuracy: f64,
}

/// What one step of an iteration takes: one layer in one pass.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepUsage {
    /// `input`, `forward`, `loss`, `backward` or `update`.
    pub pass: String,
    /// The layer; `minibatch`, `loss` and `update` beside the layers.
    pub layer: String,
    /// The kind of operation.
    pub kind: String,
    /// Seconds of an iteration, at the slowest party of the whole run.
    pub seconds: f64,
    /// Payload bytes of an iteration, all parties together.
    pub bytes: f64,
}

/// A training that has ended: its iterations, what was revealed, and the trained network.
#[derive(Clone)]
pub struct TrainingRun {
    model: TrainedModel,
    iterations: Vec<Iteration>,
    train: Train,
    /// Of the last parties, with the time of all.
    run: Run<TrainingReport>,
    /// Bytes of those before.
    before: [u64; 3],
    restarts: Vec<Restart>,
}

impl TrainingRun {
    /// The trained network, in shares at the parties.
    pub fn model(&self) -> &TrainedModel {
        &self.model
    }

    /// The losses that were revealed, in order: none where [`Train::reveal`] asks for none.
    pub fn curve(&self) -> Vec<LossPoint> {
        let point = |iteration: &Iteration| {
            let &Iteration { number, epoch, loss, .. } = iteration;
            Some(LossPoint { iteration: number, epoch, loss: loss? })
        };
        self.iterations.iter().filter_map(point).collect()
    }

    /// The accuracies that were revealed, in order: none where [`Train::reveal`] asks for none.
    pub fn accuracies(&self) -> Vec<AccuracyPoint> {
        let point = |iteration: &Iteration| {
            let accuracy = iteration.accuracy.as_ref()?.fraction();
            Some(AccuracyPoint { iteration: iteration.number, epoch: iteration.epoch, accuracy })
        };
        self.iterations.iter().filter_map(point).collect()
    }

    /// What each iteration took.
    pub fn iterations(&self) -> &[Iteration] {
        &self.iterations
    }

    /// How it was trained.
    pub fn settings(&self) -> &Train {
        &self.train
    }

    /// How often it lost its parties and went on with new ones, in order.
    pub fn restarts(&self) -> &[Restart] {
        &self.restarts
    }

    /// What each layer takes in each pass of an iteration: the mean over all iterations but the first, in the order in which
    /// they run, as the party counted that was the slowest in all. After a restart, over those of the last parties.
    pub fn steps(&self) -> Vec<StepUsage> {
        let reports = &self.run.outputs;
        let total = |report: &&TrainingReport| report.steps.iter().map(|step| step.seconds).sum::<f64>();
        let slowest = reports.iter().max_by(|a, b| total(a).total_cmp(&total(b))).unwrap_or(&reports[0]);
        let counted = slowest.counted.max(1) as f64;
        let step = |(at, step): (usize, &crate::cluster::party::training::StepSum)| {
            let bytes: u64 = reports.iter().filter_map(|report| Some(report.steps.get(at)?.bytes)).sum();
            StepUsage {
                pass: step.pass.clone(),
                layer: step.layer.clone(),
                kind: step.kind.clone(),
                seconds: step.seconds / counted,
                bytes: bytes as f64 / counted,
            }
        };
        slowest.steps.iter().enumerate().map(step).collect()
    }

    /// Payload bytes that the three parties sent to each other, in the whole run.
    pub fn bytes(&self) -> u64 {
        self.bytes_sent().iter().sum()
    }

    /// The same by sender. Of parties that were lost, what they sent in iterations that ended.
    pub fn bytes_sent(&self) -> [u64; 3] {
        let last = self.run.usage.each_ref().map(|usage| usage.stats.payload_bytes());
        [0, 1, 2].map(|party| self.before[party] + last[party])
    }

    /// The time of the whole run as seen from here.
    pub fn duration(&self) -> Duration {
        self.run.duration
    }

    /// Seconds to share the first weights, at the slowest party, and payload bytes that each party sent for them.
    pub fn setup(&self) -> (f64, [u64; 3]) {
        let seconds = self.run.outputs.iter().map(|report| report.setup.0).fold(0.0, f64::max);
        (seconds, self.run.outputs.each_ref().map(|report| report.setup.1.payload_bytes()))
    }

    /// What it took, by party: time, bytes, the most memory. After a restart, of the last parties.
    pub fn usage(&self) -> &[Usage; 3] {
        &self.run.usage
    }
}

/// A trained network that the parties hold in shares, with all that its training kept. It is a [`Model`] too: for
/// [`Cluster::infer`], [`Cluster::accuracy`] and functions. The parties let go of it after the last clone is dropped.
#[derive(Clone)]
pub struct TrainedModel {
    inner: Arc<Inner>,
    model: Model,
    pub(super) training: Arc<Token>,
    /// How many lie behind it.
    pub(super) iterations: usize,
}

impl TrainedModel {
    /// As [`Cluster::infer`].
    ///
    /// # Errors
    /// As [`Cluster::infer`].
    pub fn infer<S, D>(&self, images: &ArrayBase<S, D>) -> Result<InferenceResult, ClusterError>
    where
        S: Data,
        S::Elem: Copy + Into<f64>,
        D: Dimension,
    {
        infer(&self.inner, &self.model, images)
    }

    /// Opens the weights to one party, which writes them to a safetensors file with PyTorch's names, as a path of its own
    /// machine. Neither the caller nor another party learns them.
    ///
    /// # Errors
    /// [`ClusterError::Argument`] for a party that does not exist; when the handle is no longer good; [`ClusterError::Job`] of a
    /// party that cannot write the file.
    pub fn export_to(&self, to: impl PartyNumber, path: impl Into<PathBuf>) -> Result<(), ClusterError> {
        let to = party("export a model", to.number())?;
        let turn = Turn::begin(&self.inner, ExportModel::NAME)?;
        let training = self.training.check(self.inner.number, turn.generation())?;
        let path = path.into();
        let job = |party| ExportModel { training, to, path: (party == to).then(|| path.clone()) };
        turn.run_job(PartyId::ALL.map(job), |_| ())?;
        Ok(())
    }
}

impl Deref for TrainedModel {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

/// Refuses a loss or an accuracy at every 0th, an accuracy that nothing is there to measure on, and held-out examples on which
/// nothing is measured.
fn check_reveal(graph: &Graph, held_out: Option<&Dataset>, train: &Train) -> Result<(), ClusterError> {
    let refuse = |detail: &str| Err(ClusterError::argument(ACTION, &detail));
    if train.reveal.loss_every == Some(0) {
        return refuse(
            "the loss every 0 iterations (`Reveal::loss_every`): take at least 1, or none to reveal no loss",
        );
    }
    match (held_out, train.reveal.accuracy_every) {
        (None, None) => Ok(()),
        (Some(data), Some(every)) if every > 0 => check_fit(graph, data, ACTION).map(|_| ()),
        (_, Some(0)) => refuse("the accuracy after every 0 epochs: take at least 1"),
        (None, Some(_)) => {
            refuse("the accuracy is to be revealed, and no examples are held out: give some, `Start::held_out`")
        }
        (Some(_), _) => refuse(
            "examples are held out, and no accuracy is revealed: say after how many epochs, `Reveal::accuracy_every`",
        ),
    }
}
