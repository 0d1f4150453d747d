//! What ranks 1 and 2 do: say where they are, let rank 0 in and nobody else, start a process for each session and pass its bytes
//! on, and end with rank 0.

use super::addresses::addresses;
use super::error::RendezvousError;
use super::folder::{Folder, Offer};
use super::task::Task;
use crate::cluster::party::own_process;
use crate::cluster::party::relay::relay;
use crate::cluster::party::serve::{SERVE_ARGUMENT, serves};
use crate::cluster::wire::message::version as own_version;
use crate::cluster::wire::owners::{hear, say};
use crate::cluster::wire::rendezvous::{Greeting, Rendezvous, Reply, Request};
use crate::net::tcp::Reception;
use crate::net::{Fingerprint, Identity, PartyId, tls};
use parking_lot::Mutex;
use std::ffi::OsString;
use std::future::pending;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Rank 0, which says every two seconds that it is there, may be silent for so long.
const SILENCE: Duration = Duration::from_secs(60);

/// Serves the party of this task, which is rank 1 or 2 of its step, until rank 0 ends. With `stay` it waits for rank 0 for as
/// long as it takes, and for the next one after it: for a notebook, whose kernel may be started anew. What it does in a session
/// is for a process of its own, by this program.
///
/// # Errors
/// As [`attend`](super::attend).
pub fn serve(place: &Rendezvous, stay: bool) -> Result<(), RendezvousError> {
    own_process::hide().map_err(|error| RendezvousError::process("begin", &error))?;
    own_process::survive_closed_pipes();
    let task = Task::of_environment()?;
    if task.party == PartyId::P0 {
        return Err(RendezvousError::Rank {
            rank: 0,
            step: task.step,
            detail: "its party belongs to the caller. Let it run an experiment, `cryptgpu run … --rendezvous FOLDER`, or a \
                     program or notebook with `Cluster::rendezvous(FOLDER)`",
        });
    }
    let cannot = |error| RendezvousError::process("find this program", &error);
    let program = std::env::current_exe().map_err(|error: io::Error| cannot(error))?;
    // One thread, the first one: a session's process ends when the thread that started it does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RendezvousError::process("start", &error))?;
    runtime.block_on(run(place, task, stay, program))
}

async fn run(place: &Rendezvous, task: Task, stay: bool, program: PathBuf) -> Result<(), RendezvousError> {
    let folder = Folder::open(&place.folder, &task)?;
    let identity = Identity::generate().map_err(|error| RendezvousError::process("make a certificate", &error))?;
    let cannot = |error: io::Error| RendezvousError::process("listen for rank 0", &error);
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await {
        Ok(listener) => listener,
        // IPv6 may be switched off.
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.map_err(cannot)?,
    };
    let port = listener.local_addr().map_err(cannot)?.port();
    let addresses = addresses(place.interface.as_deref())?.into_iter().map(|address| SocketAddr::new(address, port));
    let (party, fingerprint) = (task.party, identity.fingerprint());
    folder.leave(party, &Offer::new(&task.node, addresses.collect(), fingerprint))?;
    let server = Arc::new(Server { task, folder, identity, program, present: Mutex::default() });
    let served = server.clone().serve(&listener, place.within, stay).await;
    server.folder.remove(party, fingerprint);
    served
}

/// Rank 1 or 2.
struct Server {
    task: Task,
    folder: Folder,
    identity: Identity,
    program: PathBuf,
    /// The certificate of rank 0, while it is there.
    present: Mutex<Option<Fingerprint>>,
}

/// What somebody with a certificate of rank 0 wants.
struct Visit {
    shown: Fingerprint,
    stream: TlsStream<TcpStream>,
    /// Or the version of its program, if it is another one.
    request: Result<Request, String>,
}

impl Server {
    async fn serve(
        self: Arc<Self>,
        listener: &TcpListener,
        within: Duration,
        stay: bool,
    ) -> Result<(), RendezvousError> {
        // By which Slurm asks a task to end, before it makes it.
        let asked = signal(SignalKind::terminate());
        let mut asked = asked.map_err(|error| RendezvousError::process("listen for signals", &error))?;
        let late = Instant::now() + within;
        let (mut reception, mut sessions) = (Reception::new(listener), JoinSet::new());
        let mut rank0: Option<JoinHandle<()>> = None;
        loop {
            let server = self.clone();
            let identify = move |stream| {
                let server = server.clone();
                async move { server.identify(stream).await }
            };
            tokio::select! {
                // Whoever fails the handshake is not rank 0.
                (_, visit) = reception.next(identify) => if let Ok(Visit { shown, stream, request }) = visit {
                    match request {
                        Err(theirs) => return Err(RendezvousError::Version { rank: 0, theirs }),
                        Ok(Request::Attend) => rank0 = self.attend(rank0, shown, stream).await,
                        Ok(Request::Session { arguments }) => {
                            sessions.spawn(self.clone().session(shown, stream, arguments));
                        }
                    }
                },
                () = ended(&mut rank0) => {
                    // With their tasks, processes are killed.
                    sessions.shutdown().await;
                    self.forget();
                    rank0 = None;
                    if !stay {
                        return Ok(());
                    }
                }
                Some(_) = sessions.join_next() => {}
                _ = asked.recv() => {
                    sessions.shutdown().await;
                    self.forget();
                    return Ok(());
                }
                () = sleep_until(late), if rank0.is_none() && !stay => return Err(self.absent(within)),
            }
        }
    }

