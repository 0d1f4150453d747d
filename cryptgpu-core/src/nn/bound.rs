//! How large each value of a plan can become, by interval arithmetic over channels: from the plaintext weights, so at their
//! owner only, and from the range that inputs are declared to lie in. The intervals hold for what stands in the ring, rounding
//! included; nothing is evaluated here.

use super::plan::{PlanOp, Step};
use super::{NnError, Plan, Weights};
use crate::mpc::{PiecewiseLinear, RowFunction, SmoothFunction};
use crate::ring::FixedPoint;
use ndarray::{ArrayD, Axis};
use rayon::prelude::*;

/// The range that the values of images are declared to lie in; public.
///
/// By default −3 to 3: pixels from 0 to 1, and images that were normalised to mean 0 and variance 1 as MNIST (up to 2.83),
/// CIFAR-10 (2.13) and ImageNet (2.65) usually are.
///
/// ```
/// use cryptgpu_core::nn::range::InputRange;
/// assert!(InputRange::new(0.0, 255.0)?.contains(254.0) && !InputRange::default().contains(254.0));
/// assert!(InputRange::new(1.0, 0.0).is_err());
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "(f64, f64)", into = "(f64, f64)")]
pub struct InputRange {
    low: f64,
    high: f64,
}

impl Default for InputRange {
    fn default() -> Self {
        InputRange { low: -3.0, high: 3.0 }
    }
}

impl InputRange {
    /// From `low` to `high`, both included.
    ///
    /// # Errors
    /// [`NnError::InputRange`] for a range that is empty or without end.
    pub fn new(low: f64, high: f64) -> Result<Self, NnError> {
        if low.is_finite() && high.is_finite() && low <= high {
            return Ok(InputRange { low, high });
        }
        Err(NnError::InputRange { low, high })
    }

    /// The smallest value.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The largest value.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// Whether `value` lies in it, but for rounding.
    pub fn contains(&self, value: f64) -> bool {
        value >= self.low - self.slack() && value <= self.high + self.slack()
    }

    /// What the rounding of numbers of single precision makes of either end.
    fn slack(&self) -> f64 {
        1e-6 * self.low.abs().max(self.high.abs()).max(1.0)
    }
}

impl TryFrom<(f64, f64)> for InputRange {
    type Error = NnError;

    fn try_from((low, high): (f64, f64)) -> Result<Self, NnError> {
        InputRange::new(low, high)
    }
}

impl From<InputRange> for (f64, f64) {
    fn from(range: InputRange) -> Self {
        (range.low, range.high)
    }
}

/// `-3 to 3`.
impl std::fmt::Display for InputRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.low, self.high)
    }
}

/// Far beyond the ring: intervals of deep networks end here, and stay numbers.
const HUGE: f64 = 1e250;

/// Where the elements of one channel lie, whatever the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Interval {
    /// The largest absolute value.
    pub(super) fn largest(self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// The smallest absolute value: above 0 where all elements have the same sign.
    pub(super) fn smallest(self) -> f64 {
        self.low.max(-self.high).max(0.0)
    }

    /// What holds all of these; None of none.
    pub(super) fn hull(all: &[Interval]) -> Option<Self> {
        let joined = |a: Interval, b: &Interval| Interval { low: a.low.min(b.low), high: a.high.max(b.high) };
        Some(all.iter().fold(*all.first()?, joined))
    }

    /// With zero in it, which padding brings.
    fn with_zero(self) -> Self {
        Interval { low: self.low.min(0.0), high: self.high.max(0.0) }
    }

    fn wider(self, by: f64) -> Self {
        Interval { low: (self.low - by).max(-HUGE), high: (self.high + by).min(HUGE) }
    }
}

/// For each value of `plan`, the interval of each of its channels (or features), as the network counts: without pending
/// divisors. `weights` are those of the folded network.
pub(super) fn intervals(
    plan: &Plan,
    weights: &Weights,
    input: InputRange,
    codec: FixedPoint,
) -> Result<Vec<Vec<Interval>>, NnError> {
    let pixel = Interval { low: input.low, high: input.high }.wider(unit(codec) + input.slack());
    let mut values: Vec<Vec<Interval>> = vec![vec![]; plan.shapes().len()];
    if let Some(first) = values.first_mut() {
        *first = vec![pixel; plan.input_shape()[0]];
    }
    for step in plan.steps() {
        let inputs: Vec<&[Interval]> = step.inputs.iter().map(|input| values[input.index()].as_slice()).collect();
        let shapes = [plan.shape(*step.inputs.first().unwrap_or(&step.output)), plan.shape(step.output)];
        let result = of_step(step, weights, &inputs, shapes, codec);
        values[step.output.index()] = result.ok_or_else(|| NnError::Wiring {
            node: step.name.clone(),
            what: "its weights or inputs are missing".into(),
        })?;
    }
    Ok(values)
}

