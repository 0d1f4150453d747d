//! The CPU implementation of the tensor API.
