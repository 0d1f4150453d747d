//! The paper's experiments as declarations, measurements as records.
