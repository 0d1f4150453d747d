//! Simulated fixed-point numbers: f64 rounded to multiples of a unit wherever a private run truncates, by any of the ways in
//! which protocols truncate, and reduced modulo 2^l where a ring is given. No shares live here.

use crate::mpc::Division;
use crate::nn::training::SUMMED_32;
use crate::prg::philox::Generator;
use crate::ring::{FixedPoint, Ring};
use ndarray::ArrayD;

/// How a plaintext run rounds where a private one cuts f bits off. `docs/precision.md` has the bias of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// Not at all: plain f64.
    #[default]
    Exact,
    /// To the nearest multiple of 2^−`fraction_bits`.
    Nearest {
        /// Fraction bits.
        fraction_bits: u32,
    },
    /// Up to a multiple of 2^−`fraction_bits` with probability equal to what is cut, else down: without bias, as the
    /// protocols truncate.
    Stochastic {
        /// Fraction bits.
        fraction_bits: u32,
        /// Seed of the choices.
        seed: u64,
    },
    /// One unit below [`Stochastic`](Rounding::Stochastic): the sum ⌊u/2^d⌋ + ⌊v/2^d⌋ of two shares that are cut each by
    /// itself (ABY3's local truncation, as CryptGPU, CrypTen and Piranha use it), without what it does when shares wrap.
    Local {
        /// Fraction bits.
        fraction_bits: u32,
        /// Seed of the choices.
        seed: u64,
    },
    /// Down: a shift, half a unit too low on average.
    Floor {
        /// Fraction bits.
        fraction_bits: u32,
    },
}

impl Rounding {
    /// Fraction bits, if it rounds.
    pub fn fraction_bits(&self) -> Option<u32> {
        match *self {
            Rounding::Exact => None,
            Rounding::Nearest { fraction_bits } | Rounding::Floor { fraction_bits } => Some(fraction_bits),
            Rounding::Stochastic { fraction_bits, .. } | Rounding::Local { fraction_bits, .. } => Some(fraction_bits),
        }
    }
}

/// The numbers that a plaintext run computes with. A [`Rounding`] alone is that of our protocols in a ring without end; in that of 32
/// bits, gradients are of the sum of 16 examples, as in a private training there ([`in_ring`](Self::in_ring)).
///
/// ```
/// use cryptgpu_core::nn::plaintext::{Arithmetic, Rounding};
/// use cryptgpu_core::ring::Ring;
/// let ours = Arithmetic::from(Rounding::Stochastic { fraction_bits: 12, seed: 1 }).in_ring(Ring::Z32);
/// let theirs = Arithmetic::from(Rounding::Local { fraction_bits: 20, seed: 1 }).summing(1);
/// assert_eq!((ours.summed, theirs.summed), (Some(16), Some(1)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arithmetic {
    /// How it cuts.
    pub rounding: Rounding,
    /// Gradients are scaled to the sum of so many examples where they begin, of a batch at most: 1 in released codes, which divide them
    /// by the batch at once. None leaves the sum over the minibatch, and divides in the update of weights.
    pub summed: Option<usize>,
    /// The ring in which products stand before they are cut; none for one without end.
    pub ring: Option<Ring>,
}

impl From<Rounding> for Arithmetic {
    fn from(rounding: Rounding) -> Self {
        Arithmetic { rounding, summed: None, ring: None }
    }
}

impl Arithmetic {
    /// The same with gradients of the sum of so many examples.
    #[must_use]
    pub fn summing(self, examples: usize) -> Self {
        Arithmetic { summed: Some(examples), ..self }
    }

    /// The same with products modulo 2^l, and gradients as a private training has them there unless
    /// [`summing`](Self::summing) says otherwise: of the sum of the minibatch, or modulo 2^32 of 16 examples.
    #[must_use]
    pub fn in_ring(self, ring: Ring) -> Self {
        let summed = self.summed.or((ring == Ring::Z32).then_some(SUMMED_32));
        Arithmetic { ring: Some(ring), summed, ..self }
    }

    /// The same with gradients of the sum of the whole minibatch, in whichever ring.
    #[must_use]
    pub fn summing_batches(self) -> Self {
        Arithmetic { summed: None, ..self }
    }
}

/// How many values a run has cut, and how many of them a ring of its size could not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cut {
    /// All.
    pub values: u64,
    /// Those of at least 2^(l−2) units of a product, which a truncation does not bear; 0 without a ring.
    pub beyond: u64,
}

/// The cuts of one run, with the state of their choices.
pub(super) struct Cuts {
    rounding: Rounding,
    unit: Option<f64>,
    /// Bits of the ring.
    bits: Option<u32>,
    choices: Generator,
    cut: Cut,
}

