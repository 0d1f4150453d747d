//! Every protocol against plaintext arithmetic, over all shapes of the packing and the ring's
//! edge values; costs are checked on the way.

use super::{RINGS, SIZES, array, evaluate, mix, run_trial, samples_in, small_in};
use crate::device::{ConvGeometry, DeviceError, PoolGeometry, Tensor};
use crate::mpc::{Additive, INPUT_PIECE, MpcError, Operand, Party, PiecewiseLinear, Rep, SignWindow, World, cost};
use crate::net::PartyId;
use crate::ring::{FixedPoint, Ring};
use ndarray::{ArrayD, Axis};

/// Everything in both rings.
pub(super) fn in_rings<T: Clone>(all: impl IntoIterator<Item = T>) -> Vec<(Ring, T)> {
    let all: Vec<T> = all.into_iter().collect();
    RINGS.into_iter().flat_map(|ring| all.clone().into_iter().map(move |one| (ring, one))).collect()
}

/// ⌊x/2^d⌋ or, where that is not x/2^d, one more.
pub(super) fn assert_truncated(results: &ArrayD<u64>, exact: impl Iterator<Item = u64>, d: u32) {
    for (i, (&y, x)) in results.iter().zip(exact).enumerate() {
        let floor = (x as i64 >> d) as u64;
        let (error, most) = (y.wrapping_sub(floor), u64::from(x.trailing_zeros() < d));
        assert!(error <= most, "element {i}: {x} / 2^{d} gave {y}, not {floor} or {most} more");
    }
}

fn bits_of(world: &World, x: &ArrayD<u64>, protocol: impl Fn(&mut Party, &Rep) -> Vec<bool> + Sync) -> Vec<bool> {
    let shares = world.deal(x);
    let [a, b, c] = world.run(|p| protocol(p, &shares[p.id().index()]));
    assert!(a == b && b == c);
    a
}

#[test]
fn the_sign_is_exact_on_all_bits() {
    for (ring, n) in in_rings(SIZES) {
        let x = array(&[n], samples_in(ring, n, 9));
        let signs = bits_of(&World::seeded(n as u64).in_ring(ring), &x, |p, x| {
            let before = p.declared();
            let bits = p.sign(x).unwrap();
            // A round less from half of the bits.
            let rounds = if ring == Ring::Z64 { 6 } else { 5 };
            assert_eq!(p.declared().rounds - before.rounds, rounds);
            p.open_bits(&bits).unwrap()
        });
        let expected: Vec<bool> = x.iter().map(|&x| (x as i64) < 0).collect();
        assert_eq!(signs, expected, "n = {n}, {ring}");
    }
}

#[test]
fn a_window_is_exact_within_its_range() {
    let windows = [(0, 32), (0, 16), (8, 32), (12, 16), (32, 32), (16, 16), (3, 8), (24, 8)];
    for (ring, (low, width)) in in_rings(windows).into_iter().filter(|(ring, (low, width))| low + width <= ring.bits())
    {
        let mut world = World::seeded(u64::from(low)).in_ring(ring);
        world.settings.window = SignWindow::new(low, width).unwrap();
        let shift = ring.bits() - (low + width);
        // The window's own lowest value is out of its range: |x| ≤ 2^(low + width − 1) − 2^low.
        let lowest = (1u64 << (low + width - 1)).wrapping_neg();
        let x = samples_in(ring, 3000, 1)
            .into_iter()
            .map(|w| (w as i64 >> shift) as u64)
            .map(|x| if x >> low == lowest >> low { 0 } else { x });
        let x = array(&[3000], x.collect());
        let signs = bits_of(&world, &x, |p, x| {
            let bits = p.sign(x).unwrap();
            p.open_bits(&bits).unwrap()
        });
        for (&x, sign) in x.iter().zip(signs) {
            let x = x as i64;
            if x < 0 || x >= 1 << low {
                assert_eq!(sign, x < 0, "x = {x}, window {low} + {width}");
            }
        }
        let relu = evaluate(&world, std::slice::from_ref(&x), |p, x| p.relu(x[0]));
        for (&x, &y) in x.iter().zip(&relu) {
            let x = x as i64;
            assert!(y as i64 == x.max(0) || (y == 0 && x < 1 << low), "ReLU({x}) = {y}");
        }
    }
    assert!(SignWindow::new(40, 32).is_none() && SignWindow::new(0, 20).is_none());
}

