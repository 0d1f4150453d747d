//! Whether a network's values fit the ring, found out in plaintext by the owner of the weights before anything is shared:
//! a private run cannot see that a value has wrapped around. A bound over all images of a range comes from the weights
//! alone; images that the owner has show what is usual. What is found here is the owner's: errors name layers and no
//! magnitude.

use super::divisor::cut;
use super::error::{Remedy, alternatives};
use super::lower::{lower, reordered};
use super::plan::{PlanOp, Step, ValueId};
use super::window;
use super::{Graph, LowerOptions, NnError, Plan, Weights, bound, fold, plaintext};
use crate::mpc::{Octaves, Settings, SignWindow};
use crate::ring::{FixedPoint, Ring, Withheld};
use ndarray::ArrayViewD;
use std::collections::HashMap;

pub use super::bound::InputRange;

/// Under which conditions values must fit: what inputs are, and how the network is evaluated. All of it is public.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditions {
    /// The range of the inputs.
    pub input: InputRange,
    /// How layers become steps.
    pub options: LowerOptions,
    /// Fraction bits and window.
    pub settings: Settings,
}

/// How much room a step has: a layer that truncates its result, a comparison of its inputs, or what makes the output.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Headroom {
    /// The node.
    pub node: String,
    /// What it computes, as [`PlanOp::kind`].
    pub kind: &'static str,
    /// Values of a smaller absolute value are computed rightly.
    pub limit: f64,
    /// No image of the declared range makes a larger value.
    pub bound: f64,
    /// Every image of the declared range makes a value as large as this.
    pub least: f64,
    /// The largest value on the images that were tried.
    pub seen: Option<f64>,
    /// The limit with a window of all bits: larger where a narrow one sets it, and not the ring.
    pub widest: f64,
    /// The numbers of fraction bits, up to the settings', at which neither an image that was tried nor every image is too large, the
    /// largest first.
    pub fits_at: Vec<u32>,
    /// Those at which every image of the range fits, by the bound as it is here.
    pub proved_at: Vec<u32>,
}

/// What is known about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every image of the range fits.
    Proved,
    /// No image that was tried was too large, and no bound excludes others that are.
    Open,
    /// An image that was tried was too large, or every image is.
    TooLarge,
}

impl Headroom {
    /// Bits between the bound and the limit: below 0 where nothing is proved.
    pub fn bits_by_bound(&self) -> f64 {
        bits(self.limit, self.bound)
    }

    /// Bits between the largest value on the images and the limit; none without images.
    pub fn bits_seen(&self) -> Option<f64> {
        self.seen.map(|seen| bits(self.limit, seen))
    }

    /// What is known.
    pub fn verdict(&self) -> Verdict {
        if self.least >= self.limit || self.seen.is_some_and(|seen| seen >= self.limit) {
            Verdict::TooLarge
        } else if self.bound < self.limit {
            Verdict::Proved
        } else {
            Verdict::Open
        }
    }
}

fn bits(limit: f64, value: f64) -> f64 {
    limit.log2() - value.max(f64::MIN_POSITIVE).log2()
}

