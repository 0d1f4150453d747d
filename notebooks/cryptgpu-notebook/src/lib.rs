//! What a CryptGPU notebook shows with: data frames ([`frame`]), figures ([`figure`]), tables for print ([`sheet`]), pictures ([`picture`]), progress
//! ([`progress`]), a loss while it goes down ([`curve`]), several of these in one output ([`bundle::Bundle`]), and the paper's experiments: run by
//! [`measure`], shown as [`tables`] and [`plots`].
//!
//! polars and plotters live here and in nothing that a party process links. What is shown is made from plain records;
//! protocols, networks and clusters belong to `cryptgpu-core`.

pub mod bundle;
pub mod curve;
mod error;
pub mod figure;
pub mod frame;
pub mod measure;
pub mod picture;
pub mod plots;
pub mod progress;
pub mod sheet;
pub mod tables;

pub use error::{NotebookError, Result};
pub use {ndarray, plotters, polars, serde_json};

/// What a cell that shows things needs: `use cryptgpu_frame::prelude::*;`.
pub mod prelude {
    pub use polars::prelude::{AnyValue, Column, DataFrame, NamedFrom, Series};
    pub use serde_json::{Value, json};

    pub use cryptgpu_core::experiment::paper::Exhibit;
    pub use cryptgpu_core::show::Show;

    pub use crate::bundle::Bundle;
    pub use crate::curve::LiveCurve;
    pub use crate::figure::Figure;
    pub use crate::frame::{self, Frame, ShowFrame};
    pub use crate::picture::Picture;
    pub use crate::progress::Progress;
    pub use crate::sheet::{Cell, Column as SheetColumn, Quantity, Sheet};
    pub use crate::{NotebookError, measure, plots, tables};
}
