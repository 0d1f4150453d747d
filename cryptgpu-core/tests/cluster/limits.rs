//! Limits of a run: time, and what to do where there is none.

#![allow(clippy::unwrap_used)]

use crate::support::{both, in_memory, local};
use cryptgpu_core::cluster::{ClusterError, Result, SelfTest, interrupt};
use cryptgpu_core::mpc::{Party, Rep};
use cryptgpu_core::net::{Link, PartyId};
use cryptgpu_core::nn::WeightSource;
use ndarray::{Array4, array};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn square(p: &mut Party, x: Rep) -> Result<Rep> {
    Ok(p.mul(&x, &x)?)
}

#[test]
fn times_without_end_are_no_limit() {
    for builder in [local(), in_memory()] {
        let cluster = builder.start_within(Duration::MAX).deadline(Duration::MAX).start().unwrap();
        let x = cluster.share(&array![3.0]).unwrap();
        assert_eq!(cluster.run(square, &x).unwrap().reveal().unwrap(), array![9.0].into_dyn());
    }
}

#[test]
fn the_limit_of_a_cluster_holds_for_every_run() {
    // On links this slow LeNet takes half a minute, most of which its parties wait.
    let link = Link::Custom { megabytes_per_second: 1000.0, latency_ms: 200.0 };
    let cluster = in_memory().link(link).time_limit(Duration::from_secs(2)).start().unwrap();
    let model = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    let start = Instant::now();
    let error = cluster.infer(&model, &Array4::<f32>::zeros((1, 1, 28, 28))).unwrap_err();
    assert!(matches!(&error, ClusterError::TimeLimit { job, .. } if job == "infer"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    let cluster = in_memory().time_limit(Duration::from_nanos(1)).start().unwrap();
    for (job, error) in [
        ("share", cluster.share(&array![1.0]).unwrap_err()),
        ("load-model", cluster.load_model("lenet", WeightSource::Bundled).unwrap_err()),
        ("self-test", cluster.run_job(SelfTest::quick()).unwrap_err()),
        ("endless", cluster.run(endless, ()).unwrap_err()),
    ] {
        assert!(matches!(&error, ClusterError::TimeLimit { job: ended, .. } if ended == job), "{error}");
    }
    assert!(cluster.run_within(Duration::from_secs(60), idle, ()).is_ok(), "the limit of one run goes before");
}

fn idle(_: &mut Party, (): ()) -> Result<()> {
    Ok(())
}

/// A program that is `cryptgpu` until a file called `hang` lies beside it, and then does nothing.
fn program_that_can_hang() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (program, hang) = (folder.path().join("program"), folder.path().join("hang"));
    let script = format!(
        "#!/bin/sh\n[ -e {} ] && exec sleep 60\nexec {} \"$@\"\n",
        hang.display(),
        env!("CARGO_BIN_EXE_cryptgpu")
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (folder, hang)
}

#[test]
fn a_start_is_cancelled_from_another_thread() {
    let (folder, hang) = program_that_can_hang();
    let cluster = local().program(folder.path().join("program")).start_within(Duration::from_secs(60)).start().unwrap();
    std::fs::write(&hang, "").unwrap();
    let start = Instant::now();
    let error = std::thread::scope(|scope| {
        let restart = scope.spawn(|| cluster.restart().unwrap_err());
        while !cluster.cancel() {
            std::thread::sleep(Duration::from_millis(20));
        }
        restart.join().unwrap()
    });
    assert!(matches!(error, ClusterError::Cancelled { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!cluster.cancel(), "nothing starts");
    std::fs::remove_file(&hang).unwrap();
    let x = cluster.share(&array![3.0]).unwrap();
    assert_eq!(x.reveal().unwrap(), array![3.0].into_dyn());
}

/// Not a test of its own: a caller whose start is interrupted, which would end the runs of other tests.
#[test]
fn caller_that_is_interrupted() {
    let Some(program) = std::env::var_os("CRYPTGPU_TEST_INTERRUPTED") else { return };
    let interrupts = std::thread::spawn(|| {
        while !interrupt::request() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let start = Instant::now();
    let error = local().program(program).start_within(Duration::from_secs(60)).start().unwrap_err();
    interrupts.join().unwrap();
    assert!(matches!(error, ClusterError::Interrupted { .. }), "{error}");
    println!("interrupted after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_start_is_interrupted() {
    let (folder, hang) = program_that_can_hang();
    std::fs::write(&hang, "").unwrap();
    let caller = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "limits::caller_that_is_interrupted", "--nocapture"])
        .env("CRYPTGPU_TEST_INTERRUPTED", folder.path().join("program"))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&caller.stdout);
    assert!(caller.status.success() && printed.contains("interrupted after"), "{printed}");
}

fn endless(_: &mut Party, (): ()) -> Result<()> {
    loop {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_run_that_does_not_communicate_ends_at_its_limit_and_the_cluster_runs_again() {
    both(|cluster| {
        let start = Instant::now();
        let error = cluster.run_within(Duration::from_millis(300), endless, ()).unwrap_err();
        assert!(matches!(error, ClusterError::TimeLimit { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let x = cluster.share(&array![3.0]).unwrap();
        let run = cluster.run_within(Duration::from_secs(60), square, &x).unwrap();
        assert_eq!(run.reveal().unwrap(), array![9.0].into_dyn());
    });
}

#[test]
fn a_run_is_cancelled_from_another_thread() {
    both(|cluster| {
        assert!(!cluster.cancel(), "nothing runs");
        let start = Instant::now();
        let error = std::thread::scope(|scope| {
            let run = scope.spawn(|| cluster.run(endless, ()).unwrap_err());
            while !cluster.cancel() {
                std::thread::sleep(Duration::from_millis(20));
            }
            run.join().unwrap()
        });
        assert!(matches!(error, ClusterError::Cancelled { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let x = cluster.share(&array![3.0]).unwrap();
        assert_eq!(cluster.run(square, &x).unwrap().reveal().unwrap(), array![9.0].into_dyn());
    });
}

#[test]
fn nonces_apart_are_the_fault_of_the_run_that_drew_them() {
    fn ahead(p: &mut Party, (): ()) -> Result<()> {
        if p.id() == PartyId::P2 {
            let [_nonce] = p.nonces();
        }
        Ok(())
    }
    both(|cluster| {
        let error = cluster.run(ahead, ()).unwrap_err();
        assert!(matches!(error, ClusterError::Apart { party: PartyId::P2, .. }), "{error}");
        assert!(error.to_string().contains("ahead"), "{error}");
        let x = cluster.share(&array![3.0]).unwrap();
        assert_eq!(cluster.run(square, &x).unwrap().reveal().unwrap(), array![9.0].into_dyn());
    });
}
