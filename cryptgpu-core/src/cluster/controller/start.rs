//! What a training begins with: weights of an owner, of the settings' seed or of a training that the parties hold; its
//! checkpoints; and the examples that it is tested on. Nothing runs here but the search for checkpoints.

use super::cluster::Cluster;
use super::training::{ACTION, TrainedModel};
use super::turn::Turn;
use crate::cluster::marshal::dataset::Dataset;
use crate::cluster::party::keeper::{FindCheckpoints, Kept};
use crate::cluster::party::training::First;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::text::hex;
use crate::net::PartyId;
use crate::nn::training::Batches;
use crate::nn::{Graph, WeightSource};
use std::path::{Path, PathBuf};

/// What a training begins with, whether it leaves checkpoints, and what it is tested on.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The first weights.
    pub weights: FirstWeights,
    /// Where checkpoints go; none for a run that leaves none.
    pub checkpoints: Option<Checkpointing>,
    /// Examples that are not trained with: what the accuracy is measured on where
    /// [`Reveal::accuracy_every`](crate::nn::training::Reveal::accuracy_every) asks for it.
    pub held_out: Option<Dataset>,
}

/// The weights that a training begins with.
///
/// ```
/// use cryptgpu_core::cluster::{Cluster, FirstWeights, Images, Labels, Start};
/// use cryptgpu_core::nn::training::{Sgd, Train};
///
/// let cluster = Cluster::in_memory().start()?;
/// let digits = cluster.dataset("digits-train", Images::at(0), Labels::at(2))?;
/// let train = Train { batch: 16, iterations: Some(1), optimizer: Sgd::new(0.01).momentum(0.9), ..Train::default() };
/// let run = cluster.train("lenet", &digits, train.clone())?;
///
/// // One iteration more, with the momentum that the first has left.
/// let start = Start { weights: FirstWeights::GoingOn(run.model().clone()), ..Start::default() };
/// let more = cluster.train_observed("lenet", start, &digits, Train { iterations: Some(2), ..train }, |_| ())?;
/// assert_eq!(more.iterations()[0].number, 1);
/// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub enum FirstWeights {
    /// Drawn by the network's owner from the settings' seed.
    #[default]
    Drawn,
    /// Read by the network's owner.
    Read(WeightSource),
    /// Those of a trained network that the parties hold: nothing is opened, and nobody has to have them. The optimiser begins
    /// anew, so all settings may differ.
    Trained(TrainedModel),
    /// A training that the parties hold, after its last iteration, as if it had not ended there: for more epochs. The
    /// optimiser's numbers are kept and iterations are counted on, so data set, optimiser and frozen layers stay the same.
    GoingOn(TrainedModel),
}

impl FirstWeights {
    /// What it is called in tables; empty for weights that were drawn.
    pub(super) fn source(&self) -> Option<&WeightSource> {
        match self {
            FirstWeights::Read(source) => Some(source),
            _ => None,
        }
    }

    /// Iterations that lie behind.
    pub(super) fn iterations(&self) -> usize {
        match self {
            FirstWeights::GoingOn(model) => model.iterations,
            _ => 0,
        }
    }

    /// Refuses a network that is not the trained one, and a run of no iteration.
    pub(super) fn check(&self, graph: &Graph, batches: &Batches) -> Result<(), ClusterError> {
        let (FirstWeights::Trained(model) | FirstWeights::GoingOn(model)) = self else { return Ok(()) };
        let refuse = |detail: String| Err(ClusterError::argument(ACTION, &detail));
        if model.graph() != graph {
            return refuse(format!(
                "the trained weights are of {}, and {} is another network",
                model.graph().name(),
                graph.name()
            ));
        }
        if self.iterations() > 0 && self.iterations() >= batches.iterations() {
            return refuse(format!(
                "the training has {} iterations behind it, and the settings end after {}: ask for more epochs or iterations",
                self.iterations(),
                batches.iterations()
            ));
        }
        Ok(())
    }