/// The room of every step that truncates or compares, in the order of evaluation, for all images of a range, and for
/// `images` where there are some.
///
/// A result y of a convolution, a linear layer or an average stands in the ring as y · 2^(f + cut) before its truncation,
/// with cut = f + ⌈log₂ of the pending divisor⌉, and must stay below 2^62, or 2^30 in the ring of 32 bits; what a ReLU or a max-pool compares stands there
/// as divisor · x · 2^f and must stay within the step's window ([`window::of_step`]). The bound of a layer is the sum of |b| and
/// |w| · bound by output channel, with both ends of each input channel's interval carried on. It is often far above what
/// occurs in deep networks.
///
/// ```
/// use cryptgpu_core::nn::{Weights, range, zoo};
/// let net = zoo::by_name("lenet")?;
/// let image = ndarray::ArrayD::from_elem(vec![1, 1, 28, 28], 1.0);
/// let room = range::headroom(&net, &Weights::seeded(&net, 1), Some(image.view()), &Default::default())?;
/// assert_eq!(room[0].node, "conv1");
/// assert!(room.iter().all(|step| step.bits_seen().unwrap() > 10.0 && step.seen.unwrap() <= step.bound));
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
///
/// # Errors
/// As [`fold::fold_graph`] and [`window::check_plan`]; as [`plaintext::evaluate`] for the images.
pub fn headroom(
    graph: &Graph,
    weights: &Weights,
    images: Option<ArrayViewD<'_, f64>>,
    conditions: &Conditions,
) -> Result<Vec<Headroom>, NnError> {
    let Conditions { input, options, settings } = conditions;
    let (folded, weights) = fold::fold_weights(graph, weights)?;
    let plan = lower(&folded, *options, settings.codec.ring())?;
    window::check_plan(&plan, settings)?;
    let intervals = bound::intervals(&plan, &weights, *input, settings.codec)?;
    // Norms of rows without their means, and with them.
    let (mut seen, mut norms): (HashMap<String, f64>, HashMap<String, [f64; 2]>) = Default::default();
    if let Some(images) = &images {
        plaintext::evaluate_with(&*reordered(&folded, *options)?, &weights, images, |node, value| {
            seen.insert(node.to_owned(), value.iter().fold(0.0, |max, value| max.max(value.abs())));
            norms.insert(node.to_owned(), [true, false].map(|centred| largest_norm(value, centred)));
        })?;
    }
    // The node whose result a value is.
    let mut nodes = vec![folded.nodes().first().map_or("", |node| node.name.as_str()); plan.shapes().len()];
    for step in plan.steps() {
        nodes[step.output.index()] = &step.name;
    }
    let coarser = coarser(&plan, settings);
    let wide = Settings { window: SignWindow::default(), ..*settings };
    let mut room = Vec::new();
    for step in plan.steps() {
        let Some((limit, of)) = limit(&plan, step, settings)? else { continue };
        let widest = largest(&plan, step, &wide).unwrap_or(limit);
        let measured = |limit: f64, [bound, least]: [f64; 2], seen: Option<f64>| {
            let (node, kind) = (step.name.clone(), step.op.kind());
            let at = |fits: &dyn Fn(f64) -> bool| -> Vec<u32> {
                let fitting = coarser.iter().filter(|settings| largest(&plan, step, settings).is_some_and(fits));
                fitting.map(|settings| settings.codec.fraction_bits()).collect()
            };
            let fits_at = at(&|limit| least < limit && seen.is_none_or(|seen| seen < limit));
            let proved_at = at(&|limit| bound < limit);
            Headroom { node, kind, limit, bound, least, seen, widest, fits_at, proved_at }
        };
        let over = |measure: fn(bound::Interval) -> f64| {
            let channels = of.iter().flat_map(|value| &intervals[value.index()]);
            channels.map(|&interval| measure(interval)).fold(0.0, f64::max)
        };
        if let Some((limit, centred)) = limit_of_norm(step, settings) {
            // What is limited is the norm of a row, of which every element may be as large as the bound.
            let width = of.first().and_then(|&value| plan.shape(value).last()).copied().unwrap_or(1) as f64;
            let seen = of.first().and_then(|value| norms.get(nodes[value.index()]));
            let seen = seen.map(|[without, with]| if centred { *without } else { *with });
            room.push(measured(limit, [over(bound::Interval::largest) * width.sqrt(), 0.0], seen));
            continue;
        }
        let seen = of.iter().filter_map(|value| seen.get(nodes[value.index()])).copied().reduce(f64::max);
        let seen = images.is_some().then_some(seen.unwrap_or(0.0));
        room.push(measured(limit, [over(bound::Interval::largest), over(bound::Interval::smallest)], seen));
    }
    Ok(room)
}

/// These settings, and the same with fewer fraction bits, as far as the plan can be evaluated with them.
fn coarser(plan: &Plan, settings: &Settings) -> Vec<Settings> {
    let codec = |f| FixedPoint::in_ring(settings.codec.ring(), f).ok();
    let all = (1..=settings.codec.fraction_bits()).rev().filter_map(codec);
    let all = all.map(|codec| Settings { codec, ..*settings });
    all.filter(|settings| window::check_plan(plan, settings).is_ok()).collect()
}

