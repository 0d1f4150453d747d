//! What can go wrong with a network, its weights or its evaluation.

use crate::device::{DeviceError, GeometryError};
use crate::mpc::{MpcError, Party};
use crate::net::PartyId;
use crate::nn::onnx::OnnxError;
use crate::ring::{Ring, RingError, Withheld};
use std::fmt;

/// An error of the `nn` layer. Each names the node or tensor it is about, and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// No network has this name.
    #[error("there is no network called `{name}`; did you mean {nearest}? All names: {all}")]
    UnknownNetwork {
        /// What was asked for.
        name: String,
        /// The closest names.
        nearest: String,
        /// Every name.
        all: String,
    },
    /// The sizes that are asked for behind a network's name cannot be read.
    #[error("`{name}`: {what}; ask for other sizes as in resnet18:classes=2:input=3x96x96")]
    NetworkSizes {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// Two nodes have the same name, or one has none.
    #[error("a node called `{name}` cannot be added to network `{graph}`: names are unique and not empty")]
    NodeName {
        /// The network.
        graph: String,
        /// The name.
        name: String,
    },
    /// A node refers to a node that does not exist (yet), or to the wrong number of them.
    #[error("{node}: {what}")]
    Wiring {
        /// The node.
        node: String,
        /// What is wrong with its inputs.
        what: String,
    },
    /// A node cannot take inputs of these shapes.
    #[error("{node}: {op} of shapes {inputs:?}: {what} (shapes are without the batch: [channels, height, width])")]
    Shape {
        /// The node.
        node: String,
        /// Its operation.
        op: &'static str,
        /// Shapes of its inputs.
        inputs: Vec<Vec<usize>>,
        /// What does not fit.
        what: String,
    },
    /// A window does not fit its input.
    #[error("{node}: {op} of shape {input:?}: {source}")]
    Geometry {
        /// The node.
        node: String,
        /// Its operation.
        op: &'static str,
        /// Shape of its input.
        input: Vec<usize>,
        /// What does not fit.
        source: GeometryError,
    },
    /// Input of the wrong shape given to a network.
    #[error(
        "network `{graph}` takes inputs of shape [batch, {expected:?}] with batch at least 1, and was given {found:?}"
    )]
    Input {
        /// The network.
        graph: String,
        /// Channels, height, width.
        expected: [usize; 3],
        /// What was given.
        found: Vec<usize>,
    },
    /// Targets of the wrong shape given to a training.
    #[error(
        "training `{graph}`: targets must have shape {expected:?}{}, and have {found:?}",
        if *.one_hot { ", a one-hot row for each image" } else { "" }
    )]
    Targets {
        /// The network.
        graph: String,
        /// The shape of its result, batch included.
        expected: Vec<usize>,
        /// What was given.
        found: Vec<usize>,
        /// Whether the loss takes one-hot rows.
        one_hot: bool,
    },
    /// Weights and party have different fixed-point codecs.
    #[error(
        "the weights of `{graph}` are encoded with {weights} fraction bits, and the party computes with {party}: share \
         the weights again, or evaluate with the settings that they were shared under"
    )]
    Precision {
        /// The network.
        graph: String,
        /// Fraction bits of the weights.
        weights: u32,
        /// Fraction bits of the party.
        party: u32,
    },
    /// A weight file could not be read.
    #[error("cannot read the weights in {path}: {source}; check the path and the permissions")]
    Read {
        /// The file.
        path: String,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// An ONNX file that gives no network, or another one.
    #[error("{0}")]
    Onnx(#[from] OnnxError),
    /// A weight file could not be written.
    #[error("cannot write the weights to {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// A weight file is not in the safetensors format, or is cut short.
    #[error(
        "{path} is not a whole safetensors file ({bytes} bytes): {source}; \
         fetch or export it again (PyTorch: safetensors.torch.save_file(model.state_dict(), …))"
    )]
    Format {
        /// The file.
        path: String,
        /// Its size.
        bytes: usize,
        /// What the reader found.
        source: safetensors::SafeTensorError,
    },
    /// A file of PyTorch that is damaged, or holds something other than weights.
    #[error("{path} is not read as a state dict of PyTorch ({bytes} bytes): {what}")]
    Torch {
        /// The file.
        path: String,
        /// Its size.
        bytes: usize,
        /// What the reader found, and what to do.
        what: String,
    },
    /// A tensor that the network needs has elements that cannot be used.
    #[error(
        "tensor `{tensor}`, which network `{graph}` needs, has elements of type {dtype}; convert it to F32 (F16, BF16 and \
         F64 are read too; quantised weights must be dequantised)"
    )]
    Dtype {
        /// The network.
        graph: String,
        /// The tensor.
        tensor: String,
        /// Its type in the file.
        dtype: String,
    },
    /// A tensor that the network needs is missing.
    #[error("network `{graph}` needs the tensor `{tensor}` of shape {shape:?}, which the weights lack; {hint}")]
    MissingTensor {
        /// The network.
        graph: String,
        /// The tensor.
        tensor: String,
        /// Shape it must have.
        shape: Vec<usize>,
        /// The nearest name that the weights do have.
        hint: String,
    },
    /// Tensors that the network does not know.
    #[error(
        "the weights hold tensors that network `{graph}` does not have: {tensors}; if they are training state beside \
         the weights, leave them out (--ignore-extra, or WeightFile::ignoring_extra); if not, are the weights those of \
         another network?"
    )]
    ExtraTensors {
        /// The network.
        graph: String,
        /// Their names.
        tensors: String,
    },
    /// A tensor has the wrong shape.
    #[error(
        "tensor `{tensor}` has shape {found:?}, network `{graph}` needs {expected:?}; are the weights those of another network?"
    )]
    TensorShape {
        /// The network.
        graph: String,
        /// The tensor.
        tensor: String,
        /// Shape that the network needs.
        expected: Vec<usize>,
        /// Shape found.
        found: Vec<usize>,
    },
    /// A tensor holds a NaN or an infinity.
    #[error(
        "tensor `{tensor}` holds NaN or an infinity at flat index {index}: weights must be finite (did training diverge?)"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Position in row-major order.
        index: usize,
        /// The value, which is its owner's and in no message.
        value: Withheld<f64>,
    },
    /// A variance that is not positive even with eps added, so that a batch normalisation has no meaning.
    #[error(
        "tensor `{tensor}` holds a variance at index {index} that is negative, and not positive with eps = {eps} added; \
         are these the running statistics of a trained network?"
    )]
    Variance {
        /// The tensor.
        tensor: String,
        /// Channel.
        index: usize,
        /// What the network adds to every variance.
        eps: f64,
        /// The value, which is its owner's and in no message.
        value: Withheld<f64>,
    },
    /// A batch normalisation that cannot be folded.
    #[error(
        "{node}: this batch normalisation follows {before}, and only one that alone follows a convolution \
         can be folded; private evaluation needs it folded"
    )]
    CannotFold {
        /// The batch normalisation.
        node: String,
        /// What it follows.
        before: String,
    },
    /// An operation that private evaluation has not got.
    #[error("{node}: {what}")]
    CannotLower {
        /// The node.
        node: String,
        /// Why not, and what to do.
        what: String,
    },
    /// An operation that training has no gradient of.
    #[error(
        "{node}: {op} is computed at inference only: train the network with ReLU or ReLU6, and without products of values"
    )]
    NoGradient {
        /// The node.
        node: String,
        /// What it computes.
        op: &'static str,
    },
    /// Someone who should not brings an input, or the owner brings none.
    #[error(
        "party {party}: party {owner} owns the {what} and brings them; the other parties bring none \
         (pass Some at the owner and None elsewhere)"
    )]
    Owner {
        /// Which input.
        what: &'static str,
        /// Its owner.
        owner: PartyId,
        /// The party that reports.
        party: PartyId,
    },
    /// A weight or a pixel that does not fit the ring.
    #[error("tensor `{tensor}`: {source}")]
    Encode {
        /// The tensor.
        tensor: String,
        /// What the codec said.
        source: RingError,
    },
    /// A layer whose values leave the ring, or the window of its comparison.
    #[error(
        "{node}: its values do not fit the ring of {ring} with {fraction_bits} fraction bits: use {}scale weights or inputs down \
         (`cryptgpu range` shows the owner of the weights the room of every layer)",
        .remedies.iter().map(|remedy| format!("{remedy}, ")).chain((!.remedies.is_empty()).then(|| "or ".into())).collect::<String>()
    )]
    Range {
        /// The node.
        node: String,
        /// The codec's fraction bits.
        fraction_bits: u32,
        /// The codec's ring.
        ring: Ring,
        /// What gives the values of every layer room, each by itself.
        remedies: Vec<Remedy>,
        /// Its room in bits, below 0 or 0: for the owner of the weights, and in no message.
        room: Withheld<f64>,
    },
    /// A range of inputs that is none.
    #[error("inputs cannot be declared to lie from {low} to {high}: give two finite numbers, the smaller one first")]
    InputRange {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// Settings that no network can be evaluated with.
    #[error("these settings cannot work: {what}")]
    Settings {
        /// Which, and what to change.
        what: String,
    },
    /// A layer before whose truncation not even 1.0 fits.
    #[error(
        "{node}: with {fraction_bits} fraction bits its truncation cuts {cut} bits, and not even 1.0 fits before it: use \
         {}",
        alternatives(.remedies)
    )]
    NoRoom {
        /// The node.
        node: String,
        /// The codec's fraction bits.
        fraction_bits: u32,
        /// The codec's ring.
        ring: Ring,
        /// Bits that the truncation cuts.
        cut: u32,
        /// With what it fits before every truncation, each by itself.
        remedies: Vec<Remedy>,
    },
    /// A comparison whose window would have to move beyond the ring.
    #[error(
        "{node}: what it compares is larger than the network's values, and a window of {width} bits from bit {low} would \
         have to end {over} bits beyond the ring: begin it lower, or look at all 64 bits"
    )]
    Window {
        /// The node.
        node: String,
        /// Lowest bit of the settings' window.
        low: u32,
        /// Its width.
        width: u32,
        /// Bits that are missing.
        over: u32,
    },
    /// Weights that are stated to be another network's.
    #[error(
        "the weights are stated to be those of `{stated}` (the entry `network` of their file's metadata), and \
         `{graph}` is another function even where they fit it: run `{stated}`, or correct the statement"
    )]
    OtherNetwork {
        /// The network that they were given to.
        graph: String,
        /// The network that they are stated to be of.
        stated: String,
    },
    /// A local operation on shares that refused its operands.
    #[error("{node}: {source}")]
    Local {
        /// The node.
        node: String,
        /// What the device said.
        source: DeviceError,
    },
    /// A protocol failed; the error names party, peer and step.
    #[error("{0}")]
    Mpc(#[from] MpcError),
}

