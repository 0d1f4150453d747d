//! What the author of a protocol says that a step costs, beside what the transport counted in it.

use super::Cost;
use std::fmt;

/// A claim about one step ([`super::Party::declare`]), with what one party counted in it. The
/// claims of all three parties together can be checked: [`Claim::check`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Claim {
    /// The step, with those around it: `relu/compare`.
    pub step: String,
    /// What was claimed: bytes summed over the three parties, and rounds.
    pub claimed: Cost,
    /// Payload bytes that this party sent within the step.
    pub sent: u64,
    /// How deep this party's chain of messages was when the step began.
    pub depth_before: u64,
    /// The same when it ended.
    pub depth_after: u64,
}

/// What the three parties counted for a claim that all of them made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckedClaim {
    /// The step.
    pub step: String,
    /// What was claimed, by party: they should not differ. None where a party claimed nothing.
    pub claimed: [Option<Cost>; 3],
    /// Bytes summed over the parties; rounds by which the longest chain of messages grew.
    pub counted: Cost,
}

impl Claim {
    /// The claims of three parties, in the order in which party 0 made them.
    pub fn check(parties: [&[Claim]; 3]) -> Vec<CheckedClaim> {
        let longest = parties.iter().map(|claims| claims.len()).max().unwrap_or(0);
        (0..longest)
            .map(|i| {
                let of = parties.map(|claims| claims.get(i));
                let step = of.iter().flatten().map(|claim| claim.step.clone()).next().unwrap_or_default();
                let of = of.map(|claim| claim.filter(|claim| claim.step == step));
                let max = |depth: fn(&Claim) -> u64| of.iter().flatten().map(|c| depth(c)).max().unwrap_or(0);
                let rounds = max(|c| c.depth_after).saturating_sub(max(|c| c.depth_before));
                let bytes = of.iter().flatten().map(|claim| claim.sent).sum();
                CheckedClaim { step, claimed: of.map(|c| c.map(|c| c.claimed)), counted: Cost { bytes, rounds } }
            })
            .collect()
    }
}

impl CheckedClaim {
    /// Whether all parties claimed the same, the bytes are exactly those, and the rounds are not
    /// more. They may be fewer where a step's first message need not wait for the end of the step
    /// before it; [`super::check::Check`] runs a protocol alone and wants equality.
    pub fn holds(&self) -> bool {
        let [Some(claim), ..] = self.claimed else { return false };
        self.agreed() && self.counted.bytes == claim.bytes && self.counted.rounds <= claim.rounds
    }

    /// Whether all three parties claimed the same.
    pub fn agreed(&self) -> bool {
        let [first, second, third] = self.claimed;
        first.is_some() && first == second && second == third
    }
}

/// One line: `compare: claimed 3 rounds, 24 bytes; counted 3 rounds, 32 bytes: WRONG`.
impl fmt::Display for CheckedClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.counted;
        match self.claimed {
            [Some(a), ..] if self.agreed() => {
                let verdict = if self.holds() { "holds" } else { "WRONG" };
                write!(f, "{}: claimed {a}; counted {counted}: {verdict}", self.step)
            }
            _ => write!(f, "{}: the three parties claim different costs; counted {counted}: WRONG", self.step),
        }
    }
}
