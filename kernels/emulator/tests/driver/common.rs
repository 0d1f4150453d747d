//! What the tests share: one emulator with several devices, and one device for each test, so that tests that run side
//! by side do not see each other's reports.
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cryptgpu_emulator::client::{self, Emulator};
use cryptgpu_emulator::{Check, Report};
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, DriverError, LaunchConfig};
use cudarc::nvrtc::Ptx;

/// Opens the emulator with eight devices.
pub fn emulator() -> &'static Emulator {
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    EMULATOR.get_or_init(|| {
        // SAFETY: all tests come here first, and none reads the environment beside it.
        unsafe {
            std::env::set_var("CRYPTGPU_EMULATOR_DEVICES", "8");
            std::env::set_var("CRYPTGPU_EMULATOR_QUIET", "1");
            std::env::set_var("CRYPTGPU_EMULATOR_LIMIT", "1000000");
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
    let mut kept = REPORTS.lock();
    kept.extend(emulator.take_reports());
    let (mine, others) = std::mem::take(&mut *kept).into_iter().partition(|report| report.device == device);
    *kept = others;
    mine
}

/// A kernel's PTX: `params` and `body` between what every kernel has.
pub fn ptx(params: &str, body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry test({params})\n{{\n\
         .reg .pred %p<30>;\n.reg .b16 %h<30>;\n.reg .b32 %r<40>;\n.reg .b64 %rd<40>;\n.reg .f32 %f<30>;\n.reg .f64 %fd<30>;\n\
         {body}\nret;\n}}\n"
    )
}

/// A device that one test has for itself.
pub struct Device {
    pub context: Arc<CudaContext>,
    pub lock: MutexGuard<'static, ()>,
}

/// A device that no other test uses meanwhile, with no reports.
pub fn device() -> Device {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    device_at(NEXT.fetch_add(1, Ordering::Relaxed) % 8)
}

/// The device with this number, once no other test uses it.
pub fn device_at(index: usize) -> Device {
    static LOCKS: [Mutex<()>; 8] = [const { Mutex::new(()) }; 8];
    let emulator = emulator();
    let lock = LOCKS[index].lock();
    emulator.recover(index);
    reports(emulator, index);
    Device { context: CudaContext::new(index).unwrap(), lock }
}

impl Device {
    /// The kernel `test` of this PTX.
    pub fn kernel(&self, ptx: &str) -> CudaFunction {
        module(&self.context, ptx).load_function("test").unwrap()
    }

    /// The one report that there is, which must be about `check`; the call that found it must have failed.
    pub fn expect<T: std::fmt::Debug>(&self, check: Check, result: Result<T, DriverError>) -> Report {
        let found = reports(emulator(), self.context.ordinal());
        emulator().recover(self.context.ordinal());
        // What dropping slices came to meanwhile.
        let _ = self.context.check_err();
        assert!(result.is_err(), "the call did not fail: {result:?}, {found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].check, check, "{}", found[0]);
        found[0].clone()
    }

    /// The first report is about one of `checks`: which one is a matter of the order of the warps.
    pub fn expect_one_of<T: std::fmt::Debug>(&self, checks: &[Check], result: Result<T, DriverError>) {
        let found = reports(emulator(), self.context.ordinal());
        emulator().recover(self.context.ordinal());
        let _ = self.context.check_err();
        assert!(result.is_err() && found.len() == 1 && checks.contains(&found[0].check), "{result:?}, {found:?}");
    }

    /// There is no report.
    pub fn expect_none(&self) {
        let found = reports(emulator(), self.context.ordinal());
        assert!(found.is_empty(), "{found:?}");
    }
}
