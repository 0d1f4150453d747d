//! Networks from ONNX files: the graph and its weights, of what exporters write down. Constants are computed, shapes inferred
//! (the batch is a symbol), batch normalisation and other factors by channel folded into the layers beside them; what cannot
//! be computed privately is listed, every node of it. A file is not trusted: sizes are checked before they are used, and
//! nothing outside its folder is read.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | [`OnnxModel`] |
//! | `proto.rs` | the messages of the format |
//! | `tensor.rs` | constant tensors, in the file and beside it |
//! | `attributes.rs` | settings of nodes |
//! | `constant.rs` | arithmetic on constants and shapes |
//! | `interface.rs` | inputs and outputs |
//! | `import.rs` | the walk through the nodes |
//! | `operators.rs` | which operators are computed, and what to do about the others |
//! | `products.rs`, `elementwise.rs`, `activations.rs`, `images.rs`, `resize.rs`, `shapes.rs`, `places.rs`, `sequences.rs`, `normalisation.rs` | the conversion of each |
//! | `classical.rs` | the same, of what scikit-learn's models have beside |
//! | `axes.rs` | where the batch is |
//! | `layers.rs` | layers before they are a graph |
//! | `ending.rs` | functions behind the last layer, which are computed of the opened scores |
//! | `build.rs` | the graph, from layers |
//! | `error.rs` | [`OnnxError`] |

mod activations;
mod attributes;
mod axes;
mod build;
mod classical;
mod constant;
mod elementwise;
mod ending;
mod error;
mod images;
mod import;
mod interface;
mod layers;
mod normalisation;
mod operators;
mod places;
mod products;
mod proto;
mod resize;
mod sequences;
mod shapes;
mod tensor;

pub use error::{OnnxError, Refused, Unsupported};

use super::{Graph, Weights};
use ending::Ending;
use layers::{Order, Value};
use ndarray::{ArrayD, Axis, IxDyn};
use prost::bytes::Bytes;
use std::path::Path;
use tensor::Beside;

/// A network and its weights from an ONNX file.
///
/// ```no_run
/// use cryptgpu_core::nn::{OnnxModel, plaintext};
/// let model = OnnxModel::load("net.onnx")?;
/// let x = ndarray::ArrayD::<f64>::zeros(model.input_dims(2));
/// let scores = plaintext::evaluate(&model.graph, &model.weights, &model.arrange(&x)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OnnxModel {
    /// The network, named as the file is. Layers have the names of their weights where PyTorch has named these, or else of
    /// their nodes.
    pub graph: Graph,
    /// Its weights.
    pub weights: Weights,
    /// What may be read otherwise than it was meant, a sentence each.
    pub notices: Vec<String>,
    /// SHA-256 of the file, and of files beside it that hold its weights, in hexadecimal digits.
    pub digest: String,
    input: Value,
    output: Value,
    ending: Option<Ending>,
}

fn read(path: &Path) -> Result<Bytes, OnnxError> {
    let failed = |source| OnnxError::Read { path: path.display().to_string(), source };
    std::fs::read(path).map(Bytes::from).map_err(failed)
}

/// The versions of standard operators that are read; of newer ones it is not known that they mean the same.
const OPSETS: std::ops::RangeInclusive<i64> = 9..=28;

