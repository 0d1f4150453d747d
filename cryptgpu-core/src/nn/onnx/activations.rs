//! Functions of each element within a network: what is a ReLU, or made of ReLUs, products and smooth functions.

use super::super::Op;
use super::attributes::Attributes;
use super::import::{Failure, Import};
use super::layers::{Kind, Value, by_channel};
use crate::mpc::{MpcError, PiecewiseLinear, SmoothFunction};

type Result<T> = std::result::Result<T, Failure>;

/// What a function is computed by, or why its numbers do not fit.
pub(super) fn made(function: std::result::Result<PiecewiseLinear, MpcError>) -> Result<Op> {
    function.map(Op::PiecewiseLinear).map_err(|error| error.to_string().into())
}

/// Relu, Clip, LeakyRelu, HardSigmoid, Abs, Neg.
pub(super) fn piecewise_linear<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let number = |name: &str, otherwise: f64| node.float(name).unwrap_or(otherwise);
    let op = match node.operator() {
        "Relu" => Op::Relu,
        "LeakyRelu" => made(PiecewiseLinear::leaky_relu(number("alpha", 0.01)))?,
        "HardSigmoid" => made(PiecewiseLinear::hard_sigmoid(number("alpha", 0.2), number("beta", 0.5)))?,
        "Abs" => Op::PiecewiseLinear(PiecewiseLinear::absolute()),
        "Neg" => made(PiecewiseLinear::line(-1.0, 0.0))?,
        _ => match clip_bounds(import, node)? {
            [low, high] if low == 0.0 && high == 6.0 => Op::Relu6,
            // Nothing that fits the ring is as large.
            [low, high] if low == 0.0 && high >= 1e30 => Op::Relu,
            [low, high] if low > high => return Err(format!("it clips to {low}…{high}, which is empty").into()),
            bounds => {
                let [low, high] = bounds.map(|bound| if bound.abs() >= 1e30 { bound * f64::INFINITY } else { bound });
                made(PiecewiseLinear::clip(low, high))?
            }
        },
    };
    let x = import.value(node, 0)?;
    of_each(import, node, op, &x)
}

/// A layer that computes a function of each element.
pub(super) fn of_each<'a>(import: &mut Import<'a>, node: Attributes<'a>, op: Op, x: &Value) -> Result<Value> {
    let layer = import.layer(node, None, Kind::Plain(op), &[x])?;
    Ok(x.with(layer.layer))
}

/// The ends of a Clip.
pub(super) fn clip_bounds<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<[f64; 2]> {
    let mut bounds = [f64::NEG_INFINITY, f64::INFINITY];
    for (place, name) in [(1, "min"), (2, "max")] {
        let given = match node.float(name) {
            Some(value) => Some(value),
            None if node.0.input.get(place).is_none_or(String::is_empty) => None,
            None => {
                let constant = import.constant(node, place)?.and_then(|constant| constant.scalar());
                Some(constant.ok_or_else(|| format!("its {name} is no constant number"))?)
            }
        };
        bounds[place - 1] = given.unwrap_or(bounds[place - 1]);
    }
    Ok(bounds)
}

/// HardSwish: x · HardSigmoid(x) with the slope 1/6 and the offset 1/2.
pub(super) fn hard_swish<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let factor = of_each(import, node, made(PiecewiseLinear::hard_sigmoid(1.0 / 6.0, 0.5))?, &x)?;
    product(import, node, &x, &factor)
}

