//! The kernels' PTX by clang, the second compiler.

use cryptgpu_kernels::Width;
use cryptgpu_kernels::compile::{Family, Image};
use std::path::Path;
use std::process::Command;

/// clang's PTX of a family for elements of a width and for `arch`, kept between runs; none when there is no clang 19 (said aloud).
pub fn compile(family: Family, width: Width, arch: u32) -> Option<Image> {
    if std::env::var_os("CRYPTGPU_WITHOUT_CLANG").is_some() {
        eprintln!("\n******** NOT CHECKED: the second compiler, clang-19 ********\n");
        return None;
    }
    let version = Command::new("clang-19").arg("--version").output();
    let Ok(version) = version else {
        super::missing("clang-19");
        return None;
    };
    assert!(version.status.success());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clang");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new("clang-19");
    let arguments = [
        "-x",
        "cuda",
        "--cuda-device-only",
        "--cuda-feature=+ptx78",
        "-nocudainc",
        "-nocudalib",
        "-std=c++17",
        "-O3",
        "-gline-tables-only",
        "-Wno-unused-command-line-argument",
        "-S",
    ];
    let bits = width.bits();
    command.args(arguments).arg(format!("--cuda-gpu-arch=sm_{arch}")).arg(format!("-DWORD_BITS={bits}"));
    command.arg("-include").arg(here.join("tests/support/clang.h")).arg(here.join("src").join(family.file()));
    let target = folder.join(format!("{}.{bits}.{arch}.{}.ptx", family.file(), std::process::id()));
    let output = command.arg("-o").arg(&target).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "clang-19 refuses {}:\n{log}", family.file());
    let mut ptx = std::fs::read(&target).unwrap();
    std::fs::remove_file(&target).unwrap();
    ptx.push(0);
    Some(Image(ptx))
}
