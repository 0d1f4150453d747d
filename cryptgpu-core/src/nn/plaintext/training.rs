//! Training in f64 on plaintext, with the formulas of a private run and the same [`Train`]: its oracle, and what it is
//! measured against. With an [`Arithmetic`] it also cuts where a private run cuts.

use super::gradients::Pass;
use super::rounding::{Arithmetic, Cut, Cuts};
use super::{Tensors, tensors};
use crate::nn::divisor::STEP_BITS;
use crate::nn::training::{Adam, Batch, Batches, Optimizer, Sgd, Train};
use crate::nn::{Graph, NnError, Node, Weights};
use ndarray::{ArrayD, Axis};

/// Weight that a batch has in the running statistics of a batch normalisation; PyTorch's.
const MOMENTUM: f64 = 0.1;

/// A network in training on plaintext.
///
/// Frozen nodes stay as they are; a frozen batch normalisation uses its running statistics and leaves them alone.
///
/// ```
/// use cryptgpu_core::nn::plaintext::{PlaintextTraining, Rounding, one_hot};
/// use cryptgpu_core::nn::training::{Initial, Train, initial};
/// use cryptgpu_core::nn::zoo;
/// let net = zoo::by_name("lenet")?;
/// let (images, labels) = (ndarray::ArrayD::from_elem(vec![4, 1, 28, 28], 0.5), one_hot(&[3, 7, 3, 3], 10).into_dyn());
/// let train = Train { batch: 4, ..Train::default() };
/// let mut training = PlaintextTraining::new(&net, &initial(&net, 1, Initial::Kaiming), &train, Rounding::Exact)?;
/// let before = training.step(&images, &labels, 0.01)?;
/// assert!(training.step(&images, &labels, 0.01)? < before);
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
pub struct PlaintextTraining {
    graph: Graph,
    train: Train,
    cuts: Cuts,
    /// Gradients are of the sum of so many losses, where that is not the minibatch.
    summed: Option<usize>,
    weights: Tensors,
    /// Velocity, or Adam's first moment.
    first: Tensors,
    /// Adam's second moment.
    second: Tensors,
    steps: i32,
}

impl PlaintextTraining {
    /// A network that begins with these weights, in an [`Arithmetic`] or a [`Rounding`](super::Rounding) alone.
    ///
    /// # Errors
    /// As [`Weights::check`].
    pub fn new(
        graph: &Graph,
        weights: &Weights,
        train: &Train,
        arithmetic: impl Into<Arithmetic>,
    ) -> Result<Self, NnError> {
        weights.check(graph)?;
        let arithmetic = arithmetic.into();
        let (cuts, summed) = (Cuts::new(arithmetic), arithmetic.summed.map(|examples| examples.min(train.batch)));
        let weights: Tensors = tensors(weights).into_iter().map(|(name, value)| (name, cuts.encoded(value))).collect();
        let (first, second) = (Tensors::new(), Tensors::new());
        let (graph, train) = (graph.clone(), train.clone());
        Ok(PlaintextTraining { graph, train, cuts, summed, weights, first, second, steps: 0 })
    }

    /// One iteration on a batch; gives the sum of its losses, before the step.
    ///
    /// # Errors
    /// As [`gradients`](super::gradients()).
    pub fn step(&mut self, images: &ArrayD<f64>, targets: &ArrayD<f64>, rate: f64) -> Result<f64, NnError> {
        let train = &self.train;
        let of_batch = |node: &Node| !train.freezes(&node.name);
        let pass = Pass::forward(&self.graph, &self.weights, images.clone(), &mut self.cuts, of_batch)?;
        let batch = images.shape()[0] as f64;
        let factor = self.summed.map_or(1.0, |summed| summed as f64 / batch);
        let gradients = pass.backward(targets, train.loss, factor)?;
        self.steps = self.steps.saturating_add(1);
        for (name, gradient) in gradients.parameters {
            let node = name.rsplit_once('.').map_or("", |(node, _)| node);
            if !self.train.freezes(node) {
                self.update(&name, gradient, rate, batch);
            }
        }
        for (name, seen) in gradients.statistics {
            if let Some(running) = self.weights.get_mut(&name) {
                *running = self.cuts.rounded(&*running * (1.0 - MOMENTUM) + seen * MOMENTUM);
            }
        }
        Ok(gradients.loss)
    }

