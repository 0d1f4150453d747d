//! Protocols on a million elements, three parties on this machine's cores with in-memory links:
//! seconds, and nanoseconds an element, against the floor that memory and AES set.

#![allow(clippy::expect_used)]

use cryptgpu_core::mpc::{MpcError, Party, Rep, World};
use ndarray::Array1;
use std::time::Instant;

const N: usize = 1 << 20;

fn main() {
    println!("{:<18} {:>10} {:>14} {:>12}", "protocol", "seconds", "ns / element", "B / element");
    measure("relu", |p, x| p.relu(x));
    measure("sign + b2a", |p, x| {
        let bits = p.sign(x)?;
        p.bits_to_ring(&bits)
    });
    measure("mul", |p, x| p.mul(x, x));
    measure("truncate", |p, x| p.truncate(x, 20));
    measure("maximum", |p, x| p.maximum(x, &x.neg()));
}

fn measure(name: &str, protocol: fn(&mut Party, &Rep) -> Result<Rep, MpcError>) {
    let world = World::seeded(1);
    let x: Array1<u64> = (0..N as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64 >> 40) as u64).collect();
    let shares = world.deal(&x);
    let results = world.run(|p| {
        let mine = &shares[p.id().index()];
        let _warm = protocol(p, mine).expect("protocol");
        let before = p.stats();
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            let _result = protocol(p, mine).expect("protocol");
            best = best.min(start.elapsed().as_secs_f64());
        }
        (best, p.stats().since(&before).payload_bytes() / 5)
    });
    let seconds = results.iter().map(|r| r.0).fold(0.0, f64::max);
    let bytes: u64 = results.iter().map(|r| r.1).sum();
    println!("{name:<18} {seconds:>10.4} {:>14.1} {:>12.2}", seconds * 1e9 / N as f64, bytes as f64 / N as f64);
}
