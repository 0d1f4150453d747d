//! Ours and others' code on one card, in bars.

use cryptgpu_core::experiment::Record;
use cryptgpu_core::experiment::micro::MicroRecord;

use super::bars::{self, Group};
use crate::Result;
use crate::figure::Figure;
use crate::tables::{CardRow, same_card_rows};

/// Seconds of each network on the left and of each operation on the right, on logarithmic scales: ours and others' code on
/// one card. Crossed bars are of wrong results.
///
/// # Errors
/// As [`tables::same_card_rows`](crate::tables::same_card_rows), and [`Draw`](crate::NotebookError::Draw).
pub fn same_card(inference: &[Record], operations: &[MicroRecord], mps: bool) -> Result<Figure> {
    let rows = same_card_rows(inference, operations, mps)?;
    let group = |row: &CardRow| {
        let add = |group: Group, (system, seconds, wrong): &(String, f64, bool)| {
            group.with(system, Some(*seconds), [false, *wrong])
        };
        // One of two parties and a dealer would stand for a system of three.
        let systems = row.systems.iter().filter(|(system, ..)| system != "CrypTen, 2 parties");
        systems.fold(Group::new(row.work.clone()), add)
    };
    let is_network = |row: &&CardRow| !row.work.contains(' ');
    let networks = rows.iter().filter(is_network).map(group).collect();
    let operations = rows.iter().filter(|row| !is_network(row)).map(group).collect();
    let figure = bars::draw([("seconds, networks", networks), ("seconds, operations", operations)])?;
    let how = if mps { "by CUDA's multi-process service" } else { "taking turns" };
    let note = format!("Three processes on one NVIDIA H100, {how}, 26 November 2026; less is better.");
    Ok(figure.title(format!("bars: seconds of {} networks and operations on one card", rows.len())).noted(&note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptgpu_core::show::Show;

    #[test]
    fn others_are_drawn_with_their_colours_and_wrong_ones_crossed() {
        let svg = same_card(&[], &[], true).unwrap().html();
        assert!(svg.contains("CryptGPU") && svg.contains("Piranha") && svg.contains("crossed: wrong result"), "{svg}");
        assert!(svg.contains("#009E73") && !svg.contains("2 parties"), "{svg}");
    }
}
