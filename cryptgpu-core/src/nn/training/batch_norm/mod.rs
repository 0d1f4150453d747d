//! Batch normalisation of images in training, forward and backward, and by running statistics in an evaluation. M is the
//! number of elements of a channel, batch·height·width, and all sums are over these. In the ring of 32 bits the passes are those of
//! `short.rs`.

use super::wide;
use crate::device::{DeviceError, PoolGeometry};
use crate::mpc::{Additive, MpcError, Party, Rep};
use crate::nn::divisor::factor;
use crate::nn::window::PRODUCT_BITS;
use crate::ring::Ring;

pub(in crate::nn) mod short;

/// Bits in front of the fraction that gradients and what they are made of are given, 2^14, when a scale is chosen.
pub(super) const HEADROOM: u32 = 14;

/// Significant bits of 1/M, where it is no power of two.
const COUNT_BITS: u32 = 14;

/// PyTorch's momentum of running statistics.
pub(super) const MOMENTUM: f64 = 0.1;

/// Bits that changes of running statistics have more than the codec until they are cut.
pub(super) const MOMENTUM_BITS: u32 = 4;

/// What the backward pass of a batch normalisation needs.
#[derive(Clone, Debug)]
pub(super) enum Normalised {
    /// In the ring of 64 bits.
    Long(Long),
    /// In that of 32.
    Short(short::Normalised),
}

/// What it needs in the ring of 64 bits.
#[derive(Clone, Debug)]
pub(super) struct Long {
    /// x − μ.
    pub centered: Rep,
    /// 1/√(σ² + eps), by channel.
    pub inverse: Rep,
    /// γ/√(σ² + eps), by channel.
    pub factor: Rep,
}

/// Mean and variance of a batch, by channel; of 64 bits in either ring.
#[derive(Clone, Debug)]
pub(super) struct BatchStatistics {
    /// The step of the forward pass.
    pub step: usize,
    pub mean: Rep,
    /// Σ(x − μ)²/M.
    pub variance: Rep,
    /// M.
    pub count: usize,
}

/// Gradients of a batch normalisation.
pub(super) struct Gradients {
    /// Of γ, with the scale of a product.
    pub weight: Additive,
    /// Of β, with the codec's scale.
    pub bias: Rep,
    /// Of x, if it was asked for.
    pub input: Option<Rep>,
}

/// Elements of a channel.
fn count(x: &Rep) -> usize {
    x.len() / x.shape().get(1).copied().unwrap_or(1).max(1)
}

/// 1/M as a public factor and a cut.
pub(super) fn count_factor(count: usize) -> (u64, u32) {
    factor(1.0 / count.max(1) as f64, COUNT_BITS)
}

/// Bits that factors of the input's gradient have more than the codec: they are small, about 1/√M of the gradient.
pub(super) fn guard(count: usize, fraction_bits: u32) -> u32 {
    (count.max(1).ilog2() / 2).min(PRODUCT_BITS.saturating_sub(2 * fraction_bits + HEADROOM))
}

/// a·centered + β, truncated.
fn scaled(p: &mut Party, centered: &Rep, a: &Rep, beta: &Rep) -> Result<Rep, MpcError> {
    let f = p.codec().fraction_bits();
    let sum = centered.scale_channels(a)?.add_channels(&beta.mul_word(1 << f))?;
    p.truncate_additive(sum, f)
}

/// γ/√(σ² + eps) of several normalisations at once, from their γ, σ² and eps.
pub(super) fn factors(p: &mut Party, norms: &[(&Rep, &Rep, f64)]) -> Result<Vec<Rep>, MpcError> {
    if norms.is_empty() {
        return Ok(vec![]);
    }
    let shifted: Result<Vec<Rep>, _> = norms.iter().map(|(_, variance, eps)| p.add_scalar(variance, *eps)).collect();
    let inverse = p.rsqrt(&Rep::concat(&shifted?)?)?;
    let gammas: Vec<Rep> = norms.iter().map(|(gamma, ..)| (*gamma).clone()).collect();
    let factors = p.mul(&Rep::concat(&gammas)?, &inverse)?;
    let mut first = 0;
    let each = norms.iter().map(|(gamma, ..)| {
        let own = first..first + gamma.len();
        first = own.end;
        Ok(factors.narrow(own)?)
    });
    each.collect()
}

