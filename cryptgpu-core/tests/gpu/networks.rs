//! Whole networks: private inference with one party on the card and with all three gives each party the
//! components that it has on the CPU, and the image the same class, in both rings.

use super::Body;
use super::protocols::placements;
#[path = "../nn/support.rs"]
pub mod support;

use cryptgpu_core::device::Device;
use cryptgpu_core::experiment::Inference;
use cryptgpu_core::mpc::World;
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::{Graph, LowerOptions, SharedModel, Weights, private};
use cryptgpu_core::ring::Ring;
use ndarray::ArrayD;

pub const BODIES: &[(&str, Body)] = &[("lenet", lenet), ("every_operation", every_operation)];

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
