//! Tables. Those of measurements are for print ([`Sheet`](crate::sheet::Sheet): [`inference`], [`inference_bytes`],
//! [`training`], [`parts`], [`training_parts`], [`micro`], [`same_card`], [`two_cores`], [`precision`], [`against_plaintext`],
//! [`curves`], [`simulated`], [`ablation`], [`scaling_batches`] and its like); the others are data frames with their captions: of embeddings ([`embedding`]), of runs ([`trace`], [`parties`], [`messages`], [`compare`], [`claims`]), and of what parties saw ([`observed`], [`shares`], [`seen`]) and the
//! protocol checker found ([`report`]).

mod ablation;
mod checks;
mod curves;
mod inference;
mod micro;
mod parts;
mod precision;
mod same_card;
mod scaling;
mod source;
mod trace;
mod training;
mod two_cores;
mod view;

pub use ablation::ablation;
pub use checks::{claims, report};
pub use curves::{Simulated, curves, simulated};
pub(crate) use curves::{arithmetic, curve_records};
#[cfg(test)]
pub(crate) use inference::tests::record;
pub use inference::{inference, inference_bytes};
pub(crate) use inference::{inference_rows, places};
pub(crate) use micro::micro_rows;
#[cfg(test)]
pub(crate) use micro::tests::record as micro_record;
pub use micro::{embedding, micro};
pub use parts::{parts, training_parts};
pub use precision::{against_plaintext, precision};
pub(crate) use precision::{precision_records, truncation};
pub use same_card::{CardRow, SAME_CARD, same_card, same_card_rows};
pub use scaling::{Fit, floor, scaling_batches, scaling_links, scaling_sizes, scaling_threads};
pub(crate) use scaling::{by_batch, by_link, by_side, pixels};
pub use trace::{compare, messages, parties, trace};
#[cfg(test)]
pub(crate) use training::tests::record as training_record;
pub use training::training;
pub(crate) use training::{training_places, training_rows};
pub use two_cores::two_cores;
pub use view::{Words, observed, seen, shares};

use polars::prelude::{Column, DataFrame, NamedFrom, Series};

use cryptgpu_core::show::{Cell, PlainTable, Show, escape};

use crate::{Result, frame};

/// A data frame with what a reader must know to read it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Table {
    /// The rows.
    pub frame: DataFrame,
    /// What it shows; a line for each source.
    pub caption: String,
}

impl Show for Table {
    fn html(&self) -> String {
        let caption = self.caption.lines().map(|line| escape(line.trim())).collect::<Vec<_>>().join("<br>");
        format!(
            "{}<p style=\"font-size:smaller;max-width:60em\">{caption}</p>",
            frame::html(&self.frame, frame::MAX_ROWS)
        )
    }

    fn text(&self) -> String {
        format!("{}\n{}", self.frame, self.caption)
    }
}

impl Table {
    /// A table of the library, which knows no data frames, with its notes as the caption.
    fn of(table: &PlainTable) -> Result<Self> {
        let columns = table.columns().iter().enumerate();
        let columns: Vec<Column> =
            columns.map(|(index, name)| column(name, table.cells().iter().map(|row| &row[index]))).collect();
        Ok(Table { frame: DataFrame::new(table.cells().len(), columns)?, caption: table.notes().join("\n") })
    }
}

/// A column of counts, of numbers, or of texts where a cell holds one.
fn column<'a>(name: &str, cells: impl Iterator<Item = &'a Cell> + Clone) -> Column {
    let known = cells.clone().filter(|cell| **cell != Cell::Empty);
    let all = |is: fn(&Cell) -> bool| known.clone().all(is);
    if known.clone().next().is_some() && all(|cell| matches!(cell, Cell::Count(_))) {
        let count = |cell: &Cell| if let Cell::Count(count) = cell { Some(*count) } else { None };
        return Series::new(name.into(), cells.map(count).collect::<Vec<_>>()).into();
    }
    if all(|cell| matches!(cell, Cell::Count(_) | Cell::Number(_))) {
        let number = |cell: &Cell| match cell {
            Cell::Count(count) => Some(*count as f64),
            Cell::Number(number) => Some(*number),
            Cell::Empty | Cell::Text(_) => None,
        };
        return numbers(name, cells.map(number));
    }
    texts(name, cells.map(|cell| Some(cell.text()).filter(|_| *cell != Cell::Empty)))
}

fn numbers(name: &str, values: impl Iterator<Item = Option<f64>>) -> Column {
    Series::new(name.into(), values.collect::<Vec<_>>()).into()
}

fn texts(name: &str, values: impl Iterator<Item = Option<String>>) -> Column {
    Series::new(name.into(), values.collect::<Vec<_>>()).into()
}

fn counts(name: &str, values: impl Iterator<Item = u64>) -> Column {
    Series::new(name.into(), values.collect::<Vec<_>>()).into()
}
