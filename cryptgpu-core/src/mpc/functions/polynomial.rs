//! Polynomials of degree 11 at secret places. The coefficients are numbers in this file and not computed when they are
//! used: all parties must multiply by the same words, and the logarithms and cosines of two machines may differ.

use super::{WORKING, fixed};
use crate::mpc::{MpcError, Party, Rep};

/// Coefficients, the constant first.
pub(super) struct Polynomial(pub [f64; 12]);

/// 2/(3 + u) on −1 ≤ u ≤ 1: the reciprocal of m = (3 + u)/2. Within 2^−29.5.
pub(super) const RECIPROCAL: Polynomial = Polynomial([
    0.6666666657990612,
    -0.22222222193302038,
    0.07407413644526832,
    -0.02469137881508944,
    0.008229730816423185,
    -0.0027432436054743953,
    0.000917524033213078,
    -0.0003058413444043593,
    9.595022569548528e-05,
    -3.198340856516176e-05,
    1.599170428258088e-05,
    -5.330568094193627e-06,
]);

/// √(2/(3 + u)) on −1 ≤ u ≤ 1. Within 2^−31.9.
pub(super) const INVERSE_ROOT: Polynomial = Polynomial([
    0.8164965807608068,
    -0.1360827634343631,
    0.034020702872920035,
    -0.009450195761888169,
    0.002756167001600281,
    -0.0008268471755743856,
    0.0002532452574374081,
    -7.839215043240855e-05,
    2.3345558738180744e-05,
    -7.342792099916233e-06,
    3.3489555893902782e-06,
    -1.0680325593630976e-06,
]);

/// √((3 + u)/2) on −1 ≤ u ≤ 1. Within 2^−36.
pub(super) const ROOT: Polynomial = Polynomial([
    1.2247448714019604,
    0.20412414522885874,
    -0.017010346181811332,
    0.002835057793627764,
    -0.0005906283484289501,
    0.00013781273743856213,
    -3.449023012052334e-05,
    9.034403070091235e-06,
    -2.3754321650079298e-06,
    6.585912192160231e-07,
    -2.50011504917345e-07,
    7.24289556504927e-08,
]);

/// ln((3 + u)/2) on −1 ≤ u ≤ 1. Within 2^−32.6.
pub(super) const LOG: Polynomial = Polynomial([
    0.4054651082112796,
    0.333333333301501,
    -0.055555562969969996,
    0.012345681301191475,
    -0.0030863338467932724,
    0.000823018749935439,
    -0.0002289850194445285,
    6.543257295024517e-05,
    -1.8373852103846052e-05,
    5.435797517319144e-06,
    -2.2621289270233945e-06,
    6.885216256561789e-07,
]);

/// e²ᵘ on −ln 2 ≤ u ≤ ln 2. Within 2^−34.
pub(super) const EXP: Polynomial = Polynomial([
    0.9999999999469915,
    1.9999999999918792,
    2.0000000079426186,
    1.3333333345501635,
    0.666666473944139,
    0.26666663713812777,
    0.0888905976965504,
    0.025397087270698008,
    0.006342367495138801,
    0.0014098862801158543,
    0.0002947591886965873,
    5.3235794955555554e-05,
]);

impl Party {
    /// p(u), plus a share at twice the working scale, with `scale` fraction bits. u has one axis, the working scale, and
    /// an absolute value of at most 1; the sum stays below 2^5.
    ///
    /// In blocks of four coefficients (Paterson and Stockmeyer, SIAM J. Comput. 1973): A + u⁴(B + u⁴C), where sums with
    /// public weights are local and need no truncation of their own. 14 rounds.
    pub(super) fn polynomial(
        &mut self,
        p: &Polynomial,
        u: &Rep,
        plus: Option<&Rep>,
        scale: u32,
    ) -> Result<Rep, MpcError> {
        let (n, cut) = (u.len(), WORKING as i32);
        let u2 = self.product(u, u, None, cut)?;
        let both =
            self.product(&Rep::concat(&[u.clone(), u2.clone()])?, &Rep::concat(&[u2.clone(), u2.clone()])?, None, cut)?;
        let (u3, u4) = (both.narrow(0..n)?, both.narrow(n..2 * n)?);
        let [a, b, c] = [0, 4, 8].map(|k| self.block(&p.0[k..k + 4], [u, &u2, &u3]));
        let top = self.truncate(&c?, WORKING)?;
        let middle = self.product(&u4, &top, Some(&b?), cut)?;
        let lowest = match plus {
            Some(plus) => a?.add(plus)?,
            None => a?,
        };
        self.product(&u4, &middle, Some(&lowest), 2 * cut - scale as i32)
    }

    /// c₀ + c₁u + c₂u² + c₃u³ at twice the working scale. Local.
    fn block(&self, c: &[f64], powers: [&Rep; 3]) -> Result<Rep, MpcError> {
        let mut sum = powers[0].mul_word(fixed(c[1], WORKING));
        for (c, power) in c[2..].iter().zip(&powers[1..]) {
            sum = sum.add(&power.mul_word(fixed(*c, WORKING)))?;
        }
        Ok(sum.add_word(self.id(), fixed(c[0], 2 * WORKING)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Real = fn(f64) -> f64;

    #[test]
    fn coefficients_are_those_of_their_functions() {
        let functions: [(&Polynomial, Real, f64); 5] = [
            (&RECIPROCAL, |u| 2.0 / (3.0 + u), 1.0),
            (&INVERSE_ROOT, |u| (2.0 / (3.0 + u)).sqrt(), 1.0),
            (&ROOT, |u| ((3.0 + u) / 2.0).sqrt(), 1.0),
            (&LOG, |u| ((3.0 + u) / 2.0).ln(), 1.0),
            (&EXP, |u| (2.0 * u).exp(), std::f64::consts::LN_2),
        ];
        for (which, (polynomial, function, end)) in functions.into_iter().enumerate() {
            for i in -1000..=1000 {
                let u = f64::from(i) / 1000.0 * end;
                let value = polynomial.0.iter().rev().fold(0.0, |sum, c| sum * u + c);
                assert!((value - function(u)).abs() <= 2f64.powf(-29.4), "polynomial {which} at {u}");
            }
        }
    }
}
