//! Launches of kernels on views.

use super::words::Allocation;
use super::{Card, View, ViewMut};
use crate::device::DeviceError;
use cryptgpu_kernels::{KernelError, Kernels, Words, WordsMut};
use cudarc::driver::{CudaStream, result};

/// Runs `body`, which launches kernels on the stream it is given, on the words of `reads` and `writes`.
///
/// Nothing is returned: when the card has failed, or an operand's words are not right, or a launch is
/// refused, all of `writes` are marked with the reason, which shows when words are brought back. Every
/// operation on a card goes through here or through [`launch_all`], so no operation can forget to.
pub(crate) fn launch<'a, const R: usize, const W: usize>(
    operation: &'static str,
    reads: [View<'a>; R],
    writes: [ViewMut<'a>; W],
    body: impl FnOnce(&Kernels, &CudaStream, [Words<'a>; R], [WordsMut<'a>; W]) -> Result<(), KernelError>,
) {
    let read = reads.each_ref().map(|view| view.allocation);
    let written = writes.each_ref().map(|view| view.allocation);
    marked(operation, &read, &written, |card| {
        let (reads, writes) = (reads.each_ref().map(View::words), writes.each_ref().map(ViewMut::words));
        body(&card.kernels, &card.compute, reads, writes)
    });
}

/// [`launch`] for as many operands as there are: `body` has their words from its own views.
pub(crate) fn launch_all(
    operation: &'static str,
    reads: &[View],
    writes: Vec<&Allocation>,
    body: impl FnOnce(&Kernels, &CudaStream) -> Result<(), KernelError>,
) {
    let reads: Vec<&Allocation> = reads.iter().map(|view| view.allocation).collect();
    marked(operation, &reads, &writes, |card| body(&card.kernels, &card.compute));
}

/// Runs `body` on the operands' card, behind the copies that bring their words; marks what is written where that cannot be.
fn marked(
    operation: &'static str,
    reads: &[&Allocation],
    writes: &[&Allocation],
    body: impl FnOnce(&Card) -> Result<(), KernelError>,
) {
    let run = || {
        let allocations = || reads.iter().chain(writes).copied();
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
        body(card).map_err(|error| match error {
            KernelError::Driver { .. } => card.fail(operation, &error),
            refused => DeviceError::Kernel { operation, detail: refused.to_string() },
        })
    };
    if let Err(error) = run() {
        for allocation in writes {
            allocation.mark(error.clone());
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
