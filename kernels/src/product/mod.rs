//! Ring products (`gemm.cu`, `conv.cu`, `ring_product.cuh`): sums of two products of matrices or two convolutions
//! modulo 2⁶⁴ or 2³², by the method that suits card and shape. What is chosen is decided in `choose` alone.

mod choose;
pub(crate) mod conv;
pub(crate) mod gemm;

pub use choose::{Method, Plan, Route};
pub use conv::{Conv2d, ConvTerm};
pub use gemm::{Matrix, Term};

use crate::launch::Argument;

/// Threads of a block in all product kernels.
const THREADS: u32 = 256;
/// Bytes of shared memory of the int8 kernels for 64 bits: two buffers of both operands' tiles, 64 lanes × 32 deep × 8 bytes.
const INT8_SHARED: u32 = 2 * 2 * 64 * 32 * 8;
/// Compute capability from which there is `mma.m16n8k32` on 8-bit integers.
const INT8_ARCH: u32 = 80;
/// How many limbs the kernels in doubles exist for.
const LIMBS: [u32; 4] = [2, 3, 4, 8];

/// Division of numbers below 2³¹ by multiplication: `Divisor` of `ring_product.cuh`.
///
/// With s = ⌈log₂ d⌉ and m = ⌈2^(31+s) / d⌉, n·m / 2^(31+s) exceeds n/d by n·e / (d·2^(31+s)) where
/// e = m·d − 2^(31+s) < d ≤ 2^s. For n < 2³¹ that is less than 1/d, too little to reach the next integer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Divisor {
    divisor: u32,
    multiplier: u32,
    shift: u32,
    unused: u32,
}

// SAFETY: four `u32`, as in CUDA.
unsafe impl Argument for Divisor {}

impl Divisor {
    /// For d of 1 to 2³¹; 0 stands for an empty shape, where nothing is divided.
    fn new(divisor: u32) -> Self {
        let divisor = divisor.max(1);
        let shift = 31 + (32 - (divisor - 1).leading_zeros());
        // Below 2³² because d > 2^(s−1).
        let multiplier = (1u64 << shift).div_ceil(u64::from(divisor)) as u32;
        Divisor { divisor, multiplier, shift, unused: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_by_multiplication_is_exact() {
        let divisors = (1..200).chain([255, 256, 257, 3025, 12_544, 50_176, 65_535, 65_536, 65_537, (1 << 31) - 1]);
        for d in divisors {
            let Divisor { multiplier, shift, .. } = Divisor::new(d);
            let divide = |n: u32| ((u64::from(n) * u64::from(multiplier)) >> shift) as u32;
            let multiples = (0..40).map(|i| ((1u64 << 31) - 1) * i / 40 / u64::from(d) * u64::from(d));
            for n in multiples.flat_map(|m| [m.saturating_sub(1), m, m + 1]).chain([0, (1 << 31) - 1]) {
                let n = (n as u32).min((1 << 31) - 1);
                assert_eq!(divide(n), n / d, "{n} / {d}");
            }
        }
    }
}