impl OnnxModel {
    /// Reads a file, and weights that it has in files beside it.
    ///
    /// # Errors
    /// [`OnnxError::Unsupported`] with every node that cannot be computed; else what is wrong with the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, OnnxError> {
        let path = path.as_ref();
        Self::read(&read(path)?, None, &path.display().to_string(), Beside::file(path))
    }

    /// As [`load`](Self::load), with the output of this name as the network's result. `load` takes the only one there is, or the only one that
    /// holds numbers: of a classifier of scikit-learn its probabilities or scores, and not its labels.
    ///
    /// # Errors
    /// As [`load`](Self::load), and where no output has the name.
    pub fn load_output(path: impl AsRef<Path>, output: &str) -> Result<Self, OnnxError> {
        let path = path.as_ref();
        Self::read(&read(path)?, Some(output), &path.display().to_string(), Beside::file(path))
    }

    /// The network of a file, of the output with which it is `graph`. Where it is that with none, what [`load`](Self::load) gives.
    ///
    /// # Errors
    /// As [`load`](Self::load), and where two outputs have that graph with other weights: which of them is meant cannot be told.
    pub(super) fn load_like(path: &Path, graph: &Graph) -> Result<Self, OnnxError> {
        let (bytes, origin) = (read(path)?, path.display().to_string());
        let open = |output: Option<&str>| Self::read(&bytes, output, &origin, Beside::file(path));
        let first = open(None);
        let is_it = |model: &Self| model.graph.nodes() == graph.nodes() && model.graph.output() == graph.output();
        if first.as_ref().is_ok_and(is_it) {
            return first;
        }
        let outputs = proto::read(bytes.clone(), &origin)?.graph.map(|graph| graph.output).unwrap_or_default();
        // Of the few that models have; each is a walk through the file.
        let outputs = outputs.iter().take(if outputs.len() > 1 { 64 } else { 0 });
        let mut alike = outputs.filter_map(|output| open(Some(&output.name)).ok()).filter(is_it);
        let Some(found) = alike.next() else { return first };
        if alike.any(|other| other.weights != found.weights) {
            let what = "several of its outputs have the network that is asked for, with other weights: give their layers names of \
                        their own, or export the model with one output";
            return Err(interface::error(&origin, what.into()));
        }
        Ok(found)
    }

    /// As [`load`](Self::load), from the bytes of a file, all of whose weights are in it; errors call it `origin`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self, OnnxError> {
        Self::read(&bytes.to_vec().into(), None, origin, Beside::nothing())
    }

    fn read(bytes: &Bytes, output: Option<&str>, origin: &str, mut beside: Beside) -> Result<Self, OnnxError> {
        let model = proto::read(bytes.clone(), origin)?;
        let interface = |what: String| OnnxError::Interface { path: origin.into(), what };
        let standard = |domain: &str| matches!(domain, "" | "ai.onnx");
        let opset = model.opset_import.iter().find(|set| standard(&set.domain)).map(|set| set.version);
        let opset = opset.ok_or_else(|| interface("it does not say of which version its operators are".into()))?;
        if opset < *OPSETS.start() {
            let first = OPSETS.start();
            return Err(interface(format!(
                "its operators are of version {opset}: export it with opset {first} or newer"
            )));
        }
        let mut notices = Vec::new();
        if opset > *OPSETS.end() {
            notices.push(format!("its operators are of version {opset}, and were read as those of {}", OPSETS.end()));
        }
        let graph = model.graph.as_ref().ok_or_else(|| interface("it holds no network".into()))?;
        let imported = import::import(graph, opset, output, origin, &mut beside)?;
        let stem = Path::new(origin).file_stem().map_or_else(|| "onnx".into(), |stem| stem.to_string_lossy());
        let name = import::harmless(&stem);
        let (graph, weights) = build::build(&name, imported.layers, imported.output.layer, origin)?;
        let digest = beside.digest(bytes)?;
        notices.extend(imported.notices);
        notices.extend(imported.ending.as_ref().map(Ending::notice));
        let (input, output, ending) = (imported.input, imported.output, imported.ending);
        Ok(OnnxModel { graph, weights, notices, digest, input, output, ending })
    }

    /// The shape of a batch of inputs, as the file has it: a row of features, or channels first or last.
    pub fn input_dims(&self, batch: usize) -> Vec<usize> {
        [&[batch], &self.input.dims[..]].concat()
    }

    /// The shape of a batch of results, as the file has it.
    pub fn output_dims(&self, batch: usize) -> Vec<usize> {
        let dims =
            self.ending.as_ref().map_or_else(|| self.output.dims.clone(), |ending| ending.dims(&self.output.dims));
        [&[batch], &dims[..]].concat()
    }

    /// A batch of inputs in the file's shape, as the graph takes them: `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// [`OnnxError::Input`] for another shape.
    pub fn arrange<T: Clone>(&self, x: &ArrayD<T>) -> Result<ArrayD<T>, OnnxError> {
        let wrong = || OnnxError::Input {
            graph: self.graph.name().into(),
            expected: self.input.dims.clone(),
            found: x.shape().into(),
        };
        let [batch @ 1..=usize::MAX, dims @ ..] = x.shape() else { return Err(wrong()) };
        if dims != self.input.dims {
            return Err(wrong());
        }
        let ordered = match self.input.order {
            Order::ChannelsLast => x.view().permuted_axes(IxDyn(&[0, 3, 1, 2])).as_standard_layout().into_owned(),
            _ => x.as_standard_layout().into_owned(),
        };
        let shape = [&[*batch], &self.graph.input_shape()[..]].concat();
        ordered.into_shape_with_order(IxDyn(&shape)).map_err(|_| wrong())
    }

    /// What the file's network gives, of a batch of the graph's opened results: in the file's shape, and with the sigmoid,
    /// softmax or place of the largest (as a number) that the file has behind its last layer.
    ///
    /// # Errors
    /// [`OnnxError::Input`] for something else.
    pub fn finish(&self, scores: &ArrayD<f64>) -> Result<ArrayD<f64>, OnnxError> {
        let wrong = || OnnxError::Input {
            graph: self.graph.name().into(),
            expected: self.graph.output_shape().into(),
            found: scores.shape().into(),
        };
        let shape = self.graph.output_shape();
        if scores.ndim() != shape.len() + 1 || scores.shape()[1..] != *shape {
            return Err(wrong());
        }
        let batch = scores.len_of(Axis(0));
        let ordered = match self.output.order {
            Order::ChannelsLast => scores.view().permuted_axes(IxDyn(&[0, 2, 3, 1])).as_standard_layout().into_owned(),
            _ => scores.as_standard_layout().into_owned(),
        };
        let dims = [&[batch], &self.output.dims[..]].concat();
        let ordered = ordered.into_shape_with_order(IxDyn(&dims)).map_err(|_| wrong())?;
        Ok(match &self.ending {
            Some(ending) => ending.apply(ordered),
            None => ordered,
        })
    }

    /// Whether a file is taken for ONNX by its name.
    pub fn is_named_so(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
    }
}
