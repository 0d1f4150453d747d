//! Products of matrices over Z_2⁶⁴ and Z_2³², the work of every linear layer. Slices and strides only: no
//! tensor, no sharing, no protocol. [`gemm_sum`] computes the sum of products that every replicated
//! multiplication is made of, zᵢ = xᵢ·(yᵢ + yᵢ₊₁) + xᵢ₊₁·yᵢ, as one product of twice the depth.
//!
//! The layers: [`MatRef`] operands are packed into panels (`pack`), blocks of the output become
//! tasks (`block`), and one micro-kernel per instruction set and ring multiplies panels (`portable`, `avx2`,
//! `avx512dq`, `avx512` and `amx`, and `halves` modulo 2³²; chosen by [`Isa`]). Products with a few rows or columns,
//! limited by the memory they read, skip the packing (`thin` and `dots`).
//!
//! With AVX-512 on AMD's processors, and with AVX2 where columns are few, rows of the left operand, weights in the main, are read where they
//! lie (`broadcast`). Others pack weights at each use and never keep them packed, which would double the memory of a network: packing them is 14 % of
//! the time of VGG-16's inference of an image of CIFAR-10 with AMX, more where images have fewer pixels. A thread keeps at most 6 MiB of buffers.
//!
//! `cargo bench -p cryptgpu-core --bench gemm` compares every instruction set with its floor.

mod block;
mod error;
mod isa;
mod pack;
mod portable;
mod thin;
mod vector;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512dq;
#[cfg(target_arch = "x86_64")]
mod broadcast;
#[cfg(target_arch = "x86_64")]
mod dots;
#[cfg(target_arch = "x86_64")]
mod halves;
#[cfg(test)]
mod tests;

use crate::ring::{Ring, Word};
use std::marker::PhantomData;

pub use error::GemmError;
pub use isa::{ISA_VARIABLE, Isa};

pub(crate) use block::{Output, PARALLEL_PRODUCTS};
pub(crate) use pack::{Concat, Lanes, Operand};
pub(crate) use vector::vectorised;

/// A matrix in a slice: element (row, column) is `data[row·row_stride + column·col_stride]`.
#[derive(Clone, Copy)]
pub struct MatRef<'a, T = u64> {
    /// The words.
    pub data: &'a [T],
    /// Words from one row to the next.
    pub row_stride: usize,
    /// Words from one column to the next.
    pub col_stride: usize,
}

impl<'a, T: Word> MatRef<'a, T> {
    /// A contiguous row-major matrix with `columns` columns.
    pub fn row_major(data: &'a [T], columns: usize) -> Self {
        MatRef { data, row_stride: columns, col_stride: 1 }
    }

    /// The transposed matrix, at no cost.
    #[must_use]
    pub fn transposed(self) -> Self {
        MatRef { data: self.data, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    /// The same words under the name of their type.
    fn cast<V: Word>(self) -> MatRef<'a, V> {
        let MatRef { data, row_stride, col_stride } = self;
        MatRef { data: bytemuck::cast_slice(data), row_stride, col_stride }
    }

    /// Does the slice hold `rows` × `columns` elements?
    fn holds(&self, rows: usize, columns: usize) -> bool {
        let last = |count: usize, stride: usize| (count - 1).checked_mul(stride);
        rows == 0
            || columns == 0
            || last(rows, self.row_stride)
                .zip(last(columns, self.col_stride))
                .and_then(|(r, c)| r.checked_add(c))
                .is_some_and(|last| last < self.data.len())
    }
}

impl<T> std::fmt::Debug for MatRef<'_, T> {
    /// Strides only: the words may be a share.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MatRef({} words, strides {}, {})", self.data.len(), self.row_stride, self.col_stride)
    }
}

/// One product of a sum: A of m × `depth` times B of `depth` × n.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a, T = u64> {
    /// Columns of A and rows of B.
    pub depth: usize,
    /// The left operand.
    pub a: MatRef<'a, T>,
    /// The right operand.
    pub b: MatRef<'a, T>,
}

