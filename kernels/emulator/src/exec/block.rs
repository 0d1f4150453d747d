//! A block: its warps take turns until all of them ended or wait at the barrier.

use std::collections::BTreeSet;

use super::shared::Shared;
use super::warp::{Group, Warp};
use super::{LaneFault, Launch};
use crate::checks::{Check, Report};
use crate::ir::{BarrierReduction, Op};
use crate::lanes::{LANES, NONE};
use crate::memory::Fault;
use crate::memory::shared::SharedMemory;

/// Executes blocks, one after the other.
pub struct Worker<'a> {
    shared: Shared<'a>,
    warps: Vec<Warp>,
}

impl<'a> Worker<'a> {
    pub fn new(launch: &'a Launch<'a>) -> Self {
        let settings = crate::settings();
        let memory = SharedMemory::new(launch.shared_bytes(), settings.races, settings.uninitialised);
        let warps = (0..launch.warps() as u32).map(|index| Warp::new(launch, index, settings.uninitialised)).collect();
        let shared = Shared {
            launch,
            memory,
            block: 0,
            phase: 0,
            races: settings.races,
            uninitialised: settings.uninitialised,
            limit: settings.limit,
        };
        Self { shared, warps }
    }

    /// Thread-instructions executed so far.
    pub fn instructions(&self) -> u64 {
        self.warps.iter().map(|warp| warp.instructions).sum()
    }

    /// Allocations touched so far.
    pub fn touched(&mut self) -> &mut BTreeSet<usize> {
        let (first, rest) = match self.warps.split_first_mut() {
            Some(parts) => parts,
            None => unreachable!("a block has a warp"),
        };
        rest.iter_mut().for_each(|warp| first.touched.append(&mut warp.touched));
        &mut first.touched
    }

    /// Executes the block of this number.
    pub fn run(&mut self, block: u64) -> Result<(), Box<Report>> {
        let index = self.shared.launch.block_index(block);
        (self.shared.block, self.shared.phase) = (block, 0);
        self.shared.memory.start_block();
        self.warps.iter_mut().for_each(|warp| warp.start(self.shared.launch, index));
        // The order of the warps is permuted by the seed: a rotation, and a direction.
        let count = self.warps.len();
        let (turn, back) = ((self.shared.launch.seed >> 1) as usize + block as usize, self.shared.launch.seed & 1 == 1);
        loop {
            for step in 0..count {
                let at = (turn + if back { count - step } else { step }) % count;
                let warp = &mut self.warps[at];
                if let Err((pc, fault)) = warp.run(&mut self.shared) {
                    return Err(Box::new(self.report(at, pc, fault)));
                }
            }
            if self.warps.iter().all(|warp| warp.live() == 0) {
                return Ok(());
            }
            self.barrier()?;
        }
    }

    fn report(&self, warp: usize, pc: u32, found: LaneFault) -> Report {
        let launch = self.shared.launch;
        let instr = &launch.kernel.code[(pc as usize).min(launch.kernel.code.len() - 1)];
        let file = launch.kernel.files.get(&instr.location.file);
        Report {
            check: found.fault.check,
            message: found.fault.message,
            device: launch.device,
            kernel: Some(launch.kernel.name.clone()),
            block: Some(launch.block_index(self.shared.block)),
            thread: Some(launch.thread_index(warp * LANES + found.lane)),
            source: file.filter(|_| instr.location.line > 0).map(|file| format!("{file}:{}", instr.location.line)),
            ptx_line: Some(instr.line),
        }
    }

    /// All warps wait or ended: the barrier is passed if all threads of the block are at it.
    fn barrier(&mut self) -> Result<(), Box<Report>> {
        if let Err((warp, pc, fault)) = self.check_barrier() {
            return Err(Box::new(self.report(warp, pc, fault)));
        }
        self.reduce();
        self.shared.memory.barrier();
        self.shared.phase += 1;
        for warp in &mut self.warps {
            warp.ready.extend(warp.at_barrier.drain(..).map(|at| Group { pc: at.group.pc + 1, ..at.group }));
        }
        Ok(())
    }

    fn check_barrier(&self) -> Result<(), (usize, u32, LaneFault)> {
        let launch = self.shared.launch;
        let waiting =
            || self.warps.iter().enumerate().flat_map(|(at, warp)| warp.at_barrier.iter().map(move |b| (at, b)));
        let Some((first_warp, first)) = waiting().next() else { return Ok(()) };
        let fault = |warp: usize, pc: u32, mask: u32, check: Check, message: String| {
            (warp, pc, LaneFault { fault: Fault::new(check, message), lane: mask.trailing_zeros() as usize })
        };
        for (at, barrier) in waiting() {
            let (pc, mask) = (barrier.group.pc, barrier.group.mask);
            let Op::Barrier { threads, aligned, .. } = launch.kernel.code[pc as usize].op else { continue };
            if aligned && mask != self.warps[at].live() {
                let message = "threads of one warp wait at different barriers".to_owned();
                return Err(fault(at, pc, mask, Check::DivergentBarrier, message));
            }
            if barrier.id != first.id {
                let message = format!("some threads wait at barrier {} and some at barrier {}", first.id, barrier.id);
                return Err(fault(at, pc, mask, Check::BarrierNotReached, message));
            }
            let lane = mask.trailing_zeros() as usize;
            if threads != NONE
                && self.warps[at].file.words(threads)[lane] as usize != launch.warps() * LANES.min(launch.threads())
                && self.warps[at].file.words(threads)[lane] as usize != launch.threads()
            {
                let message = "barriers for a part of the block are not emulated".to_owned();
                return Err(fault(at, pc, mask, Check::NotEmulated, message));
            }
        }
        if let Some(short) = self.warps.iter().find(|warp| warp.ended != 0) {
            let lane = short.ended.trailing_zeros() as usize;
            let message = format!(
                "thread {:?} ended, and others wait at the barrier",
                launch.thread_index(short.index as usize * LANES + lane)
            );
            return Err(fault(first_warp, first.group.pc, first.group.mask, Check::BarrierNotReached, message));
        }
        Ok(())
    }

    /// `bar.red`: what the predicates of all threads come to.
    fn reduce(&mut self) {
        let code = &self.shared.launch.kernel.code;
        let (mut count, mut all) = (0, 0);
        for warp in &self.warps {
            for at in &warp.at_barrier {
                if let Op::Barrier { reduce: Some((_, source, _)), .. } = code[at.group.pc as usize].op {
                    count += (warp.file.predicate(source) & at.group.mask).count_ones();
                    all += at.group.mask.count_ones();
                }
            }
        }
        for warp in &mut self.warps {
            for index in 0..warp.at_barrier.len() {
                let at = warp.at_barrier[index];
                let Op::Barrier { reduce: Some((op, _, d)), .. } = code[at.group.pc as usize].op else { continue };
                match op {
                    BarrierReduction::Popc => warp.file.set_words(d, at.group.mask, &[count; LANES]),
                    BarrierReduction::And => {
                        warp.file.set_predicate(d, at.group.mask, if count == all { u32::MAX } else { 0 });
                    }
                    BarrierReduction::Or => {
                        warp.file.set_predicate(d, at.group.mask, if count > 0 { u32::MAX } else { 0 })
                    }
                }
            }
        }
    }
}
