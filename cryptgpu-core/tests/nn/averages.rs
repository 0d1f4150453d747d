//! Averages in both rings: how large their errors may be, and what they cost where they are divided at once.
#![allow(clippy::unwrap_used)]

use crate::support::infer;
use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::mpc::{CheckRange, Settings, World, cost as of_protocols};
use cryptgpu_core::nn::{Graph, LowerOptions, Op, Weights, cost, lower, plaintext, range};
use cryptgpu_core::ring::{FixedPoint, Ring};
use ndarray::{ArrayD, Axis, IxDyn};

/// Height and width of images of 9, 30, 49, 196 and 961 pixels.
const SIZES: [[usize; 2]; 5] = [[3, 3], [5, 6], [7, 7], [14, 14], [31, 31]];

/// A network that is one average over a whole channel. No layer follows that could take over its division.
fn average(size: [usize; 2]) -> Graph {
    let mut net = Graph::builder("average", [16, size[0], size[1]]);
    let pool = net.add("pool", Op::GlobalAvgPool, &[net.input()]).unwrap();
    let relu = net.add("relu", Op::Relu6, &[pool]).unwrap();
    let both = net.add("both", Op::Add, &[pool, relu]).unwrap();
    net.finish(both).unwrap()
}

/// Pixels whose averages are up to 30.
fn images(batch: usize, size: [usize; 2]) -> ArrayD<f64> {
    let shape = [batch, 16, size[0], size[1]];
    ArrayD::from_shape_fn(IxDyn(&shape), |at| {
        let pixel = ((at[2] * 37 + at[3] * 101) % 64) as f64 / 16.0 - 2.0;
        (at[0] * 16 + at[1]) as f64 - 2.0 + pixel
    })
}

/// The reciprocal is right but for 2^−f of it, or 2^−12 in the ring of 32 bits, and two cuts and a pixel's encoding for three units.
fn bound(codec: FixedPoint, average: f64) -> f64 {
    (average.abs() + 3.0) * 2f64.powi(-(codec.fraction_bits().min(20) as i32))
}

#[test]
fn an_average_is_right_but_for_its_last_place() {
    for (ring, size) in [Ring::Z64, Ring::Z32].into_iter().flat_map(|ring| SIZES.map(|size| (ring, size))) {
        let (net, x) = (average(size), images(2, size));
        let expected = plaintext::evaluate(&net, &Weights::new(), &x.view()).unwrap();
        let settings = Settings { codec: ring.into(), check_range: CheckRange::Run, ..Settings::default() };
        let options = LowerOptions::default();
        let private = infer(&net, &Weights::new(), &x, options, settings);
        for (ours, right) in private.scores.iter().zip(&expected) {
            // The average, and the same up to 6.
            let error = (ours - right).abs();
            assert!(error <= 2.0 * bound(settings.codec, *right), "{ring}, {size:?}: {ours} and not {right}");
        }
        let plan = lower::lower(&net, options, ring).unwrap();
        assert_eq!(private.declared, cost::infer(&plan, 2, &settings), "{ring}, {size:?}");
        assert_eq!(private.measured.bytes, private.declared.bytes, "{ring}, {size:?}");
        let conditions = range::Conditions { settings, ..Default::default() };
        assert_eq!(range::check(&net, &Weights::new(), Some(x.view().into_dyn()), &conditions).unwrap(), None);
    }
}

/// The same by the protocol alone, windows with padding too, of which there are more than one.
#[test]
fn the_protocol_of_averages_is_as_right() {
    for (ring, size) in [Ring::Z64, Ring::Z32].into_iter().flat_map(|ring| SIZES.map(|size| (ring, size))) {
        let mut world = World::seeded(3).in_ring(ring);
        world.settings.check_range = CheckRange::Run;
        let codec = world.settings.codec;
        let (x, area) = (images(2, size), (size[0] * size[1]) as f64);
        let dealt = world.deal(&codec.encode_array(&x).unwrap());
        let window = PoolGeometry { kernel: size, ..PoolGeometry::square(1, 1, 0) };
        let [opened, ..] = world.run(|p| {
            let before = p.declared();
            let mean = p.avg_pool(&dealt[p.id().index()], &window)?;
            let bytes = p.declared().bytes - before.bytes;
            p.check_range()?;
            Ok::<_, cryptgpu_core::mpc::MpcError>((p.open(&mean)?.to_array()?, bytes))
        });
        let (mean, bytes) = opened.unwrap();
        assert_eq!(bytes, of_protocols::avg_pool(codec, 32, area as u64).bytes);
        let expected = x.sum_axis(Axis(3)).sum_axis(Axis(2)) / area;
        for (ours, right) in codec.decode_array(&mean).iter().zip(&expected) {
            assert!((ours - right).abs() <= bound(codec, *right), "{ring}, {size:?}: {ours} and not {right}");
        }
    }
}
