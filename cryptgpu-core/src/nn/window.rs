//! The window of each comparison: which bits it must look at when the settings name a narrow [`SignWindow`], and which
//! settings no network can be evaluated with. All of it follows from the plan, which is public; no weight enters here.

use super::divisor::cut;
use super::error::{Remedy, alternatives};
use super::plan::{PlanOp, Step};
use super::training::batch_norm::short;
use super::training::{Loss, TrainingPlan};
use super::{NnError, Plan};
use crate::mpc::cost::window_in;
use crate::mpc::{EXP_FRACTION_BITS, Settings, SignWindow};
use crate::ring::{FixedPoint, Ring};
use std::fmt::Display;

/// Truncation is exact for products below 2^62, in the ring of 64 bits.
pub(super) const PRODUCT_BITS: u32 = 62;

/// The bound that a window sets to the values of a network, as the network computes them: 2^(low + width − 1 − f) in
/// absolute value.
pub fn value_bound(window: SignWindow, codec: FixedPoint) -> f64 {
    let window = window_in(codec.ring(), window);
    2f64.powi((window.low() + window.width()) as i32 - 1 - codec.fraction_bits() as i32)
}

/// The window that a step's comparisons look at, in place of the settings' window.
///
/// The settings' window is exact while the values *of the network* are below [`value_bound`]. What a comparison sees can
/// be larger: the sum of an average pool that was carried on is its `divisor` times the average, so the window moves up by
/// ⌈log₂ divisor⌉ bits; a max-pool compares differences, 1 bit, and puts a value below all others where there is padding,
/// 1 bit more; a ReLU6 compares x − 6 too, and a piecewise linear function x less the places where its slope changes. The width stays, and with it bytes and rounds. Positive values
/// below 2^bits units in the last place may then count as negative, so that one comparison can be wrong by less than
/// that: by two units of an average, by four of a maximum. A window that ends at the ring's top bit, as the default, stays
/// as it is.
///
/// # Errors
/// [`NnError::Window`] when the window would have to move beyond the top of the ring.
pub fn of_step(plan: &Plan, step: &Step, settings: &Settings) -> Result<SignWindow, NnError> {
    let bits = settings.codec.ring().bits();
    let window = window_in(settings.codec.ring(), settings.window);
    let top = window.low() + window.width();
    let more = bits_more(plan, step, settings);
    if top == bits || more == 0 {
        return Ok(window);
    }
    let moved = SignWindow::new(window.low() + more, window.width());
    moved.filter(|moved| moved.low() + moved.width() <= bits).ok_or_else(|| NnError::Window {
        node: step.name.clone(),
        low: window.low(),
        width: window.width(),
        over: top + more - bits,
    })
}

/// Bits by which what a step compares can be larger than the network's values.
fn bits_more(plan: &Plan, step: &Step, settings: &Settings) -> u32 {
    let pending = step.inputs.iter().map(|&input| plan.divisor(input).extra_bits()).max().unwrap_or(0);
    match &step.op {
        PlanOp::Relu => pending,
        // Differences.
        PlanOp::Rows(function) if function.compares() => pending + 1,
        PlanOp::MaxPool { window } => pending + if window.padding == [0; 4] { 1 } else { 2 },
        PlanOp::Relu6 => pending + shifted(settings, 6.0),
        PlanOp::PiecewiseLinear(function) if function.kinks() > 0 => pending + shifted(settings, function.farthest()),
        PlanOp::Smooth(function) => pending + shifted(settings, function.farthest()),
        _ => 0,
    }
}

/// Bits by which x − at is larger than x: |x − at| < bound + |at|.
fn shifted(settings: &Settings, at: f64) -> u32 {
    let bound = value_bound(settings.window, settings.codec);
    ((bound + at) / bound).log2().ceil() as u32
}

