//! A party's process: spawned by a thread that lives as long as this program, what it prints
//! passed on, killed and reaped when its owner lets go of it.

use super::program::Program;
use super::streams::Printed;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::{Bootstrap, MAX_BOOTSTRAP_BYTES};
use crate::net::PartyId;
use parking_lot::Mutex;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A party's process.
#[derive(Debug)]
pub(in crate::cluster) struct PartyProcess {
    id: PartyId,
    child: Child,
    /// Kept open: its end tells the party that its controller is gone.
    _stdin: ChildStdin,
    printed: Printed,
}

impl PartyProcess {
    /// Starts the program and gives it its bootstrap.
    pub(in crate::cluster) fn start(program: &Program, bootstrap: &Bootstrap) -> Result<Self, ClusterError> {
        let id = bootstrap.id;
        let fail = |detail: String| ClusterError::Startup { party: id, detail, log: vec![] };
        let mut child =
            spawn(program).map_err(|error| fail(format!("cannot run {}: {error}", program.path.display())))?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = streams else {
            return Err(fail("it has no standard input, output or error".into()));
        };
        let printed = Printed::default();
        let drain = printed.drain(id, stdout, stderr);
        // A vector that grows leaves copies of the party's key behind.
        let room = Vec::with_capacity(MAX_BOOTSTRAP_BYTES);
        let bytes = postcard::to_extend(bootstrap, room).map(zeroize::Zeroizing::new);
        let sent = match (&drain, bytes) {
            (Err(error), _) => Err(error.to_string()),
            (_, Err(error)) => Err(error.to_string()),
            (_, Ok(bytes)) => send_bootstrap(&mut stdin, &bytes).map_err(|error| error.to_string()),
        };
        let mut process = PartyProcess { id, child, _stdin: stdin, printed };
        match sent {
            Ok(()) => Ok(process),
            Err(detail) => {
                let status = process.wait_exit(Duration::from_millis(500));
                let ended = status.map(|status| format!(" ({})", describe(status))).unwrap_or_default();
                Err(ClusterError::Startup { party: id, detail: format!("{detail}{ended}"), log: process.log() })
            }
        }
    }

    pub(in crate::cluster) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its last lines of log.
    pub(in crate::cluster) fn log(&self) -> Vec<String> {
        self.printed.log()
    }

    /// Waits until what it printed up to the end of `run` has been passed on, but no longer than `until`.
    pub(in crate::cluster) fn settle(&self, run: u64, until: Instant) {
        self.printed.settle(run, until);
    }

    /// How it ended, if it has.
    pub(in crate::cluster) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// How it ended, if it does within `time`.
    pub(in crate::cluster) fn wait_exit(&mut self, time: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + time;
        loop {
            let status = self.exited();
            if status.is_some() || Instant::now() >= until {
                return status;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The error that it did not come up.
    pub(in crate::cluster) fn startup_error(&self, detail: String) -> ClusterError {
        ClusterError::Startup { party: self.id, detail, log: self.log() }
    }
}

impl Drop for PartyProcess {
    fn drop(&mut self) {
        // Both fail only if it is gone and reaped already. A kill also ends a stopped process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send_bootstrap(stdin: &mut ChildStdin, bytes: &[u8]) -> io::Result<()> {
    stdin.write_all(&(bytes.len() as u32).to_le_bytes())?;
    stdin.write_all(bytes)?;
    stdin.flush()
}

/// `exit status: 1` or `killed by signal 9`.
pub(in crate::cluster) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status.signal() {
        Some(signal) => format!("killed by signal {signal}"),
        None => status.to_string(),
    }
}

type Order = (Program, Sender<io::Result<Child>>);

/// Starts the program on a thread that never ends before this program does. The kernel ends a
/// party when the *thread* that started it ends, so a caller's own thread will not do.
fn spawn(program: &Program) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let (answer, child) = channel();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel();
        // If the thread cannot start, the channel is closed and the send below says so.
        let _ = std::thread::Builder::new().name("spawner".into()).spawn(move || run_spawner(&inbox));
        Mutex::new(orders)
    });
    let gone = || io::Error::other("the thread that starts processes could not be started");
    let orders = spawner.lock().clone();
    orders.send((program.clone(), answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// Set in the process of a notebook's kernel.
const EVCXR_RUNTIME: &str = "EVCXR_IS_RUNTIME";

fn run_spawner(inbox: &Receiver<Order>) {
    use std::os::unix::process::CommandExt;
    while let Ok((program, answer)) = inbox.recv() {
        let mut command = Command::new(program.path);
        if std::env::var_os(EVCXR_RUNTIME).is_some() {
            // A party of a notebook must not take itself for the notebook's kernel, which also asks for backtraces:
            // they would bury the message of a panic in a cell's function.
            command.env_remove(EVCXR_RUNTIME).env_remove("RUST_BACKTRACE");
        }
        let child = command
            .args(program.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the controller, which ends its parties itself.
            .process_group(0)
            .spawn();
        // Whoever asked and went away drops the child's pipes, which ends it.
        let _ = answer.send(child);
    }
}
