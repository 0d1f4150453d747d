//! Handles: what a caller holds of tensors that live at the parties, and the roads in and out. Words go in as shares
//! that the caller deals, and come out to the caller alone (each party sends one component) or to one party.

use super::controller::{Cluster, Inner};
use super::error::ClusterError;
use super::job::{Job, JobError, PartyContext};
use super::store::{Held, Label, TensorId};
use super::words::Words;
use crate::device::{Device, DeviceError, Tensor};
use crate::mpc::{Rep, deal};
use crate::net::PartyId;
use crate::prg::{Correlated, Key, Keys, Randomness};
use crate::ring::Layout;
use ndarray::{ArrayBase, ArrayD, Data, Dimension, IxDyn};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// One tensor at the parties. When the last handle of it goes, the parties let go of it with their next command.
#[derive(Debug)]
pub struct Token {
    cluster: Weak<Inner>,
    number: u64,
    generation: u64,
    id: TensorId,
    label: Label,
    /// Who knows it, of a tensor that one party knows.
    owner: Option<PartyId>,
    freed: AtomicBool,
}

impl Token {
    pub(super) fn new(cluster: &Arc<Inner>, generation: u64, id: TensorId, label: Label) -> Self {
        let (number, cluster) = (cluster.number, Arc::downgrade(cluster));
        Token { cluster, number, generation, id, label, owner: None, freed: AtomicBool::new(false) }
    }

    pub(super) fn at(mut self, owner: PartyId) -> Self {
        self.owner = Some(owner);
        self
    }

    /// What the parties know it by, if it is of this cluster and still there.
    pub(super) fn check(&self, cluster: &Inner, now: u64) -> Result<TensorId, ClusterError> {
        let what = || self.label.describe();
        if cluster.number != self.number {
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

    fn cluster(&self) -> Result<Arc<Inner>, ClusterError> {
        self.cluster.upgrade().ok_or(ClusterError::Ended)
    }

    fn shape(&self) -> &[usize] {
        match &self.label {
            Label::Rep(shape) | Label::Bits(shape) | Label::Private(Some(shape)) => shape,
            Label::Private(None) => &[],
        }
    }

    fn free(&self) {
        if !self.freed.swap(true, Relaxed)
            && let Some(cluster) = self.cluster.upgrade()
        {
            cluster.let_go(self.generation, self.id);
        }
    }

    /// The components of it that the parties send, one each.
    fn components(&self) -> Result<(Arc<Inner>, [Vec<u64>; 3]), ClusterError> {
        let cluster = self.cluster()?;
        let turn = cluster.begin(Reveal::NAME)?;
        let id = self.check(&cluster, turn.generation())?;
        let run = turn.run_job(PartyId::ALL.map(|_| Reveal { id }), |_| ())?;
        Ok((cluster.clone(), run.outputs.map(|words| words.0)))
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
        pub struct $name(pub(super) Arc<Token>);

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

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        let codec = self.0.cluster()?.builder.settings.codec;
        Ok(codec.decode_array(&self.reveal_words()?))
    }

    /// As [`Shared::reveal`], as ring words.
    ///
    /// # Errors
    /// As [`Shared::reveal`].
    pub fn reveal_words(&self) -> Result<ArrayD<u64>, ClusterError> {
        let (_, [p0, p1, p2]) = self.0.components()?;
        let words = p0.iter().zip(&p1).zip(&p2).map(|((a, b), c)| a.wrapping_add(*b).wrapping_add(*c)).collect();
        together(self.shape(), words)
    }

    /// Opens it to one party, where functions find it as `Some` in place of an `Option<Tensor>`. The caller and the
    /// other parties learn nothing. 8 bytes an element, 1 round.
    ///
    /// # Errors
    /// As [`Shared::reveal`].
    pub fn reveal_to(&self, party: PartyId) -> Result<Revealed, ClusterError> {
        let cluster = self.0.cluster()?;
        let turn = cluster.begin(RevealTo::NAME)?;
        let (generation, run) = (turn.generation(), turn.run);
        let id = self.0.check(&cluster, generation)?;
        turn.run_job(PartyId::ALL.map(|_| RevealTo { id, party }), |_| ())?;
        let label = Label::Private(Some(self.shape().to_vec()));
        Ok(Revealed(Arc::new(Token::new(&cluster, generation, TensorId { run, place: 0 }, label).at(party))))
    }
}

impl SharedBits {
    /// Opens the bits to the caller alone: each party sends one component, and none learns anything. 1 bit an element
    /// from each party, no round between them.
    ///
    /// # Errors
    /// When the handle is no longer good; whatever ends the run.
    pub fn reveal(&self) -> Result<ArrayD<bool>, ClusterError> {
        let (_, [p0, p1, p2]) = self.0.components()?;
        let words: Vec<u64> = p0.iter().zip(&p1).zip(&p2).map(|((a, b), c)| a ^ b ^ c).collect();
        let layout = Layout::new(self.len());
        if words.len() != layout.words() {
            return Err(put_together(&"the parties sent another number of words than the bits take"));
        }
        together(self.shape(), layout.unpack(&words))
    }
}

fn put_together(detail: &dyn std::fmt::Display) -> ClusterError {
    ClusterError::argument("put the result together", detail)
}

fn together<T>(shape: &[usize], elements: Vec<T>) -> Result<ArrayD<T>, ClusterError> {
    ArrayD::from_shape_vec(IxDyn(shape), elements).map_err(|error| put_together(&error))
}

impl Cluster {
    /// Shares an array among the parties, encoded with the cluster's codec: each sees uniform words.
    ///
    /// ```no_run
    /// use cryptgpu_core::cluster::Cluster;
    /// use ndarray::array;
    ///
    /// let cluster = Cluster::in_memory().start()?;
    /// let x = cluster.share(&array![1.5, -2.0])?;
    /// assert_eq!(x.reveal()?, array![1.5, -2.0].into_dyn());
    /// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
    /// ```
    ///
    /// # Errors
    /// When a value does not fit the ring; whatever ends the run.
    pub fn share<S, D>(&self, array: &ArrayBase<S, D>) -> Result<Shared, ClusterError>
    where
        S: Data<Elem = f64>,
        D: Dimension,
    {
        let words = self.inner.builder.settings.codec.encode_array(array);
        self.share_words(&words.map_err(|error| ClusterError::argument("share an array", &error))?)
    }

    /// As [`Cluster::share`], of ring words.
    ///
    /// # Errors
    /// Whatever ends the run.
    pub fn share_words<S, D>(&self, array: &ArrayBase<S, D>) -> Result<Shared, ClusterError>
    where
        S: Data<Elem = u64>,
        D: Dimension,
    {
        let fail = |error: &dyn std::fmt::Display| ClusterError::argument("share an array", error);
        let key = Key::from_os().map_err(|error| fail(&error))?;
        let mut prg = Correlated::new(Randomness::Aes128Ctr, &Keys::alone(key));
        let shares = deal(&Tensor::from_array(Device::Cpu, array), &mut prg).map_err(|error| fail(&error))?;
        let shape = array.shape().to_vec();
        let job = |rep: Rep| -> Result<Share, DeviceError> {
            let (a, b) = rep.components();
            let components = [Words(a.view().to_host()?), Words(b.view().to_host()?)];
            Ok(Share { shape: shape.clone(), components })
        };
        let [p0, p1, p2] = shares.map(|rep| job(rep).map_err(|error| fail(&error)));
        let jobs = [p0?, p1?, p2?];
        let turn = self.inner.begin(Share::NAME)?;
        let (generation, id) = (turn.generation(), TensorId { run: turn.run, place: 0 });
        turn.run_job(jobs, |_| ())?;
        Ok(Shared(Arc::new(Token::new(&self.inner, generation, id, Label::Rep(shape)))))
    }
}

/// Takes a share that the caller has dealt.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Share {
    shape: Vec<usize>,
    /// This party's two.
    components: [Words; 2],
}

impl Job for Share {
    const NAME: &'static str = "share";
    type Output = ();

