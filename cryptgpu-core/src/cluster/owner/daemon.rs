//! A party that waits for callers: started by its owner, it listens with its long-term certificate, and makes a process of
//! its own for each session of a caller whom the policy names, one at a time. What that process is (identity, peers,
//! addresses, device, data) is the owner's word; the caller's are settings and a session number.

use super::audit::{AuditEvent, AuditLog};
use super::error::OwnerError;
use super::files::PartyFile;
use super::gate::PolicyGate;
use super::policy::{Caller, Policy};
use crate::cluster::party::checkpoint::SAVED_FOLDER;
use crate::cluster::party::jobs::Jobs;
use crate::cluster::party::own_process;
use crate::cluster::party::relay::relay;
use crate::cluster::party::serve::{Guard, serve_guarded};
use crate::cluster::wire::function;
use crate::cluster::wire::message::{Bootstrap, ControlLink, VERSION};
use crate::cluster::wire::object::{CodeError, Library};
use crate::cluster::wire::owners::{Answer, Hello, hear, say};
use crate::cluster::wire::text::hex;
use crate::net::tcp::Reception;
use crate::net::{LinkType, tls};
use sha2::{Digest, Sha256};
use std::ffi::{CStr, CString, OsString, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a caller may take to say what it wants.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How long a caller waits for the session before its own to end.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// How long a session may take to end when the party is asked to.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Longer than that a caller may not let a party wait for the others.
const LONGEST: Duration = Duration::from_secs(3600);

/// A program that [`serve_if_asked`] is a party of its owner with this argument and a file behind it.
const OWNER_ARGUMENT: &str = "--cryptgpu-owner";
/// The argument before each library that a session runs.
const RUNTIME_ARGUMENT: &str = "--runtime";

/// What the library that cells link exports under this name is run, with the path of `party.toml`, as the process of a
/// session: `extern "C" fn(*const c_char) -> c_int`.
pub const SESSION_ENTRY: &CStr = c"cryptgpu_owner_session";

/// The same for the process of a session.
const SESSION_ARGUMENT: &str = "--cryptgpu-owner-session";

/// Lets this program be a party of its owner, so that callers may run its jobs and its functions there: to be called first
/// thing in `main`, beside [`party::serve_if_asked`](crate::cluster::party::serve_if_asked). As
/// `PROGRAM --cryptgpu-owner party.toml` it is what `cryptgpu party --config party.toml` is, and does not return.
pub fn serve_if_asked(jobs: &Jobs) {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [asked, config, rest @ ..] = arguments.as_slice() else { return };
    if asked == OWNER_ARGUMENT {
        std::process::exit(told(serve_owner(Path::new(config), &[SESSION_ARGUMENT.into(), config.clone()])));
    }
    if asked == SESSION_ARGUMENT {
        let libraries: Vec<OsString> = rest.iter().filter(|argument| *argument != RUNTIME_ARGUMENT).cloned().collect();
        std::process::exit(match libraries.is_empty() {
            true => serve_session_to_the_end(Path::new(config), jobs),
            false => serve_session_from(&libraries, Path::new(config)).unwrap_or_else(|error| told(Err(error))),
        });
    }
}

/// As [`serve_session`], with the exit code of a process as result and what went wrong on standard error: for a function
/// called [`SESSION_ENTRY`] of a library.
pub fn serve_session_to_the_end(config: &Path, jobs: &Jobs) -> i32 {
    told(serve_session(config, jobs))
}

fn told(ended: Result<(), String>) -> i32 {
    match ended {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("cannot be a party: {error}");
            1
        }
    }
}

