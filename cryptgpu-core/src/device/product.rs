//! Ring products as tensor operations: sums of two matrix products or two convolutions at once, which is what one party computes of
//! a secret product; or one alone, where a factor has but one component there.

use super::{ConvGeometry, DeviceError, MatmulGeometry, Tensor, View, kernels};

/// The first factor of one term or two, which the others must be like.
pub(super) fn first_of<'a>(
    operation: &'static str,
    terms: &[(&'a Tensor, &Tensor)],
) -> Result<&'a Tensor, DeviceError> {
    match terms {
        [(first, _)] | [(first, _), _] => Ok(first),
        _ => Err(DeviceError::Kernel {
            operation,
            detail: format!("{} terms, where there may be one or two", terms.len()),
        }),
    }
}

/// What kernels read of each term.
pub(super) fn views<'a>(terms: &[(&'a Tensor, &'a Tensor)]) -> Vec<(View<'a>, View<'a>)> {
    terms.iter().map(|(x, y)| (x.view(), y.view())).collect()
}

fn matrix(tensor: &Tensor) -> Option<[usize; 2]> {
    tensor.shape().try_into().ok()
}

impl Tensor {
    /// Σₜ xₜ · yₜ in the ring, of one term or two, for matrices x `[m, k]` and y `[k, n]`; where the left factors are `transposed` x has the
    /// shape `[k, m]`, where the right ones are y has the shape `[n, k]`.
    ///
    /// ```
    /// use cryptgpu_core::device::{Device, Tensor};
    /// let dy = Tensor::from_array(Device::Cpu, &ndarray::array![[1, 2], [3, 4], [5, 6]]);
    /// let x = Tensor::from_array(Device::Cpu, &ndarray::array![[1], [10], [100]]);
    /// let sum = Tensor::matmul_sum(&[(&dy, &x), (&dy, &x)], [true, false])?;
    /// assert_eq!(sum.to_array()?, ndarray::array![[2 * 531], [2 * 642]].into_dyn());
    /// # Ok::<(), cryptgpu_core::device::DeviceError>(())
    /// ```
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when a tensor is no matrix or the inner dimensions differ, [`DeviceError::Rings`],
    /// [`DeviceError::Mixed`]; [`DeviceError::Kernel`] for another number of terms.
    pub fn matmul_sum(terms: &[(&Tensor, &Tensor)], transposed: [bool; 2]) -> Result<Tensor, DeviceError> {
        let operation = "matmul";
        let first = first_of(operation, terms)?;
        let (ring, device) = (first.ring(), first.device());
        let [[m, inner], [k, n]] = [[0, 1], [0, 1]];
        let (m, inner) = if transposed[0] { (inner, m) } else { (m, inner) };
        let (k, n) = if transposed[1] { (n, k) } else { (k, n) };
        let (mut size, mut depths) = (None, [0; 2]);
        for (&(x, y), depth) in terms.iter().zip(&mut depths) {
            first.check_alike(operation, x)?;
            first.check_alike(operation, y)?;
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
        kernels::matmul_sum(ring, &geometry, views(terms), out.view_mut())?;
        Tensor::new_in(ring, out, &size)
    }

    /// Σₜ xₜ ⊛ wₜ in the ring, of one term or two: the convolution `geometry` of images with weights.
    ///
    /// # Errors
    /// [`DeviceError::Shape`], [`DeviceError::Geometry`], [`DeviceError::Rings`] or [`DeviceError::Mixed`]; [`DeviceError::Kernel`] for
    /// another number of terms.
    pub fn conv2d_sum(terms: &[(&Tensor, &Tensor)], geometry: &ConvGeometry) -> Result<Tensor, DeviceError> {
        let operation = "conv2d";
        let shape = geometry.output_shape().map_err(|source| DeviceError::Geometry { operation, source })?;
        let first = first_of(operation, terms)?;
        let (ring, device) = (first.ring(), first.device());
        for &(x, w) in terms {
            first.check_alike(operation, x)?;
            first.check_alike(operation, w)?;
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
        kernels::conv2d_sum(ring, geometry, views(terms), out.view_mut())?;
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
        let sum = |terms: &[(&Tensor, &Tensor)]| Tensor::matmul_sum(terms, [false; 2]);
        let of = |count: usize| sum(&vec![(&a, &b); count]).map(|z| z.to_array().unwrap()[[1, 3]]);
        assert_eq!((of(1).unwrap(), of(2).unwrap()), (3, 6));
        for count in [0, 3] {
            let error = of(count).unwrap_err().to_string();
            assert!(error.contains(&format!("{count} terms")), "{error}");
        }
        let error = sum(&[(&a, &b), (&a, &c)]).unwrap_err();
        assert!(matches!(error, DeviceError::Shape { operation: "matmul", .. }), "{error}");
        let error = sum(&[(&a, &b), (&b, &c)]).unwrap_err().to_string();
        assert!(error.contains("[3, 4]") && error.contains("[3, 5]"), "{error}");
    }
}
