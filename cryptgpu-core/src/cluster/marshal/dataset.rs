//! Data sets at the parties as the caller names them: where examples come from, whose they are, and the handle of those
//! that the parties hold. No image and no label is here: a party reads its own.

use super::handle::{Shared, Token};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::HeldId;
use crate::net::PartyId;
use cryptgpu_datasets::ImageSet;
use parking_lot::Mutex;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A party as a notebook names it: `0`, `1` or `2`, or a [`PartyId`].
pub trait PartyNumber {
    /// Its number, which may be none of a party.
    fn number(self) -> i64;
}

impl PartyNumber for PartyId {
    fn number(self) -> i64 {
        u8::from(self).into()
    }
}

impl PartyNumber for i32 {
    fn number(self) -> i64 {
        self.into()
    }
}

impl PartyNumber for usize {
    fn number(self) -> i64 {
        i64::try_from(self).unwrap_or(i64::MAX)
    }
}

/// The party of that number.
pub(in crate::cluster) fn party(action: &str, number: i64) -> Result<PartyId, ClusterError> {
    let party = usize::try_from(number).ok().and_then(PartyId::new);
    party.ok_or_else(|| {
        ClusterError::argument(action, &format!("party {number} does not exist: there are parties 0, 1 and 2"))
    })
}

/// Where the examples of a data set come from: the name of an [`ImageSet`], files of one's own, or a generator. The parties
/// that own them read them by themselves.
///
/// ```
/// use cryptgpu_core::cluster::DataSource;
///
/// let digits = DataSource::from("digits-train"); // bundled; mnist-train and cifar10-train are downloaded
/// let noise = DataSource::random([3, 64, 64], 200, 1024); // to measure time and bytes
/// assert_eq!((digits.to_string(), noise.to_string()), ("digits-train".into(), "random".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSource(pub(in crate::cluster) Source);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Source {
    Named(String),
    Set(ImageSet),
    Random(RandomExamples),
}

/// Random images and labels, from a seed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct RandomExamples {
    pub(in crate::cluster) shape: [usize; 3],
    pub(in crate::cluster) classes: usize,
    pub(in crate::cluster) count: usize,
    pub(in crate::cluster) seed: u64,
}

/// What a party reads.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Reading {
    Set(ImageSet),
    Random(RandomExamples),
}

/// What one party is to read of a data set.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Wanted {
    /// Rows of images that this party owns, to `usize::MAX` where it owns all.
    pub(in crate::cluster) images: Vec<Range<usize>>,
    /// The same of labels.
    pub(in crate::cluster) labels: Vec<Range<usize>>,
    /// Only owners have this.
    pub(in crate::cluster) source: Option<Reading>,
}

/// What a party has found where it read: public.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Found {
    /// Images of the set, and the shape of one.
    pub(in crate::cluster) images: Option<(usize, [usize; 3])>,
    /// Labels of the set.
    pub(in crate::cluster) labels: Option<usize>,
}

impl DataSource {
    /// `count` random images of that shape, uniform in ±1.73 (mean 0, variance 1), with labels below `classes`: for
    /// measurements, in which nothing can be learned.
    pub fn random(shape: [usize; 3], classes: usize, count: usize) -> Self {
        DataSource(Source::Random(RandomExamples { shape, classes, count, seed: 1 }))
    }

    pub(in crate::cluster) fn reading(&self) -> Result<Reading, ClusterError> {
        match &self.0 {
            Source::Named(name) => match name.parse() {
                Ok(set) => Ok(Reading::Set(set)),
                Err(error) => Err(ClusterError::argument("open a data set", &error)),
            },
            Source::Set(set) => Ok(Reading::Set(set.clone())),
            Source::Random(random) if random.count == 0 || random.classes == 0 || random.shape.contains(&0) => {
                Err(ClusterError::argument("open a data set", &"random examples need a shape, classes and a count"))
            }
            Source::Random(random) => Ok(Reading::Random(random.clone())),
        }
    }
}

