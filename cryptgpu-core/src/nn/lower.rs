//! Lowering of a graph to a [`Plan`]: the steps that the parties run, in order, each with the truncation it
//! takes. Three rewrites save communication, and neither changes the function:
//!
//! * An average pool becomes a *sum* pool, which is local. Its 1/area stays *pending* on the value and goes with it
//!   through whatever commutes with a positive factor (ReLU, max-pool, flattening, further pools, sums of
//!   values with the same pending factor) to the convolutions and fully connected layers that use it, whose
//!   weights the owner multiplies by 2^s / area, s = ⌈log₂ area⌉, before sharing; their truncation takes s
//!   bits more. The pool's own truncation and its rounds are gone, and areas that are powers of two are exact.
//!   Where these bits would take too many from the products, the sum is cut by s bits at once, and 2^s / area goes on alone.
//! * ReLU, then max-pool becomes max-pool, then ReLU, which is equal, on fewer elements.
//! * Products of layers that are only added, as in a residual block with a projection, are added before they are truncated,
//!   not after: one truncation in place of each.
//!
//! Where a pending factor cannot go on (the network's output, a ReLU6, a sum of different factors), the pool is
//! followed by a [`PlanOp::Rescale`] by its area. A plan is public: it names no weight's value, and all parties make the same.

use super::plan::{Plan, PlanOp, Step, ValueId};
use super::{Divisor, Graph, NnError, Node, NodeId, Op};
use crate::device::PoolGeometry;
use crate::ring::Ring;
use std::borrow::Cow;

/// Which rewrites [`lower`] may do. All are on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LowerOptions {
    /// Average pools whose divisor is carried to the layers that follow.
    pub defer_averages: bool,
    /// Max-pool before ReLU. None of the paper's ten networks has a max-pool.
    pub max_before_relu: bool,
    /// One truncation of a sum of products, in place of a sum of truncated ones.
    pub sum_before_cut: bool,
}

impl Default for LowerOptions {
    fn default() -> Self {
        LowerOptions { defer_averages: true, max_before_relu: true, sum_before_cut: true }
    }
}

/// Bits of a pending divisor beyond which the sum is cut at once: the top bits of the ring are needed for values. At 12 fraction
/// bits products have 6 in the ring of 32 bits, all of which the values have.
fn most_carried(ring: Ring) -> u32 {
    match ring {
        Ring::Z64 => 12,
        Ring::Z32 => 0,
    }
}

/// The plan of `graph` in `ring`, whose batch normalisations have been folded away ([`super::fold::fold_graph`]).
///
/// # Errors
/// [`NnError::CannotLower`] for a batch normalisation.
pub fn lower(graph: &Graph, options: LowerOptions, ring: Ring) -> Result<Plan, NnError> {
    for node in graph.nodes() {
        if let Op::BatchNorm2d { .. } = node.op {
            let what = "batch normalisation has no private protocol: fold it first (nn::fold_weights)".into();
            return Err(NnError::CannotLower { node: node.name.clone(), what });
        }
    }
    let deferred = if options.defer_averages { Deferred::All } else { Deferred::None };
    plan(graph, options, deferred, ring)
}

/// The plan of `graph` for training: batch normalisations are steps of their own, and only averages over areas that are
/// powers of two are carried on, so that weights stay as they are; in the ring of 32 bits none, since products behind one have less
/// room by its bits. Every layer truncates its own products.
///
/// # Errors
/// As [`Graph::builder`]'s, should the rewritten graph be none.
pub(super) fn lower_for_training(graph: &Graph, ring: Ring) -> Result<Plan, NnError> {
    let options = LowerOptions { sum_before_cut: false, ..LowerOptions::default() };
    let deferred = match ring {
        Ring::Z64 => Deferred::PowersOfTwo,
        Ring::Z32 => Deferred::None,
    };
    plan(graph, options, deferred, ring)
}

