//! Ours beside SPU and MP-SPDZ on two cores of one machine, all measured by one hand.

use cryptgpu_core::experiment::ExperimentError;
use cryptgpu_datasets::paper::{self, CoreFigure};

use crate::Result;
use crate::sheet::{Cell, Column, Quantity, Sheet};

/// Systems as columns name them, and as the figures begin.
const SYSTEMS: [(&str, &str); 3] = [("ours", "CryptGPU for Rust"), ("MP-SPDZ", "MP-SPDZ"), ("SPU", "SPU")];

/// Networks and operations on two cores: seconds, CPU-seconds and bytes of ours, MP-SPDZ and SPU, and how far ours is ahead of
/// the better of the two.
///
/// # Errors
/// [`Experiment`](crate::NotebookError::Experiment) if the figures cannot be read.
pub fn two_cores() -> Result<Sheet> {
    let figures = paper::two_cores().map_err(ExperimentError::from)?;
    let mut works: Vec<&str> = figures.iter().map(|figure| figure.work.as_str()).collect();
    works.dedup();
    let find = |work: &str, begins: &str| {
        figures.iter().find(|figure| figure.work == work && figure.system.starts_with(begins))
    };
    let column = |what: &str, (name, begins): (&str, &str), quantity: Quantity, of: fn(&CoreFigure) -> Option<f64>| {
        let cells = works.iter().map(|work| Cell::number(find(work, begins).and_then(of)));
        Column::new(format!("{name}{what}"), quantity, cells)
    };
    let ahead = |of: fn(&CoreFigure) -> f64| {
        let ratio = |work: &&str| {
            let [ours, others @ ..] = SYSTEMS.map(|(_, begins)| find(work, begins).map(of));
            let best = others.into_iter().flatten().min_by(f64::total_cmp);
            Cell::number(best.zip(ours).map(|(best, ours)| best / ours))
        };
        works.iter().map(ratio).collect::<Vec<_>>()
    };
    let mut columns = vec![Column::texts("network or operation", works.iter().copied())];
    columns.extend(SYSTEMS.map(|system| column("", system, Quantity::Seconds, |figure| Some(figure.seconds))));
    columns.push(Column::new("ours is faster", Quantity::Times, ahead(|figure| figure.seconds)));
    columns.extend(SYSTEMS.map(|system| column(", CPU", system, Quantity::Seconds, |figure| Some(figure.cpu_seconds))));
    columns.push(Column::new("ours takes less CPU", Quantity::Times, ahead(|figure| figure.cpu_seconds)));
    columns.extend(
        SYSTEMS.map(|system| column(" sends", system, Quantity::Bytes, |figure| Some(figure.bytes_all_parties))),
    );
    columns.extend(SYSTEMS.map(|system| column(", error", system, Quantity::Error, |figure| figure.max_abs_error)));
    Ok(Sheet::new("Two cores: ours, MP-SPDZ, SPU", columns).noted(NOTES))
}

const NOTES: &str = "Ours at commit cbe0528, MP-SPDZ's replicated ring, SPU 0.9.5 with ABY3: three processes on loopback, one system \
after the other, on two cores of a Xeon with AVX-512 and VAES and without AMX, idle, 26 November 2026. CPU is user and system \
time of all parties. Ours is compared with the better of the two.
Fraction bits are 20, 16 and 18. Ours and MP-SPDZ use TLS, SPU none. MP-SPDZ compares 31 bits, the others 64. Everything is drawn \
and counted, preprocessing too; sharing the weights and compiling (75 to 91 s of MP-SPDZ's larger networks) are left out. MP-SPDZ \
ran at its default budget, one thread a party.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_compared_with_the_better_of_the_others() {
        let table = two_cores().unwrap();
        assert_eq!(table.rows(), 7);
        let number = |column: &str, row| table.cell(column, row).unwrap().number.unwrap();
        assert!((number("ours is faster", 0) - 0.063 / 0.0066).abs() < 1e-9);
        assert!((number("ours is faster", 4) - 40.8 / 3.1).abs() < 1e-9, "SPU is the better of the two for ResNet-50");
    }
}