/// What a step's values must stay below under these settings.
fn largest(plan: &Plan, step: &Step, settings: &Settings) -> Option<f64> {
    match limit_of_norm(step, settings) {
        Some((limit, _)) => Some(limit),
        None => Some(limit(plan, step, settings).ok()??.0),
    }
}

/// What the norms of the rows of a normalisation must stay below, and whether their means are left out before.
fn limit_of_norm(step: &Step, settings: &Settings) -> Option<(f64, bool)> {
    match &step.op {
        PlanOp::Rows(function) => Some((function.largest_norm(settings.codec)?, function.centres())),
        _ => None,
    }
}

/// The largest norm of a row along the last axis, without its mean where it is centred.
fn largest_norm(value: &ndarray::ArrayD<f64>, centred: bool) -> f64 {
    let norm = |row: ndarray::ArrayView1<'_, f64>| {
        let mean = if centred { row.sum() / row.len().max(1) as f64 } else { 0.0 };
        row.iter().map(|x| (x - mean).powi(2)).sum::<f64>().sqrt()
    };
    value.rows().into_iter().map(norm).fold(0.0, f64::max)
}

/// What the values that a step truncates or compares must stay below, as the network counts, and which these are. Nothing
/// for local steps in between: sums that wrap around are right again once a later result fits.
fn limit(plan: &Plan, step: &Step, settings: &Settings) -> Result<Option<(f64, Vec<ValueId>)>, NnError> {
    let (ring, f) = (settings.codec.ring(), settings.codec.fraction_bits() as i32);
    let window = window::of_step(plan, step, settings)?;
    let top = (window.low() + window.width()) as i32;
    let divisor = plan.largest_divisor(step);
    let compared = |bits: i32| 2f64.powi(bits - f) / divisor;
    let truncated = |cut: u32| Some((2f64.powi(ring.range_bits() as i32 - f - cut as i32), vec![step.output]));
    if let Some(cut) = plan.product_cut(step, settings.codec.fraction_bits()) {
        return Ok(truncated(cut));
    }
    Ok(match &step.op {
        PlanOp::Rescale { .. } => truncated(cut(&step.op, settings.codec)),
        PlanOp::Relu => Some((compared(top - 1), step.inputs.clone())),
        PlanOp::Relu6 => Some((compared(top - 1) - 6.0, step.inputs.clone())),
        PlanOp::PiecewiseLinear(function) => {
            let f = settings.codec.fraction_bits();
            let cut = function.cut(f);
            let seen = if function.kinks() > 0 {
                compared(top - 1) - function.farthest()
            } else {
                compared(ring.bits() as i32 - 1)
            };
            let result =
                if cut > 0 { 2f64.powi(ring.range_bits() as i32 - (f + cut) as i32) / divisor } else { f64::INFINITY };
            Some((seen.min(result), [&step.inputs[..], &[step.output]].concat()))
        }
        PlanOp::Smooth(function) => Some((compared(top - 1) - function.farthest(), step.inputs.clone())),
        // The divisor, and the quotient: it is computed in 64 bits, where it has four bits more before it is truncated, and must fit
        // the ring of the run. That ring's arguments are extended, which the numerator must fit too.
        PlanOp::Div => {
            let octaves = Octaves::of(settings.codec);
            let quotient = (Ring::Z64.range_bits() as i32 - 2 * f - 4).min(ring.range_bits() as i32 - f);
            let arguments = match ring {
                Ring::Z64 => step.inputs.get(1..).unwrap_or(&[]),
                Ring::Z32 => &step.inputs[..],
            };
            Some((2f64.powi(octaves.high().min(quotient)), [arguments, &[step.output]].concat()))
        }
        PlanOp::Rows(_) => Some((compared(top - 2), step.inputs.clone())),
        PlanOp::MaxPool { window } if window.padding == [0; 4] => Some((compared(top - 2), step.inputs.clone())),
        PlanOp::MaxPool { .. } => Some((compared(top - 3), step.inputs.clone())),
        _ if step.output == plan.output() => {
            Some((2f64.powi(ring.bits() as i32 - 1 - f) / plan.divisor(step.output).value(), vec![step.output]))
        }
        PlanOp::Conv2d { .. } | PlanOp::ConvTranspose2d { .. } | PlanOp::Linear { .. } | PlanOp::BatchNorm2d { .. } => {
            None
        }
        PlanOp::SumPool { .. }
        | PlanOp::Add
        | PlanOp::Bias
        | PlanOp::Mul
        | PlanOp::MatMul
        | PlanOp::Rearrange(_)
        | PlanOp::Concat
        | PlanOp::Upsample { .. }
        | PlanOp::Reshape { .. } => None,
    })
}

