//! What can go wrong between a call and a kernel.

use crate::library::LibraryError;
use cudarc::driver::DriverError;

/// Why a kernel was not compiled, loaded or launched. When a launch is refused nothing is written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KernelError {
    /// libcuda or NVRTC is missing.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The compiler refused a source: a defect of this crate, or a card it does not know.
    #[error("NVRTC {version} refuses {file} for {target}:\n{log}")]
    Compile {
        /// The source.
        file: &'static str,
        /// The architecture and form asked for.
        target: String,
        /// The compiler's version.
        version: String,
        /// What it said.
        log: String,
    },
    /// The driver refused a call.
    #[error("{operation}: the CUDA driver says {source}")]
    Driver {
        /// What was attempted.
        operation: String,
        /// The driver's error.
        source: DriverError,
    },
    /// A kernel's parameters are not those of its wrapper: the image is not of these sources.
    #[error("kernel {kernel}: parameter {index} has {found} bytes in the compiled image, {expected} in its wrapper")]
    Signature {
        /// The kernel.
        kernel: &'static str,
        /// Which parameter.
        index: usize,
        /// Bytes that the wrapper passes.
        expected: usize,
        /// Bytes that the kernel reads.
        found: usize,
    },
    /// A buffer has another length than the operation needs: in elements of the ring, or in words where it holds packed bits.
    #[error("{operation}: {argument} has {found} elements or words of bits, {expected} are needed")]
    Length {
        /// The operation.
        operation: &'static str,
        /// Which argument.
        argument: &'static str,
        /// Elements or words needed.
        expected: usize,
        /// Elements or words given.
        found: usize,
    },
    /// An argument outside of what the operation can do.
    #[error("{operation}: {argument} is {found}: {rule}")]
    Argument {
        /// The operation.
        operation: &'static str,
        /// Which argument.
        argument: &'static str,
        /// What was given.
        found: String,
        /// What it must fulfil.
        rule: &'static str,
    },
    /// The card is too old for what was asked by name.
    #[error("{operation} needs compute capability {needed}, this card has {found}; use another method or a newer card")]
    Unsupported {
        /// What was asked for.
        operation: &'static str,
        /// The least compute capability.
        needed: String,
        /// The card's.
        found: String,
    },
}

impl KernelError {
    /// Wraps a driver's error with what was attempted.
    pub(crate) fn driver(operation: impl Into<String>) -> impl FnOnce(DriverError) -> KernelError {
        move |source| KernelError::Driver { operation: operation.into(), source }
    }
}
