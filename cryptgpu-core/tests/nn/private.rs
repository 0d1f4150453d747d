//! Private inference by three parties in one process against the plaintext oracle, and its cost against
//! what its protocols declare.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::support::{
    every_operation, image, infer, inference_operations, largest, max_difference, partly_seen, three, unit,
};
use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::mpc::{CheckRange, Cost, Fidelity, PiecewiseLinear, Settings, SignWindow, World};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::fold::fold_graph;
use cryptgpu_core::nn::lower::lower;
use cryptgpu_core::nn::{
    Graph, LowerOptions, NnError, Op, Remedy, SharedModel, Weights, cost, plaintext, private, range, zoo,
};
use cryptgpu_core::ring::{FixedPoint, Ring};
use ndarray::{ArrayD, IxDyn};

/// Runs `net` privately and in plaintext, checks scores and costs, and returns the largest error. `slack` rounds may
/// be saved.
fn check(net: &Graph, batch: usize, options: LowerOptions, slack: u64) -> f64 {
    let weights = Weights::seeded(net, 5);
    let [c, h, w] = net.input_shape();
    let images = image(&[batch, c, h, w], 3);
    let expected = plaintext::evaluate(net, &weights, &images.view()).unwrap();
    let settings = Settings::default();
    let outcome = infer(net, &weights, &images, options, settings);

    let model = lower(&fold_graph(net).unwrap(), options, Ring::Z64).unwrap();
    assert_eq!(
        outcome.declared,
        cost::infer(&model, batch, &settings),
        "{}: protocols declare the plan's cost",
        net.name()
    );
    assert_eq!(outcome.measured.bytes, outcome.declared.bytes, "{}: the transport counts what is declared", net.name());
    // Where a tensor is so small that some party lacks a role, a step's first message need not wait for the last
    // of the step before it.
    let [measured, declared] = [outcome.measured, outcome.declared].map(|cost| cost.rounds);
    assert!(measured <= declared && measured + slack >= declared, "{}: {measured} rounds, not {declared}", net.name());
    for (step, (name, kind, bytes)) in model.steps().iter().zip(&outcome.steps) {
        assert_eq!(*bytes, cost::of_step(&model, step, batch, &settings).bytes, "{name} ({kind})");
    }
    assert!(largest(&expected) > 0.01, "{}: the network is not constant", net.name());
    let error = max_difference(&outcome.scores, &expected);
    assert!(error < 1e-3, "{} with {options:?}: largest error {error}", net.name());
    error
}

#[test]
fn lenet_and_its_variants() {
    for name in ["lenet", "lenet-relu-after-pool", "lenet-maxpool"] {
        check(&zoo::by_name(name).unwrap(), 3, LowerOptions::default(), 0);
    }
}

#[test]
fn every_operation_with_and_without_rewrites() {
    let net = every_operation().unwrap();
    for defer_averages in [true, false] {
        for max_before_relu in [true, false] {
            let sum_before_cut = defer_averages;
            check(&net, 2, LowerOptions { defer_averages, max_before_relu, sum_before_cut }, 8);
        }
    }
}

#[test]
fn deferred_averages_cost_less_and_are_no_worse() {
    let net = zoo::by_name("lenet").unwrap();
    let plan = |options| lower(&net, options, Ring::Z64).unwrap();
    let kept = LowerOptions { defer_averages: false, ..LowerOptions::default() };
    let [with, without] = [LowerOptions::default(), kept].map(|o| cost::infer(&plan(o), 1, &Settings::default()));
    assert!(with.bytes < without.bytes && with.rounds + 4 == without.rounds, "{with:?} {without:?}");
    assert!(check(&net, 1, LowerOptions::default(), 1) < 1e-4);
}

#[test]
fn a_batch_gives_the_same_scores_as_its_images() {
    let net = every_operation().unwrap();
    let weights = Weights::seeded(&net, 5);
    let images = image(&[3, 3, 22, 18], 3);
    let both = infer(&net, &weights, &images, LowerOptions::default(), Settings::default()).scores;
    for index in 0..3 {
        let one = images.slice_axis(ndarray::Axis(0), (index..=index).into()).to_owned();
        let one = infer(&net, &weights, &one, LowerOptions::default(), Settings::default()).scores;
        let row = both.slice_axis(ndarray::Axis(0), (index..=index).into()).to_owned();
        assert!(max_difference(&one, &row) < 2e-4, "image {index}");
    }
}

