//! A party's view, recorded for teaching and debugging: shares that a protocol names, what it opens, and every message
//! that comes in.
//!
//! **Whoever has the views of two parties has the secrets.** So nothing is recorded before the party calls
//! [`Party::insecure_record`]. Nothing else in the library keeps a share or a message after its protocol is over.

use super::protocol::MessageKind;
use super::share::{Additive, Group, RepXor};
use super::{MpcError, Party, Rep, RepBits};
use crate::device::{DeviceError, Tensor};
use crate::net::{PartyId, ReceivedMessage};
use crate::ring::Ring;
use ndarray::{ArrayD, IxDyn};
use std::cell::RefCell;
use std::fmt;

/// How the components of what was recorded make its value.
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

/// A share or value that a protocol recorded, as one party holds it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordedShare {
    /// The step.
    pub step: String,
    /// The name that the protocol gave it; `open` for what was opened.
    pub name: String,
    /// How its components make its value.
    pub sharing: Sharing,
    /// The ring that its elements are of.
    pub ring: Ring,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Which components, by index, and their elements in row-major order.
    pub components: Vec<(usize, Vec<u64>)>,
}

/// A message, as its receiver got it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordedMessage {
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

/// One party's view of a run: what it recorded, and what it received. `Debug` shows how much, never what.
///
/// ```
/// use cryptgpu_core::mpc::{MpcError, PartyView, World};
/// use ndarray::array;
///
/// let world = World::seeded(1);
/// let x = world.deal(&array![3, 5]);
/// let [a, b, c] = world.run(|p| {
///     p.insecure_record(1 << 20);
///     let x = &x[p.id().index()];
///     let z = x.local_mul(x)?;
///     p.record("summands", &z)?;
///     let z = p.step("square", |p| p.reshare(z))?;
///     p.record("square", &z)?;
///     p.take_view()
/// });
/// let views = [a?, b?, c?];
/// // What no party knows, but all three together: the values, and that they are the same.
/// assert_eq!(PartyView::values(&views, "square"), [array![9, 25].into_dyn()]);
/// assert_eq!(PartyView::values(&views, "summands"), [array![9, 25].into_dyn()]);
/// // What party 0 got: the masked summand of party 1, which is not the one that party 1 had.
/// let (message, summand) = (&views[0].messages[0], &views[1].shares[0]);
/// assert_eq!((message.step.as_str(), message.kind.as_str()), ("square", "reshare"));
/// assert_ne!(message.words, summand.components[0].1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PartyView {
    /// The party.
    pub party: PartyId,
    /// What its protocols recorded and opened, in order.
    pub shares: Vec<RecordedShare>,
    /// The messages it received, in order.
    pub messages: Vec<RecordedMessage>,
    /// How many shares and messages found no room, and are not among them.
    pub omitted: u64,
}

impl PartyView {
    /// The values that the three parties recorded under `name`, in order: what no party alone can
    /// know. Empty when nothing has that name or the parties do not fit together.
    pub fn values(parties: &[PartyView; 3], name: &str) -> Vec<ArrayD<u64>> {
        let mut of = parties.each_ref().map(|view| view.shares.iter().filter(|share| share.name == name));
        let mut values = vec![];
        while let [Some(a), Some(b), Some(c)] = of.each_mut().map(Iterator::next) {
            let Some(value) = combine([a, b, c]) else { break };
            values.push(value);
        }
        values
    }
}

/// The value of three parties' parts; `None` when they do not fit together.
pub(super) fn combine(parts: [&RecordedShare; 3]) -> Option<ArrayD<u64>> {
    let first = parts[0];
    if parts.iter().any(|part| (part.sharing, part.ring, &part.shape) != (first.sharing, first.ring, &first.shape)) {
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
            *sum = if exclusive { *sum ^ word } else { first.ring.residue(sum.wrapping_add(*word)) };
        }
    }
    Some(value)
}

impl fmt::Debug for PartyView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (party, shares, messages) = (self.party, self.shares.len(), self.messages.len());
        write!(f, "PartyView(party {party}, {shares} shares, {messages} messages)")
    }
}

impl fmt::Debug for RecordedShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordedShare({} at {}, {:?}, shape {:?})", self.name, self.step, self.sharing, self.shape)
    }
}

impl fmt::Debug for RecordedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RecordedMessage({} from party {} at {}, {} words)",
            self.kind,
            self.from,
            self.step,
            self.words.len()
        )
    }
}

/// One party's part of what can be recorded.
#[doc(hidden)]
pub struct Parts {
    pub(super) sharing: Sharing,
    pub(super) ring: Ring,
    pub(super) shape: Vec<usize>,
    pub(super) components: Vec<(usize, Vec<u64>)>,
}

/// What can be recorded: shares of all kinds, and tensors.
pub trait Recordable {
    /// The components that party `party` holds.
    #[doc(hidden)]
    fn parts_at(&self, party: PartyId) -> Result<Parts, DeviceError>;
}

