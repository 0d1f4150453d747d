//! The caller's half of serving: it starts the service at the parties, hears what was served, and starts it again with new
//! parties when one is lost. Requests do not pass here.

use super::cluster::Cluster;
use super::restart::{may_be_mended, pause};
use super::turn::Turn;
use super::watch::Heard;
use crate::cluster::interrupt::GoingOn;
use crate::cluster::party::job::Job;
use crate::cluster::party::serving::{Counts, Serve, ToldServing};
use crate::cluster::serving::{Service, ServiceFile};
use crate::cluster::wire::configuration::Places;
use crate::cluster::wire::error::ClusterError;
use crate::net::{Fingerprint, PartyId};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

const ACTION: &str = "serve a model";

/// How often parties that have nothing to do hear of each other.
const TURN: Duration = Duration::from_secs(1);

/// What a service tells its caller.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Serving {
    /// Clients can connect: where the parties are, and what they are known by.
    Open(ServiceFile),
    /// What was served until now.
    Served(Served),
    /// It has lost a party, and goes on with new ones; clients that waited have heard of it.
    Restarted {
        /// How the parties were lost.
        cause: String,
    },
}

/// What was served since the parties were started last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Served {
    /// Requests that were answered with scores.
    pub requests: u64,
    /// Their images.
    pub images: u64,
    /// Batches that these were evaluated in.
    pub batches: u64,
    /// Requests that party 0 had no room for.
    pub busy: u64,
    /// Requests that did not reach all parties in time.
    pub given_up: u64,
    /// The mean time from a request's shares at party 0 to its answer.
    pub latency: Duration,
    /// The mean time of a batch.
    pub batch_time: Duration,
}

impl From<Counts> for Served {
    fn from(counts: Counts) -> Self {
        let Counts { requests, images, batches, busy, given_up, waited, computed } = counts;
        let mean = |seconds: f64, of: u64| Duration::try_from_secs_f64(seconds / of.max(1) as f64).unwrap_or_default();
        let (latency, batch_time) = (mean(waited, requests), mean(computed, batches));
        Served { requests, images, batches, busy, given_up, latency, batch_time }
    }
}

/// In a line, as `cryptgpu serve` prints it.
impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Served { requests, images, batches, busy, given_up, latency, batch_time } = self;
        write!(
            f,
            "{requests} requests of {images} images in {batches} batches, {latency:.1?} each, {batch_time:.1?} a batch; {busy} \
             turned away, {given_up} given up"
        )
    }
}

impl Cluster {
    /// Serves the model that was saved under that name ([`Model::save`](crate::cluster::Model::save)) to clients
    /// ([`Client`](crate::cluster::Client)), until this cluster is [cancelled](Cluster::cancel) or interrupted. A client
    /// shares its images itself, sends each party its part over TLS, and opens the scores alone; this caller learns what
    /// was served and when, and no more. Requests are evaluated in batches. `observe` hears where clients connect, what was served, and
    /// of parties that were lost: the service then goes on with new ones.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::{owner, Cluster, Service};
    /// use std::path::Path;
    ///
    /// let clients = vec![owner::fingerprint_of(Path::new("lab.crt"))?];
    /// let cluster = Cluster::local().start()?;
    /// cluster.serve("digits", &Service { clients, ..Service::default() }, |told| println!("{told:?}"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ClusterError::Argument`] for settings that cannot work, parties of three owners, and what is not saved or cannot be
    /// loaded; otherwise how the parties were lost when they could not be started again so often.
    pub fn serve(&self, name: &str, service: &Service, mut observe: impl FnMut(&Serving)) -> Result<(), ClusterError> {
        let refuse = |detail: &dyn fmt::Display| Err(ClusterError::argument(ACTION, detail));
        if let Err(detail) = service.check() {
            return refuse(&detail);
        }
        if matches!(self.configuration().places, Places::Owners(_)) {
            return refuse(
                &"parties of three owners do not serve clients: their policies cannot say to whom scores go",
            );
        }
        let _course = self.inner.whole_course();
        let mut attempts = 0;
        loop {
            let mut served = false;
            let ended = self.serve_once(name, service, &mut |told| {
                served |= matches!(told, Serving::Served(counts) if counts.requests > 0);
                observe(told);
            });
            let error = match ended {
                Ok(()) | Err(ClusterError::Cancelled { .. } | ClusterError::Interrupted { .. }) => return Ok(()),
                Err(error) => error,
            };
            attempts = if served { 1 } else { attempts + 1 };
            if attempts > service.restarts || !may_be_mended(&error) {
                return Err(error);
            }
            observe(&Serving::Restarted { cause: error.to_string() });
            let mut state = self.inner.lock(ACTION)?;
            match self.inner.renew_after(&mut state, pause(attempts - 1), &GoingOn::new()) {
                Ok(()) => {}
                Err(ClusterError::Cancelled { .. } | ClusterError::Interrupted { .. }) => return Ok(()),
                // The next attempt starts them.
                Err(error) if may_be_mended(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Serves until the parties are lost or told to end.
    fn serve_once(&self, name: &str, service: &Service, observe: &mut dyn FnMut(&Serving)) -> Result<(), ClusterError> {
        let model = self.load(name)?;
        let mut number = [0; 16];
        getrandom::fill(&mut number).map_err(|error| ClusterError::argument(ACTION, &error))?;
        let mut turn = Turn::begin(&self.inner, Serve::NAME)?;
        turn.limit = Duration::MAX;
        let id = model.token.check(self.inner.number, turn.generation())?;
        let Service { listen, clients, batch, linger, queue, patience, .. } = service;
        let job = |party: PartyId| Serve {
            model: id,
            input: model.input,
            listen: listen[party.index()],
            clients: clients.clone(),
            batch: *batch,
            linger: *linger,
            queue: *queue,
            patience: *patience,
            turn: TURN.min(self.configuration().deadline / 4),
            service: number,
        };
        let mut open: [Option<(SocketAddr, Fingerprint)>; 3] = [None; 3];
        turn.run_job_hearing(PartyId::ALL.map(job), |heard| {
            let Heard::Told(party, bytes) = heard else { return };
            match postcard::from_bytes::<ToldServing>(bytes) {
                Ok(ToldServing::Open(address, fingerprint)) => {
                    open[party.index()] = Some((address, fingerprint));
                    if let [Some(a), Some(b), Some(c)] = open {
                        let parties = [a, b, c].map(|(address, fingerprint)| (address.to_string(), fingerprint));
                        observe(&Serving::Open(ServiceFile { parties }));
                    }
                }
                Ok(ToldServing::Counts(counts)) => observe(&Serving::Served(counts.into())),
                // Parties are of this program.
                Err(_) => {}
            }
        })?;
        Ok(())
    }
}
