//! The emulator's account, where it is what runs.

use cryptgpu_core::device::Device;
use cryptgpu_core::device::cuda;
use cryptgpu_kernels::library::{DRIVER_FUNCTIONS, LIBCUDA_VARIABLE};
use libloading::Library;
use std::collections::BTreeMap;
use std::ffi::c_char;
use std::path::PathBuf;
use std::process::Command;

type Text = unsafe extern "C" fn(*mut c_char, usize) -> usize;

/// A text of the emulator; nothing when another driver runs.
fn text(name: &[u8]) -> Option<String> {
    let path = cuda::probe().substitute?;
    // SAFETY: the library is open already; this takes another handle of it.
    let library = unsafe { Library::new(path) }.ok()?;
    // SAFETY: the emulator's functions of these names have this type.
    let function = unsafe { library.get::<Text>(name) }.ok()?;
    // SAFETY: a null buffer asks for the length, with its final zero.
    let mut buffer = vec![0u8; unsafe { function(std::ptr::null_mut(), 0) }];
    // SAFETY: the buffer has the length that was asked for.
    unsafe { function(buffer.as_mut_ptr().cast(), buffer.len()) };
    buffer.pop();
    String::from_utf8(buffer).ok()
}

/// Whether the emulator runs.
pub fn runs() -> bool {
    text(b"cryptgpuEmulatorStatistics").is_some()
}

/// How often each function of the driver was called.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Calls(BTreeMap<String, u64>);

impl Calls {
    /// The calls that came after those of `before`.
    pub fn since(&self, before: &Calls) -> Calls {
        Calls(self.0.iter().map(|(name, count)| (name.clone(), count.saturating_sub(before.of(name)))).collect())
    }

    fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Launches; copies to the card, from it, within it; points marked in streams.
    pub fn columns(&self) -> [u64; 5] {
        [
            self.of("cuLaunchKernel"),
            self.of("cuMemcpyHtoDAsync_v2"),
            self.of("cuMemcpyDtoHAsync_v2"),
            self.of("cuMemcpyDtoDAsync_v2"),
            self.of("cuEventRecord"),
        ]
    }

    /// Events made.
    pub fn events(&self) -> u64 {
        self.of("cuEventCreate")
    }
}

/// The calls so far; none where another driver runs.
pub fn calls() -> Calls {
    let statistics = text(b"cryptgpuEmulatorStatistics").unwrap_or_default();
    if statistics.is_empty() {
        return Calls::default();
    }
    let statistics: serde_json::Value = serde_json::from_str(&statistics).unwrap();
    serde_json::from_value(statistics["calls"].clone()).unwrap()
}

/// Where the emulator runs: a driver that has the functions that are asked for when a driver is opened and no others, each
/// of which calls the emulator's. A function that is called and not asked for panics there, as it would on a driver that
/// lacks it.
pub struct NarrowDriver {
    _folder: tempfile::TempDir,
    library: PathBuf,
    emulator: PathBuf,
}

impl NarrowDriver {
    /// Makes it with the C compiler; nothing on a machine or card that is not emulated like that.
    pub fn make() -> Option<Self> {
        let emulator = cuda::probe().substitute.filter(|_| cfg!(target_arch = "x86_64") && runs())?;
        let folder = tempfile::tempdir().unwrap();
        let (library, source) = (folder.path().join("libcuda.so"), folder.path().join("libcuda.c"));
        let mut text = "#include <dlfcn.h>\n#include <stdlib.h>\n".to_owned();
        let mut find = String::new();
        for name in DRIVER_FUNCTIONS {
            let name = name.to_str().unwrap();
            text += &format!(
                "__attribute__((visibility(\"hidden\"), used)) void *to_{name};\n__asm__(\".pushsection .text\\n"
            );
            text += &format!(
                ".globl {name}\\n.type {name}, @function\\n{name}: jmp *to_{name}(%rip)\\n.popsection\\n\");\n"
            );
            find += &format!("    to_{name} = dlsym(driver, \"{name}\");\n");
        }
        text += "__attribute__((constructor)) static void find(void) {\n";
        text += &format!("    void *driver = dlopen(getenv(\"{NARROWED}\"), RTLD_NOW);\n{find}}}\n");
        std::fs::write(&source, text).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so", "-o"]).arg(&library).arg(&source);
        assert!(compiler.status().unwrap().success());
        Some(NarrowDriver { _folder: folder, library, emulator })
    }

    /// Has a program use it.
    pub fn serve<'a>(&self, program: &'a mut Command) -> &'a mut Command {
        program.env(LIBCUDA_VARIABLE, &self.library).env(NARROWED, &self.emulator)
    }
}

/// Environment variable: what a [`NarrowDriver`] calls.
const NARROWED: &str = "CRYPTGPU_TEST_NARROWED";

/// Returns all memory, prints how many kernels ran, and says whether the emulator has nothing to report.
pub fn finish(card: Device) -> bool {
    if let Err(error) = card.trim() {
        eprintln!("memory cannot be returned: {error}");
        return false;
    }
    let left = card.memory_use().unwrap();
    if left.in_use > 0 {
        eprintln!("{} bytes on {card} are still in buffers", left.in_use);
        return false;
    }
    let Some(statistics) = text(b"cryptgpuEmulatorStatistics") else {
        println!("device tests ran on {}", card.card_name().unwrap().unwrap());
        return true;
    };
    let statistics: serde_json::Value = serde_json::from_str(&statistics).unwrap();
    let (executions, kernels) = (&statistics["executions"], statistics["kernels"].as_object().unwrap().len());
    println!("emulator: {executions} executions of {kernels} kernels, {} instructions", statistics["instructions"]);
    let reports: Vec<serde_json::Value> =
        serde_json::from_str(&text(b"cryptgpuEmulatorTakeReports").unwrap_or_default()).unwrap();
    for report in &reports {
        eprintln!("emulator: {report}");
    }
    reports.is_empty() && executions.as_u64().unwrap() > 0
}
