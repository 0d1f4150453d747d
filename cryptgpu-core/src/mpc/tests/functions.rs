//! Functions of secret numbers against f64, over their whole range and beyond its ends, at several numbers of fraction bits;
//! costs against what the transport counted; each under the protocol checker.

use super::{RINGS, array, run_trial};
use crate::mpc::check::{Check, Protocol, elementwise};
use crate::mpc::{CheckRange, Cost, Fidelity, MpcError, Octaves, Party, Rep, SignWindow, SmoothFunction, World, cost};
use crate::prg::Randomness;
use crate::ring::{FixedPoint, Ring};
use ndarray::{ArrayD, Axis, Ix2};
use std::f64::consts::LN_2;

/// In the ring of 64 bits, and in that of 32, where all is computed in 64 and comes back.
fn codecs() -> impl Iterator<Item = FixedPoint> {
    let bits = [(Ring::Z64, 12), (Ring::Z64, 16), (Ring::Z64, 20), (Ring::Z64, 24), (Ring::Z32, 9), (Ring::Z32, 12)];
    bits.into_iter().map(|(ring, f)| FixedPoint::in_ring(ring, f).unwrap())
}

/// Enough elements for every part of every protocol to have some, so that rounds add up.
const N: usize = 1700;

fn codec(f: u32) -> FixedPoint {
    FixedPoint::new(f).unwrap()
}

fn world(codec: FixedPoint) -> World {
    let mut world = World::seeded(u64::from(codec.fraction_bits()));
    world.settings.codec = codec;
    world.randomness = Randomness::InsecurePhilox;
    world
}

fn unit(f: u32) -> f64 {
    0.5f64.powi(f as i32)
}

/// What a function makes of its inputs; its cost must be `cost` and what its parts declare.
fn evaluate(world: &World, inputs: &[ArrayD<u64>], cost: Cost, protocol: impl Protocol<Rep, MpcError>) -> ArrayD<f64> {
    let trial = run_trial(world, inputs, &protocol).unwrap();
    assert_eq!(trial.counted, cost, "counted, and by the formula");
    assert_eq!(trial.declared, Some(cost), "declared by the parts, and by the formula");
    world.settings.codec.decode_array(&trial.value)
}

/// Bits of the largest argument.
fn most_bits(ring: Ring) -> u32 {
    ring.range_bits().min(31)
}

/// Integers of up to 31 bits, 30 in the ring of 32: zero, a negative one, both ends of each octave, and others densely on a logarithmic scale.
fn all_octaves(ring: Ring) -> ArrayD<u64> {
    let most = most_bits(ring);
    let mut all = vec![0, 7u64.wrapping_neg(), 1000u64.wrapping_neg()];
    all.extend((0..most).flat_map(|e| [1u64 << e, (2 << e) - 1, (1 << e) | 1]));
    let between = N - all.len();
    all.extend((0..between).map(|i| (f64::from(most) * (i as f64 + 0.5) / between as f64).exp2() as u64));
    array(&[N], all)
}

/// Asserts that all errors are as small as allowed.
fn assert_near(
    x: &ArrayD<u64>,
    found: &ArrayD<f64>,
    codec: FixedPoint,
    exact: impl Fn(f64) -> f64,
    allowed: impl Fn(f64) -> f64,
) {
    for (&word, &found) in x.iter().zip(found) {
        let x = codec.decode(word);
        let (exact, allowed) = (exact(x), allowed(exact(x)));
        let error = (found - exact).abs();
        assert!(error <= allowed, "{codec:?}, at {x}: {found} and not {exact}, {} times too far", error / allowed);
    }
}

