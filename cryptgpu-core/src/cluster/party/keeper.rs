//! A party's checkpoints of a training: what is in them, writing them every so many iterations, and going on from one bit
//! for bit. The files themselves are those of `checkpoint/`; here are their contents.

use super::checkpoint::{CheckpointKey, Checkpoints, Origin, SealedError};
use super::context::PartyContext;
use super::dataset::Minibatches;
use super::gate::Asks;
use super::job::Job;
use super::state;
use crate::cluster::wire::function;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::VERSION;
use crate::cluster::wire::object::CodeError;
use crate::cluster::wire::text::hex;
use crate::mpc::{Party, Settings};
use crate::nn::Graph;
use crate::nn::training::{SharedTraining, Train};
use crate::prg::Standing;
use crate::ring::Ring;
use serde_json::Value;
use std::path::PathBuf;
use zeroize::Zeroizing;

impl From<SealedError> for JobError {
    fn from(error: SealedError) -> Self {
        JobError::Input(error.to_string())
    }
}

/// Where the checkpoints of a training go.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Kept {
    /// At each party, a path of its own machine.
    pub(in crate::cluster) folder: PathBuf,
    /// Iterations from one to the next.
    pub(in crate::cluster) every: u64,
    /// The run's name, which no other has.
    pub(in crate::cluster) run: String,
    /// Goes on after so many iterations.
    pub(in crate::cluster) from: Option<u64>,
}

/// What must be the same for a run to go on: its messages would otherwise differ under the same masks.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Facts {
    train: Train,
    settings: Settings,
    graph: Graph,
    /// A digest of the examples that this party owns, and of who owns which.
    examples: [u8; 32],
}

/// The settings without those that change no message of an iteration: when the run ends, and after which iterations the
/// accuracy is measured, which the session's keys mask.
fn computed(train: &Train) -> Train {
    let mut train = Train { epochs: 0, iterations: None, ..train.clone() };
    train.reveal.accuracy_every = None;
    train
}

/// The first of the values in which two settings differ, by the names of its fields, with both values.
fn first_difference(name: String, there: &Value, here: &Value) -> Option<(String, String, String)> {
    if there == here {
        return None;
    }
    if let (Value::Object(of_there), Value::Object(of_here)) = (there, here)
        && of_there.keys().eq(of_here.keys())
    {
        let within = |field: &String| if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
        let mut fields = of_there.iter().zip(of_here.values());
        return fields.find_map(|((field, there), here)| first_difference(within(field), there, here));
    }
    let shown = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some((name, shown(there), shown(here)))
}

/// `: seed was 7, and is 8 here`; nothing where no value says in what they differ.
fn difference(there: &impl serde::Serialize, here: &impl serde::Serialize) -> String {
    let values = serde_json::to_value(there).ok().zip(serde_json::to_value(here).ok());
    let found = values.and_then(|(there, here)| first_difference(String::new(), &there, &here));
    found.map_or_else(String::new, |(name, there, here)| format!(": {name} was {there}, and is {here} here"))
}

/// The program as checkpoints name it: version and commit, and where the commit does not say what was built from it, the digest
/// of the code that runs.
fn program(commit: &str, digest: impl FnOnce() -> Result<[u8; 32], CodeError>) -> Result<String, JobError> {
    let named = format!("{VERSION} {commit}");
    if commit != "unknown" && !commit.ends_with('+') {
        return Ok(named);
    }
    let digest = digest().map_err(|error| {
        JobError::Other(format!("a checkpoint names its program, which is of no commit, by its code: {error}"))
    })?;
    Ok(format!("{named}, SHA-256 {}", hex(digest)))
}

/// Names, shapes and rings of the tensors whose words stand at the end of a checkpoint.
type Shapes = Vec<(String, Vec<usize>, Ring)>;

/// More than a standing takes as bytes, so that they are not moved while they are written.
const STANDING: usize = 1 << 10;

/// Writes and reads a party's checkpoints of one training.
pub(in crate::cluster) struct Keeper {
    checkpoints: Checkpoints,
    every: u64,
    from: Option<u64>,
    facts: Facts,
}

