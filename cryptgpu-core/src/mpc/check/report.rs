//! What a check found, as data and as text.

use super::trial::Trial;
use super::{CheckError, Together, Views};
use crate::mpc::{CheckedClaim, Cost};
use crate::ring::Ring;
use ndarray::ArrayD;
use std::fmt;
use std::ops::RangeInclusive;

/// What a check found. `Display` says it in a few lines.
#[derive(Clone, Debug)]
pub struct Report {
    /// The protocol's name.
    pub name: String,
    /// Agreement with the plaintext function.
    pub values: Values,
    /// What the trials cost, in their order.
    pub costs: Vec<Costs>,
    /// What the parties see.
    pub views: Option<Views>,
}

/// Agreement with the plaintext function.
#[derive(Clone, Debug)]
pub struct Values {
    /// Trials, each with another shape.
    pub trials: usize,
    /// Elements compared in all.
    pub elements: usize,
    /// By how many units results may differ.
    pub allowed: RangeInclusive<i64>,
    /// By how many units results did differ.
    pub seen: Option<RangeInclusive<i64>>,
    /// How many elements are wrong.
    pub wrong: usize,
    /// The first of them.
    pub counterexample: Option<Counterexample>,
}

/// An element that is wrong.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The shapes of the inputs.
    pub shapes: Vec<Vec<usize>>,
    /// Which element of the output.
    pub index: usize,
    /// The element of each input at the same place, where the output has the input's shape.
    pub inputs: Vec<Option<i64>>,
    /// What the plaintext function says.
    pub expected: i64,
    /// What the protocol gave.
    pub got: i64,
}

/// Who says what a protocol costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// Its author, by [`crate::mpc::Party::declare`] outside all steps.
    Declared(Cost),
    /// The check's formula.
    Formula(Cost),
    /// What it is made of: built-in protocols, and steps that their authors declare.
    Parts(Cost),
    /// Nobody: it sends by hand and declares nothing about the whole.
    Nobody,
}

/// What a trial cost.
#[derive(Clone, Debug)]
pub struct Costs {
    /// Elements of the first input.
    pub elements: usize,
    /// What the transport counted.
    pub counted: Cost,
    /// What was to be expected.
    pub stated: Stated,
    /// Claims about steps.
    pub claims: Vec<CheckedClaim>,
    /// Whether there were elements for every role, so that rounds must be as stated; on few elements
    /// some messages are empty, and there may be fewer.
    pub dense: bool,
}

impl Costs {
    /// Whether all that was stated holds.
    pub fn hold(&self) -> bool {
        let whole = match self.stated {
            Stated::Nobody => true,
            Stated::Declared(cost) | Stated::Formula(cost) | Stated::Parts(cost) => {
                let rounds = match self.dense {
                    true => self.counted.rounds == cost.rounds,
                    false => self.counted.rounds <= cost.rounds,
                };
                rounds && self.counted.bytes == cost.bytes
            }
        };
        whole && self.claims.iter().all(CheckedClaim::holds)
    }
}

/// The step name under which [`crate::mpc::Party::take_claims`] files what is claimed of a whole run.
const WHOLE: &str = "the whole run";

impl Report {
    pub(super) fn new(name: &str, allowed: RangeInclusive<i64>) -> Self {
        let values = Values { trials: 0, elements: 0, allowed, seen: None, wrong: 0, counterexample: None };
        Report { name: name.to_owned(), values, costs: vec![], views: None }
    }

    /// Whether values, costs and views are as they should be.
    pub fn passed(&self) -> bool {
        self.values.wrong == 0 && self.costs.iter().all(Costs::hold) && self.views.as_ref().is_some_and(Views::passed)
    }

    /// The report, or an error that shows it when it does not pass: for `?`.
    ///
    /// # Errors
    /// [`CheckError::Failed`].
    pub fn require(self) -> Result<Report, CheckError> {
        if self.passed() { Ok(self) } else { Err(CheckError::Failed(Box::new(self))) }
    }

    pub(super) fn add_values(
        &mut self,
        ring: Ring,
        inputs: &[ArrayD<u64>],
        got: &ArrayD<u64>,
        expected_values: &ArrayD<u64>,
    ) -> Result<(), CheckError> {
        if got.shape() != expected_values.shape() {
            let (got, expected) = (got.shape(), expected_values.shape());
            let detail = format!("the protocol's output has shape {got:?}, the plaintext function's {expected:?}");
            return Err(CheckError::Output(detail));
        }
        let values = &mut self.values;
        values.trials += 1;
        values.elements += got.len();
        for (index, (&got, &expected)) in got.iter().zip(expected_values).enumerate() {
            let error = ring.signed(got.wrapping_sub(expected));
            let seen = values.seen.clone().unwrap_or(error..=error);
            values.seen = Some(error.min(*seen.start())..=error.max(*seen.end()));
            if values.allowed.contains(&error) {
                continue;
            }
            values.wrong += 1;
            values.counterexample.get_or_insert_with(|| Counterexample {
                shapes: inputs.iter().map(|x| x.shape().to_vec()).collect(),
                index,
                inputs: inputs.iter().map(|x| element(x, index, expected_values.len())).collect(),
                expected: ring.signed(expected),
                got: ring.signed(got),
            });
        }
        Ok(())
    }

