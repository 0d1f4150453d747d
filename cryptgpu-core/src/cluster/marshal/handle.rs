//! Handles: what a caller has of what lives at the parties. Tensors come out to the caller alone (each party sends
//! one component) or to one party. How they come out is the cluster's affair, which a handle knows as its [`Holder`] only.

use super::store::Label;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::HeldId;
use crate::net::PartyId;
use crate::nn::range::InputRange;
use crate::ring::{FixedPoint, Layout};
use ndarray::{ArrayD, IxDyn};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// One tensor or model at the parties. When the last handle of it goes, the parties let go of it with their next command.
#[derive(Debug)]
pub struct Token {
    holder: Weak<dyn Holder>,
    number: u64,
    generation: u64,
    id: HeldId,
    label: Label,
    /// Who knows it, of a tensor that one party knows.
    owner: Option<PartyId>,
    freed: AtomicBool,
}

/// The cluster that a handle belongs to, as far as a handle needs it.
pub(in crate::cluster) trait Holder: fmt::Debug + Send + Sync {
    /// Tells this cluster from others of this program.
    fn number(&self) -> u64;

    /// The fixed-point codec of all its runs.
    fn codec(&self) -> FixedPoint;

    /// The last handle of something is gone.
    fn let_go(&self, generation: u64, id: HeldId);

    /// Has each party send one component of the tensor to the caller.
    fn components(self: Arc<Self>, token: &Token) -> Result<[Vec<u64>; 3], ClusterError>;

    /// Opens the share to one party, which keeps what it sees.
    fn open_to(self: Arc<Self>, token: &Token, party: PartyId) -> Result<Token, ClusterError>;

    /// Has each party save its part under a name; of a model, with the range of its images.
    fn save(self: Arc<Self>, token: &Token, name: &str, input: Option<InputRange>) -> Result<(), ClusterError>;
}

impl Token {
    pub(in crate::cluster) fn new(holder: Arc<dyn Holder>, generation: u64, id: HeldId, label: Label) -> Self {
        let (number, holder) = (holder.number(), Arc::downgrade(&holder));
        Token { holder, number, generation, id, label, owner: None, freed: AtomicBool::new(false) }
    }

    pub(in crate::cluster) fn at(mut self, owner: PartyId) -> Self {
        self.owner = Some(owner);
        self
    }

    /// What the parties know it by, if it is of the cluster with that number and of its present generation.
    pub(in crate::cluster) fn check(&self, cluster: u64, now: u64) -> Result<HeldId, ClusterError> {
        let what = || self.label.describe();
        if cluster != self.number {
            return Err(ClusterError::ForeignHandle { what: what() });
        }
        if self.generation != now {
            return Err(ClusterError::StaleHandle { what: what(), generation: self.generation, now });
        }
        if self.freed.load(Relaxed) {
            return Err(ClusterError::FreedHandle { what: what() });
        }
        Ok(self.id)
    }

    /// The shape of the tensor; of no axis if the caller does not know it.
    pub(in crate::cluster) fn shape(&self) -> &[usize] {
        match &self.label {
            Label::Rep(shape) | Label::Bits(shape) | Label::Private(Some(shape)) => shape,
            Label::Private(None) | Label::Model(_) | Label::Examples(_) | Label::Training(_) => &[],
        }
    }

    fn holder(&self) -> Result<Arc<dyn Holder>, ClusterError> {
        self.holder.upgrade().ok_or(ClusterError::Ended)
    }

    pub(in crate::cluster) fn save(&self, name: &str, input: Option<InputRange>) -> Result<(), ClusterError> {
        self.holder()?.save(self, name, input)
    }

