//! The caller's half of saving by name: models and tensors that outlive their session, each party's part in a file of its own.

use super::cluster::Cluster;
use super::inner::Inner;
use super::turn::Turn;
use crate::cluster::marshal::handle::{Shared, Token};
use crate::cluster::marshal::model::Model;
use crate::cluster::marshal::store::Label;
use crate::cluster::party::checkpoint::{SavedLabel, check_name, describe};
use crate::cluster::party::job::Job;
use crate::cluster::party::saved::{DeleteSaved, FindSaved, LoadSaved, Loaded, Save};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::{HeldId, Usage};
use crate::cluster::wire::text::hex;
use crate::net::PartyId;
use crate::nn::range::InputRange;
use crate::ring::FixedPoint;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something that the parties have saved by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saved {
    /// The name.
    pub name: String,
    /// What it is, as the first party says that has it: `the model lenet`.
    pub what: String,
    /// The codec of its numbers, which a cluster must have to load it.
    pub codec: Option<FixedPoint>,
    /// When it was saved, in seconds since 1970.
    pub at: u64,
    /// What is in the way of loading it: a party that has none of it, or a part of another saving.
    pub problem: Option<String>,
}

/// What the parties have loaded, and what that took.
struct Brought {
    loaded: Loaded,
    usage: [Usage; 3],
    generation: u64,
    id: HeldId,
}

/// What the parties said of a name, by party.
type Found = [Option<Result<SavedLabel, String>>; 3];

/// What they all have, if they have parts of one saving.
fn whole(name: &str, found: &Found) -> Result<SavedLabel, String> {
    let mut labels = vec![];
    for (party, found) in PartyId::ALL.iter().zip(found) {
        match found {
            None => return Err(format!("party {party} has nothing saved as `{name}`")),
            Some(Err(why)) => return Err(format!("party {party} cannot read what it has as `{name}`: {why}")),
            Some(Ok(label)) => labels.push(label),
        }
    }
    let [first, rest @ ..] = &labels[..] else { return Err("no party has it".to_owned()) };
    let alike = |other: &&SavedLabel| {
        (&other.saving, &other.summary, other.codec) == (&first.saving, &first.summary, first.codec)
    };
    match rest.iter().find(|other| !alike(other)) {
        None => Ok((*first).clone()),
        Some(other) => Err(format!(
            "what party {} has as `{name}` ({}, saving {}) and what party {} has ({}, saving {}) are not of one saving: delete \
             `{name}` at all parties, and save it again",
            first.party, first.summary, first.saving, other.party, other.summary, other.saving
        )),
    }
}

fn checked(action: &str, name: &str) -> Result<(), ClusterError> {
    check_name(name).map_err(|error| ClusterError::argument(action, &error))
}

/// Has the parties save what a handle names.
pub(super) fn save(
    inner: &Arc<Inner>,
    token: &Token,
    name: &str,
    input: Option<InputRange>,
) -> Result<(), ClusterError> {
    const ACTION: &str = "save";
    checked(ACTION, name)?;
    token.check(inner.number, inner.facts().generation)?;
    // A party that refuses ends the session, with all that it holds.
    if !find_saved(inner, Some(name))?.is_empty() {
        let detail = format!("something is saved as `{name}` already: delete that first, or take another name");
        return Err(ClusterError::argument(ACTION, &detail));
    }
    let mut saving = [0; 16];
    getrandom::fill(&mut saving).map_err(|error| ClusterError::argument(ACTION, &error))?;
    let turn = Turn::begin(inner, Save::NAME)?;
    let id = token.check(inner.number, turn.generation())?;
    let job = |_| Save { id, name: name.to_owned(), saving: hex(saving), input };
    turn.run_job(PartyId::ALL.map(job), |_| ())?;
    Ok(())
}

impl Cluster {
    /// The model that was saved under that name ([`Model::save`]), by this cluster or another one of the same parties and
    /// numbers: each party reads its own file, and nothing is sent. Its owner's weights need not be there any more.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::Cluster;
    /// use cryptgpu_core::nn::WeightSource;
    ///
    /// let cluster = Cluster::local().start()?;
    /// cluster.load_model("lenet", WeightSource::Bundled)?.save("digits")?;
    /// cluster.restart()?;
    /// let lenet = cluster.load("digits")?;
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// [`ClusterError::Argument`] where the parties' parts do not belong together, with party and reason; [`ClusterError::Job`] of a
    /// party whose file is damaged, another's, sealed with another key, or of other numbers than the cluster's, in the words of
    /// [`SealedError`](crate::cluster::SealedError).
    pub fn load(&self, name: &str) -> Result<Model, ClusterError> {
        match self.load_saved("load a model", name)? {
            Brought { loaded: Loaded::Model { graph, input }, usage, generation, id } => {
                let token = Token::new(self.inner.clone(), generation, id, Label::Model(graph.name().to_owned()));
                Ok(Model { token: Arc::new(token), graph: Arc::new(graph), input, notices: Arc::default(), usage })
            }
            Brought { loaded: Loaded::Share { shape }, .. } => {
                let detail = format!("`{name}` is a share of shape {shape:?}: load it with `load_shared`");
                Err(ClusterError::argument("load a model", &detail))
            }
        }
    }