    /// As a party finds them.
    pub(super) fn at(
        &self,
        party: PartyId,
        owner: PartyId,
        cluster: u64,
        turn: &Turn<'_>,
    ) -> Result<First, ClusterError> {
        let id = |model: &TrainedModel| model.training.check(cluster, turn.generation());
        Ok(match self {
            FirstWeights::Drawn => First::Owner { owner, source: None },
            FirstWeights::Read(source) => First::Owner { owner, source: (party == owner).then(|| source.clone()) },
            FirstWeights::Trained(model) => First::Trained(id(model)?),
            FirstWeights::GoingOn(model) => First::GoingOn(id(model)?),
        })
    }
}

impl From<WeightSource> for Start {
    fn from(weights: WeightSource) -> Self {
        Start { weights: FirstWeights::Read(weights), ..Start::default() }
    }
}

/// Checkpoints of a training: every party writes its own, sealed with a key that it holds
/// ([`CheckpointKey`](crate::cluster::CheckpointKey)). A run that loses its parties goes on from them by itself
/// ([`Checkpointing::restarts`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    folder: PathBuf,
    every: usize,
    resume: bool,
    pub(super) restarts: usize,
}

impl Checkpointing {
    /// How often a run with checkpoints is started again by default.
    pub const RESTARTS: usize = 3;

    /// One every so many iterations, in a folder of each party's machine. The two last ones are kept.
    pub fn every(iterations: usize, folder: impl Into<PathBuf>) -> Self {
        Checkpointing { folder: folder.into(), every: iterations, resume: false, restarts: Self::RESTARTS }
    }

    /// Goes on from the last checkpoint that all parties have there.
    #[must_use]
    pub fn resuming(self) -> Self {
        Checkpointing { resume: true, ..self }
    }

    /// How often a run that has lost its parties is started again: 3 times by default, 0 for never. A party whose process
    /// ends, a host that is gone, and a connection that is not made anew in time
    /// ([`ClusterBuilder::resume_within`](crate::cluster::ClusterBuilder::resume_within)) lose the parties. New ones
    /// read their examples again and go on after the last checkpoint that all three have, and the run ends with the same
    /// bits as one that lost nothing. (Before the first checkpoint it begins anew, with other masks.) What was revealed since
    /// the checkpoint is revealed again, and counts again where owners limit it.
    ///
    /// The first attempt is made at once, and a further one without an iteration in between after 1 s, 2 s, 4 s and so on, at
    /// most a minute: 10 of them give a host 4 minutes to come back. Errors that another attempt cannot mend end the run: a
    /// policy's refusal, wrong arguments, a full disk, a value that left the range, a panic, a message that was changed on its
    /// way.
    ///
    /// Handles of data sets that the run uses are good for the new parties too. All others are stale, as after any restart.
    #[must_use]
    pub fn restarts(self, restarts: usize) -> Self {
        Checkpointing { restarts, ..self }
    }
}

/// What the parties have in a folder for checkpoints.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Checkpoints of one run: the iterations that all three have, in ascending order, of which there are some.
    Run { run: String, iterations: Vec<u64>, last: u64 },
    /// No iteration of one run that all three have: of each party its run and iterations, if it has any.
    Apart([Option<(String, Vec<u64>)>; 3]),
}

impl Found {
    fn of(parties: [Option<(String, Vec<u64>)>; 3]) -> Self {
        let [Some((run, iterations)), Some((one, of_one)), Some((two, of_two))] = &parties else {
            return if parties.iter().all(Option::is_none) { Found::Nothing } else { Found::Apart(parties) };
        };
        let all = |iteration: &&u64| of_one.contains(iteration) && of_two.contains(iteration);
        let iterations: Vec<u64> = iterations.iter().filter(all).copied().collect();
        match iterations.last() {
            Some(&last) if run == one && run == two => Found::Run { run: run.clone(), iterations, last },
            _ => Found::Apart(parties),
        }
    }
}

