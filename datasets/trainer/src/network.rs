//! Any network of the project in candle, with its autodiff: what plaintext speeds are measured with, and what the
//! project's own gradients are compared with.
//!
//! Values have the image number *last*, (channels · height · width, count), as in `model.rs`: then gathering what windows
//! see copies whole rows, a convolution is one matrix product, and the same holds backwards. candle's own convolution
//! takes several times as long backwards on a CPU, and its pools know no gradient where windows overlap.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Result, Tensor, Var, bail};
use candle_nn::ops::log_softmax;
use cryptgpu_core::device::PoolGeometry;
use cryptgpu_core::nn::training::{Loss, Optimizer, Sgd, Train};
use cryptgpu_core::nn::{Graph, Node, NodeId, Op, Weights};

/// A network with its weights on a device of candle.
pub struct Network {
    graph: Graph,
    /// By PyTorch's names.
    weights: BTreeMap<String, Var>,
    velocity: BTreeMap<String, Tensor>,
    /// For every node with windows, the rows that they see.
    rows: BTreeMap<String, Tensor>,
}

/// Stands below every value where a max-pool sees padding.
const LOWEST: f64 = -1e30;

impl Network {
    /// The network with these weights, in `dtype`.
    pub fn new(graph: &Graph, weights: &Weights, dtype: DType, device: &Device) -> Result<Self> {
        let mut vars = BTreeMap::new();
        for (name, tensor) in weights.iter() {
            let values: Vec<f32> = tensor.iter().copied().collect();
            let tensor = Tensor::from_vec(values, tensor.shape(), device)?.to_dtype(dtype)?;
            vars.insert(name.to_owned(), Var::from_tensor(&tensor)?);
        }
        let mut rows = BTreeMap::new();
        for node in graph.nodes() {
            let window = match &node.op {
                Op::Conv2d { window, .. } | Op::AvgPool { window } | Op::MaxPool { window } => window,
                _ => continue,
            };
            let pools = !matches!(node.op, Op::Conv2d { .. });
            rows.insert(node.name.clone(), Tensor::new(seen_rows(graph, node, window, pools)?, device)?);
        }
        Ok(Network { graph: graph.clone(), weights: vars, velocity: BTreeMap::new(), rows })
    }

    /// Results (outputs, count) of images (channels · height · width, count). In training, batch normalisation uses the
    /// batch's statistics and moves its running ones.
    pub fn results(&self, images: &Tensor, training: bool) -> Result<Tensor> {
        let mut values = vec![images.clone()];
        for id in self.graph.ids().skip(1) {
            let value = self.node(id, &values, training)?;
            values.push(value);
        }
        Ok(values.swap_remove(self.graph.output().index()))
    }

    /// The sum of the losses of a batch against targets (outputs, count).
    pub fn loss(&self, images: &Tensor, targets: &Tensor, loss: Loss) -> Result<Tensor> {
        let results = self.results(images, true)?;
        match loss {
            Loss::CrossEntropy => (log_softmax(&results, 0)? * targets)?.sum_all()?.neg(),
            Loss::MeanSquaredError => results.sub(targets)?.sqr()?.sum_all()? / results.dim(0)? as f64,
        }
    }

    /// One iteration of stochastic gradient descent on a batch: the mean of its losses, before the step.
    pub fn step(&mut self, images: &Tensor, targets: &Tensor, train: &Train, rate: f64) -> Result<f32> {
        let Optimizer::Sgd(Sgd { momentum, nesterov, weight_decay, .. }) = train.optimizer else {
            bail!("only stochastic gradient descent is measured");
        };
        let loss = (self.loss(images, targets, train.loss)? / images.dim(1)? as f64)?;
        let gradients = loss.backward()?;
        for (name, weight) in &self.weights {
            let node = name.rsplit_once('.').map_or("", |(node, _)| node);
            let Some(gradient) = gradients.get(weight).filter(|_| !train.freezes(node)) else { continue };
            let gradient =
                if weight_decay == 0.0 { gradient.clone() } else { (gradient + (weight.as_tensor() * weight_decay)?)? };
            let along = if momentum == 0.0 {
                gradient
            } else {
                let velocity = match self.velocity.get(name) {
                    Some(velocity) => ((velocity * momentum)? + &gradient)?,
                    None => gradient.clone(),
                };
                // Else it holds what it was computed from, and with that every iteration before.
                let velocity = velocity.detach();
                self.velocity.insert(name.clone(), velocity.clone());
                if nesterov { (gradient + (velocity * momentum)?)? } else { velocity }
            };
            weight.set(&(weight.as_tensor() - (along.detach() * rate)?)?)?;
        }
        loss.to_dtype(DType::F32)?.to_scalar()
    }

