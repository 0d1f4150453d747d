//! Rounds: everything that goes to a neighbour travels as one message, both messages leave before
//! either is waited for, and what came in is there when the round is over.

use super::message::{MessageKind, Side};
use crate::device::{Buffer, Tensor};
use crate::mpc::{Cost, MpcError, Party};
use crate::net::PartyId;
use crate::ring::Ring;

/// A round that is being filled: [`Party::round`].
pub struct Round<'p> {
    pub(super) party: &'p mut Party,
    sends: [Outgoing; 2],
    due: [Vec<(MessageKind, usize)>; 2],
    cost: Cost,
}

/// What goes to one neighbour.
#[derive(Default)]
struct Outgoing {
    arrays: Vec<(MessageKind, usize)>,
    words: Vec<u64>,
}

/// Where an array will be found among those that arrive.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    side: Side,
    index: usize,
}

/// What arrived in a round, for those that wait for it.
pub struct Arrived<'p> {
    party: &'p Party,
    words: [Vec<u64>; 2],
    arrays: [Vec<(MessageKind, usize)>; 2],
}

/// A value that is there when the round is over: return it, alone or in a tuple, array, `Vec` or
/// `Option`, from the closure of [`Party::round`], which hands out the value.
#[must_use = "the round's closure must return it, or what was received is lost"]
pub struct Pending<T>(Box<Make<T>>);

type Make<T> = dyn FnOnce(&mut Arrived<'_>) -> Result<T, MpcError>;

impl<T: 'static> Pending<T> {
    pub(super) fn new(make: impl FnOnce(&mut Arrived<'_>) -> Result<T, MpcError> + 'static) -> Self {
        Pending(Box::new(make))
    }

    /// The value through `f`, once it is there.
    pub fn map<U: 'static>(self, f: impl FnOnce(T) -> Result<U, MpcError> + 'static) -> Pending<U> {
        Pending(Box::new(move |arrived| f((self.0)(arrived)?)))
    }
}

/// What a round's closure may return: pending values, together in any of the usual ways.
pub trait Resolve {
    /// The same with the values.
    type Output;
    /// Takes the values.
    #[doc(hidden)]
    fn resolve(self, arrived: &mut Arrived<'_>) -> Result<Self::Output, MpcError>;
}

impl<T> Resolve for Pending<T> {
    type Output = T;
    fn resolve(self, arrived: &mut Arrived<'_>) -> Result<T, MpcError> {
        (self.0)(arrived)
    }
}

impl<R: Resolve> Resolve for Option<R> {
    type Output = Option<R::Output>;
    fn resolve(self, arrived: &mut Arrived<'_>) -> Result<Self::Output, MpcError> {
        self.map(|pending| pending.resolve(arrived)).transpose()
    }
}

impl<R: Resolve> Resolve for Vec<R> {
    type Output = Vec<R::Output>;
    fn resolve(self, arrived: &mut Arrived<'_>) -> Result<Self::Output, MpcError> {
        self.into_iter().map(|pending| pending.resolve(arrived)).collect()
    }
}

impl<R: Resolve, const N: usize> Resolve for [R; N] {
    type Output = [R::Output; N];
    fn resolve(self, arrived: &mut Arrived<'_>) -> Result<Self::Output, MpcError> {
        let values = Vec::from(self).resolve(arrived)?;
        let count = values.len();
        let wrong = || MpcError::argument("round", format!("{count} values for an array of {N}"));
        values.try_into().map_err(|_| wrong())
    }
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: Resolve),*> Resolve for ($($name,)*) {
            type Output = ($($name::Output,)*);
            #[allow(non_snake_case, unused_variables, clippy::unused_unit)]
            fn resolve(self, arrived: &mut Arrived<'_>) -> Result<Self::Output, MpcError> {
                let ($($name,)*) = self;
                Ok(($($name.resolve(arrived)?,)*))
            }
        }
    };
}
tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);