impl From<&str> for DataSource {
    fn from(name: &str) -> Self {
        DataSource(Source::Named(name.to_owned()))
    }
}

impl From<String> for DataSource {
    fn from(name: String) -> Self {
        DataSource(Source::Named(name))
    }
}

impl From<ImageSet> for DataSource {
    fn from(set: ImageSet) -> Self {
        DataSource(Source::Set(set))
    }
}

/// The name, as tables show it.
impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Named(name) => f.write_str(name),
            Source::Set(set) => set.fmt(f),
            Source::Random(_) => f.write_str("random"),
        }
    }
}

/// Who owns which rows.
#[derive(Clone, Debug)]
pub(in crate::cluster) enum Owners {
    /// One party owns all.
    At(i64),
    /// Each row range has an owner.
    Rows(Vec<(i64, Range<usize>)>),
}

macro_rules! owners {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub(in crate::cluster) Owners);

        impl $name {
            /// One party owns all of them.
            pub fn at(party: impl PartyNumber) -> Self {
                $name(Owners::At(party.number()))
            }

            /// Several parties own some rows each: ranges that follow one another, from row 0 to the last one.
            pub fn rows<P: PartyNumber>(parts: impl IntoIterator<Item = (P, Range<usize>)>) -> Self {
                $name(Owners::Rows(parts.into_iter().map(|(party, rows)| (party.number(), rows)).collect()))
            }
        }
    };
}

owners! {
    /// Who owns the images of a data set, for [`Cluster::dataset`](crate::cluster::Cluster::dataset).
    Images
}

owners! {
    /// Who owns the labels of a data set, for [`Cluster::dataset`](crate::cluster::Cluster::dataset).
    Labels
}

/// Rows that one party owns.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Part {
    pub(in crate::cluster) owner: PartyId,
    pub(in crate::cluster) rows: Range<usize>,
}

impl Owners {
    /// Whose rows those are; without an end where one party owns them all.
    pub(in crate::cluster) fn parts(&self) -> Result<Vec<Part>, ClusterError> {
        const ACTION: &str = "open a data set";
        match self {
            Owners::At(number) => Ok(vec![Part { owner: party(ACTION, *number)?, rows: 0..usize::MAX }]),
            Owners::Rows(parts) => {
                let mut end = 0;
                let part = |(number, rows): &(i64, Range<usize>)| {
                    if rows.start != end || rows.is_empty() {
                        let detail = format!(
                            "rows {} to {} do not follow row {end}: ranges follow one another, from row 0, and none is empty",
                            rows.start, rows.end
                        );
                        return Err(ClusterError::argument(ACTION, &detail));
                    }
                    end = rows.end;
                    Ok(Part { owner: party(ACTION, *number)?, rows: rows.clone() })
                };
                match parts.iter().map(part).collect::<Result<Vec<_>, _>>()? {
                    parts if parts.is_empty() => Err(ClusterError::argument(ACTION, &"no rows have an owner")),
                    parts => Ok(parts),
                }
            }
        }
    }
}

/// Who owns the images and the labels of each row: public, and the same at all parties.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Layout {
    pub(in crate::cluster) examples: usize,
    pub(in crate::cluster) images: Vec<Part>,
    pub(in crate::cluster) labels: Vec<Part>,
}

/// Rows in ascending order, cut where their owner changes.
pub(in crate::cluster) fn by_owner<'a>(
    parts: &'a [Part],
    rows: &'a [usize],
) -> impl Iterator<Item = (PartyId, &'a [usize])> {
    let mut rest = rows;
    let owned = move |part: &'a Part| {
        let (own, others) = rest.split_at(rest.partition_point(|&row| row < part.rows.end));
        rest = others;
        (!own.is_empty()).then_some((part.owner, own))
    };
    parts.iter().filter_map(owned)
}