    fn weight(&self, node: &Node, suffix: &str) -> Result<&Var> {
        let name = format!("{}.{suffix}", node.name);
        self.weights.get(&name).ok_or_else(|| candle_core::Error::Msg(format!("the weights lack {name}")))
    }

    fn node(&self, id: NodeId, values: &[Tensor], training: bool) -> Result<Tensor> {
        let node = self.graph.node(id);
        let Some(x) = node.inputs.first().map(|input| &values[input.index()]) else {
            bail!("{} has no input", node.name)
        };
        let count = x.dim(1)?;
        let channels = self.graph.input_of(node).first().copied().unwrap_or(1);
        match &node.op {
            Op::Input => bail!("{} is no operation", node.name),
            Op::Conv2d { out_channels, groups, bias, .. } => {
                let seen = self.seen(node, x, 0.0)?;
                let weight = self.weight(node, "weight")?.reshape((*groups, out_channels / groups, ()))?;
                let taps = weight.dim(2)?;
                let sums = weight.matmul(&seen.reshape((*groups, taps, ()))?)?.reshape((*out_channels, ()))?;
                let sums = match bias {
                    true => sums.broadcast_add(&self.weight(node, "bias")?.unsqueeze(1)?)?,
                    false => sums,
                };
                sums.reshape(((), count))
            }
            Op::Linear { bias, .. } => {
                let sums = self.weight(node, "weight")?.matmul(x)?;
                if *bias { sums.broadcast_add(&self.weight(node, "bias")?.unsqueeze(1)?) } else { Ok(sums) }
            }
            Op::BatchNorm2d { eps } => self.normalise(node, x, channels, *eps, training),
            Op::Relu => x.relu(),
            Op::Relu6 => x.clamp(0.0, 6.0),
            Op::AvgPool { window } => {
                let area = window.kernel[0] * window.kernel[1];
                (self.seen(node, x, 0.0)?.reshape((area, (), count))?.sum(0)? / area as f64)?.reshape(((), count))
            }
            Op::MaxPool { window } => {
                let area = window.kernel[0] * window.kernel[1];
                self.seen(node, x, LOWEST)?.reshape((area, (), count))?.max(0)
            }
            Op::GlobalAvgPool => x.reshape((channels, (), count))?.mean(1),
            Op::Add => node.inputs[1..].iter().try_fold(x.clone(), |sum, term| sum + &values[term.index()]),
            Op::Concat => {
                let parts: Vec<&Tensor> = node.inputs.iter().map(|input| &values[input.index()]).collect();
                Tensor::cat(&parts, 0)
            }
            Op::Flatten | Op::Reshape { .. } => Ok(x.clone()),
            Op::PiecewiseLinear(_)
            | Op::Smooth(_)
            | Op::Mul
            | Op::Div
            | Op::MatMul
            | Op::Rows(_)
            | Op::Bias
            | Op::Rearrange(_)
            | Op::ConvTranspose2d { .. }
            | Op::Upsample { .. } => {
                bail!("{} is not trained by this program", node.name)
            }
        }
    }