    /// Rank 0 is gone, and its file with it.
    fn forget(&self) {
        if let Some(fingerprint) = self.present.lock().take() {
            self.folder.remove(PartyId::P0, fingerprint);
        }
    }

    /// Who connects, and what it wants: only who has the certificate that rank 0's file names.
    async fn identify(&self, stream: TcpStream) -> io::Result<Visit> {
        stream.set_nodelay(true)?;
        let mut accepted: Vec<Fingerprint> = self.present.lock().iter().copied().collect();
        if let Ok(fingerprint) = self.folder.find(PartyId::P0).and_then(|offer| offer.fingerprint()) {
            accepted.push(fingerprint);
        }
        let server = self.identity.server_config(&accepted).map_err(io::Error::other)?;
        let mut stream = TlsAcceptor::from(server).accept(stream).await?;
        let shown = tls::shown_by(stream.get_ref().1.peer_certificates());
        let shown = shown.ok_or_else(|| io::Error::other("no certificate"))?;
        let Greeting { version, .. } = hear(&mut stream).await?;
        say(&mut stream, &Greeting { version: own_version().to_owned(), local_id: self.task.local_id }).await?;
        let request = if version == own_version() { Ok(hear(&mut stream).await?) } else { Err(version) };
        Ok(Visit { shown, stream, request })
    }

    /// Takes in rank 0, if there is none yet.
    async fn attend(
        &self,
        present: Option<JoinHandle<()>>,
        shown: Fingerprint,
        mut stream: TlsStream<TcpStream>,
    ) -> Option<JoinHandle<()>> {
        if present.is_some() {
            let detail =
                "another process of rank 0 is there already. End it first; in a notebook, shut its kernel down";
            // A visitor that is gone needs no answer.
            let _ = say(&mut stream, &Reply::Refused(detail.to_owned())).await;
            return present;
        }
        say(&mut stream, &Reply::Attended).await.ok()?;
        *self.present.lock() = Some(shown);
        Some(tokio::spawn(async move {
            let mut bytes = [0u8; 16];
            // Its end, an error, or silence.
            while let Ok(Ok(1..)) = timeout(SILENCE, stream.read(&mut bytes)).await {}
        }))
    }

    /// One session, from its process's start to its end.
    async fn session(self: Arc<Self>, shown: Fingerprint, mut stream: TlsStream<TcpStream>, arguments: Vec<OsString>) {
        let child = match *self.present.lock() == Some(shown) {
            true => self.start(arguments).map_err(|error| format!("cannot run {}: {error}", self.program.display())),
            false => Err("it is not the process of rank 0 that is there".to_owned()),
        };
        let mut child = match child {
            Ok(child) => child,
            Err(detail) => {
                let _ = say(&mut stream, &Reply::Refused(detail)).await;
                return;
            }
        };
        let started = say(&mut stream, &Reply::Started { pid: child.id().unwrap_or_default() }).await;
        let relayed = match started {
            Ok(()) => relay(&mut stream, &mut child).await,
            Err(error) => Err(error),
        };
        if let Err(error) = relayed {
            let _ = writeln!(io::stderr(), "party {}: its link to rank 0 ended: {error}", self.task.party);
        }
        // Fails only where it has ended.
        let _ = child.kill().await;
    }

    fn start(&self, arguments: Vec<OsString>) -> io::Result<Child> {
        let first = if serves() { SERVE_ARGUMENT } else { "party" };
        let mut command = Command::new(&self.program);
        command.arg(first).args(arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// The error that rank 0 did not come, and whether the third task did.
    fn absent(&self, within: Duration) -> RendezvousError {
        let mut missing = vec![PartyId::P0];
        let third = if self.task.party == PartyId::P1 { PartyId::P2 } else { PartyId::P1 };
        let has_left = self.folder.has(PartyId::P0);
        if !has_left && !self.folder.has(third) {
            missing.push(third);
        }
        let detail = has_left.then(|| "its file is there, and it has not connected".to_owned());
        RendezvousError::Absent { missing, path: self.folder.path.clone(), within, detail }
    }
}

/// Waits for the end of rank 0, if it is there.
async fn ended(rank0: &mut Option<JoinHandle<()>>) {
    match rank0 {
        Some(task) => drop(task.await),
        None => pending().await,
    }
}
