//! Floating-point arithmetic, IEEE 754 with subnormals kept. Rounding to nearest for all; the directed modes for sums,
//! products and fused ones of doubles, by the sign of the exact error.

use super::{LaneFn, for_type, lane_fn};
use crate::ptx::Type;

/// A rounding mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// `.rn`: to nearest, ties to even.
    Nearest,
    /// `.rz`: to zero.
    Zero,
    /// `.rm`: down.
    Down,
    /// `.rp`: up.
    Up,
}

/// Moves `nearest`, the exact value plus an error of the sign of `-residue`, to what `mode` asks for. `residue` is the
/// exact value minus `nearest`.
#[inline(always)]
fn directed(mode: Rounding, nearest: f64, residue: f64) -> f64 {
    if residue == 0.0 || nearest.is_nan() || residue.is_nan() {
        return nearest;
    }
    match mode {
        Rounding::Nearest => nearest,
        Rounding::Down if residue < 0.0 => nearest.next_down(),
        Rounding::Up if residue > 0.0 => nearest.next_up(),
        Rounding::Zero if nearest > 0.0 && residue < 0.0 => nearest.next_down(),
        Rounding::Zero if nearest < 0.0 && residue > 0.0 => nearest.next_up(),
        _ => nearest,
    }
}

/// `a + b` rounded by `mode`. The sum's residue is exact (Knuth's two-sum), unless it overflows.
pub fn add(mode: Rounding, a: f64, b: f64) -> f64 {
    let sum = a + b;
    if sum == 0.0 && a != 0.0 && mode == Rounding::Down {
        return -0.0;
    }
    if sum.is_infinite() && a.is_finite() && b.is_finite() {
        return overflow(mode, sum);
    }
    let b_part = sum - a;
    let residue = (a - (sum - b_part)) + (b - b_part);
    directed(mode, sum, residue)
}

/// `a * b` rounded by `mode`; the residue is exact unless the product is subnormal.
pub fn mul(mode: Rounding, a: f64, b: f64) -> f64 {
    let product = a * b;
    if product.is_infinite() && a.is_finite() && b.is_finite() {
        return overflow(mode, product);
    }
    if !product.is_finite() {
        return product;
    }
    // Scaling keeps the residue of a product near the subnormals from vanishing.
    let scale = 2f64.powi(200);
    let residue = if product.abs() < 1e-200 {
        (a * scale).mul_add(b * scale, -(product * scale * scale))
    } else {
        a.mul_add(b, -product)
    };
    directed(mode, product, residue)
}

fn overflow(mode: Rounding, infinite: f64) -> f64 {
    let to_largest = match mode {
        Rounding::Nearest => false,
        Rounding::Zero => true,
        Rounding::Down => infinite > 0.0,
        Rounding::Up => infinite < 0.0,
    };
    if to_largest { f64::MAX.copysign(infinite) } else { infinite }
}

/// `add`, `sub`, `mul`, `div`, `min`, `max` to nearest.
pub fn binary(op: &str, ty: Type) -> Option<LaneFn> {
    macro_rules! on {
        (|$a:ident, $b:ident| $body:block) => { for_type!(ty, [F32: f32, F64: f64], T => lane_fn!(|$a: T, $b: T| -> T $body)) };
    }
    match op {
        "add" => on!(|a, b| { a + b }),
        "sub" => on!(|a, b| { a - b }),
        "mul" => on!(|a, b| { a * b }),
        "div" => on!(|a, b| { a / b }),
        // A NaN loses against a number, and -0 counts as less than +0.
        "min" => on!(|a, b| {
            if a.is_nan() {
                b
            } else if b.is_nan() || a < b || (a == b && a.is_sign_negative()) {
                a
            } else {
                b
            }
        }),
        "max" => on!(|a, b| {
            if a.is_nan() {
                b
            } else if b.is_nan() || a > b || (a == b && a.is_sign_positive()) {
                a
            } else {
                b
            }
        }),
        _ => None,
    }
}

/// `add`, `sub`, `mul` of doubles in a directed mode.
pub fn binary_directed(op: &str, mode: Rounding) -> Option<LaneFn> {
    macro_rules! on {
        ($mode:expr) => {
            match op {
                "add" => Some(lane_fn!(rare |a: f64, b: f64| -> f64 { add($mode, a, b) })),
                "sub" => Some(lane_fn!(rare |a: f64, b: f64| -> f64 { add($mode, a, -b) })),
                "mul" => Some(lane_fn!(rare |a: f64, b: f64| -> f64 { mul($mode, a, b) })),
                _ => None,
            }
        };
    }
    match mode {
        Rounding::Nearest => binary(op, Type::F64),
        Rounding::Zero => on!(Rounding::Zero),
        Rounding::Down => on!(Rounding::Down),
        Rounding::Up => on!(Rounding::Up),
    }
}

/// `fma` (and `mad` of floats) to nearest.
pub fn fused(ty: Type) -> Option<LaneFn> {
    for_type!(ty, [F32: f32, F64: f64], T => lane_fn!(|a: T, b: T, c: T| -> T { a.mul_add(b, c) }))
}

/// `neg`, `abs`, `sqrt`, `rcp`.
pub fn unary(op: &str, ty: Type) -> Option<LaneFn> {
    macro_rules! on {
        (|$a:ident| $body:block) => { for_type!(ty, [F32: f32, F64: f64], T => lane_fn!(rare |$a: T| -> T $body)) };
    }
    match op {
        "neg" => on!(|a| { -a }),
        "abs" => on!(|a| { a.abs() }),
        "sqrt" => on!(|a| { a.sqrt() }),
        "rcp" => on!(|a| { 1.0 / a }),
        _ => None,
    }
}
