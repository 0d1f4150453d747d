//! Truncation and extension against plaintext arithmetic: over the whole range of a ring, on every sharing of a small one, and in the
//! mean. What the paper's truncation does where ours is exact.

use super::exact::{assert_truncated, in_rings};
use super::{RINGS, SIZES, array, evaluate, mix, samples_in, small_in};
use crate::device::Tensor;
use crate::mpc::{Fidelity, MpcError, Party, Rep, World, cost};
use crate::ring::{FixedPoint, Ring};

#[test]
fn truncation_of_shares_is_never_off_by_more_than_one() {
    for (ring, n) in in_rings(SIZES) {
        let top = (1u64 << ring.range_bits()) - 1;
        for d in [1, 7, 12, 20, 40, 61].into_iter().filter(|d| *d < ring.max_cut()).chain([ring.max_cut()]) {
            let mut x = small_in(ring, samples_in(ring, n, 3 + u64::from(d)));
            x[0] = top;
            x[n / 2] = top.wrapping_neg();
            let x = array(&[n], x);
            let world = World::seeded(n as u64).in_ring(ring);
            let y = evaluate(&world, std::slice::from_ref(&x), |p, x| p.truncate(x[0], d));
            assert_truncated(&y, x.iter().copied(), d);
        }
    }
}

#[test]
fn truncation_of_products_is_never_off_by_more_than_one() {
    for (ring, n) in in_rings(SIZES) {
        for d in [1, 13, 20, 30].into_iter().filter(|d| *d <= ring.max_fraction_bits()) {
            let mut world = World::seeded(n as u64 + 5);
            world.settings.codec = FixedPoint::in_ring(ring, d).unwrap();
            // Products near the top of the range: |xy| just below 2^62.
            let x: Vec<u64> = (0..n as u64).map(|i| mix(i) >> (64 - 3 * ring.bits() / 8) | 1).collect();
            let y: Vec<u64> = x
                .iter()
                .enumerate()
                .map(|(i, &x)| {
                    let top = ((1u64 << ring.range_bits()) - 1) / x - mix(i as u64) % 3;
                    if i % 2 == 0 { top } else { top.wrapping_neg() }
                })
                .collect();
            let exact: Vec<u64> = x.iter().zip(&y).map(|(x, y)| x.wrapping_mul(*y)).collect();
            let z = evaluate(&world, &[array(&[n], x), array(&[n], y)], |p, v| p.mul(v[0], v[1]));
            assert_truncated(&z, exact.into_iter(), d);
        }
    }
}

/// 2^17 values from end to end of the range of 32 bits, with other masks for each cut: additive shares and replicated ones.
#[test]
fn truncation_is_exact_over_the_whole_range_of_32_bits() {
    let n = 1 << 17;
    let values = || (0..n as u64).map(|i| (((i as i64) << 14) - (1 << 30) + (mix(i) >> 50) as i64) as u64);
    let x = array(&[n], values().map(|x| if x == (1u64 << 30).wrapping_neg() { 0 } else { x }).collect());
    for d in [1, 11, 12, 13, 24, 29] {
        let world = World::seeded(u64::from(d)).in_ring(Ring::Z32);
        let shared = evaluate(&world, std::slice::from_ref(&x), |p, x| p.truncate(x[0], d));
        assert_truncated(&shared, x.iter().copied(), d);
        let added = evaluate(&world, std::slice::from_ref(&x), |p, x| p.truncate_additive(x[0].to_additive(), d));
        assert_truncated(&added, x.iter().copied(), d);
    }
    let [error, ..] = World::seeded(1).in_ring(Ring::Z32).run(|p| {
        let x = Rep::public(p.id(), &Tensor::from_array_in(Ring::Z32, p.device(), &ndarray::array![1]));
        p.truncate(&x, 30).unwrap_err().to_string()
    });
    assert!(error.contains("at most 29 in the ring of 32 bits"), "{error}");
}

