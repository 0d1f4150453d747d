//! Loads, stores, atomics, asynchronous copies, fences and address conversions.

use super::{Class, Lowerer, Modifiers, Result, class_of};
use crate::ir::{Access, AtomicOp, Mem, Op};
use crate::lanes::{NONE, Reg, integer};
use crate::memory::address;
use crate::ptx::{Operand, Space, Type};

/// Caching hints: they change no result.
const CACHE_HINTS: &[&str] = &["ca", "cg", "cs", "lu", "cv", "wb", "wt"];
const EVICTION_HINTS: &[&str] = &[
    "L1::evict_normal",
    "L1::evict_unchanged",
    "L1::evict_first",
    "L1::evict_last",
    "L1::no_allocate",
    "L2::64B",
    "L2::128B",
    "L2::256B",
];
const SCOPES: &[&str] = &["cta", "gpu", "sys"];

impl Lowerer<'_> {
    /// Translates the instruction if it belongs here.
    pub fn memory(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<bool> {
        match opcode {
            "ld" | "ldu" => self.access(true, modifiers, operands)?,
            "st" => self.access(false, modifiers, operands)?,
            "atom" | "red" => self.atomic(opcode == "atom", modifiers, operands)?,
            "cp" => self.copy(modifiers, operands)?,
            "cvta" => self.convert_address(modifiers, operands)?,
            "isspacep" => {
                let space = modifiers.space();
                let [d, a] = self.operands(operands)?;
                if !matches!(space, Space::Global | Space::Shared | Space::Local | Space::Const) {
                    return self.error("`isspacep` of this space is not known");
                }
                let a = self.source(a, Type::U64)?;
                let d = self.result(d, Type::Pred)?;
                self.emit(Op::IsSpace { space, d, a });
            }
            "membar" => {
                if modifiers.one_of(&["cta", "gl", "sys"]).is_none() {
                    return self.error("`membar` needs .cta, .gl or .sys");
                }
                self.emit(Op::Fence);
            }
            "fence" => {
                modifiers.one_of(&["sc", "acq_rel", "acquire", "release"]);
                if modifiers.one_of(SCOPES).is_none() {
                    return self.error("`fence` needs a scope");
                }
                self.emit(Op::Fence);
            }
            // A hint to fetch: no result.
            "prefetch" => {
                let space = modifiers.space();
                modifiers.one_of(&["L1", "L2"]);
                let [at] = self.operands(operands)?;
                self.address(at, space)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn access(&mut self, load: bool, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let weak = modifiers.take("weak");
        let strong = modifiers.one_of(&["volatile", "relaxed", "acquire", "release"]).is_some();
        if strong {
            modifiers.one_of(SCOPES);
        }
        if weak && strong {
            return self.error("an access cannot be weak and strong");
        }
        let space = modifiers.space();
        modifiers.one_of(CACHE_HINTS);
        let read_only = modifiers.take("nc");
        while modifiers.one_of(EVICTION_HINTS).is_some() {}
        let count = match modifiers.one_of(&["v2", "v4"]) {
            Some("v2") => 2,
            Some(_) => 4,
            None => 1,
        };
        let ty = self.need_type(modifiers)?;
        if ty == Type::Pred || (read_only && !(load && space == Space::Global)) {
            return self.error("this access is not known");
        }
        if !load && matches!(space, Space::Const) {
            return self.error("constant memory cannot be written");
        }
        let [first, second] = self.operands(operands)?;
        let (value, at) = if load { (first, second) } else { (second, first) };
        let (at, space) = self.address(at, space)?;
        if !load && space == Space::Param {
            return self.error("the parameters of a kernel cannot be written");
        }
        let items = match value {
            Operand::Vector(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        if items.len() != count {
            return self.error(format!("{} registers for {count} elements", items.len()));
        }
        let mut regs = [NONE; 4];
        let mut class = None;
        for (reg, item) in regs.iter_mut().zip(items) {
            let (found, of) = self.data_register(item, ty, load)?;
            *reg = found;
            if *class.get_or_insert(of) != of {
                return self.error("registers of different widths in one vector");
            }
        }
        let access = Access {
            space,
            bytes: ty.bytes() as u8,
            count: count as u8,
            signed: ty.is_signed(),
            strong,
            long: class == Some(Class::Long),
            at,
            regs,
        };
        self.emit(if load { Op::Load(access) } else { Op::Store(access) });
        Ok(())
    }

    /// The register of a load or store, which may be wider than the element.
    fn data_register(&mut self, operand: &Operand, ty: Type, load: bool) -> Result<(Reg, Class)> {
        match operand {
            Operand::Name(name) if name != "_" => {
                let (reg, declared) = self.register(name)?;
                let class = class_of(declared);
                if class == Class::Predicate || declared.bytes() < ty.bytes() {
                    return self.error(format!("`{name}` ({declared:?}) cannot hold a {ty:?}"));
                }
                Ok((reg, class))
            }
            other if load => Ok((self.result(other, ty)?, class_of(ty))),
            other => Ok((self.source(other, ty)?, class_of(ty))),
        }
    }

    fn atomic(&mut self, returns: bool, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        modifiers.one_of(&["relaxed", "acq_rel", "acquire", "release"]);
        modifiers.one_of(SCOPES);
        let space = modifiers.space();
        let name = modifiers.one_of(&["add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"]);
        let op = match name {
            Some("add") => AtomicOp::Add,
            Some("min") => AtomicOp::Min,
            Some("max") => AtomicOp::Max,
            Some("and") => AtomicOp::And,
            Some("or") => AtomicOp::Or,
            Some("xor") => AtomicOp::Xor,
            Some("exch") => AtomicOp::Exch,
            Some("cas") => AtomicOp::Cas,
            Some("inc") => AtomicOp::Inc,
            Some("dec") => AtomicOp::Dec,
            _ => return self.error("no atomic operation that is known"),
        };
        let ty = self.need_type(modifiers)?;
        let known = match op {
            AtomicOp::Add => matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::F32 | Type::F64),
            AtomicOp::Min | AtomicOp::Max => matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64),
            AtomicOp::Inc | AtomicOp::Dec => ty == Type::U32,
            _ => matches!(ty, Type::B32 | Type::B64),
        };
        if !known || !matches!(space, Space::Generic | Space::Global | Space::Shared) {
            return self.error(format!("this atomic operation on {ty:?} in {space:?} space is not known"));
        }
        let (d, rest) = match operands {
            [d, rest @ ..] if returns => (self.result(d, ty)?, rest),
            rest => (NONE, rest),
        };
        let expected = if op == AtomicOp::Cas { 3 } else { 2 };
        if rest.len() != expected {
            return self.error("a number of operands that is not known");
        }
        let (at, space) = self.address(&rest[0], space)?;
        let b = self.source(&rest[1], ty)?;
        let c = if op == AtomicOp::Cas { self.source(&rest[2], ty)? } else { NONE };
        self.emit(Op::Atomic { op, ty, space, at, d, b, c });
        Ok(())
    }

    fn copy(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        if !modifiers.take("async") {
            return self.error("`cp` is known as `cp.async` only");
        }
        if modifiers.take("commit_group") {
            let [] = self.operands(operands)?;
            self.emit(Op::CopyCommit);
        } else if modifiers.take("wait_all") {
            let [] = self.operands(operands)?;
            self.emit(Op::CopyWait(None));
        } else if modifiers.take("wait_group") {
            let [Operand::Int(groups)] = self.operands(operands)? else {
                return self.error("`cp.async.wait_group` needs a number");
            };
            self.emit(Op::CopyWait(Some(*groups as u32)));
        } else {
            self.copy_async(modifiers, operands)?;
        }
        Ok(())
    }

    fn copy_async(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let around = modifiers.one_of(&["ca", "cg"]);
        let shared = modifiers.take("shared") || modifiers.take("shared::cta");
        let global = modifiers.take("global");
        while modifiers.one_of(&["L2::64B", "L2::128B", "L2::256B"]).is_some() {}
        let (Some(around), true, true) = (around, shared, global) else {
            return self.error("`cp.async` is known as .ca or .cg from .global to .shared");
        };
        let [to, from, Operand::Int(bytes), rest @ ..] = operands else {
            return self.error("`cp.async` needs two addresses and a size");
        };
        let (to, _) = self.address(to, Space::Shared)?;
        let (from, _) = self.address(from, Space::Global)?;
        let size = match rest {
            [] => NONE,
            [size] => self.source(size, Type::U32)?,
            _ => return self.error("this form of `cp.async` is not known"),
        };
        match (around, bytes) {
            ("cg", 16) | ("ca", 4 | 8 | 16) => {}
            _ => return self.error(format!("`cp.async.{around}` of {bytes} bytes does not exist")),
        }
        self.needs_target(80, "cp.async")?;
        self.emit(Op::CopyAsync { to, from, bytes: *bytes as u8, size });
        Ok(())
    }

    /// Refuses an instruction that the module's target lacks, as ptxas would.
    pub(super) fn needs_target(&self, capability: u32, what: &str) -> Result<()> {
        match crate::driver::device::target_capability(&self.module.target) {
            Some(target) if target < capability => {
                self.error(format!("`{what}` needs sm_{capability}, and the target is {}", self.module.target))
            }
            _ => Ok(()),
        }
    }

    /// `cvta`: between an address in a state space and a generic one, which differ by the space's window.
    fn convert_address(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let to_space = modifiers.take("to");
        let space = modifiers.space();
        let ty = self.need_type(modifiers)?;
        let [d, a] = self.operands(operands)?;
        if ty != Type::U64 {
            return self.error("`cvta` is known for .u64 only");
        }
        let named = match a {
            Operand::Name(name) => self.address_value(name, ty)?,
            _ => None,
        };
        let a = match named {
            Some(a) => a,
            None => self.source(a, ty)?,
        };
        let d = self.result(d, ty)?;
        let window = match space {
            Space::Global | Space::Const => 0,
            Space::Shared => address::SHARED_WINDOW,
            Space::Local => address::LOCAL_WINDOW,
            Space::Param => address::PARAM_WINDOW,
            Space::Generic => return self.error("`cvta` needs a state space"),
        };
        let op = if to_space { "sub" } else { "add" };
        let window = self.constant(ty, window);
        let f = self.known(integer::binary(op, ty), "cvta", ty)?;
        self.lane(f, d, &[a, window]);
        Ok(())
    }

    /// A shared address as an operand of a warp's instruction.
    pub(super) fn shared_address(&mut self, operand: &Operand) -> Result<Mem> {
        Ok(self.address(operand, Space::Shared)?.0)
    }
}
