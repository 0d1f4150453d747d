//! The caller's halves of loading a model and of inference: a model whose weights one party reads and shares, and images
//! that the caller shares or a party reads. The result goes to the caller alone: each party sends one component, and no
//! party learns it.

use super::cluster::Cluster;
use super::inference::InferenceResult;
use super::inner::Inner;
use super::network::Network;
use super::run::Run;
use super::share::share;
use super::turn::Turn;
use crate::cluster::marshal::handle::{Shared, Token};
use crate::cluster::marshal::model::Model;
use crate::cluster::marshal::store::Label;
use crate::cluster::party::job::Job;
use crate::cluster::party::model::{Images, Infer, LoadModel, OwnImages, OwnWeights, outside};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::HeldId;
use crate::net::PartyId;
use crate::nn::{NnError, OnnxModel, WeightSource, fold, is_batch_of, lower, window};
use cryptgpu_datasets::ImageSet;
use ndarray::{ArrayBase, Data, Dimension};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

impl Cluster {
    /// Has one party (party 1, or the [`owner`](Network::owner) of one's choice) read `weights` and share them among the
    /// three; nobody else sees them. The network is a name of the [`zoo`](crate::nn::zoo) or a
    /// [`Graph`](crate::nn::Graph), and it is encoded and evaluated with the cluster's settings. 8 bytes for each weight
    /// and bias, in one direction. What was changed to make a file's tensors fit is printed here, on standard error, and
    /// kept ([`Model::notices`]); the other parties are not told.
    ///
    /// The owner computes how large values can become, for images of the network's
    /// [`input_range`](Network::input_range): it refuses weights with which values certainly leave the ring, and
    /// tells the caller, as above, where no bound shows that they stay within. Images to try are given by
    /// [`calibrated_on`](Network::calibrated_on). Random weights are made to fit, and not looked at.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::Cluster;
    /// use cryptgpu_core::nn::WeightSource;
    /// use ndarray::Array4;
    ///
    /// let cluster = Cluster::local().start()?;
    /// let lenet = cluster.load_model("lenet", WeightSource::Bundled)?;
    /// let image = Array4::<f32>::zeros((1, 1, 28, 28));
    /// println!("{:?}", cluster.infer(&lenet, &image)?.predictions());
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`ClusterError::Argument`] for an unknown network, and for settings that it cannot be evaluated with, as
    /// [`window::check_plan`]; [`ClusterError::Job`] for weights that are missing, damaged or another network's, and for
    /// values that leave the ring, with the layer's name.
    pub fn load_model(&self, network: impl Into<Network>, weights: WeightSource) -> Result<Model, ClusterError> {
        let network = network.into();
        let refused = |error: NnError| ClusterError::argument("load a model", &error);
        let graph = network.graph().map_err(refused)?;
        let Network { owner, options, input, calibration, known, .. } = network;
        let ring = self.settings().codec.ring();
        let plan = fold::fold_graph(&graph).and_then(|folded| lower::lower(&folded, options, ring));
        plan.and_then(|plan| window::check_plan(&plan, self.settings())).map_err(refused)?;
        let calibration = calibration.map(|(set, range)| OwnImages { set, range });
        let jobs = PartyId::ALL.map(|party| LoadModel {
            graph: graph.clone(),
            owner,
            own: (party == owner).then(|| OwnWeights { source: weights.clone(), calibration: calibration.clone() }),
            options,
            input,
        });
        let turn = Turn::begin(&self.inner, LoadModel::NAME)?;
        let (generation, id) = (turn.generation(), HeldId { run: turn.run, place: 0 });
        let Run { outputs, usage, .. } = turn.run_job(jobs, |_| ())?;
        let notices = outputs.concat();
        for notice in notices.iter().filter(|notice| !known.contains(notice)) {
            eprintln!("{weights}: {notice}");
        }
        let token = Token::new(self.inner.clone(), generation, id, Label::Model(graph.name().to_owned()));
        Ok(Model { token: Arc::new(token), graph: Arc::new(graph), input, notices: notices.into(), usage })
    }

    /// As [`load_model`](Self::load_model), of the network of an ONNX file: the caller reads its structure, which all parties
    /// get, and party 1 reads the weights from the file of the same path at its place, which must hold the same network.
    /// Images are `[batch, channels, height, width]`, whatever the file's order is: [`OnnxModel::arrange`] makes them so.
    /// For other owners and ranges give [`OnnxModel::graph`] and the file to `load_model`.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::Cluster;
    /// use ndarray::Array4;
    ///
    /// let cluster = Cluster::local().start()?;
    /// let model = cluster.load_onnx("net.onnx")?;
    /// let [channels, height, width] = model.graph().input_shape();
    /// println!("{:?}", cluster.infer(&model, &Array4::<f32>::zeros((1, channels, height, width)))?.predictions());
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`ClusterError::Argument`] for a file that is missing, damaged, or has nodes that cannot be computed, all of which are
    /// named; else as [`load_model`](Self::load_model).
    pub fn load_onnx(&self, path: impl AsRef<Path>) -> Result<Model, ClusterError> {
        let path = path.as_ref();
        let model = OnnxModel::load(path).map_err(|error| ClusterError::argument("load a model", &error))?;
        self.load_model(model.graph, WeightSource::File(path.into()))
    }

    /// Shares `images`, `[batch, channels, height, width]` or what [`is_batch_of`] says, and evaluates the model on them. They are
    /// numbers of any type that [`Cluster::share`] takes, scaled as the network was trained; where some lie outside the range that the model
    /// was loaded for, a line on standard error says so. Each party sees uniform words; the caller alone puts the result
    /// together.
    ///
    /// # Errors
    /// When the images do not fit the network or the ring; when the handle is no longer good; whatever ends the run at a
    /// party.
    pub fn infer<S, D>(&self, model: &Model, images: &ArrayBase<S, D>) -> Result<InferenceResult, ClusterError>
    where
        S: Data,
        S::Elem: Copy + Into<f64>,
        D: Dimension,
    {
        infer(&self.inner, model, images)
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
    ) -> Result<InferenceResult, ClusterError> {
        let batch = range.len();
        if batch == 0 {
            let detail = format!("images {} to {} are none: take at least one", range.start, range.end);
            return Err(ClusterError::argument("infer", &detail));
        }
        let own = |party| (party == owner).then(|| OwnImages { set: set.clone(), range: range.clone() });
        let input = model.input;
        let images = |party| Images::Read { owner, own: own(party), batch, input };
        infer_on(&self.inner, model, batch, |_| Ok(PartyId::ALL.map(images)))
    }
}

