//! The interpreter's loop.

use super::shared::Shared;
use super::warp::{AtBarrier, Group, Warp};
use super::{LaneFault, fault};
use crate::checks::Check;
use crate::ir::{Instr, Op};
use crate::lanes::NONE;
use crate::memory::Fault;
use crate::memory::address::{Region, region};
use crate::ptx::Space;

/// Where the lanes of a group go after an instruction.
enum Next {
    /// To the next instruction.
    On,
    /// The lanes of this mask jump; the others go on.
    Jump(u32, u32),
    /// The lanes of this mask end; the others go on.
    End(u32),
    /// The lanes of this mask were put to a queue; the others go on.
    Parked(u32),
    /// All lanes were put to places of their own.
    Scattered,
}

type Step = Result<Next, LaneFault>;

impl Warp {
    /// Runs until all lanes ended or wait at the barrier. A fault comes with its place.
    pub fn run(&mut self, shared: &mut Shared<'_>) -> Result<(), (u32, LaneFault)> {
        while let Some(group) = self.lowest() {
            let mut pc = group.pc;
            self.run_group(shared, group, &mut pc).map_err(|fault| (pc, fault))?;
        }
        let Some(stuck) = self.waiting.first() else { return Ok(()) };
        let message = "a warp instruction names lanes in its mask that wait elsewhere".to_owned();
        let lane = stuck.mask.trailing_zeros() as usize;
        Err((stuck.pc, LaneFault { fault: Fault::new(Check::WarpMask, message), lane }))
    }

    /// Takes the lanes that are at the lowest place.
    fn lowest(&mut self) -> Option<Group> {
        let pc = self.ready.iter().map(|group| group.pc).min()?;
        let mut mask = 0;
        self.ready.retain(|group| {
            if group.pc == pc {
                mask |= group.mask;
            }
            group.pc != pc
        });
        Some(Group { pc, mask })
    }

    fn run_group(&mut self, shared: &mut Shared<'_>, group: Group, at: &mut u32) -> Result<(), LaneFault> {
        let code = shared.launch.kernel.code.as_slice();
        let Group { mut pc, mut mask } = group;
        let mut next_pc = self.next_place();
        loop {
            if pc >= next_pc {
                self.ready.push(Group { pc, mask });
                return Ok(());
            }
            let instr = &code[pc as usize];
            *at = pc;
            let active = if instr.guard == NONE {
                mask
            } else {
                let bits = self.file.predicate(instr.guard);
                mask & if instr.negated { !bits } else { bits }
            };
            self.instructions += u64::from(active.count_ones());
            if active == 0 {
                pc += 1;
                continue;
            }
            // The common case, apart from all others.
            if let Op::Lane(f, args) = &instr.op {
                // SAFETY: registers were placed within the file by `ir::allocate`, and the file is this warp's.
                unsafe { f(self.file.pointer(), active, args) };
                pc += 1;
                continue;
            }
            self.steps += 1;
            if self.steps > shared.limit {
                let message = format!("a warp executed {} memory and control instructions", self.steps);
                return Err(fault(Check::Timeout, message, active));
            }
            match self.step(shared, instr, pc, mask, active)? {
                Next::On => pc += 1,
                Next::Jump(target, going) if going == mask => pc = target,
                Next::Jump(target, going) => {
                    self.ready.push(Group { pc: target, mask: going });
                    mask &= !going;
                    pc += 1;
                    next_pc = self.next_place();
                }
                Next::End(ending) => {
                    self.ended |= ending;
                    mask &= !ending;
                    if mask == 0 {
                        return Ok(());
                    }
                    pc += 1;
                }
                Next::Parked(parked) => {
                    mask &= !parked;
                    if mask == 0 {
                        return Ok(());
                    }
                    pc += 1;
                }
                Next::Scattered => return Ok(()),
            }
        }
    }

    fn next_place(&self) -> u32 {
        self.ready.iter().map(|group| group.pc).min().unwrap_or(u32::MAX)
    }

    fn step(&mut self, shared: &mut Shared<'_>, instr: &Instr, pc: u32, mask: u32, active: u32) -> Step {
        match &instr.op {
            Op::Lane(..) => unreachable!("executed by the caller"),
            Op::Load(access) => self.load(shared, access, active)?,
            Op::Store(access) => self.store(shared, access, active)?,
            Op::Atomic { .. } => self.atomic(shared, &instr.op, active)?,
            Op::Branch(target) => return Ok(Next::Jump(*target, active)),
            Op::BranchTable { index, targets } => return self.branch_table(*index, targets, pc, mask, active),
            Op::Exit => return Ok(Next::End(active)),
            Op::Barrier { id, .. } => {
                let lane = active.trailing_zeros() as usize;
                let id = self.file.words(*id)[lane];
                self.park_at_barrier(Group { pc, mask: active }, id);
                return Ok(Next::Parked(active));
            }
            Op::WarpSync { .. }
            | Op::Shuffle { .. }
            | Op::Vote { .. }
            | Op::Match { .. }
            | Op::Redux { .. }
            | Op::Mma(_)
            | Op::LoadMatrix { .. } => return self.meet(shared, instr, pc, mask, active),
            Op::ActiveMask(d) => self.file.set_words(*d, active, &[active; 32]),
            Op::CopyAsync { .. } => self.copy_async(shared, &instr.op, active)?,
            Op::CopyCommit => self.copies.commit(active),
            Op::CopyWait(groups) => self.copy_wait(shared, *groups, active)?,
            Op::Fence => {}
            Op::Trap => return Err(fault(Check::Trap, "the kernel executed `trap`".to_owned(), active)),
            Op::AssertFail(places) => return Err(self.assertion(shared, *places, active)),
            Op::IsSpace { space, d, a } => {
                let mut bits = 0;
                for (lane, &address) in self.file.longs(*a).iter().enumerate() {
                    let inside = match region(address) {
                        Region::Global => matches!(space, Space::Global),
                        Region::Shared(_) => matches!(space, Space::Shared),
                        Region::Local(_) => matches!(space, Space::Local),
                        Region::Param(_) => false,
                    };
                    bits |= u32::from(inside) << lane;
                }
                self.file.set_predicate(*d, active, bits);
            }
        }
        Ok(Next::On)
    }

