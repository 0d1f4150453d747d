//! A card that this process uses: opened at first use, kept until the process ends.

use super::blocks::Pool;
use super::marks::{Mark, Marks};
use super::transfer::Staging;
use crate::device::{Device, DeviceError};
use cryptgpu_kernels::{Kernels, Options, library};
use cudarc::driver::{CudaContext, CudaStream, DriverError};
use std::sync::{Arc, OnceLock};

/// More cards than a host has.
const MAX_CARDS: usize = 64;

/// One card: its context, its streams, its kernels and its memory.
pub(crate) struct Card {
    ordinal: u32,
    name: String,
    context: Arc<CudaContext>,
    /// Where kernels run, copies within the card, and small copies.
    pub(super) compute: Arc<CudaStream>,
    /// Large copies from main memory.
    pub(super) upload: Arc<CudaStream>,
    /// Large copies to main memory.
    pub(super) download: Arc<CudaStream>,
    pub(super) kernels: Kernels,
    pub(super) pool: Pool,
    pub(super) staging: Staging,
    marks: Marks,
    fault: OnceLock<DeviceError>,
}

static CARDS: [OnceLock<Result<Card, DeviceError>>; MAX_CARDS] = [const { OnceLock::new() }; MAX_CARDS];

/// Zeroes the memory that this process keeps on cards and returns it: for the end of a program, so that no
/// share is left behind. Buffers that are still in use stay as they are.
pub fn leave() {
    for card in CARDS.iter().filter_map(OnceLock::get).flatten() {
        // A card that has failed keeps its memory until the process ends.
        let _ = card.trim();
    }
}

/// The card of that number, opened if it is not.
///
/// # Errors
/// [`DeviceError::Unavailable`] with what is missing; the same at every later call.
pub(crate) fn card(ordinal: u32) -> Result<&'static Card, DeviceError> {
    let Some(slot) = CARDS.get(ordinal as usize) else {
        return Err(unavailable(ordinal, &format!("no host has more than {MAX_CARDS} cards")));
    };
    slot.get_or_init(|| Card::open(ordinal)).as_ref().map_err(Clone::clone)
}

fn unavailable(ordinal: u32, reason: &dyn std::fmt::Display) -> DeviceError {
    DeviceError::Unavailable { device: Device::Cuda(ordinal).to_string(), reason: reason.to_string() }
}

impl Card {
    fn open(ordinal: u32) -> Result<Self, DeviceError> {
        library::driver().map(drop).map_err(|error| unavailable(ordinal, &error))?;
        let refused = |error: DriverError| unavailable(ordinal, &format!("the CUDA driver says {error}"));
        let count = CudaContext::device_count().map_err(refused)?;
        if i64::from(ordinal) >= i64::from(count) {
            return Err(unavailable(ordinal, &format!("this machine has {count} CUDA cards, counted from 0")));
        }
        let context = CudaContext::new(ordinal as usize).map_err(refused)?;
        // Memory here is held in no slice of cudarc's, so cudarc's tracking of uses is not wanted.
        // SAFETY: no slice of cudarc is ever made in this context.
        unsafe { context.disable_event_tracking() };
        let stream = || context.new_stream().map_err(refused);
        let (compute, upload, download) = (stream()?, stream()?, stream()?);
        let kernels =
            Kernels::new(&context, Options::from_environment()).map_err(|error| unavailable(ordinal, &error))?;
        let name = context.name().map_err(refused)?;
        let (pool, staging, marks) = (Pool::from_environment(), Staging::default(), Marks::default());
        let fault = OnceLock::new();
        Ok(Card { ordinal, name, context, compute, upload, download, kernels, pool, staging, marks, fault })
    }

    pub(crate) fn device(&self) -> Device {
        Device::Cuda(self.ordinal)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// The fault that ended the use of this card, if there was one.
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        self.fault.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// Ends the use of this card: the driver failed in a way that leaves nothing to be trusted.
    pub(super) fn fail(&self, operation: &str, source: &dyn std::fmt::Display) -> DeviceError {
        let fault = || DeviceError::Fault {
            device: self.device(),
            operation: operation.to_owned(),
            detail: source.to_string(),
        };
        self.fault.get_or_init(fault).clone()
    }

    /// Passes a result of the driver on; an error ends the use of this card.
    pub(super) fn driver<T>(&self, operation: &str, result: Result<T, DriverError>) -> Result<T, DeviceError> {
        result.map_err(|error| self.fail(operation, &error))
    }

    /// Marks the end of what `stream` has been given so far.
    pub(super) fn mark(&self, stream: &CudaStream) -> Result<Mark, DeviceError> {
        self.driver("marking a point of a stream", self.marks.set(&self.context, stream))
    }

    /// Makes what `stream` is given from now on wait for `mark`.
    pub(super) fn order(&self, stream: &CudaStream, mark: &Mark) -> Result<(), DeviceError> {
        self.driver("ordering streams", mark.order(stream))
    }
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.device(), self.name)
    }
}
