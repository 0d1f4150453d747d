//! Normalised rows and batches of matrix products, against f64, with their costs and under the protocol checker.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::mpc::check::Check;
use cryptgpu_core::mpc::{CheckRange, MpcError, RowFunction, World, cost};
use cryptgpu_core::prg::Randomness;
use cryptgpu_core::ring::{FixedPoint, Ring};
use ndarray::{ArrayD, Axis, IxDyn};

/// Words without a pattern, the same in every run.
fn samples(n: usize, seed: u64) -> Vec<u64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    (0..n).map(|_| next()).collect()
}

fn world(ring: Ring, f: u32) -> World {
    let mut world = World::seeded(u64::from(f));
    world.settings.codec = FixedPoint::in_ring(ring, f).unwrap();
    world.randomness = Randomness::InsecurePhilox;
    world
}

/// Rows whose standard deviations are 2^(−e) for e from −`up` to `down`, with means a hundred times as large at most.
fn rows(count: usize, width: usize, [up, down]: [i32; 2]) -> ArrayD<f64> {
    let words = samples(count * width, 5);
    ArrayD::from_shape_fn(IxDyn(&[count, width]), |at| {
        let uniform = words[at[0] * width + at[1]] as f64 / 2f64.powi(63) - 1.0;
        let size = 2f64.powi(up - (at[0] as i32) % (up + down + 1));
        size * (1.7 * uniform + (at[0] % 7) as f64 - 3.0)
    })
}

fn normalised(x: &ArrayD<f64>, function: RowFunction) -> ArrayD<f64> {
    let mut y = x.as_standard_layout().into_owned();
    y.rows_mut().into_iter().for_each(|mut row| function.apply(row.as_slice_mut().unwrap()));
    y
}

#[test]
fn rows_are_normalised() {
    let cases = [
        (Ring::Z64, 20, 300, 32, [7, 9]),
        (Ring::Z64, 20, 257, 1, [3, 3]),
        (Ring::Z64, 20, 301, 48, [5, 9]),
        (Ring::Z64, 16, 300, 10, [7, 5]),
        (Ring::Z64, 24, 260, 64, [2, 10]),
        (Ring::Z64, 12, 300, 7, [9, 3]),
        (Ring::Z32, 12, 301, 7, [9, 3]),
        (Ring::Z32, 14, 300, 32, [5, 6]),
    ];
    let functions = [RowFunction::LayerNorm { eps: 1e-5 }, RowFunction::RmsNorm { eps: 1e-5 }];
    for ((ring, f, count, width, [up, down]), function) in
        cases.into_iter().flat_map(|case| functions.map(|function| (case, function)))
    {
        let (world, eps) = (world(ring, f), 1e-5);
        let codec = world.settings.codec;
        // The norm of a row is limited, without its mean or with it.
        let sizes = if function.centres() { [up, down] } else { [up - 3, down] };
        let x = codec.encode_array(&rows(count, width, sizes)).unwrap();
        let shares = world.deal(&x);
        let run = world.run_counted(|p| {
            let y = p.of_rows(&shares[p.id().index()], function).unwrap();
            (p.declared(), codec.decode_array(&p.open(&y).unwrap().to_array().unwrap()))
        });
        let cost = cost::rows(ring, count, width, f, function, world.settings.window);
        let bytes: u64 = run.iter().map(|(_, stats)| stats.payload_bytes()).sum();
        let opened = cost::open(ring, count * width);
        let (declared, y) = &run[0].0;
        assert_eq!((*declared, bytes), (cost, cost.bytes + opened.bytes), "{f} bits, {width} wide");
        let x = codec.decode_array(&x);
        let expected = normalised(&x, function);
        let unit = 0.5f64.powi(f as i32);
        for ((x, y), expected) in x.axis_iter(Axis(0)).zip(y.axis_iter(Axis(0))).zip(expected.axis_iter(Axis(0))) {
            let mean = if function.centres() { x.sum() / width as f64 } else { 0.0 };
            let variance = x.mapv(|x| (x - mean).powi(2)).sum() / width as f64;
            let sigma = (variance + eps).sqrt();
            // A mean's factor has four bits more than the codec, unless it is a power of two.
            let mean = if width.is_power_of_two() { 0.0 } else { mean.abs() * unit / 16.0 / sigma };
            for (y, expected) in y.iter().zip(expected) {
                let relative = 2f64.powi(-19) + 2f64.powi(-11) * eps / sigma.powi(2);
                let (error, allowed) =
                    ((y - expected).abs(), (2.0 + 2.0 / sigma) * unit + expected.abs() * relative + mean);
                assert!(
                    error <= allowed,
                    "{f} bits, {width} wide, σ {sigma}: {y} and not {expected}, {} times too far",
                    error / allowed
                );
            }
        }
    }
}

