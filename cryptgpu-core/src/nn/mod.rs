//! Layers, networks, weights, the plaintext oracle and private evaluation.
