//! What can go wrong on a device.

use super::{Device, GeometryError};

/// An error of the tensor API.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeviceError {
    /// A device that this machine or build does not have.
    #[error("device {device} is not available: {reason}. Use --device cpu")]
    Unavailable {
        /// What was asked for.
        device: String,
        /// Why it cannot be had.
        reason: String,
    },
    /// Operands on different devices.
    #[error("{operation}: an operand lives on {found}, the others on {expected}; move it there first (`to_device`)")]
    Mixed {
        /// The operation.
        operation: &'static str,
        /// Where the operand is.
        found: Device,
        /// Where it should be.
        expected: Device,
    },
    /// Operands whose shapes do not fit.
    #[error("{operation}: shapes do not fit, lhs {lhs:?}, rhs {rhs:?}: {rule}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// Shape of the first operand.
        lhs: Vec<usize>,
        /// Shape of the second operand, or of what was expected.
        rhs: Vec<usize>,
        /// What the shapes must fulfil.
        rule: &'static str,
    },
    /// Bits that a word does not have.
    #[error("{operation}: a word has no bits {low} to {low} + {width}: take at least one, within 0 to 64")]
    Bits {
        /// The operation.
        operation: &'static str,
        /// The lowest bit.
        low: u32,
        /// How many.
        width: u32,
    },
    /// A window that does not fit.
    #[error("{operation}: {source}")]
    Geometry {
        /// The operation.
        operation: &'static str,
        /// What does not fit.
        source: GeometryError,
    },
    /// A kernel that refused its operands.
    #[error("{operation}: {detail}")]
    Kernel {
        /// The operation.
        operation: &'static str,
        /// What the kernel said.
        detail: String,
    },
}
