//! The memory that a party's process takes for training, in bytes, before anything runs: what is held at the time of each
//! step, what its protocol works with and has on its way, and what the process takes beside all that. A test holds this
//! against the peak of processes.

use super::optimizer;
use super::plan::{Keeps, TrainingPlan};
use super::settings::{Optimizer, Sgd};
use crate::mpc::{CheckRange, KeptMaxima, RepBits, cost};
use crate::nn::graph::without_gradient;
use crate::nn::memory::{beside_shared, usually_kept};
use crate::nn::plan::{PlanOp, Step, ValueId};

/// Memory of a party's process during an iteration of training on a CPU, in bytes, without the examples that it owns (a byte
/// a pixel). On a card all but [`TrainingMemory::process`] is the card's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TrainingMemory {
    /// Weights and running statistics: two elements each, what training does not see of kernels included.
    pub weights: u64,
    /// What the optimiser keeps: two elements for each number.
    pub optimizer: u64,
    /// The batch: images and targets.
    pub batch: u64,
    /// The largest sum, over the steps of all passes, of what they have made and what a protocol works with: values, what is
    /// kept for the backward pass, gradients, workspace.
    pub passes: u64,
    /// The most that sharing the first weights takes, before any iteration, when nothing else is held: the weights before one, and
    /// that one with what cuts off what no gradient reaches.
    pub sharing: u64,
    /// Freed memory that the process keeps for what comes next: it may keep half of all above and 64 MiB; usually 0.35 are there,
    /// with a check of ranges 0.45, and less where an update takes most.
    pub kept: u64,
    /// The program, its threads and links.
    pub process: u64,
}

impl TrainingMemory {
    /// All of them; of sharing and iterations what takes more.
    pub fn total(&self) -> u64 {
        self.used() + self.kept + self.process
    }

    fn used(&self) -> u64 {
        self.sharing.max(self.weights + self.optimizer + self.batch + self.passes)
    }
}

/// The program as far as it is loaded, 13 MiB; stacks of threads, buffers of TLS, words too few to be kept. Measured: 20 to
/// 31 MiB in all, whatever the network.
const PROCESS: u64 = 24 << 20;

/// What training adds to what protocols hold at their peak ([`memory::words`](crate::nn::memory)), in elements as well.
mod words {
    pub use crate::nn::memory::words::*;

    /// A bit times a share, beside it, which makes room for the result.
    pub const BIT_PRODUCT: f64 = 4.1;
    /// Softmax, for each logit, of 64 bits in either ring.
    pub const SOFTMAX: f64 = 60.0;
    /// Adam's update: a root and a quotient, of 64 bits in either ring; and the checks of both.
    pub const ADAM: f64 = 255.0;
    pub const ADAM_CHECK: f64 = 28.0;
    /// An update: gradients and, with momentum, moments end to end; truncations; what is new.
    pub const UPDATE: [f64; 2] = [5.0, 6.8];
    /// The same with Nesterov's momentum, while the change is made of the moments before and the new ones.
    pub const NESTEROV: f64 = 8.0;
    /// What an update with momentum holds for each weight at such a look: after the first truncation the gradient's element, after
    /// the second the new moments, what was cut, the result, and what is on its way.
    pub const MOMENTUM_LOOKS: [f64; 2] = [1.0, 5.5];
    /// The same of Nesterov's, which has the moments before after the first truncation.
    pub const NESTEROV_LOOKS: [f64; 2] = [3.0, 5.5];
    /// The same of plain descent, which has a second truncation in the ring of 32 bits.
    pub const PLAIN_LOOKS: [f64; 2] = [1.0, 5.0];
    /// A weight that is cut into what is trained and what is not: both components, those of its parts, and one that is laid end to end.
    pub const CUT_WEIGHT: f64 = 4.5;
}

