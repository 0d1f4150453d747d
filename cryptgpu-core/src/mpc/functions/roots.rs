//! The square root and its reciprocal: x = m·2^e, √x = √m·2^(e/2), where halves of odd exponents bring a public √2.

use super::octaves::{BitRange, half_power};
use super::polynomial::{INVERSE_ROOT, ROOT};
use super::{Octaves, RANGE_BITS, WORKING};
use crate::mpc::{MpcError, Party, Rep};

/// At which scales a root is put together.
pub(super) struct Scales {
    /// Fraction bits of the root of the mantissa.
    pub mantissa: u32,
    /// Fraction bits of the powers of √2.
    powers: u32,
    /// What the exponents of √2 are counted from: the least of them, or one less, so that it is even.
    base: i32,
    /// What is cut of the product of both.
    pub cut: i32,
}

impl Scales {
    /// For numbers with f fraction bits.
    pub fn of(bits: BitRange, f: u32, inverse: bool) -> Self {
        let f = f as i32;
        let both = RANGE_BITS - 3 - bits.span().div_ceil(2).min(RANGE_BITS - 4);
        let mantissa = (both / 2 + 1).min(WORKING);
        let powers = (both - mantissa).min(WORKING);
        // √x at scale f is √m·√2^(e − f)·2^f.
        let least = if inverse { f - bits.high } else { bits.low - f };
        let base = least - least.rem_euclid(2);
        Scales { mantissa, powers, base, cut: (mantissa + powers) as i32 - base / 2 - f }
    }
}

impl Party {
    /// 1/√x, for 2^−f ≤ x < 2^(31−f) with f fraction bits; what is smaller, zero and negative numbers among it, gives
    /// 2^(f/2).
    ///
    /// With x = m·2^e and 1 ≤ m < 2: a polynomial for 1/√m, times √2^−e. The error is at most 2^−f + 2^−21/√x. About
    /// 1.7 kB an element, 26 rounds: [`crate::mpc::cost::rsqrt`]. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![4.0, 0.01])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.rsqrt(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// assert!((y[0] - 0.5).abs() < 2e-6 && (y[1] - 10.0).abs() < 3e-4, "0.01 is rounded to 20 bits");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The link's errors.
    pub fn rsqrt(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        self.rsqrt_in(x, Octaves::of(self.codec()))
    }

    /// 1/√x as [`Party::rsqrt`], for x in a range that is known.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for a range that the ring has no room for; the link's errors.
    pub fn rsqrt_in(&mut self, x: &Rep, octaves: Octaves) -> Result<Rep, MpcError> {
        self.root("rsqrt", x, octaves, true)
    }

    /// √x, for 0 ≤ x < 2^(31−f) with f fraction bits; negative numbers give zero.
    ///
    /// With x = m·2^e and 1 ≤ m < 2: a polynomial for √m, times √2^e. The error is at most 2^−f + 2^−21·√x.
    /// Costs as much as [`Party::rsqrt`].
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![2.0, 0.0, 400.0])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.sqrt(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// assert!((y[0] - 2f64.sqrt()).abs() < 2e-6 && y[1].abs() < 2e-6 && (y[2] - 20.0).abs() < 2e-5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The link's errors.
    pub fn sqrt(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        self.sqrt_in(x, Octaves::of(self.codec()))
    }

    /// √x as [`Party::sqrt`], for x in a range that is known; what lies below it gives zero.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for a range that the ring has no room for; the link's errors.
    pub fn sqrt_in(&mut self, x: &Rep, octaves: Octaves) -> Result<Rep, MpcError> {
        self.root("sqrt", x, octaves, false)
    }

    fn root(&mut self, operation: &'static str, x: &Rep, octaves: Octaves, inverse: bool) -> Result<Rep, MpcError> {
        let f = self.codec().fraction_bits();
        let y = self.exactly([x], |p, [x]| {
            let split = p.split(operation, &x.reshape(&[x.len()])?, f, octaves)?;
            let (bits, scales) = (split.bits, Scales::of(split.bits, f, inverse));
            let (polynomial, sign) = if inverse { (&INVERSE_ROOT, -1) } else { (&ROOT, 1) };
            let power = |e: i32| half_power(sign * (e - f as i32) - scales.base, scales.powers);
            let below = if inverse { power(bits.low) } else { 0 };
            let mantissa = p.polynomial(polynomial, &split.u, None, scales.mantissa)?;
            let back = p.weigh(&split.steps, &bits.values(below, power))?;
            p.product(&mantissa, &back, None, scales.cut)
        })?;
        Ok(y.reshape(x.shape())?)
    }
}
