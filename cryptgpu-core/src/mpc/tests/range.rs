//! The overflow flag: what it finds near the bound and far from it, what it costs, and that it shows one bit.

use super::{array, samples_in};
use crate::mpc::check::{Check, elementwise};
use crate::mpc::cost::RangeChecks;
use crate::mpc::{CheckRange, Cost, MpcError, Party, Rep, SignWindow, SmoothFunction, World, cost};
use crate::ring::Ring;

fn checking(seed: u64) -> World {
    let mut world = World::seeded(seed);
    world.settings.check_range = CheckRange::Run;
    world
}

/// What all three parties say of `body` on shares of `inputs`: whether a value has left the range.
fn flagged(world: &World, inputs: &[f64], body: impl Fn(&mut Party, &Rep) -> Result<Rep, MpcError> + Sync) -> bool {
    let x = world.deal(&world.settings.codec.encode_array(&ndarray::arr1(inputs)).unwrap());
    let said = world.run(|p| body(p, &x[p.id().index()]).and_then(|_| p.check_range()));
    let said = said.map(|result| match result {
        Ok(()) => false,
        Err(MpcError::Range { .. }) => true,
        Err(error) => panic!("{error}"),
    });
    assert!(said[0] == said[1] && said[1] == said[2], "{said:?}");
    said[0]
}

/// Every result that a truncation by 47 bits can have, or by 15 in 32 bits, whatever was truncated: within a unit of 2^48 (2^24) of
/// the bound either is right, and nothing else is.
#[test]
fn flags_are_right_for_every_result_of_a_truncation() {
    for (seed, ring) in [(1, Ring::Z64), (2, Ring::Z64), (3, Ring::Z32)] {
        let cut = ring.range_bits() - 15;
        // A unit of the bits that are looked at, in units of the results.
        let (bound, unit) = (1i64 << 15, 1i64 << (super::super::range::top(ring).low() - cut));
        let results: Vec<i64> = (-3 * bound..3 * bound).collect();
        let words: Vec<u64> = results.iter().map(|&y| y as u64).collect();
        let world = checking(seed).in_ring(ring);
        // Fewer at a time than are looked at without being asked for.
        let dealt: Vec<[Rep; 3]> = words.chunks(10_000).map(|y| world.deal(&array(&[y.len()], y.to_vec()))).collect();
        let [flags, ..] = world.run(|p| {
            let flags = dealt.iter().map(|y| {
                p.watch_truncated(&y[p.id().index()], cut)?;
                let flags = p.outside()?.pop().ok_or_else(|| MpcError::other("nothing is kept"))?;
                p.forget_range();
                p.open_bits(&flags)
            });
            flags.collect::<Result<Vec<_>, MpcError>>()
        });
        for (&y, flag) in results.iter().zip(flags.unwrap().concat()) {
            let z = (y + 2 * bound).rem_euclid(4 * bound) - 2 * bound; // what was truncated, modulo 2^64
            let sure_below = -bound + unit <= z && z < bound - unit;
            let sure_beyond = z < -bound - unit || bound + unit <= z;
            assert!(if flag { !sure_below } else { !sure_beyond }, "{y}, bound {bound}: {flag}");
        }
    }
}

