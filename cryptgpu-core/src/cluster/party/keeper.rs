//! A party's checkpoints of a training: what is in them, writing them every so many iterations, and going on from one bit
//! for bit. The files themselves are those of `checkpoint/`; here are their contents.

use super::checkpoint::{CheckpointKey, Checkpoints, Origin, SealedError};
use super::context::PartyContext;
use super::dataset::Minibatches;
use super::gate::Asks;
use super::job::Job;
use super::state;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::VERSION;
use crate::mpc::{Party, Settings};
use crate::nn::Graph;
use crate::nn::training::{SharedTraining, Train};
use crate::prg::Standing;
use crate::ring::Ring;
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
        let program = format!("{VERSION} {}", env!("CRYPTGPU_BUILT_FROM"));
        let origin = Origin { run, party: p.id(), program, network: graph.name().to_owned() };
        let checkpoints = Checkpoints::new(folder, origin, CheckpointKey::of_party(p.id())?);
        Ok(Keeper { checkpoints, every: every.max(1), from, facts })
    }

    /// Whether a checkpoint is due after so many iterations of so many: also after the last.
    pub(in crate::cluster) fn is_due(&self, iterations: usize, all: usize) -> bool {
        (iterations as u64).is_multiple_of(self.every) || iterations == all
    }

    /// Writes a checkpoint.
    pub(in crate::cluster) fn keep(&self, p: &mut Party, training: &SharedTraining) -> Result<(), JobError> {
        let iteration = training.iteration();
        let (standing, tensors) = (p.renew_keys(), training.state());
        let encode = |error: postcard::Error| JobError::Other(format!("cannot encode a checkpoint: {error}"));
        let shapes: Shapes =
            tensors.iter().map(|(name, rep)| (name.clone(), rep.shape().to_vec(), rep.ring())).collect();
        let facts = postcard::to_stdvec(&(&self.facts, &shapes)).map_err(encode)?;
        let standing = Zeroizing::new(postcard::to_extend(&standing, Vec::with_capacity(STANDING)).map_err(encode)?);
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
        let differs = [
            ("training settings", computed(&facts.train) != computed(&self.facts.train)),
            ("protocol settings", facts.settings != self.facts.settings),
            ("network", facts.graph != self.facts.graph),
            ("examples or owners", facts.examples != self.facts.examples),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(JobError::Input(format!(
                "the checkpoint after {iteration} iterations is of a run with other {what}: go on with the same, or begin a \
                 new run in another folder"
            )));
        }
        let device = p.device();
        let mut rep = |(name, shape, ring): (String, Vec<usize>, Ring)| {
            Ok::<_, JobError>((name, state::take_rep(&mut rest, ring, &shape, device)?))
        };
        let tensors = shapes.into_iter().map(&mut rep).collect::<Result<Vec<_>, _>>()?;
        let training = SharedTraining::from_state(graph, &self.facts.train, p.codec(), iteration, tensors)?;
        Ok(Some((training, standing)))
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