/// The last place of a codec's numbers.
fn unit(codec: FixedPoint) -> f64 {
    2f64.powi(-(codec.fraction_bits() as i32))
}

/// The intervals of a step's result; nothing where an input or a weight is missing.
fn of_step(
    step: &Step,
    weights: &Weights,
    inputs: &[&[Interval]],
    [before, after]: [&[usize]; 2],
    codec: FixedPoint,
) -> Option<Vec<Interval>> {
    let unit = unit(codec);
    let x = *inputs.first()?;
    let each = |change: fn(Interval) -> Interval| x.iter().map(|&interval| change(interval)).collect();
    let padded = |window: &crate::device::PoolGeometry| window.padding != [0; 4];
    Some(match &step.op {
        PlanOp::Conv2d { window, groups, .. } => {
            let x: Vec<Interval> = if padded(window) { each(Interval::with_zero) } else { x.to_vec() };
            linear(step, weights, &x, *groups, unit)?
        }
        // An output pixel sees some of the taps.
        PlanOp::ConvTranspose2d { groups, .. } => {
            let weight = weights.get(&format!("{}.weight", step.name))?;
            let x: Vec<Interval> = each(Interval::with_zero);
            let (bias, filters) = (weights.get(&format!("{}.bias", step.name)), transposed(weight, *groups)?);
            products(&filters, bias, &x, *groups, unit)?
        }
        // Of each row: any of its features may be as large as any.
        PlanOp::Linear { .. } if before.len() > 1 => {
            let of_row =
                |row: &Interval| Interval::hull(&linear(step, weights, &vec![*row; *before.last()?], 1, unit)?);
            x.par_iter().map(of_row).collect::<Option<_>>()?
        }
        PlanOp::Linear { .. } => linear(step, weights, x, 1, unit)?,
        PlanOp::Relu => each(|x| Interval { low: x.low.max(0.0), high: x.high.max(0.0) }),
        PlanOp::Relu6 => each(|x| Interval { low: x.low.clamp(0.0, 6.0), high: x.high.clamp(0.0, 6.0) }),
        PlanOp::PiecewiseLinear(function) => x.iter().map(|&x| piecewise_linear(function, x, unit)).collect(),
        // It rises, and its error is that of its polynomials and of a truncation.
        PlanOp::Smooth(function) => {
            let ends = |x: &Interval| Interval { low: function.value(x.low), high: function.value(x.high) };
            x.iter().map(|x| ends(x).wider(SmoothFunction::ERROR + 2.0 * unit)).collect()
        }
        PlanOp::Rows(function) => x.iter().map(|&x| of_rows(*function, x, before.last().copied(), unit)).collect(),
        PlanOp::Bias => {
            let bias = weights.get(&format!("{}.bias", step.name))?;
            let bias = bias.axis_iter(Axis(0)).map(|entries| {
                let ends =
                    |choose: fn(f64, f64) -> f64, from: f64| entries.iter().fold(from, |end, &b| choose(end, b.into()));
                Interval { low: ends(f64::min, f64::INFINITY), high: ends(f64::max, f64::NEG_INFINITY) }
            });
            x.iter()
                .zip(bias)
                .map(|(x, b)| Interval { low: x.low + b.low, high: x.high + b.high }.wider(unit))
                .collect()
        }
        PlanOp::Rearrange(rearrange) => rearrange.intervals(x, after),
        PlanOp::MatMul => {
            let y = *inputs.get(1)?;
            let (depth, all) = (before.last().copied()? as f64, Interval::hull(y)?);
            // Matrices on their own have a row for each interval, others a matrix.
            let of = |(at, &x): (usize, &Interval)| {
                let y = if before.len() > 2 { y.get(at).copied().unwrap_or(all) } else { all };
                let product = product(x, y, 0.0);
                Interval { low: depth * product.low, high: depth * product.high }.wider(2.0 * unit)
            };
            x.iter().enumerate().map(of).collect()
        }
        // One factor for each plane stands for all of its elements.
        PlanOp::Mul => {
            let factor = *inputs.get(1)?;
            x.iter().zip(factor).map(|(&x, &factor)| product(x, factor, unit)).collect()
        }
        // A divisor that may be zero counts as the smallest number there is.
        PlanOp::Div => {
            let divisor = *inputs.get(1)?;
            x.iter().zip(divisor).map(|(&x, &divisor)| quotient(x, divisor, unit)).collect()
        }
        PlanOp::MaxPool { .. } | PlanOp::Upsample { .. } => x.to_vec(),
        PlanOp::SumPool { window } if padded(window) => each(Interval::with_zero),
        PlanOp::SumPool { .. } => x.to_vec(),
        // The reciprocal is rounded, and truncations round.
        PlanOp::Rescale { divisor } => {
            let error = divisor.division(codec).error(divisor.value());
            x.iter().map(|&x| x.wider(x.largest() * error + 4.0 * unit)).collect()
        }
        PlanOp::Add => {
            let sum = |channel: usize| {
                let terms = || inputs.iter().filter_map(move |input| input.get(channel));
                Interval { low: terms().map(|x| x.low).sum(), high: terms().map(|x| x.high).sum() }.wider(0.0)
            };
            (0..x.len()).map(sum).collect()
        }
        PlanOp::Concat => inputs.concat(),
        // In plans of training only, which bounds say nothing about.
        PlanOp::BatchNorm2d { .. } => return None,
        PlanOp::Reshape { shape } => {
            let channels = shape.first().copied().unwrap_or(1).max(1);
            let elements = shape.iter().product::<usize>().max(1);
            let (own, new) = (elements / x.len().max(1), elements / channels);
            // Of each new channel, the old ones that its elements come from.
            let hull = |channel: usize| Interval::hull(x.get(channel * new / own..=((channel + 1) * new - 1) / own)?);
            (0..channels).map(hull).collect::<Option<_>>()?
        }
    })
}

