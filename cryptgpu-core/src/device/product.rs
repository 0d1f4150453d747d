//! Ring products as tensor operations: sums of two matrix products or two convolutions at once,
//! which is what one party computes of a secret product.

use super::cpu::conv::{ConvTerm, conv2d_sum};
use super::cpu::gemm::{GemmError, MatRef, Term, gemm_sum};
use super::{Buffer, ConvGeometry, DeviceError, Tensor};

fn kernel_error(operation: &'static str) -> impl Fn(GemmError) -> DeviceError {
    move |error| DeviceError::Kernel { operation, detail: error.to_string() }
}

fn matrix(tensor: &Tensor) -> Option<[usize; 2]> {
    tensor.shape().try_into().ok()
}

fn words(tensor: &Tensor) -> &[u64] {
    let Buffer::Cpu(words) = tensor.buffer();
    words
}

impl Tensor {
    /// Σₜ xₜ · yₜ modulo 2^64 for matrices x `[m, k]` and y `[k, n]`, or `[n, k]` when `transposed`.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when a tensor is no matrix or the inner dimensions differ.
    pub fn matmul_sum(terms: [(&Tensor, &Tensor); 2], transposed: bool) -> Result<Tensor, DeviceError> {
        let operation = "matmul";
        let mut products = Vec::with_capacity(2);
        let (mut rows, mut columns) = (0, 0);
        for (x, y) in terms {
            let (k, n) = if transposed { (1, 0) } else { (0, 1) };
            let shapes = matrix(x).zip(matrix(y)).filter(|(x, y)| x[1] == y[k]);
            let Some((xs, ys)) = shapes else {
                return Err(DeviceError::Shape {
                    operation,
                    lhs: x.shape().to_vec(),
                    rhs: y.shape().to_vec(),
                    rule: "both must be matrices with equal inner dimensions",
                });
            };
            (rows, columns) = (xs[0], ys[n]);
            let b = MatRef::row_major(words(y), ys[1]);
            let b = if transposed { b.transposed() } else { b };
            products.push(Term { depth: xs[1], a: MatRef::row_major(words(x), xs[1]), b });
        }
        let mut out = vec![0u64; rows * columns];
        gemm_sum(rows, columns, &products, &mut out, false).map_err(kernel_error(operation))?;
        Tensor::new(Buffer::Cpu(out), &[rows, columns])
    }

    /// Σₜ xₜ ⊛ wₜ modulo 2^64: the convolution `geometry` of images with weights.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] or [`DeviceError::Geometry`].
    pub fn conv2d_sum(terms: [(&Tensor, &Tensor); 2], geometry: &ConvGeometry) -> Result<Tensor, DeviceError> {
        let operation = "conv2d";
        let shape = geometry.output_shape().map_err(|source| DeviceError::Geometry { operation, source })?;
        for (x, w) in terms {
            if x.shape() != geometry.input_shape() || w.shape() != geometry.weight_shape() {
                return Err(DeviceError::Shape {
                    operation,
                    lhs: x.shape().to_vec(),
                    rhs: w.shape().to_vec(),
                    rule: "input and weight must have the shapes that the geometry says",
                });
            }
        }
        let products = terms.map(|(x, w)| ConvTerm { input: words(x), weight: words(w) });
        let mut out = vec![0u64; shape.iter().product()];
        conv2d_sum(geometry, &products, &mut out).map_err(kernel_error(operation))?;
        Tensor::new(Buffer::Cpu(out), &shape)
    }
}