    /// Updates one tensor from the gradient of the sum of `batch` losses, or of as many as are summed. As if the batch were a
    /// whole one: what the optimiser keeps is that of PyTorch times a whole batch, or times what is summed.
    fn update(&mut self, name: &str, gradient: ArrayD<f64>, rate: f64, batch: f64) {
        let Some(weight) = self.weights.get_mut(name) else { return };
        let cuts = &mut self.cuts;
        let (whole, gradient) = match self.summed {
            // Adam has its own cut.
            Some(summed) if matches!(self.train.optimizer, Optimizer::Adam(_)) => (summed as f64, gradient),
            // There is no room in front of the product then: a gradient is cut as it is made.
            Some(summed) => (summed as f64, cuts.rounded(gradient)),
            None => (self.train.batch as f64, gradient * (self.train.batch as f64 / batch)),
        };
        let zeros = || ArrayD::zeros(weight.raw_dim());
        match self.train.optimizer {
            Optimizer::Sgd(Sgd { momentum: 0.0, weight_decay, .. }) => {
                let gradient = gradient + &*weight * (weight_decay * whole);
                *weight -= &cuts.rounded(gradient * factor(rate / whole, cuts));
            }
            Optimizer::Sgd(Sgd { momentum, nesterov, weight_decay, .. }) => {
                let velocity = self.first.entry(name.to_owned()).or_insert_with(zeros);
                let before = velocity.clone();
                *velocity = cuts.rounded(gradient + &*weight * (weight_decay * whole) + &before * momentum);
                // gradient + momentum·velocity, where the gradient is the velocity less what it was before.
                let along = if nesterov { &*velocity * (1.0 + momentum) - before * momentum } else { velocity.clone() };
                let step = if cuts.are_short() { significant(rate / whole, STEP_BITS.into()) } else { rate / whole };
                *weight -= &cuts.rounded(along * step);
            }
            Optimizer::Adam(Adam { betas, eps, weight_decay, .. }) => {
                // Moments with the bias taken off, as in a private run: a thousandth of a square has no bits.
                let [first_gain, second_gain] = betas.map(|beta| (1.0 - beta) / (1.0 - beta.powi(self.steps)));
                let half = adam_divisor(whole, eps, cuts);
                let gradient = cuts.wide((gradient + &*weight * (weight_decay * whole)) / half, 0);
                let first = self.first.entry(name.to_owned()).or_insert_with(zeros);
                *first += &cuts.wide((&gradient - &*first) * first_gain, 0);
                let second = self.second.entry(name.to_owned()).or_insert_with(zeros);
                *second += &cuts.wide((&gradient * &gradient - &*second) * second_gain, 0);
                let eps = (eps * whole / half).max(cuts.wide_unit().unwrap_or(0.0));
                let root = cuts.wide(second.mapv(|moment| moment.max(0.0).sqrt() + eps), 0);
                let quotient = cuts.wide(&*first / &root, 0);
                *weight -= &cuts.rounded(quotient * rate);
            }
        }
    }

    /// The network's results on images, with running statistics.
    ///
    /// # Errors
    /// As [`evaluate`](super::evaluate()).
    pub fn evaluate(&mut self, images: &ArrayD<f64>) -> Result<ArrayD<f64>, NnError> {
        let pass = Pass::forward(&self.graph, &self.weights, images.clone(), &mut self.cuts, |_| false)?;
        Ok(pass.results().clone())
    }

    /// A whole run over the examples of a data set, in the order of [`Batches`]; `observe` gets each batch and the mean of
    /// its losses.
    ///
    /// # Errors
    /// As [`step`](Self::step), and [`Batches::new`].
    pub fn run(
        &mut self,
        images: &ArrayD<f64>,
        targets: &ArrayD<f64>,
        mut observe: impl FnMut(&mut Self, &Batch, f64),
    ) -> Result<(), NnError> {
        for batch in Batches::new(images.shape()[0], &self.train)?.from(0) {
            let [images, targets] = [images, targets].map(|rows| rows.select(Axis(0), &batch.rows));
            let loss = self.step(&images, &targets, self.train.rate(batch.epoch))?;
            observe(self, &batch, loss / batch.rows.len() as f64);
        }
        Ok(())
    }

    /// How many values were cut, and how many of them the ring could not hold.
    pub fn cut(&self) -> Cut {
        self.cuts.count()
    }

    /// The weights as they are now, and the running statistics.
    pub fn parameters(&self) -> &Tensors {
        &self.weights
    }

    /// The same in single precision.
    pub fn to_weights(&self) -> Weights {
        let mut weights = Weights::new();
        for (name, tensor) in &self.weights {
            weights.insert(name, tensor.mapv(|value| value as f32));
        }
        weights
    }
}

/// What a sum of so many gradients is divided by, as in a private run: so much that squares of gradients of the size of eps keep a bit.
fn adam_divisor(summed: f64, eps: f64, cuts: &Cuts) -> f64 {
    let (mut eps, mut divisor) = (eps, summed.max(1.0).log2().floor().exp2());
    let unit = cuts.wide_unit().unwrap_or(0.0);
    while eps * eps < unit && divisor > unit {
        (eps, divisor) = (2.0 * eps, divisor / 2.0);
    }
    divisor
}

/// A public factor: as it is, or with as many significant bits as a private run's range leaves for it.
fn factor(value: f64, cuts: &Cuts) -> f64 {
    match cuts.unit() {
        Some(unit) => significant(value, 48.0 + 2.0 * unit.log2()),
        None => value,
    }
}

/// The nearest number of so many significant bits, at least one.
fn significant(value: f64, bits: f64) -> f64 {
    let step = (value.abs().log2().floor() + 1.0 - bits.max(1.0)).exp2();
    if value == 0.0 { 0.0 } else { (value / step).round() * step }
}