#[test]
fn reciprocals_and_quotients() {
    for codec in codecs() {
        let (ring, f) = (codec.ring(), codec.fraction_bits());
        let (world, range, x) = (world(codec), Octaves::of(codec), all_octaves(ring));
        let inputs = [x.clone()];
        let y = evaluate(&world, &inputs, cost::reciprocal(ring, N, f, range), |p, x| p.reciprocal(&x[0]));
        assert_near(&x, &y, codec, |x| 1.0 / x.max(unit(f)), |y| unit(f) + y * 2f64.powi(-25));
        // x/−x, by either sign.
        let turned = x.mapv(|x| if x % 3 == 0 { x } else { x.wrapping_neg() });
        let inputs = [turned.clone(), turned.mapv(u64::wrapping_neg)];
        let y = evaluate(&world, &inputs, cost::quotient(ring, N, f, range), |p, x| p.quotient(&x[0], &x[1]));
        let largest = 2f64.powi(most_bits(ring) as i32 - f as i32) * unit(f + 4);
        assert_near(
            &turned,
            &y,
            codec,
            |x| if x == 0.0 { 0.0 } else { -1.0 },
            |y| unit(f) + largest + y.abs() * 2f64.powi(-25),
        );
        // x/x, and −3/x in a range of few octaves.
        let y = evaluate(&world, &[x.clone(), x.clone()], cost::div(ring, N, f, range), |p, x| p.div(&x[0], &x[1]));
        let quotient = |x: f64| x / x.max(unit(f));
        let largest = 2f64.powi(most_bits(ring) as i32 - f as i32) * unit(f + 4);
        assert_near(&x, &y, codec, quotient, |y| unit(f) + largest + y.abs() * 2f64.powi(-25));
        let near = Octaves::new(-4, 3);
        let x = x.mapv(|x| (x % (8 << f)).max(1 << (f - 4)));
        let three = x.mapv(|_| (3u64 << f).wrapping_neg());
        let y = evaluate(&world, &[three, x.clone()], cost::div(ring, N, f, near), |p, x| p.div_in(&x[0], &x[1], near));
        assert_near(&x, &y, codec, |x| -3.0 / x, |y| 1.25 * unit(f) + y.abs() * 2f64.powi(-25));
    }
}

#[test]
fn roots() {
    for codec in codecs() {
        let (ring, f) = (codec.ring(), codec.fraction_bits());
        let (world, range, x) = (world(codec), Octaves::of(codec), all_octaves(ring));
        let (inputs, allowed) = ([x.clone()], |y: f64| unit(f) + y * 2f64.powi(-21));
        let y = evaluate(&world, &inputs, cost::rsqrt(ring, N, f, range), |p, x| p.rsqrt(&x[0]));
        assert_near(&x, &y, codec, |x| 1.0 / x.max(unit(f)).sqrt(), allowed);
        let y = evaluate(&world, &inputs, cost::sqrt(ring, N, f, range), |p, x| p.sqrt(&x[0]));
        assert_near(&x, &y, codec, |x| x.max(0.0).sqrt(), allowed);
    }
}

#[test]
fn logarithms() {
    for codec in codecs() {
        let (ring, f) = (codec.ring(), codec.fraction_bits());
        let (world, range, x) = (world(codec), Octaves::of(codec), all_octaves(ring));
        let y = evaluate(&world, std::slice::from_ref(&x), cost::log(ring, N, f, range), |p, x| p.log(&x[0]));
        assert_near(&x, &y, codec, |x| x.max(unit(f)).ln(), |_| unit(f) + 2f64.powi(-25));
    }
}

/// From here on an exponential stays as it is.
fn highest(codec: FixedPoint) -> f64 {
    let top = if codec.ring() == Ring::Z64 { 34 } else { 30 };
    f64::from(top - codec.fraction_bits()) * LN_2
}

