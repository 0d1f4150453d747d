//! Looking for libcuda and NVRTC never panics: what is missing or wrong is an error that says what to
//! do. Each case is a process of its own, because a process looks once.

use crate::support;
use cryptgpu_kernels::library::{LIBCUDA_VARIABLE, NVRTC_VARIABLE, compiler, driver};
use std::process::Command;

/// What the looking says with `variable` set to `value`.
fn look(variable: &str, value: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "library::child_that_looks", "--ignored", "--nocapture"]).env(variable, value);
    if variable == "LD_LIBRARY_PATH" {
        command.env_remove(LIBCUDA_VARIABLE);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn child_that_looks() {
    let show = |result: Result<(), String>| result.map_or_else(|error| error, |()| "found".to_owned());
    println!("driver: {}", show(driver().map(drop).map_err(|error| error.to_string())));
    println!("compiler: {}", show(compiler().map(drop).map_err(|error| error.to_string())));
}

#[test]
fn a_driver_that_is_not_there_is_an_error() {
    let text = look(LIBCUDA_VARIABLE, "/nowhere/libcuda.so");
    assert!(text.contains("driver: CRYPTGPU_LIBCUDA=/nowhere/libcuda.so: cannot be opened"), "{text}");
}

#[test]
fn a_library_that_would_not_be_used_is_an_error() {
    // Any library that is no libcuda: whatever else cudarc finds under that name, it is not this one.
    let libc = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = libc.split_whitespace().find(|word| word.contains("libc.so")).unwrap();
    let text = look(LIBCUDA_VARIABLE, libc);
    let refused = text.contains("driver: libcuda is not on this machine") || text.contains("is used instead");
    assert!(refused, "{text}");
}

/// A folder with a libcuda made from `tests/libcuda/NAME.c`, and what the looking says where it is found first.
fn look_with(name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let source = format!("{}/tests/libcuda/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let library = folder.path().join("libcuda.so");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(made.success(), "{source}");
    let text = look("LD_LIBRARY_PATH", folder.path().to_str().unwrap());
    (folder, text)
}

#[test]
fn a_driver_that_lacks_functions_is_named_with_one_that_it_lacks() {
    for (name, lacks, serves) in [
        ("fake", "it lacks the function cuGetErrorName", "CUDA 11.4"),
        ("old", "it lacks the function cuDevicePrimaryCtxRetain", "CUDA 11.4"),
        ("nodev", "it lacks the function cuDeviceGet", "CUDA 12.8"),
    ] {
        let (folder, text) = look_with(name);
        let file = format!("driver: {}", folder.path().join("libcuda.so").display());
        assert!(text.contains(&file) && text.contains(lacks) && text.contains(serves), "{name}: {text}");
        assert!(text.contains("install or update NVIDIA's driver"), "{name}: {text}");
    }
}

#[test]
fn a_stub_is_named_and_the_compiler_is_not_blamed() {
    let (folder, text) = look_with("stub");
    let file = format!("driver: {}", folder.path().join("libcuda.so").display());
    assert!(text.contains(&file) && text.contains("it is the stub that programs are linked with"), "{text}");
    let driver = text.lines().find(|line| line.contains("driver: ")).unwrap();
    assert!(!driver.contains("NVRTC"), "{driver}");
}

#[test]
fn a_compiler_that_is_not_there_is_an_error() {
    let text = look(NVRTC_VARIABLE, "/nowhere");
    assert!(text.contains("compiler: CRYPTGPU_NVRTC=/nowhere: cannot be opened"), "{text}");
}

/// CUDA 13 has NVRTC under another name, which is looked for too.
#[test]
fn a_compiler_of_cuda_13_is_found_by_its_name() {
    let Some(file) = support::nvrtc_file() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(file, folder.path().join("libnvrtc.so.13")).unwrap();
    let text = look(NVRTC_VARIABLE, folder.path().to_str().unwrap());
    assert!(text.contains("compiler: found"), "{text}");
}

#[test]
fn looking_says_found_or_what_to_do() {
    let text = look("CRYPTGPU_NOTHING", "");
    let driver = text.contains("driver: found") || text.contains("install NVIDIA's driver");
    let compiler = text.contains("compiler: found") || text.contains("pip install");
    assert!(driver && compiler, "{text}");
}
