//! What training needs of the protocols: kept bits, sums by channel, gradients of layers, one truncation for several products.
//! Against plaintext arithmetic, and the costs on the way.

use super::{RINGS, array, evaluate, mix, samples, samples_in};
use crate::device::{ConvGeometry, PoolGeometry, SignWindow};
use crate::mpc::check::Check;
use crate::mpc::{Additive, Fidelity, KeptMaxima, MpcError, Operand, Party, Rep, World, cost};
use crate::ring::Ring;
use ndarray::{ArrayD, Axis, IxDyn};

/// Numbers below 2^23 in absolute value.
fn fixed(shape: &[usize], seed: u64) -> ArrayD<u64> {
    let n = shape.iter().product::<usize>() as u64;
    array(shape, (0..n).map(|i| (mix(i ^ seed << 32) as i64 >> 41) as u64).collect())
}

/// The same in a ring, below 2^11 in that of 32 bits.
fn fixed_in(ring: Ring, shape: &[usize], seed: u64) -> ArrayD<u64> {
    let cut = if ring == Ring::Z64 { 0 } else { 12 };
    fixed(shape, seed).mapv(|x| (x as i64 >> cut) as u64)
}

/// What is modulo 2^64, as elements of a ring.
fn within(ring: Ring, x: ArrayD<u64>) -> ArrayD<u64> {
    x.mapv(|x| ring.signed(x) as u64)
}

/// ⌊z/2^d⌋ or one more; or one less, as the paper truncates.
fn assert_truncated(y: &ArrayD<u64>, z: &ArrayD<u64>, d: u32, fidelity: Fidelity) {
    assert_eq!(y.shape(), z.shape());
    let least = if fidelity == Fidelity::Paper { -1 } else { 0 };
    for (&y, &z) in y.iter().zip(z) {
        let error = y.wrapping_sub((z as i64 >> d) as u64) as i64;
        assert!((least..=1).contains(&error), "{} / 2^{d} gave {}", z as i64, y as i64);
    }
}

/// x ∘ y modulo 2^64, y repeated along axes where it has one entry.
fn zip(x: &ArrayD<u64>, y: &ArrayD<u64>, f: impl Fn(u64, u64) -> u64) -> ArrayD<u64> {
    ndarray::Zip::from(x).and_broadcast(y).map_collect(|&x, &y| f(x, y))
}

#[test]
fn a_relu_keeps_the_bit_that_its_gradient_needs() {
    let all = SignWindow::default();
    let narrow = SignWindow::new(0, 32).unwrap();
    for (ring, n, window) in
        [(Ring::Z64, 1000, all), (Ring::Z64, 1600, narrow), (Ring::Z32, 1000, all), (Ring::Z32, 511, all)]
    {
        let mut world = World::seeded(n as u64).in_ring(ring);
        world.settings.window = window;
        let (mut x, dy) = (fixed(&[n], 1), array(&[n], samples_in(ring, n, 2)));
        x.iter_mut().step_by(7).for_each(|x| *x = 0);
        let dx = evaluate(&world, &[x.clone(), dy.clone()], |p, v| {
            let (y, positive) = p.relu_kept(v[0])?;
            assert_eq!((positive.len(), positive.bytes()), (n, 16 * n.div_ceil(64)));
            let dx = p.bit_product(&positive, v[1])?;
            Ok(Rep::concat(&[y, dx])?)
        });
        let relu = zip(&x, &x, |x, _| (x as i64).max(0) as u64);
        let gradient = zip(&x, &dy, |x, dy| if x as i64 > 0 { dy } else { 0 });
        assert_eq!(dx, ndarray::concatenate![Axis(0), relu, gradient]);
    }
}

#[test]
fn a_clipped_relu_keeps_where_it_is_not_flat() {
    let dy = array(&[2, 700], samples(1400, 2));
    // 6 itself among them, and 0.
    let x = array(&[2, 700], (0..1400).map(|i| ((i - 700) * (6 << 20) / 350) as u64).collect());
    let dx = evaluate(&World::seeded(8), &[x.clone(), dy.clone()], |p, v| {
        let (y, within) = p.clipped_relu_kept(v[0], 6.0)?;
        let dx = p.bit_product(&within, v[1])?;
        Ok(Rep::concat(&[y, dx])?)
    });
    let clipped = x.mapv(|x| (x as i64).clamp(0, 6 << 20) as u64);
    let gradient = zip(&x, &dy, |x, dy| if (1..=6 << 20).contains(&(x as i64)) { dy } else { 0 });
    assert_eq!(dx, ndarray::concatenate![Axis(0), clipped, gradient]);
}