/// Both sides of the bound of a product with real truncations, and one value beyond it among many.
#[test]
fn products_beyond_the_range_are_found() {
    let world = checking(3);
    let square = |p: &mut Party, x: &Rep| p.mul(x, x);
    // The bound on products of fixed-point numbers is 2^22 with 20 fraction bits.
    let root = 2048.0;
    for (factor, beyond) in [(0.999, false), (0.9998, false), (1.0002, true), (1.001, true), (1.46, true), (1.73, true)]
    {
        assert_eq!(flagged(&world, &[root * factor], square), beyond, "{factor}");
    }
    for n in [2, 63, 64, 65, 511, 577, 2113] {
        let mut values = vec![-1.5; n];
        assert!(!flagged(&world, &values, square), "{n}");
        values[n - 1] = 3000.0;
        assert!(flagged(&world, &values, square), "{n}");
        values.swap(0, n - 1);
        assert!(flagged(&world, &values, square), "{n}");
    }
    assert!(flagged(&world, &[9.0, 3000.0], |p, x| p.mul_scalar(x, 3000.0)));
    assert!(flagged(&world, &[9.0, 3000.0], |p, x| {
        let early = p.mul(x, x)?;
        p.mul(&early.sub(&early)?, x)
    }));
    // And 64 with 12 fraction bits in the ring of 32 bits.
    let short = checking(3).in_ring(Ring::Z32);
    for n in [1, 65, 511, 577] {
        let mut values = vec![7.9; n];
        assert!(!flagged(&short, &values, square), "{n}");
        values[n - 1] = 8.1;
        assert!(flagged(&short, &values, square), "{n}");
    }
    let off = World::seeded(3);
    assert!(!flagged(&off, &[3000.0], square), "nothing is looked at when nobody asked");
}

#[test]
fn a_comparison_that_a_narrow_window_decides_wrongly_is_found() {
    let mut world = checking(4);
    world.settings.window = SignWindow::new(0, 32).unwrap();
    let relu = |p: &mut Party, x: &Rep| p.relu(x);
    assert!(!flagged(&world, &[2047.9, -2047.9, 0.0, -1e-6, 3.0], relu));
    assert!(flagged(&world, &[1.0, 2048.1, 1.0], relu) && flagged(&world, &[-2100.0], relu));
    let mut short = checking(4).in_ring(Ring::Z32);
    assert!(!flagged(&short, &[200_000.0, -200_000.0, 0.0], relu), "all 32 bits");
    short.settings.window = SignWindow::new(0, 16).unwrap();
    assert!(!flagged(&short, &[7.9, -7.9, 0.0], relu) && flagged(&short, &[1.0, 8.1, 1.0], relu));
    world.settings.window = SignWindow::new(8, 32).unwrap();
    let x = world.deal(&ndarray::arr1(&[1]));
    let [error, ..] = world.run(|p| p.relu(&x[p.id().index()]).map(drop).unwrap_err().to_string());
    assert!(error.contains("8:32") && error.contains("0:32"), "{error}");
}

/// Bytes and rounds as [`RangeChecks`] states them, and nothing where nothing is asked for or computed.
#[test]
fn it_costs_what_it_states() {
    let cases = [(1, 64), (65, 64), (577, 64), (40_000, 64), (40_000, 32)].map(|(n, window)| (Ring::Z64, n, window));
    let short = [(1, 32), (511, 32), (40_000, 32), (40_000, 16)].map(|(n, window)| (Ring::Z32, n, window));
    for (ring, n, window) in cases.into_iter().chain(short) {
        let mut world = checking(5).in_ring(ring);
        world.settings.window = SignWindow::new(0, window).unwrap();
        let x = samples_in(ring, n, 1).into_iter().map(|x| (x as i64 >> (ring.bits() - 16)) as u64);
        let x = world.deal(&array(&[n], x.collect()));
        let runs = world.run_counted(|p| {
            let x = &x[p.id().index()];
            let (before, declared) = (p.stats(), p.declared());
            let y = p.truncate(x, 3).unwrap();
            if window < ring.bits() {
                drop(p.sign(&y).unwrap());
            }
            let early = p.truncate(&y.narrow(0..1).unwrap(), 1).unwrap();
            p.check_range().unwrap();
            p.check_range().unwrap(); // nothing is left
            let after = p.declared();
            assert_eq!(early.len(), 1);
            (before, Cost { bytes: after.bytes - declared.bytes, rounds: after.rounds - declared.rounds })
        });
        let mut checks = RangeChecks::default();
        checks.truncated(ring, n);
        if window < ring.bits() {
            checks.narrowed(ring, n);
        }
        checks.truncated(ring, 1);
        let settings = world.settings;
        let sign = if window < ring.bits() { super::super::cost::sign(ring, n, settings.window) } else { Cost::FREE };
        let stated = checks.close()
            + sign
            + super::super::cost::truncate_shared(ring, n, 3)
            + super::super::cost::truncate_shared(ring, 1, 1);
        let bytes: u64 = runs.iter().map(|((before, _), after)| after.since(before).payload_bytes()).sum();
        let rounds = runs.iter().map(|((before, _), after)| after.rounds - before.rounds).max().unwrap();
        assert_eq!(runs[0].0.1, stated, "{n} elements");
        assert_eq!(bytes, stated.bytes, "{n} elements");
        assert!(rounds <= stated.rounds && (n < 1536 || rounds + 3 > stated.rounds), "{n} elements: {rounds}");
    }
}

