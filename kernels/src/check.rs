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

/// All arguments are `planes` packed planes of `n` elements.
pub(crate) fn packed<const N: usize>(
    operation: &'static str,
    arguments: [(&'static str, usize); N],
    planes: usize,
    n: usize,
) -> Result<(), KernelError> {
    equal(operation, arguments, n.div_ceil(64).saturating_mul(planes))
}

/// A size that a kernel takes in 32 bits.
pub(crate) fn narrow(
    operation: &'static str,
    argument: &'static str,
    value: usize,
    most: usize,
) -> Result<u32, KernelError> {
    u32::try_from(value).ok().filter(|_| value <= most).ok_or_else(|| KernelError::Argument {
        operation,
        argument,
        found: value.to_string(),
        rule: "kernels count these in 32 bits",
    })
}
