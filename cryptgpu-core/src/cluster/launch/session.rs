//! One set of three parties, from start to end. It is used until the first failure and
//! then thrown away whole: starting afresh is the one way back, and takes a fraction of a second.

use super::mailbox::{Arrival, Mailbox, What};
use super::process::PartyProcess;
use super::program::Launch;
use super::threads::PartyThreads;
use super::{local, owners, rendezvous, ssh};
use crate::cluster::interrupt::{GoingOn, POLL};
use crate::cluster::wire::configuration::Configuration;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::frame::{self, Outbox};
use crate::cluster::wire::message::{Command, Event};
use crate::cluster::wire::object::Library;
use crate::device::DeviceInUse;
use crate::net::{PartyId, after};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Three parties that are linked up and have their keys.
#[derive(Debug)]
pub(in crate::cluster) struct Session {
    parties: Parties,
    outboxes: Vec<Outbox>,
    arrivals: Receiver<Arrival>,
    /// Bytes of commands; those of events are in the mailbox.
    posted: u64,
    mailbox: Mailbox,
    /// What each party computes on, once it has said so.
    devices: Vec<DeviceInUse>,
    /// The libraries that the parties have, by digest; none where they can read the caller's files.
    libraries: Option<HashSet<[u8; 32]>>,
    elsewhere: Elsewhere,
}

/// Where the parties are.
#[derive(Debug)]
enum Parties {
    /// With the tasks of their control links. Those behind them are elsewhere: of these there are no processes to look at.
    Processes(Vec<PartyProcess>, Option<Runtime>),
    /// Dropping them ends them.
    Threads(#[expect(dead_code, reason = "held for its drop")] PartyThreads),
}

/// How long parties have to end by themselves.
const END_WITHIN: Duration = Duration::from_millis(500);

/// How long a result waits for what its run has printed.
const SETTLE_WITHIN: Duration = Duration::from_millis(200);

impl Session {
    /// Starts three parties, whose messages come to the mailbox; by which a start can also be cancelled.
    pub(in crate::cluster) fn start(
        configuration: &Configuration,
        launch: &Launch,
        (mailbox, arrivals): (Mailbox, Receiver<Arrival>),
        going_on: &GoingOn,
    ) -> Result<Self, ClusterError> {
        let until = after(Instant::now(), configuration.start_within);
        let mut start = Start { until, mailbox: mailbox.clone(), going_on };
        let mut session = match launch {
            Launch::Processes(program) => {
                let runtime = control_runtime()?;
                let started = local::start(configuration, program, &runtime, &start)?;
                Session::introduce(started, runtime, arrivals, &mut start, configuration)?
            }
            Launch::Ssh(hosts, program) => {
                let runtime = control_runtime()?;
                let started = ssh::start(configuration, hosts, program, &runtime, &start)?;
                Session::introduce(started, runtime, arrivals, &mut start, configuration)?
            }
            Launch::Owners(owners) => {
                let runtime = control_runtime()?;
                let started = owners::start(configuration, owners, &runtime, &start)?;
                Session::introduce(started, runtime, arrivals, &mut start, configuration)?
            }
            Launch::Rendezvous(place, program) => {
                let runtime = control_runtime()?;
                let started = rendezvous::start(configuration, place, program, &runtime, &start)?;
                Session::introduce(started, runtime, arrivals, &mut start, configuration)?
            }
            Launch::Threads => {
                let (threads, outboxes) = PartyThreads::start(configuration, &mailbox)?;
                Session {
                    parties: Parties::Threads(threads),
                    outboxes,
                    arrivals,
                    posted: 0,
                    mailbox,
                    devices: vec![],
                    libraries: None,
                    elsewhere: Elsewhere::default(),
                }
            }
        };
        session.devices = session
            .gather(&start, "link up with the others", |event| match event {
                Event::Ready { device } => Some(device),
                _ => None,
            })?
            .into();
        Ok(session)
    }

    /// Tells three processes where the others are.
    fn introduce(
        started: Started,
        runtime: Runtime,
        arrivals: Receiver<Arrival>,
        start: &mut Start<'_>,
        configuration: &Configuration,
    ) -> Result<Self, ClusterError> {
        let Started { processes, elsewhere, outboxes, advertised, libraries } = started;
        // Parties that had to be copied first have as much time as others.
        start.until = after(Instant::now(), configuration.start_within);
        let parties = Parties::Processes(processes, Some(runtime));
        let mailbox = start.mailbox.clone();
        let mut session =
            Session { parties, outboxes, arrivals, posted: 0, mailbox, devices: vec![], libraries, elsewhere };
        let listening = session.gather(start, "listen for the others", |event| match event {
            Event::Listening { address } => Some(address),
            _ => None,
        })?;
        let addresses = advertised(listening);
        for party in PartyId::ALL {
            let route = configuration.route.as_ref();
            let addresses = route.map_or_else(|| addresses.clone(), |route| route.told(party, &addresses));
            session.tell(party, &Command::LinkUp { addresses })?;
        }
        Ok(session)
    }