impl TrainingPlan {
    /// The memory that an iteration takes at one party with so many examples, and what a check of ranges works with.
    ///
    /// ```
    /// use cryptgpu_core::mpc::CheckRange;
    /// use cryptgpu_core::nn::training::{Train, TrainingPlan};
    /// use cryptgpu_core::nn::zoo;
    /// use cryptgpu_core::ring::Ring;
    /// let lenet = zoo::by_name("lenet")?;
    /// let [plan, short] = [Ring::Z64, Ring::Z32].map(|ring| TrainingPlan::new(&lenet, &Train::default(), ring));
    /// let (plan, short) = (plan?, short?);
    /// let [small, large] = [1, 128].map(|batch| plan.memory(batch, CheckRange::Off));
    /// assert_eq!((small.weights, small.optimizer), (16 * 431_080, 0));
    /// assert_eq!(short.memory(1, CheckRange::Off).weights, 8 * 431_080);
    /// // With one image the update takes most, with many the first convolution; what the check looks at after the update is less.
    /// assert_eq!(plan.memory(1, CheckRange::Run).passes, small.passes);
    /// assert!(large.passes > small.passes && large.passes < 128 * small.passes);
    /// # Ok::<(), cryptgpu_core::nn::NnError>(())
    /// ```
    pub fn memory(&self, batch: usize, check: CheckRange) -> TrainingMemory {
        let (forward, share) = (self.forward(), 2 * self.ring().bytes() as u64);
        let elements = |shape: &[usize]| (batch * shape.iter().product::<usize>()) as u64;
        let of = |trained: bool| {
            let tensors = self.tensors().iter().filter(|tensor| tensor.trained || !trained);
            share * tensors.map(|tensor| tensor.elements() as u64).sum::<u64>()
        };
        let moments = moments(self.train().optimizer, share);
        let images: usize = forward.input_shape().iter().product();
        let data = elements(&[images]) + elements(forward.shape(forward.output()));
        let Peaks { passes: most, update, sizes } = Simulation::new(self, batch, check != CheckRange::Off).run();
        let unseen = share * self.tensors().iter().map(|tensor| tensor.unseen_elements() as u64).sum::<u64>();
        let (weights, optimizer, batch) = (of(false) + unseen, moments * of(true) / share, share * data);
        let (passes, sharing) = (most.max(update), self.sharing_memory());
        let memory = TrainingMemory { weights, optimizer, batch, passes, sharing, kept: 0, process: PROCESS };
        // Sharing the weights may take more than any update.
        let updates = update > most && memory.used() > sharing;
        let left = sizes.filter(|_| updates).map_or(u64::MAX, |work| most + work / KEPT_OF_UPDATE);
        TrainingMemory { kept: usually_kept(memory.used(), check).min(left), ..memory }
    }
}

impl TrainingPlan {
    /// [`TrainingMemory::sharing`].
    fn sharing_memory(&self) -> u64 {
        let (word, mut before, mut most) = (self.ring().bytes() as u64, 0, 0);
        for tensor in self.tensors() {
            let unseen = tensor.unseen_elements() as u64;
            let elements = tensor.elements() as u64 + unseen;
            // The owner's: its values are as large as elements of the ring of 32 bits.
            let shared = 4 * elements + 2 * word * elements + beside_shared(elements, word, true);
            let cut = if unseen > 0 { (words::CUT_WEIGHT * (word * elements) as f64) as u64 } else { 0 };
            most = most.max(before + shared.max(cut));
            before += 2 * word * elements;
        }
        most
    }
}

/// Where an update takes most, no more is kept at its peak than what the passes before it have left, whose sizes are others, and
/// this part of what the update works with, which has two sizes: of all its weights, and of a third of them. (A check that looks at
/// several results together has more sizes.) The part is fitted to AlexNet's updates, where it is a sixth to a quarter.
const KEPT_OF_UPDATE: u64 = 5;

/// Bytes that an optimiser keeps for each number, where a share takes `share`: Adam's are of 64 bits.
fn moments(optimizer: Optimizer, share: u64) -> u64 {
    match optimizer {
        Optimizer::Sgd(Sgd { momentum: 0.0, .. }) => 0,
        Optimizer::Sgd(_) => share,
        Optimizer::Adam(_) => 2 * 16,
    }
}

