//! Division by a public number, of averages above all: a product with its reciprocal between cuts, in as many bits as the ring has room
//! for. It sends nothing itself.

use super::{MpcError, Party, Rep};
use crate::ring::{FixedPoint, Ring};

/// Quotients in the ring of 32 bits may be as large as 2 to the power of this.
const QUOTIENT_BITS: u32 = 6;

/// Bits to which the reciprocal is right there, where the codec has as many.
const PRECISE: u32 = 12;

/// x/c as cut(cut(x, first) · factor, last): factor/2^(first + last) is 1/c but for a part that [`Division::by`] bounds.
///
/// A power of two takes one cut and no factor, which is exact. In the ring of 64 bits there is one cut, by f + ⌈log₂ c⌉ bits. In that of
/// 32 the last one takes what leaves quotients of 64 their room, 12 bits at 12 fraction bits: 1/49 would have 7 significant bits of them,
/// and every average be 0.5 % too large. So what is divided is cut first, by as few bits as are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    /// ⌈log₂ c⌉.
    size: u32,
    first: u32,
    factor: u64,
    last: u32,
}

impl Division {
    /// By c = area/2^cut, 1 or more; an area of 0 counts as 1. The relative error of the reciprocal is at most 2^−min(f, 12); 2^−11 at 14
    /// fraction bits in the ring of 32 bits, and below 2^−f in that of 64.
    pub(crate) fn by(area: u64, cut: u32, codec: FixedPoint) -> Self {
        let area = u128::from(area.max(1));
        let size = area.next_power_of_two().trailing_zeros().saturating_sub(cut);
        if area.is_power_of_two() {
            return Division { size, first: 0, factor: 1, last: size };
        }
        let f = codec.fraction_bits();
        let (most, room, precise) = match codec.ring() {
            Ring::Z64 => (0, u32::MAX, f),
            Ring::Z32 => (size, codec.ring().range_bits().saturating_sub(f + QUOTIENT_BITS), f.min(PRECISE)),
        };
        let with = |first: u32| {
            let last = (f + size - first).min(room);
            let one = 1u128.checked_shl(first + last + cut).unwrap_or(u128::MAX);
            let factor = u64::try_from(one.saturating_add(area / 2) / area).unwrap_or(u64::MAX);
            Division { size, first, factor, last }
        };
        let number = area as f64 / 2f64.powi(cut as i32);
        let right = |division: &Division| division.error(number) <= 2f64.powi(-(precise as i32));
        (0..=most).map(with).find(right).unwrap_or_else(|| with(most))
    }

    /// The relative error of the reciprocal of `number`.
    pub(crate) fn error(self, number: f64) -> f64 {
        (self.factor as f64 * number / 2f64.powi((self.first + self.last) as i32) - 1.0).abs()
    }

    /// The cuts, in order.
    pub(crate) fn cuts(self) -> impl Iterator<Item = u32> {
        [self.first, self.last].into_iter().filter(|&cut| cut > 0)
    }

    /// Bits by which what is cut stands above the quotient, at most.
    pub(crate) fn height(self) -> u32 {
        if self.first > 0 { self.last.max(self.size) } else { self.last }
    }

    /// The first cut, the factor, and the last cut.
    pub(crate) fn parts(self) -> (u32, u64, u32) {
        (self.first, self.factor, self.last)
    }
}

impl Party {
    /// x divided by a public number. 8 + 3d/8 bytes an element and 2 rounds for each cut by d bits, 4 + 3d/8 in the ring of 32 bits. Off
    /// by the reciprocal's error, and by one unit, or by less than three after two cuts. Holds while the quotient is below
    /// 2^(62 − f − [`Division::height`]), with 30 for 62 there.
    pub(crate) fn divide(&mut self, x: &Rep, division: Division) -> Result<Rep, MpcError> {
        let (first, factor, last) = division.parts();
        if factor == 1 {
            return self.truncate(x, last);
        }
        let scaled = if first > 0 { self.truncate(x, first)?.mul_word(factor) } else { x.mul_word(factor) };
        self.truncate(&scaled, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reciprocal_is_as_precise_as_it_is_said_to_be() {
        for (ring, f, precise) in [
            (Ring::Z64, 20, 20),
            (Ring::Z64, 12, 12),
            (Ring::Z32, 8, 8),
            (Ring::Z32, 10, 10),
            (Ring::Z32, 12, 12),
            (Ring::Z32, 13, 12),
            (Ring::Z32, 14, 11),
        ] {
            let codec = FixedPoint::in_ring(ring, f).unwrap();
            for area in (1..2000).chain([3136, 12_544, 50_176, 65_025]) {
                let division = Division::by(area, 0, codec);
                let error = division.error(area as f64);
                assert!(error <= 2f64.powi(-precise), "{ring}, {f}: an average of {area} is off by {error:.1e}");
                assert!(division.factor < 1 << (f + 1), "{ring}, {f}: {division:?}");
                let room = 2f64.powi((ring.range_bits() - f - division.height()) as i32);
                assert!(
                    ring == Ring::Z64 || f > 12 || area > 4096 || room >= 64.0,
                    "{ring}, {f}: {area}, {division:?}"
                );
            }
        }
    }

    #[test]
    fn sums_are_cut_first_where_the_factor_needs_it() {
        let of = |area, f| Division::by(area, 0, FixedPoint::in_ring(Ring::Z32, f).unwrap()).parts();
        assert_eq!((of(9, 12), of(9, 10)), ((0, 455, 12), (0, 1820, 14)));
        assert_eq!((of(30, 12), of(49, 12), of(64, 12)), ((1, 273, 12), (5, 2675, 12), (0, 1, 6)));
        // What an average's cut has left, should it be divided after all.
        let left = Division::by(49, 6, FixedPoint::default());
        assert_eq!((left.first, left.last), (0, 20));
        assert!(left.error(49.0 / 64.0) < 2f64.powi(-20));
        assert_eq!(Division::by(9, 0, FixedPoint::default()).parts(), (0, 1_864_135, 24));
        assert_eq!(Division::by(0, 0, FixedPoint::default()).cuts().count(), 0);
    }
}