#[test]
fn channels_are_summed_shifted_and_scaled() {
    let shapes = [&[3, 5, 4, 6][..], &[7, 70], &[2, 3, 5], &[4, 1, 3, 3], &[3, 7, 5]];
    for (ring, shape) in RINGS.into_iter().flat_map(|ring| shapes.map(|shape| (ring, shape))) {
        let (world, channels) = (World::seeded(3).in_ring(ring), shape[1]);
        let x = array(shape, samples_in(ring, shape.iter().product(), 1));
        let a = array(&[channels], samples_in(ring, channels, 2));
        // Along axis 1.
        let spread = |a: &ArrayD<u64>| {
            let mut ones = vec![1; shape.len()];
            ones[1] = channels;
            a.clone().into_shape_with_order(IxDyn(&ones)).unwrap()
        };
        let sums = |x: &ArrayD<u64>| {
            let sum = |channel: ndarray::ArrayViewD<u64>| channel.iter().fold(0, |s: u64, x| s.wrapping_add(*x));
            array(&[channels], x.axis_iter(Axis(1)).map(sum).collect())
        };
        let run = |protocol: fn(&mut Party, &Rep, &Rep) -> Result<Rep, MpcError>| {
            evaluate(&world, &[x.clone(), a.clone()], |p, v| protocol(p, v[0], v[1]))
        };
        let shifted = zip(&x, &spread(&a), u64::wrapping_add);
        let scaled = zip(&x, &spread(&a), u64::wrapping_mul);
        assert_eq!(run(|_, x, _| Ok(x.channel_sums()?)), within(ring, sums(&x)), "{shape:?}");
        assert_eq!(run(|_, x, a| Ok(x.add_channels(a)?)), within(ring, shifted), "{shape:?}");
        let product = |p: &mut Party, x: &Rep, a: &Rep| p.reshare(x.scale_channels(a)?);
        assert_eq!(run(product), within(ring, scaled.clone()), "{shape:?}");
        let product = |p: &mut Party, x: &Rep, a: &Rep| p.reshare(x.scale_channels(a)?.add_channels(a)?);
        assert_eq!(run(product), within(ring, zip(&scaled, &spread(&a), u64::wrapping_add)), "{shape:?}");
        let product = |p: &mut Party, x: &Rep, _: &Rep| p.reshare(x.local_mul(x)?.channel_sums()?);
        assert_eq!(run(product), within(ring, sums(&zip(&x, &x, u64::wrapping_mul))), "{shape:?}");
        world.run(|p| {
            let x = Rep::public(p.id(), &crate::device::Tensor::from_array(p.device(), &x));
            let a = x.reshape(&[x.len()]).and_then(|x| x.narrow(0..channels + 1)).unwrap();
            let error = x.add_channels(&a).unwrap_err().to_string();
            assert!(error.contains("one entry for each entry of axis 1"), "{error}");
            assert!(x.scale_channels(&a).is_err() && a.channel_sums().is_err());
        });
    }
}

#[test]
fn several_products_are_truncated_at_once() {
    let (x, y) = (fixed(&[20, 30], 1), fixed(&[30], 2));
    let exact = |x: &ArrayD<u64>| zip(x, x, u64::wrapping_mul);
    for fidelity in [Fidelity::Exact, Fidelity::Paper] {
        let mut world = World::seeded(4);
        world.settings.fidelity = fidelity;
        let run = |part: std::ops::Range<usize>| {
            evaluate(&world, &[x.clone(), y.clone()], |p, v| {
                let squares = [v[0].reshape(&[600])?, v[1].clone()].map(|x| x.local_mul(&x));
                let [first, second] = squares;
                let both = Additive::concat(&[first?, second?])?;
                assert!(
                    both.narrow(0..631).is_err()
                        && Additive::concat(&[both.clone(), both.reshape(&[1, 630])?]).is_err()
                );
                let both = p.truncate_additive(both.add(&both.narrow(0..630)?)?, 21)?;
                Ok(both.narrow(part.clone())?)
            })
        };
        assert_truncated(&run(600..630), &exact(&y).mapv(|z| z << 1), 21, fidelity);
        let first = run(0..600).into_shape_with_order(x.raw_dim()).unwrap();
        assert_truncated(&first, &exact(&x).mapv(|z| z << 1), 21, fidelity);
    }
    let [error, ..] = World::seeded(4).run(|p| {
        let x = Rep::public(p.id(), &crate::device::Tensor::full(p.device(), &[3], 1));
        p.truncate_additive(x.to_additive(), 62).map(drop)
    });
    assert!(error.unwrap_err().to_string().contains("cannot cut 62 bits"));
}

