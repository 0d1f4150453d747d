//! What a party's process does: reads who it is from its standard input, connects to its
//! controller, links up with the other parties, and runs jobs until it is told to end or its
//! controller is gone.

use super::code;
use super::error::{Failure, FailureKind};
use super::job::{JobError, PartyContext};
use super::jobs::Jobs;
use super::output;
use super::record::Record;
use super::wire::{self, Bootstrap, Command, Event, Outbox, Received, Usage};
use crate::device::DeviceInUse;
use crate::mpc::{Party, Settings};
use crate::net::tcp::{self, Config, Security};
use crate::net::{NetError, Network, Options, PartyId, Tag, TcpNetwork, tls};
use crate::prg::{Correlated, Key, Keys, Randomness};
use std::ffi::CStr;
use std::io::{IsTerminal, Read};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// A bootstrap is much smaller than this.
const MAX_BOOTSTRAP_BYTES: usize = 1 << 20;

/// What the library that cells link exports under this name is run by `cryptgpu party --runtime`.
pub const LIBRARY_ENTRY: &CStr = c"cryptgpu_party";

/// A program that [`serve_if_asked`] is started as a party with this argument alone.
pub(super) const SERVE_ARGUMENT: &str = "--cryptgpu-party";

static SERVES: AtomicBool = AtomicBool::new(false);

/// Whether this program can be its own parties.
pub(super) fn serves() -> bool {
    SERVES.load(Relaxed)
}

/// Makes this program its own parties, so that [`Cluster::run`](super::Cluster::run) can run its functions in them: to
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

/// Runs this process as a party with the code of `library`, which exports [`LIBRARY_ENTRY`]: the functions of a
/// notebook's cells need the very library that they were linked with. The answer is the exit code.
///
/// # Errors
/// When the library cannot be opened or is another one.
pub fn serve_from(library: &Path) -> Result<i32, String> {
    let address = code::symbol(library, LIBRARY_ENTRY)?;
    // SAFETY: what a library exports under this name is a function of this type.
    let entry = unsafe { std::mem::transmute::<usize, extern "C" fn() -> i32>(address) };
    Ok(entry())
}

/// Runs this process as a party that knows `jobs`, from bootstrap to end.
///
/// # Errors
/// What is wrong, for the log, when it cannot become a party.
pub fn serve(jobs: &Jobs) -> Result<(), String> {
    let bootstrap = read_bootstrap()?;
    if bootstrap.version != wire::VERSION {
        return Err(format!(
            "the controller speaks `{}`, this program `{}`: build both from the same source",
            bootstrap.version,
            wire::VERSION
        ));
    }
    die_with(bootstrap.controller_pid)?;
    keep_memory();
    if let Some(threads) = bootstrap.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|error| format!("cannot start {threads} threads: {error}"))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    let control = connect(&runtime, &bootstrap)?;
    let outcome = serve_commands(&bootstrap, &control, jobs);
    if let Err(detail) = &outcome {
        tell(&control.outbox, &Event::Unable { detail: detail.clone() });
        // The controller ends this process once it has read that, or when it is gone itself.
        while !matches!(control.commands.recv_timeout(bootstrap.deadline), Err(_) | Ok((Command::Stop, ..))) {}
    }
    runtime.shutdown_background();
    crate::device::cuda::leave();
    outcome
}

fn read_bootstrap() -> Result<Bootstrap, String> {
    const BY_HAND: &str = "standard input is no bootstrap: `cryptgpu party` is started by the program, not by hand";
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        return Err(BY_HAND.into());
    }
    let mut read = |len: usize| {
        let mut bytes = zeroize::Zeroizing::new(vec![0u8; len]);
        stdin.read_exact(&mut bytes).map(|()| bytes).map_err(|_| BY_HAND.to_owned())
    };
    let head = read(4)?;
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if len > MAX_BOOTSTRAP_BYTES {
        return Err(BY_HAND.into());
    }
    postcard::from_bytes(&read(len)?).map_err(|error| format!("cannot read the bootstrap: {error}"))
}

/// Ends this process when its controller is gone, whatever way that went: by the signal that
/// Linux sends when the thread that started a process ends, and by the end of standard input,
/// which also works where the parent is not the controller itself.
fn die_with(controller_pid: u32) -> Result<(), String> {
    // SAFETY: prctl with PR_SET_PDEATHSIG takes a signal number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if std::os::unix::process::parent_id() != controller_pid {
        return Err("the controller was gone before this party came up".into());
    }
    let watcher = std::thread::Builder::new().name("watcher".into()).spawn(|| {
        let mut byte = [0u8; 1];
        // Nothing is ever sent here: whatever this returns, the controller is gone.
        let _ = std::io::stdin().lock().read(&mut byte);
        end_process();
    });
    watcher.map(|_| ()).map_err(|error| format!("cannot start the watcher: {error}"))
}

/// Ends this process now, whatever its other threads are doing.
fn end_process() -> ! {
    // SAFETY: _exit ends the process; it runs no handlers that other threads might hold up.
    unsafe { libc::_exit(0) }
}

