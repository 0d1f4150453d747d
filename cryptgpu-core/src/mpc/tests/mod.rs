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
mod truncation;
mod views;

use super::check::{Costs, Stated, run_trial};
use super::{MpcError, Party, Rep, World};
use crate::prg::Randomness;
use crate::ring::Ring;
use ndarray::{ArrayD, IxDyn};

/// Both rings: what every protocol is tested in.
pub(super) const RINGS: [Ring; 2] = [Ring::Z64, Ring::Z32];

/// Elements of the ring of 64 bits: [`samples_in`].
pub(super) fn samples(n: usize, seed: u64) -> Vec<u64> {
    samples_in(Ring::Z64, n, seed)
}

/// Ring elements from a small generator: uniform, small of both signs, and the ring's edges. As integers of 64 bits.
pub(super) fn samples_in(ring: Ring, n: usize, seed: u64) -> Vec<u64> {
    let half = 1i64 << (ring.bits() - 2);
    let lowest = i64::MIN >> (64 - ring.bits());
    let edges = [0, 1, -1, lowest, !lowest, half, half - 1, -half, 2];
    (0..n as u64)
        .map(|i| {
            let word = (mix(seed ^ mix(i)) as i64) >> (64 - ring.bits());
            let sample = match i % 4 {
                0 => edges[(i / 4) as usize % edges.len()],
                1 => word >> (5 * ring.bits() / 8),
                _ => word,
            };
            sample as u64
        })
        .collect()
}

/// The same below half of the values for which a truncation is exact.
pub(super) fn small_in(ring: Ring, words: Vec<u64>) -> Vec<u64> {
    let lowest = (1u64 << (ring.bits() - 3)).wrapping_neg();
    words.into_iter().map(|w| (w as i64 >> 2) as u64).map(|w| if w == lowest { 0 } else { w }).collect()
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
/// checks its cost, and returns what it computes with AES, as integers of 64 bits. The two may differ by a rounding.
pub(super) fn evaluate(
    world: &World,
    inputs: &[ArrayD<u64>],
    protocol: impl Fn(&mut Party, &[&Rep]) -> Result<Rep, MpcError> + Sync,
) -> ArrayD<u64> {
    let insecure = World { randomness: Randomness::InsecurePhilox, ..world.clone() };
    let with_philox = evaluate_once(&insecure, inputs, &protocol);
    let with_aes = evaluate_once(world, inputs, &protocol);
    let ring = world.settings.codec.ring();
    // A window that drops low bits may decide values next to zero either way.
    let whole = world.settings.window.low() == 0;
    if whole && world.settings.fidelity == super::Fidelity::Exact {
        let far = with_philox.iter().zip(&with_aes).find(|(a, b)| ring.signed(a.wrapping_sub(**b)).abs() > 2);
        assert_eq!(far, None, "the two generators give results that are no roundings of one value");
    }
    with_aes.mapv(|element| ring.signed(element) as u64)
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
