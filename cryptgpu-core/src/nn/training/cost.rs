//! What an iteration of training costs in bytes and rounds, step by step, as the protocols declare it. Tests hold this
//! against what the transport counts. Nothing is computed on shares here.

use super::batch_norm::{self, short};
use super::optimizer;
use super::plan::{BackwardStep, TrainingPlan};
use super::settings::{Adam, Loss, Optimizer, Sgd};
use super::times::Pass;
use super::wide;
use crate::mpc::cost::{RangeChecks, with_range_checks};
use crate::mpc::{CheckRange, Cost, Fidelity, Octaves, Settings, cost};
use crate::nn::NnError;
use crate::nn::cost::of_step;
use crate::nn::divisor::cut;
use crate::nn::graph::without_gradient;
use crate::nn::plan::PlanOp;
use crate::ring::{Ring, RingError};

/// An iteration, as far as its cost depends on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Iteration {
    /// Examples in its batch.
    pub batch: usize,
    /// The optimiser's rate.
    pub rate: f64,
    /// Which one it is, from 1: Adam's factors depend on it, and the first one computes those of frozen batch
    /// normalisations.
    pub number: u64,
    /// Whether the loss itself is computed, besides its gradient.
    pub loss: bool,
}

/// What a step of an iteration costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepCost {
    /// The node that it comes from; `loss` or `update` in these passes.
    pub name: String,
    /// The kind of operation, as [`super::StepTime::kind`].
    pub kind: &'static str,
    /// The pass.
    pub pass: Pass,
    /// Bytes and rounds.
    pub cost: Cost,
}

impl TrainingPlan {
    /// A usual iteration: a whole batch, the first rate, no loss; the second one, since the first has to do what later ones
    /// need not.
    pub fn iteration(&self) -> Iteration {
        Iteration { batch: self.train().batch, rate: self.train().optimizer.rate(), number: 2, loss: false }
    }

    /// What each step of an iteration costs, in order, with the check of ranges where settings ask for it: in the step
    /// that it ends ([`CheckRange::Layers`]), or as a step of its own at the end ([`CheckRange::Run`]). The first iteration
    /// of a training with frozen batch normalisations begins with their factors.
    ///
    /// ```
    /// use cryptgpu_core::mpc::Settings;
    /// use cryptgpu_core::nn::training::{Pass, Train, TrainingPlan};
    /// use cryptgpu_core::nn::zoo;
    /// use cryptgpu_core::ring::Ring;
    /// let plan = TrainingPlan::new(&zoo::by_name("lenet")?, &Train::default(), Ring::Z64)?;
    /// let costs = plan.costs(&plan.iteration(), &Settings::default())?;
    /// let backward: u64 = costs.iter().filter(|step| step.pass == Pass::Backward).map(|step| step.cost.bytes).sum();
    /// assert!(backward > 0 && backward < plan.cost(&plan.iteration(), &Settings::default())?.bytes / 2);
    /// # Ok::<(), cryptgpu_core::nn::NnError>(())
    /// ```
    ///
    /// # Errors
    /// [`NnError::Settings`] for a rate that the optimiser cannot use; [`NnError::Mpc`] for a constant that does not fit.
    pub fn costs(&self, iteration: &Iteration, settings: &Settings) -> Result<Vec<StepCost>, NnError> {
        let account = Account { plan: self, iteration, settings };
        let (mut steps, mut checks) = (vec![], RangeChecks::default());
        let mut add = |name: &str, kind, pass, cost: &dyn Fn() -> Result<Cost, NnError>| -> Result<(), NnError> {
            let mut cost = with_range_checks(&mut checks, cost)?;
            cost += match settings.check_range {
                CheckRange::Off => Cost::FREE,
                CheckRange::Run => checks.spent(),
                CheckRange::Layers => checks.close(),
            };
            steps.push(StepCost { name: name.to_owned(), kind, pass, cost });
            Ok(())
        };
        if iteration.number == 1 && !self.normalised_by_running(true).is_empty() {
            add("running statistics", "batch_norm", Pass::Forward, &|| Ok(account.running_factors()))?;
        }
        for (index, step) in self.forward().steps().iter().enumerate() {
            add(&step.name, step.op.kind(), Pass::Forward, &|| Ok(account.forward(index)))?;
        }
        add("loss", "loss", Pass::Loss, &|| Ok(account.loss().map_err(crate::mpc::MpcError::from)?))?;
        for backward in self.backward() {
            let step = self.step(backward);
            add(&step.name, step.op.kind(), Pass::Backward, &|| Ok(account.backward(backward)))?;
        }
        add("update", "update", Pass::Update, &|| account.update())?;
        if settings.check_range == CheckRange::Run {
            let (name, cost) = ("range check", checks.close());
            steps.push(StepCost { name: name.to_owned(), kind: name, pass: Pass::Update, cost });
        }
        Ok(steps)
    }