impl Cuts {
    pub(super) fn new(arithmetic: Arithmetic) -> Self {
        let rounding = arithmetic.rounding;
        let unit = rounding.fraction_bits().map(|bits| (-f64::from(bits)).exp2());
        let seed = match rounding {
            Rounding::Stochastic { seed, .. } | Rounding::Local { seed, .. } => seed,
            _ => 0,
        };
        let (bits, choices) = (arithmetic.ring.map(Ring::bits), Generator::seeded(seed));
        Cuts { rounding, unit, bits, choices, cut: Cut::default() }
    }

    /// The fixed-point unit, if values have one.
    pub(super) fn unit(&self) -> Option<f64> {
        self.unit
    }

    /// Whether a pool's divisor goes on to the next product: in the ring of 32 bits a private training leaves products their room.
    pub(super) fn carries_averages(&self) -> bool {
        !self.are_short()
    }

    /// Whether products stand in the ring of 32 bits.
    pub(super) fn are_short(&self) -> bool {
        self.bits == Some(Ring::Z32.bits())
    }

    /// What was cut so far.
    pub(super) fn count(&self) -> Cut {
        self.cut
    }

    /// Rounds to multiples of `scale` units.
    pub(super) fn cut(&mut self, values: &mut ArrayD<f64>, scale: f64) {
        self.cut_behind(values, scale, 0);
    }

    /// [`cut`](Self::cut) of products that stand so many bits higher in the ring.
    pub(super) fn cut_behind(&mut self, values: &mut ArrayD<f64>, scale: f64, guard: u32) {
        let Some(fine) = self.unit else { return };
        let unit = fine * scale;
        self.cut_from(values, unit, unit * fine * (-f64::from(guard)).exp2());
    }

    /// Rounds to multiples of `unit` what stands in the ring with last places of size `place`.
    fn cut_from(&mut self, values: &mut ArrayD<f64>, unit: f64, place: f64) {
        self.cut.values += values.len() as u64;
        if let Some(bits) = self.bits {
            self.reduce(values, place, bits);
        }
        match self.rounding {
            Rounding::Exact => {}
            Rounding::Nearest { .. } => values.mapv_inplace(|value| (value / unit).round() * unit),
            Rounding::Floor { .. } => values.mapv_inplace(|value| (value / unit).floor() * unit),
            Rounding::Stochastic { .. } => self.choose(values, unit, 0.0),
            Rounding::Local { .. } => self.choose(values, unit, 1.0),
        }
    }

    /// Up or down with probability equal to what is cut, less `below` units.
    fn choose(&mut self, values: &mut ArrayD<f64>, unit: f64, below: f64) {
        let choices = &mut self.choices;
        values.mapv_inplace(|value| ((value / unit + choices.next_f64()).floor() - below) * unit);
    }

    /// Counts the values that do not fit, and reduces those that wrap; a product's last place is of size `place`.
    fn reduce(&mut self, values: &mut ArrayD<f64>, place: f64, bits: u32) {
        let bound = f64::from(bits - 2).exp2() * place;
        let size = 4.0 * bound;
        let beyond = values.iter_mut().filter(|value| value.abs() >= bound);
        self.cut.beyond += beyond.map(|value| *value -= (*value / size).round() * size).count() as u64;
    }

    /// [`cut`](Self::cut) to units, for values on their way.
    pub(super) fn rounded(&mut self, mut values: ArrayD<f64>) -> ArrayD<f64> {
        self.cut(&mut values, 1.0);
        values
    }

    /// Sums over an area divided by it: by a reciprocal that the ring of 32 bits has few bits for, as a private run's there.
    pub(super) fn divided(&mut self, mut sums: ArrayD<f64>, area: f64) -> ArrayD<f64> {
        let codec = self.rounding.fraction_bits().and_then(|bits| FixedPoint::in_ring(Ring::Z32, bits).ok());
        let (Some(codec), Some(unit), true) = (codec, self.unit, self.are_short()) else {
            return self.rounded(sums / area);
        };
        let (first, factor, last) = Division::by(area as u64, 0, codec).parts();
        let size = |cut: u32| (-f64::from(cut)).exp2();
        if first > 0 {
            sums *= size(first);
            self.cut_from(&mut sums, unit, unit * size(first));
        }
        sums *= factor as f64 * size(last);
        self.cut_from(&mut sums, unit, unit * size(last));
        sums
    }

