//! Replicated shares of packed bits, x = x₀ ⊕ x₁ ⊕ x₂, party i holding (xᵢ, xᵢ₊₁): what a comparison gives and a
//! selection takes.

use super::RepXor;
use crate::device::{Buffer, Device, Tensor, Unary, kernels};
use crate::net::PartyId;
use crate::ring::Ring;

/// A replicated share of bits, one an element, packed as [`crate::ring::Layout`] tells for as many elements as fill words of the ring
/// ([`Ring::filled`]).
#[derive(Clone, Debug)]
#[must_use]
pub struct RepBits {
    pub(in crate::mpc) a: Buffer,
    pub(in crate::mpc) b: Buffer,
    pub(in crate::mpc) shape: Vec<usize>,
    pub(in crate::mpc) ring: Ring,
}

impl RepBits {
    /// The shape of the tensor whose elements these bits belong to.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The ring of that tensor, which says with it how they are packed.
    pub fn ring(&self) -> Ring {
        self.ring
    }

    /// The device its components live on.
    pub fn device(&self) -> Device {
        self.a.device()
    }

    /// How many bits.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that both components take: a quarter of a byte for each bit, in whole words.
    pub fn bytes(&self) -> usize {
        RepBits::bytes_of(self.len())
    }

    /// Bytes of memory that so many bits take.
    pub fn bytes_of(bits: usize) -> usize {
        16 * bits.div_ceil(64)
    }

    /// This party's two components, packed.
    pub fn components(&self) -> (&Buffer, &Buffer) {
        (&self.a, &self.b)
    }

    /// The complement of every bit: component 0 is inverted.
    pub fn not(&self, party: PartyId) -> Self {
        let invert = |buffer: &Buffer| {
            let device = buffer.device();
            let mut out = device.alloc(buffer.len());
            kernels::unary(Ring::Z64, Unary::Xor(u64::MAX), buffer.view(), out.view_mut());
            out
        };
        match party.index() {
            0 => self.with(invert(&self.a), self.b.clone()),
            2 => self.with(self.a.clone(), invert(&self.b)),
            _ => self.clone(),
        }
    }

    /// Bits of the same tensor with other components.
    pub(in crate::mpc) fn with(&self, a: Buffer, b: Buffer) -> Self {
        RepBits { a, b, shape: self.shape.clone(), ring: self.ring }
    }

    /// The bits as words 0 and 1, one an element. Local.
    pub fn to_words(&self) -> RepXor {
        let words = |bits: &Buffer| {
            let mut out = bits.device().alloc(self.ring.words(self.len()));
            kernels::from_planes(self.ring, 1, bits.view(), out.view_mut());
            Tensor::of_ring(self.ring, out, &self.shape)
        };
        RepXor { a: words(&self.a), b: words(&self.b), width: 1 }
    }
}
