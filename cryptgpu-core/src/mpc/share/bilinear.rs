//! Products of two secrets that are linear in both, such as of matrices and convolutions: which ring products each party makes of
//! its components, so that what the three have adds up to x · y.
//!
//! Party i can make the four of the nine products xⱼyₖ with j and k among i and i + 1. Party 0 makes all of its four at once, as
//! (x₀ + x₁)(y₀ + y₁). The other five are x₁y₂ + x₂(y₁ + y₂), at party 1, and x₂y₀ + x₀y₂, at party 2: five ring products in all, where
//! xᵢ(yᵢ + yᵢ₊₁) + xᵢ₊₁yᵢ at every party (Araki et al., CCS 2016) takes six. No party can save a second one: what it makes by one product is
//! (αxᵢ + xᵢ₊₁)(yᵢ + βyᵢ₊₁) with αβ = 1, so both are odd, modulo 2ˡ, and the coefficients of the product of a component with itself that two
//! such parties both hold add up to an even number.
//!
//! Of what its owner o has shared ([`crate::mpc::Party::input_operand`]) component o + 2 is zero, and each party has one ring product:
//! (xₒ + xₒ₊₁)y, xₒ₊₂yₒ₊₁ and xₒ₊₂yₒ.

use super::{Additive, Rep};
use crate::device::{Binary, DeviceError, Tensor};
use crate::net::PartyId;

/// What a party multiplies.
type Terms<'a> = [(&'a Tensor, &'a Tensor)];

/// Which of the three shares of the work a party has.
#[derive(Clone, Copy)]
enum Role {
    /// (xᵢ + xᵢ₊₁)(yᵢ + yᵢ₊₁).
    All,
    /// xᵢyᵢ₊₁ + xᵢ₊₁(yᵢ + yᵢ₊₁).
    Behind,
    /// xᵢyᵢ₊₁ + xᵢ₊₁yᵢ.
    Before,
}

impl Role {
    /// Of a product of two secrets of which nothing is known: party 0 makes all of its products.
    fn of(party: PartyId) -> Self {
        match party {
            PartyId::P0 => Role::All,
            PartyId::P1 => Role::Behind,
            _ => Role::Before,
        }
    }
}

/// xᵢ + xᵢ₊₁.
fn sum(x: &Rep) -> Tensor {
    x.a.binary_alike(Binary::Add, &x.b)
}

/// This party's summand of x · y by `product`, which adds up one ring product or two.
pub(in crate::mpc) fn summand(
    party: PartyId,
    x: &Rep,
    y: &Rep,
    product: impl FnOnce(&Terms<'_>) -> Result<Tensor, DeviceError>,
) -> Result<Additive, DeviceError> {
    let z = match Role::of(party) {
        Role::All => product(&[(&sum(x), &sum(y))]),
        // Of the two factors the smaller one's components are added.
        Role::Behind if x.len() < y.len() => product(&[(&sum(x), &y.b), (&x.b, &y.a)]),
        Role::Behind => product(&[(&x.a, &y.b), (&x.b, &sum(y))]),
        Role::Before => product(&[(&x.a, &y.b), (&x.b, &y.a)]),
    };
    Ok(Additive::from_summand(z?))
}

/// A secret tensor that is multiplied from the right again and again (weights): what a party's products take of it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Operand {
    factors: Factors,
    cut: Option<u32>,
}

/// What a party multiplies with.
#[derive(Clone, Debug)]
enum Factors {
    /// As [`Role::All`]: yᵢ, and yᵢ + yᵢ₊₁, which products take.
    All { first: Tensor, sum: Tensor },
    /// As [`Role::Behind`]: yᵢ₊₁ and yᵢ + yᵢ₊₁.
    Behind { second: Tensor, sum: Tensor },
    /// As [`Role::Before`]: yᵢ and yᵢ₊₁.
    Before { first: Tensor, second: Tensor },
    /// yᵢ alone, where yᵢ₊₁ is zero.
    First(Left, Tensor),
    /// yᵢ₊₁ alone, where yᵢ is zero.
    Second(Left, Tensor),
}

/// What of x is multiplied with the only component of y that is here.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// xᵢ.
    First,
    /// xᵢ₊₁.
    Second,
    /// xᵢ + xᵢ₊₁.
    Sum,
}

impl Operand {
    /// What the products of `party` take of its share `rep`: two elements for each. All parties make theirs in the same way.
    pub fn new(party: PartyId, rep: Rep) -> Self {
        Operand::of(match Role::of(party) {
            Role::All => Factors::All { sum: sum(&rep), first: rep.a },
            Role::Behind => Factors::Behind { sum: sum(&rep), second: rep.b },
            Role::Before => Factors::Before { first: rep.a, second: rep.b },
        })
    }

    /// As [`Operand::new`], of a share that its owner may have made: without a component that is zero ([`Operand::of_one`]).
    pub(crate) fn of_kept(party: PartyId, rep: Rep) -> Result<Self, DeviceError> {
        Ok(Operand::of_one(party, &rep)?.unwrap_or_else(|| Operand::new(party, rep)))
    }

