//! The cluster as its user sees it: run jobs, get outputs or one clear error, run again.

use super::builder::ClusterBuilder;
use super::inner::Inner;
use super::run::Run;
use super::turn::Turn;
use super::watch::Progress;
use crate::cluster::interrupt::GoingOn;
use crate::cluster::launch::board::Board;
use crate::cluster::launch::logs::Logs;
use crate::cluster::launch::program::Launch;
use crate::cluster::party::job::Job;
use crate::cluster::running::Published;
use crate::cluster::wire::configuration::{Configuration, Places};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::hosts::Hosts;
use crate::cluster::wire::owners::Owners;
use crate::cluster::wire::rendezvous::Rendezvous;
use crate::device::DeviceInUse;
use crate::mpc::Settings;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Three parties and the means to run functions and jobs in them.
///
/// A run goes on at all three at once. If it fails at one it ends at all, the processes end, and
/// the caller gets the likeliest cause; the next run starts new processes by itself, which have
/// none of what earlier runs kept. One run goes on at a time. Dropping the cluster ends its
/// processes; they also end with this program, however that ends.
///
/// ```no_run
/// use cryptgpu_core::cluster::{Cluster, SelfTest};
///
/// let cluster = Cluster::local().start()?;
/// let run = cluster.run_job(SelfTest::quick())?;
/// println!("party 0 sent {} bytes", run.usage[0].stats.payload_bytes());
/// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
/// ```
pub struct Cluster {
    pub(super) inner: Arc<Inner>,
    /// By which other programs of the user look at it; none where that cannot be.
    _published: Option<Published>,
}

impl ClusterBuilder {
    /// Starts the three parties, and returns when they are linked up and have their keys.
    ///
    /// # Errors
    /// [`ClusterError::ProgramMissing`], [`ClusterError::Startup`] with a party's own words, [`ClusterError::Host`] where
    /// a host is at fault, [`ClusterError::Argument`] for a `resume_within` that is not less than the deadline
    /// and for logs that cannot be written, and
    /// [`ClusterError::Interrupted`].
    pub fn start(self) -> Result<Cluster, ClusterError> {
        static CLUSTERS: AtomicU64 = AtomicU64::new(0);
        let configuration = self.configuration;
        configuration.check()?;
        let (launch, number) = (Launch::find(&configuration)?, CLUSTERS.fetch_add(1, Relaxed));
        let logs = configuration.logs.as_deref().map(Logs::open).transpose()?.unwrap_or_default();
        let board = Board::new(&configuration.places);
        let looked_at = board.clone();
        let _published = Published::new(number, move || looked_at.look());
        let (state, facts) = (Mutex::default(), Mutex::default());
        let inner = Inner { number, configuration, launch, logs, board, state, facts };
        let cluster = Cluster { inner: Arc::new(inner), _published };
        cluster.restart()?;
        Ok(cluster)
    }
}

impl Cluster {
    /// Three parties on this machine, each a process of its own, with the settings' defaults.
    pub fn local() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// Three parties on three hosts, by what `ssh` calls them: `Cluster::ssh(["ann@h0", "bob@h1", "eve@h2"])`. They are
    /// started with the user's own SSH configuration, keys and agent; nothing is asked, and a host whose key is not
    /// known is refused. The program is copied to each host once per version, into `~/.cache/cryptgpu` there, and
    /// compared by its digest. The parties speak to this process inside SSH and to each other over TLS, each on a free port
    /// of the address that SSH reached its host at; [`Cluster::hosts`] takes other addresses and ports. When the cluster,
    /// this process or the connection ends, nothing is left running there. See `docs/hosts.md`.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::{Cluster, ClusterError};
    ///
    /// let cluster = Cluster::ssh(["ann@h0", "bob@h1", "eve@h2"]).start()?;
    /// let shared = cluster.share(&ndarray::array![1.0, 2.0])?;
    /// # Ok::<(), ClusterError>(())
    /// ```
    ///
    /// What goes wrong at a host is [`ClusterError::Host`], when the cluster starts.
    pub fn ssh(hosts: [impl Into<String>; 3]) -> ClusterBuilder {
        Cluster::hosts(Hosts::new(hosts))
    }

    /// As [`Cluster::ssh`], with what a cluster file says of each host: `Cluster::hosts(Hosts::read("cluster.toml")?)`.
    pub fn hosts(hosts: Hosts) -> ClusterBuilder {
        let places = Places::Ssh(Box::new(hosts));
        ClusterBuilder { configuration: Configuration { places, ..Configuration::default() } }
    }

