//! Additive shares: x = x₀ + x₁ + x₂ or x₀ ⊕ x₁ ⊕ x₂, one summand at each party.

use super::{Rep, RepXor};
use crate::device::{Binary, DeviceError, Tensor, Unary};
use crate::mpc::protocol::MessageKind;
use crate::mpc::view::Sharing;
use crate::mpc::{MpcError, Party};
use crate::net::PartyId;
use crate::ring::Ring;
use std::marker::PhantomData;

/// Addition in the ring of the elements.
#[derive(Clone, Copy, Debug)]
pub struct Sum;

/// Exclusive or.
#[derive(Clone, Copy, Debug)]
pub struct Xor;

/// How summands make a value: [`Sum`] or [`Xor`].
pub trait Group: sealed::Sealed + 'static {
    /// What [`Party::reshare`] makes of an additive share.
    type Replicated;
    #[doc(hidden)]
    const ADD: Binary;
    #[doc(hidden)]
    const SUB: Binary;
    #[doc(hidden)]
    const SHARING: Sharing;
    #[doc(hidden)]
    const RESHARE: MessageKind;
    #[doc(hidden)]
    fn zero(party: &mut Party, ring: Ring, shape: &[usize], width: u32) -> Result<Additive<Self>, MpcError>
    where
        Self: Sized;
    #[doc(hidden)]
    fn replicated(a: Tensor, b: Tensor, width: u32) -> Result<Self::Replicated, DeviceError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Sum {}
    impl Sealed for super::Xor {}
}

impl Group for Sum {
    type Replicated = Rep;
    const ADD: Binary = Binary::Add;
    const SUB: Binary = Binary::Sub;
    const SHARING: Sharing = Sharing::Additive;
    const RESHARE: MessageKind = MessageKind::RESHARE;

    fn zero(party: &mut Party, ring: Ring, shape: &[usize], _width: u32) -> Result<Additive, MpcError> {
        Ok(party.zero_share_in(ring, shape))
    }

    fn replicated(a: Tensor, b: Tensor, _width: u32) -> Result<Rep, DeviceError> {
        Rep::from_components(a, b)
    }
}

impl Group for Xor {
    type Replicated = RepXor;
    const ADD: Binary = Binary::Xor;
    const SUB: Binary = Binary::Xor;
    const SHARING: Sharing = Sharing::AdditiveXor;
    const RESHARE: MessageKind = MessageKind::RESHARE_XOR;

    fn zero(party: &mut Party, ring: Ring, shape: &[usize], width: u32) -> Result<Additive<Xor>, MpcError> {
        party.zero_share_xor_in(ring, shape, width)
    }

    fn replicated(a: Tensor, b: Tensor, width: u32) -> Result<RepXor, DeviceError> {
        RepXor::from_components(a, b, width)
    }
}

/// One party's summand of a secret: of a sum in the ring, or of an exclusive or of words of some
/// width. All arithmetic is local.
///
/// A summand is *not* masked: a product's depends on its factors. So it cannot be sent as it is:
/// [`Party::reshare`] adds a fresh zero-share first.
#[must_use]
pub struct Additive<G: Group = Sum> {
    mine: Tensor,
    width: u32,
    group: PhantomData<G>,
}

impl Additive<Sum> {
    /// The sharing whose summand at this party is `mine`.
    pub fn from_summand(mine: Tensor) -> Self {
        let width = mine.ring().bits();
        Additive::of(mine, width)
    }

    /// c·x for a public ring element c.
    pub fn mul_word(&self, c: u64) -> Self {
        Additive::from_summand(self.mine.unary(Unary::Mul(c)))
    }
}

impl Additive<Xor> {
    /// The sharing of words below 2^`width` whose summand at this party is `mine`; bits beyond the
    /// width are dropped.
    ///
    /// # Errors
    /// [`DeviceError::Bits`] for a width that the ring's words do not have.
    pub fn from_xor_summand(mine: Tensor, width: u32) -> Result<Self, DeviceError> {
        Ok(Additive::of(super::binary::keep(&mine, width)?, width))
    }
}

impl<G: Group> Additive<G> {
    /// The sharing whose summand at this party is `mine`, which has no bits beyond `width`.
    pub(super) fn of(mine: Tensor, width: u32) -> Self {
        Additive { mine, width, group: PhantomData }
    }

    /// This party's summand.
    pub fn mine(&self) -> &Tensor {
        &self.mine
    }

    /// The ring that its elements are of.
    pub fn ring(&self) -> Ring {
        self.mine.ring()
    }

    /// Bits of an element that may be set: all of a word in the ring.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        self.mine.shape()
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.mine.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.mine.is_empty()
    }

    fn zip(&self, operation: &'static str, op: Binary, other: &Self) -> Result<Self, DeviceError> {
        let mine = self.mine.binary(operation, op, &other.mine)?;
        Ok(Additive::of(mine, self.width.max(other.width)))
    }

    /// x + y, or x ⊕ y.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn add(&self, other: &Self) -> Result<Self, DeviceError> {
        self.zip("add additive shares", G::ADD, other)
    }

    /// x − y, or x ⊕ y.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn sub(&self, other: &Self) -> Result<Self, DeviceError> {
        self.zip("subtract additive shares", G::SUB, other)
    }

    /// x + c, or x ⊕ c, for a public tensor c: party 0 adds it.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn add_public(&self, party: PartyId, c: &Tensor) -> Result<Self, DeviceError> {
        let zero = c.full_like(c.shape(), 0);
        let c = if party.index() == 0 { c } else { &zero };
        let mine = self.mine.binary("add a public tensor", G::ADD, c)?;
        Ok(Additive::of(mine, self.width))
    }

    /// The same elements in another shape; nothing is copied.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self, DeviceError> {
        Ok(Additive::of(self.mine.reshape(shape)?, self.width))
    }

    /// Entries `range` of the first axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the range reaches beyond the axis.
    pub fn narrow(&self, range: std::ops::Range<usize>) -> Result<Self, DeviceError> {
        Ok(Additive::of(self.mine.narrow(range)?, self.width))
    }

    /// Shares one after the other along the first axis, so that one protocol serves them all.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when there are none or their other axes differ, [`DeviceError::Mixed`].
    pub fn concat(parts: &[Self]) -> Result<Self, DeviceError> {
        let summands: Vec<&Tensor> = parts.iter().map(Additive::mine).collect();
        let width = parts.iter().map(Additive::width).max().unwrap_or(64);
        Ok(Additive::of(Tensor::concat(&summands)?, width))
    }

    /// The same behind a fresh zero-share: what may be sent.
    pub(in crate::mpc) fn masked(self, party: &mut Party) -> Result<Self, MpcError> {
        let zero = G::zero(party, self.ring(), self.shape(), self.width)?;
        let masked = zero.add(&self)?;
        Ok(masked)
    }

    pub(in crate::mpc) fn into_mine(self) -> Tensor {
        self.mine
    }
}

impl<G: Group> Clone for Additive<G> {
    fn clone(&self) -> Self {
        Additive::of(self.mine.clone(), self.width)
    }
}

/// Shape and width, never the words.
impl<G: Group> std::fmt::Debug for Additive<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Additive({:?}, {} bits)", self.shape(), self.width)
    }
}
