//! The exponential: the range is cut into pieces of four octaves, eˣ = 2^c·e²ᵘ with c the middle of x's piece, as an exponent of
//! two, and 2u = x − c·ln 2.

use super::polynomial::EXP;
use super::{RANGE_BITS, WORKING, fixed, power};
use crate::mpc::{MpcError, Party, Rep, SignWindow};
use crate::ring::Ring;
use std::f64::consts::LN_2;

/// The most fraction bits of numbers of which there are exponentials: the scale of 2u that the working scale of u makes.
pub(crate) const EXP_FRACTION_BITS: u32 = WORKING - 1;

/// Octaves in a piece: what the polynomial covers.
const PIECE: i32 = 4;

/// Pieces of an exponential without a limit on its argument: what is above them has no room.
const fn pieces(ring: Ring) -> usize {
    match ring {
        Ring::Z64 => 9,
        Ring::Z32 => 8,
    }
}

/// How the range of an exponential is cut.
#[derive(Clone, Copy)]
pub(super) struct Pieces {
    /// Where the lowest piece begins, as an exponent of two; below that the result is zero.
    low: i32,
    /// How many there are.
    pub count: usize,
    /// Whether what is above the highest counts as its upper end, for one comparison more.
    pub saturates: bool,
}

impl Pieces {
    /// For results with so many fraction bits: from a quarter of a unit to 2^34 units, 2^30 in the ring of 32 bits.
    pub fn whole(ring: Ring, to: u32) -> Self {
        Pieces { low: -(to as i32) - 2, count: pieces(ring), saturates: true }
    }

    /// For results with so many fraction bits: from a quarter of a unit to 1.
    pub fn up_to_one(to: u32) -> Self {
        Pieces { low: -(to as i32) - 2, count: (to as usize + 2).div_ceil(PIECE as usize), saturates: false }
    }

    /// The octave in which piece k begins.
    fn begin(self, k: usize) -> i32 {
        self.low + PIECE * k as i32
    }

    /// How many comparisons there are.
    pub fn thresholds(self) -> usize {
        self.count + usize::from(self.saturates)
    }

    /// A value for what lies below all pieces, one for each, and one for what lies above.
    fn values(self, piece: impl Fn(usize) -> u64, above: u64) -> Vec<u64> {
        let above = self.saturates.then_some(above);
        std::iter::once(0).chain((0..self.count).map(piece)).chain(above).collect()
    }

    /// Fraction bits of e²ᵘ, at most 4, so that its product with all powers of two stays in the range.
    pub fn scale(self) -> u32 {
        let highest = PIECE as u32 * (self.count as u32).saturating_sub(1);
        WORKING.min((RANGE_BITS - 3).saturating_sub(highest))
    }
}

impl Party {
    /// eˣ, for every x. With f fraction bits the result is zero below −(f + 2)·ln 2, and 2^(34−f) from (34 − f)·ln 2 on (9.7
    /// at f = 20), with 30 for 34 in the ring of 32 bits. Comparisons look at all 64 bits here, whatever the settings say.
    ///
    /// The argument's piece of four octaves is found by comparisons; a polynomial gives the part of the exponential within
    /// it, a sum of public powers of two the rest. The error is at most 2^−f + 2^−23·eˣ. About 915 bytes an element, 25
    /// rounds: [`crate::mpc::cost::exp`]. Nothing is opened.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![0.0, 1.0, -1.0, -1000.0])?);
    /// let [y, ..] = world.run(|p| {
    ///     let y = p.exp(&x[p.id().index()])?;
    ///     p.open(&y)
    /// });
    /// let y = codec.decode_array(&y?.to_array()?);
    /// assert!((y[0] - 1.0).abs() < 2e-6 && (y[1] - 1f64.exp()).abs() < 3e-6);
    /// assert!((y[2] - (-1f64).exp()).abs() < 2e-6 && y[3] == 0.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Argument`] for a codec with more than 27 fraction bits; the link's errors.
    pub fn exp(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        let (ring, f) = (x.ring(), self.codec().fraction_bits());
        let y = self.exactly([x], |p, [x]| p.exp_scaled(&x.reshape(&[x.len()])?, f, f, Pieces::whole(ring, f)))?;
        Ok(y.reshape(x.shape())?)
    }

    /// eˣ of a share with one axis and `from` fraction bits, with `to` of them.
    pub(super) fn exp_scaled(&mut self, x: &Rep, from: u32, to: u32, pieces: Pieces) -> Result<Rep, MpcError> {
        let whole = EXP_FRACTION_BITS;
        if from.max(to) > whole {
            let detail = format!("{} fraction bits: at most {whole}", from.max(to));
            return Err(MpcError::argument("exp", detail));
        }
        let logarithm = |octave: i32| f64::from(octave) * LN_2;
        // Rounded up, so that what reaches the last threshold is not below the end of the range.
        let threshold = |k: usize| (logarithm(pieces.begin(k)) * power(from as i32)).ceil() as i64 as u64;
        let thresholds: Vec<u64> = (0..pieces.thresholds()).map(threshold).collect();
        let steps = self.steps(x, &thresholds, SignWindow::default())?;
        // Zero below and above all pieces: bits times x, so that nothing outside the range is truncated.
        let inside = self.weigh(&steps, &pieces.values(|_| 1, 0))?;
        let inside = self.mul_no_trunc(x, &inside)?.mul_word(1 << (whole - from));
        let middle = |k: usize| fixed(logarithm(-pieces.begin(k) - PIECE / 2), whole);
        let end = fixed(logarithm(PIECE / 2), whole);
        let u = inside.add(&self.weigh(&steps, &pieces.values(middle, end))?)?;
        let scale = pieces.scale();
        let within = self.polynomial(&EXP, &u, None, scale)?;
        // 2^c at scale `to` is 2^(4k), as the lowest piece has its middle at −to.
        let highest = PIECE * (pieces.count as i32 - 1);
        let powers = pieces.values(|k| power(PIECE * k as i32) as u64, power(highest) as u64);
        let powers = self.weigh(&steps, &powers)?;
        self.product(&within, &powers, None, scale as i32)
    }
}
