//! Products x·y with 2^61 ≤ |x·y| < 2^62 of both signs, or 2^29 to 2^30 in the ring of 32 bits, multiplied and truncated by
//! three parties, and compared with exact division.

use cryptgpu_core::mpc::World;
use cryptgpu_core::ring::Ring;
use ndarray::Array1;
use std::error::Error;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Products tried.
    pub products: u64,
    /// Results that are neither ⌊xy/2^d⌋ nor one more.
    pub wrong: u64,
    /// Results that are one more.
    pub rounded_up: u64,
}

/// Products at a time.
const CHUNK: u64 = 1 << 20;

/// Tries `products` products in a ring; `progress` is called every few chunks with how many are done.
pub fn run(ring: Ring, products: u64, seed: u64, progress: impl Fn(u64)) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::default();
    let mut chunk = 0;
    while report.products < products {
        let n = CHUNK.min(products - report.products);
        one(ring, seed.wrapping_add(chunk << 20), n, &mut report)?;
        chunk += 1;
        if chunk % 32 == 0 {
            progress(report.products);
        }
    }
    Ok(report)
}

fn one(ring: Ring, seed: u64, n: u64, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let world = World::seeded(seed).in_ring(ring);
    let d = world.settings.codec.fraction_bits();
    let (x, y): (Vec<u64>, Vec<u64>) = (0..n).map(|i| operands(ring, mix(seed.wrapping_mul(n) ^ i))).unzip();
    let exact: Vec<u64> = x.iter().zip(&y).map(|(x, y)| x.wrapping_mul(*y)).collect();
    let shares = [world.deal(&Array1::from(x)), world.deal(&Array1::from(y))];
    let opened = world.run(|p| {
        let id = p.id().index();
        let z = p.mul(&shares[0][id], &shares[1][id])?;
        p.open(&z)
    });
    let [opened, ..] = opened;
    for (word, exact) in opened?.into_host()?.into_iter().zip(exact) {
        match ring.residue(word.wrapping_sub((exact as i64 >> d) as u64)) {
            0 => {}
            1 => report.rounded_up += 1,
            _ => report.wrong += 1,
        }
    }
    report.products += n;
    Ok(())
}

/// x of 1 to 61 bits and y with 2^61 ≤ |xy| < 2^62, each of either sign; 29 and 30 in the ring of 32 bits.
fn operands(ring: Ring, random: u64) -> (u64, u64) {
    let top = ring.max_cut();
    let x = (mix(random) >> (64 - top) | 1 << (top - 1)) >> (random % u64::from(top));
    let (low, high) = ((1u64 << top).div_ceil(x), ((2u64 << top) - 1) / x);
    let y = low + mix(random ^ 0x5555) % (high - low + 1);
    let sign = |bit: u64, value: u64| if bit & 1 == 1 { value.wrapping_neg() } else { value };
    (sign(random >> 8, x), sign(random >> 9, y))
}

/// splitmix64.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}