/// Gradients of the weights and of the images of a convolution, by definition.
fn convolution_gradients(geometry: &ConvGeometry, [x, w, dy]: [&ArrayD<u64>; 3]) -> [ArrayD<u64>; 2] {
    let (mut dw, mut dx) = (ArrayD::zeros(w.raw_dim()), ArrayD::zeros(x.raw_dim()));
    let PoolGeometry { stride, padding, dilation, .. } = geometry.window;
    let inner = geometry.in_channels / geometry.groups;
    for (at, &dy) in dy.indexed_iter() {
        let [n, o, oy, ox] = [at[0], at[1], at[2], at[3]];
        for (tap, &w) in w.index_axis(Axis(0), o).indexed_iter() {
            let c = o / (geometry.out_channels / geometry.groups) * inner + tap[0];
            let y = (oy * stride[0] + tap[1] * dilation[0]).wrapping_sub(padding[0]);
            let x_at = (ox * stride[1] + tap[2] * dilation[1]).wrapping_sub(padding[2]);
            if y < geometry.input[0] && x_at < geometry.input[1] {
                let weight: &mut u64 = &mut dw[[o, tap[0], tap[1], tap[2]]];
                *weight = weight.wrapping_add(dy.wrapping_mul(x[[n, c, y, x_at]]));
                let input: &mut u64 = &mut dx[[n, c, y, x_at]];
                *input = input.wrapping_add(dy.wrapping_mul(w));
            }
        }
    }
    [dw, dx]
}

#[test]
fn gradients_of_convolutions_are_products_with_one_truncation() {
    let uneven = PoolGeometry { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 0, 2], dilation: [1, 2] };
    // More outputs than inputs, and fewer.
    let layers = [(uneven, 6, 2), (PoolGeometry::square(3, 1, 1), 2, 1)];
    for (ring, (window, out_channels, groups)) in RINGS.into_iter().flat_map(|ring| layers.map(|layer| (ring, layer))) {
        let (world, f) = (World::seeded(6).in_ring(ring), ring.default_fraction_bits());
        let geometry = ConvGeometry { batch: 2, in_channels: 4, input: [9, 8], out_channels, window, groups };
        let [x, w] =
            [(geometry.input_shape(), 3), (geometry.weight_shape(), 4)].map(|(s, seed)| fixed_in(ring, &s, seed));
        let dy = fixed_in(ring, &geometry.output_shape().unwrap(), 5);
        let [dw, dx] = convolution_gradients(&geometry, [&x, &w, &dy]);
        let inputs = [x, w, dy];
        let found = evaluate(&world, &inputs, |p, v| {
            let dw = v[2].conv2d_weight_gradient(p.id(), v[0], &geometry)?;
            p.truncate_additive(dw, f)
        });
        assert_truncated(&found, &dw, f, Fidelity::Exact);
        let found = evaluate(&world, &inputs, |p, v| {
            let w = Operand::new(p.id(), v[1].clone()).with_cut(f + 3);
            p.conv2d_input_gradient(v[2], &w, &geometry)
        });
        assert_truncated(&found, &dx, f + 3, Fidelity::Exact);
    }
}

