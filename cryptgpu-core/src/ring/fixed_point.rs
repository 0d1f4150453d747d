//! Reals as ring elements: x is stored as round(x · 2^f) in two's complement.

use super::{Ring, Withheld};
use ndarray::{ArrayBase, ArrayD, Data, Dimension};

/// Fraction bits in the ring of 64 bits when nobody asks for others: the paper's 20.
pub const DEFAULT_FRACTION_BITS: u32 = 20;

/// The same in the ring of 32 bits.
const DEFAULT_FRACTION_BITS_32: u32 = 12;

impl Ring {
    /// Values stay below 2^this in absolute value: 62 or 30, the range in which a truncation is exact.
    pub const fn range_bits(self) -> u32 {
        self.bits() - 2
    }

    /// The most bits that a truncation takes off: 61 or 29.
    pub const fn max_cut(self) -> u32 {
        self.bits() - 3
    }

    /// Fraction bits when nobody asks for others: 20 or 12.
    pub const fn default_fraction_bits(self) -> u32 {
        match self {
            Ring::Z32 => DEFAULT_FRACTION_BITS_32,
            Ring::Z64 => DEFAULT_FRACTION_BITS,
        }
    }

    /// The largest number of fraction bits, 30 or 14: the square of one must fit below 2^[`Ring::range_bits`].
    pub const fn max_fraction_bits(self) -> u32 {
        (self.range_bits() - 1) / 2
    }
}

/// What can go wrong when reals become ring elements. No message shows a value: [`RingError::value`] gives it to its
/// owner.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RingError {
    /// A value that does not fit.
    #[error(
        "cannot encode the value at index {index}: with {fraction_bits} fraction bits values must stay below 2^{} in absolute value; use fewer fraction bits or scale the data",
        i64::from(ring.range_bits()) - i64::from(*fraction_bits)
    )]
    OutOfRange {
        /// The value, which is its owner's and in no message.
        value: Withheld<f64>,
        /// Where it stands, in row-major order.
        index: usize,
        /// The codec's fraction bits.
        fraction_bits: u32,
        /// The codec's ring.
        ring: Ring,
    },
    /// NaN or an infinity.
    #[error(
        "cannot encode the value at index {index}: it is NaN or an infinity, and only finite numbers have a place in the ring"
    )]
    NotFinite {
        /// The value, which is its owner's and in no message.
        value: Withheld<f64>,
        /// Where it stands, in row-major order.
        index: usize,
    },
    /// A scale that leaves no room.
    #[error("{bits} fraction bits are too many: at most {max} leave room for a product in the ring of {ring}")]
    FractionBits {
        /// What was asked for.
        bits: u32,
        /// The largest possible.
        max: u32,
        /// The ring.
        ring: Ring,
    },
}

impl RingError {
    /// The value that could not be encoded, for its owner: no message shows it.
    pub fn value(&self) -> Option<f64> {
        match self {
            RingError::OutOfRange { value, .. } | RingError::NotFinite { value, .. } => Some(*value.for_owner()),
            RingError::FractionBits { .. } => None,
        }
    }
}

/// The fixed-point codec with `f` fraction bits in a ring of l bits: encode(x) = round(x · 2^f) mod 2^l, half away from zero.
///
/// The absolute error of a round trip is at most 2^−(f+1). Values must stay below 2^(l−2−f) in absolute value, and products
/// below 2^(l−2−2f) before their truncation: 4,194,304 at 20 fraction bits in 64 bits, 64 at 12 in 32.
///
/// ```
/// use cryptgpu_core::ring::{FixedPoint, Ring};
/// let codec = FixedPoint::new(20)?;
/// assert_eq!(codec.encode(-1.5)?, (-1.5f64 * 1048576.0) as i64 as u64);
/// assert_eq!(codec.decode(codec.encode(0.25)?), 0.25);
/// assert!(codec.encode(1e13).is_err());
///
/// // Elements of 32 bits.
/// let short = FixedPoint::in_ring(Ring::Z32, 12)?;
/// assert_eq!((short.encode(-1.5)?, short.decode(0xffff_e800)), (0xffff_e800, -1.5));
/// # Ok::<(), cryptgpu_core::ring::RingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "FixedPointData")]
pub struct FixedPoint {
    fraction_bits: u32,
    ring: Ring,
}