    /// What a private run of the ring of 32 bits computes in 64, with so many bits more than the fraction bits that are usual there;
    /// otherwise [`rounded`](Self::rounded).
    pub(super) fn wide(&mut self, values: ArrayD<f64>, more: u32) -> ArrayD<f64> {
        if !self.are_short() {
            return self.rounded(values);
        }
        let (unit, bits) = (self.unit, self.bits);
        let fine = self.wide_unit().map(|unit| unit * (-f64::from(more)).exp2());
        (self.unit, self.bits) = (fine, Some(Ring::Z64.bits()));
        let rounded = self.rounded(values);
        (self.unit, self.bits) = (unit, bits);
        rounded
    }

    /// The unit of such numbers, if values have one.
    pub(super) fn wide_unit(&self) -> Option<f64> {
        let wide = (-f64::from(Ring::Z64.default_fraction_bits())).exp2();
        self.unit.map(|unit| if self.are_short() { wide } else { unit })
    }

    /// Rounds to the nearest multiple of a unit, as values are encoded.
    pub(super) fn encoded(&self, mut values: ArrayD<f64>) -> ArrayD<f64> {
        if let Some(unit) = self.unit {
            values.mapv_inplace(|value| (value / unit).round() * unit);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::IxDyn;

    const FRACTION_BITS: u32 = 12;

    /// The mean error of many cuts of a value, in units.
    fn bias(rounding: Rounding, value: f64) -> f64 {
        const MANY: usize = 200_000;
        let mut cuts = Cuts::new(rounding.into());
        let unit = f64::from(FRACTION_BITS).exp2().recip();
        let cut = cuts.rounded(ArrayD::from_elem(IxDyn(&[MANY]), value * unit));
        assert!(cut.iter().all(|cut| (cut / unit).fract() == 0.0 && (cut / unit - value).abs() <= 2.0));
        (cut.sum() / unit) / MANY as f64 - value
    }

    #[test]
    fn a_cut_has_the_bias_that_it_is_said_to_have() {
        let (fraction_bits, seed) = (FRACTION_BITS, 5);
        // Five standard deviations of the mean of so many choices.
        let tolerance = 5.0 * 0.5 / (200_000f64).sqrt();
        for value in [0.0, 0.25, -0.25, 3.9, -1000.7, 77_777.5] {
            let near = |bias: f64, expected: f64| {
                assert!((bias - expected).abs() < tolerance, "{value}: {bias} and not {expected}");
            };
            near(bias(Rounding::Stochastic { fraction_bits, seed }, value), 0.0);
            near(bias(Rounding::Local { fraction_bits, seed }, value), -1.0);
            near(bias(Rounding::Floor { fraction_bits }, value), value.floor() - value);
            near(bias(Rounding::Nearest { fraction_bits }, value), value.round() - value);
        }
    }

    #[test]
    fn products_beyond_the_ring_are_counted_and_come_out_as_others() {
        let rounding = Rounding::Nearest { fraction_bits: FRACTION_BITS };
        let mut cuts = Cuts::new(Arithmetic::from(rounding).in_ring(Ring::Z32));
        // 2^(30 − 24) = 64 is the first that a truncation does not bear, and 2^(32 − 24) = 256 is 0.
        let cut = cuts.rounded(ArrayD::from_shape_vec(IxDyn(&[4]), vec![63.5, -64.0, 100.0, 255.0]).unwrap());
        assert_eq!(cut.as_slice().unwrap(), [63.5, -64.0, 100.0, -1.0]);
        assert_eq!(cuts.count(), Cut { values: 4, beyond: 3 });
        // A value that stands four times as large in the ring has two bits less.
        let mut carried = ArrayD::from_elem(IxDyn(&[1]), 16.0);
        cuts.cut(&mut carried, 0.25);
        assert_eq!(cuts.count(), Cut { values: 5, beyond: 4 });
        let mut wide = Cuts::new(Arithmetic::from(rounding).in_ring(Ring::Z64));
        wide.rounded(ArrayD::from_elem(IxDyn(&[1]), 1e6));
        assert_eq!(wide.count(), Cut { values: 1, beyond: 0 });
        // An average of 49 elements of a half, by a sum that is cut and a reciprocal of twelve bits: 2675/2^17.
        let mut short = Cuts::new(Arithmetic::from(rounding).in_ring(Ring::Z32));
        let mean = short.divided(ArrayD::from_elem(IxDyn(&[1]), 24.5), 49.0);
        assert_eq!((mean[[0]], short.count()), (0.5, Cut { values: 2, beyond: 0 }));
        short.divided(ArrayD::from_elem(IxDyn(&[1]), 49.0 * 65.0), 49.0);
        assert_eq!(short.count(), Cut { values: 4, beyond: 1 });
    }
}