/// Refuses what certainly leaves the ring, and says what may.
///
/// Nothing is said where the bound shows that all images of the range fit. A bound that shows nothing refuses nothing: it
/// gives a sentence for the owner, with the bits that are missing by the bound, layer by layer, and the fraction bits at which none are.
///
/// # Errors
/// [`NnError::Range`] names the layer that has the least room, when an image that was tried, or every image of the range,
/// leaves the ring.
pub fn judge(room: &[Headroom], conditions: &Conditions) -> Result<Option<String>, NnError> {
    let codec = conditions.settings.codec;
    let least = |step: &&Headroom| step.bits_seen().unwrap_or(f64::INFINITY).min(bits(step.limit, step.least));
    let too_large = room.iter().filter(|step| step.verdict() == Verdict::TooLarge);
    if let Some(step) = too_large.min_by(|a, b| least(a).total_cmp(&least(b))) {
        let (fraction_bits, ring) = (codec.fraction_bits(), codec.ring());
        let largest = |step: &Headroom| step.least.max(step.seen.unwrap_or(0.0));
        let remedies = remedies(room, ring, |step| &step.fits_at, largest);
        let (node, room) = (step.node.clone(), Withheld::new(least(&step)));
        return Err(NnError::Range { node, fraction_bits, ring, remedies, room });
    }
    let mut open: Vec<&Headroom> = room.iter().filter(|step| step.verdict() == Verdict::Open).collect();
    if open.is_empty() {
        return Ok(None);
    }
    open.sort_by(|a, b| a.bits_by_bound().total_cmp(&b.bits_by_bound()));
    let layer = |step: &&Headroom| format!("{} ({:.0} bits)", step.node, (-step.bits_by_bound()).ceil().max(1.0));
    let mut text = format!(
        "no bound shows that all values fit the ring, for inputs from {}; by the bound these layers may lack room: {}",
        conditions.input,
        open.iter().take(LISTED).map(layer).collect::<Vec<_>>().join(", ")
    );
    if open.len() > LISTED {
        text += &format!(" and {} more", open.len() - LISTED);
    }
    let tightest = room.iter().filter_map(|step| Some((step.bits_seen()?, &step.node)));
    text += &match tightest.min_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((bits, node)) => {
            format!("; on the images that were tried the least room is {:.0} bits (of {node})", bits.floor())
        }
        None => "; images show what is usual (Network::calibrated_on, cryptgpu range)".to_owned(),
    };
    let remedies = remedies(room, codec.ring(), |step| &step.proved_at, |step| step.bound);
    text += ". To be sure ";
    if !remedies.is_empty() {
        text += &format!("use {}, or ", alternatives(&remedies));
    }
    Ok(Some(text + "declare a smaller range of inputs"))
}

/// What gives values as `large` as they are room in every step: numbers of fraction bits at which all fit, by what each step says of
/// itself, and a wider window or the ring of 64 bits where that is what sets a limit that does not hold.
fn remedies(
    room: &[Headroom],
    ring: Ring,
    fitting: impl Fn(&Headroom) -> &Vec<u32>,
    large: impl Fn(&Headroom) -> f64,
) -> Vec<Remedy> {
    let candidates = room.first().map_or(&[][..], |step| fitting(step));
    // One step may fit with more bits only, and another with fewer.
    let all = candidates.iter().filter(|bits| room.iter().all(|step| fitting(step).contains(bits)));
    let window = room.iter().any(|step| (step.limit..step.widest).contains(&large(step)));
    let long = ring == Ring::Z32 && room.iter().any(|step| large(step) >= step.widest);
    let others = [window.then_some(Remedy::Window), long.then_some(Remedy::Ring(Ring::Z64))];
    Remedy::fraction_bits(all.copied()).into_iter().chain(others.into_iter().flatten()).collect()
}

