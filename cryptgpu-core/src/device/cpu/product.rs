//! The ring products of a tensor operation, from the CPU's matrix product and convolution.

use super::conv::{self, ConvTerm};
use super::gemm::{self, GemmError, MatRef, Term};
use crate::device::{ConvGeometry, DeviceError, MatmulGeometry};
use crate::ring::Word;

/// `out` = Σₜ xₜ · yₜ: the products `geometry` of matrices in row-major order.
///
/// # Errors
/// [`DeviceError::Kernel`] when the kernel refuses the operands.
pub fn matmul_sum<'a, W: Word>(
    geometry: &MatmulGeometry,
    terms: Vec<(&'a [W], &'a [W])>,
    out: &mut [W],
) -> Result<(), DeviceError> {
    let MatmulGeometry { size: [m, n], depths, transposed: [left, right] } = *geometry;
    let term = |((x, y), depth): ((&'a [W], &'a [W]), usize)| {
        let a = if left { MatRef::row_major(x, m).transposed() } else { MatRef::row_major(x, depth) };
        let b = if right { MatRef::row_major(y, depth).transposed() } else { MatRef::row_major(y, n) };
        Term { depth, a, b }
    };
    let terms: Vec<_> = terms.into_iter().zip(depths).map(term).collect();
    gemm::gemm_sum(m, n, &terms, out, false).map_err(kernel_error("matmul"))
}

/// `out` = Σₜ xₜ ⊛ wₜ: the convolution `geometry` of images with weights.
///
/// # Errors
/// [`DeviceError::Kernel`] when the kernel refuses the operands.
pub fn conv2d_sum<W: Word>(
    geometry: &ConvGeometry,
    terms: Vec<(&[W], &[W])>,
    out: &mut [W],
) -> Result<(), DeviceError> {
    let terms: Vec<_> = terms.into_iter().map(|(input, weight)| ConvTerm { input, weight }).collect();
    conv::conv2d_sum(geometry, &terms, out).map_err(kernel_error("conv2d"))
}

/// The kernel's error as that of a tensor operation.
pub(super) fn kernel_error(operation: &'static str) -> impl Fn(GemmError) -> DeviceError {
    move |error| DeviceError::Kernel { operation, detail: error.to_string() }
}
