//! The range of an argument in octaves, and what brings a number in that range between 1 and 2.

use super::{RANGE_BITS, WORKING, power};
use crate::mpc::{MpcError, Party, Rep, SignWindow};
use crate::ring::FixedPoint;

/// The range in which an argument is known to lie: 2^low ≤ x < 2^high. One comparison of 23.4 bytes (49 where numbers have
/// more than 31 bits) and the 24 bytes of its bit as a ring element are needed for each octave, so that a range that
/// fits makes a function cheaper and more accurate.
///
/// What lies below the range, zero and negative numbers among it, counts as 2^low. What lies above it gives a wrong value, as
/// any overflow does.
///
/// ```
/// use cryptgpu_core::mpc::Octaves;
/// use cryptgpu_core::ring::FixedPoint;
///
/// // All that is positive and has up to 31 bits: 2^−20 to 2^11.
/// assert_eq!(Octaves::of(FixedPoint::new(20)?), Octaves::new(-20, 11));
/// # Ok::<(), cryptgpu_core::ring::RingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Octaves {
    low: i32,
    high: i32,
}

/// A number that is split: x = m·2^e.
pub(super) struct Split {
    /// A row for each octave: 1 where x is not below it.
    pub steps: Rep,
    /// u = 2m − 3 at the working scale, −1 to 1.
    pub u: Rep,
    /// The exponents of the octaves, of x as an integer: `low` to `high`, both included.
    pub bits: BitRange,
}

/// Octaves as positions of the highest bit of an integer, `low` to `high`, both included.
#[derive(Clone, Copy)]
pub(super) struct BitRange {
    pub low: i32,
    pub high: i32,
}

impl Octaves {
    /// 2^low ≤ x < 2^high.
    pub const fn new(low: i32, high: i32) -> Self {
        Octaves { low, high }
    }

    /// All positive numbers of up to 31 bits, 30 in the ring of 32 bits: 2^−f ≤ x < 2^(31−f) with f fraction bits.
    pub fn of(codec: FixedPoint) -> Self {
        let f = codec.fraction_bits() as i32;
        Octaves { low: -f, high: codec.ring().range_bits().min(31) as i32 - f }
    }

    /// The lower end of the range, as an exponent of two.
    pub fn low(&self) -> i32 {
        self.low
    }

    /// The upper end of the range, as an exponent of two.
    pub fn high(&self) -> i32 {
        self.high
    }

    /// The same for integers that stand for numbers with so many fraction bits.
    pub(super) fn bits(&self, fraction_bits: u32) -> BitRange {
        let at = |exponent: i32| exponent.saturating_add(fraction_bits as i32);
        BitRange { low: at(self.low), high: at(self.high).saturating_sub(1) }
    }

    /// The same, if the ring has room for it.
    fn checked(&self, operation: &'static str, fraction_bits: u32) -> Result<BitRange, MpcError> {
        let bits = self.bits(fraction_bits);
        if bits.low >= 0 && bits.low <= bits.high && bits.high < RANGE_BITS as i32 - 1 && bits.count() <= 40 {
            return Ok(bits);
        }
        let (low, high, lowest, highest) =
            (self.low, self.high, -(fraction_bits as i32), RANGE_BITS as i32 - 1 - fraction_bits as i32);
        let detail = format!(
            "no numbers from 2^{low} to 2^{high} with {fraction_bits} fraction bits: name 1 to 40 octaves between \
             2^{lowest} and 2^{highest}"
        );
        Err(MpcError::argument(operation, detail))
    }
}

impl BitRange {
    /// How many octaves.
    pub fn count(self) -> usize {
        (self.high - self.low + 1).max(0) as usize
    }

    /// The highest less the lowest exponent.
    pub fn span(self) -> u32 {
        self.high.abs_diff(self.low)
    }

    /// What a mantissa is computed with more than the working scale, to be cut.
    pub fn excess(self) -> u32 {
        (self.high.max(0) as u32).saturating_sub(WORKING)
    }

    /// The bits that comparisons with all octaves look at.
    pub fn window(self) -> SignWindow {
        let wanted = (self.high + 2).max(0) as u32;
        [16, 32]
            .into_iter()
            .filter(|&width| width >= wanted)
            .find_map(|width| SignWindow::new(0, width))
            .unwrap_or_default()
    }

    /// A value for what lies below all octaves, and one for each.
    pub fn values(self, below: u64, value: impl Fn(i32) -> u64) -> Vec<u64> {
        std::iter::once(below).chain((self.low..=self.high).map(value)).collect()
    }
}

/// 2^(half/2) at so many fraction bits, for whole and half exponents.
pub(super) fn half_power(half: i32, fraction_bits: u32) -> u64 {
    let root = if half.rem_euclid(2) == 1 { std::f64::consts::SQRT_2 } else { 1.0 };
    super::fixed(root * power(half.div_euclid(2)), fraction_bits)
}

impl Party {
    /// Splits x, a share with one axis and so many fraction bits.
    pub(super) fn split(
        &mut self,
        operation: &'static str,
        x: &Rep,
        fraction_bits: u32,
        octaves: Octaves,
    ) -> Result<Split, MpcError> {
        let bits = octaves.checked(operation, fraction_bits)?;
        let thresholds: Vec<u64> = (bits.low..=bits.high).map(|e| 1 << e).collect();
        // A number that was computed on the way, or one of a range that its window goes by.
        let steps = self.of_extended(false, |p| p.steps(x, &thresholds, bits.window()))?;
        // x·2^(top − e), with top the working scale or more; below the range zero, and 1 is added there.
        let top = bits.high.max(WORKING as i32);
        let to_top = self.weigh(&steps, &bits.values(0, |e| 1 << (top - e)))?;
        let mantissa = self.product(x, &to_top, None, bits.excess() as i32)?;
        let below = self.weigh(&steps, &bits.values(1 << WORKING, |_| 0))?;
        let u = mantissa.add(&below)?.mul_word(2).add_word(self.id(), (3u64 << WORKING).wrapping_neg());
        Ok(Split { steps, u, bits })
    }
}
