//! Smooth functions by polynomials of degree 7, one for each piece of their range: fewer bytes and rounds than functions to the
//! last bit take, for activations within a network. All pieces share the powers of one variable; their coefficients are
//! public, and that of the piece in which a number lies is a local sum of the bits that say where it lies.

use super::tables::{ERF, EXP_BELOW_ZERO, GELU_TANH_FACTOR, MISH_FACTOR, SIGMOID, SOFTPLUS_BELOW_ZERO};
use super::{WORKING, fixed, power};
use crate::mpc::{MpcError, Party, Rep};
use crate::ring::FixedPoint;

/// A function that is constant beyond a range, to within 2^−20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmoothFunction {
    /// 1/(1 + e^−x). With lines before and behind it the hyperbolic tangent, 2/(1 + e^−2x) − 1.
    Sigmoid,
    /// The error function, 2/√π · ∫ e^(−t²) dt from 0 to x.
    Erf,
    /// e^min(x, 0). With a ReLU beside it the exponential linear unit.
    ExpBelowZero,
    /// ln(1 + e^min(x, 0)). Of −|x|, with a ReLU beside it, the softplus: max(x, 0) + ln(1 + e^−|x|).
    SoftplusBelowZero,
    /// tanh(ln(1 + e^x)), by which Mish multiplies x.
    MishFactor,
    /// (1 + tanh(√(2/π)·(x + 0.044715x³)))/2, by which the approximate Gelu multiplies x.
    GeluTanhFactor,
}

/// A piece of a function's range.
pub(super) struct Piece {
    /// Where it begins.
    pub begin: f64,
    /// About its middle.
    pub centre: f64,
    /// No number in it is further than two to the power of this from the centre.
    pub half: u32,
    /// Of the powers of u = (x − centre)/2^half, the constant first.
    pub coefficients: [f64; DEGREE + 1],
}

/// A function by pieces.
pub(super) struct Pieces {
    /// Its value below all pieces.
    pub below: f64,
    /// Its value above them.
    pub above: f64,
    /// In ascending order.
    pub pieces: &'static [Piece],
    /// Where the last one ends.
    pub end: f64,
}

/// Of the polynomials.
pub(super) const DEGREE: usize = 7;

impl Pieces {
    /// Where pieces begin, and the last one ends.
    fn thresholds(&self) -> impl Iterator<Item = f64> {
        self.pieces.iter().map(|piece| piece.begin).chain([self.end])
    }

    /// A public value for each piece, one below and one above them.
    fn values(&self, [below, above]: [u64; 2], value: impl Fn(&Piece) -> u64) -> Vec<u64> {
        std::iter::once(below).chain(self.pieces.iter().map(value)).chain([above]).collect()
    }
}

impl SmoothFunction {
    fn pieces(self) -> &'static Pieces {
        match self {
            SmoothFunction::Sigmoid => &SIGMOID,
            SmoothFunction::Erf => &ERF,
            SmoothFunction::ExpBelowZero => &EXP_BELOW_ZERO,
            SmoothFunction::SoftplusBelowZero => &SOFTPLUS_BELOW_ZERO,
            SmoothFunction::MishFactor => &MISH_FACTOR,
            SmoothFunction::GeluTanhFactor => &GELU_TANH_FACTOR,
        }
    }

    /// All of them.
    pub const ALL: [SmoothFunction; 6] = [
        SmoothFunction::Sigmoid,
        SmoothFunction::Erf,
        SmoothFunction::ExpBelowZero,
        SmoothFunction::SoftplusBelowZero,
        SmoothFunction::MishFactor,
        SmoothFunction::GeluTanhFactor,
    ];

    /// The largest error of its polynomials.
    pub const ERROR: f64 = 1.0 / (1u64 << 20) as f64;

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            SmoothFunction::Sigmoid => "sigmoid",
            SmoothFunction::Erf => "erf",
            SmoothFunction::ExpBelowZero => "exp_below_zero",
            SmoothFunction::SoftplusBelowZero => "softplus_below_zero",
            SmoothFunction::MishFactor => "mish_factor",
            SmoothFunction::GeluTanhFactor => "gelu_tanh_factor",
        }
    }

    /// f(x) in the clear, exactly but for the last bits of f64. All these functions rise.
    ///
    /// ```
    /// use cryptgpu_core::mpc::SmoothFunction;
    /// assert_eq!(SmoothFunction::Sigmoid.value(0.0), 0.5);
    /// assert!((SmoothFunction::Erf.value(1.0) - 0.842_700_792_949_714_9).abs() < 1e-15);
    /// ```
    pub fn value(self, x: f64) -> f64 {
        match self {
            SmoothFunction::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            SmoothFunction::Erf => erf(x),
            SmoothFunction::ExpBelowZero => x.min(0.0).exp(),
            SmoothFunction::SoftplusBelowZero => x.min(0.0).exp().ln_1p(),
            SmoothFunction::MishFactor => (x.max(0.0) + (-x.abs()).exp().ln_1p()).tanh(),
            SmoothFunction::GeluTanhFactor => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                (1.0 + inner.tanh()) / 2.0
            }
        }
    }

    /// How many comparisons an element takes.
    pub fn comparisons(self) -> usize {
        self.pieces().pieces.len() + 1
    }

    /// The end of its pieces that is farther from zero.
    pub fn farthest(self) -> f64 {
        self.pieces().thresholds().map(f64::abs).fold(0.0, f64::max)
    }

    /// Refuses a codec whose numbers are finer than those on the way.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for more than 26 fraction bits.
    pub fn check(self, codec: FixedPoint) -> Result<(), MpcError> {
        let widest = self.pieces().pieces.iter().map(|piece| piece.half).max().unwrap_or(0);
        let (f, most) = (codec.fraction_bits(), WORKING.saturating_sub(widest));
        if f <= most {
            return Ok(());
        }
        Err(MpcError::argument(self.name(), format!("{f} fraction bits: at most {most}")))
    }
}