/// Sigmoid, Tanh, Erf, and what is made of them: x · σ(αx) is Swish, x · (1 + erf(x/√2))/2 Gelu, γ·max(x, 0) + γα·(e^min(x/β, 0) − 1)
/// Elu, Selu and Celu, max(x, 0) + ln(1 + e^−|x|) Softplus.
pub(super) fn smooth<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let x = import.value(node, 0)?;
    let number = |name: &str, otherwise: f64| node.float(name).unwrap_or(otherwise);
    match node.operator() {
        "Sigmoid" => of_each(import, node, Op::Smooth(SmoothFunction::Sigmoid), &x),
        "Erf" => of_each(import, node, Op::Smooth(SmoothFunction::Erf), &x),
        // 2σ(2x) − 1.
        "Tanh" => scaled(import, node, &x, SmoothFunction::Sigmoid, 2.0, [2.0, -1.0]),
        "Swish" => {
            let factor = scaled(import, node, &x, SmoothFunction::Sigmoid, number("alpha", 1.0), [1.0, 0.0])?;
            product(import, node, &x, &factor)
        }
        "Gelu" if node.text("approximate").unwrap_or("none") == "none" => {
            let factor = scaled(import, node, &x, SmoothFunction::Erf, std::f64::consts::FRAC_1_SQRT_2, [0.5, 0.5])?;
            product(import, node, &x, &factor)
        }
        "Gelu" => {
            let factor = of_each(import, node, Op::Smooth(SmoothFunction::GeluTanhFactor), &x)?;
            product(import, node, &x, &factor)
        }
        "Mish" => {
            let factor = of_each(import, node, Op::Smooth(SmoothFunction::MishFactor), &x)?;
            product(import, node, &x, &factor)
        }
        "Softplus" => {
            let above = of_each(import, node, Op::Relu, &x)?;
            let twice = of_each(import, node, made(PiecewiseLinear::line(-2.0, 0.0))?, &above)?;
            // −|x| is x − 2·max(x, 0), which costs nothing more.
            let below = import.layer(node, None, Kind::Plain(Op::Add), &[&x, &twice])?;
            let below = of_each(import, node, Op::Smooth(SmoothFunction::SoftplusBelowZero), &below)?;
            let layer = import.layer(node, None, Kind::Plain(Op::Add), &[&above, &below])?;
            Ok(x.with(layer.layer))
        }
        operator => {
            let (alpha, gamma, beta) = match operator {
                "Selu" => (number("alpha", 1.673_263_192_176_818_8), number("gamma", 1.050_701_022_148_132_3), 1.0),
                "Celu" => (number("alpha", 1.0), 1.0, number("alpha", 1.0)),
                _ => (number("alpha", 1.0), 1.0, 1.0),
            };
            if beta <= 0.0 {
                return Err(format!("its alpha is {beta}: only what is above zero is computed").into());
            }
            let above = match gamma {
                1.0 => Op::Relu,
                _ => made(PiecewiseLinear::new(0.0, 0.0, vec![(0.0, gamma)]))?,
            };
            let above = of_each(import, node, above, &x)?;
            let ends = [gamma * alpha, -gamma * alpha];
            let below = scaled(import, node, &x, SmoothFunction::ExpBelowZero, 1.0 / beta, ends)?;
            let layer = import.layer(node, None, Kind::Plain(Op::Add), &[&above, &below])?;
            Ok(x.with(layer.layer))
        }
    }
}

/// slope · f(inner · x) + offset.
fn scaled<'a>(
    import: &mut Import<'a>,
    node: Attributes<'a>,
    x: &Value,
    function: SmoothFunction,
    inner: f64,
    [slope, offset]: [f64; 2],
) -> Result<Value> {
    let mut y = x.clone();
    if inner != 1.0 {
        y = of_each(import, node, made(PiecewiseLinear::line(inner, 0.0))?, &y)?;
    }
    y = of_each(import, node, Op::Smooth(function), &y)?;
    if [slope, offset] == [1.0, 0.0] {
        return Ok(y);
    }
    of_each(import, node, made(PiecewiseLinear::line(slope, offset))?, &y)
}

/// The product of two values of the same shape.
pub(super) fn product<'a>(import: &mut Import<'a>, node: Attributes<'a>, x: &Value, y: &Value) -> Result<Value> {
    let layer = import.layer(node, None, Kind::Plain(Op::Mul), &[x, y])?;
    Ok(x.with(layer.layer))
}

/// PRelu with a slope for each channel, or one for all: (1 − slope)·max(x, 0) + slope·x, as two products by channel with secret
/// factors, which are added before they are truncated.
pub(super) fn prelu<'a>(import: &mut Import<'a>, node: Attributes<'a>) -> Result<Value> {
    let slope = import.weights(node, 1)?;
    let x = import.value(node, 0)?;
    let shape = import.layers.shape(x.layer).to_vec();
    let channels = shape.first().copied().unwrap_or(1);
    if shape.len() == 2 {
        return Err("its slopes are those of rows: only of images and vectors they are computed".to_owned().into());
    }
    import.take(2 * channels)?;
    let (_, slopes) = super::elementwise::channels(import, &x, &slope)?;
    let image = match shape.len() {
        3 => x.clone(),
        _ => import.shaped(node, &x, vec![channels, 1, 1])?,
    };
    let rectified = of_each(import, node, Op::Relu, &image)?;
    let above = slopes.iter().map(|slope| 1.0 - slope).collect::<Vec<_>>();
    let above = scaled_by_channel(import, node, &above, &rectified)?;
    let all = scaled_by_channel(import, node, &slopes, &image)?;
    let sum = import.layer(node, None, Kind::Plain(Op::Add), &[&above, &all])?;
    match shape.len() {
        3 => Ok(x.with(sum.layer)),
        _ => Ok(x.with(import.shaped(node, &sum, shape)?.layer)),
    }
}

/// An image times a secret factor for each channel.
fn scaled_by_channel<'a>(import: &mut Import<'a>, node: Attributes<'a>, factors: &[f64], x: &Value) -> Result<Value> {
    let (op, weight) = by_channel(factors, false);
    import.layer(node, None, Kind::Product { op, weight, bias: None }, &[x])
}
