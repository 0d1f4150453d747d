//! Generators against published vectors and NumPy, and the randomness that parties have in common.

mod aes;
mod correlated;
mod philox_numpy;
mod philox_properties;
mod philox_vectors;
