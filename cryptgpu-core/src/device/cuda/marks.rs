//! Points in a card's streams that other streams and the host wait for: events of the driver, which are made once and used
//! again, because making one costs as much as a small copy. What waits for what is decided where the marks are set.

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError};
use parking_lot::Mutex;
use std::sync::Arc;

/// The events of a card that mark nothing at the moment.
#[derive(Default)]
pub(super) struct Marks {
    idle: Arc<Mutex<Vec<CudaEvent>>>,
}

/// The end of what a stream had been given when this was made. Its event goes back when the last copy is dropped: whoever
/// was told to wait for it waits for that point all the same, whatever the event marks next.
#[derive(Clone)]
pub(super) struct Mark(Arc<Held>);

struct Held {
    event: Option<CudaEvent>,
    idle: Arc<Mutex<Vec<CudaEvent>>>,
}

impl Marks {
    /// Marks the end of what `stream` has been given so far.
    pub(super) fn set(&self, context: &Arc<CudaContext>, stream: &CudaStream) -> Result<Mark, DriverError> {
        let idle = self.idle.lock().pop();
        let event = match idle {
            Some(event) => event,
            None => context.new_event(None)?,
        };
        event.record(stream)?;
        Ok(Mark(Arc::new(Held { event: Some(event), idle: Arc::clone(&self.idle) })))
    }
}

impl Mark {
    /// Makes what `stream` is given from now on wait for this point.
    pub(super) fn order(&self, stream: &CudaStream) -> Result<(), DriverError> {
        self.0.event.as_ref().map_or(Ok(()), |event| stream.wait(event))
    }

    /// Waits for this point.
    pub(super) fn wait(&self) -> Result<(), DriverError> {
        self.0.event.as_ref().map_or(Ok(()), CudaEvent::synchronize)
    }

    /// Whether this point has been passed.
    pub(super) fn is_passed(&self) -> Result<bool, DriverError> {
        self.0.event.as_ref().map_or(Ok(true), CudaEvent::try_is_complete)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.idle.lock().extend(self.event.take());
    }
}
