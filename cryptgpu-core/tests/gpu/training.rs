//! Whole trainings: with one party on the card and with all three every weight is the CPU's, in both rings.

use super::Body;
use super::networks::support;
use super::protocols::placements;

use cryptgpu_core::device::{Device, PoolGeometry, Tensor};
use cryptgpu_core::mpc::{Party, Rep, World};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::training::{Adam, Loss, Optimizer, Sgd, SharedTraining, Train};
use cryptgpu_core::nn::{Graph, Op, Weights};
use cryptgpu_core::ring::Ring;
use ndarray::{ArrayD, IxDyn};

pub const BODIES: &[(&str, Body)] = &[
    ("training_in_32_bits", training_in_32_bits),
    ("training_in_64_bits", training_in_64_bits),
    ("training_of_kernels_that_are_partly_seen", partly_seen),
];

/// Shares what party 2 holds.
fn share(p: &mut Party, value: &ArrayD<f64>) -> Rep {
    let words = p.codec().encode_array(value).unwrap();
    let mine = (p.id() == PartyId::P2).then(|| Tensor::from_array_in(p.ring(), p.device(), &words));
    p.input(PartyId::P2, mine.as_ref(), value.shape()).unwrap()
}

/// With the functions of the loss, which extend to 64 bits, and so do a batch normalisation and Adam.
fn training_in_32_bits(card: Device) {
    trained_alike(card, Ring::Z32, &tiny(false), Sgd::new(0.05).momentum(0.9));
    trained_alike(card, Ring::Z32, &tiny(true), Adam::new(0.01));
}

fn training_in_64_bits(card: Device) {
    trained_alike(card, Ring::Z64, &tiny(false), Sgd::new(0.05).momentum(0.9));
    trained_alike(card, Ring::Z64, &tiny(true), Adam::new(0.01));
}

/// What is seen of kernels is trained, and the rest put beside it when weights leave the training.
fn partly_seen(card: Device) {
    let net = support::partly_seen().unwrap();
    trained_alike(card, Ring::Z64, &net, Sgd::nesterov(0.05, 0.9).weight_decay(0.01));
    trained_alike(card, Ring::Z32, &net, Sgd::new(0.05).momentum(0.9));
}

/// Convolutions, an average, odd numbers of elements, and a fully connected layer.
fn tiny(normalised: bool) -> Graph {
    let mut net = Graph::builder("tiny", [1, 6, 6]);
    let window = PoolGeometry::square(3, 1, 1);
    let conv = match normalised {
        false => net.conv("conv1", net.input(), 3, window).unwrap(),
        true => net.conv_bn(["conv1", "bn1"], net.input(), 3, window, 1).unwrap(),
    };
    let relu = net.relu("relu1", conv).unwrap();
    let pool = net.add("pool1", Op::AvgPool { window: PoolGeometry::square(2, 2, 0) }, &[relu]).unwrap();
    let conv = net.conv("conv2", pool, 5, PoolGeometry::square(3, 1, 1)).unwrap();
    let relu = net.relu("relu2", conv).unwrap();
    let flat = net.flatten("flatten", relu).unwrap();
    let fc = net.linear("fc1", flat, 3).unwrap();
    net.finish(fc).unwrap()
}

/// Two iterations of a network with three classes: every weight is the CPU's.
fn trained_alike(card: Device, ring: Ring, net: &Graph, optimizer: Optimizer) {
    let [c, h, w] = net.input_shape();
    let (weights, images) = (Weights::seeded(net, 5), support::image(&[3, c, h, w], 4));
    let targets = ArrayD::from_shape_fn(IxDyn(&[3, 3]), |at| f64::from(u8::from(at[0] == at[1])));
    let train = Train { batch: 3, loss: Loss::CrossEntropy, optimizer, ..Train::default() };
    let trained = |devices: [Device; 3]| {
        let world = World { devices, ..World::seeded(4).in_ring(ring) };
        let [after, ..] = world.run(|p| {
            let mine = (p.id() == PartyId::P1).then(|| weights.clone());
            let mut training = SharedTraining::share(p, net, PartyId::P1, mine, &train).unwrap();
            for _ in 0..2 {
                let (x, t) = (share(p, &images), share(p, &targets));
                training.step(p, &x, &t, train.optimizer.rate(), |_| {}).unwrap();
            }
            training.open_to(p, PartyId::P0).unwrap()
        });
        let after = after.unwrap();
        after.iter().map(|(name, values)| (name.to_owned(), values.mapv(f32::to_bits))).collect::<Vec<_>>()
    };
    let expected = trained([Device::Cpu; 3]);
    for &devices in &placements(card)[..2] {
        assert!(trained(devices) == expected, "{} {ring} {devices:?}: other weights than on the CPU", net.name());
    }
}
