//! What a party sees, kept for teaching and debugging: the shares that a protocol looks at, what it
//! opens, and every message that comes in.
//!
//! **Whoever has what two parties observed has the secrets.** So a party observes nothing unless it
//! is told to by a name that says so, and prints a warning then. Nothing else in the library keeps a
//! share or a message after its protocol is over.

use super::ground::{Additive, Group, RepXor};
use super::roads::Code;
use super::{MpcError, Party, Rep, RepBits};
use crate::device::Tensor;
use crate::net::{PartyId, Tag};
use ndarray::{ArrayD, IxDyn};
use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

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
    /// The arrays in it, by kind and words, one after the other.
    pub arrays: Vec<(String, usize)>,
    /// Its payload.
    pub words: Vec<u64>,
}

/// What one party observed in a run. `Debug` shows how much, never what.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Observed {
    /// The party.
    pub party: PartyId,
    /// What its protocols looked at and opened, in order.
    pub shares: Vec<Looked>,
    /// The messages it received, in order.
    pub messages: Vec<Seen>,
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

fn combine(parts: [&Looked; 3]) -> Option<ArrayD<u64>> {
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
    sharing: Sharing,
    shape: Vec<usize>,
    components: Vec<(usize, Vec<u64>)>,
}

impl Parts {
    fn new(sharing: Sharing, shape: &[usize], components: Vec<(usize, Vec<u64>)>) -> Self {
        Parts { sharing, shape: shape.to_vec(), components }
    }
}

/// What can be looked at: shares of all kinds, and tensors.
pub trait Look {
    /// The components that party `party` holds.
    #[doc(hidden)]
    fn seen_by(&self, party: PartyId) -> Parts;
}

fn pair(party: PartyId, a: &Tensor, b: &Tensor) -> Vec<(usize, Vec<u64>)> {
    vec![(party.index(), a.view().to_host()), (party.next().index(), b.view().to_host())]
}

impl Look for Rep {
    fn seen_by(&self, party: PartyId) -> Parts {
        let (a, b) = self.components();
        Parts::new(Sharing::Replicated, self.shape(), pair(party, a, b))
    }
}

impl Look for RepXor {
    fn seen_by(&self, party: PartyId) -> Parts {
        let (a, b) = self.components();
        Parts::new(Sharing::ReplicatedXor, self.shape(), pair(party, a, b))
    }
}

impl Look for RepBits {
    fn seen_by(&self, party: PartyId) -> Parts {
        let layout = crate::ring::Layout::new(self.len());
        let (a, b) = self.components();
        let [a, b] = [a, b].map(|bits| layout.unpack(&bits.view().to_host()).into_iter().map(u64::from).collect());
        Parts::new(Sharing::ReplicatedXor, self.shape(), vec![(party.index(), a), (party.next().index(), b)])
    }
}

impl<G: Group> Look for Additive<G> {
    fn seen_by(&self, party: PartyId) -> Parts {
        Parts::new(G::SHARING, self.shape(), vec![(party.index(), self.mine().view().to_host())])
    }
}

impl Look for Tensor {
    fn seen_by(&self, party: PartyId) -> Parts {
        Parts::new(Sharing::Known, self.shape(), vec![(party.index(), self.view().to_host())])
    }
}

/// A party's microscope: off, unless the party observes.
#[derive(Default)]
pub(super) struct Microscope(RefCell<Option<Observed>>);

impl Microscope {
    /// Keeps a message that came in.
    pub fn message(&self, party: &Party, from: PartyId, tag: Tag, arrays: &[(Code, usize)], words: &[u64]) {
        if let Some(observed) = &mut *self.0.borrow_mut() {
            let arrays = arrays.iter().map(|(kind, words)| (kind.to_string(), *words)).collect();
            let (step, kind, words) = (party.current_step(), Code(tag.kind).to_string(), words.to_vec());
            observed.messages.push(Seen { step, from, kind, position: tag.position, arrays, words });
        }
    }

    /// Keeps what a protocol looks at.
    pub fn look(&self, party: &Party, name: &str, x: &impl Look) {
        if let Some(observed) = &mut *self.0.borrow_mut() {
            let Parts { sharing, shape, components } = x.seen_by(party.id());
            let (step, name) = (party.current_step(), name.to_owned());
            observed.shares.push(Looked { step, name, sharing, shape, components });
        }
    }
}

impl Party {
    /// Keeps a copy of this party's part of `x` under `name`, when the run observes; costs nothing
    /// otherwise. Nothing is sent.
    pub fn look(&self, name: &str, x: &impl Look) {
        self.microscope.look(self, name, x);
    }

    /// Whether this party observes.
    pub fn observes(&self) -> bool {
        self.microscope.0.borrow().is_some()
    }

    /// Observes from now on: **insecure**, since shares and messages are kept, and whoever gets
    /// those of two parties has the secrets. Prints a warning on standard error, once a process.
    pub fn insecure_observe(&mut self) {
        static WARNING: Once = Once::new();
        WARNING.call_once(|| {
            eprintln!(
                "warning: a party keeps what it sees (insecure_observe): with what two parties keep, anybody can \
                 read the secrets. For teaching and debugging on public data"
            );
        });
        *self.microscope.0.borrow_mut() = Some(Observed { party: self.id(), shares: vec![], messages: vec![] });
    }

    /// What was observed so far, and nothing from now on.
    ///
    /// # Errors
    /// [`MpcError::Argument`] when this party does not observe.
    pub fn stop_observing(&mut self) -> Result<Observed, MpcError> {
        let observed = self.microscope.0.borrow_mut().take();
        let hint = || "this party does not observe: call insecure_observe first".to_owned();
        observed.ok_or_else(|| self.argument_error("stop observing", hint()))
    }
}
