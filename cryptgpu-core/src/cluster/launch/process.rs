//! A party's process: spawned by a thread that lives as long as this program, what it prints
//! passed on, killed and reaped when its owner lets go of it.

use super::logs::Logs;
use super::program::Program;
use super::streams::Printed;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::Bootstrap;
use crate::net::PartyId;
use parking_lot::Mutex;
use std::io::{self, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A party's process.
#[derive(Debug)]
pub(in crate::cluster) struct PartyProcess {
    id: PartyId,
    child: Child,
    /// Kept open: its end tells the party that its controller is gone. None where the control link runs over it.
    stdin: Option<ChildStdin>,
    printed: Printed,
    /// The host that the party itself runs on, and its number there, where this process only leads to it.
    elsewhere: Option<(String, u32)>,
}

impl PartyProcess {
    /// Starts the program and gives it its bootstrap.
    pub(in crate::cluster) fn start(
        program: &Program,
        bootstrap: &Bootstrap,
        logs: &Logs,
    ) -> Result<Self, ClusterError> {
        let (mut process, mut stdin, stdout) = PartyProcess::spawn(bootstrap.id, program, logs)?;
        let sent = process
            .printed
            .drain_output(bootstrap.id, stdout)
            .and_then(|()| stdin.write_all(&bootstrap.encoded()?))
            .and_then(|()| stdin.flush());
        process.stdin = Some(stdin);
        match sent {
            Ok(()) => Ok(process),
            Err(detail) => {
                let status = process.wait_exit(Duration::from_millis(500));
                let ended = status.map(|status| format!(" ({})", describe(status))).unwrap_or_default();
                Err(process.startup_error(format!("{detail}{ended}")))
            }
        }
    }

    /// Starts the program, whose standard error is passed on; its standard input and output are the caller's.
    pub(in crate::cluster) fn spawn(
        id: PartyId,
        program: &Program,
        logs: &Logs,
    ) -> Result<(Self, ChildStdin, ChildStdout), ClusterError> {
        let fail = |detail: String| ClusterError::Startup { party: id, detail, log: vec![] };
        let cannot = |error: io::Error| fail(format!("cannot run {}: {error}", program.path.display()));
        let mut child = spawn(program).map_err(cannot)?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let printed = Printed::kept_in(logs.clone());
        let process = PartyProcess { id, child, stdin: None, printed, elsewhere: None };
        let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
            return Err(fail("it has no standard input, output or error".into()));
        };
        process.printed.drain_error(id, stderr).map_err(|error| process.startup_error(error.to_string()))?;
        Ok((process, stdin, stdout))
    }

    /// From now on this process leads to the one of that number at `host`, which prints to standard error alone.
    pub(in crate::cluster) fn runs_as(&mut self, host: &str, pid: u32) {
        self.elsewhere = Some((host.to_owned(), pid));
        self.printed.no_output();
    }

    /// From now on its standard output is its link to the controller.
    pub(in crate::cluster) fn speaks_by_output(&self) {
        self.printed.no_output();
    }

    /// The party's number, at the host that it runs on.
    pub(in crate::cluster) fn pid(&self) -> u32 {
        self.elsewhere.as_ref().map_or_else(|| self.child.id(), |(_, pid)| *pid)
    }

    /// How it ended, in words: by `status`, or by the end of the connection to its host.
    pub(in crate::cluster) fn described(&self, status: ExitStatus) -> String {
        match &self.elsewhere {
            // What SSH ends with when the connection is lost.
            Some((host, _)) if status.code() == Some(255) => format!("the connection to {host} ended, {status}"),
            Some((host, _)) => format!("on {host}, {}", describe(status)),
            None => describe(status),
        }
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

    /// How it ended, if it does within a moment; its log is complete then.
    pub(in crate::cluster) async fn ended_soon(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + Duration::from_secs(1);
        loop {
            let status = self.exited();
            // The log comes by another thread, which may be behind.
            if status.is_some() && self.printed.error_has_ended() || Instant::now() >= until {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
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
        let arguments = program.all_arguments();
        let mut command = Command::new(program.path);
        if std::env::var_os(EVCXR_RUNTIME).is_some() {
            // A party of a notebook must not take itself for the notebook's kernel, which also asks for backtraces:
            // they would bury the message of a panic in a cell's function.
            command.env_remove(EVCXR_RUNTIME).env_remove("RUST_BACKTRACE");
        }
        let child = command
            .args(arguments)
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
