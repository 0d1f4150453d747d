//! What can go wrong with an ONNX file.

use std::fmt;

/// An error of the import. Names are those of the file; no tensor's value is in any.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file, or one with its external data, could not be read.
    #[error("cannot read {path}: {source}; check the path and the permissions")]
    Read {
        /// The file.
        path: String,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// No ONNX file, or cut short.
    #[error("{path} is not a whole ONNX file ({bytes} bytes): {what}; fetch or export it again")]
    Format {
        /// The file.
        path: String,
        /// Its size.
        bytes: usize,
        /// What the reader found.
        what: String,
    },
    /// A file of more parts, or whose constants grow to more, than a network has.
    #[error("{path} is refused: {what}")]
    TooLarge {
        /// The file.
        path: String,
        /// What there is too much of.
        what: String,
    },
    /// A constant that cannot be read.
    #[error("tensor `{tensor}` of the ONNX file: {what}")]
    Tensor {
        /// Its name in the file.
        tensor: String,
        /// What is wrong with it.
        what: String,
    },
    /// Inputs, outputs or versions that no network here has.
    #[error("{path}: {what}")]
    Interface {
        /// The file.
        path: String,
        /// What, and what to do.
        what: String,
    },
    /// Nodes that cannot be computed.
    #[error("{0}")]
    Unsupported(Unsupported),
    /// Input of another shape.
    #[error("network `{graph}` takes [batch, {expected:?}] with batch at least 1, and was given {found:?}")]
    Input {
        /// The network.
        graph: String,
        /// The shape behind the batch.
        expected: Vec<usize>,
        /// What was given.
        found: Vec<usize>,
    },
    /// A file whose network is not the one that it was given as the weights of.
    #[error(
        "{path} holds another network than `{graph}`: {what}; weights and network must come from the same ONNX file"
    )]
    OtherNetwork {
        /// The file.
        path: String,
        /// The network that is asked for.
        graph: String,
        /// Where they differ.
        what: String,
    },
}

/// Every node of a file that cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The file.
    pub path: String,
    /// Nodes that the output needs, constants and shapes left out.
    pub nodes: usize,
    /// Those that cannot be computed.
    pub refused: Vec<Refused>,
}

/// A node that cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name in the file, or its first output's where it has none.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// Why, and what would have to change.
    pub what: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, some, all) = (&self.path, self.refused.len(), self.nodes);
        write!(f, "{path}: {some} of {all} nodes cannot be computed privately (docs/onnx.md lists what can):")?;
        self.refused
            .iter()
            .try_for_each(|Refused { node, operator, what }| write!(f, "\n  {node} ({operator}): {what}"))
    }
}
