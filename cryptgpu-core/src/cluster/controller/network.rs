//! The network to load: a name of the zoo or a graph, with its options.

use crate::net::PartyId;
use crate::nn::{Graph, LowerOptions, NnError, zoo};

/// A network to load: a name of the [`zoo`] or a [`Graph`] of one's own, with options.
///
/// ```
/// use cryptgpu_core::cluster::Network;
/// use cryptgpu_core::{net::PartyId, nn::zoo};
///
/// let by_name = Network::from("lenet").owner(PartyId::P0);
/// let by_graph = Network::from(zoo::by_name("lenet")?);
/// # Ok::<(), cryptgpu_core::nn::NnError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a network is loaded by `Cluster::load_model`"]
pub struct Network {
    architecture: Architecture,
    pub(super) owner: PartyId,
    pub(super) options: LowerOptions,
}

#[derive(Clone, Debug)]
enum Architecture {
    Named(String),
    Graph(Graph),
}

impl Network {
    /// The party that reads the weights and shares them; party 1 by default.
    pub fn owner(mut self, owner: PartyId) -> Self {
        self.owner = owner;
        self
    }

    /// How its layers become steps of the evaluation.
    pub fn lowering(mut self, options: LowerOptions) -> Self {
        self.options = options;
        self
    }

    pub(super) fn graph(&self) -> Result<Graph, NnError> {
        match &self.architecture {
            Architecture::Named(name) => zoo::by_name(name),
            Architecture::Graph(graph) => Ok(graph.clone()),
        }
    }
}

impl From<Architecture> for Network {
    fn from(architecture: Architecture) -> Self {
        Network { architecture, owner: PartyId::P1, options: LowerOptions::default() }
    }
}

impl From<&str> for Network {
    fn from(name: &str) -> Self {
        Architecture::Named(name.to_owned()).into()
    }
}

impl From<String> for Network {
    fn from(name: String) -> Self {
        Architecture::Named(name).into()
    }
}

impl From<Graph> for Network {
    fn from(graph: Graph) -> Self {
        Architecture::Graph(graph).into()
    }
}

impl From<&Graph> for Network {
    fn from(graph: &Graph) -> Self {
        Architecture::Graph(graph.clone()).into()
    }
}
