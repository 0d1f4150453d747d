//! Piecewise linear functions with public ends and slopes: what LeakyRelu, HardSigmoid, Clip and the like are. A function is
//! a line and a ReLU for each place where its slope changes, so that all of them are one protocol.

use super::{MpcError, Party, Rep};
use crate::ring::{FixedPoint, RingError};

/// f(x) = slope·x + offset + Σₖ changeₖ·max(x − atₖ, 0), continuous and piecewise linear. All of its numbers are public.
///
/// ```
/// use cryptgpu_core::mpc::PiecewiseLinear;
/// let leaky = PiecewiseLinear::leaky_relu(0.125)?;
/// assert_eq!([-8.0, 0.0, 3.0].map(|x| leaky.value(x)), [-1.0, 0.0, 3.0]);
/// let clip = PiecewiseLinear::clip(-1.0, 2.0)?;
/// assert_eq!([-8.0, 0.5, 3.0].map(|x| clip.value(x)), [-1.0, 0.5, 2.0]);
/// assert!(PiecewiseLinear::clip(2.0, -1.0).is_err());
/// # Ok::<(), cryptgpu_core::mpc::MpcError>(())
/// ```
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct PiecewiseLinear {
    slope: f64,
    offset: f64,
    /// Places and changes of slope, ascending.
    kinks: Vec<(f64, f64)>,
}

/// As it travels; what arrives is checked.
type Parts = (f64, f64, Vec<(f64, f64)>);

/// More changes of slope than any activation has.
const MOST_KINKS: usize = 16;

/// What no number of a function is beyond: 2^30.
const LARGEST: f64 = (1u64 << 30) as f64;

/// A function as the ring computes it: (slope·x + offset + Σ changeₖ·max(x − atₖ, 0)) / 2^cut.
struct Factors {
    slope: u64,
    offset: u64,
    at: Vec<u64>,
    changes: Vec<u64>,
    cut: u32,
}

impl PiecewiseLinear {
    /// From the line left of all changes of slope, and the places and sizes of these, in ascending order.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for numbers that are not finite or beyond 2^30, places that do not ascend, more than 16 of them.
    pub fn new(slope: f64, offset: f64, kinks: Vec<(f64, f64)>) -> Result<Self, MpcError> {
        let fits = |value: f64| value.is_finite() && value.abs() <= LARGEST;
        let all = kinks.iter().all(|&(at, change)| fits(at) && fits(change));
        let wrong = if !(fits(slope) && fits(offset) && all) {
            Some("its numbers must lie between −2^30 and 2^30".to_owned())
        } else if !kinks.is_sorted_by(|a, b| a.0 < b.0) {
            Some("the places where its slope changes must ascend".to_owned())
        } else if kinks.len() > MOST_KINKS {
            Some(format!("its slope changes at {} places: at most {MOST_KINKS}", kinks.len()))
        } else {
            None
        };
        match wrong {
            Some(detail) => Err(MpcError::argument("piecewise linear function", detail)),
            None => Ok(PiecewiseLinear { slope, offset, kinks }),
        }
    }

    /// slope·x + offset.
    ///
    /// # Errors
    /// As [`PiecewiseLinear::new`].
    pub fn line(slope: f64, offset: f64) -> Result<Self, MpcError> {
        PiecewiseLinear::new(slope, offset, vec![])
    }

    /// x for x ≥ 0, and slope·x below.
    ///
    /// # Errors
    /// As [`PiecewiseLinear::new`].
    pub fn leaky_relu(slope: f64) -> Result<Self, MpcError> {
        PiecewiseLinear::new(slope, 0.0, vec![(0.0, 1.0 - slope)])
    }

    /// min(max(x, low), high); an end may be infinite.
    ///
    /// # Errors
    /// As [`PiecewiseLinear::new`], and for a low end that is not below the high one.
    pub fn clip(low: f64, high: f64) -> Result<Self, MpcError> {
        match (low == f64::NEG_INFINITY, high == f64::INFINITY) {
            (true, true) => PiecewiseLinear::line(1.0, 0.0),
            (true, false) => PiecewiseLinear::new(1.0, 0.0, vec![(high, -1.0)]),
            (false, true) => PiecewiseLinear::new(0.0, low, vec![(low, 1.0)]),
            (false, false) => PiecewiseLinear::new(0.0, low, vec![(low, 1.0), (high, -1.0)]),
        }
    }

    /// min(max(slope·x + offset, 0), 1) for a slope above zero.
    ///
    /// # Errors
    /// As [`PiecewiseLinear::new`], and for a slope that is not above zero.
    pub fn hard_sigmoid(slope: f64, offset: f64) -> Result<Self, MpcError> {
        if slope <= 0.0 {
            return Err(MpcError::argument("piecewise linear function", format!("a slope of {slope} does not rise")));
        }
        PiecewiseLinear::new(0.0, 0.0, vec![(-offset / slope, slope), ((1.0 - offset) / slope, -slope)])
    }

    /// |x|.
    pub fn absolute() -> Self {
        PiecewiseLinear { slope: -1.0, offset: 0.0, kinks: vec![(0.0, 2.0)] }
    }

