//! What an inference takes in memory is stated before it runs. (What a training takes: `training.rs`.)

#![allow(clippy::unwrap_used)]

use crate::support;
use cryptgpu_core::experiment::{Images, Inference, Parties, WEIGHTS_OWNER, measure};
use cryptgpu_core::mpc::CheckRange;
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::{WeightSource, fold, lower::lower, zoo};
use cryptgpu_core::ring::Ring;

/// Peaks of the three processes of an inference, of what is stated: while the weights are shared, and in evaluations.
fn measured_to_stated(declared: &Inference) -> [[f64; 3]; 2] {
    let net = fold::fold_graph(&zoo::by_name(&declared.network).unwrap()).unwrap();
    let plan = lower(&net, declared.lowering(), declared.ring).unwrap();
    let stated = [false, true].map(|owns| plan.memory(declared.batch, declared.check_range, owns));
    // New processes: a peak is of all that one has run.
    let record = measure(declared, &mut Parties::new(support::local()), &mut |_| ()).unwrap();
    let of = |peaks: [u64; 3], stated: [u64; 2]| {
        PartyId::ALL.map(|party| peaks[party.index()] as f64 / stated[usize::from(party == WEIGHTS_OWNER)] as f64)
    };
    let ratio = [
        of(record.setup_peak_rss_bytes, stated.map(|memory| memory.process + memory.sharing)),
        of(record.peak_rss_bytes, stated.map(|memory| memory.evaluating())),
    ];
    println!(
        "{} ({}) in {}, {}: {ratio:?} of {stated:?}",
        net.name(),
        declared.batch,
        declared.ring,
        declared.check_range
    );
    ratio
}

/// Within a seventh, in both rings, checked and not: where values or weights take most. Of the three parties that evaluate the middle
/// one, as one that lags behind holds more of the others' messages.
#[test]
fn the_stated_memory_of_an_inference_is_about_what_it_takes() {
    for ring in [Ring::Z64, Ring::Z32] {
        for check_range in [CheckRange::Off, CheckRange::Layers] {
            for (name, batch) in [("lenet", 64), ("resnet20-cifar10", 64), ("vgg16-cifar10", 1)] {
                let declared = Inference {
                    batch,
                    check_range,
                    images: Images::Random(1),
                    weights: WeightSource::Random(1),
                    iterations: 1,
                    compare: 0,
                    ..Inference::of(name).unwrap().in_ring(ring)
                };
                let [sharing, mut ratio] = measured_to_stated(&declared);
                ratio.sort_by(f64::total_cmp);
                assert!((0.85..1.15).contains(&ratio[1]), "{name} ({batch}) in {ring}, {check_range}: {ratio:?}");
                // While they are shared, less of the program is loaded yet, which counts where there are few weights.
                let holds = sharing.iter().all(|ratio| (0.85..1.15).contains(ratio));
                assert!(holds || name != "vgg16-cifar10", "sharing {name} in {ring}: {sharing:?}");
            }
        }
    }
}
