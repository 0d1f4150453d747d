//! Tokens to a syntax tree, by recursive descent.

use super::lexer::{Token, tokens};
use super::{
    Address, Base, Function, Guard, Instruction, Location, Module, Operand, PtxError, Space, Statement, Type, Variable,
};

type Result<T> = std::result::Result<T, PtxError>;

/// Parses the text of a PTX module.
///
/// # Errors
/// The first line that is not PTX as this parser knows it.
pub fn parse(text: &str) -> Result<Module> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, location: Location::default(), module: Module::default() };
    while parser.at < tokens.len() {
        parser.directive()?;
    }
    if parser.module.target.is_empty() {
        return Err(PtxError::new(1, "no .target: this is not a PTX module"));
    }
    Ok(parser.module)
}

struct Parser<'a> {
    tokens: &'a [(Token<'a>, u32)],
    at: usize,
    location: Location,
    module: Module,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|found| found.0)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |found| found.1)
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        Err(PtxError::new(self.line(), message))
    }

    fn expected<T>(&self, what: &str) -> Result<T> {
        match self.peek() {
            Some(token) => self.error(format!("expected {what}, found {token:?}")),
            None => self.error(format!("expected {what}, found the end of the text")),
        }
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(Token::Punct(c));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, c: char) -> Result<()> {
        if self.eat(c) { Ok(()) } else { self.expected(&format!("`{c}`")) }
    }

    fn eat_dot(&mut self, name: &str) -> bool {
        let found = self.peek() == Some(Token::Dot(name));
        self.at += usize::from(found);
        found
    }

    fn dot(&mut self) -> Option<&'a str> {
        let Some(Token::Dot(name)) = self.peek() else { return None };
        self.at += 1;
        Some(name)
    }

    fn name(&mut self) -> Result<String> {
        let Some(Token::Name(name)) = self.peek() else { return self.expected("a name") };
        self.at += 1;
        Ok(name.to_owned())
    }

    fn int(&mut self) -> Result<u64> {
        let negative = self.eat('-');
        let Some(Token::Int(value)) = self.peek() else { return self.expected("an integer") };
        self.at += 1;
        Ok(if negative { value.wrapping_neg() } else { value })
    }

    fn size(&mut self) -> Result<usize> {
        let value = self.int()?;
        match usize::try_from(value) {
            Ok(size) if size <= 1 << 32 => Ok(size),
            _ => self.error(format!("{value} is too large a size")),
        }
    }

    fn directive(&mut self) -> Result<()> {
        let Some(name) = self.dot() else { return self.expected("a directive") };
        match name {
            "version" => self.version(),
            "target" => {
                self.module.target = self.name()?;
                while self.eat(',') {
                    let option = self.name()?;
                    if option != "debug" {
                        return self.error(format!(".target option `{option}` is not known"));
                    }
                }
                Ok(())
            }
            "address_size" => match self.int()? {
                64 => Ok(()),
                other => self.error(format!("addresses of {other} bits are not known, only of 64")),
            },
            "file" => self.file(),
            "section" => {
                self.dot();
                self.skip_braces()
            }
            "visible" | "weak" | "extern" | "common" => {
                let external = name == "extern";
                let Some(next) = self.dot() else { return self.expected("a directive") };
                self.declaration(next, external)
            }
            other => self.declaration(other, false),
        }
    }

    fn version(&mut self) -> Result<()> {
        let Some(Token::F64(bits)) = self.peek() else { return self.expected("a version such as 8.8") };
        self.at += 1;
        let value = f64::from_bits(bits);
        self.module.version = (value as u32, (value.fract() * 10.0).round() as u32);
        Ok(())
    }

    fn file(&mut self) -> Result<()> {
        let index = self.int()? as u32;
        let Some(Token::Text(name)) = self.peek() else { return self.expected("a file name") };
        self.at += 1;
        while self.eat(',') {
            self.int()?;
        }
        self.module.files.insert(index, name.to_owned());
        Ok(())
    }

    fn skip_braces(&mut self) -> Result<()> {
        self.expect('{')?;
        let mut depth = 1;
        while depth > 0 {
            match self.peek() {
                Some(Token::Punct('{')) => depth += 1,
                Some(Token::Punct('}')) => depth -= 1,
                None => return self.expected("`}`"),
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    fn declaration(&mut self, name: &str, external: bool) -> Result<()> {
        match name {
            "entry" | "func" => {
                let function = self.function(name == "entry")?;
                self.module.functions.push(function);
                Ok(())
            }
            "global" | "const" | "shared" => {
                let space = match name {
                    "global" => Space::Global,
                    "const" => Space::Const,
                    _ => Space::Shared,
                };
                let variable = self.variable(space, external)?;
                self.expect(';')?;
                self.module.variables.push(variable);
                Ok(())
            }
            other => self.error(format!("directive .{other} is not known")),
        }
    }

    fn ty(&mut self) -> Result<Type> {
        let Some(name) = self.dot() else { return self.expected("a type") };
        match Type::named(name) {
            Some(ty) => Ok(ty),
            None => self.error(format!("type .{name} is not known")),
        }
    }

    /// What follows `.global`, `.param` and so on: `.align 8 .b8 name[40] = {…}`.
    fn variable(&mut self, space: Space, external: bool) -> Result<Variable> {
        let line = self.line();
        let mut align = None;
        loop {
            if self.eat_dot("align") {
                align = Some(self.size()?);
            } else if self.eat_dot("ptr") {
                // `.ptr .global .align 8`: what a pointer argument points to; a hint.
                while matches!(self.peek(), Some(Token::Dot("global" | "const" | "local" | "shared"))) {
                    self.at += 1;
                }
                if self.eat_dot("align") {
                    self.size()?;
                }
            } else if let Some(Token::Dot("attribute" | "managed")) = self.peek() {
                return self.error("attributes of variables are not known");
            } else if space == Space::Param && matches!(self.peek(), Some(Token::Name(_))) {
                return self.expected("a type");
            } else {
                // `.param .u64 .ptr .global .align 1 name` has the type before `.ptr`.
                match self.peek() {
                    Some(Token::Dot(name)) if Type::named(name).is_some() => break,
                    _ => return self.expected("a type"),
                }
            }
        }
        let ty = self.ty()?;
        while self.eat_dot("ptr") {
            while matches!(self.peek(), Some(Token::Dot("global" | "const" | "local" | "shared"))) {
                self.at += 1;
            }
            if self.eat_dot("align") {
                self.size()?;
            }
        }
        let name = self.name()?;
        let mut count = Some(1);
        while self.eat('[') {
            if self.eat(']') {
                count = None;
            } else {
                let size = self.size()?;
                count = count.map(|count| count * size);
                self.expect(']')?;
            }
        }
        let initial = if self.eat('=') { Some(self.initial(ty)?) } else { None };
        Ok(Variable { space, align: align.unwrap_or(ty.bytes().max(1)), ty, count, name, initial, external, line })
    }

    fn initial(&mut self, ty: Type) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.eat('{') {
            while !self.eat('}') {
                bytes.extend(self.initial(ty)?);
                if !self.eat(',') && self.peek() != Some(Token::Punct('}')) {
                    return self.expected("`,` or `}`");
                }
            }
            return Ok(bytes);
        }
        let value = match self.peek() {
            Some(Token::F32(bits)) if ty == Type::F32 => u64::from(bits),
            Some(Token::F64(bits)) if ty == Type::F64 => bits,
            Some(Token::Int(_) | Token::Punct('-')) => {
                let value = self.int()?;
                bytes.extend_from_slice(&value.to_le_bytes()[..ty.bytes()]);
                return Ok(bytes);
            }
            _ => return self.expected("a number (addresses as initial values are not known)"),
        };
        self.at += 1;
        bytes.extend_from_slice(&value.to_le_bytes()[..ty.bytes()]);
        Ok(bytes)
    }

    fn parameters(&mut self) -> Result<Vec<Variable>> {
        let mut params = Vec::new();
        if !self.eat('(') {
            return Ok(params);
        }
        while !self.eat(')') {
            if self.eat_dot("reg") {
                return self.error("function parameters in registers are not known");
            }
            if !self.eat_dot("param") {
                return self.expected(".param");
            }
            params.push(self.variable(Space::Param, false)?);
            if !self.eat(',') && self.peek() != Some(Token::Punct(')')) {
                return self.expected("`,` or `)`");
            }
        }
        Ok(params)
    }

    fn function(&mut self, entry: bool) -> Result<Function> {
        let line = self.line();
        let returns = if entry { Vec::new() } else { self.parameters()? };
        let name = self.name()?;
        let params = self.parameters()?;
        let (mut max_threads, mut required_threads) = (None, None);
        while let Some(directive) = self.dot() {
            match directive {
                "maxntid" | "reqntid" => {
                    let mut shape = [1u32; 3];
                    for axis in &mut shape {
                        *axis = self.int()? as u32;
                        if !self.eat(',') {
                            break;
                        }
                    }
                    if directive == "maxntid" {
                        max_threads = Some(shape.iter().product());
                    } else {
                        required_threads = Some(shape);
                    }
                }
                // Hints about registers: they change what ptxas does, not what the kernel means.
                "minnctapersm" | "maxnreg" | "maxnctapersm" => {
                    self.int()?;
                }
                "noreturn" => {}
                other => return self.error(format!("directive .{other} of a function is not known")),
            }
        }
        self.location = Location::default();
        let body = if self.eat(';') { None } else { Some(self.body()?) };
        Ok(Function { name, entry, params, returns, body, max_threads, required_threads, line })
    }

    fn body(&mut self) -> Result<Vec<Statement>> {
        self.expect('{')?;
        let mut depth = 0;
        let mut body = Vec::new();
        loop {
            match self.peek() {
                Some(Token::Punct('{')) => {
                    self.at += 1;
                    depth += 1;
                    body.push(Statement::Open);
                }
                Some(Token::Punct('}')) => {
                    self.at += 1;
                    if depth == 0 {
                        return Ok(body);
                    }
                    depth -= 1;
                    body.push(Statement::Close);
                }
                Some(Token::Punct(';')) => self.at += 1,
                Some(Token::Dot(_)) => self.local_directive(&mut body)?,
                Some(Token::Name(_) | Token::Punct('@')) => self.label_or_instruction(&mut body)?,
                _ => return self.expected("an instruction"),
            }
        }
    }

    fn local_directive(&mut self, body: &mut Vec<Statement>) -> Result<()> {
        let Some(name) = self.dot() else { return self.expected("a directive") };
        match name {
            "reg" => self.registers(body)?,
            "local" | "shared" | "param" => {
                let space = match name {
                    "local" => Space::Local,
                    "shared" => Space::Shared,
                    _ => Space::Param,
                };
                let variable = self.variable(space, false)?;
                body.push(Statement::Variable(variable));
                self.expect(';')?;
            }
            "loc" => {
                self.location = Location { file: self.int()? as u32, line: self.int()? as u32 };
                self.int()?;
                // `, function_name $L__info_string0, inlined_at 1 30 7`: where an inlined function was called.
                if self.eat(',') {
                    while matches!(self.peek(), Some(Token::Name(_) | Token::Int(_) | Token::Punct(',' | '+'))) {
                        if self.peek() == Some(Token::Name("inlined_at")) {
                            self.at += 4;
                            break;
                        }
                        self.at += 1;
                    }
                }
            }
            // Hints to the optimiser ("nounroll").
            "pragma" => {
                if !matches!(self.peek(), Some(Token::Text(_))) {
                    return self.expected("a string");
                }
                self.at += 1;
                self.expect(';')?;
            }
            other => return self.error(format!("directive .{other} is not known")),
        }
        Ok(())
    }

    fn registers(&mut self, body: &mut Vec<Statement>) -> Result<()> {
        let ty = self.ty()?;
        let mut names = Vec::new();
        loop {
            let name = self.name()?;
            let count = if self.eat('<') {
                let count = self.size()?;
                self.expect('>')?;
                Some(count)
            } else {
                None
            };
            names.push((name, count));
            if !self.eat(',') {
                break;
            }
        }
        self.expect(';')?;
        body.push(Statement::Registers(ty, names));
        Ok(())
    }

    fn label_or_instruction(&mut self, body: &mut Vec<Statement>) -> Result<()> {
        let line = self.line();
        let guard = if self.eat('@') {
            let negated = self.eat('!');
            Some(Guard { name: self.name()?, negated })
        } else {
            None
        };
        let opcode = self.name()?;
        if guard.is_none() && self.eat(':') {
            if self.eat_dot("branchtargets") {
                let mut targets = Vec::new();
                loop {
                    targets.push(self.name()?);
                    if !self.eat(',') {
                        break;
                    }
                }
                self.expect(';')?;
                body.push(Statement::Targets(opcode, targets));
            } else {
                body.push(Statement::Label(opcode, line));
            }
            return Ok(());
        }
        let mut modifiers = Vec::new();
        while let Some(name) = self.dot() {
            modifiers.push(name.to_owned());
        }
        let mut operands = Vec::new();
        while !self.eat(';') {
            operands.push(self.operand()?);
            if !self.eat(',') && self.peek() != Some(Token::Punct(';')) {
                return self.expected("`,` or `;`");
            }
        }
        let location = self.location;
        body.push(Statement::Instruction(Instruction { guard, opcode, modifiers, operands, line, location }));
        Ok(())
    }

    fn operand(&mut self) -> Result<Operand> {
        let first = self.simple_operand()?;
        if self.eat('|') {
            return Ok(Operand::Pair(Box::new(first), Box::new(self.simple_operand()?)));
        }
        Ok(first)
    }

    fn operands_until(&mut self, close: char) -> Result<Vec<Operand>> {
        let mut all = Vec::new();
        while !self.eat(close) {
            all.push(self.operand()?);
            if !self.eat(',') && self.peek() != Some(Token::Punct(close)) {
                return self.expected(&format!("`,` or `{close}`"));
            }
        }
        Ok(all)
    }

    fn simple_operand(&mut self) -> Result<Operand> {
        match self.peek() {
            Some(Token::Name(name)) => {
                self.at += 1;
                // A special register's component: `%tid.x`.
                if let Some(Token::Dot(component)) = self.peek() {
                    self.at += 1;
                    return Ok(Operand::Name(format!("{name}.{component}")));
                }
                Ok(Operand::Name(name.to_owned()))
            }
            Some(Token::Punct('!')) => {
                self.at += 1;
                Ok(Operand::Not(self.name()?))
            }
            Some(Token::Int(_) | Token::Punct('-')) => Ok(Operand::Int(self.int()?)),
            Some(Token::F32(bits)) => {
                self.at += 1;
                Ok(Operand::F32(bits))
            }
            Some(Token::F64(bits)) => {
                self.at += 1;
                Ok(Operand::F64(bits))
            }
            Some(Token::Punct('[')) => {
                self.at += 1;
                self.address()
            }
            Some(Token::Punct('{')) => {
                self.at += 1;
                Ok(Operand::Vector(self.operands_until('}')?))
            }
            Some(Token::Punct('(')) => {
                self.at += 1;
                Ok(Operand::List(self.operands_until(')')?))
            }
            _ => self.expected("an operand"),
        }
    }

    fn address(&mut self) -> Result<Operand> {
        let address = match self.peek() {
            Some(Token::Name(name)) => {
                self.at += 1;
                let mut offset = 0i64;
                while self.peek() != Some(Token::Punct(']')) {
                    let minus = self.peek() == Some(Token::Punct('-'));
                    if !minus {
                        self.expect('+')?;
                    }
                    offset = offset.wrapping_add(self.int()? as i64);
                }
                Address { base: Base::Name(name.to_owned()), offset }
            }
            _ => Address { base: Base::Absolute, offset: self.int()? as i64 },
        };
        self.expect(']')?;
        Ok(Operand::Address(address))
    }
}