/// Tells the allocator to keep freed memory: a run takes and frees the same large buffers all
/// the time, and to get them back from the system costs more than to fill them.
fn keep_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes settings of the allocator, under its lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 256 << 20);
    }
}

/// The link to the controller.
struct Control {
    outbox: Outbox,
    /// Commands with their frames, and where the bodies of those begin.
    commands: Receiver<(Command, Vec<u8>, usize)>,
    /// The links to the other parties, once they are up, for the signs of life.
    links: Arc<OnceLock<Arc<TcpNetwork>>>,
}

/// Connects to the controller; commands come by the channel, with their frames.
fn connect(runtime: &Runtime, bootstrap: &Bootstrap) -> Result<Control, String> {
    let address = bootstrap.control_address;
    let client = bootstrap.identity.client_config(bootstrap.controller).map_err(|error| error.to_string())?;
    let stream = runtime.block_on(async {
        let connect = async {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            tokio_rustls::TlsConnector::from(client).connect(tls::server_name(), stream).await
        };
        tokio::time::timeout(bootstrap.connect_within, connect).await
    });
    let stream = stream
        .map_err(|_| format!("no answer from the controller at {address}"))?
        .map_err(|error| format!("cannot connect to the controller at {address}: {error}"))?;
    let (sender, commands) = channel();
    let outbox = wire::attach(runtime.handle(), stream, move |arrived| {
        let frame = match arrived {
            Ok(Received::Frame(frame)) => frame,
            Ok(Received::Piece) => return,
            Err(_) => end_process(),
        };
        match wire::decode(&frame) {
            // Nobody listens any more: the process is about to end.
            Ok((command, body)) => drop(sender.send((command, frame, body))),
            Err(error) => {
                eprintln!("cannot read a command of the controller: {error}");
                end_process();
            }
        }
    });
    let (alive, pause) = (outbox.clone(), heartbeat(bootstrap.deadline));
    let links: Arc<OnceLock<Arc<TcpNetwork>>> = Arc::default();
    let watched = links.clone();
    runtime.spawn(async move {
        loop {
            tell(
                &alive,
                &Event::Alive { state: watched.get().map(|network| Box::new(network.endpoint().wait_state())) },
            );
            tokio::time::sleep(pause).await;
        }
    });
    Ok(Control { outbox, commands, links })
}

/// How often a party says that it is alive.
pub(super) fn heartbeat(deadline: Duration) -> Duration {
    (deadline / 8).clamp(Duration::from_millis(20), Duration::from_secs(1))
}

pub(super) fn tell(outbox: &Outbox, event: &Event) {
    // These types always encode; if one did not, the controller would notice the silence.
    if let Err(error) = outbox.tell(event) {
        eprintln!("cannot encode {event:?}: {error}");
    }
}

fn serve_commands(bootstrap: &Bootstrap, control: &Control, jobs: &Jobs) -> Result<(), String> {
    let Control { outbox, commands, .. } = control;
    // Before anything waits for this party: what is missing is said at once.
    let device = bootstrap.device.resolve(bootstrap.id.index()).map_err(|error| error.to_string())?;
    let mut listener = Some(tcp::listen(bootstrap.id, bootstrap.listen).map_err(|error| error.to_string())?);
    if let Some(address) = listener.as_ref().and_then(|listener| listener.local_addr().ok()) {
        tell(outbox, &Event::Listening { address });
    }
    let mut context = None;
    while let Ok((command, frame, body)) = commands.recv() {
        match command {
            Command::LinkUp { addresses } => {
                let listener = listener.take().ok_or("the controller asked to link up twice")?;
                context = Some(
                    link_up(bootstrap, device.clone(), listener, addresses, control)
                        .map_err(|error| error.to_string())?,
                );
            }
            Command::Run { run, job } => {
                let context = context.as_mut().ok_or("the controller sent a job before linking up")?;
                execute(context, outbox, jobs, run, &job, &frame[body..]);
            }
            Command::Free { ids } => {
                let context = context.as_mut().ok_or("the controller let go of something before linking up")?;
                context.store().free(&ids);
            }
            Command::Stop => break,
        }
    }
    Ok(())
}

/// Links up with the other parties and agrees on keys.
fn link_up(
    bootstrap: &Bootstrap,
    device: DeviceInUse,
    listener: TcpListener,
    addresses: [std::net::SocketAddr; 3],
    control: &Control,
) -> Result<PartyContext, NetError> {
    let security = match bootstrap.insecure_plaintext {
        true => Security::InsecurePlaintext,
        false => Security::Tls { identity: bootstrap.identity.clone(), peers: bootstrap.peers },
    };
    let network = Arc::new(TcpNetwork::connect(Config {
        id: bootstrap.id,
        listener,
        addresses,
        security,
        session: bootstrap.session,
        connect_within: bootstrap.connect_within,
        options: Options { deadline: bootstrap.deadline, link: bootstrap.link, ..Options::default() },
    })?);
    // They are linked up once.
    let _ = control.links.set(network.clone());
    let links = Links { network, in_memory: false };
    prepare(links, bootstrap.randomness, bootstrap.settings, device, &control.outbox)
}

