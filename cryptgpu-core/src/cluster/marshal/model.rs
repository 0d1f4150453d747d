//! The handle of a model, and what a function gets for it.

use super::handle::Token;
use super::parcel::{ArgumentReader, Parcel};
use super::store::Held;
use super::traits::{Argument, PassedAs};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::job_error::JobError;
use crate::cluster::wire::message::Usage;
use crate::nn::range::InputRange;
use crate::nn::{Graph, SharedModel};
use std::fmt;
use std::sync::Arc;

/// A network whose weights the parties hold in shares: what [`Cluster::load_model`](crate::cluster::Cluster::load_model)
/// gives, and what a function takes as `Arc<SharedModel>`. Clones name the same weights; the parties free them after the
/// last one is dropped. It lasts as long as the generation of processes that it was loaded in.
#[derive(Clone)]
pub struct Model {
    pub(in crate::cluster) token: Arc<Token>,
    pub(in crate::cluster) graph: Arc<Graph>,
    /// The range of images that the bounds on its values are for.
    pub(in crate::cluster) input: InputRange,
    pub(in crate::cluster) notices: Arc<[String]>,
    pub(in crate::cluster) usage: [Usage; 3],
}

impl Model {
    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The range that images are declared to lie in.
    pub fn input_range(&self) -> InputRange {
        self.input
    }

    /// What was changed to make the tensors of the weights' file fit the network, and where no bound shows that values fit
    /// the ring, a sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What the run took that it came from, by party: that shared or loaded its weights, or trained them.
    pub fn usage(&self) -> &[Usage; 3] {
        &self.usage
    }

    /// Lets the parties free it although handles are still there; using one of those is an error.
    pub fn free(&self) {
        self.token.free();
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.token, &other.token)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({})", self.graph.name())
    }
}

impl PassedAs<Arc<SharedModel>> for &Model {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        parcel.put_token(&self.token)
    }
}

impl PassedAs<Arc<SharedModel>> for Model {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        parcel.put_token(&self.token)
    }
}

impl Argument for Arc<SharedModel> {
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
        match from.held()? {
            Held::Model(model) => Ok(model.clone()),
            other => Err(JobError::Other(format!("the handle names {}", other.label().describe()))),
        }
    }
}
