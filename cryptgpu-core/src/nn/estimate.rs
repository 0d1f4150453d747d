//! How long private inference takes, guessed from what it costs before anything runs. The factors are fitted to the ten
//! networks of `docs/performance.md`: three processes on the two cores of a Xeon.

use super::{Graph, Plan, cost, count};
use crate::mpc::Settings;
use crate::net::Link;

/// A multiply-accumulate in the clear, which is three products of the ring, one at each party. Fitted when there were six, and taken for
/// four sevenths since: convolutions took three quarters of their time when there were four, and three quarters of that with three.
const SECONDS_PER_MAC: f64 = 0.085e-9;
/// Masks, comparisons and truncations, of which a byte that is sent is the measure.
const SECONDS_PER_BYTE: f64 = 0.9e-9;
/// A weight is read from memory at every party.
const SECONDS_PER_WEIGHT: f64 = 3e-9;
/// Processes wait for one another, on one machine.
const SECONDS_PER_ROUND: f64 = 0.1e-3;

/// Seconds that `plan`, the plan of `graph`, takes for `batch` images: processing on two cores, and what the links take.
///
/// seconds = 0.085 ns · MACs + 0.9 ns · bytes + 3 ns · weights + 0.1 ms · rounds, and over links that are not local
/// rounds · latency + bytes / 3 / bandwidth. Within a factor of two on the machine that it is fitted to; others differ.
pub fn seconds(graph: &Graph, plan: &Plan, batch: usize, settings: &Settings, link: Link) -> f64 {
    let (cost, counts) = (cost::infer(plan, batch, settings), count::count(graph));
    let (bytes, rounds) = (cost.bytes as f64, cost.rounds as f64);
    let local = SECONDS_PER_MAC * counts.macs as f64 * batch as f64
        + SECONDS_PER_BYTE * bytes
        + SECONDS_PER_WEIGHT * plan.weight_elements() as f64
        + SECONDS_PER_ROUND * rounds;
    match link.model() {
        None => local,
        // A party sends a third, nearly all of it to one neighbour.
        Some((bandwidth, latency)) => local + rounds * latency.as_secs_f64() + bytes / 3.0 / bandwidth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{LowerOptions, fold, lower::lower, zoo};
    use crate::ring::Ring;

    /// Seconds of `docs/performance.md`.
    const MEASURED: [(&str, f64); 10] = [
        ("lenet", 0.0064),
        ("alexnet-cifar10", 0.021),
        ("vgg16-cifar10", 0.165),
        ("alexnet-tiny", 0.065),
        ("vgg16-tiny", 0.366),
        ("alexnet-imagenet", 0.58),
        ("vgg16-imagenet", 3.60),
        ("resnet50", 2.04),
        ("resnet101", 3.35),
        ("resnet152", 5.06),
    ];

    #[test]
    fn times_are_guessed_within_a_factor_of_two() {
        for (name, measured) in MEASURED {
            let graph = fold::fold_graph(&zoo::by_name(name).unwrap()).unwrap();
            let plan = lower(&graph, LowerOptions::default(), Ring::Z64).unwrap();
            let guess = seconds(&graph, &plan, 1, &Settings::default(), Link::None);
            println!("{name}: {guess:.4} s for {measured} s");
            assert!((0.5..2.0).contains(&(guess / measured)), "{name}: {guess} for {measured}");
        }
        // 41 rounds of 40 ms took 1.7 s.
        let graph = zoo::by_name("lenet").unwrap();
        let plan = lower(&graph, LowerOptions::default(), Ring::Z64).unwrap();
        let wan = seconds(&graph, &plan, 1, &Settings::default(), Link::Wan);
        assert!((1.0..2.5).contains(&wan), "{wan}");
    }
}
