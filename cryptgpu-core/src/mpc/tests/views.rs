//! Every built-in protocol under the protocol checker: values, costs and views, with the
//! cryptographic generator, with the fast one, and with the paper's truncation.

use super::RINGS;
use crate::device::{ConvGeometry, PoolGeometry};
use crate::mpc::check::{Check, Protocol, elementwise};
use crate::mpc::{Fidelity, MpcError, Operand, Party, PiecewiseLinear, Rep, World};
use crate::net::PartyId;
use crate::prg::Randomness;
use crate::ring::Ring;
use ndarray::ArrayD;

/// The worlds in which every protocol is checked, and how far a truncation may be off in each.
fn worlds() -> [(World, i64); 4] {
    let aes = World::seeded(5);
    let short = World::seeded(8).in_ring(Ring::Z32);
    let mut paper = World::seeded(6);
    paper.settings.fidelity = Fidelity::Paper;
    let philox = World { randomness: Randomness::InsecurePhilox, ..World::seeded(7) };
    [(aes, 0), (philox, 0), (paper, 1), (short, 0)]
}

/// Checks a protocol in all worlds of both rings. `truncates`: whether results may be one unit too large, and one too small where the
/// paper's truncation runs.
fn passes<P: Fn(&[ArrayD<u64>]) -> ArrayD<u64>>(
    check: impl Fn(Ring) -> Check,
    truncates: bool,
    protocol: impl Protocol<Rep, MpcError>,
    plaintext: impl Fn(Ring) -> P,
) {
    for ring in RINGS {
        passes_in(ring, || check(ring), truncates, &protocol, plaintext(ring));
    }
}

fn passes_in(
    ring: Ring,
    check: impl Fn() -> Check,
    truncates: bool,
    protocol: impl Protocol<Rep, MpcError>,
    plaintext: impl Fn(&[ArrayD<u64>]) -> ArrayD<u64>,
) {
    for (world, below) in worlds().into_iter().filter(|(world, _)| world.settings.codec.ring() == ring) {
        // A protocol that truncates nothing is the same with the paper's truncation.
        if world.settings.fidelity == Fidelity::Paper && !truncates {
            continue;
        }
        let check = check().world(&world);
        let check = if truncates { check.errors(-below..=1) } else { check };
        // The generator changes no message, and the paper's truncation sends whole words: one size is enough for both.
        let first = world.randomness == Randomness::Aes128Ctr && world.settings.fidelity == Fidelity::Exact;
        let check = if first { check } else { check.view_sizes(&[1]) };
        let report = check.run(&protocol, &plaintext).unwrap().require().unwrap();
        let views = report.views.unwrap();
        assert!(views.tests > 100 && views.untested.is_empty(), "{}: {views:?}", report.name);
    }
}

/// Fraction bits.
fn units(ring: Ring) -> u32 {
    ring.default_fraction_bits()
}

/// So many bits in the ring of 64 bits, and the others in that of 32.
fn bits(check: Check, ring: Ring, [long, short]: [u32; 2]) -> Check {
    check.bits(if ring == Ring::Z64 { long } else { short })
}

#[test]
fn input() {
    let protocol = |p: &mut Party, x: &[Rep]| brought(p, &x[0]);
    passes(|_| Check::new("input", 1), false, protocol, |_| elementwise(|x| x[0]));
}

#[test]
fn products() {
    let check = |_| Check::new("product without truncation", 2);
    passes(check, false, |p, x| p.mul_no_trunc(&x[0], &x[1]), |_| elementwise(|x| x[0].wrapping_mul(x[1])));
    // Products below 2^54: the paper's truncation is wrong with probability 2^−10 above, and this
    // range keeps it below 2^−40.
    let check = |ring| bits(Check::new("product", 2), ring, [12, 15]);
    passes(check, true, |p, x| p.mul(&x[0], &x[1]), |ring| elementwise(move |x| (x[0] * x[1]) >> units(ring)));
}

