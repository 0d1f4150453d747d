//! Private training by three parties in one process: gradients and optimisers against the oracle in f64, the ways out of a
//! training and back into it, what it costs, and what it refuses.
#![allow(clippy::unwrap_used)]

use crate::support::{every_operation, image, max_difference, partly_seen, three};
use cryptgpu_core::device::{PoolGeometry, Tensor};
use cryptgpu_core::mpc::{CheckRange, Cost, Fidelity, Party, Rep, Settings};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::plaintext::{PlaintextTraining, Rounding};
use cryptgpu_core::nn::training::{Adam, Initial, Loss, Optimizer, Pass, Reveal, Sgd, SharedTraining, Train, initial};
use cryptgpu_core::nn::{Graph, NnError, Op, Weights, plaintext, zoo};
use cryptgpu_core::ring::{FixedPoint, Ring};
use ndarray::{ArrayD, IxDyn};

/// Images and targets of a batch.
pub type Batch = (ArrayD<f64>, ArrayD<f64>);

pub fn batch(net: &Graph, count: usize, salt: u64) -> Batch {
    let classes = net.output_shape()[0];
    let labels = |at: IxDyn| f64::from(u8::from(at[1] == (at[0] * 7 + salt as usize) % classes));
    let [c, h, w] = net.input_shape();
    (image(&[count, c, h, w], salt + 3), ArrayD::from_shape_fn(IxDyn(&[count, classes]), labels))
}

/// Shares what party 2 holds.
pub fn share(p: &mut Party, value: &ArrayD<f64>) -> Rep {
    let words = p.codec().encode_array(value).unwrap();
    let mine = (p.id() == PartyId::P2).then(|| Tensor::from_array_in(p.ring(), p.device(), &words));
    p.input(PartyId::P2, mine.as_ref(), value.shape()).unwrap()
}

fn open(p: &mut Party, x: &Rep) -> ArrayD<f64> {
    p.codec().decode_array(&p.open(x).unwrap().to_array().unwrap())
}

pub fn begin(p: &mut Party, net: &Graph, weights: &Weights, train: &Train) -> SharedTraining {
    let mine = (p.id() == PartyId::P1).then(|| weights.clone());
    SharedTraining::share(p, net, PartyId::P1, mine, train).unwrap()
}

/// Trains on these batches; gives the weights at the end, and the losses that were asked for.
fn trained(
    net: &Graph,
    weights: &Weights,
    train: &Train,
    settings: Settings,
    data: &[Batch],
) -> Result<(Weights, Vec<f64>), NnError> {
    let [first, ..] = three(settings, |p| {
        let mut training = begin(p, net, weights, train);
        let mut losses = vec![];
        for (images, targets) in data {
            let (x, t) = (share(p, images), share(p, targets));
            let loss = training.step(p, &x, &t, train.optimizer.rate(), |_| {})?;
            losses.extend(loss.map(|loss| open(p, &loss)[[0]]));
        }
        Ok((training.open_to(p, PartyId::P0)?, losses))
    });
    first.map(|(weights, losses)| (weights.unwrap(), losses))
}