fn plan(graph: &Graph, options: LowerOptions, deferred: Deferred, ring: Ring) -> Result<Plan, NnError> {
    let graph = &reordered(graph, options)?;
    let divisors = pending_divisors(graph, deferred, most_carried(ring));
    let mut planner = Planner::new(graph);
    for id in graph.ids().skip(1) {
        planner.node(graph, id, &divisors);
    }
    Ok(planner.finish(graph, options, ring))
}

/// Which averages may be carried on.
#[derive(Clone, Copy, PartialEq)]
enum Deferred {
    None,
    PowersOfTwo,
    All,
}

/// `graph` with its nodes in the order in which the steps of its plan compute them.
pub(super) fn reordered(graph: &Graph, options: LowerOptions) -> Result<Cow<'_, Graph>, NnError> {
    Ok(if options.max_before_relu { Cow::Owned(max_before_relu(graph)?) } else { Cow::Borrowed(graph) })
}

/// The graph with each max-pool that alone uses a ReLU moved before it.
fn max_before_relu(graph: &Graph) -> Result<Graph, NnError> {
    let consumers = graph.consumers();
    let is_max = |node: &Node| matches!(node.op, Op::MaxPool { .. });
    let swaps = |id: NodeId| {
        let alone = consumers[id.index()].as_slice();
        let relu = matches!(graph.node(id).op, Op::Relu) && graph.output() != id;
        relu && matches!(alone, [user] if is_max(graph.node(*user)))
    };
    let mut builder = Graph::builder(graph.name(), graph.input_shape());
    let mut renamed = vec![builder.input()];
    for id in graph.ids().skip(1) {
        let node = graph.node(id);
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| renamed[input.index()]).collect();
        let new = if swaps(id) {
            inputs[0]
        } else {
            let new = builder.add(&node.name, node.op.clone(), &inputs)?;
            let relu = node.inputs[0];
            if is_max(node) && swaps(relu) { builder.relu(&graph.node(relu).name, new)? } else { new }
        };
        renamed.push(new);
    }
    builder.finish(renamed[graph.output().index()])
}

fn average_area(graph: &Graph, node: &Node) -> Option<u64> {
    let area = match &node.op {
        Op::AvgPool { window } => window.kernel[0] * window.kernel[1],
        Op::GlobalAvgPool => graph.input_of(node).iter().skip(1).product(),
        _ => return None,
    };
    Some(area as u64)
}

/// What becomes of the divisor of an average.
#[derive(Clone, Copy, PartialEq)]
enum Average {
    /// All of it goes on.
    Carried,
    /// The sum is cut by its bits, and what is left of it goes on.
    Cut,
    /// It is taken at once.
    Taken,
}

