//! Convolution over Z_2⁶⁴, NCHW: y = Σₜ xₜ ⊛ wₜ, the sum of products of a replicated convolution
//! in one pass over y. An implicit product of matrices, weights `[out, in/groups·kh·kw]` times
//! columns gathered straight from the images while they are packed (`implicit`); no im2col matrix is
//! ever in memory. Convolutions with one input channel per group take a direct loop (`depthwise`).

mod depthwise;
mod implicit;
#[cfg(test)]
mod tests;

use super::gemm::{GemmError, Isa};
use crate::device::ConvGeometry;

/// One convolution of a sum.
#[derive(Clone, Copy)]
pub struct ConvTerm<'a> {
    /// Images, [`ConvGeometry::input_shape`].
    pub input: &'a [u64],
    /// Weights, [`ConvGeometry::weight_shape`].
    pub weight: &'a [u64],
}

/// y = Σₜ xₜ ⊛ wₜ modulo 2⁶⁴ (zero for no terms): y has [`ConvGeometry::output_shape`] and is overwritten.
///
/// ```
/// use cryptgpu_core::device::cpu::conv::{ConvTerm, conv2d_sum};
/// use cryptgpu_core::device::{ConvGeometry, PoolGeometry};
/// let window = PoolGeometry::square(2, 1, 0);
/// let geometry = ConvGeometry { batch: 1, in_channels: 1, input: [2, 3], out_channels: 1, window, groups: 1 };
/// let term = ConvTerm { input: &[1, 2, 3, 4, 5, 6], weight: &[1, 0, 0, u64::MAX] };
/// let mut y = [0; 2];
/// conv2d_sum(&geometry, &[term], &mut y)?;
/// assert_eq!(y, [1_u64.wrapping_sub(5), 2_u64.wrapping_sub(6)]);
/// # Ok::<(), cryptgpu_core::device::cpu::gemm::GemmError>(())
/// ```
///
/// # Errors
/// When the window does not fit, channels do not divide into groups, a slice has another length
/// than its shape, or `CRYPTGPU_ISA` asks for what this machine cannot run. Then nothing is written.
pub fn conv2d_sum(geometry: &ConvGeometry, terms: &[ConvTerm<'_>], y: &mut [u64]) -> Result<(), GemmError> {
    conv2d_with(Isa::active()?, geometry, terms, y)
}

/// [`conv2d_sum`] on a given instruction set, for tests and benches.
///
/// # Errors
/// As [`conv2d_sum`], and when this machine does not support `isa`.
pub fn conv2d_with(isa: Isa, geometry: &ConvGeometry, terms: &[ConvTerm<'_>], y: &mut [u64]) -> Result<(), GemmError> {
    let isa = isa.checked()?;
    check(geometry, terms, y)?;
    if y.is_empty() {
        return Ok(());
    }
    if geometry.groups > 1 && geometry.in_channels == geometry.groups {
        depthwise::convolve(isa, geometry, terms, y)
    } else {
        implicit::convolve(isa, geometry, terms, y)
    }
}

/// Are the slices as long as the shapes say?
fn check(geometry: &ConvGeometry, terms: &[ConvTerm<'_>], y: &[u64]) -> Result<(), GemmError> {
    let operation = "ring convolution";
    let words = |shape: [usize; 4]| {
        let product = shape.into_iter().try_fold(1, usize::checked_mul);
        product.ok_or_else(|| GemmError::TooLarge { operation, shape: shape.to_vec() })
    };
    let shape = geometry.output_shape()?;
    let expected = words(shape)?;
    if y.len() != expected {
        return Err(GemmError::Output { operation, shape: shape.to_vec(), expected, found: y.len() });
    }
    for (term, &ConvTerm { input, weight }) in terms.iter().enumerate() {
        let tensors = [("input", geometry.input_shape(), input), ("weight", geometry.weight_shape(), weight)];
        for (what, shape, slice) in tensors {
            let expected = words(shape)?;
            if slice.len() != expected {
                return Err(GemmError::Tensor { what, term, shape, expected, found: slice.len() });
            }
        }
    }
    Ok(())
}
