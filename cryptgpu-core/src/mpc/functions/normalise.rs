//! Rows with mean 0 and variance 1, or with a mean of squares of 1. The sum of squares V of what a row has left without its mean is split into octaves as for any
//! root; √(width/V) is put together at a scale of its own, because a row's variance may be far from 1.

use super::octaves::BitRange;
use super::polynomial::INVERSE_ROOT;
use super::softmax::Rows;
use super::{Octaves, RANGE_BITS, fixed, power};
use crate::mpc::{MpcError, Party, Rep};
use crate::ring::FixedPoint;
use std::f64::consts::SQRT_2;

/// Octaves that are told apart, at most.
const OCTAVES: i32 = 40;

/// Fewest fraction bits on the way: with fewer, sums of squares have more octaves than are told apart.
const FEWEST: u32 = 18;

/// Fraction bits of the root of a mantissa.
const MANTISSA: u32 = 22;

/// Bits of numbers of the range that products leave free, for their sign and for rounding.
const SPARE: u32 = 2;

/// The scales of a normalisation of rows of one width.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    width: usize,
    /// Fraction bits that numbers get beside the codec's on the way.
    lift: u32,
    /// ε · width.
    eps: f64,
    /// The public factor that makes a mean of a sum, and what is cut of the product.
    mean: (u64, u32),
    /// What is cut of a sum of squares.
    pub squares: u32,
    /// Fraction bits of what is left of it.
    variance: u32,
    /// Where it lies.
    octaves: Octaves,
    /// Fraction bits of the powers of √2.
    powers: u32,
    /// Fraction bits of the inverse root.
    inverse: u32,
}

impl Scales {
    pub fn of(width: usize, eps: f64, f: u32) -> Self {
        let lift = FEWEST.saturating_sub(f);
        let f = f + lift;
        let eps = eps * width as f64;
        let high = (RANGE_BITS - 2 * f.min(RANGE_BITS / 2)) as i32;
        let low = exponent(eps).max(high - OCTAVES).min(high - 1);
        // The smallest sum has eleven bits or more, and no fewer than the codec's stand behind the point.
        let variance = (11 - low).clamp(f as i32, 2 * f as i32) as u32;
        // The largest inverse root is √(width/2^low), the largest result √width.
        let width_bits = width.max(1).next_power_of_two().trailing_zeros() as i32;
        let (largest, result) = ((width_bits - low + 1) / 2, (width_bits + 1) / 2);
        let powers = (RANGE_BITS - SPARE - MANTISSA) as i32 - largest.max(0);
        let most = (RANGE_BITS - SPARE) as i32 - f as i32 - result;
        Scales {
            width,
            lift,
            eps,
            mean: mean(width, f),
            squares: 2 * f - variance,
            variance,
            octaves: Octaves::new(low, high),
            powers: powers.clamp(1, 40) as u32,
            inverse: (f as i32 + 12).min(most).max(1) as u32,
        }
    }

    pub fn mean_cut(&self) -> u32 {
        self.mean.1
    }

    /// The exponents of the sum of squares, as an integer.
    pub fn bits(&self) -> BitRange {
        self.octaves.bits(self.variance)
    }

    /// What is cut of the product of the root of a mantissa and a power.
    pub fn root_cut(&self) -> i32 {
        (MANTISSA + self.powers) as i32 - self.inverse as i32
    }

    /// What is cut of the results.
    pub fn result_cut(&self) -> u32 {
        self.inverse + self.lift
    }

    /// Fraction bits of the root of a mantissa.
    pub fn mantissa(&self) -> u32 {
        MANTISSA
    }
}

/// ⌊log₂ x⌋ of a positive number, by its bits: all parties must agree on it.
fn exponent(x: f64) -> i32 {
    (x.to_bits() >> 52 & 0x7ff) as i32 - 1023
}

/// A public factor and a truncation that divide by `width`, with four bits more than the codec unless it is a power of two.
fn mean(width: usize, f: u32) -> (u64, u32) {
    let extra = width.next_power_of_two().trailing_zeros();
    if width.is_power_of_two() {
        return (1, extra);
    }
    let bits = f + 4 + extra;
    (fixed(1.0 / width as f64, bits), bits)
}

/// The largest norm √Σ(x − μ)² of a row that can be normalised, with f fraction bits: 2^(31 − f), and with
/// fewer than 18 as with 18.
pub(super) fn largest_norm(codec: FixedPoint) -> f64 {
    power((RANGE_BITS / 2) as i32 - codec.fraction_bits().max(FEWEST) as i32)
}

