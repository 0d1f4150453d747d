//! What a party sees, kept for teaching and debugging: the shares that a protocol looks at, what it
//! opens, and every message that comes in.
//!
//! **Whoever has what two parties observed has the secrets.** So a party observes nothing unless it
//! is told to by a name that says so. Nothing else in the library keeps a
//! share or a message after its protocol is over.

use super::ground::{Additive, Group, RepXor};
use super::roads::Code;
use super::{MpcError, Party, Rep, RepBits};
use crate::device::{DeviceError, Tensor};
use crate::net::{PartyId, ReceivedMessage};
use ndarray::{ArrayD, IxDyn};
use std::cell::RefCell;
use std::fmt;

/// How the components of what was looked at make its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// x₀ + x₁ + x₂, two components at each party.
    Replicated,
    /// x₀ ⊕ x₁ ⊕ x₂, two components at each party.
    ReplicatedXor,
    /// x₀ + x₁ + x₂, one summand at each party.
    Additive,
    /// x₀ ⊕ x₁ ⊕ x₂, one summand at each party.
    AdditiveXor,
    /// A value that this party knows: opened, public, or its own.
    Known,
}

/// A share or value that a protocol looked at, as one party holds it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Looked {
    /// The step.
    pub step: String,
    /// The name that the protocol gave it; `open` for what was opened.
    pub name: String,
    /// How its components make its value.
    pub sharing: Sharing,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Which components, by index, and their elements in row-major order.
    pub components: Vec<(usize, Vec<u64>)>,
}

/// A message as its receiver saw it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Seen {
    /// The step that the receiver was in.
    pub step: String,
    /// The sender.
    pub from: PartyId,
    /// What it is: `reshare`, `elements of 20 bits`.
    pub kind: String,
    /// The position of the correlated randomness, which orders the messages of a run.
    pub position: u64,
    /// The arrays in it, one after the other: how many words each has.
    pub arrays: Vec<usize>,
    /// Its payload.
    pub words: Vec<u64>,
}

/// What one party observed in a run. `Debug` shows how much, never what.
///
/// ```
/// use cryptgpu_core::mpc::{MpcError, Observed, World};
/// use ndarray::array;
///
/// let world = World::seeded(1);
/// let x = world.deal(&array![3, 5])?;
/// let [a, b, c] = world.run(|p| {
///     p.insecure_observe(1 << 20);
///     let x = &x[p.id().index()];
///     let z = x.local_product(x)?;
///     p.look("summands", &z)?;
///     let z = p.step("square", |p| p.reshare(z))?;
///     p.look("square", &z)?;
///     p.stop_observing()
/// });
/// let seen = [a?, b?, c?];
/// // What no party knows, but all three together: the values, and that they are the same.
/// assert_eq!(Observed::values(&seen, "square"), [array![9, 25].into_dyn()]);
/// assert_eq!(Observed::values(&seen, "summands"), [array![9, 25].into_dyn()]);
/// // What party 0 got: the masked summand of party 1, which is not the one that party 1 had.
/// let (message, summand) = (&seen[0].messages[0], &seen[1].shares[0]);
/// assert_eq!((message.step.as_str(), message.kind.as_str()), ("square", "reshare"));
/// assert_ne!(message.words, summand.components[0].1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Observed {
    /// The party.
    pub party: PartyId,
    /// What its protocols looked at and opened, in order.
    pub shares: Vec<Looked>,
    /// The messages it received, in order.
    pub messages: Vec<Seen>,
    /// How many shares and messages found no room, and are not among them.
    pub omitted: u64,
}

impl Observed {
    /// The values that the three parties looked at under `name`, in order: what no party alone can
    /// know. Empty when nothing has that name or the parties do not fit together.
    pub fn values(parties: &[Observed; 3], name: &str) -> Vec<ArrayD<u64>> {
        let mut of = parties.each_ref().map(|seen| seen.shares.iter().filter(|share| share.name == name));
        let mut values = vec![];
        while let [Some(a), Some(b), Some(c)] = of.each_mut().map(Iterator::next) {
            let Some(value) = combine([a, b, c]) else { break };
            values.push(value);
        }
        values
    }
}

/// The value of three parties' parts; `None` when they do not fit together.
pub(super) fn combine(parts: [&Looked; 3]) -> Option<ArrayD<u64>> {
    let first = parts[0];
    if parts.iter().any(|part| part.sharing != first.sharing || part.shape != first.shape) {
        return None;
    }
    let mut value = ArrayD::<u64>::zeros(IxDyn(&first.shape));
    let exclusive = matches!(first.sharing, Sharing::ReplicatedXor | Sharing::AdditiveXor);
    for (party, part) in parts.iter().enumerate() {
        // Party i's own component: the first, whatever else it holds.
        let (_, words) = part.components.iter().find(|(index, _)| *index == party)?;
        if first.sharing == Sharing::Known {
            return ArrayD::from_shape_vec(IxDyn(&first.shape), words.clone()).ok();
        }
        for (sum, word) in value.iter_mut().zip(words) {
            *sum = if exclusive { *sum ^ word } else { sum.wrapping_add(*word) };
        }
    }
    Some(value)
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (party, shares, messages) = (self.party, self.shares.len(), self.messages.len());
        write!(f, "Observed(party {party}, {shares} shares, {messages} messages)")
    }
}

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Looked({} at {}, {:?}, shape {:?})", self.name, self.step, self.sharing, self.shape)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seen({} from party {} at {}, {} words)", self.kind, self.from, self.step, self.words.len())
    }
}