/// Layers that a warning lists.
const LISTED: usize = 4;

/// [`headroom`], then [`judge`].
///
/// # Errors
/// As these two.
pub fn check(
    graph: &Graph,
    weights: &Weights,
    images: Option<ArrayViewD<'_, f64>>,
    conditions: &Conditions,
) -> Result<Option<String>, NnError> {
    judge(&headroom(graph, weights, images, conditions)?, conditions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpc::Fidelity;
    use crate::nn::{Op, WeightSource, zoo};
    use crate::ring::FixedPoint;
    use ndarray::ArrayD;

    fn lenet(factor: f32) -> (Graph, Weights) {
        let net = zoo::by_name("lenet").unwrap();
        let mut scaled = Weights::new();
        for (name, tensor) in WeightSource::Bundled.load(&net).unwrap().iter() {
            scaled.insert(name, tensor * factor);
        }
        (net, scaled)
    }

    #[test]
    fn trained_lenet_is_proved_and_thirty_times_its_weights_are_not() {
        let (net, weights) = lenet(1.0);
        let conditions = Conditions::default();
        assert_eq!(check(&net, &weights, None, &conditions).unwrap(), None);
        let (net, weights) = lenet(30.0);
        let warning = check(&net, &weights, None, &conditions).unwrap().unwrap();
        assert!(warning.contains("fc2 (") && warning.contains("-3 to 3") && !warning.contains("conv1"), "{warning}");
        let digits = cryptgpu_datasets::bundled::mnist_test_1000().unwrap().batch(0..2).unwrap();
        let digits = digits.mapv(f64::from).into_dyn();
        let error = check(&net, &weights, Some(digits.view()), &conditions).unwrap_err();
        assert!(matches!(&error, NnError::Range { node, .. } if node == "fc2"), "{error}");
    }

    #[test]
    fn pixels_ten_thousand_times_too_large_are_warned_of_and_refused_by_name() {
        let (net, weights) = lenet(1.0);
        let conditions = Conditions { input: InputRange::new(0.0, 1e4).unwrap(), ..Conditions::default() };
        let warning = check(&net, &weights, None, &conditions).unwrap().unwrap();
        assert!(warning.contains("fc"), "{warning}");
        let digit = ArrayD::from_elem(vec![1, 1, 28, 28], 1e6);
        let error = check(&net, &weights, Some(digit.view()), &conditions).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("conv") || text.contains("fc"), "{text}");
        assert!(!text.contains("e6") && !text.contains("000000"), "no magnitude: {text}");
    }

    /// Whatever the truncation, the window and the ring: with the largest number that is named, and with the fewest, nothing is refused, or
    /// all is proved; with one more something is.
    #[test]
    fn fraction_bits_that_are_named_fit() {
        let digit = ArrayD::from_elem(vec![1, 1, 28, 28], 1.0);
        let networks = ["lenet-maxpool", "lenet-relu-after-pool"];
        let windows = [(0, 64), (0, 32), (4, 16), (9, 16), (0, 16)];
        let paper = LowerOptions { defer_averages: false, max_before_relu: false, sum_before_cut: false };
        let mut named = 0;
        for (network, (low, width)) in networks.into_iter().flat_map(|name| windows.map(|window| (name, window))) {
            let net = zoo::by_name(network).unwrap();
            for (ring, fidelity, factor) in [Ring::Z64, Ring::Z32].into_iter().flat_map(|ring| {
                let both = [Fidelity::Exact, Fidelity::Paper].into_iter();
                both.flat_map(move |fidelity| [1.0, 1e4].map(|factor| (ring, fidelity, factor)))
            }) {
                let mut weights = Weights::seeded(&net, 1);
                let tensor = weights.remove("fc1.weight").unwrap() * factor;
                weights.insert("fc1.weight", tensor);
                let window = SignWindow::new(low, width).unwrap();
                let with = |fraction_bits| {
                    let codec = FixedPoint::in_ring(ring, fraction_bits).unwrap();
                    let settings = Settings { codec, window, fidelity, ..Settings::default() };
                    let options = if fidelity == Fidelity::Paper { paper } else { LowerOptions::default() };
                    check(&net, &weights, Some(digit.view()), &Conditions { options, settings, ..Default::default() })
                };
                let many = if ring == Ring::Z64 { 20 } else { 14 };
                for bits in [12, many] {
                    let error = with(bits).err();
                    // Where not even 1.0 fits, the numbers are those at which it does.
                    let fits = |bits| match (with(bits), &error) {
                        (Ok(_), _) | (Err(NnError::Range { .. }), Some(NnError::NoRoom { .. })) => true,
                        (Err(_), _) => false,
                    };
                    let Some(NnError::Range { remedies, .. } | NnError::NoRoom { remedies, .. }) = &error else {
                        continue;
                    };
                    let what = format!("{network}, {window:?}, {ring}, {fidelity:?}, {factor}, {bits}: {remedies:?}");
                    let Some(&Remedy::FractionBits { least, most }) = remedies.first() else {
                        assert!(!(1..bits).any(fits), "{what}");
                        continue;
                    };
                    named += 1;
                    assert!((least..=most).all(fits), "{what}");
                    assert!(most < bits && !fits(most + 1), "{what}");
                    assert!(least == 1 || !fits(least - 1), "{what}");
                }
            }
        }
        assert!(named > 10, "{named}");
    }

    /// Where a narrow window is what values do not fit, another ring is no remedy.
    #[test]
    fn a_window_that_is_too_narrow_is_what_is_to_be_changed() {
        let (net, weights) = lenet(1.0);
        let digit = cryptgpu_datasets::bundled::mnist_test_1000().unwrap().batch(0..1).unwrap();
        let digit = digit.mapv(f64::from).into_dyn();
        let text = |ring, (low, width)| {
            let window = SignWindow::new(low, width).unwrap();
            let settings = Settings { codec: FixedPoint::in_ring(ring, 12).unwrap(), window, ..Settings::default() };
            let conditions = Conditions { settings, ..Conditions::default() };
            check(&net, &weights, Some(digit.view()), &conditions).unwrap_err().to_string()
        };
        for ring in [Ring::Z64, Ring::Z32] {
            let error = text(ring, (0, 16));
            assert!(error.contains("a wider window, or scale") && !error.contains("the ring of 64 bits,"), "{error}");
        }
        let error = text(Ring::Z32, (16, 32));
        assert!(error.contains("ends at bit 48") && error.contains("16:16"), "{error}");
    }

    #[test]
    fn what_overflows_on_every_image_is_refused_without_any() {
        let (net, mut weights) = lenet(1.0);
        weights.insert("fc2.bias", ArrayD::from_elem(vec![10], 5e6));
        let conditions = Conditions::default();
        let error = check(&net, &weights, None, &conditions).unwrap_err();
        assert!(matches!(&error, NnError::Range { node, .. } if node == "fc2"), "{error}");
        // A global average of 56×56 values of 2000, whose truncation cuts 32 bits.
        let mut mean = Graph::builder("mean", [1, 56, 56]);
        let pool = mean.add("pool", Op::GlobalAvgPool, &[mean.input()]).unwrap();
        let mean = mean.finish(pool).unwrap();
        let input = InputRange::new(1900.0, 2000.0).unwrap();
        let error = check(&mean, &Weights::new(), None, &Conditions { input, ..conditions }).unwrap_err();
        assert!(matches!(&error, NnError::Range { node, .. } if node == "pool"), "{error}");
        let input = InputRange::new(0.0, 1000.0).unwrap();
        assert_eq!(check(&mean, &Weights::new(), None, &Conditions { input, ..conditions }).unwrap(), None);
        let codec = FixedPoint::new(25).unwrap();
        let settings = Settings { codec, ..Settings::default() };
        let error = check(&mean, &Weights::new(), None, &Conditions { settings, ..conditions }).unwrap_err();
        assert!(matches!(error, NnError::NoRoom { .. }), "{error}");
    }
}
