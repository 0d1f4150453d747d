//! One set of three parties, from start to end. It is used until the first failure and
//! then thrown away whole: starting afresh is the one way back, and takes a fraction of a second.

use super::mailbox::{Arrival, Mailbox, What};
use super::process::{PartyProcess, describe};
use super::program::{Launch, Program};
use super::threads::PartyThreads;
use crate::cluster::interrupt::{GoingOn, POLL};
use crate::cluster::wire::configuration::Configuration;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::frame::{self, Outbox};
use crate::cluster::wire::message::{Bootstrap, Command, Event, VERSION};
use crate::device::DeviceInUse;
use crate::net::tcp::Reception;
use crate::net::{Fingerprint, Identity, PartyId, after, tls};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::server::TlsStream;

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
}

/// Where the parties are.
#[derive(Debug)]
enum Parties {
    /// With the tasks of their control links.
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
        let start = Start { until, mailbox: mailbox.clone(), going_on };
        let mut session = match launch {
            Launch::Processes(program) => Session::start_processes(configuration, program, arrivals, &start)?,
            Launch::Threads => {
                let (threads, outboxes) = PartyThreads::start(configuration, &mailbox)?;
                Session { parties: Parties::Threads(threads), outboxes, arrivals, posted: 0, mailbox, devices: vec![] }
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

    /// Starts three processes and introduces them to each other.
    fn start_processes(
        configuration: &Configuration,
        program: &Program,
        arrivals: Receiver<Arrival>,
        start: &Start<'_>,
    ) -> Result<Self, ClusterError> {
        let mailbox = start.mailbox.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cluster")
            .enable_all()
            .build()
            .map_err(|error| controller("start the control thread", &error, "Is the limit on threads reached?"))?;
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .map_err(|error| controller("listen on 127.0.0.1", &error, "Is the loopback interface up?"))?;
        let (identity, bootstraps) = introduce(configuration, &listener)?;
        let peers = bootstraps[0].peers;
        let mut processes = Vec::with_capacity(3);
        for bootstrap in &bootstraps {
            processes.push(PartyProcess::start(program, bootstrap)?);
        }
        let streams = runtime.block_on(accept(&listener, &identity, peers, &mut processes, start))?;
        let outboxes = PartyId::ALL.into_iter().zip(streams).map(|(party, stream)| {
            let mailbox = mailbox.clone();
            frame::attach(runtime.handle(), stream, move |received| mailbox.deliver(party, received))
        });
        let outboxes = outboxes.collect();
        let parties = Parties::Processes(processes, Some(runtime));
        let mut session = Session { parties, outboxes, arrivals, posted: 0, mailbox, devices: vec![] };
        let addresses = session.gather(start, "listen for the others", |event| match event {
            Event::Listening { address } => Some(address),
            _ => None,
        })?;
        session.tell_all(&Command::LinkUp { addresses })?;
        Ok(session)
    }

    /// Where a run is cancelled.
    pub(in crate::cluster) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Sends all parties a command that has no body.
    pub(in crate::cluster) fn tell_all(&mut self, command: &Command) -> Result<(), ClusterError> {
        for party in PartyId::ALL {
            let frame = frame::encode_header(command);
            let frame = frame.map_err(|error| ClusterError::Protocol { party, detail: error.to_string() })?;
            self.post(party, frame);
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
            processes[party.index()].settle(run, Instant::now() + SETTLE_WITHIN);
        }
    }

    /// The last lines of a party's log.
    pub(in crate::cluster) fn log(&self, party: PartyId) -> Vec<String> {
        match &self.parties {
            Parties::Processes(processes, _) => processes[party.index()].log(),
            Parties::Threads(_) => vec![],
        }
    }

    /// How a party's process ended, if it does within `time`.
    pub(in crate::cluster) fn wait_end(&mut self, party: PartyId, time: Duration) -> Option<String> {
        match &mut self.parties {
            Parties::Processes(processes, _) => processes[party.index()].wait_exit(time).map(describe),
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
            Parties::Processes(processes, _) => processes.iter().map(PartyProcess::pid).collect(),
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

/// What may end a start before its parties are ready.
struct Start<'a> {
    until: Instant,
    mailbox: Mailbox,
    going_on: &'a GoingOn,
}

impl Start<'_> {
    /// An error if the caller wants it to end.
    fn check(&self, task: &str) -> Result<(), ClusterError> {
        let job = || "start of parties".to_owned();
        match (self.mailbox.is_cancelled(), self.going_on.is_to_end()) {
            (true, _) => Err(ClusterError::Cancelled { job: job() }),
            (_, true) => Err(ClusterError::Interrupted { job: job(), step: task.to_owned() }),
            _ => Ok(()),
        }
    }
}

fn controller(action: &str, detail: &dyn std::fmt::Display, hint: &str) -> ClusterError {
    ClusterError::Controller { action: action.into(), detail: detail.to_string(), hint: hint.into() }
}

/// The controller's certificate, and what each party gets to know.
fn introduce(
    configuration: &Configuration,
    listener: &TcpListener,
) -> Result<(Identity, [Bootstrap; 3]), ClusterError> {
    let generate = || {
        Identity::generate()
            .map_err(|error| controller("make a certificate", &error, "Has the system no randomness to give?"))
    };
    let identity = generate()?;
    let identities = [generate()?, generate()?, generate()?];
    let mut session = [0u8; 16];
    getrandom::fill(&mut session)
        .map_err(|error| controller("draw a session number", &error, "Has the system no randomness to give?"))?;
    let control_address = listener
        .local_addr()
        .map_err(|error| controller("learn the address of the control port", &error, "Try again."))?;
    let peers = identities.each_ref().map(Identity::fingerprint);
    let bootstraps = PartyId::ALL.map(|id| Bootstrap {
        version: VERSION.to_owned(),
        id,
        identity: identities[id.index()].clone(),
        peers,
        controller: identity.fingerprint(),
        control_address,
        controller_pid: std::process::id(),
        session,
        randomness: configuration.randomness,
        threads: configuration.threads,
        deadline: configuration.deadline,
        connect_within: configuration.start_within,
        link: configuration.link,
        settings: configuration.settings,
        device: configuration.devices.0[id.index()],
        insecure_plaintext: configuration.insecure_plaintext,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, configuration.ports[id.index()])),
    });
    Ok((identity, bootstraps))
}

/// Waits until all parties have connected and shown their certificates.
async fn accept(
    listener: &TcpListener,
    identity: &Identity,
    peers: [Fingerprint; 3],
    processes: &mut [PartyProcess],
    start: &Start<'_>,
) -> Result<[TlsStream<TcpStream>; 3], ClusterError> {
    let server = identity
        .server_config(&peers)
        .map_err(|error| controller("set up TLS", &error, "This is a mistake in the program: please report it."))?;
    let acceptor = tokio_rustls::TlsAcceptor::from(server);
    let identify = move |stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            stream.set_nodelay(true)?;
            let stream = acceptor.accept(stream).await?;
            let party = tls::party_of(stream.get_ref().1.peer_certificates(), &peers);
            party.map(|party| (party, stream)).ok_or_else(|| io::Error::other("unknown certificate"))
        }
    };
    let mut streams = [None, None, None];
    let mut reception = Reception::new(listener);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        streams = match streams {
            [Some(a), Some(b), Some(c)] => return Ok([a, b, c]),
            other => other,
        };
        tokio::select! {
            // Whoever fails the handshake is not one of ours.
            (_, outcome) = reception.next(identify.clone()) => if let Ok((party, stream)) = outcome {
                streams[party.index()] = Some(stream);
            },
            _ = tick.tick() => {
                start.check("connect to the controller")?;
                for (process, stream) in processes.iter_mut().zip(&streams) {
                    if stream.is_none() && let Some(status) = process.exited() {
                        // Its log comes by another thread, which may be a little behind.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        return Err(process.startup_error(format!("its process ended ({})", describe(status))));
                    }
                    if stream.is_none() && Instant::now() >= start.until {
                        return Err(process.startup_error("it did not connect to its controller in time".into()));
                    }
                }
            }
        }
    }
}
