//! Private training through a cluster: examples of several owners, what is revealed, what is left at the parties, and what
//! happens when a run does not end well.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::support::small;
use cryptgpu_core::cluster::{
    Cluster, ClusterBuilder, ClusterError, DataSource, Dataset, FirstWeights, Images, Labels, LossPoint, Start,
};
use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::mpc::{CheckRange, Settings};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::plaintext::{Arithmetic, PlaintextTraining, Rounding};
use cryptgpu_core::nn::training::{Adam, Optimizer, Reveal, Schedule, Sgd, Train, TrainingPlan, initial};
use cryptgpu_core::nn::{Graph, Op, WeightSource, Weights, plaintext, zoo};
use cryptgpu_core::ring::{FixedPoint, Ring};
use cryptgpu_datasets::ImageSet;
use std::time::{Duration, Instant};

pub fn local() -> ClusterBuilder {
    Cluster::local().program(env!("CARGO_BIN_EXE_cryptgpu")).threads(1)
}

/// In the ring of 32 bits, as training there is by default: a value that leaves its range names the layer.
pub fn short() -> Settings {
    Settings { codec: Ring::Z32.into(), check_range: CheckRange::Layers, ..Settings::default() }
}

pub fn settings() -> Train {
    Train { batch: 100, epochs: 1, optimizer: Sgd::new(0.01), seed: 7, ..Train::default() }
}

pub fn digits(cluster: &Cluster) -> Dataset {
    cluster.dataset("digits-train", Images::at(0), Labels::at(2)).unwrap()
}

/// Three processes: images at one, labels at another, the weights' owner a third. The trained network infers, goes to the
/// party that may have it, and nobody learns anything else.
#[test]
fn a_network_learns_digits_that_stay_with_their_owners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.safetensors");
    let cluster = local().start().unwrap();
    let reveal = Reveal { loss_every: Some(2), accuracy_every: Some(1) };
    let train = Train { epochs: 2, iterations: Some(10), reveal, ..settings() };
    let held_out = cluster.dataset("digits-test", Images::at(0), Labels::at(2)).unwrap();
    let start = Start { held_out: Some(held_out.clone()), ..Start::default() };
    let mut seen = vec![];
    let run = cluster
        .train_observed(small(), start, &digits(&cluster), train, |iteration| seen.push(iteration.clone()))
        .unwrap();
    assert_eq!(seen, run.iterations());
    assert!(seen.iter().enumerate().all(|(at, of)| of.number == at && of.of == 10 && of.examples == 100));
    assert!(seen.iter().all(|of| of.seconds > 0.0 && of.rounds > 0 && of.bytes[0] >= 8 * 100 * 784), "{seen:?}");
    let curve = run.curve();
    assert_eq!(curve.iter().map(|point| point.iteration).collect::<Vec<_>>(), [1, 3, 5, 7, 9]);
    assert!(curve[3].loss < 0.9 * curve[0].loss && curve[3].loss > 0.0, "{curve:?}");
    let passes: Vec<&str> = ["input", "forward", "loss", "backward", "update"].to_vec();
    assert!(passes.iter().all(|pass| run.steps().iter().any(|step| step.pass == *pass && step.seconds > 0.0)));

    let test = ImageSet::DigitsTest.open().unwrap().batch(0..50).unwrap();
    let private = run.model().infer(&test).unwrap();
    run.model().export_to(1, &path).unwrap();
    let (weights, net) = (Weights::load(&path).unwrap(), small());
    weights.check(&net).unwrap();
    let expected = plaintext::evaluate(&net, &weights, &test).unwrap();
    assert!(private.scores.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3));
    let accuracy = cluster.accuracy(run.model(), &held_out, 100).unwrap();
    assert!(accuracy.fraction() > 0.25, "{accuracy:?}, and guesses are right on a tenth");
    // After the first epoch, and at the end, where it is that of the trained network.
    let accuracies = run.accuracies();
    assert_eq!(accuracies.iter().map(|point| (point.iteration, point.epoch)).collect::<Vec<_>>(), [(7, 0), (9, 1)]);
    assert_eq!(accuracies[1].accuracy, accuracy.fraction());
    let measured = seen[7].accuracy.as_ref().unwrap();
    assert!(measured.examples == 200 && measured.bytes() > 8 * 784 * 200 && measured.seconds() > 0.0);

    let error = run.model().export_to(PartyId::P1, folder.path().join("no/such/folder")).unwrap_err();
    assert!(error.party() == Some(PartyId::P1) && error.to_string().contains("no/such/folder"), "{error}");
}

