//! Accuracy on shares: how many predictions are not the label, and nothing else.

use crate::device::{PoolGeometry, SignWindow};
use crate::mpc::{MpcError, Party, Rep};
use crate::nn::NnError;

/// How many rows of `scores` have their largest entry elsewhere than at the label: a share of one integer, `[1]`.
///
/// `scores` and `targets` are `[batch, classes]`, the targets one-hot at the codec's scale. A row is right where its score
/// at the label is as large as any, compared exactly, ties included. Costs a maximum along the rows
/// ([`Party::max_last_axis`]), 24 bytes and 1 round for the products, and a comparison a row. Nothing is opened.
///
/// ```
/// use cryptgpu_core::mpc::World;
/// use cryptgpu_core::nn::private::count_wrong;
/// use ndarray::array;
///
/// let world = World::seeded(1);
/// let codec = world.settings.codec;
/// let scores = world.deal(&codec.encode_array(&array![[1.5, -2.0], [0.5, 0.25], [3.0, 3.0]])?);
/// let targets = world.deal(&codec.encode_array(&array![[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])?);
/// let [wrong, ..] = world.run(|p| {
///     let wrong = count_wrong(p, &scores[p.id().index()], &targets[p.id().index()])?;
///     Ok::<_, cryptgpu_core::nn::NnError>(p.open(&wrong)?)
/// });
/// assert_eq!(wrong?.to_array()?.as_slice(), Some(&[1][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`NnError::Mpc`] when the shapes differ or have no rows; the link's errors.
pub fn count_wrong(p: &mut Party, scores: &Rep, targets: &Rep) -> Result<Rep, NnError> {
    // Whatever a network's own comparisons look at, these take all bits: products have twice the scale.
    p.with_window(SignWindow::default(), |p| {
        let [batch, classes] = *scores.shape() else {
            let detail = format!("scores of shape {:?} are not [batch, classes]", scores.shape());
            return Err(MpcError::other(detail).into());
        };
        let products = scores.local_mul(targets).map_err(MpcError::from)?;
        let products = p.reshare(products)?;
        let rows = PoolGeometry { kernel: [1, classes], stride: [1, classes], padding: [0; 4], dilation: [1; 2] };
        let at_label = products.reshape(&[1, batch, 1, classes]).and_then(|rows_of| rows_of.sum_pool(&rows));
        let largest = p.max_last_axis(scores)?.mul_word(1 << p.codec().fraction_bits());
        let below = at_label.and_then(|x| x.reshape(&[batch])?.sub(&largest)).map_err(MpcError::from)?;
        Ok(p.sign_to_ring(&below, false)?.sum())
    })
}
