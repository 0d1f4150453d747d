//! How a report of the checker shows itself: a row for each thing that was checked, with its verdict.

use super::report::{Costs, Counterexample, Report, Values};
use super::views::{Finding, Views};
use crate::mpc::CheckedClaim;
use crate::show::{Cell, PlainTable, Show};

impl Report {
    /// What was checked and what was found: values against plaintext, costs, claims about steps, views, and every leak.
    pub fn table(&self) -> PlainTable {
        let mut rows = vec![values_row(&self.values)];
        for costs in &self.costs {
            // Without the claims about steps, which have rows of their own.
            let whole = Costs { claims: vec![], ..costs.clone() };
            let found = format!("counted {}; {}", costs.counted, costs.stated);
            rows.push(row(&format!("cost of {} elements", costs.elements), found, whole.hold()));
            let claim =
                |claim: &CheckedClaim| row(&format!("claim about {}", claim.step), claim.to_string(), claim.holds());
            rows.extend(costs.claims.iter().map(claim));
        }
        match &self.views {
            None => rows.push(row("views", "not looked at".to_owned(), false)),
            Some(views) => add_views(&mut rows, views),
        }
        let note = format!("{}: {}. A check finds faults; it proves nothing.", self.name, verdict(self.passed()));
        PlainTable::new(["checked", "found", "verdict"]).rows(rows).note(note)
    }
}

impl Show for Report {
    fn text(&self) -> String {
        self.to_string().trim_end().to_owned()
    }

    fn html(&self) -> String {
        self.table().html()
    }
}

fn row(what: &str, found: String, right: bool) -> [Cell; 3] {
    [what.into(), found.into(), verdict(right).into()]
}

fn verdict(right: bool) -> &'static str {
    if right { "passed" } else { "FAILED" }
}

fn values_row(values: &Values) -> [Cell; 3] {
    let Values { trials, elements, allowed, seen, wrong, counterexample } = values;
    let seen = seen.as_ref().map_or("nothing".to_owned(), |seen| format!("{} to {}", seen.start(), seen.end()));
    let (low, high) = (allowed.start(), allowed.end());
    let mut found = format!("{elements} elements of {trials} shapes, off by {seen} units ({low} to {high} allowed)");
    if let Some(Counterexample { inputs, expected, got, .. }) = counterexample {
        let inputs: Vec<String> = inputs.iter().map(|x| x.map_or("?".to_owned(), |x| x.to_string())).collect();
        found += &format!("; {wrong} are wrong, the first: f({}) = {expected}, not {got}", inputs.join(", "));
    }
    row("values", found, *wrong == 0)
}

fn add_views(rows: &mut Vec<[Cell; 3]>, views: &Views) {
    let Views { tests, level, smallest, sizes, untested, .. } = views;
    let runs: usize = sizes.iter().map(|size| size.runs).sum();
    let sizes: Vec<String> = sizes.iter().map(|size| format!("{} on {}", size.together, size.elements)).collect();
    let found = format!(
        "{runs} runs ({} elements), {tests} tests at level {level:e} (Holm's correction), smallest corrected p \
         {smallest:.1e}",
        sizes.join(", ")
    );
    rows.push(row("views", found, views.passed()));
    rows.extend(untested.iter().map(|what| ["not tested".into(), what.clone().into(), "–".into()]));
    let leak = |finding: &Finding| {
        row(&format!("leak to party {}", finding.party), format!("{} (p {:.1e})", finding.what, finding.p), false)
    };
    rows.extend(views.findings.iter().map(leak));
}