/// Nothing but the one bit: whatever the secrets are, as long as the bit is the same.
#[test]
fn it_shows_one_bit() {
    let protocol = |p: &mut Party, x: &[Rep]| {
        let y = p.truncate(&x[0], 20)?;
        match p.check_range() {
            Ok(()) | Err(MpcError::Range { .. }) => Ok(y),
            Err(error) => Err(error),
        }
    };
    for ring in [Ring::Z64, Ring::Z32] {
        let world = checking(6).in_ring(ring);
        let check = Check::new("range check", 1).bits(ring.bits() - 4).errors(0..=1).reveals("range check");
        let report = check.view_sizes(&[1, 65]).world(&world).run(protocol, elementwise(|x| x[0] >> 20));
        assert!(report.unwrap().require().unwrap().views.unwrap().untested.is_empty());
    }
}

/// What was extended has no bits above its 32: a window that ends there leaves out none, costs nothing more, and flags nothing that is
/// right. An argument of which that is not known is looked at as before.
#[test]
fn functions_of_extended_numbers_cost_no_second_sign() {
    let (n, window) = (1000, SignWindow::new(0, 32).unwrap());
    // Up to 2^31 units, where numbers of 30 bits have ended.
    let reals = [0.0, 3f64.ln(), -1000.0, 300_000.0, -300_000.0, 520_000.0];
    let units = |x: f64| (x * 4096.0) as i64 as u64;
    let words = (0..n).map(|i| units(reals[i % reals.len()])).collect();
    let mut world = checking(5).in_ring(Ring::Z32);
    world.settings.window = window;
    let x = world.deal(&array(&[n], words));
    let runs = world.run_counted(|p| {
        let y = p.smooth(&x[p.id().index()], SmoothFunction::Sigmoid)?;
        p.check_range()?;
        Ok::<_, MpcError>((p.declared(), p.open(&y)?.to_array()?))
    });
    let (declared, y) = runs[0].0.as_ref().unwrap();
    for (i, word) in y.iter().enumerate() {
        let (y, right) = (*word as f64 / 4096.0, 1.0 / (1.0 + (-reals[i % reals.len()]).exp()));
        assert!((y - right).abs() < 2f64.powi(-11), "{}: {y}", reals[i % reals.len()]);
    }
    let stated = |ring, window| {
        let mut checks = RangeChecks::default();
        let of = || cost::smooth(ring, n, 12, SmoothFunction::Sigmoid, window);
        cost::with_range_checks(&mut checks, of) + checks.close()
    };
    let short = stated(Ring::Z32, window);
    let sent: u64 = runs.iter().map(|(_, stats)| stats.payload_bytes()).sum();
    assert_eq!((*declared, sent), (short, short.bytes + cost::open(Ring::Z32, n).bytes));
    for long in [window, SignWindow::default()].map(|window| stated(Ring::Z64, window)) {
        assert!(short.bytes + 100 * (n as u64) < long.bytes, "{short} and {long}");
    }
    // A reciprocal's octaves are those of numbers of 30 bits, beyond which it is wrong.
    let reciprocal = |p: &mut Party, x: &Rep| p.reciprocal(&x.add(x).unwrap());
    let world = checking(5).in_ring(Ring::Z32);
    assert!(!flagged(&world, &[1.0, 100_000.0], reciprocal));
    assert!(flagged(&world, &[200_000.0; 64], reciprocal));
}
