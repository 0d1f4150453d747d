//! The caller's halves of sharing and revealing: words go in as shares that the caller deals, and come out as components
//! that it adds up.

use super::cluster::Cluster;
use super::inner::Inner;
use super::saved::save;
use super::turn::Turn;
use crate::cluster::marshal::handle::{Holder, Shared, Token};
use crate::cluster::marshal::store::Label;
use crate::cluster::party::job::Job;
use crate::cluster::party::share::{Reveal, RevealTo, Share};
use crate::cluster::serving::deal::deal_words;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::HeldId;
use crate::net::PartyId;
use crate::nn::range::InputRange;
use crate::ring::FixedPoint;
use ndarray::{ArrayBase, Data, Dimension};
use std::sync::Arc;

impl Holder for Inner {
    fn number(&self) -> u64 {
        self.number
    }

    fn codec(&self) -> FixedPoint {
        self.configuration.settings.codec
    }

    fn let_go(&self, generation: u64, id: HeldId) {
        Inner::let_go(self, generation, id);
    }

    fn components(self: Arc<Self>, token: &Token) -> Result<[Vec<u64>; 3], ClusterError> {
        let turn = Turn::begin(&self, Reveal::NAME)?;
        let id = token.check(self.number, turn.generation())?;
        let run = turn.run_job(PartyId::ALL.map(|_| Reveal { id }), |_| ())?;
        Ok(run.outputs.map(|words| words.0))
    }

    fn open_to(self: Arc<Self>, token: &Token, party: PartyId) -> Result<Token, ClusterError> {
        let turn = Turn::begin(&self, RevealTo::NAME)?;
        let (generation, run) = (turn.generation(), turn.run);
        let id = token.check(self.number, generation)?;
        turn.run_job(PartyId::ALL.map(|_| RevealTo { id, party }), |_| ())?;
        let label = Label::Private(Some(token.shape().to_vec()));
        Ok(Token::new(self, generation, HeldId { run, place: 0 }, label).at(party))
    }

    fn save(self: Arc<Self>, token: &Token, name: &str, input: Option<InputRange>) -> Result<(), ClusterError> {
        save(&self, token, name, input)
    }
}

impl Cluster {
    /// Shares an array of numbers (`f64`, `f32`, `u8`, `i32` and other small integers) among the parties, encoded with
    /// the cluster's codec: each sees uniform words.
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
        S: Data,
        S::Elem: Copy + Into<f64>,
        D: Dimension,
    {
        share(&self.inner, array)
    }

    /// As [`Cluster::share`], of ring elements.
    ///
    /// # Errors
    /// Whatever ends the run.
    pub fn share_words<S, D>(&self, array: &ArrayBase<S, D>) -> Result<Shared, ClusterError>
    where
        S: Data<Elem = u64>,
        D: Dimension,
    {
        share_words(&self.inner, array)
    }
}

/// What [`Cluster::share`] does.
pub(super) fn share<S, D>(inner: &Arc<Inner>, array: &ArrayBase<S, D>) -> Result<Shared, ClusterError>
where
    S: Data,
    S::Elem: Copy + Into<f64>,
    D: Dimension,
{
    let words = inner.configuration.settings.codec.encode_array(array);
    share_words(inner, &words.map_err(|error| ClusterError::argument("share an array", &error))?)
}

fn share_words<S, D>(inner: &Arc<Inner>, array: &ArrayBase<S, D>) -> Result<Shared, ClusterError>
where
    S: Data<Elem = u64>,
    D: Dimension,
{
    let ring = inner.configuration.settings.codec.ring();
    let parts = deal_words(ring, array).map_err(|error| ClusterError::argument("share an array", &error))?;
    let shape = array.shape().to_vec();
    let jobs = parts.map(|components| Share { shape: shape.clone(), components });
    let turn = Turn::begin(inner, Share::NAME)?;
    let (generation, id) = (turn.generation(), HeldId { run: turn.run, place: 0 });
    turn.run_job(jobs, |_| ())?;
    Ok(Shared(Arc::new(Token::new(inner.clone(), generation, id, Label::Rep(shape)))))
}
