//! What replicated shares of tensors have in common, whether their components make the value by a sum or by exclusive or:
//! two tensors of one shape on one device, and operations that do the same to each. What an operation means for the value
//! is said where the share is, in `replicated` and `binary`.

use crate::device::{DeviceError, Tensor};
use crate::net::PartyId;

/// Refuses two tensors that cannot be the components of one share.
pub(super) fn check(a: &Tensor, b: &Tensor) -> Result<(), DeviceError> {
    if a.shape() != b.shape() {
        return Err(DeviceError::Shape {
            operation: "replicated share",
            lhs: a.shape().to_vec(),
            rhs: b.shape().to_vec(),
            rule: "both components must have the same shape",
        });
    }
    a.check_alike("replicated share", b)
}

/// Which of a party's two components, a or b by 0 or 1, is component 0 of a share, at the two parties that hold it. There a
/// public summand is added.
pub(in crate::mpc) fn component_0(party: PartyId) -> Option<usize> {
    match party.index() {
        0 => Some(0),
        2 => Some(1),
        _ => None,
    }
}

/// The components that `party` holds of a public tensor: component 0 is the tensor, the others are zero.
pub(super) fn of_public(party: PartyId, value: &Tensor) -> (Tensor, Tensor) {
    let zero = value.full_like(value.shape(), 0);
    match component_0(party) {
        Some(0) => (value.clone(), zero),
        Some(_) => (zero, value.clone()),
        None => (zero.clone(), zero),
    }
}

/// The components of all parts, one after the other along the first axis.
pub(super) fn concat<'a>(
    parts: impl Iterator<Item = (&'a Tensor, &'a Tensor)>,
) -> Result<(Tensor, Tensor), DeviceError> {
    let (a, b): (Vec<_>, Vec<_>) = parts.unzip();
    Ok((Tensor::concat(&a)?, Tensor::concat(&b)?))
}

/// The methods that a share with components `a` and `b` has by these alone. The share itself says in
/// `with(&self, a, b)` how others take the place of its own.
macro_rules! two_components {
    ($share:ident) => {
        impl $share {
            /// This party's two components (xᵢ, xᵢ₊₁), to hand them to whoever may open the value.
            pub fn components(&self) -> (&Tensor, &Tensor) {
                (&self.a, &self.b)
            }

            /// The shape.
            pub fn shape(&self) -> &[usize] {
                self.a.shape()
            }

            /// The ring that its elements are of.
            pub fn ring(&self) -> Ring {
                self.a.ring()
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

            /// The same elements in another shape; nothing is copied.
            ///
            /// # Errors
            /// [`DeviceError::Shape`] when the number of elements differs.
            pub fn reshape(&self, shape: &[usize]) -> Result<Self, DeviceError> {
                self.try_each(|x| x.reshape(shape))
            }

            /// Entries `range` of the first axis.
            ///
            /// # Errors
            /// [`DeviceError::Shape`] when the range reaches beyond the axis.
            pub fn narrow(&self, range: std::ops::Range<usize>) -> Result<Self, DeviceError> {
                self.try_each(|x| x.narrow(range.clone()))
            }

            /// `f` of each component.
            fn each(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
                self.with(f(&self.a), f(&self.b))
            }

            /// `f` of each component, where it can fail.
            fn try_each(&self, f: impl Fn(&Tensor) -> Result<Tensor, DeviceError>) -> Result<Self, DeviceError> {
                Ok(self.with(f(&self.a)?, f(&self.b)?))
            }

            /// x ∘ y component by component. `operation` is the caller's name for it, for errors.
            fn zip(&self, operation: &'static str, op: Binary, other: &Self) -> Result<Self, DeviceError> {
                let (a, b) = (self.a.binary(operation, op, &other.a)?, self.b.binary(operation, op, &other.b)?);
                Ok(self.with(a, b))
            }

            /// `f` of component 0, at the two parties that hold it; the others stay as they are.
            fn in_component_0<E>(
                &self,
                party: PartyId,
                f: impl FnOnce(&Tensor) -> Result<Tensor, E>,
            ) -> Result<Self, E> {
                Ok(match components::component_0(party) {
                    Some(0) => self.with(f(&self.a)?, self.b.clone()),
                    Some(_) => self.with(self.a.clone(), f(&self.b)?),
                    None => self.clone(),
                })
            }
        }
    };
}
pub(super) use two_components;
