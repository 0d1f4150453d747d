//! What a party's process does: reads who it is from its standard input, connects to its
//! controller, links up with the other parties, and runs jobs until a message ends it or its
//! controller is gone.

use super::context::PartyContext;
use super::execute::{Links, execute, heartbeat, prepare, tell, vital};
use super::gate::Gate;
use super::jobs::Jobs;
use super::own_process;
use crate::cluster::wire::frame::{self, Incoming, Outbox};
use crate::cluster::wire::function;
use crate::cluster::wire::message::{
    Bootstrap, Command, ControlLink, Event, MAX_BOOTSTRAP_BYTES, version as own_version,
};
use crate::cluster::wire::object::{CodeError, Library};
use crate::device::DeviceInUse;
use crate::net::tcp::{self, Config, Security};
use crate::net::{LinkType, NetError, Network, Options, SharedNetwork, TcpNetwork, shared, tls};
use parking_lot::Mutex;
use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What the library that cells link exports under this name is run by `cryptgpu party --runtime`.
pub const LIBRARY_ENTRY: &CStr = c"cryptgpu_party";

/// A program that [`serve_if_asked`] is started as a party with this argument alone.
pub(in crate::cluster) const SERVE_ARGUMENT: &str = "--cryptgpu-party";

static SERVES: AtomicBool = AtomicBool::new(false);

/// Whether this program can be its own parties.
pub(in crate::cluster) fn serves() -> bool {
    SERVES.load(Relaxed)
}

/// Makes this program its own parties, so that [`Cluster::run`](crate::cluster::Cluster::run) can run its functions in them: to
/// be called first thing in `main`. In a process that was started as a party it does not return.
///
/// ```no_run
/// use cryptgpu_core::cluster::{Cluster, Jobs, party};
///
/// party::serve_if_asked(&Jobs::default());
/// let cluster = Cluster::local().start()?; // three more processes of this program
/// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
/// ```
pub fn serve_if_asked(jobs: &Jobs) {
    SERVES.store(true, Relaxed);
    let arguments: Vec<_> = std::env::args_os().skip(1).take(2).collect();
    if arguments == [SERVE_ARGUMENT] {
        std::process::exit(serve_to_the_end(jobs));
    }
}

/// As [`serve`], with the exit code of a process as result and what went wrong on standard error: for a
/// function called [`LIBRARY_ENTRY`] of a library.
pub fn serve_to_the_end(jobs: &Jobs) -> i32 {
    match serve(jobs) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("cannot be a party: {error}");
            1
        }
    }
}

/// Runs this process as a party with the code of the last of `libraries`, which exports [`LIBRARY_ENTRY`]: the functions
/// of a notebook's cells need the very library that they were linked with. Each argument names a file with the digest of
/// what the caller has loaded of it; a file that is another one is not opened. The answer is the exit code.
///
/// # Errors
/// When a file is not the caller's, cannot be opened or is another library.
pub fn serve_from(libraries: &[OsString]) -> Result<i32, CodeError> {
    let libraries: Vec<_> =
        libraries.iter().map(|argument| Library::from_argument(argument)).collect::<Result<_, _>>()?;
    let address = function::symbol(&libraries, LIBRARY_ENTRY)?;
    // SAFETY: what a library exports under this name is a function of this type.
    let entry = unsafe { std::mem::transmute::<usize, extern "C" fn() -> i32>(address) };
    Ok(entry())
}

/// Runs this process as a party that knows `jobs`, from bootstrap to end.
///
/// # Errors
/// What is wrong, for the log, when it cannot become a party.
pub fn serve(jobs: &Jobs) -> Result<(), String> {
    serve_with(jobs, |_| Ok(None))
}

/// What a party's owner has it do in a session, whatever the caller says.
pub(in crate::cluster) struct Guard {
    /// Passed by everything that is asked for.
    pub(in crate::cluster) gate: Box<dyn Gate>,
    /// Where the other parties are.
    pub(in crate::cluster) addresses: [String; 3],
}