/// For each node, the divisor that is pending on its result. Starts with every average carried on, cuts those that come to more
/// than `most` bits, and takes back those whose factor meets something it cannot pass, until none does.
fn pending_divisors(graph: &Graph, defer: Deferred, most: u32) -> Vec<Divisor> {
    let allowed = |node: &Node| match defer {
        Deferred::None => false,
        Deferred::PowersOfTwo => average_area(graph, node).is_some_and(u64::is_power_of_two),
        Deferred::All => true,
    };
    let first = |node: &Node| if allowed(node) { Average::Carried } else { Average::Taken };
    let mut averages: Vec<Average> = graph.nodes().iter().map(first).collect();
    'again: loop {
        let mut divisors = vec![Divisor::ONE; graph.nodes().len()];
        // The deferred averages that a pending divisor is made of.
        let mut origins: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes().len()];
        for (index, node) in graph.nodes().iter().enumerate() {
            let pending: Vec<Divisor> = node.inputs.iter().map(|input| divisors[input.index()]).collect();
            let mut from: Vec<usize> = node.inputs.iter().flat_map(|input| origins[input.index()].clone()).collect();
            let first = pending.first().copied().unwrap_or(Divisor::ONE);
            let (divisor, blocked) = match &node.op {
                Op::Input | Op::Conv2d { .. } | Op::ConvTranspose2d { .. } | Op::Linear { .. } => (Divisor::ONE, false),
                Op::Relu6 | Op::BatchNorm2d { .. } | Op::Rows(_) | Op::Bias => (Divisor::ONE, first != Divisor::ONE),
                Op::Relu
                | Op::MaxPool { .. }
                | Op::Upsample { .. }
                | Op::Rearrange(_)
                | Op::Flatten
                | Op::Reshape { .. } => (first, false),
                Op::PiecewiseLinear(function) if function.is_homogeneous() => (first, false),
                Op::PiecewiseLinear(_) | Op::Smooth(_) | Op::Mul | Op::Div | Op::MatMul => {
                    (Divisor::ONE, pending.iter().any(|&pending| pending != Divisor::ONE))
                }
                Op::Add | Op::Concat => (first, pending.iter().any(|&other| other != first)),
                Op::AvgPool { .. } | Op::GlobalAvgPool => {
                    from.push(index);
                    let sum = first.times(average_area(graph, node).unwrap_or(1));
                    match averages[index] {
                        Average::Taken => (Divisor::ONE, false),
                        Average::Cut => (sum.after_cut(), false),
                        Average::Carried if sum.extra_bits() <= most => (sum, false),
                        Average::Carried => {
                            averages[index] = Average::Cut;
                            continue 'again;
                        }
                    }
                }
            };
            let leaves = graph.output().index() == index && divisor != Divisor::ONE;
            if blocked || leaves {
                for origin in from {
                    averages[origin] = Average::Taken;
                }
                continue 'again;
            }
            divisors[index] = divisor;
            if divisor != Divisor::ONE {
                origins[index] = from;
            }
        }
        return divisors;
    }
}

struct Planner {
    shapes: Vec<Vec<usize>>,
    /// The pending divisor of every value.
    divisors: Vec<Divisor>,
    steps: Vec<Step>,
    /// The value of each node.
    values: Vec<ValueId>,
}

impl Planner {
    fn new(graph: &Graph) -> Self {
        let shapes = vec![graph.input_shape().to_vec()];
        Planner { shapes, divisors: vec![Divisor::ONE], steps: vec![], values: vec![ValueId(0)] }
    }

    /// Adds a step for `node` that leaves the pending divisor `divisor`.
    fn push(&mut self, node: &Node, op: PlanOp, inputs: Vec<ValueId>, divisor: Divisor) -> ValueId {
        let output = ValueId(self.shapes.len());
        self.shapes.push(node.shape.clone());
        self.divisors.push(divisor);
        self.steps.push(Step { name: node.name.clone(), op, inputs, output, release: vec![], left_to_sum: false });
        output
    }

