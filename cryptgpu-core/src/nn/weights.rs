//! The weights of a network as named plaintext tensors: read from safetensors and PyTorch files with
//! PyTorch's names, written, made from a seed, and checked against a graph. Only the owner of a network sees these.

use super::fit::listed;
use super::{Graph, NnError, Op, torch};
use crate::prg::{Aes128Ctr, Key};
use crate::ring::Withheld;
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Named tensors, in name order. `Debug` shows names and shapes, not values.
#[derive(Clone, Default, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, ArrayD<f32>>,
    /// Tensors of a file whose elements cannot be weights, with their types: counters and the like.
    others: BTreeMap<String, String>,
    /// The network that they are said to be of.
    network: Option<String>,
}

/// The entry of a safetensors file's metadata that names the network.
const NETWORK: &str = "network";

impl Weights {
    /// No tensors.
    pub fn new() -> Self {
        Weights::default()
    }

    /// The network that these are stated to be the weights of, if that is stated: the entry `network` of the metadata
    /// of a safetensors file (in Python, `save_file(tensors, path, metadata={"network": "lenet-maxpool"})`). One file of
    /// weights fits several networks, which are other functions; [`check`](Self::check) refuses all but the stated one.
    pub fn network(&self) -> Option<&str> {
        self.network.as_deref()
    }

    /// States that these are weights of `network`; [`save`](Self::save) writes that down.
    #[must_use]
    pub fn stating(self, network: impl Into<String>) -> Self {
        Weights { network: Some(network.into()), ..self }
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&ArrayD<f32>> {
        self.tensors.get(name)
    }

    /// Sets the tensor called `name`, and returns the one it replaces.
    pub fn insert(&mut self, name: impl Into<String>, tensor: ArrayD<f32>) -> Option<ArrayD<f32>> {
        self.tensors.insert(name.into(), tensor)
    }

    /// Takes the tensor called `name` out.
    pub fn remove(&mut self, name: &str) -> Option<ArrayD<f32>> {
        self.tensors.remove(name)
    }

    /// Names and tensors, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ArrayD<f32>)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Reads a safetensors file, or the state dict in a file of PyTorch (`.pt`, `.pth`), of which nothing is executed.
    /// Elements may be F32, F16, BF16 or F64 (rounded to f32). Tensors called
    /// `….num_batches_tracked`, which PyTorch counts in integers and inference does not use, are left out; of those
    /// with other elements only name and type are kept, for [`check`](Self::check) to say.
    ///
    /// # Errors
    /// [`NnError::Read`], [`NnError::Format`] or [`NnError::Torch`] (truncated or corrupt).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, NnError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| NnError::Read { path: name.clone(), source })?;
        if torch::is_named_so(path) { Self::from_torch(&bytes, &name) } else { Self::from_safetensors(&bytes, &name) }
    }

    /// As [`Weights::load`], from the bytes of a file of PyTorch; errors call it `origin`.
    ///
    /// # Errors
    /// [`NnError::Torch`].
    pub fn from_torch(bytes: &[u8], origin: &str) -> Result<Self, NnError> {
        torch::weights(bytes, origin)
    }

    /// As [`Weights::load`], from the bytes of a file; errors call it `origin`.
    ///
    /// # Errors
    /// [`NnError::Format`].
    pub fn from_safetensors(bytes: &[u8], origin: &str) -> Result<Self, NnError> {
        let format = |source| NnError::Format { path: origin.into(), bytes: bytes.len(), source };
        let file = SafeTensors::deserialize(bytes).map_err(format)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
        let network = header.metadata().as_ref().and_then(|metadata| metadata.get(NETWORK)).cloned();
        let mut weights = Weights { network, ..Weights::new() };
        for (name, view) in file.iter().filter(|(name, _)| !name.ends_with(".num_batches_tracked")) {
            let Some(values) = to_f32(&view) else {
                weights.others.insert(name.into(), format!("{:?}", view.dtype()));
                continue;
            };
            let mismatch = || safetensors::SafeTensorError::InvalidOffset(name.into());
            let tensor = ArrayD::from_shape_vec(IxDyn(view.shape()), values).map_err(|_| format(mismatch()))?;
            weights.insert(name, tensor);
        }
        Ok(weights)
    }

