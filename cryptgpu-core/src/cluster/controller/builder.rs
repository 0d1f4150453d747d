//! The builder of a cluster: what is chosen before it starts.

use crate::cluster::wire::configuration::{Configuration, Places, Route};
use crate::device::Devices;
use crate::mpc::{CheckRange, Settings};
use crate::net::{Interceptor, Link, LinkType};
use crate::prg::Randomness;
use crate::ring::Ring;
use std::path::PathBuf;
use std::time::Duration;

/// How to start a cluster: see [`Cluster::local`](crate::cluster::Cluster::local).
#[derive(Clone, Debug, Default)]
#[must_use = "a builder starts nothing until `start` is called"]
pub struct ClusterBuilder {
    pub(super) configuration: Configuration,
}

impl ClusterBuilder {
    /// Imitates another network between the parties. None by default.
    pub fn link(mut self, link: Link) -> Self {
        self.configuration.link = link;
        self
    }

    /// How long a party may wait for another, and the controller for a sign of life: 30 s by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.configuration.deadline = deadline;
        self
    }

    /// How long a broken connection between two parties may take to be made anew before the run ends with an error: 5 s by
    /// default, and at most half of the deadline; zero ends the run at once. It must be less than the deadline. A cluster
    /// file may say it too (`resume_within`, in seconds), and what is said here counts more. Without effect on parties in
    /// memory.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::{Cluster, ClusterError};
    /// use std::time::Duration;
    ///
    /// // A router that restarts within five minutes ends no run.
    /// let minute = Duration::from_secs(60);
    /// let cluster = Cluster::ssh(["ann@h0", "bob@h1", "eve@h2"]).deadline(10 * minute).resume_within(5 * minute).start()?;
    /// # Ok::<(), ClusterError>(())
    /// ```
    pub fn resume_within(mut self, time: Duration) -> Self {
        self.configuration.resume_within = Some(time);
        self
    }

    /// How long starting may take: 20 s by default.
    pub fn start_within(mut self, time: Duration) -> Self {
        self.configuration.start_within = time;
        self
    }

    /// Keeps log files in a folder of this machine: `party0.log`, `party1.log` and `party2.log`. Each line has the time in UTC, the
    /// party, the job and the step: when a job begins, in which step it is (at most one line a second), what it took in
    /// seconds, bytes sent and rounds, in all and by outermost step, what the party printed, connections that broke and were
    /// made anew, and errors. Files that are there are added to. No value is written that the parties do not print
    /// themselves.
    ///
    /// ```
    /// use cryptgpu_core::cluster::{Cluster, SelfTest};
    ///
    /// # let folder = std::env::temp_dir().join(format!("cryptgpu-logs-{}", std::process::id()));
    /// let cluster = Cluster::in_memory().logs(&folder).start()?;
    /// cluster.run_job(SelfTest::quick())?;
    /// let text = std::fs::read_to_string(folder.join("party1.log"))?;
    /// assert!(text.contains(" P1 job=\"self-test\""), "{text}");
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn logs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.configuration.logs = Some(folder.into());
        self
    }

    /// How long each run of a function or job may take, whatever the parties are doing; without end by default. It holds
    /// for sharing, loading a model, inference and revealing too: a call that needs several runs, as `infer` needs one to
    /// share, one to evaluate and one to reveal, has this time for each. A run that has not ended by then is
    /// [`ClusterError::TimeLimit`](crate::cluster::ClusterError::TimeLimit).
    /// [`Cluster::run_within`](crate::cluster::Cluster::run_within) sets another limit for one function.
    ///
    /// ```
    /// use cryptgpu_core::cluster::{Cluster, ClusterError};
    /// use std::time::Duration;
    ///
    /// let cluster = Cluster::in_memory().time_limit(Duration::from_nanos(1)).start()?;
    /// let error = cluster.share(&ndarray::array![1.0]).unwrap_err();
    /// assert!(matches!(error, ClusterError::TimeLimit { .. }), "nothing is so quick");
    /// # Ok::<(), ClusterError>(())
    /// ```
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.configuration.time_limit = limit;
        self
    }

    /// Threads of each party's computation; by default one for each core of the machine.
    pub fn threads(mut self, threads: usize) -> Self {
        self.configuration.threads = Some(threads);
        self
    }

    /// The threads that were chosen; none where there is one for each core.
    pub(crate) fn chosen_threads(&self) -> Option<usize> {
        self.configuration.threads
    }

    /// Where the parties will be.
    pub(in crate::cluster) fn places(&self) -> &Places {
        &self.configuration.places
    }

    /// The `cryptgpu` program that parties run. By default: this program, if it has called
    /// [`party::serve_if_asked`](crate::cluster::party::serve_if_asked); `CRYPTGPU_PROGRAM`; `cryptgpu`
    /// beside this program or in the folder above.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.configuration.program = Some(path.into());
        self
    }

    /// Which generator the parties draw from.
    pub fn randomness(mut self, randomness: Randomness) -> Self {
        self.configuration.randomness = randomness;
        self
    }

    /// How functions compute ([`Cluster::run`](crate::cluster::Cluster::run)), and the codec of [`Cluster::share`](crate::cluster::Cluster::share).
    pub fn computing(mut self, settings: Settings) -> Self {
        self.configuration.settings = settings;
        self
    }

    /// Computes in this ring, with its usual fraction bits and check of ranges ([`Settings::from`]): that of 32 bits takes half of the bytes and
    /// less than half of the time, for values in a smaller range, which it checks unless [`check_range`](Self::check_range) behind it says
    /// otherwise. Nothing else changes: functions, networks and training are the same in both.
    ///
    /// ```
    /// use cryptgpu_core::prelude::*;
    ///
    /// fn square(p: &mut Party, x: Rep) -> Result<Rep> {
    ///     Ok(p.mul(&x, &x)?)
    /// }
    ///
    /// let cluster = Cluster::in_memory().ring(Ring::Z32).start()?;
    /// let squares = cluster.run(square, &cluster.share(&array![1.5, -7.0])?)?;
    /// assert_eq!(squares.reveal()?, array![2.25, 49.0].into_dyn());
    /// // 81 is beyond the 2^(30 − 2·12) = 64 that products have there.
    /// assert!(cluster.run(square, &cluster.share(&array![9.0])?).is_err());
    /// # Ok::<(), ClusterError>(())
    /// ```
    pub fn ring(self, ring: Ring) -> Self {
        self.computing(ring.into())
    }

    /// Whether a run finds out that a value has left the range of the fixed-point numbers, which opens one bit at its end,
    /// or one a layer. Off by default, but in a cluster whose [`ring`](Self::ring) is that of 32 bits.
    pub fn check_range(mut self, check: CheckRange) -> Self {
        self.configuration.settings.check_range = check;
        self
    }

    /// Where the parties compute: `Device::Cuda(0)`, `DeviceChoice::Auto`, or three of them, by party. The CPU
    /// by default. Parties that ask for no card by number take the cards of their machine in turn;
    /// [`Cluster::devices`](crate::cluster::Cluster::devices) says which.
    pub fn device(mut self, devices: impl Into<Devices>) -> Self {
        self.configuration.devices = devices.into();
        self
    }

    /// Ports that the parties listen on, by index; any free ones by default.
    pub fn ports(mut self, ports: [u16; 3]) -> Self {
        self.configuration.ports = ports;
        self
    }

    /// Lets a function see every message between parties [in memory](crate::cluster::Cluster::in_memory), change it, or keep
    /// it from arriving: for tests of what happens then. Without effect on processes.
    ///
    /// ```
    /// use cryptgpu_core::cluster::{Cluster, SelfTest};
    /// use cryptgpu_core::net::Recorder;
    ///
    /// let seen = Recorder::default();
    /// let cluster = Cluster::in_memory().intercept(seen.interceptor()).start()?;
    /// cluster.run_job(SelfTest::quick())?;
    /// assert!(!seen.messages().is_empty());
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    pub fn intercept(mut self, interceptor: Interceptor) -> Self {
        self.configuration.interceptor = Some(interceptor);
        self
    }

    /// Leads the links between parties in processes another way: for faults on the way.
    pub(crate) fn route(mut self, route: Route) -> Self {
        self.configuration.route = Some(route);
        self
    }

    /// What carries messages between parties in processes: TLS by default. [`LinkType::Shared`] is the short way between
    /// processes of one machine, memory that they share, **without encryption**; each party prints a warning. Parties on
    /// several hosts or of several owners refuse it, and parties [in memory](crate::cluster::Cluster::in_memory), which
    /// hand messages over. Values, bytes and rounds are the same on all types of links.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::{Cluster, ClusterError};
    /// use cryptgpu_core::net::LinkType;
    ///
    /// let cluster = Cluster::local().links(LinkType::Shared).start()?;
    /// # Ok::<(), ClusterError>(())
    /// ```
    pub fn links(mut self, links: LinkType) -> Self {
        self.configuration.links = links;
        self
    }

    /// The type of links that was chosen.
    pub(in crate::cluster) fn chosen_links(&self) -> LinkType {
        self.configuration.links
    }
}
