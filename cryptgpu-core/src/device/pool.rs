//! Windows over images, as tensor operations: sums for average pooling, taps for max-pooling, and the adjoints of both
//! for gradients.

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
        let ring = self.ring();
        let mut sums = device.alloc(ring.words(batch * channels * out[0] * out[1]));
        kernels::sum_pool(ring, &windows, batch * channels, self.view(), sums.view_mut());
        Tensor::new_in(ring, sums, &[batch, channels, out[0], out[1]])
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
        let ring = self.ring();
        let mut taps = device.alloc(ring.words(batch * channels * out[0] * out[1]));
        kernels::pool_tap(ring, &windows, batch * channels, tap, fill, self.view(), taps.view_mut());
        Tensor::new_in(ring, taps, &[batch, channels, out[0], out[1]])
    }

    /// The adjoint of [`Tensor::sum_pool`] over images of `input` height and width: every input's sum of the elements of
    /// the windows that see it, `[N, C, H′, W′]` to `[N, C, H, W]`.
    ///
    /// ```
    /// use cryptgpu_core::device::{Device, PoolGeometry, Tensor};
    /// let g = Tensor::from_array(Device::Cpu, &ndarray::array![[[[1, 10]]]]);
    /// let spread = g.sum_pool_gradient(&PoolGeometry::square(2, 1, 0), [2, 3])?;
    /// assert_eq!(spread.to_array()?, ndarray::array![[[[1, 11, 10], [1, 11, 10]]]].into_dyn());
    /// # Ok::<(), cryptgpu_core::device::DeviceError>(())
    /// ```
    ///
    /// # Errors
    /// [`DeviceError::Shape`] unless there is a word for each window, or [`DeviceError::Geometry`].
    pub fn sum_pool_gradient(&self, window: &PoolGeometry, input: [usize; 2]) -> Result<Tensor, DeviceError> {
        let [batch, channels, ..] = self.image_shape("gradient of sum pooling")?;
        self.spread("gradient of sum pooling", window, false, [batch, channels, input[0], input[1]])
    }

    /// The adjoint of [`Tensor::pool_tap`], summed over the taps: the gradient of images of shape `input` `[N, C, H, W]`
    /// from those of all taps of all windows, `[kh·kw, …]` with N·C·H′·W′ words for each tap, taps row by row.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] unless there is a word for each tap of each window, or [`DeviceError::Geometry`].
    pub fn pool_tap_gradient(&self, window: &PoolGeometry, input: [usize; 4]) -> Result<Tensor, DeviceError> {
        self.spread("gradient of max pooling", window, true, input)
    }

    fn spread(
        &self,
        operation: &'static str,
        window: &PoolGeometry,
        by_tap: bool,
        shape: [usize; 4],
    ) -> Result<Tensor, DeviceError> {
        let [batch, channels, height, width] = shape;
        let windows = window.over([height, width]).map_err(|source| DeviceError::Geometry { operation, source })?;
        let (taps, out) = (if by_tap { window.kernel[0] * window.kernel[1] } else { 1 }, windows.output);
        let expected = [taps, batch, channels, out[0], out[1]];
        let fits = match by_tap {
            true => self.shape().first() == Some(&taps) && self.len() == expected.iter().product::<usize>(),
            false => self.shape() == &expected[1..],
        };
        if !fits {
            return Err(DeviceError::Shape {
                operation,
                lhs: self.shape().to_vec(),
                rhs: if by_tap { expected.to_vec() } else { expected[1..].to_vec() },
                rule: "there must be a word for each window, and for each tap of it where taps have their own",
            });
        }
        let ring = self.ring();
        let mut inputs = self.device().alloc(ring.words(shape.iter().product()));
        if !inputs.is_empty() {
            kernels::spread(ring, &windows, batch * channels, by_tap, self.view(), inputs.view_mut());
        }
        Tensor::new_in(ring, inputs, &shape)
    }
}
