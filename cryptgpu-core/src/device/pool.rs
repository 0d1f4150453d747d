//! Windows over images, as tensor operations: sums for average pooling, taps for max-pooling.

use super::{DeviceError, PoolGeometry, Tensor, kernels};

impl Tensor {
    /// Batch, channels, height and width of an image tensor.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] unless the tensor has four axes.
    pub fn image_shape(&self, operation: &'static str) -> Result<[usize; 4], DeviceError> {
        self.shape().try_into().map_err(|_| DeviceError::Shape {
            operation,
            lhs: self.shape().to_vec(),
            rhs: vec![0; 4],
            rule: "an image tensor has the axes batch, channels, height, width",
        })
    }

    /// The sum over each window, padding counting as zero: shape `[N, C, H′, W′]`.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] or [`DeviceError::Geometry`].
    pub fn sum_pool(&self, window: &PoolGeometry) -> Result<Tensor, DeviceError> {
        let operation = "sum pooling";
        let [batch, channels, height, width] = self.image_shape(operation)?;
        let windows = window.over([height, width]).map_err(|source| DeviceError::Geometry { operation, source })?;
        let (device, out) = (self.device(), windows.output);
        let mut sums = device.alloc(batch * channels * out[0] * out[1]);
        kernels::sum_pool(&windows, self.view(), sums.view_mut());
        Tensor::new(sums, &[batch, channels, out[0], out[1]])
    }

    /// One tap of each window: element (ky, kx) of every window, `fill` where it is padding.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] or [`DeviceError::Geometry`].
    pub fn pool_tap(&self, window: &PoolGeometry, tap: [usize; 2], fill: u64) -> Result<Tensor, DeviceError> {
        let operation = "max pooling";
        let [batch, channels, height, width] = self.image_shape(operation)?;
        let windows = window.over([height, width]).map_err(|source| DeviceError::Geometry { operation, source })?;
        let (device, out) = (self.device(), windows.output);
        let mut taps = device.alloc(batch * channels * out[0] * out[1]);
        kernels::pool_tap(&windows, tap, fill, self.view(), taps.view_mut());
        Tensor::new(taps, &[batch, channels, out[0], out[1]])
    }
}