/// What each party has in a folder from which no run can go on, and what to do. (A run never begins anew by itself there: that
/// a file was lost and that it was never written looks the same, and its first checkpoint would replace the others' files.)
fn apart(folder: &Path, parties: &[Option<(String, Vec<u64>)>; 3]) -> String {
    let of = |(party, found): (PartyId, &Option<(String, Vec<u64>)>)| match found {
        None => format!("party {party} has none"),
        Some((run, iterations)) => {
            let iterations: Vec<String> = iterations.iter().map(u64::to_string).collect();
            format!("party {party} has those after {} iterations of run {run}", iterations.join(" and "))
        }
    };
    let parties: Vec<String> = PartyId::ALL.into_iter().zip(parties).map(of).collect();
    format!(
        "no run can go on from the checkpoints in {}, since the parties have none in common: {}. Was it stopped before all \
         three had written one? Bring back what is missing; or delete these files or take another folder, and begin anew, \
         without `resuming` (`--resume`)",
        folder.display(),
        parties.join(", ")
    )
}

impl Cluster {
    /// Asks the parties for their checkpoints.
    pub(super) fn find_checkpoints(&self, folder: &Path) -> Result<Found, ClusterError> {
        let jobs = PartyId::ALL.map(|_| FindCheckpoints { folder: folder.to_owned() });
        Ok(Found::of(self.run_job(jobs)?.outputs))
    }

    /// Which run the checkpoints are of, and from which it goes on.
    pub(super) fn kept(&self, checkpoints: &Checkpointing) -> Result<Kept, ClusterError> {
        let &Checkpointing { ref folder, every, resume, .. } = checkpoints;
        let refuse = |detail: String| Err(ClusterError::argument(ACTION, &detail));
        if every == 0 {
            return refuse("checkpoints every 0 iterations: take at least 1".to_owned());
        }
        let at = folder.display();
        let kept = |run, from| Ok(Kept { folder: folder.clone(), every: every as u64, run, from });
        match self.find_checkpoints(folder)? {
            Found::Nothing if resume => refuse(format!("there are no checkpoints in {at} to go on from")),
            Found::Nothing => kept(new_name()?, None),
            Found::Apart(parties) => refuse(apart(folder, &parties)),
            Found::Run { .. } if !resume => refuse(format!(
                "there are checkpoints of a run in {at}: go on with it (`resuming`, or `--resume`), or take another folder"
            )),
            Found::Run { run, last, .. } => kept(run, Some(last)),
        }
    }
}

/// A name that no other run has.
pub(super) fn new_name() -> Result<String, ClusterError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| ClusterError::argument(ACTION, &error))?;
    Ok(hex(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_that_the_parties_do_not_have_in_common_are_told_party_by_party() {
        let of = |run: &str, iterations: &[u64]| Some((run.to_owned(), iterations.to_vec()));
        assert!(matches!(Found::of([None, None, None]), Found::Nothing));
        let run = Found::of([of("a1", &[2, 4]), of("a1", &[4]), of("a1", &[2, 4, 6])]);
        assert!(matches!(run, Found::Run { last: 4, iterations, .. } if iterations == [4]));
        for (parties, says) in [
            // Killed before all three had their first.
            ([of("a1", &[50]), None, of("a1", &[50])], "after 50 iterations of run a1, party 1 has none, party 2"),
            (
                [of("a1", &[50, 100]), of("a1", &[150]), of("a1", &[50])],
                "party 0 has those after 50 and 100 iterations",
            ),
            ([of("a1", &[50]), of("b2", &[50]), of("a1", &[50])], "party 1 has those after 50 iterations of run b2"),
        ] {
            let Found::Apart(parties) = Found::of(parties) else { panic!("{says}") };
            let text = apart(Path::new("kept"), &parties);
            assert!(text.contains(says) && text.contains("delete these files or take another folder"), "{text}");
        }
    }
}
