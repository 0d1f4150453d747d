//! What the tests share: one emulator with several devices, and one device for each test, so that tests that run side
//! by side do not see each other's reports.
#![allow(dead_code, reason = "each test uses some of it")]

use std::sync::{Arc, Mutex, OnceLock};

use cryptgpu_emulator::client::{self, Emulator};
use cryptgpu_emulator::{Check, Report};
use cudarc::driver::{CudaContext, CudaModule, DriverError, LaunchConfig};
use cudarc::nvrtc::Ptx;

/// Opens the emulator with eight devices.
pub fn emulator() -> &'static Emulator {
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    EMULATOR.get_or_init(|| {
        // SAFETY: all tests come here first, and none reads the environment beside it.
        unsafe {
            std::env::set_var("CRYPTGPU_EMULATOR_DEVICES", "8");
            std::env::set_var("CRYPTGPU_EMULATOR_QUIET", "1");
        }
        client::open().unwrap()
    })
}

/// A launch of `grid` blocks of `block` threads.
pub fn config(grid: u32, block: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (grid, 1, 1), block_dim: (block, 1, 1), shared_mem_bytes: 0 }
}

/// Loads PTX.
pub fn module(context: &Arc<CudaContext>, ptx: &str) -> Arc<CudaModule> {
    match context.load_module(Ptx::from_src(ptx)) {
        Ok(module) => module,
        Err(error) => panic!("{error}: {:?}", reports(emulator(), context.ordinal())),
    }
}

static REPORTS: Mutex<Vec<Report>> = Mutex::new(Vec::new());

/// Takes the reports of one device.
pub fn reports(emulator: &Emulator, device: usize) -> Vec<Report> {
    let mut kept = REPORTS.lock().unwrap();
    kept.extend(emulator.take_reports());
    let (mine, others) = std::mem::take(&mut *kept).into_iter().partition(|report| report.device == device);
    *kept = others;
    mine
}

/// A kernel's PTX: `params` and `body` between what every kernel has.
pub fn ptx(params: &str, body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry test({params})\n{{\n\
         .reg .pred %p<10>;\n.reg .b16 %h<10>;\n.reg .b32 %r<40>;\n.reg .b64 %rd<40>;\n.reg .f32 %f<10>;\n.reg .f64 %fd<20>;\n\
         {body}\nret;\n}}\n"
    )
}

/// Runs the test of one device's mistake: the call gives an error, and the report is about `check`.
pub fn expect(device: usize, check: Check, result: Result<(), DriverError>) -> Report {
    let emulator = emulator();
    let found = reports(emulator, device);
    emulator.recover(device);
    let report = found.first().unwrap_or_else(|| panic!("no report; the result is {result:?}")).clone();
    assert_eq!(report.check, check, "{report}");
    assert!(result.is_err(), "the call did not fail: {report}");
    report
}
