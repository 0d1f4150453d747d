//! How much was executed.

use std::collections::BTreeMap;
use std::io::Write;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What was executed of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KernelStatistics {
    /// Executions.
    pub executions: u64,
    /// Blocks of all executions.
    pub blocks: u64,
    /// Threads of all executions.
    pub threads: u64,
    /// Instructions that all threads executed together.
    pub instructions: u64,
}

/// What was executed in this process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// Statistics of each kernel.
    pub kernels: BTreeMap<String, KernelStatistics>,
    /// Executions of all kernels.
    pub executions: u64,
    /// Instructions of all kernels.
    pub instructions: u64,
    /// Copies and fills.
    pub copies: u64,
    /// Calls of each function of the driver, by its name.
    pub calls: BTreeMap<String, u64>,
    /// Reports so far.
    pub reports: u64,
}

static STATISTICS: Mutex<Option<Statistics>> = Mutex::new(None);

/// Changes the statistics.
pub fn note(change: impl FnOnce(&mut Statistics)) {
    change(STATISTICS.lock().get_or_insert_default());
}

/// Counts a call of a function of the driver.
pub fn called(name: &str) {
    note(|all| match all.calls.get_mut(name) {
        Some(calls) => *calls += 1,
        None => drop(all.calls.insert(name.to_owned(), 1)),
    });
}

/// The statistics so far.
pub fn current() -> Statistics {
    STATISTICS.lock().clone().unwrap_or_default()
}

/// Appends a line of JSON to the file that the settings name.
pub fn append() {
    let Some(path) = &crate::settings().statistics else { return };
    let Ok(mut line) = serde_json::to_string(&current()) else { return };
    line.push('\n');
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    // One write, so that lines of several processes do not mix.
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("cryptgpu-emulator: the statistics could not be appended to {path}: {error}");
    }
}
