//! A party's account of a run: the steps that it is in, what is declared to cost in each, and the authors' claims about
//! steps that have ended, with what was counted in them. Nothing is computed or sent here.
//!
//! Every declaration is about the innermost step, and a step that ends is entered as a part of the step around it. A
//! step costs what its author claims, or, without a claim, the sum of its parts. So nothing counts twice: an author's
//! claim stands in place of what built-in protocols and inner steps declare within the same step.

use super::{Claim, Cost};
use crate::net::{NO_STEP, Stats};

/// Steps, declared costs and claims of one party.
pub(super) struct Account {
    /// The steps that the party is in, the run around all of them first.
    steps: Vec<Step>,
    failed_step: String,
    /// What was declared in runs that have ended.
    earlier: Cost,
    claims: Vec<Claim>,
}

/// Who declares a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeclaredBy {
    /// A built-in protocol, of itself: one part of the step.
    Protocol,
    /// The author of the step, of the whole step: it is held against what was counted there.
    Author,
}

/// A step that has begun.
struct Step {
    name: String,
    before: Stats,
    /// What built-in protocols and inner steps that have ended declare.
    parts: Cost,
    /// What the author claims.
    claimed: Option<Cost>,
}

impl Step {
    fn new(name: &str, before: Stats) -> Self {
        Step { name: name.to_owned(), before, parts: Cost::FREE, claimed: None }
    }

    /// What the step is declared to cost, if `inner` is declared of the step inside it that has not ended.
    fn declared(&self, inner: Cost) -> Cost {
        self.claimed.unwrap_or(self.parts + inner)
    }
}

impl Account {
    /// An account that begins where the transport has counted `stats`.
    pub fn new(stats: Stats) -> Self {
        Account { steps: vec![Step::new("", stats)], failed_step: String::new(), earlier: Cost::FREE, claims: vec![] }
    }

    /// Enters the step `name`.
    pub fn begin(&mut self, name: &str, stats: Stats) {
        self.steps.push(Step::new(name, stats));
    }

    /// Leaves the innermost step, which has failed or not.
    pub fn end(&mut self, stats: &Stats, failed: bool) {
        let path = self.step();
        if failed && !self.failed_step.starts_with(&path) {
            self.failed_step.clone_from(&path);
        }
        let Some(step) = self.steps.pop() else { return };
        if let Some(around) = self.steps.last_mut() {
            around.parts += step.declared(Cost::FREE);
        }
        self.claims.extend(step.claimed.map(|cost| claim(path, &step.before, stats, cost)));
    }

    /// The steps around, outermost first, joined by `/`; [`NO_STEP`] outside any.
    pub fn step(&self) -> String {
        let names: Vec<&str> = self.steps.iter().skip(1).map(|step| step.name.as_str()).collect();
        if names.is_empty() { NO_STEP.to_owned() } else { names.join("/") }
    }

    /// The innermost step that has failed.
    pub fn failed_step(&self) -> &str {
        if self.failed_step.is_empty() { NO_STEP } else { &self.failed_step }
    }

    /// Enters a declaration about the innermost step. A second one by the same adds to the first.
    pub fn declare(&mut self, by: DeclaredBy, cost: Cost) {
        let Some(step) = self.steps.last_mut() else { return };
        match by {
            DeclaredBy::Protocol => step.parts += cost,
            DeclaredBy::Author => *step.claimed.get_or_insert(Cost::FREE) += cost,
        }
    }

    /// What has been declared so far, in this run and those before it.
    pub fn declared(&self) -> Cost {
        self.earlier + self.steps.iter().rfold(Cost::FREE, |inner, step| step.declared(inner))
    }

    /// The claims about all steps that have ended, and the one about the run, which begins anew.
    pub fn take_claims(&mut self, stats: Stats) -> Vec<Claim> {
        let mut claims = std::mem::take(&mut self.claims);
        let Some(run) = self.steps.first_mut() else { return claims };
        let run = std::mem::replace(run, Step::new("", stats));
        self.earlier += run.declared(Cost::FREE);
        claims.extend(run.claimed.map(|cost| claim("the whole run".to_owned(), &run.before, &stats, cost)));
        claims
    }
}

fn claim(step: String, before: &Stats, after: &Stats, claimed: Cost) -> Claim {
    let sent = after.payload_bytes() - before.payload_bytes();
    Claim { step, claimed, sent, depth_before: before.rounds, depth_after: after.rounds }
}