/// The values at both ends and where the slope changes in between: slopes are rounded to half a unit, and truncation adds up
/// to one.
fn piecewise_linear(function: &PiecewiseLinear, x: Interval, unit: f64) -> Interval {
    let inside = function.places().filter(|&at| at > x.low && at < x.high);
    let values = inside.chain([x.low, x.high]).map(|at| function.value(at));
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    let places = (1 + function.kinks()) as f64;
    Interval { low, high }.wider((places * (x.largest() + function.farthest()) / 2.0 + 2.0) * unit)
}

/// A function of rows of this width, each element of which lies in x.
fn of_rows(function: RowFunction, x: Interval, width: Option<usize>, unit: f64) -> Interval {
    let width = width.unwrap_or(1) as f64;
    match function {
        RowFunction::Softmax => Interval { low: 0.0, high: 1.0 }.wider((2.0 + width / 8.0) * unit),
        RowFunction::LogSoftmax => {
            Interval { low: x.low - x.high - width.ln(), high: 0.0 }.wider((2.0 + width / 8.0) * unit)
        }
        // The squares of a row add up to its width at most.
        RowFunction::LayerNorm { .. } | RowFunction::RmsNorm { .. } => {
            let most = width.sqrt() * (1.0 + 1e-4);
            Interval { low: -most, high: most }.wider(1e-3)
        }
    }
}

/// A product of two values, truncated.
fn product(x: Interval, y: Interval, unit: f64) -> Interval {
    let ends = [x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high];
    let [low, high] =
        [ends.iter().copied().fold(f64::INFINITY, f64::min), ends.iter().copied().fold(-f64::INFINITY, f64::max)];
    Interval { low, high }.wider(2.0 * unit)
}

/// A quotient of two values, with the error that the protocol states.
fn quotient(x: Interval, y: Interval, unit: f64) -> Interval {
    let inverse = 1.0 / y.smallest().max(unit);
    let low = if x.low >= 0.0 && y.low > 0.0 { x.low / y.high } else { -x.largest() * inverse };
    let error = x.largest() * (unit / 16.0 + inverse * 2f64.powi(-25));
    Interval { low, high: x.largest() * inverse }.wider(2.0 * unit + error)
}

/// A convolution or a fully connected layer: for each output channel, bias + Σ w·x over its weights, each x anywhere in its
/// channel's interval. Weights are rounded to half a unit, and the truncation adds up to one.
fn linear(step: &Step, weights: &Weights, x: &[Interval], groups: usize, unit: f64) -> Option<Vec<Interval>> {
    let weight = weights.get(&format!("{}.weight", step.name))?;
    products(weight, weights.get(&format!("{}.bias", step.name)), x, groups, unit)
}

/// The weights of a transposed convolution as those of a convolution, `[out, in / groups, kernel height, kernel width]`.
fn transposed(weight: &ArrayD<f32>, groups: usize) -> Option<ArrayD<f32>> {
    let &[channels, out, height, width] = weight.shape() else { return None };
    let (channels, weight) = (channels / groups.max(1), weight.as_standard_layout());
    let grouped = weight.to_shape([groups, channels, out, height, width]).ok()?;
    let swapped = grouped.permuted_axes([0, 2, 1, 3, 4]).as_standard_layout().into_owned();
    Some(swapped.into_shape_with_order([groups * out, channels, height, width]).ok()?.into_dyn())
}

