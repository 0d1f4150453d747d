//! Shares with their elements elsewhere: axes in another order, parts of an axis, an axis repeated. Local.

use super::Rep;
use crate::device::{DeviceError, Part};

impl Rep {
    /// The same elements with the axes in another order: axis k of the result is axis `order[k]`.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] for an order that is none of its axes.
    pub fn permute(&self, order: &[usize]) -> Result<Self, DeviceError> {
        Ok(Rep { a: self.a.permute(order)?, b: self.b.permute(order)? })
    }

    /// A part of one axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] for a part that reaches beyond the axis, or has no elements.
    pub fn along(&self, part: &Part) -> Result<Self, DeviceError> {
        Ok(Rep { a: self.a.along(part)?, b: self.b.along(part)? })
    }

    /// An axis of one entry, that many times.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] for an axis that has not one entry, or no times.
    pub fn repeat(&self, axis: usize, times: usize) -> Result<Self, DeviceError> {
        Ok(Rep { a: self.a.repeat(axis, times)?, b: self.b.repeat(axis, times)? })
    }
}
