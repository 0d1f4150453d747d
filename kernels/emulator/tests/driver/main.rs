//! The emulated driver through cudarc: its functions, every instruction, and every mistake that it must find. One
//! program, with one emulator and a device for each test (`common.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod flow;
mod host_mistakes;
mod ipc;
mod kernel_mistakes;
mod opcodes;
mod warps;
