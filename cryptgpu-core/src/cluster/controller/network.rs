//! The network to load: a name of the zoo or a graph, with its options.

use crate::net::PartyId;
use crate::nn::range::InputRange;
use crate::nn::{Graph, LowerOptions, NnError, zoo};
use cryptgpu_datasets::ImageSet;
use std::ops::Range;

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
    pub(super) input: InputRange,
    pub(super) calibration: Option<(ImageSet, Range<usize>)>,
    pub(super) known: Vec<String>,
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

    /// The range that images lie in, for which the owner of the weights computes how large values can become; −3 to 3 by
    /// default. All parties and the caller know it.
    pub fn input_range(mut self, range: InputRange) -> Self {
        self.input = range;
        self
    }

    /// Images `range` of `set`, which the owner of the weights reads and evaluates in plaintext before it shares the
    /// weights: it refuses to when a value leaves the ring. Nobody else learns which they are.
    pub fn calibrated_on(mut self, set: ImageSet, range: Range<usize>) -> Self {
        self.calibration = Some((set, range));
        self
    }

    /// Notices that the caller has shown already, as those of a file that it has opened: they are kept, and not printed again.
    pub fn knowing(mut self, notices: impl IntoIterator<Item = String>) -> Self {
        self.known.extend(notices);
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
        let (options, input) = Default::default();
        Network { architecture, owner: PartyId::P1, options, input, calibration: None, known: vec![] }
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
