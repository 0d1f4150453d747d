//! Functions of rows, which lie along the last axis: their maximum, softmax, its logarithm, and cross-entropy.

use super::exp::Pieces;
use super::octaves::Split;
use super::{Octaves, Outcome, WORKING};
use crate::device::{PoolGeometry, Tensor, kernels};
use crate::mpc::{Additive, MpcError, Party, Rep};

/// Fraction bits that exponentials in a sum have more than the codec.
const GUARD: u32 = 4;

/// What [`Party::cross_entropy`] gives.
#[derive(Clone, Debug)]
#[must_use]
pub struct CrossEntropy {
    /// The loss of each row: the shape of the logits without the last axis.
    pub losses: Rep,
    /// softmax − labels, the gradient of each loss with respect to its row of logits: the shape of the logits.
    pub gradient: Rep,
}

impl Outcome for CrossEntropy {
    fn reduced(self) -> Self {
        CrossEntropy { losses: self.losses.reduced(), gradient: self.gradient.reduced() }
    }
}

/// The rows of a share.
pub(super) struct Rows {
    /// How many.
    pub count: usize,
    /// Elements of one.
    pub width: usize,
}

/// Exponentials of rows, relative to the largest element.
struct Exponentials {
    /// x less its row's maximum, one axis.
    below: Rep,
    /// The exponential of that, with `scale` fraction bits.
    values: Rep,
    /// The sum of each row, split.
    sums: Split,
    /// Fraction bits.
    scale: u32,
}

/// Fraction bits of exponentials in a sum, with f in the codec.
pub(super) fn exponential_scale(f: u32) -> u32 {
    (f + GUARD).min(WORKING - 1).max(f)
}

/// Where the sum of so many exponentials lies, of which one is 1 and none larger.
pub(super) fn sum_octaves(width: usize) -> Octaves {
    Octaves::new(0, width.max(1).ilog2() as i32 + 1)
}

impl Rows {
    pub fn of(operation: &'static str, x: &Rep) -> Result<Self, MpcError> {
        match x.shape().split_last() {
            Some((&width, outer)) if width > 0 => Ok(Rows { count: outer.iter().product(), width }),
            _ => {
                let detail = format!("a tensor of shape {:?} has no rows: its last axis must have elements", x.shape());
                Err(MpcError::argument(operation, detail))
            }
        }
    }

    /// Rows as windows of an image.
    pub fn image(&self) -> ([usize; 4], PoolGeometry) {
        let window =
            PoolGeometry { kernel: [1, self.width], stride: [1, self.width], padding: [0; 4], dilation: [1; 2] };
        ([1, self.count, 1, self.width], window)
    }

    /// An entry for each row, at each of its elements. Local.
    pub fn spread(&self, x: &Rep) -> Result<Rep, MpcError> {
        let each = |x: &Tensor| {
            let n = self.count * self.width;
            let mut out = x.full_like(&[n], 0).into_buffer();
            kernels::add_bias(x.ring(), [1, self.count, self.width], x.view(), out.view_mut());
            Tensor::new_in(x.ring(), out, &[n])
        };
        Ok(Rep::from_components(each(&x.a)?, each(&x.b)?)?)
    }
}

impl Party {
    /// The maximum along the last axis, which goes away: a tree of pairwise maxima, exact as [`Party::max_pool`] is.
    /// 86.8 bytes for each of the C − 1 maxima of a row of C elements, 8 ⌈log₂ C⌉ rounds; 42.1 and 7 in the ring of 32 bits.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![[0.5, -2.0, 1.25], [-3.0, -0.75, -4.0]])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.max_last_axis(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// assert_eq!(codec.decode_array(&y?.to_array()?), array![1.25, -0.75].into_dyn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Argument`] when there is no last axis or it is empty; the link's errors.
    pub fn max_last_axis(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        let rows = Rows::of("max_last_axis", x)?;
        let (image, window) = rows.image();
        let tops = self.max_pool(&x.reshape(&image)?, &window)?;
        Ok(tops.reshape(&x.shape()[..x.shape().len() - 1])?)
    }

    /// Softmax along the last axis: eˣ/Σeˣ.
    ///
    /// The maximum of each row is subtracted first, so that logits of any size do (their differences within the range of
    /// comparisons). Exponentials have four bits more than the codec. The error is at most 2·2^−f + 2^−(f+3)·C for rows of C
    /// elements. For ten logits about 850 bytes an element, 84 rounds: [`crate::mpc::cost::softmax`]. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![[0.0, 2f64.ln()], [-100.0, 100.0]])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.softmax(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// let expected = array![[1.0 / 3.0, 2.0 / 3.0], [0.0, 1.0]].into_dyn();
    /// assert!((y - expected).iter().all(|error| error.abs() < 3e-6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Argument`] when there is no last axis or it is empty; the link's errors.
    pub fn softmax(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        self.exactly([x], |p, [x]| {
            let rows = Rows::of("softmax", x)?;
            let e = p.exponentials(x, &rows)?;
            Ok(p.shares_of_sum(&e, &rows)?.reshape(x.shape())?)
        })
    }