    /// Three parties that their owners have started, each with a policy of its own: what all three allow runs, and what one
    /// does not allow is refused, in the name of the policy's line. The owners choose device, threads and addresses; what
    /// parties print stays with them, paths are those of the party that reads, and functions run where the owners allow them and
    /// run the caller's program ([`owner::serve_if_asked`](crate::cluster::owner::serve_if_asked)), or have installed the
    /// library that a notebook's cells link. One session goes on at a time. `docs/hosts.md` shows it from nothing.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::{Cluster, Owners};
    ///
    /// let cluster = Cluster::owners(Owners::read("owners.toml")?).start()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// What a party refuses is [`ClusterError::Job`] with [`FailureKind::Refused`](crate::cluster::FailureKind::Refused), or
    /// [`ClusterError::Host`] for a whole session.
    pub fn owners(owners: Owners) -> ClusterBuilder {
        let places = Places::Owners(Box::new(owners));
        ClusterBuilder { configuration: Configuration { places, ..Configuration::default() } }
    }

    /// Three parties that are the tasks of a Slurm step (`srun --ntasks=3`), which find each other in a folder that all nodes
    /// share: this process is rank 0, and its party runs beside it; ranks 1 and 2 run
    /// `cryptgpu party --rendezvous FOLDER`, or this program, which calls
    /// [`rendezvous::attend`](crate::cluster::rendezvous::attend) first. What parties 1 and 2 print, their tasks print.
    /// A file that a party reads is one of its node. `docs/hosts.md` has a job script.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::{Cluster, ClusterError};
    ///
    /// let cluster = Cluster::rendezvous("/shared/lab").start()?;
    /// # Ok::<(), ClusterError>(())
    /// ```
    ///
    /// Tasks that do not find each other are [`ClusterError::Startup`] where one is to blame, and otherwise
    /// [`ClusterError::Argument`].
    pub fn rendezvous(place: impl Into<Rendezvous>) -> ClusterBuilder {
        let places = Places::Rendezvous(Box::new(place.into()));
        ClusterBuilder { configuration: Configuration { places, ..Configuration::default() } }
    }

    /// Three parties on three threads of this process: for a first try and for stepping through a
    /// function with a debugger. **No secret is safe from this process.** Everything else is as with
    /// [`Cluster::local`], but what parties print appears as it is, and [`ClusterBuilder::threads`]
    /// has no effect.
    pub fn in_memory() -> ClusterBuilder {
        ClusterBuilder { configuration: Configuration { places: Places::Memory, ..Configuration::default() } }
    }

    /// Ends the processes, if there are any, and starts new ones.
    ///
    /// # Errors
    /// As [`ClusterBuilder::start`]; [`ClusterError::Cancelled`], [`ClusterError::Busy`].
    pub fn restart(&self) -> Result<(), ClusterError> {
        let mut state = self.inner.lock("restart")?;
        self.inner.renew(&mut state, &GoingOn::new())
    }

    /// Ends the run that goes on, or the start of parties, from another thread: its caller gets
    /// [`ClusterError::Cancelled`], the parties end whatever they are doing, and the next run starts new ones. A training ends
    /// as a whole, also between two attempts to go on with it. True if there was something to end. A thread of a cluster
    /// [in memory](Cluster::in_memory) ends with its next message; nobody waits for it.
    ///
    /// ```
    /// use cryptgpu_core::cluster::Cluster;
    ///
    /// let cluster = Cluster::in_memory().start()?;
    /// assert!(!cluster.cancel(), "nothing runs");
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.inner.facts().cancel()
    }

    /// How often processes were started. What a job kept is there as long as this is the same.
    pub fn generation(&self) -> u64 {
        self.inner.facts().generation
    }

    /// The operating system's numbers of the parties' processes, each at its host; none after a failure, until the
    /// next run. Three times this process's own for parties in memory.
    pub fn pids(&self) -> Vec<u32> {
        self.inner.facts().pids.clone()
    }

    /// What each party computes on, by party; nothing after a failure, until the next run.
    pub fn devices(&self) -> Vec<DeviceInUse> {
        self.inner.facts().devices.clone()
    }

    /// How its parties compute: codec, truncation, bits of comparisons.
    pub fn settings(&self) -> &Settings {
        &self.inner.configuration.settings
    }

    /// What was chosen when it was started.
    pub(in crate::cluster) fn configuration(&self) -> &Configuration {
        &self.inner.configuration
    }

    /// Runs one job at all parties, each with its own value.
    ///
    /// # Errors
    /// The likeliest cause, as [`ClusterError::Job`], [`ClusterError::Died`] or
    /// [`ClusterError::Silent`]; or why new processes, needed after a failure, did not start.
    pub fn run_job<J: Job>(&self, jobs: [J; 3]) -> Result<Run<J::Output>, ClusterError> {
        self.run_job_with(jobs, |_| ())
    }

    /// Runs one job as [`Cluster::run_job`] does; `on_progress` learns how far the parties are.
    ///
    /// # Errors
    /// As [`Cluster::run_job`].
    pub fn run_job_with<J: Job>(
        &self,
        jobs: [J; 3],
        on_progress: impl FnMut(&Progress),
    ) -> Result<Run<J::Output>, ClusterError> {
        Turn::begin(&self.inner, J::NAME)?.run_job(jobs, on_progress)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        state.closed = true;
        self.inner.end(&mut state);
    }
}
