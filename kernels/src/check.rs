//! Checks that wrappers share.

use crate::KernelError;
use std::fmt::Display;
use std::ops::Range;

/// All arguments have `expected` words.
pub(crate) fn equal<const N: usize>(
    operation: &'static str,
    arguments: [(&'static str, usize); N],
    expected: usize,
) -> Result<(), KernelError> {
    match arguments.into_iter().find(|&(_, found)| found != expected) {
        Some((argument, found)) => Err(KernelError::Length { operation, argument, expected, found }),
        None => Ok(()),
    }
}

/// A number lies in a range.
pub(crate) fn fits<T: PartialOrd + Display>(
    operation: &'static str,
    argument: &'static str,
    value: T,
    range: Range<T>,
) -> Result<T, KernelError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let found = format!("{value}, allowed is {} to below {}", range.start, range.end);
    Err(KernelError::Argument { operation, argument, found, rule: "it must lie in the range" })
}
