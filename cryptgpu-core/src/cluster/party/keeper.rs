//! A party's checkpoints of a training: what is in them, writing them every so many iterations, and going on from one bit
//! for bit. The files themselves are those of `checkpoint/`; here are their contents.

use super::checkpoint::{CheckpointError, CheckpointKey, Checkpoints, Origin};
use super::context::PartyContext;
use super::dataset::Minibatches;
use super::job::Job;
use crate::cluster::marshal::words::Words;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::VERSION;
use crate::device::{Device, Tensor};
use crate::mpc::{MpcError, Party, Rep, Settings};
use crate::nn::Graph;
use crate::nn::training::{SharedTraining, Train};
use crate::prg::Standing;
use std::path::PathBuf;
use zeroize::Zeroizing;

impl From<CheckpointError> for JobError {
    fn from(error: CheckpointError) -> Self {
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

/// All that goes on with a training.
#[derive(serde::Serialize, serde::Deserialize)]
struct State {
    facts: Facts,
    standing: Standing,
    tensors: Vec<Kind>,
}

/// A shared tensor: its name, its shape, this party's two components.
type Kind = (String, Vec<usize>, Words, Words);

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
        let examples = data.digest().ok_or_else(|| {
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

    /// Writes a checkpoint where one is due.
    pub(in crate::cluster) fn keep(&self, p: &mut Party, training: &SharedTraining) -> Result<(), JobError> {
        let iteration = training.iteration();
        if !iteration.is_multiple_of(self.every) {
            return Ok(());
        }
        let standing = p.renew_keys();
        let mut tensors = vec![];
        for (name, rep) in training.state() {
            let (a, b) = rep.components();
            let [a, b] = [p.to_host(a.view())?, p.to_host(b.view())?].map(Words);
            tensors.push((name, rep.shape().to_vec(), a, b));
        }
        let encode = |error: postcard::Error| JobError::Other(format!("cannot encode a checkpoint: {error}"));
        let state = postcard::to_stdvec(&(&self.facts, &standing, &tensors)).map_err(encode)?;
        self.checkpoints.write(iteration, Zeroizing::new(state))?;
        Ok(())
    }

    /// The training that a checkpoint has, and where its randomness stood, if the run goes on from one.
    pub(in crate::cluster) fn restore(
        &self,
        p: &Party,
        graph: &Graph,
    ) -> Result<Option<(SharedTraining, Standing)>, JobError> {
        let Some(iteration) = self.from else { return Ok(None) };
        let state = self.checkpoints.read(iteration)?;
        let decode = |error: postcard::Error| JobError::Input(format!("cannot decode a checkpoint: {error}"));
        let State { facts, standing, tensors } = postcard::from_bytes(&state).map_err(decode)?;
        let differs = [
            ("training settings", facts.train != self.facts.train),
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
        let state: Result<Vec<(String, Rep)>, MpcError> =
            tensors.into_iter().map(|tensor| shared(tensor, p.device())).collect();
        let training = SharedTraining::from_state(graph, &self.facts.train, p.codec(), iteration, state?)?;
        Ok(Some((training, standing)))
    }
}

fn shared((name, shape, a, b): Kind, device: Device) -> Result<(String, Rep), MpcError> {
    let tensor = |words: Words| Tensor::new(device.upload(words.0), &shape);
    Ok((name, Rep::from_components(tensor(a)?, tensor(b)?)?))
}

/// Asks a party which checkpoints it has in a folder: of which run, after how many iterations.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct FindCheckpoints {
    pub(in crate::cluster) folder: PathBuf,
}

impl Job for FindCheckpoints {
    const NAME: &'static str = "find-checkpoints";
    type Output = Option<(String, Vec<u64>)>;

    fn run(self, context: &mut PartyContext) -> Result<Self::Output, JobError> {
        let party = context.id();
        let Some(run) = Checkpoints::run_in(&self.folder, party)? else { return Ok(None) };
        let origin = Origin { run: run.clone(), party, program: String::new(), network: String::new() };
        let iterations = Checkpoints::new(self.folder, origin, CheckpointKey::of_party(party)?).iterations()?;
        Ok(Some((run, iterations)))
    }
}
