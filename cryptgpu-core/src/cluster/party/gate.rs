//! The gate that everything from outside passes before a party does it: what a run asks for, the trait of who decides, and
//! the agreement of the three parties on it. Parties of the caller's own have no gate, and do all that they are asked;
//! how an owner's policy decides is in `owner/`.

use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::text::{hex, shown};
use crate::mpc::MessageKind;
use crate::net::{GaveUp, NetError, Network, PartyId, Tag};
use crate::nn::{Graph, WeightSource, zoo};
use cryptgpu_datasets::ImageSet;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};

/// Decides for a party's owner. Its methods are called in this order for each run.
pub(in crate::cluster) trait Gate: Send {
    /// Whether a job of that name is run at all; nothing of the job has been read yet.
    fn admit_name(&mut self, run: u64, job: &str) -> Result<(), Refusal>;

    /// Whether the job may do what it asks for.
    fn admit(&mut self, run: u64, job: &str, asks: &Asks) -> Result<(), Refusal>;

    /// The other parties' owners allow it too, and it begins as soon as this has been written down.
    fn begin(&mut self, run: u64, job: &str, asks: &Asks) -> Result<(), Refusal>;

    /// It does not begin, since the other parties do not admit it or are asked for something else.
    fn withdrawn(&mut self, run: u64, job: &str, why: &str);

    /// Whether so much code of the caller's is kept, for functions that come.
    fn keep_code(&mut self, bytes: u64) -> bool;

    /// Whether the party goes on holding what the run leaves for handles, with which it holds so much.
    fn hold(&mut self, run: u64, bytes: u64) -> Result<(), Refusal>;

    /// How it ended, in a few words; it may never have begun.
    fn ended(&mut self, run: u64, job: &str, how: &str);

    /// What the session is about: caller, number, settings. It must be the same at all three parties.
    fn session(&self) -> [u8; 32];

    /// Whether what a party notices about its own data may go to the caller.
    fn tells_notices(&self) -> bool;
}

/// Why an owner does not allow something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::cluster) struct Refusal(pub(in crate::cluster) String);

impl From<Refusal> for JobError {
    fn from(refusal: Refusal) -> Self {
        JobError::Refused(refusal.0)
    }
}

/// What a job asks of a party, beyond its name: a policy decides on this. A job that states nothing can only be allowed or
/// refused by its name, so a job of one's own states whatever it reads, writes or reveals.
///
/// ```
/// use cryptgpu_core::cluster::{Asks, To, What};
///
/// let asks = Asks::default().reads_file("votes.csv").reveals(What::Result, "the count", To::Caller, 1);
/// assert_eq!(asks.to_string(), "reads votes.csv; reveals result of the count to the caller, once");
/// ```
#[derive(Debug, Default)]
pub struct Asks {
    pub(in crate::cluster) network: Option<Asked>,
    pub(in crate::cluster) function: Option<Asked>,
    pub(in crate::cluster) reads: Vec<Source>,
    pub(in crate::cluster) writes: Vec<PathBuf>,
    pub(in crate::cluster) reveals: Vec<Disclosure>,
    pub(in crate::cluster) leaves: Origin,
    common: Sha256,
}

/// A network or a function as it is asked for.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Asked {
    /// What the caller calls it, which says nothing.
    pub(in crate::cluster) name: String,
    /// The network of the zoo that it equals.
    pub(in crate::cluster) zoo: Option<String>,
    pub(in crate::cluster) digest: String,
    /// The digest of the object that a function is in, where that says all of its code.
    pub(in crate::cluster) object: Option<String>,
}

impl Asked {
    /// What it is known by: a name if it is the network of the zoo that has this name, else a digest.
    pub(in crate::cluster) fn known_as(&self) -> &str {
        self.zoo.as_deref().unwrap_or(&self.digest)
    }
}

/// Something that a party reads for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Source {
    /// Part of the program, or made from a seed: nobody's secret.
    Program(String),
    /// A downloaded data set.
    Set(String),
    /// A file of this machine.
    File(PathBuf),
}

