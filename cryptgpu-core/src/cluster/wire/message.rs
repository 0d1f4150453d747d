//! The messages of the control protocol, between the controller and each party. What a job or a function takes and
//! returns travels behind them, in its own encoding.

use super::error::Failure;
use super::function::FunctionId;
use super::object::Library;
use super::trace::PartyTrace;
use crate::device::{DeviceChoice, DeviceInUse};
use crate::mpc::Settings;
use crate::net::{Fingerprint, Identity, Link, LinkType, PartyId, Stats, WaitState};
use crate::prg::Randomness;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use zeroize::Zeroizing;

/// Both ends must be of the same version: jobs are encoded without names.
pub(in crate::cluster) const VERSION: &str = concat!("cryptgpu ", env!("CARGO_PKG_VERSION"), " control 9");

/// The version, read from memory: so a test can make a program of another one.
pub(in crate::cluster) fn version() -> &'static str {
    std::hint::black_box(VERSION)
}

/// A bootstrap is smaller than this.
pub(in crate::cluster) const MAX_BOOTSTRAP_BYTES: usize = 64 << 10;

/// What a party reads from its standard input before anything else.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Bootstrap {
    pub(in crate::cluster) version: String,
    pub(in crate::cluster) id: PartyId,
    pub(in crate::cluster) identity: Identity,
    pub(in crate::cluster) peers: [Fingerprint; 3],
    pub(in crate::cluster) controller: Fingerprint,
    pub(in crate::cluster) control: ControlLink,
    pub(in crate::cluster) session: [u8; 16],
    pub(in crate::cluster) randomness: Randomness,
    pub(in crate::cluster) threads: Option<usize>,
    pub(in crate::cluster) deadline: Duration,
    /// How long a broken connection with another party may take to be made anew.
    pub(in crate::cluster) resume_within: Duration,
    pub(in crate::cluster) connect_within: Duration,
    pub(in crate::cluster) link: Link,
    pub(in crate::cluster) links: LinkType,
    pub(in crate::cluster) settings: Settings,
    /// Where to compute.
    pub(in crate::cluster) device: DeviceChoice,
    /// Its place among the parties of its machine, which take cards in turn.
    pub(in crate::cluster) turn: u32,
    /// Where to listen for the other parties.
    pub(in crate::cluster) listen: SocketAddr,
}

impl Bootstrap {
    /// Its bytes behind their length, as a party reads them.
    pub(in crate::cluster) fn encoded(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        // A vector that grows leaves copies of the party's key behind.
        let mut room = Vec::with_capacity(4 + MAX_BOOTSTRAP_BYTES);
        room.extend([0; 4]);
        let mut bytes = postcard::to_extend(self, room).map(Zeroizing::new).map_err(io::Error::other)?;
        let len = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        Ok(bytes)
    }
}

/// By what a party and its controller speak to each other: TLS, in which the party is the client, over one of these.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum ControlLink {
    /// A connection to the controller, which is on the same machine and started this very process.
    Connect { address: SocketAddr, controller_pid: u32 },
    /// The party's own standard input, behind the bootstrap, and its standard output: whoever started it leads them to the
    /// controller. What functions print goes to standard error then. The controller is heard of at least as often as
    /// parties say that they are alive, and a party that hears nothing for long ends.
    Standard,
}

/// A message from the controller to a party.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Command {
    /// Link up with the parties that can be reached there, each as `host:port`, which the connecting party looks up.
    LinkUp { addresses: [String; 3] },
    /// The controller is there: sent every so often where it might be lost without a word ([`ControlLink::Standard`]).
    Alive,
    /// Keep a library for functions that come: the content of its file follows. Only where the party has no such file.
    Keep { library: Library },
    /// Let go of what no handle names any more.
    Free { ids: Vec<HeldId> },
    /// Run the job of that name; its encoding follows.
    Run { run: u64, job: String },
    /// End.
    Stop,
}

/// A message from a party to the controller.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Event {
    /// It listens for the other parties there.
    Listening { address: SocketAddr },
    /// It is linked up with both, and has its keys; what it computes on.
    Ready { device: DeviceInUse },
    /// It cannot link up, or not go on.
    Unable { detail: String },
    /// Its process runs: sent every so often, whatever its job does, with what its links are about once they are up.
    Alive { state: Option<Box<Vital>> },
    /// How far a job is.
    Progress { run: u64, fraction: f64, text: String, step: String },
    /// Something that a job tells its caller while it runs; its encoding follows.
    Told { run: u64 },
    /// What the job took, when it is done, what it has sent and received, and what it recorded.
    /// `position`: how many nonces it has drawn since its links came up, as all parties should.
    Used { run: u64, usage: Box<Usage>, state: Box<WaitState>, trace: Box<PartyTrace>, position: u64 },
    /// The job is done; its encoded output follows.
    Done { run: u64 },
    /// The job failed.
    Failed { run: u64, failure: Failure },
}

/// How a party does: what its links are about, and what it has counted since they came up.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Vital {
    pub(in crate::cluster) wait: WaitState,
    pub(in crate::cluster) stats: Stats,
    /// How long it has waited for each of the others.
    pub(in crate::cluster) waited: [Duration; 3],
    /// Memory that is resident now; 0 where the system does not tell.
    pub(in crate::cluster) resident_bytes: u64,
}

/// What a job took at one party.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// What its transport counted during the job.
    pub stats: Stats,
    /// Wall-clock time of the job, without its way to the party and back.
    pub duration: Duration,
    /// The most memory that was resident during the job (`VmHWM`); 0 where the system does not tell.
    pub peak_rss_bytes: u64,
    /// What the party kept for handles of the caller when the job had ended.
    pub held_bytes: u64,
}

/// What the parties hold for a handle, by a number that is the same at all three: the run that left it, and its place
/// among what that run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct HeldId {
    pub(in crate::cluster) run: u64,
    pub(in crate::cluster) place: u32,
}

/// The name of the job that calls functions.
pub(in crate::cluster) const CALL: &str = "call";

/// Asks for a function; its arguments follow.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Call {
    pub(in crate::cluster) function: String,
    pub(in crate::cluster) location: CodeLocation,
}

/// Where the entry of a function is.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum CodeLocation {
    /// In an object file.
    Object(FunctionId),
    /// At this address of the same process.
    Here(u64),
}
