//! The clock of everything that is recorded about a run.

/// Nanoseconds on the host's monotonic clock (`CLOCK_MONOTONIC`): since some moment before the program started, the
/// same for all processes of one host. Clocks of different hosts have nothing to do with each other.
pub fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec, which is ours. It cannot fail for this clock, which POSIX systems have;
    // if it did, the time would stay zero.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
