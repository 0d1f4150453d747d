//! Exclusive-or-shared words: what adders and other circuits on the bits of words are made of.

use super::components::{self, two_components};
use super::{Additive, Rep, RepBits, Xor};
use crate::device::{Binary, Device, DeviceError, Tensor, Unary};
use crate::net::PartyId;
use crate::ring::Ring;
use std::convert::Infallible;

/// The lowest `width` bits of every element.
pub(super) fn keep(x: &Tensor, width: u32) -> Result<Tensor, DeviceError> {
    let ring = x.ring();
    match width {
        width if width == ring.bits() => Ok(x.clone()),
        width if (1..ring.bits()).contains(&width) => Ok(x.unary(Unary::And(mask(width)))),
        _ => Err(DeviceError::Bits { operation: "exclusive-or-shared words", ring, low: 0, width }),
    }
}

fn mask(width: u32) -> u64 {
    u64::MAX >> (64 - width.clamp(1, 64))
}

/// A replicated share of words of `width` bits: x = x₀ ⊕ x₁ ⊕ x₂, party i holding (xᵢ, xᵢ₊₁). What
/// is sent of it is `width` bits an element. [`RepBits`] is the packed form of width 1.
///
/// ```
/// use cryptgpu_core::mpc::World;
/// use ndarray::array;
///
/// let world = World::seeded(1);
/// let x = world.deal(&array![0b1100, 0b1010]);
/// let [z, ..] = world.run(|p| {
///     // The three components of x, bit by bit, and their majority: the carries of x₀ + x₁ + x₂.
///     let (id, x) = (p.id(), &x[p.id().index()]);
///     let [a, b, c] = cryptgpu_core::net::PartyId::ALL.map(|k| x.component_bits(id, k));
///     let differ = a.xor(&b)?.local_and(&a.xor(&c)?)?;
///     let carries = p.reshare(differ)?.xor(&a)?.shl(1);
///     let sums = a.xor(&b)?.xor(&c)?;
///     // x = sums + carries.
///     let (sums, carries) = p.round(|r| Ok((r.open_xor(&sums)?, r.open_xor(&carries)?)))?;
///     let sum = sums.binary("add", cryptgpu_core::device::Binary::Add, &carries)?;
///     Ok::<_, cryptgpu_core::mpc::MpcError>(sum.to_array()?)
/// });
/// assert_eq!(z?, array![0b1100, 0b1010].into_dyn());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RepXor {
    pub(in crate::mpc) a: Tensor,
    pub(super) b: Tensor,
    pub(super) width: u32,
}

two_components!(RepXor);

impl RepXor {
    /// A share from this party's two components; bits beyond the width are dropped.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when their shapes differ, [`DeviceError::Mixed`] when they live on two devices,
    /// [`DeviceError::Bits`] for a width that the ring's words do not have.
    pub fn from_components(a: Tensor, b: Tensor, width: u32) -> Result<Self, DeviceError> {
        components::check(&a, &b)?;
        Ok(RepXor { a: keep(&a, width)?, b: keep(&b, width)?, width })
    }

    /// The share of public words: component 0 is the tensor, the others are zero.
    ///
    /// # Errors
    /// [`DeviceError::Bits`] for a width that the ring's words do not have.
    pub fn public(party: PartyId, value: &Tensor, width: u32) -> Result<Self, DeviceError> {
        let (a, b) = components::of_public(party, value);
        RepXor::from_components(a, b, width)
    }

    /// Bits of an element that may be set.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The same kind of share with other components.
    fn with(&self, a: Tensor, b: Tensor) -> Self {
        RepXor { a, b, width: self.width }
    }

