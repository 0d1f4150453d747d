//! How a network is trained, as options: what becomes the optimiser, schedule, loss and first weights of [`Train`].

use clap::ValueEnum;
use cryptgpu_core::nn::training::{Adam, Initial, Loss, Optimizer, Schedule, Sgd, Train};

use super::arguments::item;

/// The options that become [`Train`]'s fields of the same names.
#[derive(Debug, clap::Args)]
pub struct TrainSettings {
    /// What is made smaller: the cross-entropy of softmax and label, or the mean of (output − target)² with a target of 1 at the
    /// label and 0 elsewhere
    #[arg(long, value_enum, default_value_t = LossName::CrossEntropy)]
    loss: LossName,
    /// Learning rate
    #[arg(long, default_value_t = 0.01, allow_negative_numbers = true)]
    rate: f64,
    /// Momentum of gradient descent
    #[arg(long, default_value_t = 0.9, conflicts_with = "adam", allow_negative_numbers = true)]
    momentum: f64,
    /// Nesterov's momentum in place of the usual one
    #[arg(long, conflicts_with = "adam")]
    nesterov: bool,
    /// Weight decay, which is added to gradients
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    weight_decay: f64,
    /// Adam in place of gradient descent
    #[arg(long)]
    adam: bool,
    /// Multiply the rate by --rate-factor after every so many epochs
    #[arg(long, value_name = "EPOCHS", group = "schedule", value_parser = clap::value_parser!(u32).range(1..))]
    rate_every: Option<u32>,
    /// Multiply the rate by --rate-factor after so many epochs, separated by commas: 10,15 for after the 10th and after the 15th
    #[arg(long, value_name = "EPOCHS", group = "schedule", value_delimiter = ',', value_parser = epochs)]
    rate_after: Vec<usize>,
    /// What the rate is multiplied by then
    #[arg(long, value_name = "FACTOR", default_value_t = 0.1, requires = "schedule", allow_negative_numbers = true)]
    rate_factor: f64,
    /// First weights, where none are given: kaiming (normal, of variance 2 / fan-in), or pytorch (uniform, as PyTorch's layers begin)
    #[arg(long, value_enum, default_value_t = InitialName::Kaiming, conflicts_with = "weights")]
    initial: InitialName,
    /// Layers that stay as they are, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = item::<String>)]
    frozen: Vec<String>,
    /// Seed of the order of the examples, and of the first weights where none are given
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What is made smaller, by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LossName {
    CrossEntropy,
    MeanSquaredError,
}

/// How weights begin, by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum InitialName {
    Kaiming,
    #[value(name = "pytorch")]
    PyTorch,
}

/// An item of a list of epochs.
fn epochs(text: &str) -> Result<usize, String> {
    let hint = || format!("`{text}` is not a number of epochs: use 1 or more");
    text.trim().parse().ok().filter(|epochs| *epochs > 0).ok_or_else(hint)
}

impl TrainSettings {
    /// With these settings, and all else as in `train`.
    pub fn of(&self, train: Train) -> Train {
        Train {
            loss: match self.loss {
                LossName::CrossEntropy => Loss::CrossEntropy,
                LossName::MeanSquaredError => Loss::MeanSquaredError,
            },
            optimizer: self.optimizer(),
            schedule: self.schedule(),
            initial: match self.initial {
                InitialName::Kaiming => Initial::Kaiming,
                InitialName::PyTorch => Initial::PyTorch,
            },
            frozen: self.frozen.clone(),
            seed: self.seed,
            ..train
        }
    }

    fn optimizer(&self) -> Optimizer {
        let optimizer = match (self.adam, self.nesterov) {
            (true, _) => Adam::new(self.rate),
            (false, true) => Sgd::nesterov(self.rate, self.momentum),
            (false, false) => Sgd::new(self.rate).momentum(self.momentum),
        };
        optimizer.weight_decay(self.weight_decay)
    }

    fn schedule(&self) -> Schedule {
        let factor = self.rate_factor;
        match self.rate_every {
            Some(epochs) => Schedule::Steps { epochs: epochs as usize, factor },
            None if self.rate_after.is_empty() => Schedule::Constant,
            None => Schedule::Milestones { epochs: self.rate_after.clone(), factor },
        }
    }
}