/// The most that an iteration holds beside weights, moments and batch, in bytes.
struct Peaks {
    /// Forward, loss and backward.
    passes: u64,
    update: u64,
    /// Of the update's, what protocols work with, where all of it has two sizes.
    sizes: Option<u64>,
}

/// Results of an update's truncations that are still to be looked at. Those of the passes are counted with these, where there is one
/// check for all of an iteration; here none are left.
#[derive(Default)]
struct Watched {
    elements: usize,
    /// Whether several were looked at together, and so laid end to end.
    joined: bool,
}

/// What is held while an iteration goes on.
struct Simulation<'a> {
    plan: &'a TrainingPlan,
    batch: usize,
    /// Bytes of an element.
    word: u64,
    /// Whether results of truncations are checked.
    checked: bool,
    /// The value whose words each value has: a flattened one has those of its input.
    root: Vec<usize>,
    /// By root, the step of the forward pass after which nobody uses it there.
    last_use: Vec<Option<usize>>,
    /// By root, the first step of the forward pass that keeps it, which is the last of the backward pass that needs it.
    keeper: Vec<Option<usize>>,
    /// Bytes of each value, at its root, while it is held.
    values: Vec<u64>,
    /// Bytes of gradients of values.
    gradients: Vec<u64>,
    /// Bytes of all else that is held: packed bits, gradients of weights.
    other: u64,
    peak: u64,
}

impl<'a> Simulation<'a> {
    fn new(plan: &'a TrainingPlan, batch: usize, checked: bool) -> Self {
        let steps = plan.forward().steps();
        let mut root: Vec<usize> = (0..plan.forward().shapes().len()).collect();
        let (mut last_use, mut keeper) = (vec![None; root.len()], vec![None; root.len()]);
        for (index, (step, &keeps)) in steps.iter().zip(plan.keeps()).enumerate() {
            if let Some(input) = step.inputs.first().map(|input| root[input.index()]) {
                if matches!(step.op, PlanOp::Reshape { .. }) {
                    root[step.output.index()] = input;
                }
                if keeps == Keeps::Input && keeper[input].is_none() {
                    keeper[input] = Some(index);
                }
            }
            for released in &step.release {
                last_use[root[released.index()]] = Some(index);
            }
        }
        let (none, word) = (vec![0; root.len()], plan.ring().bytes() as u64);
        let (values, gradients) = (none.clone(), none);
        Simulation { plan, batch, word, checked, root, last_use, keeper, values, gradients, other: 0, peak: 0 }
    }

    fn elements(&self, id: ValueId) -> u64 {
        (self.batch * self.plan.forward().shape(id).iter().product::<usize>()) as u64
    }

    /// Bytes of a share's element.
    fn share(&self) -> u64 {
        2 * self.word
    }

    /// What a truncation works with, and the check of its result.
    fn truncation(&self, words: f64) -> f64 {
        if self.checked { words.max(words::SHARE + words::LOOK) } else { words }
    }

    /// So many elements are worked with beside all that is held.
    fn reach(&mut self, workspace: f64) {
        let held = self.values.iter().chain(&self.gradients).sum::<u64>() + self.other;
        self.peak = self.peak.max(held + (self.word as f64 * workspace) as u64);
    }

    fn run(mut self) -> Peaks {
        self.forward();
        self.loss();
        self.backward();
        let passes = std::mem::take(&mut self.peak);
        let sizes = self.update();
        Peaks { passes, update: self.peak, sizes }
    }

    /// Bytes of what a step keeps, besides its input.
    fn kept(&self, step: &Step, keeps: Keeps) -> u64 {
        let n = self.elements(step.output);
        match (keeps, &step.op) {
            (Keeps::Bits, _) => RepBits::bytes_of(n as usize) as u64,
            (Keeps::Maxima, PlanOp::MaxPool { window }) => {
                KeptMaxima::bytes_of(n as usize, window.kernel[0] * window.kernel[1]) as u64
            }
            (Keeps::Normalised, _) => self.share() * n,
            _ => 0,
        }
    }