/// As [`serve`], with what the party's owner says of the session.
pub(in crate::cluster) fn serve_guarded(
    jobs: &Jobs,
    guard: impl FnOnce(&Bootstrap) -> Result<Guard, String>,
) -> Result<(), String> {
    serve_with(jobs, |bootstrap| guard(bootstrap).map(Some))
}

fn serve_with(jobs: &Jobs, guard: impl FnOnce(&Bootstrap) -> Result<Option<Guard>, String>) -> Result<(), String> {
    own_process::hide()?;
    // A neighbour that dies must be an error here, and a library's process has no `main` of Rust's that sees to it.
    own_process::survive_closed_pipes();
    let (bootstrap, input) = read_bootstrap()?;
    let guard = guard(&bootstrap)?;
    let wire = match bootstrap.control {
        ControlLink::Connect { address, controller_pid } => {
            own_process::die_with(controller_pid, input)?;
            Wire::Connection(address)
        }
        ControlLink::Standard => {
            own_process::die_with_parent();
            let output = own_process::take_standard_output();
            Wire::Standard(input, output.map_err(|error| format!("cannot take standard output: {error}"))?)
        }
    };
    own_process::return_large_memory();
    own_process::allow_open_files();
    function::learn();
    start_threads(bootstrap.threads)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    let control = connect(&runtime, &bootstrap, wire)?;
    let outcome = serve_commands(&bootstrap, &control, jobs, guard);
    if let Err(detail) = &outcome {
        tell(&control.outbox, &Event::Unable { detail: detail.clone() });
        // The controller ends this process once it has read that, or when it is gone itself.
        while !matches!(control.commands.recv_timeout(bootstrap.deadline), Err(_) | Ok((Command::Stop, ..))) {}
    }
    runtime.shutdown_background();
    if let Some(network) = control.links.get() {
        network.leave_devices();
    }
    crate::device::cuda::leave();
    outcome
}

/// Starts the threads that compute: as many as are given, as `RAYON_NUM_THREADS` says, or as the machine has cores. This one, on
/// which jobs run, is one of them: it computes its part of a step itself, instead of waking another and waiting for that.
/// (Not where it is the only one: threads that a job starts would wait for it while it waits for them.)
fn start_threads(given: Option<usize>) -> Result<(), String> {
    let named = || std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = given.or_else(named).filter(|&threads| threads > 0).unwrap_or_else(cores);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let pool = if threads > 1 { pool.use_current_thread() } else { pool };
    pool.build_global().map_err(|error| format!("cannot start {threads} threads: {error}"))
}

/// The bootstrap, and the standard input that it came by.
fn read_bootstrap() -> Result<(Bootstrap, File), String> {
    const BY_HAND: &str = "standard input is no bootstrap: `cryptgpu party` is started by the program, not by hand";
    let taken = own_process::take_standard_input().map_err(|error| format!("cannot take standard input: {error}"))?;
    let mut input = taken.ok_or(BY_HAND)?;
    let mut read = |len: usize| {
        let mut bytes = zeroize::Zeroizing::new(vec![0u8; len]);
        input.read_exact(&mut bytes).map(|()| bytes).map_err(|_| BY_HAND.to_owned())
    };
    let head = read(4)?;
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if len > MAX_BOOTSTRAP_BYTES {
        return Err(BY_HAND.into());
    }
    let bytes = read(len)?;
    let unreadable = |error: postcard::Error| format!("cannot read the bootstrap: {error}");
    // The version comes first, and another version's bootstrap may look different behind it.
    let (version, _) = postcard::take_from_bytes::<String>(&bytes).map_err(unreadable)?;
    let own = own_version();
    if version != own {
        return Err(format!(
            "the controller speaks `{version}`, this program `{own}`: build both from the same source"
        ));
    }
    Ok((postcard::from_bytes(&bytes).map_err(unreadable)?, input))
}

/// The link to the controller.
struct Control {
    outbox: Outbox,
    /// Commands with their frames, and where the bodies of those begin.
    commands: Receiver<(Command, Vec<u8>, usize)>,
    /// The links to the other parties, once they are up, for the signs of life.
    links: Arc<OnceLock<Arc<dyn Network>>>,
}

