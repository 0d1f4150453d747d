//! Gradients of a convolution as tensor operations: of its weights and of its images, sums of two at once, which is
//! what one party computes of a secret product. Both are ring products of the size of the convolution itself.
//! Truncation and shares live in layers above.

use super::product::{first_of, views};
use super::{BlockOrder, ConvGeometry, DeviceError, Tensor, kernels};

impl Tensor {
    /// The tensor with its two leading axes swapped: `[a, b, …]` becomes `[b, a, …]`.
    ///
    /// ```
    /// use cryptgpu_core::device::{Device, Tensor};
    /// let x = Tensor::from_array(Device::Cpu, &ndarray::array![[[1, 2], [3, 4], [5, 6]]]);
    /// assert_eq!(x.swap_axes01()?.to_array()?, ndarray::array![[[1, 2]], [[3, 4]], [[5, 6]]].into_dyn());
    /// # Ok::<(), cryptgpu_core::device::DeviceError>(())
    /// ```
    ///
    /// # Errors
    /// [`DeviceError::Shape`] for a tensor with fewer than two axes.
    pub fn swap_axes01(&self) -> Result<Tensor, DeviceError> {
        let [rows, columns, rest @ ..] = self.shape() else {
            return Err(DeviceError::Shape {
                operation: "swap of axes",
                lhs: self.shape().to_vec(),
                rhs: vec![],
                rule: "there must be two axes",
            });
        };
        let order = BlockOrder::swapped(1, [*rows, *columns], rest.iter().product());
        Ok(self.reorder(&order, &[&[*columns, *rows], rest].concat()))
    }

    /// The blocks in another order, whose elements are those of `shape`, by its making.
    pub(super) fn reorder(&self, order: &BlockOrder, shape: &[usize]) -> Tensor {
        let mut out = self.device().alloc(self.ring().words(order.words()));
        kernels::reorder(self.ring(), order, self.view(), out.view_mut());
        Tensor::of_ring(self.ring(), out, shape)
    }

    /// The gradient of the weights of the convolution `geometry`, from the gradients dy of its outputs
    /// `[N, O, H′, W′]` and its images x `[N, C, H, W]`, summed over the terms (dy, x), one or two, in the ring:
    /// `dw[o, c, ky, kx]` = Σₜ Σ over n, oy, ox of `dy[n, o, oy, ox]` · `x[n, c, oy·s + ky·d − p, ox·s + kx·d − p]` for
    /// stride s, dilation d and padding p, c among the channels of o's group. Shape `[O, C/groups, kh, kw]`.
    ///
    /// # Errors
    /// [`DeviceError::Shape`], [`DeviceError::Geometry`], [`DeviceError::Rings`] or [`DeviceError::Mixed`].
    pub fn conv2d_weight_gradient_sum(
        terms: &[(&Tensor, &Tensor)],
        geometry: &ConvGeometry,
    ) -> Result<Tensor, DeviceError> {
        let operation = "gradient of a convolution's weights";
        let output = geometry.output_shape().map_err(|source| DeviceError::Geometry { operation, source })?;
        let (first, shape) = (first_of(operation, terms)?, geometry.weight_shape());
        check(operation, terms, [output, geometry.input_shape()])?;
        if terms[0].0.is_empty() || terms[0].1.is_empty() {
            return Ok(first.full_like(&shape, 0));
        }
        let (ring, device) = (first.ring(), first.device());
        let mut out = device.alloc(ring.words(shape.iter().product()));
        kernels::conv2d_weight_gradient_sum(ring, geometry, views(terms), out.view_mut())?;
        Tensor::new_in(ring, out, &shape)
    }

