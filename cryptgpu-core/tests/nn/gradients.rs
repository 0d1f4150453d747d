//! Gradients in f64 against central finite differences, for every operation and for whole networks; training in f64
//! against PyTorch's formulas written out, and its simulated fixed-point runs against exact ones.
#![allow(clippy::unwrap_used)]

use crate::support::{every_operation, image};
use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::nn::plaintext::{self, PlaintextTraining, Rounding, Tensors};
use cryptgpu_core::nn::training::{Adam, Initial, Loss, Optimizer, Schedule, Sgd, Train, initial};
use cryptgpu_core::nn::{Graph, Op, Weights, zoo};
use ndarray::ArrayD;

/// Half of the distance of two points of a difference.
const STEP: f64 = 1e-6;

/// Targets that sum to 1 for each example, as cross-entropy's gradient assumes.
fn targets(graph: &Graph, batch: usize) -> ArrayD<f64> {
    let mut targets = image(&[&[batch][..], graph.output_shape()].concat(), 77).mapv(|value| value + 1.1);
    for mut row in targets.outer_iter_mut() {
        let sum = row.sum();
        row /= sum;
    }
    targets
}

/// Compares the gradients of weights and images with finite differences, at up to `most` places of each tensor.
fn check(graph: &Graph, weights: &Tensors, images: &ArrayD<f64>, loss: Loss, most: usize) {
    let targets = targets(graph, images.shape()[0]);
    let gradients = plaintext::gradients(graph, weights, images, &targets, loss).unwrap();
    let at = |weights: &Tensors, images: &ArrayD<f64>| {
        plaintext::gradients(graph, weights, images, &targets, loss).unwrap().loss
    };
    let trained = graph.parameters().into_iter().filter(|parameter| !parameter.name.contains(".running_"));
    let names: Vec<String> = trained.map(|parameter| parameter.name).collect();
    assert_eq!(names.len(), gradients.parameters.len());
    for name in names.iter().map(Some).chain([None]) {
        let found = name.map_or(&gradients.input, |name| &gradients.parameters[name]);
        let largest = found.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        let stride = found.len().div_ceil(most);
        for place in (0..found.len()).step_by(stride).map(|start| (start + start / 7 % stride).min(found.len() - 1)) {
            let difference = |by: f64| {
                let (mut weights, mut images) = (weights.clone(), images.clone());
                let tensor = match name {
                    Some(name) => weights.get_mut(name).unwrap(),
                    None => &mut images,
                };
                tensor.as_slice_mut().unwrap()[place] += by;
                at(&weights, &images)
            };
            let expected = (difference(STEP) - difference(-STEP)) / (2.0 * STEP);
            let found = found.as_slice().unwrap()[place];
            assert!(
                (expected - found).abs() < 1e-6 * largest + 3e-9 * gradients.loss.abs().max(1.0),
                "{}: {name:?} at {place}: {found} and by differences {expected}",
                graph.name()
            );
        }
    }
}

/// A network of one operation, with a product behind it if it has no weights of its own.
fn alone(op: Op, shape: [usize; 3]) -> Graph {
    let mut net = Graph::builder(op.kind(), shape);
    let x = net.add("op", op, &[net.input()]).unwrap();
    net.finish(x).unwrap()
}

#[test]
fn every_operation_alone_equals_finite_differences() {
    let window = |kernel, stride, padding, dilation| PoolGeometry { kernel, stride, padding, dilation };
    let (odd, wide) = (window([3, 2], [2, 1], [0, 1, 2, 0], [1, 2]), window([2, 3], [3, 2], [1; 4], [2, 1]));
    let shape = [4, 7, 6];
    let conv = |out_channels, window, groups, bias| Op::Conv2d { out_channels, window, groups, bias };
    let square = PoolGeometry::square;
    let images = [
        conv(6, odd, 1, true),
        conv(6, wide, 2, false),
        conv(4, square(3, 1, 1), 4, true),
        conv(3, square(1, 2, 0), 1, true),
        Op::BatchNorm2d { eps: 1e-2 },
        Op::Relu,
        Op::Relu6,
        Op::AvgPool { window: odd },
        Op::MaxPool { window: wide },
        Op::MaxPool { window: square(3, 1, 1) },
        Op::GlobalAvgPool,
        Op::Upsample { factors: [2, 3] },
        Op::Flatten,
        Op::Reshape { shape: vec![6, 4, 7] },
    ];
    for (salt, op) in images.into_iter().enumerate() {
        let graph = alone(op, shape);
        let weights = plaintext::tensors(&Weights::seeded(&graph, salt as u64));
        // Up to ±7, so that ReLU6 clips.
        let x = image(&[3, 4, 7, 6], 100 + salt as u64) * 7.0;
        for loss in [Loss::MeanSquaredError, Loss::CrossEntropy] {
            check(&graph, &weights, &x, loss, 60);
        }
    }
    let mut net = Graph::builder("add, concat and linear", shape);
    let x = net.input();
    let sum = net.add("add", Op::Add, &[x, x, x]).unwrap();
    let both = net.add("concat", Op::Concat, &[x, sum, x]).unwrap();
    let flat = net.flatten("flatten", both).unwrap();
    let fc = net.linear("fc", flat, 5).unwrap();
    let graph = net.finish(fc).unwrap();
    let weights = plaintext::tensors(&Weights::seeded(&graph, 3));
    check(&graph, &weights, &image(&[2, 4, 7, 6], 5), Loss::CrossEntropy, 60);
}

