//! What is local on shares channel by channel, where axis 1 counts channels: their sums, a summand or a factor for each.
//! Biases and batch normalisation are made of these. Products are summands ([`Additive`]), which `protocol` makes shares.

use super::{Additive, Rep};
use crate::device::{ConvGeometry, DeviceError, PoolGeometry, Tensor, kernels};

fn shape_error(operation: &'static str, lhs: &[usize], rhs: &[usize], rule: &'static str) -> DeviceError {
    DeviceError::Shape { operation, lhs: lhs.to_vec(), rhs: rhs.to_vec(), rule }
}

/// Batch, channels, height and width; all axes behind the height are one.
fn image(operation: &'static str, shape: &[usize]) -> Result<[usize; 4], DeviceError> {
    match *shape {
        [batch, channels] => Ok([batch, channels, 1, 1]),
        [batch, channels, height, ref rest @ ..] => Ok([batch, channels, height, rest.iter().product()]),
        _ => Err(shape_error(operation, shape, &[], "axis 1 counts channels, so there must be two axes or more")),
    }
}

/// The same, where `each` has an entry for each channel.
fn image_with(operation: &'static str, shape: &[usize], each: &[usize]) -> Result<[usize; 4], DeviceError> {
    let image = image(operation, shape)?;
    match each == [image[1]] {
        true => Ok(image),
        false => Err(shape_error(operation, shape, each, "there must be one entry for each entry of axis 1")),
    }
}

/// The sum over each channel: of each plane, and then of the planes of all images.
fn sums(x: &Tensor) -> Result<Tensor, DeviceError> {
    let [batch, channels, height, width] = image("channel sums", x.shape())?;
    let whole = |kernel| PoolGeometry { kernel, ..PoolGeometry::square(1, 1, 0) };
    let planes = match [height, width] {
        [1, 1] => x.clone(),
        kernel => x.reshape(&[batch, channels, height, width])?.sum_pool(&whole(kernel))?,
    };
    planes.reshape(&[1, 1, batch, channels])?.sum_pool(&whole([batch, 1]))?.reshape(&[channels])
}

/// x + b, b an entry for each channel; x's words are written over where it is their only owner.
fn add(x: Tensor, b: &Tensor) -> Result<Tensor, DeviceError> {
    let (operation, shape) = ("add channels", x.shape().to_vec());
    let [batch, channels, height, width] = image_with(operation, &shape, b.shape())?;
    x.check_alike(operation, b)?;
    let ring = x.ring();
    let mut x = x.into_buffer();
    kernels::add_bias(ring, [batch, channels, height * width], b.view(), x.view_mut());
    Tensor::new_in(ring, x, &shape)
}

impl Rep {
    /// The sum over each channel: `[N, C, …]` to `[C]`. Local.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when there is no axis 1, [`DeviceError::Geometry`] when an axis is empty.
    pub fn channel_sums(&self) -> Result<Self, DeviceError> {
        Ok(Rep { a: sums(&self.a)?, b: sums(&self.b)? })
    }

    /// x + b for x `[N, C, …]` and b `[C]` at the scale of x. Local.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when b has not one entry for each channel, [`DeviceError::Mixed`].
    pub fn add_channels(&self, b: &Rep) -> Result<Self, DeviceError> {
        Ok(Rep { a: add(self.a.clone(), &b.a)?, b: add(self.b.clone(), &b.b)? })
    }

    /// This party's summand of a · x, channel by channel, for x `[N, C, …]` and a `[C]`: a convolution with one tap in each
    /// channel. Local; the scale of fixed-point numbers doubles.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when a has not one entry for each channel, [`DeviceError::Mixed`].
    pub fn scale_channels(&self, a: &Rep) -> Result<Additive, DeviceError> {
        let [batch, channels, height, width] = image_with("scale channels", self.shape(), a.shape())?;
        let (window, input) = (PoolGeometry::square(1, 1, 0), [1, height * width]);
        let geometry =
            ConvGeometry { batch, in_channels: channels, input, out_channels: channels, window, groups: channels };
        let images = |x: &Tensor| x.reshape(&geometry.input_shape());
        let taps = |a: &Tensor| a.reshape(&geometry.weight_shape());
        let (first, sum) = (taps(&a.a)?, taps(&a.a.add(&a.b)?)?);
        let z = Tensor::conv2d_sum(&[(&images(&self.a)?, &sum), (&images(&self.b)?, &first)], &geometry)?;
        Ok(Additive::from_summand(z.reshape(self.shape())?))
    }

    /// This party's summand of a · x, plane by plane, for x `[N, C, …]` and an a of N · C entries: [`Rep::scale_channels`] of
    /// all planes as one image's. Local; the scale of fixed-point numbers doubles.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when a has not one entry for each plane, [`DeviceError::Mixed`].
    pub fn scale_planes(&self, a: &Rep) -> Result<Additive, DeviceError> {
        let [batch, channels, height, width] = image("scale planes", self.shape())?;
        let planes = batch * channels;
        let z = self.reshape(&[1, planes, height, width])?.scale_channels(&a.reshape(&[planes])?)?;
        z.reshape(self.shape())
    }
}

impl Additive {
    /// The sum over each channel: `[N, C, …]` to `[C]`.
    ///
    /// # Errors
    /// As [`Rep::channel_sums`].
    pub fn channel_sums(&self) -> Result<Self, DeviceError> {
        Ok(Additive::from_summand(sums(self.mine())?))
    }

    /// x + b for x `[N, C, …]` and a replicated b `[C]` at the scale of x: each party adds its first component.
    ///
    /// # Errors
    /// As [`Rep::add_channels`].
    pub fn add_channels(self, b: &Rep) -> Result<Self, DeviceError> {
        Ok(Additive::from_summand(add(self.into_mine(), &b.a)?))
    }
}
