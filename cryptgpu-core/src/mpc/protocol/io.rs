//! Inputs and openings.

use super::message::{MessageKind, Side};
use super::round::{Pending, Round};
use super::unmasked::{pack, packed_words, unpack};
use crate::device::{Binary, DeviceError, Tensor};
use crate::mpc::share::{Group, Sum, Xor};
use crate::mpc::{MpcError, Operand, Party, Rep, RepBits, RepXor, cost};
use crate::net::PartyId;
use crate::ring::Ring;
use std::ops::Range;

impl Round<'_> {
    /// [`Party::open`], as a part of this round.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the share is not on this party's device, and for what went wrong there.
    pub fn open(&mut self, x: &Rep) -> Result<Pending<Tensor>, MpcError> {
        self.open_components(Binary::Add, [&x.a, &x.b], x.ring().bits())
    }

    /// Opens exclusive-or-shared words to all three parties: 3 times their width in bits.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the share is not on this party's device, and for what went wrong there.
    pub fn open_xor(&mut self, x: &RepXor) -> Result<Pending<Tensor>, MpcError> {
        let (a, b) = x.components();
        self.open_components(Binary::Xor, [a, b], x.width())
    }

    /// Sends xᵢ to party i + 1, and combines what comes with the two components that are here.
    fn open_components(&mut self, op: Binary, own: [&Tensor; 2], width: u32) -> Result<Pending<Tensor>, MpcError> {
        self.party.check_here("open", own[0].device())?;
        let [a, b] = own.map(Clone::clone);
        let ring = a.ring();
        let message = pack(&a, width)?;
        let words = message.len();
        self.declare_cost(cost::packed(3 * words));
        self.party.prg.enter(MessageKind::OPEN.on(ring, &[a.len(), width as usize]));
        self.queue(Side::Next, MessageKind::OPEN, message);
        let slot = self.expect(Side::Prev, MessageKind::OPEN, words);
        Ok(Pending::new(move |arrived| {
            let third = unpack(arrived, slot, ring, a.shape(), width)?;
            let party = arrived.party();
            let opened = combine(op, [&a, &b, &third])?;
            party.record("open", &opened)?;
            Ok(opened)
        }))
    }
}

fn combine(op: Binary, components: [&Tensor; 3]) -> Result<Tensor, DeviceError> {
    components[0].binary("open", op, components[1])?.binary("open", op, components[2])
}

/// What a party has of an input, of which one component is zero.
enum Components<T> {
    /// At its owner: the first component, and what is [`Kept`] beside it.
    Both(T, T),
    /// At the party behind the owner.
    First(T),
    /// At the party before the owner.
    Second(T),
}

impl<T> Components<T> {
    /// Those of a party.
    fn at(party: PartyId, owner: PartyId, mut make: impl FnMut() -> T) -> Self {
        if party == owner {
            Components::Both(make(), make())
        } else if party == owner.next() {
            Components::First(make())
        } else {
            Components::Second(make())
        }
    }