    fn branch_table(&mut self, index: u32, targets: &[u32], pc: u32, mask: u32, active: u32) -> Step {
        let chosen = *self.file.words(index);
        for lane in (0..32).filter(|lane| active >> lane & 1 == 1) {
            let Some(&target) = targets.get(chosen[lane] as usize) else {
                let message = format!("`brx.idx` with index {} and {} targets", chosen[lane], targets.len());
                return Err(fault(Check::OutOfBounds, message, 1 << lane));
            };
            self.ready.push(Group { pc: target, mask: 1 << lane });
        }
        if mask & !active != 0 {
            self.ready.push(Group { pc: pc + 1, mask: mask & !active });
        }
        Ok(Next::Scattered)
    }

    fn park_at_barrier(&mut self, group: Group, id: u32) {
        match self.at_barrier.iter_mut().find(|at| at.group.pc == group.pc && at.id == id) {
            Some(at) => at.group.mask |= group.mask,
            None => self.at_barrier.push(AtBarrier { group, id }),
        }
    }

    /// An instruction of several lanes: they wait until all lanes that their masks name are here.
    fn meet(&mut self, shared: &mut Shared<'_>, instr: &Instr, pc: u32, mask: u32, active: u32) -> Step {
        let mut here = active;
        self.waiting.retain(|group| {
            if group.pc == pc {
                here |= group.mask;
            }
            group.pc != pc
        });
        let named = self.named(&instr.op, here)?;
        let missing = named & self.live() & !here;
        if missing != 0 {
            self.waiting.push(Group { pc, mask: here });
            return Ok(Next::Parked(active));
        }
        if named & self.ended != 0 {
            let message = format!("the mask {named:#010x} names lanes that ended ({:#010x})", named & self.ended);
            return Err(fault(Check::WarpMask, message, here));
        }
        self.collective(shared, &instr.op, here)?;
        let back = here & !mask;
        if back != 0 {
            self.ready.push(Group { pc: pc + 1, mask: back });
            // The others of the present group go on with them.
            self.ready.push(Group { pc: pc + 1, mask });
            return Ok(Next::Scattered);
        }
        Ok(Next::On)
    }

    /// The lanes that the mask operand names, which must be alike in all lanes that are here and name each of them.
    fn named(&self, op: &Op, here: u32) -> Result<u32, LaneFault> {
        let register = match op {
            Op::WarpSync { mask } => *mask,
            Op::Shuffle { mask, .. } | Op::Vote { mask, .. } | Op::Match { mask, .. } | Op::Redux { mask, .. } => *mask,
            // `mma` and `ldmatrix` need the whole warp.
            _ => return Ok(u32::MAX),
        };
        let masks = self.file.words(register);
        let first = here.trailing_zeros() as usize;
        for lane in (0..32).filter(|lane| here >> lane & 1 == 1) {
            if masks[lane] >> lane & 1 == 0 {
                let message =
                    format!("lane {lane} executes a warp instruction whose mask {:#010x} lacks it", masks[lane]);
                return Err(fault(Check::WarpMask, message, 1 << lane));
            }
            if masks[lane] != masks[first] {
                let message = format!("lanes {first} and {lane} give different masks to one warp instruction");
                return Err(fault(Check::WarpMask, message, 1 << lane));
            }
        }
        Ok(masks[first])
    }

    fn assertion(&mut self, shared: &Shared<'_>, places: [u32; 4], active: u32) -> LaneFault {
        let lane = active.trailing_zeros() as usize;
        let text = |place: u32| -> Option<String> {
            let pointer = self.local.load(lane, u64::from(place), 8).ok()?;
            let mut bytes = Vec::new();
            while bytes.len() < 500 {
                let (allocation, offset) = shared.launch.memory.find(pointer + bytes.len() as u64, 1).ok()?;
                match allocation.load(offset, 1) as u8 {
                    0 => break,
                    byte => bytes.push(byte),
                }
            }
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let message = text(places[0]).unwrap_or_default();
        let line = self.local.load(lane, u64::from(places[2]), 4).unwrap_or(0);
        let file = text(places[1]).unwrap_or_default();
        fault(Check::Assertion, format!("assertion `{message}` failed ({file}:{line})"), active)
    }
}