#[test]
fn exponentials() {
    for codec in codecs() {
        let (ring, f) = (codec.ring(), codec.fraction_bits());
        let (low, end) = (-f64::from(f + 3) * LN_2, highest(codec));
        let between = (0..N - 5).map(|i| low + (end - low) * i as f64 / (N - 5) as f64);
        let x: Vec<f64> = between.chain([1e4, -1e4, 0.0, end, -0.5 * unit(f)]).collect();
        let (world, x) = (world(codec), codec.encode_array(&ndarray::arr1(&x)).unwrap());
        let y = evaluate(&world, std::slice::from_ref(&x), cost::exp(ring, N, f), |p, x| p.exp(&x[0]));
        assert_near(&x, &y, codec, |x| x.min(end).exp(), |y| unit(f) + y * 2f64.powi(-23));
    }
}

#[test]
fn sigmoids() {
    for codec in codecs() {
        let (ring, f) = (codec.ring(), codec.fraction_bits());
        let end = f64::from(f + 6) * LN_2;
        let between = (0..N - 6).map(|i| end * (2.0 * i as f64 / (N - 6) as f64 - 1.0));
        let x: Vec<f64> = between.chain([0.0, unit(f), -unit(f), 1e4, -1e4, -2.5e5]).collect();
        let (world, x) = (world(codec), codec.encode_array(&ndarray::arr1(&x)).unwrap());
        let y = evaluate(&world, std::slice::from_ref(&x), cost::sigmoid(ring, N, f), |p, x| p.sigmoid(&x[0]));
        assert_near(&x, &y, codec, |x| 1.0 / (1.0 + (-x).exp()), |_| 2.0 * unit(f));
    }
}

/// Densely over the whole range, around the ends of all pieces, and far beyond.
#[test]
fn smooth_functions() {
    for (codec, function) in codecs().flat_map(|codec| SmoothFunction::ALL.map(|function| (codec, function))) {
        let (ring, f) = (codec.ring(), codec.fraction_bits());
        let near = (-20..=20).flat_map(|k| [f64::from(k) + 0.5 * unit(f), f64::from(k) - unit(f)]);
        let far = [1e4, -1e4, -2.5e5, 2e5, unit(f), -unit(f)];
        let between = N - 82 - far.len();
        let between = (0..between).map(|i| 18.0 * (2.0 * i as f64 / between as f64 - 1.0));
        let x: Vec<f64> = between.chain(near).chain(far).collect();
        let (world, x) = (world(codec), codec.encode_array(&ndarray::arr1(&x)).unwrap());
        let cost = cost::smooth(ring, N, f, function, world.settings.window);
        let y = evaluate(&world, std::slice::from_ref(&x), cost, |p, x| p.smooth(&x[0], function));
        assert_near(&x, &y, codec, |x| function.value(x), |_| SmoothFunction::ERROR + 1.1 * unit(f));
    }
    // Within a window that is as wide as the numbers are.
    let (mut world, function) = (world(codec(20)), SmoothFunction::Sigmoid);
    world.settings.window = SignWindow::new(0, 32).unwrap();
    let x = (0..N).map(|i| 0.7 * (i as f64 - 800.0)).collect::<Vec<_>>();
    let x = codec(20).encode_array(&ndarray::arr1(&x)).unwrap();
    let cost = cost::smooth(Ring::Z64, N, 20, function, world.settings.window);
    assert!(cost.bytes < 560 * N as u64 && cost.rounds <= 20, "{cost}");
    let y = evaluate(&world, std::slice::from_ref(&x), cost, |p, x| p.smooth(&x[0], function));
    assert_near(&x, &y, codec(20), |x| function.value(x), |_| SmoothFunction::ERROR + 1.1 * unit(20));
    for (f, fits) in [(26, true), (27, false)] {
        assert_eq!(function.check(codec(f)).is_ok(), fits, "{f}");
    }
}

/// Rows of logits, near one another and far apart, with rows of equal ones and of one that stands out.
fn logits(rows: usize, width: usize, codec: FixedPoint) -> ArrayD<u64> {
    let value = |row: usize, column: usize| {
        let wave = (1.7 * (row * width + column) as f64).sin();
        match row % 4 {
            0 => wave,
            1 => 9.0 * wave + 30.0,
            2 => f64::from(row as u32 % 3) - 1.0,
            _ => 400.0 * wave,
        }
    };
    let all = ndarray::Array2::from_shape_fn((rows, width), |(row, column)| value(row, column));
    codec.encode_array(&all).unwrap()
}

