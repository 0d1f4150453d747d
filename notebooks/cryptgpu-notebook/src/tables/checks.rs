//! What protocols claim to cost and what the checker found, as tables.

use cryptgpu_core::mpc::check::Report;
use cryptgpu_core::mpc::{CheckedClaim, claims_table};

use super::Table;
use crate::{NotebookError, Result};

/// What protocols claimed to cost, beside what was counted.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) without a claim, [`Polars`](NotebookError::Polars) if no frame can be made.
pub fn claims(claims: &[CheckedClaim]) -> Result<Table> {
    if claims.is_empty() {
        let hint = "say `p.declare(rounds, bytes)` within a step";
        return Err(NotebookError::Empty { what: "the table of claims", hint });
    }
    Table::of(&claims_table(claims))
}

/// What the protocol checker found: values against plaintext, costs, claims about steps, and every leak.
///
/// # Errors
/// [`Polars`](NotebookError::Polars) if no frame can be made.
pub fn report(report: &Report) -> Result<Table> {
    Table::of(&report.table())
}
