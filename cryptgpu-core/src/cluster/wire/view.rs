//! How a cluster is at one moment, as another program of the same user sees it: names of jobs and steps, counts and times.
//! No value stands in it that a party holds or reveals.

use serde::{Deserialize, Serialize};

/// A cluster at one moment ([`running`](crate::cluster::running)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterView {
    /// The program that has started it.
    pub program: String,
    /// The number of that program's process.
    pub pid: u32,
    /// Where its parties are.
    pub places: String,
    /// How long the cluster has been there, in seconds.
    pub seconds: f64,
    /// What it runs now, if anything.
    pub job: Option<JobView>,
    /// The parties, in order.
    pub parties: [PartyView; 3],
}

/// A run that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobView {
    /// The job or function.
    pub name: String,
    /// The number of the run in its cluster.
    pub run: u64,
    /// How long it has gone on, in seconds.
    pub seconds: f64,
    /// How much of it is done, from 0 to 1, at the party that is behind the others; nothing for jobs that do not tell.
    pub fraction: Option<f64>,
    /// What that party says that it does.
    pub doing: String,
    /// How long it will go on if it goes on as it has so far, in seconds.
    pub seconds_left: Option<f64>,
}

/// A party at one moment. Rounds, bytes and waiting are those of the present run, or of the last one where none goes on.
/// Parties tell them once a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PartyView {
    /// The number of its process, at its host; nothing for a party of another owner.
    pub pid: Option<u32>,
    /// What it computes on, once it is linked up.
    pub device: Option<String>,
    /// The step that it is in.
    pub step: String,
    /// How much it has done of the run, from 0 to 1.
    pub fraction: Option<f64>,
    /// Whose message it waits for, and for how many seconds it has.
    pub waits_for: Option<(usize, f64)>,
    /// Rounds: the longest chain of messages that ends at it.
    pub rounds: u64,
    /// The same in a second, over the last three.
    pub rounds_per_second: f64,
    /// Payload bytes that it has sent to both others.
    pub sent_bytes: u64,
    /// The same in a second, over the last three.
    pub sent_bytes_per_second: f64,
    /// How long it has waited for messages of each of the others, in seconds, by party.
    pub waited_seconds: [f64; 3],
    /// Memory of its process that is resident.
    pub resident_bytes: u64,
    /// How long ago it was heard of, in seconds.
    pub heard_seconds: Option<f64>,
}
