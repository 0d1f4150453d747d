//! What a party's process keeps from others of the same account, and from the functions that run in it.

#![allow(clippy::unwrap_used)]

use crate::support::local;
use cryptgpu_core::cluster::Result;
use cryptgpu_core::mpc::Party;
use std::time::{Duration, Instant};

#[test]
fn the_memory_of_a_party_can_neither_be_read_nor_dumped() {
    fn dumpable(_: &mut Party, (): ()) -> Result<i32> {
        // SAFETY: prctl with PR_GET_DUMPABLE takes no other arguments.
        Ok(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) })
    }
    let cluster = local().start().unwrap();
    assert_eq!(cluster.run(dumpable, ()).unwrap().output().unwrap(), 0);
    for pid in cluster.pids() {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
        // The administrator may read everything; others of this account may not.
        // SAFETY: geteuid only answers.
        if unsafe { libc::geteuid() } != 0 {
            assert!(std::fs::read(format!("/proc/{pid}/environ")).is_err());
        }
    }
}

#[test]
fn the_peak_of_memory_is_that_of_the_run() {
    fn fill(_: &mut Party, megabytes: usize) -> Result<u8> {
        Ok(vec![1u8; megabytes << 20].iter().copied().fold(0, u8::wrapping_add))
    }
    let cluster = local().start().unwrap();
    let peak = |megabytes: usize| cluster.run(fill, megabytes).unwrap().usage[0].peak_rss_bytes;
    let (large, small) = (peak(400), peak(1));
    assert!(small + (200 << 20) < large, "{small} {large}");
}

#[test]
fn standard_input_is_empty_for_functions() {
    fn read(_: &mut Party, (): ()) -> Result<usize> {
        let mut line = String::new();
        Ok(std::io::stdin().read_line(&mut line)?)
    }
    let start = Instant::now();
    let cluster = local().start().unwrap();
    assert_eq!(cluster.run(read, ()).unwrap().output().unwrap(), 0);
    assert!(start.elapsed() < Duration::from_secs(10));
}
