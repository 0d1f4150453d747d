//! Replicated shares of packed bits, x = x₀ ⊕ x₁ ⊕ x₂, party i holding (xᵢ, xᵢ₊₁): what a comparison gives and a
//! selection takes.

use super::RepXor;
use crate::device::{Buffer, Device, Tensor, Unary, kernels};
use crate::net::PartyId;
use crate::ring::Ring;

/// A replicated share of bits, one an element, packed as [`crate::ring::Layout`] tells.
#[derive(Clone, Debug)]
#[must_use]
pub struct RepBits {
    pub(in crate::mpc) a: Buffer,
    pub(in crate::mpc) b: Buffer,
    pub(in crate::mpc) shape: Vec<usize>,
}

impl RepBits {
    /// The shape of the tensor whose elements these bits belong to.
    pub fn shape(&self) -> &[usize] {
        &self.shape
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
            0 => RepBits { a: invert(&self.a), b: self.b.clone(), shape: self.shape.clone() },
            2 => RepBits { a: self.a.clone(), b: invert(&self.b), shape: self.shape.clone() },
            _ => self.clone(),
        }
    }

    /// The bits as words 0 and 1, one an element. Local.
    pub fn to_words(&self) -> RepXor {
        let words = |bits: &Buffer| {
            let mut out = bits.device().alloc(self.len());
            kernels::from_planes(Ring::Z64, 1, bits.view(), out.view_mut());
            Tensor::of(out, &self.shape)
        };
        RepXor { a: words(&self.a), b: words(&self.b), width: 1 }
    }
}