#[test]
fn gradients_of_fully_connected_layers_are_products_with_one_truncation() {
    let matrix = |x: &ArrayD<u64>| x.clone().into_dimensionality::<ndarray::Ix2>().unwrap();
    let product = |x: ndarray::ArrayView2<u64>, y: ndarray::ArrayView2<u64>| {
        let entry =
            |(i, j)| x.row(i).iter().zip(y.column(j)).fold(0u64, |sum, (x, y)| sum.wrapping_add(x.wrapping_mul(*y)));
        ndarray::Array2::from_shape_fn((x.nrows(), y.ncols()), entry).into_dyn()
    };
    let layers = [(33, 20), (5, 120), (7, 9)];
    for (ring, (inputs, outputs)) in RINGS.into_iter().flat_map(|ring| layers.map(|layer| (ring, layer))) {
        let (world, f) = (World::seeded(7).in_ring(ring), ring.default_fraction_bits());
        let [x, w, dy] =
            [([15, inputs], 1), ([outputs, inputs], 2), ([15, outputs], 3)].map(|(s, seed)| fixed_in(ring, &s, seed));
        let dw = product(matrix(&dy).t(), matrix(&x).view());
        let dx = product(matrix(&dy).view(), matrix(&w).view());
        let all = [x, w, dy];
        let found = evaluate(&world, &all, |p, v| {
            let dw = v[2].linear_weight_gradient(p.id(), v[0])?;
            p.truncate_additive(dw, f)
        });
        assert_truncated(&found, &dw, f, Fidelity::Exact);
        let found = evaluate(&world, &all, |p, v| p.linear_input_gradient(v[2], &Operand::new(p.id(), v[1].clone())));
        assert_truncated(&found, &dx, f, Fidelity::Exact);
    }
}

/// The tap of a window's maximum as the tree of pairs finds it: of equals the second of a pair.
fn largest(taps: &[i64]) -> usize {
    let mut rows: Vec<usize> = (0..taps.len()).collect();
    while rows.len() > 1 {
        let half = rows.len() / 2;
        let pair = |i: usize| if taps[rows[half + i]] >= taps[rows[i]] { rows[half + i] } else { rows[i] };
        let larger: Vec<usize> = (0..half).map(pair).collect();
        rows = [&larger, &rows[2 * half..]].concat();
    }
    rows[0]
}

/// Gradients of maxima and of sums over windows, by definition.
fn window_gradients(window: &PoolGeometry, x: &ArrayD<u64>, dy: &ArrayD<u64>) -> [ArrayD<u64>; 2] {
    let (mut of_max, mut of_sum) = (ArrayD::zeros(x.raw_dim()), ArrayD::zeros(x.raw_dim()));
    for (at, &dy) in dy.indexed_iter() {
        let source = |tap: usize| {
            let [ky, kx] = [tap / window.kernel[1], tap % window.kernel[1]];
            let y = (at[2] * window.stride[0] + ky * window.dilation[0]).wrapping_sub(window.padding[0]);
            let x_at = (at[3] * window.stride[1] + kx * window.dilation[1]).wrapping_sub(window.padding[2]);
            (y < x.shape()[2] && x_at < x.shape()[3]).then_some([at[0], at[1], y, x_at])
        };
        let sources: Vec<_> = (0..window.kernel[0] * window.kernel[1]).map(source).collect();
        let values: Vec<i64> = sources.iter().map(|source| source.map_or(i64::MIN, |at| x[at] as i64)).collect();
        let add = |to: &mut ArrayD<u64>, at: Option<[usize; 4]>| {
            if let Some(at) = at {
                to[at] = to[at].wrapping_add(dy);
            }
        };
        add(&mut of_max, sources[largest(&values)]);
        sources.iter().for_each(|&at| add(&mut of_sum, at));
    }
    [of_max, of_sum]
}

