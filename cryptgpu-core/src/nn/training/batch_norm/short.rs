//! Batch normalisation of images in training in the ring of 32 bits (`docs/adr/0057-every-optimiser-in-both-rings.md`). All that
//! there is one of for each channel is computed in 64 bits, from sums that are extended; elements stay in 32. M is the number
//! of elements of a channel, f that of the run's fraction bits, and w that of the numbers of 64 bits.

use super::{BatchStatistics, Gradients, count, count_factor, guard, scaled};
use crate::device::{DeviceError, PoolGeometry, Tensor};
use crate::mpc::{Additive, Cost, MpcError, Octaves, Party, Rep, cost};
use crate::nn::training::wide;
use crate::ring::{FixedPoint, Ring};

/// Fraction bits that x − μ has fewer where it is a factor of squares and of gradients: squares get eight bits of room by it, and
/// slopes four bits more.
const COARSER: u32 = 4;

/// Bits that the gradient of x has behind those of a product until it is cut, so that its slopes are as fine: it must stay below
/// 2^(30 − 2f − `GUARD`), 8 at 12 fraction bits.
pub(in crate::nn) const GUARD: u32 = 3;

/// Squares that are summed in 32 bits: their mean may be as large as 256 at 12 fraction bits.
const SQUARES: usize = 64;

/// Fewest fraction bits that leave some to [`COARSER`] numbers.
pub(in crate::nn) const FEWEST: u32 = COARSER + 2;

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub(in crate::nn::training) struct Normalised {
    /// x − μ with f − `COARSER` fraction bits.
    coarse: Rep,
    /// 1/√(σ² + eps), by channel, in 64 bits with w fraction bits.
    inverse: Rep,
    /// γ/√(σ² + eps), as that.
    factor: Rep,
    /// The same in 32 bits with f.
    applied: Rep,
}

/// Elements of a channel that are summed in 32 bits: of such as a truncation leaves, below 2^(30 − f), with a bit in front.
fn at_once(codec: FixedPoint) -> usize {
    1 << codec.fraction_bits().saturating_sub(1)
}

/// Elements of a plane that make a sum, and images whose sums are added, where at most so many elements may be.
fn window(batch: usize, plane: usize, most: usize) -> [usize; 2] {
    let run = plane.clamp(1, most.max(1));
    let images = if run < plane { 1 } else { (most / run).clamp(1, batch.max(1)) };
    [images, run]
}

/// Sums of a channel that [`sums_of`] makes.
fn sums_each(batch: usize, plane: usize, most: usize) -> usize {
    let [images, run] = window(batch, plane, most);
    batch.div_ceil(images) * plane.div_ceil(run)
}

/// Sums of at most so many elements of a channel: `[N, C, …]` to a shape whose axis 1 counts channels too. What is missing at the
/// end counts as zero.
fn sums_of(x: &Tensor, most: usize) -> Result<Tensor, DeviceError> {
    let &[batch, channels, ref plane @ ..] = x.shape() else {
        let (lhs, rhs, rule) = (x.shape().to_vec(), vec![], "it must be a batch of images");
        return Err(DeviceError::Shape { operation: "partial sums", lhs, rhs, rule });
    };
    let plane: usize = plane.iter().product();
    let [images, run] = window(batch, plane, most);
    let along = |kernel: [usize; 2], padding| PoolGeometry { kernel, stride: kernel, padding, dilation: [1; 2] };
    let (parts, groups) = (plane.div_ceil(run), batch.div_ceil(images));
    let rows = along([1, run], [0, 0, 0, parts * run - plane]);
    let sums = x.reshape(&[batch, channels, 1, plane])?.sum_pool(&rows)?;
    if images == 1 {
        return Ok(sums);
    }
    let columns = along([images, 1], [0, groups * images - batch, 0, 0]);
    sums.reshape(&[1, 1, batch, channels])?.sum_pool(&columns)?.reshape(&[groups, channels])
}

/// c·x/2^d, from so many fraction bits to so many others; what is cut of it.
fn divided(p: &mut Party, x: &Rep, (c, d): (u64, u32), from: u32, to: u32) -> Result<Rep, MpcError> {
    match (d + from).checked_sub(to) {
        Some(cut) => p.truncate(&x.mul_word(c), cut),
        None => Ok(x.mul_word(c << (to - d - from))),
    }
}

