//! The sigmoid, by an exponential that never exceeds 1: with s = 1/(1 + e^−|x|) it is s for x ≥ 0 and 1 − s below.

use super::WORKING;
use super::exp::Pieces;
use super::polynomial::RECIPROCAL;
use super::softmax::exponential_scale;
use crate::mpc::{MpcError, Party, Rep, SignWindow};

impl Party {
    /// The logistic function 1/(1 + e^−x), for every x: what turns a score into a probability. Comparisons look at all 64
    /// bits here, whatever the settings say.
    ///
    /// The sign of x is found first, so that the exponential is of −|x| and at most 1. Then 1 + e^−|x| lies between 1 and
    /// 2, where one polynomial is the reciprocal. The error is at most 2·2^−f. About 980 bytes an element, 48 rounds:
    /// [`crate::mpc::cost::sigmoid`]. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![0.0, 3f64.ln(), -1000.0])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.sigmoid(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// assert!((y[0] - 0.5).abs() < 2e-6 && (y[1] - 0.75).abs() < 2e-6 && y[2].abs() < 2e-6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Argument`] for a codec with more than 27 fraction bits; the link's errors.
    pub fn sigmoid(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        let y = self.exactly([x], |p, [x]| p.sigmoid_of(&x.reshape(&[x.len()])?))?;
        Ok(y.reshape(x.shape())?)
    }

    /// The sigmoid of a share with one axis.
    fn sigmoid_of(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        let f = self.codec().fraction_bits();
        let scale = exponential_scale(f);
        let negative = self.with_window(SignWindow::default(), |p| p.sign_to_ring(x, false))?;
        // −|x| = 2·(x where it is negative) − x.
        let below = self.mul_no_trunc(&negative, x)?.mul_word(2).sub(x)?;
        let e = self.exp_scaled(&below, f, scale, Pieces::up_to_one(scale))?;
        // The polynomial is 2/(3 + u), which is 1/(1 + e) at u = 2e − 1.
        let u = e.mul_word(1 << (WORKING + 1 - scale)).add_word(self.id(), (1u64 << WORKING).wrapping_neg());
        let upper = self.polynomial(&RECIPROCAL, &u, None, f)?;
        // Where x is negative, 1 − upper: as much more as 1 − 2·upper.
        let turned = upper.mul_word(2).neg().add_word(self.id(), 1 << f);
        Ok(upper.add(&self.mul_no_trunc(&negative, &turned)?)?)
    }
}