/// Component i and, of a replicated share, i + 1.
fn parts(sharing: Sharing, party: PartyId, components: &[&Tensor]) -> Result<Parts, DeviceError> {
    let shape = components.first().map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
    let indices = [party.index(), party.next().index()];
    let ring = components.first().map_or(Ring::default(), |tensor| tensor.ring());
    let words = indices.into_iter().zip(components).map(|(index, &x)| Ok((index, x.clone().into_host()?)));
    Ok(Parts { sharing, ring, shape, components: words.collect::<Result<_, _>>()? })
}

impl Recordable for Rep {
    fn parts_at(&self, party: PartyId) -> Result<Parts, DeviceError> {
        parts(Sharing::Replicated, party, &[&self.a, &self.b])
    }
}

impl Recordable for RepXor {
    fn parts_at(&self, party: PartyId) -> Result<Parts, DeviceError> {
        let (a, b) = self.components();
        parts(Sharing::ReplicatedXor, party, &[a, b])
    }
}

impl Recordable for RepBits {
    fn parts_at(&self, party: PartyId) -> Result<Parts, DeviceError> {
        self.to_words().parts_at(party)
    }
}

impl<G: Group> Recordable for Additive<G> {
    fn parts_at(&self, party: PartyId) -> Result<Parts, DeviceError> {
        parts(G::SHARING, party, &[self.mine()])
    }
}

impl Recordable for Tensor {
    fn parts_at(&self, party: PartyId) -> Result<Parts, DeviceError> {
        parts(Sharing::Known, party, &[self])
    }
}

/// What a party records: nothing, until [`Party::insecure_record`].
#[derive(Default)]
pub(super) struct ViewRecorder(RefCell<Option<Recording>>);

struct Recording {
    shares: Vec<RecordedShare>,
    /// The arrays of each message that the links have recorded, in the same order.
    arrays: Vec<Vec<usize>>,
    /// So many words of shares may still be kept.
    left: u64,
    omitted: u64,
}

impl ViewRecorder {
    /// Keeps the lengths of the arrays in a message that came in.
    pub fn message(&self, arrays: &[(MessageKind, usize)]) {
        if let Some(recording) = &mut *self.0.borrow_mut() {
            recording.arrays.push(arrays.iter().map(|(_, words)| *words).collect());
        }
    }
}

impl Party {
    /// Keeps a copy of this party's part of `x` under `name`, while the party records its view; does
    /// nothing otherwise. Nothing is sent.
    ///
    /// # Errors
    /// [`MpcError::Device`] for what went wrong on the device that `x` comes from, and was not noticed
    /// before.
    pub fn record(&self, name: &str, x: &impl Recordable) -> Result<(), MpcError> {
        let mut recorder = self.recorder.0.borrow_mut();
        let Some(recording) = &mut *recorder else { return Ok(()) };
        let Parts { sharing, ring, shape, components } = x.parts_at(self.id())?;
        let words = components.iter().map(|(_, words)| words.len() as u64).sum();
        match recording.left.checked_sub(words) {
            Some(left) => {
                recording.left = left;
                let (step, name) = (self.current_step(), name.to_owned());
                recording.shares.push(RecordedShare { step, name, sharing, ring, shape, components });
            }
            None => recording.omitted += 1,
        }
        Ok(())
    }

    /// Whether this party records its view.
    pub fn is_recording(&self) -> bool {
        self.recorder.0.borrow().is_some()
    }

    /// Records this party's view from now on, **insecurely**: up to `max_words` words of messages and
    /// as many of shares are kept, and whoever gets the views of two parties has the secrets. A party
    /// process prints a warning.
    pub fn insecure_record(&mut self, max_words: u64) {
        // The links warn, where there is anything to warn of.
        self.net.endpoint().insecure_record(max_words);
        let recording = Recording { shares: vec![], arrays: vec![], left: max_words, omitted: 0 };
        *self.recorder.0.borrow_mut() = Some(recording);
    }

    /// The view that was recorded so far; nothing is recorded from now on.
    ///
    /// # Errors
    /// [`MpcError::Argument`] when this party does not record.
    pub fn take_view(&mut self) -> Result<PartyView, MpcError> {
        let recording = self.recorder.0.borrow_mut().take().zip(self.net.endpoint().take_recording());
        let Some((Recording { shares, arrays, omitted, .. }, received)) = recording else {
            let hint = "this party does not record its view: call insecure_record first, once a run".to_owned();
            return Err(MpcError::argument("take view", hint));
        };
        let message = |(received, arrays): (ReceivedMessage, Vec<usize>)| RecordedMessage {
            step: received.step,
            from: received.from,
            kind: MessageKind(received.tag.kind).to_string(),
            position: received.tag.count(),
            arrays,
            words: received.words,
        };
        let omitted = omitted + received.omitted;
        let messages = received.messages.into_iter().zip(arrays).map(message).collect();
        Ok(PartyView { party: self.id(), shares, messages, omitted })
    }
}
