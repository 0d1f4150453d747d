//! The caller's half of data sets: who reads what, whether it fits together, and how accurate a model is on it. The caller
//! sees no image and no label of a party's.

use super::cluster::Cluster;
use super::turn::Turn;
use crate::cluster::marshal::dataset::{
    DataSource, Dataset, Found, Images, Labels, Layout, OwnedRows, Part, Reading, Rows, Wanted,
};
use crate::cluster::marshal::handle::Token;
use crate::cluster::marshal::model::Model;
use crate::cluster::marshal::store::Label;
use crate::cluster::party::dataset::{Data, MeasureAccuracy, OpenDataset};
use crate::cluster::party::job::Job;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::HeldId;
use crate::net::PartyId;
use crate::nn::Graph;
use ndarray::{Array2, ArrayBase, Data as Elements, Dimension};
use std::ops::Range;
use std::sync::Arc;

const ACTION: &str = "open a data set";

impl Cluster {
    /// Examples that stay with their owners. Each owner reads what it owns by itself, from a data set's name or a file; in a
    /// run it shares only the rows of a minibatch. Names: `digits-train` and `digits-test` (bundled), `mnist-train`,
    /// `mnist-test`, `cifar10-train`, `cifar10-test` (downloaded).
    ///
    /// ```
    /// use cryptgpu_core::cluster::{Cluster, Images, Labels};
    ///
    /// let cluster = Cluster::in_memory().start()?;
    /// let digits = cluster.dataset("digits-train", Images::at(0), Labels::at(2))?;
    /// assert_eq!((digits.len(), digits.shape()), (800, [1, 28, 28]));
    ///
    /// // Rows of two owners, each with its own labels.
    /// let rows = [(0, 0..500), (1, 500..800)];
    /// let shared = cluster.dataset("digits-train", Images::rows(rows.clone()), Labels::rows(rows))?;
    /// println!("{shared:?}");
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`ClusterError::Argument`] for an unknown name, a party that does not exist, ranges that do not cover all rows;
    /// [`ClusterError::Job`] of an owner that cannot read it; [`ClusterError::Argument`] where images and labels are not
    /// equally many.
    pub fn dataset(
        &self,
        source: impl Into<DataSource>,
        images: Images,
        labels: Labels,
    ) -> Result<Dataset, ClusterError> {
        let source = source.into();
        let (reading, name) = (source.reading()?, source.to_string());
        let parts = [images.0.parts()?, labels.0.parts()?];
        let (token, layout, shape) = self.have_read(&name, &reading, &parts)?;
        let owned = OwnedRows::new(token, layout, reading, parts);
        Ok(Dataset { name: name.into(), shape, rows: Rows::Owned(Arc::new(owned)) })
    }

    /// Has the owners read what is theirs.
    fn have_read(
        &self,
        name: &str,
        reading: &Reading,
        [images, labels]: &[Vec<Part>; 2],
    ) -> Result<(Token, Layout, [usize; 3]), ClusterError> {
        let jobs = PartyId::ALL.map(|party| {
            let (images, labels) = (owned_by(party, images), owned_by(party, labels));
            let owns = !images.is_empty() || !labels.is_empty();
            let wanted = Wanted { images, labels, source: owns.then(|| reading.clone()) };
            OpenDataset { name: name.to_owned(), wanted }
        });
        let turn = Turn::begin(&self.inner, OpenDataset::NAME)?;
        let (generation, id) = (turn.generation(), HeldId { run: turn.run, place: 0 });
        let found = turn.run_job(jobs, |_| ())?.outputs;
        let token = Token::new(self.inner.clone(), generation, id, Label::Examples(name.to_owned()));
        let (layout, shape) = layout(name, images.clone(), labels.clone(), &found)?;
        Ok((token, layout, shape))
    }

    /// Has new parties read a data set again, so that all handles of it are good.
    pub(super) fn read_again(&self, data: &Dataset) -> Result<(), ClusterError> {
        let refuse = |detail: &str| Err(ClusterError::argument("go on", &format!("{}: {detail}", data.name())));
        let Rows::Owned(owned) = &data.rows else {
            return refuse("what the caller has shared is lost with the parties. Take a data set that parties own");
        };
        let (token, layout, shape) = self.have_read(data.name(), &owned.reading, &owned.parts)?;
        if layout != owned.layout || shape != data.shape() {
            return refuse("its owners read other examples than before");
        }
        owned.renew(token);
        Ok(())
    }

    /// Examples that the caller has: images, `[examples, channels, height, width]`, scaled as a network takes them, and
    /// their labels, each below `classes`. All of them are shared now: each party sees uniform words, and holds 16 bytes for
    /// each pixel.
    ///
    /// # Errors
    /// [`ClusterError::Argument`] for images of another form, another number of labels, and a label that is no class;
    /// whatever ends the run.
    pub fn dataset_from<S, D>(
        &self,
        images: &ArrayBase<S, D>,
        labels: &[usize],
        classes: usize,
    ) -> Result<Dataset, ClusterError>
    where
        S: Elements,
        S::Elem: Copy + Into<f64>,
        D: Dimension,
    {
        let refuse = |detail: String| Err(ClusterError::argument("share a data set", &detail));
        let &[examples, channels, height, width] = images.shape() else {
            return refuse(format!("images of shape {:?} are not [examples, channels, height, width]", images.shape()));
        };
        if images.is_empty() || labels.len() != examples {
            return refuse(format!(
                "{} labels for {examples} images: there must be one for each, and some",
                labels.len()
            ));
        }
        if labels.iter().any(|&label| label >= classes) {
            return refuse(format!("some labels are not below {classes}, the number of classes"));
        }
        let one_hot = Array2::from_shape_fn((examples, classes), |(row, class)| f64::from(labels[row] == class));
        let (images, targets) = (self.share(images)?, self.share(&one_hot)?);
        let name = format!("{examples} examples of the caller");
        Ok(Dataset { name: name.into(), shape: [channels, height, width], rows: Rows::Shared(images, targets) })
    }

    /// The part of `data` on which the model's prediction is the label, `batch` examples at a time. The caller learns the
    /// number of wrong predictions and nothing else; the parties learn nothing. Where several scores are the largest,
    /// any of their classes counts as right.
    ///
    /// ```
    /// use cryptgpu_core::cluster::{Cluster, Images, Labels};
    /// use cryptgpu_core::nn::WeightSource;
    ///
    /// let cluster = Cluster::in_memory().start()?;
    /// let lenet = cluster.load_model("lenet", WeightSource::Bundled)?;
    /// let digits = cluster.dataset("digits-test", Images::at(0), Labels::at(2))?;
    /// assert!(cluster.accuracy(&lenet, &digits, 100)?.fraction() > 0.95);
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`ClusterError::Argument`] when the images do not fit the network or the batch is 0; when a handle is no longer
    /// good; whatever ends the run at a party.
    pub fn accuracy(&self, model: &Model, data: &Dataset, batch: usize) -> Result<Accuracy, ClusterError> {
        let graph = model.graph();
        let classes = check_fit(graph, data, "measure the accuracy")?;
        if batch == 0 {
            return Err(ClusterError::argument("measure the accuracy", &"a batch of 0 examples: take at least 1"));
        }
        let turn = Turn::begin(&self.inner, MeasureAccuracy::NAME)?;
        let generation = turn.generation();
        let model = model.token.check(self.inner.number, generation)?;
        let data_at = |_| data_job(data, self.inner.number, generation);
        let [p0, p1, p2] = PartyId::ALL.map(data_at);
        let jobs = [p0?, p1?, p2?].map(|data| MeasureAccuracy { model, data, classes, batch });
        let run = turn.run_job(jobs, |_| ())?;
        let summands = run.outputs.iter().filter_map(|words| words.0.first());
        let wrong = summands.fold(0u64, |sum, summand| sum.wrapping_add(*summand));
        let wrong = self.settings().codec.ring().residue(wrong);
        Accuracy::of(wrong, data.len(), run.bytes(), run.duration.as_secs_f64())
    }
}