    /// f(x), in the clear.
    pub fn value(&self, x: f64) -> f64 {
        let beyond = self.kinks.iter().map(|&(at, change)| change * (x - at).max(0.0));
        self.slope * x + self.offset + beyond.sum::<f64>()
    }

    /// How many comparisons an element takes.
    pub fn kinks(&self) -> usize {
        self.kinks.len()
    }

    /// The places where the slope changes.
    pub fn places(&self) -> impl Iterator<Item = f64> {
        self.kinks.iter().map(|&(at, _)| at)
    }

    /// The largest absolute value of these; 0 where there is none.
    pub fn farthest(&self) -> f64 {
        self.places().map(f64::abs).fold(0.0, f64::max)
    }

    /// Whether f(c·x) = c·f(x) for every c > 0.
    pub fn is_homogeneous(&self) -> bool {
        self.offset == 0.0 && self.places().all(|at| at == 0.0)
    }

    /// The bits that the truncation of a result takes, with so many in the codec: those of the slopes, rounded to the codec's
    /// unit, behind the binary point. None where all slopes are whole numbers.
    pub fn cut(&self, fraction_bits: u32) -> u32 {
        let slopes = self.kinks.iter().map(|&(_, change)| change).chain([self.slope]);
        let bits = slopes.map(|slope| fraction_bits.saturating_sub(units(slope, fraction_bits).trailing_zeros()));
        bits.max().unwrap_or(0)
    }

    fn factors(&self, codec: FixedPoint) -> Result<Factors, RingError> {
        let cut = self.cut(codec.fraction_bits());
        let slope = |slope: f64| {
            codec.encode(slope)?;
            Ok((units(slope, codec.fraction_bits()) >> (codec.fraction_bits() - cut)) as u64)
        };
        let changes = self.kinks.iter().map(|&(_, change)| slope(change)).collect::<Result<_, RingError>>()?;
        let at = self.places().map(|at| codec.encode(at)).collect::<Result<_, _>>()?;
        Ok(Factors { slope: slope(self.slope)?, offset: codec.encode_scaled(self.offset, cut, 0)?, at, changes, cut })
    }

    /// Refuses what the codec has no room for, before anything is sent.
    ///
    /// # Errors
    /// [`RingError`] for a number that does not fit.
    pub fn check(&self, codec: FixedPoint) -> Result<(), RingError> {
        self.factors(codec).map(drop)
    }
}

/// A number of at most 2^30 as a whole number of units of 2^−bits.
fn units(value: f64, bits: u32) -> i64 {
    (value * 2f64.powi(bits as i32)).round() as i64
}

impl TryFrom<Parts> for PiecewiseLinear {
    type Error = MpcError;

    fn try_from((slope, offset, kinks): Parts) -> Result<Self, MpcError> {
        PiecewiseLinear::new(slope, offset, kinks)
    }
}

impl From<PiecewiseLinear> for Parts {
    fn from(function: PiecewiseLinear) -> Self {
        (function.slope, function.offset, function.kinks)
    }
}

impl Party {
    /// A piecewise linear function with public numbers: a ReLU of x − at for each place where the slope changes, all at
    /// once, and one truncation of their sum.
    ///
    /// 86.8 bytes an element for each place, 8 rounds, 42.1 and 7 in the ring of 32 bits; with slopes that are no whole numbers 8 + 3d/8
    /// bytes, 4 + 3d/8 there, and 2 rounds more, d being the bits behind their binary point, f at most. Slopes are rounded to 2^−f, as
    /// weights are. The result is exact for whole slopes, and at most one unit too large for others, while |x| + |at| < 2^(l − 1 − f) in
    /// the ring of l bits, and |f(x)| < 2^(l − 2 − f − d) where it is truncated; with a window on the sign bit x − at must lie within it.
    ///
    /// ```
    /// use cryptgpu_core::mpc::{PiecewiseLinear, World};
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![-8.0, -0.25, 3.0])?);
    /// let clip = PiecewiseLinear::clip(-1.0, 2.0)?;
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.piecewise_linear(&x[p.id().index()], &clip)?;
    ///     p.open(&y)
    /// });
    /// assert_eq!(codec.decode_array(&y?.to_array()?), array![-1.0, -0.25, 2.0].into_dyn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Ring`] for numbers that the codec has no room for; the link's errors.
    pub fn piecewise_linear(&mut self, x: &Rep, function: &PiecewiseLinear) -> Result<Rep, MpcError> {
        let (id, n) = (self.id(), x.len());
        let Factors { slope, offset, at, changes, cut } = function.factors(self.codec())?;
        let x_flat = x.reshape(&[n])?;
        let mut sum = x_flat.mul_word(slope).add_word(id, offset);
        if !at.is_empty() {
            let sides: Vec<Rep> = at.iter().map(|at| x_flat.add_word(id, at.wrapping_neg())).collect();
            let beyond = self.relu(&Rep::concat(&sides)?)?;
            for (k, change) in changes.into_iter().enumerate() {
                sum = sum.add(&beyond.narrow(k * n..(k + 1) * n)?.mul_word(change))?;
            }
        }
        Ok(self.truncate(&sum, cut)?.reshape(x.shape())?)
    }
}