#[test]
fn sharing_the_weights_costs_what_is_declared() {
    let net = zoo::by_name("lenet").unwrap();
    for (ring, bytes) in [(Ring::Z64, 8 * 431_080), (Ring::Z32, 4 * 431_080)] {
        let runs = three(Settings { codec: ring.into(), ..Settings::default() }, |p| {
            let mine = (p.id().index() == 0).then(|| Weights::seeded(&net, 1));
            let model = SharedModel::share(p, &net, PartyId::P0, mine, LowerOptions::default()).unwrap();
            (cost::share_weights(model.plan(), p.ring()), p.stats())
        });
        let measured = Cost {
            bytes: runs.iter().map(|(_, stats)| stats.payload_bytes()).sum(),
            rounds: runs.iter().map(|(_, stats)| stats.rounds).max().unwrap(),
        };
        assert_eq!(measured, runs[0].0);
        assert_eq!(measured.bytes, bytes);
    }
}

/// Settings of a ring that networks are tried with: as they are usual, a narrow window, each check of ranges, and where they fit
/// the paper's truncation and a check beside a narrow window.
fn settings_of(ring: Ring) -> Vec<Settings> {
    let standard = Settings { codec: ring.into(), ..Settings::default() };
    let bits = ring.bits() / 2;
    let narrow = Settings { window: SignWindow::new(0, bits).unwrap(), ..standard };
    let checked = |check_range| Settings { check_range, ..standard };
    let mut settings = vec![standard, narrow, checked(CheckRange::Run), checked(CheckRange::Layers)];
    settings.push(Settings { codec: FixedPoint::in_ring(ring, 11).unwrap(), ..standard });
    if ring == Ring::Z64 {
        // In 32 bits the paper's truncation is off by 2^20 units once in 2^8 products of 1.
        settings.push(Settings { fidelity: Fidelity::Paper, ..standard });
    }
    settings
}

/// Other settings, in both rings: errors are so many units of the codec's last bit, whatever the ring.
#[test]
fn costs_are_declared_for_every_setting() {
    for (net, units) in [
        (every_operation().unwrap(), 30.0),
        (inference_operations().unwrap(), 30.0),
        (partly_seen().unwrap(), 30.0),
        (zoo::by_name("lenet-maxpool").unwrap(), 150.0),
        (zoo::by_name("lenet").unwrap(), 50.0),
    ] {
        let weights = Weights::seeded(&net, 5);
        let [c, h, w] = net.input_shape();
        let images = image(&[2, c, h, w], 3);
        let expected = plaintext::evaluate(&net, &weights, &images.view()).unwrap();
        for settings in [Ring::Z64, Ring::Z32].into_iter().flat_map(settings_of) {
            let outcome = infer(&net, &weights, &images, LowerOptions::default(), settings);
            let plan = lower(&fold_graph(&net).unwrap(), LowerOptions::default(), settings.codec.ring()).unwrap();
            assert_eq!(outcome.declared, cost::infer(&plan, 2, &settings), "{}: {settings:?}", net.name());
            assert_eq!(outcome.measured.bytes, outcome.declared.bytes, "{}: {settings:?}", net.name());
            let error = max_difference(&outcome.scores, &expected) / unit(settings.codec);
            assert!(error < units, "{}: {error} units with {settings:?}", net.name());
        }
    }
}

/// What is computed at inference only is refused by training, here and in the clear, with the node's name.
#[test]
fn training_refuses_what_has_no_gradient() {
    use cryptgpu_core::nn::training::{Loss, Train, TrainingPlan};
    let net = inference_operations().unwrap();
    let error = TrainingPlan::new(&net, &Train::default(), Ring::Z64).unwrap_err();
    assert!(matches!(&error, NnError::NoGradient { node, .. } if node == "leaky1"), "{error}");
    assert!(error.to_string().starts_with("leaky1: piecewise_linear"), "{error}");
    let (weights, images) = (plaintext::tensors(&Weights::seeded(&net, 5)), image(&[1, 3, 12, 10], 3));
    let targets = image(&[1, 4, 1, 1], 4);
    let error = plaintext::gradients(&net, &weights, &images, &targets, Loss::MeanSquaredError).unwrap_err();
    assert!(matches!(error, NnError::NoGradient { .. }), "{error}");
}

