//! Every launch function runs on the emulated card (or a real one, with `CRYPTGPU_TEST_GPU`) and gives
//! the bits of the CPU's kernels, at sizes around warps, packed groups and blocks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "execute/elementwise.rs"]
mod elementwise;
#[path = "execute/packed.rs"]
mod packed;
#[path = "execute/pool.rs"]
mod pool;
#[path = "execute/prg.rs"]
mod prg;
#[path = "execute/product.rs"]
mod product;
mod support;