    /// The tensor that was saved under that name ([`Shared::save`]); as [`Cluster::load`] otherwise.
    ///
    /// # Errors
    /// As [`Cluster::load`].
    pub fn load_shared(&self, name: &str) -> Result<Shared, ClusterError> {
        match self.load_saved("load a tensor", name)? {
            Brought { loaded: Loaded::Share { shape }, generation, id, .. } => {
                let token = Token::new(self.inner.clone(), generation, id, Label::Rep(shape));
                Ok(Shared(Arc::new(token)))
            }
            Brought { loaded: Loaded::Model { graph, .. }, .. } => {
                let detail = format!("`{name}` is the model {}: load it with `load`", graph.name());
                Err(ClusterError::argument("load a tensor", &detail))
            }
        }
    }

    fn load_saved(&self, action: &str, name: &str) -> Result<Brought, ClusterError> {
        checked(action, name)?;
        let found = find_saved(&self.inner, Some(name))?.remove(name).unwrap_or_default();
        let label = whole(name, &found).map_err(|error| ClusterError::argument(action, &error))?;
        let codec = self.settings().codec;
        if label.codec != codec {
            let detail = format!(
                "`{name}` has numbers {}, and this cluster computes {}: start it with those",
                describe(label.codec),
                describe(codec)
            );
            return Err(ClusterError::argument(action, &detail));
        }
        let turn = Turn::begin(&self.inner, LoadSaved::NAME)?;
        let (generation, id) = (turn.generation(), HeldId { run: turn.run, place: 0 });
        let job = |_| LoadSaved { name: name.to_owned(), saving: label.saving.clone(), summary: label.summary.clone() };
        let run = turn.run_job(PartyId::ALL.map(job), |_| ())?;
        Ok(Brought { usage: run.usage, loaded: run.output()?, generation, id })
    }

    /// What the parties have saved, by name; also what cannot be loaded, with the reason.
    ///
    /// # Errors
    /// Whatever ends the run.
    pub fn saved(&self) -> Result<Vec<Saved>, ClusterError> {
        let entry = |(name, found): (String, Found)| {
            let problem = whole(&name, &found).err();
            let label = found.into_iter().flatten().find_map(Result::ok);
            let what = label.as_ref().map_or_else(|| "unreadable".to_owned(), |label| label.summary.to_string());
            let (codec, at) = (label.as_ref().map(|label| label.codec), label.as_ref().map_or(0, |label| label.at));
            Saved { name, what, codec, at, problem }
        };
        Ok(find_saved(&self.inner, None)?.into_iter().map(entry).collect())
    }

    /// Has the parties remove what is saved under that name, whatever they have of it. Handles that were loaded stay good.
    ///
    /// # Errors
    /// [`ClusterError::Argument`] where no party has anything; whatever ends the run.
    pub fn delete_saved(&self, name: &str) -> Result<(), ClusterError> {
        const ACTION: &str = "delete what is saved";
        checked(ACTION, name)?;
        let job = |_| DeleteSaved { name: name.to_owned() };
        match self.run_job(PartyId::ALL.map(job))?.outputs {
            [false, false, false] => {
                Err(ClusterError::argument(ACTION, &format!("no party has anything saved as `{name}`")))
            }
            _ => Ok(()),
        }
    }
}

/// What each party says of its files, by name.
fn find_saved(inner: &Arc<Inner>, name: Option<&str>) -> Result<BTreeMap<String, Found>, ClusterError> {
    let job = |_| FindSaved { name: name.map(str::to_owned) };
    let run = Turn::begin(inner, FindSaved::NAME)?.run_job(PartyId::ALL.map(job), |_| ())?;
    let mut all = BTreeMap::<String, Found>::new();
    for (party, labels) in run.outputs.into_iter().enumerate() {
        for (name, label) in labels {
            all.entry(name).or_default()[party] = Some(label);
        }
    }
    Ok(all)
}

impl Model {
    /// Has each party save its part under that name, in a file of its own that nobody else can read, sealed with a key that
    /// the party holds ([`CheckpointKey`](crate::cluster::CheckpointKey)): for [`Cluster::load`] in another session. The files are
    /// in the folder that `CRYPTGPU_SAVED` names at each party, or in `~/.local/share/cryptgpu`. Nothing is sent.
    ///
    /// # Errors
    /// [`ClusterError::Argument`] for what is no name; [`ClusterError::Job`] of a party that has something under it already, or
    /// cannot write; when the handle is no longer good.
    pub fn save(&self, name: &str) -> Result<(), ClusterError> {
        self.token.save(name, Some(self.input))
    }
}

impl Shared {
    /// Has each party save its part of the tensor under that name, as [`Model::save`], for [`Cluster::load_shared`].
    ///
    /// # Errors
    /// As [`Model::save`].
    pub fn save(&self, name: &str) -> Result<(), ClusterError> {
        self.0.save(name, None)
    }
}