/// Waits for callers until it is asked to end, by SIGTERM or SIGINT, which ends the session too. `session` are the arguments
/// that make this program the process of a session; where `party.toml` names a library for sessions, `--runtime` and the
/// library with its digest follow behind them, for it and for all that it needs.
///
/// # Errors
/// What is wrong with a file, or why it cannot listen.
pub fn serve_owner(config: &Path, session: &[OsString]) -> Result<(), String> {
    own_process::hide()?;
    own_process::survive_closed_pipes();
    let party = PartyFile::read(config).map_err(|error| error.to_string())?;
    let policy = Policy::read(&party.policy).map_err(|error| error.to_string())?;
    let audit = AuditLog::open(&party.audit, |_| ()).map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let runtime = party.runtime.as_deref().map(Library::of_file).transpose().map_err(|error| error.to_string())?;
    let libraries = runtime.unwrap_or_default();
    let named = libraries.iter().flat_map(|library| [RUNTIME_ARGUMENT.into(), library.to_argument()]);
    // One thread, the first one: a session's process ends when the thread that started it does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let daemon = Daemon {
        party,
        program,
        arguments: session.iter().cloned().chain(named).collect(),
        runtime: libraries.last().cloned(),
        audit: parking_lot::Mutex::new(audit),
        turn: tokio::sync::Mutex::new(()),
        ending: watch::Sender::new(false),
    };
    runtime.block_on(Arc::new(daemon).run(&policy))
}

/// Runs this process as a party in one session, behind its owner's gate. The bootstrap comes by standard input.
///
/// # Errors
/// What is wrong, for the owner's log.
pub fn serve_session(config: &Path, jobs: &Jobs) -> Result<(), String> {
    serve_guarded(jobs, |bootstrap| {
        let party = PartyFile::read(config).map_err(|error| error.to_string())?;
        let policy = Policy::read(&party.policy).map_err(|error| error.to_string())?;
        let caller = policy.callers().iter().find(|caller| caller.fingerprint == bootstrap.controller);
        let caller = caller.ok_or("the policy no longer names the caller")?.clone();
        let session = hex(bootstrap.session);
        let gate = PolicyGate::open(policy, caller, &party.audit, session, agreed(bootstrap));
        Ok(Guard { gate: Box::new(gate.map_err(|error| error.to_string())?), addresses: party.addresses })
    })
}

