//! What private evaluation of a plan costs in bytes and rounds, by the declarations of the
//! protocols it uses. Tests hold this against what the transport counts.

use super::Plan;
use super::divisor::cut;
use super::plan::{PlanOp, Step};
use crate::mpc::cost::RangeChecks;
use crate::mpc::{CheckRange, Cost, Fidelity, Octaves, Settings, cost};
use crate::ring::Ring;

/// Sharing the weights: 8 bytes for each weight and bias, 4 in the ring of 32 bits, to one party; nobody waits for more than one
/// message.
pub fn share_weights(plan: &Plan, ring: Ring) -> Cost {
    let words: u64 = plan.weight_tensors().map(|elements| elements.div_ceil(ring.packed() as u64)).sum();
    Cost { bytes: 8 * words, rounds: u64::from(words > 0) }
}

/// Evaluating `plan` on `batch` shared images: the sum of its steps, and of the check of ranges where settings ask for it.
pub fn infer(plan: &Plan, batch: usize, settings: &Settings) -> Cost {
    let steps = plan.steps().iter().fold(Cost::FREE, |sum, step| sum + of_step(plan, step, batch, settings));
    steps + check_range(plan, batch, settings)
}

/// The check of ranges ([`CheckRange`]) in an evaluation of `plan`; nothing where settings ask for none.
pub fn check_range(plan: &Plan, batch: usize, settings: &Settings) -> Cost {
    if settings.check_range == CheckRange::Off {
        return Cost::FREE;
    }
    let (mut checks, mut sum) = (RangeChecks::default(), Cost::FREE);
    let ring = settings.codec.ring();
    for step in plan.steps() {
        if matches!(step.op, PlanOp::Smooth(_) | PlanOp::Rows(_) | PlanOp::Div) {
            cost::with_range_checks(&mut checks, || of_step(plan, step, batch, settings));
        }
        let elements = batch * plan.shape(step.output).iter().product::<usize>();
        let f = settings.codec.fraction_bits();
        let cuts = match (plan.product_cut(step, f), &step.op) {
            (Some(cut), _) => vec![cut],
            (_, PlanOp::Rescale { divisor }) => divisor.division(settings.codec).cuts().collect(),
            (_, PlanOp::PiecewiseLinear(function)) => vec![function.cut(f)],
            _ => vec![],
        };
        for _ in cuts.into_iter().filter(|&cut| cut > 0) {
            checks.truncated(ring, elements);
        }
        let window = cost::window_in(ring, settings.window);
        if window.low() + window.width() < ring.bits() {
            compared(&step.op, elements).into_iter().for_each(|elements| checks.narrowed(ring, elements));
        }
        if settings.check_range == CheckRange::Layers {
            sum += checks.close();
        }
    }
    sum + checks.close()
}

/// Elements of each comparison that a step makes, `elements` being those of its result.
fn compared(op: &PlanOp, elements: usize) -> Vec<usize> {
    match op {
        PlanOp::Relu => vec![elements],
        PlanOp::Relu6 => vec![2 * elements],
        PlanOp::PiecewiseLinear(function) => vec![function.kinks() * elements],
        PlanOp::MaxPool { window } => {
            let taps = window.kernel[0] * window.kernel[1];
            let rows = std::iter::successors(Some(taps), |&rows| (rows > 1).then(|| rows.div_ceil(2)));
            rows.take_while(|&rows| rows > 1).map(|rows| rows / 2 * elements).collect()
        }
        _ => vec![],
    }
}

