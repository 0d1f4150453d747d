//! The faults: what each is, where it can be done, and how it is done to processes, to what they write, and to messages.

use super::dice::Dice;
use crate::net::{Interceptor, Message, PartyId, Verdict};
use parking_lot::Mutex;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the parties of a run are, and with it how faults come to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Three processes, with TLS between them.
    Processes,
    /// Three processes with a stranger on every way between them, through whom their connections go.
    Links,
    /// Three threads, with an [`Interceptor`] between them.
    Threads,
}

/// What is done to a party or to what it sends. A message of processes is a TLS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A process is killed.
    Kill,
    /// A process is stopped and does not go on.
    Stop,
    /// A process is stopped for a moment.
    Pause,
    /// A process is stopped and goes on again and again, so that it reads slowly.
    SlowReader,
    /// A process is stopped while much is sent to it, until every pipe and socket to it is full.
    FullPipe,
    /// The disk that checkpoints go to has no room for them.
    FullDisk,
    /// A message is lost.
    Lost,
    /// A message arrives twice.
    Twice,
    /// A message arrives late.
    Late,
    /// A message arrives behind the next one.
    Overtaken,
    /// A bit of a message is another one.
    Changed,
    /// A message arrives without its last word; of a record half arrives, and the connection ends.
    Shortened,
    /// Nothing that a party sends to another arrives any more; of processes the connection is ended, in order or by a reset.
    Cut,
    /// All that comes on a connection comes slowly, a few KiB at a time.
    Slow,
    /// A connection is ended, and none is let through for as long as the work goes on.
    Refused,
    /// A connection is ended, and the next ones lead to another party.
    Misled,
    /// Nothing passes any more on a connection, and it does not end.
    Silent,
    /// Somebody connects to a party and says what another one has said.
    Replayed,
    /// Somebody connects to a party and says anything.
    Knocked,
}

/// The faults of processes; a stop takes a whole deadline, so there are fewer of them.
const OF_PROCESSES: &[Fault] = &[
    Fault::Kill,
    Fault::Kill,
    Fault::Kill,
    Fault::Pause,
    Fault::Pause,
    Fault::SlowReader,
    Fault::FullPipe,
    Fault::FullDisk,
    Fault::Stop,
];

/// The faults of messages; what is lost is noticed at the next message, or else takes a whole deadline.
const OF_MESSAGES: &[Fault] = &[
    Fault::Lost,
    Fault::Twice,
    Fault::Late,
    Fault::Late,
    Fault::Overtaken,
    Fault::Changed,
    Fault::Changed,
    Fault::Shortened,
    Fault::Cut,
];

/// The faults of connections and what passes on them; a silence takes seconds, so there are fewer of them.
const OF_LINKS: &[Fault] = &[
    Fault::Cut,
    Fault::Cut,
    Fault::Cut,
    Fault::Shortened,
    Fault::Shortened,
    Fault::Late,
    Fault::Slow,
    Fault::Lost,
    Fault::Twice,
    Fault::Overtaken,
    Fault::Changed,
    Fault::Changed,
    Fault::Replayed,
    Fault::Knocked,
    Fault::Misled,
    Fault::Refused,
    Fault::Silent,
];

impl Fault {
    pub(super) fn random(place: Place, dice: &mut Dice) -> Self {
        dice.of(match place {
            Place::Processes => OF_PROCESSES,
            Place::Links => OF_LINKS,
            Place::Threads => OF_MESSAGES,
        })
    }

    /// Whether a run must come to its right end although this was done to it: a link goes on where it was cut, and strangers
    /// are turned away.
    pub fn must_end_right(self, place: Place) -> bool {
        place == Place::Links && matches!(self, Fault::Cut | Fault::Shortened | Fault::Replayed | Fault::Knocked)
    }

    /// Whether later runs of the same parties meet it too, where it was done so late that its own run did not.
    pub(super) fn lasts(self, place: Place) -> bool {
        use Fault::{Changed, Cut, Kill, Lost, Misled, Overtaken, Refused, Silent, Stop, Twice};
        match place {
            Place::Processes => matches!(self, Kill | Stop),
            Place::Links => matches!(self, Lost | Twice | Overtaken | Changed | Refused | Misled | Silent),
            Place::Threads => matches!(self, Lost | Twice | Overtaken | Cut),
        }
    }
}

/// A fault that waits for a message.
#[derive(Debug)]
struct Trap {
    fault: Fault,
    from: PartyId,
    to: PartyId,
    /// How many messages still pass.
    passes: u64,
    sprung: bool,
}

/// The trap of a cluster of threads: set before a run, taken after it.
#[derive(Clone, Debug, Default)]
pub(super) struct Traps(Arc<Mutex<Option<Trap>>>);

