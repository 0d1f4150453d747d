//! A party's half of a data set: it reads the images and labels that it owns and keeps them, and shares those of a
//! minibatch when they are needed. Only their owner ever sees them, and no error shows one.

use super::context::PartyContext;
use super::gate::{Asks, To, What};
use super::job::Job;
use crate::cluster::marshal::dataset::{Found, Layout, Part, Reading, Wanted, by_owner};
use crate::cluster::marshal::examples::OwnExamples;
use crate::cluster::marshal::store::Held;
use crate::cluster::marshal::words::Words;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::HeldId;
use crate::device::Tensor;
use crate::mpc::{Party, Rep};
use crate::nn::SharedModel;
use crate::nn::private::count_wrong;
use ndarray::{ArrayD, IxDyn};
use sha2::Digest;
use std::sync::Arc;

/// Reads what a party owns of a data set, and keeps it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct OpenDataset {
    pub(in crate::cluster) name: String,
    pub(in crate::cluster) wanted: Wanted,
}

impl Job for OpenDataset {
    const NAME: &'static str = "open-dataset";
    type Output = Found;

    fn asks(&self, _: &PartyContext) -> Result<Asks, JobError> {
        let asks = Asks::default().same(&self.name);
        Ok(match &self.wanted.source {
            Some(Reading::Set(set)) => asks.reads_images(set),
            Some(Reading::Random(_)) | None => asks,
        })
    }

    fn run(self, context: &mut PartyContext) -> Result<Found, JobError> {
        let (own, found) = OwnExamples::read(self.name, self.wanted)?;
        context.hold(0, Held::Examples(Arc::new(own)))?;
        Ok(found)
    }
}

/// The examples of a run: with their owners, or shared.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Data {
    Owned { id: HeldId, layout: Layout },
    Shared { images: HeldId, targets: HeldId },
}

/// The examples of a run at one party, to take minibatches from.
pub(in crate::cluster) enum Minibatches {
    Owned(Arc<OwnExamples>, Layout),
    Shared(Rep, Rep),
}

impl Minibatches {
    pub(in crate::cluster) fn open(data: Data, classes: usize, context: &PartyContext) -> Result<Self, JobError> {
        let other = |held: &Held| JobError::Other(format!("the handle names {}", held.label().describe()));
        let rep = |id| match context.held(id)? {
            Held::Rep(rep) => Ok(rep),
            held => Err(other(&held)),
        };
        match data {
            Data::Owned { id, layout } => match context.held(id)? {
                Held::Examples(own) => {
                    own.check_labels(classes)?;
                    Ok(Minibatches::Owned(own, layout))
                }
                held => Err(other(&held)),
            },
            Data::Shared { images, targets } => Ok(Minibatches::Shared(rep(images)?, rep(targets)?)),
        }
    }

    /// How many examples there are, without opening them.
    pub(in crate::cluster) fn count(data: &Data, context: &PartyContext) -> Result<usize, JobError> {
        match data {
            Data::Owned { layout, .. } => Ok(layout.examples),
            Data::Shared { images, .. } => match context.held(*images)? {
                Held::Rep(images) => Ok(images.shape().first().copied().unwrap_or(0)),
                held => Err(JobError::Other(format!("the handle names {}", held.label().describe()))),
            },
        }
    }

    pub(in crate::cluster) fn examples(&self) -> usize {
        match self {
            Minibatches::Owned(_, layout) => layout.examples,
            Minibatches::Shared(images, _) => images.shape().first().copied().unwrap_or(0),
        }
    }

    /// A digest of what this party owns and of who owns which; none of examples that the caller has shared.
    pub(in crate::cluster) fn digest(&self) -> Result<Option<[u8; 32]>, JobError> {
        let Minibatches::Owned(own, layout) = self else { return Ok(None) };
        let mut digest = own.digest()?;
        digest.update(postcard::to_stdvec(layout).map_err(|error| JobError::Other(error.to_string()))?);
        Ok(Some(digest.finalize().into()))
    }

    /// Shares of the images and of the one-hot labels of these rows, [rows, channels, height, width] and [rows, classes],
    /// in ascending order of the rows, in which images and labels of different owners belong together. 8 bytes an element
    /// from its owner, 4 in the ring of 32 bits; nothing where the caller has shared them.
    pub(in crate::cluster) fn share(
        &self,
        p: &mut Party,
        rows: &[usize],
        shape: [usize; 3],
        classes: usize,
    ) -> Result<(Rep, Rep), JobError> {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        match self {
            Minibatches::Owned(own, layout) => {
                let images = |p: &Party, rows: &[usize]| {
                    let encoded = p.codec().encode_array(&own.images(rows)?);
                    let fail =
                        |error: crate::ring::RingError| JobError::Input(format!("images of {}: {error}", own.name()));
                    Ok(uploaded(p, &encoded.map_err(fail)?))
                };
                let one = 1u64 << p.codec().fraction_bits();
                let labels = |p: &Party, rows: &[usize]| {
                    let words = own.targets(rows, classes, one)?;
                    let targets = ArrayD::from_shape_vec(IxDyn(&[rows.len(), classes]), words);
                    Ok(uploaded(p, &targets.map_err(|error| JobError::Other(error.to_string()))?))
                };
                let x = p.step("images", |p| input(p, &layout.images, &rows, &shape, images))?;
                let y = p.step("labels", |p| input(p, &layout.labels, &rows, &[classes], labels))?;
                Ok((x, y))
            }
            Minibatches::Shared(images, targets) => Ok((gather(images, &rows)?, gather(targets, &rows)?)),
        }
    }
}