/// One party's part of what can be looked at.
#[doc(hidden)]
pub struct Parts {
    pub(super) sharing: Sharing,
    pub(super) shape: Vec<usize>,
    pub(super) components: Vec<(usize, Vec<u64>)>,
}

/// What can be looked at: shares of all kinds, and tensors.
pub trait Look {
    /// The components that party `party` holds.
    #[doc(hidden)]
    fn seen_by(&self, party: PartyId) -> Result<Parts, DeviceError>;
}

/// Component i and, of a replicated share, i + 1.
fn parts(sharing: Sharing, party: PartyId, components: &[&Tensor]) -> Result<Parts, DeviceError> {
    let shape = components.first().map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
    let indices = [party.index(), party.next().index()];
    let words = indices.into_iter().zip(components).map(|(index, x)| Ok((index, x.view().to_host()?)));
    Ok(Parts { sharing, shape, components: words.collect::<Result<_, _>>()? })
}

impl Look for Rep {
    fn seen_by(&self, party: PartyId) -> Result<Parts, DeviceError> {
        parts(Sharing::Replicated, party, &[&self.a, &self.b])
    }
}

impl Look for RepXor {
    fn seen_by(&self, party: PartyId) -> Result<Parts, DeviceError> {
        let (a, b) = self.components();
        parts(Sharing::ReplicatedXor, party, &[a, b])
    }
}

impl Look for RepBits {
    fn seen_by(&self, party: PartyId) -> Result<Parts, DeviceError> {
        self.to_words()?.seen_by(party)
    }
}

impl<G: Group> Look for Additive<G> {
    fn seen_by(&self, party: PartyId) -> Result<Parts, DeviceError> {
        parts(G::SHARING, party, &[self.mine()])
    }
}

impl Look for Tensor {
    fn seen_by(&self, party: PartyId) -> Result<Parts, DeviceError> {
        parts(Sharing::Known, party, &[self])
    }
}

/// A party's microscope: off, unless the party observes.
#[derive(Default)]
pub(super) struct Microscope(RefCell<Option<Observing>>);

struct Observing {
    shares: Vec<Looked>,
    /// The arrays of each message that the links have recorded, in the same order.
    arrays: Vec<Vec<usize>>,
    /// So many words of shares may still be kept.
    left: u64,
    omitted: u64,
}

impl Microscope {
    /// Keeps of what arrays a message was made that came in.
    pub fn message(&self, arrays: &[(Code, usize)]) {
        if let Some(observing) = &mut *self.0.borrow_mut() {
            observing.arrays.push(arrays.iter().map(|(_, words)| *words).collect());
        }
    }
}

impl Party {
    /// Keeps a copy of this party's part of `x` under `name`, when the run observes; does nothing
    /// otherwise. Nothing is sent.
    ///
    /// # Errors
    /// [`MpcError::Device`] for what went wrong on the device that `x` comes from, and was not seen
    /// before.
    pub fn look(&self, name: &str, x: &impl Look) -> Result<(), MpcError> {
        let mut microscope = self.microscope.0.borrow_mut();
        let Some(observing) = &mut *microscope else { return Ok(()) };
        let Parts { sharing, shape, components } = x.seen_by(self.id()).map_err(|e| self.device_error(e))?;
        let words = components.iter().map(|(_, words)| words.len() as u64).sum();
        match observing.left.checked_sub(words) {
            Some(left) => {
                observing.left = left;
                let (step, name) = (self.current_step(), name.to_owned());
                observing.shares.push(Looked { step, name, sharing, shape, components });
            }
            None => observing.omitted += 1,
        }
        Ok(())
    }

    /// Whether this party observes.
    pub fn observes(&self) -> bool {
        self.microscope.0.borrow().is_some()
    }

    /// Observes from now on, **insecurely**: up to `max_words` words of messages and as many of
    /// shares are kept, and whoever gets what two parties kept has the secrets. A party process
    /// prints a warning.
    pub fn insecure_observe(&mut self, max_words: u64) {
        // The links warn, where there is anything to warn of.
        self.net.endpoint().insecure_record(max_words);
        let observing = Observing { shares: vec![], arrays: vec![], left: max_words, omitted: 0 };
        *self.microscope.0.borrow_mut() = Some(observing);
    }

    /// What was observed so far, and nothing from now on.
    ///
    /// # Errors
    /// [`MpcError::Argument`] when this party does not observe.
    pub fn stop_observing(&mut self) -> Result<Observed, MpcError> {
        let observing = self.microscope.0.borrow_mut().take().zip(self.net.endpoint().take_recording());
        let Some((Observing { shares, arrays, omitted, .. }, recording)) = observing else {
            let hint = "this party does not observe: call insecure_observe first, once a run".to_owned();
            return Err(self.argument_error("stop observing", hint));
        };
        let seen = |(received, arrays): (ReceivedMessage, Vec<usize>)| Seen {
            step: received.step,
            from: received.from,
            kind: Code(received.tag.kind).to_string(),
            position: received.tag.position,
            arrays,
            words: received.words,
        };
        let omitted = omitted + recording.omitted;
        let messages = recording.messages.into_iter().zip(arrays).map(seen).collect();
        Ok(Observed { party: self.id(), shares, messages, omitted })
    }
}
