//! The kernels: they compile for every architecture, have the machine code that speed rests on, and compute what the
//! CPU's kernels compute. One program, so that each kernel is compiled once; what looks for libraries anew starts
//! processes of its own (`library.rs`), and mistakes that the emulator must report have a program of their own
//! (`../seeded.rs`).

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod compile;
mod execute;
mod library;
mod machine_code;
#[path = "../support/mod.rs"]
mod support;
