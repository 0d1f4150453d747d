//! The sources, part of the program: a file a family, and the headers that they include.

use crate::launch::{KernelInfo, Width};

/// Headers by the name they are included by.
pub const HEADERS: &[(&str, &str)] = &[
    ("common.cuh", include_str!("../common.cuh")),
    ("planes.cuh", include_str!("../planes.cuh")),
    ("ring_product.cuh", include_str!("../ring_product.cuh")),
];

macro_rules! families {
    ($($(#[$doc:meta])* $family:ident = $file:literal, $kernels:path;)+) => {
        /// A family of kernels: one source file, and for each ring one image, one module on the card.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Family {
            $($(#[$doc])* $family,)+
        }

        impl Family {
            /// All families.
            pub const ALL: &[Family] = &[$(Family::$family),+];

            /// The source file's name.
            pub const fn file(self) -> &'static str {
                match self {
                    $(Family::$family => $file,)+
                }
            }

            /// The source.
            pub const fn source(self) -> &'static str {
                match self {
                    $(Family::$family => include_str!(concat!("../", $file)),)+
                }
            }

            /// The widths of elements that there are images for.
            pub fn widths(self) -> impl Iterator<Item = Width> {
                Width::ALL.into_iter().filter(move |&width| self.kernels_in(width).next().is_some())
            }

            /// The kernels of the image for elements of a width.
            pub fn kernels_in(self, width: Width) -> impl Iterator<Item = &'static KernelInfo> {
                self.kernels().iter().filter(move |info| info.widths.contains(&width))
            }

            /// Its kernels.
            pub fn kernels(self) -> &'static [KernelInfo] {
                match self {
                    $(Family::$family => $kernels,)+
                }
            }
        }
    };
}

families! {
    /// Element-wise ring operations and sums.
    Elementwise = "elementwise.cu", crate::elementwise::KERNELS;
    /// Bits of words to packed planes and back.
    Bits = "bits.cu", crate::bits::KERNELS;
    /// AES-128 in counter mode.
    Aes = "aes.cu", crate::prg::AES_KERNELS;
    /// Philox4x64-10, insecure.
    Philox = "philox.cu", crate::prg::PHILOX_KERNELS;
    /// Local steps of the sign bit.
    Sign = "sign.cu", crate::sign::KERNELS;
    /// Local steps of a secret bit times a tensor.
    BitProduct = "bit_product.cu", crate::bit_product::KERNELS;
    /// Local steps of truncation.
    Truncation = "truncation.cu", crate::truncation::KERNELS;
    /// Local steps of the way between the rings.
    Extension = "extension.cu", crate::extension::KERNELS;
    /// Ring products of matrices.
    Gemm = "gemm.cu", crate::product::gemm::KERNELS;
    /// Ring convolutions.
    Conv = "conv.cu", crate::product::conv::KERNELS;
    /// Windows over images.
    Pool = "pool.cu", crate::pool::KERNELS;
}
