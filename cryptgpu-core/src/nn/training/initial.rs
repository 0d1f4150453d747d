//! Weights to begin a training with, drawn from a public seed. Only the owner of the network draws them, and shares
//! them like any others.

use crate::nn::{Graph, Op, Weights};
use crate::prg::philox::{Generator, Philox};
use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How convolutions and fully connected layers begin. Batch normalisation begins with γ = 1, β = 0, mean 0 and variance 1
/// either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initial {
    /// Weights normal with variance 2 / fan-in, biases 0 (He et al., ICCV 2015): activations keep their size through
    /// ReLUs, so that AlexNet and VGG-16 train from scratch.
    #[default]
    Kaiming,
    /// PyTorch's defaults: weights and biases uniform in ±1/√fan-in.
    #[serde(rename = "pytorch")]
    PyTorch,
}

/// Weights for `graph` drawn from `seed`.
///
/// Each tensor comes from NumPy's `Generator(Philox(key=…))` with the first 16 bytes of SHA-256 of the seed and its name
/// as the key, so it does not depend on the others. Fan-in is the number of inputs that one output sums over.
///
/// ```
/// use cryptgpu_core::nn::training::{Initial, initial};
/// use cryptgpu_core::nn::zoo;
/// let lenet = zoo::by_name("lenet")?;
/// let weights = initial(&lenet, 7, Initial::Kaiming);
/// weights.check(&lenet)?;
/// assert_eq!(weights, initial(&lenet, 7, Initial::Kaiming));
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
pub fn initial(graph: &Graph, seed: u64, how: Initial) -> Weights {
    let mut weights = Weights::new();
    for parameter in graph.parameters() {
        let node = graph.node(parameter.node);
        let suffix = parameter.name.rsplit('.').next().unwrap_or_default();
        let tensor = match &node.op {
            Op::BatchNorm2d { .. } => {
                let ones = matches!(suffix, "weight" | "running_var");
                ArrayD::from_elem(IxDyn(&parameter.shape), if ones { 1.0 } else { 0.0 })
            }
            op => {
                let input = graph.input_of(node);
                let fan_in = match op {
                    Op::Conv2d { window, groups, .. } => input[0] / groups * window.kernel[0] * window.kernel[1],
                    _ => input[0],
                };
                draw(seed, &parameter.name, &parameter.shape, fan_in as f64, how, suffix == "bias")
            }
        };
        weights.insert(parameter.name, tensor);
    }
    weights
}

/// A tensor of a layer whose outputs sum over `fan_in` inputs.
fn draw(seed: u64, name: &str, shape: &[usize], fan_in: f64, how: Initial, bias: bool) -> ArrayD<f32> {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name).finalize();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    let mut generator = Generator::new(Philox::from_key(u128::from_le_bytes(key)));
    ArrayD::from_shape_simple_fn(IxDyn(shape), || match how {
        Initial::Kaiming if bias => 0.0,
        Initial::Kaiming => (generator.next_standard_normal() * (2.0 / fan_in).sqrt()) as f32,
        Initial::PyTorch => ((2.0 * generator.next_f64() - 1.0) / fan_in.sqrt()) as f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::PoolGeometry;
    use crate::nn::zoo;

    #[test]
    fn every_layer_begins_with_the_spread_of_its_kind() {
        let mut net = Graph::builder("t", [3, 8, 8]);
        let x = net.conv_bn(["conv1", "bn1"], net.input(), 64, PoolGeometry::square(7, 1, 3), 1).unwrap();
        let grouped = Op::Conv2d { out_channels: 64, window: PoolGeometry::square(3, 2, 1), groups: 2, bias: true };
        let x = net.add("conv2", grouped, &[x]).unwrap();
        let x = net.flatten("flatten", x).unwrap();
        let x = net.linear("fc", x, 20).unwrap();
        let net = net.finish(x).unwrap();
        for (how, spread) in [(Initial::Kaiming, 2.0f64), (Initial::PyTorch, 1.0 / 3.0)] {
            let weights = initial(&net, 1, how);
            weights.check(&net).unwrap();
            for (name, fan_in) in [("conv1.weight", 147.0), ("conv2.weight", 288.0), ("fc.weight", 1024.0)] {
                let tensor = weights.get(name).unwrap().mapv(f64::from);
                let moment = tensor.iter().map(|value| value * value).sum::<f64>() / tensor.len() as f64;
                assert!((moment * fan_in / spread - 1.0).abs() < 0.05, "{name}: {}", moment * fan_in);
                assert!(tensor.sum().abs() / (tensor.len() as f64) < 0.05 * moment.sqrt(), "{name}");
            }
            let bias = weights.get("fc.bias").unwrap();
            assert_eq!(bias.iter().all(|&value| value == 0.0), how == Initial::Kaiming);
            assert!(weights.get("bn1.weight").unwrap().iter().all(|&value| value == 1.0));
            assert!(weights.get("bn1.running_mean").unwrap().iter().all(|&value| value == 0.0));
            assert!(weights.get("bn1.running_var").unwrap().iter().all(|&value| value == 1.0));
        }
        let lenet = zoo::by_name("lenet").unwrap();
        // Of NumPy: standard_normal(3)·√(2/25) and (2·random(3) − 1)/5 under the key of seed 7 and this name.
        for (how, expected) in [
            (Initial::Kaiming, [-0.200_037_27f32, -0.019_053_167, 0.063_094_38]),
            (Initial::PyTorch, [0.184_693_5, -0.047_561_135, -0.142_985_06]),
        ] {
            let weights = initial(&lenet, 7, how);
            assert!(weights.get("conv1.weight").unwrap().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-7));
        }
        assert_ne!(initial(&lenet, 1, Initial::Kaiming), initial(&lenet, 2, Initial::Kaiming));
    }
}
