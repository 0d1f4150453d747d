//! The emulator's account, where it is what runs.

use cryptgpu_core::device::Device;
use cryptgpu_core::device::cuda;
use libloading::Library;
use std::ffi::c_char;

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