/// A function that the fixed-point numbers have no room for is an error before anything is sent.
#[test]
fn functions_beyond_the_ring_are_refused() {
    let mut net = Graph::builder("far", [1, 2, 2]);
    let far = PiecewiseLinear::line(0.3, 1e9).unwrap();
    let x = net.add("line", Op::PiecewiseLinear(far), &[net.input()]).unwrap();
    let plan = lower(&net.finish(x).unwrap(), LowerOptions::default(), Ring::Z64).unwrap();
    let settings = |f| Settings { codec: FixedPoint::new(f).unwrap(), ..Settings::default() };
    cryptgpu_core::nn::window::check_plan(&plan, &settings(12)).unwrap();
    let error = cryptgpu_core::nn::window::check_plan(&plan, &settings(20)).unwrap_err();
    assert!(error.to_string().contains("line: ") && matches!(error, NnError::Settings { .. }), "{error}");
}

/// Under a window for values below 2^11, what a step compares may be larger: the sum of an average that was carried on,
/// and a difference of two values.
#[test]
fn a_narrow_window_holds_for_sums_and_differences_too() {
    let settings = Settings { window: SignWindow::new(0, 32).unwrap(), ..Settings::default() };
    let mut mean = Graph::builder("mean", [1, 3, 3]);
    let pool = Op::AvgPool { window: PoolGeometry::square(3, 3, 0) };
    let pool = mean.add("pool", pool, &[mean.input()]).unwrap();
    let relu = mean.relu("relu", pool).unwrap();
    let last = mean.conv("last", relu, 1, PoolGeometry::square(1, 1, 0)).unwrap();
    let mean = mean.finish(last).unwrap();
    let mut weights = Weights::new();
    for parameter in mean.parameters() {
        let value = if parameter.name == "last.weight" { 1.0 } else { 0.0 };
        weights.insert(parameter.name, ArrayD::from_elem(IxDyn(&parameter.shape), value));
    }
    let images = ArrayD::from_elem(IxDyn(&[1, 1, 3, 3]), 500.0);
    let scores = infer(&mean, &weights, &images, LowerOptions::default(), settings).scores;
    assert!((scores[[0, 0, 0, 0]] - 500.0).abs() < 1e-2, "{scores}");

    // With padding, which is below every value.
    for (padding, values) in [(0, [1800.0, -900.0]), (1, [-2000.0, -1900.0])] {
        let mut net = Graph::builder("max", [1, 2, 2]);
        let window = PoolGeometry { stride: [4, 4], ..PoolGeometry::square(2 + 2 * padding, 1, padding) };
        let pool = net.add("pool", Op::MaxPool { window }, &[net.input()]).unwrap();
        let net = net.finish(pool).unwrap();
        let images = ArrayD::from_shape_fn(IxDyn(&[1, 1, 2, 2]), |at| values[at[3]]);
        let outcome = infer(&net, &Weights::new(), &images, LowerOptions::default(), settings);
        assert_eq!(outcome.scores[[0, 0, 0, 0]], values[0].max(values[1]), "padding {padding}");
        let plan = lower(&net, LowerOptions::default(), Ring::Z64).unwrap();
        assert_eq!(outcome.declared, cost::infer(&plan, 1, &settings), "the width is the settings'");
        assert_eq!(outcome.measured.bytes, outcome.declared.bytes);
    }
}