    /// What products take of a share of which a component is zero, if one is: the other, which is not copied. The products are the same,
    /// word for word, as of [`Operand::new`], one of them where one of two is of zeros: four by all parties, or three of what party 0 has
    /// shared. Looks at the first words of both components, and at all of one that is zero.
    pub(crate) fn of_one(party: PartyId, rep: &Rep) -> Result<Option<Self>, DeviceError> {
        let role = Role::of(party);
        if is_zero(&rep.b)? {
            let left = if matches!(role, Role::All) { Left::Sum } else { Left::Second };
            return Ok(Some(Operand::of(Factors::First(left, rep.a.clone()))));
        }
        let left = if matches!(role, Role::Before) { Left::First } else { Left::Sum };
        Ok(is_zero(&rep.a)?.then(|| Operand::of(Factors::Second(left, rep.b.clone()))))
    }

    /// At the owner of y, who has shared it: yᵢ and y, the sum of both components.
    pub(in crate::mpc) fn owned(first: Tensor, y: Tensor) -> Self {
        Operand::of(Factors::All { first, sum: y })
    }

    /// At the party behind the owner, which makes xᵢ₊₁yᵢ.
    pub(in crate::mpc) fn behind_owner(a: Tensor) -> Self {
        Operand::of(Factors::First(Left::Second, a))
    }

    /// At the party before the owner, which makes xᵢyᵢ₊₁.
    pub(in crate::mpc) fn before_owner(b: Tensor) -> Self {
        Operand::of(Factors::Second(Left::First, b))
    }

    fn of(factors: Factors) -> Self {
        Operand { factors, cut: None }
    }

    /// This party's summand of x · y by `multiply`, which adds up one ring product or two.
    pub(in crate::mpc) fn products(
        &self,
        x: &Rep,
        multiply: impl FnOnce(&Terms<'_>) -> Result<Tensor, DeviceError>,
    ) -> Result<Tensor, DeviceError> {
        match &self.factors {
            Factors::All { sum: y, .. } | Factors::First(Left::Sum, y) | Factors::Second(Left::Sum, y) => {
                multiply(&[(&sum(x), y)])
            }
            Factors::First(Left::First, y) | Factors::Second(Left::First, y) => multiply(&[(&x.a, y)]),
            Factors::First(Left::Second, y) | Factors::Second(Left::Second, y) => multiply(&[(&x.b, y)]),
            Factors::Behind { second, sum } => multiply(&[(&x.a, second), (&x.b, sum)]),
            Factors::Before { first, second } => multiply(&[(&x.a, second), (&x.b, first)]),
        }
    }

    /// The same operand, whose products are truncated by `bits` in place of the codec's fraction bits: for weights at
    /// another scale than the codec's.
    pub fn with_cut(self, bits: u32) -> Self {
        Operand { cut: Some(bits), ..self }
    }

    /// Bits that the truncation of a product takes, with `fraction_bits` in the codec.
    pub fn cut(&self, fraction_bits: u32) -> u32 {
        self.cut.unwrap_or(fraction_bits)
    }

    /// The share that it was made of.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn rep(&self) -> Result<Rep, DeviceError> {
        match &self.factors {
            Factors::All { first, sum } => Rep::from_components(first.clone(), sum.sub(first)?),
            Factors::Behind { second, sum } => Rep::from_components(sum.sub(second)?, second.clone()),
            Factors::Before { first, second } => Rep::from_components(first.clone(), second.clone()),
            Factors::First(_, a) => Rep::from_components(a.clone(), a.full_like(a.shape(), 0)),
            Factors::Second(_, b) => Rep::from_components(b.full_like(b.shape(), 0), b.clone()),
        }
    }

    /// What is here of it: one tensor or two.
    fn tensors(&self) -> [Option<&Tensor>; 2] {
        match &self.factors {
            Factors::All { first: one, sum: other }
            | Factors::Behind { second: one, sum: other }
            | Factors::Before { first: one, second: other } => [Some(one), Some(other)],
            Factors::First(_, one) | Factors::Second(_, one) => [Some(one), None],
        }
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        self.tensors()[0].map_or(&[], Tensor::shape)
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> u64 {
        8 * self.tensors().iter().flatten().map(|tensor| tensor.view().len()).sum::<usize>() as u64
    }
}

/// Words that are looked at at a time.
const LOOKED_AT: usize = 1 << 13;

/// Whether all elements are zero, as no component is that masks something, but by a chance of 2⁻⁶⁴ for each, or 2⁻³².
fn is_zero(x: &Tensor) -> Result<bool, DeviceError> {
    let view = x.view();
    for start in (0..view.len()).step_by(LOOKED_AT) {
        let words = view.slice(start..view.len().min(start + LOOKED_AT)).to_host()?;
        if words.iter().any(|&word| word != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}