#[test]
fn relu_and_maximum_are_exact() {
    for (ring, n) in in_rings(SIZES) {
        let world = World::seeded(n as u64).in_ring(ring);
        let x = array(&[n], samples_in(ring, n, 11));
        let relu = evaluate(&world, std::slice::from_ref(&x), |p, x| p.relu(x[0]));
        assert_eq!(relu, x.mapv(|x| (x as i64).max(0) as u64), "n = {n}");
        let [x, y] = [1, 2].map(|seed| array(&[n], small_in(ring, samples_in(ring, n, seed))));
        let larger = evaluate(&world, &[x.clone(), y.clone()], |p, v| p.maximum(v[0], v[1]));
        let expected: Vec<u64> = x.iter().zip(&y).map(|(&x, &y)| (x as i64).max(y as i64) as u64).collect();
        assert_eq!(larger, array(&[n], expected));
    }
}

#[test]
fn clipped_relu_is_exact() {
    for (ring, step) in [(Ring::Z64, 20_000), (Ring::Z32, 100)] {
        let world = World::seeded(8).in_ring(ring);
        let six = 6 << world.settings.codec.fraction_bits();
        for n in [700, 255] {
            let x = array(&[2, n], (0..2 * n as i64).map(|i| ((i - n as i64) * step) as u64).collect());
            let y = evaluate(&world, std::slice::from_ref(&x), |p, x| p.clipped_relu(x[0], 6.0));
            assert_eq!(y, x.mapv(|x| (x as i64).clamp(0, six) as u64));
            let kept = bits_of(&world, &x, |p, x| {
                let (_, within) = p.clipped_relu_kept(x, 6.0).unwrap();
                p.open_bits(&within).unwrap()
            });
            assert!(kept.into_iter().eq(x.iter().map(|&x| 0 < x as i64 && x as i64 <= six)), "{ring}, n = {n}");
        }
    }
}

