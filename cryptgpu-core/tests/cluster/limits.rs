//! Limits of a run: time, and what to do where there is none.

#![allow(clippy::unwrap_used)]

use crate::support::{in_memory, local};
use cryptgpu_core::cluster::Result;
use cryptgpu_core::mpc::{Party, Rep};
use ndarray::array;
use std::time::Duration;

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
