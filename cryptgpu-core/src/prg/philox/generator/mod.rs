//! NumPy's distributions over a Philox: `numpy.random.Generator`, draw for draw.

mod integers;
mod sampling;
mod ziggurat;

pub use integers::Integer;
pub use sampling::Choice;

use super::{Entropy, Philox};
use crate::prg::PrgError;
use ndarray::{Array, IntoDimension};
use std::ops::RangeBounds;

/// Random numbers of many distributions, equal bit for bit to those of
/// `numpy.random.Generator(numpy.random.Philox(seed))` after the same calls.
///
/// Methods with a shape return arrays filled in row-major order; `()` is the shape of a single
/// number, for which there are also methods of their own.
///
/// ```
/// use cryptgpu_core::prg::philox::Generator;
/// let mut rng = Generator::seeded(42u64);
/// let noise = rng.standard_normal((2, 3));
/// let dice = rng.integers(1..=6, 100)?;
/// assert_eq!((noise.shape(), dice.len()), (&[2, 3][..], 100));
/// assert!(dice.iter().all(|face| (1..=6).contains(face)));
/// # Ok::<(), cryptgpu_core::prg::PrgError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    bits: Philox,
}

/// An array of `shape`, filled in row-major order.
fn array<T: Clone, Sh: IntoDimension>(shape: Sh, init: T, fill: impl FnOnce(&mut [T])) -> Array<T, Sh::Dim> {
    let mut array = Array::from_elem(shape.into_dimension(), init);
    // A new array is contiguous and in row-major order, so there is a slice.
    fill(array.as_slice_mut().unwrap_or_default());
    array
}

/// How many words are turned into floats at a time.
const CHUNK: usize = 512;

impl Generator {
    /// Over any bit generator.
    pub fn new(bits: Philox) -> Self {
        Generator { bits }
    }

    /// Over a Philox of this seed.
    pub fn seeded(seed: impl Into<Entropy>) -> Self {
        Self::new(Philox::seeded(seed))
    }

    /// The generator of words below.
    pub fn bit_generator(&self) -> &Philox {
        &self.bits
    }

    /// The generator of words below, to draw from it or to change its state.
    pub fn bit_generator_mut(&mut self) -> &mut Philox {
        &mut self.bits
    }

    /// `n` generators over the next `n` children of the seed.
    ///
    /// # Errors
    /// [`PrgError::NoSeedSequence`] when the bit generator was made from a key or a state.
    pub fn spawn(&mut self, n: usize) -> Result<Vec<Generator>, PrgError> {
        Ok(self.bits.spawn(n)?.into_iter().map(Generator::new).collect())
    }

    /// A number of [0, 1) with 53 random bits: a multiple of 2⁻⁵³.
    #[inline]
    pub fn next_f64(&mut self) -> f64 {
        unit_f64(self.bits.random_raw())
    }