/// 2^17 values from end to end of the range, all shapes of the packing, and the way back.
#[test]
fn extension_is_exact_over_the_whole_range_of_32_bits() {
    let lowest = (1u64 << 30).wrapping_neg();
    for n in SIZES.into_iter().chain([7, 511, 513, 1 << 17]) {
        let step = (1 << 31) / n as i64;
        let value = |i: u64| (i as i64 * step - (1 << 30) + (mix(i) % step as u64) as i64) as u64;
        let values = (0..n as u64).map(value).map(|x| if x == lowest { 0 } else { x });
        let x = array(&[n], values.collect());
        let world = World::seeded(n as u64).in_ring(Ring::Z32);
        let [opened, ..] = {
            let shares = world.deal(&x);
            world.run(|p| {
                let before = p.declared();
                let y = p.extend(&shares[p.id().index()])?;
                assert_eq!((p.declared().bytes - before.bytes, y.ring()), (cost::extend(n).bytes, Ring::Z64));
                Ok::<_, MpcError>((p.open(&y)?, p.open(&y.reduce())?))
            })
        };
        let (long, short) = opened.unwrap();
        assert_eq!(long.to_array().unwrap(), x, "{n}");
        assert_eq!(short.to_array().unwrap().mapv(|x| Ring::Z32.signed(x) as u64), x, "{n}");
        // What stands in one of the two rings stays as it is there.
        evaluate(&world, &[x], |p, x| Ok(p.extend(x[0])?.reduce()));
    }
}

/// The formula of the extension from a ring of eight bits to one of sixteen, for every sharing (u, v) of every value in range.
#[test]
fn extension_is_exact_on_a_small_ring_for_every_sharing() {
    const L: u32 = 8;
    for x in -(1i32 << (L - 2))..1 << (L - 2) {
        for u in 0..1i32 << L {
            let v = (x + (1 << (L - 2)) - u).rem_euclid(1 << L);
            let (a, b) = (1 - (u >> (L - 1)), 1 - (v >> (L - 1)));
            let y = u + v - (1 << (L - 2)) - (1 << L) + (1 << L) * a * b;
            assert_eq!(y, x, "u {u}, v {v}");
        }
    }
}

/// The formula of the truncation on a ring of eight bits, for every additive sharing (u, v) of
/// every value in range, every cut and every dealt bit: the error is always 0 or 1, and the result is the larger for as many
/// sharings as the fraction that is cut off says. So it is for sharings in multiples of 2^k, k ones then being at the end of u.
#[test]
fn truncation_is_exact_on_a_small_ring_for_every_sharing() {
    const L: u32 = 8;
    let ring = |x: i32| x.rem_euclid(1 << L);
    let mut cases = 0;
    for d in 1..=L as i32 - 3 {
        let constant = 1 - (1 << (L as i32 - d)) - (1 << (L as i32 - 2 - d));
        for z in 1 - (1 << (L - 2))..=(1 << (L - 2)) {
            let mut larger = [0; L as usize];
            for share in 0..1 << L {
                let (u, v) = (ring(share + (1 << (L - 2)) - 1), ring(z - share));
                let (a, b) = (1 - (u >> (L - 1)), 1 - (v >> (L - 1)));
                for bits in 0..4 {
                    let (alpha, beta) = (bits & 1, bits >> 1);
                    let (e, f) = (a ^ alpha, b ^ beta);
                    let ab = e * f
                        + e * (1 - 2 * f) * beta
                        + f * (1 - 2 * e) * alpha
                        + (1 - 2 * e) * (1 - 2 * f) * alpha * beta;
                    assert_eq!(ab, a * b);
                    let y = ring((u >> d) + (v >> d) + constant + (ab << (L as i32 - d)));
                    let error = ring(y - ring(z >> d));
                    assert!(error <= 1, "z {z}, u {u}, v {v}, d {d}: off by {error}");
                    cases += 1;
                    let multiple = (share | 1 << (L - 1)).trailing_zeros() as usize;
                    larger[..=multiple].iter_mut().for_each(|count| *count += error);
                }
            }
            for (k, larger) in larger.into_iter().enumerate().take_while(|(k, _)| z % (1 << k) == 0) {
                let sharings = 4 << (L as usize - k);
                assert_eq!(larger << d, sharings * z.rem_euclid(1 << d), "z {z}, d {d}, multiples of 2^{k}");
            }
        }
    }
    assert_eq!(cases, 5 * 128 * 256 * 4);
}

