//! Protocols against plaintext arithmetic, declared costs against counted ones, views against
//! the uniform distribution.

mod costs;
mod exact;
mod views;

use super::{MpcError, Party, Rep, World};
use crate::net::Stats;
use crate::prg::Randomness;
use ndarray::{ArrayD, IxDyn};

/// Ring elements from a small generator: uniform, small of both signs, and the ring's edges.
pub(super) fn samples(n: usize, seed: u64) -> Vec<u64> {
    let edges = [0, 1, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 62, (1 << 62) - 1, (1u64 << 62).wrapping_neg(), 2];
    (0..n as u64)
        .map(|i| {
            let word = mix(seed ^ mix(i));
            match i % 4 {
                0 => edges[(i / 4) as usize % edges.len()],
                1 => (word as i64 >> 40) as u64,
                _ => word,
            }
        })
        .collect()
}

/// A value's bits, well mixed (splitmix64).
pub(super) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

pub(super) fn array(shape: &[usize], words: Vec<u64>) -> ArrayD<u64> {
    ArrayD::from_shape_vec(IxDyn(shape), words).unwrap()
}

/// Element counts that leave parts, blocks and tail groups empty, whole and odd.
pub(super) const SIZES: [usize; 8] = [1, 10, 64, 500, 512, 1000, 1600, 40_000];

/// Runs a protocol on shares of `inputs` with the fast insecure generator, and again with AES,
/// checks its cost, and returns what it computes with AES. The two may differ by a rounding.
pub(super) fn evaluate(
    world: &World,
    inputs: &[ArrayD<u64>],
    protocol: impl Fn(&mut Party, &[&Rep]) -> Result<Rep, MpcError> + Sync,
) -> ArrayD<u64> {
    let insecure = World { randomness: Randomness::InsecurePhilox, ..world.clone() };
    let with_philox = evaluate_once(&insecure, inputs, &protocol);
    let with_aes = evaluate_once(world, inputs, &protocol);
    // A window that drops low bits may decide values next to zero either way.
    let whole = crate::device::Window::from(world.settings.window).low == 0;
    if whole && world.settings.fidelity == super::Fidelity::Exact {
        let far = with_philox.iter().zip(&with_aes).find(|(a, b)| a.wrapping_sub(**b).wrapping_add(2) > 4);
        assert_eq!(far, None, "the two generators give results that are no roundings of one value");
    }
    with_aes
}

fn evaluate_once(
    world: &World,
    inputs: &[ArrayD<u64>],
    protocol: impl Fn(&mut Party, &[&Rep]) -> Result<Rep, MpcError> + Sync,
) -> ArrayD<u64> {
    let shares: Vec<[Rep; 3]> = inputs.iter().map(|x| world.deal(x).unwrap()).collect();
    let results = world.run_counted(|p| {
        let mine: Vec<&Rep> = shares.iter().map(|s| &s[p.id().index()]).collect();
        let before = p.stats();
        let y = protocol(p, &mine).unwrap();
        (y, p.charged(), p.stats().since(&before))
    });
    let dense = inputs.iter().all(|x| x.len() >= 3 * crate::ring::BLOCK);
    check_cost(dense, results.each_ref().map(|((_, declared, stats), _)| (*declared, *stats)));
    combine(results.map(|((y, _, _), _)| y))
}

/// Declared and counted costs agree: bytes summed over the parties, rounds the deepest chain. A
/// composition on so few elements that some roles have none (not `dense`) may overlap its
/// protocols, and then needs fewer rounds than their sum.
pub(super) fn check_cost(dense: bool, parties: [(super::Cost, Stats); 3]) {
    let declared = parties[0].0;
    assert!(parties.iter().all(|(cost, _)| *cost == declared), "all parties declare the same cost");
    let bytes: u64 = parties.iter().map(|(_, stats)| stats.payload_bytes()).sum();
    let rounds = parties.iter().map(|(_, stats)| stats.rounds).max().unwrap();
    assert_eq!(bytes, declared.bytes, "bytes counted and declared");
    assert!(rounds <= declared.rounds, "{rounds} rounds, {} declared", declared.rounds);
    if dense {
        assert_eq!(rounds, declared.rounds, "rounds counted and declared");
    }
}

/// The value of a sharing, after checking that neighbours hold the same components.
pub(super) fn combine(shares: [Rep; 3]) -> ArrayD<u64> {
    let parts = shares.map(|s| (s.components().0.to_array().unwrap(), s.components().1.to_array().unwrap()));
    for i in 0..3 {
        assert_eq!(parts[i].1, parts[(i + 1) % 3].0, "component {} differs", (i + 1) % 3);
    }
    let mut sum = parts[0].0.clone();
    for part in &parts[1..] {
        sum.zip_mut_with(&part.0, |s, x| *s = s.wrapping_add(*x));
    }
    sum
}
