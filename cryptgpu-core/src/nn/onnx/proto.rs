//! The messages of an ONNX file, as far as networks need them: fields by number as in `onnx.proto`, the others are skipped.
//! `Debug` of a tensor shows no value.

use super::error::OnnxError;
use prost::Message;
use prost::bytes::Bytes;
use std::fmt;

/// A whole file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(message, repeated, tag = "8")]
    pub(super) opset_import: Vec<OperatorSet>,
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<GraphOfNodes>,
}

/// Which version of the operators of a domain the nodes are of.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

/// The network.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GraphOfNodes {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<ValueInfo>,
}

/// One operation.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

/// A setting of a node.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(float, optional, tag = "2")]
    pub(super) f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(super) i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) s: Option<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    pub(super) t: Option<Tensor>,
    #[prost(float, repeated, tag = "7")]
    pub(super) floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub(super) ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub(super) strings: Vec<Vec<u8>>,
}

/// A constant tensor.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(super) float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(super) int32_data: Vec<i32>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub(super) string_data: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "7")]
    pub(super) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub(super) raw_data: Option<Bytes>,
    #[prost(double, repeated, tag = "10")]
    pub(super) double_data: Vec<f64>,
    #[prost(message, repeated, tag = "13")]
    pub(super) external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub(super) data_location: i32,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}, {:?})", self.name, self.dims)
    }
}

/// Where external data lies: `location`, `offset`, `length`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// The name and the type of an input or output.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) r#type: Option<Type>,
}

/// A type; only tensors are known here.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Type {
    #[prost(message, optional, tag = "1")]
    pub(super) tensor_type: Option<TensorType>,
}

/// Elements and shape.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(super) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
}

/// A shape, if it is known.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(super) dim: Vec<Dimension>,
}

/// A size: a number, or else a name for what differs from run to run.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub(super) dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(super) dim_param: Option<String>,
}

/// The most fields that a file may have outside its tensors' elements and lists of numbers. Large language models have some 100,000; and each
/// takes a hundred bytes or two once it is read, however few it took in the file.
const MOST_FIELDS: usize = 400_000;

/// Reads a file.
///
/// # Errors
/// [`OnnxError::Format`] for what is no ONNX file, or cut short; [`OnnxError::TooLarge`] for one of too many parts.
pub(super) fn read(bytes: Bytes, origin: &str) -> Result<Model, OnnxError> {
    let format = |what: &str| OnnxError::Format { path: origin.into(), bytes: bytes.len(), what: what.into() };
    let fields = count_fields(&bytes, Part::Model, 0).ok_or_else(|| format("a field of it is cut short or damaged"))?;
    if fields > MOST_FIELDS {
        return Err(OnnxError::TooLarge {
            path: origin.into(),
            what: format!("it has more than {MOST_FIELDS} fields"),
        });
    }
    Model::decode(bytes.clone()).map_err(|error| format(&error.to_string()))
}

/// Messages whose fields are counted.
#[derive(Clone, Copy)]
enum Part {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
}

impl Part {
    /// What field `tag` holds, where it is a message with fields of its own.
    fn within(self, tag: u64) -> Option<Part> {
        match (self, tag) {
            (Part::Model, 7) => Some(Part::Graph),
            (Part::Graph, 1) => Some(Part::Node),
            (Part::Graph, 5) | (Part::Attribute, 5) => Some(Part::Tensor),
            (Part::Graph, 11 | 12) => Some(Part::ValueInfo),
            (Part::Node, 5) => Some(Part::Attribute),
            (Part::ValueInfo, 2) => Some(Part::Type),
            (Part::Type, 1) => Some(Part::TensorType),
            (Part::TensorType, 2) => Some(Part::Shape),
            _ => None,
        }
    }
}

/// Fields of a message and of those in it, `counted` more; None where one is cut short. Stops where there are too many.
/// Nothing is allocated: the count bounds what the reader will allocate.
fn count_fields(mut bytes: &[u8], part: Part, mut counted: usize) -> Option<usize> {
    while !bytes.is_empty() && counted <= MOST_FIELDS {
        let key = varint(&mut bytes)?;
        // Coefficients of linear models are attributes, and each takes more of the file than of memory, or not much less.
        counted += usize::from(!matches!((part, key >> 3), (Part::Attribute, 7 | 8)));
        match key & 7 {
            0 => drop(varint(&mut bytes)?),
            1 => bytes = bytes.get(8..)?,
            5 => bytes = bytes.get(4..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inside, rest) = bytes.split_at_checked(length)?;
                if let Some(part) = part.within(key >> 3) {
                    counted = count_fields(inside, part, counted)?;
                }
                bytes = rest;
            }
            // Groups are of protobuf's first days, and no ONNX file has any.
            _ => return None,
        }
    }
    Some(counted)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for place in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_very_many_parts_is_refused_before_it_is_read() {
        let graph = GraphOfNodes { node: vec![Node::default(); MOST_FIELDS + 1], ..Default::default() };
        let bytes = Model { graph: Some(graph), ..Default::default() }.encode_to_vec();
        assert!(bytes.len() < 1 << 20);
        let error = read(bytes.into(), "many.onnx").unwrap_err();
        assert!(matches!(error, OnnxError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn what_is_cut_short_or_another_format_says_so() {
        for bytes in [&b"PK\x03\x04\x14\x00"[..], &[0x3a, 0x7f, 0x0a], &[0x0b], &[0xff; 12]] {
            let error = read(Bytes::copy_from_slice(bytes), "odd.onnx").unwrap_err();
            assert!(matches!(error, OnnxError::Format { .. }) && error.to_string().contains("odd.onnx"), "{error}");
        }
    }
}
