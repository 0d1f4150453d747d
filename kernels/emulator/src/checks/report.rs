//! Reports: printed to stderr when they arise, and kept until somebody takes them.

use std::fmt;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What a report is about. The names in JSON and on stderr are those of the variants in kebab case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// An access outside every allocation, of shared, local or parameter memory, or of another device's memory.
    OutOfBounds,
    /// An access to device memory that was freed.
    UseAfterFree,
    /// An address that is no multiple of the access's size.
    Misaligned,
    /// A read of memory that nobody wrote.
    Uninitialised,
    /// A write to constant memory.
    ReadOnly,
    /// Two warps of a block touch the same shared memory between two barriers, and one writes.
    SharedRace,
    /// Two warps of a kernel touch the same device memory without a barrier between, and one writes.
    GlobalRace,
    /// Operations of two streams touch the same memory, one writes, and nothing orders them.
    StreamRace,
    /// Two lanes of a warp write the same place in one instruction.
    LaneRace,
    /// A thread ended, or waits elsewhere, while others wait at a barrier.
    BarrierNotReached,
    /// Threads of one warp wait at different barriers.
    DivergentBarrier,
    /// A warp instruction names lanes that ended or wait elsewhere, lacks the executing lane, or reads one outside.
    WarpMask,
    /// Shared memory is read before the asynchronous copy into it was waited for.
    AsyncCopy,
    /// Block, grid, shared memory or registers beyond what the device or the kernel allows.
    LaunchLimits,
    /// Arguments that do not fit the kernel's parameters.
    Arguments,
    /// A host buffer was changed or freed while an asynchronous copy from or to it was under way.
    HostBuffer,
    /// Device memory was freed while operations that use it may still run.
    FreeInUse,
    /// A free of what is no allocation.
    InvalidFree,
    /// A stream, event, module, function or context that does not exist (any more).
    UseAfterDestroy,
    /// Allocations that were never freed.
    Leak,
    /// A failed `assert` in a kernel.
    Assertion,
    /// A `trap` in a kernel.
    Trap,
    /// A kernel that executed more instructions than the limit.
    Timeout,
    /// PTX that is malformed or uses what the emulator does not know.
    Ptx,
    /// A driver function or an option of one that is not emulated.
    NotEmulated,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => f.write_str(&name),
            _ => write!(f, "{self:?}"),
        }
    }
}

/// Something wrong that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it is about.
    pub check: Check,
    /// What happened, in words.
    pub message: String,
    /// The device.
    pub device: usize,
    /// The kernel that was executed.
    pub kernel: Option<String>,
    /// The block's index.
    pub block: Option<[u32; 3]>,
    /// The thread's index in its block.
    pub thread: Option<[u32; 3]>,
    /// `file:line` of the CUDA source, where the PTX says so (compile with `-lineinfo`).
    pub source: Option<String>,
    /// Line in the PTX.
    pub ptx_line: Option<u32>,
}

impl Report {
    /// A report about the host's use of a device.
    pub fn host(check: Check, device: usize, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { check, message, device, kernel: None, block: None, thread: None, source: None, ptx_line: None }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: device {}", self.check, self.device)?;
        if let Some(kernel) = &self.kernel {
            write!(f, ", kernel {kernel}")?;
        }
        if let Some([x, y, z]) = self.block {
            write!(f, ", block ({x}, {y}, {z})")?;
        }
        if let Some([x, y, z]) = self.thread {
            write!(f, ", thread ({x}, {y}, {z})")?;
        }
        if let Some(source) = &self.source {
            write!(f, ", {source}")?;
        }
        if let Some(line) = self.ptx_line {
            write!(f, ", PTX line {line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

static REPORTS: Mutex<Vec<Report>> = Mutex::new(Vec::new());

/// Prints a report and keeps it.
pub fn submit(report: Report) {
    if !crate::settings().quiet {
        eprintln!("cryptgpu-emulator: {report}");
    }
    REPORTS.lock().push(report);
}

/// The reports kept, which are then forgotten.
pub fn take() -> Vec<Report> {
    std::mem::take(&mut REPORTS.lock())
}
