//! Private evaluation: a network whose weights are secret-shared among the three parties, applied to images
//! that are secret-shared too. One party owns the weights, encodes and shares them once
//! ([`SharedModel::share`]); the others know the architecture only. Every message is sent by [`crate::mpc`];
//! this folder only says which protocol runs on what, in the order of the [`Plan`].

mod accuracy;
mod encode;
pub(super) mod evaluate;
mod tensors;
mod times;
pub(super) mod values;

pub use accuracy::count_wrong;
pub(in crate::nn) use encode::Encoding;
pub use encode::TensorSpec;
pub use times::{LayerTime, TimeByKind, TimedInference};

use super::lower::lower;
use super::plaintext::check_shape;
use super::{Graph, LowerOptions, NnError, Plan, Weights, fold, window};
use crate::device::Tensor;
use crate::mpc::{Operand, Party, Rep};
use crate::net::PartyId;
use crate::ring::FixedPoint;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

/// A network with secret-shared weights, as one party holds it: two words for each weight.
#[derive(Debug)]
pub struct SharedModel {
    graph: Graph,
    options: LowerOptions,
    plan: Plan,
    /// What the weights are encoded with, and so what they must be evaluated with.
    codec: FixedPoint,
    /// The weights of each step that has some.
    layers: Vec<Option<Layer>>,
}

/// The shared weights of a step.
#[derive(Debug)]
pub(super) struct Layer {
    /// The weight at scale 2^f, times 2^s / divisor where the input has a pending divisor; its products are
    /// truncated by f + s.
    pub(super) weight: Option<Operand>,
    /// The bias at scale 2^(2f + s), added before the truncation; of a step without a weight at scale 2^f.
    pub(super) bias: Option<Rep>,
}

impl SharedModel {
    /// Shares the weights of `graph`, which `owner` holds and the other two parties do not.
    ///
    /// The owner folds batch normalisations, encodes each tensor and sends one component of it to one party: 8 bytes
    /// for each weight and bias, in one direction, no waiting. A tensor of the owner's is freed once it is shared.
    ///
    /// # Errors
    /// As [`Weights::check`] and [`fold::fold_graph`]; [`NnError::Encode`] names a weight that does not fit the ring;
    /// [`NnError::Owner`] when the owner brings no weights or another party does; the link's errors.
    pub fn share(
        p: &mut Party,
        graph: &Graph,
        owner: PartyId,
        weights: Option<Weights>,
        options: LowerOptions,
    ) -> Result<Self, NnError> {
        if weights.is_some() != (owner == p.id()) {
            return Err(NnError::Owner { what: "weights", owner, party: p.id() });
        }
        let (folded, weights) = match weights {
            Some(weights) => {
                let (graph, weights) = fold::fold_weights(graph, &weights)?;
                (graph, Some(weights))
            }
            None => (fold::fold_graph(graph)?, None),
        };
        let plan = lower(&folded, options, p.codec().ring())?;
        let codec = p.codec();
        let layers = encode::layers(&plan, codec, Owned { p, owner, weights })?;
        Ok(SharedModel { graph: graph.clone(), options, plan, codec, layers })
    }

    /// A model from the shares that `party` has of the tensors that [`encode_weights`] made outside the three parties, in a
    /// notebook say. Local.
    ///
    /// # Errors
    /// As [`fold::fold_graph`]; [`NnError::MissingTensor`], [`NnError::TensorShape`] and [`NnError::ExtraTensors`]
    /// when `tensors` are not the network's.
    pub fn from_shares(
        party: PartyId,
        graph: &Graph,
        options: LowerOptions,
        codec: FixedPoint,
        tensors: impl IntoIterator<Item = (String, Rep)>,
    ) -> Result<Self, NnError> {
        let plan = lower(&fold::fold_graph(graph)?, options, codec.ring())?;
        let mut shares = Shares { party, graph: graph.name(), tensors: tensors.into_iter().collect() };
        let layers = encode::layers(&plan, codec, &mut shares)?;
        if !shares.tensors.is_empty() {
            let names: Vec<String> = shares.tensors.into_keys().collect();
            return Err(NnError::ExtraTensors { graph: graph.name().to_owned(), tensors: names.join(", ") });
        }
        Ok(SharedModel { graph: graph.clone(), options, plan, codec, layers })
    }

    /// The memory that this party's shares of the weights take.
    pub fn bytes(&self) -> u64 {
        let bias = |bias: &Rep| 16 * bias.components().0.view().len() as u64;
        let layers = self.layers.iter().flatten();
        layers.map(|layer| layer.weight.as_ref().map_or(0, Operand::bytes) + layer.bias.as_ref().map_or(0, bias)).sum()
    }

