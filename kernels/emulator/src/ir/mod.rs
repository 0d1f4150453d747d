//! The form in which kernels are executed: instructions with resolved operands over a flat register file. `lower` makes
//! it from the syntax tree and refuses every instruction, modifier and state space it does not know; `allocate` then
//! gives registers their places.

mod allocate;
mod lower;

use crate::lanes::{Args, LaneFn, NONE, Reg};
use crate::ptx::{Location, Space, Type};

pub use lower::lower_module;

/// A value that a register holds from the start of a block on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    Tid(usize),
    Ntid(usize),
    Ctaid(usize),
    Nctaid(usize),
    LaneId,
    WarpId,
    NumWarps,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    DynamicShared,
    TotalShared,
    /// Where dynamic shared memory starts (not a register of PTX).
    DynamicBase,
}

/// What a register is filled with before the kernel starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pinned {
    /// A constant.
    Constant(u64),
    /// A special register.
    Special(Special),
}

/// Width of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// One bit per lane.
    Predicate,
    /// Up to 32 bits per lane.
    Word,
    /// 64 bits per lane.
    Long,
}

/// An address: register (0 if none) plus offset.
#[derive(Debug, Clone, Copy)]
pub struct Mem {
    /// Its register, or `NONE`.
    pub base: Reg,
    /// Whether that has 64 bits.
    pub long: bool,
    /// Bytes added.
    pub offset: i64,
}

/// A load or store: `count` elements of `bytes` bytes at consecutive addresses.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    /// State space.
    pub space: Space,
    /// Bytes of an element.
    pub bytes: u8,
    /// Elements (1, 2 or 4).
    pub count: u8,
    /// Whether loading extends the sign into the register.
    pub signed: bool,
    /// Whether it is `.volatile`, `.relaxed`, `.acquire` or `.release`: such accesses do not race with each other.
    pub strong: bool,
    /// Whether the registers have 64 bits.
    pub long: bool,
    /// Address.
    pub at: Mem,
    /// Registers loaded or stored.
    pub regs: [Reg; 4],
}

/// What an atomic instruction does to the value in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Inc,
    Dec,
}

/// How `shfl.sync` chooses the source lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShuffleMode {
    Up,
    Down,
    Bfly,
    Idx,
}

/// What `vote.sync` or `match.sync` computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteMode {
    All,
    Any,
    Uni,
    Ballot,
}

/// What `redux.sync` computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
}

/// What a barrier with reduction computes over the predicates of all threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarrierReduction {
    Popc,
    And,
    Or,
}

/// Shape and types of a matrix instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MmaShape {
    /// Columns of A (8, 16 or 32 bytes wide for integers, 4 for doubles).
    pub k: u8,
    /// Rows of A (8 or 16).
    pub m: u8,
    /// Whether A's bytes are signed.
    pub a_signed: bool,
    /// Whether B's bytes are signed.
    pub b_signed: bool,
    /// Whether sums saturate instead of wrapping.
    pub saturate: bool,
    /// Doubles instead of bytes.
    pub double: bool,
}

/// Operands of a matrix instruction: registers of the fragments in order.
#[derive(Debug, Clone, Copy)]
pub struct Mma {
    /// Shape and types.
    pub shape: MmaShape,
    /// D.
    pub d: [Reg; 4],
    /// A.
    pub a: [Reg; 4],
    /// B.
    pub b: [Reg; 2],
    /// C.
    pub c: [Reg; 4],
}

/// An operation.
#[derive(Debug, Clone)]
pub enum Op {
    /// Pure, per lane.
    Lane(LaneFn, Args),
    /// Memory to registers.
    Load(Access),
    /// Registers to memory.
    Store(Access),
    /// Read-modify-write; `d` is `NONE` for `red`.
    Atomic { op: AtomicOp, ty: Type, space: Space, at: Mem, d: Reg, b: Reg, c: Reg },
    /// Jump.
    Branch(u32),
    /// `brx.idx`: jump to the target that the register `index` chooses.
    BranchTable { index: Reg, targets: Box<[u32]> },
    /// The thread ends.
    Exit,
    /// All threads of the block meet; `threads` is `NONE` for all.
    Barrier { id: Reg, threads: Reg, reduce: Option<(BarrierReduction, Reg, Reg)>, aligned: bool },
    /// The lanes of a mask meet.
    WarpSync { mask: Reg },
    /// `shfl.sync`.
    Shuffle { mode: ShuffleMode, d: Reg, p: Reg, a: Reg, b: Reg, c: Reg, mask: Reg },
    /// `vote.sync`.
    Vote { mode: VoteMode, d: Reg, a: Reg, mask: Reg },
    /// `match.any.sync`/`match.all.sync`.
    Match { all: bool, long: bool, d: Reg, p: Reg, a: Reg, mask: Reg },
    /// `redux.sync`.
    Redux { op: Reduction, signed: bool, d: Reg, a: Reg, mask: Reg },
    /// `activemask`.
    ActiveMask(Reg),
    /// `mma.sync`.
    Mma(Box<Mma>),
    /// `ldmatrix`: `count` 8×8 matrices of 16-bit elements.
    LoadMatrix { count: u8, transposed: bool, at: Mem, d: [Reg; 4] },
    /// `cp.async`: `size` is the register that says how many bytes are read, the rest being zero.
    CopyAsync { to: Mem, from: Mem, bytes: u8, size: Reg },
    /// `cp.async.commit_group`.
    CopyCommit,
    /// `cp.async.wait_group n`; `None` waits for all copies, committed or not.
    CopyWait(Option<u32>),
    /// `fence`, `membar`: no effect here, since memory is sequentially consistent.
    Fence,
    /// `trap`.
    Trap,
    /// A failed `assert`: its call's parameters lie in local memory at these offsets (message, file, line, function).
    AssertFail([u32; 4]),
    /// `isspacep`: whether a generic address lies in a space.
    IsSpace { space: Space, d: Reg, a: Reg },
}

