//! The reciprocal and the quotient: x = m·2^e, and 1/x = (1/m)·2^−e. A quotient by a number of either sign takes the sign off first.

use super::octaves::{BitRange, Split};
use super::polynomial::RECIPROCAL;
use super::{Octaves, RANGE_BITS, WORKING};
use crate::mpc::{MpcError, Party, Rep, SignWindow};

/// Fraction bits that a quotient's reciprocal has more than the codec.
pub(super) const GUARD: u32 = 4;

/// Fraction bits of the reciprocal of a mantissa, so that its product with all powers of two stays in the range; and what
/// is cut of that product for a number with `from` fraction bits and a reciprocal with `to`.
pub(super) fn scale_and_cut(bits: BitRange, from: u32, to: u32) -> (u32, i32) {
    let scale = WORKING.min((RANGE_BITS - 2).saturating_sub(bits.span()));
    // 1/x at scale `to` is (1/m)·2^(from + to − e), and the powers of two are 2^(high − e).
    (scale, scale as i32 + bits.high - (from + to) as i32)
}

impl Party {
    /// 1/x, for 2^−f ≤ x < 2^(31−f) with f fraction bits; what is smaller, zero and negative numbers among it, gives 2^f.
    ///
    /// With x = m·2^e and 1 ≤ m < 2: a polynomial for 1/m, times 2^−e. The error is at most 2^−f + 2^−25/x. About 1.7 kB an
    /// element, 26 rounds: [`crate::mpc::cost::reciprocal`]. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![4.0, 0.125, 1000.0])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.reciprocal(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// assert!((y[0] - 0.25).abs() < 2e-6 && (y[1] - 8.0).abs() < 2e-6 && (y[2] - 0.001).abs() < 2e-6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The link's errors.
    pub fn reciprocal(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        self.reciprocal_in(x, Octaves::of(self.codec()))
    }

    /// 1/x as [`Party::reciprocal`], for x in a range that is known.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for a range that the ring has no room for; the link's errors.
    pub fn reciprocal_in(&mut self, x: &Rep, octaves: Octaves) -> Result<Rep, MpcError> {
        let f = self.codec().fraction_bits();
        let y = self.exactly([x], |p, [x]| p.reciprocal_scaled(&x.reshape(&[x.len()])?, f, octaves, f))?;
        Ok(y.reshape(x.shape())?)
    }

    /// x/y for y in the range of [`Party::reciprocal`], with the same rules for what is smaller; the quotient stays
    /// below 2^(58−2f), and in the ring of 32 bits below 2^(30−f), as x and y do.
    ///
    /// x·(1/y), with four bits more in 1/y. The error is at most 2^−f + |x|·2^−(f+4) + |x/y|·2^−25.
    /// 26.75 bytes an element and 3 rounds more than a reciprocal: [`crate::mpc::cost::div`].
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let [x, y] = [array![1.0, -7.5], array![3.0, 0.5]].map(|x| world.deal(&codec.encode_array(&x).unwrap()));
    /// let [z, ..] = world.run(|p| {
    ///     let me = p.id().index();
    ///     let z = p.div(&x[me], &y[me])?;
    ///     p.open(&z)
    /// });
    /// let z = codec.decode_array(&z?.to_array()?);
    /// assert!((z[0] - 1.0 / 3.0).abs() < 2e-6 && (z[1] + 15.0).abs() < 2e-6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Device`] when the shapes differ; the link's errors.
    pub fn div(&mut self, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
        self.div_in(x, y, Octaves::of(self.codec()))
    }

    /// x/y as [`Party::div`], for y in a range that is known.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for a range that the ring has no room for; as [`Party::div`].
    pub fn div_in(&mut self, x: &Rep, y: &Rep, octaves: Octaves) -> Result<Rep, MpcError> {
        let f = self.codec().fraction_bits();
        self.exactly([x, y], |p, [x, y]| {
            let inverse = p.reciprocal_scaled(&y.reshape(&[y.len()])?, f, octaves, f + GUARD)?;
            p.product(x, &inverse.reshape(y.shape())?, None, (f + GUARD) as i32)
        })
    }

    /// x/y for y of either sign with 2^−f ≤ |y| < 2^(31−f); the quotient stays below 2^(58−2f), and in the ring of 32 bits
    /// below 2^(30−f), as x and y do. A divisor of zero counts as 2^−f.
    ///
    /// Both are multiplied by the sign of y, which is one comparison, and divided as [`Party::div`] does, within the same error. 118.6 bytes an
    /// element and 8 rounds more than that: [`crate::mpc::cost::quotient`]. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let [x, y] = [array![1.0, -7.5], array![-3.0, 0.5]].map(|x| world.deal(&codec.encode_array(&x).unwrap()));
    /// let [z, ..] = world.run(|p| {
    ///     let me = p.id().index();
    ///     let z = p.quotient(&x[me], &y[me])?;
    ///     p.open(&z)
    /// });
    /// let z = codec.decode_array(&z?.to_array()?);
    /// assert!((z[0] + 1.0 / 3.0).abs() < 2e-6 && (z[1] + 15.0).abs() < 2e-6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Party::div`].
    pub fn quotient(&mut self, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
        let (f, octaves) = (self.codec().fraction_bits(), Octaves::of(self.codec()));
        let z = self.exactly([x, y], |p, [x, y]| {
            let (n, flat) = (y.len(), [x.reshape(&[x.len()])?, y.reshape(&[y.len()])?]);
            let positive = p.with_window(SignWindow::default(), |p| p.sign_to_ring(&flat[1], true))?;
            let sign = positive.mul_word(2).add_word(p.id(), 1u64.wrapping_neg());
            let both = p.mul_no_trunc(&Rep::concat(&flat)?, &Rep::concat(&[sign.clone(), sign])?)?;
            let inverse = p.reciprocal_scaled(&both.narrow(n..2 * n)?, f, octaves, f + GUARD)?;
            p.product(&both.narrow(0..n)?, &inverse, None, (f + GUARD) as i32)
        })?;
        Ok(z.reshape(x.shape())?)
    }

    /// 1/x of a share with one axis and `from` fraction bits, with `to` of them.
    fn reciprocal_scaled(&mut self, x: &Rep, from: u32, octaves: Octaves, to: u32) -> Result<Rep, MpcError> {
        let split = self.split("reciprocal", x, from, octaves)?;
        self.reciprocal_of(&split, from, to)
    }

    /// 1/x of a number that is split.
    pub(super) fn reciprocal_of(&mut self, split: &Split, from: u32, to: u32) -> Result<Rep, MpcError> {
        let bits = split.bits;
        let (scale, cut) = scale_and_cut(bits, from, to);
        if (from + to) as i32 - bits.low >= RANGE_BITS as i32 {
            let detail = format!("1/2^{} has no place in the ring: name a higher lower end", bits.low - from as i32);
            return Err(MpcError::argument("reciprocal", detail));
        }
        let mantissa = self.polynomial(&RECIPROCAL, &split.u, None, scale)?;
        let largest = 1 << bits.span();
        let back = self.weigh(&split.steps, &bits.values(largest, |e| 1 << (bits.high - e)))?;
        self.product(&mantissa, &back, None, cut)
    }
}
