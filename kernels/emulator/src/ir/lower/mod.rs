//! Syntax tree to executable form: names are resolved, device functions inlined, and each instruction is translated by
//! the function of its family. What no family knows is refused with its line; nothing is guessed.

mod arithmetic;
mod control;
mod memory;
mod modifiers;
mod warp;

use std::collections::HashMap;

use self::modifiers::Modifiers;
use super::allocate::allocate;
use super::{Class, Instr, Kernel, Mem, Op, Param, Pinned, Special};
use crate::lanes::{Args, LaneFn, NONE, Reg};
use crate::ptx::{
    Address, Base, Function, Instruction, Location, Module, Operand, PtxError, Space, Statement, Type, Variable,
};

pub(crate) type Result<T> = std::result::Result<T, PtxError>;

/// Lowers every kernel of a module. `symbols` gives the device addresses of its global and constant variables.
///
/// # Errors
/// The first instruction, modifier, type or state space that is not known, with its line.
pub fn lower_module(module: &Module, symbols: &HashMap<String, u64>) -> Result<Vec<Kernel>> {
    let functions: HashMap<&str, &Function> =
        module.functions.iter().filter(|f| f.body.is_some()).map(|f| (f.name.as_str(), f)).collect();
    let kernels = module.functions.iter().filter(|f| f.entry && f.body.is_some());
    kernels.map(|function| Lowerer::new(module, symbols, &functions).kernel(function)).collect()
}

/// What a name stands for.
#[derive(Debug, Clone)]
enum Binding {
    Register(Reg, Type),
    /// Offset in shared memory.
    Shared(usize),
    /// The start of dynamic shared memory.
    DynamicShared,
    /// Offset in the thread's local memory.
    Local(usize),
    /// Offset in the kernel's parameters.
    Param(usize),
    /// A parameter or result of a call: offset in local memory.
    CallParam(usize),
    /// Address of a module's variable.
    Memory(u64),
    /// Targets of `brx.idx`.
    Targets(Vec<String>),
}

struct Lowerer<'m> {
    module: &'m Module,
    symbols: &'m HashMap<String, u64>,
    functions: &'m HashMap<&'m str, &'m Function>,
    code: Vec<Instr>,
    classes: Vec<Class>,
    pins: HashMap<(Class, Pinned), Reg>,
    scopes: Vec<HashMap<String, Binding>>,
    /// Labels by inlined instance and name, and where they stand in the code.
    labels: HashMap<(usize, String), u32>,
    places: Vec<Option<u32>>,
    /// The inlined instances that are open: number, function and the label behind them.
    frames: Vec<(usize, &'m str, Option<u32>)>,
    instances: usize,
    shared_bytes: usize,
    shared_align: usize,
    local_bytes: usize,
    carry: Option<Reg>,
    guard: Reg,
    negated: bool,
    line: u32,
    location: Location,
}

fn class_of(ty: Type) -> Class {
    match ty.bytes() {
        0 => Class::Predicate,
        8 => Class::Long,
        _ => Class::Word,
    }
}

fn align_to(at: usize, align: usize) -> usize {
    at.next_multiple_of(align.max(1))
}

impl<'m> Lowerer<'m> {
    fn new(
        module: &'m Module,
        symbols: &'m HashMap<String, u64>,
        functions: &'m HashMap<&'m str, &'m Function>,
    ) -> Self {
        Self {
            module,
            symbols,
            functions,
            code: Vec::new(),
            classes: Vec::new(),
            pins: HashMap::new(),
            scopes: Vec::new(),
            labels: HashMap::new(),
            places: Vec::new(),
            frames: Vec::new(),
            instances: 0,
            shared_bytes: 0,
            shared_align: 16,
            local_bytes: 0,
            carry: None,
            guard: NONE,
            negated: false,
            line: 0,
            location: Location::default(),
        }
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        let source_line = match self.module.files.get(&self.location.file) {
            Some(file) if self.location.line > 0 => Some(format!("{file}:{}", self.location.line)),
            _ => None,
        };
        Err(PtxError { line: self.line, source_line, message: message.into() })
    }