/// A codec as it is written, before it is checked.
#[derive(serde::Deserialize)]
#[serde(rename = "FixedPoint")]
struct FixedPointData {
    fraction_bits: u32,
    #[serde(default)]
    ring: Ring,
}

impl TryFrom<FixedPointData> for FixedPoint {
    type Error = RingError;

    fn try_from(data: FixedPointData) -> Result<Self, RingError> {
        FixedPoint::in_ring(data.ring, data.fraction_bits)
    }
}

impl Default for FixedPoint {
    fn default() -> Self {
        Ring::default().into()
    }
}

/// The codec of a ring with as many fraction bits as are usual there: [`Ring::default_fraction_bits`].
impl From<Ring> for FixedPoint {
    fn from(ring: Ring) -> Self {
        FixedPoint { fraction_bits: ring.default_fraction_bits(), ring }
    }
}

impl FixedPoint {
    /// A codec with `fraction_bits` in the ring of 64 bits.
    ///
    /// # Errors
    /// [`RingError::FractionBits`] above 30.
    pub fn new(fraction_bits: u32) -> Result<Self, RingError> {
        FixedPoint::in_ring(Ring::Z64, fraction_bits)
    }

    /// A codec with `fraction_bits` in a ring.
    ///
    /// # Errors
    /// [`RingError::FractionBits`] above [`Ring::max_fraction_bits`].
    pub fn in_ring(ring: Ring, fraction_bits: u32) -> Result<Self, RingError> {
        let max = ring.max_fraction_bits();
        if fraction_bits > max {
            return Err(RingError::FractionBits { bits: fraction_bits, max, ring });
        }
        Ok(FixedPoint { fraction_bits, ring })
    }

    /// The ring that its elements are of.
    pub fn ring(&self) -> Ring {
        self.ring
    }

    /// The number of fraction bits.
    pub fn fraction_bits(&self) -> u32 {
        self.fraction_bits
    }

    /// One value.
    ///
    /// # Errors
    /// [`RingError::OutOfRange`] or [`RingError::NotFinite`].
    pub fn encode(&self, value: f64) -> Result<u64, RingError> {
        self.encode_scaled(value, 0, 0)
    }

    /// `value` with `extra` more fraction bits than the codec's, for biases that are added to a
    /// product before its truncation; `index` is where it stands, for the error.
    ///
    /// # Errors
    /// As [`FixedPoint::encode`].
    pub fn encode_scaled(&self, value: f64, extra: u32, index: usize) -> Result<u64, RingError> {
        if !value.is_finite() {
            return Err(RingError::NotFinite { value: Withheld::new(value), index });
        }
        let bits = self.fraction_bits + extra;
        let units = nearest(value * power_of_two(bits));
        if units.unsigned_abs() >= 1 << self.ring.range_bits() {
            let (value, ring) = (Withheld::new(value), self.ring);
            return Err(RingError::OutOfRange { value, index, fraction_bits: bits, ring });
        }
        Ok(self.ring.residue(units.cast_unsigned()))
    }

