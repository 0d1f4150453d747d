//! What private evaluation of a plan costs in bytes and rounds, by the declarations of the
//! protocols it uses. Tests hold this against what the transport counts.

use super::Plan;
use super::lower::{PlanOp, Step};
use super::private::cut;
use crate::mpc::{Cost, Fidelity, Settings, cost};

/// Sharing the weights: 8 bytes for each weight and bias, to one party; nobody waits for more than one message.
pub fn share_weights(plan: &Plan) -> Cost {
    Cost { bytes: 8 * plan.weight_elements(), rounds: u64::from(plan.weight_elements() > 0) }
}

/// Evaluating `plan` on `batch` shared images: the sum of its steps.
pub fn infer(plan: &Plan, batch: usize, settings: &Settings) -> Cost {
    plan.steps().iter().fold(Cost::FREE, |sum, step| sum + of_step(plan, step, batch, settings))
}

/// One step.
pub fn of_step(plan: &Plan, step: &Step, batch: usize, settings: &Settings) -> Cost {
    let elements = batch * plan.shape(step.output).iter().product::<usize>();
    let cut = cut(&step.op, settings.codec.fraction_bits());
    let window = settings.window.into();
    let paper = settings.fidelity == Fidelity::Paper && cut > 0;
    match &step.op {
        PlanOp::Conv2d { .. } | PlanOp::Linear { .. } if paper => cost::truncate_product_paper(elements),
        PlanOp::Conv2d { .. } | PlanOp::Linear { .. } => cost::truncate_product(elements, cut),
        PlanOp::Rescale { .. } if paper => cost::truncate_shared_paper(elements),
        PlanOp::Rescale { .. } => cost::truncate_shared(elements, cut),
        PlanOp::Relu => cost::relu(elements, window),
        PlanOp::Relu6 => cost::relu(2 * elements, window),
        PlanOp::MaxPool { window: pool } => cost::max_pool(elements, pool.kernel[0] * pool.kernel[1], window),
        PlanOp::SumPool { .. } | PlanOp::Add | PlanOp::Concat | PlanOp::Flatten => Cost::FREE,
    }
}
