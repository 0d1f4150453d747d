//! Pooling: averages are a local sum and a truncation, maxima a tree of pairwise maxima, which the gradient
//! walks down again.

use super::cost::halvings;
use super::{Division, MpcError, Party, Rep, RepBits};
use crate::device::{PoolGeometry, Tensor};
use crate::ring::FixedPoint;

/// Where each maximum of a max-pool came from, in secret: the bits of its tree of pairwise maxima. [`Party::max_pool_kept`]
/// makes it, and [`Party::max_pool_gradient`] needs it.
#[derive(Clone, Debug)]
#[must_use]
pub struct KeptMaxima {
    window: PoolGeometry,
    input: [usize; 4],
    shape: Vec<usize>,
    /// For each level, the bits of its pairs of rows: 1 where the second is the larger.
    levels: Vec<RepBits>,
}

impl KeptMaxima {
    /// The shape of the maxima, `[N, C, H′, W′]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(RepBits::bytes).sum()
    }

    /// Bytes of memory that the bits of so many windows of so many elements take: a quarter of a byte for each pairwise
    /// maximum, in whole words.
    pub fn bytes_of(windows: usize, taps: usize) -> usize {
        halvings(taps).map(|pairs| RepBits::bytes_of(pairs * windows)).sum()
    }
}

impl Party {
    /// The average over each window, padding counted as zeros: a local sum, times 1/area,
    /// truncated. A power of two needs only the truncation. In the ring of 64 bits 8 + 3d/8 bytes an element of the
    /// result for d bits cut (⌈log₂ area⌉, and f more for what is no power of two), 2 rounds: [`super::cost::avg_pool`].
    ///
    /// The average is right but for 2^−f of it and one unit. In range while averages are below
    /// 2^(62−f) / area for a power of two, otherwise below 2^(62 − 2f − ⌈log₂ area⌉): 65,536
    /// over 7×7 and 64 over 255×255, at 20 fraction bits.
    ///
    /// In the ring of 32 bits averages may be as large as 64 at 12 fraction bits while sums fit, below 2^(30−f). A factor of so few bits
    /// would be up to 0.5 % wrong where an area is no power of two; where it is by more than 2^−12, the sum is cut first, by ⌈log₂ area⌉ bits
    /// or fewer: 4 + 3d/8 bytes and 2 rounds for each cut. Averages are right but for 2^−min(f, 12) of them (2^−11 at 14 fraction bits)
    /// and three units.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the tensor is no image or the window does not fit; the link's errors.
    pub fn avg_pool(&mut self, x: &Rep, window: &PoolGeometry) -> Result<Rep, MpcError> {
        let sums = x.sum_pool(window)?;
        let area = window.kernel[0] * window.kernel[1];
        let division = Division::by(area as u64, 0, FixedPoint::in_ring(sums.ring(), self.codec().fraction_bits())?);
        self.divide(&sums, division)
    }

    /// The maximum over each window, padding never winning: ⌈log₂ area⌉ levels of pairwise maxima.
    ///
    /// 86.8 bytes for each of the area − 1 maxima, 8 ⌈log₂ area⌉ rounds, 42.1 and 7 in the ring of 32 bits. Exact for |x| < 2^(l − 3)
    /// in the ring of l bits, 2^(l − 3 − f) as reals. With a window on the sign bit for |x| < 2^(low + width − 2), because differences are compared, or with padding
    /// for |x| < 2^(low + width − 3).
    ///
    /// # Errors
    /// [`MpcError::Device`] when the tensor is no image or the window does not fit; the link's errors.
    pub fn max_pool(&mut self, x: &Rep, window: &PoolGeometry) -> Result<Rep, MpcError> {
        let (maxima, _) = self.max_pool_kept(x, window)?;
        Ok(maxima)
    }

    /// [`Party::max_pool`] and what its gradient needs. At the cost of a max-pool.
    ///
    /// # Errors
    /// As [`Party::max_pool`].
    pub fn max_pool_kept(&mut self, x: &Rep, window: &PoolGeometry) -> Result<(Rep, KeptMaxima), MpcError> {
        let input = x.a.image_shape("max pooling")?;
        let (mut all, shape) = self.taps(x, window)?;
        let mut levels = vec![];
        while all.shape()[0] > 1 {
            let (larger, bits) = self.halve(&all)?;
            levels.push(bits);
            all = larger;
        }
        let kept = KeptMaxima { window: *window, input, shape, levels };
        Ok((all.reshape(&kept.shape)?, kept))
    }