fn largest_difference(a: &Weights, b: &Weights) -> (f64, String) {
    let each = a.iter().map(|(name, a)| {
        let difference = max_difference(&a.mapv(f64::from), &b.get(name).unwrap().mapv(f64::from));
        (difference, name.to_owned())
    });
    each.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// In the ring of 32 bits, with 12 fraction bits and as it is by default: a value that leaves its range names the layer.
pub fn short() -> Settings {
    Settings { codec: Ring::Z32.into(), check_range: CheckRange::Layers, ..Settings::default() }
}

/// Convolutions, averages that wait for the next layer, a residual sum, and fully connected layers.
pub fn tiny() -> Graph {
    pooled(2)
}

/// The same with averages of so many pixels in either direction, which wait for the next layer where their number is a power
/// of two.
fn pooled(size: usize) -> Graph {
    let mut net = Graph::builder("tiny", [1, 6, 6]);
    let conv = net.conv("conv1", net.input(), 3, PoolGeometry::square(3, 1, 1)).unwrap();
    let relu = net.relu("relu1", conv).unwrap();
    let pool = net.add("pool1", Op::AvgPool { window: PoolGeometry::square(size, size, 0) }, &[relu]).unwrap();
    let conv = net.conv("conv2", pool, 3, PoolGeometry::square(3, 1, 1)).unwrap();
    let skip = net.conv("skip", pool, 3, PoolGeometry::square(1, 1, 0)).unwrap();
    let sum = net.add("add", Op::Add, &[conv, skip]).unwrap();
    let relu = net.relu("relu2", sum).unwrap();
    let flat = net.flatten("flatten", relu).unwrap();
    let fc = net.linear("fc1", flat, 6).unwrap();
    let relu = net.relu("relu3", fc).unwrap();
    let fc = net.linear("fc2", relu, 4).unwrap();
    net.finish(fc).unwrap()
}

/// A plane that becomes larger, with a factor for rows and one for columns, behind a ReLU and before overlapping windows.
fn upsampled() -> Graph {
    let mut net = Graph::builder("upsampled", [2, 4, 3]);
    let conv = net.conv("conv1", net.input(), 3, PoolGeometry::square(3, 1, 1)).unwrap();
    let relu = net.relu("relu1", conv).unwrap();
    let up = net.add("upsample", Op::Upsample { factors: [2, 3] }, &[relu]).unwrap();
    let conv = net.conv("conv2", up, 2, PoolGeometry::square(3, 2, 1)).unwrap();
    let flat = net.flatten("flatten", conv).unwrap();
    let fc = net.linear("fc", flat, 4).unwrap();
    net.finish(fc).unwrap()
}

/// One iteration of plain descent at a rate of the batch's size takes the gradients themselves off the weights.
#[test]
fn gradients_are_those_of_the_oracle() {
    let long = Settings::default();
    let cases = [
        (tiny(), Loss::CrossEntropy, &[][..], long),
        (tiny(), Loss::MeanSquaredError, &[], long),
        (every_operation().unwrap(), Loss::CrossEntropy, &[], long),
        (every_operation().unwrap(), Loss::MeanSquaredError, &["bn2", "conv3"], long),
        (partly_seen().unwrap(), Loss::MeanSquaredError, &[], long),
        (upsampled(), Loss::CrossEntropy, &[], long),
        (upsampled(), Loss::MeanSquaredError, &[], short()),
        (tiny(), Loss::CrossEntropy, &[], short()),
        (pooled(3), Loss::MeanSquaredError, &["conv2"], short()),
        (every_operation().unwrap(), Loss::CrossEntropy, &[], short()),
        (every_operation().unwrap(), Loss::MeanSquaredError, &["bn2", "conv3"], short()),
        (partly_seen().unwrap(), Loss::CrossEntropy, &["conv3"], short()),
    ];
    for (net, loss, frozen, settings) in cases {
        let count = 3;
        let frozen = frozen.iter().map(|&name| name.to_owned()).collect();
        let optimizer = Sgd::new(count as f64);
        let train = Train { batch: count, loss, optimizer, frozen, ..Train::default() };
        let (weights, data) = (Weights::seeded(&net, 5), batch(&net, count, 1));
        let (after, _) = trained(&net, &weights, &train, settings, std::slice::from_ref(&data)).unwrap();
        let mut oracle = PlaintextTraining::new(&net, &weights, &train, Rounding::Exact).unwrap();
        oracle.step(&data.0, &data.1, count as f64).unwrap();
        let expected = oracle.to_weights();
        let (error, worst) = largest_difference(&expected, &after);
        let (moved, _) = largest_difference(&expected, &weights);
        println!("{} {loss:?}: gradients up to {moved:.3}, error {error:.1e} in {worst}", net.name());
        assert!(moved > 0.05, "{}: all gradients are small", net.name());
        // 8 fraction bits more or less.
        let allowed = if settings.codec.ring() == Ring::Z64 { 2e-4 } else { 2e-4 * 256.0 };
        assert!(error < allowed * moved.max(1.0), "{} {loss:?}: {worst} is wrong by {error}", net.name());
        for name in train.frozen {
            let name = format!("{name}.weight");
            let encoded = |w: &Weights| settings.codec.encode_array(w.get(&name).unwrap()).unwrap();
            assert_eq!(encoded(&after), encoded(&weights), "{name} is frozen");
        }
    }
}

#[test]
fn every_optimiser_does_what_it_does_in_f64() {
    let net = tiny();
    let (long, few) = (Settings::default(), 2f64.powi(-8));
    let optimizers = [
        // The rate has few bits without momentum.
        (Sgd::new(0.1), 1e-3),
        (Sgd::new(0.1).weight_decay(0.01), 1e-3),
        (Sgd::new(0.05).momentum(0.9), 1e-4),
        (Sgd::new(0.05).momentum(0.9).weight_decay(0.01), 1e-4),
        (Sgd::nesterov(0.05, 0.9), 1e-4),
        // Small second moments have few bits.
        (Adam::new(0.01), 3e-3),
        (Adam::new(0.01).weight_decay(0.05), 3e-3),
    ];
    // The last batch is smaller.
    let data: Vec<Batch> = [4, 4, 4, 3].into_iter().zip(0..).map(|(count, salt)| batch(&net, count, salt)).collect();
    let weights = Weights::seeded(&net, 5);
    // In the ring of 32 bits too, where weights have 12 fraction bits. A gradient has few there, and Adam's quotient is as far off.
    let short = optimizers.iter().map(|&(optimizer, _)| {
        let adam = matches!(optimizer, Optimizer::Adam(_));
        (optimizer, if adam { 4.0 * few } else { few }, short())
    });
    for (optimizer, tolerance, settings) in
        optimizers.iter().map(|&(optimizer, error)| (optimizer, error, long)).chain(short)
    {
        let train = Train { batch: 4, optimizer, ..Train::default() };
        let (after, _) = trained(&net, &weights, &train, settings, &data).unwrap();
        let mut oracle = PlaintextTraining::new(&net, &weights, &train, Rounding::Exact).unwrap();
        for (images, targets) in &data {
            oracle.step(images, targets, optimizer.rate()).unwrap();
        }
        let (error, worst) = largest_difference(&oracle.to_weights(), &after);
        println!("{optimizer:?}: {error:.1e} in {worst}");
        assert!(error < tolerance, "{optimizer:?}: {worst} is wrong by {error}");
    }
}

/// A convolution, and a fully connected layer behind the average of 64 pixels: six bits less are left for a rate.
fn averaged() -> Graph {
    let mut net = Graph::builder("averaged", [1, 8, 8]);
    let conv = net.conv("conv", net.input(), 3, PoolGeometry::square(3, 1, 1)).unwrap();
    let relu = net.relu("relu", conv).unwrap();
    let pool = net.add("pool", Op::GlobalAvgPool, &[relu]).unwrap();
    let flat = net.flatten("flatten", pool).unwrap();
    let fc = net.linear("fc", flat, 4).unwrap();
    net.finish(fc).unwrap()
}

/// In the ring of 32 bits no average is carried on, neither in training nor in inference behind it: 30 fits behind one of four
/// pixels, where a divisor that is carried on leaves room for 16.
#[test]
fn a_product_behind_an_average_has_the_room_of_others() {
    let mut net = Graph::builder("room", [1, 2, 2]);
    let pool = net.add("pool", Op::GlobalAvgPool, &[net.input()]).unwrap();
    let flat = net.flatten("flatten", pool).unwrap();
    let fc = net.linear("fc", flat, 2).unwrap();
    let net = net.finish(fc).unwrap();
    let mut weights = Weights::new();
    weights.insert("fc.weight", ArrayD::from_shape_vec(vec![2, 1], vec![5.0, -5.0]).unwrap());
    weights.insert("fc.bias", ArrayD::zeros(vec![2]));
    let images = ArrayD::from_elem(vec![2, 1, 2, 2], 6.0);
    let targets = ArrayD::from_shape_fn(vec![2, 2], |at| if at[1] == 0 { 29.9 } else { -30.0 });
    let train = Train { batch: 2, loss: Loss::MeanSquaredError, optimizer: Sgd::new(0.01), ..Train::default() };
    let [scores, ..] = three(short(), |p| {
        let mut training = begin(p, &net, &weights, &train);
        let (x, t) = (share(p, &images), share(p, &targets));
        let _ = training.step(p, &x, &t, 0.01, |_| {}).unwrap();
        let evaluated = training.evaluate(p, &x).unwrap();
        let model = training.to_model(p).unwrap();
        let inferred = model.infer(p, x).unwrap();
        [open(p, &evaluated), open(p, &inferred)]
    });
    for scores in scores {
        assert!(max_difference(&scores, &targets) < 0.1, "{scores}");
    }
}

/// 0.77/4 is 0.193; with the two bits that one truncation would leave behind this pool it would be 0.1875.
#[test]
fn a_rate_has_enough_bits_behind_a_large_average() {
    let net = averaged();
    let train = Train { batch: 4, optimizer: Sgd::new(0.77), ..Train::default() };
    let (weights, data) = (Weights::seeded(&net, 5), batch(&net, 4, 1));
    let (after, _) = trained(&net, &weights, &train, Settings::default(), std::slice::from_ref(&data)).unwrap();
    let mut oracle = PlaintextTraining::new(&net, &weights, &train, Rounding::Exact).unwrap();
    oracle.step(&data.0, &data.1, 0.77).unwrap();
    let expected = oracle.to_weights();
    let change = |after: &Weights| {
        let [after, before] = [after, &weights].map(|weights| weights.get("fc.bias").unwrap().mapv(f64::from));
        after - before
    };
    let (wanted, found) = (change(&expected), change(&after));
    let largest = wanted.iter().fold(0.0, |most: f64, change| most.max(change.abs()));
    assert!(largest > 0.05, "{wanted}");
    assert!(max_difference(&wanted, &found) < 1e-3 * largest, "{wanted} became {found}");
}

#[test]
fn the_loss_falls_with_few_bits_and_with_the_papers_truncation_too() {
    let net = tiny();
    let data: Vec<Batch> = (0..30).map(|index| batch(&net, 8, index % 2)).collect();
    let reveal = Reveal { loss_every: Some(2), ..Reveal::default() };
    let train = Train { batch: 8, optimizer: Sgd::new(0.05).momentum(0.9), reveal, ..Train::default() };
    let settings = [
        Settings::default(),
        Settings { codec: FixedPoint::new(12).unwrap(), ..Settings::default() },
        Settings { fidelity: Fidelity::Paper, ..Settings::default() },
        Settings { check_range: CheckRange::Layers, ..Settings::default() },
        short(),
    ];
    for settings in settings {
        let weights = initial(&net, 3, Initial::Kaiming);
        let (_, losses) = trained(&net, &weights, &train, settings, &data).unwrap();
        println!("{settings:?}: {losses:.2?}");
        assert_eq!(losses.len(), 15, "every second iteration gives its loss");
        assert!(losses[14] < 0.5 * losses[0], "{settings:?}: {losses:?}");
    }
}

/// A small ResNet with batch normalisation learns a minibatch from scratch, iteration by iteration as in f64.
#[test]
fn a_small_resnet_learns_as_in_the_clear() {
    resnet_learns(Settings::default(), 1.0);
    resnet_learns(short(), 16.0);
}

/// `coarser`: how much further apart its weights may be than with 20 fraction bits.
fn resnet_learns(settings: Settings, coarser: f64) {
    let net = zoo::by_name("resnet8-cifar10").unwrap();
    let reveal = Reveal { loss_every: Some(1), ..Reveal::default() };
    let train = Train { batch: 4, optimizer: Sgd::new(0.02).momentum(0.9), reveal, ..Train::default() };
    let (weights, data) = (initial(&net, 3, Initial::Kaiming), vec![batch(&net, 4, 1); 4]);
    let (after, losses) = trained(&net, &weights, &train, settings, &data).unwrap();
    let mut oracle = PlaintextTraining::new(&net, &weights, &train, Rounding::Exact).unwrap();
    let expected: Vec<f64> = data.iter().map(|(x, t)| oracle.step(x, t, 0.02).unwrap()).collect();
    let (error, worst) = largest_difference(&oracle.to_weights(), &after);
    println!("losses {losses:.3?}, in f64 {expected:.3?}; weights {error:.1e} apart, most in {worst}");
    assert!(losses[3] < 0.7 * losses[0], "{losses:?}");
    let allowed = 0.02 * coarser.sqrt();
    assert!(losses.iter().zip(&expected).all(|(a, b)| (a - b).abs() < allowed * b), "{losses:?}, {expected:?}");
    assert!(error < 5e-3 * coarser, "{worst} is wrong by {error}");
}

/// What the transport counted, the protocols declared and the plan said, step by step.
#[test]
fn an_iteration_costs_what_its_plan_says() {
    let plain: Optimizer = Sgd::new(0.1);
    let checked = |check_range| Settings { check_range, ..Settings::default() };
    let frozen = ["bn2", "conv3"].map(str::to_owned).to_vec();
    let cases = [
        (tiny(), Sgd::nesterov(0.1, 0.9), Loss::CrossEntropy, 4, Settings::default()),
        (tiny(), Adam::new(0.01), Loss::MeanSquaredError, 3, checked(CheckRange::Run)),
        (every_operation().unwrap(), plain, Loss::CrossEntropy, 4, checked(CheckRange::Layers)),
        (averaged(), plain, Loss::CrossEntropy, 4, Settings::default()),
        (upsampled(), plain, Loss::CrossEntropy, 4, Settings::default()),
        // Of kernels that partly see padding only, what sees an input costs.
        (partly_seen().unwrap(), Sgd::new(0.1).momentum(0.9), Loss::CrossEntropy, 4, Settings::default()),
        (partly_seen().unwrap(), Adam::new(0.01), Loss::CrossEntropy, 3, checked(CheckRange::Layers)),
        (partly_seen().unwrap(), plain, Loss::MeanSquaredError, 3, short()),
        (
            every_operation().unwrap(),
            Sgd::new(0.1).momentum(0.9),
            Loss::MeanSquaredError,
            3,
            Settings { fidelity: Fidelity::Paper, ..Settings::default() },
        ),
        // In the ring of 32 bits, with softmax in that of 64: an average of nine, the flag by layer, for all, and none.
        (pooled(3), Sgd::nesterov(0.1, 0.9), Loss::CrossEntropy, 4, short()),
        (tiny(), plain, Loss::CrossEntropy, 3, Settings { check_range: CheckRange::Run, ..short() }),
        (
            tiny(),
            Sgd::new(0.1).momentum(0.9),
            Loss::MeanSquaredError,
            3,
            Settings { check_range: CheckRange::Off, ..short() },
        ),
        // Adam and batch normalisation there, which extend to 64 bits: frozen ones too.
        (tiny(), Adam::new(0.01), Loss::MeanSquaredError, 3, Settings { check_range: CheckRange::Run, ..short() }),
        (every_operation().unwrap(), plain, Loss::CrossEntropy, 4, short()),
        (every_operation().unwrap(), Adam::new(0.01), Loss::CrossEntropy, 3, short()),
        (
            every_operation().unwrap(),
            Sgd::new(0.1).momentum(0.9),
            Loss::MeanSquaredError,
            3,
            Settings { fidelity: Fidelity::Paper, check_range: CheckRange::Off, ..short() },
        ),
    ];
    for (net, optimizer, loss, count, settings) in cases {
        let freezes = settings.check_range == CheckRange::Layers
            && net.name() == "every-operation"
            && !matches!(optimizer, Optimizer::Adam(_));
        let train = Train {
            batch: 4,
            loss,
            optimizer,
            reveal: Reveal { loss_every: Some(1), ..Reveal::default() },
            frozen: if freezes { frozen.clone() } else { vec![] },
            ..Train::default()
        };
        let (weights, (images, targets)) = (Weights::seeded(&net, 5), batch(&net, count, 1));
        let runs = three(settings, |p| {
            let mut training = begin(p, &net, &weights, &train);
            let (x, t) = (share(p, &images), share(p, &targets));
            let (before, declared) = (p.stats(), p.declared());
            let mut steps = vec![];
            let observe = |step: cryptgpu_core::nn::training::StepTime<'_>| {
                steps.push((step.name.to_owned(), step.pass, step.stats.payload_bytes()));
            };
            let _ = training.step(p, &x, &t, optimizer.rate(), observe).unwrap();
            let after = p.declared();
            let declared = Cost { bytes: after.bytes - declared.bytes, rounds: after.rounds - declared.rounds };
            (steps, declared, [before.rounds, p.stats().rounds], training.plan().clone())
        });
        let plan = &runs[0].3;
        let first = cryptgpu_core::nn::training::Iteration { number: 1, ..plan.iteration() };
        let iteration = cryptgpu_core::nn::training::Iteration { batch: count, loss: true, ..first };
        let costs = plan.costs(&iteration, &settings).unwrap();
        // The check at the end is no step that is shown.
        let shown = costs.iter().filter(|step| step.kind != "range check");
        assert_eq!(shown.clone().count(), runs[0].0.len());
        for (index, expected) in shown.enumerate() {
            let at = |party: usize| &runs[party].0[index];
            assert_eq!((&at(0).0, at(0).1), (&expected.name, expected.pass));
            let counted: u64 = (0..3).map(|party| at(party).2).sum();
            assert_eq!(counted, expected.cost.bytes, "{}: {} {}", net.name(), expected.name, expected.pass);
        }
        assert_eq!(plan.cost(&iteration, &settings).unwrap(), runs[0].1, "{}", net.name());
        let rounds = |at: usize| runs.iter().map(|run| run.2[at]).max().unwrap();
        assert!(rounds(1) - rounds(0) <= runs[0].1.rounds);
        assert!(costs.iter().any(|step| step.pass == Pass::Update && step.cost.bytes > 0));
        let later = cryptgpu_core::nn::training::Iteration { number: 2, loss: false, ..iteration };
        let unchecked = Settings { check_range: CheckRange::Off, ..settings };
        assert!(
            plan.cost(&later, &unchecked).unwrap().bytes < plan.cost(&iteration, &settings).unwrap().bytes,
            "loss, check and first factors come on top"
        );
    }
}