#[test]
fn gradients_of_windows_go_where_the_values_came_from() {
    let mut x = fixed(&[2, 3, 11, 10], 3);
    // Equal ones as well.
    x.iter_mut().step_by(3).for_each(|x| *x = 77);
    let dilated = PoolGeometry { kernel: [3, 2], stride: [1, 2], padding: [1, 0, 0, 2], dilation: [2, 1] };
    let windows =
        [PoolGeometry::square(2, 2, 0), PoolGeometry::square(3, 2, 1), dilated, PoolGeometry::square(1, 2, 0)];
    for (ring, window) in RINGS.into_iter().flat_map(|ring| windows.map(|window| (ring, window))) {
        let world = World::seeded(6).in_ring(ring);
        let [height, width] = window.output([11, 10]).unwrap();
        let dy = array(&[2, 3, height, width], samples_in(ring, 6 * height * width, 4));
        let [of_max, of_sum] = window_gradients(&window, &x, &dy);
        let (n, taps) = (dy.len(), window.kernel[0] * window.kernel[1]);
        let found = evaluate(&world, &[x.clone(), dy.clone()], |p, v| {
            let before = p.declared();
            let (_maxima, kept) = p.max_pool_kept(v[0], &window)?;
            assert_eq!((kept.shape(), kept.bytes()), (dy.shape(), KeptMaxima::bytes_of(n, taps)));
            let dx = p.max_pool_gradient(&kept, v[1])?;
            let stated = cost::max_pool(ring, n, taps, p.window()) + cost::max_pool_gradient(ring, n, taps);
            assert_eq!(p.declared(), before + stated);
            assert!(p.max_pool_gradient(&kept, v[0]).unwrap_err().to_string().contains("shapes differ"));
            Ok(dx)
        });
        assert_eq!(found, within(ring, of_max), "{window:?}");
        let found = evaluate(&world, &[x.clone(), dy], |_, v| Ok(v[1].sum_pool_gradient(&window, [11, 10])?));
        assert_eq!(found, within(ring, of_sum), "{window:?}");
    }
}

/// The gradients of a layer with a ReLU, and of a max-pool, under the protocol checker.
#[test]
fn nothing_is_shown() {
    nothing_is_shown_in(Ring::Z64, 24);
    nothing_is_shown_in(Ring::Z32, 10);
}

fn nothing_is_shown_in(ring: Ring, bits: u32) {
    let world = World::seeded(3).in_ring(ring);
    let f = ring.default_fraction_bits();
    let check = |name: &str, inputs: usize| Check::new(name, inputs).bits(bits).view_sizes(&[1]).world(&world);
    let layer = |p: &mut Party, x: &[Rep]| {
        let (weights, f) = (Operand::new(p.id(), x[1].clone()), p.codec().fraction_bits());
        let (_y, positive) = p.relu_kept(&x[3])?;
        let dy = p.bit_product(&positive, &x[2])?;
        let (dw, dx) = (dy.linear_weight_gradient(p.id(), &x[0])?, dy.linear_input_gradient(&weights)?);
        let parts = [dw.reshape(&[dw.len()])?, dx.reshape(&[dx.len()])?];
        p.truncate_additive(Additive::concat(&parts)?, f)
    };
    let plaintext = move |x: &[ArrayD<u64>]| {
        let matrix = |x: &ArrayD<u64>| x.mapv(|x| ring.signed(x)).into_dimensionality::<ndarray::Ix2>().unwrap();
        let [x, w, dy, y] = [0, 1, 2, 3].map(|i| matrix(&x[i]));
        let dy = ndarray::Zip::from(&y).and(&dy).map_collect(|&y, &dy| if y > 0 { dy } else { 0 });
        let (dw, dx) = (dy.t().dot(&x), dy.dot(&w));
        let all: Vec<u64> = dw.iter().chain(&dx).map(|z| ring.residue((z >> f) as u64)).collect();
        array(&[all.len()], all)
    };
    let shapes = |n: usize| vec![vec![n, 3], vec![2, 3], vec![n, 2], vec![n, 2]];
    check("layer", 4).shapes(shapes).errors(0..=1).run(layer, plaintext).unwrap().require().unwrap();

    const WINDOW: PoolGeometry = PoolGeometry { kernel: [2; 2], stride: [2; 2], padding: [0; 4], dilation: [1; 2] };
    let pool = |p: &mut Party, x: &[Rep]| {
        let (_maxima, kept) = p.max_pool_kept(&x[0], &WINDOW)?;
        p.max_pool_gradient(&kept, &x[1])
    };
    let plaintext = |x: &[ArrayD<u64>]| window_gradients(&WINDOW, &x[0], &x[1])[0].clone();
    let shapes = |n: usize| vec![vec![1, 1, 2, 2 * n], vec![1, 1, 1, n]];
    check("max-pool", 2).shapes(shapes).run(pool, plaintext).unwrap().require().unwrap();
}
