//! What each party does in a private inference, and what it reports. The owners find weights and
//! images by themselves, from the declaration; a party sends its share of the result to the caller,
//! so no party learns it.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::inference::{IMAGES_OWNER, ImageSource, WEIGHTS_OWNER};
use super::{ExperimentError, Inference, peak_rss_bytes};
use crate::device::DeviceInUse;
use crate::mpc::Party;
use crate::net::Stats;
use crate::nn::{Graph, SharedModel, private};
use crate::prg::Randomness;

/// What one party has to report of a private inference.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartyReport {
    /// Seconds to share the weights.
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
    /// Seconds from the images to shares of the result.
    pub seconds: f64,
    /// Of those, by kind of operation.
    pub seconds_by_kind: BTreeMap<String, f64>,
    /// What was counted before and after.
    pub stats: [Stats; 2],
    /// Component i of the result at party i; the three add up to it.
    pub result: Vec<u64>,
}

/// A private inference under way at one party: the weights are shared, and batches are evaluated one
/// after the other.
#[derive(Debug)]
pub struct PartyRun<'a> {
    declaration: &'a Inference,
    graph: Graph,
    model: SharedModel,
    /// At their owner.
    images: Option<ImageSource>,
    report: PartyReport,
}

impl<'a> PartyRun<'a> {
    /// Shares the weights.
    ///
    /// # Errors
    /// A declaration, weights or images that cannot be used; the link's errors.
    pub fn start(p: &mut Party, declaration: &'a Inference) -> Result<Self, ExperimentError> {
        let graph = declaration.graph()?;
        p.set_settings(declaration.settings()?);
        let weights = (p.id() == WEIGHTS_OWNER).then(|| declaration.load_weights(&graph)).transpose()?;
        let images = (p.id() == IMAGES_OWNER).then(|| declaration.open_images(&graph)).transpose()?;
        let (start, before) = (Instant::now(), p.stats());
        let model = SharedModel::share(p, &graph, WEIGHTS_OWNER, weights, declaration.lowering())?;
        let (setup_seconds, setup) = (start.elapsed().as_secs_f64(), [before, p.stats()]);
        let randomness = p.randomness();
        let device = DeviceInUse::of(p.device())?;
        let (iterations, peak_rss_bytes, threads) = (vec![], 0, rayon::current_num_threads());
        let report = PartyReport { setup_seconds, setup, iterations, peak_rss_bytes, threads, randomness, device };
        Ok(Self { declaration, graph, model, images, report })
    }

    /// How many evaluations there are: the one that is not timed, then the iterations.
    pub fn evaluations(&self) -> usize {
        self.declaration.iterations + 1
    }

    /// Evaluation `number`. The first, number 0, is not timed and is on the first batch; so is the
    /// first that is.
    ///
    /// # Errors
    /// Whatever ends the run at this party; it names party, peer and step.
    pub fn evaluate(&mut self, p: &mut Party, number: usize) -> Result<(), ExperimentError> {
        let size = self.declaration.batch;
        let batch = |images: &ImageSource| images.batch(number.saturating_sub(1), size);
        let images = self.images.as_ref().map(batch).transpose()?;
        let (start, before) = (Instant::now(), p.stats());
        let x = private::share_images(p, &self.graph, IMAGES_OWNER, images.as_ref().map(|x| x.view()), size)?;
        let mut seconds_by_kind = BTreeMap::from([("input".to_owned(), start.elapsed().as_secs_f64())]);
        let y = self.model.infer_observed(p, x, |step| {
            *seconds_by_kind.entry(step.kind.to_owned()).or_default() += step.time.as_secs_f64();
        })?;
        let (seconds, stats) = (start.elapsed().as_secs_f64(), [before, p.stats()]);
        if number > 0 {
            let result = p.to_host(y.components().0.view())?;
            self.report.iterations.push(IterationReport { seconds, seconds_by_kind, stats, result });
        }
        Ok(())
    }

    /// What this party has to report.
    pub fn finish(mut self) -> PartyReport {
        self.report.peak_rss_bytes = peak_rss_bytes();
        self.report
    }
}

/// Runs `declaration` as one of the three parties. `progress` is told the number of evaluations that
/// are done, from 0 (the weights are shared) on.
///
/// # Errors
/// Whatever ends the run at this party; it names party, peer and step.
pub fn run_party(
    p: &mut Party,
    declaration: &Inference,
    mut progress: impl FnMut(usize),
) -> Result<PartyReport, ExperimentError> {
    let mut run = PartyRun::start(p, declaration)?;
    progress(0);
    for number in 0..run.evaluations() {
        run.evaluate(p, number)?;
        progress(number + 1);
    }
    Ok(run.finish())
}
