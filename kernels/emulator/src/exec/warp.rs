//! A warp: its register file, and where its lanes are.

use std::collections::BTreeSet;

use super::Launch;
use super::copies::Copies;
use crate::ir::{Class, Pinned, Special};
use crate::lanes::{LANES, Reg, lanes, predicate, write, write_predicate};
use crate::memory::local::LocalMemory;

/// Lanes at one place of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    pub pc: u32,
    pub mask: u32,
}

/// Sixteen words, so that registers are aligned to the widest vectors.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read through a pointer")] [u32; 16]);

/// A register file.
pub struct File(Vec<Line>);

impl File {
    fn new(words: usize) -> Self {
        Self(vec![Line([0; 16]); words.div_ceil(16) + 4])
    }

    #[inline(always)]
    pub fn pointer(&mut self) -> *mut u32 {
        self.0.as_mut_ptr().cast()
    }

    fn const_pointer(&self) -> *const u32 {
        self.0.as_ptr().cast()
    }

    /// The lanes of a register of up to 32 bits.
    #[inline(always)]
    pub fn words(&self, reg: Reg) -> &[u32; LANES] {
        // SAFETY: registers were placed within the file by `ir::allocate`.
        unsafe { lanes(self.const_pointer(), reg) }
    }

    /// The lanes of a register of 64 bits.
    #[inline(always)]
    pub fn longs(&self, reg: Reg) -> &[u64; LANES] {
        // SAFETY: as above.
        unsafe { lanes(self.const_pointer(), reg) }
    }

    /// Writes the lanes of `mask`.
    #[inline(always)]
    pub fn set_words(&mut self, reg: Reg, mask: u32, values: &[u32; LANES]) {
        // SAFETY: as above.
        unsafe { write(self.pointer(), reg, mask, values) }
    }

    /// Writes the lanes of `mask`.
    #[inline(always)]
    pub fn set_longs(&mut self, reg: Reg, mask: u32, values: &[u64; LANES]) {
        // SAFETY: as above.
        unsafe { write(self.pointer(), reg, mask, values) }
    }

    /// A predicate's bits.
    #[inline(always)]
    pub fn predicate(&self, reg: Reg) -> u32 {
        // SAFETY: as above.
        unsafe { predicate(self.const_pointer(), reg) }
    }

    /// Writes the bits of `mask`.
    #[inline(always)]
    pub fn set_predicate(&mut self, reg: Reg, mask: u32, bits: u32) {
        // SAFETY: as above.
        unsafe { write_predicate(self.pointer(), reg, mask, bits) }
    }
}

/// Lanes that wait at a barrier.
#[derive(Debug, Clone, Copy)]
pub struct AtBarrier {
    pub group: Group,
    pub id: u32,
}

/// A warp of the block that is executed.
pub struct Warp {
    pub index: u32,
    pub file: File,
    pub local: LocalMemory,
    pub copies: Copies,
    /// Lanes that the block has.
    pub existing: u32,
    /// Lanes that ended.
    pub ended: u32,
    /// Where lanes are that can run.
    pub ready: Vec<Group>,
    /// Lanes that wait for others of their warp.
    pub waiting: Vec<Group>,
    /// Lanes that wait for the block.
    pub at_barrier: Vec<AtBarrier>,
    pub instructions: u64,
    pub steps: u64,
    /// Allocations touched.
    pub touched: BTreeSet<usize>,
    pub last_touched: usize,
    /// Values on their way from memory to registers.
    pub scratch: Option<Box<[[u64; LANES]; 4]>>,
}

impl Warp {
    /// A warp with what does not change from block to block.
    pub fn new(launch: &Launch<'_>, index: u32, uninitialised: bool) -> Self {
        let threads = launch.threads() - index as usize * LANES;
        let existing = if threads >= LANES { u32::MAX } else { (1 << threads) - 1 };
        let mut warp = Self {
            index,
            file: File::new(launch.kernel.file_words),
            local: LocalMemory::new(launch.kernel.local_bytes, uninitialised),
            copies: Copies::default(),
            existing,
            ended: 0,
            ready: Vec::new(),
            waiting: Vec::new(),
            at_barrier: Vec::new(),
            instructions: 0,
            steps: 0,
            touched: BTreeSet::new(),
            last_touched: 0,
            scratch: None,
        };
        for &(reg, class, pinned) in &launch.kernel.pinned {
            let value = |lane: usize| match pinned {
                Pinned::Constant(value) => value,
                Pinned::Special(special) => warp_special(launch, special, index, lane),
            };
            warp.pin(reg, class, value);
        }
        warp
    }

    fn pin(&mut self, reg: Reg, class: Class, value: impl Fn(usize) -> u64) {
        match class {
            Class::Long => self.file.set_longs(reg, u32::MAX, &std::array::from_fn(&value)),
            Class::Word => self.file.set_words(reg, u32::MAX, &std::array::from_fn(|lane| value(lane) as u32)),
            Class::Predicate => self.file.set_predicate(reg, u32::MAX, value(0) as u32),
        }
    }

    /// All lanes go to the start, for the block `index`.
    pub fn start(&mut self, launch: &Launch<'_>, index: [u32; 3]) {
        for &(reg, class, pinned) in &launch.kernel.pinned {
            if let Pinned::Special(Special::Ctaid(axis)) = pinned {
                self.pin(reg, class, |_| u64::from(index[axis]));
            }
        }
        self.ended = 0;
        self.ready = vec![Group { pc: 0, mask: self.existing }];
        self.waiting.clear();
        self.at_barrier.clear();
        self.copies.clear();
        if launch.kernel.local_bytes > 0 {
            self.local.start_block();
        }
    }

    /// Lanes that have not ended.
    pub fn live(&self) -> u32 {
        self.existing & !self.ended
    }
}

fn warp_special(launch: &Launch<'_>, special: Special, warp: u32, lane: usize) -> u64 {
    let thread = warp as usize * LANES + lane;
    u64::from(match special {
        Special::Tid(axis) => launch.thread_index(thread)[axis],
        Special::Ntid(axis) => launch.block[axis],
        // Set at the start of each block.
        Special::Ctaid(_) => 0,
        Special::Nctaid(axis) => launch.grid[axis],
        Special::LaneId => lane as u32,
        Special::WarpId => warp,
        Special::NumWarps => launch.warps() as u32,
        Special::LaneMaskEq => 1 << lane,
        Special::LaneMaskLt => (1 << lane) - 1,
        Special::LaneMaskLe => (1 << lane) | ((1 << lane) - 1),
        Special::LaneMaskGt => !((1 << lane) | ((1 << lane) - 1)),
        Special::LaneMaskGe => !((1 << lane) - 1),
        Special::DynamicShared => launch.dynamic_shared as u32,
        Special::TotalShared => launch.shared_bytes() as u32,
        Special::DynamicBase => launch.kernel.dynamic_offset as u32,
    })
}
