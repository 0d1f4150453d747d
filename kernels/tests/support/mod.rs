//! What the tests of this crate share: NVIDIA's tools from the Python packages, and temporary files.
//! A tool that is missing skips its test with a loud message, or fails it where
//! `CRYPTGPU_REQUIRE_CUDA_TOOLS` is set (as `scripts/test` does, which installs them).

#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::expect_used)]

pub mod card;
pub mod clang;
pub mod data;
pub mod emulator;

use cryptgpu_kernels::Width;
use cryptgpu_kernels::compile::{Family, Format, Image, Target, compile};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The architectures that every kernel is compiled and checked for: V100, A100, H100.
pub const ARCHITECTURES: [u32; 3] = [70, 80, 90];

/// A program of NVIDIA's Python packages in `.venv`, by its path below `site-packages`.
fn packaged(path: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let pythons = std::fs::read_dir(root.join(".venv/lib")).ok()?;
    pythons.flatten().map(|python| python.path().join("site-packages").join(path)).find(|file| file.is_file())
}

/// Says that a check is skipped because `what` is missing, or fails where nothing may be missing.
pub fn missing(what: &str) {
    let text = format!("{what} is missing (scripts/lib.sh, ensure_cuda, installs it into .venv)");
    assert!(std::env::var_os("CRYPTGPU_REQUIRE_CUDA_TOOLS").is_none(), "{text}");
    eprintln!("\n******** NOT CHECKED: {text} ********\n");
}

fn tool(name: &str, path: &str) -> Option<PathBuf> {
    let found = packaged(path);
    if found.is_none() {
        missing(name);
    }
    found
}

/// NVIDIA's assembler.
pub fn ptxas() -> Option<PathBuf> {
    tool("ptxas", "nvidia/cuda_nvcc/bin/ptxas")
}

/// NVIDIA's disassembler.
pub fn nvdisasm() -> Option<PathBuf> {
    tool("nvdisasm", "nvidia/cu13/bin/nvdisasm")
}

/// NVRTC's own file.
pub fn nvrtc_file() -> Option<PathBuf> {
    tool("libnvrtc.so.12", "nvidia/cuda_nvrtc/lib/libnvrtc.so.12")
}

/// Whether NVRTC can be used; says so when not.
pub fn nvrtc() -> bool {
    match cryptgpu_kernels::library::compiler() {
        Ok(_) => true,
        Err(error) => {
            missing(&error.to_string());
            false
        }
    }
}

/// The PTX of a family for elements of a width.
pub fn ptx(family: Family, width: Width, arch: u32) -> String {
    let image = compile(family, width, Target { arch, format: Format::Ptx }, &[]);
    text(image.unwrap_or_else(|error| panic!("{error}")))
}

/// PTX as text.
pub fn text(image: Image) -> String {
    String::from_utf8(image.0).unwrap().trim_end_matches('\0').to_owned()
}

/// What `ptxas -v` says of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub kernel: String,
    pub registers: u32,
    pub stack: u32,
    pub spilled: u32,
    pub shared: u32,
}

/// Runs `ptxas -v` on PTX.
pub fn assemble(ptxas: &Path, ptx: &str, arch: u32) -> Vec<Usage> {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("kernels.ptx"), folder.path().join("kernels.cubin"));
    std::fs::write(&source, ptx).unwrap();
    let mut command = Command::new(ptxas);
    command.arg("-v").arg(format!("-arch=sm_{arch}")).arg("-lineinfo").arg("-o").arg(&target).arg(&source);
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "ptxas -arch=sm_{arch} refuses:\n{log}");
    usages(&log)
}

/// Reads ptxas's messages: "Compiling entry function 'x'", "0 bytes stack frame, 0 bytes spill stores, …",
/// "Used 32 registers, …, 128 bytes smem, …".
fn usages(log: &str) -> Vec<Usage> {
    let number = |line: &str, unit: &str| {
        let before = line.split(unit).next().filter(|before| before.len() < line.len())?;
        before.rsplit([' ', ',']).find(|word| !word.is_empty())?.parse::<u32>().ok()
    };
    let mut found: Vec<Usage> = vec![];
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            let kernel = rest.split('\'').next().unwrap().to_owned();
            found.push(Usage { kernel, registers: 0, stack: 0, spilled: 0, shared: 0 });
        }
        let Some(usage) = found.last_mut() else { continue };
        if let Some(stack) = number(line, " bytes stack frame") {
            usage.stack = stack;
            usage.spilled = number(line, " bytes spill stores").unwrap() + number(line, " bytes spill loads").unwrap();
        }
        if let Some(registers) = number(line, " registers") {
            usage.registers = registers;
            usage.shared = number(line, " bytes smem").unwrap_or(0);
        }
    }
    found
}

/// The machine code of a family for elements of a width as text.
pub fn disassemble(nvdisasm: &Path, family: Family, width: Width, arch: u32) -> String {
    let image = compile(family, width, Target { arch, format: Format::Cubin }, &[]);
    let image = image.unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kernels.cubin");
    std::fs::write(&file, &image.0).unwrap();
    let output = Command::new(nvdisasm).arg(&file).output().unwrap();
    assert!(output.status.success(), "nvdisasm: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