#[test]
fn matrix_product() {
    let check =
        |_| Check::new("matrix product", 2).bits(9).shapes(|n| vec![vec![n, 64], vec![64, 64]]).view_sizes(&[1, 9]);
    let plaintext = |ring| {
        move |x: &[ArrayD<u64>]| {
            let [a, b] = [&x[0], &x[1]].map(|x| x.view().into_dimensionality::<ndarray::Ix2>().unwrap());
            a.mapv(|x| x as i64).dot(&b.mapv(|x| x as i64)).mapv(|z| (z >> units(ring)) as u64).into_dyn()
        }
    };
    passes(check, true, |p, x| p.matmul(&x[0], &x[1]), plaintext);
}

#[test]
fn convolution() {
    let window = PoolGeometry::square(1, 1, 0);
    let geometry =
        move |batch| ConvGeometry { batch, in_channels: 4, input: [8, 8], out_channels: 8, window, groups: 1 };
    let check = move |_| {
        let shapes = move |n: usize| vec![geometry(n.div_ceil(8)).input_shape().to_vec(), vec![8, 4, 1, 1]];
        Check::new("convolution", 2).bits(10).shapes(shapes).view_sizes(&[1, 9])
    };
    let protocol = move |p: &mut Party, x: &[Rep]| {
        let weight = Operand::new(p.id(), x[1].clone()).with_cut(p.codec().fraction_bits());
        p.conv2d(&x[0], &weight, &geometry(x[0].shape()[0]), None)
    };
    let plaintext = |ring| {
        move |x: &[ArrayD<u64>]| {
            let batch = x[0].shape()[0];
            ArrayD::from_shape_fn(vec![batch, 8, 8, 8], |at| {
                let term = |c| (x[0][[at[0], c, at[2], at[3]]] as i64) * (x[1][[at[1], c, 0, 0]] as i64);
                ((0..4).map(term).sum::<i64>() >> units(ring)) as u64
            })
        }
    };
    passes(check, true, protocol, plaintext);
}

#[test]
fn truncation() {
    let check = |ring| bits(Check::new("truncation", 1), ring, [24, 24]);
    let truncate = |p: &mut Party, x: &[Rep]| p.truncate(&x[0], p.codec().fraction_bits());
    let plaintext = |ring| elementwise(move |x| x[0] >> units(ring));
    passes(check, true, truncate, plaintext);
    // The whole range, which only the exact one takes.
    for ring in RINGS {
        let check = Check::new("truncation, all values", 1).bits(ring.range_bits()).errors(0..=1);
        let check = check.world(&World::seeded(1).in_ring(ring));
        check.run(truncate, plaintext(ring)).unwrap().require().unwrap();
    }
}

#[test]
fn extension() {
    // Every value that there is room for, odd numbers of elements, and both generators; the result is of 64 bits.
    for randomness in [Randomness::Aes128Ctr, Randomness::InsecurePhilox] {
        let world = World { randomness, ..World::seeded(5).in_ring(Ring::Z32) };
        for sizes in [&[1][..], &ODD] {
            let check = Check::new("extension", 1).bits(30).view_sizes(sizes).world(&world);
            let report = check.run(|p, x| p.extend(&x[0]), elementwise(|x| x[0])).unwrap().require().unwrap();
            let views = report.views.unwrap();
            assert!(views.tests > 100 && views.untested.is_empty(), "{views:?}");
        }
        // More fraction bits on the way, a product, and back.
        let check = Check::new("product in between", 2).bits(16).errors(0..=1).view_sizes(&[1]).world(&world);
        let protocol = |p: &mut Party, x: &[Rep]| {
            let [x, y] = [p.extend(&x[0])?.mul_word(1 << 8), p.extend(&x[1])?.mul_word(1 << 8)];
            Ok::<_, MpcError>(p.truncate_additive(x.local_mul(&y)?, 20 + 8)?.reduce())
        };
        check.run(protocol, elementwise(|x| (x[0] * x[1]) >> 12)).unwrap().require().unwrap();
    }
}