/// Densely around every place where the slope changes, at several numbers of fraction bits; with whole slopes exactly, with
/// others as in the clear but for a unit, and for what rounding a slope makes of x.
#[test]
fn piecewise_linear_functions() {
    let functions = [
        PiecewiseLinear::clip(-1.5, 2.25),
        PiecewiseLinear::line(-3.0, 0.5),
        PiecewiseLinear::leaky_relu(0.01),
        PiecewiseLinear::leaky_relu(-0.75),
        PiecewiseLinear::hard_sigmoid(0.2, 0.5),
        PiecewiseLinear::new(0.125, -2.0, vec![(-1.0, 3.0), (-0.5, -4.5), (1.0, 0.3)]),
        Ok(PiecewiseLinear::absolute()),
    ];
    // In the ring of 32 bits a truncated result lies below 2^(30 − 12 − 12).
    let codecs = [(Ring::Z64, 12, 90.0), (Ring::Z64, 20, 90.0), (Ring::Z64, 24, 90.0), (Ring::Z32, 12, 9.0)];
    for ((ring, f, far), function) in codecs.into_iter().flat_map(|codec| functions.each_ref().map(|one| (codec, one)))
    {
        let function = function.as_ref().unwrap();
        let mut world = World::seeded(u64::from(f));
        world.settings.codec = FixedPoint::in_ring(ring, f).unwrap();
        let (codec, unit) = (world.settings.codec, 0.5f64.powi(f as i32));
        let between = (0..1200).map(|i| f64::from(i - 600) / 100.0);
        let near = function.places().flat_map(|at| (-3..=3).map(move |units| at + f64::from(units) * unit));
        let x = codec.encode_array(&ndarray::Array1::from_iter(between.chain(near).chain([-far, far]))).unwrap();
        let n = x.len();
        let trial = run_trial(&world, std::slice::from_ref(&x), &|p: &mut Party, x: &[Rep]| {
            p.piecewise_linear(&x[0], function)
        });
        let trial = trial.unwrap();
        let cut = function.cut(f);
        let cost = cost::piecewise_linear(ring, n, function.kinks(), cut, world.settings.window);
        assert_eq!((trial.counted.bytes, trial.declared), (cost.bytes, Some(cost)), "{function:?}");
        for (&x, &y) in x.iter().zip(&trial.value) {
            let (x, y) = (codec.decode(x), codec.decode(y));
            // Half a unit for each of the slopes and places.
            let rounding = if cut == 0 { 1.0 } else { 1.0 + (1 + function.kinks()) as f64 * (x.abs() + 4.0) };
            let error = (y - function.value(x)).abs() / unit;
            assert!(error <= 1.0 + rounding / 2.0, "{function:?} with {f} fraction bits at {x}: {error} units");
        }
    }
    let (leaky, halves) = (PiecewiseLinear::leaky_relu(0.01).unwrap(), PiecewiseLinear::leaky_relu(0.5).unwrap());
    assert_eq!((leaky.cut(20), halves.cut(20), PiecewiseLinear::absolute().cut(20)), (19, 1, 0));
    for wrong in [
        PiecewiseLinear::new(f64::NAN, 0.0, vec![]),
        PiecewiseLinear::new(0.0, 2e9, vec![]),
        PiecewiseLinear::new(0.0, 0.0, vec![(1.0, 1.0), (1.0, 1.0)]),
        PiecewiseLinear::new(0.0, 0.0, (0..17).map(|at| (f64::from(at), 1.0)).collect()),
        PiecewiseLinear::hard_sigmoid(0.0, 0.5),
    ] {
        assert!(matches!(wrong, Err(MpcError::Argument { .. })), "{wrong:?}");
    }
    let forged = serde_json::to_string(&leaky).unwrap().replace("0.01", "1e300");
    assert!(serde_json::from_str::<PiecewiseLinear>(&forged).unwrap_err().to_string().contains("2^30"));
}

#[test]
fn comparison_and_bits_as_ring_elements() {
    for (ring, n) in in_rings(SIZES) {
        let world = World::seeded(n as u64).in_ring(ring);
        let [x, y] = [5, 6].map(|seed| array(&[n], small_in(ring, samples_in(ring, n, seed))));
        let less = evaluate(&world, &[x.clone(), y.clone()], |p, v| {
            let bits = p.less_than(v[0], v[1])?;
            p.bits_to_ring(&bits)
        });
        let expected: Vec<u64> = x.iter().zip(&y).map(|(&x, &y)| u64::from((x as i64) < y as i64)).collect();
        assert_eq!(less, array(&[n], expected), "n = {n}");
    }
}

#[test]
fn products_without_truncation_are_exact() {
    for (ring, n) in in_rings(SIZES) {
        let world = World::seeded(2).in_ring(ring);
        let [x, y] = [1, 2].map(|seed| array(&[n], samples_in(ring, n, seed)));
        let z = evaluate(&world, &[x.clone(), y.clone()], |p, v| p.mul_no_trunc(v[0], v[1]));
        let expected: Vec<u64> = x.iter().zip(&y).map(|(x, y)| ring.signed(x.wrapping_mul(*y)) as u64).collect();
        assert_eq!(z, array(&[n], expected));
    }
}

