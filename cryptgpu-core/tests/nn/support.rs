//! Three parties on threads of one process, and what the tests of networks have in common.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, missing_docs)]

use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::mpc::{Cost, Party, PiecewiseLinear, Settings, SmoothFunction, World};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::{Graph, LowerOptions, NnError, Op, SharedModel, Weights, private};
use cryptgpu_core::ring::FixedPoint;
use ndarray::{ArrayD, IxDyn};

/// Runs `body` at three parties in this process, with fixed keys, and returns what each made.
pub fn three<T: Send>(settings: Settings, body: impl Fn(&mut Party) -> T + Sync) -> [T; 3] {
    World { settings, ..World::seeded(1) }.run(body)
}

/// What one private inference gave and cost.
pub struct Outcome {
    pub scores: ArrayD<f64>,
    /// Counted by the transport: bytes of all parties, and the longest chain of messages.
    pub measured: Cost,
    /// Declared by the protocols as they ran.
    pub declared: Cost,
    /// Per step: name, kind, bytes of all parties.
    pub steps: Vec<(String, &'static str, u64)>,
    pub seconds: f64,
}

/// Party 1 owns the weights, party 2 the images; all see the scores.
pub fn infer(
    net: &Graph,
    weights: &Weights,
    images: &ArrayD<f64>,
    options: LowerOptions,
    settings: Settings,
) -> Outcome {
    let runs = three(settings, |p| {
        let [_, one, two] = PartyId::ALL;
        let mine = (p.id() == one).then(|| weights.clone());
        let model = SharedModel::share(p, net, one, mine, options).unwrap();
        let x = (p.id() == two).then(|| images.view());
        let x = private::share_images(p, net, two, x, images.shape()[0]).unwrap();
        let (before, declared) = (p.stats(), p.declared());
        let start = std::time::Instant::now();
        let mut steps = vec![];
        let observe = |trace: private::LayerTime<'_>| {
            steps.push((trace.name.to_owned(), trace.kind, trace.stats.payload_bytes()));
        };
        let y = model.infer_observed(p, x, observe).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let counted = p.stats();
        let after = p.declared();
        let declared = Cost { bytes: after.bytes - declared.bytes, rounds: after.rounds - declared.rounds };
        let scores = p.codec().decode_array(&p.open(&y).unwrap().to_array().unwrap());
        (scores, [before, counted], declared, steps, seconds)
    });
    let rounds = |at: usize| runs.iter().map(|run| run.1[at].rounds).max().unwrap();
    let measured = Cost {
        bytes: runs.iter().map(|run| run.1[1].since(&run.1[0]).payload_bytes()).sum(),
        rounds: rounds(1) - rounds(0),
    };
    assert!(runs.iter().all(|run| run.0 == runs[0].0 && run.2 == runs[0].2), "the parties agree");
    let [mut first, second, third] = runs;
    for ((step, two), three) in first.3.iter_mut().zip(&second.3).zip(&third.3) {
        assert!(step.0 == two.0 && step.0 == three.0);
        step.2 += two.2 + three.2;
    }
    Outcome { scores: first.0, measured, declared: first.2, steps: first.3, seconds: first.4 }
}

/// Deterministic values in ±1.
pub fn image(shape: &[usize], salt: u64) -> ArrayD<f64> {
    let mut state = salt;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    })
}

/// The smallest number of a codec: what tolerances are multiples of, in either ring.
pub fn unit(codec: FixedPoint) -> f64 {
    (-f64::from(codec.fraction_bits())).exp2()
}