    fn node(&mut self, graph: &Graph, id: NodeId, divisors: &[Divisor]) {
        let node = graph.node(id);
        let inputs: Vec<ValueId> = node.inputs.iter().map(|input| self.values[input.index()]).collect();
        let divisor = node.inputs.first().map_or(Divisor::ONE, |input| divisors[input.index()]);
        let op = match node.op.clone() {
            Op::Conv2d { out_channels, window, groups, bias } => {
                PlanOp::Conv2d { out_channels, window, groups, bias, divisor }
            }
            Op::ConvTranspose2d { out_channels, output, window, groups, bias } => {
                PlanOp::ConvTranspose2d { out_channels, output, window, groups, bias, divisor }
            }
            Op::Linear { out_features, bias } => PlanOp::Linear { out_features, bias, divisor },
            Op::Relu => PlanOp::Relu,
            Op::Relu6 => PlanOp::Relu6,
            Op::PiecewiseLinear(function) => PlanOp::PiecewiseLinear(function),
            Op::Smooth(function) => PlanOp::Smooth(function),
            Op::Rows(function) => PlanOp::Rows(function),
            Op::Bias => PlanOp::Bias,
            Op::MaxPool { window } => PlanOp::MaxPool { window },
            Op::AvgPool { window } => PlanOp::SumPool { window },
            Op::GlobalAvgPool => {
                let image = graph.input_of(node);
                let window = PoolGeometry { kernel: [image[1], image[2]], ..PoolGeometry::square(1, 1, 0) };
                PlanOp::SumPool { window }
            }
            Op::Add => PlanOp::Add,
            Op::Mul => PlanOp::Mul,
            Op::Div => PlanOp::Div,
            Op::MatMul => PlanOp::MatMul,
            Op::Rearrange(rearrange) => PlanOp::Rearrange(rearrange),
            Op::Concat => PlanOp::Concat,
            Op::Upsample { factors } => PlanOp::Upsample { factors },
            Op::Flatten | Op::Reshape { .. } => PlanOp::Reshape { shape: node.shape.clone() },
            Op::BatchNorm2d { eps } => PlanOp::BatchNorm2d { eps },
            // The input is no step.
            Op::Input => return,
        };
        // What an average does not pass on it takes at once, of what came pending to it too.
        let pending = divisors[id.index()];
        let sum = average_area(graph, node).map(|area| divisor.times(area));
        let value = match sum.filter(|&sum| sum != pending) {
            Some(sum) => {
                let taken = if sum.after_cut() == pending { sum.bits() } else { sum };
                let value = self.push(node, op, inputs, sum);
                self.push(node, PlanOp::Rescale { divisor: taken }, vec![value], pending)
            }
            None => self.push(node, op, inputs, pending),
        };
        self.values.push(value);
    }

    /// Leaves products to the sums that alone use them, and use nothing else.
    fn leave_products_to_sums(&mut self, output: ValueId) {
        let uses =
            |value: ValueId| self.steps.iter().flat_map(|step| &step.inputs).filter(|&&input| input == value).count();
        let layer = |value: &ValueId| {
            let step = self.steps.iter().position(|step| step.output == *value)?;
            let products = matches!(self.steps[step].op, PlanOp::Conv2d { .. } | PlanOp::Linear { .. });
            (products && uses(*value) == 1 && *value != output).then_some(step)
        };
        let sums = self.steps.iter().filter(|step| step.op == PlanOp::Add && step.inputs.len() > 1);
        let layers = sums.filter_map(|sum| sum.inputs.iter().map(layer).collect::<Option<Vec<_>>>());
        let left: Vec<usize> = layers.flatten().collect();
        for step in left {
            self.steps[step].left_to_sum = true;
        }
    }

