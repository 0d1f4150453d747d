//! Where weights come from: a name for them that travels where the weights must not.

use super::{Graph, NnError, Weights};
use cryptgpu_datasets::bundled;
use std::fmt;
use std::path::PathBuf;

/// Where weights come from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum WeightSource {
    /// Those of LeNet, trained on MNIST, that are part of the program.
    Bundled,
    /// Random ones from a seed, as [`Weights::seeded`].
    Random(u64),
    /// A safetensors file with PyTorch's names, at the party that owns the weights.
    File(PathBuf),
}

impl fmt::Display for WeightSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeightSource::Bundled => f.write_str("bundled"),
            WeightSource::Random(seed) => write!(f, "random, seed {seed}"),
            WeightSource::File(path) => match path.file_name() {
                Some(name) => write!(f, "{}", name.to_string_lossy()),
                None => write!(f, "{}", path.display()),
            },
        }
    }
}

impl WeightSource {
    /// What a network is ordinarily measured with: the bundled weights for `lenet`, and random ones, seed 1, for others.
    pub fn usual(network: &str) -> Self {
        if network == "lenet" { WeightSource::Bundled } else { WeightSource::Random(1) }
    }

    /// The weights, checked against `graph`.
    ///
    /// # Errors
    /// As [`Weights::load`] and [`Weights::check`]: a file that is missing, damaged or another network's.
    pub fn load(&self, graph: &Graph) -> Result<Weights, NnError> {
        let weights = match self {
            WeightSource::Bundled => Weights::from_safetensors(bundled::LENET_MNIST_SAFETENSORS, "the bundled LeNet")?,
            WeightSource::Random(seed) => Weights::seeded(graph, *seed),
            WeightSource::File(path) => Weights::load(path)?,
        };
        weights.check(graph)?;
        Ok(weights)
    }
}
