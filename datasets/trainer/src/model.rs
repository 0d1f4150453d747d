//! The LeNet of the paper (PAPER: CryptGPU's released code): activation, then average pooling.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::ops::log_softmax;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// 1×28×28 → C(20,k5)–R–AP2/2–C(50,k5)–R–AP2/2–FC 800→500–R–FC 500→10.
pub struct LeNet {
    parameters: Vec<(&'static str, Var)>,
    conv1: Block,
    conv2: Block,
}

/// A 5×5 convolution without padding, ReLU, and 2×2 average pooling, on arrays with the image number
/// *last*: (channels · height · width, count). So gathering the patches copies whole rows, the
/// convolution is one matrix product, and the same holds backwards; candle's own convolution takes
/// several times as long backwards on a CPU.
struct Block {
    /// For every (channel, row and column in the kernel, row and column of the output) the input row.
    patches: Tensor,
    /// Side of the output before pooling.
    side: usize,
}

impl Block {
    const KERNEL: usize = 5;

    fn new(channels: usize, input_side: usize) -> Result<Self> {
        let side = input_side + 1 - Self::KERNEL;
        let mut rows = Vec::with_capacity(channels * Self::KERNEL * Self::KERNEL * side * side);
        for c in 0..channels {
            for (kh, kw) in (0..Self::KERNEL).flat_map(|kh| (0..Self::KERNEL).map(move |kw| (kh, kw))) {
                for (h, w) in (0..side).flat_map(|h| (0..side).map(move |w| (h, w))) {
                    rows.push(((c * input_side + h + kh) * input_side + w + kw) as u32);
                }
            }
        }
        Ok(Self { patches: Tensor::new(rows, &Device::Cpu)?, side })
    }