    /// A number of [0, 1) with 24 random bits, from a 32-bit draw: a multiple of 2⁻²⁴.
    #[inline]
    pub fn next_f32(&mut self) -> f32 {
        (self.bits.random_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Numbers as of [`Generator::next_f64`]: NumPy's `random(shape)`.
    pub fn random<Sh: IntoDimension>(&mut self, shape: Sh) -> Array<f64, Sh::Dim> {
        array(shape, 0.0, |out| {
            let mut words = [0; CHUNK];
            for chunk in out.chunks_mut(CHUNK) {
                let words = &mut words[..chunk.len()];
                self.bits.fill_raw(words);
                chunk.iter_mut().zip(words).for_each(|(x, word)| *x = unit_f64(*word));
            }
        })
    }

    /// Numbers as of [`Generator::next_f32`]: NumPy's `random(shape, dtype=float32)`.
    pub fn random_f32<Sh: IntoDimension>(&mut self, shape: Sh) -> Array<f32, Sh::Dim> {
        array(shape, 0.0, |out| out.fill_with(|| self.next_f32()))
    }

    /// Uniform on [low, high), or at high by rounding: low + (high − low)·u.
    ///
    /// # Errors
    /// [`PrgError::Argument`] when high − low is negative or not finite.
    pub fn uniform<Sh: IntoDimension>(
        &mut self,
        low: f64,
        high: f64,
        shape: Sh,
    ) -> Result<Array<f64, Sh::Dim>, PrgError> {
        let range = high - low;
        if !range.is_finite() || range.is_sign_negative() {
            let why = format!("high − low is {range} for low {low} and high {high}, not a finite number from zero up");
            return Err(PrgError::Argument { operation: "uniform", why });
        }
        let mut out = self.random(shape);
        out.mapv_inplace(|u| low + range * u);
        Ok(out)
    }

    /// A standard normal number, by the ziggurat of 256 blocks: one word 98.9 % of the time.
    #[inline]
    pub fn next_standard_normal(&mut self) -> f64 {
        loop {
            let word = self.bits.random_raw();
            let block = (word & 0xff) as usize;
            let magnitude = (word >> 9) & 0x000f_ffff_ffff_ffff;
            let x = magnitude as f64 * f64::from_bits(ziggurat::WI[block]);
            // Bit 8 is the sign; a branch on it would be mispredicted half of the time.
            let x = f64::from_bits(x.to_bits() ^ ((word << 55) & (1 << 63)));
            if magnitude < ziggurat::KI[block] {
                return x;
            }
            if block == 0 {
                return self.normal_tail(magnitude);
            }
            let (above, here) = (f64::from_bits(ziggurat::FI[block - 1]), f64::from_bits(ziggurat::FI[block]));
            if (above - here) * self.next_f64() + here < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }

    /// A number beyond ±R (Marsaglia 1964); its sign is another bit of the draw that led here.
    #[cold]
    fn normal_tail(&mut self, magnitude: u64) -> f64 {
        loop {
            let x = -(1.0 / ziggurat::R) * (-self.next_f64()).ln_1p();
            let y = -(-self.next_f64()).ln_1p();
            if y + y > x * x {
                let x = ziggurat::R + x;
                return if (magnitude >> 8) & 1 == 1 { -x } else { x };
            }
        }
    }

    /// Standard normal numbers: NumPy's `standard_normal(shape)`.
    pub fn standard_normal<Sh: IntoDimension>(&mut self, shape: Sh) -> Array<f64, Sh::Dim> {
        array(shape, 0.0, |out| out.fill_with(|| self.next_standard_normal()))
    }

    /// Normal numbers of mean `loc` and standard deviation `scale`.
    ///
    /// # Errors
    /// [`PrgError::Argument`] when `scale` is negative (−0.0 is, as in NumPy).
    pub fn normal<Sh: IntoDimension>(
        &mut self,
        loc: f64,
        scale: f64,
        shape: Sh,
    ) -> Result<Array<f64, Sh::Dim>, PrgError> {
        if scale.is_sign_negative() && !scale.is_nan() {
            let why = format!("scale is {scale}: a standard deviation is not negative");
            return Err(PrgError::Argument { operation: "normal", why });
        }
        let mut out = self.standard_normal(shape);
        out.mapv_inplace(|z| loc + scale * z);
        Ok(out)
    }

    /// An integer of `range`, any bounds, uniform: NumPy's `integers(low, high)` without a size.
    ///
    /// # Errors
    /// [`PrgError::Argument`] when the range is empty.
    pub fn integer<T: Integer>(&mut self, range: impl RangeBounds<T>) -> Result<T, PrgError> {
        let span = integers::Span::of(range)?;
        let mut one = [T::MIN];
        span.fill(&mut self.bits, &mut one);
        Ok(one[0])
    }

    /// Integers of `range`, any bounds, uniform: NumPy's `integers(low, high, shape, dtype)`, where
    /// `low..=high` is its `endpoint=True`. Multiplication with rejection (Lemire 2019).
    ///
    /// Integers of 8 and 16 bits split 32-bit draws within the call; ranges up to 2³² − 1 use
    /// 32-bit draws for the 64-bit types too.
    ///
    /// # Errors
    /// [`PrgError::Argument`] when the range is empty.
    pub fn integers<T: Integer, Sh: IntoDimension>(
        &mut self,
        range: impl RangeBounds<T>,
        shape: Sh,
    ) -> Result<Array<T, Sh::Dim>, PrgError> {
        let span = integers::Span::of(range)?;
        Ok(array(shape, T::MIN, |out| span.fill(&mut self.bits, out)))
    }

    /// `n` random bytes: NumPy's `bytes(n)`.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut out = vec![0; n];
        if n == 0 {
            // NumPy rounds −1/4 up and draws once.
            self.bits.random_u32();
        }
        self.bits.fill_bytes(&mut out);
        out
    }
}

#[inline(always)]
fn unit_f64(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}