/// C = A·B (or C += A·B with `accumulate`) in the ring of the words, modulo 2⁶⁴ or 2³²: A is m × k, B is k × n, C row-major m × n.
///
/// ```
/// use cryptgpu_core::device::cpu::gemm::{MatRef, gemm};
/// let (a, b) = ([1, 2, 3, u64::MAX], [5, 6, 7, 8]);
/// let mut c = [0; 4];
/// gemm(2, 2, 2, MatRef::row_major(&a, 2), MatRef::row_major(&b, 2).transposed(), &mut c, false)?;
/// assert_eq!(c, [17, 23, 9, 13]);
/// # Ok::<(), cryptgpu_core::device::cpu::gemm::GemmError>(())
/// ```
///
/// # Errors
/// When a slice is too short for its matrix, `c` is not m·n words, or `CRYPTGPU_ISA` asks for what
/// this machine cannot run. Then nothing is written.
pub fn gemm<T: Word>(
    m: usize,
    n: usize,
    k: usize,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    c: &mut [T],
    accumulate: bool,
) -> Result<(), GemmError> {
    gemm_sum(m, n, &[Term { depth: k, a, b }], c, accumulate)
}

/// C = Σₜ Aₜ·Bₜ (or C += …) in the ring of the words, in one pass over C.
///
/// # Errors
/// As [`gemm`].
pub fn gemm_sum<T: Word>(
    m: usize,
    n: usize,
    terms: &[Term<'_, T>],
    c: &mut [T],
    accumulate: bool,
) -> Result<(), GemmError> {
    gemm_with(Isa::active()?, m, n, terms, c, accumulate)
}

/// [`gemm_sum`] on a given instruction set, for tests and benches.
///
/// # Errors
/// As [`gemm`], and when this machine does not support `isa`.
pub fn gemm_with<T: Word>(
    isa: Isa,
    m: usize,
    n: usize,
    terms: &[Term<'_, T>],
    c: &mut [T],
    accumulate: bool,
) -> Result<(), GemmError> {
    let isa = isa.checked()?;
    check(m, n, terms, c)?;
    match T::RING {
        Ring::Z32 => multiply::<u32, T>(isa, [m, n], terms, c, accumulate),
        Ring::Z64 => multiply::<u64, T>(isa, [m, n], terms, c, accumulate),
    }
    Ok(())
}

/// The product of checked operands, whose words `T` are `W`.
fn multiply<W: Kernels, T: Word>(isa: Isa, [m, n]: [usize; 2], terms: &[Term<'_, T>], c: &mut [T], accumulate: bool) {
    let out = Output::matrix(bytemuck::cast_slice_mut::<T, W>(c), n, accumulate);
    let a: Vec<_> = terms.iter().map(|term| Lanes::rows(term.a.cast(), term.depth)).collect();
    let b: Vec<_> = terms.iter().map(|term| Lanes::columns(term.b.cast(), term.depth)).collect();
    product(isa, [m, n], &Concat(&a), &Concat(&b), out);
}

/// Are the slices as long as the shapes say?
fn check<T: Word>(m: usize, n: usize, terms: &[Term<'_, T>], c: &[T]) -> Result<(), GemmError> {
    let operation = "ring product";
    let Some(expected) = m.checked_mul(n) else {
        return Err(GemmError::TooLarge { operation, shape: vec![m, n] });
    };
    if c.len() != expected {
        return Err(GemmError::Output { operation, shape: vec![m, n], expected, found: c.len() });
    }
    for (term, &Term { depth, a, b }) in terms.iter().enumerate() {
        for (side, matrix, rows, columns) in [("left", a, m, depth), ("right", b, depth, n)] {
            if !matrix.holds(rows, columns) {
                let MatRef { data, row_stride, col_stride } = matrix;
                let words = data.len();
                return Err(GemmError::Operand { side, term, rows, columns, row_stride, col_stride, words });
            }
        }
    }
    Ok(())
}

/// A word that there are micro-kernels for.
pub(crate) trait Kernels: Word {
    /// The product of operands that are not thin, by the micro-kernel of an instruction set that the machine supports.
    fn multiply_packed<B: Operand<Word = Self>>(
        isa: Isa,
        size: [usize; 2],
        a: &Concat<'_, Lanes<'_, Self>>,
        b: &Concat<'_, B>,
        out: &Output<'_, Self>,
    );

    /// Products of a few gathered lanes with `count` others from `first` on, whose depths lie next to each other, added to a tile.
    fn dot_lanes(
        isa: Isa,
        few: &[Self],
        many: Lanes<'_, Self>,
        first: usize,
        count: usize,
        tile: &mut thin::Tile<Self>,
    );
}

impl Kernels for u64 {
    fn multiply_packed<B: Operand<Word = u64>>(
        isa: Isa,
        size: [usize; 2],
        a: &Concat<'_, Lanes<'_, u64>>,
        b: &Concat<'_, B>,
        out: &Output<'_, u64>,
    ) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller has checked that the machine supports the instruction set.
            Isa::Avx2 => block::multiply(|| unsafe { avx2::Wide::new() }, size, a, b, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Dq => block::multiply(|| unsafe { avx512dq::Wide::new() }, size, a, b, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 => block::multiply(|| unsafe { avx512::Avx512::new() }, size, a, b, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Amx => block::multiply(|| unsafe { amx::Amx::<u64>::new() }, size, a, b, out),
            _ => block::multiply(|| portable::Portable(PhantomData), size, a, b, out),
        }
    }

    fn dot_lanes(isa: Isa, few: &[u64], many: Lanes<'_, u64>, first: usize, count: usize, tile: &mut thin::Tile<u64>) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller has checked that the machine supports the instruction set.
            Isa::Avx512Dq | Isa::Avx512 | Isa::Amx => unsafe { dots::wide(few, many, first, count, tile) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { dots::wide_avx2(few, many, first, count, tile) },
            _ => thin::dot_lanes(few, many, first, count, tile),
        }
    }
}

impl Kernels for u32 {
    fn multiply_packed<B: Operand<Word = u32>>(
        isa: Isa,
        size: [usize; 2],
        a: &Concat<'_, Lanes<'_, u32>>,
        b: &Concat<'_, B>,
        out: &Output<'_, u32>,
    ) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller has checked that the machine supports the instruction set.
            Isa::Avx2 => block::multiply(|| unsafe { avx2::Narrow::new() }, size, a, b, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Dq => block::multiply(|| unsafe { avx512dq::Narrow::new() }, size, a, b, out),
            // Rows of few columns: reading them where they lie is twice as fast as splitting them into halves.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if size[1] <= 16 && a.by_rows() => {
                // SAFETY: as above.
                block::multiply(|| unsafe { avx512dq::Narrow::new() }, size, a, b, out)
            }
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 => block::multiply(|| unsafe { halves::Halves::new() }, size, a, b, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Amx => block::multiply(|| unsafe { amx::Amx::<u32>::new() }, size, a, b, out),
            _ => block::multiply(|| portable::Portable(PhantomData), size, a, b, out),
        }
    }

    fn dot_lanes(isa: Isa, few: &[u32], many: Lanes<'_, u32>, first: usize, count: usize, tile: &mut thin::Tile<u32>) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller has checked that the machine supports the instruction set.
            Isa::Avx512Dq | Isa::Avx512 | Isa::Amx => unsafe { dots::narrow(few, many, first, count, tile) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { dots::narrow_avx2(few, many, first, count, tile) },
            _ => thin::dot_lanes(few, many, first, count, tile),
        }
    }
}

/// The product of checked operands on a supported instruction set.
pub(crate) fn product<T: Kernels, B: Operand<Word = T>>(
    isa: Isa,
    [m, n]: [usize; 2],
    a: &Concat<'_, Lanes<'_, T>>,
    b: &Concat<'_, B>,
    out: Output<'_, T>,
) {
    if m == 0 || n == 0 {
        return;
    }
    if a.depth() == 0 {
        return out.clear();
    }
    if !thin::multiply(isa, [m, n], a, b, &out) {
        T::multiply_packed(isa, [m, n], a, b, &out);
    }
}
