//! Replicated shares of tensors, x = x₀ + x₁ + x₂ modulo 2^64, party i holding (xᵢ, xᵢ₊₁), and what is local and
//! linear on them.

use super::Additive;
use crate::device::{Binary, Device, DeviceError, PoolGeometry, Tensor, Unary, kernels};
use crate::net::PartyId;

/// A replicated share of a tensor: the components xᵢ and xᵢ₊₁ of party i.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rep {
    pub(in crate::mpc) a: Tensor,
    pub(in crate::mpc) b: Tensor,
}

impl Rep {
    /// From this party's two components: for shares that come from outside, as from a notebook.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when their shapes differ, [`DeviceError::Mixed`] when they live on two devices.
    pub fn from_components(a: Tensor, b: Tensor) -> Result<Self, DeviceError> {
        if a.shape() != b.shape() {
            return Err(DeviceError::Shape {
                operation: "replicated share",
                lhs: a.shape().to_vec(),
                rhs: b.shape().to_vec(),
                rule: "both components must have the same shape",
            });
        }
        b.check_on("replicated share", a.device())?;
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

    /// The same share on `device`, of one in main memory.
    pub(in crate::mpc) fn uploaded(&self, device: Device) -> Self {
        Rep { a: self.a.uploaded(device), b: self.b.uploaded(device) }
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

    /// x + c for a public ring element c: what [`crate::mpc::Party::add_scalar`] does with an encoded one.
    pub(in crate::mpc) fn add_word(&self, party: PartyId, c: u64) -> Self {
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
    pub fn sum(&self) -> Self {
        Rep { a: self.a.sum(), b: self.b.sum() }
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

    /// This party's summand of x · y, element by element: xᵢ(yᵢ + yᵢ₊₁) + xᵢ₊₁yᵢ (Araki et al.,
    /// CCS 2016). Local; the scale of fixed-point numbers doubles.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn local_mul(&self, other: &Rep) -> Result<Additive, DeviceError> {
        if self.shape() != other.shape() {
            return Err(DeviceError::Shape {
                operation: "mul",
                lhs: self.shape().to_vec(),
                rhs: other.shape().to_vec(),
                rule: "both must have the same shape",
            });
        }
        let device = self.device();
        if device != other.device() {
            return Err(DeviceError::Mixed { operation: "mul", found: other.device(), expected: device });
        }
        let mut z = device.alloc(self.len());
        kernels::product_share([self.a.view(), self.b.view()], [other.a.view(), other.b.view()], z.view_mut());
        Ok(Additive::from_summand(Tensor::new(z, self.shape())?))
    }

    /// x as an additive share: party i's summand is component i.
    pub fn to_additive(&self) -> Additive {
        Additive::from_summand(self.a.clone())
    }
}

/// A secret tensor that is multiplied from the right again and again (weights): yᵢ and
/// yᵢ + yᵢ₊₁, so that a product takes two ring products instead of three.
#[derive(Clone, Debug)]
#[must_use]
pub struct Operand {
    pub(in crate::mpc) a: Tensor,
    pub(in crate::mpc) sum: Tensor,
    cut: Option<u32>,
}

impl Operand {
    /// Keeps what products need of `rep`.
    pub fn new(rep: Rep) -> Self {
        let sum = rep.a.binary_alike(Binary::Add, &rep.b);
        Operand { a: rep.a, sum, cut: None }
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

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        self.a.shape()
    }
}
