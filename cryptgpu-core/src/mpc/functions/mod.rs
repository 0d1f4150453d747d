//! Functions of secret numbers: reciprocal and quotient, roots, logarithm, exponential, sigmoid, softmax and cross-entropy. Each is
//! composed of the protocols beside this folder, so that nothing is opened on the way and nothing is sent here. What
//! belongs to training, such as gradients of layers and optimisers, may not live here.
//!
//! All work alike, and in the ring of 64 bits: shares of 32 are extended before and reduced afterwards
//! (`docs/adr/0054-between-the-rings.md`). A batch of comparisons with public thresholds says where a number lies; sums of these bits with public
//! weights are the power of two that brings it into a short interval, and the factor or summand that undoes this
//! afterwards; a polynomial of degree 11 does the rest ([`Octaves`]; reasons: `docs/adr/0024-functions-that-open-nothing.md`;
//! ranges, errors and costs: `docs/protocols.md`). After Keller and Sun, ICML 2022, appendix C.
//!
//! | file | what |
//! |---|---|
//! | `octaves.rs` | [`Octaves`]: the range of an argument; its mantissa and its exponent |
//! | `polynomial.rs` | polynomials, and their coefficients |
//! | `reciprocal.rs` | reciprocal, quotient |
//! | `roots.rs` | square root, its reciprocal |
//! | `log.rs` | natural logarithm |
//! | `exp.rs` | exponential |
//! | `sigmoid.rs` | sigmoid |
//! | `pieces.rs`, `tables.rs` | [`SmoothFunction`]: activations by piecewise polynomials, and their numbers |
//! | `softmax.rs` | maximum of rows, softmax, its logarithm, cross-entropy |
//! | `normalise.rs` | rows with mean 0 and variance 1 |
//! | `rows.rs` | [`RowFunction`]: softmax and normalisation within a network |
//! | `cost.rs` | what they cost, as formulas |

pub(super) mod cost;
mod exp;
mod log;
mod normalise;
mod octaves;
mod pieces;
mod polynomial;
mod reciprocal;
mod roots;
mod rows;
mod sigmoid;
mod softmax;
mod tables;

pub(crate) use exp::EXP_FRACTION_BITS;
pub use octaves::Octaves;
pub use pieces::SmoothFunction;
pub use rows::RowFunction;
pub use softmax::CrossEntropy;

use super::{Fidelity, MpcError, Party, Rep, Settings, SignWindow};
use crate::ring::{FixedPoint, Ring};

/// What numbers must stay below for a truncation to be right, as a power of two.
const RANGE_BITS: u32 = 62;

/// Fraction bits of numbers on the way. The product of two has twice as many, and 6 bits are left in front of them.
const WORKING: u32 = (RANGE_BITS - 6) / 2;

/// 2^exponent, exactly.
fn power(exponent: i32) -> f64 {
    f64::powi(2.0, exponent)
}

/// A public real at a scale of so many fraction bits. Every step is exact or correctly rounded by IEEE 754, so that all
/// parties get the same word on whatever machine.
fn fixed(value: f64, fraction_bits: u32) -> u64 {
    (value * power(fraction_bits as i32)).round() as i64 as u64
}

/// What a function gives.
trait Outcome: Sized {
    /// The same in the ring of 32 bits.
    fn reduced(self) -> Self;
}

impl Outcome for Rep {
    fn reduced(self) -> Self {
        self.reduce()
    }
}