/// A fully connected layer of 1,024 inputs, a ReLU, and one of ten outputs.
fn wide(outputs: usize) -> Graph {
    let mut net = Graph::builder("weights", [1, 32, 32]);
    let flat = net.flatten("flatten", net.input()).unwrap();
    let wide = net.linear("wide", flat, outputs).unwrap();
    let relu = net.relu("relu", wide).unwrap();
    let fc = net.linear("fc", relu, 10).unwrap();
    net.finish(fc).unwrap()
}

/// A convolution, what is called so behind it, a ReLU, and a fully connected layer.
fn with(op: Op) -> Graph {
    let mut net = Graph::builder(op.kind(), [3, 24, 24]);
    let conv = net.conv("conv", net.input(), 24, PoolGeometry::square(3, 1, 1)).unwrap();
    let x = net.add("op", op, &[conv]).unwrap();
    let relu = net.relu("relu", x).unwrap();
    let pool = net.add("pool", Op::AvgPool { window: PoolGeometry::square(4, 4, 0) }, &[relu]).unwrap();
    let flat = net.flatten("flatten", pool).unwrap();
    let fc = net.linear("fc", flat, 10).unwrap();
    net.finish(fc).unwrap()
}

/// Kernels of which all but the middle only ever see padding: a ninth of the weights is trained.
fn unseen() -> Graph {
    let mut net = Graph::builder("unseen", [128, 1, 1]);
    let conv = net.conv("conv1", net.input(), 512, PoolGeometry::square(3, 1, 1)).unwrap();
    let relu = net.relu("relu1", conv).unwrap();
    let conv = net.conv("conv2", relu, 512, PoolGeometry::square(3, 1, 1)).unwrap();
    let flat = net.flatten("flatten", conv).unwrap();
    let fc = net.linear("fc", flat, 10).unwrap();
    net.finish(fc).unwrap()
}

/// The stated memory is about that of a process: of networks whose values take most, by ReLU, maximum or batch normalisation, of one
/// whose weights do, all of them or mostly such as no gradient reaches, and of Adam's roots of as many numbers as it updates at
/// once. Few iterations of a network of few layers keep little of the freed memory that is stated.
#[test]
fn what_a_training_takes_in_memory_is_stated() {
    let (values, normalised) = (with(Op::Relu), with(Op::BatchNorm2d { eps: 1e-5 }));
    let maxima = with(Op::MaxPool { window: PoolGeometry::square(2, 2, 0) });
    let sgd = Sgd::new(0.01).momentum(0.9);
    let adam = Adam::new(0.001);
    let cases = [
        (values, 64, sgd, 0.8..1.2),
        (maxima, 64, sgd, 0.8..1.2),
        (normalised, 64, sgd, 0.8..1.2),
        (wide(1024), 16, sgd, 0.7..1.15),
        // The owner of the weights has them in the clear as well while they are shared, which takes most here.
        (unseen(), 16, sgd, 0.85..1.4),
        (wide(256), 16, adam, 0.85..1.15),
    ];
    let rings = [Settings::default(), short()];
    let cases = cases.into_iter().flat_map(|case| rings.map(|settings| (case.clone(), settings)));
    for ((net, batch, optimizer, within), computing) in cases {
        let train = Train { batch, iterations: Some(3), optimizer, ..settings() };
        let ratio = measured_to_stated(&net, train, computing);
        assert!(ratio.iter().all(|ratio| within.contains(ratio)), "{}: {ratio:?}", net.name());
    }
}

/// A tenth: of whole networks, checked and not, in both rings. Of the three parties the middle one, as one that lags behind holds
/// more of the others' messages.
#[test]
fn the_stated_memory_of_whole_networks_is_right_within_a_tenth() {
    let rings = [Ring::Z64, Ring::Z32];
    let computing = rings.into_iter().flat_map(|ring| {
        [CheckRange::Off, CheckRange::Layers].map(|check_range| {
            let codec = ring.into();
            Settings { codec, check_range, ..Settings::default() }
        })
    });
    for computing in computing {
        for (name, batch) in [("lenet", 64), ("resnet8-cifar10", 64), ("alexnet-cifar10", 16)] {
            let net = zoo::by_name(name).unwrap();
            let train = Train { batch, iterations: Some(5), optimizer: Sgd::new(0.01).momentum(0.9), ..settings() };
            let mut ratio = measured_to_stated(&net, train, computing);
            ratio.sort_by(f64::total_cmp);
            assert!((0.9..1.1).contains(&ratio[1]), "{name} by {computing:?}: {ratio:?}");
        }
    }
}

