//! The CPU implementation of the tensor API: functions on slices, one file a family of
//! operations, with the widest vectors that the processor has. What computes with elements is written
//! once over the word of the ring ([`crate::ring::Word`]).

pub mod bit_product;
pub mod bits;
pub mod conv;
mod copy;
pub mod elementwise;
pub mod extension;
pub mod gemm;
pub mod gradient;
mod parallel;
mod planes;
pub mod pool;
pub mod product;
mod rows;
pub mod sign;
#[cfg(test)]
mod tests;
pub mod truncation;