    fn map<U>(self, mut of: impl FnMut(T) -> U) -> Components<U> {
        match self {
            Components::Both(a, b) => Components::Both(of(a), of(b)),
            Components::First(a) => Components::First(of(a)),
            Components::Second(b) => Components::Second(of(b)),
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let (a, b) = match self {
            Components::Both(a, b) => (Some(a), Some(b)),
            Components::First(a) => (Some(a), None),
            Components::Second(b) => (None, Some(b)),
        };
        a.into_iter().chain(b)
    }
}

/// What the owner of an input keeps beside its first component.
#[derive(Clone, Copy)]
enum Kept {
    /// The second.
    Second,
    /// The input, which is the sum of both: products take nothing else.
    Sum,
}

/// Elements of an input that are masked and sent at a time: the owner holds those of a piece beside both components, and the messages that
/// the link has not sent yet; the other parties wait for a piece, however many there are. A multiple of 64, so that bits are cut
/// between words.
pub(crate) const INPUT_PIECE: usize = 1 << 19;

/// Elements of an input, in row-major order, as its owner makes them: in order, each once.
type Source<'a, E> = &'a mut dyn FnMut(Range<usize>) -> Result<Tensor, E>;

fn source<E>(value: &mut Option<impl FnMut(Range<usize>) -> Result<Tensor, E>>) -> Option<Source<'_, E>> {
    value.as_mut().map(|value| value as Source<'_, E>)
}

/// A piece of a tensor that is there as a whole.
fn piece_of(value: &Tensor, range: Range<usize>) -> Result<Tensor, MpcError> {
    Ok(if range.len() == value.len() { value.clone() } else { value.part(range.start, &[range.len()]) })
}

/// The tensor of an owner alone, in its shape.
fn check_value(owner: PartyId, value: Option<&Tensor>, shape: &[usize]) -> Result<(), MpcError> {
    match value.is_none_or(|value| value.shape() == shape) {
        true => Ok(()),
        false => Err(not_the_owners(owner, shape)),
    }
}

fn not_the_owners(owner: PartyId, shape: &[usize]) -> MpcError {
    MpcError::argument("input", format!("party {owner} alone brings the value, with shape {shape:?}"))
}

impl Party {
    /// A tensor of zeros.
    fn zeros(&self, ring: Ring, shape: &[usize]) -> Result<Tensor, DeviceError> {
        Tensor::new_in(ring, self.device().zeros(ring.words(shape.iter().product())), shape)
    }

    /// Shares a tensor that `owner` holds; the others pass only its shape.
    ///
    /// With o the owner: component o is F(kₒ), component o + 1 is x − F(kₒ), component o + 2 is
    /// zero. The owner sends component o + 1 to party o + 1, who does not know kₒ; party o + 2 has
    /// everything it needs. 8 bytes an element, 4 in the ring of 32 bits; 1 round. A large tensor goes in several messages, each
    /// masked by a stream of its own, none of which waits for another.
    ///
    /// # Errors
    /// [`MpcError::Argument`] when the owner brings no value or one of another ring than the run's, another party brings one, or
    /// the shapes differ; the link's errors.
    pub fn input(&mut self, owner: PartyId, value: Option<&Tensor>, shape: &[usize]) -> Result<Rep, MpcError> {
        check_value(owner, value, shape)?;
        self.input_from(owner, value.map(|value| |range| piece_of(value, range)), shape)
    }

    /// As [`Party::input`], of elements that the owner makes as they are sent: of each range, in row-major order and one after the
    /// other, `value` gives a tensor of that many. What it gives is in memory a piece at a time.
    ///
    /// # Errors
    /// As [`Party::input`], and those of `value`, after which the peers may have had a part of the tensor.
    pub(crate) fn input_from<E: From<MpcError>>(
        &mut self,
        owner: PartyId,
        mut value: Option<impl FnMut(Range<usize>) -> Result<Tensor, E>>,
        shape: &[usize],
    ) -> Result<Rep, E> {
        self.input_in::<Sum, E>(owner, source(&mut value), shape, self.ring().bits())
    }

    /// As [`Party::input`], of what others are multiplied with: nothing is kept and no product made for the component that is zero, so
    /// that each party makes one ring product, and all but the owner keep one element for each in place of two.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use cryptgpu_core::device::{Device, Tensor};
    /// use cryptgpu_core::net::PartyId;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![[1.0, 2.0]])?);
    /// let weights = codec.encode_array(&array![[3.0, 0.5], [-1.0, 1.0]])?;
    /// let [y, ..] = world.run(|p| {
    ///     let own = (p.id() == PartyId::P1).then(|| Tensor::from_array(Device::Cpu, &weights));
    ///     let w = p.input_operand(PartyId::P1, own.as_ref(), &[2, 2])?;
    ///     assert_eq!(w.bytes(), if p.id() == PartyId::P1 { 64 } else { 32 });
    ///     let y = p.linear(&x[p.id().index()], &w, None)?;
    ///     p.open(&y)
    /// });
    /// let error = codec.decode_array(&y?.to_array()?) - array![[4.0, 1.0]].into_dyn();
    /// assert!(error.iter().all(|error| error.abs() < 1e-5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Party::input`].
    pub fn input_operand(
        &mut self,
        owner: PartyId,
        value: Option<&Tensor>,
        shape: &[usize],
    ) -> Result<Operand, MpcError> {
        check_value(owner, value, shape)?;
        self.input_operand_from(owner, value.map(|value| |range| piece_of(value, range)), shape)
    }