impl Traps {
    /// What the cluster's messages pass.
    pub(super) fn interceptor(&self) -> Interceptor {
        let set = self.0.clone();
        Interceptor::new(move |message| match set.lock().as_mut() {
            Some(trap) if trap.from == message.from && trap.to == message.to => trap.judge(message),
            _ => Verdict::Pass,
        })
    }

    pub(super) fn set(&self, fault: Fault, from: PartyId, to: PartyId, passes: u64) {
        *self.0.lock() = Some(Trap { fault, from, to, passes, sprung: false });
    }

    /// Takes it away; whether it has sprung.
    pub(super) fn take(&self) -> bool {
        self.0.lock().take().is_some_and(|trap| trap.sprung)
    }
}

impl Trap {
    fn judge(&mut self, message: &mut Message) -> Verdict {
        if self.passes > 0 {
            self.passes -= 1;
            return Verdict::Pass;
        }
        if self.sprung {
            return if self.fault == Fault::Cut { Verdict::Drop } else { Verdict::Pass };
        }
        // A message without words has none to change.
        if message.words.is_empty() && matches!(self.fault, Fault::Changed | Fault::Shortened) {
            return Verdict::Pass;
        }
        self.sprung = true;
        let middle = message.words.len() / 2;
        match self.fault {
            Fault::Lost | Fault::Cut => return Verdict::Drop,
            Fault::Twice => return Verdict::Duplicate,
            Fault::Late => return Verdict::Delay(Duration::from_millis(100)),
            Fault::Overtaken => return Verdict::Overtaken,
            Fault::Changed => message.words[middle] ^= 1 << (message.sequence % 64),
            _ => drop(message.words.pop()),
        }
        Verdict::Pass
    }
}

/// Does a fault to a process, and goes on with it until the run has ended.
pub(super) fn to_process(fault: Fault, pid: u32, ended: &dyn Fn() -> bool) {
    let pause = |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until && !ended() {
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    match fault {
        Fault::Kill => signal(pid, libc::SIGKILL),
        Fault::Stop => signal(pid, libc::SIGSTOP),
        Fault::SlowReader => {
            while !ended() {
                signal(pid, libc::SIGSTOP);
                pause(Duration::from_millis(8));
                signal(pid, libc::SIGCONT);
                pause(Duration::from_millis(8));
            }
        }
        _ => {
            signal(pid, libc::SIGSTOP);
            pause(Duration::from_millis(200));
            signal(pid, libc::SIGCONT);
        }
    }
}

/// Lets a stopped process go on.
pub(super) fn go_on(pid: u32) {
    signal(pid, libc::SIGCONT);
}

/// Sends a signal to a process that this one started and has not reaped, or which is gone.
fn signal(pid: u32, signal: i32) {
    // SAFETY: kill takes numbers and touches no memory.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// A disk that is soon full: a file system in memory with room for less than one checkpoint. Where this account may mount
/// none, processes get a limit on the size of their files instead.
#[derive(Debug)]
pub(super) enum SmallDisk {
    Mounted(PathBuf),
    Limits(PathBuf),
}

impl SmallDisk {
    pub(super) fn new(folder: PathBuf) -> Self {
        match mount(&folder) {
            true => SmallDisk::Mounted(folder),
            false => SmallDisk::Limits(folder),
        }
    }

    /// Where to write.
    pub(super) fn folder(&self) -> &Path {
        let (SmallDisk::Mounted(folder) | SmallDisk::Limits(folder)) = self;
        folder
    }

    /// Makes it full for these processes.
    pub(super) fn fill(&self, pids: &[u32]) {
        if let SmallDisk::Limits(_) = self {
            pids.iter().for_each(|&pid| limit_files(pid));
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let SmallDisk::Mounted(folder) = self
            && let Ok(folder) = CString::new(folder.as_os_str().as_encoded_bytes())
        {
            // SAFETY: the path is a string that lives across the call.
            unsafe { libc::umount2(folder.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

fn mount(folder: &Path) -> bool {
    let Ok(folder) = CString::new(folder.as_os_str().as_encoded_bytes()) else { return false };
    let (kind, room) = (c"tmpfs", c"size=64k");
    // SAFETY: all four strings live across the call.
    unsafe { libc::mount(kind.as_ptr(), folder.as_ptr(), kind.as_ptr(), libc::MS_NOSUID, room.as_ptr().cast()) == 0 }
}

/// Lets a process write no file beyond a few bytes.
fn limit_files(pid: u32) {
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit lives across the call, and no old one is asked for.
    unsafe { libc::prlimit(pid as libc::pid_t, libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut()) };
}
