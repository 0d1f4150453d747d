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

/// A secret tensor that is multiplied from the right again and again (weights): yᵢ and
/// yᵢ + yᵢ₊₁, so that a product takes two ring products instead of three. Of one that its owner has shared
/// ([`crate::mpc::Party::input_operand`]) a component is zero, so that two parties keep the other alone and make one product.
#[derive(Clone, Debug)]
#[must_use]
pub struct Operand {
    factors: Factors,
    cut: Option<u32>,
}

/// What a party multiplies with.
#[derive(Clone, Debug)]
enum Factors {
    /// yᵢ and yᵢ + yᵢ₊₁.
    Both { a: Tensor, sum: Tensor },
    /// yᵢ, where yᵢ₊₁ is zero.
    First(Tensor),
    /// yᵢ₊₁, where yᵢ is zero.
    Second(Tensor),
}

impl Operand {
    /// Keeps what products need of `rep`.
    pub fn new(rep: Rep) -> Self {
        let sum = rep.a.binary_alike(Binary::Add, &rep.b);
        Operand { factors: Factors::Both { a: rep.a, sum }, cut: None }
    }

    /// As [`Operand::new`], of a share that its owner may have made: without a component that is zero ([`Operand::of_one`]).
    pub(crate) fn of_kept(rep: Rep) -> Result<Self, DeviceError> {
        Ok(Operand::of_one(&rep)?.unwrap_or_else(|| Operand::new(rep)))
    }

    /// What products take of a share of which a component is zero, if one is: the other, which is not copied. The products are the same,
    /// word for word, as of [`Operand::new`]. Looks at the first words of both components, and at all of one that is zero.
    pub(crate) fn of_one(rep: &Rep) -> Result<Option<Self>, DeviceError> {
        if is_zero(&rep.b)? {
            return Ok(Some(Operand::first(rep.a.clone())));
        }
        Ok(is_zero(&rep.a)?.then(|| Operand::second(rep.b.clone())))
    }

    /// yᵢ and y at the owner of y, where the component that is neither yᵢ nor yᵢ₊₁ is zero: their sum is y itself.
    pub(in crate::mpc) fn owned(a: Tensor, y: Tensor) -> Self {
        Operand { factors: Factors::Both { a, sum: y }, cut: None }
    }

    /// yᵢ of a share whose component i + 1 is zero.
    pub(in crate::mpc) fn first(a: Tensor) -> Self {
        Operand { factors: Factors::First(a), cut: None }
    }

    /// yᵢ₊₁ of a share whose component i is zero.
    pub(in crate::mpc) fn second(b: Tensor) -> Self {
        Operand { factors: Factors::Second(b), cut: None }
    }

    /// xᵢ(yᵢ + yᵢ₊₁) + xᵢ₊₁yᵢ by `multiply`, which adds up one product or two.
    pub(in crate::mpc) fn products(
        &self,
        x: &Rep,
        multiply: impl FnOnce(&[(&Tensor, &Tensor)]) -> Result<Tensor, DeviceError>,
    ) -> Result<Tensor, DeviceError> {
        match &self.factors {
            Factors::Both { a, sum } => multiply(&[(&x.a, sum), (&x.b, a)]),
            Factors::First(a) => multiply(&[(&x.a.binary_alike(Binary::Add, &x.b), a)]),
            Factors::Second(b) => multiply(&[(&x.a, b)]),
        }
    }

    /// The same operand, whose products are truncated by `bits` in place of the codec's fraction bits: for weights at
    /// another scale than the codec's.
    pub fn with_cut(self, bits: u32) -> Self {
        Operand { cut: Some(bits), ..self }
    }

    /// The share that it was made of.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn rep(&self) -> Result<Rep, DeviceError> {
        match &self.factors {
            Factors::Both { a, sum } => Rep::from_components(a.clone(), sum.sub(a)?),
            Factors::First(a) => Rep::from_components(a.clone(), a.full_like(a.shape(), 0)),
            Factors::Second(b) => Rep::from_components(b.full_like(b.shape(), 0), b.clone()),
        }
    }

    /// Bits that the truncation of a product takes, with `fraction_bits` in the codec.
    pub fn cut(&self, fraction_bits: u32) -> u32 {
        self.cut.unwrap_or(fraction_bits)
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        let (Factors::Both { a: tensor, .. } | Factors::First(tensor) | Factors::Second(tensor)) = &self.factors;
        tensor.shape()
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> u64 {
        8 * match &self.factors {
            Factors::Both { a, sum } => a.view().len() + sum.view().len(),
            Factors::First(tensor) | Factors::Second(tensor) => tensor.view().len(),
        } as u64
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
