//! Integer, floating-point, bit, comparison, selection and conversion instructions, and `mov`.

use super::{Class, Lowerer, Modifiers, Result, class_of};
use crate::ir::Op;
use crate::lanes::carry::{self, Sum};
use crate::lanes::float::{self, Rounding};
use crate::lanes::{Args, LaneFn, NONE, Reg, compare, convert, integer};
use crate::ptx::{Operand, Type};

fn is_float(ty: Type) -> bool {
    matches!(ty, Type::F32 | Type::F64)
}

/// The unsigned type of the same width: sources of bit instructions may be declared any way.
fn wide(ty: Type) -> Option<Type> {
    Some(match ty {
        Type::U16 | Type::S16 => Type::B32,
        Type::U32 | Type::S32 => Type::B64,
        _ => return None,
    })
}

fn rounding(modifiers: &mut Modifiers) -> Option<Rounding> {
    modifiers.one_of(&["rn", "rz", "rm", "rp"]).map(|name| match name {
        "rn" => Rounding::Nearest,
        "rz" => Rounding::Zero,
        "rm" => Rounding::Down,
        _ => Rounding::Up,
    })
}

impl Lowerer<'_> {
    /// Translates the instruction if it belongs here.
    pub fn arithmetic(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<bool> {
        match opcode {
            "add" | "sub" | "addc" | "subc" => self.sum(opcode, modifiers, operands)?,
            "mul" | "mul24" => self.product(opcode, modifiers, operands)?,
            "mad" | "madc" | "fma" => self.product_sum(opcode, modifiers, operands)?,
            "div" | "rem" | "min" | "max" | "and" | "or" | "xor" => self.binary(opcode, modifiers, operands)?,
            "neg" | "abs" | "not" | "cnot" | "brev" | "sqrt" | "rcp" => self.unary(opcode, modifiers, operands)?,
            "popc" | "clz" | "bfind" => self.count(opcode, modifiers, operands)?,
            "shl" | "shr" => self.shift(opcode, modifiers, operands)?,
            "shf" | "bfe" | "bfi" | "prmt" | "lop3" | "dp4a" | "sad" => self.bits(opcode, modifiers, operands)?,
            "setp" | "set" => self.comparison(opcode, modifiers, operands)?,
            "selp" => {
                let ty = self.need_type(modifiers)?;
                let [d, a, b, p] = self.operands(operands)?;
                let sources = [self.source(a, ty)?, self.source(b, ty)?, self.source(p, Type::Pred)?];
                let d = self.result(d, ty)?;
                self.lane(carry::selection(ty), d, &sources);
            }
            "mov" => self.mov(modifiers, operands)?,
            "cvt" => self.conversion(modifiers, operands)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn need_type(&self, modifiers: &mut Modifiers) -> Result<Type> {
        match modifiers.ty() {
            Some(ty) => Ok(ty),
            None => self.error("no type that is known"),
        }
    }

    pub(super) fn known(&self, f: Option<LaneFn>, opcode: &str, ty: Type) -> Result<LaneFn> {
        match f {
            Some(f) => Ok(f),
            None => self.error(format!("`{opcode}` of type {ty:?} with these modifiers is not known")),
        }
    }

    fn carry_flag(&mut self) -> Reg {
        let carry = self.carry.unwrap_or_else(|| self.fresh(Class::Predicate));
        self.carry = Some(carry);
        carry
    }

    fn map(&mut self, f: LaneFn, d: &Operand, ty: Type, sources: &[(&Operand, Type)]) -> Result<()> {
        let regs = sources.iter().map(|(operand, ty)| self.source(operand, *ty)).collect::<Result<Vec<_>>>()?;
        let d = self.result(d, ty)?;
        self.lane(f, d, &regs);
        Ok(())
    }

    fn sum(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let (carry_in, carry_out) = (opcode.len() == 4, modifiers.take("cc"));
        let mode = rounding(modifiers);
        let ty = self.need_type(modifiers)?;
        let [d, a, b] = self.operands(operands)?;
        if carry_in || carry_out {
            let op = if opcode.starts_with("add") { Sum::Add } else { Sum::Sub };
            let (a, b) = (self.source(a, ty)?, self.source(b, ty)?);
            let d = self.result(d, ty)?;
            return self.carry_sum(op, ty, carry_in, carry_out, [d, a, b]);
        }
        let f = match (is_float(ty), mode) {
            (true, Some(mode)) if mode != Rounding::Nearest && ty == Type::F64 => float::binary_directed(opcode, mode),
            (true, None | Some(Rounding::Nearest)) => float::binary(opcode, ty),
            (false, None) => integer::binary(opcode, ty),
            _ => None,
        };
        let f = self.known(f, opcode, ty)?;
        self.map(f, d, ty, &[(a, ty), (b, ty)])
    }

    fn carry_sum(&mut self, op: Sum, ty: Type, carry_in: bool, carry_out: bool, [d, a, b]: [Reg; 3]) -> Result<()> {
        let flag = self.carry_flag();
        let f = if is_float(ty) { None } else { carry::with_carry(op, ty, carry_in, carry_out) };
        let f = self.known(f, "add.cc", ty)?;
        let (c, e) = (if carry_in { flag } else { NONE }, if carry_out { flag } else { NONE });
        self.emit(Op::Lane(f, Args { d, e, a, b, c, ..Args::default() }));
        Ok(())
    }

    fn product(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let half = modifiers.one_of(&["lo", "hi", "wide"]);
        let mode = rounding(modifiers);
        let ty = self.need_type(modifiers)?;
        let [d, a, b] = self.operands(operands)?;
        if opcode == "mul24" {
            return self.error("instruction `mul24` is not known");
        }
        let (f, result) = match (half, is_float(ty), mode) {
            (Some("lo"), false, None) => (integer::binary("mul.lo", ty), ty),
            (Some("hi"), false, None) => (integer::multiply_high(ty), ty),
            (Some("wide"), false, None) => (integer::multiply_wide(ty), wide(ty).unwrap_or(ty)),
            (None, true, Some(mode)) if mode != Rounding::Nearest && ty == Type::F64 => {
                (float::binary_directed("mul", mode), ty)
            }
            (None, true, None | Some(Rounding::Nearest)) => (float::binary("mul", ty), ty),
            _ => (None, ty),
        };
        let f = self.known(f, opcode, ty)?;
        self.map(f, d, result, &[(a, ty), (b, ty)])
    }

    fn product_sum(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let half = modifiers.one_of(&["lo", "hi", "wide"]);
        let mode = rounding(modifiers);
        let carry_out = modifiers.take("cc");
        let ty = self.need_type(modifiers)?;
        let [d, a, b, c] = self.operands(operands)?;
        if is_float(ty) {
            let f = if mode == Some(Rounding::Nearest) && opcode != "madc" { float::fused(ty) } else { None };
            let f = self.known(f, opcode, ty)?;
            return self.map(f, d, ty, &[(a, ty), (b, ty), (c, ty)]);
        }
        let carry_in = opcode == "madc";
        if opcode == "fma" || mode.is_some() {
            return self.error(format!("`{opcode}` of type {ty:?} is not known"));
        }
        if half == Some("wide") && !carry_in && !carry_out {
            let f = self.known(integer::multiply_add_wide(ty), opcode, ty)?;
            let result = wide(ty).unwrap_or(ty);
            return self.map(f, d, result, &[(a, ty), (b, ty), (c, result)]);
        }
        if half == Some("lo") && !carry_in && !carry_out {
            let f = self.known(integer::multiply_add_low(ty), opcode, ty)?;
            return self.map(f, d, ty, &[(a, ty), (b, ty), (c, ty)]);
        }
        // In two steps: the half of the product, then the sum with the carry.
        let f = match half {
            Some("lo") => integer::binary("mul.lo", ty),
            Some("hi") => integer::multiply_high(ty),
            _ => None,
        };
        let f = self.known(f, opcode, ty)?;
        let (a, b, c) = (self.source(a, ty)?, self.source(b, ty)?, self.source(c, ty)?);
        let d = self.result(d, ty)?;
        let product = self.fresh(class_of(ty));
        self.lane(f, product, &[a, b]);
        if carry_in || carry_out {
            return self.carry_sum(Sum::Add, ty, carry_in, carry_out, [d, product, c]);
        }
        let f = self.known(integer::binary("add", ty), opcode, ty)?;
        self.lane(f, d, &[product, c]);
        Ok(())
    }

    fn binary(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let mode = rounding(modifiers);
        let ty = self.need_type(modifiers)?;
        let [d, a, b] = self.operands(operands)?;
        if ty == Type::Pred {
            let sources = [self.source(a, ty)?, self.source(b, ty)?];
            let d = self.result(d, ty)?;
            return self.predicate_op(opcode, d, &sources);
        }
        let f = match (is_float(ty), mode) {
            (true, Some(Rounding::Nearest)) if opcode == "div" => float::binary(opcode, ty),
            (true, None) if opcode != "div" => float::binary(opcode, ty),
            (false, None) => integer::binary(opcode, ty),
            _ => None,
        };
        let f = self.known(f, opcode, ty)?;
        self.map(f, d, ty, &[(a, ty), (b, ty)])
    }

    fn unary(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let mode = rounding(modifiers);
        let ty = self.need_type(modifiers)?;
        let [d, a] = self.operands(operands)?;
        if ty == Type::Pred {
            let a = self.source(a, ty)?;
            let d = self.result(d, ty)?;
            return self.predicate_op(opcode, d, &[a]);
        }
        let rounded = matches!(opcode, "sqrt" | "rcp");
        let f = match (is_float(ty), mode) {
            (true, Some(Rounding::Nearest)) if rounded => float::unary(opcode, ty),
            (true, None) if !rounded => float::unary(opcode, ty),
            (false, None) => integer::unary(opcode, ty),
            _ => None,
        };
        let f = self.known(f, opcode, ty)?;
        self.map(f, d, ty, &[(a, ty)])
    }

    fn count(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let name = if opcode == "bfind" && modifiers.take("shiftamt") { "bfind.shiftamt" } else { opcode };
        let ty = self.need_type(modifiers)?;
        let [d, a] = self.operands(operands)?;
        let f = self.known(integer::count(name, ty), opcode, ty)?;
        self.map(f, d, Type::U32, &[(a, ty)])
    }

    fn shift(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let ty = self.need_type(modifiers)?;
        let [d, a, b] = self.operands(operands)?;
        let f = self.known(integer::shift(opcode, ty), opcode, ty)?;
        self.map(f, d, ty, &[(a, ty), (b, Type::U32)])
    }

    fn bits(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        match opcode {
            "shf" => {
                let (left, right) = (modifiers.take("l"), modifiers.take("r"));
                let (wrap, clamp) = (modifiers.take("wrap"), modifiers.take("clamp"));
                let ty = self.need_type(modifiers)?;
                if left == right || wrap == clamp || ty != Type::B32 {
                    return self.error("`shf` needs .l or .r, .wrap or .clamp, and .b32");
                }
                let [d, a, b, c] = self.operands(operands)?;
                self.map(integer::funnel(left, clamp), d, ty, &[(a, ty), (b, ty), (c, Type::U32)])
            }
            "bfe" => {
                let ty = self.need_type(modifiers)?;
                let [d, a, b, c] = self.operands(operands)?;
                let f = self.known(integer::extract(ty), opcode, ty)?;
                self.map(f, d, ty, &[(a, ty), (b, Type::U32), (c, Type::U32)])
            }
            "bfi" => {
                let ty = self.need_type(modifiers)?;
                let [d, a, b, c, n] = self.operands(operands)?;
                let f = self.known(carry::insertion(ty), opcode, ty)?;
                let (a, b) = (self.source(a, ty)?, self.source(b, ty)?);
                let (c, n) = (self.source(c, Type::U32)?, self.source(n, Type::U32)?);
                let d = self.result(d, ty)?;
                self.emit(Op::Lane(f, Args { d, a, b, c, n, ..Args::default() }));
                Ok(())
            }
            "prmt" => {
                let ty = self.need_type(modifiers)?;
                let [d, a, b, c] = self.operands(operands)?;
                if ty != Type::B32 {
                    return self.error("`prmt` is known for .b32 only");
                }
                self.map(integer::permute(), d, ty, &[(a, ty), (b, ty), (c, ty)])
            }
            "lop3" => {
                let ty = self.need_type(modifiers)?;
                let [d, a, b, c, Operand::Int(table)] = self.operands(operands)? else {
                    return self.error("`lop3` needs an immediate table");
                };
                if ty != Type::B32 || *table > 255 {
                    return self.error("`lop3` is known for .b32 and tables up to 255");
                }
                let (a, b, c) = (self.source(a, ty)?, self.source(b, ty)?, self.source(c, ty)?);
                let d = self.result(d, ty)?;
                self.emit(Op::Lane(integer::logic3(), Args { d, a, b, c, imm: *table as u32, ..Args::default() }));
                Ok(())
            }
            "dp4a" => {
                let (a_type, b_type) = (self.need_type(modifiers)?, self.need_type(modifiers)?);
                let [d, a, b, c] = self.operands(operands)?;
                if ![a_type, b_type].iter().all(|ty| matches!(ty, Type::U32 | Type::S32)) {
                    return self.error("`dp4a` is known for .u32 and .s32");
                }
                let f = integer::dot4(a_type.is_signed(), b_type.is_signed());
                self.map(f, d, Type::B32, &[(a, a_type), (b, b_type), (c, Type::B32)])
            }
            _ => {
                let ty = self.need_type(modifiers)?;
                let [d, a, b, c] = self.operands(operands)?;
                let f = self.known(integer::sum_of_difference(ty), opcode, ty)?;
                self.map(f, d, ty, &[(a, ty), (b, ty), (c, ty)])
            }
        }
    }

    fn comparison(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let relation = modifiers.one_of(&[
            "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu",
            "num", "nan",
        ]);
        let Some(relation) = relation else { return self.error("no comparison that is known") };
        let joined = modifiers.one_of(&["and", "or", "xor"]);
        let set_type = if opcode == "set" { Some(self.need_type(modifiers)?) } else { None };
        let ty = self.need_type(modifiers)?;
        if operands.len() != 3 + usize::from(joined.is_some()) {
            return self.error(format!("{} operands are not known here", operands.len()));
        }
        let f = self.known(compare::comparison(relation, ty), opcode, ty)?;
        let (a, b) = (self.source(&operands[1], ty)?, self.source(&operands[2], ty)?);
        let other = operands.get(3).map(|c| self.source(c, Type::Pred)).transpose()?;
        let test = self.fresh(Class::Predicate);
        self.lane(f, test, &[a, b]);
        if let Some(set_type) = set_type {
            return self.set(test, joined.zip(other), set_type, &operands[0]);
        }
        let (first, second) = match &operands[0] {
            Operand::Pair(p, q) => (p.as_ref(), Some(q.as_ref())),
            single => (single, None),
        };
        let p = self.result(first, Type::Pred)?;
        if let Some(second) = second {
            let q = self.result(second, Type::Pred)?;
            let inverse = self.fresh(Class::Predicate);
            self.predicate_op("not", inverse, &[test])?;
            self.join(q, inverse, joined.zip(other))?;
        }
        self.join(p, test, joined.zip(other))
    }

    fn join(&mut self, d: Reg, test: Reg, with: Option<(&'static str, Reg)>) -> Result<()> {
        match with {
            Some((op, other)) => self.predicate_op(op, d, &[test, other]),
            None => self.predicate_op("mov", d, &[test]),
        }
    }

    fn set(&mut self, test: Reg, with: Option<(&'static str, Reg)>, ty: Type, d: &Operand) -> Result<()> {
        let yes = match ty {
            Type::F32 => u64::from(1f32.to_bits()),
            Type::U32 | Type::S32 => u64::from(u32::MAX),
            _ => return self.error(format!("`set` with a result of type {ty:?} is not known")),
        };
        let joined = self.fresh(Class::Predicate);
        self.join(joined, test, with)?;
        let (yes, no) = (self.constant(ty, yes), self.constant(ty, 0));
        let d = self.result(d, ty)?;
        self.lane(carry::selection(ty), d, &[yes, no, joined]);
        Ok(())
    }

    fn mov(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let ty = self.need_type(modifiers)?;
        let [d, a] = self.operands(operands)?;
        match (d, a) {
            (Operand::Vector(parts), a) => self.unpack(parts, a, ty),
            (d, Operand::Vector(parts)) => self.pack(d, parts, ty),
            _ if ty == Type::Pred => {
                let a = match a {
                    // `mov.pred %p, 0` or `-1`: as a comparison of constants.
                    Operand::Int(value) => {
                        let (zero, value) =
                            (self.constant(Type::U32, 0), self.constant(Type::U32, u64::from(*value != 0)));
                        let test = self.fresh(Class::Predicate);
                        let f = self.known(compare::comparison("ne", Type::U32), "mov", ty)?;
                        self.lane(f, test, &[value, zero]);
                        test
                    }
                    a => self.source(a, ty)?,
                };
                let d = self.result(d, ty)?;
                self.predicate_op("mov", d, &[a])
            }
            (d, a) => {
                let f = self.known(integer::unary("mov", ty), "mov", ty)?;
                let value = match a {
                    Operand::Name(name) => self.address_value(name, ty)?,
                    _ => None,
                };
                let a = match value {
                    Some(value) => value,
                    None => self.source(a, ty)?,
                };
                let d = self.result(d, ty)?;
                self.lane(f, d, &[a]);
                Ok(())
            }
        }
    }

    fn part_type(&self, whole: Type, parts: usize) -> Result<Type> {
        match (whole.bytes(), parts) {
            (8, 2) => Ok(Type::B32),
            (8, 4) | (4, 2) => Ok(Type::B16),
            _ => self.error(format!("`mov` of {parts} parts of {whole:?} is not known")),
        }
    }

    fn unpack(&mut self, parts: &[Operand], a: &Operand, ty: Type) -> Result<()> {
        let part = self.part_type(ty, parts.len())?;
        let mut a = self.source(a, ty)?;
        // The source may be one of the results: read it first.
        let copy = self.fresh(class_of(ty));
        let f = self.known(integer::unary("mov", ty), "mov", ty)?;
        self.lane(f, copy, &[a]);
        a = copy;
        for (index, operand) in parts.iter().enumerate() {
            let bits = 8 * part.bytes();
            let f = self.known(integer::unpack(ty, bits), "mov", ty)?;
            let d = self.result(operand, part)?;
            // The functions of three sources read only `a`.
            self.emit(Op::Lane(f, Args { d, a, b: a, c: a, imm: (index * bits) as u32, ..Args::default() }));
        }
        Ok(())
    }

    fn pack(&mut self, d: &Operand, parts: &[Operand], ty: Type) -> Result<()> {
        let part = self.part_type(ty, parts.len())?;
        let sources = parts.iter().map(|operand| self.source(operand, part)).collect::<Result<Vec<_>>>()?;
        let d = self.result(d, ty)?;
        match *sources.as_slice() {
            [a, b] if part == Type::B32 => self.lane(integer::pack_words(), d, &[a, b]),
            [a, b] => self.lane(integer::pack_halves(), d, &[a, b]),
            [a, b, c, e] => {
                let (low, high) = (self.fresh(Class::Word), self.fresh(Class::Word));
                self.lane(integer::pack_halves(), low, &[a, b]);
                self.lane(integer::pack_halves(), high, &[c, e]);
                self.lane(integer::pack_words(), d, &[low, high]);
            }
            _ => return self.error("`mov` of this many parts is not known"),
        }
        Ok(())
    }

    fn conversion(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        let mode = modifiers.one_of(&["rni", "rzi", "rmi", "rpi", "rn", "rz", "rm", "rp"]);
        let saturate = modifiers.take("sat");
        let (to, from) = (self.need_type(modifiers)?, self.need_type(modifiers)?);
        let [d, a] = self.operands(operands)?;
        let rounding = mode.map(|name| match &name[..2] {
            "rn" => Rounding::Nearest,
            "rz" => Rounding::Zero,
            "rm" => Rounding::Down,
            _ => Rounding::Up,
        });
        let integral = mode.is_some_and(|name| name.ends_with('i'));
        let f = match (is_float(to), is_float(from), rounding) {
            (false, false, None) => convert::integer(to, from, saturate),
            (false, true, Some(mode)) if integral => convert::float_to_integer(to, from, mode),
            (true, false, Some(mode)) if !integral && !saturate => convert::integer_to_float(to, from, mode),
            (true, true, Some(mode)) if integral && !saturate => convert::float(to, from, Some(mode)),
            (true, true, None) if to == Type::F64 && !saturate => convert::float(to, from, None),
            (true, true, Some(Rounding::Nearest)) if to == Type::F32 && !saturate => convert::float(to, from, None),
            _ => None,
        };
        let f = self.known(f, "cvt", to)?;
        let a = self.relaxed(a, from)?;
        let d = match d {
            Operand::Name(name) if class_of(to) == Class::Word => {
                let (reg, declared) = self.register(name)?;
                if class_of(declared) != Class::Word || declared.bytes() < to.bytes() {
                    return self
                        .error(format!("`{name}` ({declared:?}) as the result of `cvt` to {to:?} is not known"));
                }
                reg
            }
            d => self.result(d, to)?,
        };
        self.lane(f, d, &[a]);
        Ok(())
    }

    /// A source whose register may be wider than `ty` within its class.
    fn relaxed(&mut self, operand: &Operand, ty: Type) -> Result<Reg> {
        match operand {
            Operand::Name(name) => {
                let (reg, declared) = self.register(name)?;
                if class_of(declared) != class_of(ty) || declared.bytes() < ty.bytes() {
                    return self.error(format!("`{name}` ({declared:?}) as a source of type {ty:?} is not known"));
                }
                Ok(reg)
            }
            other => self.source(other, ty),
        }
    }
}