impl Party {
    /// Runs `body`, a function of `inputs`, with exact truncations: numbers on the way come near the end of the range, where the
    /// paper's truncation is often wrong. They have 28 fraction bits, for which the ring of 32 bits has no room: inputs of that
    /// ring are extended together first, all is computed in 64 bits with the codec's fraction bits, and the result is reduced.
    fn exactly<T: Outcome, const N: usize>(
        &mut self,
        inputs: [&Rep; N],
        body: impl FnOnce(&mut Party, [&Rep; N]) -> Result<T, MpcError>,
    ) -> Result<T, MpcError> {
        let before = *self.settings();
        let settings = Settings { fidelity: Fidelity::Exact, ..before };
        if inputs.iter().all(|x| x.ring() == Ring::Z64) {
            return self.with_settings(settings, |p| body(p, inputs));
        }
        let codec = FixedPoint::in_ring(Ring::Z64, before.codec.fraction_bits())?;
        let extended = self.extend_all(inputs)?;
        let result = self
            .with_settings(Settings { codec, ..settings }, |p| p.of_extended(true, |p| body(p, extended.each_ref())))?;
        Ok(result.reduced())
    }

    /// [`Party::extend`] of several shares, in the rounds of one.
    pub(crate) fn extend_all<const N: usize>(&mut self, inputs: [&Rep; N]) -> Result<[Rep; N], MpcError> {
        let flat: Result<Vec<Rep>, _> = inputs.iter().map(|x| x.reshape(&[x.len()])).collect();
        let all = match &flat?[..] {
            [one] => self.extend(one)?,
            several => self.extend(&Rep::concat(several)?)?,
        };
        let mut first = 0;
        let mut part = |x: &Rep| {
            let own = first..first + x.len();
            first = own.end;
            if own.len() == all.len() { all.reshape(x.shape()) } else { all.narrow(own)?.reshape(x.shape()) }
        };
        let mut parts = inputs.map(Rep::clone);
        for x in &mut parts {
            *x = part(x)?;
        }
        Ok(parts)
    }

    /// Runs `body` with other settings, and sets them back afterwards.
    pub(crate) fn with_settings<T>(&mut self, settings: Settings, body: impl FnOnce(&mut Party) -> T) -> T {
        let before = *self.settings();
        self.set_settings(settings);
        let result = body(self);
        self.set_settings(before);
        result
    }

    /// (x·y + plus)/2^cut, element by element, with `plus` at the scale of the product; times 2^−cut where `cut` is negative.
    fn product(&mut self, x: &Rep, y: &Rep, plus: Option<&Rep>, cut: i32) -> Result<Rep, MpcError> {
        let mut z = x.local_mul(y)?;
        if let Some(plus) = plus {
            z = z.add(&plus.to_additive())?;
        }
        if cut <= 0 {
            return self.reshare(z.mul_word(1 << -cut));
        }
        self.truncate_additive(z, cut.unsigned_abs())
    }

    /// Where x lies among public thresholds: a row of ring elements 0 or 1 for each, 1 where x is not below it. x has one
    /// axis.
    fn steps(&mut self, x: &Rep, thresholds: &[u64], window: SignWindow) -> Result<Rep, MpcError> {
        let row = [1, x.len()];
        let differences: Result<Vec<Rep>, _> =
            thresholds.iter().map(|t| x.add_word(self.id(), t.wrapping_neg()).reshape(&row)).collect();
        let differences = Rep::concat(&differences?)?;
        self.with_window(window, |p| p.sign_to_ring(&differences, true))
    }

    /// The public value of the step in which x lies, from what [`Party::steps`] gives: the first below all thresholds, one
    /// more at each. Local.
    fn weigh(&self, steps: &Rep, values: &[u64]) -> Result<Rep, MpcError> {
        let n = steps.shape().get(1).copied().unwrap_or(0);
        let mut sum: Option<Rep> = None;
        for (k, pair) in values.windows(2).enumerate() {
            let gain = pair[1].wrapping_sub(pair[0]);
            if gain == 0 {
                continue;
            }
            let term = steps.narrow(k..k + 1)?.mul_word(gain);
            sum = Some(match sum {
                Some(sum) => sum.add(&term)?,
                None => term,
            });
        }
        let sum = match sum {
            Some(sum) => sum,
            None => steps.narrow(0..1)?.mul_word(0),
        };
        Ok(sum.add_word(self.id(), values.first().copied().unwrap_or(0)).reshape(&[n])?)
    }
}
