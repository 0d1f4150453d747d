//! The three tasks of a Slurm job as parties: they find each other by the job's environment, run what the caller's tasks run, say
//! in time what is wrong, and all end with rank 0.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod daemons;

use cryptgpu_core::cluster::rendezvous::{Attended, attend};
use cryptgpu_core::cluster::{Cluster, ClusterError, Fault, Rendezvous, Result, SelfTest};
use cryptgpu_core::mpc::{Party, Rep};
use cryptgpu_core::net::PartyId;
use daemons::step;
use ndarray::array;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cryptgpu");

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A folder that all tasks share, and one for the test's own files.
fn folders() -> [tempfile::TempDir; 2] {
    [(); 2].map(|()| tempfile::tempdir().unwrap())
}

fn assert_empty(shared: &Path) {
    let left: Vec<_> = fs::read_dir(shared).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// As `srun --ntasks=3 cryptgpu run …`: the same command line for all.
#[test]
fn lenet_by_three_tasks_with_the_same_command_line() {
    let [shared, scratch] = folders();
    let line = format!(
        "{PROGRAM} run inference --networks lenet --iterations 1 --compare 1 --threads 1 --json --rendezvous {}",
        shared.path().display()
    );
    let ended =
        step(scratch.path(), &[words(&line), words(&line), words(&line)], &[]).wait(Duration::from_secs(60), |_| ());
    assert!(ended.success, "{ended:#?}");
    let records: Vec<&str> = ended.output.lines().collect();
    let [record] = records.as_slice() else { panic!("{ended:#?}") };
    assert!(record.starts_with("0: {") && record.contains("\"agreement\":1"), "{record}");
    assert!(record.contains("\"three tasks of a Slurm job, TLS\""), "{record}");
    assert_empty(shared.path());
}

/// Not a test of its own: a task of a program that is its own parties, whose rank 0 says what it found, and is then killed.
#[test]
fn task_of_a_program() {
    fn inner_product(p: &mut Party, (x, y): (Rep, Rep)) -> Result<(Rep, String)> {
        let rank = std::env::var("SLURM_PROCID")?;
        eprintln!("party {} is here", p.id());
        Ok((p.mul(&x, &y)?.sum(), rank))
    }
    fn endless(_: &mut Party, (): ()) -> Result<()> {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    let Some(folder) = std::env::var_os("CRYPTGPU_TEST_RENDEZVOUS") else { return };
    let place = Rendezvous::new(folder).within(Duration::from_secs(20));
    if attend(&place).unwrap() == Attended::Served {
        return;
    }
    let cluster = Cluster::rendezvous(place).deadline(Duration::from_secs(10)).threads(1).start().unwrap();
    let (x, y) = (cluster.share(&array![1.5, -2.0]).unwrap(), cluster.share(&array![4.0, 5.0]).unwrap());
    let run = cluster.run(inner_product, (&x, &y)).unwrap();
    assert_eq!(run.outputs[0].0.reveal().unwrap(), array![-4.0].into_dyn());
    assert_eq!(run.outputs.each_ref().map(|(_, rank)| rank.as_str()), ["0", "1", "2"], "each at its task");
    assert!(format!("{cluster:?}").contains("tasks that met in "), "{cluster:?}");

    // A party that dies is named, and the next run has new ones.
    let die =
        PartyId::ALL.map(|_| SelfTest { fault: Some((PartyId::P2, Fault::Exit)), ..SelfTest::quick()[0].clone() });
    let error = cluster.run_job(die).unwrap_err();
    assert!(matches!(error, ClusterError::Died { .. }), "{error}");
    assert_eq!(error.party(), Some(PartyId::P2), "{error}");
    cluster.run_job(SelfTest::quick()).unwrap();
    assert_eq!(cluster.generation(), 2);

    let pids: Vec<String> = cluster.pids().iter().map(u32::to_string).collect();
    println!("\nstarted {} {}", std::process::id(), pids.join(" "));
    let _ = cluster.run(endless, ());
}

#[test]
fn functions_run_at_three_tasks_which_end_with_rank_0_even_if_it_is_killed() {
    let [shared, scratch] = folders();
    let program = std::env::current_exe().unwrap();
    let line = words(&format!("{} --exact slurm::task_of_a_program --nocapture", program.display()));
    let folder = shared.path().to_str().unwrap();
    let started = parking_lot::Mutex::new(vec![]);
    let ended = step(scratch.path(), &[line.clone(), line.clone(), line], &[("CRYPTGPU_TEST_RENDEZVOUS", folder)])
        .wait(Duration::from_secs(60), |line| {
            if let Some(numbers) = line.strip_prefix("0: started ") {
                let pids: Vec<i32> = numbers.split(' ').map(|pid| pid.parse().unwrap()).collect();
                // SAFETY: kill takes the number of a process of this test.
                assert_eq!(unsafe { libc::kill(pids[0], libc::SIGKILL) }, 0);
                *started.lock() = pids;
            }
        });
    let pids = started.into_inner();
    assert_eq!(pids.len(), 4, "rank 0 and three parties: {ended:#?}");
    assert!(!ended.success, "rank 0 was killed");
    for rank in [1, 2] {
        assert!(ended.said(rank).contains(&format!("party {rank} is here")), "{ended:#?}");
        assert!(ended.output.contains(&format!("{rank}: test result: ok. 1 passed")), "{ended:#?}");
    }
    let until = Instant::now() + Duration::from_secs(5);
    let runs = |pid: &&i32| Path::new(&format!("/proc/{pid}")).exists();
    while let Some(pid) = pids.iter().find(runs) {
        assert!(Instant::now() < until, "process {pid} is left");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_empty(shared.path());
}

/// Each is said in time by all whom it concerns.
#[test]
fn what_keeps_tasks_apart_is_said_in_time() {
    let [shared, scratch] = folders();
    let (here, apart) = (shared.path().display(), scratch.path().display());
    let run = |folder: &dyn std::fmt::Display, more: &str| {
        words(&format!("{PROGRAM} run inference --networks lenet --iterations 1 --rendezvous {folder} {more}"))
    };
    let end = |tasks: &[Vec<String>]| step(scratch.path(), tasks, &[]).wait(Duration::from_secs(30), |_| ());

    let two = end(&[run(&here, ""), run(&here, "")]);
    let four = end(&[run(&here, ""), run(&here, ""), run(&here, ""), run(&here, "")]);
    for (ended, tasks) in [(two, 2), (four, 4)] {
        assert!(!ended.success && ended.took < Duration::from_secs(5), "{ended:#?}");
        for rank in 0..tasks {
            assert!(
                ended.said(rank).contains(&format!("has {tasks} task(s), and there are three parties")),
                "{ended:#?}"
            );
        }
    }
    assert_empty(shared.path());

    // Rank 2's node has a folder of its own.
    let soon = "--rendezvous-within 1.5";
    let ended = end(&[run(&here, soon), run(&here, soon), run(&apart, soon)]);
    assert!(!ended.success && ended.took < Duration::from_secs(10), "{ended:#?}");
    assert!(ended.said(0).contains("rank 2 did not come to"), "{ended:#?}");
    assert!(ended.said(2).contains("rank 0 and rank 1 did not come to"), "{ended:#?}");
    assert!(ended.said(2).contains("Do all nodes share that folder"), "{ended:#?}");

    // Rank 0 ends before it has begun.
    let ended = end(&[run(&here, "--networks no-such"), run(&here, ""), run(&here, "")]);
    assert!(!ended.success && ended.took < Duration::from_secs(10), "{ended:#?}");
    assert!(ended.said(0).contains("no-such"), "{ended:#?}");

    // Another version, at rank 1 and at rank 0.
    let old = scratch.path().join("old");
    let (mut bytes, version) =
        (fs::read(PROGRAM).unwrap(), concat!("cryptgpu ", env!("CARGO_PKG_VERSION"), " control "));
    let places: Vec<usize> = places_of(&bytes, version.as_bytes());
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at + version.len()] = b'0');
    fs::write(&old, bytes).unwrap();
    fs::set_permissions(&old, fs::metadata(PROGRAM).unwrap().permissions()).unwrap();
    let other = |mut line: Vec<String>| {
        line[0] = old.display().to_string();
        line
    };
    let ended = end(&[run(&here, ""), other(run(&here, "")), run(&here, "")]);
    assert!(!ended.success && ended.took < Duration::from_secs(10), "{ended:#?}");
    assert!(ended.said(0).contains("rank 1 runs `cryptgpu 0.1.0 control 0`"), "{ended:#?}");
    assert!(ended.said(1).contains("rank 0 runs `"), "{ended:#?}");
}

fn places_of(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    (0..bytes.len() - what.len() - 1).filter(|&at| bytes[at..].starts_with(what)).collect()
}
