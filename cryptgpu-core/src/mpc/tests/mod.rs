//! Protocols against plaintext arithmetic, declared costs against counted ones, views against
//! the uniform distribution.

mod building_blocks;
mod check;
mod costs;
mod divergence;
mod exact;
mod functions;
mod gradients;
mod range;
mod setup;
mod views;

use super::check::{Costs, Stated, run_trial};
use super::{MpcError, Party, Rep, World};
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
    let whole = world.settings.window.low() == 0;
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
    let protocol = |p: &mut Party, x: &[Rep]| protocol(p, &x.iter().collect::<Vec<_>>());
    let trial = run_trial(world, inputs, &protocol).unwrap();
    let dense = inputs.iter().all(|x| x.len() >= 3 * crate::ring::BLOCK);
    let (counted, stated) = (trial.counted, Stated::Parts(trial.declared.unwrap()));
    let costs = Costs { elements: inputs[0].len(), counted, stated, claims: vec![], dense };
    assert!(costs.hold(), "{costs:?}");
    trial.value
}