#[test]
fn whole_networks_equal_finite_differences() {
    let graph = every_operation().unwrap();
    let weights = plaintext::tensors(&initial(&graph, 2, Initial::PyTorch));
    check(&graph, &weights, &image(&[2, 3, 22, 18], 4), Loss::CrossEntropy, 8);
    let graph = zoo::by_name("lenet").unwrap();
    let weights = plaintext::tensors(&initial(&graph, 2, Initial::Kaiming));
    check(&graph, &weights, &image(&[2, 1, 28, 28], 4), Loss::MeanSquaredError, 5);
}

/// A step of PyTorch's optimisers on one number, from the gradient `g` of the mean loss.
fn pytorch(optimizer: Optimizer, rate: f64, step: i32, g: f64, w: &mut f64, state: &mut [f64; 2]) {
    match optimizer {
        Optimizer::Sgd(Sgd { momentum, nesterov, weight_decay, .. }) => {
            let g = g + weight_decay * *w;
            state[0] = momentum * state[0] + g;
            *w -= rate * if nesterov { g + momentum * state[0] } else { state[0] };
        }
        Optimizer::Adam(Adam { betas, eps, weight_decay, .. }) => {
            let g = g + weight_decay * *w;
            state[0] = betas[0] * state[0] + (1.0 - betas[0]) * g;
            state[1] = betas[1] * state[1] + (1.0 - betas[1]) * g * g;
            let [first, second] = [0, 1].map(|i| state[i] / (1.0 - betas[i].powi(step)));
            *w -= rate * first / (second.sqrt() + eps);
        }
    }
}

#[test]
fn optimisers_are_pytorchs() {
    let mut net = Graph::builder("line", [1, 1, 1]);
    let flat = net.flatten("flatten", net.input()).unwrap();
    let fc = net.linear("fc", flat, 1).unwrap();
    let graph = net.finish(fc).unwrap();
    let weights = initial(&graph, 1, Initial::PyTorch);
    // Seven examples in batches of three: the last batch of an epoch has one.
    let (x, t) = (image(&[7, 1, 1, 1], 5), image(&[7, 1], 6));
    let sgd = Sgd::new(0.3);
    let optimizers = [
        sgd,
        sgd.weight_decay(0.1),
        sgd.momentum(0.9),
        sgd.momentum(0.9).weight_decay(0.1),
        Sgd::nesterov(0.3, 0.8).weight_decay(0.1),
        Adam::new(0.05),
        Adam::new(0.05).momentum(0.7).weight_decay(0.1),
    ];
    for optimizer in optimizers {
        let schedule = Schedule::Milestones { epochs: vec![1, 2], factor: 0.5 };
        let loss = Loss::MeanSquaredError;
        let train = Train { batch: 3, epochs: 3, loss, optimizer, schedule, seed: 3, ..Train::default() };
        let at = |name: &str| f64::from(*weights.get(name).unwrap().iter().next().unwrap());
        let (mut w, mut b, mut step) = (at("fc.weight"), at("fc.bias"), 0);
        let (mut of_w, mut of_b) = ([0.0; 2], [0.0; 2]);
        let mut training = PlaintextTraining::new(&graph, &weights, &train, Rounding::Exact).unwrap();
        training
            .run(&x, &t, |training, batch, loss| {
                let count = batch.rows.len() as f64;
                let errors: Vec<[f64; 2]> = batch
                    .rows
                    .iter()
                    .map(|&row| (x[[row, 0, 0, 0]], t[[row, 0]]))
                    .map(|(x, t)| [w * x + b - t, x])
                    .collect();
                assert!((errors.iter().map(|[e, _]| e * e).sum::<f64>() / count - loss).abs() < 1e-12);
                step += 1;
                let [of_weight, of_bias] = [
                    errors.iter().map(|[e, x]| 2.0 * e * x).sum::<f64>() / count,
                    errors.iter().map(|[e, _]| 2.0 * e).sum::<f64>() / count,
                ];
                let rate = optimizer.rate() * [1.0, 0.5, 0.25][batch.epoch];
                pytorch(optimizer, rate, step, of_weight, &mut w, &mut of_w);
                pytorch(optimizer, rate, step, of_bias, &mut b, &mut of_b);
                assert!((training.parameters()["fc.weight"][[0, 0]] - w).abs() < 1e-12, "{optimizer:?}, step {step}");
                assert!((training.parameters()["fc.bias"][[0]] - b).abs() < 1e-12, "{optimizer:?}, step {step}");
            })
            .unwrap();
        assert_eq!(step, 9);
    }
}