/// How many predictions of a model are right.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Accuracy {
    /// Examples whose prediction is the label.
    pub right: usize,
    /// All examples.
    pub examples: usize,
    bytes: u64,
    seconds: f64,
}

impl Accuracy {
    /// From the parties' count of wrong predictions.
    pub(crate) fn of(wrong: u64, examples: usize, bytes: u64, seconds: f64) -> Result<Self, ClusterError> {
        match usize::try_from(wrong) {
            Ok(wrong) if wrong <= examples => Ok(Accuracy { right: examples - wrong, examples, bytes, seconds }),
            _ => Err(ClusterError::Protocol {
                party: PartyId::P0,
                detail: format!("the parties' counts are no number of {examples} examples"),
            }),
        }
    }

    /// From 0 to 1.
    pub fn fraction(&self) -> f64 {
        self.right as f64 / self.examples.max(1) as f64
    }

    /// Payload bytes that the three parties sent to each other.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Seconds, as the caller waited for it; within a training, at the slowest party.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// One line: `Accuracy(987 of 1000)`.
impl std::fmt::Debug for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Accuracy({} of {})", self.right, self.examples)
    }
}

/// The examples of a run as the parties find them.
pub(super) fn data_job(data: &Dataset, cluster: u64, generation: u64) -> Result<Data, ClusterError> {
    Ok(match &data.rows {
        Rows::Owned(owned) => Data::Owned { id: owned.check(cluster, generation)?, layout: owned.layout.clone() },
        Rows::Shared(images, targets) => Data::Shared {
            images: images.0.check(cluster, generation)?,
            targets: targets.0.check(cluster, generation)?,
        },
    })
}

