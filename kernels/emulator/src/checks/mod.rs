//! What the emulator finds wrong, by name; where reports are kept; and the clocks by which operations of streams are
//! ordered.

pub mod clock;
mod report;

pub use report::{Check, Report, submit, take};
