//! A short campaign of faults (`cryptgpu soak`): each run ends right or with an error in time, and leaves nothing behind.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::experiment::soak::{FaultRecord, summaries};
use cryptgpu_core::ring::Ring;
use std::process::Command;

#[test]
fn faults_end_right_or_with_an_error_and_leave_nothing() {
    campaign(Ring::Z64);
}

#[test]
fn faults_end_right_or_with_an_error_in_the_ring_of_32_bits() {
    campaign(Ring::Z32);
}

fn campaign(ring: Ring) {
    let bits = ring.bits().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_cryptgpu"))
        .args(["soak", "--json", "--faults", "36", "--minutes", "10", "--deadline-ms", "1500", "--seed", "3"])
        .args(["--ring", &bits])
        .output()
        .unwrap();
    let (lines, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{lines}\n{said}");
    let records: Vec<FaultRecord> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.iter().all(|record| record.ring == ring));
    let all = summaries(&records);
    let done: u64 = all.values().map(|of| of.done).sum();
    assert!(
        records.len() == 36 && done >= 15 && all.len() >= 10,
        "{done} faults of {} kinds in {} runs",
        all.len(),
        records.len()
    );
    assert!(all.values().any(|of| of.errors > 0) && all.values().any(|of| of.right > 0), "{all:?}");
    assert!(all.values().all(|of| of.violations == 0), "{lines}");
}