/// Cuts by few bits and by many, of shares and of products, of shares that were multiplied by a power of two on the way, and
/// through a public factor: nothing is added to the mean, and what has no fraction comes out exactly.
#[test]
fn truncation_rounds_up_with_probability_equal_to_the_fraction() {
    // In quarters: 5, 5 1/4, 5 1/2, 5 3/4, and the same below zero.
    let n = 200_000;
    let quarters: Vec<i64> = (0..4).flat_map(|quarter| [20 + quarter, quarter - 20]).collect();
    let quarters = &quarters[..];
    let of = |d: u32| (0..n).map(move |i| (quarters[i % quarters.len()] << (d - 2)) as u64);
    type Cut<'a> = &'a (dyn Fn(&mut Party, &Rep) -> Result<Rep, MpcError> + Sync);
    for (ring, f) in [(Ring::Z64, 20), (Ring::Z32, 12)] {
        let cuts: [(&str, u32, Cut<'_>); 6] = [
            ("shares, 2 bits", 2, &|p, x| p.truncate(x, 2)),
            ("shares, all bits", f, &|p, x| p.truncate(x, f)),
            ("shares in multiples", 2, &|p, x| p.truncate(&x.mul_word(1 << (f - 2)), f)),
            ("sums, 2 bits", 2, &|p, x| p.truncate_additive(x.to_additive(), 2)),
            ("sums in multiples", 2, &|p, x| p.truncate_additive(x.to_additive().mul_word(1 << (f - 2)), f)),
            ("a quarter", 2, &|p, x| p.mul_scalar(x, 0.25)),
        ];
        for (name, d, cut) in cuts {
            let x = array(&[n], of(d).collect());
            let y = evaluate(&World::seeded(77).in_ring(ring), std::slice::from_ref(&x), |p, x| cut(p, x[0]));
            assert_truncated(&y, of(d), d);
            for (at, quarter) in quarters.iter().enumerate() {
                let own = y.iter().skip(at).step_by(quarters.len()).map(|&y| y as i64 as f64);
                let (count, mean) = (n / quarters.len(), own.sum::<f64>() / (n / quarters.len()) as f64);
                // Five times the deviation of the mean of so many bits.
                let most = 5.0 * 0.5 / (count as f64).sqrt() * f64::from(u8::from(quarter % 4 != 0));
                let error = mean - *quarter as f64 / 4.0;
                assert!(error.abs() <= most, "{name}, {ring}: {quarter}/4 is {error} too large in the mean");
            }
        }
    }
}

#[test]
fn the_papers_truncation_wraps_where_ours_does_not() {
    let n = 20_000;
    for ring in RINGS {
        let x = array(&[n], vec![1 << (ring.bits() - 6); n]);
        let wrong = |fidelity| {
            let mut world = World::seeded(4).in_ring(ring);
            world.settings.fidelity = fidelity;
            let y = evaluate(&world, std::slice::from_ref(&x), |p, x| p.truncate(x[0], 20));
            y.iter().filter(|&&y| y.wrapping_sub(1 << (ring.bits() - 26)).wrapping_add(1) > 2).count()
        };
        assert_eq!(wrong(Fidelity::Exact), 0);
        // |x| / 2^64 is 1/64 for this x: about 312 of 20,000.
        let wrapped = wrong(Fidelity::Paper);
        assert!((220..410).contains(&wrapped), "{wrapped} of {n} wrapped in {ring}");
    }
}

#[test]
fn the_papers_products_have_their_declared_cost_and_small_values_are_right() {
    // Products below 2^42, and below 2^12 with four fraction bits, so that hardly any wraps.
    for (ring, f, cut) in [(Ring::Z64, 20, 43), (Ring::Z32, 4, 26)] {
        let mut world = World::seeded(4);
        world.settings.codec = FixedPoint::in_ring(ring, f).unwrap();
        world.settings.fidelity = Fidelity::Paper;
        let x: Vec<u64> = samples_in(ring, 3000, 6).iter().map(|w| (*w as i64 >> cut) as u64).collect();
        let exact: Vec<u64> = x.iter().map(|x| x.wrapping_mul(*x)).collect();
        let y = evaluate(&world, &[array(&[3000], x)], |p, v| p.mul(v[0], v[0]));
        for (y, x) in y.iter().zip(exact) {
            assert!(y.wrapping_sub((x as i64 >> f) as u64).wrapping_add(1) <= 2);
        }
    }
}
