//! What runs while faults are done: functions, inference and training with results that are known from plaintext.

use super::super::ExperimentError;
use super::dice::Dice;
use crate::cluster::{self, Checkpointing, Cluster, ClusterError, Images, Labels, Network, Start};
use crate::mpc::{Party, Rep};
use crate::nn::plaintext::{self, PlaintextTraining, Rounding};
use crate::nn::training::{self, Reveal, Sgd, Train};
use crate::nn::{Graph, WeightSource, zoo};
use crate::ring::Ring;
use cryptgpu_datasets::Split;
use cryptgpu_datasets::bundled;
use ndarray::{Array1, ArrayD};
use std::path::Path;
use std::sync::OnceLock;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// A function of products and comparisons, of up to 16,384 numbers that the caller shares.
    Function,
    /// LeNet with its bundled weights on two digits.
    Inference,
    /// Three iterations of one layer on digits of two owners.
    Training,
    /// A million numbers that the caller shares and has revealed: more than sockets hold.
    Sharing,
}

/// Images of an inference.
const IMAGES: usize = 2;
/// How far results may be from plaintext: many times what rounding does, and far less than one wrong word.
const fn tolerance(ring: Ring) -> f64 {
    match ring {
        Ring::Z64 => 0.02,
        Ring::Z32 => 0.1,
    }
}

const TRAIN: usize = 3;

/// How a piece of work ended that did not end well.
#[derive(Debug)]
pub(super) enum Trouble {
    /// With an error, as it may after a fault.
    Error(ClusterError),
    /// With another result than plaintext's, as it may never.
    Wrong(String),
}

impl From<ClusterError> for Trouble {
    fn from(error: ClusterError) -> Self {
        Trouble::Error(error)
    }
}

/// What plaintext says of inference and training.
pub(super) struct Expected {
    ring: Ring,
    images: ArrayD<f32>,
    scores: ArrayD<f64>,
    layer: Graph,
    losses: Vec<f64>,
    /// What a party has said of the model, which is the same each time.
    known: OnceLock<Vec<String>>,
}

impl Expected {
    pub(super) fn new(ring: Ring) -> Result<Self, ExperimentError> {
        let images = bundled::digits(Split::Test)?.batch(0..IMAGES)?.into_dyn();
        let lenet = zoo::by_name("lenet")?;
        let scores = plaintext::evaluate(&lenet, &WeightSource::Bundled.load(&lenet)?, &images)?;
        let layer = one_layer()?;
        let digits = bundled::digits(Split::Train)?;
        let examples = digits.batch(0..digits.len())?.mapv(f64::from).into_dyn();
        let targets = plaintext::one_hot(&digits.labels, 10).into_dyn();
        let train = settings();
        let first = training::initial(&layer, train.seed, train.initial);
        let mut losses = Vec::new();
        let mut clear = PlaintextTraining::new(&layer, &first, &train, Rounding::Exact)?;
        clear.run(&examples, &targets, |_, _, loss| losses.push(loss))?;
        Ok(Expected { ring, images, scores, layer, losses, known: OnceLock::new() })
    }

    /// Does a piece of work and compares its result. Training leaves checkpoints in `kept`, if there is one.
    pub(super) fn work(
        &self,
        cluster: &Cluster,
        work: Work,
        dice: &mut Dice,
        kept: Option<&Path>,
    ) -> Result<(), Trouble> {
        let tolerance = tolerance(self.ring);
        match work {
            Work::Function => function(cluster, dice, tolerance),
            Work::Sharing => {
                let much = Array1::from_shape_fn(1 << 20, |at| at as f64 / 1024.0);
                let back = cluster.share(&much)?.reveal()?;
                near("a value", back.iter(), much.iter(), tolerance)
            }
            Work::Inference => {
                let lenet = Network::from("lenet").knowing(self.known.get().into_iter().flatten().cloned());
                let model = cluster.load_model(lenet, WeightSource::Bundled)?;
                self.known.get_or_init(|| model.notices().to_vec());
                let scores = cluster.infer(&model, &self.images)?.scores;
                near("a score", scores.iter(), self.scores.iter(), tolerance)
            }
            Work::Training => {
                let data = cluster.dataset("digits-train", Images::at(0), Labels::at(2))?;
                let checkpoints = kept.map(|folder| Checkpointing::every(1, folder).restarts(0));
                let start = Start { checkpoints, ..Start::default() };
                let run = cluster.train_observed(self.layer.clone(), start, &data, settings(), |_| ())?;
                let losses: Vec<f64> = run.curve().iter().map(|point| point.loss).collect();
                near("a loss", losses.iter(), self.losses.iter(), tolerance)
            }
        }
    }
}

fn one_layer() -> Result<Graph, ExperimentError> {
    let mut net = Graph::builder("soak", [1, 28, 28]);
    let input = net.input();
    let flat = net.flatten("flatten", input)?;
    let last = net.linear("fc", flat, 10)?;
    Ok(net.finish(last)?)
}

fn settings() -> Train {
    Train {
        batch: 50,
        iterations: Some(TRAIN),
        optimizer: Sgd::new(0.01),
        seed: 7,
        reveal: Reveal { loss_every: Some(1), ..Reveal::default() },
        ..Train::default()
    }
}

/// relu(x² − x) of |x| ≤ 7.5, the numbers being small enough for either ring, whose products stay below 64 at 12 fraction bits.
fn function(cluster: &Cluster, dice: &mut Dice, tolerance: f64) -> Result<(), Trouble> {
    let len = dice.of(&[3, 1024, 16_384]);
    let x = Array1::from_shape_fn(len, |_| dice.below(3841) as f64 / 256.0 - 7.5);
    let shared = cluster.share(&x)?;
    let found = cluster.run(square_less_itself, &shared)?.reveal()?;
    let expected = x.mapv(|x| (x * x - x).max(0.0));
    near("a value", found.iter(), expected.iter(), tolerance)
}

fn square_less_itself(p: &mut Party, x: Rep) -> cluster::Result<Rep> {
    let square = p.step("square", |p| p.mul(&x, &x))?;
    Ok(p.step("relu", |p| p.relu(&square.sub(&x)?))?)
}

fn near<'a>(
    what: &str,
    found: impl ExactSizeIterator<Item = &'a f64>,
    expected: impl ExactSizeIterator<Item = &'a f64>,
    tolerance: f64,
) -> Result<(), Trouble> {
    if found.len() != expected.len() {
        return Err(Trouble::Wrong(format!("{} values where {} were expected", found.len(), expected.len())));
    }
    let far = |a: f64, b: f64| (a - b).is_nan() || (a - b).abs() >= tolerance;
    match found.zip(expected).enumerate().find(|(_, (a, b))| far(**a, **b)) {
        Some((at, (found, expected))) => {
            Err(Trouble::Wrong(format!("{what} ({at}) is {found}, and {expected} is right")))
        }
        None => Ok(()),
    }
}