    fn kernel(mut self, function: &'m Function) -> Result<Kernel> {
        self.line = function.line;
        let mut scope = HashMap::new();
        let mut params = Vec::new();
        let mut at = 0;
        for param in &function.params {
            at = align_to(at, param.align);
            scope.insert(param.name.clone(), Binding::Param(at));
            params.push(Param { offset: at, bytes: param.bytes() });
            at += param.bytes();
        }
        self.scopes.push(scope);
        self.frames.push((0, &function.name, None));
        self.body(function)?;
        self.guard = NONE;
        self.emit(Op::Exit);
        self.resolve_labels()?;
        self.finish(function, params, at)
    }

    fn finish(mut self, function: &Function, params: Vec<Param>, param_bytes: usize) -> Result<Kernel> {
        let mut pinned = vec![false; self.classes.len()];
        self.pins.values().for_each(|&reg| pinned[reg as usize] = true);
        let allocation = allocate(&mut self.code, &self.classes, &pinned);
        let pins =
            self.pins.iter().map(|(&(class, pin), &reg)| (allocation.places[reg as usize], class, pin)).collect();
        Ok(Kernel {
            name: function.name.clone(),
            code: self.code,
            files: self.module.files.clone(),
            params,
            param_bytes,
            shared_bytes: self.shared_bytes,
            dynamic_offset: align_to(self.shared_bytes, self.shared_align),
            local_bytes: align_to(self.local_bytes, 16),
            file_words: allocation.words,
            pinned: pins,
            max_threads: function.max_threads,
            required_threads: function.required_threads,
            live_words: allocation.live_words,
        })
    }

    fn body(&mut self, function: &'m Function) -> Result<()> {
        let Some(body) = &function.body else { return self.error(format!("function `{}` has no body", function.name)) };
        self.scopes.push(HashMap::new());
        let depth = self.scopes.len();
        for statement in body {
            match statement {
                Statement::Open => self.scopes.push(HashMap::new()),
                Statement::Close => {
                    self.scopes.pop();
                }
                Statement::Label(name, line) => {
                    self.line = *line;
                    let label = self.label(name);
                    self.place(label)?;
                }
                Statement::Registers(ty, names) => self.declare_registers(*ty, names)?,
                Statement::Variable(variable) => self.declare_variable(variable)?,
                Statement::Targets(name, targets) => self.bind(name, Binding::Targets(targets.clone())),
                Statement::Instruction(instruction) => self.statement(instruction)?,
            }
        }
        self.scopes.truncate(depth - 1);
        Ok(())
    }