    fn forward(&mut self) {
        let plan = self.plan;
        for (index, (step, &keeps)) in plan.forward().steps().iter().zip(plan.keeps()).enumerate() {
            self.reach(self.forward_words(step));
            if self.root[step.output.index()] == step.output.index() {
                self.values[step.output.index()] = self.share() * self.elements(step.output);
            }
            self.other += self.kept(step, keeps);
            for root in 0..self.values.len() {
                if self.last_use[root] == Some(index) && self.keeper[root].is_none() {
                    self.values[root] = 0;
                }
            }
        }
    }

    /// Words of a step's protocol, its result included.
    fn forward_words(&self, step: &Step) -> f64 {
        let n = self.elements(step.output) as f64;
        let input = step.inputs.first().map_or(0, |&input| self.elements(input)) as f64;
        match &step.op {
            // A convolution in tiles has both factors' images, and its own, in another order.
            PlanOp::Conv2d { .. } => {
                (n * self.truncation(words::PRODUCT)).max(2.0 * (n + input)) + self.weight_words(step)
            }
            PlanOp::Linear { .. } => n * self.truncation(words::PRODUCT) + self.weight_words(step),
            PlanOp::Relu => n * words::RELU,
            PlanOp::Relu6 => n * words::RELU6,
            PlanOp::MaxPool { window } => {
                let taps = (window.kernel[0] * window.kernel[1]) as f64;
                n * taps * words::MAX_POOL
            }
            PlanOp::BatchNorm2d { .. } => {
                // What is kept is x − μ, or stands beside it in the ring of 32 bits.
                let centered = match (self.word, self.checked) {
                    (8, _) => words::SHARE,
                    (_, false) => 2.0 * words::SHARE,
                    // What the check has looked at of the first cut is there until the second one.
                    (_, true) => 3.0 * words::SHARE,
                };
                input * (centered + self.truncation(words::PRODUCT))
            }
            PlanOp::Rescale { .. } => n * self.truncation(words::SHARED),
            PlanOp::SumPool { .. } | PlanOp::Upsample { .. } | PlanOp::Add | PlanOp::Concat => 2.0 * n,
            // Plans of training have none.
            without_gradient!(PlanOp) => 0.0,
            PlanOp::Reshape { .. } => 0.0,
        }
    }

    /// The sum of a weight's components, and the bias at the scale of products.
    fn weight_words(&self, step: &Step) -> f64 {
        let shape = self.plan.forward().weight_shape(step).unwrap_or_default();
        shape.iter().product::<usize>() as f64
    }

    fn loss(&mut self) {
        let output = self.plan.forward().output();
        let n = self.elements(output);
        self.reach(8.0 / self.word as f64 * n as f64 * words::SOFTMAX);
        self.values[self.root[output.index()]] = 0;
        self.gradients[output.index()] = self.share() * n;
    }

    fn backward(&mut self) {
        let plan = self.plan;
        for backward in plan.backward() {
            let (step, index) = (plan.step(backward), backward.step);
            let passes = backward.inputs.contains(&true);
            let weights = if backward.parameters { self.weight_words(step) } else { 0.0 };
            let workspace = if passes { self.backward_words(step) } else { 0.0 };
            self.reach(weights + workspace);
            self.gradients[step.output.index()] = 0;
            for (&input, &needed) in step.inputs.iter().zip(&backward.inputs) {
                if needed {
                    self.gradients[input.index()] = self.share() * self.elements(input);
                }
            }
            self.other += self.word * weights as u64;
            self.other -= self.kept(step, plan.keeps()[index]).min(self.other);
            for root in 0..self.values.len() {
                if self.keeper[root] == Some(index) {
                    self.values[root] = 0;
                }
            }
        }
    }

