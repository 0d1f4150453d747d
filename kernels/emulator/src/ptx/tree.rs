//! The types of the syntax tree.

use std::collections::BTreeMap;

/// A fundamental type of PTX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F32,
    F64,
}

impl Type {
    /// The type that a modifier or directive names.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "pred" => Self::Pred,
            "b8" => Self::B8,
            "b16" => Self::B16,
            "b32" => Self::B32,
            "b64" => Self::B64,
            "u8" => Self::U8,
            "u16" => Self::U16,
            "u32" => Self::U32,
            "u64" => Self::U64,
            "s8" => Self::S8,
            "s16" => Self::S16,
            "s32" => Self::S32,
            "s64" => Self::S64,
            "f32" => Self::F32,
            "f64" => Self::F64,
            _ => return None,
        })
    }

    /// Size in bytes (predicates: 0, they cannot be stored).
    pub fn bytes(self) -> usize {
        match self {
            Self::Pred => 0,
            Self::B8 | Self::U8 | Self::S8 => 1,
            Self::B16 | Self::U16 | Self::S16 => 2,
            Self::B32 | Self::U32 | Self::S32 | Self::F32 => 4,
            Self::B64 | Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }

    /// Whether it is a signed integer.
    pub fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }
}

/// A state space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    Generic,
    Global,
    Shared,
    Local,
    Const,
    Param,
}

/// A place in the CUDA source (`.loc`): the number of a `.file` and a line; both 0 where unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Location {
    /// Number of the `.file`.
    pub file: u32,
    /// Line in it.
    pub line: u32,
}

/// A variable: of a module, a function or a parameter.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its state space.
    pub space: Space,
    /// Alignment in bytes.
    pub align: usize,
    /// Element type.
    pub ty: Type,
    /// Number of elements; `None` for `name[]`, whose size the launch gives.
    pub count: Option<usize>,
    /// Its name.
    pub name: String,
    /// Initial bytes, as far as given.
    pub initial: Option<Vec<u8>>,
    /// Declared `.extern`.
    pub external: bool,
    /// PTX line.
    pub line: u32,
}

impl Variable {
    /// Size in bytes; 0 for an array whose size the launch gives.
    pub fn bytes(&self) -> usize {
        self.ty.bytes() * self.count.unwrap_or(0)
    }
}

/// The base of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A register or variable.
    Name(String),
    /// None: the offset is the address.
    Absolute,
}

/// `[base + offset]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Register or variable.
    pub base: Base,
    /// Bytes added to it.
    pub offset: i64,
}

/// An operand as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A register, variable, label or special register (with its component: `%tid.x`).
    Name(String),
    /// `!%p1`.
    Not(String),
    /// An integer.
    Int(u64),
    /// The bits of a single.
    F32(u32),
    /// The bits of a double.
    F64(u64),
    /// `[…]`.
    Address(Address),
    /// `{a, b}`.
    Vector(Vec<Operand>),
    /// `a|p`: a result with a second, predicate, result.
    Pair(Box<Operand>, Box<Operand>),
    /// `(a, b)`: arguments or results of a call.
    List(Vec<Operand>),
}

/// `@%p1` or `@!%p1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The predicate.
    pub name: String,
    /// Runs where it is false.
    pub negated: bool,
}

/// An instruction as written.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// Its guard.
    pub guard: Option<Guard>,
    /// Opcode without modifiers.
    pub opcode: String,
    /// Modifiers, in order, without their dots.
    pub modifiers: Vec<String>,
    /// Operands.
    pub operands: Vec<Operand>,
    /// PTX line.
    pub line: u32,
    /// Source line.
    pub location: Location,
}

/// What a body consists of.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `name:`.
    Label(String, u32),
    /// An instruction.
    Instruction(Instruction),
    /// `.reg .b32 %r<6>` gives `("%r", Some(6))`; `.reg .b32 x` gives `("x", None)`.
    Registers(Type, Vec<(String, Option<usize>)>),
    /// A variable of the function.
    Variable(Variable),
    /// `name: .branchtargets a, b;`.
    Targets(String, Vec<String>),
    /// `{`.
    Open,
    /// `}`.
    Close,
}

/// A kernel or a device function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Whether it is a kernel.
    pub entry: bool,
    /// Parameters.
    pub params: Vec<Variable>,
    /// Results (device functions).
    pub returns: Vec<Variable>,
    /// `None` for a declaration.
    pub body: Option<Vec<Statement>>,
    /// `.maxntid`: the largest block that may be launched.
    pub max_threads: Option<u32>,
    /// `.reqntid`: the only block shape that may be launched.
    pub required_threads: Option<[u32; 3]>,
    /// PTX line.
    pub line: u32,
}

/// A module.
#[derive(Debug, Clone, Default)]
pub struct Module {
    /// `.version`.
    pub version: (u32, u32),
    /// `.target` as written (`sm_80`).
    pub target: String,
    /// `.file` numbers and names.
    pub files: BTreeMap<u32, String>,
    /// Variables of the module.
    pub variables: Vec<Variable>,
    /// Kernels and device functions.
    pub functions: Vec<Function>,
}
