//! What can go wrong in a protocol.

use super::CheckRange;
use crate::device::DeviceError;
use crate::net::{NO_STEP, NetError, PartyId, Unsent};
use crate::ring::{Ring, RingError};
use std::any::Any;
use std::error::Error;
use std::fmt;

/// An error of a protocol. `?` makes one of what a link, a device or the codec says; [`super::Party::step`] adds the
/// party and the innermost step.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MpcError {
    /// A link failed; the error names party, peer and step.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A neighbour sent an array of another type than the one that was waited for.
    #[error(
        "party {party}{}: expected {expected} from party {peer}, got {got}: both ends must name the same types in the \
         same order", comma_step(.step)
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
    /// A local operation refused its operands, or a device failed.
    #[error("{at}{source}")]
    Device {
        /// Where.
        at: Origin,
        /// What the device said.
        source: DeviceError,
    },
    /// A value that does not fit the ring.
    #[error("{at}{source}")]
    Ring {
        /// Where.
        at: Origin,
        /// What the codec said.
        source: RingError,
    },
    /// Arguments that make no sense together.
    #[error("{at}{operation}: {detail}")]
    Argument {
        /// Where.
        at: Origin,
        /// The operation.
        operation: &'static str,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// A value has left the range of its arithmetic, so that results are wrong ([`CheckRange`]).
    #[error("{at}{}", range_advice(*.check, *.fraction_bits, *.ring, *.training))]
    Range {
        /// Where: the layer, when one bit is opened for each.
        at: Origin,
        /// What was looked for.
        check: CheckRange,
        /// Fraction bits of the codec.
        fraction_bits: u32,
        /// Its ring.
        ring: Ring,
        /// Whether it was in an iteration of a training, where a lower rate keeps values smaller.
        training: bool,
    },
    /// An error of a protocol's author.
    #[error("{at}{detail}")]
    Other {
        /// Where.
        at: Origin,
        /// What happened.
        detail: String,
    },
}

/// The party and step of an error: unknown until the step that it happened in has ended.
///
/// It prints as the beginning of a message, `party 1, step conv1: `, and as nothing while it is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin(Option<(PartyId, String)>);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((party, step)) => write!(f, "party {party}{}: ", comma_step(step)),
            None => Ok(()),
        }
    }
}

impl From<DeviceError> for MpcError {
    fn from(source: DeviceError) -> Self {
        MpcError::Device { at: Origin::default(), source }
    }
}

impl From<Unsent> for MpcError {
    fn from(error: Unsent) -> Self {
        match error {
            Unsent::Device(source) => source.into(),
            Unsent::Net(error) => error.into(),
        }
    }
}

impl From<RingError> for MpcError {
    fn from(source: RingError) -> Self {
        MpcError::Ring { at: Origin::default(), source }
    }
}

impl MpcError {
    /// An error of a protocol's author, in words.
    pub fn other(detail: impl fmt::Display) -> Self {
        MpcError::Other { at: Origin::default(), detail: detail.to_string() }
    }

    pub(super) fn argument(operation: &'static str, detail: String) -> Self {
        MpcError::Argument { at: Origin::default(), operation, detail }
    }

    /// The step that it happened in; empty while that is unknown.
    pub fn step(&self) -> &str {
        match self {
            MpcError::Net(error) => error.step(),
            MpcError::Message { step, .. } => step,
            MpcError::Device { at, .. }
            | MpcError::Ring { at, .. }
            | MpcError::Argument { at, .. }
            | MpcError::Range { at, .. }
            | MpcError::Other { at, .. } => at.0.as_ref().map_or("", |(_, step)| step),
        }
    }

    /// The other end of the link that it is about, if it is about one.
    pub fn peer(&self) -> Option<PartyId> {
        match self {
            MpcError::Net(error) => error.peer(),
            MpcError::Message { peer, .. } => Some(*peer),
            _ => None,
        }
    }

    /// The same, of an iteration of a training.
    #[must_use]
    pub(crate) fn in_training(mut self) -> Self {
        if let MpcError::Range { training, .. } = &mut self {
            *training = true;
        }
        self
    }

    /// The same with party and step, where it does not name them yet.
    #[must_use]
    pub(crate) fn located(mut self, party: PartyId, step: &str) -> Self {
        self.locate(party, step);
        self
    }

    fn locate(&mut self, party: PartyId, step: &str) {
        match self {
            MpcError::Net(_) | MpcError::Message { .. } => {}
            MpcError::Device { at, .. }
            | MpcError::Ring { at, .. }
            | MpcError::Argument { at, .. }
            | MpcError::Range { at, .. }
            | MpcError::Other { at, .. } => {
                at.0.get_or_insert_with(|| (party, step.to_owned()));
            }
        }
    }
}

/// Adds party and step to an error of a protocol, as it is or in a box; leaves any other error as it is.
pub(super) fn locate(error: &mut dyn Any, party: PartyId, step: &str) {
    if let Some(error) = error.downcast_mut::<MpcError>() {
        error.locate(party, step);
    } else if let Some(boxed) = error.downcast_mut::<Box<dyn Error + Send + Sync>>() {
        if let Some(error) = boxed.downcast_mut::<MpcError>() {
            error.locate(party, step);
        }
    } else if let Some(boxed) = error.downcast_mut::<Box<dyn Error>>()
        && let Some(error) = boxed.downcast_mut::<MpcError>()
    {
        error.locate(party, step);
    }
}

/// What has happened, and what to do.
fn range_advice(check: CheckRange, fraction_bits: u32, ring: Ring, training: bool) -> String {
    let bits = ring.range_bits();
    let rate = if training { "lower the learning rate, " } else { "" };
    let remedy = format!("{rate}use fewer fraction bits than {fraction_bits}, or scale weights or inputs down");
    match check {
        CheckRange::Layers => format!(
            "a value has left the range of the fixed-point numbers here (products must stay below 2^{bits}), so that results \
             are wrong: {remedy}"
        ),
        CheckRange::Off | CheckRange::Run => format!(
            "a value has left the range of the fixed-point numbers in this run, so that its results are wrong: \
             CheckRange::Layers (--check-range=layers) names the layer, and where weights are at hand so does `cryptgpu range`; \
             then {remedy}"
        ),
    }
}

/// `, step conv1`; nothing where the party is in no step.
fn comma_step(step: &str) -> String {
    if step == NO_STEP { String::new() } else { format!(", step {step}") }
}