#[test]
fn inputs_and_openings() {
    for (ring, owner) in in_rings(PartyId::ALL) {
        let x = array(&[7, 3], samples_in(ring, 21, 8)).mapv(|x| ring.residue(x));
        let value = Tensor::from_array_in(ring, Default::default(), &x);
        let world = World::seeded(1).in_ring(ring);
        let outs = world.run(|p| {
            let mine = (p.id() == owner).then_some(&value);
            let share = p.input(owner, mine, &[7, 3]).unwrap();
            let all = p.open(&share).unwrap().to_array().unwrap();
            let one = p.open_to(owner.next(), &share).unwrap().map(|t| t.to_array().unwrap());
            (all, one, p.declared(), p.stats())
        });
        // Sparse openings overlap, so the chain is shorter than the sum of the declared rounds.
        let bytes: u64 = outs.iter().map(|o| o.3.payload_bytes()).sum();
        assert_eq!(bytes, outs[0].2.bytes);
        assert!(outs.iter().all(|o| o.3.rounds <= o.2.rounds && o.2.rounds == 3));
        for (id, (all, one, _, _)) in PartyId::ALL.into_iter().zip(&outs) {
            assert_eq!(all, &x);
            assert_eq!(one.as_ref(), (id == owner.next()).then_some(&x));
        }
        let shared = run_trial(&world, std::slice::from_ref(&x), &|p: &mut Party, _: &[Rep]| {
            p.input(owner, (p.id() == owner).then_some(&value), &[7, 3])
        });
        assert_eq!(shared.unwrap().value, x);
    }
}

/// A tensor of several messages is shared as one, at the cost of one, and no mask is used twice.
#[test]
fn inputs_in_pieces() {
    let n = INPUT_PIECE + 65;
    for (ring, owner) in in_rings(PartyId::ALL) {
        let x = array(&[n], samples_in(ring, n, 8)).mapv(|x| ring.residue(x));
        let zeros = Tensor::full_in(ring, Default::default(), &[5, n / 5 + 1], 0);
        let low = Tensor::from_array_in(ring, Default::default(), &x.mapv(|x| x & 7));
        let value = Tensor::from_array_in(ring, Default::default(), &x);
        let outs = World::seeded(1).in_ring(ring).run(|p| {
            fn mine<T>(p: &Party, owner: PartyId, value: T) -> Option<T> {
                (p.id() == owner).then_some(value)
            }
            let operand = p.input_operand(owner, mine(p, owner, &value), &[n])?;
            let input = p.input(owner, mine(p, owner, &zeros), zeros.shape())?;
            let (declared, stats) = (p.declared(), p.stats());
            let bits = p.input_xor(owner, mine(p, owner, &low), &[n], 3)?;
            let opened = [p.open(&operand.rep()?)?, p.open(&input)?, p.open_xor(&bits)?].map(|x| x.to_array().unwrap());
            Ok::<_, MpcError>((opened, declared, stats, input.components().0.to_array()?))
        });
        let outs = outs.map(|out| out.unwrap());
        let sent: u64 = outs.iter().map(|out| out.2.payload_bytes()).sum();
        for ([operand, input, bits], declared, stats, _) in &outs {
            assert!(*operand == x && *bits == x.mapv(|x| x & 7), "{ring}, {owner}");
            assert!(input.iter().all(|&x| x == 0), "{ring}, {owner}");
            assert!(declared.bytes == sent && declared.rounds == 2 && stats.rounds <= 1, "{declared:?}, {stats:?}");
        }
        // Of zeros the party behind the owner gets the masks alone.
        let masks: Vec<u64> = outs[owner.next().index()].3.iter().copied().collect();
        let (first, second) = (&masks[..65], &masks[INPUT_PIECE..INPUT_PIECE + 65]);
        assert!(first.iter().zip(second).all(|(a, b)| a != b), "{ring}, {owner}");
    }
}

#[test]
fn only_the_owner_may_bring_an_input() {
    let value = Tensor::full(Default::default(), &[2], 1);
    let results = World::seeded(1).run(|p| p.input(PartyId::P0, Some(&value), &[2]).map(|_| ()));
    // The owner may find that party 1 has already left.
    assert!(matches!(&results[0], Ok(()) | Err(MpcError::Net(_))), "{results:?}");
    assert!(results[1..].iter().all(|result| matches!(result, Err(MpcError::Argument { .. }))), "{results:?}");
}

