//! Sending by hand: arrays to a neighbour, as they are. **Nothing masks them.** A protocol that
//! sends a share which its receiver does not already have gives it away; a recorded view shows what
//! each party got, and [`crate::mpc::check`] finds the leak.

use super::message::{MessageKind, Side};
use super::round::{Arrived, Pending, Round, Slot};
use crate::device::{DeviceError, Tensor};
use crate::mpc::{MpcError, Party};
use crate::ring::Ring;

/// Integers that travel as they stand in memory, eight bytes a word: `u8`, `u16`, `u32`, `u64`, `i64`.
pub trait Integer: bytemuck::Pod + sealed::Sealed {
    #[doc(hidden)]
    const CODE: u32;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! integers {
    ($($integer:ty: $code:literal)*) => {
        $(impl sealed::Sealed for $integer {}
        impl Integer for $integer {
            const CODE: u32 = $code;
        })*
    };
}
integers!(u8: 8 u16: 16 u32: 32 u64: 64 i64: 65);

/// The lowest `width` bits of every element, as they travel: packed in planes, `width`·⌈n/64⌉ words,
/// or as they stand in memory where these are all of the ring's words.
pub(super) fn pack(x: &Tensor, width: u32) -> Result<Vec<u64>, DeviceError> {
    match width {
        width if width == x.ring().bits() => x.view().to_host(),
        _ => x.to_planes(0, width)?.into_host(),
    }
}

/// How many words that takes.
pub(super) fn packed_words(ring: Ring, shape: &[usize], width: u32) -> Result<usize, DeviceError> {
    let n: usize = shape.iter().product();
    match width {
        width if width == ring.bits() => Ok(ring.words(n)),
        width if (1..ring.bits()).contains(&width) => Ok(width as usize * n.div_ceil(64)),
        _ => Err(DeviceError::Bits { operation: "message", ring, low: 0, width }),
    }
}

/// The inverse of [`pack`], for what arrived.
pub(super) fn unpack(
    arrived: &mut Arrived<'_>,
    slot: Slot,
    ring: Ring,
    shape: &[usize],
    width: u32,
) -> Result<Tensor, MpcError> {
    if width == ring.bits() {
        return arrived.tensor(slot, ring, shape);
    }
    let planes = arrived.buffer(slot);
    Ok(Tensor::from_planes_in(ring, width, planes.view(), arrived.party().device(), shape)?)
}

impl Round<'_> {
    /// Queues the lowest `width` bits of every element to a neighbour, **unmasked**: `width`/8 bytes an element.
    ///
    /// # Errors
    /// [`MpcError::Device`] for a width that the ring's words do not have, [`MpcError::Argument`] for a tensor of another ring than the
    /// party's, which the receiver would not expect.
    pub fn send(&mut self, to: Side, x: &Tensor, width: u32) -> Result<(), MpcError> {
        self.party().check_ring("send", x.ring())?;
        packed_words(x.ring(), x.shape(), width)?;
        let words = pack(x, width)?;
        self.queue(to, MessageKind::bits(width), words);
        Ok(())
    }

    /// Elements of `width` bits, of the party's ring, that the neighbour sends in this round.
    ///
    /// # Errors
    /// [`MpcError::Device`] for a width that the ring's words do not have.
    pub fn receive(&mut self, from: Side, shape: &[usize], width: u32) -> Result<Pending<Tensor>, MpcError> {
        let ring = self.party().ring();
        let words = packed_words(ring, shape, width)?;
        let slot = self.expect(from, MessageKind::bits(width), words);
        let shape = shape.to_vec();
        Ok(Pending::new(move |arrived| unpack(arrived, slot, ring, &shape, width)))
    }

    /// Queues integers to a neighbour, **unmasked**, packed: as many bytes as they have, in whole
    /// words.
    pub fn send_integers<T: Integer>(&mut self, to: Side, x: &[T]) {
        let mut words = vec![0u64; size_of_val(x).div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..size_of_val(x)].copy_from_slice(bytemuck::cast_slice(x));
        self.queue(to, MessageKind::integers(T::CODE), words);
    }

    /// `len` integers that the neighbour sends in this round.
    pub fn receive_integers<T: Integer>(&mut self, from: Side, len: usize) -> Pending<Vec<T>> {
        let slot = self.expect(from, MessageKind::integers(T::CODE), (len * size_of::<T>()).div_ceil(8));
        Pending::new(move |arrived| {
            let words = arrived.words(slot);
            let mut integers = vec![T::zeroed(); len];
            let bytes = bytemuck::cast_slice_mut::<T, u8>(&mut integers);
            bytes.copy_from_slice(&bytemuck::cast_slice(&words)[..bytes.len()]);
            Ok(integers)
        })
    }
}

impl Party {
    /// Sends the lowest `width` bits of every element to a neighbour, **unmasked**, and goes on at
    /// once. `width`/8 bytes an element.
    ///
    /// ```
    /// use cryptgpu_core::device::Tensor;
    /// use cryptgpu_core::mpc::{MpcError, Party, Side, World};
    ///
    /// fn pass_around(p: &mut Party) -> Result<u64, MpcError> {
    ///     let mine = Tensor::full(p.device(), &[100], p.id().index() as u64);
    ///     p.send(Side::Next, &mine, 2)?;
    ///     let theirs = p.receive(Side::Prev, &[100], 2)?;
    ///     Ok(theirs.into_host()?[99])
    /// }
    ///
    /// let [(a, stats), (b, _), (c, _)] = World::seeded(1).run_counted(pass_around);
    /// assert_eq!([a?, b?, c?], [2, 0, 1]);
    /// assert_eq!(stats.payload_bytes(), 2 * 16, "a hundred elements of two bits");
    /// # Ok::<(), MpcError>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Device`] for a width outside 1 to the ring's bits; the link's errors.
    pub fn send(&mut self, to: Side, x: &Tensor, width: u32) -> Result<(), MpcError> {
        self.round(|round| round.send(to, x, width))
    }

    /// Waits for the elements that a neighbour sends next; both name the same shape and width.
    ///
    /// # Errors
    /// [`MpcError::Message`] when something else was sent; the link's errors.
    pub fn receive(&mut self, from: Side, shape: &[usize], width: u32) -> Result<Tensor, MpcError> {
        self.round(|round| round.receive(from, shape, width))
    }

    /// Sends integers to a neighbour, **unmasked**, and goes on at once. As many bytes as they have,
    /// in whole words.
    ///
    /// # Errors
    /// The link's errors.
    pub fn send_integers<T: Integer>(&mut self, to: Side, x: &[T]) -> Result<(), MpcError> {
        self.round(|round| {
            round.send_integers(to, x);
            Ok(())
        })
    }

    /// Waits for the integers that a neighbour sends next; both name the same type and number.
    ///
    /// # Errors
    /// [`MpcError::Message`] when something else was sent; the link's errors.
    pub fn receive_integers<T: Integer>(&mut self, from: Side, len: usize) -> Result<Vec<T>, MpcError> {
        self.round(|round| Ok(round.receive_integers(from, len)))
    }
}