/// One step, without the check of ranges.
pub fn of_step(plan: &Plan, step: &Step, batch: usize, settings: &Settings) -> Cost {
    let elements = batch * plan.shape(step.output).iter().product::<usize>();
    let (ring, f) = (settings.codec.ring(), settings.codec.fraction_bits());
    // The windows of steps differ in their lowest bit, and have the settings' width ([`super::window`]).
    let window = cost::window_in(ring, settings.window);
    if let Some(cut) = plan.product_cut(step, f) {
        return match settings.fidelity {
            Fidelity::Paper if cut > 0 => cost::truncate_product_paper(ring, elements),
            // With a check of ranges every result is looked at first.
            _ if settings.check_range == CheckRange::Off && plan.only_a_relu_uses(step) => {
                cost::begin_truncation(ring, elements, cut)
            }
            _ => cost::truncate_product(ring, elements, cut),
        };
    }
    let cut = cut(&step.op, settings.codec);
    let paper = settings.fidelity == Fidelity::Paper && cut > 0;
    match &step.op {
        PlanOp::Rescale { divisor } => divisor.division(settings.codec).cuts().fold(Cost::FREE, |sum, cut| {
            sum + match settings.fidelity {
                Fidelity::Paper => cost::truncate_shared_paper(ring, elements),
                Fidelity::Exact => cost::truncate_shared(ring, elements, cut),
            }
        }),
        PlanOp::Relu => cost::relu(ring, elements, window),
        PlanOp::Relu6 => cost::relu(ring, 2 * elements, window),
        PlanOp::PiecewiseLinear(function) if paper => {
            cost::piecewise_linear(ring, elements, function.kinks(), 0, window)
                + cost::truncate_shared_paper(ring, elements)
        }
        PlanOp::PiecewiseLinear(function) => cost::piecewise_linear(ring, elements, function.kinks(), cut, window),
        PlanOp::Smooth(function) => cost::smooth(ring, elements, f, *function, window),
        PlanOp::Div => cost::quotient(ring, elements, f, Octaves::of(settings.codec)),
        PlanOp::Rows(function) => {
            let width = plan.shape(step.output).last().copied().unwrap_or(1).max(1);
            cost::rows(ring, elements / width, width, f, *function, window)
        }
        PlanOp::MaxPool { window: pool } => cost::max_pool(ring, elements, pool.kernel[0] * pool.kernel[1], window),
        // Products that are left to a sum. What lies in a plan of training costs what `training` says.
        PlanOp::Conv2d { .. } | PlanOp::ConvTranspose2d { .. } | PlanOp::Linear { .. } | PlanOp::BatchNorm2d { .. } => {
            Cost::FREE
        }
        PlanOp::SumPool { .. }
        | PlanOp::Add
        | PlanOp::Bias
        | PlanOp::Mul
        | PlanOp::MatMul
        | PlanOp::Rearrange(_)
        | PlanOp::Concat
        | PlanOp::Upsample { .. }
        | PlanOp::Reshape { .. } => Cost::FREE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{LowerOptions, fold, lower::lower, zoo};

    /// Megabytes that CryptGPU's code really sends for one image, all parties, by a counter in that code; and
    /// which part of them ours may send.
    const PAPER: [(&str, f64, f64); 10] = [
        ("lenet", 4.675, 0.42),
        ("alexnet-cifar10", 3.766, 0.42),
        ("vgg16-cifar10", 86.520, 0.42),
        ("alexnet-tiny", 21.410, 0.42),
        ("vgg16-tiny", 345.733, 0.42),
        ("alexnet-imagenet", 362.909, 0.42),
        ("vgg16-imagenet", 4232.0, 0.42),
        ("resnet50", 4121.0, 0.30),
        ("resnet101", 6238.0, 0.30),
        ("resnet152", 8853.0, 0.30),
    ];

    #[test]
    fn every_network_sends_less_than_is_aimed_at() {
        for (name, theirs, aim) in PAPER {
            let plan =
                lower(&fold::fold_graph(&zoo::by_name(name).unwrap()).unwrap(), LowerOptions::default(), Ring::Z64)
                    .unwrap();
            let ours = infer(&plan, 1, &Settings::default());
            let part = ours.bytes as f64 / (theirs * 1e6);
            println!(
                "{name}: {:.3} MB, {:.1} % of {theirs} MB, {} rounds",
                ours.bytes as f64 / 1e6,
                100.0 * part,
                ours.rounds
            );
            assert!(part <= aim, "{name}: {part}");
        }
    }
}