/// The same of any weights `[out, in / groups, …]`.
fn products(
    weight: &ArrayD<f32>,
    bias: Option<&ArrayD<f32>>,
    x: &[Interval],
    groups: usize,
    unit: f64,
) -> Option<Vec<Interval>> {
    let out = weight.shape().first().copied()?;
    let channel = |index: usize| {
        let filter = weight.index_axis(Axis(0), index);
        let taps = filter.len() / filter.shape().first().copied().unwrap_or(1).max(1);
        let first = index / (out / groups.max(1)).max(1) * filter.shape().first().copied().unwrap_or(0);
        let bias =
            bias.and_then(|bias: &ArrayD<f32>| bias.get([index].as_slice())).map_or(0.0, |&bias| f64::from(bias));
        let mut sum = Interval { low: bias, high: bias };
        let (mut rounding, mut size) = (0.0, bias.abs());
        for (weights, x) in filter.axis_iter(Axis(0)).zip(x.get(first..)?) {
            let (mut plus, mut minus) = (0.0, 0.0);
            for &w in weights {
                *(if w > 0.0 { &mut plus } else { &mut minus }) += f64::from(w);
            }
            sum.low += plus * x.low + minus * x.high;
            sum.high += plus * x.high + minus * x.low;
            rounding += taps as f64 * x.largest() * unit / 2.0;
            size += (plus - minus) * x.largest();
        }
        // The last term is for the rounding of this very sum.
        Some(sum.wider(rounding + 2.0 * unit + 1e-12 * size))
    };
    (0..out).into_par_iter().map(channel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Graph, LowerOptions, Op, fold, lower, plaintext, zoo};
    use crate::ring::Ring;

    /// What stands between two values and their product, and other shapes of the same elements.
    fn piecewise() -> Graph {
        let mut net = Graph::builder("piecewise", [2, 4, 6]);
        let function = |function: Result<PiecewiseLinear, _>| Op::PiecewiseLinear(function.unwrap());
        let x = net.conv("conv", net.input(), 6, crate::device::PoolGeometry::square(3, 1, 1)).unwrap();
        let leaky = net.add("leaky", function(PiecewiseLinear::leaky_relu(-0.3)), &[x]).unwrap();
        let clip = net.add("clip", function(PiecewiseLinear::clip(-0.5, 0.25)), &[x]).unwrap();
        let product = net.add("product", Op::Mul, &[leaky, clip]).unwrap();
        let shape = net.add("shape", Op::Reshape { shape: vec![4, 6, 6] }, &[product]).unwrap();
        let large = net.add("large", Op::Upsample { factors: [1, 2] }, &[shape]).unwrap();
        let other = net.add("other", function(Ok(PiecewiseLinear::absolute())), &[large]).unwrap();
        net.finish(other).unwrap()
    }

    /// Against plaintext evaluation of random images within the range.
    #[test]
    fn no_value_leaves_its_interval() {
        for net in [zoo::by_name("lenet").unwrap(), zoo::by_name("lenet-maxpool").unwrap(), piecewise()] {
            let name = net.name();
            let (graph, weights) = fold::fold_weights(&net, &Weights::seeded(&net, 3)).unwrap();
            let plan = lower::lower(&graph, LowerOptions::default(), Ring::Z64).unwrap();
            let input = InputRange::new(-1.0, 2.0).unwrap();
            let all = intervals(&plan, &weights, input, FixedPoint::default()).unwrap();
            let shape = [&[2][..], &net.input_shape()].concat();
            let mut state = 1u64;
            let images = ArrayD::from_shape_simple_fn(shape, || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 40) as f64 / (1u64 << 24) as f64 * 3.0 - 1.0
            });
            let graph = lower::reordered(&graph, LowerOptions::default()).unwrap();
            plaintext::evaluate_with(&graph, &weights, &images.view(), |node, value| {
                let Some(step) = plan.steps().iter().find(|step| step.name == node) else { return };
                for (channel, values) in value.axis_iter(Axis(1)).enumerate() {
                    let interval = all[step.output.index()][channel];
                    assert!(values.iter().all(|&x| x >= interval.low && x <= interval.high), "{name} {node}");
                }
            })
            .unwrap();
            let last = all[plan.output().index()].iter().map(|x| x.largest()).fold(0.0, f64::max);
            assert!(last.is_finite() && last < 1e6, "{last}");
        }
    }
}