    fn backward_words(&self, step: &Step) -> f64 {
        let n = self.elements(step.output) as f64;
        let input = step.inputs.first().map_or(0, |&input| self.elements(input)) as f64;
        match &step.op {
            PlanOp::Conv2d { .. } => self.input_gradient(n, input).max(2.0 * (n + input)) + self.weight_words(step),
            PlanOp::Linear { .. } => self.input_gradient(n, input) + self.weight_words(step),
            PlanOp::Relu | PlanOp::Relu6 => n * words::BIT_PRODUCT,
            PlanOp::MaxPool { window } => {
                let taps = (window.kernel[0] * window.kernel[1]) as f64;
                n * taps * 2.0 + n * (taps / 2.0).floor() * (words::BIT_PRODUCT + 6.0)
            }
            PlanOp::BatchNorm2d { .. } => n * self.truncation(words::PRODUCT),
            PlanOp::Rescale { .. } => n * self.truncation(words::SHARED),
            PlanOp::SumPool { .. } | PlanOp::Upsample { .. } | PlanOp::Concat => 2.0 * input,
            without_gradient!(PlanOp) => 0.0,
            PlanOp::Add | PlanOp::Reshape { .. } => 0.0,
        }
    }

    /// Of a layer's images, for so many elements of both: while products are cut the gradient of its outputs is gone.
    fn input_gradient(&self, outputs: f64, inputs: f64) -> f64 {
        inputs * self.truncation(words::PRODUCT) - words::SHARE * outputs
    }

    /// New tensors stand beside the old ones until the update has ended. Gives [`Peaks::sizes`].
    fn update(&mut self) -> Option<u64> {
        let plan = self.plan;
        // Bytes of what is new, for each number.
        let new = self.share() + moments(plan.train().optimizer, self.share());
        let optimizer = &plan.train().optimizer;
        // Words of work, and what the check keeps.
        let (mut most_work, mut watched) = (0.0f64, Watched::default());
        for bundle in optimizer::bundles(plan) {
            let n = bundle.elements as u64;
            let parts: Vec<usize> = bundle.parts(optimizer).iter().map(ExactSizeIterator::len).collect();
            let most = parts.iter().copied().max().unwrap_or(0);
            // Where there are several parts, all of the bundle lies end to end beside one of them.
            let beside = if most < bundle.elements { (self.word + new) * n / self.word } else { 0 } as f64;
            let mut work = most as f64 * self.update_words(optimizer);
            if self.checked
                && let Optimizer::Sgd(sgd) = optimizer
            {
                work = work.max(self.looks(sgd, &parts, &mut watched));
            }
            self.reach(beside + work);
            most_work = most_work.max(work);
            self.other += new * n;
            self.other -= (self.word * n).min(self.other);
        }
        // The rest is looked at when all is new.
        self.reach(watched.elements as f64 * words::LOOK);
        (!watched.joined).then_some((self.word as f64 * most_work) as u64)
    }

    /// Words of an update's protocol for each weight.
    fn update_words(&self, optimizer: &Optimizer) -> f64 {
        let wide = 8.0 / self.word as f64;
        match optimizer {
            Optimizer::Sgd(sgd) if sgd.momentum != 0.0 && sgd.nesterov => words::NESTEROV,
            Optimizer::Sgd(sgd) => words::UPDATE[usize::from(sgd.momentum != 0.0)],
            Optimizer::Adam(_) if self.checked => wide * (words::ADAM + words::ADAM_CHECK),
            Optimizer::Adam(_) => wide * words::ADAM,
        }
    }

    /// The most words at a look of the check of ranges while these parts are updated: results of truncations are kept until there are
    /// [`cost::KEPT`] of them, so that it may look at both of a part at once, which are nearly twice as many.
    fn looks(&self, sgd: &Sgd, parts: &[usize], watched: &mut Watched) -> f64 {
        let held = match (sgd.momentum != 0.0, self.word) {
            (true, _) if sgd.nesterov => &words::NESTEROV_LOOKS[..],
            (true, _) => &words::MOMENTUM_LOOKS,
            (false, 4) => &words::PLAIN_LOOKS,
            (false, _) => &words::PLAIN_LOOKS[..1],
        };
        let mut most = 0.0f64;
        for (part, held) in parts.iter().flat_map(|part| held.iter().map(move |held| (*part, held))) {
            watched.elements += part;
            if watched.elements >= cost::KEPT {
                most = most.max(part as f64 * held + watched.elements as f64 * words::LOOK);
                watched.joined |= watched.elements > part;
                watched.elements = 0;
            }
        }
        most
    }
}
