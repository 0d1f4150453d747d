//! Pooling: averages are a local sum and a truncation, maxima a tree of pairwise maxima.

use super::{MpcError, Party, Rep};
use crate::device::{PoolGeometry, Tensor};

impl Party {
    /// The average over each window, padding counted as zeros: a local sum, times 1/area,
    /// truncated. A power of two needs only the truncation. 8 + 3d/8 bytes an element of the
    /// result for d bits cut (log₂ area, or f + ⌊log₂ area⌋), 2 rounds.
    ///
    /// The average is right but for 2^−f of it and one unit ([`Party::mul_scalar`]). In range while averages are below
    /// 2^(62−f) / area for a power of two, otherwise while sums over a window are below 2^(62−2f): averages up to 85,598
    /// over 7×7 and up to 64 over 255×255, at 20 fraction bits.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the tensor is no image or the window does not fit; the link's errors.
    pub fn avg_pool(&mut self, x: &Rep, window: &PoolGeometry) -> Result<Rep, MpcError> {
        let sums = x.sum_pool(window)?;
        let area = window.kernel[0] * window.kernel[1];
        if area.is_power_of_two() {
            return self.truncate(&sums, area.trailing_zeros());
        }
        self.mul_scalar(&sums, 1.0 / area as f64)
    }

    /// The maximum over each window, padding never winning: ⌈log₂ area⌉ levels of pairwise maxima.
    ///
    /// 89.1 bytes for each of the area − 1 maxima, 10 ⌈log₂ area⌉ rounds. Exact for |x| < 2^61 in the ring, 2^(61 − f) as
    /// reals. With a window on the sign bit for |x| < 2^(low + width − 2), because differences are compared, or with padding
    /// for |x| < 2^(low + width − 3).
    ///
    /// # Errors
    /// [`MpcError::Device`] when the tensor is no image or the window does not fit; the link's errors.
    pub fn max_pool(&mut self, x: &Rep, window: &PoolGeometry) -> Result<Rep, MpcError> {
        let mut shape = vec![];
        let mut taps = Vec::with_capacity(window.kernel[0] * window.kernel[1]);
        // Padding is a public value below all others, and near enough that differences stay within
        // what a comparison looks at: component 0 holds it, the others zero.
        let sign = self.window();
        let lowest = (1u64 << (sign.low() + sign.width() - 3)).wrapping_neg();
        let fill = [0, 1].map(|k| if (self.id().index() + k).is_multiple_of(3) { lowest } else { 0 });
        for ky in 0..window.kernel[0] {
            for kx in 0..window.kernel[1] {
                let tap = |x: &Tensor, fill| x.pool_tap(window, [ky, kx], fill);
                let rep = Rep { a: tap(&x.a, fill[0])?, b: tap(&x.b, fill[1])? };
                shape = rep.shape().to_vec();
                taps.push(rep.reshape(&[1, rep.len()])?);
            }
        }
        let mut all = Rep::concat(&taps)?;
        drop(taps);
        while all.shape()[0] > 1 {
            all = self.halve(&all)?;
        }
        Ok(all.reshape(&shape)?)
    }

    /// Pairwise maxima of the first and second half of the rows; an odd row is kept.
    fn halve(&mut self, rows: &Rep) -> Result<Rep, MpcError> {
        let (count, half) = (rows.shape()[0], rows.shape()[0] / 2);
        let narrow = |range| rows.narrow(range);
        let (low, high, odd) = (narrow(0..half)?, narrow(half..2 * half)?, narrow(2 * half..count)?);
        let larger = self.maximum(&low, &high)?;
        if odd.is_empty() {
            return Ok(larger);
        }
        Ok(Rep::concat(&[larger, odd])?)
    }
}
