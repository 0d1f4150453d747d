//! What a party's process keeps from others of the same account, and from the functions that run in it.

#![allow(clippy::unwrap_used)]

use crate::support::local;
use cryptgpu_core::cluster::Result;
use cryptgpu_core::device::cpu::conv::{ConvTerm, conv2d_sum};
use cryptgpu_core::device::{ConvGeometry, PoolGeometry};
use cryptgpu_core::mpc::Party;
use cryptgpu_core::net::LinkType;
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
        Ok(vec![1u8; megabytes << 20].iter().step_by(4096).copied().fold(0, u8::wrapping_add))
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

#[test]
fn what_a_party_says_cannot_address_the_callers_terminal() {
    fn shout(_: &mut Party, (): ()) -> Result<()> {
        eprintln!("\x1b[2Jcleared");
        Err("no\x1b]0;title\x07".into())
    }
    let error = local().start().unwrap().run(shout, ()).unwrap_err().to_string();
    assert!(!error.contains(['\x1b', '\x07']), "{error:?}");
    assert!(error.contains("no␛]0;title␇") && error.contains("␛[2Jcleared"), "{error}");
}

/// Not a test of its own: a caller whose parties print without end.
#[test]
fn caller_of_a_flood() {
    fn flood(_: &mut Party, (): ()) -> Result<()> {
        let line = "x".repeat(100_000);
        for _ in 0..100 {
            println!("{line}");
        }
        Ok(())
    }
    fn quiet(_: &mut Party, (): ()) -> Result<()> {
        println!("and now?");
        Ok(())
    }
    if std::env::var_os("CRYPTGPU_TEST_FLOOD").is_some() {
        let cluster = local().start().unwrap();
        cluster.run(flood, ()).unwrap();
        cluster.run(quiet, ()).unwrap();
    }
}

#[test]
fn what_a_party_prints_has_a_limit_in_each_run() {
    let caller = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::caller_of_a_flood", "--nocapture"])
        .env("CRYPTGPU_TEST_FLOOD", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&caller.stdout);
    assert!(text.len() < 3 * (5 << 20), "{} bytes", text.len());
    for party in 0..3 {
        assert_eq!(text.matches(&format!("[P{party}] (more than 4 MiB in one run")).count(), 1);
        assert!(text.contains(&format!("[P{party}] and now?")));
    }
}

/// Not a test of its own: a caller that chooses everything that is insecure.
#[test]
fn caller_of_insecure_choices() {
    fn record(p: &mut Party, (): ()) -> Result<()> {
        p.insecure_record(10);
        Ok(())
    }
    if std::env::var_os("CRYPTGPU_TEST_INSECURE").is_some() {
        let randomness = cryptgpu_core::prg::Randomness::InsecurePhilox;
        let cluster = local().links(LinkType::InsecurePlaintext).randomness(randomness).start().unwrap();
        cluster.run(record, ()).unwrap();
        local().links(LinkType::Shared).start().unwrap();
    }
}

#[test]
fn every_insecure_choice_is_warned_of() {
    let caller = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::caller_of_insecure_choices", "--nocapture"])
        .env("CRYPTGPU_TEST_INSECURE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&caller.stdout) + String::from_utf8_lossy(&caller.stderr);
    for choice in ["insecure plaintext links", "insecure shared links", "insecure recording", "insecure randomness"] {
        assert!(text.lines().any(|line| line.contains("warning") && line.contains(choice)), "{choice}: {text}");
    }
}

/// Pages that the system gives this process while 20 convolutions run, of which only the middle of the kernel sees the image.
fn pages_of_convolutions(_: &mut Party, (): ()) -> Result<u64> {
    let window = PoolGeometry::square(3, 1, 1);
    let geometry = ConvGeometry { batch: 1, in_channels: 256, input: [1, 1], out_channels: 256, window, groups: 1 };
    let (input, weight, mut output) = (vec![3_u64; 256], vec![5; 256 * 256 * 9], vec![0; 256]);
    let pages = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        stat.rsplit(')').next().and_then(|fields| fields.split_whitespace().nth(7)?.parse::<u64>().ok())
    };
    let mut before = None;
    for run in 0..25 {
        if run == 5 {
            before = pages();
        }
        conv2d_sum(&geometry, &[ConvTerm { input: &input, weight: &weight }], &mut output)?;
    }
    Ok(pages().unwrap_or(u64::MAX) - before.unwrap_or(0))
}

/// A convolution's part of the weights is in memory that is used again: fresh memory would be 128 pages each time.
#[test]
fn what_a_convolution_works_with_is_used_again() {
    let cluster = local().start().unwrap();
    let pages = cluster.run(pages_of_convolutions, ()).unwrap().outputs;
    assert!(pages.iter().all(|&pages| pages < 10 * 128), "{pages:?}");
}
