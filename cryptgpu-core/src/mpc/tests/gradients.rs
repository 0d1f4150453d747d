//! What training needs of the protocols: kept bits, sums by channel, gradients of layers, one truncation for several products.
//! Against plaintext arithmetic, and the costs on the way.

use super::{array, evaluate, mix, samples};
use crate::device::SignWindow;
use crate::mpc::{Additive, Fidelity, MpcError, Party, Rep, World};
use ndarray::{ArrayD, Axis, IxDyn};

/// Numbers below 2^23 in absolute value.
fn fixed(shape: &[usize], seed: u64) -> ArrayD<u64> {
    let n = shape.iter().product::<usize>() as u64;
    array(shape, (0..n).map(|i| (mix(i ^ seed << 32) as i64 >> 41) as u64).collect())
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
    for (n, window) in [(1000, SignWindow::default()), (1600, SignWindow::new(0, 32).unwrap())] {
        let mut world = World::seeded(n as u64);
        world.settings.window = window;
        let (mut x, dy) = (fixed(&[n], 1), array(&[n], samples(n, 2)));
        x.iter_mut().step_by(7).for_each(|x| *x = 0);
        let dx = evaluate(&world, &[x.clone(), dy.clone()], |p, v| {
            let (y, positive) = p.relu_kept(v[0])?;
            assert_eq!((positive.len(), positive.bytes()), (n, 16 * n.div_ceil(64)));
            let dx = p.bit_product(&positive, v[1])?;
            Ok(Rep::concat(&[y, dx])?)
        });
        let relu = zip(&x, &x, |x, _| (x as i64).max(0) as u64);
        let gradient = zip(&x, &dy, |x, dy| if x as i64 >= 0 { dy } else { 0 });
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
    let gradient = zip(&x, &dy, |x, dy| if (0..6 << 20).contains(&(x as i64)) { dy } else { 0 });
    assert_eq!(dx, ndarray::concatenate![Axis(0), clipped, gradient]);
}

#[test]
fn channels_are_summed_shifted_and_scaled() {
    let world = World::seeded(3);
    for shape in [&[3, 5, 4, 6][..], &[7, 70], &[2, 3, 5], &[4, 1, 3, 3]] {
        let channels = shape[1];
        let (x, a) = (array(shape, samples(shape.iter().product(), 1)), array(&[channels], samples(channels, 2)));
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
        assert_eq!(run(|_, x, _| Ok(x.channel_sums()?)), sums(&x), "{shape:?}");
        assert_eq!(run(|_, x, a| Ok(x.add_channels(a)?)), shifted, "{shape:?}");
        let product = |p: &mut Party, x: &Rep, a: &Rep| p.reshare(x.scale_channels(a)?);
        assert_eq!(run(product), scaled, "{shape:?}");
        let product = |p: &mut Party, x: &Rep, a: &Rep| p.reshare(x.scale_channels(a)?.add_channels(a)?);
        assert_eq!(run(product), zip(&scaled, &spread(&a), u64::wrapping_add), "{shape:?}");
        let product = |p: &mut Party, x: &Rep, _: &Rep| p.reshare(x.local_mul(x)?.channel_sums()?);
        assert_eq!(run(product), sums(&zip(&x, &x, u64::wrapping_mul)), "{shape:?}");
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