#[test]
fn sign_and_bits_as_ring_elements() {
    let protocol = |p: &mut Party, x: &[Rep]| {
        let bits = p.sign(&x[0])?;
        p.bits_to_ring(&bits)
    };
    passes(|_| Check::new("sign bit", 1), false, protocol, |_| elementwise(|x| i64::from(x[0] < 0)));
    let protocol = |p: &mut Party, x: &[Rep]| p.sign_to_ring(&x[0], true);
    passes(|_| Check::new("sign as a ring element", 1), false, protocol, |_| elementwise(|x| i64::from(x[0] >= 0)));
    // Packed bits are an output, too.
    for ring in RINGS {
        let check = Check::new("sign bit, packed", 1).world(&World::seeded(1).in_ring(ring));
        let report = check.run(|p, x| p.sign(&x[0]), elementwise(|x| i64::from(x[0] < 0)));
        report.unwrap().require().unwrap();
    }
}

#[test]
fn comparisons() {
    passes(|_| Check::new("ReLU", 1), false, |p, x| p.relu(&x[0]), |_| elementwise(|x| x[0].max(0)));
    // The first of a ReLU's messages beside the last of the truncation before it.
    let behind = |p: &mut Party, x: &[Rep]| {
        let units = p.codec().fraction_bits();
        let product = p.begin_truncation(x[0].local_mul(&x[1])?, units)?.plus(&x[1])?;
        p.relu_behind(product)
    };
    let check = |ring| bits(Check::new("product and ReLU behind it", 2), ring, [24, 15]);
    passes(check, true, behind, |ring| elementwise(move |x| (((x[0] * x[1]) >> units(ring)) + x[1]).max(0)));
    let check = |ring| bits(Check::new("clipped ReLU", 1), ring, [62, 30]);
    let clipped = |ring| elementwise(move |x| x[0].clamp(0, 6 << units(ring)));
    passes(check, false, |p, x| p.clipped_relu(&x[0], 6.0), clipped);
    // Slopes of whole numbers are exact; a quarter of x below zero is truncated.
    let clip = PiecewiseLinear::clip(-3.0, 6.0).unwrap();
    let check = |ring| bits(Check::new("piecewise linear function", 1), ring, [60, 30]);
    let expected = |ring| elementwise(move |x| x[0].clamp(-3 << units(ring), 6 << units(ring)));
    passes(check, false, |p, x| p.piecewise_linear(&x[0], &clip), expected);
    let leaky = PiecewiseLinear::leaky_relu(0.25).unwrap();
    let check = |ring| bits(Check::new("leaky ReLU", 1), ring, [32, 24]);
    let expected = |_| elementwise(|x| if x[0] < 0 { x[0] >> 2 } else { x[0] });
    passes(check, true, |p, x| p.piecewise_linear(&x[0], &leaky), expected);
    let check = |ring| bits(Check::new("maximum", 2), ring, [62, 30]);
    passes(check, false, |p, x| p.maximum(&x[0], &x[1]), |_| elementwise(|x| x[0].max(x[1])));
}

#[test]
fn pooling() {
    // Few elements are a small image, for all messages about it to be looked at together.
    let shapes = |n: usize| match n {
        0..64 => vec![vec![1, 1, 2, 2 * n]],
        _ => vec![vec![1, n.div_ceil(64), 64, 64]],
    };
    let window = PoolGeometry::square(2, 2, 0);
    let tops = |x: &[ArrayD<u64>]| {
        ArrayD::from_shape_fn(vec![1, x[0].shape()[1], x[0].shape()[2] / 2, x[0].shape()[3] / 2], |at| {
            let tap = |y, z| x[0][[0, at[1], 2 * at[2] + y, 2 * at[3] + z]] as i64;
            tap(0, 0).max(tap(0, 1)).max(tap(1, 0)).max(tap(1, 1)) as u64
        })
    };
    let check = |ring| bits(Check::new("maximum pooling", 1).shapes(shapes).view_sizes(&[1, 9]), ring, [62, 30]);
    passes(check, false, |p, x| p.max_pool(&x[0], &window), |_| tops);
    // A sum of four divided by four: the reciprocal is exact.
    let sums = |x: &[ArrayD<u64>]| {
        ArrayD::from_shape_fn(vec![1, x[0].shape()[1], x[0].shape()[2] / 2, x[0].shape()[3] / 2], |at| {
            let tap = |y, z| x[0][[0, at[1], 2 * at[2] + y, 2 * at[3] + z]] as i64;
            ((tap(0, 0) + tap(0, 1) + tap(1, 0) + tap(1, 1)) >> 2) as u64
        })
    };
    let check = |_| Check::new("average pooling", 1).bits(20).shapes(shapes).view_sizes(&[1, 9]);
    passes(check, true, |p, x| p.avg_pool(&x[0], &window), |_| sums);
}