    /// [`Party::input_operand`] of elements that the owner makes as they are sent, as [`Party::input_from`] says.
    ///
    /// # Errors
    /// As [`Party::input_from`].
    pub(crate) fn input_operand_from<E: From<MpcError>>(
        &mut self,
        owner: PartyId,
        mut value: Option<impl FnMut(Range<usize>) -> Result<Tensor, E>>,
        shape: &[usize],
    ) -> Result<Operand, E> {
        let width = self.ring().bits();
        Ok(match self.input_components::<Sum, E>(owner, source(&mut value), shape, width, Kept::Sum)? {
            Components::Both(a, y) => Operand::owned(a, y),
            Components::First(a) => Operand::behind_owner(a),
            Components::Second(b) => Operand::before_owner(b),
        })
    }

    /// Shares words below 2^`width` that `owner` holds, by exclusive or; otherwise as
    /// [`Party::input`]. `width`/8 bytes an element, 1 round.
    ///
    /// # Errors
    /// As [`Party::input`], and [`MpcError::Device`] for a width that the ring's words do not have.
    pub fn input_xor(
        &mut self,
        owner: PartyId,
        value: Option<&Tensor>,
        shape: &[usize],
        width: u32,
    ) -> Result<RepXor, MpcError> {
        check_value(owner, value, shape)?;
        let mut value = value.map(|value| |range| piece_of(value, range));
        self.input_in::<Xor, MpcError>(owner, source(&mut value), shape, width)
    }

    fn input_in<G: Group, E: From<MpcError>>(
        &mut self,
        owner: PartyId,
        value: Option<Source<'_, E>>,
        shape: &[usize],
        width: u32,
    ) -> Result<G::Replicated, E> {
        let components = self.input_components::<G, E>(owner, value, shape, width, Kept::Second)?;
        let zero = || self.zeros(self.ring(), shape).map_err(MpcError::from);
        let (a, b) = match components {
            Components::Both(a, b) => (a, b),
            Components::First(a) => (a, zero()?),
            Components::Second(b) => (zero()?, b),
        };
        Ok(G::replicated(a, b, width).map_err(MpcError::from)?)
    }

    /// What this party has of a tensor that `owner` holds: put together of pieces, or a single one as it is.
    fn input_components<G: Group, E: From<MpcError>>(
        &mut self,
        owner: PartyId,
        mut value: Option<Source<'_, E>>,
        shape: &[usize],
        width: u32,
        kept: Kept,
    ) -> Result<Components<Tensor>, E> {
        if value.is_some() != (owner == self.id()) {
            return Err(not_the_owners(owner, shape).into());
        }
        // The others know of the ring what the run says.
        let (ring, n) = (self.ring(), shape.iter().product::<usize>());
        let words = packed_words(ring, shape, width).map_err(MpcError::from)?;
        self.declare_cost(cost::packed(words));
        let mut of = |range: Range<usize>| value.as_mut().map(|value| value(range)).transpose();
        if n <= INPUT_PIECE {
            let piece = of(0..n)?.map(|piece| piece.reshape(shape)).transpose().map_err(MpcError::from)?;
            return Ok(self.input_piece::<G>(owner, piece, shape, width, kept)?);
        }
        let mut whole = Components::at(self.id(), owner, || self.device().alloc(ring.words(n)));
        for start in (0..n).step_by(INPUT_PIECE) {
            let range = start..n.min(start + INPUT_PIECE);
            let mut piece = self.input_piece::<G>(owner, of(range.clone())?, &[range.len()], width, kept)?;
            let at = ring.words(range.start)..ring.words(range.end);
            for (whole, piece) in whole.iter_mut().zip(piece.iter_mut()) {
                whole.slice_mut(at.clone()).copy_from(piece.view());
            }
        }
        Ok(whole.map(|buffer| Tensor::of_ring(ring, buffer, shape)))
    }

