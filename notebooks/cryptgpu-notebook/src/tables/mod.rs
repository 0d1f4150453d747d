//! Tables: data frames with their captions, of measurements ([`inference`], [`micro`], [`embedding`]), of runs ([`trace`], [`parties`],
//! [`messages`], [`compare`], [`claims`]), and of what parties saw ([`observed`], [`shares`], [`seen`]) and the
//! protocol checker found ([`report`]).

mod checks;
mod inference;
mod micro;
mod trace;
mod view;

pub use checks::{claims, report};
pub use inference::inference;
pub(crate) use inference::inference_rows;
#[cfg(test)]
pub(crate) use inference::tests::record;
pub(crate) use micro::micro_rows;
#[cfg(test)]
pub(crate) use micro::tests::record as micro_record;
pub use micro::{embedding, micro};
pub use trace::{compare, messages, parties, trace};
pub use view::{Words, observed, seen, shares};

use polars::prelude::{Column, DataFrame, NamedFrom, Series};

use crate::frame;
use crate::show::{Show, escape};

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

fn numbers(name: &str, values: impl Iterator<Item = Option<f64>>) -> Column {
    Series::new(name.into(), values.collect::<Vec<_>>()).into()
}

fn texts(name: &str, values: impl Iterator<Item = Option<String>>) -> Column {
    Series::new(name.into(), values.collect::<Vec<_>>()).into()
}

fn counts(name: &str, values: impl Iterator<Item = u64>) -> Column {
    Series::new(name.into(), values.collect::<Vec<_>>()).into()
}