/// What the link to the controller runs over.
enum Wire {
    /// A connection to this address.
    Connection(SocketAddr),
    /// This process's standard input and output.
    Standard(File, File),
}

/// Opens the link to the controller; commands come by the channel, with their frames.
fn connect(runtime: &Runtime, bootstrap: &Bootstrap, wire: Wire) -> Result<Control, String> {
    let client = bootstrap.identity.client_config(bootstrap.controller).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(client);
    let within = bootstrap.connect_within;
    match wire {
        Wire::Connection(address) => {
            let stream = runtime.block_on(async { tokio::time::timeout(within, dial(address, &connector)).await });
            let stream = stream
                .map_err(|_| format!("no answer from the controller at {address}"))?
                .map_err(|error| format!("cannot connect to the controller at {address}: {error}"))?;
            Ok(attach(runtime, bootstrap, stream, None))
        }
        Wire::Standard(input, output) => {
            let [input, output] = [input, output].map(tokio::fs::File::from_std);
            let stream = async { connector.connect(tls::server_name(), tokio::io::join(input, output)).await };
            let stream = runtime.block_on(async { tokio::time::timeout(within, stream).await });
            let stream = stream
                .map_err(|_| "the controller does not answer on standard input".to_owned())?
                .map_err(|error| format!("cannot speak to the controller over standard input: {error}"))?;
            Ok(attach(runtime, bootstrap, stream, Some(bootstrap.deadline.max(SILENCE))))
        }
    }
}

/// A controller that may be lost without a word is waited for at least so long.
const SILENCE: Duration = Duration::from_secs(15);

/// Connects to the controller, which may turn a party away unheard where a crowd is at its door.
async fn dial(address: SocketAddr, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    loop {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        match connector.connect(tls::server_name(), stream).await {
            Err(error) if tcp::is_unheard(&error) => tokio::time::sleep(tcp::PAUSE).await,
            ended => return ended,
        }
    }
}

/// Runs the link to the controller on tasks: what comes, the signs of life, and, after a `silence` of the controller
/// where one is named, the end of this process.
fn attach<S>(runtime: &Runtime, bootstrap: &Bootstrap, stream: S, silence: Option<Duration>) -> Control
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (sender, commands) = channel();
    let heard = Arc::new(Mutex::new(Instant::now()));
    let hears = heard.clone();
    let outbox = frame::attach(runtime.handle(), stream, move |arrived| {
        *hears.lock() = Instant::now();
        let frame = match arrived {
            Ok(Incoming::Frame(frame)) => frame,
            Ok(Incoming::Piece) => return,
            Err(_) => own_process::end(),
        };
        match frame::decode(&frame) {
            Ok((Command::Alive, _)) => {}
            // Nobody listens any more: the process is about to end.
            Ok((command, body)) => drop(sender.send((command, frame, body))),
            Err(error) => {
                eprintln!("cannot read a command of the controller: {error}");
                own_process::end();
            }
        }
    });
    let (alive, pause) = (outbox.clone(), heartbeat(bootstrap.deadline));
    let links: Arc<OnceLock<Arc<dyn Network>>> = Arc::default();
    let watched = links.clone();
    runtime.spawn(async move {
        loop {
            let state = watched.get().map(|network| Box::new(vital(network.as_ref())));
            tell(&alive, &Event::Alive { state });
            tokio::time::sleep(pause).await;
            if silence.is_some_and(|silence| heard.lock().elapsed() > silence) {
                eprintln!("the controller is lost: nothing was heard from it for {silence:?}");
                own_process::end();
            }
        }
    });
    Control { outbox, commands, links }
}