#[test]
fn simulated_cuts_follow_the_exact_run() {
    let graph = every_operation().unwrap();
    let weights = initial(&graph, 2, Initial::Kaiming);
    let (x, t) = (image(&[6, 3, 22, 18], 4), plaintext::one_hot(&[0, 1, 2, 3, 4, 0], 5).into_dyn());
    let train = Train {
        batch: 3,
        epochs: 2,
        optimizer: Sgd::new(0.05).momentum(0.9),
        frozen: vec!["downsample".into()],
        ..Train::default()
    };
    let run = |rounding| {
        let mut training = PlaintextTraining::new(&graph, &weights, &train, rounding).unwrap();
        let mut losses = vec![];
        training.run(&x, &t, |_, _, loss| losses.push(loss)).unwrap();
        assert_eq!(losses.len(), 4);
        (training, losses)
    };
    let (mut exact, losses) = run(Rounding::Exact);
    let seed = 1;
    for (rounding, bits, bound) in [
        (Rounding::Stochastic { fraction_bits: 20, seed }, 20, 2e-3),
        (Rounding::Stochastic { fraction_bits: 36, seed }, 36, 5e-8),
        (Rounding::Nearest { fraction_bits: 36 }, 36, 5e-8),
    ] {
        let (rounded, found) = run(rounding);
        for (name, tensor) in rounded.parameters() {
            let exact = &exact.parameters()[name];
            let units = tensor * f64::from(bits).exp2();
            assert!(units.iter().all(|value| value.fract() == 0.0), "{name} is a multiple of the unit");
            let largest = crate::support::max_difference(tensor, exact);
            assert!(largest < bound, "{rounding:?}: {name} is {largest} off");
        }
        assert!(found.iter().zip(&losses).all(|(a, b)| (a - b).abs() < bound));
    }
    for (name, before) in weights.iter() {
        let after = &exact.parameters()[name];
        let same = crate::support::max_difference(after, &before.mapv(f64::from)) == 0.0;
        assert_eq!(same, name.starts_with("downsample."), "{name}");
    }
    let scores = exact.evaluate(&x).unwrap();
    let single = plaintext::evaluate(&graph, &exact.to_weights(), &x).unwrap();
    assert!(crate::support::max_difference(&scores, &single) < 1e-5 * single.fold(1.0, |m: f64, v| m.max(v.abs())));
}

/// LeNet on the bundled digits, 800 to learn from and 200 to test, in f64 and with simulated cuts; prints a line an epoch:
/// `cargo test --release -p cryptgpu-core --test nn -- --ignored --nocapture lenet_learns`.
#[test]
#[ignore = "a minute of work"]
fn lenet_learns_digits() {
    let digits = cryptgpu_datasets::bundled::mnist_test_1000().unwrap();
    let set = |range: std::ops::Range<usize>| {
        let images = digits.batch(range.clone()).unwrap().mapv(f64::from).into_dyn();
        let labels = digits.labels_of(range).unwrap().to_vec();
        (images, labels)
    };
    let ((images, labels), (held_out, expected)) = (set(0..800), set(800..1000));
    let targets = plaintext::one_hot(&labels, 10).into_dyn();
    let graph = zoo::by_name("lenet").unwrap();
    let weights = initial(&graph, 7, Initial::Kaiming);
    let [plain, momentum, slower] = [Sgd::new(0.1), Sgd::new(0.1).momentum(0.9), Sgd::new(0.03).momentum(0.9)];
    let cuts = |fraction_bits| Rounding::Stochastic { fraction_bits, seed: 1 };
    for (optimizer, batch, rounding) in [
        (plain, 128, Rounding::Exact),
        (plain, 32, Rounding::Exact),
        (momentum, 128, Rounding::Exact),
        (slower, 128, Rounding::Exact),
        (slower, 128, cuts(20)),
        (slower, 128, cuts(12)),
        (plain, 32, cuts(12)),
    ] {
        let train = Train { batch, epochs: 5, optimizer, seed: 7, ..Train::default() };
        let mut training = PlaintextTraining::new(&graph, &weights, &train, rounding).unwrap();
        let (mut losses, mut accuracies) = (vec![], vec![]);
        let start = std::time::Instant::now();
        let last = 800usize.div_ceil(batch) - 1;
        training
            .run(&images, &targets, |training, taken, loss| {
                losses.push(loss);
                if taken.iteration % (last + 1) == last {
                    let scores = training.evaluate(&held_out).unwrap();
                    let found = cryptgpu_core::nn::predictions(&scores);
                    let right = found.iter().zip(&expected).filter(|(a, b)| **a == usize::from(**b)).count();
                    accuracies.push(format!("{:.1} %", right as f64 / 2.0));
                }
            })
            .unwrap();
        println!("{optimizer:?}, batch {batch}, {rounding:?}: {:.1} s, {accuracies:?}", start.elapsed().as_secs_f64());
        println!("  losses {:.3}, …, {:.3}", losses[0], losses[losses.len() - 1]);
        assert!(losses[losses.len() - 1] < losses[0]);
    }
}