    /// A public constant to multiply with, c = m·2^−d: m as a ring element, and the bits d that a truncation takes off its
    /// products. m has f significant bits however small c is: d = f + s with s = max(0, −⌊log₂|c|⌋ − 1), so that m·2^−d is
    /// c but for 2^−f of it. d is at most 61 (29 in 32 bits), beyond which c times anything is below the codec's unit.
    ///
    /// ```
    /// use cryptgpu_core::ring::FixedPoint;
    /// let codec = FixedPoint::new(20)?;
    /// assert_eq!(codec.encode_constant(0.75)?, (3 << 18, 20));
    /// assert_eq!(codec.encode_constant(0.75 / 1024.0)?, (3 << 18, 30));
    /// # Ok::<(), cryptgpu_core::ring::RingError>(())
    /// ```
    ///
    /// # Errors
    /// As [`FixedPoint::encode`].
    pub fn encode_constant(&self, c: f64) -> Result<(u64, u32), RingError> {
        let f = self.fraction_bits;
        // −⌊log₂|c|⌋ − 1 additional bits, told by comparisons of powers of two, which are exact.
        let small = |extra: u32| c != 0.0 && c.abs() * 2f64.powi(extra as i32) < 0.5;
        let most = self.ring.max_cut() - f;
        let extra = (0..most).find(|&extra| !small(extra)).unwrap_or(most);
        let extra = if c == 0.0 { 0 } else { extra };
        Ok((self.encode_scaled(c, extra, 0)?, f + extra))
    }

    /// The real that a ring element stands for.
    pub fn decode(&self, word: u64) -> f64 {
        self.ring.signed(word) as f64 / 2f64.powi(self.fraction_bits as i32)
    }

    /// Every element of `array`, in the same shape.
    ///
    /// # Errors
    /// As [`FixedPoint::encode`], naming the first element that fails.
    pub fn encode_array<S, D>(&self, array: &ArrayBase<S, D>) -> Result<ArrayD<u64>, RingError>
    where
        S: Data,
        S::Elem: Copy + Into<f64>,
        D: Dimension,
    {
        let mut out = ArrayD::zeros(array.shape());
        for (index, (word, &value)) in out.iter_mut().zip(array.iter()).enumerate() {
            *word = self.encode_scaled(value.into(), 0, index)?;
        }
        Ok(out)
    }

    /// Every element of `array`, in the same shape.
    pub fn decode_array<S, D>(&self, array: &ArrayBase<S, D>) -> ArrayD<f64>
    where
        S: Data<Elem = u64>,
        D: Dimension,
    {
        array.mapv(|word| self.decode(word)).into_dyn()
    }
}

/// 2^bits, of bits < 1,024. (A call of the library's power for each weight of a network takes longer than the rest of its encoding.)
fn power_of_two(bits: u32) -> f64 {
    f64::from_bits(u64::from(1023 + bits) << 52)
}