    pub(super) fn free(&self) {
        if !self.freed.swap(true, Relaxed)
            && let Some(holder) = self.holder.upgrade()
        {
            holder.let_go(self.generation, self.id);
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.free();
    }
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(pub(in crate::cluster) Arc<Token>);

        impl $name {
            /// The shape.
            pub fn shape(&self) -> &[usize] {
                self.0.shape()
            }

            /// How many elements.
            pub fn len(&self) -> usize {
                self.shape().iter().product()
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Lets the parties free it although handles are still there; using one of those is an error.
            pub fn free(&self) {
                self.0.free();
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{:?}", stringify!($name), self.shape())
            }
        }
    };
}

handle! {
    /// A share of a tensor that lives at the parties: what a function takes and leaves as `Rep`. Clones name the same
    /// tensor; the parties free it after the last one is dropped. It lasts as long as the generation of processes
    /// that it was made in.
    Shared
}

handle! {
    /// Shared bits that live at the parties: what a function takes and leaves as `RepBits`.
    SharedBits
}

handle! {
    /// A tensor that one party knows in plaintext, and that lives there alone: what a function takes and leaves as
    /// `Option<Tensor>`.
    Revealed
}

impl Revealed {
    /// Who knows it.
    pub fn party(&self) -> PartyId {
        // Every handle of this kind is made with an owner.
        self.0.owner.unwrap_or(PartyId::P0)
    }
}

impl Shared {
    /// Opens it to the caller alone, decoded with the cluster's codec: each party sends one component, and none
    /// learns anything. 8 bytes an element from each party, no round between them.
    ///
    /// # Errors
    /// When the handle is no longer good; whatever ends the run.
    pub fn reveal(&self) -> Result<ArrayD<f64>, ClusterError> {
        let codec = self.0.holder()?.codec();
        Ok(codec.decode_array(&self.reveal_words()?))
    }

    /// As [`Shared::reveal`], as ring elements.
    ///
    /// # Errors
    /// As [`Shared::reveal`].
    pub fn reveal_words(&self) -> Result<ArrayD<u64>, ClusterError> {
        let holder = self.0.holder()?;
        let (ring, n) = (holder.codec().ring(), self.len());
        let [p0, p1, p2] = holder.components(&self.0)?.map(|words| ring.unpack(words, n));
        let sum = |((a, b), c): ((&u64, &u64), &u64)| ring.residue(a.wrapping_add(*b).wrapping_add(*c));
        together(self.shape(), p0.iter().zip(&p1).zip(&p2).map(sum).collect())
    }

    /// Opens it to one party, where functions find it as `Some` in place of an `Option<Tensor>`. The caller and the
    /// other parties learn nothing. 8 bytes an element, 1 round.
    ///
    /// # Errors
    /// As [`Shared::reveal`].
    pub fn reveal_to(&self, party: PartyId) -> Result<Revealed, ClusterError> {
        self.0.holder()?.open_to(&self.0, party).map(|token| Revealed(Arc::new(token)))
    }
}

impl SharedBits {
    /// Opens the bits to the caller alone: each party sends one component, and none learns anything. 1 bit an element
    /// from each party, no round between them.
    ///
    /// # Errors
    /// When the handle is no longer good; whatever ends the run.
    pub fn reveal(&self) -> Result<ArrayD<bool>, ClusterError> {
        let holder = self.0.holder()?;
        let layout = Layout::new(holder.codec().ring().filled(self.len()));
        let [p0, p1, p2] = holder.components(&self.0)?;
        let words: Vec<u64> = p0.iter().zip(&p1).zip(&p2).map(|((a, b), c)| a ^ b ^ c).collect();
        if words.len() != layout.words() {
            return Err(put_together(&"the parties sent another number of words than the bits take"));
        }
        together(self.shape(), layout.unpack(&words).into_iter().take(self.len()).collect())
    }
}

fn put_together(detail: &dyn fmt::Display) -> ClusterError {
    ClusterError::argument("put the result together", detail)
}

fn together<T>(shape: &[usize], elements: Vec<T>) -> Result<ArrayD<T>, ClusterError> {
    ArrayD::from_shape_vec(IxDyn(shape), elements).map_err(|error| put_together(&error))
}