/// Examples to train with or to measure accuracy on, which stay with their owners or are shared already: what
/// [`Cluster::dataset`](crate::cluster::Cluster::dataset) gives. The parties let go of them after the last clone is
/// dropped. It lasts as long as the generation of processes that it was opened in, but for a training that goes on from its
/// checkpoints with new ones, where their owners read them again.
#[derive(Clone)]
pub struct Dataset {
    pub(in crate::cluster) name: Arc<str>,
    pub(in crate::cluster) shape: [usize; 3],
    pub(in crate::cluster) rows: Rows,
}

/// Where the rows are.
#[derive(Clone)]
pub(in crate::cluster) enum Rows {
    /// With their owners.
    Owned(Arc<OwnedRows>),
    /// Shared by the caller: images, and labels as one-hot rows.
    Shared(Shared, Shared),
}

/// Examples that their owners have read, and how they read them again.
pub(in crate::cluster) struct OwnedRows {
    /// What the present parties know them by.
    token: Mutex<Token>,
    pub(in crate::cluster) layout: Layout,
    /// What the owners read.
    pub(in crate::cluster) reading: Reading,
    /// Who owns which rows of images and of labels, as the caller named them.
    pub(in crate::cluster) parts: [Vec<Part>; 2],
}

impl OwnedRows {
    pub(in crate::cluster) fn new(token: Token, layout: Layout, reading: Reading, parts: [Vec<Part>; 2]) -> Self {
        OwnedRows { token: Mutex::new(token), layout, reading, parts }
    }

    /// What the parties know them by, if they are of the cluster with that number and of its present generation.
    pub(in crate::cluster) fn check(&self, cluster: u64, now: u64) -> Result<HeldId, ClusterError> {
        self.token.lock().check(cluster, now)
    }

    /// Other parties have read the same examples.
    pub(in crate::cluster) fn renew(&self, token: Token) {
        *self.token.lock() = token;
    }
}

impl Dataset {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many examples.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Owned(owned) => owned.layout.examples,
            Rows::Shared(images, _) => images.shape().first().copied().unwrap_or(0),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels, height and width of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Who owns what, in a few words: `images at party 0, labels at party 2`.
    pub fn owners(&self) -> String {
        match &self.rows {
            Rows::Owned(owned) => {
                let Layout { images, labels, .. } = &owned.layout;
                format!("images at {}, labels at {}", owners(images), owners(labels))
            }
            Rows::Shared(..) => "shared by the caller".to_owned(),
        }
    }
}

fn owners(parts: &[Part]) -> String {
    match parts {
        [part] => format!("party {}", part.owner),
        parts => {
            let rows =
                parts.iter().map(|part| format!("{} (rows {} to {})", part.owner, part.rows.start, part.rows.end));
            format!("parties {}", rows.collect::<Vec<_>>().join(", "))
        }
    }
}

/// One line: `Dataset(mnist-train, 60000 of [1, 28, 28], images at party 0, labels at party 2)`.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({}, {} of {:?}, {})", self.name, self.len(), self.shape, self.owners())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_rows_and_rows_go_to_their_owners() {
        let parts = Images::rows([(0, 0..3), (2, 3..5)]).0.parts().unwrap();
        let cut: Vec<_> = by_owner(&parts, &[1, 2, 3, 4]).collect();
        assert_eq!(cut, [(PartyId::P0, &[1, 2][..]), (PartyId::P2, &[3, 4][..])]);
        assert_eq!(by_owner(&parts, &[4]).collect::<Vec<_>>(), [(PartyId::P2, &[4][..])]);
        for (wrong, hint) in [
            (Labels::rows([(0, 1..3)]), "from row 0"),
            (Labels::rows([(0, 0..3), (1, 4..5)]), "do not follow row 3"),
            (Labels::rows([(0, 0..0)]), "none is empty"),
            (Labels::rows::<i32>([]), "no rows"),
            (Labels::at(3), "party 3 does not exist"),
            (Labels::at(-1), "party -1 does not exist"),
        ] {
            let error = wrong.0.parts().unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