    pub(super) fn add_costs(&mut self, elements: usize, trial: &Trial, formula: Option<Cost>, dense: bool) {
        let (whole, claims): (Vec<_>, Vec<_>) = trial.claims.iter().cloned().partition(|claim| claim.step == WHOLE);
        let stated = match (whole.first(), formula, trial.declared) {
            (Some(whole), _, Some(declared)) if whole.agreed() => Stated::Declared(declared),
            // Parties that disagree: what one of them claims cannot be held against the others.
            (Some(_), ..) => Stated::Declared(Cost::FREE),
            (None, Some(formula), _) => Stated::Formula(formula),
            // Built-in protocols and claimed steps state their cost; what is sent by hand between them is not in it.
            (None, None, Some(declared)) if claims.is_empty() || declared == trial.counted => Stated::Parts(declared),
            (None, None, _) => Stated::Nobody,
        };
        self.costs.push(Costs { elements, counted: trial.counted, stated, claims, dense });
    }
}

/// The element of an input that stands where one of the output stands, if both have as many.
fn element(input: &ArrayD<u64>, index: usize, outputs: usize) -> Option<i64> {
    if input.len() == outputs { input.iter().nth(index).map(|&word| word as i64) } else { None }
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stated::Declared(cost) => write!(f, "declared {cost}"),
            Stated::Formula(cost) => write!(f, "the formula says {cost}"),
            Stated::Parts(cost) => write!(f, "its parts state {cost}"),
            Stated::Nobody => f.write_str("nothing is declared about the whole"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, if self.passed() { "passed" } else { "FAILED" })?;
        let Values { trials, elements, allowed, seen, wrong, counterexample } = &self.values;
        let (low, high) = (allowed.start(), allowed.end());
        let seen = seen.as_ref().map_or("none".to_owned(), |seen| format!("{} to {}", seen.start(), seen.end()));
        writeln!(f, "  values  {trials} shapes, {elements} elements, off by {seen} units ({low} to {high} allowed)")?;
        if let Some(Counterexample { shapes, index, inputs, expected, got }) = counterexample {
            let inputs: Vec<String> = inputs.iter().map(|x| x.map_or("?".to_owned(), |x| x.to_string())).collect();
            let inputs = inputs.join(", ");
            writeln!(f, "          WRONG in {wrong}; the first: f({inputs}) = {expected}, the protocol says {got}")?;
            writeln!(f, "          (element {index}, shapes {shapes:?})")?;
        }
        self.write_costs(f)?;
        match &self.views {
            Some(views) => views.fmt(f),
            None => writeln!(f, "  views   not looked at"),
        }
    }
}

impl Report {
    fn write_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong: Vec<&Costs> = self.costs.iter().filter(|costs| !costs.hold()).collect();
        if let (true, Some(last)) = (wrong.is_empty(), self.costs.last()) {
            let Costs { elements, counted, stated, claims, .. } = last;
            let per_element = counted.bytes as f64 / (*elements).max(1) as f64;
            writeln!(f, "  costs   {elements} elements: counted {counted} ({per_element:.2} an element); {stated}")?;
            for claim in claims {
                writeln!(f, "          {claim}")?;
            }
        }
        for Costs { elements, counted, stated, claims, .. } in wrong.into_iter().rev().take(2) {
            writeln!(f, "  costs   WRONG: {elements} elements: counted {counted}; {stated}")?;
            for claim in claims.iter().filter(|claim| !claim.holds()) {
                writeln!(f, "          {claim}")?;
            }
        }
        Ok(())
    }
}

/// Findings that are shown.
const SHOWN: usize = 5;

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Views { tests, level, smallest, findings, untested, uneven, sizes } = self;
        let runs: usize = sizes.iter().map(|size| size.runs).sum();
        writeln!(
            f,
            "  views   {runs} runs, {tests} tests, level {level:e} (Holm), smallest corrected p {smallest:.2e}"
        )?;
        let together = [Together::All, Together::Elements, Together::Nothing].map(|together| {
            let of = sizes.iter().filter(|size| size.together == together).map(|size| size.elements.to_string());
            let of: Vec<String> = of.collect();
            (!of.is_empty()).then(|| format!("{together} on {} elements", of.join(", ")))
        });
        let together: Vec<String> = together.into_iter().flatten().collect();
        writeln!(f, "          {}", together.join("; "))?;
        for finding in findings.iter().take(SHOWN) {
            writeln!(f, "          LEAK: party {}, {} (p {:.1e})", finding.party, finding.what, finding.p)?;
        }
        if findings.len() > SHOWN {
            writeln!(f, "          and {} more", findings.len() - SHOWN)?;
        }
        for (what, named) in [("NOT TESTED", untested), ("not uniform, alike for all secrets", uneven)] {
            if let Some(first) = named.first() {
                let more = if named.len() > 1 { format!(" and {} more", named.len() - 1) } else { String::new() };
                writeln!(f, "          {what}: {first}{more}")?;
            }
        }
        Ok(())
    }
}