    /// The rows that a node's windows see; padding is `outside`.
    fn seen(&self, node: &Node, x: &Tensor, outside: f64) -> Result<Tensor> {
        let Some(rows) = self.rows.get(&node.name) else { bail!("{} has no windows", node.name) };
        let padded = match &node.op {
            Op::Conv2d { window, .. } | Op::AvgPool { window } | Op::MaxPool { window } => window.padding != [0; 4],
            _ => false,
        };
        if !padded {
            return x.index_select(rows, 0);
        }
        let row = Tensor::full(outside, (1, x.dim(1)?), x.device())?.to_dtype(x.dtype())?;
        Tensor::cat(&[x, &row], 0)?.index_select(rows, 0)
    }

    fn normalise(&self, node: &Node, x: &Tensor, channels: usize, eps: f64, training: bool) -> Result<Tensor> {
        let (flat, count) = (x.reshape((channels, ()))?, x.dim(1)?);
        let [running_mean, running_var] = [self.weight(node, "running_mean")?, self.weight(node, "running_var")?];
        let (mean, variance) = if training {
            let mean = flat.mean_keepdim(D::Minus1)?;
            let variance = flat.broadcast_sub(&mean)?.sqr()?.mean_keepdim(D::Minus1)?;
            let values = flat.dim(1)? as f64;
            let unbiased = (variance.detach().squeeze(1)? * (values / (values - 1.0)))?;
            for (running, seen) in [(running_mean, mean.detach().squeeze(1)?), (running_var, unbiased)] {
                running.set(&((running.as_tensor() * 0.9)? + (seen * 0.1)?)?.detach())?;
            }
            (mean, variance)
        } else {
            (running_mean.unsqueeze(1)?, running_var.unsqueeze(1)?)
        };
        let normal = flat.broadcast_sub(&mean)?.broadcast_div(&(variance + eps)?.sqrt()?)?;
        let scaled = normal.broadcast_mul(&self.weight(node, "weight")?.unsqueeze(1)?)?;
        scaled.broadcast_add(&self.weight(node, "bias")?.unsqueeze(1)?)?.reshape(((), count))
    }
}

