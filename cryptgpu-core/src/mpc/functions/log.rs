//! The natural logarithm: x = m·2^e, ln x = ln m + e·ln 2.

use super::octaves::Split;
use super::polynomial::LOG;
use super::{Octaves, WORKING, fixed};
use crate::mpc::{MpcError, Party, Rep};

impl Party {
    /// ln x, for 2^−f ≤ x < 2^(31−f) with f fraction bits; what is smaller, zero and negative numbers among it, gives
    /// −f·ln 2.
    ///
    /// With x = m·2^e and 1 ≤ m < 2: a polynomial for ln m, to which public multiples of ln 2 are added. The error is at
    /// most 2^−f + 2^−25. About 1.6 kB an element, 23 rounds: [`crate::mpc::cost::log`]. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![1.0, 0.25, 2000.0])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.log(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// assert!(y[0].abs() < 2e-6 && (y[1] - 0.25f64.ln()).abs() < 2e-6 && (y[2] - 2000f64.ln()).abs() < 2e-6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The link's errors.
    pub fn log(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        self.log_in(x, Octaves::of(self.codec()))
    }

    /// ln x as [`Party::log`], for x in a range that is known.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for a range that the ring has no room for; the link's errors.
    pub fn log_in(&mut self, x: &Rep, octaves: Octaves) -> Result<Rep, MpcError> {
        let f = self.codec().fraction_bits();
        let y = self.exactly([x], |p, [x]| {
            let split = p.split("log", &x.reshape(&[x.len()])?, f, octaves)?;
            p.log_of(&split, f, f)
        })?;
        Ok(y.reshape(x.shape())?)
    }

    /// ln x of a number with `from` fraction bits that is split, with `to` of them.
    pub(super) fn log_of(&mut self, split: &Split, from: u32, to: u32) -> Result<Rep, MpcError> {
        let bits = split.bits;
        let multiple = |e: i32| fixed(f64::from(e - from as i32) * std::f64::consts::LN_2, 2 * WORKING);
        let exponent = self.weigh(&split.steps, &bits.values(multiple(bits.low), multiple))?;
        self.polynomial(&LOG, &split.u, Some(&exponent), to)
    }
}