    /// What this party has of elements that `owner` holds: one message.
    fn input_piece<G: Group>(
        &mut self,
        owner: PartyId,
        value: Option<Tensor>,
        shape: &[usize],
        width: u32,
        kept: Kept,
    ) -> Result<Components<Tensor>, MpcError> {
        let (ring, n) = (self.ring(), shape.iter().product::<usize>());
        if let Some(value) = &value {
            self.check_here("input", value.device())?;
            self.check_ring("input", value.ring())?;
            if value.len() != n {
                return Err(not_the_owners(owner, shape));
            }
        }
        let words = packed_words(ring, shape, width)?;
        let nonce = self.prg.nonce_for(MessageKind::INPUT.on(ring, &[owner.index(), n, width as usize]));
        Ok(if let Some(value) = value {
            let first = self.with_prev(nonce, shape, width)?;
            let second = value.binary("input", G::SUB, &first)?;
            let kept = match kept {
                Kept::Second => {
                    self.post_host(Side::Next, MessageKind::INPUT, pack(&second, width)?)?;
                    second
                }
                Kept::Sum => {
                    self.post(Side::Next, MessageKind::INPUT, second.into_buffer())?;
                    value
                }
            };
            Components::Both(first, kept)
        } else if owner.next() == self.id() {
            let first = self.round(|round| {
                let slot = round.expect(Side::Prev, MessageKind::INPUT, words);
                let shape = shape.to_vec();
                Ok(Pending::new(move |arrived| unpack(arrived, slot, ring, &shape, width)))
            })?;
            Components::First(first)
        } else {
            Components::Second(self.with_next(nonce, shape, width)?)
        })
    }

    /// Opens a value to all three parties. Every word is exact; it decodes to the real that is meant while |x| < 2^(63 − f)
    /// (2^(31 − f) in the ring of 32 bits).
    ///
    /// Party i sends xᵢ to party i + 1. 24 bytes an element, 12 in the ring of 32 bits; 1 round.
    ///
    /// # Errors
    /// The link's errors.
    pub fn open(&mut self, x: &Rep) -> Result<Tensor, MpcError> {
        self.round(|round| round.open(x))
    }

    /// Opens exclusive-or-shared words to all three parties. 3 times their width in bits, 1 round.
    ///
    /// # Errors
    /// The link's errors.
    pub fn open_xor(&mut self, x: &RepXor) -> Result<Tensor, MpcError> {
        self.round(|round| round.open_xor(x))
    }

    /// Opens a value to one party; the others get nothing.
    ///
    /// The party before `to` sends it the component it lacks. 8 bytes an element, 4 in the ring of 32 bits; 1 round.
    ///
    /// # Errors
    /// The link's errors.
    pub fn open_to(&mut self, to: PartyId, x: &Rep) -> Result<Option<Tensor>, MpcError> {
        self.check_here("open", x.device())?;
        let ring = x.ring();
        self.declare_cost(cost::open_to(ring, x.len()));
        self.prg.enter(MessageKind::OPEN_TO.on(ring, &[to.index(), x.len()]));
        if to == self.id() {
            let third = self.take(Side::Prev, MessageKind::OPEN_TO, ring.words(x.len()))?;
            let third = Tensor::new_in(ring, third, x.shape())?;
            let opened = combine(Binary::Add, [&x.a, &x.b, &third])?;
            self.record("open", &opened)?;
            return Ok(Some(opened));
        }
        if to == self.id().next() {
            self.post_copy(Side::Next, MessageKind::OPEN_TO, x.a.view())?;
        }
        Ok(None)
    }

    /// Opens bits to all three parties, one `bool` an element in row-major order.
    ///
    /// 3 bits an element, 1 round.
    ///
    /// # Errors
    /// The link's errors.
    pub fn open_bits(&mut self, x: &RepBits) -> Result<Vec<bool>, MpcError> {
        let words = x.to_words();
        let opened = self.open_xor(&words)?;
        let bits = opened.into_host()?;
        Ok(bits.into_iter().map(|bit| bit == 1).collect())
    }
}
