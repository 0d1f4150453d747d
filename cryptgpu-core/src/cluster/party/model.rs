//! A party's halves of loading a model and of inference: it keeps its shares of the weights, and evaluates the network on
//! shares of images.

use super::context::PartyContext;
use super::job::Job;
use crate::cluster::marshal::words::Words;
use crate::cluster::wire::job_error::JobError;
use crate::device::{Device, Tensor};
use crate::mpc::{Rep, Settings};
use crate::net::PartyId;
use crate::nn::{Graph, LowerOptions, NnError, SharedModel, WeightSource, private, zoo};
use cryptgpu_datasets::ImageSet;
use ndarray::ArrayD;
use std::ops::Range;

/// Loads and shares a model, and keeps it at the parties.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct LoadModel {
    pub(in crate::cluster) network: String,
    pub(in crate::cluster) owner: PartyId,
    /// At the owner only; nobody else is told where its weights are.
    pub(in crate::cluster) weights: Option<WeightSource>,
    pub(in crate::cluster) settings: Settings,
    pub(in crate::cluster) options: LowerOptions,
}

fn kept_name(network: &str) -> String {
    format!("the model {network}")
}

impl Job for LoadModel {
    const NAME: &'static str = "load-model";
    type Output = ();

    fn run(self, context: &mut PartyContext) -> Result<(), JobError> {
        let graph = zoo::by_name(&self.network)?;
        let weights = self.weights.map(|source| source.load(&graph)).transpose()?;
        let party = context.party();
        party.set_settings(self.settings);
        let model =
            party.step("share weights", |p| SharedModel::share(p, &graph, self.owner, weights, self.options))?;
        context.keep(&kept_name(&self.network), model);
        Ok(())
    }
}

/// Where an image comes from, as one party is told.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Source {
    /// The caller has shared it: this party's two components.
    Shares([Words; 2]),
    /// Party `owner` reads it; which set or file is told to the owner only.
    Party { owner: PartyId, own: Option<OwnImages>, batch: usize },
}

/// Images that a party reads for itself.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct OwnImages {
    pub(in crate::cluster) set: ImageSet,
    pub(in crate::cluster) range: Range<usize>,
}

impl OwnImages {
    fn read(self) -> Result<ArrayD<f64>, JobError> {
        let images = self.set.open().and_then(|images| images.batch(self.range));
        images.map(|images| images.mapv(f64::from).into_dyn()).map_err(|error| JobError::Other(error.to_string()))
    }
}

/// Evaluates a kept model.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Infer {
    pub(in crate::cluster) network: String,
    pub(in crate::cluster) settings: Settings,
    pub(in crate::cluster) source: Source,
}

/// What one party sends back: its first component of the result, and what took how long.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Inferred {
    pub(in crate::cluster) component: Words,
    pub(in crate::cluster) seconds: f64,
    pub(in crate::cluster) kinds: Vec<(String, f64)>,
}

impl Job for Infer {
    const NAME: &'static str = "infer";
    type Output = Inferred;

    fn run(self, context: &mut PartyContext) -> Result<Inferred, JobError> {
        let model = context.kept::<SharedModel>(&kept_name(&self.network))?;
        let graph = zoo::by_name(&self.network)?;
        let party = context.party();
        party.set_settings(self.settings);
        let x = match self.source {
            Source::Shares(components) => {
                let [a, b] = components.map(|words| component(party.device(), &graph, words));
                Rep::from_components(a?, b?).map_err(|error| JobError::Other(error.to_string()))?
            }
            Source::Party { owner, own, batch } => {
                let images = own.map(OwnImages::read).transpose()?;
                private::share_images(party, &graph, owner, images.as_ref().map(|images| images.view()), batch)?
            }
        };
        let (start, mut kinds) = (std::time::Instant::now(), Vec::<(String, f64)>::new());
        let y = model.infer_observed(party, x, |step| {
            let seconds = step.time.as_secs_f64();
            match kinds.iter_mut().find(|(kind, _)| kind == step.kind) {
                Some((_, sum)) => *sum += seconds,
                None => kinds.push((step.kind.to_owned(), seconds)),
            }
        })?;
        let component = Words(party.to_host(y.components().0.view()).map_err(NnError::Mpc)?);
        Ok(Inferred { component, seconds: start.elapsed().as_secs_f64(), kinds })
    }
}

/// Words that came with a job, as images of the network's shape.
fn component(device: Device, graph: &Graph, words: Words) -> Result<Tensor, JobError> {
    let [channels, height, width] = graph.input_shape();
    let batch = words.0.len() / (channels * height * width).max(1);
    Tensor::new(device.upload(words.0), &[batch, channels, height, width])
        .map_err(|error| JobError::Other(error.to_string()))
}