    fn run(self, context: &mut PartyContext) -> Result<(), JobError> {
        let device = context.party().device();
        let tensor = |words: Words| Tensor::new(device.upload(words.0), &self.shape);
        let [a, b] = self.components.map(tensor);
        let rep = a.and_then(|a| Rep::from_components(a, b?)).map_err(|error| JobError::Other(error.to_string()))?;
        context.keep_tensor(0, Held::Rep(rep));
        Ok(())
    }
}

/// Sends one component to the caller.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Reveal {
    id: TensorId,
}

impl Job for Reveal {
    const NAME: &'static str = "reveal";
    type Output = Words;

    fn run(self, context: &mut PartyContext) -> Result<Words, JobError> {
        let held = context.tensor(self.id)?;
        let component = match &held {
            Held::Rep(rep) => rep.components().0.view(),
            Held::Bits(bits) => bits.components().0.view(),
            Held::Private(_) => return Err(JobError::Other("it is known to one party and not shared".into())),
        };
        Ok(Words(context.party().to_host(component)?))
    }
}

/// Opens a share to one party, which keeps what it sees.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct RevealTo {
    id: TensorId,
    party: PartyId,
}

impl Job for RevealTo {
    const NAME: &'static str = "reveal-to";
    type Output = ();

    fn run(self, context: &mut PartyContext) -> Result<(), JobError> {
        let Held::Rep(rep) = context.tensor(self.id)? else {
            return Err(JobError::Other("only shares of words are opened to a party".into()));
        };
        let opened = context.party().step("reveal", |p| p.open_to(self.party, &rep))?;
        context.keep_tensor(0, Held::Private(opened));
        Ok(())
    }
}