/// The logarithm of softmax along the last axis.
fn log_softmax(x: &ArrayD<f64>) -> ArrayD<f64> {
    let mut out = x.clone();
    for mut row in out.lanes_mut(Axis(x.ndim() - 1)) {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
        row.mapv_inplace(|x| x - top - sum.ln());
    }
    out
}

#[test]
fn softmax_and_its_logarithm() {
    let short = FixedPoint::in_ring(Ring::Z32, 12).unwrap();
    let long = [(12, 10), (16, 3), (20, 10), (20, 1), (24, 33)].map(|(f, width)| (codec(f), width));
    let cases = long.into_iter().chain([(short, 10), (short, 3)]);
    for (codec, width) in cases {
        let (rows, ring, f) = (1600, codec.ring(), codec.fraction_bits());
        let (world, x) = (world(codec), logits(rows, width, codec));
        let expected = log_softmax(&codec.decode_array(&x));
        let allowed = 2.0 * unit(f) + unit(f + 3) * width as f64;
        let window = world.settings.window;
        let y = evaluate(&world, std::slice::from_ref(&x), cost::softmax(ring, rows, width, f, window), |p, x| {
            p.softmax(&x[0])
        });
        assert_eq!(y.shape(), x.shape());
        let far = (y - expected.mapv(f64::exp)).into_iter().map(f64::abs).fold(0.0, f64::max);
        assert!(far <= allowed, "{f} fraction bits, {width} wide: {far}, allowed {allowed}");
        if width == 10 {
            let cost = cost::log_softmax(ring, rows, width, f, window);
            let y = evaluate(&world, std::slice::from_ref(&x), cost, |p, x| p.log_softmax(&x[0]));
            let far = (y - expected).into_iter().map(f64::abs).fold(0.0, f64::max);
            assert!(far <= allowed, "{f} fraction bits: {far}, allowed {allowed}");
        }
    }
}

#[test]
fn cross_entropy_and_its_gradient() {
    let (rows, width) = (1600, 10);
    for (ring, randomness) in [
        (Ring::Z64, Randomness::Aes128Ctr),
        (Ring::Z64, Randomness::InsecurePhilox),
        (Ring::Z32, Randomness::Aes128Ctr),
    ] {
        let (codec, f) = (FixedPoint::from(ring), ring.default_fraction_bits());
        let world = World { randomness, ..world(codec) };
        let x = logits(rows, width, codec);
        let labels =
            ArrayD::from_shape_fn(vec![rows, width], |at| if at[0] * 7 % width == at[1] { 1u64 << f } else { 0 });
        let both = |p: &mut Party, x: &[Rep]| {
            let entropy = p.cross_entropy(&x[0], &x[1])?;
            assert_eq!(entropy.losses.shape(), [rows]);
            Ok(Rep::concat(&[entropy.losses, entropy.gradient.reshape(&[rows * width])?])?)
        };
        let cost = cost::cross_entropy(ring, rows, width, f, world.settings.window);
        let y = evaluate(&world, &[x.clone(), labels.clone()], cost, both);
        let logarithms = log_softmax(&codec.decode_array(&x)).into_dimensionality::<Ix2>().unwrap();
        for row in 0..rows {
            let label = row * 7 % width;
            let far = (y[row] + logarithms[[row, label]]).abs();
            assert!(far <= 4.0 * unit(f), "loss {row}: {} and not {}", y[row], -logarithms[[row, label]]);
            for column in 0..width {
                let exact = logarithms[[row, column]].exp() - f64::from(u32::from(column == label));
                let far = (y[rows + row * width + column] - exact).abs();
                assert!(far <= 4.0 * unit(f), "gradient {row}, {column}: {far}");
            }
        }
    }
}