/// Refuses settings that no network can be evaluated with: a window that the ring does not have, does not hold 1.0, or takes it for
/// negative.
///
/// # Errors
/// [`NnError::Settings`] says what to change.
pub fn check_settings(settings: &Settings) -> Result<(), NnError> {
    let ring = settings.codec.ring();
    settings.check_window().map_err(|why| NnError::Settings { what: format!("the window of comparisons: {why}") })?;
    let (f, window) = (settings.codec.fraction_bits(), window_in(ring, settings.window));
    let (low, width) = (window.low(), window.width());
    let wrong = if low > f {
        Some(format!("1.0 stands at bit {f} and would count as negative: begin the window at bit {f} or lower"))
    } else if low + width <= f + 1 {
        Some(format!("1.0 does not fit: the window must end above bit {}, or take fewer fraction bits", f + 1))
    } else {
        None
    };
    match wrong {
        Some(what) => Err(NnError::Settings {
            what: format!("a window of {width} bits from bit {low} with {f} fraction bits: {what}"),
        }),
        None => Ok(()),
    }
}

/// Refuses settings that this plan cannot be evaluated with, whatever its weights and inputs: those of
/// [`check_settings`], a comparison whose window leaves the ring, and a truncation before which not even 1.0 fits.
///
/// # Errors
/// [`NnError::Settings`], [`NnError::Window`] or [`NnError::NoRoom`], which names the layer.
pub fn check_plan(plan: &Plan, settings: &Settings) -> Result<(), NnError> {
    let Some((step, cut)) = without_room(plan, settings)? else { return Ok(()) };
    let (ring, fraction_bits) = (settings.codec.ring(), settings.codec.fraction_bits());
    let with = |settings: Settings| matches!(without_room(plan, &settings), Ok(None));
    let coarser = |f| FixedPoint::in_ring(ring, f).is_ok_and(|codec| with(Settings { codec, ..*settings }));
    let fewer = Remedy::fraction_bits((1..fraction_bits).rev().filter(|&f| coarser(f)));
    let long = (ring == Ring::Z32).then_some(Remedy::Ring(Ring::Z64));
    let (node, remedies) = (step.name.clone(), fewer.into_iter().chain(long).collect());
    Err(NnError::NoRoom { node, fraction_bits, ring, cut, remedies })
}

/// The first step before whose truncation not even 1.0 fits, and what that cuts; other errors as [`check_plan`].
fn without_room<'a>(plan: &'a Plan, settings: &Settings) -> Result<Option<(&'a Step, u32)>, NnError> {
    check_settings(settings)?;
    let (codec, ring) = (settings.codec, settings.codec.ring());
    let f = codec.fraction_bits();
    for step in plan.steps() {
        let wrong = |what: &dyn Display| NnError::Settings { what: format!("{}: {what}", step.name) };
        let window = of_step(plan, step, settings)?;
        settings.check_range.check_window(ring, window).map_err(|what| wrong(&what))?;
        match &step.op {
            PlanOp::PiecewiseLinear(function) => function.check(codec).map_err(|what| wrong(&what))?,
            PlanOp::Smooth(function) => function.check(codec).map_err(|what| wrong(&what))?,
            PlanOp::Rows(function) => function.check(codec).map_err(|what| wrong(&what))?,
            PlanOp::Div if f > 26 => return Err(wrong(&format!("a quotient with {f} fraction bits: at most 26"))),
            _ => {}
        }
        let cut = cut(&step.op, codec);
        if f + cut >= ring.range_bits() {
            return Ok(Some((step, cut)));
        }
    }
    Ok(None)
}