    fn apply(&self, x: &Tensor, weight: &Var, bias: &Var) -> Result<Tensor> {
        let (count, outputs) = (x.dim(1)?, weight.dim(0)?);
        let patches = x.index_select(&self.patches, 0)?.reshape(((), self.side * self.side * count))?;
        let sums = weight.flatten_from(1)?.matmul(&patches)?.broadcast_add(&bias.unsqueeze(1)?)?.relu()?;
        let half = self.side / 2;
        let halve = |x: Tensor| x.narrow(1, 0, 1)? + x.narrow(1, 1, 1)?;
        let rows = halve(sums.reshape((outputs * half, 2, self.side * count))?)?;
        let pooled = halve(rows.reshape((outputs * half * half, 2, count))?)?;
        pooled.reshape((outputs * half * half, count))? * 0.25
    }
}

/// Name in PyTorch's manner, shape, and the number of inputs that one output sums over.
const PARAMETERS: [(&str, &[usize], usize); 8] = [
    ("conv1.weight", &[20, 1, 5, 5], 25),
    ("conv1.bias", &[20], 25),
    ("conv2.weight", &[50, 20, 5, 5], 500),
    ("conv2.bias", &[50], 500),
    ("fc1.weight", &[500, 800], 800),
    ("fc1.bias", &[500], 800),
    ("fc2.weight", &[10, 500], 500),
    ("fc2.bias", &[10], 500),
];

impl LeNet {
    /// Fresh parameters, uniform in ±1/√inputs (PyTorch's default for these layers), the same for the
    /// same seed on any machine.
    pub fn seeded(seed: u64) -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let parameter = |&(name, shape, inputs): &(&'static str, &[usize], usize)| {
            let bound = (inputs as f32).sqrt().recip();
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(-bound..bound)).collect();
            Ok((name, Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)?))
        };
        let parameters = PARAMETERS.iter().map(parameter).collect::<Result<_>>()?;
        Ok(Self { parameters, conv1: Block::new(1, 28)?, conv2: Block::new(20, 12)? })
    }

    /// The parameters, by name.
    pub fn parameters(&self) -> &[(&'static str, Var)] {
        &self.parameters
    }

    /// Logits (count, 10) of images (count, 1, 28, 28).
    pub fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let [c1w, c1b, c2w, c2b, f1w, f1b, f2w, f2b] = self.parameters.as_slice() else {
            candle_core::bail!("LeNet has eight parameters and not {}", self.parameters.len());
        };
        let pixels = images.flatten_from(1)?.t()?.contiguous()?;
        let features = self.conv1.apply(&pixels, &c1w.1, &c1b.1)?;
        let features = self.conv2.apply(&features, &c2w.1, &c2b.1)?;
        let dense = |x: &Tensor, w: &Var, b: &Var| w.matmul(x)?.broadcast_add(&b.unsqueeze(1)?);
        dense(&dense(&features, &f1w.1, &f1b.1)?.relu()?, &f2w.1, &f2b.1)?.t()
    }

    /// Mean cross-entropy of a batch against one-hot labels (count, 10), in nats.
    pub fn loss(&self, images: &Tensor, one_hot: &Tensor) -> Result<Tensor> {
        let log = log_softmax(&self.logits(images)?, D::Minus1)?;
        (log * one_hot)?.sum(D::Minus1)?.mean(0)?.neg()
    }

    /// How many of a batch are classified right.
    pub fn correct(&self, images: &Tensor, labels: &[u8]) -> Result<usize> {
        let predicted = self.logits(images)?.argmax(D::Minus1)?.to_dtype(DType::U8)?.to_vec1::<u8>()?;
        Ok(predicted.iter().zip(labels).filter(|(predicted, label)| predicted == label).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_parameters_and_seed() {
        let net = LeNet::seeded(1).unwrap();
        let images = Tensor::ones((3, 1, 28, 28), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(net.logits(&images).unwrap().dims(), [3, 10]);
        assert_eq!(net.parameters().iter().map(|(_, var)| var.elem_count()).sum::<usize>(), 431_080);
        let first =
            |seed| LeNet::seeded(seed).unwrap().parameters()[0].1.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(first(5), first(5));
        assert_ne!(first(5), first(6));
    }

    #[test]
    fn logits_are_those_of_candles_own_layers() {
        let net = LeNet::seeded(3).unwrap();
        let [c1w, c1b, c2w, c2b, f1w, f1b, f2w, f2b] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(|i| net.parameters()[i].1.as_tensor());
        let images = Tensor::rand(-1f32, 1f32, (4, 1, 28, 28), &Device::Cpu).unwrap();
        let conv = |x: &Tensor, w: &Tensor, b: &Tensor| {
            let sums = x.conv2d(w, 0, 1, 1, 1).unwrap().broadcast_add(&b.reshape((1, (), 1, 1)).unwrap()).unwrap();
            sums.relu().unwrap().avg_pool2d(2).unwrap()
        };
        let dense = |x: &Tensor, w: &Tensor, b: &Tensor| x.matmul(&w.t().unwrap()).unwrap().broadcast_add(b).unwrap();
        let features = conv(&conv(&images, c1w, c1b), c2w, c2b).flatten_from(1).unwrap();
        let expected = dense(&dense(&features, f1w, f1b).relu().unwrap(), f2w, f2b);
        let difference = (net.logits(&images).unwrap() - expected).unwrap().abs().unwrap().flatten_all().unwrap();
        assert!(difference.max(0).unwrap().to_scalar::<f32>().unwrap() < 1e-5);
    }

    #[test]
    fn one_step_downhill_lowers_the_loss() {
        let net = LeNet::seeded(2).unwrap();
        let images = Tensor::rand(-1f32, 1f32, (8, 1, 28, 28), &Device::Cpu).unwrap();
        let one_hot = Tensor::eye(10, DType::F32, &Device::Cpu).unwrap().narrow(0, 0, 8).unwrap();
        let before = net.loss(&images, &one_hot).unwrap();
        let gradients = before.backward().unwrap();
        for (_, var) in net.parameters() {
            let step = (gradients.get(var).unwrap() * 0.05).unwrap();
            var.set(&(var.as_tensor() - step).unwrap()).unwrap();
        }
        let after = net.loss(&images, &one_hot).unwrap();
        assert!(after.to_scalar::<f32>().unwrap() < before.to_scalar::<f32>().unwrap());
    }
}
