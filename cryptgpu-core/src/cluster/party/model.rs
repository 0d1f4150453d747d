//! A party's halves of loading a model and of inference: it takes its shares of the weights, and evaluates the network on
//! shares of images.

use super::context::PartyContext;
use super::gate::{Asks, Origin, What, asked_network};
use super::job::Job;
use crate::cluster::marshal::store::Held;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::HeldId;
use crate::net::PartyId;
use crate::nn::private::{TimeByKind, TimedInference};
use crate::nn::range::{self, Conditions, InputRange};
use crate::nn::{Graph, LowerOptions, SharedModel, WeightSource, Weights};
use cryptgpu_datasets::ImageSet;
use ndarray::ArrayD;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Shares the weights of a network, which one party reads, and holds them.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct LoadModel {
    pub(in crate::cluster) graph: Graph,
    pub(in crate::cluster) owner: PartyId,
    /// Only the owner has this; nobody else learns it.
    pub(in crate::cluster) own: Option<OwnWeights>,
    pub(in crate::cluster) options: LowerOptions,
    /// The range that images will lie in.
    pub(in crate::cluster) input: InputRange,
}

/// What the owner of the weights reads.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct OwnWeights {
    /// Where the weights are.
    pub(in crate::cluster) source: WeightSource,
    /// Images to try them on in plaintext.
    pub(in crate::cluster) calibration: Option<OwnImages>,
}

impl Job for LoadModel {
    const NAME: &'static str = "load-model";
    /// What the owner changed to make the weights fit, for the caller.
    type Output = Vec<String>;

    fn asks(&self, _: &PartyContext) -> Result<Asks, JobError> {
        let LoadModel { graph, owner, own, options, input } = self;
        let asks = Asks::default().network(graph).same(&(owner, options, input));
        let asks = asks.leaving(Origin::network(asked_network(graph).known_as()));
        let Some(own) = own else { return Ok(asks) };
        let asks = asks.reads_weights(&own.source);
        Ok(own.calibration.iter().fold(asks, |asks, images| asks.reads_images(&images.set)))
    }

    fn run(self, context: &mut PartyContext) -> Result<Vec<String>, JobError> {
        let LoadModel { graph, owner, own, options, input } = self;
        let conditions = Conditions { input, options, settings: *context.party().settings() };
        let opened = own.map(|own| open_weights(own, &graph, &conditions)).transpose()?;
        let (weights, notices) = opened.unzip();
        let model =
            context.party().step("share weights", |p| SharedModel::share(p, &graph, owner, weights, options))?;
        context.hold(0, Held::Model(Arc::new(model)))?;
        Ok(context.notices(notices.unwrap_or_default()))
    }
}

/// Reads the weights and checks that values fit the ring. Beside them: what was changed to make the weights fit the network,
/// and where no bound shows that values fit, for the caller.
fn open_weights(own: OwnWeights, graph: &Graph, conditions: &Conditions) -> Result<(Weights, Vec<String>), JobError> {
    let OwnWeights { source, calibration } = own;
    let fitted = source.open(graph)?;
    let mut notices = fitted.notices;
    let images = calibration.map(OwnImages::read).transpose()?;
    // Random weights are made to fit.
    if images.is_some() || !matches!(source, WeightSource::Random(_)) {
        let images = images.as_ref().map(|images| images.view());
        notices.extend(range::check(graph, &fitted.weights, images, conditions)?);
    }
    Ok((fitted.weights, notices))
}

/// Where the images of an inference are.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Images {
    /// The caller has shared them.
    Shared(HeldId),
    /// Party `owner` reads them; the owner alone learns which they are.
    Read { owner: PartyId, own: Option<OwnImages>, batch: usize, input: InputRange },
}

/// Images that a party reads for itself.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct OwnImages {
    pub(in crate::cluster) set: ImageSet,
    pub(in crate::cluster) range: Range<usize>,
}

impl OwnImages {
    fn read(self) -> Result<ArrayD<f64>, JobError> {
        let images = self.set.open().and_then(|images| images.batch(self.range));
        images.map(|images| images.mapv(f64::from).into_dyn()).map_err(|error| JobError::Input(error.to_string()))
    }
}

/// A warning for the owner of images that lie outside the range which the model was loaded for.
pub(in crate::cluster) fn outside(input: InputRange) -> String {
    format!(
        "some values of these images lie outside {input}, the range that the model was loaded for: nothing shows that the \
         network's values fit the ring. Scale the images as the network was trained, or load it with `input_range`"
    )
}

/// Evaluates a model on images, and holds the result.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Infer {
    pub(in crate::cluster) model: HeldId,
    pub(in crate::cluster) images: Images,
}

/// What took how long at one party.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Timing {
    /// The time from the images at their owner, or from their shares, to shares of the result.
    pub(in crate::cluster) duration: Duration,
    /// The parts of `duration`, by kind of operation.
    pub(in crate::cluster) by_kind: TimeByKind,
}

impl Job for Infer {
    const NAME: &'static str = "infer";
    type Output = Timing;

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        let network = context.origin(self.model);
        let asks = Asks::default().same(&(self.model, &network.of)).leaving(Origin::new(What::Scores, &network.of));
        Ok(match &self.images {
            Images::Shared(id) => asks.same(id),
            Images::Read { owner, own, batch, input } => {
                let asks = asks.same(&(owner, batch, input));
                own.iter().fold(asks, |asks, images| asks.reads_images(&images.set))
            }
        })
    }

    fn run(self, context: &mut PartyContext) -> Result<Timing, JobError> {
        let other = |held: &Held| JobError::Other(format!("the handle names {}", held.label().describe()));
        let model = match context.held(self.model)? {
            Held::Model(model) => model,
            held => return Err(other(&held)),
        };
        let TimedInference { output, duration, by_kind } = match self.images {
            Images::Shared(id) => match context.held(id)? {
                Held::Rep(x) => model.infer_timed(context.party(), x)?,
                held => return Err(other(&held)),
            },
            Images::Read { owner, own, batch, input } => {
                let images = own.map(OwnImages::read).transpose()?;
                if images.iter().flatten().any(|&value| !input.contains(value)) {
                    eprintln!("{}", outside(input));
                }
                model.infer_images(context.party(), owner, images.as_ref().map(|images| images.view()), batch)?
            }
        };
        context.hold(0, Held::Rep(output))?;
        Ok(Timing { duration, by_kind })
    }
}
