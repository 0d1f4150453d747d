//! What each party does in a private inference, and what it reports. The owners find weights and
//! images by themselves, from the declaration; a party sends its share of the result to the caller,
//! so no party learns it.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::inference::{IMAGES_OWNER, WEIGHTS_OWNER};
use super::{ExperimentError, Inference, peak_rss_bytes};
use crate::mpc::Party;
use crate::net::Stats;
use crate::nn::{SharedModel, private};

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

/// Runs `declaration` as one of the three parties: shares the weights, then evaluates one batch that
/// is not counted and [`iterations`](Inference::iterations) that are. `progress` is told the number of
/// evaluations that are done, from 0 (the weights are shared) to iterations + 1.
///
/// # Errors
/// Whatever ends the run at this party; it names party, peer and step.
pub fn run_party(
    p: &mut Party,
    declaration: &Inference,
    mut progress: impl FnMut(usize),
) -> Result<PartyReport, ExperimentError> {
    let graph = declaration.graph()?;
    p.set_settings(declaration.settings()?);
    let mine = |owner| p.id() == owner;
    let weights = mine(WEIGHTS_OWNER).then(|| declaration.load_weights(&graph)).transpose()?;
    let images = mine(IMAGES_OWNER).then(|| declaration.open_images(&graph)).transpose()?;

    let (start, before) = (Instant::now(), p.stats());
    let model = SharedModel::share(p, &graph, WEIGHTS_OWNER, weights, declaration.lowering())?;
    let (setup_seconds, setup) = (start.elapsed().as_secs_f64(), [before, p.stats()]);
    progress(0);

    let mut iterations = Vec::with_capacity(declaration.iterations);
    for number in 0..=declaration.iterations {
        // The one that is not counted is on the first batch, and so is the first that is.
        let index = number.saturating_sub(1);
        let batch = images.as_ref().map(|images| images.batch(index, declaration.batch)).transpose()?;
        let (start, before) = (Instant::now(), p.stats());
        let x = private::share_images(p, &graph, IMAGES_OWNER, batch.as_ref().map(|x| x.view()), declaration.batch)?;
        let mut seconds_by_kind = BTreeMap::from([("input".to_owned(), start.elapsed().as_secs_f64())]);
        let y = model.infer_traced(p, x, |step| {
            *seconds_by_kind.entry(step.kind.to_owned()).or_default() += step.time.as_secs_f64();
        })?;
        let (seconds, stats) = (start.elapsed().as_secs_f64(), [before, p.stats()]);
        if number > 0 {
            let result = y.components().0.to_array().into_iter().collect();
            iterations.push(IterationReport { seconds, seconds_by_kind, stats, result });
        }
        progress(number + 1);
    }
    Ok(PartyReport { setup_seconds, setup, iterations, peak_rss_bytes: peak_rss_bytes() })
}
