//! Replicated shares as one party holds them, and what can be done to them without a message.
//!
//! x = x₀ + x₁ + x₂ modulo 2^64; party i holds (xᵢ, xᵢ₊₁). Bits likewise, with exclusive or.
//! Everything here is local and linear; what needs a message is in `roads`.

use crate::device::{Binary, Buffer, Device, DeviceError, PoolGeometry, Tensor, Unary, kernels};
use crate::net::PartyId;

/// A replicated share of a tensor: the components xᵢ and xᵢ₊₁ of party i.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rep {
    pub(super) a: Tensor,
    pub(super) b: Tensor,
}

impl Rep {
    /// From this party's two components: for shares that come from outside, as from a notebook.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when their shapes differ.
    pub fn from_components(a: Tensor, b: Tensor) -> Result<Self, DeviceError> {
        if a.shape() != b.shape() {
            return Err(DeviceError::Shape {
                operation: "replicated share",
                lhs: a.shape().to_vec(),
                rhs: b.shape().to_vec(),
                rule: "both components must have the same shape",
            });
        }
        Ok(Rep { a, b })
    }

    /// This party's two components (xᵢ, xᵢ₊₁), to hand them to whoever may open the value.
    pub fn components(&self) -> (&Tensor, &Tensor) {
        (&self.a, &self.b)
    }

    /// The share of a public tensor: component 0 is the tensor, the others are zero.
    pub fn public(party: PartyId, value: &Tensor) -> Self {
        let zero = Tensor::full(value.device(), value.shape(), 0);
        match party.index() {
            0 => Rep { a: value.clone(), b: zero },
            2 => Rep { a: zero, b: value.clone() },
            _ => Rep { a: zero.clone(), b: zero },
        }
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        self.a.shape()
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.a.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.a.is_empty()
    }

    /// The device its components live on.
    pub fn device(&self) -> Device {
        self.a.device()
    }

    /// The same share on another device; nothing is copied where it is there.
    ///
    /// # Errors
    /// What went wrong on the device that it came from.
    pub fn to_device(&self, device: Device) -> Result<Self, DeviceError> {
        self.map(|x| x.to_device(device))
    }

    fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor, DeviceError>) -> Result<Self, DeviceError> {
        Ok(Rep { a: f(&self.a)?, b: f(&self.b)? })
    }

    fn zip(&self, operation: &'static str, op: Binary, other: &Rep) -> Result<Self, DeviceError> {
        Ok(Rep { a: self.a.binary(operation, op, &other.a)?, b: self.b.binary(operation, op, &other.b)? })
    }

    /// x + y.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn add(&self, other: &Rep) -> Result<Self, DeviceError> {
        self.zip("add", Binary::Add, other)
    }

    /// x − y.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn sub(&self, other: &Rep) -> Result<Self, DeviceError> {
        self.zip("sub", Binary::Sub, other)
    }

    /// −x.
    pub fn neg(&self) -> Self {
        self.mul_word(u64::MAX)
    }

    /// c·x for a public ring element c (an integer: no fixed-point scale, no truncation).
    pub fn mul_word(&self, c: u64) -> Self {
        Rep { a: self.a.unary(Unary::Mul(c)), b: self.b.unary(Unary::Mul(c)) }
    }

    /// x + c for a public ring element c.
    pub fn add_word(&self, party: PartyId, c: u64) -> Self {
        match party.index() {
            0 => Rep { a: self.a.unary(Unary::Add(c)), b: self.b.clone() },
            2 => Rep { a: self.a.clone(), b: self.b.unary(Unary::Add(c)) },
            _ => self.clone(),
        }
    }

    /// x + c for a public tensor c.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn add_public(&self, party: PartyId, c: &Tensor) -> Result<Self, DeviceError> {
        let add = |x: &Tensor| x.binary("add a public tensor", Binary::Add, c);
        match party.index() {
            0 => Ok(Rep { a: add(&self.a)?, b: self.b.clone() }),
            2 => Ok(Rep { a: self.a.clone(), b: add(&self.b)? }),
            _ => Ok(self.clone()),
        }
    }

    /// x · c for a public tensor c of ring elements (no truncation).
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn mul_public(&self, c: &Tensor) -> Result<Self, DeviceError> {
        self.map(|x| x.binary("multiply by a public tensor", Binary::Mul, c))
    }

    /// The same elements in another shape; nothing is copied.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self, DeviceError> {
        self.map(|x| x.reshape(shape))
    }

    /// The sum of all elements, as a tensor of shape `[1]`.
    ///
    /// # Errors
    /// None: what goes wrong on a device shows when words are brought back.
    pub fn sum(&self) -> Result<Self, DeviceError> {
        self.map(Tensor::sum)
    }

    /// The sum over each window, shape `[N, C, H′, W′]`; divide by the window's area and truncate
    /// for an average.
    ///
    /// # Errors
    /// When the tensor is no image or the window does not fit.
    pub fn sum_pool(&self, window: &PoolGeometry) -> Result<Self, DeviceError> {
        self.map(|x| x.sum_pool(window))
    }

    /// Tensors one after the other along the first axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the other axes differ.
    pub fn concat(parts: &[Rep]) -> Result<Self, DeviceError> {
        let of = |pick: fn(&Rep) -> &Tensor| Tensor::concat(&parts.iter().map(pick).collect::<Vec<_>>());
        Ok(Rep { a: of(|part| &part.a)?, b: of(|part| &part.b)? })
    }

    /// Entries `range` of the first axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the range reaches beyond the axis.
    pub fn narrow(&self, range: std::ops::Range<usize>) -> Result<Self, DeviceError> {
        self.map(|x| x.narrow(range.clone()))
    }
}

/// A replicated share of bits, one an element, packed as [`crate::ring::Layout`] tells.
#[derive(Clone, Debug)]
#[must_use]
pub struct RepBits {
    pub(super) a: Buffer,
    pub(super) b: Buffer,
    pub(super) shape: Vec<usize>,
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

    /// This party's two components, packed.
    pub fn components(&self) -> (&Buffer, &Buffer) {
        (&self.a, &self.b)
    }

    /// The complement of every bit: component 0 is inverted.
    pub fn not(&self, party: PartyId) -> Self {
        let invert = |buffer: &Buffer| {
            let device = buffer.device();
            let mut out = device.alloc(buffer.len());
            kernels::unary(Unary::Xor(u64::MAX), buffer.view(), out.view_mut());
            out
        };
        match party.index() {
            0 => RepBits { a: invert(&self.a), b: self.b.clone(), shape: self.shape.clone() },
            2 => RepBits { a: self.a.clone(), b: invert(&self.b), shape: self.shape.clone() },
            _ => self.clone(),
        }
    }
}

/// A secret tensor that is multiplied from the right again and again (weights): yᵢ and
/// yᵢ + yᵢ₊₁, so that a product takes two ring products instead of three.
#[derive(Clone, Debug)]
#[must_use]
pub struct Operand {
    pub(super) a: Tensor,
    pub(super) sum: Tensor,
}

impl Operand {
    /// Keeps what products need of `rep`.
    ///
    /// # Errors
    /// None for a share whose components have one shape.
    pub fn new(rep: Rep) -> Result<Self, DeviceError> {
        let sum = rep.a.binary("prepare", Binary::Add, &rep.b)?;
        Ok(Operand { a: rep.a, sum })
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        self.a.shape()
    }
}