    /// The gradient of the images of the convolution `geometry`, from the gradients dy of its outputs
    /// `[N, O, H′, W′]` and its weights w `[O, C/groups, kh, kw]`, summed over the terms (dy, w), one or two, in the ring:
    /// `dx[n, c, y, x]` = Σₜ Σ of `dy[n, o, oy, ox]` · `w[o, c, ky, kx]` over all o of c's group and all output pixels
    /// and taps with oy·s + ky·d − p = y and ox·s + kx·d − p = x. Shape `[N, C, H, W]`.
    ///
    /// # Errors
    /// As [`Tensor::conv2d_weight_gradient_sum`].
    pub fn conv2d_input_gradient_sum(
        terms: &[(&Tensor, &Tensor)],
        geometry: &ConvGeometry,
    ) -> Result<Tensor, DeviceError> {
        let operation = "gradient of a convolution's images";
        let output = geometry.output_shape().map_err(|source| DeviceError::Geometry { operation, source })?;
        let (first, shape) = (first_of(operation, terms)?, geometry.input_shape());
        check(operation, terms, [output, geometry.weight_shape()])?;
        if terms[0].0.is_empty() || terms[0].1.is_empty() || geometry.input.contains(&0) {
            return Ok(first.full_like(&shape, 0));
        }
        let (ring, device) = (first.ring(), first.device());
        let mut out = device.alloc(ring.words(shape.iter().product()));
        kernels::conv2d_input_gradient_sum(ring, geometry, views(terms), out.view_mut())?;
        Tensor::new_in(ring, out, &shape)
    }
}

