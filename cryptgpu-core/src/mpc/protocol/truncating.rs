//! A truncation whose last message is on its way while whatever needs its result begins. Until that message is taken a
//! result is no share: it has a type of its own, on which there is what commutes with the message, and no component of
//! it can be read outside `protocol`.

use super::message::{MessageKind, Side};
use crate::device::{DeviceError, Tensor, kernels};
use crate::mpc::{MpcError, Party, Rep, cost};
use crate::net::Tag;
use std::ops::Range;

/// The result of a truncation of which the last message may be on its way: [`Party::begin_truncation`] begins one, and
/// [`Party::finish_truncation`] makes a share of it. A ReLU begins before that ([`Party::relu_behind`]), which saves a round.
///
/// The message belongs directly behind those of [`Party::begin_truncation`]. So whatever sends or receives comes after
/// [`Party::finish_truncation`]; a protocol in between, or a result that is dropped, ends in an error at the next message. A share
/// converts into one without any message to wait for.
#[must_use = "its last message must be taken before the next protocol: Party::finish_truncation"]
pub struct Truncating {
    /// Complete but for component 1 in the part in which this party has role 1: there p₀ is missing.
    incomplete: Rep,
    missing: Option<Missing>,
}

/// p₀, which role 1 waits for.
pub(super) struct Missing {
    /// The words of memory of role 1's part.
    pub elements: Range<usize>,
    /// What the message is called, which depends on where in the program it was sent.
    pub tag: Tag,
}

impl From<Rep> for Truncating {
    fn from(complete: Rep) -> Self {
        Truncating { incomplete: complete, missing: None }
    }
}

impl Truncating {
    pub(super) fn new(incomplete: Rep, missing: Missing) -> Self {
        Truncating { incomplete, missing: Some(missing) }
    }

    /// The components so far, for what does not read role 1's component 1.
    pub(super) fn so_far(&self) -> &Rep {
        &self.incomplete
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        self.incomplete.shape()
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.incomplete.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// x + y, before x is there. Local.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the shapes differ, [`DeviceError::Mixed`].
    pub fn plus(self, other: &Rep) -> Result<Self, DeviceError> {
        Ok(Truncating { incomplete: self.incomplete.add(other)?, missing: self.missing })
    }

    /// The same elements in another shape; nothing is copied.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the number of elements differs.
    pub fn reshape(self, shape: &[usize]) -> Result<Self, DeviceError> {
        Ok(Truncating { incomplete: self.incomplete.reshape(shape)?, missing: self.missing })
    }
}

/// The shape, and whether the last message is missing; never the words.
impl std::fmt::Debug for Truncating {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.missing.is_some() { "last message missing" } else { "complete" };
        write!(f, "Truncating({:?}, {state})", self.shape())
    }
}

impl Party {
    /// Takes the last message of a truncation, and has its result. No further bytes, 1 round where it was on its way.
    ///
    /// # Errors
    /// The link's errors.
    pub fn finish_truncation(&mut self, begun: Truncating) -> Result<Rep, MpcError> {
        if begun.missing.is_some() {
            self.declare_cost(cost::finish_truncation(begun.len()));
        }
        self.take_missing(begun)
    }

    /// [`Party::finish_truncation`] in the first round of another protocol.
    pub(super) fn take_missing(&self, begun: Truncating) -> Result<Rep, MpcError> {
        let Truncating { incomplete, missing } = begun;
        let Some(Missing { elements, tag }) = missing else { return Ok(incomplete) };
        let half0 = self.take_tagged(Side::Prev, tag, MessageKind::TRUNCATE_ROLE0, elements.len())?;
        let (ring, shape) = (incomplete.ring(), incomplete.shape().to_vec());
        let (mut a, b) = (incomplete.a.into_buffer(), incomplete.b);
        kernels::add_to(ring, half0.view(), a.slice_mut(elements));
        Ok(Rep { a: Tensor::new_in(ring, a, &shape)?, b })
    }
}
