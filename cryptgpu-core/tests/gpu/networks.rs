//! Whole networks: private inference with one party on the card and with all three gives each party the
//! components that it has on the CPU, and the image the same class, in both rings; and so does training in that of 32 bits.

use super::Body;
use super::protocols::placements;
#[path = "../nn/support.rs"]
mod support;

use cryptgpu_core::device::{Device, PoolGeometry, Tensor};
use cryptgpu_core::experiment::Inference;
use cryptgpu_core::mpc::{Party, Rep, World};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::training::{Adam, Loss, Optimizer, Sgd, SharedTraining, Train};
use cryptgpu_core::nn::{Graph, LowerOptions, Op, SharedModel, Weights, private};
use cryptgpu_core::ring::Ring;
use ndarray::{ArrayD, IxDyn};

pub const BODIES: &[(&str, Body)] =
    &[("lenet", lenet), ("every_operation", every_operation), ("training_in_32_bits", training_in_32_bits)];

/// Each party's components of the result.
fn infer(ring: Ring, devices: [Device; 3], net: &Graph, weights: &Weights, images: &ArrayD<f64>) -> [[Vec<u64>; 2]; 3] {
    let world = World { devices, ..World::seeded(3).in_ring(ring) };
    world.run(|p| {
        let [zero, one, _] = PartyId::ALL;
        let mine = (p.id() == one).then(|| weights.clone());
        let model = SharedModel::share(p, net, one, mine, LowerOptions::default()).unwrap();
        let x = (p.id() == zero).then(|| images.view());
        let x = private::share_images(p, net, zero, x, images.shape()[0]).unwrap();
        let y = model.infer(p, x).unwrap();
        assert_eq!(y.device(), p.device());
        let (a, b) = y.components();
        [p.to_host(a.view()).unwrap(), p.to_host(b.view()).unwrap()]
    })
}

fn lenet(card: Device) {
    let declaration = Inference::of("lenet").unwrap();
    let net = declaration.graph().unwrap();
    let weights = declaration.load_weights(&net).unwrap();
    let images = declaration.open_images(&net).unwrap();
    let (digit, label) = (images.batch(0, 1).unwrap(), images.labels(0, 1).unwrap().unwrap()[0]);
    // Of 32 bits where all compute on the card, and where one does.
    for (ring, placements) in [(Ring::Z64, &placements(card)[..]), (Ring::Z32, &placements(card)[..2])] {
        let expected = infer(ring, [Device::Cpu; 3], &net, &weights, &digit);
        for &devices in placements {
            let found = infer(ring, devices, &net, &weights, &digit);
            assert!(found == expected, "{devices:?}, {ring}: other components than on the CPU");
            let element = |words: &[u64], i: usize| words[i / ring.packed()] >> (i % ring.packed() * 32);
            let score = |class: usize| {
                let sum = found.iter().fold(0u64, |sum, party| sum.wrapping_add(element(&party[0], class)));
                ring.signed(sum)
            };
            assert_eq!((0..10).max_by_key(|&class| score(class)), Some(usize::from(label)), "{ring}");
        }
    }
}

fn every_operation(card: Device) {
    let net = support::every_operation().unwrap();
    let weights = Weights::seeded(&net, 5);
    let images = support::image(&[1, 3, 22, 18], 9);
    // Of 32 bits where all compute on the card, and where one does.
    for (ring, placements) in [(Ring::Z64, &placements(card)[..]), (Ring::Z32, &placements(card)[..2])] {
        let expected = infer(ring, [Device::Cpu; 3], &net, &weights, &images);
        for &devices in placements {
            let found = infer(ring, devices, &net, &weights, &images);
            assert!(found == expected, "{devices:?}, {ring}: other components than on the CPU");
        }
    }
}

/// Shares what party 2 holds.
fn share(p: &mut Party, value: &ArrayD<f64>) -> Rep {
    let words = p.codec().encode_array(value).unwrap();
    let mine = (p.id() == PartyId::P2).then(|| Tensor::from_array_in(p.ring(), p.device(), &words));
    p.input(PartyId::P2, mine.as_ref(), value.shape()).unwrap()
}

/// Two iterations of a network with convolutions, an average, odd numbers of elements, and a fully connected layer, with the
/// functions of the loss, which extend to 64 bits, and so do a batch normalisation and Adam: every weight is the CPU's.
fn training_in_32_bits(card: Device) {
    trained_alike(card, false, Sgd::new(0.05).momentum(0.9));
    trained_alike(card, true, Adam::new(0.01));
}

fn trained_alike(card: Device, normalised: bool, optimizer: Optimizer) {
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
    let net = net.finish(fc).unwrap();
    let (weights, images) = (Weights::seeded(&net, 5), support::image(&[3, 1, 6, 6], 4));
    let targets = ArrayD::from_shape_fn(IxDyn(&[3, 3]), |at| f64::from(u8::from(at[0] == at[1])));
    let train = Train { batch: 3, loss: Loss::CrossEntropy, optimizer, ..Train::default() };
    let trained = |devices: [Device; 3]| {
        let world = World { devices, ..World::seeded(4).in_ring(Ring::Z32) };
        let [after, ..] = world.run(|p| {
            let mine = (p.id() == PartyId::P1).then(|| weights.clone());
            let mut training = SharedTraining::share(p, &net, PartyId::P1, mine, &train).unwrap();
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
        assert!(trained(devices) == expected, "{devices:?}: other weights than on the CPU");
    }
}
