//! The caller's halves of loading a model and of inference: a model whose weights one party reads and shares, and images
//! that the caller shares or a party reads. The result goes to the caller alone: each party sends one component, and no
//! party learns it.

use super::cluster::Cluster;
use super::run::Run;
use crate::cluster::marshal::words::Words;
use crate::cluster::party::model::{Infer, Inferred, LoadModel, OwnImages, Source};
use crate::cluster::wire::error::ClusterError;
use crate::device::{Device, DeviceError, Tensor};
use crate::mpc::{Rep, Settings, deal};
use crate::net::{PartyId, Trace};
use crate::nn::{Graph, LowerOptions, NnError, WeightSource, zoo};
use crate::prg::{Correlated, Key, Keys, Randomness};
use cryptgpu_datasets::ImageSet;
use ndarray::{ArrayD, IxDyn};
use std::ops::Range;

/// A model that the parties of a cluster hold. It is gone when the cluster has started anew.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Graph,
    settings: Settings,
    generation: u64,
}

impl Model {
    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// A private inference's result, and what it took.
#[derive(Clone, Debug)]
pub struct Inference {
    /// The network's output, `[batch, …]`: known to the caller alone.
    pub scores: ArrayD<f64>,
    /// Seconds from shares of the image to shares of the result, at the slowest party.
    pub seconds: f64,
    /// Of those, by kind of operation.
    pub seconds_by_kind: Vec<(String, f64)>,
    /// Payload bytes that each party sent.
    pub bytes_sent: [u64; 3],
    /// Rounds, weights and images being shared already.
    pub rounds: u64,
    /// What each layer cost, and every message.
    pub trace: Trace,
}

impl Inference {
    /// The class with the largest score, for each image.
    pub fn predictions(&self) -> Vec<usize> {
        let largest = |scores: ndarray::ArrayViewD<'_, f64>| {
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(class, _)| class)
        };
        self.scores.outer_iter().map(largest).collect()
    }
}

impl Cluster {
    /// Has party 1 read `weights` of `network` and share them among the three; nobody else sees them.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::Cluster;
    /// use cryptgpu_core::nn::WeightSource;
    /// use ndarray::ArrayD;
    ///
    /// let cluster = Cluster::local().start()?;
    /// let lenet = cluster.load_model("lenet", WeightSource::Bundled)?;
    /// let image = ArrayD::zeros(vec![1, 1, 28, 28]);
    /// println!("{:?}", cluster.infer(&lenet, &image)?.predictions());
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`ClusterError::Job`] for an unknown network, or weights that are missing, damaged or another
    /// network's.
    pub fn load_model(&self, network: &str, weights: WeightSource) -> Result<Model, ClusterError> {
        self.load_model_with(network, PartyId::P1, weights, Settings::default())
    }

    /// As [`Cluster::load_model`], with an owner and settings of one's choice.
    ///
    /// # Errors
    /// As [`Cluster::load_model`].
    pub fn load_model_with(
        &self,
        network: &str,
        owner: PartyId,
        weights: WeightSource,
        settings: Settings,
    ) -> Result<Model, ClusterError> {
        let graph = zoo::by_name(network).map_err(|error| ClusterError::argument("load a model", &error))?;
        let options = LowerOptions::default();
        self.run_job(PartyId::ALL.map(|party| LoadModel {
            network: network.to_owned(),
            owner,
            weights: (party == owner).then(|| weights.clone()),
            settings,
            options,
        }))?;
        Ok(Model { graph, settings, generation: self.generation() })
    }

    /// Shares `images`, `[batch, channels, height, width]`, and evaluates the model on them. Each
    /// party sees uniform words; the caller alone puts the result together.
    ///
    /// # Errors
    /// When the images do not fit the network or the ring; when the model is gone; whatever ends the
    /// run at a party.
    pub fn infer(&self, model: &Model, images: &ArrayD<f64>) -> Result<Inference, ClusterError> {
        let action = "share an image";
        let expected = model.graph.input_shape();
        if images.ndim() != 4 || images.shape()[1..] != expected || images.is_empty() {
            let (graph, found) = (model.graph.name().to_owned(), images.shape().to_vec());
            return Err(ClusterError::argument(action, &NnError::Input { graph, expected, found }));
        }
        let words =
            model.settings.codec.encode_array(images).map_err(|error| ClusterError::argument(action, &error))?;
        let key = Key::from_os().map_err(|error| ClusterError::argument(action, &error))?;
        let mut prg = Correlated::new(Randomness::Aes128Ctr, &Keys::alone(key));
        let shares = deal(&Tensor::from_array(Device::Cpu, &words), &mut prg)
            .map_err(|error| ClusterError::argument(action, &error))?;
        let source = |rep: Rep| -> Result<Source, DeviceError> {
            let (a, b) = rep.components();
            Ok(Source::Shares([Words(a.view().to_host()?), Words(b.view().to_host()?)]))
        };
        let [p0, p1, p2] = shares.map(|rep| source(rep).map_err(|error| ClusterError::argument(action, &error)));
        self.infer_from(model, [p0?, p1?, p2?], images.shape()[0])
    }

    /// Evaluates the model on images `range` of `set`, which party `owner` reads for itself and shares; the caller
    /// sees the result and not the images.
    ///
    /// # Errors
    /// As [`Cluster::infer`]; for an empty range; and when the owner cannot read the images or has not so many.
    pub fn infer_file(
        &self,
        model: &Model,
        owner: PartyId,
        set: &ImageSet,
        range: Range<usize>,
    ) -> Result<Inference, ClusterError> {
        let batch = range.len();
        if batch == 0 {
            let detail = format!("images {} to {} are none: take at least one", range.start, range.end);
            return Err(ClusterError::argument("infer", &detail));
        }
        let own = || OwnImages { set: set.clone(), range: range.clone() };
        let sources = PartyId::ALL.map(|party| Source::Party { owner, own: (party == owner).then(own), batch });
        self.infer_from(model, sources, batch)
    }

    fn infer_from(&self, model: &Model, sources: [Source; 3], batch: usize) -> Result<Inference, ClusterError> {
        if self.generation() != model.generation {
            return Err(ClusterError::argument("infer", &"the parties have started anew: load the model again"));
        }
        let network = model.graph.name();
        let run = self.run_job(sources.map(|source| Infer {
            network: network.to_owned(),
            settings: model.settings,
            source,
        }))?;
        let shape = [&[batch][..], model.graph.output_shape()].concat();
        let scores = scores(model, &run, &shape)?;
        let slowest = run.outputs.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
        Ok(Inference {
            scores,
            seconds: slowest.map_or(0.0, |output| output.seconds),
            seconds_by_kind: slowest.map_or(vec![], |output| output.kinds.clone()),
            bytes_sent: run.usage.map(|usage| usage.stats.payload_bytes()),
            rounds: run.rounds(),
            trace: run.trace(),
        })
    }
}

/// The sum of the parties' components, decoded.
fn scores(model: &Model, run: &Run<Inferred>, shape: &[usize]) -> Result<ArrayD<f64>, ClusterError> {
    let [p0, p1, p2] = run.outputs.each_ref().map(|output| &output.component.0);
    let words = p0.iter().zip(p1).zip(p2).map(|((a, b), c)| a.wrapping_add(*b).wrapping_add(*c));
    let values = words.map(|word| model.settings.codec.decode(word)).collect();
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|error| ClusterError::argument("put the result together", &error))
}