/// What kind of thing is revealed, as policies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum What {
    /// What the caller has shared itself.
    Own,
    /// A network's outputs; each image counts once.
    Scores,
    /// The number of wrong predictions on a data set.
    Accuracy,
    /// The loss of an iteration of training; each one counts once.
    Loss,
    /// A trained network.
    Weights,
    /// Whether a value has left the range.
    Range,
    /// What a function or a job of the user's own computes.
    Result,
}

/// Who learns what is revealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The caller, and nobody else.
    Caller,
    /// One party.
    Party(PartyId),
    /// All three parties, and with them the caller.
    All,
}

/// One thing that a run reveals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Disclosure {
    pub(in crate::cluster) what: What,
    /// What it is of: the name of a network, the digest of a function.
    pub(in crate::cluster) of: String,
    pub(in crate::cluster) to: To,
    pub(in crate::cluster) times: u64,
}

/// Where something that a party holds for a handle came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) struct Origin {
    pub(in crate::cluster) what: Option<What>,
    pub(in crate::cluster) of: String,
}

impl Origin {
    pub(in crate::cluster) fn new(what: What, of: &str) -> Self {
        Origin { what: Some(what), of: of.to_owned() }
    }

    /// A model or a training of that network.
    pub(in crate::cluster) fn network(of: &str) -> Self {
        Origin { what: None, of: of.to_owned() }
    }
}

impl Asks {
    /// It computes with this network. The parties must be asked for the same.
    #[must_use]
    pub fn network(self, graph: &Graph) -> Self {
        self.known_network(asked_network(graph))
    }

    /// It computes with the network that is known by this.
    pub(in crate::cluster) fn known_network(mut self, asked: Asked) -> Self {
        self.common.update(asked.digest.as_bytes());
        self.network = Some(asked);
        self
    }

    /// It reads this file of the party's machine.
    #[must_use]
    pub fn reads_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.reads.push(Source::File(path.into()));
        self
    }

    /// It reads this data set at the party.
    #[must_use]
    pub fn reads_images(mut self, set: &ImageSet) -> Self {
        match set {
            ImageSet::File { images, labels, .. } => {
                self.reads.extend([Some(images), labels.as_ref()].into_iter().flatten().cloned().map(Source::File));
            }
            ImageSet::MnistBundled | ImageSet::DigitsTrain | ImageSet::DigitsTest => {
                self.reads.push(Source::Program(set.to_string()));
            }
            ImageSet::Folder { folder, .. } => self.reads.push(Source::File(folder.clone())),
            ImageSet::Downloaded(..) => self.reads.push(Source::Set(set.to_string())),
        }
        self
    }

    /// It reads these weights at the party.
    #[must_use]
    pub fn reads_weights(mut self, weights: &WeightSource) -> Self {
        match weights {
            WeightSource::File(file) => self.reads.push(Source::File(file.path().to_owned())),
            program => self.reads.push(Source::Program(program.to_string())),
        }
        self
    }

    /// It writes this file, or files in this folder.
    #[must_use]
    pub fn writes(mut self, path: impl Into<PathBuf>) -> Self {
        self.writes.push(path.into());
        self
    }

    /// It reveals this, so many times. The parties must be asked for the same.
    #[must_use]
    pub fn reveals(mut self, what: What, of: &str, to: To, times: u64) -> Self {
        self = self.same(&format!("reveals {what:?} of {of:?} to {to:?} {times} times"));
        self.reveals.push(Disclosure { what, of: of.to_owned(), to, times });
        self
    }

    /// The parties must be asked for the same in this respect too. Whatever all parties are told belongs here, and nothing
    /// that only one of them may know.
    #[must_use]
    pub fn same(mut self, told: &(impl fmt::Debug + ?Sized)) -> Self {
        let text = format!("{told:?}");
        self.common.update((text.len() as u64).to_le_bytes());
        self.common.update(text);
        self
    }

    /// It runs the function of that digest, in an object of that one.
    pub(in crate::cluster) fn function(mut self, name: &str, digest: [u8; 32], object: Option<[u8; 32]>) -> Self {
        self.common.update(digest);
        // What the caller calls it says nothing, and logs are not filled with it.
        self.function = Some(Asked { name: shown(name), zoo: None, digest: hex(digest), object: object.map(hex) });
        self
    }

    /// What it leaves for handles comes from there.
    pub(in crate::cluster) fn leaving(mut self, origin: Origin) -> Self {
        self.leaves = origin;
        self
    }

    /// It opens what came from there.
    pub(in crate::cluster) fn opens(self, origin: &Origin, to: To, times: u64) -> Self {
        self.reveals(origin.what.unwrap_or(What::Result), &origin.of, to, times)
    }

    /// What all three parties must have been asked for alike.
    fn digest(&self, session: [u8; 32], run: u64, job: &str) -> [u8; 32] {
        let whole = Sha256::new().chain_update(session).chain_update(run.to_le_bytes());
        let whole = whole.chain_update((job.len() as u64).to_le_bytes()).chain_update(job);
        whole.chain_update(self.common.clone().finalize()).finalize().into()
    }
}