/// The nearest integer, the one farther from zero of two, as [`f64::round`] has it, which is a call too where no instruction is known
/// to be there; the nearest of an `i64` beyond those.
fn nearest(x: f64) -> i64 {
    let whole = x as i64;
    let rest = x - whole as f64;
    whole.saturating_add(i64::from(rest >= 0.5)).saturating_sub(i64::from(rest <= -0.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip_is_within_half_a_unit(part in -0.99f64..0.99, bits in 0u32..=30, short in any::<bool>()) {
            let ring = if short { Ring::Z32 } else { Ring::Z64 };
            let bits = bits.min(ring.max_fraction_bits());
            let value = part * 2f64.powi(30.min(ring.range_bits() as i32 - bits as i32));
            let codec = FixedPoint::in_ring(ring, bits).unwrap();
            let word = codec.encode(value).unwrap();
            prop_assert!(word == ring.residue(word));
            prop_assert!((codec.decode(word) - value).abs() <= 2f64.powi(-(bits as i32) - 1) + value.abs() * 1e-15);
        }
    }

    #[test]
    fn the_range_is_checked_and_named() {
        let codec = FixedPoint::default();
        assert!(codec.encode(2f64.powi(42) - 1.0).is_ok());
        let error = codec.encode_array(&array![0.0, 5e12, 1.0]).unwrap_err();
        let (value, ring) = (Withheld::new(5e12), Ring::Z64);
        assert_eq!(error, RingError::OutOfRange { value, index: 1, fraction_bits: 20, ring });
        assert!(error.to_string().contains("the value at index 1") && error.to_string().contains("2^42"), "{error}");
        assert!(!format!("{error} {error:?}").contains("000000") && error.value() == Some(5e12), "{error:?}");
        assert!(matches!(codec.encode(f64::NAN), Err(RingError::NotFinite { .. })));
        assert!(matches!(codec.encode(f64::NEG_INFINITY), Err(RingError::NotFinite { .. })));
        assert!(FixedPoint::new(31).is_err());
    }

    #[test]
    fn in_32_bits_the_range_is_that_of_32_bits() {
        let codec = FixedPoint::from(Ring::Z32);
        assert_eq!((codec.fraction_bits(), codec.ring()), (12, Ring::Z32));
        assert_eq!(codec.encode(2f64.powi(18) - 1.0).unwrap(), (1 << 30) - (1 << 12));
        let error = codec.encode(-2f64.powi(18)).unwrap_err().to_string();
        assert!(error.contains("with 12 fraction bits") && error.contains("2^18"), "{error}");
        // A bias at the scale of a product.
        assert!(codec.encode_scaled(63.9, 12, 0).is_ok());
        assert!(codec.encode_scaled(64.0, 12, 0).unwrap_err().to_string().contains("2^6"));
        assert_eq!(codec.encode_constant(0.75 / 1024.0).unwrap(), (3 << 10, 22));
        assert_eq!(codec.encode_constant(1e-9).unwrap().1, 29);
        let error = FixedPoint::in_ring(Ring::Z32, 15).unwrap_err().to_string();
        assert!(error.contains("at most 14") && error.contains("ring of 32 bits"), "{error}");
    }

    #[test]
    fn what_is_read_passes_the_same_checks_as_what_is_made() {
        let codec = FixedPoint::new(30).unwrap();
        let (json, bytes) = (serde_json::to_string(&codec).unwrap(), postcard::to_stdvec(&codec).unwrap());
        assert_eq!(json, r#"{"fraction_bits":30,"ring":"Z64"}"#);
        assert_eq!(serde_json::from_str::<FixedPoint>(&json).unwrap(), codec);
        let older = r#"{"fraction_bits":30}"#;
        assert_eq!(
            serde_json::from_str::<FixedPoint>(older).unwrap(),
            codec,
            "as it was written before there were two rings"
        );
        assert!(serde_json::from_str::<FixedPoint>(&json.replace("Z64", "Z32")).is_err());
        assert_eq!(postcard::from_bytes::<FixedPoint>(&bytes).unwrap(), codec);
        for bits in [31, 62, 63, 64, u32::MAX] {
            let error = serde_json::from_str::<FixedPoint>(&json.replace("30", &bits.to_string())).unwrap_err();
            assert!(error.to_string().contains("at most 30"), "{error}");
            assert!(postcard::from_bytes::<FixedPoint>(&postcard::to_stdvec(&(bits, Ring::Z64)).unwrap()).is_err());
        }
    }

    #[test]
    fn arrays_keep_their_shape() {
        let codec = FixedPoint::new(12).unwrap();
        let words = codec.encode_array(&array![[1.5f32, -2.0], [0.0, 0.25]]).unwrap();
        assert_eq!(words.shape(), [2, 2]);
        assert_eq!(codec.decode_array(&words), array![[1.5, -2.0], [0.0, 0.25]].into_dyn());
    }

    #[test]
    fn the_nearest_integer_is_that_of_the_library() {
        for bits in [0, 1, 20, 62] {
            assert_eq!(power_of_two(bits), 2f64.powi(bits as i32));
        }
        let below = |x: f64| f64::from_bits(x.to_bits() - 1);
        for x in [0.0, 0.5, below(0.5), 1.5, 2.5, below(2.5), 4503599627370495.5, 2f64.powi(62), 1e18] {
            for x in [x, -x] {
                assert_eq!(nearest(x), x.round() as i64, "{x}");
            }
        }
        assert_eq!([nearest(1e300), nearest(-1e300)], [i64::MAX, i64::MIN]);
    }
}
