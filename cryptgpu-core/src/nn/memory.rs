//! The memory that a party's process takes for private inference, in bytes, before anything runs; and what protocols hold at their
//! peak, of which training makes its own account (`training/memory.rs`). A test holds what is stated against the peak of processes.

use super::Plan;
use super::plan::{PlanOp, Step};
use crate::device::spare;
use crate::mpc::{CheckRange, INPUT_PIECE};
use crate::net::ENOUGH_BYTES;

/// Memory of a party's process that evaluates a network on a CPU, in bytes. On a card all but [`InferenceMemory::process`] is the
/// card's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InferenceMemory {
    /// Shares of the weights: at their owner yᵢ and yᵢ + yᵢ₊₁, two elements for each, at the others one, and two for each bias.
    pub weights: u64,
    /// The largest sum, over the steps, of what is live, two elements for each of a value, and what the step's protocol works with.
    pub activations: u64,
    /// The most that sharing the weights takes, before any image. The owner has them in the clear as well, 4 bytes each, and messages
    /// that wait for the link.
    pub sharing: u64,
    /// Freed memory that the process keeps for what comes next, usually.
    pub kept: u64,
    /// The program, its threads and links.
    pub process: u64,
}

impl InferenceMemory {
    /// All of them, once the weights are shared.
    pub fn evaluating(&self) -> u64 {
        self.process + self.weights + self.activations + self.kept
    }

    /// Of sharing and evaluation what takes more.
    pub fn total(&self) -> u64 {
        self.evaluating().max(self.process + self.sharing)
    }
}

/// The program as far as inference loads it, stacks of threads, buffers of TLS, words too few to be kept. Measured: 18 to 21 MiB
/// where two threads compute, some 5 less with one.
const PROCESS: u64 = 20 << 20;

/// Elements that a protocol holds at its peak for each element that it works on, its result's shares and messages on their way included,
/// its arguments not. Products, ReLUs and updates are fitted to what was counted, step by step, in processes that train LeNet,
/// AlexNet and ResNet-8 in both rings; what a check holds follows from its code, and was counted as well. The others are scaled like
/// them.
pub(super) mod words {
    /// A share, such as a result.
    pub const SHARE: f64 = 2.0;
    /// A truncation of products, from the summand on.
    pub const PRODUCT: f64 = 5.0;
    /// A truncation of shares.
    pub const SHARED: f64 = 4.5;
    /// A ReLU, beside its argument, which makes room for the result.
    pub const RELU: f64 = 5.7;
    /// A ReLU6, which is two, of copies.
    pub const RELU6: f64 = 2.0 * (SHARE + RELU);
    /// A max-pool, for each element of its windows.
    pub const MAX_POOL: f64 = 7.0;
    /// What else compares, for each number that it compares: as the hungriest does, rounded up.
    pub const COMPARISON: f64 = 10.0;
    /// A look at what the check of ranges has kept, for each element of it: the upper bits of both components, packed; of the first
    /// as elements, of the second as well and once more while they are shifted or laid end to end. Their sign takes less.
    pub const LOOK: f64 = 3.5;
}

/// Freed memory that is usually kept beside so much in use: networks whose steps are of one size, as ResNets' are, reuse what is freed.
/// A check of ranges has more sizes. Both parts are fitted to peaks of processes, where with the check 0.36 to 0.49 were kept.
pub(super) fn usually_kept(used: u64, check: CheckRange) -> u64 {
    let part = if check == CheckRange::Off { 35 } else { 45 };
    spare::kept_beside(used).min(part * used / 100)
}

/// Where no weights were shared from no more is kept than the steps of an inference have freed: so many tenths of the widest one, in
/// several sizes.
const KEPT_TENTHS: u64 = 16;