    fn finish(mut self, graph: &Graph, options: LowerOptions, ring: Ring) -> Plan {
        let output = self.values.get(graph.output().index()).copied().unwrap_or(ValueId(0));
        let mut last_use = vec![None; self.shapes.len()];
        for (position, step) in self.steps.iter().enumerate() {
            for input in &step.inputs {
                last_use[input.0] = Some(position);
            }
        }
        for (value, position) in last_use.into_iter().enumerate() {
            if let Some(position) = position.filter(|_| ValueId(value) != output) {
                self.steps[position].release.push(ValueId(value));
            }
        }
        if options.sum_before_cut {
            self.leave_products_to_sums(output);
        }
        let (name, input_shape) = (graph.name().into(), graph.input_shape());
        Plan { name, ring, input_shape, shapes: self.shapes, divisors: self.divisors, steps: self.steps, output }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{fold, zoo};

    fn plan_in(ring: Ring, name: &str, options: LowerOptions) -> Plan {
        lower(&fold::fold_graph(&zoo::by_name(name).unwrap()).unwrap(), options, ring).unwrap()
    }

    fn plan(name: &str, options: LowerOptions) -> Plan {
        plan_in(Ring::Z64, name, options)
    }

    fn divisor_of(plan: &Plan, name: &str) -> f64 {
        let step = plan.steps().iter().find(|step| step.name == name).unwrap();
        match step.op {
            PlanOp::Conv2d { divisor, .. } | PlanOp::Linear { divisor, .. } => divisor.value(),
            _ => panic!("{name} is not linear"),
        }
    }

    fn rescales(plan: &Plan) -> usize {
        plan.steps().iter().filter(|step| matches!(step.op, PlanOp::Rescale { .. })).count()
    }

    #[test]
    fn averages_of_the_papers_networks_are_all_deferred() {
        for name in zoo::PAPER {
            assert_eq!(rescales(&plan(name, LowerOptions::default())), 0, "{name}");
        }
        let resnet = plan("resnet50", LowerOptions::default());
        let pending = [("layer1.0.conv1", 9.0), ("layer1.0.downsample.0", 9.0), ("layer1.0.conv2", 1.0), ("fc", 49.0)];
        for (layer, divisor) in pending {
            assert_eq!(divisor_of(&resnet, layer), divisor, "{layer}");
        }
        let vgg = plan("vgg16-imagenet", LowerOptions::default());
        assert_eq!((divisor_of(&vgg, "features.5"), divisor_of(&vgg, "classifier.0")), (4.0, 16.0));
        let kept = plan("vgg16-imagenet", LowerOptions { defer_averages: false, ..LowerOptions::default() });
        assert_eq!((rescales(&kept), divisor_of(&kept, "classifier.0")), (6, 1.0));
    }

    #[test]
    fn sums_are_cut_at_once_where_products_need_their_bits() {
        let cuts = |plan: &Plan| {
            let of = |step: &Step| match step.op {
                PlanOp::Rescale { divisor } => Some((step.name.clone(), divisor.value())),
                _ => None,
            };
            plan.steps().iter().filter_map(of).collect::<Vec<_>>()
        };
        let resnet = plan_in(Ring::Z32, "resnet50", LowerOptions::default());
        assert_eq!(cuts(&resnet), [("stempool".into(), 16.0), ("avgpool".into(), 64.0)]);
        for (layer, divisor) in
            [("layer1.0.conv1", 9.0 / 16.0), ("layer1.0.downsample.0", 9.0 / 16.0), ("fc", 49.0 / 64.0)]
        {
            assert_eq!(divisor_of(&resnet, layer), divisor, "{layer}");
        }
        let vgg = plan_in(Ring::Z32, "vgg16-imagenet", LowerOptions::default());
        assert_eq!((divisor_of(&vgg, "features.5"), divisor_of(&vgg, "classifier.0")), (1.0, 1.0));
        assert_eq!(cuts(&vgg).into_iter().map(|(_, by)| by).collect::<Vec<_>>(), [4.0; 6]);
    }

    #[test]
    fn a_divisor_that_cannot_go_on_is_taken_at_once() {
        let pool = |kernel| Op::AvgPool { window: PoolGeometry::square(kernel, 1, kernel / 2) };
        let mut net = Graph::builder("t", [2, 6, 6]);
        let same = net.add("same", pool(3), &[net.input()]).unwrap();
        let relu = net.relu("relu", same).unwrap();
        let sum = net.add("sum", Op::Add, &[relu, same]).unwrap();
        let conv = net.conv("conv", sum, 2, PoolGeometry::square(1, 1, 0)).unwrap();
        let clipped = net.add("clipped", pool(3), &[conv]).unwrap();
        let relu6 = net.add("relu6", Op::Relu6, &[clipped]).unwrap();
        let other = net.add("other", pool(3), &[relu6]).unwrap();
        let mixed = net.add("mixed", Op::Add, &[other, relu6]).unwrap();
        let last = net.add("last", Op::GlobalAvgPool, &[mixed]).unwrap();
        let plan = lower(&net.finish(last).unwrap(), LowerOptions::default(), Ring::Z64).unwrap();
        assert_eq!(divisor_of(&plan, "conv"), 9.0, "through ReLU and an equal sum");
        let rescaled: Vec<(&str, f64)> = plan
            .steps()
            .iter()
            .filter_map(|step| {
                if let PlanOp::Rescale { divisor } = step.op {
                    Some((step.name.as_str(), divisor.value()))
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(rescaled, [("clipped", 9.0), ("other", 9.0), ("last", 36.0)]);
    }

    #[test]
    fn training_defers_powers_of_two_only_and_keeps_batch_normalisation() {
        let resnet = lower_for_training(&zoo::by_name("resnet50").unwrap(), Ring::Z64).unwrap();
        assert!(resnet.steps().iter().any(|step| step.name == "bn1" && step.op.kind() == "batch_norm"));
        assert_eq!((divisor_of(&resnet, "layer1.0.conv1"), rescales(&resnet)), (1.0, 2), "averages of 9 and of 49");
        for (ring, expected) in [(Ring::Z64, (4.0, 0)), (Ring::Z32, (1.0, 2))] {
            let lenet = lower_for_training(&zoo::by_name("lenet").unwrap(), ring).unwrap();
            assert_eq!((divisor_of(&lenet, "conv2"), rescales(&lenet)), expected, "{ring}");
        }
    }

    #[test]
    fn max_pools_come_before_relus() {
        let order = |options| {
            let plan = plan("lenet-maxpool", options);
            plan.steps().iter().map(|step| step.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(order(LowerOptions::default())[..3], ["conv1", "pool1", "relu1"]);
        let kept = LowerOptions { max_before_relu: false, ..LowerOptions::default() };
        assert_eq!(order(kept)[..3], ["conv1", "relu1", "pool1"]);
    }

    #[test]
    fn products_are_left_to_the_sums_of_residual_blocks_with_a_projection() {
        let left = |plan: &Plan| plan.steps().iter().filter(|step| step.left_to_sum).count();
        let sums = |plan: &Plan| {
            let cuts = plan.steps().iter().filter(|step| step.op == PlanOp::Add && plan.only_a_relu_uses(step));
            cuts.filter_map(|step| plan.product_cut(step, 20)).collect::<Vec<_>>()
        };
        let (all, none) = (LowerOptions::default(), LowerOptions { sum_before_cut: false, ..LowerOptions::default() });
        // The first projection is of the stem's average over nine.
        let cuts = vec![24, 20, 20, 20];
        for (name, options, cuts) in [("resnet50", all, cuts), ("resnet50", none, vec![]), ("lenet", all, vec![])] {
            let plan = plan(name, options);
            assert_eq!((left(&plan), sums(&plan)), (2 * cuts.len(), cuts), "{name}");
        }
        assert_eq!(left(&lower_for_training(&zoo::by_name("resnet50").unwrap(), Ring::Z64).unwrap()), 0);
    }

    #[test]
    fn every_value_is_released_once_after_its_last_use() {
        for name in ["lenet", "resnet50-maxpool", "mobilenet-v2-same", "efficientnet-lite0"] {
            let plan = plan(name, LowerOptions::default());
            let mut released = vec![0; plan.shapes().len()];
            for step in plan.steps() {
                assert!(step.inputs.iter().all(|input| released[input.index()] == 0), "{name}: {}", step.name);
                step.release.iter().for_each(|value| released[value.index()] += 1);
            }
            for (value, times) in released.into_iter().enumerate() {
                assert_eq!(times, usize::from(value != plan.output().index()), "{name}: value {value}");
            }
        }
    }

    #[test]
    fn batch_normalisation_must_be_folded() {
        let error =
            lower(&zoo::by_name("resnet18").unwrap(), LowerOptions::default(), Ring::Z64).unwrap_err().to_string();
        assert!(error.contains("bn1") && error.contains("fold"), "{error}");
    }
}
