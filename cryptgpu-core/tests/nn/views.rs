//! Whole networks under the protocol checker. Their weights and images are the secrets, and no message of an inference
//! may depend on what its receiver lacks of them.
#![allow(clippy::unwrap_used)]

use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::mpc::check::{Check, Views};
use cryptgpu_core::mpc::{Party, Rep, Side, World};
use cryptgpu_core::nn::training::{Adam, Loss, Optimizer, Sgd, SharedTraining, Train, TrainingPlan};
use cryptgpu_core::nn::{Graph, LowerOptions, NnError, Op, SharedModel, Weights, private, zoo};
use cryptgpu_core::ring::Ring;

/// A network, and the names and shapes of its weights as they are shared.
struct Secret {
    net: Graph,
    weights: Vec<(String, Vec<usize>)>,
}

/// Averages are divided where they stand, so that their truncation runs too.
const OPTIONS: LowerOptions = LowerOptions { defer_averages: false, max_before_relu: true, sum_before_cut: true };

impl Secret {
    fn new(net: Graph) -> Self {
        let tensors = private::encode_weights(&net, &Weights::seeded(&net, 5), OPTIONS, Default::default()).unwrap();
        let weights = tensors.into_iter().map(|(name, words)| (name, words.shape().to_vec())).collect();
        Secret { net, weights }
    }

    /// The result on the last of the inputs, with the others as the weights.
    fn infer(&self, p: &mut Party, weights: &[Rep], image: Rep) -> Result<Rep, NnError> {
        let weights = self.weights.iter().zip(weights).map(|((name, _), rep)| (name.clone(), rep.clone()));
        SharedModel::from_shares(p.id(), &self.net, OPTIONS, p.codec(), weights)?.infer(p, image)
    }

    /// What parties are sent by a protocol on the weights and an image.
    fn views(&self, protocol: impl Fn(&mut Party, &[Rep]) -> Result<Rep, NnError> + Sync) -> Views {
        let [c, h, w] = self.net.input_shape();
        let mut shapes: Vec<Vec<usize>> = self.weights.iter().map(|(_, shape)| shape.clone()).collect();
        shapes.push(vec![1, c, h, w]);
        let check = Check::new(self.net.name(), shapes.len()).bits(30).shapes(move |_| shapes.clone());
        check.view_sizes(&[c * h * w]).views(protocol).unwrap()
    }
}

/// Convolution, ReLU, maximum pooling, average pooling, linear layer.
fn all_kinds() -> Graph {
    let mut net = Graph::builder("all-kinds", [1, 8, 8]);
    let mut x = net.conv("conv", net.input(), 2, PoolGeometry::square(3, 1, 0)).unwrap();
    x = net.relu("relu", x).unwrap();
    x = net.add("maxpool", Op::MaxPool { window: PoolGeometry::square(2, 2, 0) }, &[x]).unwrap();
    x = net.add("avgpool", Op::AvgPool { window: PoolGeometry::square(2, 1, 0) }, &[x]).unwrap();
    x = net.flatten("flatten", x).unwrap();
    x = net.linear("fc", x, 3).unwrap();
    net.finish(x).unwrap()
}

#[test]
fn no_message_of_a_network_depends_on_weights_or_image() {
    let secret = Secret::new(all_kinds());
    let views = secret.views(|p, x| secret.infer(p, &x[..x.len() - 1], x[x.len() - 1].clone()));
    assert!(views.passed() && views.tests > 100_000, "{:?}", views.findings.first());
    assert!(views.untested.is_empty() && views.sizes[0].messages > 20, "{:?}", views.sizes);
}

#[test]
fn a_layer_whose_product_lacks_its_mask_is_found_in_a_network() {
    let secret = Secret::new(all_kinds());
    // The scores times a weight of the last layer each, by hand.
    let views = |masked: bool| {
        secret.views(|p, x| {
            let (image, weights) = x.split_last().unwrap();
            let scores = secret.infer(p, weights, image.clone())?;
            let product = scores.local_mul(&weights[weights.len() - 1].reshape(scores.shape()).unwrap()).unwrap();
            p.step("scale", |p| {
                if masked {
                    return p.reshare(product);
                }
                let (mine, shape) = (product.mine(), product.shape());
                let theirs = p.round(|r| {
                    r.send(Side::Prev, mine, 64)?;
                    r.receive(Side::Next, shape, 64)
                })?;
                Ok(Rep::from_components(mine.clone(), theirs)?)
            })
            .map_err(NnError::from)
        })
    };
    assert!(views(true).passed());
    let leaks = views(false).findings;
    assert!(leaks.iter().any(|leak| leak.what.contains("at scale")), "{:?}", leaks.first());
    // The layer is named; beside it only its words together with others of as many scores.
    let elsewhere =
        leaks.iter().find(|leak| !leak.what.contains("at scale") && !leak.what.contains("arrays of 3 words"));
    assert!(elsewhere.is_none(), "{elsewhere:?}");
}