/// All parties refuse what is of another ring than the run, or than what it meets, before anything is sent.
#[test]
fn what_is_of_another_ring_is_refused() {
    let world = World::seeded(1).in_ring(Ring::Z32);
    let value = Tensor::full(Default::default(), &[3], 1);
    let errors = world.run(|p| {
        let [short, long] =
            [Ring::Z32, Ring::Z64].map(|ring| Tensor::from_array_in(ring, p.device(), &ndarray::array![1, 2, 3]));
        let [short, long] = [short, long].map(|value| Rep::public(p.id(), &value));
        let bits = p.sign(&short).unwrap();
        let input = if p.id() == PartyId::P0 { p.input(PartyId::P0, Some(&value), &[3]).map(drop) } else { Ok(()) };
        assert!(input.is_ok() != (p.id() == PartyId::P0));
        [
            p.mul(&short, &long).unwrap_err(),
            p.maximum(&long, &short).unwrap_err(),
            p.bit_product(&bits, &long).unwrap_err(),
            p.send(crate::mpc::Side::Next, &value, 7).unwrap_err(),
            p.matmul(&short.reshape(&[1, 3]).unwrap(), &long.reshape(&[3, 1]).unwrap()).unwrap_err(),
        ]
        .map(|error| error.to_string())
    });
    for error in errors.into_iter().flatten() {
        assert!(error.contains("32 bits") && error.contains("64 bits"), "{error}");
    }
}

/// x · y modulo 2^64 by 128-bit arithmetic.
fn plain_matmul(x: &ArrayD<u64>, y: &ArrayD<u64>) -> Vec<i128> {
    let (m, k, n) = (x.shape()[0], x.shape()[1], y.shape()[1]);
    let mut out = vec![0i128; m * n];
    for i in 0..m {
        for j in 0..n {
            out[i * n + j] = (0..k).map(|l| i128::from(x[[i, l]] as i64) * i128::from(y[[l, j]] as i64)).sum();
        }
    }
    out
}

/// Numbers below 8, or below 1/2 in the ring of 32 bits, with its usual fraction bits.
fn fixed(ring: Ring, n: usize, seed: u64) -> Vec<u64> {
    let cut = if ring == Ring::Z64 { 41 } else { 53 };
    (0..n as u64).map(|i| (mix(i ^ seed << 32) as i64 >> cut) as u64).collect()
}

#[test]
fn matrix_products_and_layers_with_bias() {
    // An odd number of elements on the way and at the end, and none.
    for (ring, n) in in_rings([700, 701]) {
        let (world, f) = (World::seeded(6).in_ring(ring), ring.default_fraction_bits());
        let (x, y) = (array(&[5, 33], fixed(ring, 165, 1)), array(&[33, n], fixed(ring, 33 * n, 2)));
        let exact = plain_matmul(&x, &y);
        let z = evaluate(&world, &[x.clone(), y.clone()], |p, v| p.matmul(v[0], v[1]));
        assert_eq!(z.shape(), [5, n]);
        assert_truncated(&z, exact.iter().map(|&z| z as u64), f);

        let w = y.t().as_standard_layout().to_owned();
        let unit = ring.range_bits() - 27;
        let bias = array(&[n], (0..n as i64).map(|i| ((i << unit) - (200 << unit)) as u64).collect());
        let with_bias = exact.iter().enumerate().map(|(i, &z)| (z as u64).wrapping_add(bias[[i % n]]));
        let z = evaluate(&world, &[x, w.into_dyn(), bias.clone()], |p, v| {
            let w = Operand::new(p.id(), v[1].clone()).with_cut(f + 1);
            p.linear(v[0], &w, Some(v[2]))
        });
        assert_truncated(&z, with_bias, f + 1);
    }
}

