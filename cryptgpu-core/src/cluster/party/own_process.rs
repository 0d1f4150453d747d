//! What a party's process does about itself: it shows its memory to nobody, leaves its standard input to no function,
//! ends with its controller, and gives large memory back. It holds keys and shares from its first message on, so
//! [`hide`] comes first.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::OnceLock;

/// Where the system is asked to count the peak of memory anew: opened before [`hide`], after which a process may not
/// open its own.
static CLEAR_REFS: OnceLock<Option<File>> = OnceLock::new();

fn clear_refs() -> Option<&'static File> {
    CLEAR_REFS.get_or_init(|| File::options().write(true).open("/proc/self/clear_refs").ok()).as_ref()
}

/// Lets no other process of this account look into this one (`ptrace`, `/proc/PID/mem`), and leaves no core dump when it
/// crashes: both would hold its keys and shares.
pub(in crate::cluster) fn hide() -> Result<(), String> {
    clear_refs();
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: setrlimit reads one rlimit, which is ours; prctl with PR_SET_DUMPABLE takes a number.
    let failed = unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none) != 0 || libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) != 0
    };
    match failed {
        true => Err(format!("cannot hide this process's memory from others: {}", io::Error::last_os_error())),
        false => Ok(()),
    }
}

/// Lets the system count the peak of resident memory from now on, where it can.
pub(super) fn reset_peak_rss() {
    // Without it the peak is the whole process's, which is still a bound.
    let _ = clear_refs().map(|mut file| file.write_all(b"5"));
}

/// Resident memory in bytes, 0 where the system does not tell.
pub(super) fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: sysconf takes a number and touches no memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page).unwrap_or(0)
}

/// `VmHWM` in bytes, 0 where the system does not tell.
pub(super) fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Lets this process have as many open files as it may: each library of the caller stays open (`wire/object`), and a
/// notebook makes one of each cell.
pub(super) fn allow_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to an rlimit that is ours. Without success the limit stays what it was.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Takes standard input, on which the bootstrap comes and whose end means that the controller is gone; from now on it is
/// empty for everyone else, so that a function that reads it goes on. Nothing if it is a terminal.
pub(super) fn take_standard_input() -> io::Result<Option<File>> {
    let input = io::stdin();
    if input.is_terminal() {
        return Ok(None);
    }
    let empty = File::open("/dev/null")?;
    // SAFETY: both calls take numbers of descriptors that are open here; the new one is owned by the file made of it.
    unsafe {
        match libc::fcntl(input.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) {
            taken if taken >= 0 && libc::dup2(empty.as_raw_fd(), input.as_raw_fd()) >= 0 => {
                Ok(Some(File::from_raw_fd(taken)))
            }
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Takes standard output, over which a party speaks to its controller; what is printed from now on goes to standard error.
pub(super) fn take_standard_output() -> io::Result<File> {
    let (output, error) = (io::stdout(), io::stderr());
    // SAFETY: both calls take numbers of descriptors that are open here; the new one is owned by the file made of it.
    unsafe {
        match libc::fcntl(output.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) {
            taken if taken >= 0 && libc::dup2(error.as_raw_fd(), output.as_raw_fd()) >= 0 => {
                Ok(File::from_raw_fd(taken))
            }
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Ends this process when the one that started it ends (by the signal that Linux sends when the thread that started a
/// process ends).
pub(super) fn die_with_parent() {
    // SAFETY: prctl with PR_SET_PDEATHSIG takes a signal number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Ends this process when its controller is gone, whatever way that went: with its parent, and by the end of standard
/// input, which also works where the parent is not the controller itself.
pub(super) fn die_with(controller_pid: u32, mut standard_input: File) -> Result<(), String> {
    die_with_parent();
    if std::os::unix::process::parent_id() != controller_pid {
        return Err("the controller was gone before this party came up".into());
    }
    let watcher = std::thread::Builder::new().name("watcher".into()).spawn(move || {
        let mut byte = [0u8; 1];
        // Nothing is ever sent here: whatever this returns, the controller is gone.
        let _ = standard_input.read(&mut byte);
        end();
    });
    watcher.map(|_| ()).map_err(|error| format!("cannot start the watcher: {error}"))
}

/// Makes writing to a pipe or connection whose reader is gone an error, as it is in programs that Rust starts, and not the
/// end of this process.
pub(in crate::cluster) fn survive_closed_pipes() {
    // SAFETY: to ignore a signal takes no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Ends this process now, whatever its other threads are doing.
pub(super) fn end() -> ! {
    // SAFETY: _exit ends the process; it runs no handlers that other threads might hold up.
    unsafe { libc::_exit(0) }
}

/// Tells the allocator to take large buffers from the system one by one, and to give them back: those of tensors and
/// messages are kept elsewhere (`device::spare`), and what the allocator keeps besides could not be stated before a run.
pub(super) fn return_large_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes settings of the allocator, under its lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 32 << 20);
    }
}