impl Keeper {
    pub(in crate::cluster) fn open(
        kept: Kept,
        p: &Party,
        graph: &Graph,
        train: &Train,
        data: &Minibatches,
    ) -> Result<Self, JobError> {
        let Kept { folder, every, run, from } = kept;
        let examples = data.digest()?.ok_or_else(|| {
            JobError::Arguments(
                "examples of the caller are shared anew in each session, so a run on them does not go on from a checkpoint: \
                 train without checkpoints, or on a data set that the parties own"
                    .to_owned(),
            )
        })?;
        let facts = Facts { train: train.clone(), settings: *p.settings(), graph: graph.clone(), examples };
        let program = program(env!("CRYPTGPU_BUILT_FROM"), || Ok(function::locate(function::runtime())?.digest()))?;
        let origin = Origin { run, party: p.id(), program, network: graph.name().to_owned() };
        let checkpoints = Checkpoints::new(folder, origin, CheckpointKey::of_party(p.id())?);
        Ok(Keeper { checkpoints, every: every.max(1), from, facts })
    }

    /// After an iteration: draws the keys of those to come anew, and writes a checkpoint where one is due, which is also after the
    /// last. (Keys are drawn after every iteration, so that no bit depends on which of them leave a checkpoint.)
    pub(in crate::cluster) fn ended(
        &self,
        p: &mut Party,
        training: &SharedTraining,
        is_last: bool,
    ) -> Result<(), JobError> {
        let standing = p.renew_keys();
        match is_last || training.iteration().is_multiple_of(self.every) {
            true => self.keep(p, training, &standing),
            false => Ok(()),
        }
    }

    /// Writes a checkpoint.
    fn keep(&self, p: &Party, training: &SharedTraining, standing: &Standing) -> Result<(), JobError> {
        let (iteration, tensors) = (training.iteration(), training.state());
        let encode = |error: postcard::Error| JobError::Other(format!("cannot encode a checkpoint: {error}"));
        let shapes: Shapes =
            tensors.iter().map(|(name, rep)| (name.clone(), rep.shape().to_vec(), rep.ring())).collect();
        let facts = postcard::to_stdvec(&(&self.facts, &shapes)).map_err(encode)?;
        let standing = Zeroizing::new(postcard::to_extend(standing, Vec::with_capacity(STANDING)).map_err(encode)?);
        let words: usize = tensors.iter().map(|(_, rep)| state::bytes_of(rep)).sum();
        // Room for all of it, since what is moved is not wiped where it was.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 + facts.len() + standing.len() + words));
        state::put(&mut bytes, &facts);
        state::put(&mut bytes, &standing);
        tensors.iter().try_for_each(|(_, rep)| state::put_rep(&mut bytes, rep, p))?;
        self.checkpoints.write(iteration, bytes)?;
        Ok(())
    }

    /// The training that a checkpoint has, and where its randomness stood, if the run goes on from one.
    pub(in crate::cluster) fn restore(
        &self,
        p: &Party,
        graph: &Graph,
    ) -> Result<Option<(SharedTraining, Standing)>, JobError> {
        let Some(iteration) = self.from else { return Ok(None) };
        let bytes = self.checkpoints.read(iteration)?;
        let mut rest = &bytes[..];
        let (facts, shapes): (Facts, Shapes) = state::take(&mut rest)?;
        let standing: Standing = state::take(&mut rest)?;
        self.check_same(&facts, iteration)?;
        let device = p.device();
        let mut rep = |(name, shape, ring): (String, Vec<usize>, Ring)| {
            Ok::<_, JobError>((name, state::take_rep(&mut rest, ring, &shape, device)?))
        };
        let tensors = shapes.into_iter().map(&mut rep).collect::<Result<Vec<_>, _>>()?;
        let training = SharedTraining::from_state(p.id(), graph, &self.facts.train, p.codec(), iteration, tensors)?;
        Ok(Some((training, standing)))
    }

    /// Refuses a checkpoint of a run with other settings, network or examples.
    fn check_same(&self, there: &Facts, iteration: u64) -> Result<(), JobError> {
        let here = &self.facts;
        let (of_there, of_here) = (computed(&there.train), computed(&here.train));
        let what = match () {
            () if of_there != of_here => format!("training settings{}", difference(&of_there, &of_here)),
            () if there.settings != here.settings => {
                format!("protocol settings{}", difference(&there.settings, &here.settings))
            }
            () if there.graph != here.graph => "network".to_owned(),
            () if there.examples != here.examples => "examples or owners".to_owned(),
            () => return Ok(()),
        };
        Err(JobError::Input(format!(
            "the checkpoint after {iteration} iterations is of a run with other {what}. Go on with the same, or begin a new run \
             in another folder"
        )))
    }
}