/// Peaks of the three processes that train with random examples, of what is stated.
fn measured_to_stated(net: &Graph, train: Train, computing: Settings) -> [f64; 3] {
    let (batch, check) = (train.batch, computing.check_range);
    let plan = TrainingPlan::new(net, &train, computing.codec.ring()).unwrap();
    let stated = plan.memory(batch, check);
    let cluster = local().computing(computing).start().unwrap();
    let count = batch * train.iterations.unwrap_or(1);
    let random = DataSource::random(net.input_shape(), 10, count);
    let data = cluster.dataset(random, Images::at(0), Labels::at(2)).unwrap();
    let run = cluster.train(net, &data, train).unwrap();
    let measured = run.usage().each_ref().map(|usage| usage.peak_rss_bytes);
    let ratio = measured.map(|measured| measured as f64 / stated.total() as f64);
    println!("{} in {}, {check}: {ratio:?} of {stated:?}", net.name(), plan.ring());
    ratio
}

/// Whoever owns the rows, the run is the same but for the rounding of truncations; and it goes on from given weights.
#[test]
fn rows_of_two_owners_and_of_the_caller_train_alike() {
    let cluster = Cluster::in_memory().check_range(CheckRange::Run).start().unwrap();
    let rows = [(0, 0..500), (1, 500..800)];
    let set = ImageSet::DigitsTrain.open().unwrap();
    let labels: Vec<usize> = set.labels(0..800).unwrap().unwrap().iter().map(|&label| label.into()).collect();
    let data = [
        digits(&cluster),
        cluster.dataset("digits-train", Images::rows(rows.clone()), Labels::rows(rows)).unwrap(),
        cluster.dataset_from(&set.batch(0..800).unwrap(), &labels, 10).unwrap(),
    ];
    let train =
        Train { iterations: Some(3), reveal: Reveal { loss_every: Some(1), ..Reveal::default() }, ..settings() };
    let losses = data.map(|data| {
        let run = cluster.train(small(), &data, train.clone()).unwrap();
        run.curve().iter().map(|point| point.loss).collect::<Vec<f64>>()
    });
    let near = |a: &[f64], b: &[f64]| a.len() == 3 && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(near(&losses[0], &losses[1]) && near(&losses[0], &losses[2]), "{losses:?}");

    // Only the last layer moves, from trained weights; nothing is revealed unless it is asked for.
    let lenet = Train { batch: 20, iterations: Some(2), frozen: vec!["conv1".into(), "conv2".into()], ..settings() };
    let run = cluster.fine_tune("lenet", WeightSource::Bundled, &digits(&cluster), lenet).unwrap();
    assert!(run.curve().is_empty() && run.iterations().iter().all(|iteration| iteration.loss.is_none()));
    let held_out = cluster.dataset("digits-test", Images::at(0), Labels::at(2)).unwrap();
    assert!(cluster.accuracy(run.model(), &held_out, 200).unwrap().fraction() > 0.95);
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_sent() {
    let cluster = Cluster::in_memory().start().unwrap();
    let data = digits(&cluster);
    let refused = |network: &str, data: &Dataset, train: Train, hint: &str| {
        let error = cluster.train(network, data, train).unwrap_err();
        assert!(matches!(error, ClusterError::Argument { .. }) && error.to_string().contains(hint), "{error}");
    };
    refused("lanet", &data, settings(), "lenet");
    refused("vgg16-cifar10", &data, settings(), "[3, 32, 32]");
    refused("lenet", &data, Train { batch: 0, ..settings() }, "batch");
    let of = |optimizer: Optimizer| Train { optimizer, ..settings() };
    refused("lenet", &data, of(Sgd::new(0.01).weight_decay(1e-9)), "weight decay");
    refused("lenet", &data, of(Adam::new(0.01).weight_decay(1e-9)), "weight decay");
    refused("lenet", &data, of(Sgd::new(0.01).momentum(1e-9)), "momentum");
    let milestones = |factor: f64| Schedule::Milestones { epochs: vec![1], factor };
    refused("lenet", &data, Train { schedule: milestones(-1.0), ..settings() }, "the schedule's factor is -1");
    let shrinking = Train { epochs: 2, schedule: milestones(1e-300), ..settings() };
    refused("lenet", &data, shrinking.clone(), "rate");
    // That epoch is not reached.
    assert!(cluster.train(small(), &data, Train { iterations: Some(1), ..shrinking }).is_ok());
    let long = Settings { codec: FixedPoint::new(28).unwrap(), ..Settings::default() };
    let finest = Cluster::in_memory().computing(long).start().unwrap();
    let error = finest.train(small(), &digits(&finest), settings()).unwrap_err().to_string();
    assert!(error.contains("at most 27"), "{error}");
    let never = Reveal { loss_every: Some(0), ..Reveal::default() };
    refused("lenet", &data, Train { reveal: never, ..settings() }, "`Reveal::loss_every`");
    let many = cluster.dataset(DataSource::random([1, 28, 28], 11, 30), Images::at(0), Labels::at(2)).unwrap();
    let error = cluster.train("lenet", &many, settings()).unwrap_err();
    assert!(error.party() == Some(PartyId::P2) && error.to_string().contains("not below 10"), "{error}");

    // A rate at which weights explode: the run stops, and names the layer.
    let cluster = Cluster::in_memory().check_range(CheckRange::Layers).start().unwrap();
    let explodes = Train { iterations: Some(4), optimizer: Sgd::new(1e5).momentum(0.9), ..settings() };
    let error = cluster.train(small(), &digits(&cluster), explodes).unwrap_err().to_string();
    assert!(error.contains("range of the fixed-point numbers") && error.contains("fc"), "{error}");

    // Where ranges are not checked a loss that cannot be one stops it, and the next run is well.
    let cluster = Cluster::in_memory().start().unwrap();
    let reveal = Reveal { loss_every: Some(1), ..Reveal::default() };
    let train = Train { optimizer: Sgd::new(1e5).momentum(0.9), epochs: 1000, reveal, ..settings() };
    let error = cluster.train(small(), &digits(&cluster), train).unwrap_err();
    let ClusterError::LeftRange { iteration: iteration @ 1.., .. } = error else { panic!("{error}") };
    let of = format!("the loss of iteration {} was revealed", iteration + 1);
    for says in [&*of, "Lower the rate", "check_range", "--check-range=layers"] {
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let one = Train { iterations: Some(1), ..settings() };
    assert_eq!(cluster.train(small(), &digits(&cluster), one).unwrap().iterations().len(), 1);
}

/// A convolution with an average behind it, and a fully connected layer: quick, and of every pass.
fn convolutional() -> Graph {
    let mut net = Graph::builder("convolutional", [1, 28, 28]);
    let conv = net.conv("conv", net.input(), 4, PoolGeometry::square(5, 2, 0)).unwrap();
    let relu = net.relu("relu", conv).unwrap();
    let pool = net.add("pool", Op::AvgPool { window: PoolGeometry::square(2, 2, 0) }, &[relu]).unwrap();
    let flat = net.flatten("flatten", pool).unwrap();
    let fc = net.linear("fc", flat, 10).unwrap();
    net.finish(fc).unwrap()
}

/// The same with a batch normalisation.
fn normalised() -> Graph {
    let mut net = Graph::builder("normalised", [1, 28, 28]);
    let conv = net.conv_bn(["conv", "bn"], net.input(), 4, PoolGeometry::square(5, 2, 0), 1).unwrap();
    let relu = net.relu("relu", conv).unwrap();
    let pool = net.add("pool", Op::AvgPool { window: PoolGeometry::square(2, 2, 0) }, &[relu]).unwrap();
    let flat = net.flatten("flatten", pool).unwrap();
    let fc = net.linear("fc", flat, 10).unwrap();
    net.finish(fc).unwrap()
}

/// From the owners' examples to exported weights, a whole epoch is that of a run in the clear from the same seed that cuts
/// to as many bits wherever the private one does: minibatch by minibatch, the smaller last one included, and weight by weight.
#[test]
fn a_private_epoch_is_one_in_the_clear_with_the_same_cuts() {
    let momentum: Optimizer = Sgd::new(0.05).momentum(0.9);
    private_epoch(convolutional(), momentum, Settings::default(), 7, 5e-4);
    private_epoch(convolutional(), momentum, short(), 8, 4e-2);
    private_epoch(normalised(), momentum, short(), 8, 4e-2);
    private_epoch(convolutional(), Adam::new(0.005), short(), 8, 4e-2);
}

/// The schedule's rate is that of each epoch, in private as in the clear.
#[test]
fn a_private_run_follows_its_schedule() {
    let cluster = Cluster::in_memory().start().unwrap();
    let reveal = Reveal { loss_every: Some(1), ..Reveal::default() };
    // Two iterations an epoch; in the third epoch next to nothing moves.
    let schedule = Schedule::Milestones { epochs: vec![1, 2], factor: 0.05 };
    let optimizer = Sgd::new(0.1);
    let train = Train { batch: 400, epochs: 3, optimizer, schedule, reveal, ..settings() };
    let run = cluster.train(convolutional(), &digits(&cluster), train.clone()).unwrap();

    let set = ImageSet::DigitsTrain.open().unwrap();
    let images = set.batch(0..800).unwrap().mapv(f64::from).into_dyn();
    let targets = plaintext::one_hot(set.labels(0..800).unwrap().unwrap(), 10).into_dyn();
    let losses_of = |train: &Train| {
        let (net, mut losses) = (convolutional(), vec![]);
        let weights = initial(&net, train.seed, train.initial);
        let mut clear = PlaintextTraining::new(&net, &weights, train, Rounding::Exact).unwrap();
        clear.run(&images, &targets, |_, _, loss| losses.push(loss)).unwrap();
        losses
    };
    let apart = |losses: &[f64]| {
        assert_eq!((run.curve().len(), losses.len()), (6, 6));
        run.curve().iter().zip(losses).map(|(a, b)| (a.loss - b).abs()).fold(0.0, f64::max)
    };
    let (followed, constant) =
        (apart(&losses_of(&train)), apart(&losses_of(&Train { schedule: Schedule::Constant, ..train.clone() })));
    assert!(followed < 1e-2 && constant > 0.1, "{followed:.1e} from the schedule, {constant:.1e} from a constant rate");
}

fn private_epoch(net: Graph, optimizer: Optimizer, settings: Settings, seed: u64, allowed: f64) {
    let cluster = Cluster::in_memory().computing(settings).start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let reveal = Reveal { loss_every: Some(1), ..Reveal::default() };
    // Digits stand on a background of one value. With some seeds a channel is 0 there but for a few units, and which side of the ReLU
    // it falls to is for the choices of cuts: then two runs in the clear are a tenth apart, too.
    let train = Train { batch: 96, optimizer, reveal, seed, ..self::settings() };
    let run = cluster.train(net.clone(), &digits(&cluster), train.clone()).unwrap();
    run.model().export_to(1, &path).unwrap();

    let set = ImageSet::DigitsTrain.open().unwrap();
    let images = set.batch(0..800).unwrap().mapv(f64::from).into_dyn();
    let targets = plaintext::one_hot(set.labels(0..800).unwrap().unwrap(), 10).into_dyn();
    let codec = settings.codec;
    let cuts = Arithmetic::from(Rounding::Stochastic { fraction_bits: codec.fraction_bits(), seed: 1 });
    // In the ring of 32 bits gradients are those of the sum of sixteen examples.
    let cuts = if codec.ring() == Ring::Z32 { cuts.summing(16).in_ring(Ring::Z32) } else { cuts };
    let mut clear = PlaintextTraining::new(&net, &initial(&net, train.seed, train.initial), &train, cuts).unwrap();
    let mut losses = vec![];
    clear.run(&images, &targets, |_, _, loss| losses.push(loss)).unwrap();

    let apart = run.curve().iter().zip(&losses).map(|(a, b)| (a.loss - b).abs()).fold(0.0, f64::max);
    let (ours, theirs) = (Weights::load(&path).unwrap(), clear.to_weights());
    let furthest = theirs.iter().flat_map(|(name, theirs)| {
        // Of a value above one, by its share: a running variance is of squares, and two runs in the clear are 0.03 apart.
        let differences = (ours.get(name).unwrap() - theirs) / theirs.mapv(|value| value.abs().max(1.0));
        differences.mapv(f32::abs).into_iter().collect::<Vec<f32>>()
    });
    let furthest = furthest.fold(0.0, f32::max);
    assert_eq!(clear.cut().beyond, 0, "all values have a place in the ring");
    println!("losses {losses:.3?}, at most {apart:.1e} apart, weights {furthest:.1e}");
    assert!(run.curve().len() == 9 && losses.len() == 9 && losses[8] < 0.7 * losses[0], "{losses:?}");
    assert!(apart < allowed && f64::from(furthest) < allowed, "losses {apart:.1e} apart, weights {furthest:.1e}");
}

/// A training that the parties hold goes on without anybody having its weights: with its optimiser's numbers as if it had
/// not ended, or from its weights alone under other settings.
#[test]
fn a_trained_network_goes_on_without_being_opened() {
    let cluster = Cluster::in_memory().start().unwrap();
    let data = digits(&cluster);
    let reveal = Reveal { loss_every: Some(1), ..Reveal::default() };
    let train = Train { iterations: Some(4), optimizer: Sgd::new(0.01).momentum(0.9), reveal, ..settings() };
    let whole = cluster.train(small(), &data, train.clone()).unwrap().curve();
    let half = cluster.train(small(), &data, Train { iterations: Some(2), ..train.clone() }).unwrap();
    let from = |weights| Start { weights, ..Start::default() };
    let train_from = |weights, train| cluster.train_observed(small(), from(weights), &data, train, |_| ());
    let model = half.model().clone();
    let rest = train_from(FirstWeights::GoingOn(model.clone()), train.clone()).unwrap().curve();
    let curve: Vec<_> = half.curve().into_iter().chain(rest).collect();
    assert_eq!(curve.len(), 4);
    let near = |a: &LossPoint, b: &LossPoint| a.iteration == b.iteration && (a.loss - b.loss).abs() < 1e-3;
    assert!(curve.iter().zip(&whole).all(|(a, b)| near(a, b)), "{curve:?}, {whole:?}");

    let other = Train { iterations: Some(1), optimizer: Sgd::new(0.01), ..train.clone() };
    let anew = train_from(FirstWeights::Trained(model.clone()), other.clone()).unwrap().curve();
    assert!(anew[0].iteration == 0 && anew[0].loss < 0.9 * whole[0].loss, "{anew:?}");

    let refused = |weights, train, hint: &str| {
        let error = train_from(weights, train).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    };
    refused(FirstWeights::GoingOn(model.clone()), other.clone(), "more epochs or iterations");
    refused(FirstWeights::Drawn, Train { reveal: Reveal { accuracy_every: Some(1), ..reveal }, ..train }, "held out");
    let error = cluster.train_observed("lenet", from(FirstWeights::Trained(model)), &data, other, |_| ()).unwrap_err();
    assert!(error.to_string().contains("another network"), "{error}");
}

/// A party that is killed and a run that is cancelled in the middle end with an error in time, and the next run is well.
#[test]
fn a_run_that_does_not_end_well_ends_in_time() {
    let cluster = local().deadline(Duration::from_secs(5)).start().unwrap();
    let endless = Train { epochs: 1000, ..settings() };
    let (data, pids, start) = (digits(&cluster), cluster.pids(), Instant::now());
    let error = cluster
        .train_observed(small(), Start::default(), &data, endless.clone(), |iteration| {
            if iteration.number == 3 {
                // SAFETY: a signal to a process of this test.
                unsafe { libc::kill(pids[1] as i32, libc::SIGKILL) };
            }
        })
        .unwrap_err();
    assert!(matches!(error, ClusterError::Died { party, .. } if party == PartyId::P1), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(matches!(cluster.train(small(), &data, settings()), Err(ClusterError::StaleHandle { .. })));

    let data = digits(&cluster);
    let error = cluster
        .train_observed(small(), Start::default(), &data, endless, |iteration| {
            if iteration.number == 3 {
                assert!(cluster.cancel());
            }
        })
        .unwrap_err();
    assert!(matches!(error, ClusterError::Cancelled { .. }), "{error}");
    let train = Train { iterations: Some(1), ..settings() };
    assert_eq!(cluster.train(small(), &digits(&cluster), train).unwrap().iterations().len(), 1);
}