/// The maximum of rows, exactly, of tensors of several shapes.
#[test]
fn maxima_of_rows() {
    let shapes = [(vec![7], vec![]), (vec![2, 3, 5], vec![2, 3]), (vec![4, 1], vec![4])];
    for (ring, (shape, rest)) in RINGS.into_iter().flat_map(|ring| shapes.clone().map(|shape| (ring, shape))) {
        let (world, n) = (world(ring.into()), shape.iter().product());
        let x = array(&shape, super::samples_in(ring, n, 3).into_iter().map(|x| (x as i64 >> 3) as u64).collect());
        let expected = x.map_axis(Axis(shape.len() - 1), |row| row.iter().map(|&x| x as i64).max().unwrap());
        let trial = run_trial(&world, &[x], &|p: &mut Party, x: &[Rep]| p.max_last_axis(&x[0])).unwrap();
        assert_eq!(trial.value.shape(), rest);
        assert_eq!(trial.value.mapv(|word| ring.signed(word)), expected);
    }
}

/// Nothing inside a function leaves the range while its input is within its own, so the check of ranges says nothing.
#[test]
fn inputs_within_range_raise_no_flag() {
    for codec in codecs() {
        let (ring, f) = (codec.ring(), codec.fraction_bits());
        let mut world = world(codec);
        world.settings.check_range = CheckRange::Run;
        let x = world.deal(&all_octaves(ring).mapv(|x| x.clamp(1, (1 << most_bits(ring)) - 1)));
        let powers = world.deal(&codec.encode_array(&ndarray::Array::linspace(-20.0, highest(codec), N)).unwrap());
        let (rows, labels) =
            (world.deal(&logits(40, 10, codec)), world.deal(&logits(40, 10, codec).mapv(|x| x & (1 << f))));
        let checked = world.run(|p| {
            let [x, powers, rows, labels] = [&x, &powers, &rows, &labels].map(|shares| &shares[p.id().index()]);
            let _ = p.reciprocal(x)?;
            let _ = p.div(x, x)?;
            let _ = p.quotient(x, &x.mul_word(1u64.wrapping_neg()))?;
            let _ = p.rsqrt(x)?;
            let _ = p.sqrt(x)?;
            let _ = p.log(x)?;
            let _ = p.exp(powers)?;
            let _ = p.sigmoid(powers)?;
            let _ = p.smooth(powers, SmoothFunction::Erf)?;
            let _ = p.log_softmax(rows)?;
            let _ = p.cross_entropy(rows, labels)?;
            p.check_range()
        });
        checked.into_iter().for_each(|result| result.unwrap());
    }
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let mut world = world(codec(20));
    world.settings.fidelity = Fidelity::Paper;
    let x = world.deal(&array(&[2, 3], vec![1 << 20; 6]));
    world.run(|p| {
        let x = &x[p.id().index()];
        for (octaves, says) in [
            (Octaves::new(-21, 3), "between 2^-20 and 2^41"),
            (Octaves::new(3, 3), "1 to 40 octaves"),
            (Octaves::new(-20, 21), "1 to 40 octaves"),
        ] {
            let error = p.log_in(x, octaves).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let error = p.softmax(&x.narrow(0..0).unwrap().reshape(&[3, 0]).unwrap()).unwrap_err().to_string();
        assert!(error.contains("last axis must have elements"), "{error}");
        assert!(p.cross_entropy(x, &x.reshape(&[3, 2]).unwrap()).is_err());
        // Truncations inside are exact whatever the settings are, which stay as they were.
        let y = p.rsqrt(x).unwrap();
        assert_eq!(p.settings().fidelity, Fidelity::Paper);
        let y = p.open(&y).unwrap().to_array().unwrap();
        assert!(y.iter().all(|&y| y.abs_diff(1 << 20) <= 2), "{y}");
    });
}

/// Every function under the protocol checker, on numbers of a few octaves, in both rings: from that of 32 bits and back.
#[test]
fn nothing_is_shown() {
    for ring in [Ring::Z64, Ring::Z32] {
        nothing_is_shown_in(ring);
    }
}

fn nothing_is_shown_in(ring: Ring) {
    const RANGE: Octaves = Octaves::new(-1, 2);
    let codec = FixedPoint::from(ring);
    let f = codec.fraction_bits();
    let one = f64::from(1 << f);
    let world = World::seeded(1).in_ring(ring);
    let check =
        |name: &str, inputs: usize| Check::new(name, inputs).bits(f + 1).errors(-3..=3).view_sizes(&[1]).world(&world);
    let real = move |x: i64| (x as f64 / one).max(0.5);
    let units = move |y: f64| (y * one).round() as i64;
    let whole = |of: fn(f64) -> f64| elementwise(move |x| units(of(real(x[0]))));
    let any = |of: fn(f64) -> f64| elementwise(move |x| units(of(x[0] as f64 / one)));
    // What lies below the range gives zero.
    let root = elementwise(move |x| if x[0] as f64 / one < 0.5 { 0 } else { units((x[0] as f64 / one).sqrt()) });
    let third = 0.353;
    let passed = [
        check("reciprocal", 1).run(|p, x| p.reciprocal_in(&x[0], RANGE), whole(|x| 1.0 / x)),
        check("1/√", 1).run(|p, x| p.rsqrt_in(&x[0], RANGE), whole(|x| 1.0 / x.sqrt())),
        check("√", 1).run(|p, x| p.sqrt_in(&x[0], RANGE), root),
        check("logarithm", 1).run(|p, x| p.log_in(&x[0], RANGE), whole(f64::ln)),
        check("exponential", 1).errors(-8..=8).run(|p, x| p.exp(&x[0]), any(f64::exp)),
        check("sigmoid", 1).run(|p, x| p.sigmoid(&x[0]), any(|x| 1.0 / (1.0 + (-x).exp()))),
        check("smooth function", 1)
            .run(|p, x| p.smooth(&x[0], SmoothFunction::Erf), any(|x| SmoothFunction::Erf.value(x))),
        check("quotient", 2)
            .run(|p, x| p.div_in(&x[0], &x[1], RANGE), elementwise(move |x| units(x[0] as f64 / one / real(x[1])))),
        // Divisors of either sign, −1024 to 1024, of which few are near zero.
        check("quotient of either sign", 2).errors(-8..=8).run(
            |p, x| p.quotient(&x[0], &x[1].mul_word(512).add_word(p.id(), units(third) as u64)),
            elementwise(move |x| units(x[0] as f64 / (512.0 * x[1] as f64 + units(third) as f64))),
        ),
    ];
    for report in passed {
        report.unwrap().require().unwrap();
    }
    // Loss and gradient at once, of rows of two, for any numbers as labels; and logarithms of rows.
    let rows = |n: usize| vec![vec![n.div_ceil(2), 2]; 2];
    let gradient = |p: &mut Party, x: &[Rep]| p.cross_entropy(&x[0], &x[1]).map(|entropy| entropy.gradient);
    let softmax = |p: &mut Party, x: &[Rep]| p.log_softmax(&x[0]);
    let expected = move |x: &[ArrayD<u64>]| log_softmax(&codec.decode_array(&x[0]));
    let difference = move |x: &[ArrayD<u64>]| {
        let mut gradient = expected(x).mapv(|y| units(y.exp()) as u64);
        gradient.zip_mut_with(&x[1], |y, label| *y = ring.residue(y.wrapping_sub(*label)));
        gradient
    };
    let logarithm = move |x: &[ArrayD<u64>]| expected(x).mapv(|y| ring.residue(units(y) as u64));
    let check = |name| check(name, 2).shapes(rows).view_sizes(&[2]);
    check("cross-entropy").run(gradient, difference).unwrap().require().unwrap();
    check("log-softmax").run(softmax, logarithm).unwrap().require().unwrap();
}
