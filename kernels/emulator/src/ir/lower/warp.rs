//! Instructions in which the lanes of a warp or the threads of a block work together: barriers, shuffles, votes and
//! matrix products.

use super::{Lowerer, Modifiers, Result};
use crate::ir::{BarrierReduction, Mma, MmaShape, Op, Reduction, ShuffleMode, VoteMode};
use crate::lanes::NONE;
use crate::ptx::{Operand, Type};

impl Lowerer<'_> {
    /// Translates the instruction if it belongs here.
    pub fn warp(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<bool> {
        match opcode {
            "bar" | "barrier" => self.barrier(opcode, modifiers, operands)?,
            "shfl" => self.shuffle(modifiers, operands)?,
            "vote" => self.vote(modifiers, operands)?,
            "match" => self.matching(modifiers, operands)?,
            "redux" => self.redux(modifiers, operands)?,
            "activemask" => {
                let ty = self.need_type(modifiers)?;
                let [d] = self.operands(operands)?;
                let d = self.result(d, ty)?;
                self.emit(Op::ActiveMask(d));
            }
            "mma" => self.mma(modifiers, operands)?,
            "ldmatrix" => self.load_matrix(modifiers, operands)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn sync(&self, modifiers: &mut Modifiers, opcode: &str) -> Result<()> {
        if modifiers.take("sync") {
            return Ok(());
        }
        self.error(format!("`{opcode}` is known with .sync only"))
    }

    fn barrier(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        modifiers.take("cta");
        if opcode == "bar" && modifiers.take("warp") {
            self.sync(modifiers, "bar.warp")?;
            let [mask] = self.operands(operands)?;
            let mask = self.source(mask, Type::B32)?;
            self.emit(Op::WarpSync { mask });
            return Ok(());
        }
        let aligned = modifiers.take("aligned") || opcode == "bar";
        if modifiers.take("red") {
            return self.barrier_reduction(modifiers, operands, aligned);
        }
        self.sync(modifiers, opcode)?;
        let (id, threads) = match operands {
            [id] => (self.source(id, Type::U32)?, NONE),
            [id, threads] => (self.source(id, Type::U32)?, self.source(threads, Type::U32)?),
            _ => return self.error("a barrier has one or two operands"),
        };
        self.emit(Op::Barrier { id, threads, reduce: None, aligned });
        Ok(())
    }

    fn barrier_reduction(&mut self, modifiers: &mut Modifiers, operands: &[Operand], aligned: bool) -> Result<()> {
        let op = match modifiers.one_of(&["popc", "and", "or"]) {
            Some("popc") => BarrierReduction::Popc,
            Some("and") => BarrierReduction::And,
            Some(_) => BarrierReduction::Or,
            None => return self.error("no reduction that is known"),
        };
        let ty = self.need_type(modifiers)?;
        if ty != (if op == BarrierReduction::Popc { Type::U32 } else { Type::Pred }) {
            return self.error(format!("this reduction has no result of type {ty:?}"));
        }
        let (d, id, threads, p) = match operands {
            [d, id, p] => (d, id, None, p),
            [d, id, threads, p] => (d, id, Some(threads), p),
            _ => return self.error("a barrier with reduction has three or four operands"),
        };
        let id = self.source(id, Type::U32)?;
        let threads = threads.map(|threads| self.source(threads, Type::U32)).transpose()?.unwrap_or(NONE);
        let source = self.source(p, Type::Pred)?;
        let d = self.result(d, ty)?;
        self.emit(Op::Barrier { id, threads, reduce: Some((op, source, d)), aligned });
        Ok(())
    }

    fn shuffle(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        self.sync(modifiers, "shfl")?;
        let mode = match modifiers.one_of(&["up", "down", "bfly", "idx"]) {
            Some("up") => ShuffleMode::Up,
            Some("down") => ShuffleMode::Down,
            Some("bfly") => ShuffleMode::Bfly,
            Some(_) => ShuffleMode::Idx,
            None => return self.error("no mode of `shfl` that is known"),
        };
        let ty = self.need_type(modifiers)?;
        let [d, a, b, c, mask] = self.operands(operands)?;
        let (d, p) = match d {
            Operand::Pair(d, p) => (d.as_ref(), Some(p.as_ref())),
            d => (d, None),
        };
        let (a, b) = (self.source(a, ty)?, self.source(b, Type::B32)?);
        let (c, mask) = (self.source(c, Type::B32)?, self.source(mask, Type::B32)?);
        if ty != Type::B32 {
            return self.error("`shfl` is known for .b32 only");
        }
        let d = self.result(d, ty)?;
        let p = p.map(|p| self.result(p, Type::Pred)).transpose()?.unwrap_or(NONE);
        self.emit(Op::Shuffle { mode, d, p, a, b, c, mask });
        Ok(())
    }

    fn vote(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        self.sync(modifiers, "vote")?;
        let mode = match modifiers.one_of(&["all", "any", "uni", "ballot"]) {
            Some("all") => VoteMode::All,
            Some("any") => VoteMode::Any,
            Some("uni") => VoteMode::Uni,
            Some(_) => VoteMode::Ballot,
            None => return self.error("no mode of `vote` that is known"),
        };
        let ty = self.need_type(modifiers)?;
        if (mode == VoteMode::Ballot) != (ty == Type::B32) || !matches!(ty, Type::B32 | Type::Pred) {
            return self.error(format!("this vote has no result of type {ty:?}"));
        }
        let [d, a, mask] = self.operands(operands)?;
        let (a, mask) = (self.source(a, Type::Pred)?, self.source(mask, Type::B32)?);
        let d = self.result(d, ty)?;
        self.emit(Op::Vote { mode, d, a, mask });
        Ok(())
    }

    fn matching(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        self.sync(modifiers, "match")?;
        let (all, any) = (modifiers.take("all"), modifiers.take("any"));
        let ty = self.need_type(modifiers)?;
        let [d, a, mask] = self.operands(operands)?;
        if all == any || !matches!(ty, Type::B32 | Type::B64) {
            return self.error("`match` needs .any or .all, and .b32 or .b64");
        }
        let (d, p) = match d {
            Operand::Pair(d, p) if all => (d.as_ref(), Some(p.as_ref())),
            d => (d, None),
        };
        let (a, mask) = (self.source(a, ty)?, self.source(mask, Type::B32)?);
        let d = self.result(d, Type::B32)?;
        let p = p.map(|p| self.result(p, Type::Pred)).transpose()?.unwrap_or(NONE);
        self.emit(Op::Match { all, long: ty == Type::B64, d, p, a, mask });
        Ok(())
    }

    fn redux(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        self.sync(modifiers, "redux")?;
        self.needs_target(80, "redux.sync")?;
        let op = match modifiers.one_of(&["add", "min", "max", "and", "or", "xor"]) {
            Some("add") => Reduction::Add,
            Some("min") => Reduction::Min,
            Some("max") => Reduction::Max,
            Some("and") => Reduction::And,
            Some("or") => Reduction::Or,
            Some(_) => Reduction::Xor,
            None => return self.error("no reduction that is known"),
        };
        let ty = self.need_type(modifiers)?;
        if ty.bytes() != 4 || ty == Type::F32 {
            return self.error(format!("`redux` of type {ty:?} is not known"));
        }
        let [d, a, mask] = self.operands(operands)?;
        let (a, mask) = (self.source(a, ty)?, self.source(mask, Type::B32)?);
        let d = self.result(d, ty)?;
        self.emit(Op::Redux { op, signed: ty.is_signed(), d, a, mask });
        Ok(())
    }

    fn mma(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        self.sync(modifiers, "mma")?;
        if !modifiers.take("aligned") {
            return self.error("`mma` is known as mma.sync.aligned");
        }
        let size = modifiers.one_of(&["m16n8k32", "m16n8k16", "m8n8k16", "m8n8k4"]);
        if !(modifiers.take("row") && modifiers.take("col")) {
            return self.error("`mma` is known as .row.col");
        }
        let saturate = modifiers.take("satfinite");
        let (d, a) = (self.need_mma_type(modifiers)?, self.need_mma_type(modifiers)?);
        let (b, c) = (self.need_mma_type(modifiers)?, self.need_mma_type(modifiers)?);
        let bytes = |ty: Type| matches!(ty, Type::U8 | Type::S8);
        let double = d == Type::F64 && a == Type::F64 && b == Type::F64 && c == Type::F64;
        let integer = d == Type::S32 && c == Type::S32 && bytes(a) && bytes(b);
        let (m, k, capability) = match size {
            Some("m16n8k32") if integer => (16, 32, 80),
            Some("m16n8k16") if integer => (16, 16, 80),
            Some("m8n8k16") if integer => (8, 16, 75),
            Some("m8n8k4") if double && !saturate => (8, 4, 80),
            _ => return self.error("`mma` of this shape and these types is not known"),
        };
        self.needs_target(capability, size.unwrap_or("mma"))?;
        let shape = MmaShape { k, m, a_signed: a.is_signed(), b_signed: b.is_signed(), saturate, double };
        let mma = self.fragments(shape, operands)?;
        self.emit(Op::Mma(Box::new(mma)));
        Ok(())
    }

    fn need_mma_type(&self, modifiers: &mut Modifiers) -> Result<Type> {
        match modifiers.ty() {
            Some(ty) => Ok(ty),
            None => self.error("`mma` needs the four types that are known (.s32, .u8, .s8, .f64)"),
        }
    }

    fn fragments(&mut self, shape: MmaShape, operands: &[Operand]) -> Result<Mma> {
        let [d, a, b, c] = self.operands(operands)?;
        let (value, element) = if shape.double { (Type::F64, Type::F64) } else { (Type::S32, Type::B32) };
        let mut mma = Mma { shape, d: [NONE; 4], a: [NONE; 4], b: [NONE; 2], c: [NONE; 4] };
        match (shape.m, shape.k) {
            (16, 32) => {
                mma.a = self.vector::<4>(a, element, false)?;
                mma.b = self.vector::<2>(b, element, false)?;
                mma.c = self.vector::<4>(c, value, false)?;
                mma.d = self.vector::<4>(d, value, true)?;
            }
            (16, _) => {
                mma.a[..2].copy_from_slice(&self.vector::<2>(a, element, false)?);
                mma.b[..1].copy_from_slice(&self.vector::<1>(b, element, false)?);
                mma.c = self.vector::<4>(c, value, false)?;
                mma.d = self.vector::<4>(d, value, true)?;
            }
            _ => {
                mma.a[..1].copy_from_slice(&self.vector::<1>(a, element, false)?);
                mma.b[..1].copy_from_slice(&self.vector::<1>(b, element, false)?);
                mma.c[..2].copy_from_slice(&self.vector::<2>(c, value, false)?);
                mma.d[..2].copy_from_slice(&self.vector::<2>(d, value, true)?);
            }
        }
        Ok(mma)
    }

    fn load_matrix(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        self.sync(modifiers, "ldmatrix")?;
        let aligned = modifiers.take("aligned");
        let shape = modifiers.take("m8n8");
        let count = modifiers.one_of(&["x1", "x2", "x4"]);
        let transposed = modifiers.take("trans");
        let shared = modifiers.take("shared") || modifiers.take("shared::cta");
        let ty = self.need_type(modifiers)?;
        if !(aligned && shape && shared) || ty != Type::B16 {
            return self.error("`ldmatrix` is known as .aligned.m8n8 of .b16 from .shared");
        }
        self.needs_target(75, "ldmatrix")?;
        let [d, at] = self.operands(operands)?;
        let mut regs = [NONE; 4];
        let count = match count {
            Some("x1") => {
                regs[..1].copy_from_slice(&self.vector::<1>(d, Type::B32, true)?);
                1
            }
            Some("x2") => {
                regs[..2].copy_from_slice(&self.vector::<2>(d, Type::B32, true)?);
                2
            }
            Some(_) => {
                regs = self.vector::<4>(d, Type::B32, true)?;
                4
            }
            None => return self.error("`ldmatrix` needs .x1, .x2 or .x4"),
        };
        let at = self.shared_address(at)?;
        self.emit(Op::LoadMatrix { count, transposed, at, d: regs });
        Ok(())
    }
}