/// A notebook shares the weights and the image itself: the parties get shares only.
#[test]
fn a_model_from_shares_computes_the_same() {
    let net = every_operation().unwrap();
    let weights = Weights::seeded(&net, 5);
    let images = image(&[1, 3, 22, 18], 3);
    let world = World::seeded(1);
    let (options, codec) = (LowerOptions::default(), world.settings.codec);
    let tensors = private::encode_weights(&net, &weights, options, codec).unwrap();
    let dealt: Vec<_> = tensors.iter().map(|(name, words)| (name.clone(), world.deal(words))).collect();
    let x = world.deal(&codec.encode_array(&images).unwrap());
    let scores = world.run(|p| {
        let i = p.id().index();
        let mine: Vec<_> = dealt.iter().map(|(name, reps)| (name.clone(), reps[i].clone())).collect();
        let without = SharedModel::from_shares(p.id(), &net, options, codec, mine[1..].to_vec()).map(|_| ());
        assert!(matches!(without, Err(NnError::MissingTensor { .. })), "{without:?}");
        let extra = [mine.clone(), vec![("more".into(), mine[0].1.clone())]].concat();
        let extra = SharedModel::from_shares(p.id(), &net, options, codec, extra).map(|_| ());
        assert!(matches!(extra, Err(NnError::ExtraTensors { .. })), "{extra:?}");
        let model = SharedModel::from_shares(p.id(), &net, options, codec, mine).unwrap();
        let y = model.infer(p, x[i].clone()).unwrap();
        codec.decode_array(&p.open(&y).unwrap().to_array().unwrap())
    });
    let expected = plaintext::evaluate(&net, &weights, &images.view()).unwrap();
    assert!(max_difference(&scores[0], &expected) < 1e-4);
}

/// The reciprocal of every divisor that a plan can hold is within 2^−f of the true one.
#[test]
fn averages_that_are_not_deferred_are_accurate() {
    for kernel in [2, 3, 5, 7] {
        let window = PoolGeometry::square(kernel, 2, kernel / 2);
        let mut net = Graph::builder("mean", [1, 9, 9]);
        let pool = net.add("pool", cryptgpu_core::nn::Op::AvgPool { window }, &[net.input()]).unwrap();
        let net = net.finish(pool).unwrap();
        let images = image(&[2, 1, 9, 9], 9);
        let expected = plaintext::evaluate(&net, &Weights::new(), &images.view()).unwrap();
        let outcome = infer(&net, &Weights::new(), &images, LowerOptions::default(), Settings::default());
        assert!(max_difference(&outcome.scores, &expected) < 4e-6, "kernel {kernel}");
    }
}

/// In the ring of 32 bits the sum of an average over 49 is cut at once, so that the layer behind it has as much room as any: 64 at
/// 12 fraction bits, where 6 bits more would leave none. What is left of the divisor is in the weights, not rounded with an average.
#[test]
fn a_layer_behind_a_large_average_has_its_room_in_32_bits() {
    let mut net = Graph::builder("head", [4, 7, 7]);
    let pool = net.add("pool", Op::GlobalAvgPool, &[net.input()]).unwrap();
    let row = net.add("row", Op::Flatten, &[pool]).unwrap();
    let fc = net.linear("fc", row, 3).unwrap();
    let net = net.finish(fc).unwrap();
    let mut weights = Weights::new();
    weights.insert("fc.weight", ArrayD::from_shape_fn(IxDyn(&[3, 4]), |at| 0.7 - 0.3 * (at[0] + at[1]) as f32));
    weights.insert("fc.bias", ArrayD::zeros(IxDyn(&[3])));
    let images = image(&[2, 4, 7, 7], 3).mapv(|x| 20.0 + 4.0 * x);
    let expected = plaintext::evaluate(&net, &weights, &images.view()).unwrap();
    assert!(largest(&expected) > 15.0, "{expected}");
    let settings = Settings { codec: Ring::Z32.into(), check_range: CheckRange::Layers, ..Settings::default() };
    let outcome = infer(&net, &weights, &images, LowerOptions::default(), settings);
    assert_eq!(outcome.measured.bytes, outcome.declared.bytes);
    // Weights are right within 2^-13, times 80; averages and products within a unit.
    assert!(max_difference(&outcome.scores, &expected) < 0.012, "{} {expected}", outcome.scores);
    let weights = Weights::seeded(&net, 5);
    let conditions = range::Conditions { settings, ..Default::default() };
    let room = range::headroom(&net, &weights, None, &conditions).unwrap();
    let limits: Vec<(&str, f64)> = room.iter().map(|step| (step.node.as_str(), step.limit)).collect();
    assert_eq!(limits, [("pool", 4096.0), ("fc", 64.0)]);
}