    fn bind(&mut self, name: &str, binding: Binding) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), binding);
        }
    }

    fn declare_registers(&mut self, ty: Type, names: &[(String, Option<usize>)]) -> Result<()> {
        for (name, count) in names {
            match count {
                None => {
                    let reg = self.fresh(class_of(ty));
                    self.bind(name, Binding::Register(reg, ty));
                }
                Some(count) => {
                    for index in 0..*count {
                        let reg = self.fresh(class_of(ty));
                        self.bind(&format!("{name}{index}"), Binding::Register(reg, ty));
                    }
                }
            }
        }
        Ok(())
    }

    fn declare_variable(&mut self, variable: &Variable) -> Result<()> {
        self.line = variable.line;
        if variable.initial.is_some() {
            return self.error("initial values of variables of a function are not known");
        }
        let binding = match variable.space {
            Space::Shared => self.shared_variable(variable),
            Space::Local => Binding::Local(self.local(variable.align, variable.bytes())),
            _ => Binding::CallParam(self.local(variable.align, variable.bytes())),
        };
        self.bind(&variable.name, binding);
        Ok(())
    }

    fn local(&mut self, align: usize, bytes: usize) -> usize {
        let at = align_to(self.local_bytes, align);
        self.local_bytes = at + bytes;
        at
    }

    fn shared_variable(&mut self, variable: &Variable) -> Binding {
        if variable.count.is_none() {
            self.shared_align = self.shared_align.max(variable.align);
            return Binding::DynamicShared;
        }
        let at = align_to(self.shared_bytes, variable.align);
        self.shared_bytes = at + variable.bytes();
        Binding::Shared(at)
    }

    fn lookup(&mut self, name: &str) -> Option<Binding> {
        if let Some(found) = self.scopes.iter().rev().find_map(|scope| scope.get(name)) {
            return Some(found.clone());
        }
        if let Some(&address) = self.symbols.get(name) {
            return Some(Binding::Memory(address));
        }
        let module = self.module;
        let variable = module.variables.iter().find(|v| v.name == name && v.space == Space::Shared)?;
        let binding = self.shared_variable(variable);
        // Bound in the outermost scope, so that the kernel has one of it.
        self.scopes.first_mut()?.insert(name.to_owned(), binding.clone());
        Some(binding)
    }

    fn label(&mut self, name: &str) -> u32 {
        let frame = self.frames.last().map_or(0, |frame| frame.0);
        if let Some(&label) = self.labels.get(&(frame, name.to_owned())) {
            return label;
        }
        let label = self.new_label();
        self.labels.insert((frame, name.to_owned()), label);
        label
    }

    fn new_label(&mut self) -> u32 {
        self.places.push(None);
        self.places.len() as u32 - 1
    }

    fn place(&mut self, label: u32) -> Result<()> {
        if self.places[label as usize].replace(self.code.len() as u32).is_some() {
            return self.error("a label is defined twice");
        }
        Ok(())
    }

    fn resolve_labels(&mut self) -> Result<()> {
        if let Some(((_, name), _)) = self.labels.iter().find(|(_, label)| self.places[**label as usize].is_none()) {
            return self.error(format!("label `{name}` is not defined"));
        }
        let places: Vec<u32> = self.places.iter().map(|place| place.unwrap_or(0)).collect();
        for instr in &mut self.code {
            match &mut instr.op {
                Op::Branch(target) => *target = places[*target as usize],
                Op::BranchTable { targets, .. } => {
                    targets.iter_mut().for_each(|target| *target = places[*target as usize]);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn fresh(&mut self, class: Class) -> Reg {
        self.classes.push(class);
        self.classes.len() as Reg - 1
    }

    fn pin(&mut self, class: Class, pinned: Pinned) -> Reg {
        if let Some(&reg) = self.pins.get(&(class, pinned)) {
            return reg;
        }
        let reg = self.fresh(class);
        self.pins.insert((class, pinned), reg);
        reg
    }

    fn constant(&mut self, ty: Type, value: u64) -> Reg {
        let bits = match ty.bytes() {
            8 => value,
            bytes => value & ((1 << (8 * bytes)) - 1),
        };
        self.pin(class_of(ty), Pinned::Constant(bits))
    }

    fn emit(&mut self, op: Op) {
        let (guard, negated, line, location) = (self.guard, self.negated, self.line, self.location);
        self.code.push(Instr { op, guard, negated, line, location });
    }

    fn lane(&mut self, f: LaneFn, d: Reg, sources: &[Reg]) {
        let source = |index: usize| sources.get(index).copied().unwrap_or(NONE);
        self.emit(Op::Lane(f, Args { d, a: source(0), b: source(1), c: source(2), ..Args::default() }));
    }

    fn statement(&mut self, instruction: &'m Instruction) -> Result<()> {
        (self.line, self.location) = (instruction.line, instruction.location);
        (self.guard, self.negated) = match &instruction.guard {
            Some(guard) => (self.source_named(&guard.name, Type::Pred)?, guard.negated),
            None => (NONE, false),
        };
        let mut modifiers = Modifiers::new(&instruction.modifiers);
        let ops = instruction.operands.as_slice();
        let known = self.arithmetic(&instruction.opcode, &mut modifiers, ops)?
            || self.memory(&instruction.opcode, &mut modifiers, ops)?
            || self.warp(&instruction.opcode, &mut modifiers, ops)?
            || self.control(&instruction.opcode, &mut modifiers, ops)?;
        if !known {
            return self.error(format!("instruction `{}` is not known", instruction.opcode));
        }
        if let Some(unknown) = modifiers.unused() {
            return self.error(format!("modifier `.{unknown}` of `{}` is not known", instruction.opcode));
        }
        (self.guard, self.negated) = (NONE, false);
        Ok(())
    }

    /// Checks the number of operands.
    fn operands<'o, const N: usize>(&self, operands: &'o [Operand]) -> Result<[&'o Operand; N]> {
        let found: Vec<&Operand> = operands.iter().collect();
        match <[&Operand; N]>::try_from(found) {
            Ok(array) => Ok(array),
            Err(_) => self.error(format!("{} operands where {N} are known", operands.len())),
        }
    }

    fn special(&mut self, name: &str) -> Option<Reg> {
        let axis = |suffix: &str| ["x", "y", "z"].iter().position(|&a| a == suffix);
        let special = match name.split_once('.') {
            Some(("%tid", a)) => Special::Tid(axis(a)?),
            Some(("%ntid", a)) => Special::Ntid(axis(a)?),
            Some(("%ctaid", a)) => Special::Ctaid(axis(a)?),
            Some(("%nctaid", a)) => Special::Nctaid(axis(a)?),
            None => match name {
                "%laneid" => Special::LaneId,
                "%warpid" => Special::WarpId,
                "%nwarpid" => Special::NumWarps,
                "%lanemask_eq" => Special::LaneMaskEq,
                "%lanemask_lt" => Special::LaneMaskLt,
                "%lanemask_le" => Special::LaneMaskLe,
                "%lanemask_gt" => Special::LaneMaskGt,
                "%lanemask_ge" => Special::LaneMaskGe,
                "%dynamic_smem_size" => Special::DynamicShared,
                "%total_smem_size" => Special::TotalShared,
                "WARP_SZ" => return Some(self.constant(Type::U32, 32)),
                _ => return None,
            },
            _ => return None,
        };
        Some(self.pin(Class::Word, Pinned::Special(special)))
    }

    /// The register named `name`, checked to have the width of `ty`.
    fn source_named(&mut self, name: &str, ty: Type) -> Result<Reg> {
        let (reg, declared) = self.register(name)?;
        if declared.bytes() != ty.bytes() {
            return self.error(format!("`{name}` is declared {declared:?} and used as {ty:?}"));
        }
        Ok(reg)
    }

    fn register(&mut self, name: &str) -> Result<(Reg, Type)> {
        match self.lookup(name) {
            Some(Binding::Register(reg, declared)) => Ok((reg, declared)),
            Some(_) => self.error(format!("`{name}` is not a register")),
            None => match self.special(name) {
                Some(reg) => Ok((reg, Type::U32)),
                None if name.starts_with('%') => self.error(format!("register `{name}` is not known")),
                None => self.error(format!("`{name}` is not declared")),
            },
        }
    }

    /// A source operand of type `ty`.
    fn source(&mut self, operand: &Operand, ty: Type) -> Result<Reg> {
        match operand {
            Operand::Name(name) => self.source_named(name, ty),
            Operand::Int(value) if matches!(ty, Type::F32 | Type::F64) => {
                self.error(format!("the integer {value} where a float is expected"))
            }
            Operand::Int(value) if ty != Type::Pred => Ok(self.constant(ty, *value)),
            Operand::F32(bits) if ty.bytes() == 4 => Ok(self.constant(ty, u64::from(*bits))),
            Operand::F64(bits) if ty.bytes() == 8 => Ok(self.constant(ty, *bits)),
            Operand::Not(name) if ty == Type::Pred => {
                let a = self.source_named(name, Type::Pred)?;
                let d = self.fresh(Class::Predicate);
                self.predicate_op("not", d, &[a])?;
                Ok(d)
            }
            _ => self.error(format!("operand {operand:?} is not known as a source of type {ty:?}")),
        }
    }

    /// A result operand of type `ty`; `_` becomes a register that nobody reads.
    fn result(&mut self, operand: &Operand, ty: Type) -> Result<Reg> {
        match operand {
            Operand::Name(name) if name == "_" => Ok(self.fresh(class_of(ty))),
            Operand::Name(name) => match self.lookup(name) {
                Some(Binding::Register(..)) => self.source_named(name, ty),
                _ => self.error(format!("`{name}` cannot be written")),
            },
            _ => self.error(format!("operand {operand:?} is not known as a result")),
        }
    }

    /// The registers of `{a, b, …}`, which must be `N`.
    fn vector<const N: usize>(&mut self, operand: &Operand, ty: Type, results: bool) -> Result<[Reg; N]> {
        let items = match operand {
            Operand::Vector(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        if items.len() != N {
            return self.error(format!("a vector of {} registers where {N} are known", items.len()));
        }
        let mut regs = [NONE; N];
        for (reg, item) in regs.iter_mut().zip(items) {
            *reg = if results { self.result(item, ty)? } else { self.source(item, ty)? };
        }
        Ok(regs)
    }

    /// An address, and the space in which it really lies: parameters of calls are local memory.
    fn address(&mut self, operand: &Operand, space: Space) -> Result<(Mem, Space)> {
        let Operand::Address(Address { base, offset }) = operand else {
            return self.error(format!("operand {operand:?} is not an address"));
        };
        let offset = *offset;
        let fixed = |base: usize| Mem { base: NONE, long: true, offset: base as i64 + offset };
        let Base::Name(name) = base else { return Ok((fixed(0), space)) };
        let binding = match self.lookup(name) {
            Some(binding) => binding,
            None => return self.error(format!("`{name}` is not declared")),
        };
        Ok(match (binding, space) {
            (Binding::Register(reg, ty), _) if matches!(ty.bytes(), 4 | 8) => {
                (Mem { base: reg, long: ty.bytes() == 8, offset }, space)
            }
            (Binding::Shared(at), Space::Shared) => (fixed(at), space),
            (Binding::DynamicShared, Space::Shared) => {
                let base = self.pin(Class::Word, Pinned::Special(Special::DynamicBase));
                (Mem { base, long: false, offset }, space)
            }
            (Binding::Local(at), Space::Local) => (fixed(at), space),
            (Binding::Param(at), Space::Param) => (fixed(at), space),
            (Binding::CallParam(at), Space::Param) => (fixed(at), Space::Local),
            (Binding::Memory(address), Space::Global | Space::Const | Space::Generic) => {
                (Mem { base: NONE, long: true, offset: (address as i64).wrapping_add(offset) }, space)
            }
            (binding, _) => return self.error(format!("`{name}` ({binding:?}) is not an address in {space:?} space")),
        })
    }

    /// The address of a variable as a value, in its own state space.
    fn address_value(&mut self, name: &str, ty: Type) -> Result<Option<Reg>> {
        let value = match self.lookup(name) {
            Some(Binding::Shared(at) | Binding::Local(at) | Binding::Param(at)) => at as u64,
            Some(Binding::Memory(address)) => address,
            Some(Binding::DynamicShared) => {
                let narrow = self.pin(Class::Word, Pinned::Special(Special::DynamicBase));
                if ty.bytes() == 4 {
                    return Ok(Some(narrow));
                }
                return Ok(Some(self.pin(Class::Long, Pinned::Special(Special::DynamicBase))));
            }
            _ => return Ok(None),
        };
        Ok(Some(self.constant(ty, value)))
    }

    fn predicate_op(&mut self, op: &str, d: Reg, sources: &[Reg]) -> Result<()> {
        match crate::lanes::carry::predicate_logic(op) {
            Some(f) => {
                self.lane(f, d, sources);
                Ok(())
            }
            None => self.error(format!("predicates have no `{op}`")),
        }
    }
}