    /// Where a run is cancelled.
    pub(in crate::cluster) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Sends all parties a command that has no body.
    pub(in crate::cluster) fn tell_all(&mut self, command: &Command) -> Result<(), ClusterError> {
        PartyId::ALL.into_iter().try_for_each(|party| self.tell(party, command))
    }

    fn tell(&mut self, party: PartyId, command: &Command) -> Result<(), ClusterError> {
        let frame = frame::encode_header(command);
        let frame = frame.map_err(|error| ClusterError::Protocol { party, detail: error.to_string() })?;
        self.post(party, frame);
        Ok(())
    }

    /// Sends the parties those libraries that they do not have, where they cannot read this machine's files.
    pub(in crate::cluster) fn ship(&mut self, libraries: &[Library]) -> Result<(), ClusterError> {
        let Some(there) = &self.libraries else { return Ok(()) };
        let missing: Vec<&Library> = libraries.iter().filter(|library| !there.contains(&library.digest())).collect();
        for library in missing {
            let fail = |detail: &dyn std::fmt::Display| {
                controller(&format!("send {} to the hosts", library.path.display()), detail, "Is it still there?")
            };
            let content = std::fs::read(&library.path).map_err(|error| fail(&error))?;
            let mut frame =
                frame::encode_header(&Command::Keep { library: library.clone() }).map_err(|error| fail(&error))?;
            frame.extend_from_slice(&content);
            PartyId::ALL.into_iter().for_each(|party| self.post(party, frame.clone()));
            self.libraries.get_or_insert_default().insert(library.digest());
        }
        Ok(())
    }

    /// Sends an encoded frame.
    pub(in crate::cluster) fn post(&mut self, party: PartyId, frame: Vec<u8>) {
        self.posted += frame.len() as u64;
        self.outboxes[party.index()].post(frame);
    }

    /// Bytes of commands and events so far, but for signs of life.
    pub(in crate::cluster) fn control_bytes(&self) -> u64 {
        self.posted + self.mailbox.bytes()
    }

    /// What comes next from any party; nothing when nothing came in time.
    pub(in crate::cluster) fn next(&self, until: Instant) -> Option<Arrival> {
        self.arrivals.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }

    /// Waits a moment until what a party printed up to the end of `run` has been passed on.
    pub(in crate::cluster) fn settle(&self, party: PartyId, run: u64) {
        if let Parties::Processes(processes, _) = &self.parties {
            let process = processes.get(party.index());
            process.into_iter().for_each(|process| process.settle(run, Instant::now() + SETTLE_WITHIN));
        }
    }

    /// The last lines of a party's log.
    pub(in crate::cluster) fn log(&self, party: PartyId) -> Vec<String> {
        match &self.parties {
            Parties::Processes(processes, _) => processes.get(party.index()).map(PartyProcess::log).unwrap_or_default(),
            Parties::Threads(_) => vec![],
        }
    }

    /// How a party's process ended, if it does within `time`.
    pub(in crate::cluster) fn wait_end(&mut self, party: PartyId, time: Duration) -> Option<String> {
        match &mut self.parties {
            Parties::Processes(processes, _) => match processes.get_mut(party.index()) {
                Some(process) => process.wait_exit(time).map(|status| process.described(status)),
                None => Some(self.elsewhere.ended.to_owned()),
            },
            Parties::Threads(_) => Some("its thread ended".to_owned()),
        }
    }

    /// What each party computes on.
    pub(in crate::cluster) fn devices(&self) -> &[DeviceInUse] {
        &self.devices
    }

    /// The operating system's numbers of the processes.
    pub(in crate::cluster) fn pids(&self) -> Vec<u32> {
        match &self.parties {
            Parties::Processes(processes, _) => {
                processes.iter().map(PartyProcess::pid).chain(self.elsewhere.pids.iter().copied()).collect()
            }
            Parties::Threads(_) => vec![std::process::id(); 3],
        }
    }

    /// Whether all parties are there and nothing has gone wrong since the last job.
    pub(in crate::cluster) fn is_well(&mut self) -> bool {
        let no_bad_news = self
            .arrivals
            .try_iter()
            .all(|arrival| matches!(arrival.what, What::Event(Event::Alive { .. }, ..) | What::Cancelled));
        no_bad_news
            && match &mut self.parties {
                Parties::Processes(processes, _) => processes.iter_mut().all(|process| process.exited().is_none()),
                Parties::Threads(_) => true,
            }
    }