    /// Writes a safetensors file of F32 tensors. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`NnError::Write`], [`NnError::Format`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), NnError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let data: Vec<(&str, &[usize], Vec<u8>)> = self
            .iter()
            .map(|(tensor, values)| (tensor, values.shape(), values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let format = |source| NnError::Format { path: name.clone(), bytes: 0, source };
        let views = data.iter().map(|(tensor, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.to_vec(), bytes).map(|view| (*tensor, view)).map_err(format)
        });
        let metadata =
            self.network.iter().map(|network| (NETWORK.to_owned(), network.clone())).collect::<HashMap<_, _>>();
        let metadata = (!metadata.is_empty()).then_some(metadata);
        let bytes = safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, metadata).map_err(format)?;
        write_whole(path, &bytes).map_err(|source| NnError::Write { path: name.clone(), source })
    }

    /// Checks that these are the weights of `graph`: stated to be so if anything is stated, every tensor there, of the
    /// right shape, finite, and no other.
    ///
    /// # Errors
    /// [`NnError::OtherNetwork`], [`NnError::MissingTensor`], [`NnError::Dtype`], [`NnError::TensorShape`],
    /// [`NnError::NotFinite`], [`NnError::Variance`], [`NnError::ExtraTensors`].
    pub fn check(&self, graph: &Graph) -> Result<(), NnError> {
        if let Some(stated) = self.network.as_ref().filter(|stated| *stated != graph.name()) {
            return Err(NnError::OtherNetwork { graph: graph.name().into(), stated: stated.clone() });
        }
        let parameters = graph.parameters();
        for parameter in &parameters {
            self.tensor(graph, &parameter.name, &parameter.shape)?;
        }
        let extra = self.extra(&parameters.into_iter().map(|parameter| parameter.name).collect());
        if extra.is_empty() {
            return Ok(());
        }
        Err(NnError::ExtraTensors { graph: graph.name().into(), tensors: listed(&extra) })
    }

    /// Says that there is a tensor of a type that no weight has.
    pub(super) fn insert_other(&mut self, name: &str, dtype: &str) {
        self.others.insert(name.into(), dtype.into());
    }

    /// Names of all tensors, also of those whose elements cannot be weights.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().chain(self.others.keys()).map(String::as_str)
    }

    /// The tensors that are none of `needed`, as messages list them.
    pub(super) fn extra(&self, needed: &HashSet<String>) -> Vec<String> {
        let tensors = self.tensors.keys().filter(|name| !needed.contains(*name)).map(|name| format!("`{name}`"));
        let others = self.others.iter().filter(|(name, _)| !needed.contains(*name));
        tensors.chain(others.map(|(name, dtype)| format!("`{name}` (of type {dtype})"))).collect()
    }

    /// Keeps the tensors whose names `wanted` holds for.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| wanted(name));
        self.others.retain(|name, _| wanted(name));
    }

    /// Takes `prefix` off every name that begins with it; says how many do.
    pub(super) fn take_off(&mut self, prefix: &str) -> usize {
        fn rename<T>(map: &mut BTreeMap<String, T>, prefix: &str) -> usize {
            let (with, without): (Vec<_>, Vec<_>) =
                std::mem::take(map).into_iter().partition(|(name, _)| name.starts_with(prefix));
            let count = with.len();
            map.extend(without);
            map.extend(with.into_iter().map(|(name, value)| (name[prefix.len()..].to_owned(), value)));
            count
        }
        rename(&mut self.tensors, prefix) + rename(&mut self.others, prefix)
    }

    /// The tensor called `name`, which `graph` needs in this shape, checked.
    pub(super) fn tensor(&self, graph: &Graph, name: &str, shape: &[usize]) -> Result<&ArrayD<f32>, NnError> {
        let Some(tensor) = self.get(name) else {
            if let Some(dtype) = self.others.get(name) {
                let (graph, tensor, dtype) = (graph.name().into(), name.into(), dtype.clone());
                return Err(NnError::Dtype { graph, tensor, dtype });
            }
            let nearest = self.tensors.keys().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
            let hint = match nearest {
                Some(nearest) => format!("the nearest name they have is `{nearest}`"),
                None => "they are empty".into(),
            };
            return Err(NnError::MissingTensor {
                graph: graph.name().into(),
                tensor: name.into(),
                shape: shape.into(),
                hint,
            });
        };
        if tensor.shape() != shape {
            let (expected, found) = (shape.into(), tensor.shape().into());
            return Err(NnError::TensorShape { graph: graph.name().into(), tensor: name.into(), expected, found });
        }
        // A slice is looked through several times as fast as an array of any order.
        if tensor.as_slice().is_none_or(|values| values.iter().any(|value| !value.is_finite()))
            && let Some((index, &value)) = tensor.iter().enumerate().find(|(_, value)| !value.is_finite())
        {
            return Err(NnError::NotFinite { tensor: name.into(), index, value: Withheld::new(value.into()) });
        }
        if let Some(eps) = eps_of(graph, name)
            && let Some((index, &value)) = tensor.iter().enumerate().find(|(_, value)| f64::from(**value) + eps <= 0.0)
        {
            return Err(NnError::Variance { tensor: name.into(), index, eps, value: Withheld::new(value.into()) });
        }
        Ok(tensor)
    }

    /// Weights drawn from a seed: the same on every machine, with activations of order one at any depth.
    ///
    /// Each tensor comes from AES-128-CTR keyed by SHA-256 of the seed and its name, so it does not depend on
    /// the others. Convolutions and linear layers are uniform with variance 2 / fan-in (He et al., ICCV 2015),
    /// biases uniform in ±0.05. The second moment of each activation is followed through the graph, and batch
    /// normalisation gets running statistics that fit what it will see, within ±20 %; one that feeds a sum gets
    /// a small γ, so that residual streams grow slowly.
    pub fn seeded(graph: &Graph, seed: u64) -> Self {
        let mut weights = Weights::new();
        let consumers = graph.consumers();
        let mut moments: Vec<f64> = Vec::with_capacity(graph.nodes().len());
        for (node, consumers) in graph.nodes().iter().zip(&consumers) {
            let inputs: Vec<f64> = node.inputs.iter().map(|id| moments[id.index()]).collect();
            let first = inputs.first().copied().unwrap_or(1.0);
            let shape = graph.input_of(node);
            let mut draw = |suffix: &str, shape: &[usize], low: f64, high: f64| {
                let name = format!("{}.{suffix}", node.name);
                let tensor = uniform(seed, &name, shape, low, high);
                weights.insert(name, tensor);
            };
            let moment = match &node.op {
                Op::Conv2d { .. } | Op::Linear { .. } => {
                    let (kernel, out) = match &node.op {
                        Op::Conv2d { out_channels, window, groups, .. } => {
                            (vec![shape[0] / groups, window.kernel[0], window.kernel[1]], *out_channels)
                        }
                        Op::Linear { out_features, .. } => (vec![shape[0]], *out_features),
                        _ => continue,
                    };
                    let fan_in: usize = kernel.iter().product();
                    // A uniform value in ±b has variance b² / 3.
                    let bound = (6.0 / fan_in as f64).sqrt();
                    draw("weight", &[&[out][..], &kernel].concat(), -bound, bound);
                    if matches!(node.op, Op::Conv2d { bias: true, .. } | Op::Linear { bias: true, .. }) {
                        draw("bias", &[out], -0.05, 0.05);
                    }
                    2.0 * first
                }
                Op::BatchNorm2d { .. } => {
                    let feeds_sum = consumers.iter().any(|id| matches!(graph.node(*id).op, Op::Add));
                    let gamma = if feeds_sum { 0.3 } else { 1.0 };
                    let channels = [shape[0]];
                    draw("weight", &channels, 0.8 * gamma, 1.2 * gamma);
                    draw("bias", &channels, -0.1, 0.1);
                    draw("running_mean", &channels, -0.1 * first.sqrt(), 0.1 * first.sqrt());
                    draw("running_var", &channels, 0.8 * first, 1.25 * first);
                    gamma * gamma
                }
                // A residual stream is not negative, so little of a sum is cut off.
                Op::Relu if matches!(graph.node(node.inputs[0]).op, Op::Add) => first,
                Op::Relu | Op::Relu6 => first / 2.0,
                Op::Add => inputs.iter().sum(),
                _ => first,
            };
            moments.push(moment);
        }
        weights
    }
}

