//! What each party does in a private inference, and what it reports. The owners find weights and
//! images by themselves, from the declaration; a party sends its share of the result to the caller,
//! so no party learns it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::inference::IMAGES_OWNER;
use super::{ExperimentError, Inference, peak_rss_bytes};
use crate::cluster::Plain;
use crate::device::DeviceInUse;
use crate::mpc::Party;
use crate::net::Stats;
use crate::nn::SharedModel;
use crate::nn::private::TimeByKind;
use crate::prg::Randomness;

/// What one party has to report of a private inference.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartyReport {
    /// Seconds to read and share the weights, as the caller waited for it.
    pub setup_seconds: f64,
    /// What was counted before and after.
    pub setup: [Stats; 2],
    /// The timed iterations.
    pub iterations: Vec<IterationReport>,
    /// The most memory that the process held, in bytes.
    pub peak_rss_bytes: u64,
    /// Threads that it computed on.
    pub threads: usize,
    /// What the party's masks were drawn from.
    pub randomness: Randomness,
    /// What it computed on.
    pub device: DeviceInUse,
}

/// One iteration at one party.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IterationReport {
    /// Seconds from the images at their owner to shares of the result.
    pub seconds: f64,
    /// The parts of `seconds`, by kind of operation.
    pub seconds_by_kind: TimeByKind,
    /// What was counted before and after.
    pub stats: [Stats; 2],
    /// Component i of the result at party i; the three add up to it.
    pub result: Vec<u64>,
}

/// One evaluation, the same value for each party; a party finds by itself what it has to bring.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Evaluation {
    pub declaration: Inference,
    /// The number of the batch.
    pub batch: usize,
}

/// Evaluates a model on a batch of the owner's images: the work of [`Parties`](super::Parties).
pub(super) fn evaluate(
    p: &mut Party,
    (model, Plain(evaluation)): (Arc<SharedModel>, Plain<Evaluation>),
) -> Result<Plain<IterationReport>, ExperimentError> {
    let Evaluation { declaration, batch } = evaluation;
    let size = declaration.batch;
    let open = || declaration.open_images(&declaration.graph()?)?.batch(batch, size);
    let images = (p.id() == IMAGES_OWNER).then(open).transpose()?;
    let before = p.stats();
    let timed = model.infer_images(p, IMAGES_OWNER, images.as_ref().map(|x| x.view()), size)?;
    let stats = [before, p.stats()];
    let result = p.to_host(timed.output.components().0.view())?;
    let (seconds, seconds_by_kind) = (timed.duration.as_secs_f64(), timed.by_kind);
    Ok(Plain(IterationReport { seconds, seconds_by_kind, stats, result }))
}

/// What a party is and has counted so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PartyState {
    pub stats: Stats,
    pub peak_rss_bytes: u64,
    pub threads: usize,
    pub randomness: Randomness,
    pub device: DeviceInUse,
}

/// Asks a party for its state; nothing is sent to the others.
pub(super) fn state(p: &mut Party, _: ()) -> Result<Plain<PartyState>, ExperimentError> {
    Ok(Plain(PartyState {
        stats: p.stats(),
        peak_rss_bytes: peak_rss_bytes(),
        threads: rayon::current_num_threads(),
        randomness: p.randomness(),
        device: DeviceInUse::of(p.device())?,
    }))
}
