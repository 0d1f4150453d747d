//! Where weights come from: a name for them that travels where the weights must not.

use super::{FittedWeights, Graph, NnError, OnnxError, OnnxModel, Weights};
use cryptgpu_datasets::bundled;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where weights come from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum WeightSource {
    /// Those that are part of the program: of LeNet, trained on MNIST, or of ResNet-8, trained on CIFAR-10.
    Bundled,
    /// Random ones from a seed, as [`Weights::seeded`].
    Random(u64),
    /// A safetensors or PyTorch file with PyTorch's names, or the ONNX file of the network, at the party that owns the weights.
    File(WeightFile),
}

/// A safetensors file with PyTorch's names, `"lenet.safetensors".into()`, a state dict of PyTorch (`….pt`, `….pth`), or a file
/// of the name `….onnx`, which holds the weights of its own network alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WeightFile {
    path: PathBuf,
    ignore_extra: bool,
}

impl WeightFile {
    /// The file, which must have the tensors of the network and no others.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        WeightFile { path: path.into(), ignore_extra: false }
    }

    /// Leaves out the tensors that the network does not have: counters and training state beside the weights.
    #[must_use]
    pub fn ignoring_extra(self) -> Self {
        WeightFile { ignore_extra: true, ..self }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl<P: Into<PathBuf>> From<P> for WeightFile {
    fn from(path: P) -> Self {
        WeightFile::new(path)
    }
}

impl fmt::Display for WeightSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeightSource::Bundled => f.write_str("bundled"),
            WeightSource::Random(seed) => write!(f, "random, seed {seed}"),
            WeightSource::File(WeightFile { path, .. }) => match path.file_name() {
                Some(name) => write!(f, "{}", name.to_string_lossy()),
                None => write!(f, "{}", path.display()),
            },
        }
    }
}

impl WeightSource {
    /// What a network is ordinarily measured with: the bundled weights where there are some, and random ones, seed 1, for
    /// others.
    pub fn usual(network: &str) -> Self {
        if bundled::weights(network).is_some() { WeightSource::Bundled } else { WeightSource::Random(1) }
    }

    /// The weights, made to fit `graph` as [`Weights::fit`] does, without the notices.
    ///
    /// # Errors
    /// As [`WeightSource::open`].
    pub fn load(&self, graph: &Graph) -> Result<Weights, NnError> {
        Ok(self.open(graph)?.weights)
    }

    /// The weights, made to fit `graph`, and notices of what was changed for that.
    ///
    /// # Errors
    /// As [`Weights::load`] and [`Weights::fit`], or [`OnnxModel::load`]: a file that is missing, damaged or another network's.
    pub fn open(&self, graph: &Graph) -> Result<FittedWeights, NnError> {
        let (weights, ignore_extra) = match self {
            WeightSource::Bundled => {
                // A graph of another name may be LeNet all the same.
                let file = bundled::weights(graph.name()).unwrap_or(bundled::LENET_MNIST_SAFETENSORS);
                (Weights::from_safetensors(file, "the bundled weights")?, false)
            }
            WeightSource::Random(seed) => (Weights::seeded(graph, *seed), false),
            WeightSource::File(file) if OnnxModel::is_named_so(&file.path) => return of_onnx(&file.path, graph),
            WeightSource::File(file) => (Weights::load(&file.path)?, file.ignore_extra),
        };
        weights.fit(graph, ignore_extra)
    }
}

/// The weights of an ONNX file, if its network is `graph`, whatever the two are called and whichever output it ends with.
fn of_onnx(path: &Path, graph: &Graph) -> Result<FittedWeights, NnError> {
    let OnnxModel { graph: found, weights, notices, .. } = OnnxModel::load_like(path, graph)?;
    let differing = found.nodes().iter().zip(graph.nodes()).find(|(found, asked)| found != asked);
    let what = match differing {
        Some((found, asked)) => format!("its layer `{}` is not `{}` as that has it", found.name, asked.name),
        None if found.nodes().len() != graph.nodes().len() => "it has another number of layers".into(),
        None if found.output() != graph.output() => "its result is another layer's".into(),
        None => return Ok(FittedWeights { weights, notices }),
    };
    let (path, graph) = (path.display().to_string(), graph.name().to_owned());
    Err(OnnxError::OtherNetwork { path, graph, what }.into())
}