fn halves(both: &Rep) -> Result<[Rep; 2], DeviceError> {
    let half = both.len() / 2;
    Ok([both.narrow(0..half)?, both.narrow(half..2 * half)?])
}

/// By the statistics of the batch, as [`super::forward`]: x − μ is of the mean at f fraction bits, and σ² of its squares with
/// `COARSER` bits less, of which 64 are summed before they are extended.
pub(in crate::nn::training) fn forward(
    p: &mut Party,
    x: &Rep,
    [gamma, beta]: [&Rep; 2],
    eps: f64,
    step: usize,
) -> Result<(Rep, Normalised, BatchStatistics), MpcError> {
    let (codec, count) = (p.codec(), count(x));
    let (f, w, more) = (codec.fraction_bits(), wide::codec(codec).fraction_bits(), wide::more(codec));
    let (c, d) = count_factor(count);
    let (a, b) = x.components();
    let sums = Rep::from_components(sums_of(a, at_once(codec))?, sums_of(b, at_once(codec))?)?;
    let [sums, gamma] = p.extend_all([&sums, gamma])?;
    let sums = sums.channel_sums()?;
    // With w fraction bits, and with f.
    let means = p.truncate(&Rep::concat(&[sums.mul_word(c << more), sums.mul_word(c)])?, d)?;
    let [mean, near] = halves(&means)?;
    let centered = x.add_channels(&near.reduce().neg())?;
    let coarse = p.truncate(&centered, COARSER)?;
    // A bit is cut, so that a check of ranges sees them.
    let squares = Additive::from_summand(sums_of(coarse.local_mul(&coarse)?.mine(), SQUARES)?);
    let squares = p.truncate_additive(squares, 1)?;
    let squares = p.extend(&squares)?.channel_sums()?;
    let variance = divided(p, &squares, (c, d), 2 * (f - COARSER) - 1, w)?;
    let (inverse, factors) = wide::run(p, |p| {
        let shifted = p.add_scalar(&variance, eps)?;
        let inverse = p.rsqrt(&shifted)?;
        let product = gamma.local_mul(&inverse)?;
        let both = Additive::concat(&[product.mul_word(1 << more), product])?;
        Ok::<_, MpcError>((inverse, p.truncate_additive(both, w)?))
    })?;
    let [factor, applied] = halves(&factors)?;
    let applied = applied.reduce();
    let y = scaled(p, &centered, &applied, beta)?;
    let kept = Normalised { coarse, inverse, factor, applied };
    Ok((y, kept, BatchStatistics { step, mean, variance, count }))
}

/// Bits that are cut of slope and shift of [`backward`].
fn slope_cut(codec: FixedPoint, count: usize) -> u32 {
    let (f, w) = (codec.fraction_bits(), wide::codec(codec).fraction_bits());
    2 * w + guard(count, w) - (f + COARSER + GUARD)
}

/// The gradients of [`forward`], by the formulas of [`super::backward`]: dx = a·dy + b·(x − μ) + c, where b and c are of 64 bits,
/// with f + `COARSER` + `GUARD` and 2f + `GUARD` fraction bits.
pub(in crate::nn::training) fn backward(
    p: &mut Party,
    dy: &Rep,
    kept: &Normalised,
    input: bool,
) -> Result<Gradients, MpcError> {
    let Normalised { coarse, inverse, factor, applied } = kept;
    let (codec, count, channels) = (p.codec(), count(dy), inverse.len());
    let (f, w) = (codec.fraction_bits(), wide::codec(codec).fraction_bits());
    let bias = dy.channel_sums()?;
    let correlation = p.truncate_additive(dy.local_mul(coarse)?.channel_sums()?, 1)?;
    let [correlation, sum] = p.extend_all([&correlation, &bias])?;
    // i·S with 2f fraction bits, as the optimiser takes it, and a·i with w.
    let products = [inverse.local_mul(&correlation)?.mul_word(1 << (COARSER + 1)), inverse.local_mul(factor)?];
    let products = if input { &products[..] } else { &products[..1] };
    let products = p.truncate_additive(Additive::concat(products)?, w)?;
    let weight = products.narrow(0..channels)?;
    let of_weight = weight.reduce().to_additive();
    if !input {
        return Ok(Gradients { weight: of_weight, bias, input: None });
    }
    let square = products.narrow(channels..2 * channels)?;
    let means = Rep::concat(&[weight, sum.mul_word(1 << f)])?;
    let [along, mean] = halves(&divided(p, &means, count_factor(count), 2 * f, w + guard(count, w))?)?;
    let products = [square.local_mul(&along)?, factor.local_mul(&mean)?.mul_word(1 << (f - COARSER))];
    let slopes = p.truncate_additive(Additive::concat(&products)?, slope_cut(codec, count))?;
    let [b, c] = halves(&slopes.reduce().neg())?;
    let sum = dy.scale_channels(applied)?.mul_word(1 << GUARD).add(&coarse.scale_channels(&b)?)?.add_channels(&c)?;
    Ok(Gradients { weight: of_weight, bias, input: Some(p.truncate_additive(sum, f + GUARD)?) })
}

