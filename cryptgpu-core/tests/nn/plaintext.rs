//! The plaintext oracle against direct loops, folding against unfolded evaluation, and seeded weights whose
//! activations stay of order one.

#![allow(clippy::unwrap_used)]

use crate::support::{every_operation, image, max_difference, partly_seen};
use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::nn::{Graph, NnError, Op, Weights, fold_weights, plaintext, zoo};
use ndarray::ArrayD;
use proptest::prelude::*;

/// The pixel at row `y` and column `xx`, or `None` where there is padding.
fn padded(x: &ArrayD<f64>, n: usize, c: usize, y: isize, xx: isize) -> Option<f64> {
    let inside = y >= 0 && xx >= 0;
    inside.then(|| x.get([n, c, y as usize, xx as usize].as_slice()).copied()).flatten()
}

/// Input row or column that tap `tap` of output `out` sees; negative or too large on padding.
fn position(window: &PoolGeometry, axis: usize, out: usize, tap: usize) -> isize {
    (out * window.stride[axis] + tap * window.dilation[axis]) as isize - window.padding[2 * axis] as isize
}

fn windows() -> impl Strategy<Value = PoolGeometry> {
    let kernel = (1..4usize, 1..4usize);
    let stride = (1..4usize, 1..4usize);
    let padding = (0..3usize, 0..3usize, 0..3usize, 0..3usize);
    let dilation = (1..3usize, 1..3usize);
    (kernel, stride, padding, dilation).prop_map(|(k, s, p, d)| PoolGeometry {
        kernel: [k.0, k.1],
        stride: [s.0, s.1],
        padding: [p.0, p.1, p.2, p.3],
        dilation: [d.0, d.1],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn convolution_equals_a_direct_loop(
        window in windows(), groups in 1..4usize, per_group in (1..3usize, 1..3usize), size in (5..30usize, 5..30usize),
    ) {
        let (channels, out) = (groups * per_group.0, groups * per_group.1);
        let mut net = Graph::builder("t", [channels, size.0, size.1]);
        let op = Op::Conv2d { out_channels: out, window, groups, bias: true };
        let conv = net.add("conv", op, &[net.input()]).unwrap();
        let net = net.finish(conv).unwrap();
        let weights = Weights::seeded(&net, 7);
        let x = image(&[2, channels, size.0, size.1], 1);
        let fast = plaintext::evaluate(&net, &weights, &x.view()).unwrap();
        let (weight, bias) = (weights.get("conv.weight").unwrap(), weights.get("conv.bias").unwrap());
        let slow = ArrayD::from_shape_fn(fast.raw_dim(), |at| {
            let (n, o, y, xx) = (at[0], at[1], at[2], at[3]);
            let mut sum = f64::from(bias[[o]]);
            for c in 0..per_group.0 {
                for ky in 0..window.kernel[0] {
                    for kx in 0..window.kernel[1] {
                        let (iy, ix) = (position(&window, 0, y, ky), position(&window, 1, xx, kx));
                        let channel = o / per_group.1 * per_group.0 + c;
                        sum += padded(&x, n, channel, iy, ix).unwrap_or(0.0) * f64::from(weight[[o, c, ky, kx]]);
                    }
                }
            }
            sum
        });
        prop_assert!(max_difference(&fast, &slow) < 1e-12);
    }

    #[test]
    fn pooling_equals_a_direct_loop(window in windows(), size in (5..12usize, 5..12usize), max in any::<bool>()) {
        let mut net = Graph::builder("t", [2, size.0, size.1]);
        let op = if max { Op::MaxPool { window } } else { Op::AvgPool { window } };
        // A max-pool that would see only padding is refused, and there is nothing to compare.
        let Ok(pool) = net.add("pool", op, &[net.input()]) else { return Ok(()) };
        let net = net.finish(pool).unwrap();
        let x = image(&[2, 2, size.0, size.1], 3);
        let fast = plaintext::evaluate(&net, &Weights::new(), &x.view()).unwrap();
        let slow = ArrayD::from_shape_fn(fast.raw_dim(), |at| {
            let taps = (0..window.kernel[0]).flat_map(|ky| (0..window.kernel[1]).map(move |kx| (ky, kx)));
            let seen: Vec<f64> = taps
                .filter_map(|(ky, kx)| {
                    let (iy, ix) = (position(&window, 0, at[2], ky), position(&window, 1, at[3], kx));
                    padded(&x, at[0], at[1], iy, ix)
                })
                .collect();
            if max { seen.into_iter().fold(f64::NEG_INFINITY, f64::max) }
            else { seen.into_iter().sum::<f64>() / (window.kernel[0] * window.kernel[1]) as f64 }
        });
        prop_assert!(max_difference(&fast, &slow) < 1e-12);
    }
}

#[test]
fn folding_does_not_change_the_function() {
    for net in [every_operation().unwrap(), partly_seen().unwrap(), zoo::by_name("resnet18-maxpool").unwrap()] {
        let weights = Weights::seeded(&net, 3);
        let (folded, folded_weights) = fold_weights(&net, &weights).unwrap();
        assert!(!folded.nodes().iter().any(|node| matches!(node.op, Op::BatchNorm2d { .. })));
        folded_weights.check(&folded).unwrap();
        let [c, h, w] = net.input_shape();
        let x = image(&[1, c, h, w], 5);
        let before = plaintext::evaluate(&net, &weights, &x.view()).unwrap();
        let after = plaintext::evaluate(&folded, &folded_weights, &x.view()).unwrap();
        let scale = before.iter().fold(0.0f64, |max, value| max.max(value.abs()));
        assert!(scale > 1e-3, "the network is not constant zero");
        assert!(max_difference(&before, &after) < 1e-5 * scale, "{}: {scale}", net.name());
    }
}

#[test]
fn kernels_are_shared_without_what_only_sees_padding() {
    let net = partly_seen().unwrap();
    let (_, weights) = fold_weights(&net, &Weights::seeded(&net, 3)).unwrap();
    let shapes =
        ["conv1", "conv2", "conv3"].map(|name| weights.get(&format!("{name}.weight")).unwrap().shape().to_vec());
    assert_eq!(shapes, [[4, 2, 1, 5], [6, 2, 1, 5], [5, 6, 1, 1]]);
    // Three of AlexNet's convolutions have one pixel to see.
    let alexnet = zoo::by_name("alexnet-cifar10").unwrap();
    let folded = cryptgpu_core::nn::fold::fold_graph(&alexnet).unwrap();
    let elements = |net: &Graph| net.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum::<usize>();
    assert_eq!(elements(&alexnet) - elements(&folded), 8 * (384 * 256 + 384 * 384 + 256 * 384));
}

#[test]
fn a_normalisation_that_follows_no_convolution_cannot_be_folded() {
    let mut net = Graph::builder("t", [2, 4, 4]);
    let bn = net.add("bn", Op::BatchNorm2d { eps: 1e-5 }, &[net.input()]).unwrap();
    let error = cryptgpu_core::nn::fold::fold_graph(&net.finish(bn).unwrap()).unwrap_err();
    assert!(matches!(error, NnError::CannotFold { .. }), "{error}");

    let mut net = Graph::builder("t", [2, 4, 4]);
    let bn = net.conv_bn(["conv", "bn"], net.input(), 2, PoolGeometry::square(1, 1, 0), 1).unwrap();
    let shared = net.add("add", Op::Add, &[net.input(), bn]).unwrap();
    assert!(cryptgpu_core::nn::fold::fold_graph(&net.finish(shared).unwrap()).is_ok());
}

#[test]
fn seeded_activations_stay_of_order_one() {
    for name in ["lenet", "vgg16-cifar10", "resnet18", "mobilenet-v2-same", "efficientnet-lite0"] {
        let net = zoo::by_name(name).unwrap();
        let [c, h, w] = net.input_shape();
        let x = image(&[1, c, h, w], 11);
        let mut largest = 0.0f64;
        let scores = plaintext::evaluate_with(&net, &Weights::seeded(&net, 1), &x.view(), |_, value| {
            largest = value.iter().fold(largest, |max, v| max.max(v.abs()));
        });
        let spread = scores.unwrap().iter().fold(0.0f64, |max, v| max.max(v.abs()));
        assert!(
            (0.02..30.0).contains(&spread) && largest < 60.0,
            "{name}: scores up to {spread}, activations up to {largest}"
        );
    }
}

#[test]
fn inputs_of_the_wrong_shape_are_refused() {
    let net = zoo::by_name("lenet").unwrap();
    let weights = Weights::seeded(&net, 1);
    for shape in [vec![1, 28, 28], vec![1, 3, 28, 28], vec![0, 1, 28, 28], vec![1, 1, 28, 27], vec![]] {
        let error = plaintext::evaluate(&net, &weights, &ArrayD::<f64>::zeros(shape)).unwrap_err();
        assert!(error.to_string().contains("[1, 28, 28]"), "{error}");
    }
}

/// Prints time, scores and the largest activation of the large networks: `cargo test --release -- --ignored`.
#[test]
#[ignore = "seconds of work"]
fn large_networks() {
    for name in ["vgg16-imagenet", "resnet50", "resnet152", "mobilenet-v2"] {
        let net = zoo::by_name(name).unwrap();
        let weights = Weights::seeded(&net, 1);
        let x = image(&[1, 3, 224, 224], 11);
        let start = std::time::Instant::now();
        let mut largest = 0.0f64;
        let scores = plaintext::evaluate_with(&net, &weights, &x.view(), |_, value| {
            largest = value.iter().fold(largest, |max, v| max.max(v.abs()));
        })
        .unwrap();
        let spread = scores.iter().fold(0.0f64, |max, v| max.max(v.abs()));
        println!(
            "{name}: {:.2} s, scores up to {spread:.3}, activations up to {largest:.2}",
            start.elapsed().as_secs_f64()
        );
        assert!((0.02..30.0).contains(&spread) && largest < 100.0);
    }
}
