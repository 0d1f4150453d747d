//! Branches, calls, the end of threads.

use std::collections::HashMap;

use super::{Binding, Lowerer, Modifiers, Result};
use crate::ir::{Access, Mem, Op};
use crate::lanes::NONE;
use crate::ptx::{Operand, Space, Type};

impl<'m> Lowerer<'m> {
    /// Translates the instruction if it belongs here.
    pub fn control(&mut self, opcode: &str, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<bool> {
        match opcode {
            "bra" => {
                modifiers.take("uni");
                let [Operand::Name(name)] = self.operands(operands)? else { return self.error("`bra` needs a label") };
                let label = self.label(name);
                self.emit(Op::Branch(label));
            }
            "brx" => self.branch_table(modifiers, operands)?,
            "ret" => {
                modifiers.take("uni");
                let [] = self.operands(operands)?;
                match self.frames.last().and_then(|frame| frame.2) {
                    Some(label) => self.emit(Op::Branch(label)),
                    None => self.emit(Op::Exit),
                }
            }
            "exit" => self.emit(Op::Exit),
            "trap" => self.emit(Op::Trap),
            "call" => {
                modifiers.take("uni");
                self.call(operands)?;
            }
            "nanosleep" => return self.error("`nanosleep` is refused: the emulator has no time"),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn branch_table(&mut self, modifiers: &mut Modifiers, operands: &[Operand]) -> Result<()> {
        modifiers.take("uni");
        let idx = modifiers.take("idx");
        let [index, Operand::Name(table)] = self.operands(operands)? else {
            return self.error("`brx` needs an index and a table");
        };
        let index = self.source(index, Type::U32)?;
        let Some(Binding::Targets(names)) = self.lookup(table).filter(|_| idx) else {
            return self.error(format!("`{table}` is not a table of branch targets"));
        };
        let targets = names.iter().map(|name| self.label(name)).collect();
        self.emit(Op::BranchTable { index, targets });
        Ok(())
    }

    /// Inlines the function called: its parameters and results are places in local memory that caller and callee share.
    fn call(&mut self, operands: &[Operand]) -> Result<()> {
        let (results, name, arguments) = match operands {
            [Operand::Name(name)] => (&[][..], name, &[][..]),
            [Operand::Name(name), Operand::List(arguments)] => (&[][..], name, arguments.as_slice()),
            [Operand::List(results), Operand::Name(name)] => (results.as_slice(), name, &[][..]),
            [Operand::List(results), Operand::Name(name), Operand::List(arguments)] => {
                (results.as_slice(), name, arguments.as_slice())
            }
            _ => return self.error("a call of this form is not known (indirect calls are not)"),
        };
        if self.guard != NONE {
            return self.error("a guarded call is not known");
        }
        if name == "__assertfail" {
            return self.assert_fail(arguments);
        }
        let Some(&function) = self.functions.get(name.as_str()) else {
            return self.error(format!("function `{name}` is called and not defined"));
        };
        if self.frames.iter().any(|frame| frame.1 == name) {
            return self.error(format!("function `{name}` calls itself: recursion is not known"));
        }
        if results.len() != function.returns.len() || arguments.len() != function.params.len() {
            return self.error(format!("`{name}` is called with another number of arguments than it has"));
        }
        let mut scope = HashMap::new();
        for (argument, param) in arguments.iter().zip(&function.params) {
            let at = self.call_place(argument, param.ty, param.align, param.bytes(), true)?;
            scope.insert(param.name.clone(), Binding::CallParam(at));
        }
        let mut loads = Vec::new();
        for (result, declared) in results.iter().zip(&function.returns) {
            let at = self.call_place(result, declared.ty, declared.align, declared.bytes(), false)?;
            scope.insert(declared.name.clone(), Binding::CallParam(at));
            loads.push((result, declared.ty, at));
        }
        self.inline(function, scope)?;
        for (result, ty, at) in loads {
            if !matches!(self.call_binding(result), Some(Binding::CallParam(_))) {
                let reg = self.result(result, ty)?;
                self.emit(Op::Load(local_access(ty, at, reg)));
            }
        }
        Ok(())
    }

    fn inline(&mut self, function: &'m crate::ptx::Function, scope: HashMap<String, Binding>) -> Result<()> {
        let (line, location) = (self.line, self.location);
        let after = self.new_label();
        self.instances += 1;
        self.frames.push((self.instances, &function.name, Some(after)));
        // The callee sees only its own names and the outermost scope, which holds the module's shared variables.
        let outer = self.scopes.split_off(1);
        self.scopes.push(scope);
        self.body(function)?;
        self.scopes.truncate(1);
        self.scopes.extend(outer);
        self.frames.pop();
        (self.line, self.location) = (line, location);
        self.place(after)
    }

    fn call_binding(&mut self, operand: &Operand) -> Option<Binding> {
        match operand {
            Operand::Name(name) => self.lookup(name),
            _ => None,
        }
    }

    /// The place in local memory of an argument or result; values in registers get one.
    fn call_place(&mut self, operand: &Operand, ty: Type, align: usize, bytes: usize, store: bool) -> Result<usize> {
        if let Some(Binding::CallParam(at)) = self.call_binding(operand) {
            return Ok(at);
        }
        let at = self.local(align, bytes);
        if store {
            let reg = self.source(operand, ty)?;
            self.emit(Op::Store(local_access(ty, at, reg)));
        }
        Ok(at)
    }

    fn assert_fail(&mut self, arguments: &[Operand]) -> Result<()> {
        let mut places = [0; 4];
        if arguments.len() != 5 {
            return self.error("`__assertfail` has five arguments");
        }
        for (place, argument) in places.iter_mut().zip(arguments) {
            match self.call_binding(argument) {
                Some(Binding::CallParam(at)) => *place = at as u32,
                _ => return self.error("arguments of `__assertfail` must be parameters"),
            }
        }
        self.emit(Op::AssertFail(places));
        Ok(())
    }
}

fn local_access(ty: Type, at: usize, reg: u32) -> Access {
    Access {
        space: Space::Local,
        bytes: ty.bytes() as u8,
        count: 1,
        signed: ty.is_signed(),
        strong: false,
        long: ty.bytes() == 8,
        at: Mem { base: NONE, long: true, offset: at as i64 },
        regs: [reg, NONE, NONE, NONE],
    }
}
