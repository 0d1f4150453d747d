//! The sources, part of the program: a file a family, and the headers that they include.

use crate::launch::KernelInfo;

/// A family of kernels: one source file, one image, one module on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Element-wise ring operations, sums and copies.
    Elementwise,
}

/// Headers by the name they are included by.
pub const HEADERS: &[(&str, &str)] = &[("common.cuh", include_str!("../common.cuh"))];

impl Family {
    /// All families.
    pub const ALL: &[Family] = &[Family::Elementwise];

    /// The source file's name.
    pub const fn file(self) -> &'static str {
        match self {
            Family::Elementwise => "elementwise.cu",
        }
    }

    /// The source.
    pub const fn source(self) -> &'static str {
        match self {
            Family::Elementwise => include_str!("../elementwise.cu"),
        }
    }

    /// Its kernels.
    pub fn kernels(self) -> &'static [KernelInfo] {
        match self {
            Family::Elementwise => crate::elementwise::KERNELS,
        }
    }
}
