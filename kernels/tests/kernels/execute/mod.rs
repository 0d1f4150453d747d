//! Every launch function runs on the emulated card (or a real one, with `CRYPTGPU_TEST_GPU`) and gives
//! the bits of the CPU's kernels, at sizes around warps, packed groups and blocks.

mod elementwise;
mod packed;
mod pool;
mod prg;
mod product;

use super::support;

/// The same tests on an emulated V100 (no tensor cores for integers) and H100.
#[test]
fn cards_of_other_generations_agree() {
    if !support::nvrtc() || std::env::var_os("CRYPTGPU_TEST_GPU").is_some() {
        return;
    }
    for capability in ["7.0", "9.0"] {
        let program = std::env::current_exe().unwrap();
        let mut command = std::process::Command::new(program);
        command.args([
            "execute::product::",
            "execute::packed::sharing",
            "execute::prg::zero",
            "execute::elementwise::constants",
        ]);
        command
            .arg("--test-threads=2")
            .env("CRYPTGPU_EMULATOR_CAPABILITY", capability)
            .env("CRYPTGPU_WITHOUT_CLANG", "1");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "capability {capability}:\n{text}");
        assert!(text.contains("ok. 11 passed"), "capability {capability}:\n{text}");
    }
}