/// A network by what it is, whatever it is called.
pub(in crate::cluster) fn asked_network(graph: &Graph) -> Asked {
    // A graph always encodes; if one did not, its digest would be that of nothing, which no policy has.
    let digest = hex(Sha256::digest(postcard::to_stdvec(graph).unwrap_or_default()));
    let zoo = zoo::by_name(graph.name()).is_ok_and(|known| known == *graph).then(|| graph.name().to_owned());
    Asked { name: graph.name().to_owned(), zoo, digest, object: None }
}

/// Waits until both peers have admitted the run, and compares what they were asked for: 32 bytes to each peer, one round.
/// A party whose owner refuses gives up instead, so that nobody begins what one of the three does not allow.
pub(in crate::cluster) fn agree(
    network: &dyn Network,
    session: [u8; 32],
    run: u64,
    job: &str,
    asks: &Asks,
) -> Result<(), JobError> {
    network.endpoint().set_step("admission");
    let words: Vec<u64> = asks.digest(session, run, job).chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
    let tag = Tag { position: run, kind: MessageKind::ADMITTED.0 };
    let peers = [network.id().next(), network.id().prev()];
    // A peer that has seen a difference may have given up already; what it was asked for has come all the same.
    let sent = peers.map(|peer| network.send(peer, tag, words.clone()));
    let heard = peers.map(|peer| (peer, network.recv(peer, tag, words.len())));
    if let Some((peer, _)) = heard.iter().find(|(_, heard)| heard.as_ref().is_ok_and(|heard| *heard != words)) {
        return Err(JobError::Refused(format!(
            "the caller asks party {} and party {peer} for different things in run {run}, `{job}`: all three must be \
             asked for the same",
            network.id()
        )));
    }
    for (peer, heard) in heard {
        heard.map_err(|error| elsewhere(error, peer))?;
    }
    sent.into_iter().collect::<Result<(), NetError>>()?;
    Ok(())
}

/// A peer that was asked for another run, or for none, is the caller's doing.
fn elsewhere(error: NetError, peer: PartyId) -> JobError {
    match error {
        NetError::Diverged { .. } => JobError::Refused(format!(
            "the caller asks party {peer} for something else: {error}. All three must be asked for the same"
        )),
        error => error.into(),
    }
}

