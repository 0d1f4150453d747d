//! Launches of kernels on views.

use super::{View, ViewMut};
use crate::device::DeviceError;
use cryptgpu_kernels::{KernelError, Kernels, Words, WordsMut};
use cudarc::driver::{CudaStream, result};

/// Runs `body`, which launches kernels on the stream it is given, on the words of `reads` and `writes`.
///
/// Nothing is returned: when the card has failed, or an operand's words are not right, or a launch is
/// refused, all of `writes` are marked with the reason, which shows when words are brought back. Every
/// operation on a card goes through here, so no operation can forget to.
pub(crate) fn launch<'a, const R: usize, const W: usize>(
    operation: &'static str,
    reads: [View<'a>; R],
    writes: [ViewMut<'a>; W],
    body: impl FnOnce(&Kernels, &CudaStream, [Words<'a>; R], [WordsMut<'a>; W]) -> Result<(), KernelError>,
) {
    let run = || {
        let allocations = || reads.iter().map(|view| view.allocation).chain(writes.iter().map(|view| view.allocation));
        for allocation in allocations() {
            allocation.check()?;
        }
        // Words that are right and have no place are none at all.
        let Some(&(card, _)) = allocations().find_map(|allocation| allocation.place.as_ref()) else { return Ok(()) };
        card.check()?;
        for allocation in allocations() {
            if allocation.device() != card.device() {
                let (found, expected) = (allocation.device(), card.device());
                return Err(DeviceError::Mixed { operation, found, expected });
            }
            allocation.settle(card)?;
        }
        let result = body(
            &card.kernels,
            &card.compute,
            reads.each_ref().map(View::words),
            writes.each_ref().map(ViewMut::words),
        );
        result.map_err(|error| match error {
            KernelError::Driver { .. } => card.fail(operation, &error),
            refused => DeviceError::Kernel { operation, detail: refused.to_string() },
        })
    };
    if let Err(error) = run() {
        for view in &writes {
            view.allocation.mark(error.clone());
        }
    }
}

/// Copies words within a card, from one buffer to another of the same length.
pub(crate) fn copy(from: View, to: ViewMut) {
    let (source, target) = (from.address(), to.address());
    launch("copying within a card", [from], [to], |_, stream, [from], [to]| {
        if from.len() != to.len() {
            let (operation, argument) = ("copying within a card", "the target");
            return Err(KernelError::Length { operation, argument, expected: from.len(), found: to.len() });
        }
        if from.is_empty() {
            return Ok(());
        }
        let failed = |source| KernelError::Driver { operation: "copying within a card".to_owned(), source };
        stream.context().bind_to_thread().map_err(failed)?;
        // SAFETY: both lie in live allocations with so many words, and overlap nowhere: one is borrowed uniquely.
        unsafe { result::memcpy_dtod_async(target, source, 8 * from.len(), stream.cu_stream()) }.map_err(failed)
    });
}
