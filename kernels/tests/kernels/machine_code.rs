//! The machine code has what speed rests on: tensor-core instructions on 8-bit integers, vectorised
//! access to shared memory, no local memory where tables and limbs must stay in registers.

use super::support::{disassemble, nvdisasm, nvrtc};
use cryptgpu_kernels::Width;
use cryptgpu_kernels::compile::Family;

/// The instructions of one kernel.
fn kernel<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(".text.{name}:");
    let body = code.split(&start).nth(1).unwrap_or_else(|| panic!("no code of {name}"));
    let end = body.find(".section").unwrap_or(body.len());
    body[..end].lines().filter(|line| line.contains("/*")).collect()
}

fn count(lines: &[&str], instruction: &str) -> usize {
    lines.iter().filter(|line| line.contains(instruction)).count()
}

#[test]
fn int8_products_run_on_tensor_cores() {
    let Some(nvdisasm) = nvdisasm() else { return };
    if !nvrtc() {
        return;
    }
    for arch in [80, 90] {
        for (family, name) in [(Family::Gemm, "gemm_int8"), (Family::Conv, "conv_int8")] {
            // Products of limbs for each of 2 × 2 fragments, and nothing else multiplies.
            for (width, products) in [(Width::Bits64, 36), (Width::Bits32, 10)] {
                let code = disassemble(&nvdisasm, family, width, arch);
                let lines = kernel(&code, name);
                assert_eq!(count(&lines, "IMMA.16832.U8.U8"), 4 * products, "{name}, sm_{arch}, {width}");
                assert_eq!(count(&lines, "LDL") + count(&lines, "STL"), 0, "{name}, sm_{arch}, {width}, local memory");
            }
        }
    }
}

#[test]
fn aes_uses_no_local_memory_and_only_shared_tables() {
    let Some(nvdisasm) = nvdisasm() else { return };
    if !nvrtc() {
        return;
    }
    for arch in [80, 90] {
        let code = disassemble(&nvdisasm, Family::Aes, Width::Bits64, arch);
        for (name, streams) in [("aes_fill", 1), ("aes_add_zero", 2), ("aes_xor_zero", 2)] {
            let lines = kernel(&code, name);
            assert_eq!(count(&lines, "LDL") + count(&lines, "STL"), 0, "{name}, sm_{arch}, local memory");
            let lookups = count(&lines, "LDS");
            assert_eq!(lookups % (160 * streams), 0, "{name}, sm_{arch}: {lookups} look-ups in shared memory");
            assert!(lookups > 0);
        }
    }
}
