//! The tensor API and its implementations.

mod geometry;

pub mod cpu;

pub use geometry::{ConvGeometry, GeometryError, PoolGeometry};
