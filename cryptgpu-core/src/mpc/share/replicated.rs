//! Replicated shares of tensors, x = x₀ + x₁ + x₂ in the ring, party i holding (xᵢ, xᵢ₊₁), and what is local and
//! linear on them.

use super::Additive;
use super::components::{self, two_components};
use crate::device::{Binary, Device, DeviceError, PoolGeometry, Tensor, Unary, kernels};
use crate::net::PartyId;
use crate::ring::Ring;
use std::convert::Infallible;

/// A replicated share of a tensor: the components xᵢ and xᵢ₊₁ of party i.
#[derive(Clone, Debug)]
#[must_use]
pub struct Rep {
    pub(in crate::mpc) a: Tensor,
    pub(in crate::mpc) b: Tensor,
}

two_components!(Rep);

impl Rep {
    /// A share from this party's two components: for shares that come from outside, as from a notebook.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when their shapes differ, [`DeviceError::Rings`] when their rings do, [`DeviceError::Mixed`] when they
    /// live on two devices.
    pub fn from_components(a: Tensor, b: Tensor) -> Result<Self, DeviceError> {
        components::check(&a, &b)?;
        Ok(Rep { a, b })
    }

    /// The share of a public tensor: component 0 is the tensor, the others are zero.
    pub fn public(party: PartyId, value: &Tensor) -> Self {
        let (a, b) = components::of_public(party, value);
        Rep { a, b }
    }

    /// The same share on another device; nothing is copied where it is there.
    ///
    /// # Errors
    /// What went wrong on the device that it came from.
    pub fn to_device(&self, device: Device) -> Result<Self, DeviceError> {
        self.try_each(|x| x.to_device(device))
    }

    /// The same share on `device`, of one in main memory.
    pub(in crate::mpc) fn uploaded(&self, device: Device) -> Self {
        self.each(|x| x.uploaded(device))
    }

    /// x modulo 2^32: the same value in the ring of 32 bits, for −2^31 ≤ x < 2^31. Local; the way back is
    /// [`Party::extend`](crate::mpc::Party::extend). A share of that ring stays as it is.
    pub fn reduce(&self) -> Self {
        self.each(Tensor::reduced)
    }

    /// The same share, to be held for long: of larger buffers' memory what is not needed is given back.
    pub(crate) fn settled(self) -> Self {
        Rep { a: self.a.settled(), b: self.b.settled() }
    }

    /// The same kind of share with other components.
    fn with(&self, a: Tensor, b: Tensor) -> Self {
        Rep { a, b }
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

    /// x − y for the entries of y from `first` on, as many as x has, whatever the shape of y: of what lies end to end, the
    /// part that belongs to x.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when y ends before, [`DeviceError::Rings`], [`DeviceError::Mixed`].
    pub fn sub_part(&self, other: &Rep, first: usize) -> Result<Self, DeviceError> {
        let (operation, device) = ("subtract a part", self.device());
        if first.checked_add(self.len()).is_none_or(|end| end > other.len()) {
            let (lhs, rhs) = (self.shape().to_vec(), other.shape().to_vec());
            return Err(DeviceError::Shape { operation, lhs, rhs, rule: "the part must lie within the second tensor" });
        }
        self.a.check_alike(operation, &other.a)?;
        if self.ring() != Ring::Z64 {
            // The part may begin within a word.
            let part = |x: &Tensor, y: &Tensor| x.binary_alike(Binary::Sub, &y.part(first, x.shape()));
            return Ok(Rep { a: part(&self.a, &other.a), b: part(&self.b, &other.b) });
        }
        let part = |x: &Tensor, y: &Tensor| {
            let mut out = device.alloc(x.len());
            kernels::binary(Ring::Z64, Binary::Sub, x.view(), y.view().slice(first..first + x.len()), out.view_mut());
            Tensor::of(out, x.shape())
        };
        Ok(Rep { a: part(&self.a, &other.a), b: part(&self.b, &other.b) })
    }

    /// −x.
    pub fn neg(&self) -> Self {
        self.mul_word(u64::MAX)
    }

    /// c·x for a public ring element c (an integer: no fixed-point scale, no truncation).
    pub fn mul_word(&self, c: u64) -> Self {
        self.each(|x| x.unary(Unary::Mul(c)))
    }

    /// x + c for a public ring element c: what [`crate::mpc::Party::add_scalar`] does with an encoded one.
    pub(in crate::mpc) fn add_word(&self, party: PartyId, c: u64) -> Self {
        let Ok(sum) = self.in_component_0(party, |x| Ok::<_, Infallible>(x.unary(Unary::Add(c))));
        sum
    }

    /// x + c for a public tensor c.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn add_public(&self, party: PartyId, c: &Tensor) -> Result<Self, DeviceError> {
        self.in_component_0(party, |x| x.binary("add a public tensor", Binary::Add, c))
    }

    /// x · c for a public tensor c of ring elements (no truncation).
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ.
    pub fn mul_public(&self, c: &Tensor) -> Result<Self, DeviceError> {
        self.try_each(|x| x.binary("multiply by a public tensor", Binary::Mul, c))
    }

    /// The sum of all elements, as a tensor of shape `[1]`.
    pub fn sum(&self) -> Self {
        self.each(Tensor::sum)
    }

    /// The sum over each window, shape `[N, C, H′, W′]`; divide by the window's area and truncate
    /// for an average.
    ///
    /// # Errors
    /// When the tensor is no image or the window does not fit.
    pub fn sum_pool(&self, window: &PoolGeometry) -> Result<Self, DeviceError> {
        self.try_each(|x| x.sum_pool(window))
    }

    /// Tensors one after the other along the first axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the other axes differ.
    pub fn concat(parts: &[Rep]) -> Result<Self, DeviceError> {
        let (a, b) = components::concat(parts.iter().map(Rep::components))?;
        Ok(Rep { a, b })
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
        self.a.check_alike("mul", &other.a)?;
        let ring = self.ring();
        let mut z = self.device().alloc(ring.words(self.len()));
        kernels::product_share(ring, [self.a.view(), self.b.view()], [other.a.view(), other.b.view()], z.view_mut());
        Ok(Additive::from_summand(Tensor::new_in(ring, z, self.shape())?))
    }

    /// x as an additive share: party i's summand is component i.
    pub fn to_additive(&self) -> Additive {
        Additive::from_summand(self.a.clone())
    }
}
