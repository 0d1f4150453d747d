//! A CUDA driver for tests: a `libcuda.so` that interprets PTX on the CPU and reports what a kernel or its host code does
//! wrong. Programs open it in place of NVIDIA's driver; nothing in them changes. The README says how, and what it
//! checks.
//!
//! Layers, each using only those before it: `ptx` (text to syntax tree), `lanes` (what a pure instruction does to 32
//! lanes), `checks` (reports and clocks), `memory` (memory with shadows), `ir` (the executable form), `exec` (execution
//! of a kernel), `driver` (the driver's functions, streams and modules). `client` is for the tests of other crates: it
//! opens the library and asks it for reports and statistics.

mod checks;
pub mod client;
pub mod driver;
mod exec;
mod ir;
mod lanes;
mod memory;
mod ptx;
mod settings;
mod statistics;

pub use checks::{Check, Report};
pub(crate) use settings::settings;
pub use statistics::{KernelStatistics, Statistics};
