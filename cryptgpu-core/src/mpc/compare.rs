//! Comparison, ReLU and maximum: a sign bit, and a bit times a tensor.

use super::{MpcError, Party, Rep, RepBits, Truncating};

impl Party {
    /// One bit an element: 1 where x < y. Exact while |x − y| < 2^(63 − f), 2^63 in the ring (with 31 for 63 in that of 32 bits); with
    /// a window on the sign bit as [`Party::sign`] of the difference. 46 5/8 bytes an element, 6 rounds; 22 and 5 in the ring
    /// of 32 bits.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the shapes differ; the link's errors.
    pub fn less_than(&mut self, x: &Rep, y: &Rep) -> Result<RepBits, MpcError> {
        let difference = x.sub(y)?;
        self.sign(&difference)
    }

    /// max(x, 0), exactly for every x; with a window on the sign bit as [`Party::sign`]. 86.8 bytes an element, 8 rounds; 42.1
    /// and 7 in the ring of 32 bits.
    ///
    /// # Errors
    /// The link's errors.
    pub fn relu(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        self.relu_behind(x.clone().into())
    }

    /// [`Party::relu`] of the result of a truncation, which begins while the last message of the truncation is on its way:
    /// a product or a convolution, its truncation and its ReLU take 10 rounds instead of 11, at the same bytes and with the
    /// same bits.
    ///
    /// # Errors
    /// The link's errors.
    pub fn relu_behind(&mut self, x: Truncating) -> Result<Rep, MpcError> {
        let (y, _) = self.at_least_zero_times(x, 0)?;
        Ok(y)
    }

    /// [`Party::relu`] and a bit that says where x > 0. The gradient of a ReLU is this bit times the gradient of its result,
    /// [`Party::bit_product`]: zero at x = 0, as in PyTorch. At the cost of a ReLU.
    ///
    /// The bit is that of x − 1 ≥ 0, one unit less in the ring. So the ring's lowest value, −2^63 or −2^31, alone comes out as it is; with a window on
    /// the sign bit both x and x − 1 must lie within it.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let minus = |x: u64| x.wrapping_neg();
    /// let (x, dy) = (world.deal(&array![minus(5), 0, 3]), world.deal(&array![7, 8, minus(9)]));
    /// let [dx, ..] = world.run(|p| {
    ///     let i = p.id().index();
    ///     let (_y, positive) = p.relu_kept(&x[i])?;
    ///     let dx = p.bit_product(&positive, &dy[i])?;
    ///     p.open(&dx)
    /// });
    /// assert_eq!(dx?.to_array()?, array![0, 0, minus(9)].into_dyn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The link's errors.
    pub fn relu_kept(&mut self, x: &Rep) -> Result<(Rep, RepBits), MpcError> {
        self.relu_kept_behind(x.clone().into())
    }

    /// [`Party::relu_kept`] of the result of a truncation, which begins as [`Party::relu_behind`] does.
    ///
    /// # Errors
    /// The link's errors.
    pub fn relu_kept_behind(&mut self, x: Truncating) -> Result<(Rep, RepBits), MpcError> {
        self.at_least_zero_times(x, u64::MAX)
    }

    /// min(max(x, 0), limit) for a public real limit: ReLU(x) − ReLU(x − limit), both at once.
    /// Twice the bytes of a ReLU, and its rounds. Exact while |x| + |limit| < 2^(l − 1 − f) in the ring of l bits; with a window on the sign bit both x and
    /// x − limit must lie within it.
    ///
    /// # Errors
    /// [`MpcError::Ring`] when the limit cannot be encoded; the link's errors.
    pub fn clipped_relu(&mut self, x: &Rep, limit: f64) -> Result<Rep, MpcError> {
        let both = self.both_sides(x, limit)?;
        let both = self.relu_behind(both.into())?;
        clipped(&both, x.shape())
    }

    /// [`Party::clipped_relu`] and a bit that says where 0 < x ≤ limit, for a limit above zero. Its gradient is this bit
    /// times the gradient of its result, [`Party::bit_product`]. At the cost of a clipped ReLU; the bits are those of
    /// [`Party::relu_kept`].
    ///
    /// # Errors
    /// As [`Party::clipped_relu`].
    pub fn clipped_relu_kept(&mut self, x: &Rep, limit: f64) -> Result<(Rep, RepBits), MpcError> {
        let both = self.both_sides(x, limit)?;
        let (both, bits) = self.relu_kept_behind(both.into())?;
        let (n, bits) = (x.len(), bits.to_words());
        let within = bits.narrow(0..n)?.xor(&bits.narrow(n..2 * n)?)?.reshape(x.shape())?;
        Ok((clipped(&both, x.shape())?, within.bit(0)?))
    }

    /// x and x − limit, one after the other.
    fn both_sides(&self, x: &Rep, limit: f64) -> Result<Rep, MpcError> {
        let flat = x.reshape(&[x.len()])?;
        let beyond = self.add_scalar(&flat, -limit)?;
        Ok(Rep::concat(&[flat, beyond])?)
    }

    /// The larger of x and y, element by element: x + ReLU(y − x), exact while |x − y| < 2^(63 − f), 2^63 in the ring (with 31 for 63
    /// in that of 32 bits); with a window on the sign bit the difference must lie within it. 86.8 bytes an element, 8 rounds; 42.1 and 7 in
    /// the ring of 32 bits.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the shapes differ; the link's errors.
    pub fn maximum(&mut self, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
        let (larger, _) = self.maximum_kept(x, y)?;
        Ok(larger)
    }

    /// [`Party::maximum`], and the bit of y ≥ x.
    pub(super) fn maximum_kept(&mut self, x: &Rep, y: &Rep) -> Result<(Rep, RepBits), MpcError> {
        let difference = y.sub(x)?;
        let (gain, second) = self.at_least_zero_times(difference.into(), 0)?;
        Ok((x.add(&gain)?, second))
    }
}

/// The difference of what has become of both sides, in this shape.
fn clipped(both: &Rep, shape: &[usize]) -> Result<Rep, MpcError> {
    let n = both.len() / 2;
    Ok(both.narrow(0..n)?.sub(&both.narrow(n..2 * n)?)?.reshape(shape)?)
}
