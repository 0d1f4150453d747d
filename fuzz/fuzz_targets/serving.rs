#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cryptgpu_core::fuzz::run("serving", bytes));
