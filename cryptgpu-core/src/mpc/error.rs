//! What can go wrong in a protocol.

use crate::device::DeviceError;
use crate::net::{NO_STEP, NetError, PartyId};
use crate::ring::RingError;

/// An error of a protocol. It names the party and the step it was in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MpcError {
    /// A link failed; the error names party, peer and step.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A neighbour sent an array of another type than the one that was waited for.
    #[error(
        "party {party}{}: expected {expected} from party {peer}, got {got}: both ends must name the same \
         types in the same order",
        comma_step(.step)
    )]
    Message {
        /// The party that reports.
        party: PartyId,
        /// The sender.
        peer: PartyId,
        /// The step it was in.
        step: String,
        /// What it waited for.
        expected: String,
        /// What came.
        got: String,
    },
    /// A local operation of a protocol outside this crate refused its operands; who runs the
    /// protocol adds party and step.
    #[error(transparent)]
    Local(#[from] DeviceError),
    /// A local operation refused its operands.
    #[error("party {party}{}: {source}", comma_step(.step))]
    Device {
        /// The party that reports.
        party: PartyId,
        /// The step it was in.
        step: String,
        /// What the device said.
        source: DeviceError,
    },
    /// A value that does not fit the ring.
    #[error("party {party}{}: {source}", comma_step(.step))]
    Ring {
        /// The party that reports.
        party: PartyId,
        /// The step it was in.
        step: String,
        /// What the codec said.
        source: RingError,
    },
    /// Arguments that make no sense together.
    #[error("party {party}{}: {operation}: {detail}", comma_step(.step))]
    Argument {
        /// The party that reports.
        party: PartyId,
        /// The step it was in.
        step: String,
        /// The operation.
        operation: &'static str,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// A closure that came back with an error of its own.
    #[error("party {party}{}: {detail}", comma_step(.step))]
    Other {
        /// The party that reports.
        party: PartyId,
        /// The step it was in.
        step: String,
        /// What happened.
        detail: String,
    },
}

/// `, step conv1`; nothing where the party is in no step.
fn comma_step(step: &str) -> String {
    if step == NO_STEP { String::new() } else { format!(", step {step}") }
}
