//! The clock of everything that is recorded about a run.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A longer time than anything waits: whoever names a longer one, such as [`Duration::MAX`], sets no limit.
const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Nanoseconds on the host's monotonic clock (`CLOCK_MONOTONIC`): since some moment before the program started, the
/// same for all processes of one host. Clocks of different hosts have nothing to do with each other.
pub fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec, which is ours. It cannot fail for this clock, which POSIX systems have;
    // if it did, the time would stay zero.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Tells clocks apart: equal for two processes exactly if their [`monotonic_nanos`] can be compared, that is, if they run
/// on one host (`boot_id` of its kernel). 0 where the system does not tell.
pub fn clock_id() -> u64 {
    static ID: OnceLock<u64> = OnceLock::new();
    *ID.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // A random UUID: half of its digits tell as much as is needed.
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        u64::from_str_radix(&digits, 16).unwrap_or(0)
    })
}

/// The moment `time` after `start`, of which no `time` is too long: more than a century counts as one.
pub(crate) fn after(start: Instant, time: Duration) -> Instant {
    start + time.min(CENTURY)
}
