//! The CPU implementation of the tensor API.

pub mod conv;
pub mod gemm;
