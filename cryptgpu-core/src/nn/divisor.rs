//! Divisions by public numbers that a plan leaves to the next truncation, in bits and factors. What runs with them stands
//! in `private/`.

use super::lower::PlanOp;

/// s = ⌈log₂ divisor⌉: how many bits more the truncation after a pending divisor takes.
pub(super) fn extra_bits(divisor: u64) -> u32 {
    divisor.max(1).next_power_of_two().trailing_zeros()
}

/// Bits that the truncation of a step takes, f being the codec's fraction bits.
pub(super) fn cut(op: &PlanOp, fraction_bits: u32) -> u32 {
    match op {
        PlanOp::Conv2d { divisor, .. } | PlanOp::Linear { divisor, .. } => fraction_bits + extra_bits(*divisor),
        PlanOp::Rescale { divisor } => reciprocal(*divisor, fraction_bits).1,
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