/// What is added to the variances called `name`; none if they are no variances of the network.
fn eps_of(graph: &Graph, name: &str) -> Option<f64> {
    let node = name.strip_suffix(".running_var")?;
    graph.nodes().iter().find(|candidate| candidate.name == node).and_then(|node| match node.op {
        Op::BatchNorm2d { eps } => Some(eps),
        _ => None,
    })
}

/// Writes a file that appears whole or not at all, by way of a file beside it under a name that nobody has.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_string_lossy();
    let (partial, mut file) = loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_file_name(format!(".{name}.{}-{count}.partial", std::process::id()));
        match File::create_new(&partial) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => break (partial, created?),
        }
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // The error that is reported is the first one; a file that cannot be removed either is not worth another.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, tensor)| (name, tensor.shape()))).finish()
    }
}

/// A tensor uniform in `[low, high)`, from 24 bits of the generator for each element: exact in f32 up to
/// one rounding, so equal on every machine.
fn uniform(seed: u64, name: &str, shape: &[usize], low: f64, high: f64) -> ArrayD<f32> {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name).finalize();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    let mut words = vec![0u64; shape.iter().product::<usize>().div_ceil(2)];
    Aes128Ctr::new(&Key::from_bytes(key)).fill(0, 0, &mut words);
    ArrayD::from_shape_fn(IxDyn(shape), {
        let mut halves = words.into_iter().flat_map(|word| [word as u32, (word >> 32) as u32]);
        move |_| {
            let unit = f64::from(halves.next().unwrap_or(0) >> 8) / f64::from(1u32 << 24);
            (low + unit * (high - low)) as f32
        }
    })
}

/// Elements as f32, or `None` for a type that is not a float of 16, 32 or 64 bits.
fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    fn map<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
    }
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => Some(map(bytes, f32::from_le_bytes)),
        Dtype::F64 => Some(map(bytes, |chunk| f64::from_le_bytes(chunk) as f32)),
        Dtype::F16 => Some(map(bytes, |chunk| half::f16::from_le_bytes(chunk).to_f32())),
        Dtype::BF16 => Some(map(bytes, |chunk| half::bf16::from_le_bytes(chunk).to_f32())),
        _ => None,
    }
}
