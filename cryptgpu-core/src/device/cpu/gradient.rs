//! The gradients of convolutions of a tensor operation, from the CPU's kernels.

use super::conv::{self, InputGradientTerm, WeightGradientTerm};
use super::product::kernel_error;
use crate::device::{ConvGeometry, DeviceError};
use crate::ring::Word;

/// `out` = Σₜ of the gradient of the weights of the convolution `geometry`, from the gradients of its outputs and its
/// images.
///
/// # Errors
/// [`DeviceError::Kernel`] when the kernel refuses the operands.
pub fn weights<W: Word>(geometry: &ConvGeometry, terms: Vec<(&[W], &[W])>, out: &mut [W]) -> Result<(), DeviceError> {
    let terms: Vec<_> = terms.into_iter().map(|(gradient, input)| WeightGradientTerm { gradient, input }).collect();
    conv::weight_gradient_sum(geometry, &terms, out).map_err(kernel_error("gradient of a convolution's weights"))
}

/// `out` = Σₜ of the gradient of the images of the convolution `geometry`, from the gradients of its outputs and its
/// weights.
///
/// # Errors
/// [`DeviceError::Kernel`] when the kernel refuses the operands.
pub fn images<W: Word>(geometry: &ConvGeometry, terms: Vec<(&[W], &[W])>, out: &mut [W]) -> Result<(), DeviceError> {
    let terms: Vec<_> = terms.into_iter().map(|(gradient, weight)| InputGradientTerm { gradient, weight }).collect();
    conv::input_gradient_sum(geometry, &terms, out).map_err(kernel_error("gradient of a convolution's images"))
}
