//! Simulated fixed-point numbers: f64 rounded to multiples of a unit wherever a private run truncates. No ring and no
//! shares live here; values never wrap.

use crate::prg::philox::Generator;
use ndarray::ArrayD;

/// How a plaintext run rounds where a private one cuts.
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
}

impl Rounding {
    /// Fraction bits, if it rounds.
    pub fn fraction_bits(&self) -> Option<u32> {
        match *self {
            Rounding::Exact => None,
            Rounding::Nearest { fraction_bits } | Rounding::Stochastic { fraction_bits, .. } => Some(fraction_bits),
        }
    }
}

/// The cuts of one run, with the state of their choices.
pub(super) struct Cuts {
    unit: Option<f64>,
    choices: Option<Generator>,
}

impl Cuts {
    pub(super) fn new(rounding: Rounding) -> Self {
        let unit = rounding.fraction_bits().map(|bits| (-f64::from(bits)).exp2());
        let choices = match rounding {
            Rounding::Stochastic { seed, .. } => Some(Generator::seeded(seed)),
            _ => None,
        };
        Cuts { unit, choices }
    }

    /// The fixed-point unit, if values have one.
    pub(super) fn unit(&self) -> Option<f64> {
        self.unit
    }

    /// Rounds to multiples of `scale` units.
    pub(super) fn cut(&mut self, values: &mut ArrayD<f64>, scale: f64) {
        let Some(unit) = self.unit.map(|unit| unit * scale) else { return };
        match &mut self.choices {
            None => values.mapv_inplace(|value| (value / unit).round() * unit),
            Some(choices) => values.mapv_inplace(|value| (value / unit + choices.next_f64()).floor() * unit),
        }
    }

    /// [`cut`](Self::cut) to units, for values on their way.
    pub(super) fn rounded(&mut self, mut values: ArrayD<f64>) -> ArrayD<f64> {
        self.cut(&mut values, 1.0);
        values
    }

    /// Rounds to the nearest multiple of a unit, as values are encoded.
    pub(super) fn encoded(&self, mut values: ArrayD<f64>) -> ArrayD<f64> {
        if let Some(unit) = self.unit {
            values.mapv_inplace(|value| (value / unit).round() * unit);
        }
        values
    }
}
