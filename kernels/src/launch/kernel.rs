//! A kernel's declaration: name, family, block size and the types of its parameters, in one constant.

use super::{Arguments, Width};
use crate::compile::Family;
use std::marker::PhantomData;

/// What there is to know of a kernel without its types: for tests, tables and loading.
#[derive(Clone, Copy, Debug)]
pub struct KernelInfo {
    /// The family whose source holds it.
    pub family: Family,
    /// Its name there.
    pub name: &'static str,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block where elements have 64 bits ([`KernelInfo::shared_in`]).
    shared: u32,
    /// The images that have it: those of both rings, or that of 64 bits alone where it knows no elements.
    pub widths: &'static [Width],
    /// The least compute capability that has it.
    pub min_arch: u32,
    /// Sizes of its parameters in bytes.
    pub parameters: &'static [usize],
}

impl KernelInfo {
    /// Bytes of dynamic shared memory of a block: for elements of 32 bits half of what those of 64 bits need.
    pub const fn shared_in(&self, width: Width) -> u32 {
        self.shared / 64 * width.bits()
    }
}

/// A kernel with parameters of types `A`.
pub(crate) struct Kernel<A> {
    pub(crate) info: KernelInfo,
    parameters: PhantomData<fn(A)>,
}

impl<A: Arguments> Kernel<A> {
    /// The kernel `name` of `family`, launched in blocks of `threads`.
    pub(crate) const fn new(family: Family, name: &'static str, threads: u32) -> Self {
        let info =
            KernelInfo { family, name, threads, shared: 0, widths: &Width::ALL, min_arch: 70, parameters: A::SIZES };
        Kernel { info, parameters: PhantomData }
    }

    /// The kernel, launched with `bytes` of dynamic shared memory a block.
    pub(crate) const fn shared(mut self, bytes: u32) -> Self {
        self.info.shared = bytes;
        self
    }

    /// That only the image for 64 bits has.
    pub(crate) const fn of_64_bits(mut self) -> Self {
        self.info.widths = &[Width::Bits64];
        self
    }

    /// That only cards of compute capability `arch` and newer have.
    pub(crate) const fn since(mut self, arch: u32) -> Self {
        self.info.min_arch = arch;
        self
    }
}