/// Elements of the ring that a party computes in, on its device.
fn uploaded(p: &Party, elements: &ArrayD<u64>) -> Tensor {
    Tensor::from_array_in(p.ring(), p.device(), elements)
}

/// Shares rows, each by its owner.
fn input(
    p: &mut Party,
    parts: &[Part],
    rows: &[usize],
    shape: &[usize],
    own: impl Fn(&Party, &[usize]) -> Result<Tensor, JobError>,
) -> Result<Rep, JobError> {
    let mut shares = Vec::new();
    for (owner, rows) in by_owner(parts, rows) {
        let value = (owner == p.id()).then(|| own(p, rows)).transpose()?;
        shares.push(p.input(owner, value.as_ref(), &[&[rows.len()][..], shape].concat())?);
    }
    joined(shares)
}

/// Rows of a shared tensor.
fn gather(x: &Rep, rows: &[usize]) -> Result<Rep, JobError> {
    let row = |&row: &usize| x.narrow(row..row + 1).map_err(|error| JobError::Mpc(error.into()));
    joined(rows.iter().map(row).collect::<Result<_, _>>()?)
}

fn joined(mut parts: Vec<Rep>) -> Result<Rep, JobError> {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => Ok(only),
        (_, Some(last)) => {
            parts.push(last);
            Rep::concat(&parts).map_err(|error| JobError::Mpc(error.into()))
        }
        (_, None) => Err(JobError::Arguments("a minibatch has no rows".to_owned())),
    }
}

/// Counts on how many examples a model is wrong.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct MeasureAccuracy {
    pub(in crate::cluster) model: HeldId,
    pub(in crate::cluster) data: Data,
    /// Scores that the model gives for an image.
    pub(in crate::cluster) classes: usize,
    /// Examples at a time.
    pub(in crate::cluster) batch: usize,
}

impl Job for MeasureAccuracy {
    const NAME: &'static str = "accuracy";
    /// This party's summand of the count, made anew: the caller alone learns it.
    type Output = Words;

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        let network = context.origin(self.model);
        let asks = Asks::default().same(&(self.model, &self.data, self.classes, self.batch));
        Ok(asks.reveals(What::Accuracy, &network.of, To::Caller, 1))
    }

    fn run(self, context: &mut PartyContext) -> Result<Words, JobError> {
        let model = match context.held(self.model)? {
            Held::Model(model) => model,
            held => return Err(JobError::Other(format!("the handle names {}", held.label().describe()))),
        };
        let data = Minibatches::open(self.data, self.classes, context)?;
        let mut voice = context.voice();
        let summand = wrong_predictions(context.party(), &model, &data, (self.classes, self.batch), |p, done| {
            let (at, of) = done;
            voice.progress(at as f64 / of as f64, &format!("{at} of {of} examples"), &p.current_step());
        })?;
        context.progress(1.0, "done");
        Ok(Words(summand))
    }
}

/// This party's summand, made anew, of the number of examples on which a model is wrong, `batch` at a time; `observe` gets
/// how many of how many are done.
pub(in crate::cluster) fn wrong_predictions(
    p: &mut Party,
    model: &SharedModel,
    data: &Minibatches,
    (classes, batch): (usize, usize),
    mut observe: impl FnMut(&Party, (usize, usize)),
) -> Result<Vec<u64>, JobError> {
    let (shape, examples, batch) = (model.plan().input_shape(), data.examples(), batch.max(1));
    let mut wrong: Option<Rep> = None;
    for start in (0..examples).step_by(batch) {
        let rows: Vec<usize> = (start..examples.min(start + batch)).collect();
        observe(p, (start, examples));
        let (x, y) = data.share(p, &rows, shape, classes)?;
        let scores = model.infer(p, x)?;
        let more = p.step("count", |p| count_wrong(p, &scores, &y))?;
        wrong = Some(match wrong {
            Some(so_far) => so_far.add(&more).map_err(|error| JobError::Mpc(error.into()))?,
            None => more,
        });
    }
    let wrong = wrong.ok_or_else(|| JobError::Arguments("a data set has no examples".to_owned()))?;
    let summand = p.fresh_summand(&wrong)?;
    summand.into_host().map_err(|error| JobError::Mpc(error.into()))
}