/// Refuses settings that a network cannot be trained with: those of [`check_plan`], numbers of the optimiser that are 0 in this codec, more
/// fraction bits than the loss has room for, and in the ring of 32 bits fraction bits with
/// which the gradients of a batch normalisation that is trained have no room, or too few are left of its elements.
///
/// # Errors
/// As [`check_plan`]; [`NnError::Settings`] names the layer.
pub fn check_training(plan: &TrainingPlan, settings: &Settings) -> Result<(), NnError> {
    let (ring, f) = (settings.codec.ring(), settings.codec.fraction_bits());
    plan.check_rate(plan.train().rate(0), settings.codec)?;
    if plan.train().loss == Loss::CrossEntropy && f > EXP_FRACTION_BITS {
        let what = format!("training: cross-entropy with {f} fraction bits: at most {EXP_FRACTION_BITS}");
        return Err(NnError::Settings { what });
    }
    if ring == Ring::Z32 {
        let frozen = plan.normalised_by_running(true);
        let trained = plan.normalised_by_running(false).into_iter().find(|index| !frozen.contains(index));
        if let Some(step) = trained.and_then(|index| plan.forward().steps().get(index)) {
            let fits = |f: u32| 2 * f + short::GUARD < ring.range_bits();
            let wrong = if !fits(f) {
                let fewer = Remedy::fraction_bits((short::FEWEST..f).rev().filter(|&f| fits(f)));
                let fewer = alternatives(fewer.as_slice());
                Some(format!("not even 1.0 fits before its gradient is cut: use {fewer}"))
            } else if f < short::FEWEST {
                Some(format!("too few are left for its squares: use {} or more", short::FEWEST))
            } else {
                None
            };
            if let Some(wrong) = wrong {
                let node = &step.name;
                let what = format!("training in the ring of {ring}: {node}: with {f} fraction bits {wrong}");
                return Err(NnError::Settings { what });
            }
        }
    }
    check_plan(plan.forward(), settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpc::CheckRange;
    use crate::nn::training::{Adam, Train};
    use crate::nn::{LowerOptions, fold, lower::lower, zoo};

    fn settings(fraction_bits: u32, low: u32, width: u32) -> Settings {
        let (codec, window) = (FixedPoint::new(fraction_bits).unwrap(), SignWindow::new(low, width).unwrap());
        Settings { codec, window, ..Settings::default() }
    }

    fn plan(name: &str) -> Plan {
        lower(&fold::fold_graph(&zoo::by_name(name).unwrap()).unwrap(), LowerOptions::default(), Ring::Z64).unwrap()
    }

    #[test]
    fn windows_move_by_what_a_step_compares_and_the_default_stays() {
        let moved = |network: &str, name: &str, settings: &Settings| {
            let plan = plan(network);
            let step = plan.steps().iter().find(|step| step.name == name).unwrap();
            of_step(&plan, step, settings).map(|window| (window.low(), window.width()))
        };
        let narrow = settings(20, 0, 32);
        assert_eq!(moved("lenet-relu-after-pool", "relu1", &narrow).unwrap(), (2, 32), "a sum of four");
        assert_eq!(moved("lenet-maxpool", "pool1", &narrow).unwrap(), (1, 32), "differences");
        assert_eq!(moved("lenet-maxpool", "relu1", &narrow).unwrap(), (0, 32));
        assert_eq!(moved("resnet50-maxpool", "maxpool", &narrow).unwrap(), (2, 32), "differences and padding");
        assert_eq!(moved("lenet-maxpool", "pool1", &settings(20, 32, 32)).unwrap(), (32, 32), "ends at the top bit");
        assert_eq!(moved("lenet-maxpool", "pool1", &Settings::default()).unwrap(), (0, 64));
        let error = moved("lenet-relu-after-pool", "relu1", &settings(30, 31, 32)).unwrap_err();
        assert!(
            error.to_string().starts_with("relu1: ") && matches!(error, NnError::Window { over: 1, .. }),
            "{error}"
        );
    }

    #[test]
    fn settings_that_hold_no_value_are_refused() {
        for (f, low, width) in [(20, 0, 16), (20, 21, 32), (15, 0, 16)] {
            let error = check_settings(&settings(f, low, width)).unwrap_err();
            assert!(matches!(error, NnError::Settings { .. }), "{error}");
        }
        for (f, low, width) in [(20, 0, 32), (20, 20, 32), (14, 0, 16), (30, 0, 64)] {
            check_settings(&settings(f, low, width)).unwrap();
        }
        // In the ring of 32 bits products of numbers with 12 fraction bits fit, and with 14 none behind an average does.
        let short = |f| Settings { codec: FixedPoint::in_ring(Ring::Z32, f).unwrap(), ..Settings::default() };
        check_plan(&plan("lenet"), &short(12)).unwrap();
        let error = check_plan(&plan("lenet"), &short(14)).unwrap_err();
        assert!(matches!(error, NnError::NoRoom { fraction_bits: 14, .. }), "{error}");
        assert!(error.to_string().contains("use 13 fraction bits or fewer, or the ring of 64 bits"), "{error}");
        // Training: what has no room there is named.
        let training = |f, network: &str, train: &Train| {
            let plan = TrainingPlan::new(&zoo::by_name(network).unwrap(), train, Ring::Z32).unwrap();
            check_training(&plan, &short(f)).map_err(|error| error.to_string())
        };
        assert_eq!(training(12, "lenet", &Train::default()), Ok(()));
        assert_eq!(training(12, "lenet", &Train { optimizer: Adam::new(0.001), ..Train::default() }), Ok(()));
        assert_eq!(training(13, "resnet18", &Train::default()), Ok(()));
        let norm = training(14, "resnet8-cifar10", &Train::default()).unwrap_err();
        assert!(norm.contains("ring of 32 bits: bn1:") && norm.contains("use 6 to 13 fraction bits"), "{norm}");
        let norm = training(5, "resnet18", &Train::default()).unwrap_err();
        assert!(norm.contains("ring of 32 bits: bn1:") && norm.contains("6 or more"), "{norm}");
        let frozen = zoo::by_name("resnet18").unwrap().parameters().into_iter().filter_map(|parameter| {
            let (node, role) = parameter.name.rsplit_once('.')?;
            (role == "running_mean").then(|| node.to_owned())
        });
        assert_eq!(training(5, "resnet18", &Train { frozen: frozen.collect(), ..Train::default() }), Ok(()));
        // Comparisons there look at all 32 bits, or at 16 that move up where there is room.
        let moved = |name: &str, low| {
            let (plan, window) = (plan("lenet-maxpool"), SignWindow::new(low, 16).unwrap());
            let step = plan.steps().iter().find(|step| step.op.kind() == name).unwrap();
            of_step(&plan, step, &Settings { window, ..short(12) }).map(|window| (window.low(), window.width()))
        };
        assert_eq!(moved("max_pool", 4).unwrap(), (5, 16));
        assert_eq!(moved("max_pool", 16).unwrap(), (16, 16), "it ends at the top");
        assert_eq!(value_bound(SignWindow::default(), short(12).codec), 2f64.powi(19));
        // An average of four before a layer: its truncation takes 2 bits more than the codec's 30.
        let error = check_plan(&plan("lenet"), &settings(30, 0, 64)).unwrap_err();
        assert!(error.to_string().contains("conv2: ") && matches!(error, NnError::NoRoom { cut: 32, .. }), "{error}");
        assert!(error.to_string().ends_with("use 29 fraction bits or fewer"), "{error}");
        check_plan(&plan("lenet"), &settings(29, 0, 64)).unwrap();
        // A window that moves up leaves out lower bits, of which the check of ranges cannot tell what they decide.
        let checked = |low, width| Settings { check_range: CheckRange::Run, ..settings(20, low, width) };
        let error = check_plan(&plan("lenet-maxpool"), &checked(0, 32)).unwrap_err();
        assert!(error.to_string().contains("pool1: ") && error.to_string().contains("all 64 bits"), "{error}");
        check_plan(&plan("lenet"), &checked(0, 32)).unwrap();
        check_plan(&plan("lenet-maxpool"), &checked(0, 64)).unwrap();
    }
}
