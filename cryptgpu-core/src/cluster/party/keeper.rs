//! A party's checkpoints of a training: what is in them, writing them every so many iterations, and going on from one bit
//! for bit. The files themselves are those of `checkpoint/`; here are their contents.

use super::checkpoint::{CheckpointError, CheckpointKey, Checkpoints, Origin};
use super::context::PartyContext;
use super::dataset::Minibatches;
use super::gate::Asks;
use super::job::Job;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::VERSION;
use crate::device::Tensor;
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

/// The settings without those that change no message of an iteration: when the run ends, and after which iterations the
/// accuracy is measured, which the session's keys mask.
fn computed(train: &Train) -> Train {
    let mut train = Train { epochs: 0, iterations: None, ..train.clone() };
    train.reveal.accuracy_every = None;
    train
}

/// Names and shapes of the tensors whose words stand at the end of a checkpoint.
type Shapes = Vec<(String, Vec<usize>)>;

/// More than a standing takes as bytes, so that they are not moved while they are written.
const STANDING: usize = 1 << 10;

/// A part of a checkpoint: its length, 8 bytes, and the part.
fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
    bytes.extend_from_slice(part);
}

/// The next part of a checkpoint, by postcard.
fn take<'a, T: serde::Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, JobError> {
    let part = bytes.split_off(..8).and_then(|length| {
        let length = u64::from_le_bytes(length.try_into().ok()?);
        bytes.split_off(..usize::try_from(length).ok()?)
    });
    part.and_then(|part| postcard::from_bytes(part).ok()).ok_or_else(unreadable)
}

fn unreadable() -> JobError {
    JobError::Input("a checkpoint holds no state that can be read".to_owned())
}

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
        let (standing, state) = (p.renew_keys(), training.state());
        let encode = |error: postcard::Error| JobError::Other(format!("cannot encode a checkpoint: {error}"));
        let shapes: Shapes = state.iter().map(|(name, rep)| (name.clone(), rep.shape().to_vec())).collect();
        let facts = postcard::to_stdvec(&(&self.facts, &shapes)).map_err(encode)?;
        let standing = Zeroizing::new(postcard::to_extend(&standing, Vec::with_capacity(STANDING)).map_err(encode)?);
        let words: usize = state.iter().map(|(_, rep)| 2 * rep.ring().words(rep.len())).sum();
        // Room for all of it, since what is moved is not wiped where it was.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 + facts.len() + standing.len() + 8 * words));
        put(&mut bytes, &facts);
        put(&mut bytes, &standing);
        for (_, rep) in &state {
            let (a, b) = rep.components();
            for component in [a, b] {
                let words = Zeroizing::new(p.to_host(component.view())?);
                bytes.extend_from_slice(bytemuck::cast_slice(&words));
            }
        }
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
        let state = self.checkpoints.read(iteration)?;
        let mut rest = &state[..];
        let (facts, shapes): (Facts, Shapes) = take(&mut rest)?;
        let standing: Standing = take(&mut rest)?;
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
        let mut rep = |(name, shape): (String, Vec<usize>)| -> Result<(String, Rep), JobError> {
            let (a, b) = (tensor(&mut rest, &shape, p)?, tensor(&mut rest, &shape, p)?);
            Ok((name, Rep::from_components(a, b).map_err(MpcError::from)?))
        };
        let tensors = shapes.into_iter().map(&mut rep).collect::<Result<Vec<_>, _>>()?;
        let training = SharedTraining::from_state(graph, &self.facts.train, p.codec(), iteration, tensors)?;
        Ok(Some((training, standing)))
    }
}

/// The next words of a checkpoint, as a tensor of the ring that the party computes in.
fn tensor(bytes: &mut &[u8], shape: &[usize], p: &Party) -> Result<Tensor, JobError> {
    let (ring, device) = (p.ring(), p.device());
    let elements = shape.iter().try_fold(1usize, |all, axis| all.checked_mul(*axis));
    let length = elements.and_then(|elements| ring.words(elements).checked_mul(8));
    let words = length.and_then(|length| bytes.split_off(..length)).ok_or_else(unreadable)?;
    let words = words.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
    Ok(Tensor::new_in(ring, device.upload(words), shape).map_err(MpcError::from)?)
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
