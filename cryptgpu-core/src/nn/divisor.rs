//! Divisions by public numbers that a plan leaves to the next truncation, in bits and factors. What runs with them stands
//! in `private/`.

use super::plan::PlanOp;
use crate::mpc::Division;
use crate::ring::FixedPoint;

/// A public number that a value of a plan still has to be divided by: the area of the averages behind it, but for the bits
/// that have been cut from their sums, area / 2^cut. In the ring the value stands so many times as large as in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divisor {
    area: u64,
    cut: u32,
}

impl Divisor {
    /// Nothing is pending.
    pub const ONE: Divisor = Divisor { area: 1, cut: 0 };

    /// A whole number; 1 for 0.
    pub fn of(area: u64) -> Self {
        Divisor { area: area.max(1), cut: 0 }
    }

    /// So many times as large, as the sum over an area is.
    pub(super) fn times(self, area: u64) -> Self {
        Divisor { area: self.area.saturating_mul(area.max(1)), ..self }
    }

    /// What is pending once the sum has been cut by [`extra_bits`](Self::extra_bits): above 1/2 and at most 1.
    pub(super) fn after_cut(self) -> Self {
        let whole = Divisor { cut: self.cut + self.extra_bits(), ..self };
        if self.area.is_power_of_two() { Divisor::ONE } else { whole }
    }

    /// 2^s, which that cut divides by.
    pub(super) fn bits(self) -> Self {
        Divisor::of(1u64.checked_shl(self.extra_bits()).unwrap_or(u64::MAX))
    }

    /// s = ⌈log₂ divisor⌉: how many bits more the truncation of the products of such a value takes.
    pub fn extra_bits(self) -> u32 {
        self.log2_area() - self.cut
    }

    /// 2^s / divisor, in [1, 2): what the owner multiplies weights by.
    pub fn factor(self) -> f64 {
        2f64.powi(self.log2_area() as i32) / self.area as f64
    }

    /// How what stands so many times as large is divided at once.
    pub(super) fn division(self, codec: FixedPoint) -> Division {
        Division::by(self.area, self.cut, codec)
    }

    /// As a number.
    pub fn value(self) -> f64 {
        self.area as f64 / 2f64.powi(self.cut as i32)
    }

    fn log2_area(self) -> u32 {
        self.area.checked_next_power_of_two().map_or(64, u64::trailing_zeros)
    }
}

/// Bits that the truncation of a step takes; of a division, by which what it cuts stands above its result at most.
pub(super) fn cut(op: &PlanOp, codec: FixedPoint) -> u32 {
    match op {
        PlanOp::Rescale { divisor } => divisor.division(codec).height(),
        PlanOp::PiecewiseLinear(function) => function.cut(codec.fraction_bits()),
        _ => product_cut(op, codec.fraction_bits()),
    }
}

/// Bits that the truncation of a product takes, f being the codec's fraction bits; 0 of what is none.
pub(super) fn product_cut(op: &PlanOp, fraction_bits: u32) -> u32 {
    match op {
        PlanOp::Conv2d { divisor, .. } | PlanOp::ConvTranspose2d { divisor, .. } | PlanOp::Linear { divisor, .. } => {
            fraction_bits + divisor.extra_bits()
        }
        PlanOp::Mul | PlanOp::MatMul => fraction_bits,
        _ => 0,
    }
}

/// Significant bits of a training's rate in the ring of 32 bits, where each is 3/8 bytes a weight: right within 0.2 %.
pub(super) const STEP_BITS: u32 = 8;

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
    fn what_a_cut_leaves_goes_on() {
        let sum = Divisor::of(49);
        let left = sum.after_cut();
        assert_eq!((sum.extra_bits(), sum.factor(), sum.bits()), (6, 64.0 / 49.0, Divisor::of(64)));
        assert_eq!((left.extra_bits(), left.factor(), left.value()), (0, 64.0 / 49.0, 49.0 / 64.0));
        assert_eq!((left.times(4).extra_bits(), left.times(4).factor()), (2, 64.0 / 49.0));
        assert_eq!((Divisor::of(16).after_cut(), left.times(1)), (Divisor::ONE, left));
        // Its reciprocal, should it be taken after all.
        for codec in [FixedPoint::default(), crate::ring::Ring::Z32.into()] {
            let error = left.times(4).division(codec).error(4.0 * 49.0 / 64.0);
            assert!(error <= 2f64.powi(-(codec.fraction_bits() as i32)), "{error}");
        }
        assert_eq!((Divisor::of(0), Divisor::of(u64::MAX).times(9).extra_bits()), (Divisor::ONE, 64));
    }

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
