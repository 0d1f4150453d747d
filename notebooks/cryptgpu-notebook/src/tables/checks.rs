//! What protocols claim to cost and what the checker found, as tables.

use cryptgpu_core::mpc::check::{Costs, Counterexample, Finding, Report, Values, Views};
use cryptgpu_core::mpc::{CheckedClaim, Cost};
use polars::prelude::{Column, DataFrame};

use super::{Table, counts, texts};
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
    let claimed = |figure: fn(&Cost) -> u64| {
        let text = move |claim: &CheckedClaim| {
            let parties = claim
                .claimed
                .each_ref()
                .map(|cost| cost.as_ref().map_or("–".to_owned(), |cost| figure(cost).to_string()));
            let [first, second, third] = &parties;
            if first == second && second == third { first.clone() } else { parties.join(", ") }
        };
        claims.iter().map(move |claim| Some(text(claim)))
    };
    let columns: Vec<Column> = vec![
        texts("step", claims.iter().map(|claim| Some(claim.step.clone()))),
        texts("rounds claimed", claimed(|cost| cost.rounds)),
        counts("rounds", claims.iter().map(|claim| claim.counted.rounds)),
        texts("bytes claimed", claimed(|cost| cost.bytes)),
        counts("bytes", claims.iter().map(|claim| claim.counted.bytes)),
        texts("claim", claims.iter().map(|claim| Some(if claim.holds() { "holds" } else { "WRONG" }.to_owned()))),
    ];
    let caption = "Bytes of all parties. Rounds may be fewer than claimed where a step's first message need not wait for the \
                   end of the step before.";
    Ok(Table { frame: DataFrame::new(claims.len(), columns)?, caption: caption.to_owned() })
}

/// What the protocol checker found: values against plaintext, costs, claims about steps, and every leak.
///
/// # Errors
/// [`Polars`](NotebookError::Polars) if no frame can be made.
pub fn report(report: &Report) -> Result<Table> {
    let mut rows = vec![values_row(&report.values)];
    for costs in &report.costs {
        let what = format!("cost of {} elements", costs.elements);
        // Without the claims about steps, which have rows of their own.
        let whole = Costs { claims: vec![], ..costs.clone() };
        rows.push((what, format!("counted {}; {}", costs.counted, costs.stated), whole.hold()));
        let claim = |claim: &CheckedClaim| (format!("claim about {}", claim.step), claim.to_string(), claim.holds());
        rows.extend(costs.claims.iter().map(claim));
    }
    match &report.views {
        None => rows.push(("views".into(), "not looked at".into(), false)),
        Some(views) => {
            let Views { tests, level, smallest, sizes, untested, .. } = views;
            let runs: usize = sizes.iter().map(|size| size.runs).sum();
            let sizes: Vec<String> = sizes.iter().map(|s| format!("{} on {}", s.together, s.elements)).collect();
            let found = format!(
                "{runs} runs ({} elements), {tests} tests at level {level:e} (Holm's correction), smallest corrected p {smallest:.1e}",
                sizes.join(", ")
            );
            rows.push(("views".into(), found, views.passed()));
            rows.extend(untested.iter().map(|what| ("not tested".to_owned(), what.clone(), true)));
            let leak = |finding: &Finding| {
                (format!("leak to party {}", finding.party), format!("{} (p {:.1e})", finding.what, finding.p), false)
            };
            rows.extend(views.findings.iter().map(leak));
        }
    }
    let verdict = |right: bool| if right { "passed" } else { "FAILED" }.to_owned();
    let columns = vec![
        texts("checked", rows.iter().map(|(what, ..)| Some(what.clone()))),
        texts("found", rows.iter().map(|(_, found, _)| Some(found.clone()))),
        texts("verdict", rows.iter().map(|(.., right)| Some(verdict(*right)))),
    ];
    let caption = format!("{}: {}. A check finds faults; it proves nothing.", report.name, verdict(report.passed()));
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption })
}

/// What was checked, what was found, and whether it is right.
fn values_row(values: &Values) -> (String, String, bool) {
    let Values { trials, elements, allowed, seen, wrong, counterexample } = values;
    let seen = seen.as_ref().map_or("nothing".to_owned(), |seen| format!("{} to {}", seen.start(), seen.end()));
    let mut found = format!(
        "{elements} elements of {trials} shapes, off by {seen} units ({} to {} allowed)",
        allowed.start(),
        allowed.end()
    );
    if let Some(Counterexample { inputs, expected, got, .. }) = counterexample {
        let inputs: Vec<String> = inputs.iter().map(|x| x.map_or("?".to_owned(), |x| x.to_string())).collect();
        found += &format!("; {wrong} are wrong, the first: f({}) = {expected}, not {got}", inputs.join(", "));
    }
    ("values".to_owned(), found, *wrong == 0)
}
