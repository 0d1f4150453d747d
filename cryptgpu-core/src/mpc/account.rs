//! A party's account of a run: the steps that it is in, what its protocols declare to cost, and the claims about steps
//! that have ended, with what was counted in them. Nothing is computed or sent here.

use super::{Claim, Cost};
use crate::net::{NO_STEP, Stats};

/// Steps, declared costs and claims of one party.
pub(super) struct Account {
    /// The steps that the party is in, the run around all of them first.
    steps: Vec<Step>,
    failed_step: String,
    declared: Cost,
    claims: Vec<Claim>,
}

/// A step that has begun.
struct Step {
    name: String,
    before: Stats,
    claimed: Option<Cost>,
}

impl Account {
    /// An account that begins where the transport has counted `stats`.
    pub fn new(stats: Stats) -> Self {
        let run = Step { name: String::new(), before: stats, claimed: None };
        Account { steps: vec![run], failed_step: String::new(), declared: Cost::FREE, claims: vec![] }
    }

    /// Enters the step `name`.
    pub fn begin(&mut self, name: &str, stats: Stats) {
        self.steps.push(Step { name: name.to_owned(), before: stats, claimed: None });
    }

    /// Leaves the innermost step, which has failed or not.
    pub fn end(&mut self, stats: &Stats, failed: bool) {
        let path = self.step();
        if failed && !self.failed_step.starts_with(&path) {
            self.failed_step.clone_from(&path);
        }
        let claimed = self.steps.pop().and_then(|step| Some((step.before, step.claimed?)));
        self.claims.extend(claimed.map(|(before, cost)| claim(path, &before, stats, cost)));
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

    /// Enters what a built-in protocol declares.
    pub fn declare(&mut self, cost: Cost) {
        self.declared += cost;
    }

    /// What the built-in protocols have declared so far.
    pub fn declared(&self) -> Cost {
        self.declared
    }

    /// Enters what an author claims about the innermost step; a second claim adds to the first.
    pub fn claim(&mut self, cost: Cost) {
        if let Some(step) = self.steps.last_mut() {
            step.claimed = Some(step.claimed.map_or(cost, |earlier| earlier + cost));
        }
    }

    /// The claims about all steps that have ended, and the one about the run, which begins anew.
    pub fn take_claims(&mut self, stats: Stats) -> Vec<Claim> {
        let mut claims = std::mem::take(&mut self.claims);
        let Some(run) = self.steps.first_mut() else { return claims };
        let claimed = run.claimed.take();
        let before = std::mem::replace(&mut run.before, stats);
        claims.extend(claimed.map(|cost| claim("the whole run".to_owned(), &before, &stats, cost)));
        claims
    }
}

fn claim(step: String, before: &Stats, after: &Stats, claimed: Cost) -> Claim {
    let sent = after.payload_bytes() - before.payload_bytes();
    Claim { step, claimed, sent, depth_before: before.rounds, depth_after: after.rounds }
}