    /// What an iteration costs: the sum of its steps.
    ///
    /// # Errors
    /// As [`TrainingPlan::costs`].
    pub fn cost(&self, iteration: &Iteration, settings: &Settings) -> Result<Cost, NnError> {
        Ok(self.costs(iteration, settings)?.into_iter().fold(Cost::FREE, |sum, step| sum + step.cost))
    }
}

struct Account<'a> {
    plan: &'a TrainingPlan,
    iteration: &'a Iteration,
    settings: &'a Settings,
}

impl Account<'_> {
    fn ring(&self) -> Ring {
        self.settings.codec.ring()
    }

    fn fraction_bits(&self) -> u32 {
        self.settings.codec.fraction_bits()
    }

    /// A truncation of products.
    fn product(&self, n: usize, d: u32) -> Cost {
        self.product_in(self.ring(), n, d)
    }

    fn product_in(&self, ring: Ring, n: usize, d: u32) -> Cost {
        match self.settings.fidelity {
            Fidelity::Paper if d > 0 => cost::truncate_product_paper(ring, n),
            _ => cost::truncate_product(ring, n, d),
        }
    }

    /// A truncation of shares.
    fn shared(&self, n: usize, d: u32) -> Cost {
        self.shared_in(self.ring(), n, d)
    }

    fn shared_in(&self, ring: Ring, n: usize, d: u32) -> Cost {
        match self.settings.fidelity {
            Fidelity::Paper if d > 0 => cost::truncate_shared_paper(ring, n),
            _ => cost::truncate_shared(ring, n, d),
        }
    }

    /// A share times a public number.
    fn scalar(&self, n: usize, factor: f64) -> Result<Cost, RingError> {
        Ok(self.shared(n, self.settings.codec.encode_constant(factor)?.1))
    }

    fn elements(&self, shape: &[usize]) -> usize {
        self.iteration.batch * shape.iter().product::<usize>()
    }

    /// γ/√(σ² + eps) of all frozen batch normalisations at once.
    fn running_factors(&self) -> Cost {
        let forward = self.plan.forward();
        let channels =
            |step: usize| forward.steps().get(step).and_then(|step| forward.shape(step.output).first().copied());
        let n = self.plan.normalised_by_running(true).into_iter().filter_map(channels).sum();
        let f = self.fraction_bits();
        cost::rsqrt(self.ring(), n, f, Octaves::of(self.settings.codec)) + self.product(n, f)
    }

    fn forward(&self, index: usize) -> Cost {
        let forward = self.plan.forward();
        let (step, f) = (&forward.steps()[index], self.fraction_bits());
        let shape = forward.shape(step.output);
        if !matches!(step.op, PlanOp::BatchNorm2d { .. }) {
            return of_step(forward, step, self.iteration.batch, self.settings);
        }
        let (n, channels) = (self.elements(shape), shape.first().copied().unwrap_or(0));
        if !self.plan.layers()[index].trained {
            return self.product(n, f);
        }
        if self.ring() == Ring::Z32 {
            return self.short_batch_norm(n, channels, |account| account.forward());
        }
        let (_, d) = batch_norm::count_factor(n / channels.max(1));
        let rsqrt = cost::rsqrt(self.ring(), channels, f, Octaves::of(self.settings.codec));
        self.shared(channels, d)
            + self.product(self.iteration.batch * channels, f)
            + self.shared(channels, d)
            + rsqrt
            + self.product(channels, f)
            + self.product(n, f)
    }

    fn backward(&self, backward: &BackwardStep) -> Cost {
        let (forward, step, f) = (self.plan.forward(), self.plan.step(backward), self.fraction_bits());
        let n = self.elements(forward.shape(step.output));
        let input = step.inputs.first().map_or(0, |&input| self.elements(forward.shape(input)));
        let passes = backward.inputs.contains(&true);
        match &step.op {
            PlanOp::BatchNorm2d { .. } if backward.parameters => {
                let channels = forward.shape(step.output).first().copied().unwrap_or(0);
                self.batch_norm_backward(n, channels, passes)
            }
            _ if !passes => Cost::FREE,
            PlanOp::Conv2d { .. } | PlanOp::Linear { .. } => self.product(input, cut(&step.op, self.settings.codec)),
            PlanOp::BatchNorm2d { .. } => self.product(n, f),
            PlanOp::Relu | PlanOp::Relu6 => cost::bit_product(self.ring(), n),
            PlanOp::MaxPool { window } => cost::max_pool_gradient(self.ring(), n, window.kernel[0] * window.kernel[1]),
            PlanOp::Rescale { divisor } => {
                let cuts = divisor.division(self.settings.codec).cuts();
                cuts.fold(Cost::FREE, |sum, cut| sum + self.shared(n, cut))
            }
            // Plans of training have none ([`NnError::NoGradient`]).
            without_gradient!(PlanOp) => Cost::FREE,
            PlanOp::SumPool { .. }
            | PlanOp::Add
            | PlanOp::Concat
            | PlanOp::Upsample { .. }
            | PlanOp::Reshape { .. } => Cost::FREE,
        }
    }

    /// A pass of a batch normalisation in the ring of 32 bits.
    fn short_batch_norm(&self, n: usize, channels: usize, pass: impl FnOnce(&short::Account<'_>) -> Cost) -> Cost {
        let (codec, batch) = (self.settings.codec, self.iteration.batch);
        let product = |ring: Ring, n: usize, d: u32| self.product_in(ring, n, d);
        let shared = |ring: Ring, n: usize, d: u32| self.shared_in(ring, n, d);
        let plane = n / (channels * batch).max(1);
        pass(&short::Account { codec, batch, channels, plane, product: &product, shared: &shared })
    }

    fn batch_norm_backward(&self, n: usize, channels: usize, input: bool) -> Cost {
        if self.ring() == Ring::Z32 {
            return self.short_batch_norm(n, channels, |account| account.backward(input));
        }
        let f = self.fraction_bits();
        let correlation = self.product(channels, f);
        if !input {
            return correlation;
        }
        let count = n / channels.max(1);
        let guard = batch_norm::guard(count, f);
        let means = self.shared(2 * channels, batch_norm::count_factor(count).1.saturating_sub(guard));
        let factors = self.product(2 * channels, f) + self.product(2 * channels, f);
        correlation + means + factors + self.product(n, f + guard)
    }

    fn loss(&self) -> Result<Cost, RingError> {
        let forward = self.plan.forward();
        let shape = forward.shape(forward.output());
        let (n, f) = (self.elements(shape), self.fraction_bits());
        let train = self.plan.train();
        let scale = self.plan.summed() / self.iteration.batch as f64;
        let scaled = |n: usize, factor: f64| if factor == 1.0 { Ok(Cost::FREE) } else { self.scalar(n, factor) };
        Ok(match train.loss {
            Loss::CrossEntropy => {
                let width = shape.last().copied().unwrap_or(1);
                let of = if self.iteration.loss { cost::cross_entropy } else { cost::softmax };
                of(self.ring(), n / width.max(1), width, f, self.settings.window) + scaled(n, scale)?
            }
            Loss::MeanSquaredError => {
                let count = shape.iter().product::<usize>().max(1) as f64;
                let loss = if self.iteration.loss { self.product(1, f) + scaled(1, 1.0 / count)? } else { Cost::FREE };
                loss + scaled(n, scale * 2.0 / count)?
            }
        })
    }

    fn update(&self) -> Result<Cost, NnError> {
        let mut sum = Cost::FREE;
        for bundle in optimizer::bundles(self.plan) {
            let optimizer = &self.plan.train().optimizer;
            for part in bundle.parts(optimizer) {
                sum += match optimizer {
                    Optimizer::Sgd(sgd) => self.sgd(sgd, part.len(), bundle.extra)?,
                    Optimizer::Adam(adam) => self.adam(adam, part.len(), bundle.extra)?,
                };
            }
        }
        let norms = self.plan.forward().steps().iter().zip(self.plan.layers());
        let channels = norms
            .filter(|(step, layer)| layer.trained && matches!(step.op, PlanOp::BatchNorm2d { .. }))
            .map(|(step, _)| self.plan.forward().shape(step.output).first().copied().unwrap_or(0));
        let running = 2 * channels.sum::<usize>();
        let (codec, more) = (self.settings.codec, wide::more(self.settings.codec));
        let cut = wide::codec(codec).fraction_bits() + batch_norm::MOMENTUM_BITS + more;
        Ok(sum + wide::extended(self.ring(), running) + self.shared_in(Ring::Z64, running, cut))
    }

    fn sgd(&self, sgd: &Sgd, n: usize, extra: u32) -> Result<Cost, NnError> {
        let f = self.fraction_bits();
        let rate = self.iteration.rate / self.plan.summed();
        if sgd.momentum == 0.0 && !optimizer::cuts_twice(self.settings.codec, extra) {
            return Ok(self.product(n, optimizer::plain_factor(rate, self.settings.codec, extra)?.1));
        }
        Ok(self.product(n, f + extra) + self.shared(n, optimizer::step_factor(rate, self.settings.codec)?.1))
    }

    fn adam(&self, adam: &Adam, n: usize, extra: u32) -> Result<Cost, NnError> {
        let codec = self.settings.codec;
        let wide = wide::codec(codec);
        let (ring, f) = (wide.ring(), wide.fraction_bits());
        let factors = optimizer::AdamFactors::of(adam, self.plan.summed() as usize, self.iteration.number, codec);
        let (_, first) = wide.encode_constant(factors.first).map_err(crate::mpc::MpcError::from)?;
        let (_, rate) = optimizer::AdamFactors::rate(self.iteration.rate, codec).map_err(crate::mpc::MpcError::from)?;
        Ok(self.product(n, factors.shift(codec, extra).1)
            + wide::extended(self.ring(), n)
            + self.shared_in(ring, n, first)
            + self.product_in(ring, n, f + factors.second.1)
            + cost::sqrt(ring, n, f, Octaves::of(wide))
            + cost::div(ring, n, f, factors.divisors(f))
            + self.shared_in(ring, n, rate))
    }
}