pub fn max_difference(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

pub fn largest(a: &ArrayD<f64>) -> f64 {
    a.iter().fold(0.0, |max, value| max.max(value.abs()))
}

/// A network of what is computed at inference only, beside what it meets there: functions that are piecewise linear, before
/// and behind a mean that is carried on, products of two values, zeros around images.
pub fn inference_operations() -> Result<Graph, NnError> {
    let mut net = Graph::builder("inference-operations", [3, 12, 10]);
    let piecewise = |function| Op::PiecewiseLinear(function);
    let leaky = piecewise(PiecewiseLinear::leaky_relu(0.1)?);
    let mut x = net.conv("conv1", net.input(), 8, PoolGeometry::square(3, 1, 1))?;
    x = net.add("leaky1", leaky.clone(), &[x])?;
    x = net.add("meanpool", Op::AvgPool { window: PoolGeometry::square(2, 2, 0) }, &[x])?;
    x = net.add("leaky2", leaky, &[x])?;
    x = net.conv("conv2", x, 8, PoolGeometry::square(3, 1, 0))?;
    let squeezed = net.add("squeeze", Op::GlobalAvgPool, &[x])?;
    let squeezed = net.conv("excite", squeezed, 8, PoolGeometry::square(1, 1, 0))?;
    let factor = net.add("gate", piecewise(PiecewiseLinear::hard_sigmoid(1.0 / 6.0, 0.5)?), &[squeezed])?;
    x = net.add("scale", Op::Mul, &[x, factor])?;
    let clipped = net.add("clip", piecewise(PiecewiseLinear::clip(-0.75, 0.5)?), &[x])?;
    let minus = net.add("minus", piecewise(PiecewiseLinear::line(-1.0, 0.25)?), &[clipped])?;
    x = net.add("product", Op::Mul, &[x, minus])?;
    x = net.add("upsample", Op::Upsample { factors: [2, 3] }, &[x])?;
    x = net.add("sigmoid", Op::Smooth(SmoothFunction::Sigmoid), &[x])?;
    x = net.add(
        "pad",
        Op::AvgPool { window: PoolGeometry { padding: [1, 0, 2, 1], ..PoolGeometry::square(1, 1, 0) } },
        &[x],
    )?;
    x = net.conv("conv3", x, 4, PoolGeometry::square(3, 2, 0))?;
    let features = net.shape(x).iter().product();
    x = net.add("row", Op::Reshape { shape: vec![features] }, &[x])?;
    let fc = net.linear("fc", x, 4)?;
    let factor = net.add("image", Op::Reshape { shape: vec![4, 1, 1] }, &[fc])?;
    let absolute = net.add("absolute", piecewise(PiecewiseLinear::absolute()), &[factor])?;
    let both = net.add("planes", Op::Mul, &[factor, absolute])?;
    net.finish(both)
}

/// Convolutions of which some rows of the kernels, and in the last one all columns but one, only ever see padding.
pub fn partly_seen() -> Result<Graph, NnError> {
    let wide = PoolGeometry { kernel: [3, 5], stride: [1, 2], padding: [1, 1, 2, 2], dilation: [1; 2] };
    let mut net = Graph::builder("partly-seen", [2, 1, 6]);
    let x = net.conv_bn(["conv1", "bn1"], net.input(), 4, wide, 1)?;
    let x = net.relu("relu1", x)?;
    let x = net.conv_bn(["conv2", "bn2"], x, 6, PoolGeometry::square(5, 1, 2), 2)?;
    let x = net.relu("relu2", x)?;
    let x = net.add("pool", Op::GlobalAvgPool, &[x])?;
    let x = net.conv("conv3", x, 5, PoolGeometry::square(3, 1, 1))?;
    let flat = net.flatten("flatten", x)?;
    let fc = net.linear("fc", flat, 3)?;
    net.finish(fc)
}

/// A network that uses every operation of training: residual sum, projection, depthwise and grouped convolution,
/// asymmetric padding, max-pool with padding, averages that can and cannot be deferred.
pub fn every_operation() -> Result<Graph, NnError> {
    let same = PoolGeometry { padding: [0, 1, 0, 1], ..PoolGeometry::square(3, 2, 0) };
    let (one, three) = (PoolGeometry::square(1, 1, 0), PoolGeometry::square(3, 1, 1));
    let mut net = Graph::builder("every-operation", [3, 22, 18]);
    let mut x = net.conv_bn(["conv1", "bn1"], net.input(), 8, same, 1)?;
    x = net.relu("relu1", x)?;
    x = net.add("pool1", Op::MaxPool { window: PoolGeometry::square(3, 2, 1) }, &[x])?;
    let depthwise = net.conv_bn(["conv2", "bn2"], x, 8, three, 8)?;
    let clipped = net.add("relu2", Op::Relu6, &[depthwise])?;
    let grouped = net.conv_bn(["conv3", "bn3"], clipped, 12, three, 4)?;
    let projected = net.conv_bn(["downsample.0", "downsample.1"], x, 12, one, 1)?;
    let sum = net.add("add", Op::Add, &[grouped, projected])?;
    let relu = net.relu("relu3", sum)?;
    let both = net.add("concat", Op::Concat, &[relu, clipped])?;
    let mean = net.add("meanpool", Op::AvgPool { window: PoolGeometry::square(3, 1, 1) }, &[both])?;
    let clipped = net.add("relu4", Op::Relu6, &[mean])?;
    let mean = net.add("globalpool", Op::GlobalAvgPool, &[clipped])?;
    let flat = net.flatten("flatten", mean)?;
    let fc = net.linear("fc", flat, 5)?;
    net.finish(fc)
}