    /// The gradient of a max-pool, from that of its maxima: each window's goes to the element that was the largest, and an
    /// element gets the sum over all windows that see it. `[N, C, H′, W′]` to `[N, C, H, W]`. Of equal elements one gets it:
    /// the second of a pair, where the tree pairs the first half of a window's elements with the second half. PyTorch and the
    /// plaintext oracle take the first in reading order: another one in [[5, 5], [0, 0]]. Behind a ReLU most ties are of
    /// zeros, whose gradient the ReLU drops.
    ///
    /// The tree is walked from the top: where a pair's larger row has the gradient g and b is the pair's bit, the second row
    /// has b·g and the first g − b·g. 40 1/8 bytes for each of the area − 1 maxima of a window, 3 ⌈log₂ area⌉ rounds:
    /// [`crate::mpc::cost::max_pool_gradient`]. Exact for every gradient.
    ///
    /// ```
    /// use cryptgpu_core::device::PoolGeometry;
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let x = world.deal(&array![[[[1, 5, 2, 0], [3, 4, 2, 8]]]]);
    /// let dy = world.deal(&array![[[[10, 20]]]]);
    /// let [dx, ..] = world.run(|p| {
    ///     let i = p.id().index();
    ///     let (_maxima, kept) = p.max_pool_kept(&x[i], &PoolGeometry::square(2, 2, 0))?;
    ///     let dx = p.max_pool_gradient(&kept, &dy[i])?;
    ///     p.open(&dx)
    /// });
    /// assert_eq!(dx?.to_array()?, array![[[[0, 10, 0, 0], [0, 0, 0, 20]]]].into_dyn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Argument`] when the gradient has another shape than the maxima; the link's errors.
    pub fn max_pool_gradient(&mut self, kept: &KeptMaxima, dy: &Rep) -> Result<Rep, MpcError> {
        if dy.shape() != kept.shape() {
            let detail = format!("shapes differ, maxima {:?}, gradient {:?}", kept.shape(), dy.shape());
            return Err(MpcError::argument("gradient of max pooling", detail));
        }
        let mut rows = dy.reshape(&[1, dy.len()])?;
        for bits in kept.levels.iter().rev() {
            let (pairs, count) = (bits.shape()[0], rows.shape()[0]);
            let (larger, odd) = (rows.narrow(0..pairs)?, rows.narrow(pairs..count)?);
            let second = self.bit_product(bits, &larger)?;
            let first = larger.sub(&second)?;
            rows = Rep::concat(&[first, second, odd])?;
        }
        let gradient = |taps: &Tensor| taps.pool_tap_gradient(&kept.window, kept.input);
        Ok(Rep { a: gradient(&rows.a)?, b: gradient(&rows.b)? })
    }

    /// The elements of all windows, a row for each tap, and the shape of a row.
    fn taps(&self, x: &Rep, window: &PoolGeometry) -> Result<(Rep, Vec<usize>), MpcError> {
        let mut shape = vec![];
        let mut taps = Vec::with_capacity(window.kernel[0] * window.kernel[1]);
        // Padding is a public value below all others, and near enough that differences stay within
        // what a comparison looks at: component 0 holds it, the others zero.
        let sign = self.window_in(x.ring());
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
        Ok((Rep::concat(&taps)?, shape))
    }

    /// Pairwise maxima of the first and second half of the rows, and their bits; an odd row is kept.
    fn halve(&mut self, rows: &Rep) -> Result<(Rep, RepBits), MpcError> {
        let (count, half) = (rows.shape()[0], rows.shape()[0] / 2);
        let narrow = |range| rows.narrow(range);
        let (low, high, odd) = (narrow(0..half)?, narrow(half..2 * half)?, narrow(2 * half..count)?);
        let (larger, bits) = self.maximum_kept(&low, &high)?;
        if odd.is_empty() {
            return Ok((larger, bits));
        }
        Ok((Rep::concat(&[larger, odd])?, bits))
    }
}
