//! Memory with its shadows. Every byte knows whether it was written, and who read and wrote it last, so that reads of
//! uninitialised memory and races are found when they happen. `global` is a device's memory, shared by the blocks that
//! run in parallel; `shared` and `local` belong to one block and one thread.

pub mod address;
pub mod cell;
pub mod global;
pub mod local;
pub mod share;
pub mod shared;

use crate::checks::Check;

/// What an access did wrong; the executor adds where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The check that failed.
    pub check: Check,
    /// What happened.
    pub message: String,
}

impl Fault {
    /// A fault of `check`.
    pub fn new(check: Check, message: impl Into<String>) -> Self {
        Self { check, message: message.into() }
    }
}
