//! [`SharedTraining`]: a network in training, as one party holds it, and what is done with it: an iteration, an evaluation,
//! the way out to its owner or to inference.

use super::backward;
use super::batch_norm;
use super::forward::{Inputs, Passed};
use super::initial::initial;
use super::loss;
use super::optimizer::{Moments, Update};
use super::plan::{TrainingPlan, TrainingTensor};
use super::settings::{Loss, Train};
use super::times::{Label, Pass, StepTime, observed};
use crate::device::{DeviceError, Part};
use crate::mpc::{Operand, Party, Rep};
use crate::net::PartyId;
use crate::nn::plaintext::check_shape;
use crate::nn::plan::PlanOp;
use crate::nn::private::Encoding;
use crate::nn::{Graph, NnError, Weights, seen, window};
use crate::ring::FixedPoint;
use std::collections::BTreeMap;

/// A network in training, as one party holds it: two elements of the ring for each weight, and for each number that the optimiser keeps.
///
/// An error leaves it as it was before the iteration; what the parties have drawn for it is gone.
///
/// ```
/// use cryptgpu_core::mpc::World;
/// use cryptgpu_core::net::PartyId;
/// use cryptgpu_core::nn::training::{SharedTraining, Train};
/// use cryptgpu_core::nn::{Graph, NnError};
/// use ndarray::array;
///
/// let mut net = Graph::builder("line", [2, 1, 1]);
/// let flat = net.flatten("flatten", net.input())?;
/// let fc = net.linear("fc", flat, 2)?;
/// let net = net.finish(fc)?;
/// let train = Train { batch: 2, ..Train::default() };
/// let world = World::seeded(1);
/// let codec = world.settings.codec;
/// let images = world.deal(&codec.encode_array(&array![[[[1.0]], [[0.0]]], [[[0.0]], [[1.0]]]])?);
/// let labels = world.deal(&codec.encode_array(&array![[1.0, 0.0], [0.0, 1.0]])?);
/// let [weights, ..] = world.run(|p| {
///     let me = p.id().index();
///     // Party 0 draws the first weights, and has the last ones.
///     let mut training = SharedTraining::share(p, &net, PartyId::P0, None, &train)?;
///     for _ in 0..3 {
///         training.step(p, &images[me], &labels[me], 1.0, |_| {})?;
///     }
///     training.open_to(p, PartyId::P0)
/// });
/// let weights = weights?.ok_or("party 0 has the weights")?;
/// assert_eq!(weights.get("fc.weight").map(|weight| weight.shape()), Some(&[2, 2][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedTraining {
    /// Whose shares these are.
    pub(super) party: PartyId,
    pub(super) graph: Graph,
    pub(super) plan: TrainingPlan,
    /// What all numbers are encoded with.
    pub(super) codec: FixedPoint,
    /// As the plan names them.
    pub(super) tensors: Vec<Rep>,
    /// Of weights that the optimiser leaves as they are, by position, what products take where a component is zero.
    pub(super) still: BTreeMap<usize, Operand>,
    /// Of weights, by position, what only ever sees padding, one part after the other ([`seen::rest`]).
    pub(super) unseen: BTreeMap<usize, Rep>,
    pub(super) moments: Moments,
    pub(super) iteration: u64,
    /// γ/√(σ² + eps) of frozen batch normalisations, by step, once they were needed.
    pub(super) frozen: BTreeMap<usize, Rep>,
}