/// Runs this process as a party in one session with the code of the last of `libraries`, which exports [`SESSION_ENTRY`]: the
/// library that callers' cells link, as `party.toml` names it. Each argument names a file with the digest that it had when
/// the party was started; a file that is another one is not opened. The answer is the exit code.
///
/// # Errors
/// What is wrong with a library, for the owner's log.
pub fn serve_session_from(libraries: &[OsString], config: &Path) -> Result<i32, String> {
    let failed = |error: CodeError| match error {
        CodeError::OtherFile { path } => {
            format!("{} has changed since this party was started: start the party again", path.display())
        }
        error => error.to_string(),
    };
    let named = libraries.iter().map(|argument| Library::from_argument(argument));
    let libraries = named.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let config = CString::new(config.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let address = function::symbol(&libraries, SESSION_ENTRY).map_err(failed)?;
    // SAFETY: what a library exports under this name is a function of this type.
    let entry = unsafe { std::mem::transmute::<usize, unsafe extern "C" fn(*const c_char) -> i32>(address) };
    // SAFETY: it takes a path that ends with a zero, and leaves it as it is.
    Ok(unsafe { entry(config.as_ptr()) })
}

/// The digest of a program or a library, as refusals name it and policies list it: of all that is loaded of the file.
///
/// # Errors
/// A file that cannot be read, or is no object file.
pub fn digest_of(file: &Path) -> Result<String, CodeError> {
    Library::digest_of(file).map(hex)
}

/// What a session is about, which must be the same at all three parties.
fn agreed(bootstrap: &Bootstrap) -> [u8; 32] {
    let Bootstrap { version, peers, controller, session, randomness, settings, .. } = bootstrap;
    let told = format!("{version:?} {peers:?} {controller:?} {session:?} {randomness:?} {settings:?}");
    Sha256::digest(told).into()
}

/// A party that waits for callers.
struct Daemon {
    party: PartyFile,
    program: PathBuf,
    arguments: Vec<OsString>,
    /// The library that runs sessions, if it is not the program.
    runtime: Option<Library>,
    audit: parking_lot::Mutex<AuditLog>,
    /// Held for as long as a session goes on.
    turn: tokio::sync::Mutex<()>,
    /// Whether the party was asked to end.
    ending: watch::Sender<bool>,
}

impl Daemon {
    async fn run(self: Arc<Self>, policy: &Policy) -> Result<(), String> {
        let PartyFile { id, name, identity, control, audit, .. } = &self.party;
        let mut asked = Asked::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
        let cannot = |error: io::Error| format!("cannot listen for callers on {control}: {error}");
        let listener = TcpListener::bind(control).await.map_err(cannot)?;
        let (party, program, policy) = (id.to_string(), VERSION.to_owned(), policy.digest());
        let runtime = self.runtime.as_ref().map(|library| hex(library.digest()));
        let start = AuditEvent::Start { party, program, policy, runtime };
        self.audit.lock().add(start).map_err(|error| error.to_string())?;
        eprintln!(
            "party {id} ({name}) waits for callers on {}; its fingerprint is {}, its log is {}",
            listener.local_addr().map_err(cannot)?,
            identity.fingerprint(),
            audit.display()
        );
        if let Some(runtime) = &self.runtime {
            eprintln!("its sessions run the code of {}: {}", runtime.path.display(), runtime.describe());
        }
        let mut reception = Reception::new(&listener);
        loop {
            let daemon = self.clone();
            let identify = move |stream: TcpStream| {
                let daemon = daemon.clone();
                async move { daemon.identify(stream).await }
            };
            let visited = tokio::select! {
                visited = reception.next(identify) => visited,
                () = asked.next() => return self.end().await,
            };
            // Whoever fails the handshake is no caller; strangers do not fill the log.
            if let (from, Ok((caller, stream))) = visited {
                let daemon = self.clone();
                tokio::spawn(async move {
                    if let Err(error) = daemon.serve(&caller, stream).await {
                        let from = from.map(|from| from.to_string()).unwrap_or_default();
                        eprintln!("the session of {} ({from}) ended: {error}", caller.name);
                    }
                });
            }
        }
    }

    /// Ends the session that goes on, if one does, and logs that it is over.
    async fn end(&self) -> Result<(), String> {
        self.ending.send_replace(true);
        // A session that does not end by itself ends with this process.
        let _ = timeout(END_WITHIN, self.turn.lock()).await;
        eprintln!("party {} ({}) was asked to end, and has", self.party.id, self.party.name);
        Ok(())
    }

    /// Who connects, by the policy as it is now.
    async fn identify(&self, stream: TcpStream) -> io::Result<(Caller, TlsStream<TcpStream>)> {
        stream.set_nodelay(true)?;
        let policy = self.policy().map_err(io::Error::other)?;
        let accepted: Vec<_> = policy.callers().iter().map(|caller| caller.fingerprint).collect();
        let server = self.party.identity.server_config(&accepted).map_err(io::Error::other)?;
        let stream = TlsAcceptor::from(server).accept(stream).await?;
        let shown = tls::shown_by(stream.get_ref().1.peer_certificates());
        let caller = policy.callers().iter().find(|caller| Some(caller.fingerprint) == shown);
        Ok((caller.ok_or_else(|| io::Error::other("unknown certificate"))?.clone(), stream))
    }

    fn policy(&self) -> Result<Policy, OwnerError> {
        Policy::read(&self.party.policy).inspect_err(|error| eprintln!("{error}"))
    }

    /// One session, from greeting to end.
    async fn serve(&self, caller: &Caller, mut stream: TlsStream<TcpStream>) -> io::Result<()> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the caller did not say in time what it wants");
        let hello: Hello = timeout(HELLO_WITHIN, hear(&mut stream)).await.map_err(late)??;
        let mut ending = self.ending.subscribe();
        let turn = timeout(TURN_WITHIN, self.turn.lock()).await;
        let (policy, session) = match self.admit(caller, &hello, turn.is_ok()) {
            Ok(admitted) => admitted,
            Err(answer) => return say(&mut stream, &answer).await,
        };
        let log = |event| self.audit.lock().add(event).map_err(io::Error::other);
        log(AuditEvent::Session {
            session: session.clone(),
            caller: caller.name.clone(),
            fingerprint: caller.fingerprint.to_string(),
            policy: policy.digest(),
            settings: format!("{:?}, {}", hello.settings, hello.randomness),
        })?;
        let mut child = self.start(caller, &hello).await?;
        let relayed = match say(&mut stream, &Answer::Admitted).await {
            Ok(()) => tokio::select! {
                relayed = relay(&mut stream, &mut child) => relayed,
                // Its sender lives as long as this party.
                _ = ending.wait_for(|ending| *ending) => Err(io::Error::other("this party was asked to end")),
            },
            Err(error) => Err(error),
        };
        // Fails only where it has ended.
        let _ = child.kill().await;
        log(AuditEvent::Over { session })?;
        drop(turn);
        relayed
    }

    /// Policy and number of the session, or the answer that there is none.
    fn admit(&self, caller: &Caller, hello: &Hello, turn: bool) -> Result<(Policy, String), Answer> {
        let session = hex(hello.session);
        let refused = |why: String| (Answer::Refused(why.clone()), why);
        let asked = || {
            if hello.version != VERSION {
                return Err(refused(format!(
                    "the caller speaks `{}`, this party `{VERSION}`: use programs of the same version",
                    hello.version
                )));
            }
            if !turn {
                return Err((Answer::Busy, "a session goes on".to_owned()));
            }
            let unread = "its policy cannot be read: its owner finds the reason in the party's log";
            let policy = self.policy().map_err(|_| refused(unread.to_owned()))?;
            policy.admit_randomness(hello.randomness).map_err(|refusal| refused(refusal.0))?;
            Ok(policy)
        };
        asked().map(|policy| (policy, session.clone())).map_err(|(answer, why)| {
            let (session, caller) = (Some(session.clone()), caller.name.clone());
            let event = AuditEvent::Refused { session, caller, run: None, job: None, why };
            if let Err(error) = self.audit.lock().add(event) {
                eprintln!("{error}");
            }
            answer
        })
    }

    /// The session's process, with its bootstrap.
    async fn start(&self, caller: &Caller, hello: &Hello) -> io::Result<Child> {
        let PartyFile { id, identity, links, threads, device, data, saved, fingerprints, .. } = &self.party;
        let bootstrap = Bootstrap {
            version: VERSION.to_owned(),
            id: *id,
            identity: identity.clone(),
            peers: *fingerprints,
            controller: caller.fingerprint,
            control: ControlLink::Standard,
            session: hello.session,
            randomness: hello.randomness,
            threads: *threads,
            deadline: hello.deadline.min(LONGEST),
            resume_within: hello.resume_within.min(LONGEST),
            connect_within: hello.connect_within.min(LONGEST),
            link: hello.link,
            links: LinkType::Tls,
            settings: hello.settings,
            device: *device,
            turn: 0,
            listen: *links,
        };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A Ctrl-C is for the daemon, which ends its session.
        command.process_group(0);
        if let Some(data) = data {
            command.env("CRYPTGPU_DATASETS", data);
        }
        if let Some(saved) = saved {
            command.env(SAVED_FOLDER, saved);
        }
        let mut child = command.spawn()?;
        let input = child.stdin.as_mut().ok_or_else(|| io::Error::other("no standard input"))?;
        input.write_all(&bootstrap.encoded()?).await?;
        input.flush().await?;
        Ok(child)
    }
}

/// The signals by which a party is asked to end. It listens for them itself: the first process of a container has no other
/// process's way of ending by them.
struct Asked {
    terminate: Signal,
    interrupt: Signal,
}

impl Asked {
    fn listen() -> io::Result<Self> {
        Ok(Asked { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