/// Convolution, batch normalisation, ReLU, linear layer.
fn normalised() -> Graph {
    let mut net = Graph::builder("normalised", [1, 4, 4]);
    let mut x = net.conv("conv", net.input(), 2, PoolGeometry::square(3, 1, 0)).unwrap();
    x = net.add("bn", Op::BatchNorm2d { eps: 1e-2 }, &[x]).unwrap();
    x = net.relu("relu", x).unwrap();
    x = net.flatten("flatten", x).unwrap();
    x = net.linear("fc", x, 2).unwrap();
    net.finish(x).unwrap()
}

/// What parties are sent in an iteration of training: forward, backward, update. Weights, running statistics, image and target are the
/// secrets, and with momentum the moments of an iteration before.
fn of_training(net: &Graph, train: &Train, ring: Ring) -> Views {
    let plan = TrainingPlan::new(net, train, ring).unwrap();
    let mut state: Vec<_> = plan.tensors().iter().map(|of| (of.name.clone(), of.shape.clone())).collect();
    // Adam's moments are of another ring: it begins without.
    let before = u64::from(matches!(train.optimizer, Optimizer::Sgd(_)));
    if before > 0 {
        let trained = plan.tensors().iter().filter(|of| of.trained);
        state.extend(trained.map(|of| (format!("{}.first_moment", of.name), of.shape.clone())));
    }
    let [c, h, w] = net.input_shape();
    let classes = net.output_shape()[0];
    let mut shapes: Vec<Vec<usize>> = state.iter().map(|(_, shape)| shape.clone()).collect();
    shapes.extend([vec![1, c, h, w], vec![1, classes]]);
    let check = Check::new("training", shapes.len()).bits(ring.default_fraction_bits() + 2);
    let check = check.shapes(move |_| shapes.clone()).world(&World::seeded(9).in_ring(ring));
    let views = check.view_sizes(&[c * h * w]).views(|p, x| {
        let (tensors, data) = x.split_at(state.len());
        let named = state.iter().zip(tensors).map(|((name, _), rep)| (name.clone(), rep.clone()));
        let mut training = SharedTraining::from_state(p.id(), net, train, p.codec(), before, named)?;
        let _ = training.step(p, &data[0], &data[1], 0.1, |_| {})?;
        let (_, weight) = training.parameters().next().unwrap();
        Ok::<_, NnError>(weight.clone())
    });
    views.unwrap()
}

#[test]
fn no_message_of_a_training_depends_on_weights_image_or_target() {
    let train = Train { batch: 1, loss: Loss::MeanSquaredError, ..Train::default() };
    let momentum = Train { optimizer: Sgd::new(0.1).momentum(0.9), ..train.clone() };
    let adam = Train { optimizer: Adam::new(0.01), loss: Loss::CrossEntropy, ..train };
    for (net, train) in [(all_kinds(), momentum), (normalised(), adam)] {
        for ring in [Ring::Z64, Ring::Z32] {
            let views = of_training(&net, &train, ring);
            assert!(views.passed() && views.tests > 50_000, "{ring:?}: {}, {:?}", views.tests, views.findings.first());
            assert!(views.untested.is_empty() && views.sizes[0].messages > 30, "{ring:?}: {:?}", views.sizes);
        }
    }
}

/// 16 CPU seconds: `cargo test --release -p cryptgpu-core --test nn -- --ignored --nocapture lenet`. What it prints stands in
/// `docs/security.md`.
#[test]
#[ignore = "16 CPU seconds"]
fn no_message_of_lenet_depends_on_weights_or_image() {
    let start = std::time::Instant::now();
    let secret = Secret::new(zoo::by_name("lenet").unwrap());
    let views = secret.views(|p, x| secret.infer(p, &x[..x.len() - 1], x[x.len() - 1].clone()));
    println!("{:?}\n{} tests, smallest p {}", views.sizes, views.tests, views.smallest);
    println!("uneven: {:?}, untested: {:?}, {:?}", views.uneven, views.untested, start.elapsed());
    assert!(views.passed() && views.untested.is_empty(), "{:?}", views.findings.first());
}
