//! Limits of a run: time, and what to do where there is none.

#![allow(clippy::unwrap_used)]

use crate::support::{both, in_memory, local};
use cryptgpu_core::cluster::{ClusterError, Result};
use cryptgpu_core::mpc::{Party, Rep};
use cryptgpu_core::net::PartyId;
use ndarray::array;
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
