//! The ways out of a training: to one party, who may have the weights; to a shared model for inference; and all that a
//! checkpoint needs, tensor by tensor, and back.

use super::model::{SharedTraining, still};
use super::optimizer::Moments;
use super::plan::{TrainingPlan, TrainingTensor};
use super::settings::{Optimizer, Train};
use crate::device::DeviceError;
use crate::mpc::{Additive, MpcError, Party, Rep};
use crate::net::PartyId;
use crate::nn::lower::lower;
use crate::nn::plan::PlanOp;
use crate::nn::{Graph, LowerOptions, NnError, SharedModel, Weights, fold, seen};
use crate::ring::{FixedPoint, Ring};
use ndarray::{ArrayD, IxDyn};
use std::collections::{BTreeMap, HashMap};

/// The optimiser's numbers of a tensor are called as the tensor, with one of these behind it.
const FIRST: &str = ".first_moment";
const SECOND: &str = ".second_moment";
/// What of a weight only ever sees padding.
const UNSEEN: &str = ".unseen";
/// As γ/√(σ² + eps) of a frozen batch normalisation is called, behind the name of its node.
const FACTOR: &str = ".running_factor";

impl SharedTraining {
    /// Gives the network's parameters and running statistics to party `to`, by PyTorch's names; the others get `None`. What of a
    /// kernel only ever sees padding is as it was when training began. One round, 8 bytes for each number, 4 in the ring of 32 bits.
    ///
    /// # Errors
    /// The link's errors.
    pub fn open_to(&self, p: &mut Party, to: PartyId) -> Result<Option<Weights>, NnError> {
        let codec = self.codec;
        let all = self.tensors.iter().chain(self.unseen.values());
        let flat: Result<Vec<Rep>, _> = all.map(|rep| rep.reshape(&[rep.len()])).collect();
        let all = Rep::concat(&flat.map_err(MpcError::from)?).map_err(MpcError::from)?;
        let Some(opened) = p.step("export", |p| p.open_to(to, &all))? else { return Ok(None) };
        let mut words = opened.into_host().map_err(MpcError::from)?.into_iter();
        let mut array = |tensor: &TrainingTensor, shape: &[usize]| {
            let elements = shape.iter().product();
            let values: Vec<f32> = words.by_ref().take(elements).map(|word| codec.decode(word) as f32).collect();
            let found = vec![values.len()];
            ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|_| NnError::TensorShape {
                graph: self.graph.name().into(),
                tensor: tensor.name.clone(),
                expected: shape.to_vec(),
                found,
            })
        };
        let tensors = self.plan.tensors();
        let mut arrays = tensors.iter().map(|of| array(of, &of.shape)).collect::<Result<Vec<_>, _>>()?;
        for (&index, rep) in &self.unseen {
            let tensor = &tensors[index];
            let unseen = array(tensor, rep.shape())?;
            if let (Some(shape), Some(parts)) = (&tensor.whole, seen::parts_of(&self.graph, &tensor.name)) {
                arrays[index] = seen::whole(shape, &parts, &arrays[index], &unseen);
            }
        }
        let mut weights = Weights::new();
        for (tensor, array) in tensors.iter().zip(arrays) {
            weights.insert(&tensor.name, array);
        }
        Ok(Some(weights))
    }

    /// The network as it is now, for inference: batch normalisations are folded into the convolutions before them on shares,
    /// W′ = γ/√(σ² + eps)·W and b′ = (b − μ)·γ/√(σ² + eps) + β, by their running statistics. Nothing is opened. In the ring of 32 bits
    /// its averages are not carried on, as they were not in training: nobody knows whether there would be room.
    ///
    /// # Errors
    /// [`NnError::CannotFold`] when a batch normalisation does not alone follow a convolution; the link's errors.
    pub fn to_model(&self, p: &mut Party) -> Result<SharedModel, NnError> {
        let options = LowerOptions { defer_averages: self.codec.ring() == Ring::Z64, ..LowerOptions::default() };
        let plan = lower(&fold::fold_graph(&self.graph)?, options, self.codec.ring())?;
        let factors = self.running_factors(p, false, &mut |_| {})?;
        let folded = p.step("fold", |p| self.folded(p, &factors).map_err(|error| error.located(p)))?;
        let f = self.codec.fraction_bits();
        let mut tensors = vec![];
        for step in plan.steps() {
            let (&PlanOp::Conv2d { divisor, .. } | &PlanOp::Linear { divisor, .. }) = &step.op else { continue };
            let [weight, bias] = ["weight", "bias"].map(|role| format!("{}.{role}", step.name));
            if let Some(value) = folded.get(&weight) {
                // 2^s/divisor is 1 for a power of two.
                let factor = divisor.factor();
                let value = if factor == 1.0 { value.clone() } else { p.mul_scalar(value, factor)? };
                tensors.push((weight, value));
            }
            if let Some(value) = folded.get(&bias) {
                tensors.push((bias, value.mul_word(1 << (f + divisor.extra_bits()))));
            }
        }
        SharedModel::from_shares(p.id(), &self.graph, options, self.codec, tensors)
    }

    /// The tensors of the folded network, at the codec's scale.
    fn folded(&self, p: &mut Party, factors: &BTreeMap<usize, Rep>) -> Result<HashMap<String, Rep>, NnError> {
        let mut tensors: HashMap<String, Rep> =
            self.parameters().map(|(name, rep)| (name.to_owned(), rep.clone())).collect();
        let (forward, layers) = (self.plan.forward(), self.plan.layers());
        // The convolution before each batch normalisation: its weight times a, and (b − μ)·a, end to end.
        let (mut names, mut products) = (vec![], vec![]);
        for (&index, a) in factors {
            let step = &forward.steps()[index];
            let conv = forward.steps().iter().position(|other| Some(&other.output) == step.inputs.first());
            let Some(conv) = conv else { continue };
            let name = &forward.steps()[conv].name;
            let (Some(weight), Some(mean), Some(beta)) =
                (layers[conv].weight, layers[index].running_mean, layers[index].bias)
            else {
                continue;
            };
            let (weight, mean) = (&self.tensors[weight], &self.tensors[mean]);
            let shift = match layers[conv].bias {
                Some(bias) => self.tensors[bias].sub(mean).map_err(MpcError::from)?,
                None => mean.neg(),
            };
            let by_channel = |x: &Rep| -> Result<Additive, MpcError> {
                let rows = x.reshape(&[1, a.len(), x.len() / a.len().max(1)])?;
                Ok(rows.scale_channels(a)?.reshape(&[x.len()])?)
            };
            products.extend([by_channel(weight)?, by_channel(&shift)?]);
            names.push((name, weight.shape().to_vec(), beta));
        }
        if products.is_empty() {
            return Ok(tensors);
        }
        let f = p.codec().fraction_bits();
        let all = p.truncate_additive(Additive::concat(&products).map_err(MpcError::from)?, f)?;
        let mut first = 0;
        let mut take = |shape: &[usize]| -> Result<Rep, MpcError> {
            let own = first..first + shape.iter().product::<usize>();
            first = own.end;
            Ok(all.narrow(own)?.reshape(shape)?)
        };
        for (name, shape, beta) in names {
            tensors.insert(format!("{name}.weight"), take(&shape)?);
            let bias = take(&shape[..1])?.add(&self.tensors[beta]).map_err(MpcError::from)?;
            tensors.insert(format!("{name}.bias"), bias);
        }
        Ok(tensors)
    }

    /// All that goes on with the training needs, besides the iteration ([`SharedTraining::iteration`]): parameters, running
    /// statistics, the optimiser's moments as `conv1.weight.first_moment`, and what was computed once for frozen batch
    /// normalisations as `bn1.running_factor`. For checkpoints.
    pub fn state(&self) -> Vec<(String, Rep)> {
        let mut state = self.weights();
        for (moments, suffix) in [(&self.moments.first, FIRST), (&self.moments.second, SECOND)] {
            let named = self.plan.tensors().iter().zip(moments);
            state.extend(named.filter_map(|(tensor, rep)| Some((format!("{}{suffix}", tensor.name), rep.clone()?))));
        }
        let steps = self.plan.forward().steps();
        let factor = |(&step, rep): (&usize, &Rep)| Some((format!("{}{FACTOR}", steps.get(step)?.name), rep.clone()));
        state.extend(self.frozen.iter().filter_map(factor));
        state
    }

    /// Parameters and running statistics, and as `conv1.weight.unseen` what of a weight only ever sees padding.
    fn weights(&self) -> Vec<(String, Rep)> {
        let unseen = self.unseen.iter().filter_map(|(&index, rep)| {
            let tensor = self.plan.tensors().get(index)?;
            Some((format!("{}{UNSEEN}", tensor.name), rep.clone()))
        });
        self.parameters().map(|(name, rep)| (name.to_owned(), rep.clone())).chain(unseen).collect()
    }

    /// A new training from the weights and running statistics that this one has: no optimiser's numbers, no iteration behind
    /// it. Local; nothing is opened.
    ///
    /// # Errors
    /// As [`TrainingPlan::new`].
    pub fn anew(&self, train: &Train) -> Result<Self, NnError> {
        SharedTraining::from_state(self.party, &self.graph, train, self.codec, 0, self.weights())
    }

    /// This training under settings that differ in what they reveal and in when they end, to go on with. Local.
    ///
    /// # Errors
    /// As [`SharedTraining::from_state`], where the optimiser keeps other numbers or other layers are frozen.
    pub fn going_on(&self, train: &Train) -> Result<Self, NnError> {
        SharedTraining::from_state(self.party, &self.graph, train, self.codec, self.iteration, self.state())
    }

    /// The training of which `party` had this [`SharedTraining::state`], after so many iterations. Local.
    ///
    /// # Errors
    /// As [`TrainingPlan::new`]; [`NnError::MissingTensor`], [`NnError::TensorShape`] and [`NnError::ExtraTensors`] where the
    /// state is of another network or of another optimiser; [`NnError::Mpc`] where it is of another ring.
    pub fn from_state(
        party: PartyId,
        graph: &Graph,
        train: &Train,
        codec: FixedPoint,
        iteration: u64,
        state: impl IntoIterator<Item = (String, Rep)>,
    ) -> Result<Self, NnError> {
        let plan = TrainingPlan::new(graph, train, codec.ring())?;
        let mut state: BTreeMap<String, Rep> = state.into_iter().collect();
        let mut take = |name: String, shape: &[usize], ring: Ring| {
            let graph = || graph.name().to_owned();
            match state.remove(&name) {
                Some(rep) if rep.ring() != ring => {
                    let (operation, rhs_ring) = ("training state", rep.ring());
                    let (lhs, rhs) = (shape.to_vec(), rep.shape().to_vec());
                    Err(MpcError::from(DeviceError::Rings { operation, lhs, lhs_ring: ring, rhs, rhs_ring }).into())
                }
                Some(rep) if rep.shape() == shape => Ok(rep),
                Some(rep) => {
                    let (expected, found) = (shape.to_vec(), rep.shape().to_vec());
                    Err(NnError::TensorShape { graph: graph(), tensor: name, expected, found })
                }
                None => {
                    let hint = "it is no state of this training".into();
                    Err(NnError::MissingTensor { graph: graph(), tensor: name, shape: shape.to_vec(), hint })
                }
            }
        };
        let [with_first, with_second] = match train.optimizer {
            _ if iteration == 0 => [false, false],
            Optimizer::Sgd(sgd) => [sgd.momentum != 0.0, false],
            Optimizer::Adam(_) => [true, true],
        };
        let ring = codec.ring();
        let of_moments = match train.optimizer {
            Optimizer::Sgd(_) => ring,
            Optimizer::Adam(_) => Ring::Z64,
        };
        let (mut tensors, mut unseen, mut moments) = (vec![], BTreeMap::new(), Moments::default());
        for (index, tensor) in plan.tensors().iter().enumerate() {
            tensors.push(take(tensor.name.clone(), &tensor.shape, ring)?);
            if tensor.whole.is_some() {
                let elements = tensor.unseen_elements();
                unseen.insert(index, take(format!("{}{UNSEEN}", tensor.name), &[elements], ring)?);
            }
            let all = [(with_first, &mut moments.first, FIRST), (with_second, &mut moments.second, SECOND)];
            for (with, moments, suffix) in all {
                let with = with && tensor.trained;
                let name = format!("{}{suffix}", tensor.name);
                moments.push(with.then(|| take(name, &tensor.shape, of_moments)).transpose()?);
            }
        }
        let steps = plan.forward().steps();
        let factor = |step: usize| Some((step, state.remove(&format!("{}{FACTOR}", steps.get(step)?.name))?));
        let frozen = plan.normalised_by_running(true).into_iter().filter_map(factor).collect();
        if !state.is_empty() {
            let tensors = state.into_keys().collect::<Vec<_>>().join(", ");
            return Err(NnError::ExtraTensors { graph: graph.name().into(), tensors });
        }
        let (graph, still) = (graph.clone(), still(party, &plan, &tensors)?);
        Ok(SharedTraining { party, graph, plan, codec, tensors, still, unseen, moments, iteration, frozen })
    }
}