fn serve_commands(
    bootstrap: &Bootstrap,
    control: &Control,
    jobs: &Jobs,
    mut guard: Option<Guard>,
) -> Result<(), String> {
    let guarded = guard.is_some();
    let Control { outbox, commands, .. } = control;
    // Before anything waits for this party: what is missing is said at once.
    let device = bootstrap.device.resolve(bootstrap.turn as usize).map_err(|error| error.to_string())?;
    let mut door = Some(Door::open(bootstrap).map_err(|error| error.to_string())?);
    if let Some(address) = door.as_ref().and_then(|door| door.address(bootstrap)) {
        tell(outbox, &Event::Listening { address });
    }
    let mut context = None;
    while let Ok((command, frame, body)) = commands.recv() {
        match command {
            Command::LinkUp { addresses } => {
                let door = door.take().ok_or("the controller asked to link up twice")?;
                // An owner's party knows by itself where the others are.
                let (gate, addresses) = match guard.take() {
                    Some(Guard { gate, addresses }) => (Some(gate), addresses),
                    None => (None, addresses),
                };
                let linked = link_up(bootstrap, device.clone(), door, addresses, control);
                context.insert(linked.map_err(|error| error.to_string())?).guard(gate);
            }
            Command::Run { run, job } => {
                let context = context.as_mut().ok_or("the controller sent a job before linking up")?;
                execute(context, outbox, jobs, run, &job, &frame[body..]);
            }
            Command::Free { ids } => {
                let context = context.as_mut().ok_or("the controller let go of something before linking up")?;
                context.free(&ids);
            }
            // What is not kept, or wrong with it, is said when it is looked for.
            Command::Keep { library } => {
                if guarded && !context.as_mut().is_some_and(|context| context.keeps_code((frame.len() - body) as u64)) {
                    continue;
                }
                if let Err(error) = library.keep(&frame[body..]) {
                    eprintln!("cannot keep what the caller has sent: {error}");
                }
            }
            // Heard where it came.
            Command::Alive => {}
            Command::Stop => break,
        }
    }
    Ok(())
}

/// Where the other parties find this one.
enum Door {
    Tls(tcp::Listener),
    Plaintext(tcp::Listener),
    /// By the session number.
    Shared,
}

impl Door {
    fn open(bootstrap: &Bootstrap) -> Result<Self, NetError> {
        let listen = || tcp::listen(bootstrap.id, bootstrap.listen);
        Ok(match bootstrap.links {
            LinkType::Tls => Door::Tls(listen()?),
            LinkType::InsecurePlaintext => Door::Plaintext(listen()?),
            LinkType::Shared => Door::Shared,
        })
    }

    /// The address for the others; where they need none, the one that was named.
    fn address(&self, bootstrap: &Bootstrap) -> Option<SocketAddr> {
        match self {
            Door::Tls(listener) | Door::Plaintext(listener) => listener.local_addr().ok(),
            Door::Shared => Some(bootstrap.listen),
        }
    }
}

/// Links up with the other parties and agrees on keys.
fn link_up(
    bootstrap: &Bootstrap,
    device: DeviceInUse,
    door: Door,
    addresses: [String; 3],
    control: &Control,
) -> Result<PartyContext, NetError> {
    let &Bootstrap { id, session, connect_within, deadline, resume_within, link, .. } = bootstrap;
    let options = Options { deadline, resume_within, link, ..Options::default() };
    let tcp = |listener, security| {
        let config = Config { id, listener, addresses, security, session, connect_within, options: options.clone() };
        TcpNetwork::connect(config).map(|network| Arc::new(network) as Arc<dyn Network>)
    };
    let tls = || Security::Tls { identity: bootstrap.identity.clone(), peers: bootstrap.peers };
    let network = match door {
        Door::Tls(listener) => tcp(listener, tls())?,
        Door::Plaintext(listener) => tcp(listener, Security::InsecurePlaintext)?,
        Door::Shared => {
            let device = device.device;
            let config = shared::Config { id, session, device, connect_within, options: options.clone() };
            Arc::new(SharedNetwork::connect(config)?)
        }
    };
    // They are linked up once.
    let _ = control.links.set(network.clone());
    let links = Links { network, in_memory: false };
    prepare(links, bootstrap.randomness, bootstrap.settings, device, &control.outbox)
}
