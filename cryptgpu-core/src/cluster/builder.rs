//! Settings of a cluster, and where the parties' program is.

use super::controller::Cluster;
use super::error::ClusterError;
use crate::device::Devices;
use crate::mpc::Settings;
use crate::net::Link;
use crate::prg::Randomness;
use std::path::PathBuf;
use std::time::Duration;

/// How to start a cluster: see [`Cluster::local`].
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing until `start` is called"]
pub struct ClusterBuilder {
    pub(super) link: Link,
    pub(super) deadline: Duration,
    pub(super) start_within: Duration,
    pub(super) threads: Option<usize>,
    pub(super) program: Option<PathBuf>,
    pub(super) randomness: Randomness,
    pub(super) insecure_plaintext: bool,
    pub(super) ports: [u16; 3],
    pub(super) settings: Settings,
    pub(super) devices: Devices,
    pub(super) in_memory: bool,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        ClusterBuilder {
            link: Link::None,
            deadline: Duration::from_secs(30),
            start_within: Duration::from_secs(20),
            threads: None,
            program: None,
            randomness: Randomness::default(),
            insecure_plaintext: false,
            ports: [0; 3],
            settings: Settings::default(),
            devices: Devices::default(),
            in_memory: false,
        }
    }
}

impl ClusterBuilder {
    /// Imitates another network between the parties. None unless told.
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// How long a party may wait for another, and the controller for a sign of life: 30 s unless
    /// told.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long starting may take: 20 s unless told.
    pub fn start_within(mut self, time: Duration) -> Self {
        self.start_within = time;
        self
    }

    /// Threads of each party's computation: one for each core of the machine unless told.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// The `cryptgpu` program that parties run. Unless told: this program, if it has called
    /// [`party::serve_if_asked`](super::party::serve_if_asked); `CRYPTGPU_PROGRAM`; `cryptgpu`
    /// beside this program or in the folder above.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Which generator the parties draw from.
    pub fn randomness(mut self, randomness: Randomness) -> Self {
        self.randomness = randomness;
        self
    }

    /// How functions compute ([`Cluster::run`]), and the codec of [`Cluster::share`].
    pub fn computing(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Where the parties compute: `Device::Cuda(0)`, `DeviceChoice::Auto`, or three of them, by party. On the CPU
    /// unless told. Parties that ask for no card by number take the cards of their machine in turn;
    /// [`Cluster::devices`] says which. This goes before the device of [`ClusterBuilder::computing`].
    pub fn device(mut self, devices: impl Into<Devices>) -> Self {
        self.devices = devices.into();
        self
    }

    /// Ports that the parties listen on, by index: any free ones unless told.
    pub fn ports(mut self, ports: [u16; 3]) -> Self {
        self.ports = ports;
        self
    }

    /// Links between parties without TLS: **anyone on the way learns every secret**. For measuring
    /// what TLS costs.
    pub fn insecure_plaintext(mut self) -> Self {
        self.insecure_plaintext = true;
        self
    }

    /// Starts the three parties, and returns when they are linked up and have their keys.
    ///
    /// # Errors
    /// [`ClusterError::ProgramMissing`], and [`ClusterError::Startup`] with a party's own words.
    pub fn start(self) -> Result<Cluster, ClusterError> {
        Cluster::start(self)
    }
}
