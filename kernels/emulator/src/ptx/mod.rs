//! PTX text to a syntax tree: the lexer, the tree's types and the parser. Nothing here knows what an instruction means;
//! `ir` decides that, and refuses what it does not know.

mod lexer;
mod parser;
mod tree;

pub use parser::parse;
pub use tree::{
    Address, Base, Function, Guard, Instruction, Location, Module, Operand, Space, Statement, Type, Variable,
};

/// A line of PTX that is malformed or uses what this emulator does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}{}: {message}", source_suffix(.source_line))]
pub struct PtxError {
    /// Line in the PTX text, from 1.
    pub line: u32,
    /// The line of the CUDA source from which it was compiled (`file:line`), where `.loc` says so.
    pub source_line: Option<String>,
    /// What is wrong.
    pub message: String,
}

fn source_suffix(source: &Option<String>) -> String {
    source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default()
}

impl PtxError {
    pub(crate) fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, source_line: None, message: message.into() }
    }
}