/// The rows of the input that the windows see: by channel, tap and window for a convolution, by tap, channel and window
/// for a pool. Padding is one row past the last.
fn seen_rows(graph: &Graph, node: &Node, window: &PoolGeometry, pools: bool) -> Result<Vec<u32>> {
    let &[channels, height, width] = graph.input_of(node) else { bail!("{} takes no images", node.name) };
    let &[_, out_height, out_width] = node.shape.as_slice() else { bail!("{} makes no images", node.name) };
    let outside = channels * height * width;
    let PoolGeometry { kernel, stride, padding, dilation } = *window;
    let taps: Vec<[usize; 2]> = (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| [ky, kx])).collect();
    let mut rows = Vec::with_capacity(channels * taps.len() * out_height * out_width);
    let mut push = |channel: usize, [ky, kx]: [usize; 2]| {
        for (y, x) in (0..out_height).flat_map(|y| (0..out_width).map(move |x| (y, x))) {
            let (y, x) = (y * stride[0] + ky * dilation[0], x * stride[1] + kx * dilation[1]);
            let inside =
                (padding[0]..padding[0] + height).contains(&y) && (padding[2]..padding[2] + width).contains(&x);
            let row = if inside { (channel * height + y - padding[0]) * width + x - padding[2] } else { outside };
            rows.push(row as u32);
        }
    };
    if pools {
        taps.iter().for_each(|&tap| (0..channels).for_each(|channel| push(channel, tap)));
    } else {
        (0..channels).for_each(|channel| taps.iter().for_each(|&tap| push(channel, tap)));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptgpu_core::nn::training::{Initial, initial};
    use cryptgpu_core::nn::{plaintext, zoo};
    use cryptgpu_core::prg::philox::Generator;
    use ndarray::{ArrayD, Axis, IxDyn};

    /// `[batch, …]` as candle has it: (…, batch), in f64.
    fn columns(array: &ArrayD<f64>) -> Tensor {
        let batch = array.shape()[0];
        let values: Vec<f64> = array.iter().copied().collect();
        let tensor = Tensor::from_vec(values, (batch, array.len() / batch), &Device::Cpu).unwrap();
        tensor.t().unwrap().contiguous().unwrap()
    }

    fn images(graph: &Graph, batch: usize) -> ArrayD<f64> {
        let [c, h, w] = graph.input_shape();
        Generator::seeded(5u64).uniform(-1.0, 1.0, IxDyn(&[batch, c, h, w])).unwrap()
    }

    /// Compares the gradients in f64 with candle's.
    fn compare(graph: &Graph, batch: usize, loss: Loss) {
        let weights = initial(graph, 1, Initial::PyTorch);
        let images = images(graph, batch);
        let classes = graph.output_shape()[0];
        let labels: Vec<u8> = (0..batch).map(|row| (row * 3 % classes) as u8).collect();
        let targets = plaintext::one_hot(&labels, classes).into_dyn();
        let ours = plaintext::gradients(graph, &plaintext::tensors(&weights), &images, &targets, loss).unwrap();
        let network = Network::new(graph, &weights, DType::F64, &Device::Cpu).unwrap();
        let input = Var::from_tensor(&columns(&images)).unwrap();
        let sum = network.loss(&input, &columns(&targets), loss).unwrap();
        assert!((sum.to_scalar::<f64>().unwrap() - ours.loss).abs() < 1e-9 * ours.loss);
        let gradients = sum.backward().unwrap();
        let close = |name: &str, ours: &ArrayD<f64>, theirs: &Tensor| {
            let theirs: Vec<f64> = theirs.flatten_all().unwrap().to_vec1().unwrap();
            let largest = ours.iter().fold(1e-3f64, |largest, value| largest.max(value.abs()));
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert!((ours - theirs).abs() < 1e-10 * largest, "{}: {name}: {ours} and {theirs}", graph.name());
            }
        };
        for (name, gradient) in &ours.parameters {
            close(name, gradient, gradients.get(&network.weights[name]).unwrap());
        }
        let of_images = gradients.get(&input).unwrap().t().unwrap().contiguous().unwrap();
        close("images", &ours.input, &of_images);
        // Running statistics begin at 0 and 1.
        for (name, seen) in &ours.statistics {
            let before = if name.ends_with("mean") { 0.0 } else { 1.0 };
            close(name, &seen.mapv(|seen| 0.9 * before + 0.1 * seen), &network.weights[name]);
        }
    }

    /// Every operation, with groups, dilation, overlapping pools and padding.
    fn mixed() -> Graph {
        let window = |kernel, stride, padding, dilation| PoolGeometry { kernel, stride, padding, dilation };
        let mut net = Graph::builder("mixed", [3, 17, 15]);
        let odd = window([3, 2], [2, 1], [0, 1, 2, 0], [1, 2]);
        let mut x = net.conv_bn(["conv1", "bn1"], net.input(), 8, odd, 1).unwrap();
        x = net.relu("relu1", x).unwrap();
        x = net.add("pool1", Op::MaxPool { window: PoolGeometry::square(3, 2, 1) }, &[x]).unwrap();
        let y = net.conv_bn(["conv2", "bn2"], x, 8, PoolGeometry::square(3, 1, 1), 8).unwrap();
        let y = net.add("relu2", Op::Relu6, &[y]).unwrap();
        let sum = net.add("add", Op::Add, &[x, y]).unwrap();
        let both = net.add("concat", Op::Concat, &[sum, x]).unwrap();
        let mean = net.add("meanpool", Op::AvgPool { window: PoolGeometry::square(3, 2, 1) }, &[both]).unwrap();
        let grouped = Op::Conv2d { out_channels: 12, window: PoolGeometry::square(1, 1, 0), groups: 4, bias: true };
        let x = net.add("conv3", grouped, &[mean]).unwrap();
        let x = net.add("globalpool", Op::GlobalAvgPool, &[x]).unwrap();
        let x = net.flatten("flatten", x).unwrap();
        let x = net.linear("fc", x, 5).unwrap();
        net.finish(x).unwrap()
    }

    #[test]
    fn gradients_are_those_of_candles_autodiff() {
        for loss in [Loss::CrossEntropy, Loss::MeanSquaredError] {
            compare(&mixed(), 3, loss);
            compare(&zoo::by_name("lenet").unwrap(), 2, loss);
        }
        compare(&zoo::by_name("alexnet-cifar10").unwrap(), 2, Loss::CrossEntropy);
    }

    #[test]
    fn results_are_those_of_candles_own_layers() {
        let graph = zoo::by_name("lenet").unwrap();
        let weights = initial(&graph, 3, Initial::PyTorch);
        let images = images(&graph, 4);
        let network = Network::new(&graph, &weights, DType::F64, &Device::Cpu).unwrap();
        let weight = |name: &str| network.weights[name].as_tensor().clone();
        let conv = |x: &Tensor, name: &str| {
            let bias = weight(&format!("{name}.bias")).reshape((1, (), 1, 1)).unwrap();
            let sums = x.conv2d(&weight(&format!("{name}.weight")), 0, 1, 1, 1).unwrap().broadcast_add(&bias).unwrap();
            sums.relu().unwrap().avg_pool2d(2).unwrap()
        };
        let dense = |x: &Tensor, name: &str| {
            let weight = weight(&format!("{name}.weight"));
            x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&self::bias(&network, name)).unwrap()
        };
        let values: Vec<f64> = images.iter().copied().collect();
        let x = Tensor::from_vec(values, (4, 1, 28, 28), &Device::Cpu).unwrap();
        let features = conv(&conv(&x, "conv1"), "conv2").flatten_from(1).unwrap();
        let expected = dense(&dense(&features, "fc1").relu().unwrap(), "fc2");
        let found = network.results(&columns(&images), false).unwrap().t().unwrap();
        let difference = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
        assert!(difference.max(0).unwrap().to_scalar::<f64>().unwrap() < 1e-12);
    }

    fn bias(network: &Network, name: &str) -> Tensor {
        network.weights[&format!("{name}.bias")].as_tensor().clone()
    }

    #[test]
    fn training_is_that_of_the_plaintext_oracle() {
        let graph = mixed();
        let weights = initial(&graph, 2, Initial::Kaiming);
        let images = images(&graph, 6);
        let targets = plaintext::one_hot(&[0, 1, 2, 3, 4, 0], 5).into_dyn();
        let optimizer = Sgd::nesterov(0.05, 0.9).weight_decay(0.01);
        let train = Train { batch: 6, optimizer, frozen: vec!["conv2".into()], ..Train::default() };
        let mut ours = plaintext::PlaintextTraining::new(&graph, &weights, &train, plaintext::Rounding::Exact).unwrap();
        let mut network = Network::new(&graph, &weights, DType::F64, &Device::Cpu).unwrap();
        for _ in 0..3 {
            let loss = ours.step(&images, &targets, 0.05).unwrap() / 6.0;
            let theirs = network.step(&columns(&images), &columns(&targets), &train, 0.05).unwrap();
            assert!((loss - f64::from(theirs)).abs() < 1e-5);
        }
        let [ours, theirs] = [ours.evaluate(&images).unwrap(), {
            let results = network.results(&columns(&images), false).unwrap().t().unwrap().to_vec2::<f64>().unwrap();
            ArrayD::from_shape_vec(IxDyn(&[6, 5]), results.concat()).unwrap()
        }];
        assert!((&ours - &theirs).iter().all(|difference| difference.abs() < 1e-9));
        assert_eq!(ours.len_of(Axis(0)), 6);
        // What an iteration leaves knows nothing of it: else memory would grow with every one.
        for (name, velocity) in &network.velocity {
            let gradients = velocity.sum_all().unwrap().backward().unwrap();
            assert!(gradients.get(&network.weights[name]).is_none(), "{name} keeps its iterations");
        }
    }
}
