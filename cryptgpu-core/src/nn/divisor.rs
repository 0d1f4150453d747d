//! Divisions by public numbers that a plan leaves to the next truncation, in bits and factors. What runs with them stands
//! in `private/`.

use super::plan::PlanOp;

/// s = ⌈log₂ divisor⌉: how many bits more the truncation after a pending divisor takes.
pub(super) fn extra_bits(divisor: u64) -> u32 {
    divisor.max(1).next_power_of_two().trailing_zeros()
}

/// Bits that the truncation of a step takes, f being the codec's fraction bits.
pub(super) fn cut(op: &PlanOp, fraction_bits: u32) -> u32 {
    match op {
        PlanOp::Conv2d { divisor, .. } | PlanOp::ConvTranspose2d { divisor, .. } | PlanOp::Linear { divisor, .. } => {
            fraction_bits + extra_bits(*divisor)
        }
        PlanOp::Rescale { divisor } => reciprocal(*divisor, fraction_bits).1,
        PlanOp::PiecewiseLinear(function) => function.cut(fraction_bits),
        PlanOp::Mul | PlanOp::MatMul => fraction_bits,
        _ => 0,
    }
}

/// A public factor and a truncation that divide by `divisor`: (1, log₂ divisor) for a power of two, otherwise
/// (round(2^d / divisor), d) with d = f + ⌈log₂ divisor⌉, whose relative error is below 2^−f.
pub(super) fn reciprocal(divisor: u64, fraction_bits: u32) -> (u64, u32) {
    let extra = extra_bits(divisor);
    if divisor.is_power_of_two() {
        return (1, extra);
    }
    let bits = fraction_bits + extra;
    let factor = (1u128 << bits).saturating_add(u128::from(divisor) / 2) / u128::from(divisor.max(1));
    (u64::try_from(factor).unwrap_or(u64::MAX), bits)
}

/// A public factor as c/2^d with at most `bits` significant bits in c, as odd as possible: (c, d). It is the factor but for
/// 2^−bits of it. Made of the bits of the number alone, so that all parties get the same on whatever machine. (0, 0) for what
/// is not positive, not normal, or so large that d would be negative.
pub(super) fn factor(value: f64, bits: u32) -> (u64, u32) {
    if !value.is_normal() || value < 0.0 {
        return (0, 0);
    }
    // value = mantissa · 2^exponent with 53 bits in the mantissa.
    let mantissa = (value.to_bits() & ((1 << 52) - 1)) | (1 << 52);
    let exponent = ((value.to_bits() >> 52) & 0x7ff) as i64 - 1075;
    let drop = 53 - bits.clamp(1, 53);
    let rounded = (mantissa + ((1u64 << drop) >> 1)) >> drop;
    let even = rounded.trailing_zeros();
    let (odd, exponent) = (rounded >> even, exponent + i64::from(drop + even));
    match (u32::try_from(exponent), u32::try_from(-exponent)) {
        (_, Ok(d)) => (odd, d),
        (Ok(up), _) if up < odd.leading_zeros() => (odd << up, 0),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_have_as_many_bits_as_are_asked_for() {
        for (value, bits, expected) in [
            (0.5, 8, (1, 1)),
            (1.0 / 128.0, 1, (1, 7)),
            (0.75, 2, (3, 2)),
            (6.0, 8, (6, 0)),
            (0.1, 4, (13, 7)),
            (0.0, 8, (0, 0)),
        ] {
            assert_eq!(factor(value, bits), expected, "{value} to {bits} bits");
        }
        for (value, bits) in [(0.1 / 128.0, 8), (3.0e-9, 5), (0.999, 12), (1.0 / 3.0, 20)] {
            let (c, d) = factor(value, bits);
            assert!(c < 1 << bits && (c as f64 / 2f64.powi(d as i32) / value - 1.0).abs() < 2f64.powi(-(bits as i32)));
        }
    }
}