impl Plan {
    /// The memory that inference of so many images takes at one party, whether it `owns` the weights or not. Of the paper's networks
    /// processes took 0.90 to 1.11 of it (`docs/performance.md`); a step whose function is smooth or of rows is stated from above.
    /// Of weights that no party has shared, as trained ones, all parties keep as much as an owner.
    ///
    /// ```
    /// use cryptgpu_core::mpc::CheckRange;
    /// use cryptgpu_core::nn::{LowerOptions, lower::lower, zoo};
    /// use cryptgpu_core::ring::Ring;
    /// let lenet = zoo::by_name("lenet")?;
    /// let [plan, short] = [Ring::Z64, Ring::Z32].map(|ring| lower(&lenet, LowerOptions::default(), ring));
    /// let (plan, short) = (plan?, short?);
    /// let [one, many] = [1, 512].map(|batch| plan.memory(batch, CheckRange::Off, true));
    /// assert_eq!(one.weights, 16 * 431_080);
    /// // The other parties have one component of each weight, and two of each of the 580 biases.
    /// assert_eq!(plan.memory(1, CheckRange::Off, false).weights, 8 * (431_080 + 580));
    /// // With many images the first ReLU takes most, and in the ring of 32 bits half.
    /// assert_eq!(many.activations, 512 * one.activations);
    /// assert_eq!(many.activations, 2 * short.memory(512, CheckRange::Off, true).activations);
    /// # Ok::<(), cryptgpu_core::nn::NnError>(())
    /// ```
    pub fn memory(&self, batch: usize, check: CheckRange, owns: bool) -> InferenceMemory {
        let word = self.ring().bytes() as u64;
        let (mut weights, mut sharing) = (0, 0);
        let mut clear = if owns { 4 * self.weight_elements() } else { 0 };
        for step in &self.steps {
            let [weight, bias] =
                [self.weight_shape(step), self.bias_shape(step)].map(|shape| shape.map_or(0, elements));
            for (elements, components) in [(weight, if owns { 2 } else { 1 }), (bias, 2)] {
                weights += components * word * elements;
                sharing = sharing.max(weights + clear + beside_shared(elements, word, owns));
                clear -= if owns { 4 * elements } else { 0 };
            }
        }
        let activations = Simulation { plan: self, batch, check, live: vec![0; self.shapes().len()] }.run();
        let freed = if owns { u64::MAX } else { KEPT_TENTHS * activations / 10 };
        let kept = usually_kept(weights + activations, check).min(freed);
        InferenceMemory { weights, activations, sharing, kept, process: PROCESS }
    }
}

/// Bytes beside the components of a tensor of so many elements while it is shared: of a piece, as it is put in its place, at most what
/// is of it at its owner, who has its values, both components and the message; and there the messages of the pieces before, as many as
/// may wait for the link.
pub(super) fn beside_shared(elements: u64, word: u64, owns: bool) -> u64 {
    let (piece, whole) = (word * elements.min(INPUT_PIECE as u64), elements <= INPUT_PIECE as u64);
    match (owns, whole) {
        (true, true) => 2 * piece,
        (true, false) => 4 * piece + (word * elements).min(ENOUGH_BYTES as u64 + piece),
        (false, true) => 0,
        (false, false) => piece,
    }
}

fn elements(shape: impl AsRef<[usize]>) -> u64 {
    shape.as_ref().iter().map(|&size| size as u64).product()
}

/// What is held while an inference goes on.
struct Simulation<'a> {
    plan: &'a Plan,
    batch: usize,
    check: CheckRange,
    /// Elements of each value's components, while it is held.
    live: Vec<u64>,
}