/// Refuses examples that a network does not take; else the number of its scores.
pub(super) fn check_fit(graph: &Graph, data: &Dataset, action: &str) -> Result<usize, ClusterError> {
    let refuse = |detail: String| Err(ClusterError::argument(action, &detail));
    let (network, takes, gives, name) = (graph.name(), graph.input_shape(), graph.output_shape(), data.name());
    if data.shape() != takes {
        return refuse(format!("images of {name} have shape {:?}, and {network} takes {takes:?}", data.shape()));
    }
    let &[classes] = gives else {
        return refuse(format!("{network} gives {gives:?} for an image, and labels need one score for each class"));
    };
    match &data.rows {
        Rows::Shared(_, targets) if targets.shape().get(1) != Some(&classes) => {
            let has = targets.shape().get(1).copied().unwrap_or(0);
            refuse(format!("{name} have {has} classes, and {network} gives {classes} scores"))
        }
        _ => Ok(classes),
    }
}

fn owned_by(party: PartyId, parts: &[Part]) -> Vec<Range<usize>> {
    parts.iter().filter(|part| part.owner == party).map(|part| part.rows.clone()).collect()
}

/// Whose rows are which, now that the owners have read them.
fn layout(
    name: &str,
    images: Vec<Part>,
    labels: Vec<Part>,
    found: &[Found; 3],
) -> Result<(Layout, [usize; 3]), ClusterError> {
    let refuse = |detail: String| ClusterError::argument(ACTION, &detail);
    let mut shape = None;
    let mut counts = [vec![], vec![]];
    for part in &images {
        let (count, found) = found[part.owner.index()].images.ok_or_else(|| refuse(format!("nobody read {name}")))?;
        if *shape.get_or_insert(found) != found {
            return Err(refuse(format!("the owners' images of {name} have shapes {shape:?} and {found:?}")));
        }
        counts[0].push(count);
    }
    for part in &labels {
        counts[1].push(found[part.owner.index()].labels.ok_or_else(|| refuse(format!("nobody read {name}")))?);
    }
    // Where one party owns all, its count; else the last range's end.
    let end = |parts: &[Part], counts: &[usize]| match parts.last() {
        Some(part) if part.rows.end == usize::MAX => counts.first().copied().unwrap_or(0),
        Some(part) => part.rows.end,
        None => 0,
    };
    let (of_images, of_labels) = (end(&images, &counts[0]), end(&labels, &counts[1]));
    if of_images != of_labels || of_images == 0 {
        return Err(refuse(format!(
            "there are {of_images} images and {of_labels} labels of {name}: there must be one for each, and some"
        )));
    }
    let whole = |mut parts: Vec<Part>| {
        parts.iter_mut().for_each(|part| part.rows.end = part.rows.end.min(of_images));
        parts
    };
    let layout = Layout { examples: of_images, images: whole(images), labels: whole(labels) };
    Ok((layout, shape.unwrap_or_default()))
}