#[test]
fn mistakes_are_named() {
    let net = zoo::by_name("lenet").unwrap();
    let errors = three(Settings::default(), |p| {
        SharedModel::share(p, &net, PartyId::P1, None, LowerOptions::default()).map(|_| ()).map_err(|e| e.to_string())
    });
    assert!(errors[1].as_ref().unwrap_err().contains("party 1 owns the weights"), "{errors:?}");
    assert!(errors[2].is_err(), "who waits for the owner's message gets an error at once: {errors:?}");

    let mut huge = Weights::seeded(&net, 1);
    huge.insert("fc1.weight", ArrayD::from_elem(IxDyn(&[500, 800]), 1e30));
    let errors = three(Settings::default(), |p| {
        let mine = (p.id().index() == 1).then(|| huge.clone());
        SharedModel::share(p, &net, PartyId::P1, mine, LowerOptions::default()).map(|_| ()).map_err(|e| e.to_string())
    });
    let error = errors[1].as_ref().unwrap_err();
    assert!(error.contains("fc1.weight") && error.contains("cannot encode"), "{error}");

    let errors = three(Settings::default(), |p| {
        let wrong = ArrayD::zeros(vec![1, 28, 27, 1]);
        let mine = (p.id().index() == 1).then(|| wrong.view());
        private::share_images(p, &net, PartyId::P1, mine, 1).map(|_| ())
    });
    assert!(matches!(errors[1], Err(NnError::Input { .. })));
}

/// Values that wrap around are found before the run, and named; just below, the private run is right.
#[test]
fn a_network_that_overflows_is_refused_by_name() {
    let net = zoo::by_name("lenet").unwrap();
    let images = image(&[1, 1, 28, 28], 3);
    let conditions = range::Conditions::default();
    let scaled = |factor: f32| {
        let mut weights = Weights::seeded(&net, 5);
        let tensor = weights.remove("fc1.weight").unwrap();
        weights.insert("fc1.weight", tensor * factor);
        weights
    };
    let room = range::headroom(&net, &scaled(1.0), Some(images.view()), &conditions).unwrap();
    let fc1 = room.iter().find(|room| room.node == "fc1").unwrap().bits_seen().unwrap();
    let (fits, too_large) = (2f32.powf(fc1 as f32 - 5.0), 2f32.powf(fc1 as f32 + 1.0));
    let error = range::check(&net, &scaled(too_large), Some(images.view()), &conditions).unwrap_err();
    assert!(matches!(error, NnError::Range { .. }) && error.to_string().contains("fraction bits or fewer"), "{error}");
    range::check(&net, &scaled(fits), Some(images.view()), &conditions).unwrap();
    let expected = plaintext::evaluate(&net, &scaled(fits), &images.view()).unwrap();
    let private = infer(&net, &scaled(fits), &images, conditions.options, Settings::default()).scores;
    assert!(max_difference(&private, &expected) < 1e-5 * largest(&expected));
}

/// The number of fraction bits that a refusal names is the largest that is not refused, and that of a warning the largest that is
/// proved; in the ring of 32 bits both name the other ring too.
#[test]
fn a_refusal_names_the_fraction_bits_that_fit() {
    let (net, images) = (zoo::by_name("lenet").unwrap(), image(&[2, 1, 28, 28], 3));
    for (ring, factor) in [(Ring::Z64, 3e7), (Ring::Z32, 100.0)] {
        let mut weights = Weights::seeded(&net, 5);
        let tensor = weights.remove("fc1.weight").unwrap();
        weights.insert("fc1.weight", tensor * factor);
        let with = |fraction_bits: u32| {
            let codec = FixedPoint::in_ring(ring, fraction_bits).unwrap();
            let settings = Settings { codec, ..Settings::default() };
            let conditions = range::Conditions { settings, ..Default::default() };
            range::check(&net, &weights, Some(images.view()), &conditions)
        };
        let error = with(ring.default_fraction_bits()).unwrap_err();
        let text = error.to_string();
        let NnError::Range { remedies, .. } = error else { panic!("{error}") };
        let Some(&Remedy::FractionBits { least: 1, most }) = remedies.first() else { panic!("{remedies:?}") };
        assert!(text.contains(&format!("use {most} fraction bits or fewer, ")), "{text}");
        assert_eq!(text.contains("the ring of 64 bits, "), ring == Ring::Z32, "{text}");
        assert!(with(most + 1).is_err());
        let warning = with(most).unwrap().unwrap();
        assert_eq!(warning.contains("the ring of 64 bits"), ring == Ring::Z32, "{warning}");
        // By the bound as it is at these bits: with few a bound has roundings of its own.
        let named =
            (1..most).find(|bits| warning.contains(&format!("To be sure use {bits} fraction bits or fewer, or")));
        assert!(named.is_some(), "{warning}");
        if ring == Ring::Z64 {
            assert_eq!(named, (1..most).rev().find(|&bits| with(bits).unwrap().is_none()), "{warning}");
        }
    }
}

