//! Inputs and openings.

use super::message::{MessageKind, Side};
use super::round::{Pending, Round};
use super::unmasked::{pack, packed_words, unpack};
use crate::device::{Binary, DeviceError, Tensor};
use crate::mpc::share::{Group, Sum, Xor};
use crate::mpc::{MpcError, Operand, Party, Rep, RepBits, RepXor, cost};
use crate::net::PartyId;
use crate::ring::Ring;

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

/// A party's components of an input, but for one that is zero.
enum Components {
    /// At its owner.
    Both(Tensor, Tensor),
    /// At the party behind the owner.
    First(Tensor),
    /// At the party before the owner.
    Second(Tensor),
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
    /// everything it needs. 8 bytes an element, 4 in the ring of 32 bits; 1 round.
    ///
    /// # Errors
    /// [`MpcError::Argument`] when the owner brings no value or one of another ring than the run's, another party brings one, or
    /// the shapes differ; the link's errors.
    pub fn input(&mut self, owner: PartyId, value: Option<&Tensor>, shape: &[usize]) -> Result<Rep, MpcError> {
        self.input_in::<Sum>(owner, value, shape, self.ring().bits())
    }

    /// As [`Party::input`], of what others are multiplied with: nothing is kept and no product made for the component that is zero, so
    /// that the owner makes two ring products and the other parties one each, and these keep one element for each in place of two.
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
        let width = self.ring().bits();
        Ok(match self.input_components::<Sum>(owner, value, shape, width)? {
            Components::Both(a, b) => Operand::new(Sum::replicated(a, b, width)?),
            Components::First(a) => Operand::first(a),
            Components::Second(b) => Operand::second(b),
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
        self.input_in::<Xor>(owner, value, shape, width)
    }

    fn input_in<G: Group>(
        &mut self,
        owner: PartyId,
        value: Option<&Tensor>,
        shape: &[usize],
        width: u32,
    ) -> Result<G::Replicated, MpcError> {
        let components = self.input_components::<G>(owner, value, shape, width)?;
        let zero = || self.zeros(self.ring(), shape);
        let (a, b) = match components {
            Components::Both(a, b) => (a, b),
            Components::First(a) => (a, zero()?),
            Components::Second(b) => (zero()?, b),
        };
        Ok(G::replicated(a, b, width)?)
    }

    /// What this party has of a tensor that `owner` holds.
    fn input_components<G: Group>(
        &mut self,
        owner: PartyId,
        value: Option<&Tensor>,
        shape: &[usize],
        width: u32,
    ) -> Result<Components, MpcError> {
        if value.is_some() != (owner == self.id()) || value.is_some_and(|v| v.shape() != shape) {
            let detail = format!("party {owner} alone brings the value, with shape {shape:?}");
            return Err(MpcError::argument("input", detail));
        }
        // The others know of the ring what the run says.
        let (ring, n) = (self.ring(), shape.iter().product::<usize>());
        if let Some(value) = value {
            self.check_here("input", value.device())?;
            self.check_ring("input", value.ring())?;
        }
        let words = packed_words(ring, shape, width)?;
        self.declare_cost(cost::packed(words));
        let nonce = self.prg.nonce_for(MessageKind::INPUT.on(ring, &[owner.index(), n, width as usize]));
        Ok(if let Some(value) = value {
            let first = self.with_prev(nonce, shape, width)?;
            let second = value.binary("input", G::SUB, &first)?;
            self.post_host(Side::Next, MessageKind::INPUT, pack(&second, width)?)?;
            Components::Both(first, second)
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