    /// The steps that [`SharedModel::infer`] takes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Shares a batch of images for this network, as [`share_images`].
    ///
    /// # Errors
    /// As [`share_images`].
    pub fn share_images(
        &self,
        p: &mut Party,
        owner: PartyId,
        images: Option<ArrayViewD<'_, f64>>,
        batch: usize,
    ) -> Result<Rep, NnError> {
        share_input(p, self.plan.name(), self.plan.input_shape(), owner, images, batch)
    }

    /// The network's result on shared images.
    ///
    /// `x` has shape `[batch, channels, height, width]` and the codec's scale; so has the result, `[batch, …]`. Costs
    /// are those of [`super::cost::infer`]. Tensors are freed after their last use. With a check of ranges in the
    /// party's settings, one bit is opened at the end, or at the end of each layer ([`crate::mpc::CheckRange`]).
    ///
    /// # Errors
    /// [`NnError::Input`] for images of another shape; [`NnError::Precision`] when the party computes with other
    /// fraction bits than the weights have, [`NnError::Settings`] in another ring; as [`window::check_plan`] for settings that
    /// cannot work, before anything is sent; [`NnError::Mpc`] with party, peer and step, or where a value has left the range and the check finds it.
    ///
    /// # Examples
    /// See [`share_images`].
    pub fn infer(&self, p: &mut Party, x: Rep) -> Result<Rep, NnError> {
        self.infer_observed(p, x, |_| {})
    }

    /// As [`SharedModel::infer`], with the time that it took at this party.
    ///
    /// # Errors
    /// As [`SharedModel::infer`].
    pub fn infer_timed(&self, p: &mut Party, x: Rep) -> Result<TimedInference, NnError> {
        self.infer_since(p, x, Instant::now(), TimeByKind::default())
    }

    /// Private inference of images that `owner` holds and the others do not, from sharing them
    /// ([`SharedModel::share_images`], timed as the kind `input`) to shares of the result.
    ///
    /// # Errors
    /// As [`share_images`] and [`SharedModel::infer`].
    pub fn infer_images(
        &self,
        p: &mut Party,
        owner: PartyId,
        images: Option<ArrayViewD<'_, f64>>,
        batch: usize,
    ) -> Result<TimedInference, NnError> {
        let (start, mut by_kind) = (Instant::now(), TimeByKind::default());
        let x = self.share_images(p, owner, images, batch)?;
        by_kind.add("input", start.elapsed());
        self.infer_since(p, x, start, by_kind)
    }

    fn infer_since(
        &self,
        p: &mut Party,
        x: Rep,
        start: Instant,
        mut by_kind: TimeByKind,
    ) -> Result<TimedInference, NnError> {
        let output = self.infer_observed(p, x, |layer| by_kind.add(layer.kind, layer.time))?;
        Ok(TimedInference { output, duration: start.elapsed(), by_kind })
    }

    /// As [`SharedModel::infer`], and shows what each layer took to `observe`.
    ///
    /// # Errors
    /// As [`SharedModel::infer`].
    pub fn infer_observed(&self, p: &mut Party, x: Rep, observe: impl FnMut(LayerTime<'_>)) -> Result<Rep, NnError> {
        check_shape(self.plan.name(), self.plan.input_shape(), x.shape())?;
        let (ring, expected) = (p.ring(), self.codec.ring());
        if ring != expected {
            let what = format!("the weights are of the ring of {expected}, and the party computes in that of {ring}");
            return Err(NnError::Settings { what });
        }
        if p.codec() != self.codec {
            return Err(NnError::Precision {
                graph: self.plan.name().to_owned(),
                weights: self.codec.fraction_bits(),
                party: p.codec().fraction_bits(),
            });
        }
        window::check_plan(&self.plan, p.settings())?;
        evaluate::run(self, p, x, observe)
    }
}

/// Tensors that one of the parties holds in the clear, which shares them one by one.
struct Owned<'a> {
    p: &'a mut Party,
    owner: PartyId,
    weights: Option<Weights>,
}

impl Owned<'_> {
    /// The tensor at its owner.
    fn encoding(&mut self, spec: &TensorSpec) -> Option<impl FnMut(Range<usize>) -> Result<Tensor, NnError> + use<>> {
        let (codec, device) = (self.p.codec(), self.p.device());
        let encoding = spec.encoding(codec, self.weights.as_mut()?);
        Some(move |range| encoding.piece(device, range))
    }
}

impl encode::Tensors for Owned<'_> {
    fn weight(&mut self, spec: &TensorSpec) -> Result<Operand, NnError> {
        let value = self.encoding(spec);
        self.p.step(&spec.name, |p| {
            p.input_operand_from(self.owner, value, &spec.shape).map_err(|error: NnError| error.located(p))
        })
    }

    fn bias(&mut self, spec: &TensorSpec) -> Result<Rep, NnError> {
        let value = self.encoding(spec);
        self.p.step(&spec.name, |p| {
            p.input_from(self.owner, value, &spec.shape).map_err(|error: NnError| error.located(p))
        })
    }
}