    /// The error that a party did not come up.
    fn startup_error(&self, party: PartyId, detail: String) -> ClusterError {
        ClusterError::Startup { party, detail, log: self.log(party) }
    }

    /// Waits until each party has sent what `pick` looks for.
    fn gather<T>(
        &mut self,
        start: &Start<'_>,
        task: &str,
        mut pick: impl FnMut(Event) -> Option<T>,
    ) -> Result<[T; 3], ClusterError> {
        let mut got = [None, None, None];
        loop {
            got = match got {
                [Some(a), Some(b), Some(c)] => return Ok([a, b, c]),
                other => other,
            };
            start.check(task)?;
            let Some(Arrival { from, what }) = self.next(start.until.min(Instant::now() + POLL)) else {
                if Instant::now() < start.until {
                    continue;
                }
                let missing = PartyId::ALL.into_iter().find(|party| got[party.index()].is_none());
                let party = missing.unwrap_or(PartyId::P0);
                return Err(self.startup_error(party, format!("it did not {task} in time")));
            };
            match what {
                What::Event(Event::Unable { detail }, ..) => return Err(self.startup_error(from, detail)),
                What::Event(event, ..) => {
                    if let Some(value) = pick(event) {
                        got[from.index()] = Some(value);
                    }
                }
                What::Piece | What::Cancelled => {}
                What::Gone(_) => {
                    let status = self.wait_end(from, END_WITHIN).unwrap_or_else(|| "unknown".into());
                    return Err(self.startup_error(from, format!("its process ended ({status})")));
                }
            }
        }
    }

    /// Lets the parties end by themselves.
    pub(in crate::cluster) fn end(mut self) {
        // Parties that cannot be told are ended by the drop below.
        let _ = self.tell_all(&Command::Stop);
        let until = Instant::now() + END_WITHIN;
        if let Parties::Processes(processes, _) = &mut self.parties {
            for process in processes {
                process.wait_exit(until.saturating_duration_since(Instant::now()));
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Processes that are still there are killed and reaped as they are dropped; threads see their links end.
        if let Parties::Processes(processes, runtime) = &mut self.parties {
            processes.clear();
            if let Some(runtime) = runtime.take() {
                runtime.shutdown_background();
            }
        }
    }
}

/// The thread of the control links.
fn control_runtime() -> Result<Runtime, ClusterError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("cluster")
        .enable_all()
        .build()
        .map_err(|error| controller("start the control thread", &error, "Is the limit on threads reached?"))
}

/// Three parties with their control links.
pub(super) struct Started {
    pub(super) processes: Vec<PartyProcess>,
    pub(super) elsewhere: Elsewhere,
    pub(super) outboxes: Vec<Outbox>,
    /// Where each can be reached by the others, from where it listens.
    pub(super) advertised: Box<dyn FnOnce([SocketAddr; 3]) -> [String; 3]>,
    /// The libraries that they have, by digest; none where they can read the caller's files.
    pub(super) libraries: Option<HashSet<[u8; 32]>>,
}

/// Parties behind those that are processes of this machine, or lead to a host: somebody else starts and ends them.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// Their numbers where they run, if they are known.
    pub(super) pids: Vec<u32>,
    /// What is known when one has ended.
    pub(super) ended: &'static str,
}

/// What may end a start before its parties are ready.
pub(super) struct Start<'a> {
    pub(super) until: Instant,
    pub(super) mailbox: Mailbox,
    going_on: &'a GoingOn,
}

impl Start<'_> {
    /// Waits for `future` for as long as the caller wants it.
    pub(super) async fn wait_for<T>(
        &self,
        task: &str,
        future: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let mut future = std::pin::pin!(future);
        loop {
            match tokio::time::timeout(POLL, &mut future).await {
                Ok(outcome) => return outcome,
                Err(_) => self.check(task)?,
            }
        }
    }

    /// An error if the caller wants it to end.
    pub(super) fn check(&self, task: &str) -> Result<(), ClusterError> {
        let job = || "start of parties".to_owned();
        match (self.mailbox.is_cancelled(), self.going_on.is_to_end()) {
            (true, _) => Err(ClusterError::Cancelled { job: job() }),
            (_, true) => Err(ClusterError::Interrupted { job: job(), step: task.to_owned() }),
            _ => Ok(()),
        }
    }
}

/// Says that the controller is there, so that a party whose connection is lost without a word does not wait for ever.
pub(super) async fn stay_alive(outbox: Outbox, pause: Duration) {
    while outbox.tell(&Command::Alive).is_ok() {
        tokio::time::sleep(pause).await;
    }
}

/// The error that something on this side failed.
pub(super) fn controller(action: &str, detail: &dyn std::fmt::Display, hint: &str) -> ClusterError {
    ClusterError::Controller { action: action.into(), detail: detail.to_string(), hint: hint.into() }
}