/// In a few words, how a run ended: for the log of the party's owner. What a function has `returned` to the caller is known
/// by its size alone.
pub(in crate::cluster) fn outcome(failed: Option<GaveUp>, returned: Option<usize>) -> String {
    match (failed, returned) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(bytes)) => format!("done, and {bytes} bytes of its own went to the caller"),
        (None, None) => "done".to_owned(),
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Own => "own",
            What::Scores => "scores",
            What::Accuracy => "accuracy",
            What::Loss => "loss",
            What::Weights => "weights",
            What::Range => "range",
            What::Result => "result",
        })
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Caller => f.write_str("the caller"),
            To::Party(party) => write!(f, "party {party}"),
            To::All => f.write_str("all"),
        }
    }
}

impl fmt::Display for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = match self.times {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        write!(f, "{} of {} to {}, {times}", self.what, self.of, self.to)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Program(name) | Source::Set(name) => f.write_str(name),
            Source::File(path) => path.display().fmt(f),
        }
    }
}

/// In words, as logs and errors show it.
impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &PathBuf| Path::display(path).to_string();
        let parts = self.network.iter().map(|network| format!("network {}", network.known_as()));
        let parts = parts.chain(self.function.iter().map(|function| format!("function {}", function.digest)));
        let parts = parts.chain(self.reads.iter().map(|source| format!("reads {source}")));
        let parts = parts.chain(self.writes.iter().map(|to| format!("writes {}", path(to))));
        let parts = parts.chain(self.reveals.iter().map(|reveal| format!("reveals {reveal}")));
        f.write_str(&parts.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Options, memory};

    /// How it ends at each party, where each is asked for what `asks` says.
    fn agreed(asks: impl Fn(PartyId) -> (u64, Asks)) -> [Result<(), JobError>; 3] {
        let networks = memory::trio(Options::default());
        std::thread::scope(|scope| {
            let parties = networks.each_ref().map(|network| {
                let (run, asks) = asks(network.id());
                scope.spawn(move || agree(network, [7; 32], run, "infer", &asks))
            });
            parties.map(|party| party.join().unwrap())
        })
    }

    #[test]
    fn who_is_late_sees_the_difference_as_well() {
        let networks = memory::trio(Options::default());
        let tag = Tag { position: 3, kind: MessageKind::ADMITTED.0 };
        for (peer, asks) in [(1, Asks::default()), (2, Asks::default().reads_file("x").function("f", [1; 32], None))] {
            let digest = asks.digest([7; 32], 3, "infer");
            let words = digest.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
            networks[peer].send(PartyId::P0, tag, words).unwrap();
        }
        networks[1].abort(crate::net::GaveUp::Refused);
        let ended = agree(&networks[0], [7; 32], 3, "infer", &Asks::default());
        assert!(matches!(&ended, Err(JobError::Refused(why)) if why.contains("party 2")), "{ended:?}");
    }

    #[test]
    fn a_run_begins_when_all_three_are_asked_for_the_same() {
        let scores = |times| Asks::default().reveals(What::Scores, "lenet", To::Caller, times);
        assert!(agreed(|_| (3, scores(1))).iter().all(Result::is_ok));
        // Which file a party reads is its own matter and may differ.
        assert!(agreed(|party| (3, scores(1).reads_file(format!("{party}")))).iter().all(Result::is_ok));
        for asks in [
            |party: PartyId| {
                (3, Asks::default().reveals(What::Scores, "lenet", To::Caller, 1 + party.index() as u64 / 2))
            },
            |party: PartyId| (3 + party.index() as u64 / 2, Asks::default()),
        ] {
            let ended = agreed(asks);
            let refused = ended.iter().filter(|ended| matches!(ended, Err(JobError::Refused(_))));
            assert!(refused.count() >= 2, "{ended:?}");
        }
    }

    #[test]
    fn a_network_is_what_it_is_and_not_what_it_is_called() {
        let lenet = zoo::by_name("lenet").unwrap();
        assert_eq!(asked_network(&lenet).known_as(), "lenet");
        let mut other = Graph::builder("lenet", [1, 28, 28]);
        let input = other.input();
        let other = other.flatten("flatten", input).and_then(|flat| other.finish(flat)).unwrap();
        assert_eq!(asked_network(&other).known_as().len(), 64);
    }
}