/// Σ 2ⁿx²ⁿ⁺¹ / (1·3·5…(2n + 1)), whose terms have one sign, times 2/√π · e^(−x²).
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 || x.is_nan() {
        return if x.is_nan() { x } else { x.signum() };
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

impl Party {
    /// A smooth function of each element, for every x: within 2^−20 + 2^−f of it.
    ///
    /// Comparisons with public thresholds say in which piece x lies. u, from −1 to 1, is x less the piece's centre over its
    /// width, and 0 outside all pieces; with its powers up to u⁷ the result is one sum of products with the piece's
    /// coefficients, truncated once. 70.6 bytes for each comparison, of which the sigmoid has 7, and 219 more: 714 bytes an
    /// element, 20 rounds ([`crate::mpc::cost::smooth`]). [`Party::sigmoid`] is as accurate as the codec, at 980 bytes and 48
    /// rounds. With a window on the sign bit x less every threshold must lie within it. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::{SmoothFunction, World};
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![0.0, 3f64.ln(), -1000.0])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.smooth(&x[p.id().index()], SmoothFunction::Sigmoid)?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// assert!((y[0] - 0.5).abs() < 2e-6 && (y[1] - 0.75).abs() < 2e-6 && y[2].abs() < 2e-6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`SmoothFunction::check`]; the link's errors.
    pub fn smooth(&mut self, x: &Rep, function: SmoothFunction) -> Result<Rep, MpcError> {
        function.check(self.codec())?;
        let y = self.exactly([x], |p, [x]| p.piecewise_polynomial(&x.reshape(&[x.len()])?, function.pieces()))?;
        Ok(y.reshape(x.shape())?)
    }

    /// The function of a share with one axis.
    fn piecewise_polynomial(&mut self, x: &Rep, pieces: &Pieces) -> Result<Rep, MpcError> {
        let f = self.codec().fraction_bits();
        let thresholds: Vec<u64> = pieces.thresholds().map(|at| fixed(at, f)).collect();
        let steps = self.steps(x, &thresholds, self.window())?;
        // (x − centre)/2^half at the working scale, and zero where x lies outside all pieces and may be large.
        let scales = self.weigh(&steps, &pieces.values([0; 2], |piece| 1 << (WORKING - f - piece.half)))?;
        let shift = |piece: &Piece| fixed(-piece.centre / power(piece.half as i32), WORKING);
        let u = self.mul_no_trunc(x, &scales)?.add(&self.weigh(&steps, &pieces.values([0; 2], shift))?)?;
        let powers = self.powers(&u)?;
        let constants = pieces.values([pieces.below, pieces.above].map(|end| fixed(end, 2 * WORKING)), |piece| {
            fixed(piece.coefficients[0], 2 * WORKING)
        });
        let mut sum = self.weigh(&steps, &constants)?.to_additive();
        for (k, power) in powers.iter().enumerate() {
            let factor =
                self.weigh(&steps, &pieces.values([0; 2], |piece| fixed(piece.coefficients[k + 1], WORKING)))?;
            sum = sum.add(&power.local_mul(&factor)?)?;
        }
        self.truncate_additive(sum, 2 * WORKING - f)
    }

    /// u to u⁷, at the working scale.
    fn powers(&mut self, u: &Rep) -> Result<[Rep; DEGREE], MpcError> {
        let (n, cut) = (u.len(), WORKING as i32);
        let u2 = self.product(u, u, None, cut)?;
        let factors = [Rep::concat(&[u.clone(), u2.clone()])?, Rep::concat(&[u2.clone(), u2.clone()])?];
        let both = self.product(&factors[0], &factors[1], None, cut)?;
        let (u3, u4) = (both.narrow(0..n)?, both.narrow(n..2 * n)?);
        let factors = [[u, &u2, &u3], [&u4; 3]].map(|factors| Rep::concat(&factors.map(Rep::clone)));
        let [first, second] = factors;
        let three = self.product(&first?, &second?, None, cut)?;
        let [u5, u6, u7] = [0, 1, 2].map(|k| three.narrow(k * n..(k + 1) * n));
        Ok([u.clone(), u2, u3, u4, u5?, u6?, u7?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_those_of_their_functions() {
        for function in SmoothFunction::ALL {
            let pieces = function.pieces();
            let thresholds: Vec<f64> = pieces.thresholds().collect();
            assert!(thresholds.is_sorted() && thresholds.len() == function.comparisons());
            for (piece, ends) in pieces.pieces.iter().zip(thresholds.windows(2)) {
                for i in 0..=1000 {
                    let x = ends[0] + (ends[1] - ends[0]) * f64::from(i) / 1000.0;
                    let u = (x - piece.centre) / power(piece.half as i32);
                    let value = piece.coefficients.iter().rev().fold(0.0, |sum, c| sum * u + c);
                    let error = (value - function.value(x)).abs();
                    assert!(u.abs() <= 1.0 && error <= SmoothFunction::ERROR, "{function:?} at {x}: {error:e}");
                }
            }
            for (end, value) in [(thresholds[0], pieces.below), (pieces.end, pieces.above)] {
                assert!((function.value(end) - value).abs() <= SmoothFunction::ERROR, "{function:?} at {end}");
            }
        }
    }

    #[test]
    fn the_error_function_in_the_clear() {
        // From a table (Abramowitz and Stegun, 7.1).
        for (x, value) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
            (7.0, 1.0),
        ] {
            assert!((erf(x) - value).abs() < 2e-15 && (erf(-x) + value).abs() < 2e-15, "{x}: {}", erf(x));
        }
    }
}
