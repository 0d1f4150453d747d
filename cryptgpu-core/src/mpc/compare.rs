//! Comparison, ReLU and maximum: a sign bit, and a bit times a tensor.

use super::{MpcError, Party, Rep, RepBits};

impl Party {
    /// One bit an element: 1 where x < y. Exact while |x − y| < 2^(63 − f), 2^63 in the ring; with a window on the sign bit
    /// as [`Party::sign`] of the difference. 49 bytes an element, 7 rounds.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the shapes differ; the link's errors.
    pub fn less_than(&mut self, x: &Rep, y: &Rep) -> Result<RepBits, MpcError> {
        let difference = x.sub(y)?;
        self.sign(&difference)
    }

    /// max(x, 0), exactly for every x; with a window on the sign bit as [`Party::sign`]. 89.1 bytes an element, 10 rounds.
    ///
    /// # Errors
    /// The link's errors.
    pub fn relu(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        let positive = self.sign(x)?.not(self.id());
        self.bit_product(&positive, x)
    }

    /// min(max(x, 0), limit) for a public real limit: ReLU(x) − ReLU(x − limit), both at once.
    /// Twice the bytes of a ReLU, 10 rounds. Exact while |x| + |limit| < 2^(63 − f); with a window on the sign bit both x and
    /// x − limit must lie within it.
    ///
    /// # Errors
    /// [`MpcError::Ring`] when the limit cannot be encoded; the link's errors.
    pub fn clipped_relu(&mut self, x: &Rep, limit: f64) -> Result<Rep, MpcError> {
        let (n, shape) = (x.len(), x.shape().to_vec());
        let flat = x.reshape(&[n])?;
        let beyond = self.add_scalar(&flat, -limit)?;
        let both = Rep::concat(&[flat, beyond])?;
        let both = self.relu(&both)?;
        let clipped = both.narrow(0..n)?.sub(&both.narrow(n..2 * n)?)?;
        Ok(clipped.reshape(&shape)?)
    }

    /// The larger of x and y, element by element: x + ReLU(y − x), exact while |x − y| < 2^(63 − f), 2^63 in the ring; with
    /// a window on the sign bit the difference must lie within it. 89.1 bytes an element, 10 rounds.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the shapes differ; the link's errors.
    pub fn maximum(&mut self, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
        let difference = y.sub(x)?;
        let gain = self.relu(&difference)?;
        Ok(x.add(&gain)?)
    }
}
