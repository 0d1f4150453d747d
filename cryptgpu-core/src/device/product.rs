//! Ring products as tensor operations: sums of two matrix products or two convolutions at once,
//! which is what one party computes of a secret product.

use super::{ConvGeometry, DeviceError, MatmulGeometry, Tensor, kernels};

fn matrix(tensor: &Tensor) -> Option<[usize; 2]> {
    tensor.shape().try_into().ok()
}

impl Tensor {
    /// Σₜ xₜ · yₜ modulo 2^64 for matrices x `[m, k]` and y `[k, n]`, or `[n, k]` when `transposed`.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when a tensor is no matrix or the inner dimensions differ, [`DeviceError::Mixed`].
    pub fn matmul_sum(terms: [(&Tensor, &Tensor); 2], transposed: bool) -> Result<Tensor, DeviceError> {
        let operation = "matmul";
        let device = terms[0].0.device();
        let (k, n) = if transposed { (1, 0) } else { (0, 1) };
        let (mut size, mut depths) = (None, [0; 2]);
        for ((x, y), depth) in terms.into_iter().zip(&mut depths) {
            x.check_on(operation, device)?;
            y.check_on(operation, device)?;
            let fits =
                |xs: [usize; 2], ys: [usize; 2]| xs[1] == ys[k] && size.is_none_or(|size| size == [xs[0], ys[n]]);
            let Some((xs, ys)) = matrix(x).zip(matrix(y)).filter(|&(xs, ys)| fits(xs, ys)) else {
                return Err(DeviceError::Shape {
                    operation,
                    lhs: x.shape().to_vec(),
                    rhs: y.shape().to_vec(),
                    rule: "both must be matrices with equal inner dimensions, and all products of one size",
                });
            };
            (size, *depth) = (Some([xs[0], ys[n]]), xs[1]);
        }
        let size = size.unwrap_or_default();
        let mut out = device.alloc(size[0] * size[1]);
        let geometry = MatmulGeometry { size, depths, transposed };
        kernels::matmul_sum(&geometry, terms.map(|(x, y)| (x.view(), y.view())), out.view_mut())?;
        Tensor::new(out, &size)
    }

    /// Σₜ xₜ ⊛ wₜ modulo 2^64: the convolution `geometry` of images with weights.
    ///
    /// # Errors
    /// [`DeviceError::Shape`], [`DeviceError::Geometry`] or [`DeviceError::Mixed`].
    pub fn conv2d_sum(terms: [(&Tensor, &Tensor); 2], geometry: &ConvGeometry) -> Result<Tensor, DeviceError> {
        let operation = "conv2d";
        let shape = geometry.output_shape().map_err(|source| DeviceError::Geometry { operation, source })?;
        let device = terms[0].0.device();
        for (x, w) in terms {
            x.check_on(operation, device)?;
            w.check_on(operation, device)?;
            if x.shape() != geometry.input_shape() || w.shape() != geometry.weight_shape() {
                return Err(DeviceError::Shape {
                    operation,
                    lhs: x.shape().to_vec(),
                    rhs: w.shape().to_vec(),
                    rule: "input and weight must have the shapes that the geometry says",
                });
            }
        }
        let mut out = device.alloc(shape.iter().product());
        kernels::conv2d_sum(geometry, terms.map(|(x, w)| (x.view(), w.view())), out.view_mut())?;
        Tensor::new(out, &shape)
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
        assert_eq!(Tensor::matmul_sum([(&a, &b), (&a, &b)], false).unwrap().to_array().unwrap()[[1, 3]], 6);
        let error = Tensor::matmul_sum([(&a, &b), (&a, &c)], false).unwrap_err();
        assert!(matches!(error, DeviceError::Shape { operation: "matmul", .. }), "{error}");
        let error = Tensor::matmul_sum([(&a, &b), (&b, &c)], false).unwrap_err().to_string();
        assert!(error.contains("[3, 4]") && error.contains("[3, 5]"), "{error}");
    }
}
