//! Ring products on a card.

use super::{View, ViewMut};
use crate::device::{ConvGeometry, DeviceError};

pub(crate) fn matmul_sum(
    _size: [usize; 2],
    _depths: [usize; 2],
    _transposed: bool,
    _terms: [(View, View); 2],
    _out: ViewMut,
) -> Result<(), DeviceError> {
    Err(DeviceError::Kernel { operation: "matmul", detail: "cards have no ring product yet".to_owned() })
}

pub(crate) fn conv2d_sum(
    _geometry: &ConvGeometry,
    _terms: [(View, View); 2],
    _out: ViewMut,
) -> Result<(), DeviceError> {
    Err(DeviceError::Kernel { operation: "conv2d", detail: "cards have no ring product yet".to_owned() })
}