/// Numbers of elements that leave parts, blocks, words and the tail of packed bits empty, whole and odd.
const ODD: [usize; 6] = [1, 63, 65, 511, 513, 2113];

/// A value that each party brings a component of, which another party lacks.
fn brought(p: &mut Party, x: &Rep) -> Result<Rep, MpcError> {
    let mine = x.components().0.clone();
    let inputs = PartyId::ALL.map(|owner| p.input(owner, (p.id() == owner).then_some(&mine), x.shape()));
    let [a, b, c] = inputs;
    Ok(a?.add(&b?)?.add(&c?)?)
}

/// Products with weights of each of the parties, whose components add up to the second factor.
#[test]
fn weights_of_owners() {
    let protocol = |p: &mut Party, x: &[Rep]| {
        let mine = x[1].components().0.clone();
        let [a, b, c] = PartyId::ALL.map(|owner| {
            let weights = p.input_operand(owner, (p.id() == owner).then_some(&mine), x[1].shape())?;
            Ok::<_, MpcError>(x[0].local_linear(&weights, None)?)
        });
        let f = p.codec().fraction_bits();
        p.truncate_additive(a?.add(&b?)?.add(&c?)?, f)
    };
    let plaintext = |ring| {
        move |x: &[ArrayD<u64>]| {
            let [a, b] = [&x[0], &x[1]].map(|x| x.view().into_dimensionality::<ndarray::Ix2>().unwrap());
            a.mapv(|x| x as i64).dot(&b.t().mapv(|x| x as i64)).mapv(|z| (z >> units(ring)) as u64).into_dyn()
        }
    };
    let check =
        |_| Check::new("weights of owners", 2).bits(9).shapes(|n| vec![vec![n, 64], vec![64, 64]]).view_sizes(&[1, 9]);
    passes(check, true, protocol, plaintext);
}

/// Everything that sends but for openings, one after the other.
#[test]
fn views_at_odd_sizes() {
    let protocol = |p: &mut Party, x: &[Rep]| {
        // Only what it sends is of interest.
        drop(p.mul(&x[0], &x[1])?);
        let x0 = brought(p, &x[0])?;
        let product = p.mul_no_trunc(&x0, &x[1])?;
        let truncated = p.truncate(&product, p.codec().fraction_bits() + 3)?;
        let rectified = p.relu(&truncated)?;
        let sign = p.sign(&rectified)?;
        Ok::<_, MpcError>(rectified.add(&p.bits_to_ring(&sign)?)?)
    };
    for ring in RINGS {
        let check = Check::new("a chain of all", 2).bits(12).errors(0..=1).view_sizes(&ODD);
        let check = check.world(&World::seeded(1).in_ring(ring));
        let report = check.run(protocol, elementwise(|x| ((x[0] * x[1]) >> (units(ring) + 3)).max(0)));
        report.unwrap().require().unwrap();
    }
}

#[test]
fn openings_at_odd_sizes() {
    let protocol = |p: &mut Party, x: &[Rep]| {
        let product = p.mul_no_trunc(&x[0], &x[1])?;
        p.step("result", |p| p.open(&product))
    };
    for ring in RINGS {
        let check = Check::new("an opened product", 2).reveals("result").view_sizes(&ODD);
        let check = check.world(&World::seeded(1).in_ring(ring));
        let report = check.run(protocol, elementwise(|x| x[0].wrapping_mul(x[1]))).unwrap().require().unwrap();
        assert!(report.views.unwrap().untested.is_empty());
    }
}
