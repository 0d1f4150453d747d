//! What can be wrong with a ring product's arguments.

use super::isa::{ISA_VARIABLE, Isa};
use crate::device::GeometryError;

/// Why a ring product or convolution was refused. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GemmError {
    /// A slice does not hold the matrix it is said to hold.
    #[error(
        "ring product: the {side} matrix of term {term}, [{rows}, {columns}] with strides \
         ({row_stride}, {col_stride}), reaches beyond its {words} words"
    )]
    Operand {
        /// Left or right.
        side: &'static str,
        /// Which term of the sum.
        term: usize,
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
        /// Words from one row to the next.
        row_stride: usize,
        /// Words from one column to the next.
        col_stride: usize,
        /// Length of the slice.
        words: usize,
    },
    /// The output slice has another length than the result.
    #[error("{operation}: the output {shape:?} has {expected} words, its slice {found}")]
    Output {
        /// Product or convolution.
        operation: &'static str,
        /// Shape of the result.
        shape: Vec<usize>,
        /// Words of the result.
        expected: usize,
        /// Words of the slice.
        found: usize,
    },
    /// A tensor of a convolution has another length than its shape.
    #[error("ring convolution: the {what} of term {term} is {shape:?}, {expected} words, its slice has {found}")]
    Tensor {
        /// Input or weight.
        what: &'static str,
        /// Which term of the sum.
        term: usize,
        /// Its shape.
        shape: [usize; 4],
        /// Words of the shape.
        expected: usize,
        /// Words of the slice.
        found: usize,
    },
    /// A number of words does not fit the address space.
    #[error("{operation}: the shape {shape:?} has more words than can be addressed")]
    TooLarge {
        /// Product or convolution.
        operation: &'static str,
        /// The shape.
        shape: Vec<usize>,
    },
    /// The window does not fit the input.
    #[error("ring convolution: {0}")]
    Geometry(#[from] GeometryError),
    /// `CRYPTGPU_ISA` holds an unknown name.
    #[error("{ISA_VARIABLE}={name}: no such instruction set; use portable, avx2, avx512dq, avx512 or amx, or unset it")]
    UnknownIsa {
        /// What was given.
        name: String,
    },
    /// This machine cannot run the implementation that was asked for.
    #[error(
        "this machine cannot run the {isa} ring product (the fastest it can run is {}); unset {ISA_VARIABLE}",
        Isa::detect()
    )]
    UnsupportedIsa {
        /// What was asked for.
        isa: Isa,
    },
}
