//! Execution of a kernel: blocks in parallel on the host's threads, the warps of a block in turns between barriers, the
//! lanes of a warp together. Lanes that part are run lowest place first, so that they meet again where their paths join.

mod access;
mod block;
mod collective;
mod copies;
mod copy_async;
mod matrix;
mod shared;
mod step;
mod target;
mod warp;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use rayon::prelude::*;

use self::block::Worker;
use crate::checks::{Check, Report};
use crate::ir::Kernel;
use crate::lanes::LANES;
use crate::memory::Fault;
use crate::memory::global::GlobalMemory;

/// A fault and the lane that it is about.
#[derive(Debug)]
pub(crate) struct LaneFault {
    pub fault: Fault,
    pub lane: usize,
}

/// A fault of the first lane of `mask`.
fn fault(check: Check, message: String, mask: u32) -> LaneFault {
    LaneFault { fault: Fault::new(check, message), lane: mask.trailing_zeros() as usize }
}

/// Puts the lane to a fault.
pub(crate) trait AtLane<T> {
    fn at_lane(self, lane: usize) -> Result<T, LaneFault>;
}

impl<T> AtLane<T> for Result<T, Fault> {
    #[inline(always)]
    fn at_lane(self, lane: usize) -> Result<T, LaneFault> {
        self.map_err(|fault| LaneFault { fault, lane })
    }
}

/// One execution of a kernel.
pub struct Launch<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Blocks of the grid.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Dynamic shared memory in bytes.
    pub dynamic_shared: usize,
    /// Values of the parameters.
    pub params: &'a [u8],
    /// The device's memory.
    pub memory: &'a GlobalMemory,
    /// The device's number.
    pub device: usize,
    /// The operation's epoch.
    pub epoch: u16,
    /// Epochs of operations that are not ordered before.
    pub unordered: &'a [u16],
    /// Permutes warps and blocks.
    pub seed: u64,
}

/// What a kernel's execution came to.
#[derive(Debug)]
pub struct Outcome {
    /// Thread-instructions executed.
    pub instructions: u64,
    /// Numbers of the allocations touched.
    pub touched: BTreeSet<usize>,
    /// The first thing that went wrong.
    pub report: Option<Report>,
}

impl Launch<'_> {
    /// Threads of a block.
    pub fn threads(&self) -> usize {
        self.block.iter().map(|&n| n as usize).product()
    }

    /// Warps of a block.
    pub(crate) fn warps(&self) -> usize {
        self.threads().div_ceil(LANES)
    }

    /// Static and dynamic shared memory of a block.
    pub(crate) fn shared_bytes(&self) -> usize {
        if self.dynamic_shared == 0 {
            self.kernel.shared_bytes
        } else {
            self.kernel.dynamic_offset + self.dynamic_shared
        }
    }

    /// The index of a thread in its block.
    pub(crate) fn thread_index(&self, thread: usize) -> [u32; 3] {
        split(thread as u64, self.block)
    }

    /// The index of a block in the grid.
    pub(crate) fn block_index(&self, block: u64) -> [u32; 3] {
        split(block, self.grid)
    }

    /// Executes all blocks, until one goes wrong.
    pub fn run(&self) -> Outcome {
        let blocks: u64 = self.grid.iter().map(|&n| u64::from(n)).product();
        let instructions = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let touched = Mutex::new(BTreeSet::new());
        let report: Mutex<Option<(u64, Report)>> = Mutex::new(None);
        let run_some = |worker: &mut Worker<'_>, block: u64| {
            if stop.load(Relaxed) {
                return;
            }
            if let Err(found) = worker.run(block) {
                stop.store(true, Relaxed);
                let mut kept = report.lock();
                if kept.as_ref().is_none_or(|(first, _)| block < *first) {
                    *kept = Some((block, *found));
                }
            }
        };
        // Odd seeds take the blocks from the last to the first: no kernel may count on their order.
        let order = |index: u64| if self.seed & 1 == 1 { blocks - 1 - index } else { index };
        let finish = |mut worker: Worker<'_>| {
            instructions.fetch_add(worker.instructions(), Relaxed);
            touched.lock().append(worker.touched());
        };
        // Workers are dear for small blocks: each takes a run of blocks.
        let run = blocks.div_ceil(4 * rayon::current_num_threads() as u64).clamp(1, 64);
        if blocks <= run {
            let mut worker = Worker::new(self);
            (0..blocks).for_each(|index| run_some(&mut worker, order(index)));
            finish(worker);
        } else {
            (0..blocks.div_ceil(run)).into_par_iter().for_each(|part| {
                let mut worker = Worker::new(self);
                (part * run..blocks.min((part + 1) * run)).for_each(|index| run_some(&mut worker, order(index)));
                finish(worker);
            });
        }
        Outcome {
            instructions: instructions.into_inner(),
            touched: touched.into_inner(),
            report: report.into_inner().map(|(_, report)| report),
        }
    }
}

fn split(index: u64, shape: [u32; 3]) -> [u32; 3] {
    let [x, y, _] = shape.map(u64::from);
    [(index % x) as u32, (index / x % y) as u32, (index / x / y) as u32]
}
