//! A party's half of saving by name: it writes its part of a model or a tensor to a sealed file of its own, and makes it
//! again in another session. Nothing is sent to the other parties.

use super::checkpoint::{CheckpointKey, SavedFiles, SavedLabel, SealedError, Summary, describe};
use super::context::PartyContext;
use super::gate::{Asked, Asks, Origin, What, asked_network};
use super::job::Job;
use super::state;
use crate::cluster::marshal::store::Held;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::{HeldId, VERSION};
use crate::mpc::{Party, Rep};
use crate::nn::range::InputRange;
use crate::nn::{Graph, LowerOptions, SharedModel, zoo};
use crate::ring::FixedPoint;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Saves what is held under that number.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Save {
    pub(in crate::cluster) id: HeldId,
    pub(in crate::cluster) name: String,
    /// The number of this saving, which no other has.
    pub(in crate::cluster) saving: String,
    /// The range that a model's images lie in.
    pub(in crate::cluster) input: Option<InputRange>,
}

/// What is in a file before the words of the shares.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Contents {
    Model {
        graph: Graph,
        options: LowerOptions,
        input: InputRange,
        tensors: Vec<(String, Vec<usize>)>,
    },
    /// With where it came from, by which policies decide whether it is revealed.
    Share {
        shape: Vec<usize>,
        what: Option<What>,
        of: String,
    },
}

/// A party's part of something, as it is written.
struct Part {
    contents: Contents,
    summary: Summary,
    codec: FixedPoint,
    reps: Vec<Rep>,
}

impl Part {
    fn of_model(model: &SharedModel, input: InputRange) -> Result<Self, JobError> {
        let (graph, options) = (model.graph().clone(), model.options());
        let summary = Summary::Model { network: graph.name().to_owned(), digest: asked_network(&graph).digest };
        let (names, reps): (Vec<String>, Vec<Rep>) = model.tensors()?.into_iter().unzip();
        let tensors = names.into_iter().zip(reps.iter().map(|rep| rep.shape().to_vec())).collect();
        Ok(Part { contents: Contents::Model { graph, options, input, tensors }, summary, codec: model.codec(), reps })
    }

    fn of_share(rep: Rep, origin: Origin, codec: FixedPoint) -> Self {
        let (shape, Origin { what, of }) = (rep.shape().to_vec(), origin);
        let summary = Summary::Share { shape: shape.clone() };
        Part { contents: Contents::Share { shape, what, of }, summary, codec, reps: vec![rep] }
    }

    fn state(&self, p: &Party) -> Result<Zeroizing<Vec<u8>>, JobError> {
        let contents = postcard::to_stdvec(&self.contents)
            .map_err(|error| JobError::Other(format!("cannot encode what is saved: {error}")))?;
        let words: usize = self.reps.iter().map(state::bytes_of).sum();
        // Room for all of it, since what is moved is not wiped where it was.
        let mut bytes = Zeroizing::new(Vec::with_capacity(8 + contents.len() + words));
        state::put(&mut bytes, &contents);
        self.reps.iter().try_for_each(|rep| state::put_rep(&mut bytes, rep, p))?;
        Ok(bytes)
    }
}

impl Job for Save {
    const NAME: &'static str = "save";
    type Output = ();

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        let Save { id, name, saving, input } = self;
        let path = SavedFiles::of_party(context.id())?.path(name);
        Ok(Asks::default().same(&(id, name, saving, input)).writes(path))
    }

    fn run(self, context: &mut PartyContext) -> Result<(), JobError> {
        let Save { id, name, saving, input } = self;
        let (held, origin, party) = (context.held(id)?, context.origin(id), context.id());
        let part = match &held {
            Held::Model(model) => Part::of_model(model, input.unwrap_or_default())?,
            Held::Rep(rep) => Part::of_share(rep.clone(), origin, context.party().codec()),
            held => {
                let what = held.label().describe();
                return Err(JobError::Other(format!("{what} is not saved: save models, and shares of numbers")));
            }
        };
        let files = SavedFiles::of_party(party)?;
        files.check_free(&name)?;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let program = format!("{VERSION} {}", env!("CRYPTGPU_BUILT_FROM"));
        let label = SavedLabel { name, party, saving, program, at, summary: part.summary.clone(), codec: part.codec };
        let state = part.state(context.party())?;
        Ok(files.write(&CheckpointKey::of_party(party)?, &label, state)?)
    }
}

/// Asks a party what it has saved: under that name, or under any. Of a file that is there and cannot be read, why.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct FindSaved {
    pub(in crate::cluster) name: Option<String>,
}

impl Job for FindSaved {
    const NAME: &'static str = "find-saved";
    type Output = Vec<(String, Result<SavedLabel, String>)>;

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        let files = SavedFiles::of_party(context.id())?;
        let path = self.name.as_ref().map_or_else(|| files.folder().clone(), |name| files.path(name));
        Ok(Asks::default().same(&self.name).reads_file(path))
    }

    fn run(self, context: &mut PartyContext) -> Result<Self::Output, JobError> {
        let files = SavedFiles::of_party(context.id())?;
        let names = match self.name {
            Some(name) => vec![name],
            None => files.names()?,
        };
        let found = |name: String| match files.claimed(&name) {
            Err(SealedError::Missing { .. }) => None,
            label => Some((name, label.map_err(|error| error.to_string()))),
        };
        Ok(names.into_iter().filter_map(found).collect())
    }
}