/// What gives values more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// As many fraction bits: all from `least` to `most`.
    FractionBits {
        /// The fewest; 1 where nothing else needs more.
        least: u32,
        /// The most.
        most: u32,
    },
    /// A wider window of comparisons.
    Window,
    /// Another ring.
    Ring(Ring),
}

impl Remedy {
    /// The largest of these numbers of fraction bits, which descend, and those below it up to the first gap; none where there is none.
    pub(super) fn fraction_bits(fitting: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut fitting = fitting.into_iter();
        let most = fitting.next()?;
        let least = fitting.zip(1..).take_while(|(bits, below)| bits + below == most).last();
        Some(Remedy::FractionBits { least: least.map_or(most, |(bits, _)| bits), most })
    }
}

/// `13 fraction bits or fewer`, `a wider window`, `the ring of 64 bits`.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Remedy::FractionBits { least, most } if least == most => write!(f, "{most} fraction bits"),
            Remedy::FractionBits { least: 1, most } => write!(f, "{most} fraction bits or fewer"),
            Remedy::FractionBits { least, most } => write!(f, "{least} to {most} fraction bits"),
            Remedy::Window => f.write_str("a wider window"),
            Remedy::Ring(ring) => write!(f, "the ring of {ring}"),
        }
    }
}

/// Remedies as alternatives of a sentence.
pub(super) fn alternatives(remedies: &[Remedy]) -> String {
    match remedies {
        [] => "other layers".to_owned(),
        _ => remedies.iter().map(Remedy::to_string).collect::<Vec<_>>().join(", or "),
    }
}

impl NnError {
    /// Whether weights or images are missing, damaged, another network's or beyond the ring.
    pub(crate) fn is_of_input(&self) -> bool {
        matches!(
            self,
            NnError::Read { .. }
                | NnError::Format { .. }
                | NnError::Torch { .. }
                | NnError::Onnx(_)
                | NnError::Dtype { .. }
                | NnError::MissingTensor { .. }
                | NnError::ExtraTensors { .. }
                | NnError::TensorShape { .. }
                | NnError::NotFinite { .. }
                | NnError::Variance { .. }
                | NnError::Encode { .. }
                | NnError::Range { .. }
                | NnError::OtherNetwork { .. }
        )
    }

    /// The same with party and step, where an error of a protocol does not name them yet.
    pub(super) fn located(self, p: &Party) -> Self {
        match self {
            NnError::Mpc(error) => NnError::Mpc(error.located(p.id(), &p.current_step())),
            other => other,
        }
    }
}
