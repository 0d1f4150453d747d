//! What can go wrong on a device.

use super::{Device, GeometryError};
use crate::ring::Ring;

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
    /// A name that is no device's.
    #[error("`{device}` is no device: use auto, cpu, cuda, or cuda:N with the number of a card")]
    Unknown {
        /// What was asked for.
        device: String,
    },
    /// A card has no memory left.
    #[error(
        "{device}: no memory for {wanted} bytes: this process holds {in_use}, and {free} of the card's {total} are free; \
         use a smaller batch, fewer parties on one card, or --device cpu"
    )]
    Memory {
        /// The card.
        device: Device,
        /// Bytes asked for.
        wanted: usize,
        /// Bytes in buffers of this process.
        in_use: usize,
        /// Bytes that the card has left.
        free: usize,
        /// Bytes that the card has.
        total: usize,
    },
    /// The driver failed in a way after which no result of the card can be trusted.
    #[error(
        "{operation} on {device}: {detail}. Nothing that this process computes on {device} is used from here on; start \
         the parties anew"
    )]
    Fault {
        /// The card.
        device: Device,
        /// What was being done when it showed; the cause may lie before it.
        operation: String,
        /// What the driver said.
        detail: String,
    },
    /// Messages cannot be handed to or from a card by memory that another process opens.
    #[error("memory of {device} cannot be shared with another process: {reason}")]
    Mailbox {
        /// The device.
        device: Device,
        /// Why.
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
    /// Operands of different rings.
    #[error(
        "{operation}: operands of two rings, lhs {lhs:?} of {lhs_ring}, rhs {rhs:?} of {rhs_ring}: a run computes in one \
         ring, so make both in it"
    )]
    Rings {
        /// The operation.
        operation: &'static str,
        /// Shape of the first operand.
        lhs: Vec<usize>,
        /// Its ring.
        lhs_ring: Ring,
        /// Shape of the second operand.
        rhs: Vec<usize>,
        /// Its ring.
        rhs_ring: Ring,
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
    #[error("{operation}: a word has no bits {low} to {low} + {width}: take at least one, within 0 to {of}", of = .ring.bits())]
    Bits {
        /// The operation.
        operation: &'static str,
        /// The ring of the words.
        ring: Ring,
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