/// Up to the end of the range nothing leaves it, of constant rows neither; beyond it the check of ranges finds it.
#[test]
fn the_range_of_rows_is_the_one_that_is_said() {
    let mut world = world(Ring::Z64, 20);
    world.settings.check_range = CheckRange::Run;
    let codec = world.settings.codec;
    let function = RowFunction::LayerNorm { eps: 1e-5 };
    let largest = function.largest_norm(codec).unwrap();
    let run = |size: f64| {
        let row = |at: IxDyn| match at[0] {
            0 => size * [1.0, -1.0][at[1] % 2] / 8f64.sqrt(),
            _ => 900.0,
        };
        let x = world.deal(&codec.encode_array(&ArrayD::from_shape_fn(IxDyn(&[2, 8]), row)).unwrap());
        world.run(|p| {
            let y = p.of_rows(&x[p.id().index()], function)?;
            p.check_range()?;
            Ok::<_, MpcError>(codec.decode_array(&p.open(&y)?.to_array()?))
        })
    };
    let [y, ..] = run(0.99 * largest);
    let y = y.unwrap();
    assert!(y.iter().enumerate().all(|(at, y)| (y.abs() - f64::from(u8::from(at < 8))).abs() < 1e-3), "{y}");
    assert!(run(1.5 * largest).into_iter().all(|result| result.is_err()));
    for (function, codec) in [
        (RowFunction::LayerNorm { eps: 0.0 }, codec),
        (RowFunction::LayerNorm { eps: f64::NAN }, codec),
        (RowFunction::RmsNorm { eps: 0.0 }, codec),
        (RowFunction::LogSoftmax, FixedPoint::new(27).unwrap()),
    ] {
        assert!(matches!(function.check(codec), Err(MpcError::Argument { .. })), "{function:?}");
    }
}