/// Removes what is saved under that name; whether there was something.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct DeleteSaved {
    pub(in crate::cluster) name: String,
}

impl Job for DeleteSaved {
    const NAME: &'static str = "delete-saved";
    type Output = bool;

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        Ok(Asks::default().same(&self.name).writes(SavedFiles::of_party(context.id())?.path(&self.name)))
    }

    fn run(self, context: &mut PartyContext) -> Result<bool, JobError> {
        Ok(SavedFiles::of_party(context.id())?.delete(&self.name)?)
    }
}

/// Loads what was saved under that name in that saving, and holds it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct LoadSaved {
    pub(in crate::cluster) name: String,
    pub(in crate::cluster) saving: String,
    /// What it is, as the parties have said.
    pub(in crate::cluster) summary: Summary,
}

/// What was loaded, for the caller.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Loaded {
    Model { graph: Graph, input: InputRange },
    Share { shape: Vec<usize> },
}

/// A network as a policy decides on it, by the digest that its file claims and that is compared when it is loaded.
fn claimed_network(name: &str, digest: &str) -> Asked {
    let known = zoo::by_name(name).is_ok_and(|known| asked_network(&known).digest == digest);
    Asked { name: name.to_owned(), zoo: known.then(|| name.to_owned()), digest: digest.to_owned(), object: None }
}

impl Job for LoadSaved {
    const NAME: &'static str = "load-saved";
    type Output = Loaded;

    fn asks(&self, context: &PartyContext) -> Result<Asks, JobError> {
        let LoadSaved { name, saving, summary } = self;
        let path = SavedFiles::of_party(context.id())?.path(name);
        let asks = Asks::default().same(&(name, saving, summary)).reads_file(path);
        Ok(match summary {
            Summary::Model { network, digest } => {
                let network = claimed_network(network, digest);
                let origin = Origin::network(network.known_as());
                asks.known_network(network).leaving(origin)
            }
            Summary::Share { .. } => asks,
        })
    }

    fn run(self, context: &mut PartyContext) -> Result<Loaded, JobError> {
        let LoadSaved { name, saving, summary } = self;
        let files = SavedFiles::of_party(context.id())?;
        let (label, bytes) = files.read(&CheckpointKey::of_party(context.id())?, &name, &saving)?;
        let (path, codec) = (files.path(&name), context.party().codec());
        let differs =
            |what, found: String, expected: String| SealedError::Other { path: path.clone(), what, found, expected };
        if label.summary != summary {
            return Err(differs("contents", label.summary.to_string(), summary.to_string()).into());
        }
        if label.codec != codec {
            return Err(differs("numbers", describe(label.codec), describe(codec)).into());
        }
        let (mut rest, ring, device) = (&bytes[..], codec.ring(), context.party().device());
        match state::take::<Contents>(&mut rest)? {
            Contents::Model { graph, options, input, tensors } => {
                let digest = asked_network(&graph).digest;
                if let Summary::Model { digest: said, .. } = &summary
                    && *said != digest
                {
                    return Err(differs("network", digest, said.clone()).into());
                }
                let mut take = |(name, shape): (String, Vec<usize>)| {
                    Ok::<_, JobError>((name, state::take_rep(&mut rest, ring, &shape, device)?))
                };
                let tensors = tensors.into_iter().map(&mut take).collect::<Result<Vec<_>, _>>()?;
                let model = SharedModel::from_shares(context.id(), &graph, options, codec, tensors)?;
                context.hold(0, Held::Model(Arc::new(model)))?;
                Ok(Loaded::Model { graph, input })
            }
            Contents::Share { shape, what, of } => {
                let rep = state::take_rep(&mut rest, ring, &shape, device)?;
                // What one caller has shared is nothing that the next one may see without being asked.
                let origin = match what {
                    Some(What::Own) => Origin::new(What::Result, &name),
                    what => Origin { what, of },
                };
                context.leaves(origin);
                context.hold(0, Held::Rep(rep))?;
                Ok(Loaded::Share { shape })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// Files that are there stay readable: whoever changes how contents or labels are written raises the format in
    /// `checkpoint/saved.rs`, and this digest with it.
    #[test]
    fn the_format_changes_with_its_number_only() {
        const DIGEST: &str = "372783a55d685e820dedeb96ba4110fa26ccaf0daab2a128d5be90f4f2a5dd48";
        let graph = zoo::by_name("lenet").unwrap();
        let tensors = vec![("conv1.weight".to_owned(), vec![20, 1, 5, 5])];
        let (options, input) = Default::default();
        let model = Contents::Model { graph: graph.clone(), options, input, tensors };
        let share = Contents::Share { shape: vec![2, 3], what: Some(What::Scores), of: "lenet".to_owned() };
        let summary = Summary::Model { network: "lenet".to_owned(), digest: asked_network(&graph).digest };
        let [name, saving, program] = ["digits", "a1", "0.1.0"].map(str::to_owned);
        let codec = FixedPoint::default();
        let label = SavedLabel { name, party: crate::net::PartyId::P1, saving, program, at: 7, summary, codec };
        let bytes = postcard::to_stdvec(&(model, share, label)).unwrap();
        assert_eq!(crate::cluster::wire::text::hex(Sha256::digest(bytes)), DIGEST);
    }
}