/// Asks a party which checkpoints it has in a folder: of which run, after how many iterations.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct FindCheckpoints {
    pub(in crate::cluster) folder: PathBuf,
}

impl Job for FindCheckpoints {
    const NAME: &'static str = "find-checkpoints";
    type Output = Option<(String, Vec<u64>)>;

    fn asks(&self, _: &PartyContext) -> Result<Asks, JobError> {
        Ok(Asks::default().writes(&self.folder))
    }

    fn run(self, context: &mut PartyContext) -> Result<Self::Output, JobError> {
        let party = context.id();
        let Some(run) = Checkpoints::run_in(&self.folder, party)? else { return Ok(None) };
        let origin = Origin { run: run.clone(), party, program: String::new(), network: String::new() };
        let iterations = Checkpoints::new(self.folder, origin, CheckpointKey::of_party(party)?).iterations()?;
        Ok(Some((run, iterations)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpc::CheckRange;
    use crate::net::PartyId;
    use crate::nn::training::{Adam, Schedule, Sgd};

    #[test]
    fn the_setting_that_differs_is_named_with_both_values() {
        let train = Train { optimizer: Sgd::new(0.1).momentum(0.9), ..Train::default() };
        let of = |other: Train| difference(&computed(&train), &computed(&other));
        assert_eq!(of(Train { seed: 8, ..train.clone() }), ": seed was 0, and is 8 here");
        let slower = Train { optimizer: Sgd::new(0.01).momentum(0.9), ..train.clone() };
        assert_eq!(of(slower), ": optimizer.sgd.rate was 0.1, and is 0.01 here");
        let adam = of(Train { optimizer: Adam::new(0.1), ..train.clone() });
        assert!(adam.starts_with(": optimizer was {\"sgd\":") && adam.contains("and is {\"adam\":"), "{adam}");
        let mut telling = train.clone();
        telling.reveal.loss_every = Some(5);
        assert_eq!(of(telling), ": reveal.loss_every was none, and is 5 here");
        let steps = Schedule::Steps { epochs: 1, factor: 0.5 };
        assert!(of(Train { schedule: steps, ..train.clone() }).starts_with(": schedule was constant, and is {"));
        assert_eq!(of(Train { epochs: 9, iterations: Some(3), ..train.clone() }), "", "these may differ");
        let checked = Settings { check_range: CheckRange::Layers, ..Settings::default() };
        let text = difference(&Settings::default(), &checked);
        assert!(text.starts_with(": check_range was ") && text.to_lowercase().contains("is layers here"), "{text}");
    }

    #[test]
    fn a_checkpoint_of_another_build_of_no_commit_is_refused_and_of_a_commit_no_code_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let of = |commit: &str, digest: u8| {
            let [run, network] = ["8f3a", "lenet"].map(str::to_owned);
            let origin =
                Origin { run, party: PartyId::P1, program: program(commit, || Ok([digest; 32])).unwrap(), network };
            Checkpoints::new(folder.path().join("run"), origin, CheckpointKey::at(folder.path().join("key")).unwrap())
        };
        for commit in ["unknown", "e8786fe12345+"] {
            of(commit, 1).write(7, Zeroizing::new(b"shares".to_vec())).unwrap();
            assert_eq!(**of(commit, 1).read(7).unwrap(), *b"shares");
            let error = of(commit, 2).read(7).unwrap_err();
            assert!(matches!(error, SealedError::Other { what: "program", .. }), "{error:?}");
            assert!(error.to_string().contains(&format!("{commit}, SHA-256 0101")), "{error}");
        }
        let named = program("e8786fe12345", || Err(CodeError::Nowhere)).unwrap();
        assert!(named.ends_with(" e8786fe12345"), "{named}");
        // The code of this very program is found.
        let digest = || Ok(function::locate(function::runtime())?.digest());
        assert_eq!(program("unknown", digest).unwrap(), program("unknown", digest).unwrap());
    }
}