    /// The logarithm of softmax along the last axis: x − max − ln Σe^(x − max).
    ///
    /// The error is at most 2·2^−f + 2^−(f+3)·C for rows of C elements. Costs a little less than [`Party::softmax`]:
    /// [`crate::mpc::cost::log_softmax`]. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![[0.0, 2f64.ln()], [-100.0, 100.0]])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.log_softmax(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// let expected = array![[-(3f64.ln()), (2f64 / 3.0).ln()], [-200.0, 0.0]].into_dyn();
    /// assert!((y - expected).iter().all(|error| error.abs() < 3e-6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Party::softmax`].
    pub fn log_softmax(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        self.exactly([x], |p, [x]| {
            let rows = Rows::of("log_softmax", x)?;
            let e = p.exponentials(x, &rows)?;
            let logarithm = p.log_of(&e.sums, e.scale, p.codec().fraction_bits())?;
            Ok(e.below.sub(&rows.spread(&logarithm)?)?.reshape(x.shape())?)
        })
    }

    /// The cross-entropy of logits and labels of the same shape, row by row along the last axis, and its gradient.
    ///
    /// Labels are fixed-point numbers that sum to 1 in each row: one-hot, or smoothed. With z = x − max, the loss of a row
    /// is ln Σeᶻ − Σ label·z, and its gradient softmax(x) − label. The loss of a batch is the mean of the losses, and its
    /// gradient this one divided by the number of rows. Errors: those of [`Party::softmax`] and [`Party::log_softmax`].
    /// Costs a softmax, the logarithm of one number a row, and a truncation a row: [`crate::mpc::cost::cross_entropy`].
    /// Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let logits = world.deal(&codec.encode_array(&array![[1.0, 1.0, 1.0]])?);
    /// let labels = world.deal(&codec.encode_array(&array![[0.0, 1.0, 0.0]])?);
    /// let [opened, ..] = world.run(|p| {
    ///     let me = p.id().index();
    ///     let loss = p.cross_entropy(&logits[me], &labels[me])?;
    ///     Ok::<_, cryptgpu_core::mpc::MpcError>((p.open(&loss.losses)?, p.open(&loss.gradient)?))
    /// });
    /// let (losses, gradient) = opened?;
    /// let (losses, gradient) = (codec.decode_array(&losses.to_array()?), codec.decode_array(&gradient.to_array()?));
    /// assert!((losses[0] - 3f64.ln()).abs() < 3e-6 && (gradient[[0, 1]] + 2.0 / 3.0).abs() < 3e-6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Device`] when the shapes differ; as [`Party::softmax`].
    pub fn cross_entropy(&mut self, logits: &Rep, labels: &Rep) -> Result<CrossEntropy, MpcError> {
        self.exactly([logits, labels], |p, [logits, labels]| {
            let rows = Rows::of("cross_entropy", logits)?;
            // Where shapes differ, this says so before anything is sent.
            let _ = logits.sub(labels)?;
            let e = p.exponentials(logits, &rows)?;
            let softmax = p.shares_of_sum(&e, &rows)?.reshape(logits.shape())?;
            let f = p.codec().fraction_bits();
            let logarithm = p.log_of(&e.sums, e.scale, f)?;
            let products = e.below.local_mul(&labels.reshape(&[labels.len()])?)?;
            let chosen = p.row_sums(&products, &rows)?;
            let chosen = p.truncate_additive(chosen, f)?;
            let losses = logarithm.sub(&chosen)?.reshape(&logits.shape()[..logits.shape().len() - 1])?;
            Ok(CrossEntropy { losses, gradient: softmax.sub(labels)? })
        })
    }

    fn exponentials(&mut self, x: &Rep, rows: &Rows) -> Result<Exponentials, MpcError> {
        let (f, n) = (self.codec().fraction_bits(), x.len());
        let maxima = self.max_last_axis(x)?.reshape(&[rows.count])?;
        let below = x.reshape(&[n])?.sub(&rows.spread(&maxima)?)?;
        let scale = exponential_scale(f);
        let values = self.exp_scaled(&below, f, scale, Pieces::up_to_one(scale))?;
        let (image, window) = rows.image();
        let sums = values.reshape(&image)?.sum_pool(&window)?.reshape(&[rows.count])?;
        let sums = self.split("softmax", &sums, scale, sum_octaves(rows.width))?;
        Ok(Exponentials { below, values, sums, scale })
    }

    /// Each exponential divided by the sum of its row.
    fn shares_of_sum(&mut self, e: &Exponentials, rows: &Rows) -> Result<Rep, MpcError> {
        let inverse = self.reciprocal_of(&e.sums, e.scale, WORKING)?;
        let cut = e.scale + WORKING - self.codec().fraction_bits();
        self.product(&e.values, &rows.spread(&inverse)?, None, cut as i32)
    }

    /// The sum of each row of an additive share. Local.
    pub(super) fn row_sums(&self, x: &Additive, rows: &Rows) -> Result<Additive, MpcError> {
        let (image, window) = rows.image();
        let sums = x.mine().reshape(&image)?.sum_pool(&window)?;
        Ok(Additive::from_summand(sums.reshape(&[rows.count])?))
    }
}