/// Out to a party, to inference, and to a checkpoint and back.
#[test]
fn a_training_is_evaluated_exported_folded_and_continued() {
    ways_out(&every_operation().unwrap(), Settings::default(), 1.0);
    ways_out(&tiny(), short(), 256.0);
    ways_out(&every_operation().unwrap(), short(), 256.0);
    ways_out(&partly_seen().unwrap(), Settings::default(), 1.0);
}

/// `coarser`: how much so the numbers are than with 20 fraction bits.
fn ways_out(net: &Graph, settings: Settings, coarser: f64) {
    let train = Train { batch: 3, optimizer: Sgd::new(0.05).momentum(0.9), ..Train::default() };
    let weights = Weights::seeded(net, 5);
    let data = [batch(net, 3, 1), batch(net, 3, 2)];
    let runs = three(settings, |p| {
        let mut training = begin(p, net, &weights, &train);
        let [(x, t), (other, other_targets)] = [0, 1].map(|at| (share(p, &data[at].0), share(p, &data[at].1)));
        let _ = training.step(p, &x, &t, 0.05, |_| {}).unwrap();
        let (state, codec) = (training.state(), training.codec());
        // Of the weights that training began with nothing is kept but what it does not see: who gets the others gets no more.
        let unseen = state.iter().filter(|(name, _)| name.ends_with(".unseen")).map(|(_, rep)| rep.len());
        let expected = if net.name() == "partly-seen" { 4 * 2 * 10 + 6 * 2 * 20 + 5 * 6 * 8 } else { 0 };
        assert_eq!(unseen.sum::<usize>(), expected);
        let mut again = SharedTraining::from_state(p.id(), net, &train, codec, training.iteration(), state).unwrap();
        let _ = again.step(p, &other, &other_targets, 0.05, |_| {}).unwrap();
        assert_eq!(again.iteration(), 2);
        let scores = again.evaluate(p, &x).unwrap();
        let model = again.to_model(p).unwrap();
        let inferred = model.infer(p, x.clone()).unwrap();
        let _ = training.step(p, &other, &other_targets, 0.05, |_| {}).unwrap();
        let missing = training.state().into_iter().skip(1);
        let refused = SharedTraining::from_state(p.id(), net, &train, codec, 2, missing).unwrap_err().to_string();
        assert!(refused.contains("conv1.weight"), "{refused}");
        let opened = [&training, &again].map(|training| training.open_to(p, PartyId::P2).unwrap());
        (opened, open(p, &scores), open(p, &inferred))
    });
    assert!(runs[0].0[0].is_none() && runs[1].0[1].is_none());
    let [Some(went_on), Some(resumed)] = &runs[2].0 else { panic!("party 2 gets the weights") };
    // Masks differ, so that truncations round otherwise here and there.
    assert!(largest_difference(went_on, resumed).0 < 1e-4 * coarser);
    resumed.check(net).unwrap();
    let expected = plaintext::evaluate(net, resumed, &data[0].0.view()).unwrap();
    for scores in [&runs[0].1, &runs[0].2] {
        let error = max_difference(scores, &expected);
        assert!(error < 2e-3 * coarser.min(30.0), "{error}");
    }
    let moved = largest_difference(&weights, resumed);
    assert!(moved.0 > 1e-2, "{moved:?}");
    if let Some(kernel) = resumed.get("conv3.weight").filter(|_| net.name() == "partly-seen") {
        // Its middle is trained, and the rest as it was.
        let change = kernel - weights.get("conv3.weight").unwrap();
        let middle = change.indexed_iter().filter(|(at, _)| at[2] == 1 && at[3] == 1).map(|(_, by)| by.abs());
        assert!(middle.fold(0.0, f32::max) > 1e-4);
        assert!(change.indexed_iter().all(|(at, by)| (at[2] == 1 && at[3] == 1) || by.abs() < 1e-5));
    }
}