impl SharedTraining {
    /// Shares the weights that training begins with, which `owner` holds and the other two parties do not: weights of his
    /// own, or, where he gives none, those that [`super::initial()`] draws from the settings' seed. 8 bytes for each weight,
    /// bias and running statistic, in one direction; 4 in the ring of 32 bits.
    ///
    /// # Errors
    /// As [`TrainingPlan::new`], [`window::check_training`] and [`Weights::check`]; [`NnError::Encode`] names a weight that does not fit the ring;
    /// [`NnError::Owner`] when another party brings weights; the link's errors.
    pub fn share(
        p: &mut Party,
        graph: &Graph,
        owner: PartyId,
        weights: Option<Weights>,
        train: &Train,
    ) -> Result<Self, NnError> {
        let plan = TrainingPlan::new(graph, train, p.ring())?;
        window::check_training(&plan, p.settings())?;
        if weights.is_some() && owner != p.id() {
            return Err(NnError::Owner { what: "weights", owner, party: p.id() });
        }
        let weights = match weights {
            Some(weights) => Some(weights),
            None if owner == p.id() => Some(initial(graph, train.seed, train.initial)),
            None => None,
        };
        if let Some(weights) = &weights {
            weights.check(graph)?;
        }
        let (codec, device) = (p.codec(), p.device());
        let (mut tensors, mut unseen) = (vec![], BTreeMap::new());
        for (index, TrainingTensor { name, shape, whole, .. }) in plan.tensors().iter().enumerate() {
            let values = weights.as_ref().and_then(|weights| weights.get(name));
            let value = values.map(|values| {
                let encoding = Encoding::new(name, codec, values);
                move |range| encoding.piece(device, range)
            });
            let shape = whole.as_ref().unwrap_or(shape);
            let rep = p.step(name, |p| p.input_from(owner, value, shape).map_err(|error: NnError| error.located(p)))?;
            let local = |source| NnError::Local { node: name.clone(), source };
            let (part, rest) = match seen::parts_of(graph, name) {
                Some(parts) => split(&rep, &parts).map(|(part, rest)| (part, Some(rest))).map_err(local)?,
                None => (rep, None),
            };
            tensors.push(part);
            unseen.extend(rest.map(|rest| (index, rest)));
        }
        let (graph, moments, frozen) = (graph.clone(), Moments::default(), BTreeMap::new());
        let (party, still) = (p.id(), still(p.id(), &plan, &tensors)?);
        Ok(SharedTraining { party, graph, plan, codec, tensors, still, unseen, moments, iteration: 0, frozen })
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What an iteration does.
    pub fn plan(&self) -> &TrainingPlan {
        &self.plan
    }

    /// What all numbers are encoded with.
    pub fn codec(&self) -> FixedPoint {
        self.codec
    }

    /// How many iterations have ended.
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// Whether the next iteration gives its loss: where the settings reveal it at every k iterations, the k-th, the 2k-th and
    /// so on do.
    pub fn loss_is_next(&self) -> bool {
        let every = self.plan.train().reveal.loss_every;
        every.is_some_and(|every| every > 0 && (self.iteration + 1).is_multiple_of(every as u64))
    }

    /// One iteration: forward, backward, new weights.
    ///
    /// `images` is `[batch, channels, height, width]`; `targets` has the shape of the network's result, batch in front: one-hot
    /// rows, or any that sum to 1, for cross-entropy. Both have the codec's scale. `rate` is the optimiser's in this
    /// iteration, [`Optimizer::rate`](super::Optimizer::rate) times what the schedule says; public. The update divides by the
    /// batch.
    ///
    /// Gives the sum of the losses over the batch, as a share of shape `[1]`, in iterations whose loss may be revealed
    /// ([`SharedTraining::loss_is_next`]), and computes none in others. Nothing is opened, but for one bit of a check of ranges
    /// where the party's settings ask for one. Bytes and rounds: [`TrainingPlan::costs`].
    ///
    /// # Errors
    /// [`NnError::Input`] and [`NnError::Targets`] for other shapes; [`NnError::Precision`] when the party computes with other
    /// fraction bits; [`NnError::Settings`] for a rate that changes nothing; as [`window::check_training`], before anything is
    /// sent; [`NnError::Mpc`] with party, peer and step, or where a value has left the range and the check finds it.
    pub fn step(
        &mut self,
        p: &mut Party,
        images: &Rep,
        targets: &Rep,
        rate: f64,
        mut observe: impl FnMut(StepTime<'_>),
    ) -> Result<Option<Rep>, NnError> {
        self.check(p, images)?;
        self.check_targets(images, targets)?;
        self.plan.check_rate(rate, self.codec)?;
        self.iterate(p, images, targets, rate, &mut observe).map_err(|error| match error {
            NnError::Mpc(error) => NnError::Mpc(error.in_training()),
            error => error,
        })
    }

    /// An iteration on what has been checked.
    fn iterate(
        &mut self,
        p: &mut Party,
        images: &Rep,
        targets: &Rep,
        rate: f64,
        observe: &mut dyn FnMut(StepTime<'_>),
    ) -> Result<Option<Rep>, NnError> {
        if self.frozen.is_empty() {
            self.frozen = self.running_factors(p, true, observe)?;
        }
        let wanted = self.loss_is_next();
        let (plan, tensors, still) = (&self.plan, &self.tensors, &self.still);
        let inputs = Inputs { plan, tensors, still, factors: &self.frozen, training: true };
        let Passed { output, kept, statistics } = inputs.run(p, images.clone(), observe)?;
        let label = Label { name: "loss", kind: "loss", pass: Pass::Loss };
        let (gradient, loss) =
            observed(p, label, observe, |p| Ok(loss::gradient(p, &self.plan, &output, targets, wanted)?))?;
        drop(output);
        let gradients = backward::run(&inputs, p, gradient, kept, observe)?;
        let label = Label { name: "update", kind: "update", pass: Pass::Update };
        let iteration = self.iteration + 1;
        let (tensors, moments) = observed(p, label, observe, |p| {
            let update = Update { plan: &self.plan, tensors: &self.tensors, moments: &self.moments, rate, iteration };
            let (mut tensors, moments) = update.run(p, gradients)?;
            let running = self.running_tensors(statistics.iter().map(|batch| batch.step));
            let before: Option<Vec<[&Rep; 2]>> =
                running.iter().map(|&[mean, var]| Some([self.tensors.get(mean)?, self.tensors.get(var)?])).collect();
            let after = batch_norm::running(p, &statistics, &before.unwrap_or_default())?;
            for ([mean, variance], [new_mean, new_variance]) in running.into_iter().zip(after) {
                tensors[mean] = new_mean;
                tensors[variance] = new_variance;
            }
            Ok((tensors, moments))
        })?;
        p.check_range()?;
        (self.tensors, self.moments, self.iteration) = (tensors, moments, iteration);
        Ok(loss)
    }

    /// The positions of the running mean and variance of these steps.
    fn running_tensors(&self, steps: impl Iterator<Item = usize>) -> Vec<[usize; 2]> {
        steps
            .filter_map(|step| {
                let layer = self.plan.layers().get(step)?;
                Some([layer.running_mean?, layer.running_var?])
            })
            .collect()
    }

    /// The network's result on images, `[batch, …]` with the codec's scale; batch normalisation by its running statistics.
    ///
    /// # Errors
    /// As [`SharedTraining::step`].
    pub fn evaluate(&self, p: &mut Party, images: &Rep) -> Result<Rep, NnError> {
        self.check(p, images)?;
        let observe: &mut dyn FnMut(StepTime<'_>) = &mut |_| {};
        let factors = &self.running_factors(p, false, observe)?;
        let (plan, tensors, still) = (&self.plan, &self.tensors, &self.still);
        let inputs = Inputs { plan, tensors, still, factors, training: false };
        let output = inputs.run(p, images.clone(), observe)?.output;
        p.check_range()?;
        Ok(output)
    }

    /// γ/√(σ² + eps) of the batch normalisations that use their running statistics, all at once.
    pub(super) fn running_factors(
        &self,
        p: &mut Party,
        training: bool,
        observe: &mut dyn FnMut(StepTime<'_>),
    ) -> Result<BTreeMap<usize, Rep>, NnError> {
        let steps = self.plan.normalised_by_running(training);
        if steps.is_empty() {
            return Ok(BTreeMap::new());
        }
        let of = |&step: &usize| {
            let layer = self.plan.layers().get(step)?;
            let PlanOp::BatchNorm2d { eps } = self.plan.forward().steps().get(step)?.op else { return None };
            Some((self.tensors.get(layer.weight?)?, self.tensors.get(layer.running_var?)?, eps))
        };
        let norms: Vec<(&Rep, &Rep, f64)> = steps.iter().filter_map(of).collect();
        let label = Label { name: "running statistics", kind: "batch_norm", pass: Pass::Forward };
        let factors = observed(p, label, observe, |p| Ok(batch_norm::factors(p, &norms)?))?;
        Ok(steps.into_iter().zip(factors).collect())
    }

    /// The network's parameters and running statistics, by PyTorch's names, in node order; of a convolution's weight the rows and
    /// columns that see an input.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Rep)> {
        self.plan.tensors().iter().map(|tensor| tensor.name.as_str()).zip(&self.tensors)
    }

    /// The memory that this party's shares of weights and of the optimiser's numbers take.
    pub fn bytes(&self) -> u64 {
        let moments = self.moments.first.iter().chain(&self.moments.second).flatten();
        let bytes = |rep: &Rep| (2 * 8 * rep.ring().words(rep.len())) as u64;
        self.tensors.iter().chain(self.unseen.values()).chain(moments).chain(self.frozen.values()).map(bytes).sum()
    }

    fn check(&self, p: &Party, images: &Rep) -> Result<(), NnError> {
        let forward = self.plan.forward();
        check_shape(forward.name(), forward.input_shape(), images.shape())?;
        if p.codec() != self.codec {
            return Err(NnError::Precision {
                graph: forward.name().to_owned(),
                weights: self.codec.fraction_bits(),
                party: p.codec().fraction_bits(),
            });
        }
        window::check_training(&self.plan, p.settings())
    }

    fn check_targets(&self, images: &Rep, targets: &Rep) -> Result<(), NnError> {
        let forward = self.plan.forward();
        let batch = images.shape().first().copied().unwrap_or(0);
        let expected = [&[batch], forward.shape(forward.output())].concat();
        if targets.shape() == expected {
            return Ok(());
        }
        let one_hot = self.plan.train().loss == Loss::CrossEntropy;
        Err(NnError::Targets { graph: forward.name().into(), expected, found: targets.shape().into(), one_hot })
    }
}

/// What products take of weights that the optimiser leaves as they are, of those of which a component is zero: two of three parties have
/// one, of what its owner has shared, and make one product in place of two.
pub(super) fn still(party: PartyId, plan: &TrainingPlan, tensors: &[Rep]) -> Result<BTreeMap<usize, Operand>, NnError> {
    let mut still = BTreeMap::new();
    for (step, index) in plan.still_weights() {
        let local = |source| NnError::Local { node: step.name.clone(), source };
        let operand = tensors.get(index).map(|rep| Operand::of_one(party, rep)).transpose().map_err(local)?;
        still.extend(operand.flatten().map(|operand| (index, operand)));
    }
    Ok(still)
}

/// These parts of a weight, and the rest of it in one row.
fn split(weight: &Rep, parts: &[Part; 2]) -> Result<(Rep, Rep), DeviceError> {
    let take = |parts: &[Part; 2]| parts.iter().try_fold(weight.clone(), |rep, of| rep.along(of));
    let flat = |parts: &[Part; 2]| take(parts).and_then(|rep| rep.reshape(&[rep.len()]));
    let rest: Result<Vec<Rep>, _> = seen::rest(weight.shape(), parts).iter().map(flat).collect();
    Ok((take(parts)?, Rep::concat(&rest?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpc::World;
    use crate::nn::zoo;

    #[test]
    fn weights_that_stay_as_they_are_have_no_component_that_is_zero() {
        let (lenet, owner) = (zoo::by_name("lenet").unwrap(), PartyId::P2);
        let frozen = ["conv1", "conv2", "fc1"].map(str::to_owned).to_vec();
        let train = Train { frozen, ..Train::default() };
        let world = World::seeded(3);
        let parties = world.run(|p| {
            let first = SharedTraining::share(p, &lenet, owner, None, &train)?;
            let again = SharedTraining::from_state(p.id(), &lenet, &train, first.codec(), 0, first.state())?;
            Ok::<_, NnError>((p.id(), [first, again]))
        });
        for party in parties {
            let (id, trainings) = party.unwrap();
            for training in trainings {
                let held = training
                    .still
                    .iter()
                    .map(|(&index, operand)| (training.plan.tensors()[index].name.as_str(), operand.bytes()));
                let one = [("conv1.weight", 8 * 500), ("conv2.weight", 8 * 25_000), ("fc1.weight", 8 * 400_000)];
                assert_eq!(held.collect::<Vec<_>>(), if id == owner { vec![] } else { one.to_vec() });
            }
        }
    }
}
