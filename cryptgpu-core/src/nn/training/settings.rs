//! How a network is trained: public, and the same at all three parties. Nothing here computes on shares.

use super::Initial;
use serde::{Deserialize, Serialize};

/// How a network is trained.
///
/// ```
/// use cryptgpu_core::nn::training::{Reveal, Schedule, Sgd, Train};
/// let train = Train {
///     batch: 128,
///     epochs: 2,
///     optimizer: Sgd::new(0.1).momentum(0.9),
///     schedule: Schedule::Steps { epochs: 1, factor: 0.5 },
///     reveal: Reveal { loss_every: Some(50), ..Reveal::default() },
///     seed: 7,
///     ..Train::default()
/// };
/// assert_eq!(train.schedule.factor(0), 1.0);
/// assert_eq!(train.schedule.factor(1), 0.5);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// Examples of one iteration; the last of an epoch may be smaller.
    pub batch: usize,
    /// How often all examples are gone through.
    pub epochs: usize,
    /// The run ends after so many iterations, if `epochs` take more.
    pub iterations: Option<usize>,
    /// What becomes smaller.
    pub loss: Loss,
    /// What turns gradients into new weights.
    pub optimizer: Optimizer,
    /// How the optimiser's rate changes over the epochs.
    pub schedule: Schedule,
    /// How the network's weights begin where none are given.
    pub initial: Initial,
    /// Seed of the order of the examples, and of the initial weights where none are given. Public.
    pub seed: u64,
    /// Nodes whose weights stay as they are: those whose name is one of these, or begins with one of these and a dot.
    pub frozen: Vec<String>,
    /// What is opened while it runs: nothing by default.
    pub reveal: Reveal,
}

impl Default for Train {
    fn default() -> Self {
        Train {
            batch: 128,
            epochs: 1,
            iterations: None,
            loss: Loss::default(),
            optimizer: Sgd::new(0.1),
            schedule: Schedule::default(),
            initial: Initial::default(),
            seed: 0,
            frozen: vec![],
            reveal: Reveal::default(),
        }
    }
}

impl Train {
    /// Whether the weights of this node stay as they are.
    pub fn freezes(&self, node: &str) -> bool {
        let begins = |name: &String| node.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        self.frozen.iter().any(|name| name == node || begins(name))
    }

    /// The optimiser's rate in an epoch, counted from 0.
    pub fn rate(&self, epoch: usize) -> f64 {
        self.optimizer.rate() * self.schedule.factor(epoch)
    }
}

/// What training makes smaller: the mean over the examples of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The cross-entropy of softmax(logits) and the label: −log of what the label has.
    #[default]
    CrossEntropy,
    /// The mean over the outputs of (output − target)².
    MeanSquaredError,
}

impl Loss {
    /// The most that a cross-entropy of numbers within their range is taken to be: logits would have to be as far apart.
    const MOST_CROSS_ENTROPY: f64 = 1e4;

    /// Below zero by so much no loss is for its rounding.
    const BELOW_ZERO: f64 = -0.5;

    /// Whether a training whose values are within their range may have such a loss.
    pub(crate) fn can_be(self, loss: f64) -> bool {
        let most = match self {
            Loss::CrossEntropy => Self::MOST_CROSS_ENTROPY,
            Loss::MeanSquaredError => f64::MAX,
        };
        (Self::BELOW_ZERO..=most).contains(&loss)
    }
}

/// What turns gradients into new weights: [`Sgd::new`], [`Sgd::nesterov`] or [`Adam::new`], and what is set behind them.
///
/// ```
/// use cryptgpu_core::nn::training::{Adam, Optimizer, Sgd};
/// let sgd = Sgd::new(0.1).momentum(0.9).weight_decay(1e-4);
/// assert_eq!(sgd, Optimizer::Sgd(Sgd { rate: 0.1, momentum: 0.9, nesterov: false, weight_decay: 1e-4 }));
/// let Optimizer::Adam(adam) = Adam::new(0.001).weight_decay(1e-4) else { unreachable!() };
/// assert_eq!((adam.betas, adam.weight_decay), ([0.9, 0.999], 1e-4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
}

impl Optimizer {
    /// The rate before any schedule.
    pub fn rate(&self) -> f64 {
        match self {
            Optimizer::Sgd(sgd) => sgd.rate,
            Optimizer::Adam(adam) => adam.rate,
        }
    }