#[test]
fn what_cannot_be_trained_says_why() {
    let net = tiny();
    let train = Train { batch: 4, ..Train::default() };
    let (images, targets) = batch(&net, 4, 1);
    // In the ring of 32 bits products of 64 leave the range.
    let [range, ..] = three(short(), |p| {
        let mut training = begin(p, &net, &Weights::seeded(&net, 5), &train);
        let (x, t) = (share(p, &images).mul_word(1 << 9), share(p, &targets));
        training.step(p, &x, &t, 0.1, |_| {}).unwrap_err().to_string()
    });
    assert!(range.contains("conv1") && range.contains("2^30") && range.contains("lower the learning rate"), "{range}");
    let [errors, ..] = three(Settings { check_range: CheckRange::Layers, ..Settings::default() }, |p| {
        let mut training = begin(p, &net, &Weights::seeded(&net, 5), &train);
        let (x, t) = (share(p, &images), share(p, &targets));
        let mut step = |p: &mut Party, x: &Rep, t: &Rep, rate: f64| training.step(p, x, t, rate, |_| {}).unwrap_err();
        let shapes = step(p, &x, &t.narrow(0..3).unwrap(), 0.1);
        let input = step(p, &t, &t, 0.1);
        let rate = step(p, &x, &t, 0.0);
        let tiny = step(p, &x, &t, 1e-19);
        let codec = *p.settings();
        p.set_settings(Settings { codec: FixedPoint::new(12).unwrap(), ..codec });
        let precision = step(p, &x, &t, 0.1);
        p.set_settings(codec);
        // Images that are far too large: the first convolution leaves the range, and its name is in the error.
        let large = x.mul_word(1 << 21);
        let range = step(p, &large, &t, 0.1);
        [shapes, input, rate, tiny, precision, range].map(|error| error.to_string())
    });
    let words = ["one-hot", "[1, 6, 6]", "must be above 0", "changes no weight", "12", "conv1"];
    for (error, word) in errors.iter().zip(words) {
        assert!(error.contains(word), "{error}");
    }
}