/// Whoever owns weights, their products are those of a share of them, of which they are one too, and fewer.
#[test]
fn weights_multiply_as_the_share_that_their_owner_makes() {
    let window = PoolGeometry { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 0, 2], dilation: [1, 2] };
    let geometry = ConvGeometry { batch: 3, in_channels: 4, input: [9, 8], out_channels: 6, window, groups: 2 };
    let [images, weights, outputs] =
        [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape().unwrap()];
    for (ring, owner) in in_rings(PartyId::ALL) {
        let world = World::seeded(8).in_ring(ring);
        let of = |shape: &[usize], seed| array(shape, samples_in(ring, shape.iter().product(), seed));
        let w = of(&weights, 1);
        let [x, dy] = [(&images, 2), (&outputs, 3)].map(|(shape, seed)| world.deal(&of(shape, seed)));
        let results = world.run(|p| {
            let (me, own) = (p.id().index(), (p.id() == owner).then(|| Tensor::from_array_in(ring, p.device(), &w)));
            let share = p.input(owner, own.as_ref(), &weights)?;
            let (kept, full) = (Operand::of_kept(p.id(), share.clone())?, Operand::new(p.id(), share));
            let alone = p.input_operand(owner, own.as_ref(), &weights)?;
            let components = if p.id() == owner { 2 } else { 1 };
            for weights_of in [&alone, &kept] {
                assert_eq!((2 * weights_of.bytes(), weights_of.shape()), (components * full.bytes(), &weights[..]));
                let opened = p.open(&weights_of.rep()?)?.to_array()?;
                assert_eq!(opened.mapv(|x| ring.signed(x)), w.mapv(|x| ring.signed(x)));
            }
            let mut same = |product: &dyn Fn(&Operand) -> Result<Additive, DeviceError>| {
                let [alone, kept, full] = [&alone, &kept, &full].map(|weights| {
                    let z = p.reshare(product(weights)?)?;
                    Ok::<_, MpcError>(p.open(&z)?.to_array()?)
                });
                let full = full?;
                assert!(alone? == full && kept? == full, "{ring}, owner {owner}");
                Ok::<_, MpcError>(())
            };
            same(&|w| x[me].local_conv2d(w, &geometry, None))?;
            same(&|w| dy[me].conv2d_input_gradient(w, &geometry))?;
            let made = [&alone, &kept, &full].map(|weights| {
                let mut made = 0;
                let product = weights.products(&x[me], |terms| {
                    made = terms.len();
                    Tensor::conv2d_sum(terms, &geometry)
                });
                product.map(|_| made).unwrap()
            });
            Ok::<_, MpcError>(made)
        });
        // Ring products of all parties. Who looks at what he has does not know who owns it.
        let made =
            results.map(|result| result.unwrap()).into_iter().reduce(|a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
        assert_eq!(made, Some([3, if owner == PartyId::P0 { 3 } else { 4 }, 5]), "{ring}, owner {owner}");
    }
}

#[test]
fn convolutions_with_padding_stride_groups_and_dilation() {
    for ring in RINGS {
        convolution_with_everything(ring);
    }
}

fn convolution_with_everything(ring: Ring) {
    let world = World::seeded(6).in_ring(ring);
    let window = PoolGeometry { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 0, 2], dilation: [1, 2] };
    let geometry = ConvGeometry { batch: 3, in_channels: 4, input: [9, 8], out_channels: 6, window, groups: 2 };
    let out = geometry.output_shape().unwrap();
    let x = array(&geometry.input_shape(), fixed(ring, 3 * 4 * 72, 3));
    let w = array(&geometry.weight_shape(), fixed(ring, 6 * 2 * 6, 4));
    let bias = array(&[6], fixed(ring, 6, 5));
    let mut exact = ArrayD::<u64>::zeros(out.to_vec());
    for ((b, o, oy, ox), y) in exact.view_mut().into_dimensionality::<ndarray::Ix4>().unwrap().indexed_iter_mut() {
        *y = bias[[o]];
        for (c, ky, kx) in itertools(2, 3, 2) {
            let (iy, ix) = ((oy * 2 + ky).wrapping_sub(1), ox + 2 * kx);
            if iy < 9 && ix < 8 {
                *y = y.wrapping_add(x[[b, o / 3 * 2 + c, iy, ix]].wrapping_mul(w[[o, c, ky, kx]]));
            }
        }
    }
    let z = evaluate(&world, &[x, w, bias], |p, v| {
        let w = Operand::new(p.id(), v[1].clone());
        p.conv2d(v[0], &w, &geometry, Some(v[2]))
    });
    assert_eq!(z.shape(), out);
    assert_truncated(&z, exact.iter().copied(), ring.default_fraction_bits());
}

