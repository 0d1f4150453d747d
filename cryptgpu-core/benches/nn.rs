//! Private inference of whole networks, three parties on this machine's cores with in-memory links: time by kind of
//! operation, bytes and rounds, and the plaintext f64 evaluation of the same network beside it.
//!
//! `cargo bench --bench nn -- lenet resnet50` runs the networks named; the default is what takes seconds.

#![allow(clippy::expect_used)]

use cryptgpu_core::mpc::World;
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::{SharedModel, Weights, cost, plaintext, private, zoo};
use ndarray::ArrayD;
use std::time::Instant;

const DEFAULT: [&str; 5] = ["lenet", "alexnet-cifar10", "vgg16-cifar10", "alexnet-tiny", "vgg16-tiny"];

/// Runs after a first one that does not count.
const RUNS: usize = 3;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let names = if named.is_empty() { DEFAULT.map(str::to_owned).to_vec() } else { named };
    println!(
        "{:<18} {:>9} {:>10} {:>9} {:>10} {:>7}  time by kind",
        "network", "private", "plaintext", "ratio", "MB", "rounds"
    );
    for name in names {
        measure(&name);
    }
}

fn measure(name: &str) {
    let net = zoo::by_name(name).expect("a network");
    let weights = Weights::seeded(&net, 1);
    let [c, h, w] = net.input_shape();
    let image = ArrayD::from_shape_fn(vec![1, c, h, w], |at| ((at[2] * 7 + at[3] * 3) % 17) as f64 / 8.5 - 1.0);
    let start = Instant::now();
    plaintext::evaluate(&net, &weights, &image.view()).expect("plaintext");
    let plain = start.elapsed().as_secs_f64();

    let results = World::seeded(1).run(|p| {
        let [owner, client, _] = PartyId::ALL;
        let mine = (p.id() == owner).then(|| weights.clone());
        let model = SharedModel::share(p, &net, owner, mine, Default::default()).expect("sharing");
        let mut best: Option<(f64, private::TimeByKind, u64)> = None;
        for _ in 0..=RUNS {
            let x = private::share_images(p, &net, client, (p.id() == client).then(|| image.view()), 1).expect("input");
            let before = p.stats();
            let timed = model.infer_timed(p, x).expect("inference");
            let (seconds, stats) = (timed.duration.as_secs_f64(), p.stats().since(&before));
            if best.as_ref().is_none_or(|best| seconds < best.0) {
                best = Some((seconds, timed.by_kind, stats.payload_bytes()));
            }
        }
        let (seconds, kinds, bytes) = best.expect("a run");
        (seconds, kinds, bytes, cost::infer(model.plan(), 1, p.settings()).rounds)
    });
    let [first, second, third] = results;
    let bytes = (first.2 + second.2 + third.2) as f64 / 1e6;
    let mut kinds: Vec<(&str, f64)> = first.1.iter().filter(|(_, seconds)| *seconds > 0.01 * first.0).collect();
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    let kinds: Vec<String> =
        kinds.into_iter().map(|(kind, time)| format!("{kind} {:.0} %", 100.0 * time / first.0)).collect();
    let ratio = first.0 / plain;
    let rounds = first.3;
    println!(
        "{name:<18} {:>8.4}s {plain:>9.4}s {ratio:>8.1}× {bytes:>10.3} {rounds:>7}  {}",
        first.0,
        kinds.join(", ")
    );
}