/// An instruction.
#[derive(Debug, Clone)]
pub struct Instr {
    /// What it does.
    pub op: Op,
    /// Predicate that guards it, or `NONE`.
    pub guard: Reg,
    /// Runs where the predicate is false.
    pub negated: bool,
    /// PTX line.
    pub line: u32,
    /// Source line.
    pub location: Location,
}

/// Whether an instruction reads or writes a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads.
    Use,
    /// Writes.
    Def,
}

impl Instr {
    /// Calls `visit` for every register operand.
    pub fn registers(&mut self, visit: &mut dyn FnMut(&mut Reg, Role)) {
        let mut each = |reg: &mut Reg, role: Role| {
            if *reg != NONE {
                visit(reg, role);
            }
        };
        each(&mut self.guard, Role::Use);
        match &mut self.op {
            Op::Lane(_, args) => {
                for reg in [&mut args.a, &mut args.b, &mut args.c, &mut args.n] {
                    each(reg, Role::Use);
                }
                each(&mut args.d, Role::Def);
                each(&mut args.e, Role::Def);
            }
            Op::Load(access) => {
                each(&mut access.at.base, Role::Use);
                access.regs.iter_mut().for_each(|reg| each(reg, Role::Def));
            }
            Op::Store(access) => {
                each(&mut access.at.base, Role::Use);
                access.regs.iter_mut().for_each(|reg| each(reg, Role::Use));
            }
            Op::Atomic { at, d, b, c, .. } => {
                [&mut at.base, b, c].into_iter().for_each(|reg| each(reg, Role::Use));
                each(d, Role::Def);
            }
            Op::BranchTable { index, .. } => each(index, Role::Use),
            Op::Barrier { id, threads, reduce, .. } => {
                each(id, Role::Use);
                each(threads, Role::Use);
                if let Some((_, source, result)) = reduce {
                    each(source, Role::Use);
                    each(result, Role::Def);
                }
            }
            Op::WarpSync { mask } => each(mask, Role::Use),
            Op::Shuffle { d, p, a, b, c, mask, .. } => {
                [a, b, c, mask].into_iter().for_each(|reg| each(reg, Role::Use));
                each(d, Role::Def);
                each(p, Role::Def);
            }
            Op::Vote { d, a, mask, .. } | Op::Redux { d, a, mask, .. } => {
                each(a, Role::Use);
                each(mask, Role::Use);
                each(d, Role::Def);
            }
            Op::Match { d, p, a, mask, .. } => {
                each(a, Role::Use);
                each(mask, Role::Use);
                each(d, Role::Def);
                each(p, Role::Def);
            }
            Op::ActiveMask(d) => each(d, Role::Def),
            Op::Mma(mma) => {
                mma.a.iter_mut().chain(&mut mma.b).chain(&mut mma.c).for_each(|reg| each(reg, Role::Use));
                mma.d.iter_mut().for_each(|reg| each(reg, Role::Def));
            }
            Op::LoadMatrix { at, d, .. } => {
                each(&mut at.base, Role::Use);
                d.iter_mut().for_each(|reg| each(reg, Role::Def));
            }
            Op::CopyAsync { to, from, size, .. } => {
                [&mut to.base, &mut from.base, size].into_iter().for_each(|reg| each(reg, Role::Use));
            }
            Op::IsSpace { d, a, .. } => {
                each(a, Role::Use);
                each(d, Role::Def);
            }
            Op::Branch(_) | Op::Exit | Op::CopyCommit | Op::CopyWait(_) | Op::Fence | Op::Trap | Op::AssertFail(_) => {}
        }
    }
}

/// A parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Offset in the parameter buffer.
    pub offset: usize,
    /// Size in bytes, as declared.
    pub bytes: usize,
}

/// A kernel, ready to execute.
#[derive(Debug)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// Instructions.
    pub code: Vec<Instr>,
    /// Names of source files by number.
    pub files: std::collections::BTreeMap<u32, String>,
    /// Parameters in order.
    pub params: Vec<Param>,
    /// Size of the parameter buffer.
    pub param_bytes: usize,
    /// Static shared memory in bytes.
    pub shared_bytes: usize,
    /// Where dynamic shared memory starts.
    pub dynamic_offset: usize,
    /// Local memory of a thread in bytes.
    pub local_bytes: usize,
    /// Words of a warp's register file.
    pub file_words: usize,
    /// Registers that are filled before the kernel starts.
    pub pinned: Vec<(Reg, Class, Pinned)>,
    /// Largest block, if the kernel limits it.
    pub max_threads: Option<u32>,
    /// Only block shape, if the kernel fixes it.
    pub required_threads: Option<[u32; 3]>,
    /// The most 32-bit registers alive at once in a thread: an estimate, ptxas decides.
    pub live_words: u32,
}