fn itertools(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

#[test]
fn pooling_of_images() {
    for ring in RINGS {
        pooling_in(ring);
    }
}

fn pooling_in(ring: Ring) {
    let world = World::seeded(6).in_ring(ring);
    let x = array(&[2, 3, 11, 10], fixed(ring, 660, 3));
    for window in [PoolGeometry::square(2, 2, 0), PoolGeometry::square(3, 2, 1), PoolGeometry::square(3, 1, 0)] {
        let out = window.output([11, 10]).unwrap();
        let shape = [2, 3, out[0], out[1]];
        let (mut largest, mut sums) =
            (ArrayD::from_elem(shape.to_vec(), i64::MIN), ArrayD::<i64>::zeros(shape.to_vec()));
        let pad = window.padding[0];
        for ((b, c, oy, ox), top) in
            largest.view_mut().into_dimensionality::<ndarray::Ix4>().unwrap().indexed_iter_mut()
        {
            for (_, ky, kx) in itertools(1, window.kernel[0], window.kernel[1]) {
                let (iy, ix) =
                    ((oy * window.stride[0] + ky).wrapping_sub(pad), (ox * window.stride[1] + kx).wrapping_sub(pad));
                if iy < 11 && ix < 10 {
                    *top = (*top).max(x[[b, c, iy, ix]] as i64);
                    sums[[b, c, oy, ox]] += x[[b, c, iy, ix]] as i64;
                }
            }
        }
        for bits in [SignWindow::default(), SignWindow::new(0, ring.bits() / 2).unwrap()] {
            let mut world = world.clone();
            world.settings.window = bits;
            let pooled = evaluate(&world, std::slice::from_ref(&x), |p, x| p.max_pool(x[0], &window));
            assert_eq!(pooled.mapv(|x| x as i64), largest, "{window:?}, {bits:?}");
        }
        let pooled = evaluate(&world, std::slice::from_ref(&x), |p, x| p.avg_pool(x[0], &window));
        let area = (window.kernel[0] * window.kernel[1]) as f64;
        for (y, sum) in pooled.iter().zip(&sums) {
            let error = *y as i64 as f64 - *sum as f64 / area;
            // The reciprocal is right to as many bits; in the ring of 32 bits there may be two cuts.
            let (units, cuts) =
                (f64::from(1 << ring.default_fraction_bits()), if ring == Ring::Z64 { 1.0 } else { 3.0 });
            assert!(error.abs() <= cuts + (*sum as f64 / area).abs() / units, "off by {error}");
        }
    }
}

/// Public constants are as precise as their products, from 10^−9 to 10^3: off by 2^−20 of the product and one unit.
#[test]
fn products_with_constants_are_precise_whatever_the_constants_size() {
    let (world, unit) = (World::seeded(7), (1u64 << 20) as f64);
    let ones = array(&[1, 1, 255, 255], vec![1 << 20; 255 * 255]);
    let mean = evaluate(&world, &[ones], |p, x| p.avg_pool(x[0], &PoolGeometry::square(255, 1, 0)));
    assert!((mean[[0, 0, 0, 0]] as f64 - unit).abs() <= 2.0, "{mean}");
    let x = array(&[1], vec![100_000 << 20]);
    let y = evaluate(&world, &[x], |p, x| p.mul_scalar(x[0], 4e-7));
    assert!((y[[0]] as f64 - 0.04 * unit).abs() <= 1.05, "{y}");

    let mut constants = vec![0.0, 0.5, -1.0, 0.499_999_9, 1e-300];
    for magnitude in -9..=3 {
        constants.extend([1.0, -1.37, 3.3, 7.9, -9.99].map(|mantissa: f64| mantissa * 10f64.powi(magnitude)));
    }
    // As large as the range allows beside a constant below 1, and beside the largest.
    let inputs = |bits: u64| (0..70).map(|i| mix(i) as i64 >> (63 - bits + mix(i + 70) % 20)).collect::<Vec<_>>();
    let [large, small] = [42, 28].map(inputs);
    let dealt = [&large, &small].map(|x| world.deal(&array(&[70], x.iter().map(|&x| x as u64).collect())));
    let [products, ..] = world.run(|p| {
        let me = p.id().index();
        let of = |&c: &f64| {
            let y = p.mul_scalar(&dealt[usize::from(c.abs() > 1.0)][me], c)?;
            Ok::<_, MpcError>(p.open(&y)?.to_array()?)
        };
        constants.iter().map(of).collect::<Result<Vec<_>, _>>()
    });
    for (&c, products) in constants.iter().zip(&products.unwrap()) {
        for (&x, &y) in if c.abs() > 1.0 { &small } else { &large }.iter().zip(products) {
            let (right, error) = (x as f64 * c, y as i64 as f64 - x as f64 * c);
            assert!(error.abs() <= right.abs() / unit + 1.01, "{c} · {x} gave {}, off by {error}", y as i64);
        }
    }
}

#[test]
fn local_operations_are_linear() {
    for (ring, width) in in_rings([5, 6]) {
        let (world, n) = (World::seeded(3).in_ring(ring), 3 * width);
        let [x, y] = [1, 2].map(|seed| array(&[3, width], samples_in(ring, n, seed)));
        let c = Tensor::from_array_in(ring, Default::default(), &y);
        let z = evaluate(&world, &[x.clone(), y.clone()], |p, v| {
            let id = p.id();
            let both = v[0].add(v[1]).and_then(|s| s.sub(&v[1].neg())).unwrap();
            let both = both.mul_word(3).add_word(id, 7).add_public(id, &c).unwrap();
            let both = both.mul_public(&c).and_then(|s| s.sub(&Rep::public(id, &c))).unwrap();
            let tall = Rep::concat(&[both.clone(), both]).unwrap();
            // Rows 1 and 2, and those of the copy behind, which may begin within a word.
            let (first, second) = (tall.narrow(1..3).unwrap(), tall.sub_part(&tall, 0).unwrap());
            let none = first.sub_part(&tall, 4 * width).unwrap();
            assert!(second.len() == 2 * n && none.shape() == first.shape());
            Ok(Rep::concat(&[tall.narrow(3..6).unwrap(), none]).and_then(|s| s.reshape(&[5 * width])).unwrap())
        });
        let expected = ndarray::Zip::from(&x).and(&y).map_collect(|&x, &y| {
            let s = x.wrapping_add(y.wrapping_mul(2)).wrapping_mul(3).wrapping_add(7).wrapping_add(y);
            ring.signed(s.wrapping_mul(y).wrapping_sub(y)) as u64
        });
        let expected: Vec<u64> = expected.iter().copied().chain(std::iter::repeat_n(0, 2 * width)).collect();
        assert_eq!(z, array(&[5 * width], expected), "{ring}");
        let total = evaluate(&world, std::slice::from_ref(&x), |_, v| Ok(v[0].sum()));
        assert_eq!(total[[0]], ring.signed(x.iter().fold(0u64, |s, x| s.wrapping_add(*x))) as u64);
        assert_eq!(x.len_of(Axis(0)), 3);
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    for ring in RINGS {
        let x = array(&[70_000], samples_in(ring, 70_000, 1));
        let shares = World::seeded(5).in_ring(ring).deal(&x);
        let with = |threads: usize| {
            World::seeded(5).in_ring(ring).run(|p| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mine = &shares[p.id().index()];
                let y = pool.install(|| p.relu(mine)).unwrap();
                let y = pool.install(|| p.truncate(&y, 9)).unwrap();
                (y.components().0.to_array().unwrap(), y.components().1.to_array().unwrap())
            })
        };
        assert_eq!(with(1), with(3));
    }
}