/// By running statistics: a·(x − mean) + β with a = γ/√(σ² + eps). One truncation.
pub(super) fn by_running(p: &mut Party, x: &Rep, mean: &Rep, a: &Rep, beta: &Rep) -> Result<Rep, MpcError> {
    let centered = x.add_channels(&mean.neg())?;
    scaled(p, &centered, a, beta)
}

/// The gradient of x in [`by_running`]: a·dy.
pub(super) fn by_running_backward(p: &mut Party, dy: &Rep, a: &Rep) -> Result<Rep, MpcError> {
    let f = p.codec().fraction_bits();
    p.truncate_additive(dy.scale_channels(a)?, f)
}

/// By the statistics of the batch: γ·(x − μ)/√(σ² + eps) + β with μ = Σx/M and σ² = Σ(x − μ)²/M.
///
/// Squares are summed over each image before their truncation and over the images after it, so that M may be large.
pub(super) fn forward(
    p: &mut Party,
    x: &Rep,
    [gamma, beta]: [&Rep; 2],
    eps: f64,
    step: usize,
) -> Result<(Rep, Normalised, BatchStatistics), MpcError> {
    if x.ring() == Ring::Z32 {
        let (y, kept, batch) = short::forward(p, x, [gamma, beta], eps, step)?;
        return Ok((y, Normalised::Short(kept), batch));
    }
    let (f, count) = (p.codec().fraction_bits(), count(x));
    let (c, d) = count_factor(count);
    let mean = p.truncate(&x.channel_sums()?.mul_word(c), d)?;
    let centered = x.add_channels(&mean.neg())?;
    let squares = image_sums(&centered.local_mul(&centered)?)?;
    let sums = p.truncate_additive(squares, f)?.channel_sums()?;
    let variance = p.truncate(&sums.mul_word(c), d)?;
    let shifted = p.add_scalar(&variance, eps)?;
    let inverse = p.rsqrt(&shifted)?;
    let a = p.mul(gamma, &inverse)?;
    let y = scaled(p, &centered, &a, beta)?;
    let kept = Normalised::Long(Long { centered, inverse, factor: a });
    Ok((y, kept, BatchStatistics { step, mean, variance, count }))
}

/// The sum over each plane of an image: `[N, C, …]` to `[N, C]`.
fn image_sums(x: &Additive) -> Result<Additive, MpcError> {
    let &[batch, channels, ref plane @ ..] = x.shape() else {
        let detail = format!("a tensor of shape {:?} is no batch of images", x.shape());
        return Err(MpcError::other(&detail));
    };
    // A row at a time, whose words lie next to each other.
    let [height, width] = match *plane {
        [height, ref rest @ ..] => [height, rest.iter().product()],
        [] => [1, 1],
    };
    let window = PoolGeometry { kernel: [height, width], ..PoolGeometry::square(1, 1, 0) };
    let sums = x.mine().reshape(&[batch, channels, height, width])?.sum_pool(&window)?;
    Ok(Additive::from_summand(sums.reshape(&[batch, channels])?))
}