/// What [`Cluster::infer`] does.
pub(super) fn infer<S, D>(
    inner: &Arc<Inner>,
    model: &Model,
    images: &ArrayBase<S, D>,
) -> Result<InferenceResult, ClusterError>
where
    S: Data,
    S::Elem: Copy + Into<f64>,
    D: Dimension,
{
    let expected = model.graph.input_shape();
    if !is_batch_of(images.shape(), expected) {
        let (graph, found) = (model.graph.name().to_owned(), images.shape().to_vec());
        return Err(ClusterError::argument("share an image", &NnError::Input { graph, expected, found }));
    }
    // Before anything is sent.
    model.token.check(inner.number, inner.facts().generation)?;
    if !images.iter().all(|&value| model.input.contains(value.into())) {
        eprintln!("{}", outside(model.input));
    }
    let shape = [&images.shape()[..1], &expected].concat();
    let images = images.to_shape(shape).map_err(|error| ClusterError::argument("share an image", &error))?;
    let shared = share(inner, &images)?;
    let images = |turn: &Turn<'_>| {
        let id = shared.0.check(inner.number, turn.generation())?;
        Ok(PartyId::ALL.map(|_| Images::Shared(id)))
    };
    infer_on(inner, model, shared.shape()[0], images)
}

fn infer_on(
    inner: &Arc<Inner>,
    model: &Model,
    batch: usize,
    images: impl FnOnce(&Turn<'_>) -> Result<[Images; 3], ClusterError>,
) -> Result<InferenceResult, ClusterError> {
    let turn = Turn::begin(inner, Infer::NAME)?;
    let (generation, result) = (turn.generation(), HeldId { run: turn.run, place: 0 });
    let id = model.token.check(inner.number, generation)?;
    let jobs = images(&turn)?.map(|images| Infer { model: id, images });
    let run = turn.run_job(jobs, |_| ())?;
    let shape = [&[batch][..], model.graph.output_shape()].concat();
    let token = Token::new(inner.clone(), generation, result, Label::Rep(shape));
    Ok(InferenceResult::new(Shared(Arc::new(token)).reveal()?, run))
}