/// One matrix product for each entry of the leading axes, in the ring and as fixed-point numbers, in both rings.
#[test]
fn matrices_are_multiplied_one_by_one() {
    for (shape, [m, k, n]) in
        [(vec![6], [5, 7, 3]), (vec![2, 3], [1, 4, 9]), (vec![], [17, 8, 17]), (vec![4, 1], [3, 1, 1])]
    {
        for ring in [Ring::Z64, Ring::Z32] {
            let mut world = World::seeded(3);
            world.settings.codec = FixedPoint::in_ring(ring, if ring == Ring::Z64 { 20 } else { 10 }).unwrap();
            let codec = world.settings.codec;
            let [left, right] = [[m, k], [k, n]].map(|matrix| {
                let shape = [&shape[..], &matrix].concat();
                let words = samples(shape.iter().product(), (m + k) as u64);
                let values = words.into_iter().map(|word| (word >> 40) as f64 / (1 << 24) as f64 - 0.5).collect();
                ArrayD::from_shape_vec(IxDyn(&shape), values).unwrap()
            });
            let shares = [&left, &right].map(|x| world.deal(&codec.encode_array(x).unwrap()));
            let [(y, spent), ..] = world.run(|p| {
                let [x, y] = &shares;
                let before = p.declared();
                let z = p.batched_matmul(&x[p.id().index()], &y[p.id().index()]).unwrap();
                let spent = p.declared().bytes - before.bytes;
                (codec.decode_array(&p.open(&z).unwrap().to_array().unwrap()), spent)
            });
            let matrices = shape.iter().product::<usize>();
            assert_eq!(y.shape(), [&shape[..], &[m, n]].concat());
            assert_eq!(spent, cost::truncate_product(ring, matrices * m * n, codec.fraction_bits()).bytes);
            let [a, b, c] = [(&left, [m, k]), (&right, [k, n]), (&y, [m, n])]
                .map(|(x, [rows, columns])| x.to_shape((matrices, rows, columns)).unwrap().to_owned());
            for at in 0..matrices {
                let error =
                    c.index_axis(Axis(0), at).to_owned() - a.index_axis(Axis(0), at).dot(&b.index_axis(Axis(0), at));
                let allowed = (2.0 + k as f64) * 0.5f64.powi(codec.fraction_bits() as i32);
                assert!(error.iter().all(|error| error.abs() <= allowed), "{shape:?} in {ring}: {error}");
            }
        }
    }
    let world = World::seeded(1);
    let x = world.deal(&ArrayD::<u64>::ones(vec![2, 2, 3]));
    world.run(|p| {
        let x = &x[p.id().index()];
        for other in [x.clone(), x.reshape(&[3, 4]).unwrap(), x.reshape(&[4, 3, 1]).unwrap(), x.reshape(&[12]).unwrap()]
        {
            assert!(matches!(p.batched_matmul(x, &other), Err(MpcError::Device { .. })), "{:?}", other.shape());
        }
    });
}

#[test]
fn nothing_is_shown() {
    for ring in [Ring::Z64, Ring::Z32] {
        nothing_is_shown_in(ring);
    }
}

fn nothing_is_shown_in(ring: Ring) {
    let world = World::seeded(2).in_ring(ring);
    let f = ring.default_fraction_bits();
    let one = f64::from(1 << f);
    let check = |name: &str, inputs: usize| Check::new(name, inputs).bits(f + 1).view_sizes(&[2]).world(&world);
    let rows = |n: usize| vec![vec![n.div_ceil(2), 2]];
    for (name, function) in [
        ("layer normalisation", RowFunction::LayerNorm { eps: 1e-1 }),
        ("normalisation without a mean", RowFunction::RmsNorm { eps: 1e-1 }),
    ] {
        let plaintext = move |x: &[ArrayD<u64>]| {
            let x = x[0].mapv(|x| ring.signed(x) as f64 / one);
            normalised(&x, function).mapv(|y| ring.residue((y * one).round() as i64 as u64))
        };
        let report = check(name, 1).errors(-12..=12).shapes(rows);
        report.run(|p, x| p.of_rows(&x[0], function), plaintext).unwrap().require().unwrap();
    }
    let shapes = |n: usize| vec![vec![n.div_ceil(2), 1, 2], vec![n.div_ceil(2), 2, 1]];
    let products = move |x: &[ArrayD<u64>]| {
        let products = &x[0].view().into_shape_with_order((x[0].len() / 2, 2)).unwrap().mapv(|x| ring.signed(x))
            * &x[1].view().into_shape_with_order((x[0].len() / 2, 2)).unwrap().mapv(|x| ring.signed(x));
        let sums = products.sum_axis(Axis(1)).mapv(|sum| ring.residue((sum as f64 / one).floor() as i64 as u64));
        sums.into_shape_with_order(IxDyn(&[x[0].len() / 2, 1, 1])).unwrap()
    };
    let report = check("batched matrix product", 2).errors(0..=1).shapes(shapes);
    report.run(|p, x| p.batched_matmul(&x[0], &x[1]), products).unwrap().require().unwrap();
}
