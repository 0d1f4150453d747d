//! What a run leaves behind: processes, open files and sockets of this process, files on the disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long processes have to end, and sockets to close.
const WITHIN: Duration = Duration::from_secs(3);

/// Whether a process exists and is not only waiting to be reaped.
fn exists(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// The processes that this one started, reaped or not.
pub(super) fn children() -> BTreeSet<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks
        .flat_map(|task| of(task).split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// Open files and sockets of this process.
pub(super) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1))
}

/// Open files and sockets of another process; 0 where they may not be looked at.
pub(super) fn descriptors_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// A process that has more than `most` open files and sockets, and goes on having them.
pub(super) fn holding(pids: &[u32], most: usize) -> Option<String> {
    let many = |pid: &&u32| descriptors_of(**pid) > most;
    match soon(|| !pids.iter().any(|pid| many(&pid))) {
        true => None,
        false => pids.iter().find(many).map(|pid| {
            format!("process {pid} has {} open files and sockets where there were {most} at most", descriptors_of(*pid))
        }),
    }
}

/// Files below a folder.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

/// Waits until what is going to close has closed.
pub(super) fn settled() -> usize {
    let mut last = descriptors();
    soon(|| {
        let now = descriptors();
        std::thread::sleep(Duration::from_millis(50));
        std::mem::replace(&mut last, now) == now
    });
    last
}

/// Waits until `holds`, for a while; whether it does.
fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + WITHIN;
    while !holds() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// What is left of processes that ought to be gone, and of descriptors beyond `most`; nothing if all is well.
pub(super) fn left(gone: &[u32], alive: &[u32], most: usize) -> Option<String> {
    if !soon(|| !gone.iter().any(|&pid| exists(pid))) {
        return Some(format!(
            "processes that are still there: {:?}",
            gone.iter().filter(|&&pid| exists(pid)).collect::<Vec<_>>()
        ));
    }
    let known = |pid: &u32| alive.contains(pid);
    if !soon(|| children().iter().all(known)) {
        return Some(format!(
            "processes that nobody knows of: {:?}",
            children().iter().filter(|pid| !known(pid)).collect::<Vec<_>>()
        ));
    }
    if !soon(|| descriptors() <= most) {
        return Some(format!("{} open files and sockets where there were {most} at the beginning", descriptors()));
    }
    None
}
