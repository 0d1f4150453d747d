//! Data frames, figures and pictures for notebook cells, as a second dynamic library beside `cryptgpu`.
//!
//! A notebook that shows tables loads it with
//!
//! ```text
//! :dep cryptgpu-frame = { path = "frame" }
//! use cryptgpu_frame::prelude::*;
//! ```
//!
//! polars makes every later cell of that notebook slower, which is why the first library does without it. Only
//! re-exports live here: see `cryptgpu-notebook`.

pub use cryptgpu_notebook::*;

// This library must link the first one, not a second copy of what is in it.
#[doc(hidden)]
pub use cryptgpu_facade as _shared;