/// The parties find it out too, by one bit, and by one a layer where. A run that stays within gives what it gives without.
#[test]
fn values_beyond_the_range_are_found_on_shares() {
    let same = PoolGeometry::square(3, 1, 1);
    let mut net = Graph::builder("small", [1, 8, 8]);
    let mut x = net
        .add(
            "conv",
            cryptgpu_core::nn::Op::Conv2d { out_channels: 4, window: same, groups: 1, bias: true },
            &[net.input()],
        )
        .unwrap();
    x = net.relu("relu", x).unwrap();
    x = net.add("pool", cryptgpu_core::nn::Op::AvgPool { window: PoolGeometry::square(2, 2, 0) }, &[x]).unwrap();
    let flat = net.flatten("flatten", x).unwrap();
    let fc = net.linear("fc", flat, 10).unwrap();
    let net = net.finish(fc).unwrap();
    let images = image(&[1, 1, 8, 8], 3);
    let (options, standard) = (LowerOptions::default(), Settings::default());
    let scaled = |by: f32| {
        let mut weights = Weights::seeded(&net, 5);
        for name in ["conv.weight", "fc.weight"] {
            let tensor = weights.remove(name).unwrap();
            weights.insert(name, tensor * by);
        }
        weights
    };
    let scores = |weights: &Weights, check_range| {
        let settings = Settings { check_range, ..standard };
        three(settings, |p| {
            let [_, one, two] = PartyId::ALL;
            let mine = (p.id() == one).then(|| weights.clone());
            let model = SharedModel::share(p, &net, one, mine, options)?;
            let x = (p.id() == two).then(|| images.view());
            let x = private::share_images(p, &net, two, x, 1)?;
            let y = model.infer(p, x)?;
            Ok::<_, NnError>(p.open(&y)?.to_array().map_err(cryptgpu_core::mpc::MpcError::from)?)
        })
        .map(|result| result.map_err(|error| error.to_string()))
    };
    let (within, beyond) = (scaled(1.0), scaled(20_000.0));
    let conditions = range::Conditions::default();
    range::check(&net, &within, Some(images.view()), &conditions).unwrap();
    assert!(range::check(&net, &beyond, Some(images.view()), &conditions).is_err());
    let plain = scores(&within, CheckRange::Off);
    assert_eq!(scores(&within, CheckRange::Run), plain);
    assert!(scores(&within, CheckRange::Layers).iter().all(Result::is_ok));
    assert!(scores(&beyond, CheckRange::Off).iter().all(Result::is_ok), "nobody has asked");
    for error in scores(&beyond, CheckRange::Run) {
        let error = error.unwrap_err();
        assert!(error.contains("range of the fixed-point numbers") && error.contains("layers"), "{error}");
    }
    for error in scores(&beyond, CheckRange::Layers) {
        let error = error.unwrap_err();
        assert!(error.contains("step fc:") && error.contains("fraction bits"), "{error}");
    }
}

/// The large networks: `cargo test --release --test nn -- --ignored --nocapture`. Names in
/// `CRYPTGPU_NETWORKS`, separated by commas; all ten of the paper otherwise.
#[test]
#[ignore = "minutes of work"]
fn the_papers_networks() {
    let names = std::env::var("CRYPTGPU_NETWORKS").unwrap_or_else(|_| zoo::PAPER.join(","));
    for name in names.split(',') {
        let net = zoo::by_name(name).unwrap();
        let start = std::time::Instant::now();
        let error = check(&net, 1, LowerOptions::default(), 8);
        println!(
            "{name}: largest error {error:.2e}, {:.1} s with plaintext and sharing",
            start.elapsed().as_secs_f64()
        );
    }
}