impl Party {
    /// (x − μ)/√(σ² + ε) along the last axis, with the mean μ and the variance σ² of each row: layer normalisation, without the
    /// factors and summands that follow it.
    ///
    /// A mean is a local sum and one truncation a row; the squares of what is left are summed before they are truncated, so that a row's
    /// inverse root costs one number. It is within 2^−f·(2 + 2/s) + |y|·(2^−19 + 2^−11·ε/s²) of the function, with
    /// s² = σ² + ε; variances far below ε are as good as none. Holds while √Σ(x − μ)² < 2^(31 − f) in each row, 2048 at 20 fraction bits, and
    /// |Σx| < 2^(58 − 2f); with fewer than 18 bits it is computed with 18. About 28.25 bytes an element and 3 kB a row, 35 or 36 rounds: [`crate::mpc::cost::layer_norm`]. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![[1.0, 3.0], [-0.5, 0.5], [7.0, 7.0]])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.layer_norm(&x[p.id().index()], 1e-5)?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// let expected = array![[-1.0, 1.0], [-1.0, 1.0], [0.0, 0.0]].into_dyn();
    /// assert!((y - expected).iter().all(|error| error.abs() < 5e-5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Argument`] when there is no last axis or it is empty, for an ε that is not above zero, and more than 26
    /// fraction bits; the link's errors.
    pub fn layer_norm(&mut self, x: &Rep, eps: f64) -> Result<Rep, MpcError> {
        super::RowFunction::LayerNorm { eps }.check(self.codec())?;
        self.normalised("layer_norm", x, eps, true)
    }

    /// x/√(mean(x²) + ε) along the last axis: root mean square normalisation, without the factors that follow it.
    ///
    /// [`Party::layer_norm`] without the mean, within 2^−f·(2 + 2/s) + |y|·(2^−19 + 2^−11·ε/s²) for s² = mean(x²) + ε, while √Σx² < 2^(31 − f) in
    /// each row. 28.25 bytes an element and 3 kB a row, 33 or 34 rounds: [`crate::mpc::cost::rms_norm`]. Nothing is opened.
    ///
    /// # Errors
    /// As [`Party::layer_norm`].
    pub fn rms_norm(&mut self, x: &Rep, eps: f64) -> Result<Rep, MpcError> {
        super::RowFunction::RmsNorm { eps }.check(self.codec())?;
        self.normalised("rms_norm", x, eps, false)
    }

    /// Rows over the root of the mean of their squares, first without their means where these are to go.
    fn normalised(&mut self, operation: &'static str, x: &Rep, eps: f64, centre: bool) -> Result<Rep, MpcError> {
        self.exactly([x], |p, [x]| {
            let rows = Rows::of(operation, x)?;
            let scales = Scales::of(rows.width, eps, p.codec().fraction_bits());
            let x = &x.mul_word(1 << scales.lift);
            let mut centred = x.reshape(&[x.len()])?;
            if centre {
                let (image, window) = rows.image();
                let sums = x.reshape(&image)?.sum_pool(&window)?.reshape(&[rows.count])?;
                let mean = p.truncate(&sums.mul_word(scales.mean.0), scales.mean.1)?;
                centred = centred.sub(&rows.spread(&mean)?)?;
            }
            let squares = p.row_sums(&centred.local_mul(&centred)?, &rows)?;
            let squares = p.truncate_additive(squares, scales.squares)?;
            let squares = squares.add_word(p.id(), fixed(scales.eps, scales.variance));
            let inverse = p.inverse_root_of(&squares, &scales)?;
            Ok(p.product(&centred, &rows.spread(&inverse)?, None, scales.result_cut() as i32)?.reshape(x.shape())?)
        })
    }

    /// √(width/V) for sums of squares V.
    fn inverse_root_of(&mut self, squares: &Rep, scales: &Scales) -> Result<Rep, MpcError> {
        let split = self.split("layer_norm", squares, scales.variance, scales.octaves)?;
        let mantissa = self.polynomial(&INVERSE_ROOT, &split.u, None, MANTISSA)?;
        // √(width/2^e) of a mantissa's octave: a public number, of operations that IEEE 754 rounds correctly.
        let root = (scales.width as f64).sqrt();
        let at = |e: i32| {
            let exponent = scales.variance as i32 - e;
            let half = if exponent.rem_euclid(2) == 1 { SQRT_2 } else { 1.0 };
            fixed(root * half * power(exponent.div_euclid(2)), scales.powers)
        };
        let powers = self.weigh(&split.steps, &split.bits.values(at(split.bits.low), at))?;
        self.product(&mantissa, &powers, None, scales.root_cut())
    }
}