/// Are all operands on one device and of these shapes?
fn check(
    operation: &'static str,
    terms: &[(&Tensor, &Tensor)],
    [left, right]: [[usize; 4]; 2],
) -> Result<(), DeviceError> {
    for &(dy, other) in terms {
        terms[0].0.check_alike(operation, dy)?;
        terms[0].0.check_alike(operation, other)?;
        if dy.shape() != left || other.shape() != right {
            return Err(DeviceError::Shape {
                operation,
                lhs: dy.shape().to_vec(),
                rhs: other.shape().to_vec(),
                rule: "the output's gradient and the other factor must have the shapes that the geometry says",
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Device, PoolGeometry};
    use proptest::prelude::*;

    fn tensor(shape: [usize; 4], seed: &mut u64) -> Tensor {
        let mut next = || {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (*seed ^ *seed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let words = (0..shape.iter().product()).map(|_| next()).collect();
        Tensor::of(Device::Cpu.upload(words), &shape)
    }

    /// The definition: for every output pixel, channel and tap, what the gradient there adds to a weight and to an input.
    fn definition(geometry: &ConvGeometry, [dy, x, w]: [&Tensor; 3]) -> [Vec<u64>; 2] {
        let [dy_words, x_words, w_words] =
            [dy, x, w].map(|tensor| tensor.to_array().unwrap().into_raw_vec_and_offset().0);
        let (mut dw, mut dx) = (vec![0u64; w.len()], vec![0u64; x.len()]);
        let [batch, outputs, height, width] = geometry.output_shape().unwrap();
        let [_, channels, kernel_height, kernel_width] = geometry.weight_shape();
        let PoolGeometry { stride, padding, dilation, .. } = geometry.window;
        for (at, dy) in (0..batch * outputs * height * width).zip(dy_words) {
            let [ox, oy] = [at % width, at / width % height];
            let [o, n] = [at / width / height % outputs, at / width / height / outputs];
            for tap in 0..channels * kernel_height * kernel_width {
                let [kx, ky] = [tap % kernel_width, tap / kernel_width % kernel_height];
                let c = o / (outputs / geometry.groups) * channels + tap / kernel_width / kernel_height;
                let y = (oy * stride[0] + ky * dilation[0]).wrapping_sub(padding[0]);
                let x = (ox * stride[1] + kx * dilation[1]).wrapping_sub(padding[2]);
                if y < geometry.input[0] && x < geometry.input[1] {
                    let input = ((n * geometry.in_channels + c) * geometry.input[0] + y) * geometry.input[1] + x;
                    let weight = o * channels * kernel_height * kernel_width + tap;
                    dw[weight] = dw[weight].wrapping_add(dy.wrapping_mul(x_words[input]));
                    dx[input] = dx[input].wrapping_add(dy.wrapping_mul(w_words[weight]));
                }
            }
        }
        [dw, dx]
    }

    /// Both gradients of two terms against the sum of the definitions.
    fn compare(geometry: &ConvGeometry, mut seed: u64) {
        let shapes = [geometry.output_shape().unwrap(), geometry.input_shape(), geometry.weight_shape()];
        let [[dy0, x0, w0], [dy1, x1, w1]] = [(); 2].map(|()| shapes.map(|shape| tensor(shape, &mut seed)));
        let [first, second] = [definition(geometry, [&dy0, &x0, &w0]), definition(geometry, [&dy1, &x1, &w1])];
        let dw = Tensor::conv2d_weight_gradient_sum(&[(&dy0, &x0), (&dy1, &x1)], geometry).unwrap();
        let dx = Tensor::conv2d_input_gradient_sum(&[(&dy0, &w0), (&dy1, &w1)], geometry).unwrap();
        assert_eq!((dw.shape(), dx.shape()), (&geometry.weight_shape()[..], &geometry.input_shape()[..]));
        for ((found, first), second) in [dw, dx].into_iter().zip(first).zip(second) {
            let expected: Vec<u64> = first.iter().zip(second).map(|(a, b)| a.wrapping_add(b)).collect();
            assert!(found.into_host().unwrap() == expected, "{geometry:?}");
        }
    }

    prop_compose! {
        fn geometries()(
            batch in 1usize..4, groups in 1usize..4, depthwise in any::<bool>(),
            channels in 1usize..5, multiplier in 1usize..6,
            input in [1usize..13, 1usize..18], kernel in [1usize..5, 1usize..5],
            stride in [1usize..4, 1usize..4], padding in prop::array::uniform4(0usize..6), dilation in [1usize..3, 1usize..3],
        ) -> ConvGeometry {
            let channels = if depthwise { 1 } else { channels };
            ConvGeometry {
                batch, in_channels: groups * channels, input, out_channels: groups * multiplier,
                window: PoolGeometry { kernel, stride, padding, dilation }, groups,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn gradients_equal_the_definition(geometry in geometries(), seed in any::<u64>()) {
            prop_assume!(geometry.output().is_ok());
            compare(&geometry, seed);
        }
    }

    #[test]
    fn windows_in_the_padding_alone_and_rows_that_no_window_sees() {
        let window = |kernel, stride, padding| PoolGeometry { kernel, stride, padding, dilation: [1; 2] };
        let geometry =
            |input, window| ConvGeometry { batch: 2, in_channels: 4, input, out_channels: 6, window, groups: 2 };
        // All of them: no input has a gradient.
        compare(&geometry([1, 1], window([1, 1], [10, 10], [5, 0, 5, 0])), 1);
        compare(&geometry([2, 3], window([1, 1], [2, 3], [3, 3, 4, 1])), 2);
        // Planes with zeros between pixels that are as large as those without.
        compare(&geometry([3, 3], window([1, 1], [2, 2], [1, 0, 1, 0])), 3);
        compare(&geometry([11, 12], window([3, 2], [4, 5], [0; 4])), 4);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let window = PoolGeometry::square(3, 1, 1);
        let geometry = ConvGeometry { batch: 1, in_channels: 2, input: [4, 4], out_channels: 3, window, groups: 1 };
        let [dy, x, w] = [geometry.output_shape().unwrap(), geometry.input_shape(), geometry.weight_shape()]
            .map(|s| tensor(s, &mut 1));
        let error = Tensor::conv2d_weight_gradient_sum(&[(&dy, &x), (&dy, &w)], &geometry).unwrap_err();
        assert!(matches!(error, DeviceError::Shape { .. }) && error.to_string().contains("weights"), "{error}");
        let error = Tensor::conv2d_input_gradient_sum(&[(&x, &w), (&dy, &w)], &geometry).unwrap_err();
        assert!(matches!(error, DeviceError::Shape { .. }) && error.to_string().contains("images"), "{error}");
        let none = ConvGeometry { batch: 0, ..geometry };
        let [dy, x] = [none.output_shape().unwrap(), none.input_shape()].map(|s| tensor(s, &mut 1));
        let dw = Tensor::conv2d_weight_gradient_sum(&[(&dy, &x), (&dy, &x)], &none).unwrap();
        assert_eq!(dw.into_host().unwrap(), vec![0; 54]);
        assert!(Tensor::conv2d_input_gradient_sum(&[(&dy, &w), (&dy, &w)], &none).unwrap().is_empty());
        assert!(Tensor::full(Device::Cpu, &[3], 1).swap_axes01().is_err());
    }
}