/// A party's links, and whether they lead to threads of the same process.
pub(super) struct Links {
    pub(super) network: Arc<dyn Network>,
    pub(super) in_memory: bool,
}

/// Agrees on keys and says that the party is ready.
pub(super) fn prepare(
    links: Links,
    randomness: Randomness,
    settings: Settings,
    device: DeviceInUse,
    outbox: &Outbox,
) -> Result<PartyContext, NetError> {
    let correlated = agree_on_keys(links.network.as_ref(), randomness)?;
    let settings = Settings { device: device.device, ..settings };
    let party = Party::new(links.network.clone(), correlated, settings);
    let report = outbox.clone();
    let report = move |run, fraction, text: &str, step: &str| {
        tell(&report, &Event::Progress { run, fraction, text: text.to_owned(), step: step.to_owned() });
    };
    tell(outbox, &Event::Ready { device });
    Ok(PartyContext::new(party, links.network, links.in_memory, Box::new(report)))
}

/// The kinds of the messages that carry a key: one of two parties, and that of all three.
const KEY: u16 = 0xffff;
const COMMON_KEY: u16 = 0xfffe;

/// Party i draws kᵢ and gives it to party i − 1, so that it holds kᵢ and kᵢ₊₁; party 0 draws the key
/// that all have and gives it to both. 80 bytes, 1 round.
fn agree_on_keys(network: &dyn Network, randomness: Randomness) -> Result<Correlated, NetError> {
    network.endpoint().set_step("key agreement");
    let from_os = || {
        Key::from_os().map_err(|error| NetError::Setup {
            party: network.id(),
            action: "draw a key".into(),
            detail: error.to_string(),
            hint: "The operating system has no randomness to give.".into(),
        })
    };
    let give = |to: PartyId, kind: u16, key: &Key| {
        let words: [u64; 2] = bytemuck::cast(*key.expose());
        network.send(to, Tag { position: 0, kind }, words.to_vec())
    };
    let take = |from: PartyId, kind: u16| {
        let words = network.recv(from, Tag { position: 0, kind }, 2).map(zeroize::Zeroizing::new)?;
        Ok::<_, NetError>(Key::from_bytes(bytemuck::cast([words[0], words[1]])))
    };
    let (with_prev, own, id) = (from_os()?, from_os()?, network.id());
    give(id.prev(), KEY, &with_prev)?;
    let first = PartyId::P0;
    let common = if id == first {
        let common = from_os()?;
        give(id.next(), COMMON_KEY, &common)?;
        give(id.prev(), COMMON_KEY, &common)?;
        Some(common)
    } else {
        None
    };
    let with_next = take(id.next(), KEY)?;
    let common = common.map_or_else(|| take(first, COMMON_KEY), Ok)?;
    network.endpoint().set_step("start");
    Ok(Correlated::new(randomness, &Keys { with_prev, with_next, common, own }))
}

/// Runs a job and posts how it ended.
pub(super) fn execute(context: &mut PartyContext, outbox: &Outbox, jobs: &Jobs, run: u64, job: &str, body: &[u8]) {
    context.begin(run);
    reset_peak_rss();
    // The timeline of this job begins here.
    drop(context.network().endpoint().take_timeline());
    let (before, start) = (context.network().endpoint().stats(), Instant::now());
    let attempted = catch_unwind(AssertUnwindSafe(|| attempt(context, jobs, run, job, body)));
    if !context.in_memory() {
        output::mark(run);
    }
    let failure = match attempted {
        Ok(Ok(frame)) => {
            let stats = context.network().endpoint().stats().since(&before);
            let (seconds, held_bytes) = (start.elapsed().as_secs_f64(), context.store().bytes());
            let usage = Box::new(Usage { stats, seconds, peak_rss_bytes: peak_rss(), held_bytes });
            let (timeline, claims) = (context.network().endpoint().take_timeline(), context.party().take_claims());
            let (state, record) =
                (Box::new(context.network().endpoint().wait_state()), Box::new(Record { timeline, claims }));
            tell(outbox, &Event::Used { run, usage, state, record });
            return outbox.post(frame);
        }
        Ok(Err(error)) => context.failure(&error),
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
            Failure {
                kind: FailureKind::Panic,
                step: context.party().current_step(),
                message: format!("panicked: {text}"),
                peer: None,
            }
        }
    };
    context.network().abort(&failure.message);
    tell(outbox, &Event::Failed { run, failure });
}

/// The frame with the job's output.
fn attempt(context: &mut PartyContext, jobs: &Jobs, run: u64, job: &str, body: &[u8]) -> Result<Vec<u8>, JobError> {
    let mut frame = wire::encode_header(&Event::Done { run }).map_err(|error| JobError::Other(error.to_string()))?;
    (jobs.find(job)?.run)(body, context, &mut frame)?;
    Ok(frame)
}

/// Lets the system count the peak of resident memory from now on, where it can.
fn reset_peak_rss() {
    // Without it the peak is that of the whole process, which is still a bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// `VmHWM` in bytes, 0 where the system does not tell.
fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