    /// With this share of what was before: the momentum of gradient descent, or the first of Adam's betas, which is 0.9 already.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        match self {
            Optimizer::Sgd(sgd) => Optimizer::Sgd(Sgd { momentum, ..sgd }),
            Optimizer::Adam(adam) => Optimizer::Adam(Adam { betas: [momentum, adam.betas[1]], ..adam }),
        }
    }

    /// With weight decay, which is added to the gradient as weight_decay·w, as PyTorch's `SGD` and `Adam` do (not `AdamW`).
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        match self {
            Optimizer::Sgd(sgd) => Optimizer::Sgd(Sgd { weight_decay, ..sgd }),
            Optimizer::Adam(adam) => Optimizer::Adam(Adam { weight_decay, ..adam }),
        }
    }

    /// What is added to a gradient, times the weight; 0 for nothing.
    pub(crate) fn decay(&self) -> f64 {
        match self {
            Optimizer::Sgd(sgd) => sgd.weight_decay,
            Optimizer::Adam(adam) => adam.weight_decay,
        }
    }
}

/// Stochastic gradient descent as in PyTorch: v ← momentum·v + g + weight_decay·w, then w ← w − rate·v, or with Nesterov's
/// momentum w ← w − rate·(g + weight_decay·w + momentum·v).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f64,
    /// Momentum; 0 for none.
    pub momentum: f64,
    /// Whether the momentum is Nesterov's.
    pub nesterov: bool,
    /// Weight decay; 0 for none.
    pub weight_decay: f64,
}

impl Sgd {
    /// Plain descent at this rate; [`Optimizer::momentum`] and [`Optimizer::weight_decay`] may follow.
    #[expect(clippy::new_ret_no_self, reason = "what it gives is what `Train` takes")]
    pub fn new(rate: f64) -> Optimizer {
        Optimizer::Sgd(Sgd { rate, momentum: 0.0, nesterov: false, weight_decay: 0.0 })
    }

    /// With Nesterov's momentum.
    pub fn nesterov(rate: f64, momentum: f64) -> Optimizer {
        Optimizer::Sgd(Sgd { rate, momentum, nesterov: true, weight_decay: 0.0 })
    }
}

/// Adam (Kingma and Ba, ICLR 2015), with PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Learning rate; 0.001.
    pub rate: f64,
    /// Decay of the first and of the second moment; 0.9 and 0.999.
    pub betas: [f64; 2],
    /// Added to the root of the second moment. PyTorch's 1e-8 is below the resolution of fixed-point numbers: 1e-4 here.
    pub eps: f64,
    /// Weight decay; 0 for none.
    #[serde(default)]
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { rate: 1e-3, betas: [0.9, 0.999], eps: 1e-4, weight_decay: 0.0 }
    }
}

impl Adam {
    /// Adam at this rate, all else by default; [`Optimizer::weight_decay`] may follow.
    #[expect(clippy::new_ret_no_self, reason = "what it gives is what `Train` takes")]
    pub fn new(rate: f64) -> Optimizer {
        Optimizer::Adam(Adam { rate, ..Adam::default() })
    }
}

/// How the rate changes: a factor by epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// Times `factor` after every so many epochs.
    Steps {
        /// Epochs between two changes.
        epochs: usize,
        /// The factor of a change.
        factor: f64,
    },
    /// Times `factor` at each of these epochs, counted from 0.
    Milestones {
        /// The epochs that begin with a change.
        epochs: Vec<usize>,
        /// The factor of a change.
        factor: f64,
    },
}

impl Schedule {
    /// The factor of the rate in an epoch, counted from 0.
    pub fn factor(&self, epoch: usize) -> f64 {
        // By products alone: all parties must get the same number, on whatever machine.
        let changes = |count: usize, factor: &f64| (0..count).fold(1.0, |product, _| product * factor);
        match self {
            Schedule::Constant => 1.0,
            Schedule::Steps { epochs, factor } => changes(epoch / (*epochs).max(1), factor),
            Schedule::Milestones { epochs, factor } => {
                changes(epochs.iter().filter(|&&milestone| milestone <= epoch).count(), factor)
            }
        }
    }
}

/// What a training run may open, to whoever asked for it. All else stays secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// The mean loss of a batch, at every so many iterations.
    pub loss_every: Option<usize>,
    /// The accuracy on held-out examples, after every so many epochs and at the run's end.
    #[serde(default)]
    pub accuracy_every: Option<usize>,
}

impl std::fmt::Display for Reveal {
    /// A line of a policy: `loss every 50, accuracy every 1 epochs`, or `nothing`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let loss = self.loss_every.map(|every| format!("loss every {every}"));
        let accuracy = self.accuracy_every.map(|every| format!("accuracy every {every} epochs"));
        let lines: Vec<String> = loss.into_iter().chain(accuracy).collect();
        f.write_str(if lines.is_empty() { "nothing".to_owned() } else { lines.join(", ") }.as_str())
    }
}
