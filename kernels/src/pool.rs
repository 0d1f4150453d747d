//! Windows over image planes (`pool.cu`).

use crate::KernelError;
use crate::check::{equal, narrow};
use crate::compile::Family;
use crate::launch::{Argument, Element, In, InOut, Kernel, KernelInfo, Kernels, Words, WordsMut};
use cudarc::driver::CudaStream;

const THREADS: u32 = 256;
const SUM_POOL: Kernel<(RawWindow, In, InOut, u64)> = Kernel::new(Family::Pool, "sum_pool", THREADS);
const POOL_TAP: Kernel<(RawWindow, u32, u32, u64, In, InOut, u64)> = Kernel::new(Family::Pool, "pool_tap", THREADS);

const SPREAD: Kernel<(RawWindow, u64, In, InOut, u64)> = Kernel::new(Family::Pool, "spread", THREADS);

pub(crate) const KERNELS: &[KernelInfo] = &[SUM_POOL.info, POOL_TAP.info, SPREAD.info];

/// A window that slides over image planes. Pairs are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Input height and width.
    pub input: [usize; 2],
    /// Output height and width.
    pub output: [usize; 2],
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Stride.
    pub stride: [usize; 2],
    /// Padding above and to the left; what lies below and to the right follows from the output's size.
    pub before: [usize; 2],
    /// Distance between the kernel's taps.
    pub dilation: [usize; 2],
}

/// `Window` of `pool.cu` and `conv.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawWindow([u32; 12]);

// SAFETY: twelve `u32`, as in CUDA.
unsafe impl Argument for RawWindow {}

impl Window {
    /// As kernels take it: all coordinates in 32 bits.
    pub(crate) fn raw(&self, operation: &'static str) -> Result<RawWindow, KernelError> {
        let [height, width] = self.input;
        // The largest coordinates that kernels compute, padding included.
        for axis in 0..2 {
            let last = self.output[axis].saturating_mul(self.stride[axis]);
            let tap = self.kernel[axis].saturating_mul(self.dilation[axis]);
            let reach = last.saturating_add(tap).saturating_add(self.input[axis]).saturating_add(self.before[axis]);
            narrow(operation, "reach of the window", reach, i32::MAX as usize)?;
        }
        for pixels in [height.saturating_mul(width), self.output[0].saturating_mul(self.output[1])] {
            narrow(operation, "pixels of a plane", pixels, u32::MAX as usize)?;
        }
        let pairs = [self.input, self.output, self.kernel, self.stride, self.before, self.dilation];
        let mut raw = [0; 12];
        for (raw, value) in raw.iter_mut().zip(pairs.as_flattened()) {
            *raw = narrow(operation, "size of the window", *value, i32::MAX as usize)?;
        }
        Ok(RawWindow(raw))
    }

    /// Planes of the input, and checks that the output has as many.
    fn planes(&self, operation: &'static str, x: usize, out: usize) -> Result<(), KernelError> {
        let (from, to) = (self.input[0] * self.input[1], self.output[0] * self.output[1]);
        if from == 0 || !x.is_multiple_of(from) {
            let (argument, found) = ("input", format!("{x} elements, {from} a plane"));
            return Err(KernelError::Argument { operation, argument, found, rule: "it must be whole planes" });
        }
        equal(operation, [("output", out)], x / from * to)
    }
}

impl Kernels {
    /// `out` = the sum over each window of every plane of `x`, padding counting as zero.
    ///
    /// # Errors
    /// [`KernelError::Length`] or [`KernelError::Argument`] unless both are the same number of whole planes of at
    /// most 2³² pixels; errors of compilation and launch.
    pub fn sum_pool<W: Element>(
        &self,
        stream: &CudaStream,
        window: &Window,
        x: Words<W>,
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("sum pooling", out.len());
        window.planes(operation, x.len(), n)?;
        let arguments = (window.raw(operation)?, x.device(), out.device(), n as u64);
        self.launch::<W, _>(stream, &SUM_POOL, self.grid(&SUM_POOL, n), arguments)
    }

    /// `out` = tap (ky, kx) of each window of every plane of `x`, `fill` where that is padding.
    ///
    /// # Errors
    /// As [`Kernels::sum_pool`], and [`KernelError::Argument`] for a tap outside of the kernel.
    pub fn pool_tap<W: Element>(
        &self,
        stream: &CudaStream,
        window: &Window,
        [ky, kx]: [usize; 2],
        fill: u64,
        x: Words<W>,
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("max pooling", out.len());
        window.planes(operation, x.len(), n)?;
        let raw = window.raw(operation)?;
        let ky = crate::check::fits(operation, "row of the tap", ky, 0..window.kernel[0])?;
        let kx = crate::check::fits(operation, "column of the tap", kx, 0..window.kernel[1])?;
        // Both are below the kernel's size, which `raw` has found to fit.
        let arguments = (raw, ky as u32, kx as u32, fill, x.device(), out.device(), n as u64);
        self.launch::<W, _>(stream, &POOL_TAP, self.grid(&POOL_TAP, n), arguments)
    }

    /// The adjoint of [`Kernels::sum_pool`] and [`Kernels::pool_tap`]: `out` = for every input of every plane the sum
    /// over the windows that see it, of the window's element of `g`, or with `by_tap` of the element of `g` of the tap that
    /// sees it (all windows of the first tap, then all of the second, …).
    ///
    /// # Errors
    /// As [`Kernels::sum_pool`].
    pub fn spread<W: Element>(
        &self,
        stream: &CudaStream,
        window: &Window,
        by_tap: bool,
        g: Words<W>,
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("spreading over windows", out.len());
        let taps = if by_tap { window.kernel[0].saturating_mul(window.kernel[1]).max(1) } else { 1 };
        let words = g.len() / taps;
        window.planes(operation, n, words)?;
        equal(operation, [("elements of the windows", g.len())], words.saturating_mul(taps))?;
        let tap_words = if by_tap { words as u64 } else { 0 };
        let arguments = (window.raw(operation)?, tap_words, g.device(), out.device(), n as u64);
        self.launch::<W, _>(stream, &SPREAD, self.grid(&SPREAD, n), arguments)
    }
}