    /// x ⊕ y. Local, as everything here.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn xor(&self, other: &RepXor) -> Result<Self, DeviceError> {
        let width = self.width.max(other.width);
        Ok(RepXor { width, ..self.zip("xor", Binary::Xor, other)? })
    }

    /// x ⊕ c for a public word c.
    pub fn xor_word(&self, party: PartyId, c: u64) -> Self {
        let c = Unary::Xor(c & mask(self.width));
        let Ok(sum) = self.in_component_0(party, |x| Ok::<_, Infallible>(x.unary(c)));
        sum
    }

    /// The complement of all `width` bits.
    pub fn not(&self, party: PartyId) -> Self {
        self.xor_word(party, u64::MAX)
    }

    /// x ⊕ c for a public tensor c.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn xor_public(&self, party: PartyId, c: &Tensor) -> Result<Self, DeviceError> {
        self.xor(&RepXor::public(party, c, self.width)?)
    }

    /// x ∧ c for a public word c.
    pub fn and_word(&self, c: u64) -> Self {
        self.each(|x| x.unary(Unary::And(c)))
    }

    /// x ∧ c for a public tensor c.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn and_public(&self, c: &Tensor) -> Result<Self, DeviceError> {
        self.try_each(|x| x.binary("and with a public tensor", Binary::And, c))
    }

    /// This party's summand of x ∧ y: xᵢ(yᵢ ⊕ yᵢ₊₁) ⊕ xᵢ₊₁yᵢ. [`crate::mpc::Party::reshare`] makes
    /// it a share again.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn local_and(&self, other: &RepXor) -> Result<Additive<Xor>, DeviceError> {
        let both = other.a.binary("and", Binary::Xor, &other.b)?;
        let (first, second) = (self.a.binary("and", Binary::And, &both)?, self.b.binary("and", Binary::And, &other.a)?);
        Additive::from_xor_summand(first.binary("and", Binary::Xor, &second)?, self.width.min(other.width))
    }

    /// x as an additive share: party i's summand is component i.
    pub fn to_additive(&self) -> Additive<Xor> {
        Additive::of(self.a.clone(), self.width)
    }

    /// Bits moved up by k; those beyond the width are lost.
    pub fn shl(&self, k: u32) -> Self {
        self.each(|x| x.unary(Unary::Shl(k)).unary(Unary::And(mask(self.width))))
    }

    /// Bits moved down by k, zeros before; the width stays.
    pub fn shr(&self, k: u32) -> Self {
        self.each(|x| x.unary(Unary::Shr(k)))
    }

    /// Bits `low .. low + width` as words of that width: fewer bits to send.
    ///
    /// # Errors
    /// [`DeviceError::Bits`] for a width that the ring's words do not have.
    pub fn field(&self, low: u32, width: u32) -> Result<Self, DeviceError> {
        RepXor::from_components(self.a.unary(Unary::Shr(low)), self.b.unary(Unary::Shr(low)), width)
    }

    /// Bit k of every element, packed.
    ///
    /// # Errors
    /// [`DeviceError::Bits`] for a k that the ring's words do not have.
    pub fn bit(&self, k: u32) -> Result<RepBits, DeviceError> {
        let (shape, ring) = (self.shape().to_vec(), self.ring());
        Ok(RepBits { a: self.a.to_planes(k, 1)?, b: self.b.to_planes(k, 1)?, shape, ring })
    }

    /// Words one after the other along the first axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when there are none or the other axes differ.
    pub fn concat(parts: &[RepXor]) -> Result<Self, DeviceError> {
        let (a, b) = components::concat(parts.iter().map(RepXor::components))?;
        let width = parts.iter().map(|part| part.width).max().unwrap_or(64);
        Ok(RepXor { a, b, width })
    }
}

impl Rep {
    /// Component `k`, as exclusive-or-shared words: its two holders know it, the third party holds
    /// zeros. Local. The three together are what an adder turns into the bits of x.
    pub fn component_bits(&self, party: PartyId, k: PartyId) -> RepXor {
        let zero = self.a.full_like(self.shape(), 0);
        let (a, b) = match () {
            () if k == party => (self.a.clone(), zero),
            () if k == party.next() => (zero, self.b.clone()),
            () => (zero.clone(), zero),
        };
        RepXor { a, b, width: self.ring().bits() }
    }
}