impl Arrived<'_> {
    /// The words of an array.
    pub(super) fn words(&mut self, slot: Slot) -> Vec<u64> {
        let (arrays, words) = (&self.arrays[slot.side as usize], &mut self.words[slot.side as usize]);
        if arrays.len() == 1 {
            return std::mem::take(words);
        }
        let start: usize = arrays[..slot.index].iter().map(|(_, len)| len).sum();
        words[start..start + arrays[slot.index].1].to_vec()
    }

    /// The words of an array, on this party's device.
    pub(super) fn buffer(&mut self, slot: Slot) -> Buffer {
        let words = self.words(slot);
        self.party.device().upload(words)
    }

    /// The words of an array as a tensor of that ring and shape.
    pub(super) fn tensor(&mut self, slot: Slot, ring: Ring, shape: &[usize]) -> Result<Tensor, MpcError> {
        let buffer = self.buffer(slot);
        Ok(Tensor::new_in(ring, buffer, shape)?)
    }

    /// The party that received it.
    pub(super) fn party(&self) -> &Party {
        self.party
    }
}

impl Round<'_> {
    /// Which party this is.
    pub fn id(&self) -> PartyId {
        self.party.id()
    }

    /// The party whose round this is: its codec, its device, draws from nonces.
    pub fn party(&self) -> &Party {
        self.party
    }

    /// Adds what this party's statement of its cost is, beside the rest of the round.
    pub(super) fn declare_cost(&mut self, cost: Cost) {
        self.cost = self.cost.beside(cost);
    }

    /// Puts an array into the message to that side.
    pub(super) fn queue(&mut self, to: Side, kind: MessageKind, words: Vec<u64>) {
        let queue = &mut self.sends[to as usize];
        queue.arrays.push((kind, words.len()));
        if queue.words.is_empty() {
            queue.words = words;
        } else {
            queue.words.extend(words);
        }
    }

    /// Expects an array of `len` words in the message from that side.
    pub(super) fn expect(&mut self, from: Side, kind: MessageKind, len: usize) -> Slot {
        let due = &mut self.due[from as usize];
        due.push((kind, len));
        Slot { side: from, index: due.len() - 1 }
    }
}

impl Party {
    /// One round. What the closure queues to a neighbour travels as one message; both messages
    /// leave before either is waited for; what comes in is there when this returns. So m products
    /// that do not need each other cost one round.
    ///
    /// ```
    /// use cryptgpu_core::mpc::{MpcError, World};
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let x = world.deal(&array![3, 5]);
    /// let [counted, ..] = world.run_counted(|p| {
    ///     let x = &x[p.id().index()];
    ///     let (square, double) = (x.local_mul(x)?, x.add(x)?);
    ///     let (square, opened) = p.round(|r| Ok((r.reshare(square)?, r.open(&double)?)))?;
    ///     assert_eq!(opened.to_array()?, array![6, 10].into_dyn());
    ///     Ok::<_, MpcError>(square)
    /// });
    /// let (square, stats) = counted;
    /// assert_eq!((square?.len(), stats.rounds, stats.messages()), (2, 1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A round costs what is in it, and 1 round.
    ///
    /// # Errors
    /// Those of the closure, in which case nothing is sent; [`MpcError::Message`] when a neighbour
    /// queued arrays of other types or in another order; the link's errors.
    pub fn round<R: Resolve>(
        &mut self,
        body: impl FnOnce(&mut Round<'_>) -> Result<R, MpcError>,
    ) -> Result<R::Output, MpcError> {
        let mut round = Round { party: self, sends: Default::default(), due: Default::default(), cost: Cost::FREE };
        let pending = body(&mut round)?;
        let Round { sends, due, cost, .. } = round;
        self.declare_cost(cost);
        for (side, Outgoing { arrays, words }) in [Side::Next, Side::Prev].into_iter().zip(sends) {
            self.post_host(side, MessageKind::of(&arrays), words)?;
        }
        let words = [self.take_host(Side::Next, &due[0])?, self.take_host(Side::Prev, &due[1])?];
        pending.resolve(&mut Arrived { party: self, words, arrays: due })
    }
}
