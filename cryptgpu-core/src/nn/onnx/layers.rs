//! The network between the file and the [`Graph`](super::super::Graph): layers with their weights, which may still be changed, and the
//! values that the file's names stand for.

use super::super::Op;
use super::super::infer::infer_shape;
use crate::device::PoolGeometry;
use crate::mpc::RowFunction;
use ndarray::{ArrayD, IxDyn};

/// What a layer computes.
pub(super) enum Kind {
    /// An operation without weights.
    Plain(Op),
    /// A convolution or a fully connected layer, whose `bias` entry is decided when the graph is built.
    Product { op: Op, weight: ArrayD<f32>, bias: Option<Vec<f64>> },
    /// scale · x + shift, by channel of an image or by feature of a vector or of rows: goes into a layer beside it, or becomes one of
    /// its own.
    Affine { scale: Vec<f64>, shift: Vec<f64> },
    /// x + b, for a constant of x's shape.
    Bias(ArrayD<f32>),
}

/// A layer; its inputs are layers before it.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) inputs: Vec<usize>,
    /// Without the batch, as in the graph.
    pub(super) shape: Vec<usize>,
}

/// The most elements of a value for one image: 16 GiB of them are larger than any network's.
pub(super) const MOST_ELEMENTS: usize = 1 << 31;

/// Layers in the order of evaluation; layer 0 is the input.
pub(super) struct Layers(pub(super) Vec<Layer>);

impl Layers {
    pub(super) fn new(input: [usize; 3]) -> Self {
        let (kind, inputs, shape) = (Kind::Plain(Op::Input), vec![], input.to_vec());
        Layers(vec![Layer { name: "input".into(), kind, inputs, shape }])
    }

    pub(super) fn shape(&self, layer: usize) -> &[usize] {
        self.0.get(layer).map_or(&[], |layer| &layer.shape)
    }

    /// Adds a layer.
    ///
    /// # Errors
    /// Why its inputs do not fit.
    pub(super) fn add(&mut self, name: &str, kind: Kind, inputs: Vec<usize>) -> Result<usize, String> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|&input| self.shape(input)).collect();
        let shape = match &kind {
            Kind::Plain(op) | Kind::Product { op, .. } => {
                infer_shape(name, op, &shapes).map_err(|error| error.to_string())?
            }
            Kind::Affine { .. } | Kind::Bias(_) => shapes.first().map(|shape| shape.to_vec()).unwrap_or_default(),
        };
        let elements = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        if elements.is_none_or(|elements| elements > MOST_ELEMENTS) {
            return Err(format!("its result of shape {shape:?} has more than {MOST_ELEMENTS} elements"));
        }
        self.0.push(Layer { name: name.to_owned(), kind, inputs, shape });
        Ok(self.0.len() - 1)
    }

    /// The flattening of a layer; itself if it is a vector.
    pub(super) fn flat(&mut self, name: &str, layer: usize) -> Result<usize, String> {
        if self.shape(layer).len() == 1 {
            return Ok(layer);
        }
        self.add(name, Kind::Plain(Op::Flatten), vec![layer])
    }

    /// What a layer is the logarithm of a softmax of.
    pub(super) fn before_log_softmax(&self, layer: usize) -> Option<usize> {
        match self.0.get(layer) {
            Some(Layer { kind: Kind::Plain(Op::Rows(RowFunction::LogSoftmax)), inputs, .. }) => inputs.first().copied(),
            _ => None,
        }
    }

    /// What a layer is a flattening of.
    pub(super) fn flattened_from(&self, layer: usize) -> Option<usize> {
        match self.0.get(layer) {
            Some(Layer { kind: Kind::Plain(Op::Flatten), inputs, .. }) => inputs.first().copied(),
            _ => None,
        }
    }
}

/// In which order the elements of a value stand in the file's network, and how its layer has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Both the same.
    Same,
    /// Height, width, channels: the layer is `[channels, height, width]`.
    ChannelsLast,
    /// A vector, of an image whose elements stood in the order height, width, channels. This is the image's shape in its layer.
    FlatChannelsLast([usize; 3]),
    /// Both the same, but that the file does not have the batch in front ([`super::axes::Axes`]).
    Inside {
        /// The axis of the file that has it.
        axis: usize,
        /// Whether it has something beside it.
        merged: bool,
        /// Elements that come before it in that axis.
        within: usize,
    },
    /// Both the same, of a file for a batch of one, which has left out its axis.
    Dropped,
}

/// A value of the file's network: a layer's result, in the file's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) layer: usize,
    /// The shape that the file's network has it in, without the batch.
    pub(super) dims: Vec<usize>,
    pub(super) order: Order,
}

impl Value {
    /// A layer's result as it is.
    pub(super) fn of(layer: usize, layers: &Layers) -> Self {
        Value { layer, dims: layers.shape(layer).to_vec(), order: Order::Same }
    }

    /// With another layer's result, of the same shape, in its place.
    pub(super) fn with(&self, layer: usize) -> Self {
        Value { layer, ..self.clone() }
    }

    /// Whether it is an image, `[channels, height, width]` here and there.
    pub(super) fn is_image(&self, layers: &Layers) -> bool {
        self.order == Order::Same && self.dims.len() == 3 && self.dims == layers.shape(self.layer)
    }

    /// Its axis of channels, counted without the batch, if its layer has channels at all: a vector's features are such.
    pub(super) fn channel_axis(&self, layers: &Layers) -> Option<usize> {
        match self.order {
            Order::ChannelsLast => Some(2),
            Order::Same if self.dims == layers.shape(self.layer) || self.is_signal(layers) => Some(0),
            _ => None,
        }
    }

    /// Whether it is a signal, `[channels, length]`, and an image of height one here.
    pub(super) fn is_signal(&self, layers: &Layers) -> bool {
        let &[channels, length] = &self.dims[..] else { return false };
        self.order == Order::Same && layers.shape(self.layer) == [channels, 1, length]
    }

    /// An image of height one as the signal that it stands for, where it stands for one.
    pub(super) fn into_signal(mut self, signal: bool) -> Self {
        if signal && self.dims.len() == 3 {
            self.dims.remove(1);
        }
        self
    }

    /// Its axes of height and width, counted without the batch, if it is an image; of a signal the latter alone.
    pub(super) fn spatial_axes(&self, layers: &Layers) -> Option<Vec<usize>> {
        match self.order {
            Order::ChannelsLast => Some(vec![0, 1]),
            _ if self.is_image(layers) => Some(vec![1, 2]),
            _ if self.is_signal(layers) => Some(vec![1]),
            _ => None,
        }
    }
}

/// A factor for each channel as a convolution of one pixel.
pub(super) fn by_channel(scale: &[f64], bias: bool) -> (Op, ArrayD<f32>) {
    let (channels, window) = (scale.len(), PoolGeometry::square(1, 1, 0));
    let weight = ArrayD::from_shape_fn(IxDyn(&[channels, 1, 1, 1]), |at| scale[at[0]] as f32);
    (Op::Conv2d { out_channels: channels, window, groups: channels, bias }, weight)
}
