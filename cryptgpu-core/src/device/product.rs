//! Ring products as tensor operations: sums of two matrix products or two convolutions at once,
//! which is what one party computes of a secret product.

use super::{ConvGeometry, DeviceError, MatmulGeometry, Tensor, kernels};

fn matrix(tensor: &Tensor) -> Option<[usize; 2]> {
    tensor.shape().try_into().ok()
}

impl Tensor {
    /// Σₜ xₜ · yₜ in the ring for matrices x `[m, k]` and y `[k, n]`; where the left factors are `transposed` x has the
    /// shape `[k, m]`, where the right ones are y has the shape `[n, k]`.
    ///
    /// ```
    /// use cryptgpu_core::device::{Device, Tensor};
    /// let dy = Tensor::from_array(Device::Cpu, &ndarray::array![[1, 2], [3, 4], [5, 6]]);
    /// let x = Tensor::from_array(Device::Cpu, &ndarray::array![[1], [10], [100]]);
    /// let sum = Tensor::matmul_sum([(&dy, &x), (&dy, &x)], [true, false])?;
    /// assert_eq!(sum.to_array()?, ndarray::array![[2 * 531], [2 * 642]].into_dyn());
    /// # Ok::<(), cryptgpu_core::device::DeviceError>(())
    /// ```
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when a tensor is no matrix or the inner dimensions differ, [`DeviceError::Rings`],
    /// [`DeviceError::Mixed`].
    pub fn matmul_sum(terms: [(&Tensor, &Tensor); 2], transposed: [bool; 2]) -> Result<Tensor, DeviceError> {
        let operation = "matmul";
        let (ring, device) = (terms[0].0.ring(), terms[0].0.device());
        let [[m, inner], [k, n]] = [[0, 1], [0, 1]];
        let (m, inner) = if transposed[0] { (inner, m) } else { (m, inner) };
        let (k, n) = if transposed[1] { (n, k) } else { (k, n) };
        let (mut size, mut depths) = (None, [0; 2]);
        for ((x, y), depth) in terms.into_iter().zip(&mut depths) {
            terms[0].0.check_alike(operation, x)?;
            terms[0].0.check_alike(operation, y)?;
            let fits =
                |xs: [usize; 2], ys: [usize; 2]| xs[inner] == ys[k] && size.is_none_or(|size| size == [xs[m], ys[n]]);
            let Some((xs, ys)) = matrix(x).zip(matrix(y)).filter(|&(xs, ys)| fits(xs, ys)) else {
                return Err(DeviceError::Shape {
                    operation,
                    lhs: x.shape().to_vec(),
                    rhs: y.shape().to_vec(),
                    rule: "both must be matrices with equal inner dimensions, and all products of one size",
                });
            };
            (size, *depth) = (Some([xs[m], ys[n]]), xs[inner]);
        }
        let size = size.unwrap_or_default();
        let mut out = device.alloc(ring.words(size[0] * size[1]));
        let geometry = MatmulGeometry { size, depths, transposed };
        kernels::matmul_sum(ring, &geometry, terms.map(|(x, y)| (x.view(), y.view())), out.view_mut())?;
        Tensor::new_in(ring, out, &size)
    }

    /// Σₜ xₜ ⊛ wₜ in the ring: the convolution `geometry` of images with weights.
    ///
    /// # Errors
    /// [`DeviceError::Shape`], [`DeviceError::Geometry`], [`DeviceError::Rings`] or [`DeviceError::Mixed`].
    pub fn conv2d_sum(terms: [(&Tensor, &Tensor); 2], geometry: &ConvGeometry) -> Result<Tensor, DeviceError> {
        let operation = "conv2d";
        let shape = geometry.output_shape().map_err(|source| DeviceError::Geometry { operation, source })?;
        let (ring, device) = (terms[0].0.ring(), terms[0].0.device());
        for (x, w) in terms {
            terms[0].0.check_alike(operation, x)?;
            terms[0].0.check_alike(operation, w)?;
            if x.shape() != geometry.input_shape() || w.shape() != geometry.weight_shape() {
                return Err(DeviceError::Shape {
                    operation,
                    lhs: x.shape().to_vec(),
                    rhs: w.shape().to_vec(),
                    rule: "input and weight must have the shapes that the geometry says",
                });
            }
        }
        let mut out = device.alloc(ring.words(shape.iter().product()));
        kernels::conv2d_sum(ring, geometry, terms.map(|(x, w)| (x.view(), w.view())), out.view_mut())?;
        Tensor::new_in(ring, out, &shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use ndarray::Array2;

    fn ones(rows: usize, columns: usize) -> Tensor {
        Tensor::from_array(Device::Cpu, &Array2::<u64>::ones((rows, columns)))
    }

    #[test]
    fn products_of_different_sizes_are_not_added_up() {
        let (a, b, c) = (ones(2, 3), ones(3, 4), ones(3, 5));
        assert_eq!(Tensor::matmul_sum([(&a, &b), (&a, &b)], [false; 2]).unwrap().to_array().unwrap()[[1, 3]], 6);
        let error = Tensor::matmul_sum([(&a, &b), (&a, &c)], [false; 2]).unwrap_err();
        assert!(matches!(error, DeviceError::Shape { operation: "matmul", .. }), "{error}");
        let error = Tensor::matmul_sum([(&a, &b), (&b, &c)], [false; 2]).unwrap_err().to_string();
        assert!(error.contains("[3, 4]") && error.contains("[3, 5]"), "{error}");
    }
}