/// Shares of tensors by name.
struct Shares<'a> {
    party: PartyId,
    graph: &'a str,
    tensors: BTreeMap<String, Rep>,
}

impl encode::Tensors for &mut Shares<'_> {
    fn weight(&mut self, spec: &TensorSpec) -> Result<Operand, NnError> {
        // What its owner has shared, and was saved, has the component that was zero.
        let local = |source| NnError::Local { node: spec.name.clone(), source };
        Operand::of_kept(self.party, self.bias(spec)?).map_err(local)
    }

    fn bias(&mut self, spec: &TensorSpec) -> Result<Rep, NnError> {
        let (graph, tensor, expected) = (self.graph.to_owned(), spec.name.clone(), spec.shape.clone());
        let Some(rep) = self.tensors.remove(&tensor) else {
            let hint = "nn::private::encode_weights makes them all".into();
            return Err(NnError::MissingTensor { graph, tensor, shape: expected, hint });
        };
        if rep.shape() != expected {
            return Err(NnError::TensorShape { graph, tensor, expected, found: rep.shape().into() });
        }
        Ok(rep)
    }
}

/// The weights of `graph` as ring elements, folded and scaled as its plan needs them: what an owner outside the
/// three parties shares, tensor by tensor, for [`SharedModel::from_shares`].
///
/// # Errors
/// As [`Weights::check`] and [`fold::fold_graph`]; [`NnError::Encode`] names a weight that does not fit the ring.
pub fn encode_weights(
    graph: &Graph,
    weights: &Weights,
    options: LowerOptions,
    codec: FixedPoint,
) -> Result<Vec<(String, ArrayD<u64>)>, NnError> {
    let (folded, mut weights) = fold::fold_weights(graph, weights)?;
    let plan = lower(&folded, options, codec.ring())?;
    let tensor = |spec: TensorSpec| {
        let words = spec.encoding(codec, &mut weights).all()?;
        let found = vec![words.len()];
        let TensorSpec { name, shape, .. } = spec;
        match ArrayD::from_shape_vec(IxDyn(&shape), words) {
            Ok(words) => Ok((name, words)),
            Err(_) => Err(NnError::TensorShape { graph: graph.name().into(), tensor: name, expected: shape, found }),
        }
    };
    encode::specs(&plan, codec).into_iter().map(tensor).collect()
}

/// Shares a batch of images, which `owner` holds and the others do not: 8 bytes an element, 1 round.
///
/// ```
/// use cryptgpu_core::mpc::{MpcError, Party, Rep};
/// use cryptgpu_core::net::PartyId;
/// use cryptgpu_core::nn::{Graph, NnError, SharedModel, Weights, private};
/// use ndarray::ArrayD;
///
/// /// Party 0 has the weights, party 1 the image, party 2 gets the scores.
/// fn scores(p: &mut Party, net: &Graph, mine: Option<Weights>, image: Option<ArrayD<f64>>) -> Result<(), NnError> {
///     let [zero, one, two] = PartyId::ALL;
///     let model = SharedModel::share(p, net, zero, mine, Default::default())?;
///     let x = private::share_images(p, net, one, image.as_ref().map(|image| image.view()), 1)?;
///     let y = model.infer(p, x)?;
///     if let Some(words) = p.open_to(two, &y)? {
///         println!("{:?}", p.codec().decode(words.into_host().map_err(MpcError::from)?[0]));
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
/// [`NnError::Owner`], [`NnError::Input`] for another shape, [`NnError::Encode`] for a pixel that does not fit the
/// ring, the link's errors.
pub fn share_images(
    p: &mut Party,
    graph: &Graph,
    owner: PartyId,
    images: Option<ArrayViewD<'_, f64>>,
    batch: usize,
) -> Result<Rep, NnError> {
    share_input(p, graph.name(), graph.input_shape(), owner, images, batch)
}

fn share_input(
    p: &mut Party,
    graph: &str,
    expected: [usize; 3],
    owner: PartyId,
    images: Option<ArrayViewD<'_, f64>>,
    batch: usize,
) -> Result<Rep, NnError> {
    if images.is_some() != (owner == p.id()) {
        return Err(NnError::Owner { what: "images", owner, party: p.id() });
    }
    let shape = [&[batch][..], &expected].concat();
    let found = images.as_ref().map_or(&shape[..], |images| images.shape());
    if found != shape || batch == 0 {
        return Err(NnError::Input { graph: graph.into(), expected, found: found.into() });
    }
    let encode = |images: ArrayViewD<'_, f64>| -> Result<ArrayD<u64>, NnError> {
        let encoded = p.codec().encode_array(&images);
        encoded.map_err(|source| NnError::Encode { tensor: "input".into(), source })
    };
    let device = p.device();
    let words = images.map(encode).transpose()?;
    let value = words.map(|words| Tensor::from_array_in(p.ring(), device, &words));
    Ok(p.step("input", |p| p.input(owner, value.as_ref(), &shape))?)
}
