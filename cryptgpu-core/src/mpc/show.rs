//! How settings, costs and claims show themselves.

use super::cost::window_in;
use super::{CheckRange, CheckedClaim, Cost, Settings};
use crate::ring::Ring;
use crate::show::{Cell, PlainTable, Show};

impl Show for Cost {
    fn text(&self) -> String {
        self.to_string()
    }
}

/// `20 fraction bits, exact truncation, comparisons of 64 bits`, behind `the ring of 32 bits` where it is that.
impl Show for Settings {
    fn text(&self) -> String {
        let Settings { codec, fidelity, window, check_range } = self;
        let window = window_in(codec.ring(), *window);
        let bits = match (window.low(), window.width()) {
            (0, width) => format!("{width} bits"),
            (low, width) => format!("{width} bits from bit {low}"),
        };
        let check = match check_range {
            CheckRange::Off => "",
            CheckRange::Run => ", one bit opened to check ranges",
            CheckRange::Layers => ", one bit a layer opened to check ranges",
        };
        let ring = match codec.ring() {
            Ring::Z64 => String::new(),
            ring => format!("the ring of {ring}, "),
        };
        format!("{ring}{} fraction bits, {fidelity} truncation, comparisons of {bits}{check}", codec.fraction_bits())
    }
}

impl Show for CheckedClaim {
    fn text(&self) -> String {
        self.to_string()
    }
}

/// Claims as a table: what each step was said to cost beside what was counted.
pub fn claims_table(claims: &[CheckedClaim]) -> PlainTable {
    let columns = ["step", "rounds claimed", "rounds", "bytes claimed", "bytes", "claim"];
    let row = |claim: &CheckedClaim| -> [Cell; 6] {
        [
            claim.step.as_str().into(),
            claimed(claim, |cost| cost.rounds),
            claim.counted.rounds.into(),
            claimed(claim, |cost| cost.bytes),
            claim.counted.bytes.into(),
            if claim.holds() { "holds" } else { "WRONG" }.into(),
        ]
    };
    let table = PlainTable::new(columns).rows(claims.iter().map(row));
    if claims.is_empty() {
        return table.note("Nothing was claimed: say `p.declare(rounds, bytes)` within a step.");
    }
    table.note(
        "Bytes of all parties. Rounds may be fewer than claimed where a step's first message need not wait for the end \
         of the step before.",
    )
}

impl Show for [CheckedClaim] {
    fn text(&self) -> String {
        claims_table(self).text()
    }

    fn html(&self) -> String {
        claims_table(self).html()
    }
}

/// One figure if all parties claim the same, else each party's.
fn claimed(claim: &CheckedClaim, figure: fn(&Cost) -> u64) -> Cell {
    let [first, second, third] = claim.claimed.map(|cost| cost.as_ref().map(figure));
    match first {
        Some(figure) if first == second && second == third => figure.into(),
        _ => [first, second, third].map(|own| own.map_or("–".to_owned(), |own| own.to_string())).join(", ").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_the_ring_that_is_not_usual() {
        let short = Settings { codec: Ring::Z32.into(), ..Settings::default() };
        assert_eq!(Settings::default().text(), "20 fraction bits, exact truncation, comparisons of 64 bits");
        assert_eq!(short.text(), "the ring of 32 bits, 12 fraction bits, exact truncation, comparisons of 32 bits");
    }

    #[test]
    fn a_wrong_claim_stands_out() {
        let cost = Cost { bytes: 24, rounds: 1 };
        let right = CheckedClaim { step: "open".into(), claimed: [Some(cost); 3], counted: cost };
        let wrong = CheckedClaim { step: "mul".into(), claimed: [Some(cost), None, Some(cost)], counted: cost };
        let text = Vec::from([right.clone(), wrong]).text();
        let row =
            |line: usize| text.lines().nth(line).unwrap().split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        assert_eq!(row(1).collect::<Vec<_>>(), ["open", "1", "1", "24", "24", "holds"], "{text}");
        assert_eq!(row(2).collect::<Vec<_>>(), ["mul", "1, –, 1", "1", "24, –, 24", "24", "WRONG"], "{text}");
        assert_eq!(right.text(), "open: claimed 1 round, 24 bytes; counted 1 round, 24 bytes: holds");
        assert!(Vec::<CheckedClaim>::new().text().contains("p.declare"));
    }
}