/// The gradients of [`forward`]: with S = Σ dy·(x − μ) and i = 1/√(σ² + eps), those of β and γ are Σdy and i·S, and that of
/// x is a·dy + b·(x − μ) + c with a = γ·i, b = −a·i·(i·S/M) and c = −a·Σdy/M.
pub(super) fn backward(p: &mut Party, dy: &Rep, kept: &Normalised, input: bool) -> Result<Gradients, MpcError> {
    let Long { centered, inverse, factor: a } = match kept {
        Normalised::Long(kept) => kept,
        Normalised::Short(kept) => return short::backward(p, dy, kept, input),
    };
    let (f, count) = (p.codec().fraction_bits(), count(dy));
    let channels = inverse.len();
    let bias = dy.channel_sums()?;
    let correlation = dy.local_mul(centered)?.channel_sums()?;
    let correlation = p.truncate_additive(correlation, f)?;
    let weight = inverse.local_mul(&correlation)?;
    if !input {
        return Ok(Gradients { weight, bias, input: None });
    }
    let guard = guard(count, f);
    // Both divided by M, with `guard` bits more than the codec.
    let (c, d) = count_factor(count);
    let means = Rep::concat(&[correlation, bias.clone()])?;
    let means = match d.checked_sub(guard) {
        Some(cut) => p.truncate(&means.mul_word(c), cut)?,
        None => means.mul_word(c << (guard - d)),
    };
    let halves = |both: &Rep| Ok::<_, DeviceError>((both.narrow(0..channels)?, both.narrow(channels..2 * channels)?));
    let (correlation, mean) = halves(&means)?;
    // i·S/M and a·i, then their product, and a·Σdy/M.
    let products = [inverse.local_mul(&correlation)?, inverse.local_mul(a)?];
    let (first, second) = halves(&p.truncate_additive(Additive::concat(&products)?, f)?)?;
    let products = [second.local_mul(&first)?, a.local_mul(&mean)?];
    let products = p.truncate_additive(Additive::concat(&products)?, f)?.neg();
    let (b, c) = halves(&products)?;
    let sum = dy.scale_channels(a)?.mul_word(1 << guard).add(&centered.scale_channels(&b)?)?;
    let sum = sum.add_channels(&c.mul_word(1 << f))?;
    Ok(Gradients { weight, bias, input: Some(p.truncate_additive(sum, f + guard)?) })
}

/// New running statistics, mean and variance of each batch: r + 0.1·(s − r), with Σ(x − μ)²/(M − 1) as the variance. One
/// truncation for all, in 64 bits.
pub(super) fn running(
    p: &mut Party,
    statistics: &[BatchStatistics],
    before: &[[&Rep; 2]],
) -> Result<Vec<[Rep; 2]>, MpcError> {
    if statistics.is_empty() {
        return Ok(vec![]);
    }
    let (codec, more) = (p.codec(), wide::more(p.codec()));
    let bits = wide::codec(codec).fraction_bits() + MOMENTUM_BITS;
    let word = |value: f64| (value * (1u64 << bits) as f64).round() as u64;
    let keep = word(MOMENTUM);
    let flat: Vec<Rep> = before.iter().flatten().map(|&rep| rep.clone()).collect();
    let old = p.extend(&Rep::concat(&flat)?)?.mul_word(1 << more);
    let (mut changes, mut first) = (vec![], 0);
    let mut next_old = |like: &Rep| {
        let own = first..first + like.len();
        first = own.end;
        Ok::<_, DeviceError>(old.narrow(own)?.mul_word(keep))
    };
    for batch in statistics {
        let unbiased = batch.count as f64 / batch.count.saturating_sub(1).max(1) as f64;
        changes.push(batch.mean.mul_word(keep).sub(&next_old(&batch.mean)?)?);
        changes.push(batch.variance.mul_word(word(MOMENTUM * unbiased)).sub(&next_old(&batch.variance)?)?);
    }
    let changes = wide::back(p.truncate(&Rep::concat(&changes)?, bits + more)?, codec.ring());
    let mut first = 0;
    let mut next = |old: &Rep| -> Result<Rep, MpcError> {
        let own = first..first + old.len();
        first = own.end;
        Ok(old.add(&changes.narrow(own)?)?)
    };
    before.iter().map(|[mean, variance]| Ok([next(mean)?, next(variance)?])).collect()
}
