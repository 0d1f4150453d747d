//! Image data sets and the paper's tables, as data.
//!
//! Loaders turn files into plain `ndarray` arrays with their labels; nothing here knows of
//! shares, parties or devices.
