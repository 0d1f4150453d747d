//! What each party does in a private inference, and what it reports. The owners find weights and
//! images by themselves, from the declaration; a party sends its share of the result to the caller,
//! so no party learns it.

use std::cell::RefCell;
use std::sync::Arc;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::inference::{IMAGES_OWNER, ImageSource};
use super::{ExperimentError, Inference};
use crate::cluster::{Plain, Usage, Words};
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
    /// What sharing the weights took at this party.
    pub setup: Usage,
    /// The timed iterations.
    pub iterations: Vec<IterationReport>,
    /// The most memory that the process held during an evaluation, in bytes.
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
    /// This party's summand of the result, made anew; the three add up to it.
    pub result: Words,
}

/// One evaluation, the same value for each party; a party finds by itself what it has to bring.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Evaluation {
    pub declaration: Inference,
    /// How many evaluations the experiment has had; the first one is not timed and takes the first batch, as does the
    /// second.
    pub number: usize,
}

thread_local! {
    /// The images of the experiment that goes on in this party, which their owner opens once.
    static OPENED: RefCell<Option<(Inference, ImageSource)>> = const { RefCell::new(None) };
}

impl Evaluation {
    /// The images of this evaluation, at their owner.
    fn images(&self) -> Result<ArrayD<f64>, ExperimentError> {
        let Evaluation { declaration, number } = self;
        // Those of an earlier experiment may have changed since.
        let known = OPENED.take().filter(|(of, _)| *number > 0 && of == declaration);
        let (_, source) = match known {
            Some(known) => known,
            None => (declaration.clone(), declaration.open_images(&declaration.graph()?)?),
        };
        let images = source.batch(number.saturating_sub(1), declaration.batch);
        if *number < declaration.iterations {
            OPENED.set(Some((declaration.clone(), source)));
        }
        images
    }
}

/// Evaluates a model on a batch of the owner's images: the work of [`Parties`](super::Parties).
pub(super) fn evaluate(
    p: &mut Party,
    (model, Plain(evaluation)): (Arc<SharedModel>, Plain<Evaluation>),
) -> Result<Plain<IterationReport>, ExperimentError> {
    let size = evaluation.declaration.batch;
    let images = (p.id() == IMAGES_OWNER).then(|| evaluation.images()).transpose()?;
    let before = p.stats();
    let timed = model.infer_images(p, IMAGES_OWNER, images.as_ref().map(|x| x.view()), size)?;
    let stats = [before, p.stats()];
    let result = Words(p.fresh_summand(&timed.output)?.into_host()?);
    let (seconds, seconds_by_kind) = (timed.duration.as_secs_f64(), timed.by_kind);
    Ok(Plain(IterationReport { seconds, seconds_by_kind, stats, result }))
}

/// What a party computes with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PartyState {
    pub threads: usize,
    pub randomness: Randomness,
    pub device: DeviceInUse,
}

/// Asks a party for its state; nothing is sent to the others.
pub(super) fn state(p: &mut Party, _: ()) -> Result<Plain<PartyState>, ExperimentError> {
    Ok(Plain(PartyState {
        threads: rayon::current_num_threads(),
        randomness: p.randomness(),
        device: DeviceInUse::of(p.device())?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Images;
    use cryptgpu_datasets::{ImageSet, idx};

    #[test]
    fn the_owner_reads_the_images_of_an_experiment_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.idx");
        std::fs::write(&path, idx::write_images(&ndarray::Array4::from_elem((4, 1, 28, 28), 7))).unwrap();
        let mut declaration = Inference::of("lenet").unwrap();
        (declaration.images, declaration.iterations) = (Images::Set(ImageSet::file(&path)), 3);
        let images = |number| Evaluation { declaration: declaration.clone(), number }.images();
        let first = images(0).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(images(1).unwrap(), first);
        images(2).unwrap();
        images(3).unwrap();
        assert!(images(0).is_err(), "another experiment reads them anew");
    }
}
