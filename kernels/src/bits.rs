//! Bits of words to packed planes and back (`bits.cu`).

use crate::KernelError;
use crate::check::{fits, packed};
use crate::compile::Family;
use crate::launch::{Element, In, InOut, Kernel, KernelInfo, Kernels, Words, WordsMut};
use cudarc::driver::CudaStream;

const THREADS: u32 = 256;
const TO_PLANES: Kernel<(u32, u32, In, InOut, u64)> = Kernel::new(Family::Bits, "to_planes", THREADS);
const FROM_PLANES: Kernel<(u32, In, InOut, u64)> = Kernel::new(Family::Bits, "from_planes", THREADS);

pub(crate) const KERNELS: &[KernelInfo] = &[TO_PLANES.info, FROM_PLANES.info];

impl Kernels {
    /// `planes` = bits `low .. low + width` of every element of `x`, packed; zero where a group has no element.
    ///
    /// # Errors
    /// [`KernelError::Argument`] unless 1 ≤ width and low + width are at most the element's bits, [`KernelError::Length`] unless `planes` has
    /// width·⌈n/64⌉ words; errors of compilation and launch.
    pub fn to_planes<W: Element>(
        &self,
        stream: &CudaStream,
        low: u32,
        width: u32,
        x: Words<W>,
        mut planes: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n, bits) = ("words to planes", x.len(), W::WIDTH.bits());
        let low = fits(operation, "lowest bit", low, 0..bits)?;
        let width = fits(operation, "number of bits", width, 1..bits + 1 - low)?;
        packed(operation, [("planes", planes.len())], width as usize, n)?;
        let arguments = (low, width, x.device(), planes.device(), n as u64);
        self.launch::<W, _>(stream, &TO_PLANES, self.grid_of_units(&TO_PLANES, n), arguments)
    }

    /// `out` = the values below 2^width whose bits `planes` has: the inverse of [`Kernels::to_planes`] at low 0.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a width outside 1 to the element's bits, [`KernelError::Length`] unless `planes` has
    /// width·⌈n/64⌉ words; errors of compilation and launch.
    pub fn from_planes<W: Element>(
        &self,
        stream: &CudaStream,
        width: u32,
        planes: Words,
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("planes to words", out.len());
        let width = fits(operation, "number of bits", width, 1..W::WIDTH.bits() + 1)?;
        packed(operation, [("planes", planes.len())], width as usize, n)?;
        let arguments = (width, planes.device(), out.device(), n as u64);
        self.launch::<W, _>(stream, &FROM_PLANES, self.grid_of_units(&FROM_PLANES, n), arguments)
    }
}