impl Simulation<'_> {
    /// The most that is held, in bytes.
    fn run(mut self) -> u64 {
        let (plan, mut most) = (self.plan, 0u64);
        if let Some(shape) = plan.shapes().first() {
            self.live[0] = 2 * self.elements(shape);
        }
        for step in plan.steps() {
            // What nobody uses afterwards a layer drops when it has its products, and a ReLU makes its result of it.
            let (held, n) = (self.live.iter().sum::<u64>(), self.elements(plan.shape(step.output)));
            let released: u64 = step.release.iter().map(|value| self.live[value.index()]).sum();
            let with = held + self.beside(step, n) as u64;
            let without = held - released + self.afterwards(step, n) as u64;
            most = most.max(with).max(without);
            for value in &step.release {
                self.live[value.index()] = 0;
            }
            self.live[step.output.index()] = if step.left_to_sum { n } else { 2 * n };
        }
        plan.ring().bytes() as u64 * most
    }

    fn elements(&self, shape: &[usize]) -> u64 {
        self.batch as u64 * elements(shape)
    }

    /// Elements of a step's protocol for `n` of its result, beside its inputs.
    fn beside(&self, step: &Step, n: u64) -> f64 {
        let input = step.inputs.first().map_or(0, |&input| self.elements(self.plan.shape(input))) as f64;
        let n = n as f64;
        match &step.op {
            // A convolution in tiles has both factors' images, and its own, in another order.
            PlanOp::Conv2d { .. } | PlanOp::ConvTranspose2d { .. } => 2.0 * (n + input),
            PlanOp::MaxPool { window } => n * (window.kernel[0] * window.kernel[1]) as f64 * words::MAX_POOL,
            PlanOp::Relu6 => n * words::RELU6,
            PlanOp::PiecewiseLinear(function) => n * function.kinks().max(1) as f64 * words::COMPARISON,
            PlanOp::Smooth(function) => n * function.comparisons() as f64 * words::COMPARISON,
            PlanOp::Rows(function) if function.compares() => n * EXPONENTIALS * words::COMPARISON,
            PlanOp::Rows(_) => n * words::COMPARISON,
            PlanOp::Div => n * OCTAVES * words::COMPARISON,
            PlanOp::Mul | PlanOp::MatMul | PlanOp::BatchNorm2d { .. } => n * self.truncation(words::PRODUCT),
            PlanOp::Rescale { .. } => n * self.truncation(words::SHARED),
            PlanOp::SumPool { .. }
            | PlanOp::Add
            | PlanOp::Bias
            | PlanOp::Concat
            | PlanOp::Upsample { .. }
            | PlanOp::Rearrange(_) => n * words::SHARE,
            PlanOp::Linear { .. } | PlanOp::Relu | PlanOp::Reshape { .. } => 0.0,
        }
    }

    /// The same once what nobody else uses has been dropped.
    fn afterwards(&self, step: &Step, n: u64) -> f64 {
        let truncated = match &step.op {
            PlanOp::Relu => words::SHARE + words::RELU,
            PlanOp::Conv2d { .. } | PlanOp::ConvTranspose2d { .. } | PlanOp::Linear { .. } => {
                if step.left_to_sum {
                    1.0
                } else {
                    self.truncation(words::PRODUCT)
                }
            }
            PlanOp::Add if self.plan.product_cut(step, 0).is_some() => self.truncation(words::PRODUCT),
            _ => 0.0,
        };
        n as f64 * truncated
    }

    /// What a truncation works with, and the check of its result.
    fn truncation(&self, elements: f64) -> f64 {
        if self.check == CheckRange::Off { elements } else { elements.max(words::SHARE + words::LOOK) }
    }
}

/// Comparisons of an exponential in a softmax.
const EXPONENTIALS: f64 = 7.0;

/// Comparisons of a divisor: its octaves.
const OCTAVES: f64 = 31.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{LowerOptions, fold, lower::lower, zoo};
    use crate::ring::Ring;

    fn of(name: &str, batch: usize) -> [InferenceMemory; 2] {
        let net = fold::fold_graph(&zoo::by_name(name).unwrap()).unwrap();
        let plan = lower(&net, LowerOptions::default(), Ring::Z64).unwrap();
        [false, true].map(|owns| plan.memory(batch, CheckRange::Off, owns))
    }

    #[test]
    fn memory_grows_with_the_batch_and_resnet152_fits_two_gibibytes() {
        let [[_, one], [_, eight]] = [1, 8].map(|batch| of("lenet", batch));
        assert_eq!((one.weights, eight.weights), (16 * 431_080, 16 * 431_080));
        // The first ReLU: its input, which becomes its result, and what it works with, for 20 · 24² elements.
        assert_eq!(one.activations, 8 * ((words::SHARE + words::RELU) * 11_520.0) as u64);
        assert_eq!(eight.activations, 8 * one.activations);
        // One of the two components of 60 million weights is at their owner alone.
        let [other, owner] = of("resnet152", 1).map(|memory| memory.total());
        assert!((900 << 20..1 << 31).contains(&owner) && (450 << 20..owner - (400 << 20)).contains(&other), "{other}");
    }
}