/// What [`forward`] and [`backward`] cost with truncations of products and of shares that cost so.
pub(in crate::nn::training) struct Account<'a> {
    pub codec: FixedPoint,
    pub batch: usize,
    pub channels: usize,
    /// Elements of a plane.
    pub plane: usize,
    pub product: &'a dyn Fn(Ring, usize, u32) -> Cost,
    pub shared: &'a dyn Fn(Ring, usize, u32) -> Cost,
}

impl Account<'_> {
    fn count(&self) -> usize {
        self.batch * self.plane
    }

    fn divided(&self, n: usize, from: u32, to: u32) -> Cost {
        let (_, d) = count_factor(self.count());
        (self.shared)(Ring::Z64, n, (d + from).saturating_sub(to))
    }

    /// [`forward`].
    pub fn forward(&self) -> Cost {
        let Account { codec, channels, product, shared, .. } = *self;
        let (f, w) = (codec.fraction_bits(), wide::codec(codec).fraction_bits());
        let n = channels * self.count();
        let sums = |most| channels * sums_each(self.batch, self.plane, most);
        let (_, d) = count_factor(self.count());
        cost::extend(sums(at_once(codec)) + channels)
            + shared(Ring::Z64, 2 * channels, d)
            + shared(Ring::Z32, n, COARSER)
            + product(Ring::Z32, sums(SQUARES), 1)
            + cost::extend(sums(SQUARES))
            + self.divided(channels, 2 * (f - COARSER) - 1, w)
            + cost::rsqrt(Ring::Z64, channels, w, Octaves::of(wide::codec(codec)))
            + product(Ring::Z64, 2 * channels, w)
            + product(Ring::Z32, n, f)
    }

    /// [`backward`].
    pub fn backward(&self, input: bool) -> Cost {
        let Account { codec, channels, product, .. } = *self;
        let (f, w) = (codec.fraction_bits(), wide::codec(codec).fraction_bits());
        let sums = product(Ring::Z32, channels, 1) + cost::extend(2 * channels);
        if !input {
            return sums + product(Ring::Z64, channels, w);
        }
        let guard = guard(self.count(), w);
        sums + product(Ring::Z64, 2 * channels, w)
            + self.divided(2 * channels, 2 * f, w + guard)
            + product(Ring::Z64, 2 * channels, slope_cut(codec, self.count()))
            + product(Ring::Z32, channels * self.count(), f + GUARD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use ndarray::Array;

    /// Sums of parts have as many elements as are allowed, and add up to those of channels.
    #[test]
    fn sums_of_parts_are_those_of_channels() {
        for ([batch, channels, height, width], most, each) in [
            ([3, 2, 5, 7], 64, 3),
            ([3, 2, 5, 7], 16, 9),
            ([5, 3, 2, 2], 8, 3),
            ([5, 3, 2, 2], 64, 1),
            ([4, 1, 1, 1], 3, 2),
        ] {
            let shape = [batch, channels, height, width];
            let values = Array::from_shape_fn(shape, |(n, c, y, x)| (n * 1000 + c * 100 + y * 10 + x + 1) as u64);
            for ring in [Ring::Z32, Ring::Z64] {
                let x = Tensor::from_array_in(ring, Device::Cpu, &values);
                let sums = sums_of(&x, most).unwrap();
                assert_eq!(sums.shape()[1], channels, "{shape:?}");
                assert_eq!(sums.len(), channels * each, "{shape:?}");
                assert_eq!(sums_each(batch, height * width, most), each, "{shape:?}");
                let channel = |x: &Tensor| {
                    let rep = Rep::from_components(x.clone(), x.clone()).unwrap().channel_sums().unwrap();
                    rep.components().0.to_array().unwrap()
                };
                assert_eq!(channel(&sums), channel(&x), "{shape:?}");
            }
        }
    }
}
